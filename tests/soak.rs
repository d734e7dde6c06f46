//! Good, bad and aborted traffic all mixed, for as long as one likes: memory, descriptors and latency stay flat.
//!
//! Ten seconds, or as many as `KIANG_STRESS_SECONDS` says: thirty minutes show what a slow leak would do.

mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::{Client, PATIENCE, Random, ms, stress_time, until};

const THREADS: u64 = 3;
/// Memory that allocators keep, and the deepest queues so far.
const SLACK: u64 = 4 << 20;
/// Into how many parts the time is divided; the first is the warm-up.
const PARTS: u32 = 10;

const GET: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n\r\n";

/// Requests that must be refused, each in another place.
const BAD: [&str; 8] = [
    "GET / HTTP/1.1\r\n\r\n",
    "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
    "POST /upload HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "POST / HTTP/1.1\r\nHost: x\r\nContent-Length: +3\r\n\r\nabc",
    "GET / HTTP/2.0\r\nHost: x\r\n\r\n",
    "GET / HTTP/1.1\nHost: x\n\n",
    "\x16\x03\x01\x02\0\x01\0\x01\n\r\n\r\n",
];

/// One connection of some kind; how many answers it got.
fn visit(addr: SocketAddr, random: &mut Random) -> u64 {
    let mut client = Client::connect(addr);
    match random.below(10) {
        0 | 1 => {
            for _ in 0..20 {
                assert_eq!(client.get("/plaintext").status, 200);
            }
            return 20;
        }
        2 => {
            client.send(GET.repeat(64));
            for _ in 0..64 {
                assert_eq!(client.response().status, 200);
            }
            return 64;
        }
        3 => {
            let length = random.below(300_000) as usize;
            assert_eq!(client.post("/upload", vec![b'x'; length]).text(), length.to_string());
        }
        4 => {
            let chunk = vec![b'x'; 1 + random.below(20_000) as usize];
            assert_eq!(
                client.post_chunked("/upload", &[&chunk, &chunk]).text(),
                (2 * chunk.len()).to_string()
            );
            assert_eq!(client.get("/json/50?m=3").status, 200);
        }
        5 => {
            client.send(BAD[random.below(BAD.len() as u64) as usize]);
            let response = client.response();
            assert!(response.status >= 400 && response.closes(), "{response:?}");
            client.closed();
        }
        6 => {
            client.send(GET.repeat(1 + random.below(50) as usize));
            client.reset();
            return 0;
        }
        7 => {
            let head = "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n";
            client.send(&head[..=random.below(head.len() as u64 - 1) as usize]);
            client.reset();
            return 0;
        }
        8 => {
            let cut = 1 + random.below(GET.len() as u64 - 1) as usize;
            client.send(&GET[..cut]).send(&GET[cut..]).half_close();
            assert_eq!(client.response().status, 200);
            client.closed();
        }
        _ => {
            for byte in random.bytes(200) {
                if client.try_send([byte]).is_err() {
                    break;
                }
            }
            return 0;
        }
    }
    1
}

/// The time of a request on a connection that is always open, again and again.
fn probe(addr: SocketAddr, done: &AtomicBool) -> Vec<Duration> {
    let mut client = Client::connect(addr);
    let mut times = Vec::new();
    while !done.load(Ordering::Relaxed) {
        let since = Instant::now();
        assert_eq!(client.get("/plaintext").status, 200);
        times.push(since.elapsed());
        thread::sleep(ms(5));
    }
    times
}

fn percentile(times: &[Duration], percent: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times[(times.len() - 1) * percent / 100]
}

#[test]
fn mixed_traffic_leaves_memory_descriptors_and_latency_flat() {
    // Several addresses, for their ranges of ports on the client's side.
    let binds = ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0"];
    let arguments: Vec<_> =
        std::iter::once("serve").chain(binds.iter().flat_map(|addr| ["--bind", *addr])).collect();
    let server = support::Launch::new(&arguments).start();
    server.quiet();
    let descriptors = server.descriptors();
    let time = stress_time(ms(10_000));
    let (done, answers, visits) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut memory = Vec::new();
    let times = thread::scope(|scope| {
        for seed in 1..=THREADS {
            let (server, done, answers, visits) = (&server, &done, &answers, &visits);
            scope.spawn(move || {
                let mut random = Random::new(seed);
                while !done.load(Ordering::Relaxed) {
                    let addr = server.addrs()[random.below(server.addrs().len() as u64) as usize];
                    answers.fetch_add(visit(addr, &mut random), Ordering::Relaxed);
                    visits.fetch_add(1, Ordering::Relaxed);
                    // Ports of connections closed in order rest for a minute: no more than there are.
                    thread::sleep(ms(2));
                }
            });
        }
        let probing = scope.spawn(|| probe(server.addr(), &done));
        for part in 0..PARTS {
            thread::sleep(time / PARTS);
            memory.push(server.rss());
            eprintln!(
                "part {part}: {} KiB resident, {} descriptors",
                server.rss() >> 10,
                server.descriptors()
            );
        }
        done.store(true, Ordering::Relaxed);
        probing.join().expect("the probe was answered")
    });
    let (first, last) = (&times[..times.len() / 3], &times[times.len() * 2 / 3..]);
    let (visits, answers) = (visits.into_inner(), answers.into_inner());
    eprintln!("{visits} connections and {answers} answers in {time:?}");
    for (name, part) in [("first", first), ("last", last)] {
        let [median, p99] = [50, 99].map(|percent| percentile(part, percent));
        eprintln!("a request in the {name} third of the time: median {median:?}, p99 {p99:?}");
    }
    server.quiet();
    until(PATIENCE, "descriptors are back to the start", || server.descriptors() <= descriptors);
    let (warm, end) = (memory[0], *memory.last().expect("every part was looked at"));
    assert!(end < warm + SLACK, "memory grew from {warm} to {end} bytes");
    let (before, after) = (percentile(first, 99), percentile(last, 99));
    assert!(after < 3 * before + ms(50), "the 99th percentile grew from {before:?} to {after:?}");
}
