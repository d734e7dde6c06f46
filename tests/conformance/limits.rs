//! The limits, each met exactly and passed by one (RFC 9110 sections 15.5.14, 15.5.15 and RFC 6585 section 5).

use crate::case::{Case, accept, chunked, get, line, post, refuse};
use crate::runner::limits;

pub(crate) fn cases() -> Vec<Case> {
    [targets(), heads(), fields(), bodies()].into_iter().flatten().collect()
}

fn targets() -> Vec<Case> {
    let target = |length: usize| format!("/{}", "a".repeat(length - 1));
    let query = |length: usize| format!("/?{}", "a".repeat(length - 2));
    let most = limits().target_bytes;
    vec![
        accept("9110 15.5.15", "a target of the limit", line(format!("GET {} HTTP/1.1", target(most)))),
        accept("9110 15.5.15", "a query to the limit", line(format!("GET {} HTTP/1.1", query(most)))),
        refuse("9110 15.5.15", "a target beyond it", line(format!("GET {} HTTP/1.1", target(most + 1))))
            .with(&[414]),
        refuse("9110 15.5.15", "a query beyond it", line(format!("GET {} HTTP/1.1", query(most + 1))))
            .with(&[414]),
        refuse("9110 15.5.15", "a target beyond any head", line(format!("GET {} HTTP/1.1", target(9000))))
            .with(&[414]),
        refuse("9110 15.5.15", "a target that does not end", format!("GET {}", target(9000))).with(&[414]),
    ]
}

fn heads() -> Vec<Case> {
    let head = |length: usize| get(format!("X: {}\r\n", "y".repeat(length - get("X: \r\n").len())));
    let most = limits().head_bytes;
    let mut endless = get("");
    endless.truncate(endless.len() - 2);
    endless.extend_from_slice(&b"X: ".repeat(3000));
    vec![
        accept("6585 5", "a head of the limit", head(most)),
        refuse("6585 5", "a head beyond it", head(most + 1)).with(&[431]),
        refuse("6585 5", "a head far beyond it", head(20_000)).with(&[431]),
        refuse("6585 5", "a field that does not end", endless).with(&[431]),
    ]
}

fn fields() -> Vec<Case> {
    // Host is one of them.
    let fields = |count: usize| get("X: y\r\n".repeat(count - 1));
    let name = |length: usize| get(format!("{}: y\r\n", "X".repeat(length)));
    let most = limits().headers;
    vec![
        accept("6585 5", "as many fields as the limit", fields(most)),
        refuse("6585 5", "one more", fields(most + 1)).with(&[431]),
        refuse("6585 5", "a hundred more", fields(most + 100)).with(&[431]),
        accept("6585 5", "a name of 255 bytes", name(255)),
        refuse("6585 5", "a name of 256 bytes", name(256)).with(&[431]),
    ]
}

fn bodies() -> Vec<Case> {
    let most = usize::try_from(limits().body_bytes).expect("a small number");
    let sized = |length: usize| post(format!("Content-Length: {length}\r\n"), "a".repeat(length));
    let chunks = |first: usize, second: usize| {
        let (a, b) = ("a".repeat(first), "a".repeat(second));
        chunked(format!("{first:x}\r\n{a}\r\n{second:x}\r\n{b}\r\n0\r\n\r\n"))
    };
    vec![
        accept("9110 15.5.14", "a body of the limit", sized(most)).body("a".repeat(most)),
        refuse("9110 15.5.14", "a body beyond it", sized(most + 1)).with(&[413]),
        accept("9110 15.5.14", "chunks to the limit", chunks(most - 1, 1)).body("a".repeat(most)),
        refuse("9110 15.5.14", "chunks beyond it by the last", chunks(most, 1)).with(&[413]),
        refuse("9110 15.5.14", "chunks beyond it by the first", chunks(most + 1, 1)).with(&[413]),
    ]
}
