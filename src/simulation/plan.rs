//! What one peer is going to do: its requests, how it sends and reads them, and how it ends.

use super::application::{COLLECTED, bytes};
use crate::runtime::Random;
use crate::server::Deadlines;

/// One request, and what must come back.
#[expect(clippy::struct_excessive_bools, reason = "facts of one request, independent of each other")]
pub(super) struct Ask {
    pub(super) bytes: Vec<u8>,
    /// How long its head is.
    pub(super) head: usize,
    pub(super) expects: Expects,
    /// The client waits for `100 (Continue)` before it sends the body.
    pub(super) waits_for_continue: bool,
    /// The answer may come before all of the request.
    pub(super) is_answered_early: bool,
    /// The connection may end with its answer.
    pub(super) may_close: bool,
    /// The client itself says that it is its last.
    pub(super) says_close: bool,
    pub(super) is_head: bool,
    /// The most the handler takes, in microseconds, with nobody in its way.
    pub(super) takes: u64,
}

pub(super) enum Expects {
    /// 200 with these bytes.
    Bytes(Vec<u8>),
    /// One of these.
    Status(&'static [u16]),
}

/// What a peer does when it has sent all that it wants to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// Nothing any more.
    Stalls,
    /// Says that nothing more comes, and reads on.
    Finishes,
    /// Closes, once everything is answered.
    Closes,
    /// Closes at once.
    Vanishes,
    /// Resets the connection.
    Resets,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// Everything, at once.
    Promptly,
    /// So many bytes every so many microseconds.
    Slowly(usize, u64),
    Never,
}

/// All of it.
pub(super) struct Plan {
    pub(super) starts: u64,
    pub(super) asks: Vec<Ask>,
    /// Sends the next request before the one before was answered.
    pub(super) pipelines: bool,
    /// How many bytes are sent at a time at most, and how long after the ones before.
    pub(super) piece: usize,
    pub(super) gap: u64,
    pub(super) reading: Reading,
    /// How much is sent before the ending.
    pub(super) stops_at: usize,
    pub(super) ending: Ending,
    pub(super) room_to_server: usize,
    pub(super) room_to_peer: usize,
}

impl Plan {
    pub(super) fn new(random: &mut Random, connection: u64, deadlines: &Deadlines) -> Self {
        let most = if random.one_in(12) { 20 } else { 4 };
        let mut asks = Vec::new();
        for number in 0..random.between(1, most) {
            let ask = ask(random, connection, number, deadlines);
            // Behind a refusal nothing is read.
            let is_last = matches!(ask.expects, Expects::Status([400 | 414 | 431]))
                // A client must not send more (RFC 9112 section 9.6); some do.
                || ask.says_close && !random.one_in(4);
            asks.push(ask);
            if is_last {
                break;
            }
        }
        let length = asks.iter().map(|ask| ask.bytes.len()).sum::<usize>() as u64;
        let stops_early = random.one_in(4);
        // Byte by byte where there are few, else in many pieces: a run is to be short.
        let least = 1 + length as usize / 100;
        let piece = match random.below(5) {
            0 => least,
            1 | 2 => least + random.length(4096),
            _ => usize::MAX,
        };
        let ending = match random.below(6) {
            0 => Ending::Stalls,
            1 => Ending::Finishes,
            2 if stops_early => Ending::Vanishes,
            3 if stops_early => Ending::Resets,
            4 => Ending::Vanishes,
            _ if stops_early => Ending::Stalls,
            _ => Ending::Closes,
        };
        Self {
            starts: random.below(20) * random.below(60_000),
            pipelines: random.one_in(2),
            // A head and a piece of a body come in time, however they are cut.
            gap: random.below((deadlines.head.as_micros() as u64 / 2 / (length + 1)).clamp(2, 1_000)),
            piece,
            reading: match random.below(10) {
                0 => Reading::Never,
                1 => Reading::Slowly(200 + random.length(16_384), random.between(100, 20_000)),
                _ => Reading::Promptly,
            },
            stops_at: if stops_early { random.below(length + 1) } else { length } as usize,
            ending,
            room_to_server: 100 + random.length(256 << 10),
            room_to_peer: 100 + random.length(512 << 10),
            asks,
        }
    }
}

const NO_HOST: &str = "GET / HTTP/1.1\r\n\r\n";
const GARBAGE: &str = "\u{1}\u{2}\u{3} garbage\r\n\r\n";
const BAD_CHUNK: &str =
    "POST /collect/0/0/0/0 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n\r\n";
const TWO_LENGTHS: &str =
    "POST /plain/0/0/0/0 HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx";

/// Sometimes a request that must be refused.
fn refused(random: &mut Random) -> Option<Ask> {
    let (text, expects): (String, &[u16]) = match random.below(80) {
        0 => (NO_HOST.to_owned(), &[400]),
        1 => (GARBAGE.to_owned(), &[400]),
        2 => (BAD_CHUNK.to_owned(), &[400]),
        3 => (TWO_LENGTHS.to_owned(), &[400]),
        4 => (format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(20_000)), &[431]),
        5 => (format!("GET /{} HTTP/1.1\r\nHost: a\r\n\r\n", "x".repeat(9_000)), &[414]),
        _ => return None,
    };
    Some(Ask {
        head: text.find("\r\n\r\n").map_or(text.len(), |end| end + 4),
        bytes: text.into_bytes(),
        expects: Expects::Status(expects),
        waits_for_continue: false,
        // Often what is wrong is seen before the end.
        is_answered_early: true,
        may_close: true,
        says_close: false,
        is_head: false,
        takes: 0,
    })
}

fn ask(random: &mut Random, connection: u64, number: u64, deadlines: &Deadlines) -> Ask {
    if let Some(refused) = refused(random) {
        return refused;
    }
    let most_wait = deadlines.handler.as_millis() as u64 / 2;
    let most = if random.one_in(16) { 300 << 10 } else { 3_000 };
    let length = random.length(most);
    let wait = random.length(most_wait.min(200)) as u64;
    let of = |length| Expects::Bytes(bytes(connection, number, 0, length));
    let back = |length| Expects::Bytes(bytes(connection, number + BODY, 0, length));
    let collected = if length > COLLECTED { Expects::Status(&[413]) } else { back(length) };
    // Kind, a, b, the request's body, what comes back, milliseconds.
    let (kind, a, b, body, expects, takes) = match random.below(20) {
        0..=5 => ("plain", length, 0, None, of(length), 0),
        6..=8 => ("wait", length, wait as usize, None, of(length), wait),
        9 => ("ask", length, 0, None, of(length), 0),
        10..=12 => ("collect", 0, random.below(2) as usize * wait as usize, Some(length), collected, wait),
        13 | 14 => ("sendback", 0, 0, Some(length), back(length), 0),
        15 | 16 => {
            let piece = 1 + length / random.between(1, 12) as usize;
            ("stream", length, piece, None, of(length), 30)
        }
        17 => ("plain", length, 0, Some(length.min(COLLECTED)), of(length), 0),
        18 if random.one_in(2) => ("panic", 0, 0, None, Expects::Status(&[500]), 0),
        18 => ("panics", 0, wait as usize, None, Expects::Status(&[500]), wait),
        _ if random.one_in(3) => {
            ("hang", 0, 0, None, Expects::Status(&[503]), deadlines.handler.as_millis() as u64)
        }
        _ => ("missing", 0, 0, None, Expects::Status(&[404]), 0),
    };
    let target = format!("/{kind}/{connection}/{number}/{a}/{b}");
    let is_head = body.is_none() && random.one_in(20);
    let closes = random.one_in(30);
    let is_old = body.is_none() && random.one_in(40);
    let is_refused = matches!(expects, Expects::Status([413]));
    let reads_body = matches!(kind, "collect" | "sendback");
    let method = if is_head {
        "HEAD"
    } else if body.is_some() {
        "POST"
    } else {
        "GET"
    };
    let version = if is_old { "HTTP/1.0" } else { "HTTP/1.1" };
    let mut text = format!("{method} {target} {version}\r\nHost: a\r\n");
    if closes {
        text.push_str("Connection: close\r\n");
    }
    let mut waits_for_continue = false;
    let mut after = Vec::new();
    if let Some(length) = body {
        let content = bytes(connection, number + BODY, 0, length);
        waits_for_continue = reads_body && length > 0 && random.one_in(5);
        if waits_for_continue {
            text.push_str("Expect: 100-continue\r\n");
        }
        if random.one_in(2) {
            text = format!("{text}Content-Length: {length}\r\n");
            after = content;
        } else {
            text.push_str("Transfer-Encoding: chunked\r\n");
            chunk(random, &content, &mut after);
        }
    }
    text.push_str("\r\n");
    let head = text.len();
    let mut bytes = text.into_bytes();
    bytes.extend_from_slice(&after);
    Ask {
        bytes,
        head,
        expects: match expects {
            Expects::Bytes(_) if is_head => Expects::Status(&[200]),
            expects => expects,
        },
        waits_for_continue,
        is_answered_early: body.is_some() && (kind != "collect" || is_refused),
        may_close: closes
            || is_old
            || is_refused
            || body.is_some() && !reads_body
            || is_head && kind == "stream",
        says_close: closes || is_old,
        is_head,
        takes: takes * 1_000,
    }
}

/// What the bytes of a request's body differ in from those of its response.
const BODY: u64 = 1 << 20;

fn chunk(random: &mut Random, mut content: &[u8], out: &mut Vec<u8>) {
    while !content.is_empty() {
        let length = if random.one_in(3) {
            content.len()
        } else {
            (1 + content.len() / 20 + random.length(20_000)).min(content.len())
        };
        out.extend_from_slice(format!("{length:x}\r\n").as_bytes());
        out.extend_from_slice(&content[..length]);
        out.extend_from_slice(b"\r\n");
        content = &content[length..];
    }
    out.extend_from_slice(b"0\r\n\r\n");
}
