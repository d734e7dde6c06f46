//! Methods (RFC 9110 section 9), and bodies with any of them.

use crate::case::{Case, accept, line, refuse, shown};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for method in
        ["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY", "PROPFIND", "M-SEARCH", "BREW"]
    {
        cases.push(accept("9110 9.1", method, line(format!("{method} / HTTP/1.1"))));
        // Whether content means anything to a method does not change where it ends (9112 6.3).
        let sized = format!("{method} / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 5\r\n\r\nhello");
        cases.push(accept("9112 6.3", format!("{method} with a length"), sized).body("hello"));
        let chunks = format!(
            "{method} / HTTP/1.1\r\nHost: kiang.test\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
        );
        cases.push(accept("9112 6.3", format!("{method} with chunks"), chunks).body("hello"));
    }
    for (name, method) in [
        ("names are case-sensitive: get", "get"),
        ("names are case-sensitive: Post", "Post"),
        ("one letter", "X"),
        ("a digit", "7"),
        ("every character of a token", "!#$%&'*+-.^_`|~09AZaz"),
        ("thirty-two letters", "ABCDEFGHIJKLMNOPQRSTUVWXYZABCDEF"),
    ] {
        cases.push(accept("9110 9.1", name, line(format!("{method} / HTTP/1.1"))));
    }
    for (name, length) in
        [("thirty-three letters", 33), ("as many as a target", 400), ("too many for a head", 9000)]
    {
        let method = "A".repeat(length);
        cases.push(refuse("9110 9.1", name, line(format!("{method} / HTTP/1.1"))).with(&[501]));
        cases.push(refuse("9110 9.1", format!("{name}, and no more"), method).with(&[501]));
    }
    let other = (0..=0x1f_u8).filter(|byte| !b"\r\n".contains(byte)).chain([0x7f, 0x80, 0xe9, 0xff]);
    for byte in other.chain(*b"\"(),/:;<=>?@[\\]{}") {
        let bytes = line([b"G", &[byte][..], b"T / HTTP/1.1"].concat());
        cases.push(refuse("9110 5.6.2", format!("{} in the method", shown([byte])), bytes));
    }
    let secret = "TRACE / HTTP/1.1\r\nHost: kiang.test\r\nCookie: a=b\r\n\r\n";
    cases.push(refuse("9110 9.3.8", "TRACE is never reflected", secret).answered(&[405, 501]));
    let absolute = "TRACE http://kiang.test/ HTTP/1.1\r\nHost: kiang.test\r\nMax-Forwards: 0\r\n\r\n";
    cases.push(refuse("9110 9.3.8", "nor is it in absolute-form", absolute).answered(&[405, 501]));
    let body = "TRACE / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 5\r\n\r\nhello";
    cases.push(refuse("9110 9.3.8", "TRACE with a body", body).answered(&[400, 405, 501]));
    cases
}
