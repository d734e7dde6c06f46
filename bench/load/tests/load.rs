//! The generator against servers that misbehave on purpose: what it tells of them is what they did.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use load::{Load, Outcome, Schedule, Spacing, Target};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello";

/// Serves every connection on a thread of its own; `answer` gets the request's number, over all connections.
fn serve(answer: impl Fn(u32) -> Vec<u8> + Clone + Send + Sync + 'static) -> SocketAddrV4 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let SocketAddr::V4(address) = listener.local_addr().unwrap() else { panic!("bound to IPv4") };
    thread::spawn(move || {
        let requests = Arc::new(AtomicU32::new(0));
        for stream in listener.incoming() {
            let (mut stream, answer, requests) = (stream.unwrap(), answer.clone(), requests.clone());
            thread::spawn(move || {
                stream.set_nodelay(true).unwrap();
                let (mut buffer, mut gathered) = ([0; 4096], Vec::new());
                while let Ok(length @ 1..) = stream.read(&mut buffer) {
                    gathered.extend_from_slice(&buffer[..length]);
                    while let Some(end) = gathered.windows(4).position(|window| window == b"\r\n\r\n") {
                        gathered.drain(..end + 4);
                        // In pieces, which are read together or apart, as it comes.
                        for piece in answer(requests.fetch_add(1, Ordering::Relaxed)).chunks(20) {
                            if stream.write_all(piece).is_err() {
                                return;
                            }
                        }
                    }
                }
            });
        }
    });
    address
}

fn connect(address: SocketAddrV4, connections: u32) -> Load {
    let target = Target { address, path: "/".to_owned(), body: Some(b"hello".to_vec()) };
    Load::connect(&target, connections).unwrap()
}

fn at_rate(load: &mut Load, rate: u32, milliseconds: u64) -> Outcome {
    load.at_rate(Schedule::new(Spacing::Even, rate, milliseconds * 1_000_000, 1))
}

/// The first requests are those with which the connections are opened.
const WARM: u32 = 20;

#[test]
fn a_stall_counts_for_every_request_that_was_due_meanwhile() {
    let stall = Duration::from_millis(300);
    let address = serve(move |number| {
        if number == WARM {
            thread::sleep(stall);
        }
        ANSWER.to_vec()
    });
    let mut load = connect(address, 1);
    at_rate(&mut load, 1_000, u64::from(WARM - 1));
    let outcome = at_rate(&mut load, 1_000, 600);
    assert_eq!((outcome.planned, outcome.sent, outcome.answered, outcome.errors), (600, 600, 600, 0));
    // 300 of 600 were due while the server slept, and waited between 300 ms and nothing. Counted from when it was
    // sent, one alone would have been slow.
    assert!(outcome.latency.p50_us < 200e3 && outcome.latency.p99_us > 250e3, "{outcome:?}");
    // It was the server that was late.
    assert!(outcome.late.p50_us < 10e3, "{outcome:?}");
}

#[test]
fn a_rate_is_kept_over_all_connections() {
    let mut load = connect(serve(|_| ANSWER.to_vec()), 8);
    let since = Instant::now();
    let outcome = at_rate(&mut load, 500, 500);
    assert_eq!((outcome.planned, outcome.answered), (250, 250));
    assert!(
        since.elapsed() >= Duration::from_millis(498),
        "the last is due at 498 ms: {:?}",
        since.elapsed()
    );
}

#[test]
fn answers_in_pieces_and_batches_are_all_counted() {
    let outcome = connect(serve(|_| ANSWER.to_vec()), 4).saturated(16, Duration::from_millis(200));
    assert!(outcome.answered >= 64 && outcome.answered.is_multiple_of(16), "{outcome:?}");
    assert_eq!((outcome.planned, outcome.errors), (outcome.answered, 0));
}

#[test]
fn a_wrong_answer_ends_its_connection_and_is_told() {
    let address = serve(|number| match number {
        8 => b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n".to_vec(),
        _ => ANSWER.to_vec(),
    });
    let outcome = at_rate(&mut connect(address, 2), 1_000, 20);
    assert_eq!((outcome.planned, outcome.sent, outcome.answered, outcome.errors), (20, 20, 19, 1));
    let refusal = outcome.refusal().unwrap();
    assert!(
        refusal.starts_with("19 of 20 requests were answered: connection ") && refusal.contains("503"),
        "{refusal}"
    );
}

#[test]
fn what_is_never_answered_counts_as_slow_and_as_an_error() {
    let address = serve(|number| if number < 10 { ANSWER.to_vec() } else { Vec::new() });
    let outcome = at_rate(&mut connect(address, 1), 1_000, 20);
    assert_eq!((outcome.planned, outcome.sent, outcome.answered, outcome.errors), (20, 10, 9, 11));
    assert!(outcome.latency.p50_us > 1e6, "{outcome:?}");
}

#[test]
fn a_late_answer_is_not_taken_for_one_of_the_next_run() {
    let address = serve(|number| {
        if number == 3 {
            thread::sleep(Duration::from_secs(3));
        }
        ANSWER.to_vec()
    });
    let mut load = connect(address, 2);
    let outcome = at_rate(&mut load, 1_000, 10);
    assert_eq!((outcome.planned, outcome.answered, outcome.errors), (10, 9, 1));
    // The answer comes while this run is under way; its connection was given up.
    let outcome = at_rate(&mut load, 10, 1_500);
    assert_eq!((outcome.planned, outcome.answered, outcome.errors), (15, 15, 0));
}

#[test]
fn a_wrong_first_answer_is_an_error_at_once() {
    let target =
        Target { address: serve(|_| ANSWER.to_vec()), path: "/".to_owned(), body: Some(b"hullo".to_vec()) };
    let error = Load::connect(&target, 1).err().unwrap();
    assert!(error.to_string().contains("body"), "{error}");
}

#[test]
fn the_command_prints_one_line_of_json() {
    let url = format!("http://{}/", serve(|_| ANSWER.to_vec()));
    let options = [
        "--rate",
        "500",
        "--spacing",
        "bursts",
        "--connections",
        "10",
        "--duration",
        "0.1",
        "--warm-up",
        "0.05",
    ];
    let output = Command::new(env!("CARGO_BIN_EXE_bench-load")).args(options).arg(&url).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    let line: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!((&line["planned"], &line["answered"]), (&50.into(), &50.into()), "{line}");
    assert_eq!(output.status.success(), line["refused"].is_null(), "{line}");
}
