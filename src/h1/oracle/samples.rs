//! Requests made up from the grammar (RFC 9112), and ways to spoil them, for the property tests.

use crate::h1::oracle::reference::{Field, Message};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use std::fmt;
use std::net::Ipv6Addr;

/// A request, and how it is written.
#[derive(Clone)]
pub(super) struct Sample {
    empty_lines: usize,
    method: String,
    target: String,
    minor: u8,
    lines: Vec<Line>,
    body: Body,
}

/// A field line: name, whitespace, value, whitespace.
type Line = (String, String, Vec<u8>, String);

#[derive(Clone, Debug)]
enum Body {
    None,
    Length(Vec<u8>),
    Chunked(Vec<Chunk>, LastChunk),
}

/// Leading zeros of the size, whether it is written in capitals, extensions, content.
type Chunk = (usize, bool, String, Vec<u8>);

/// How many zeros, extensions, trailers.
type LastChunk = (usize, String, Vec<Line>);

impl Sample {
    /// The request as bytes.
    pub(super) fn written(&self) -> Vec<u8> {
        let mut out = b"\r\n".repeat(self.empty_lines);
        out.extend(format!("{} {} HTTP/1.{}\r\n", self.method, self.target, self.minor).into_bytes());
        write_lines(&self.lines, &mut out);
        out.extend(b"\r\n");
        match &self.body {
            Body::None => {}
            Body::Length(content) => out.extend(content),
            Body::Chunked(chunks, (zeros, extensions, trailers)) => {
                for (zeros, capitals, extensions, content) in chunks {
                    let size = content.len();
                    let digits = if *capitals { format!("{size:X}") } else { format!("{size:x}") };
                    out.extend(format!("{}{digits}{extensions}\r\n", "0".repeat(*zeros)).into_bytes());
                    out.extend(content);
                    out.extend(b"\r\n");
                }
                out.extend(format!("{}{extensions}\r\n", "0".repeat(*zeros)).into_bytes());
                write_lines(trailers, &mut out);
                out.extend(b"\r\n");
            }
        }
        out
    }

    /// The message that a reader must find in this request.
    pub(super) fn message(&self) -> Message {
        let (content, trailers) = match &self.body {
            Body::None => (Vec::new(), Vec::new()),
            Body::Length(content) => (content.clone(), Vec::new()),
            Body::Chunked(chunks, (_, _, trailers)) => {
                (chunks.iter().flat_map(|chunk| chunk.3.clone()).collect(), fields(trailers))
            }
        };
        let option = self.lines.iter().find(|line| line.0.eq_ignore_ascii_case("connection"));
        let option = option.map(|line| line.2.to_ascii_lowercase()).unwrap_or_default();
        Message {
            method: self.method.clone().into_bytes(),
            target: self.target.clone().into_bytes(),
            minor: self.minor.min(1),
            fields: fields(&self.lines),
            content,
            trailers,
            length: self.written().len(),
            // As `connection` below makes them.
            keep_alive: !option.ends_with(b"close") && (self.minor > 0 || option == b"keep-alive"),
        }
    }
}

impl fmt::Debug for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.written().escape_ascii())
    }
}

fn write_lines(lines: &[Line], out: &mut Vec<u8>) {
    for (name, before, value, after) in lines {
        for part in [name.as_bytes(), b":", before.as_bytes(), value, after.as_bytes(), b"\r\n"] {
            out.extend(part);
        }
    }
}

fn fields(lines: &[Line]) -> Vec<Field> {
    lines.iter().map(|(name, _, value, _)| (name.clone().into_bytes(), value.clone())).collect()
}

/// Any request that must be accepted.
pub(super) fn samples() -> impl Strategy<Value = Sample> {
    let parts =
        (0..3_usize, methods_and_targets(), minors(), vec(line("(X-)?"), 0..4), option::of(connection()));
    (parts, bodies(), line("Host"), authority(), any::<bool>(), any::<Index>()).prop_map(
        |((empty_lines, (method, target), minor, mut lines, connection), body, host, authority, bare, at)| {
            // HTTP/1.0 has no chunks.
            let body = if minor == 0 && matches!(body, Body::Chunked(..)) { Body::None } else { body };
            let (before, after) = (host.1, host.3);
            let own = |name: &str, value: Vec<u8>| (name.to_owned(), before.clone(), value, after.clone());
            let mut insert = |line| lines.insert(at.index(lines.len() + 1), line);
            if minor > 0 || !bare {
                insert(own(if bare { "host" } else { "Host" }, authority.into_bytes()));
            }
            if let Some(connection) = connection {
                insert(own("Connection", connection.as_bytes().to_vec()));
            }
            match &body {
                Body::None => {}
                Body::Length(content) => {
                    insert(own("Content-length", content.len().to_string().into_bytes()));
                }
                Body::Chunked(..) => {
                    insert(own("Transfer-Encoding", if bare { "Chunked" } else { "chunked" }.into()));
                }
            }
            if bare && minor > 0 && !matches!(body, Body::None) {
                insert(own("Expect", b"100-continue".to_vec()));
            }
            Sample { empty_lines, method, target, minor, lines, body }
        },
    )
}

/// Mostly the two that there are.
fn minors() -> impl Strategy<Value = u8> {
    prop_oneof![6 => Just(1_u8), 2 => Just(0), 1 => 2..=9_u8]
}

/// The forms of a target, each with a method that may have it (RFC 9112 section 3.2). CONNECT is refused.
fn methods_and_targets() -> impl Strategy<Value = (String, String)> {
    const PATH: &str = r"/([-A-Za-z0-9._~!$&'()*+,;=:@/]|[|\[\]^]|%[0-9A-Fa-f]{2}){0,8}";
    const QUERY: &str = r"(\?([-A-Za-z0-9._~!$&'()*+,;=:@/?]|[%{}\\`]|%[0-9A-Fa-f]{2}){0,8})?";
    let methods = || {
        let known = select(vec!["GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "get"]);
        let token = "[A-Z!#$%&'*+.^_`|~0-9a-z-]{1,9}"
            .prop_filter("has a rule of its own", |method| !matches!(&method[..], "CONNECT" | "TRACE"));
        prop_oneof![known.prop_map(str::to_owned), token]
    };
    let origin = (PATH, QUERY).prop_map(|(path, query)| path + &query);
    let schemes = select(vec!["http", "https", "HTTP"]);
    let absolute =
        (schemes, authority(), option::of(PATH), QUERY).prop_map(|(scheme, authority, path, query)| {
            format!("{scheme}://{authority}{}{query}", path.unwrap_or_default())
        });
    prop_oneof![
        5 => (methods(), origin),
        2 => (methods(), absolute),
        1 => Just(("OPTIONS".to_owned(), "*".to_owned())),
    ]
}

/// `uri-host [ ":" port ]`
fn authority() -> impl Strategy<Value = String> {
    (host(), "(:([0-9]{0,4}|0*65535))?").prop_map(|(host, port)| host + &port)
}

/// RFC 3986 section 3.2.2
fn host() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => r"([-A-Za-z0-9._~!$&'()*+,;=]|%[0-9A-Fa-f]{2}){1,8}",
        1 => "[0-9]{1,2}\\.[0-9]\\.[0-9]\\.[0-9]{1,2}",
        1 => any::<Ipv6Addr>().prop_map(|address| format!("[{address}]")),
        1 => select(vec!["[::]", "[::1]", "[1::]", "[::FFFF:1.2.3.4]", "[1:2:3:4:5:6:7::]"])
            .prop_map(str::to_owned),
    ]
}

/// Connection options: one that ends the connection, one that keeps it, or one that does neither.
fn connection() -> impl Strategy<Value = &'static str> {
    select(vec!["close", "Close", "x, close", ",x , ,close", "keep-alive", "Keep-Alive", "closed", "x"])
}

/// A field line that means nothing to the engine.
fn line(name: &'static str) -> impl Strategy<Value = Line> {
    let own = ["content-length", "transfer-encoding", "host", "connection", "expect"];
    let name = (name, "[A-Z!#$%&'*+.^_`|~0-9a-z-]{1,9}")
        .prop_map(|(prefix, token)| prefix + &token)
        .prop_filter("is made elsewhere", move |name| !own.iter().any(|own| name.eq_ignore_ascii_case(own)));
    let common = select(vec!["Accept", "Cookie", "Date", "User-Agent"]).prop_map(str::to_owned);
    let byte = prop_oneof![8 => b' '..=b'~', 1 => Just(b'\t'), 1 => 0x80..=0xff_u8];
    let value = vec(byte, 0..12).prop_map(|value| value.trim_ascii().to_vec());
    (prop_oneof![3 => name, 1 => common], "[ \t]{0,2}", value, "[ \t]{0,2}")
}

fn bodies() -> impl Strategy<Value = Body> {
    const EXTENSIONS: &str = "(;[!#-'*+.^_`|~0-9A-Za-z-]{1,4}\
        (=([!#-'*+.^_`|~0-9A-Za-z-]{1,4}|\"([\t !#-\\[\\]-~]|\\\\[\t -~]){0,4}\"))?){0,2}";
    let content =
        |most| prop_oneof![3 => vec(any::<u8>(), 0..most), 1 => vec(select(b"0a\r\n:; ".to_vec()), 0..most)];
    let chunk = (0..3_usize, any::<bool>(), EXTENSIONS, content(20))
        .prop_filter("it is the last", |chunk| !chunk.3.is_empty());
    let trailers = vec(line("X-"), 0..3).prop_filter("may not follow", |lines| {
        lines.iter().all(|line| !matches!(&line.0[..], "Cookie" | "Date"))
    });
    let last = (1..4_usize, EXTENSIONS, trailers);
    prop_oneof![
        2 => Just(Body::None),
        2 => content(40).prop_map(Body::Length),
        3 => (vec(chunk, 0..4), last).prop_map(|(chunks, last)| Body::Chunked(chunks, last)),
    ]
}

/// One way to spoil a request, or to leave it as good as it was.
#[derive(Clone)]
pub(super) enum Mutation {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Delete(Index, usize),
    RepeatLine(Index, Index),
    DeleteLine(Index),
    Cut(Index),
}

impl fmt::Debug for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flip(_, bits) => write!(f, "flip {bits:#010b} of a byte"),
            Self::Insert(_, bytes) => write!(f, "insert b\"{}\"", bytes.escape_ascii()),
            Self::Delete(_, length) => write!(f, "delete {length} bytes"),
            Self::RepeatLine(..) => f.write_str("repeat a line"),
            Self::DeleteLine(_) => f.write_str("delete a line"),
            Self::Cut(_) => f.write_str("cut the end off"),
        }
    }
}

/// Any mutation.
pub(super) fn mutations() -> impl Strategy<Value = Mutation> {
    const WORDS: [&[u8]; 47] = [
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b" ",
        b"\t",
        b"\0",
        b"\x0b",
        b"\x7f",
        b"\x80",
        b":",
        b";",
        b",",
        b"=",
        b"%",
        b"%0",
        b"#",
        b"?",
        b"@",
        b"[",
        b"]",
        b"\"",
        b"\\",
        b"/",
        b"*",
        b"0",
        b"9",
        b"f",
        b"-",
        b"_",
        b"http://",
        b"ftp://",
        b"u@",
        b"//",
        b"HTTP/2.0",
        b"TRACE ",
        b"CONNECT ",
        b"OPTIONS ",
        b"\r\n ",
        b"Host: a\r\n",
        b"Content-Length: 1\r\n",
        b"Content-Length:\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Connection: close\r\n",
        b"Expect: 100-continue\r\n",
        b"Expect: x\r\n",
    ];
    let bit = (0..8_u32).prop_map(|bit| 1_u8 << bit);
    let words = prop_oneof![
        4 => select(WORDS.to_vec()).prop_map(<[u8]>::to_vec),
        1 => any::<u8>().prop_map(|byte| vec![byte]),
    ];
    prop_oneof![
        4 => (any::<Index>(), bit).prop_map(|(at, bit)| Mutation::Flip(at, bit)),
        6 => (any::<Index>(), words).prop_map(|(at, bytes)| Mutation::Insert(at, bytes)),
        3 => (any::<Index>(), 1..4_usize).prop_map(|(at, length)| Mutation::Delete(at, length)),
        2 => any::<(Index, Index)>().prop_map(|(line, to)| Mutation::RepeatLine(line, to)),
        1 => any::<Index>().prop_map(Mutation::DeleteLine),
        1 => any::<Index>().prop_map(Mutation::Cut),
    ]
}

impl Mutation {
    /// These bytes, spoiled.
    pub(super) fn of(&self, mut bytes: Vec<u8>) -> Vec<u8> {
        let size = bytes.len();
        let mut lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
        match self {
            _ if size == 0 => {}
            Self::Flip(at, bit) => bytes[at.index(size)] ^= bit,
            Self::Insert(at, inserted) => {
                let at = at.index(size + 1);
                bytes.splice(at..at, inserted.iter().copied());
            }
            Self::Delete(at, length) => {
                let at = at.index(size);
                bytes.drain(at..size.min(at + length));
            }
            Self::RepeatLine(line, to) => {
                let line = lines[line.index(lines.len())];
                lines.insert(to.index(lines.len() + 1), line);
                return lines.concat();
            }
            Self::DeleteLine(line) => {
                lines.remove(line.index(lines.len()));
                return lines.concat();
            }
            Self::Cut(at) => bytes.truncate(at.index(size)),
        }
        bytes
    }
}
