//! The request target in its four forms (RFC 9112 section 3.2), and the bytes it is made of (RFC 3986).

use crate::case::{Case, accept, line, refuse, shown};

pub(crate) fn cases() -> Vec<Case> {
    [origin_form(), absolute_form(), other_forms(), bytes()].into_iter().flatten().collect()
}

fn origin_form() -> Vec<Case> {
    let mut cases = Vec::new();
    for target in [
        "/",
        "/a",
        "/a/b/c",
        "/a/",
        "//",
        "//a",
        "//kiang.test/a",
        "/a//b",
        "/.",
        "/../..",
        "/a/../b",
        "/a;b=c",
        "/a:b@c",
        "/@",
        "/*",
        "/http://x/",
        "/%20%7E%ff%00",
        "/%2F%2e%2E",
        "/AZaz09-._~!$&'()*+,;=:@",
        "/?",
        "/?a",
        "/?a=b&c=d",
        "/?/?",
        "/a?b?c",
        "/?AZaz09-._~!$&'()*+,;=:@/?",
        "/?%41",
        "/a?http://x/",
    ] {
        cases.push(accept("9112 3.2.1", target, line(format!("GET {target} HTTP/1.1"))));
    }
    for target in
        ["?a", "a", "a/b", "index.html", ".", "..", "../a", "\\a", "x:y", ":", "@", "&", "%2F", "=", ";"]
    {
        cases.push(refuse("9112 3.2.1", target, line(format!("GET {target} HTTP/1.1"))));
    }
    cases
}

fn absolute_form() -> Vec<Case> {
    let mut cases = Vec::new();
    for (target, host) in [
        ("http://a.test/", "a.test"),
        ("http://a.test", "a.test"),
        ("http://a.test:8080/b?c", "a.test:8080"),
        ("http://a.test?b", "a.test"),
        ("http://a.test/?", "a.test"),
        ("https://a.test/", "a.test"),
        ("HTTP://a.test/", "a.test"),
        ("hTTpS://a.test/b", "a.test"),
        ("http://127.0.0.1/", "127.0.0.1"),
        ("http://[::1]/", "[::1]"),
        ("http://[2001:db8::1]:80/", "[2001:db8::1]:80"),
        ("http://a-b_c.test/", "a-b_c.test"),
        ("http://a.test//b", "a.test"),
        ("http://a.test/b@c", "a.test"),
        ("http://a.test/b?c@d", "a.test"),
    ] {
        // The target's authority counts, and Host does not (9112 3.2.2).
        let same = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        cases.push(accept("9112 3.2.2", target, same).host(host));
        let other = format!("GET {target} HTTP/1.1\r\nHost: other.test\r\n\r\n");
        cases.push(accept("9112 3.2.2", format!("{target} with another Host"), other).host(host));
    }
    cases.push(
        accept("9112 3.2.2", "absolute-form in 1.0 without Host", "GET http://a.test/ HTTP/1.0\r\n\r\n")
            .version("HTTP/1.0")
            .host("a.test")
            .closes(),
    );
    cases.push(
        accept(
            "9112 3.2.4",
            "OPTIONS in absolute-form without a path",
            line("OPTIONS http://a.test HTTP/1.1"),
        )
        .host("a.test"),
    );
    cases.push(
        accept(
            "9112 3.2.2",
            "POST in absolute-form",
            "POST http://a.test/b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx",
        )
        .host("a.test")
        .body("x"),
    );
    for target in [
        "ftp://a.test/",
        "file:///etc/passwd",
        "ws://a.test/",
        "httpx://a.test/",
        "http+unix://a.test/",
        "urn:a:b",
        "mailto:a@a.test",
        "javascript:alert(1)",
        "http:",
        "http:/",
        "http:/a",
        "http:a.test/",
        "http//a.test/",
        "http:\\\\a.test\\",
        "://a.test/",
        "http://",
        "http:///",
        "http:///a",
        "http://?a",
        "http://:80/",
        "http://a.test:b/",
        "http://a.test:8o/",
        "http://a.test:-1/",
        "http://a.test:80:80/",
        "http://[::1/",
        "http://::1/",
        "http://[]/",
        "http://[::g]/",
        "http://[::1]a/",
        "http://[1.2.3.4]/",
        "http://user@a.test/",
        "http://user:secret@a.test/",
        "http://@a.test/",
        "http://a.test@b.test/",
        "http://a b.test/",
        "http://a%zz.test/",
        "http://a<b.test/",
        "http://a\\b.test/",
        "1http://a.test/",
    ] {
        cases.push(refuse("9112 3.2.2", target, line(format!("GET {target} HTTP/1.1"))));
    }
    for host in ["", "Host: a b\r\n", "Host: a/b\r\n", "Host: a.test\r\nHost: a.test\r\n"] {
        let bytes = format!("GET http://a.test/ HTTP/1.1\r\n{host}\r\n");
        cases.push(refuse("9112 3.2", format!("absolute-form with {host:?} for Host"), bytes));
    }
    cases
}

/// Authority-form is CONNECT's, asterisk-form is OPTIONS'.
fn other_forms() -> Vec<Case> {
    let mut cases = vec![
        accept("9112 3.2.4", "OPTIONS *", line("OPTIONS * HTTP/1.1")),
        accept("9112 3.2.1", "OPTIONS /", line("OPTIONS / HTTP/1.1")),
    ];
    // No tunnel is made, and what follows may be meant for one: it is never read.
    for target in ["a.test:443", "127.0.0.1:80", "[::1]:443"] {
        let bytes = format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n");
        cases.push(refuse("9110 9.3.6", format!("CONNECT {target}"), bytes).with(&[501]));
    }
    for words in [
        "GET *",
        "POST *",
        "HEAD *",
        "OPTIONS **",
        "OPTIONS *?a",
        "OPTIONS */",
        "OPTIONS a.test:80",
        "GET a.test:80",
        "GET a.test",
        "GET [::1]:80",
        "CONNECT /",
        "CONNECT *",
        "CONNECT http://a.test/",
        "CONNECT http://a.test:80/",
        "CONNECT a.test",
        "CONNECT a.test:",
        "CONNECT :443",
        "CONNECT a.test:https",
        "CONNECT a.test:443/",
        "CONNECT a.test:443?a",
        "CONNECT user@a.test:443",
        "CONNECT [::1:443",
    ] {
        cases.push(refuse("9112 3.2", words, line(format!("{words} HTTP/1.1"))));
    }
    cases
}

fn bytes() -> Vec<Case> {
    let mut cases = Vec::new();
    let controls = (0..0x20_u8).filter(|byte| !b"\r\n".contains(byte)).chain([0x7f]);
    for byte in controls.chain([0x80, 0xa0, 0xc3, 0xe9, 0xff]).chain(*b"\"<>\\^`{|}") {
        for (place, before) in [("path", &b"GET /a"[..]), ("query", b"GET /?a")] {
            let bytes = line([before, &[byte], b"b HTTP/1.1"].concat());
            let name = format!("{} in the {place}", shown([byte]));
            // What browsers send as it is, though RFC 3986 does not know it there.
            let tolerated: &[u8] = if place == "path" { b"^|" } else { b"\\^`{|}" };
            let verdict = if tolerated.contains(&byte) { accept } else { refuse };
            cases.push(verdict("3986 2", name, bytes));
        }
    }
    for target in ["/#", "/a#b", "/?a#b", "#", "#/", "http://a.test/#a", "http://a.test#a", "*#", "/a#b?c"] {
        cases.push(refuse(
            "9112 3.2",
            format!("a fragment: {target}"),
            line(format!("GET {target} HTTP/1.1")),
        ));
    }
    for target in
        ["/%", "/%a", "/%zz", "/%g0", "/%0g", "/a%2", "/%%41", "/%u0041", "/% 41", "http://a.test/%"]
    {
        cases.push(refuse(
            "3986 2.1",
            format!("a broken escape: {target}"),
            line(format!("GET {target} HTTP/1.1")),
        ));
    }
    // Browsers send a lone % in a query as it is; a handler that decodes the query decides.
    for target in ["/?%", "/?%a", "/?%xy", "/?a%4"] {
        let bytes = line(format!("GET {target} HTTP/1.1"));
        cases.push(accept("3986 2.1", format!("a broken escape in the query: {target}"), bytes));
    }
    for (name, target) in
        [("UTF-8", "/\u{e9}"), ("an overlong solidus", "/\u{c0}\u{af}"), ("a fullwidth solidus", "/\u{ff0f}")]
    {
        cases.push(refuse("3986 2", format!("{name} unescaped"), line(format!("GET {target} HTTP/1.1"))));
    }
    cases
}
