//! The functions that the fuzz targets run; `fuzz/README.md` says how. The unit tests run them on the seeds.
//!
//! Each function takes any bytes, and panics where the engine breaks a promise.

use crate::bytes::Bytes;
use crate::h1::oracle::reference;
use crate::h1::oracle::replay::{End, chunked as encode, decode, replay};
use crate::h1::{framing, parse};
use crate::http::headers::{is_token, is_value};
use crate::http::limits::Limits;
use crate::http::request::Head;

/// Any bytes as a request's head: what is accepted lies within them and is what it is called.
pub fn head(data: &[u8]) {
    let limits = Limits::default();
    let mut head = Head::default();
    let input = Bytes::from(data.to_vec());
    let Ok(Some(length)) = parse::head(&input, &limits, &mut head) else { return };
    assert!(length <= data.len() && data[..length].ends_with(b"\r\n\r\n"));
    assert!(is_token(head.method.as_str().as_bytes()));
    let (target, path) = (&head.target, &head.path);
    assert!(target.start < target.end && usize::from(target.end) <= length);
    assert!(target.start <= path.start && path.start <= path.end && path.end <= target.end);
    let text = &data[target.start as usize..target.end as usize];
    assert!(text.iter().all(u8::is_ascii_graphic));
    for (name, value) in head.headers.iter() {
        assert!(is_token(name.as_bytes()) && is_value(value));
    }
    // The head's last byte was needed, and bytes behind the head change nothing.
    let mut again = Head::default();
    assert_eq!(parse::head(&input.slice(..length - 1), &limits, &mut again), Ok(None));
    assert_eq!(parse::head(&input.slice(..length), &limits, &mut again), Ok(Some(length)));
    assert!(again.headers.iter().eq(head.headers.iter()));
    let _ = framing::accept(&mut head, &mut framing::KnownHost::default());
}

/// A chunked body decodes the same whole and in pieces, and what was decoded comes through once more.
pub fn chunked(data: &[u8]) {
    let limits = Limits::default();
    let (pieces, whole) = pieces(data);
    let decoded = decode([whole], &limits);
    assert_eq!(decode(pieces, &limits), decoded);
    assert_eq!(decode(whole.chunks(1), &limits), decoded);
    let encoded = encode(decoded.content.chunks(9));
    let again = decode([&encoded[..]], &limits);
    assert_eq!(again.content, decoded.content);
    assert_eq!(again.end, Some(Ok(encoded.len())));
}

/// A connection sees the same requests, and answers them the same, wherever its bytes are cut.
pub fn connection(data: &[u8]) {
    let (pieces, whole) = pieces(data);
    cut_alike(pieces, whole);
}

/// Holds what a connection makes of these pieces against what it makes of the whole.
pub(crate) fn cut_alike(mut pieces: Vec<&[u8]>, whole: &[u8]) {
    // An unfinished line may be refused at once or at its end; behind this there is none.
    let end = b"\r\n\r\n";
    let whole = [whole, end].concat();
    pieces.push(end);
    let limits = Limits::default();
    let expected = replay([&whole[..]], &limits);
    let found = replay(pieces.clone(), &limits);
    assert_eq!(found.requests, expected.requests);
    assert_eq!(found.end, expected.end);
    assert_eq!(escaped(&found.written), escaped(&expected.written));
    // Which limit is exceeded may depend on how much there is to see, but not whether one is.
    let limits = Limits { head_bytes: 256, headers: 4, target_bytes: 32, body_bytes: 64, ..limits };
    let (found, expected) = (replay(pieces, &limits), replay([&whole[..]], &limits));
    assert_eq!(found.requests, expected.requests);
    assert_eq!(matches!(found.end, End::Refused(_)), matches!(expected.end, End::Refused(_)));
}

/// The engine and the reference parser understand the same.
pub fn reference(data: &[u8]) {
    agree(data);
}

/// Holds the engine's reading of a stream of requests against the reference parser's.
pub(crate) fn agree(input: &[u8]) {
    // Nothing within these bytes may exceed a limit: the reference has none.
    let limits = Limits { headers: Limits::MOST_HEADERS, body_bytes: u64::MAX, ..Limits::default() };
    if input.len() > 4096 {
        return;
    }
    // In single bytes, so that it is known where each request ends.
    let engine = replay(input.chunks(1), &limits);
    let (messages, end) = reference::stream(input);
    let mut length = 0;
    for (at, message) in messages.iter().enumerate() {
        let Some(seen) = engine.requests.get(at) else { break };
        length += message.length;
        assert_eq!(escaped(&seen.method), escaped(&message.method), "method");
        assert_eq!(escaped(&seen.target), escaped(&message.target), "target");
        assert_eq!(seen.minor, message.minor, "version");
        assert_eq!(escaped_fields(&seen.fields), escaped_fields(&message.fields), "fields");
        assert_eq!(escaped(&seen.content), escaped(&message.content), "content");
        assert_eq!(escaped_fields(&seen.trailers), escaped_fields(&message.trailers), "trailers");
        assert_eq!(seen.keep_alive, message.keep_alive, "whether another request may follow");
        assert_eq!(engine.whole_at[at], length, "where the request ends");
    }
    let counts = (engine.requests.len(), messages.len());
    assert_eq!(counts.0, counts.1, "requests; then the engine: {:?}, the reference: {end:?}", engine.end);
    match (engine.end, end) {
        (End::Closed, None) | (End::Waits, Some(reference::Verdict::Incomplete)) => {}
        (End::Refused(status), Some(reference::Verdict::Refused(statuses))) => {
            assert!(
                statuses.contains(&status),
                "the engine refuses with {status}, the reference: {statuses:?}"
            );
        }
        // One of them waits for the end of the line, or of the head: then it must refuse too.
        (engine @ (End::Refused(_) | End::Waits), Some(end)) => {
            let more = [input, b"\r\n\r\n"].concat();
            let refuses = match engine {
                End::Waits => matches!(replay([&more[..]], &limits).end, End::Refused(_)),
                _ => matches!(reference::stream(&more).1, Some(reference::Verdict::Refused(_))),
            };
            assert!(refuses, "the engine: {engine:?}, the reference: {end:?}");
        }
        (engine, end) => panic!("the engine: {engine:?}, the reference: {end:?}"),
    }
}

fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

fn escaped_fields(fields: &[(Vec<u8>, Vec<u8>)]) -> Vec<(String, String)> {
    fields.iter().map(|(name, value)| (escaped(name), escaped(value))).collect()
}

/// The first byte says how many bytes (at most 15) follow that say how long the first pieces are; the last piece is
/// what is left. Both the pieces and the whole.
fn pieces(data: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let Some((count, data)) = data.split_first() else { return (Vec::new(), data) };
    let (lengths, whole) = data.split_at(usize::from(count % 16).min(data.len()));
    let mut pieces = Vec::new();
    let mut rest = whole;
    for length in lengths {
        let (piece, after) = rest.split_at(usize::from(*length).min(rest.len()));
        pieces.push(piece);
        rest = after;
    }
    pieces.push(rest);
    pieces.retain(|piece| !piece.is_empty());
    (pieces, whole)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    #[test]
    fn every_seed_passes_its_target() {
        let targets = [
            ("head", super::head as fn(&[u8])),
            ("chunked", super::chunked),
            ("connection", super::connection),
            ("reference", super::reference),
        ];
        for (name, target) in targets {
            let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds").join(name);
            let seeds: Vec<_> = fs::read_dir(&folder).unwrap().map(|seed| seed.unwrap().path()).collect();
            assert!(!seeds.is_empty(), "no seeds in {}", folder.display());
            for seed in seeds {
                println!("{}", seed.display());
                target(&fs::read(seed).unwrap());
            }
        }
    }
}
