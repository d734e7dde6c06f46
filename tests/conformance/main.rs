//! The project's own conformance corpus: what RFC 9110 and RFC 9112 say of requests, case by case.
//!
//! A case is the bytes of one request and a verdict, written from the RFCs and from the policy in
//! docs/conformance.md, not from what the code does. Each is sent whole, byte by byte, pipelined behind a good
//! request, and with a good request behind it: that one is answered after an accepted request, and after a
//! refused one never. One table a theme; [`case`] says how a case is written, [`runner`] how it is judged.

mod case;
mod chunked;
mod content_length;
mod expect;
mod fields;
mod host;
mod limits;
mod methods;
mod persistence;
mod request_line;
mod runner;
mod smuggling;
#[path = "../support/mod.rs"]
mod support;
mod target;
mod trailers;
mod transfer_encoding;
mod versions;

/// One test a theme, named as its table.
macro_rules! themes {
    ($($theme:ident)*) => {$(
        #[test]
        fn $theme() {
            runner::run(stringify!($theme), &$theme::cases());
        }
    )*};
}

themes! {
    request_line target versions methods
    fields host
    content_length transfer_encoding chunked trailers
    persistence expect
    limits smuggling
}
