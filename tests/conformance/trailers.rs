//! Trailer fields: syntax (RFC 9112 section 7.1.2), and which may come so late (RFC 9110 section 6.5.1).

use crate::case::{Case, accept, chunked, incomplete, refuse, shown};

fn with(trailers: impl AsRef<[u8]>) -> Vec<u8> {
    chunked([b"5\r\nhello\r\n0\r\n", trailers.as_ref(), b"\r\n"].concat())
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for trailers in [
        "X: y\r\n",
        "X:y\r\n",
        "X:\r\n",
        "X: \t y \t \r\n",
        "X: y\r\nZ: w\r\n",
        "X: y\r\nX: y\r\n",
        "Digest: sha-256=abc\r\n",
        "Server-Timing: a;dur=1\r\n",
        "X-Content-Length: 5\r\n",
        "Hosts: a\r\n",
        "!#$%&'*+-.^_`|~09AZaz: y\r\n",
        "X: \"a: b\"\r\n",
    ] {
        cases.push(accept("9112 7.1.2", shown(trailers), with(trailers)).body("hello"));
    }
    cases.push(accept("9110 5.5", "obs-text", with(b"X: caf\xe9\r\n")).body("hello"));
    cases.push(accept("9112 7.1.2", "behind no content", chunked("0\r\nX: y\r\n\r\n")));
    cases.push(incomplete("9112 8", "a field and no end", chunked("0\r\nX: y\r\n")));
    cases.push(incomplete("9112 8", "half a field", chunked("0\r\nX")));
    for name in [
        "Content-Length",
        "Transfer-Encoding",
        "Host",
        "Trailer",
        "Authorization",
        "Proxy-Authorization",
        "Cookie",
        "Set-Cookie",
        "Connection",
        "TE",
        "Expect",
        "Upgrade",
        "Content-Type",
        "Content-Encoding",
        "Content-Range",
        "cONTENT-lENGTH",
        "transfer-encoding",
        "HOST",
        "aUTHORIZATION",
    ] {
        cases.push(refuse("9110 6.5.1", name, with(format!("{name}: 5\r\n"))));
        let second = with(format!("X: y\r\n{name}: 5\r\n"));
        cases.push(refuse("9110 6.5.1", format!("{name} as the second"), second));
    }
    cases.push(refuse("9110 6.5.1", "Transfer-Encoding: chunked", with("Transfer-Encoding: chunked\r\n")));
    cases.push(refuse("9110 6.5.1", "an empty Content-Length", with("Content-Length:\r\n")));
    for trailers in [
        "X\r\n",
        "no field\r\n",
        ": y\r\n",
        ":\r\n",
        "X : y\r\n",
        "X\t: y\r\n",
        " X: y\r\n",
        "\tX: y\r\n",
        "X Y: z\r\n",
        "X: a\r\n b\r\n",
        "X: a\r\n\tb\r\n",
        "X: a\r\n \r\n",
        " \r\n",
        "(X): y\r\n",
        "X/Y: z\r\n",
        "X[]: y\r\n",
        "\"X\": y\r\n",
        "X\0: y\r\n",
        "caf\u{e9}: y\r\n",
        "X: \0\r\n",
        "X: a\0b\r\n",
        "X: a\x01b\r\n",
        "X: a\x0bb\r\n",
        "X: a\x7f\r\n",
        "X: \x1b[0m\r\n",
        "X: y\n",
        "X: y\n\r\n",
        "X: y\nZ: w\r\n",
        "\nX: y\r\n",
        "X\n: y\r\n",
        "X: y\r\n\n",
        "X: y\rZ: w\r\n",
        "X: y\r\r\n",
        "\rX: y\r\n",
        "X\r: y\r\n",
        "X: y\r\n\r\r\n",
        "GET / HTTP/1.1\r\n",
        "1\r\na\r\n0\r\n",
    ] {
        cases.push(refuse("9112 7.1.2", shown(trailers), with(trailers)));
    }
    let long = format!("X: {}\r\n", "y".repeat(20_000));
    cases.push(refuse("9110 5.4", "a field that goes on and on", with(long)).with(&[400, 413, 431]));
    let many = "X: y\r\n".repeat(5000);
    cases.push(refuse("9110 5.4", "fields that go on and on", with(many)).with(&[400, 413, 431]));
    cases
}
