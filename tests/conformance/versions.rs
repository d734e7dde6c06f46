//! The version: its syntax (RFC 9112 section 2.3), and what its digits mean (RFC 9110 section 2.5).

use crate::case::{Case, accept, line, refuse};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        accept("9110 2.5", "HTTP/1.1", line("GET / HTTP/1.1")),
        accept("9110 2.5", "HTTP/1.0", line("GET / HTTP/1.0")).version("HTTP/1.0").closes(),
        accept(
            "9112 9.3",
            "HTTP/1.0 that is kept alive",
            "GET / HTTP/1.0\r\nHost: kiang.test\r\nConnection: keep-alive\r\n\r\n",
        )
        .version("HTTP/1.0"),
    ];
    // A higher minor version is understood as the highest that is known.
    for minor in 2..=9 {
        cases.push(accept("9110 2.5", format!("HTTP/1.{minor}"), line(format!("GET / HTTP/1.{minor}"))));
    }
    cases.push(
        accept(
            "9110 2.5",
            "a chunked body in HTTP/1.2",
            "POST / HTTP/1.2\r\nHost: kiang.test\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n",
        )
        .body("a"),
    );
    cases.push(refuse("9112 3.2", "HTTP/1.2 without Host", "GET / HTTP/1.2\r\n\r\n"));
    for version in ["0.0", "0.9", "2.0", "2.1", "3.0", "4.2", "9.9"] {
        let name = format!("HTTP/{version}");
        cases.push(refuse("9110 15.6.6", name, line(format!("GET / HTTP/{version}"))).with(&[505]));
    }
    // Its target is for OPTIONS only, so either reason is right.
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    cases.push(refuse("9113 3.4", "the preface of HTTP/2", preface).with(&[400, 505]));
    for version in [
        "HTTP",
        "HTTP/",
        "HTTP/1",
        "HTTP/1.",
        "HTTP/.1",
        "HTTP/2",
        "HTTP/1.1.1",
        "HTTP/1.10",
        "HTTP/1.01",
        "HTTP/01.1",
        "HTTP/10.1",
        "HTTP/11",
        "HTTP/1,1",
        "HTTP/1:1",
        "HTTP/1.x",
        "HTTP/x.1",
        "HTTP/a.b",
        "HTTP/-1.1",
        "HTTP/+1.1",
        "HTTP/1.-1",
        "HTTP/1.1x",
        "HTTP/1.1\0",
        "HTTP/1.1;",
        "HTTP//1.1",
        "HTTP\\1.1",
        "HTTP 1.1",
        "HTTP/ 1.1",
        "HTTP/1. 1",
        "HTTP/1 .1",
        "http/1.1",
        "Http/1.1",
        "HTTp/1.1",
        "HTTPS/1.1",
        "HTCPCP/1.0",
        "ICY/1.0",
        "RTSP/1.0",
        "SIP/2.0",
        "XHTTP/1.1",
        "HTP/1.1",
        "1.1",
        "HTTP/\u{661}.1",
    ] {
        cases.push(refuse("9112 2.3", format!("{version:?}"), line(format!("GET / {version}"))));
    }
    cases
}
