//! Expect: `100-continue`, and nothing else (RFC 9110 section 10.1.1).

use crate::case::{Case, accept, get, post, refuse, shown};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for value in ["100-continue", "100-Continue", "100-CONTINUE", " \t100-continue\t "] {
        let fields = format!("Expect: {value}\r\nContent-Length: 5\r\n");
        cases.push(
            accept("9110 10.1.1", format!("{value:?}"), post(fields, "hello")).body("hello").continues(),
        );
    }
    let chunks = post("Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n", "5\r\nhello\r\n0\r\n\r\n");
    cases.extend([
        accept("9110 10.1.1", "before chunks", chunks).body("hello").continues(),
        accept("9110 10.1.1", "the last of its connection", post("Expect: 100-continue\r\nConnection: close\r\nContent-Length: 5\r\n", "hello")).body("hello").continues().closes(),
        accept("9110 10.1.1", "for PUT", "PUT / HTTP/1.1\r\nHost: kiang.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello").body("hello").continues(),
        accept("9110 10.1.1", "for GET with a body", "GET / HTTP/1.1\r\nHost: kiang.test\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello").body("hello").continues(),
        accept("9110 10.1.1", "no body, no answer to it", get("Expect: 100-continue\r\n")),
        accept("9110 10.1.1", "an empty body, no answer to it", post("Expect: 100-continue\r\nContent-Length: 0\r\n", "")),
        // A 1.0 client would take it for the final answer.
        accept("9110 10.1.1", "ignored in 1.0", "POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello").version("HTTP/1.0").body("hello").closes(),
        accept("9110 10.1.1", "ignored in 1.0 that is kept alive", "POST / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\nhello").version("HTTP/1.0").body("hello"),
        accept("9110 10.1.1", "ignored in 1.0 without a body", "GET / HTTP/1.0\r\nExpect: 100-continue\r\n\r\n").version("HTTP/1.0").closes(),
    ]);
    for value in [
        "x",
        "200-ok",
        "100",
        "100-continue-x",
        "x100-continue",
        "100continue",
        "100 continue",
        "\"100-continue\"",
        "100-continue=x",
        "100-continue;a=b",
        "100-continue, x",
        "x, 100-continue",
        "101-continue",
    ] {
        let with_body = post(format!("Expect: {value}\r\nContent-Length: 5\r\n"), "hello");
        cases.push(refuse("9110 15.5.18", format!("{value:?} with a body"), with_body).with(&[417]));
        let without = get(format!("Expect: {value}\r\n"));
        cases.push(refuse("9110 15.5.18", format!("{value:?} without a body"), without).with(&[417]));
    }
    for fields in ["Expect: 100-continue\r\nExpect: x\r\n", "Expect: x\r\nExpect: 100-continue\r\n"] {
        let bytes = post(format!("{fields}Content-Length: 5\r\n"), "hello");
        cases.push(refuse("9110 15.5.18", shown(fields), bytes).with(&[417]));
    }
    cases.extend([
        refuse(
            "9112 6.3",
            "does not excuse a bad length",
            post("Expect: 100-continue\r\nContent-Length: x\r\n", "hello"),
        ),
        refuse(
            "9112 6.3",
            "does not excuse two framings",
            post(
                "Expect: 100-continue\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
                "5\r\nhello\r\n0\r\n\r\n",
            ),
        ),
        refuse(
            "9110 15.5.14",
            "a body that is too long is not asked for",
            post("Expect: 100-continue\r\nContent-Length: 4097\r\n", ""),
        )
        .with(&[413]),
    ]);
    cases
}
