//! Host: there, once, and a host (RFC 9112 section 3.2, RFC 9110 section 7.2, RFC 3986 section 3.2).

use crate::case::{Case, accept, refuse, shown};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for host in [
        "kiang.test",
        "KIANG.test",
        "kiang.test.",
        "localhost",
        "a",
        "kiang.test:80",
        "kiang.test:8080",
        "kiang.test:",
        "kiang.test:65535",
        "127.0.0.1",
        "127.0.0.1:80",
        "256.1.1.1",
        "[::1]",
        "[::1]:8080",
        "[::]",
        "[2001:DB8::1]",
        "[1:2:3:4:5:6:7:8]",
        "[::ffff:127.0.0.1]",
        "[1::]",
        "my_service",
        "a-b.c-d",
        "xn--bcher-kva.test",
        "a~b",
        "k%69ang.test",
    ] {
        cases.push(accept("9110 7.2", host, of(host)).host(host));
    }
    for (name, line) in [
        ("no space before it", "Host:kiang.test\r\n"),
        ("whitespace around it", "Host: \t kiang.test \t\r\n"),
        ("another case", "hOST: kiang.test\r\n"),
        ("behind other fields", "A: b\r\nC: d\r\nHost: kiang.test\r\n"),
    ] {
        cases.push(accept("9112 3.2", name, format!("GET / HTTP/1.1\r\n{line}\r\n")).host("kiang.test"));
    }
    for host in NO_HOSTS {
        cases.push(refuse("9112 3.2", shown(host), of(host)));
    }
    cases.extend(counts());
    cases
}

fn of(host: &str) -> Vec<u8> {
    format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n").into()
}

/// Exactly one in HTTP/1.1; at most one in HTTP/1.0.
fn counts() -> Vec<Case> {
    vec![
        refuse("9112 3.2", "none", "GET / HTTP/1.1\r\n\r\n"),
        refuse("9112 3.2", "none among other fields", "GET / HTTP/1.1\r\nX: y\r\nHosts: a\r\n\r\n"),
        refuse("9112 3.2", "none with a body", "POST / HTTP/1.1\r\nContent-Length: 1\r\n\r\na"),
        refuse("9112 3.2", "none with OPTIONS *", "OPTIONS * HTTP/1.1\r\n\r\n"),
        refuse("9112 3.2", "none with CONNECT", "CONNECT a.test:443 HTTP/1.1\r\n\r\n"),
        refuse(
            "9112 3.2",
            "in place of it X-Forwarded-Host",
            "GET / HTTP/1.1\r\nX-Forwarded-Host: a\r\n\r\n",
        ),
        refuse("9112 3.2", "empty", "GET / HTTP/1.1\r\nHost:\r\n\r\n"),
        refuse("9112 3.2", "empty behind a space", "GET / HTTP/1.1\r\nHost: \r\n\r\n"),
        refuse("9112 3.2", "twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
        refuse("9112 3.2", "twice the same", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n"),
        refuse("9112 3.2", "twice in different cases", "GET / HTTP/1.1\r\nHost: a\r\nhOsT: a\r\n\r\n"),
        refuse(
            "9112 3.2",
            "twice, far apart",
            "GET / HTTP/1.1\r\nHost: a\r\nX: y\r\nZ: z\r\nHost: a\r\n\r\n",
        ),
        refuse("9112 3.2", "twice, the second empty", "GET / HTTP/1.1\r\nHost: a\r\nHost:\r\n\r\n"),
        refuse("9112 3.2", "three times", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\nHost: c\r\n\r\n"),
        accept("9112 3.2", "none in HTTP/1.0", "GET / HTTP/1.0\r\n\r\n").version("HTTP/1.0").closes(),
        accept("9112 3.2", "one in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\n\r\n")
            .version("HTTP/1.0")
            .host("a")
            .closes(),
        refuse("9112 3.2", "twice in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n"),
        refuse("9112 3.2", "malformed in HTTP/1.0", "GET / HTTP/1.0\r\nHost: a/b\r\n\r\n"),
    ]
}

/// What is not `uri-host [ ":" port ]`.
const NO_HOSTS: &[&str] = &[
    "user@kiang.test",
    "user:secret@kiang.test",
    "@kiang.test",
    "kiang.test@",
    "kiang.test/",
    "kiang.test/a",
    "/",
    "http://kiang.test",
    "http://kiang.test/",
    "//kiang.test",
    "kiang.test?a",
    "kiang.test#a",
    "kiang test",
    "kiang.test a.test",
    "kiang.test, a.test",
    "kiang.test\ta.test",
    "kiang.test:80 ;",
    "kiang.test: 80",
    "kiang.test :80",
    "kiang.test:x",
    "kiang.test:8x",
    "kiang.test:0x50",
    "kiang.test:-1",
    "kiang.test:+80",
    "kiang.test:80:80",
    "kiang.test::80",
    "kiang.test:80/",
    "kiang.test:http",
    ":80",
    ":",
    "::1",
    "::1:80",
    "1:2:3:4:5:6:7:8",
    "[::1",
    "::1]",
    "[::1]]",
    "[[::1]]",
    "[]",
    "[:]",
    "[::1]80",
    "[::1]:x",
    "[::1]a",
    "a[::1]",
    "[::g]",
    "[1::2::3]",
    "[1:2:3:4:5:6:7]",
    "[1:2:3:4:5:6:7:8:9]",
    "[12345::]",
    "[127.0.0.1]",
    "[::127.0.0.256]",
    "[::127.0.0]",
    "[kiang.test]",
    "[::1 ]",
    "kiang\\test",
    "kiang^test",
    "kiang`test",
    "kiang|test",
    "kiang<test>",
    "{kiang}",
    "\"kiang.test\"",
    "kiang%.test",
    "kiang%2.test",
    "kiang%zz.test",
    "kiang.t\u{e9}st",
    "kiang.test\x01",
    "kiang\0.test",
    "kiang\x7f.test",
];
