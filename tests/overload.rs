//! Many peers that are slow on purpose, or simply too many: memory is bounded, others are served promptly meanwhile,
//! and afterwards all is as before.
//!
//! What is printed is no benchmark: server, clients and whatever else runs here share the processors.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use socket2::SockRef;
use support::{Client, Failure, PATIENCE, Server, ms, raise_open_files, skip, until};

/// What somebody else may have to wait meanwhile, on a machine that is busy with the attack's other end as well.
const PROMPT: Duration = ms(1000);

/// Somebody who wants to be served, and what the server needs meanwhile.
struct Watch<'a> {
    server: &'a Server,
    client: Client,
    memory: u64,
    descriptors: usize,
    slowest: Duration,
    peak: u64,
}

impl<'a> Watch<'a> {
    fn start(server: &'a Server) -> Self {
        let mut client = server.connect();
        assert_eq!(client.get("/json/50?m=1").status, 200);
        let (memory, descriptors) = (server.rss(), server.descriptors());
        Self { server, client, memory, descriptors, slowest: Duration::ZERO, peak: memory }
    }

    /// Asks for something, and notes how long that took.
    #[track_caller]
    fn look(&mut self) {
        let since = Instant::now();
        assert_eq!(self.client.get("/plaintext").status, 200);
        self.slowest = self.slowest.max(since.elapsed());
        self.peak = self.peak.max(self.server.rss());
    }

    /// Others were served promptly, and no attacker took more than so much memory.
    #[track_caller]
    fn was_bearable(self, what: &str, attackers: usize, bytes_each: u64) {
        let each = (self.peak - self.memory) / attackers as u64;
        eprintln!("{what}: others waited at most {:?}, each attacker took {each} bytes", self.slowest);
        assert!(self.slowest < PROMPT, "others waited {:?}", self.slowest);
        assert!(each <= bytes_each, "each of {attackers} attackers took {each} bytes of memory");
        until(PATIENCE, "descriptors are back to the start", || {
            self.server.descriptors() <= self.descriptors
        });
    }
}

fn connections(server: &Server, count: usize) -> Vec<Client> {
    (0..count).map(|_| server.connect()).collect()
}

#[test]
fn a_thousand_heads_byte_by_byte_hinder_nobody() {
    const SLOW: usize = 1000;
    if raise_open_files() < SLOW as u64 + 200 {
        return skip("the hard limit of open files forbids 1000 connections");
    }
    let server = Server::start(&["--cores", "1", "--head-timeout", "3s"]);
    let mut watch = Watch::start(&server);
    let since = Instant::now();
    let mut slow = connections(&server, SLOW);
    let mut head = b"GET /plaintext HTTP/1.1\r\nHost: ".iter().chain(std::iter::repeat(&b'x'));
    // Until all are about to be cut; what is written after that proves nothing.
    while since.elapsed() < ms(2500) {
        let byte = *head.next().expect("endless");
        for (number, client) in slow.iter_mut().enumerate() {
            client.send([byte]);
            if number % 250 == 0 {
                watch.look();
            }
        }
    }
    for client in &mut slow {
        assert_eq!(client.response().status, 408);
        client.closed();
    }
    assert!(since.elapsed() < PATIENCE, "all of them at about the same time: {:?}", since.elapsed());
    watch.look();
    drop(slow);
    watch.was_bearable("a thousand slow heads", SLOW, 4 << 10);
}

#[test]
fn bodies_below_the_least_rate_are_refused_and_hinder_nobody() {
    const SLOW: usize = 200;
    // Each byte begins the time between two pieces anew, so only the rate ends these.
    let server = Server::start(&["--cores", "1"]);
    let mut watch = Watch::start(&server);
    let since = Instant::now();
    let mut slow = connections(&server, SLOW);
    for client in &mut slow {
        client.send("POST /upload HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 1000000\r\n\r\n");
    }
    while since.elapsed() < ms(4500) {
        for client in &mut slow {
            client.send("x");
        }
        watch.look();
        // The attack's own pace: about 20 bytes a second.
        thread::sleep(ms(50));
    }
    for client in &mut slow {
        let response = client.response();
        assert_eq!(response.status, 408, "{response:?}");
        client.closed();
    }
    let took = since.elapsed();
    assert!((ms(5000)..ms(9000)).contains(&took), "5 s of grace, and what a few bytes buy: {took:?}");
    watch.look();
    drop(slow);
    watch.was_bearable("slow bodies", SLOW, 16 << 10);
}

#[test]
fn many_who_read_slowly_are_owed_a_bounded_amount_and_hinder_nobody() {
    const SLOW: usize = 50;
    let server = Server::start(&["--cores", "1", "--write-timeout", "2s"]);
    let mut watch = Watch::start(&server);
    let mut slow = connections(&server, SLOW);
    for client in &mut slow {
        // What the kernel would hold for us is work for the server that proves nothing.
        SockRef::from(client.stream()).set_recv_buffer_size(16 << 10).expect("SO_RCVBUF is settable");
        // Each is owed more than 5 MB, and the kernel keeps no more than 4 of them (`net.ipv4.tcp_wmem`). Of answers
        // that cost little to make: this is not about who wins the race for the processor.
        client.stream().set_nonblocking(true).expect("a socket");
        let requests = "GET / HTTP/1.1\r\nHost: kiang.test\r\n\r\n".repeat(4000);
        // The server may stop taking them before the end.
        let _ = client.stream().write(requests.as_bytes());
    }
    let since = Instant::now();
    while since.elapsed() < ms(1500) {
        for client in &mut slow {
            let mut little = [0; 256];
            match client.stream().read(&mut little) {
                Ok(read) => assert!(read > 0, "cut off although it reads"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
            }
        }
        watch.look();
    }
    // Now they read nothing more, and are cut.
    until(2 * PATIENCE, "those who read nothing are cut", || {
        watch.look();
        server.descriptors() <= watch.descriptors
    });
    watch.was_bearable("slow readers", SLOW, 400 << 10);
}

#[test]
fn a_hundred_who_pipeline_thousands_of_requests_hold_nobody_up() {
    const GREEDY: usize = 100;
    const REQUEST: &str = "GET /json/50?m=1 HTTP/1.1\r\nHost: kiang.test\r\n\r\n";
    let server = Server::start(&["--cores", "1"]);
    let mut watch = Watch::start(&server);
    // Measured in what the server itself does meanwhile, since it shares its processor with others here: an answer
    // costs so much.
    let spent = server.cpu_time();
    for _ in 0..200 {
        assert_eq!(watch.client.get("/json/50?m=1").status, 200);
    }
    let answer = server.cpu_time().saturating_sub(spent) / 200;
    let mut greedy = connections(&server, GREEDY);
    let requests = REQUEST.repeat(4000);
    for client in &mut greedy {
        SockRef::from(client.stream()).set_recv_buffer_size(2 << 10).expect("SO_RCVBUF is settable");
        client.stream().set_nonblocking(true).expect("a socket");
        let _ = client.stream().write(requests.as_bytes());
    }
    let (since, mut most) = (Instant::now(), Duration::ZERO);
    while since.elapsed() < ms(2000) {
        for client in &mut greedy {
            let _ = client.stream().read(&mut [0; 512]);
        }
        let spent = server.cpu_time();
        watch.look();
        most = most.max(server.cpu_time().saturating_sub(spent));
    }
    drop(greedy);
    eprintln!("an answer takes {answer:?}; another waited for {most:?} of work");
    // Three answers for each of them. Unbounded it is fifteen.
    assert!(
        most < answer * 3 * GREEDY as u32,
        "somebody waited for {most:?} of work; an answer takes {answer:?}"
    );
    until(PATIENCE, "descriptors are back to the start", || server.descriptors() <= watch.descriptors);
}

#[test]
fn a_flood_of_connections_is_turned_away_while_those_within_are_served() {
    const FLOOD: usize = 4000;
    if raise_open_files() < FLOOD as u64 + 200 {
        return skip("the hard limit of open files forbids 4000 connections");
    }
    let server = Server::start(&["--cores", "1", "--max-connections", "5"]);
    let mut watch = Watch::start(&server);
    let mut inside = connections(&server, 4);
    for client in &mut inside {
        assert_eq!(client.get("/plaintext").status, 200);
    }
    watch.descriptors = server.descriptors();
    let addr = server.addr();
    // They stay until the last has come, and never say a word. A reset may come while one still connects.
    let flood = thread::spawn(move || {
        (0..FLOOD).map(|_| Client::try_connect(addr).map_err(Failure::Broken)).collect::<Vec<_>>()
    });
    let (mut descriptors, begun) = (0, Instant::now());
    while !flood.is_finished() {
        watch.look();
        descriptors = descriptors.max(server.descriptors());
    }
    let flooded = begun.elapsed();
    let (mut told, mut cut) = (0, 0);
    let mut flood = flood.join().expect("a thread that only connects");
    for client in &mut flood {
        match client.as_mut().map_err(|_| ()).map(Client::try_response) {
            Ok(Ok(response)) => {
                assert_eq!(response.status, 503);
                told += 1;
            }
            Err(()) | Ok(Err(Failure::Broken(_))) => cut += 1,
            Ok(Err(failure)) => panic!("neither told nor cut: {failure:?}"),
        }
    }
    eprintln!("{FLOOD} in {flooded:?}: {told} told, {cut} cut; at most {descriptors} descriptors");
    assert!(told >= 256, "as many as may be listened to at a time are told why: {told}");
    // One turn may take as many as wait in the queue; then those before are closed.
    assert!(descriptors < watch.descriptors + FLOOD * 3 / 4, "{descriptors} descriptors in a flood");
    for client in &mut inside {
        assert_eq!(client.get("/plaintext").status, 200, "who was within stays");
    }
    // Who is within leaves, but for the one that watches, and whoever comes now is served, flood or no flood.
    drop(inside);
    until(PATIENCE, "there is room again", || {
        let Ok(mut client) = Client::try_connect(addr) else { return false };
        client.try_send("GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n\r\n").is_ok()
            && client.try_response().is_ok_and(|response| response.status == 200)
    });
    drop(flood);
    watch.look();
    watch.was_bearable("a flood of connections", FLOOD, 1 << 10);
}

#[test]
fn a_burst_that_waits_in_the_queue_is_served_to_the_last() {
    // Many more than are taken in a row.
    const BURST: usize = 1000;
    if raise_open_files() < BURST as u64 + 200 {
        return skip("the hard limit of open files forbids 1000 connections");
    }
    let server = Server::start(&["--cores", "1"]);
    let mut watch = Watch::start(&server);
    server.signal(rustix::process::Signal::STOP);
    let mut burst = connections(&server, BURST);
    for client in &mut burst {
        client.send("GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n\r\n");
    }
    server.signal(rustix::process::Signal::CONT);
    watch.look();
    for client in &mut burst {
        assert_eq!(client.response().status, 200);
    }
    drop(burst);
    watch.was_bearable("a burst of connections", BURST, 16 << 10);
}
