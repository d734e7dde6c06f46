//! Transfer-Encoding: `chunked`, once, alone, and in HTTP/1.1 only (RFC 9112 sections 6.1 and 6.3).

use crate::case::{Case, accept, get, post, refuse, shown};

/// A body that holds its own if it is read as chunks, and five bytes if it is not.
const BODY: &str = "5\r\nhello\r\n0\r\n\r\n";

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        accept("9112 6.1", "chunked", post("Transfer-Encoding: chunked\r\n", BODY)).body("hello"),
        accept("9112 7", "Chunked", post("Transfer-Encoding: Chunked\r\n", BODY)).body("hello"),
        accept("9112 7", "CHUNKED", post("Transfer-Encoding: CHUNKED\r\n", BODY)).body("hello"),
        accept("9112 7", "cHuNkEd", post("tRANSFER-eNCODING: cHuNkEd\r\n", BODY)).body("hello"),
        accept("9110 5.5", "no whitespace", post("Transfer-Encoding:chunked\r\n", BODY)).body("hello"),
        accept("9110 5.5", "spaces around", post("Transfer-Encoding:   chunked  \r\n", BODY)).body("hello"),
        accept("9110 5.5", "tabs around", post("Transfer-Encoding:\tchunked\t\r\n", BODY)).body("hello"),
        accept("9110 5.5", "spaces and tabs around", post("Transfer-Encoding: \t chunked \t \r\n", BODY))
            .body("hello"),
        accept(
            "9112 6.3",
            "for GET",
            get("Transfer-Encoding: chunked\r\n").into_iter().chain(*b"0\r\n\r\n").collect::<Vec<_>>(),
        ),
        accept(
            "9110 10.1.4",
            "TE is another field",
            post("TE: chunked, trailers\r\nContent-Length: 5\r\n", "hello"),
        )
        .body("hello"),
        accept(
            "9112 6.1",
            "an underscore is another field",
            post("Transfer_Encoding: chunked\r\nContent-Length: 5\r\n", "hello"),
        )
        .body("hello"),
        accept(
            "9112 6.1",
            "a prefix is another field",
            post("X-Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "hello"),
        )
        .body("hello"),
    ];
    for value in NOT_CHUNKED {
        let bytes = post(format!("Transfer-Encoding: {value}\r\n"), BODY);
        cases.push(refuse("9112 6.1", format!("{:?}", shown(value)), bytes));
    }
    // Codings that RFC 9112 section 7 names, in an order that makes sense, and that are not implemented.
    for value in [
        "gzip, chunked",
        "x-gzip, chunked",
        "deflate, chunked",
        "compress, chunked",
        "x-compress, chunked",
        "GZip,Chunked",
        "gzip ,\tchunked",
        "gzip, deflate, chunked",
    ] {
        let bytes = post(format!("Transfer-Encoding: {value}\r\n"), BODY);
        cases.push(refuse("9112 6.1", format!("{value:?}"), bytes).with(&[501]));
    }
    // Neither a coding that is known, nor plainly chunked: which of the two is said does not matter.
    for value in [
        "x, chunked",
        "identity, chunked",
        "br, chunked",
        "gzip;a=b, chunked",
        "chunked;a, chunked",
        "chunked,",
        ",chunked",
        ", chunked",
        "chunked, ,",
        "gzip,,chunked",
        ",",
    ] {
        let bytes = post(format!("Transfer-Encoding: {value}\r\n"), BODY);
        cases.push(refuse("9112 6.1", format!("{value:?}"), bytes).with(&[400, 501]));
    }
    cases.extend(lines());
    cases.extend(with_length());
    cases.extend(in_1_0());
    cases
}

fn lines() -> Vec<Case> {
    let mut cases = Vec::new();
    for fields in [
        "Transfer-Encoding : chunked\r\n",
        "Transfer-Encoding\t: chunked\r\n",
        " Transfer-Encoding: chunked\r\n",
        "\tTransfer-Encoding: chunked\r\n",
        "\x0bTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding\x0b: chunked\r\n",
        "Transfer-Encoding\0: chunked\r\n",
        "Transfer Encoding: chunked\r\n",
        "Transfer\\Encoding: chunked\r\n",
        "\"Transfer-Encoding\": chunked\r\n",
        "Transfer-Encoding:\r\n chunked\r\n",
        "Transfer-Encoding:\r\n\tchunked\r\n",
        "Transfer-Encoding: chunked\r\n x\r\n",
        "Transfer-Encoding: x\r\n chunked\r\n",
        "Transfer-Encoding\r\n: chunked\r\n",
        "Transfer-Encoding:\nchunked\r\n",
        "Transfer-Encoding: chunked\n\r\n",
        "Transfer-Encoding:\rchunked\r\n",
        "Transfer-Encoding: chunked\r\r\n",
        "X: y\nTransfer-Encoding: chunked\r\n",
        "X: y\rTransfer-Encoding: chunked\r\n",
        "X: y\r\rTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\nX: y\r\n",
        "Transfer-Encoding chunked\r\n",
        "Transfer-Encoding=chunked\r\n",
        "Transfer-Encoding; chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\ntransfer-encoding: Chunked\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding:\r\n",
        "Transfer-Encoding: chunked\r\nX: y\r\nTransfer-Encoding: chunked\r\n",
    ] {
        cases.push(refuse("9112 6.1", shown(fields), post(fields, BODY)));
    }
    for fields in [
        "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: x\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding:\r\nTransfer-Encoding: chunked\r\n",
    ] {
        cases.push(refuse("9112 6.1", shown(fields), post(fields, BODY)).with(&[400, 501]));
    }
    cases
}

/// Both at once is how one request is smuggled within another (9112 6.1 and 11.2).
fn with_length() -> Vec<Case> {
    let mut cases = Vec::new();
    for fields in [
        "Content-Length: 15\r\nTransfer-Encoding: chunked\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 15\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n",
        "Content-Length: 0\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 15\r\nX: y\r\nTransfer-Encoding: Chunked\r\n",
        "Transfer-Encoding: identity\r\nContent-Length: 15\r\n",
        "Transfer-Encoding: x\r\nContent-Length: 15\r\n",
        "Transfer-Encoding:\r\nContent-Length: 15\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length:\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: x\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 15\r\nContent-Length: 15\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\nContent-Length: 15\r\n",
    ] {
        cases.push(refuse("9112 6.3", format!("both: {}", shown(fields)), post(fields, BODY)));
    }
    let gzip = "Transfer-Encoding: gzip, chunked\r\nContent-Length: 15\r\n";
    cases.push(refuse("9112 6.3", format!("both: {}", shown(gzip)), post(gzip, BODY)));
    cases
}

/// A 1.0 client does not know it, and one between us might have added or missed it (9112 6.1).
fn in_1_0() -> Vec<Case> {
    let mut cases = Vec::new();
    for fields in [
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: identity\r\n",
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding:\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 15\r\n",
        "Transfer-Encoding: chunked\r\nConnection: keep-alive\r\n",
    ] {
        let bytes = format!("POST / HTTP/1.0\r\nHost: kiang.test\r\n{fields}\r\n{BODY}");
        cases.push(refuse("9112 6.1", format!("in 1.0: {}", shown(fields)), bytes));
    }
    cases
}

/// What does not end in `chunked`, names it twice, or is it only to a reader who is not exact.
const NOT_CHUNKED: &[&str] = &[
    "",
    "identity",
    "gzip",
    "deflate",
    "br",
    "trailers",
    "xchunked",
    "x-chunked",
    "chunkedx",
    "chunke",
    "chunked1",
    "chunked-",
    "chunked;",
    "chunked;q=1",
    "chunked; q=0.5",
    "chunked ;a=b",
    "chunked;a=\"b\"",
    "chunked=1",
    "chunked:",
    "chunked/1",
    "chunked x",
    "x chunked",
    "chunked\tx",
    "chunked\tchunked",
    "chunked chunked",
    "c hunked",
    "\"chunked\"",
    "'chunked'",
    "(chunked)",
    "<chunked>",
    "[chunked]",
    "{chunked}",
    "`chunked`",
    "chunked()",
    "chunked(a)",
    "\\chunked",
    "chunked\\",
    "%63hunked",
    "chunk%65d",
    "chunked, identity",
    "chunked, gzip",
    "chunked, x",
    "chunked,chunked",
    "chunked, chunked",
    "chunked, Chunked",
    "gzip, chunked, chunked",
    "chunked, gzip, chunked",
    "gzip;chunked",
    "gzip chunked",
    "1",
    "true",
    "5",
    "\x0bchunked",
    "chunked\x0b",
    "\x0cchunked",
    "chunked\x0c",
    "chunked\0",
    "\0chunked",
    "chun\0ked",
    "chunked\x01",
    "\x1fchunked",
    "chunked\x7f",
    "\x08chunked",
    "\u{a0}chunked",
    "chunked\u{a0}",
    "\u{feff}chunked",
    "chun\u{212a}ed",
    "chunk\u{e9}d",
    "chunked\u{200b}",
];
