//! Restart: a server takes the port over from the one before, and no client notices.

mod support;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr as UnixAddr, UnixStream};
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Client, Finished, Launch, PATIENCE, Server, ms, until};

const PLAINTEXT: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n\r\n";
const ONE_SHOT: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\nConnection: close\r\n\r\n";
const RESTARTS: usize = 10;
/// A client whose SYN is dropped tries again after a second (RFC 6298, 2.1): whoever waits that long was ignored.
const IGNORED: Duration = ms(900);

fn serve(addr: SocketAddr, arguments: &[&str]) -> Launch {
    Launch::new(&[&["serve", "--takeover", "--bind", &addr.to_string()], arguments].concat())
}

/// Starts a server in the place of another, which must then end by itself.
#[track_caller]
fn replace(old: Server, arguments: &[&str]) -> Server {
    let new = serve(old.addr(), arguments).start();
    let finished = old.finished(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    new
}

/// Ends the last server of a port: nobody may be left who listens there.
#[track_caller]
fn end(server: Server) -> Finished {
    let addr = server.addr();
    server.signal(Signal::TERM);
    let finished = server.finished(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    let refused = Client::try_connect(addr).err().map(|error| error.kind());
    assert_eq!(refused, Some(std::io::ErrorKind::ConnectionRefused));
    finished
}

/// Clients in the background that end with the first request that is lost.
struct Clients {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Duration>>,
}

impl Clients {
    /// Each thread calls `visit` over and over, which counts what was answered and returns the time to connect.
    fn start(addr: SocketAddr, threads: usize, visit: fn(SocketAddr, &AtomicU64) -> Duration) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let threads = (0..threads)
            .map(|_| {
                let (stop, answered) = (stop.clone(), answered.clone());
                thread::spawn(move || {
                    let mut worst = Duration::ZERO;
                    while !stop.load(Ordering::Relaxed) {
                        worst = worst.max(visit(addr, &answered));
                    }
                    worst
                })
            })
            .collect();
        Self { stop, answered, threads }
    }

    #[track_caller]
    fn go_on(&self, answers: u64) {
        let goal = self.answered.load(Ordering::Relaxed) + answers;
        until(2 * PATIENCE, "further requests are answered", || {
            self.answered.load(Ordering::Relaxed) >= goal
        });
    }

    /// How many were answered, and the longest time to connect.
    #[track_caller]
    fn stop(self) -> (u64, Duration) {
        self.stop.store(true, Ordering::Relaxed);
        let worst = self.threads.into_iter().map(|thread| thread.join().expect("no request was lost"));
        (self.answered.load(Ordering::Relaxed), worst.max().unwrap_or_default())
    }
}

fn connect(addr: SocketAddr) -> (Client, Duration) {
    let since = Instant::now();
    (Client::connect(addr), since.elapsed())
}

/// A connection for one request.
fn one_shot(addr: SocketAddr, answered: &AtomicU64) -> Duration {
    let (mut client, took) = connect(addr);
    client.send(ONE_SHOT);
    assert_eq!(client.response().text(), "Hello, World!");
    answered.fetch_add(1, Ordering::Relaxed);
    took
}

/// A connection for as many requests as the server lets it have, up to a thousand.
fn keep_alive(addr: SocketAddr, answered: &AtomicU64) -> Duration {
    let (mut client, took) = connect(addr);
    for _ in 0..1000 {
        let response = client.send(PLAINTEXT).response();
        assert_eq!(response.text(), "Hello, World!");
        answered.fetch_add(1, Ordering::Relaxed);
        if response.closes() {
            break;
        }
    }
    took
}

/// What the kernel does with the queue of a listener that is closed (`tcp_migrate_req` in ip-sysctl). It must not
/// matter.
fn migrates() -> String {
    let setting = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_migrate_req");
    setting.map_or_else(|_| "unknown".to_owned(), |setting| setting.trim().to_owned())
}

#[test]
fn ten_restarts_under_load_lose_no_request_and_delay_no_client() {
    let mut server = serve("127.0.0.1:0".parse().expect("an address"), &[]).start();
    let one_shot = Clients::start(server.addr(), 4, one_shot);
    let keep_alive = Clients::start(server.addr(), 4, keep_alive);
    for _ in 0..RESTARTS {
        one_shot.go_on(200);
        keep_alive.go_on(200);
        server = replace(server, &[]);
    }
    one_shot.go_on(200);
    keep_alive.go_on(200);
    let ((connections, worst), (requests, other_worst)) = (one_shot.stop(), keep_alive.stop());
    let worst = worst.max(other_worst);
    eprintln!(
        "{RESTARTS} restarts with tcp_migrate_req = {}: {connections} connections of one request, {requests} requests on \
        others, none lost; the longest connect took {worst:?}",
        migrates()
    );
    assert!(worst < IGNORED, "a client had to try again: {worst:?}");
    end(server);
}

#[test]
fn a_connection_that_no_other_follows_is_not_forgotten() {
    let mut server = serve("127.0.0.1:0".parse().expect("an address"), &[]).start();
    let alone = Clients::start(server.addr(), 1, one_shot);
    for _ in 0..RESTARTS {
        alone.go_on(50);
        server = replace(server, &[]);
    }
    alone.go_on(50);
    assert!(alone.stop().1 < IGNORED);
    end(server);
}

#[test]
fn signals_in_the_usual_order_do_the_same() {
    let mut old = serve("127.0.0.1:0".parse().expect("an address"), &[]).start();
    let load = Clients::start(old.addr(), 4, one_shot);
    for _ in 0..3 {
        load.go_on(100);
        let new = serve(old.addr(), &[]).start();
        old.signal(Signal::TERM);
        assert_eq!(old.finished(PATIENCE).code, Some(0), "it is no second signal");
        old = new;
    }
    assert!(load.stop().1 < IGNORED);
    end(old);
}

#[test]
fn the_number_of_cores_may_change() {
    let mut server = serve("127.0.0.1:0".parse().expect("an address"), &["--cores", "all"]).start();
    let load = Clients::start(server.addr(), 4, one_shot);
    for cores in ["1", "all", "1", "1", "all"] {
        load.go_on(200);
        server = replace(server, &["--cores", cores]);
    }
    load.go_on(200);
    assert!(load.stop().1 < IGNORED);
    end(server);
}

#[test]
fn requests_in_flight_are_finished_by_the_old_server() {
    let old = serve("127.0.0.1:0".parse().expect("an address"), &["--app", "echo"]).start();
    let mut client = old.connect();
    client.send("POST / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 10\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!(client.response().status, 100);
    let new = serve(old.addr(), &["--app", "bench"]).start();
    old.says("a successor serves");
    let response = client.send("helloworld").response();
    assert_eq!((response.text(), response.closes()), ("helloworld", true));
    assert_eq!(old.finished(PATIENCE).code, Some(0));
    assert_eq!(new.connect().get("/plaintext").status, 200);
    end(new);
}

#[test]
fn a_server_goes_on_with_the_addresses_that_are_left() {
    let any = "127.0.0.1:0".parse().expect("an address");
    let old = serve(any, &["--bind", "127.0.0.1:0"]).start();
    let (first, second) = (old.addrs()[0], old.addrs()[1]);
    let new = serve(first, &[]).start();
    old.says("has taken");
    assert_eq!(Client::connect(second).get("/plaintext").status, 200, "the old server has this one still");
    let newest = replace_at(second, old);
    for addr in [first, second] {
        assert_eq!(Client::connect(addr).get("/plaintext").status, 200);
    }
    end(new);
    end(newest);
}

#[track_caller]
fn replace_at(addr: SocketAddr, old: Server) -> Server {
    let new = serve(addr, &[]).start();
    assert_eq!(old.finished(PATIENCE).code, Some(0));
    new
}

#[test]
fn a_successor_that_never_serves_changes_nothing() {
    let server = serve("127.0.0.1:0".parse().expect("an address"), &[]).start();
    let name = UnixAddr::from_abstract_name(format!("kiang-takeover-1/{}", server.addr())).expect("short");
    for _ in 0..3 {
        drop(UnixStream::connect_addr(&name).expect("the sockets are offered"));
    }
    let load = Clients::start(server.addr(), 2, one_shot);
    load.go_on(100);
    let new = replace(server, &[]);
    load.go_on(100);
    assert!(load.stop().1 < IGNORED);
    // Nor does one that is there and waits.
    let idle = UnixStream::connect_addr(&name).expect("the sockets are offered");
    assert_eq!(new.connect().get("/plaintext").status, 200);
    end_beside(new);
    drop(idle);
}

/// Ends a server whose sockets somebody else has open.
#[track_caller]
fn end_beside(server: Server) {
    server.signal(Signal::TERM);
    assert_eq!(server.finished(PATIENCE).code, Some(0));
}

#[test]
fn a_port_is_not_taken_from_who_does_not_offer_it() {
    let server = Server::start(&[]);
    let finished = serve(server.addr(), &[]).finish();
    assert_eq!(finished.code, Some(1), "{finished:?}");
    assert!(finished.stderr.contains("taken by"), "{finished:?}");
    let server = serve("127.0.0.1:0".parse().expect("an address"), &[]).start();
    let finished = Launch::new(&["serve", "--bind", &server.addr().to_string()]).finish();
    assert_eq!(finished.code, Some(1), "who does not ask for it does not get it: {finished:?}");
    assert_eq!(server.connect().get("/plaintext").status, 200);
}

#[test]
fn a_signal_to_a_server_that_has_drained_does_not_change_its_exit_code() {
    // A stderr that takes nothing keeps the process from its end for a second.
    let fifo = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("stderr-{}", std::process::id()));
    assert!(Command::new("mkfifo").arg(&fifo).status().expect("coreutils").success());
    let _unread = File::options().read(true).write(true).open(&fifo).expect("it was made");
    let redirected = format!("exec \"$0\" \"$@\" 2>'{}'", fifo.display());
    let old = serve("127.0.0.1:0".parse().expect("an address"), &["--cores", "1"])
        .wrapped_in(&["/bin/sh", "-c", &redirected].map(str::to_owned))
        // The log complains about this variable at greater length than a pipe has room.
        .environment(&format!("KIANG_{}", "X".repeat(100 << 10)), "")
        .start();
    let new = serve(old.addr(), &[]).start();
    until(PATIENCE, "the core's thread has ended", || !old.threads().contains(&"kiang-0".to_owned()));
    old.signal(Signal::TERM);
    let finished = old.finished(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    end(new);
    fs::remove_file(fifo).expect("it is there");
}
