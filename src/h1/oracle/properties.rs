//! Properties that hold for every request, tried on made-up ones. Each run tries the same requests, until
//! `KIANG_PROPTEST_CASES` asks for more.

use crate::fuzzing::{agree, cut_alike};
use crate::h1::oracle::reference::{self, Verdict};
use crate::h1::oracle::replay::{chunked, decode, replay, replay_behind};
use crate::h1::oracle::samples::{Mutation, Sample, mutations, samples};
use crate::http::limits::Limits;
use crate::http::request::Head;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::RngSeed;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// How many cases of each property a plain `cargo test` tries.
const CASES: u32 = 256;

/// A fixed seed, so that what passed once does not fail elsewhere.
fn config() -> ProptestConfig {
    let cases = std::env::var("KIANG_PROPTEST_CASES").map_or(CASES, |cases| {
        cases.parse().unwrap_or_else(|_| panic!("KIANG_PROPTEST_CASES is {cases:?}, which is no number"))
    });
    ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(0x006b_6961_6e67),
        failure_persistence: None,
        max_shrink_iters: 20_000,
        ..ProptestConfig::default()
    }
}

/// Bytes that a failure shows as they would be written.
#[derive(Clone, PartialEq, Eq)]
struct Text(Vec<u8>);

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

/// Good requests, one behind the other, and what was done to them.
fn spoiled() -> impl Strategy<Value = Text> {
    (vec(samples(), 1..3), vec(mutations(), 0..4)).prop_map(|(samples, mutations)| {
        Text(mutations.iter().fold(joined(&samples), |bytes, mutation: &Mutation| mutation.of(bytes)))
    })
}

fn joined(samples: &[Sample]) -> Vec<u8> {
    samples.iter().flat_map(Sample::written).collect()
}

/// The pieces between these places.
fn cut<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    places.extend([0, bytes.len()]);
    places.sort_unstable();
    places.dedup();
    places.windows(2).map(|ends| &bytes[ends[0]..ends[1]]).collect()
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn what_is_written_is_what_the_reference_reads(sample in samples()) {
        prop_assert_eq!(reference::request(&sample.written()), Verdict::Accepted(sample.message()));
    }

    #[test]
    fn every_prefix_of_a_request_is_incomplete(sample in samples(), end in any::<Index>()) {
        let written = sample.written();
        let prefix = &written[..end.index(written.len())];
        prop_assert_eq!(reference::request(prefix), Verdict::Incomplete);
        agree(prefix);
    }

    #[test]
    fn what_is_written_is_what_the_engine_reads(sample in samples()) {
        let transcript = replay([&sample.written()[..]], &Limits::default());
        let message = sample.message();
        prop_assert_eq!(transcript.requests.len(), 1, "{:?}", transcript.end);
        let seen = &transcript.requests[0];
        prop_assert_eq!(&seen.method, &message.method);
        prop_assert_eq!(&seen.target, &message.target);
        prop_assert_eq!(seen.minor, message.minor);
        prop_assert_eq!(&seen.fields, &message.fields);
        prop_assert_eq!(&seen.content, &message.content);
        prop_assert_eq!(&seen.trailers, &message.trailers);
        prop_assert_eq!(seen.keep_alive, message.keep_alive);
    }

    #[test]
    fn requests_are_the_same_wherever_they_are_cut(
        samples in vec(samples(), 1..4),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        let written = joined(&samples);
        let whole = replay([&written[..]], &Limits::default());
        for pieces in [cut(&written, &cuts), written.chunks(1).collect()] {
            let transcript = replay(pieces, &Limits::default());
            prop_assert_eq!(&transcript.requests, &whole.requests);
            prop_assert_eq!(transcript.end, whole.end);
            prop_assert_eq!(Text(transcript.written), Text(whole.written.clone()));
        }
    }

    #[test]
    fn bad_requests_are_refused_the_same_wherever_they_are_cut(
        text in spoiled(),
        cuts in vec(any::<Index>(), 0..8),
    ) {
        cut_alike(cut(&text.0, &cuts), &text.0);
    }

    #[test]
    fn a_request_that_is_repeated_is_read_as_the_reference_reads_it(
        sample in samples(),
        other in samples(),
        times in 2..4_usize,
    ) {
        let written = [sample.written().repeat(times), other.written(), sample.written()].concat();
        agree(&written);
    }

    #[test]
    fn what_was_read_before_changes_nothing(texts in vec(spoiled(), 1..4), order in vec(any::<Index>(), 2..8)) {
        let (limits, mut head) = (Limits::default(), Head::default());
        for text in order.iter().map(|at| &at.get(&texts).0) {
            let expected = replay([&text[..]], &limits);
            prop_assert_eq!(replay_behind(&mut head, [&text[..]], &limits), expected.clone());
            prop_assert_eq!(replay_behind(&mut head, [&text[..]], &limits), expected);
        }
    }

    #[test]
    fn the_engine_agrees_with_the_reference_on_good_requests(samples in vec(samples(), 1..3)) {
        agree(&joined(&samples));
    }

    #[test]
    fn the_engine_agrees_with_the_reference_on_bad_requests(text in spoiled()) {
        agree(&text.0);
    }

    #[test]
    fn what_is_sent_chunked_is_what_was_to_be_sent(
        pieces in vec(vec(any::<u8>(), 0..300), 0..6),
        cuts in vec(any::<Index>(), 0..6),
    ) {
        let encoded = chunked(pieces.iter().map(Vec::as_slice));
        let decoded = decode(cut(&encoded, &cuts), &Limits::default());
        prop_assert_eq!(decoded.content, pieces.concat());
        prop_assert_eq!(decoded.end, Some(Ok(encoded.len())));
    }
}

/// One request of each kind that must be refused, and its status.
const REFUSED: &[(&str, u16)] = &[
    // The request line (RFC 9112 section 3).
    ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/0.9\r\nHost: a\r\n\r\n", 505),
    ("GET / HTTP/1.10\r\nHost: a\r\n\r\n", 400),
    ("GET / http/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /\r\nHost: a\r\n\r\n", 400),
    ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /  HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1 \r\nHost: a\r\n\r\n", 400),
    (" GET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET\t/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("G@T / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("\r\n\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    // Targets (section 3.2, RFC 3986).
    ("GET /a#b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /a%2 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /a%2g HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /a\"b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /a`b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /a\\b HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /a{b} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET ?a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http:///a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http:/a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://u@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://a:b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET http://[::1/ HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CONNECT a HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CONNECT a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 501),
    ("CONNECT a: HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CONNECT a:65536 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("CONNECT u@a:80 HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    // Field lines (section 5).
    ("GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\n Host: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n c\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nA\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nA(: b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nA: b\0\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nA: b\x7f\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nA: b\x1b[m\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n", 400),
    ("GET / HTTP/1.1\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\n\n", 400),
    // Host (section 3.2).
    ("GET / HTTP/1.1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost:\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: u@a\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a:b\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: :80\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a:65536\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: [v1.a]\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: [::g]\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: ::1\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a%\r\n\r\n", 400),
    // Framing (section 6).
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 0\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 0\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: +0\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551616\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: , chunked\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: \x0bchunked\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\r\n\r\n", 400),
    (
        "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    ("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ("GET / HTTP/1.1\r\nHost: a\r\nExpect: a\r\nContent-Length: 1\r\n\r\n", 417),
    // Chunks (section 7.1), behind the head below.
    ("00000000000000001\r\na\r\n0\r\n\r\n", 400),
    ("1 \r\na\r\n0\r\n\r\n", 400),
    ("1\na\r\n0\r\n\r\n", 400),
    ("1\r\nab\r\n0\r\n\r\n", 400),
    ("1;\r\na\r\n0\r\n\r\n", 400),
    ("1 ;a\r\na\r\n0\r\n\r\n", 400),
    ("1; a\r\na\r\n0\r\n\r\n", 400),
    ("1;a=\r\na\r\n0\r\n\r\n", 400),
    ("1;a=\"b\r\na\r\n0\r\n\r\n", 400),
    ("1;a=\"b\"c\r\na\r\n0\r\n\r\n", 400),
    ("0\r\nA : b\r\n\r\n", 400),
    ("0\r\nA: b\n\r\n", 400),
    ("0\r\nContent-Length: 1\r\n\r\n", 400),
    ("0\r\nhost: a\r\n\r\n", 400),
];

/// The cases of the table as whole requests.
fn refused() -> impl Iterator<Item = (String, u16)> {
    REFUSED.iter().map(|(text, status)| {
        let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
        let is_chunks = text.starts_with(|first: char| first.is_ascii_digit());
        (if is_chunks { format!("{head}{text}") } else { (*text).to_owned() }, *status)
    })
}

#[test]
fn the_reference_refuses_what_the_grammar_does_not_have() {
    for (text, status) in refused() {
        let Verdict::Refused(statuses) = reference::request(text.as_bytes()) else { panic!("{text:?}") };
        assert!(statuses.contains(&status), "{text:?}: {statuses:?}");
    }
}

/// Names every case at once.
#[test]
fn the_engine_refuses_what_the_grammar_does_not_have() {
    let differs = |text: &String| catch_unwind(AssertUnwindSafe(|| agree(text.as_bytes()))).is_err();
    let cases: Vec<String> = refused().map(|(text, _)| text).filter(differs).collect();
    assert!(cases.is_empty(), "{cases:#?}");
}
