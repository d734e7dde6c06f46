//! Header fields: names, values, and the lines they stand on (RFC 9112 section 5, RFC 9110 section 5).

use crate::case::{Case, accept, get, refuse, shown};

pub(crate) fn cases() -> Vec<Case> {
    [good(), names(), values(), lines()].into_iter().flatten().collect()
}

fn good() -> Vec<Case> {
    vec![
        accept("9112 5", "a field", get("X: y\r\n")).field("X", "y"),
        accept("9112 5", "no whitespace before the value", get("X:y\r\n")).field("X", "y"),
        accept("9112 5", "spaces around the value", get("X:   y  \r\n")).field("X", "y"),
        accept("9112 5", "tabs around the value", get("X:\ty\t\r\n")).field("X", "y"),
        accept("9112 5", "spaces and tabs around the value", get("X: \t y \t \r\n")).field("X", "y"),
        accept("9110 5.5", "an empty value", get("X:\r\n")).field("X", ""),
        accept("9110 5.5", "an empty value behind a space", get("X: \r\n")).field("X", ""),
        accept("9110 5.5", "a value of whitespace", get("X: \t \r\n")).field("X", ""),
        accept("9110 5.5", "whitespace within a value", get("X: a  b\tc\r\n")).field("X", "a  b\tc"),
        accept("9110 5.5", "colons within a value", get("X: a:b::c\r\n")).field("X", "a:b::c"),
        accept("9110 5.5", "a value that begins with a colon", get("X::a\r\n")).field("X", ":a"),
        accept("9110 5.5", "quotes and brackets", get("X: \"a\\\"b\" (c) <d> {e} [f]\r\n"))
            .field("X", "\"a\\\"b\" (c) <d> {e} [f]"),
        accept("9110 5.5", "a quote that does not end", get("X: \"a\r\n")).field("X", "\"a"),
        accept("9110 5.5", "obs-text", get(b"X: caf\xe9\r\n")).field("X", "caf\u{e9}"),
        accept("9110 5.5", "obs-text alone", get(b"X: \x80\xff\r\n")).field("X", "\u{80}\u{ff}"),
        accept("9110 5.5", "a no-break space is no whitespace", get(b"X: \xa0y\xa0\r\n"))
            .field("X", "\u{a0}y\u{a0}"),
        accept("9110 5.2", "a field that repeats", get("X: a\r\nY: b\r\nX: c\r\n"))
            .field("X", "a")
            .field("X", "c"),
        accept("9110 5.1", "a name in another case", get("x-ODD: y\r\n")).field("x-ODD", "y"),
        accept("9110 5.1", "a name of one character", get("!: y\r\n")).field("!", "y"),
        accept("9110 5.1", "a name of every character", get("!#$%&'*+-.^_`|~09AZaz: y\r\n"))
            .field("!#$%&'*+-.^_`|~09AZaz", "y"),
        accept("9110 5.1", "a name of digits", get("1: y\r\n")).field("1", "y"),
        accept("9110 5.3", "no field but Host", get("")),
    ]
}

fn names() -> Vec<Case> {
    let mut cases = vec![
        refuse("9112 5.1", "a space before the colon", get("X : y\r\n")),
        refuse("9112 5.1", "a tab before the colon", get("X\t: y\r\n")),
        refuse("9112 5.1", "spaces before the colon", get("X   : y\r\n")),
        refuse("9112 5.1", "a space before Host's colon", "GET / HTTP/1.1\r\nHost : kiang.test\r\n\r\n"),
        refuse("9112 5.1", "a space before an empty value's colon", get("X :\r\n")),
        refuse("9110 5.1", "an empty name", get(": y\r\n")),
        refuse("9110 5.1", "an empty name and value", get(":\r\n")),
        refuse("9110 5.1", "a space for a name", get(" : y\r\n")),
        refuse("9110 5.1", "two words", get("X Y: z\r\n")),
        refuse("9110 5.1", "UTF-8", get("caf\u{e9}: y\r\n")),
    ];
    let other = (0..=0x1f_u8).filter(|byte| !b"\r\n".contains(byte)).chain([b' ', 0x7f, 0x80, 0xff]);
    for byte in other.chain(*b"\"(),/;<=>?@[\\]{}") {
        let name = shown([byte]);
        let within = get([b"X", &[byte][..], b"Y: z\r\n"].concat());
        cases.push(refuse("9110 5.6.2", format!("{name} in a name"), within));
        let first = get([&[byte][..], b"X: z\r\n"].concat());
        cases.push(refuse("9110 5.6.2", format!("{name} before a name"), first));
    }
    cases
}

fn values() -> Vec<Case> {
    let mut cases = Vec::new();
    let controls = (0..=0x1f_u8).filter(|byte| !b"\t\r\n".contains(byte)).chain([0x7f]);
    for byte in controls {
        for (place, value) in [
            ("within a value", [b"a", &[byte][..], b"b"].concat()),
            ("before a value", [&[byte][..], b"a"].concat()),
            ("behind a value", [b"a", &[byte][..]].concat()),
        ] {
            let bytes = get([b"X: ", &value[..], b"\r\n"].concat());
            cases.push(refuse("9110 5.5", format!("{} {place}", shown([byte])), bytes));
        }
    }
    cases
}

/// Lines end in CR LF, and none goes on in the next.
fn lines() -> Vec<Case> {
    let mut cases = vec![
        refuse("9112 5", "a line without a colon", get("X\r\n")),
        refuse("9112 5", "a line of words", get("this is no field\r\n")),
        refuse("9112 5", "a line with an equals sign", get("X=y\r\n")),
        refuse("9112 5", "a line of whitespace", get(" \r\n")),
        refuse("9112 5", "a line of a tab", get("\t\r\n")),
        refuse(
            "9112 2.2",
            "whitespace before the first field",
            "GET / HTTP/1.1\r\n Host: kiang.test\r\n\r\n",
        ),
        refuse("9112 2.2", "a tab before the first field", "GET / HTTP/1.1\r\n\tHost: kiang.test\r\n\r\n"),
        refuse("9112 2.2", "a second request line", get("GET / HTTP/1.1\r\n")),
    ];
    for fold in [
        "X: a\r\n b\r\n",
        "X: a\r\n\tb\r\n",
        "X: a\r\n \r\n",
        "X:\r\n a\r\n",
        "X: a \r\n  b\r\n",
        "X: a\r\n b\r\n c\r\n",
        "X: a\r\n b: c\r\n",
    ] {
        cases.push(refuse("9112 5.2", format!("folded: {}", shown(fold)), get(fold)));
    }
    let host = "GET / HTTP/1.1\r\nHost:\r\n kiang.test\r\n\r\n";
    cases.push(refuse("9112 5.2", "Host folded", host));
    for bad in [
        "X: a\nY: b\r\n",
        "X: a\n\r\n",
        "X\n: a\r\n",
        "X:\na\r\n",
        "X: a\n b\r\n",
        "\nX: a\r\n",
        "X: a\r\n\nY: b\r\n",
    ] {
        cases.push(refuse("9112 2.2", format!("bare LF: {}", shown(bad)), get(bad)));
    }
    for bad in [
        "X: a\rY: b\r\n",
        "X: a\r\r\n",
        "X\r: a\r\n",
        "X:\ra\r\n",
        "X: \r\r\n",
        "\rX: a\r\n",
        "X: a\r b\r\n",
        "X: a\r\n\rY: b\r\n",
    ] {
        cases.push(refuse("9112 2.2", format!("bare CR: {}", shown(bad)), get(bad)));
    }
    cases
}
