//! HTTP/1.1 and 1.0 (RFC 9112) without I/O: bytes in, requests out; responses in, bytes out.
//!
//! Nothing here reads a clock or a socket. [`Connection`](connection::Connection) is the server's side of one
//! connection; its parts are usable alone: [`parse`] for heads, [`framing`] for where a body ends, [`decode`]
//! for bodies, [`encode`] for responses.

pub(crate) mod connection;
pub(crate) mod decode;
pub(crate) mod encode;
pub(crate) mod framing;
pub(crate) mod parse;
pub(crate) mod plan;
pub(crate) mod refusal;
pub(crate) mod target;

#[cfg(any(test, fuzzing))]
pub(crate) mod oracle;
