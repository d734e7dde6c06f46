//! Chunked bodies: sizes, extensions, data, and the lines between (RFC 9112 section 7.1).

use crate::case::{Case, accept, chunked, incomplete, refuse, shown};

pub(crate) fn cases() -> Vec<Case> {
    [good(), sizes(), extensions(), data()].into_iter().flatten().collect()
}

fn good() -> Vec<Case> {
    let mut cases = vec![
        accept("9112 7.1", "no chunk but the last", chunked("0\r\n\r\n")),
        accept("9112 7.1", "several chunks", chunked("5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n"))
            .body("hello world"),
        accept("9112 7.1", "chunks of one byte", chunked("1\r\na\r\n1\r\nb\r\n1\r\nc\r\n0\r\n\r\n"))
            .body("abc"),
        accept("9112 7.1", "data that looks like chunks", chunked("5\r\n0\r\n\r\n\r\n0\r\n\r\n"))
            .body("0\r\n\r\n"),
        accept("9112 7.1", "data that looks like a request", chunked("e\r\nGET / HTTP/1.1\r\n0\r\n\r\n"))
            .body("GET / HTTP/1.1"),
        accept("9112 7.1", "data of any bytes", chunked(b"6\r\n\0\r\n\n\xff\r\r\n0\r\n\r\n"))
            .body(b"\0\r\n\n\xff\r"),
        accept("9112 7.1", "data of line ends", chunked("4\r\n\r\n\r\n\r\n0\r\n\r\n")).body("\r\n\r\n"),
        incomplete("9112 8", "no last chunk", chunked("5\r\nhello\r\n")),
        incomplete("9112 8", "no end of the trailer section", chunked("5\r\nhello\r\n0\r\n")),
        incomplete("9112 8", "half an end", chunked("5\r\nhello\r\n0\r\n\r")),
        incomplete("9112 8", "half a chunk", chunked("5\r\nhel")),
        incomplete("9112 8", "half a size", chunked("5")),
        incomplete("9112 8", "half an extension", chunked("5;a")),
        incomplete("9112 8", "data that holds what was meant for the end", chunked("5\r\n\r\n0\r\n\r\n")),
        incomplete("9112 8", "no chunk at all", chunked("")),
    ];
    for (size, length) in [
        ("5", 5),
        ("05", 5),
        ("00000005", 5),
        ("0000000000000005", 5),
        ("a", 10),
        ("A", 10),
        ("1f", 31),
        ("1F", 31),
        ("fF", 255),
        ("0100", 256),
    ] {
        let data = "x".repeat(length);
        let bytes = chunked(format!("{size}\r\n{data}\r\n0\r\n\r\n"));
        cases.push(accept("9112 7.1", format!("a size of {size}"), bytes).body(data));
    }
    for last in ["0", "00", "000", "0000000000000000"] {
        let bytes = chunked(format!("1\r\na\r\n{last}\r\n\r\n"));
        cases.push(accept("9112 7.1", format!("a last chunk of {last}"), bytes).body("a"));
    }
    cases
}

fn sizes() -> Vec<Case> {
    let mut cases = Vec::new();
    for size in [
        "",
        "x",
        "g",
        "-5",
        "+5",
        "-0",
        "0x5",
        "0X5",
        "x5",
        "5x",
        "5h",
        "5.",
        "5.0",
        "5,",
        "5,5",
        "5_",
        "1_0",
        "5 5",
        "\"5\"",
        "'5'",
        "(5)",
        "$5",
        "%35",
        "#5",
        "5:",
        "5=",
        "5%",
        "5\0",
        "\u{5}",
        "5\x0b",
        "5\x0c",
        "\u{ff15}",
        "\u{a0}5",
        "NaN",
        "five",
        "hello",
        // Whitespace is in no place of the grammar.
        " 5",
        "5 ",
        "\t5",
        "5\t",
        "  5  ",
        "5 \t",
        " ",
        // More than 64 bits hold.
        "10000000000000000",
        "10000000000000005",
        "fffffffffffffffff",
        "100000000000000000000000000000005",
        "00000000000000005",
    ] {
        let bytes = chunked(format!("{size}\r\nhello\r\n0\r\n\r\n"));
        cases.push(refuse("9112 7.1", format!("a size of {:?}", shown(size)), bytes));
        if !size.is_empty() {
            let bytes = chunked(format!("1\r\na\r\n{size}\r\nhello\r\n0\r\n\r\n"));
            cases.push(refuse("9112 7.1", format!("a second size of {:?}", shown(size)), bytes));
        }
    }
    for size in ["-0", "0x0", "0 ", " 0", "0\t", "+0", "0.", "0,"] {
        let bytes = chunked(format!("5\r\nhello\r\n{size}\r\n\r\n"));
        cases.push(refuse("9112 7.1", format!("a last size of {size:?}"), bytes));
    }
    for size in ["ffffffffffffffff", "8000000000000000", "7fffffffffffffff", "100000000", "ffffffff", "1001"]
    {
        let bytes = chunked(format!("{size}\r\nhello"));
        cases.push(refuse("9110 15.5.14", format!("a size of {size}, beyond the limit"), bytes).with(&[413]));
    }
    cases
}

/// `chunk-ext = *( ";" chunk-ext-name [ "=" chunk-ext-val ] )`; the whitespace that section 7.1.1 lets a recipient
/// forgive is refused.
fn extensions() -> Vec<Case> {
    let mut cases = Vec::new();
    for extension in [
        ";a",
        ";a=b",
        ";a=1",
        ";a;b",
        ";a=b;c=d",
        ";a;b=c;d",
        ";a=\"\"",
        ";a=\"b\"",
        ";a=\"b c\"",
        ";a=\"b\tc\"",
        ";a=\"b;c=d\"",
        ";a=\"b\\\"c\"",
        ";a=\"\\\\\"",
        ";a=\"\\b\"",
        ";a=\"\\ \"",
        ";a=\"b\";c",
        ";a=\"=\"",
        ";a=\"(),/:;<=>?@[]{}\"",
        ";a=\"caf\u{e9}\"",
        ";!#$%&'*+-.^_`|~09AZaz=!#$%&'*+-.^_`|~09AZaz",
    ] {
        let on_data = chunked(format!("5{extension}\r\nhello\r\n0\r\n\r\n"));
        cases.push(accept("9112 7.1.1", extension, on_data).body("hello"));
        let on_last = chunked(format!("5\r\nhello\r\n0{extension}\r\n\r\n"));
        cases.push(accept("9112 7.1.1", format!("{extension} on the last chunk"), on_last).body("hello"));
    }
    for extension in NO_EXTENSIONS {
        let on_data = chunked(format!("5{extension}\r\nhello\r\n0\r\n\r\n"));
        cases.push(refuse("9112 7.1.1", shown(extension), on_data));
        let on_last = chunked(format!("5\r\nhello\r\n0{extension}\r\n\r\n"));
        cases.push(refuse("9112 7.1.1", format!("{} on the last chunk", shown(extension)), on_last));
    }
    let long = format!("5;a={}\r\nhello\r\n0\r\n\r\n", "b".repeat(9000));
    cases
        .push(refuse("9112 7.1.1", "an extension that goes on and on", chunked(long)).with(&[400, 413, 431]));
    cases
}

/// Data is as long as its size says, and both lines end in CR LF.
fn data() -> Vec<Case> {
    let mut cases = Vec::new();
    for body in [
        // More or less data than the size says.
        "5\r\nhello!\r\n0\r\n\r\n",
        "5\r\nhello\r\n\r\n0\r\n\r\n",
        "5\r\nhell\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello 0\r\n\r\n",
        "4\r\nhello\r\n0\r\n\r\n",
        "1\r\n\r\n0\r\n\r\n",
        "5hello\r\n0\r\n\r\n",
        "5\r\nhello\r\n5\r\nworld!\r\n0\r\n\r\n",
        "hello",
        "hello\r\n",
        "\r\n5\r\nhello\r\n0\r\n\r\n",
        "\r\n\r\n",
        "5\r\nhello\r\n\r\n",
        // Bare LF.
        "5\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhello\r\n0\n\r\n",
        "5\r\nhello\r\n0\r\n\n",
        "5\nhello\n0\n\n",
        "5\r\n\nhello\r\n0\r\n\r\n",
        "5;a\nhello\r\n0\r\n\r\n",
        "5\r\nhello\n\r0\r\n\r\n",
        // Bare CR.
        "5\rhello\r\n0\r\n\r\n",
        "5\r\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello\r0\r\n\r\n",
        "5\r\nhello\r\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\r\n\r\n",
        "5\r\nhello\r\n0\r0\r\n\r\n",
        "5\r\nhello\r\n0\r\n\r\r\n",
        "5\r\nhello\r\n0\r\n\rX",
        "5;a\rhello\r\n0\r\n\r\n",
    ] {
        cases.push(refuse("9112 7.1", shown(body), chunked(body)));
    }
    cases
}

/// What the grammar of extensions does not have.
const NO_EXTENSIONS: &[&str] = &[
    ";",
    ";;",
    ";a;",
    ";;a",
    ";=",
    ";=b",
    ";a=",
    ";a=;b",
    ";a=b=c",
    ";a=b,c",
    ";a,b",
    ";a b",
    ";a=b c",
    ";a:b",
    ";a/b",
    ";a=(b)",
    ";a=[b]",
    ";a=b@c",
    ";\"a\"",
    ";\"a\"=b",
    ";a=\"b",
    ";a=b\"",
    ";a=\"b\"c",
    ";a=\"b\"\"c\"",
    ";a=\"b\\\"",
    ";a=\"b\\\"c",
    ";a='b c'",
    ",a",
    ":a",
    "=a",
    "&a=b",
    ";caf\u{e9}",
    ";a=caf\u{e9}",
    ";\0",
    ";a\0",
    ";a=\0",
    ";a=\"\0\"",
    ";a=\"\\\0\"",
    ";a=\"\x01\"",
    ";a=\"\\\x01\"",
    ";a=\"\x7f\"",
    ";a=\x7f",
    ";\x0b",
    ";a=\"\x0b\"",
    // BWS: bad, and here refused.
    " ;a",
    ";a ",
    "; a",
    ";a =b",
    ";a= b",
    ";a=b ",
    ";a ;b",
    ";a=\"b\" ",
    ";a=\"b\" ;c",
    "\t;a",
    ";\ta",
    ";a\t=\tb",
    ";a\t",
    "; ",
    " ;",
    // Lines that do not end where they should.
    ";a\n",
    ";a=\"\n\"",
    ";a\r",
    ";a=\"\r\"",
    ";a=\"\r\n\"",
    ";\n",
    ";\r",
];
