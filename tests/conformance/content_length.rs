//! Content-Length: a number, once, and alone (RFC 9110 section 8.6, RFC 9112 section 6.3).

use crate::case::{Case, accept, get, incomplete, post, refuse, shown};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        accept("9112 6.3", "none is no body", post("", "")),
        accept("9110 8.6", "zero", post("Content-Length: 0\r\n", "")),
        accept("9110 8.6", "five", post("Content-Length: 5\r\n", "hello")).body("hello"),
        accept("9110 8.6", "leading zeros", post("Content-Length: 005\r\n", "hello")).body("hello"),
        accept(
            "9110 8.6",
            "more zeros than digits fit 64 bits",
            post("Content-Length: 0000000000000000000000005\r\n", "hello"),
        )
        .body("hello"),
        accept("9110 8.6", "zeros for zero", post("Content-Length: 0000\r\n", "")),
        accept("9110 5.5", "no whitespace", post("Content-Length:5\r\n", "hello")).body("hello"),
        accept("9110 5.5", "whitespace around", post("Content-Length: \t 5 \t \r\n", "hello")).body("hello"),
        accept("9110 5.1", "any case", post("cONTENT-lENGTH: 5\r\n", "hello")).body("hello"),
        accept(
            "9112 6",
            "a body that looks like a head",
            post("Content-Length: 20\r\n", "GET / HTTP/1.1\r\n\r\n\r\n"),
        )
        .body("GET / HTTP/1.1\r\n\r\n\r\n"),
        accept(
            "9112 6",
            "a body that looks like chunks",
            post("Content-Length: 11\r\n", "1\r\na\r\n0\r\n\r\n"),
        )
        .body("1\r\na\r\n0\r\n\r\n"),
        accept("9112 6", "a body of any bytes", post("Content-Length: 6\r\n", b"\0\r\n\n\xff\r"))
            .body(b"\0\r\n\n\xff\r"),
        accept("9112 6.3", "in HTTP/1.0", "POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\nhello")
            .version("HTTP/1.0")
            .body("hello")
            .closes(),
        accept("9112 6.3", "none in HTTP/1.0 is no body", "POST / HTTP/1.0\r\n\r\n")
            .version("HTTP/1.0")
            .closes(),
        accept(
            "9112 6.3",
            "a name that only resembles it",
            post("Content_Length: 9\r\nX-Content-Length: 9\r\nContent-Lengths: 9\r\n", ""),
        ),
        accept(
            "9110 8.4",
            "Content-Encoding does not frame",
            post("Content-Encoding: chunked\r\nContent-Length: 5\r\n", "hello"),
        )
        .body("hello"),
        incomplete("9112 8", "a byte short", post("Content-Length: 6\r\n", "hello")),
        incomplete("9112 8", "nothing of the body", post("Content-Length: 5\r\n", "")),
        refuse("9110 8.6", "a space before the colon", post("Content-Length : 5\r\n", "hello")),
        refuse("9112 5.2", "folded", post("Content-Length:\r\n 5\r\n", "hello")),
        refuse("9112 5.2", "folded behind a digit", post("Content-Length: 5\r\n 0\r\n", "hello")),
        refuse("9110 15.5.14", "2^64 - 1", post("Content-Length: 18446744073709551615\r\n", "")).with(&[413]),
        refuse("9110 15.5.14", "2^63", post("Content-Length: 9223372036854775808\r\n", "")).with(&[413]),
        refuse("9110 15.5.14", "2^32", post("Content-Length: 4294967296\r\n", "")).with(&[413]),
        refuse("9110 15.5.14", "2^63 for GET", get("Content-Length: 9223372036854775808\r\n")).with(&[413]),
        refuse("9110 8.6", "bad in HTTP/1.0", "POST / HTTP/1.0\r\nContent-Length: x\r\n\r\n"),
        refuse("9110 8.6", "bad for GET", get("Content-Length: x\r\n")),
        refuse(
            "9110 8.6",
            "bad for HEAD",
            "HEAD / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: -0\r\n\r\n",
        ),
    ];
    for value in NO_NUMBERS {
        let bytes = post(format!("Content-Length: {value}\r\n"), "hello");
        cases.push(refuse("9110 8.6", format!("{:?}", shown(value)), bytes));
    }
    // Equal ones could be read as one (9110 8.6), and the policy does not.
    for fields in [
        "Content-Length: 5\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n",
        "Content-Length: 6\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\ncontent-length: 5\r\n",
        "Content-Length: 5\r\nContent-Length:\r\n",
        "Content-Length:\r\nContent-Length: 5\r\n",
        "Content-Length: 0\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 05\r\n",
        "Content-Length: 5\r\nContent-Length: x\r\n",
        "Content-Length: 5\r\nX: y\r\nContent-Length: 5\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\nContent-Length: 5\r\n",
    ] {
        cases.push(refuse("9112 6.3", format!("repeated: {}", shown(fields)), post(fields, "hello")));
    }
    cases
}

/// Values that are not one number, or not one that 64 bits hold.
const NO_NUMBERS: &[&str] = &[
    "",
    "+5",
    "-5",
    "-0",
    "+0",
    "5a",
    "a5",
    "a",
    "0x5",
    "0b1",
    "0o5",
    "5.",
    "5.0",
    ".5",
    "5e0",
    "5 5",
    "5 a",
    "5\t5",
    "5,5",
    "5, 5",
    "5 , 5",
    "5,6",
    "5,",
    ",5",
    ",",
    "5;",
    "5; a=b",
    "5:5",
    "1_0",
    "1'0",
    "1,000",
    "\"5\"",
    "'5'",
    "(5)",
    "[5]",
    "{5}",
    "5%",
    "%35",
    "$5",
    "5\\",
    "NaN",
    "inf",
    "null",
    "true",
    "5\0",
    "\x0b5",
    "5\x0c",
    "\u{a0}5",
    "\u{665}",
    "\u{ff15}",
    "\u{b2}",
    "18446744073709551616",
    "18446744073709551621",
    "36893488147419103237",
    "99999999999999999999",
    "340282366920938463463374607431768211456",
    "100000000000000000000000000000000000000000000000000005",
];
