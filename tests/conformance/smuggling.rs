//! Requests within requests: the known ways to make two readers see two messages (RFC 9112 section 11.2). The
//! inner request asks for `/good`, as what the runner sends behind it does: one answer too many shows.

use crate::case::{Case, accept, chunked, post, refuse, shown};

/// What is smuggled.
const INNER: &str = "GET /good HTTP/1.1\r\nHost: good.test\r\n\r\n";

pub(crate) fn cases() -> Vec<Case> {
    [by_framing(), by_lines(), by_chunks(), by_answers(), in_place(), by_spelling()]
        .into_iter()
        .flatten()
        .collect()
}

/// The inner request as a chunked body.
fn chunk() -> String {
    format!("{:x}\r\n{INNER}\r\n0\r\n\r\n", INNER.len())
}

fn by_framing() -> Vec<Case> {
    let (length, chunk) = (INNER.len(), chunk());
    vec![
        refuse(
            "9112 11.2",
            "CL.TE",
            post(
                format!("Content-Length: {}\r\nTransfer-Encoding: chunked\r\n", length + 5),
                format!("0\r\n\r\n{INNER}"),
            ),
        ),
        refuse("9112 11.2", "TE.CL", post("Content-Length: 4\r\nTransfer-Encoding: chunked\r\n", &chunk)),
        refuse("9112 11.2", "TE.TE", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n", &chunk)),
        refuse(
            "9112 11.2",
            "CL.CL",
            post(format!("Content-Length: 0\r\nContent-Length: {length}\r\n"), INNER),
        ),
        refuse("9112 11.2", "CL.CL in a list", post(format!("Content-Length: 0, {length}\r\n"), INNER)),
        refuse("9112 11.2", "CL.0 by a sign", post(format!("Content-Length: +{length}\r\n"), INNER)),
        refuse(
            "9112 11.2",
            "CL.0 by an overflow",
            post(format!("Content-Length: {}\r\n", (1_u128 << 64) + length as u128), INNER),
        ),
        refuse(
            "9112 11.2",
            "CL.TE in 1.0",
            format!(
                "POST / HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{INNER}"
            ),
        ),
        refuse(
            "9112 11.2",
            "TE in 1.0",
            format!("POST / HTTP/1.0\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n{chunk}"),
        ),
    ]
}

/// Lines that end, or do not, where another reader takes them to.
fn by_lines() -> Vec<Case> {
    let length = INNER.len();
    vec![
        refuse(
            "9112 11.2",
            "a length hidden by a NUL",
            post(format!("Content-Length: {length}\0\r\n"), INNER),
        ),
        refuse(
            "9112 11.2",
            "a header hidden by bare CR",
            post(format!("X: y\rContent-Length: {length}\r\n"), INNER),
        ),
        refuse(
            "9112 11.2",
            "a header hidden by bare LF",
            post(format!("X: y\nContent-Length: {length}\r\n"), INNER),
        ),
        refuse(
            "9112 11.2",
            "a head that ends in bare LF",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\n\n{INNER}"),
        ),
        refuse(
            "9112 11.2",
            "a head that ends in bare CR",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\n\r{INNER}"),
        ),
        refuse(
            "9112 11.2",
            "a head that ends in two CR",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\n\r\r\n{INNER}"),
        ),
        refuse("9112 11.2", "HTTP/0.9 before it", format!("GET /\r\n{INNER}")),
        refuse(
            "9112 11.2",
            "a request line folded into a field",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\nX:\r\n {INNER}"),
        ),
        refuse(
            "9112 11.2",
            "a second Host within",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\nHost: good.test\r\n\r\n{INNER}"),
        ),
    ]
}

/// A size that wraps, a line that ends too early, an extension that hides the end.
fn by_chunks() -> Vec<Case> {
    let length = INNER.len();
    vec![
        refuse(
            "9112 7.1",
            "a size that wraps to nothing",
            chunked(format!("10000000000000000\r\n\r\n{INNER}")),
        ),
        refuse(
            "9112 7.1",
            "a size read up to its x",
            chunked(format!("0x{length:x}\r\n{INNER}\r\n0\r\n\r\n")),
        ),
        refuse("9112 7.1", "a negative size", chunked(format!("-1\r\n\r\n{INNER}"))),
        refuse("9112 7.1.1", "an extension that ends in bare LF", chunked(format!("0;\n\r\n{INNER}"))),
        refuse("9112 7.1.1", "an extension that ends in bare CR", chunked(format!("0;a\r\r\n\r\n{INNER}"))),
        refuse(
            "9112 7.1.1",
            "an extension with a line end in quotes",
            chunked(format!("0;a=\"\r\n\r\n{INNER}")),
        ),
        refuse(
            "9112 7.1",
            "two bytes for the line end after data",
            chunked(format!("2\r\nabXX{length:x}\r\n{INNER}\r\n0\r\n\r\n")),
        ),
        refuse("9112 7.1", "no line end after data", chunked(format!("2\r\nab0\r\n\r\n{INNER}"))),
        refuse("9112 7.1", "the last chunk ends in bare LF", chunked(format!("0\n\r\n{INNER}"))),
        refuse(
            "9112 7.1.2",
            "a length in the trailers",
            chunked(format!("0\r\nContent-Length: {length}\r\n\r\n{INNER}")),
        ),
        refuse("9112 7.1.2", "a request line in the trailers", chunked(format!("0\r\n{INNER}"))),
        refuse("9112 7.1.2", "trailers that end in bare LF", chunked(format!("0\r\nX: y\n\n{INNER}"))),
    ]
}

/// Answers behind which nothing may be read as a request.
fn by_answers() -> Vec<Case> {
    let length = INNER.len();
    vec![
        refuse(
            "9110 9.3.6",
            "behind CONNECT",
            format!("CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n{INNER}"),
        )
        .with(&[501]),
        refuse(
            "9110 15.5.18",
            "behind an unknown expectation",
            post(format!("Expect: x\r\nContent-Length: {length}\r\n"), INNER),
        )
        .with(&[417]),
        refuse("9110 15.5.14", "in a body that is too long", post("Content-Length: 5000\r\n", INNER))
            .with(&[413]),
    ]
}

/// In place and of good form it is a body, and not a request.
fn in_place() -> Vec<Case> {
    let length = INNER.len();
    vec![
        accept("9112 6", "in a sized body", post(format!("Content-Length: {length}\r\n"), INNER)).body(INNER),
        accept("9112 7.1", "in a chunk", chunked(chunk())).body(INNER),
        accept(
            "9112 6",
            "in a body of GET",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{INNER}"),
        )
        .body(INNER),
        accept(
            "9112 6",
            "in a body of HEAD",
            format!("HEAD / HTTP/1.1\r\nHost: a.test\r\nContent-Length: {length}\r\n\r\n{INNER}"),
        )
        .body(INNER),
        accept(
            "9112 9.6",
            "behind the last of a connection",
            format!("GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n{INNER}"),
        )
        .closes(),
        accept(
            "9112 7.1.1",
            "in a quoted extension",
            chunked("1;a=\"GET /good HTTP/1.1\"\r\na\r\n0\r\n\r\n"),
        )
        .body("a"),
    ]
}

/// Spellings of chunked that some reader takes for it, over a length that another goes by.
fn by_spelling() -> Vec<Case> {
    let mut cases = Vec::new();
    for spelling in [
        "Transfer-Encoding: xchunked",
        "Transfer-Encoding : chunked",
        "Transfer-Encoding\t: chunked",
        "Transfer-Encoding: \x0bchunked",
        "Transfer-Encoding: chunked\x0c",
        "Transfer-Encoding: \u{85}chunked",
        "Transfer-Encoding:\r\n chunked",
        "Transfer-Encoding: \"chunked\"",
        "Transfer-Encoding: chunked;",
        "Transfer-Encoding: chunked, cow",
        "Transfer-Encoding: identity",
        "Transfer-Encoding: nothing\r\nTransfer-Encoding: chunked",
        " Transfer-Encoding: chunked",
        "X: y\nTransfer-Encoding: chunked",
        "X: y\rTransfer-Encoding: chunked",
        "Transfer-Encoding\0: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length : 5",
    ] {
        let bytes = post(format!("Content-Length: 5\r\n{spelling}\r\n"), format!("0\r\n\r\n{INNER}"));
        cases.push(refuse("9112 11.2", shown(spelling), bytes));
    }
    cases
}
