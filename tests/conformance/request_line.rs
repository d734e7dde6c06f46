//! The request line: its parts, and what separates and ends them (RFC 9112 sections 2.2 and 3).

use crate::case::{Case, accept, line, refuse, shown};

pub(crate) fn cases() -> Vec<Case> {
    [lines(), broken_already()].into_iter().flatten().collect()
}

/// Heads without their end that no end could mend: they are refused when that is so, and not waited for.
fn broken_already() -> Vec<Case> {
    let host = "GET / HTTP/1.1\r\nHost: kiang.test\r\n";
    [
        ("9112 3", "a space", " ".to_owned()),
        ("9112 3", "a separator in the method", "G@".to_owned()),
        ("9112 3", "a control character in the target", "GET /\x01".to_owned()),
        ("9112 3", "a second space", "GET  ".to_owned()),
        ("9112 2.3", "a version of another protocol", "GET / XTTP".to_owned()),
        ("9112 2.3", "a version with two digits", "GET / HTTP/1.10".to_owned()),
        ("9112 3", "a space behind the version", "GET / HTTP/1.1 ".to_owned()),
        ("9112 2.2", "a bare CR in the request line", "GET / HTTP/1.1\rH".to_owned()),
        ("9112 2.2", "a bare LF behind the request line", "GET / HTTP/1.1\n".to_owned()),
        ("9112 2.2", "a bare LF behind the request line of a later version", "GET / HTTP/1.7\n".to_owned()),
        ("9112 2.2", "a bare LF, and then fields", "GET / HTTP/1.1\nHost: kiang.test\r\nX: y\r\n".to_owned()),
        ("9112 2.2", "a bare LF behind a field", format!("{host}X: y\n")),
        ("9112 2.2", "a bare CR behind a field", format!("{host}X: y\rZ")),
        ("9112 2.2", "two CR at the end", format!("{host}\r\r")),
        ("9112 2.2", "two CR at the end of a later version", format!("{}\r\r", host.replace("1.1", "1.9"))),
        ("9112 2.2", "two CR in place of an empty line", "\r\r".to_owned()),
        ("9112 5.1", "a space before the colon", format!("{host}X :")),
        ("9112 5.2", "a folded line", format!("{host} ")),
        ("9110 5.5", "a control character in a value", format!("{host}X: \x01")),
        ("9112 5", "a line without a colon", format!("{host}X\r")),
    ]
    .into_iter()
    .map(|(rule, name, bytes)| refuse(rule, format!("{name}, and no more"), bytes))
    .collect()
}

fn lines() -> Vec<Case> {
    let mut cases = vec![
        accept("9112 3", "a plain line", line("GET / HTTP/1.1")),
        refuse("9112 3", "no version", line("GET /")),
        refuse("9112 3", "a space in place of the version", line("GET / ")),
        refuse("9112 3", "no target", line("GET HTTP/1.1")),
        refuse("9112 3", "an empty target", line("GET  HTTP/1.1")),
        refuse("9112 3", "no method", line("/ HTTP/1.1")),
        refuse("9112 3", "an empty method", line(" / HTTP/1.1")),
        refuse("9112 3", "a method alone", line("GET")),
        refuse("9112 3", "four words", line("GET / HTTP/1.1 x")),
        refuse("9112 3", "a space in the target", line("GET /a b HTTP/1.1")),
        refuse("9112 3", "a second version", line("GET / HTTP/1.1 HTTP/1.1")),
        refuse("9112 3", "a version before the target", line("GET HTTP/1.1 /")),
        refuse("9112 3", "a field line in its place", "Host: kiang.test\r\n\r\n"),
        refuse("9112 3", "a status line in its place", line("HTTP/1.1 200 OK")),
        refuse("9112 3", "nothing but slashes", line("/// /// ///")),
        refuse("9112 3", "words of another protocol", "EHLO kiang.test\r\n\r\n"),
        refuse(
            "9112 3",
            "the start of a TLS handshake",
            b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\r\n\r\n",
        ),
        refuse(
            "9112 3",
            "a PROXY header before it",
            [&b"PROXY TCP4 1.2.3.4 1.2.3.4 1 2\r\n"[..], &line("GET / HTTP/1.1")].concat(),
        ),
        refuse("9112 3", "a byte order mark before it", line("\u{feff}GET / HTTP/1.1")),
        refuse("9112 3.2", "a quoted target", line("GET \"/\" HTTP/1.1")),
        // One SP, and no other whitespace, however lenient section 3 lets a recipient be.
        refuse("9112 3", "two spaces before the target", line("GET  / HTTP/1.1")),
        refuse("9112 3", "two spaces before the version", line("GET /  HTTP/1.1")),
        refuse("9112 3", "a space after the version", line("GET / HTTP/1.1 ")),
        refuse("9112 3", "a tab after the version", line("GET / HTTP/1.1\t")),
        refuse("9112 3", "a space before the method", line(" GET / HTTP/1.1")),
        refuse("9112 3", "a tab before the method", line("\tGET / HTTP/1.1")),
        refuse("9112 3", "spaces before the method", line("    GET / HTTP/1.1")),
        refuse("9112 3", "a space and a tab before the target", line("GET \t/ HTTP/1.1")),
        refuse("9112 3", "a no-break space before the target", line("GET\u{a0}/ HTTP/1.1")),
    ];
    for (name, separator) in
        [("tab", '\t'), ("vertical tab", '\x0b'), ("form feed", '\x0c'), ("CR", '\r'), ("NUL", '\0')]
    {
        let first = line(format!("GET{separator}/ HTTP/1.1"));
        let second = line(format!("GET /{separator}HTTP/1.1"));
        cases.push(refuse("9112 3", format!("{name} before the target"), first));
        cases.push(refuse("9112 3", format!("{name} before the version"), second));
    }
    cases.extend(line_ends());
    cases.extend(empty_lines());
    cases
}

/// CR LF and nothing else ends a line; section 2.2 allows a bare LF to be taken for one, and the policy does not.
fn line_ends() -> Vec<Case> {
    let mut cases = Vec::new();
    for bytes in [
        "GET / HTTP/1.1\nHost: kiang.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kiang.test\n\r\n",
        "GET / HTTP/1.1\r\nHost: kiang.test\r\n\n\r\n",
        "GET / HTTP/1.1\nHost: kiang.test\n\n",
        "GET / HTTP/1.0\n\n\r\n",
        "GET / HTTP/1.0\n\r\n",
        "GET /\n HTTP/1.1\r\nHost: kiang.test\r\n\r\n",
        "GET\n/ HTTP/1.1\r\nHost: kiang.test\r\n\r\n",
    ] {
        cases.push(refuse("9112 2.2", format!("bare LF: {}", shown(bytes)), bytes));
    }
    for bytes in [
        "GET / HTTP/1.1\rHost: kiang.test\r\n\r\n",
        "GET / HTTP/1.1\r\r\nHost: kiang.test\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kiang.test\r\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: kiang.test\r\n\r\r\n",
        "GET / HTTP/1.1\r\nHost: kiang.test\r\n\rX: y\r\n\r\n",
        "GET /\r HTTP/1.1\r\nHost: kiang.test\r\n\r\n",
        "GET /a\rb HTTP/1.1\r\nHost: kiang.test\r\n\r\n",
        "\rGET / HTTP/1.1\r\nHost: kiang.test\r\n\r\n",
        "G\rET / HTTP/1.1\r\nHost: kiang.test\r\n\r\n",
        "GET / HTTP/1.1\n\rHost: kiang.test\r\n\r\n",
    ] {
        cases.push(refuse("9112 2.2", format!("bare CR: {}", shown(bytes)), bytes));
    }
    cases
}

fn empty_lines() -> Vec<Case> {
    let good = line("GET / HTTP/1.1");
    let after = |before: &str| [before.as_bytes(), &good].concat();
    let mut cases = vec![
        accept("9112 2.2", "an empty line before it", after("\r\n")),
        accept("9112 2.2", "two empty lines before it", after("\r\n\r\n")),
        accept(
            "9112 2.2",
            "an empty line behind a body",
            [&b"POST / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 1\r\n\r\na"[..], b"\r\n"].concat(),
        )
        .body("a"),
        // How many is the server's choice; that they end is not.
        refuse("9112 2.2", "more empty lines than any head is long", after(&"\r\n".repeat(5000)))
            .with(&[400, 431]),
    ];
    for before in [
        "\n", "\r\n\n", "\n\n", "\r\r\n", "\n\r\n", "\r", " \r\n", "\r\n ", "\r\n\t", "\t\r\n", "\0",
        "\r\n\0", "\x0b", "\x0c\r\n",
    ] {
        cases.push(refuse("9112 2.2", format!("{} before it", shown(before)), after(before)));
    }
    cases
}
