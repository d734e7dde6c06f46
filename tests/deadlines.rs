//! Deadlines: each fires not before its time, soon after it, and only when the peer really made no progress.
//!
//! The upper bounds are generous, because a busy machine is not a bug. The lower ones are nearly exact: the test's
//! clock starts before the server's can, but a core that has just lost its CPU for a moment counts from the time
//! it last looked at the clock.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::ops::Range;
use std::rc::Rc;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use kiang::{App, Body, Bytes, Core, Cores, Deadlines, Error, Service};
use socket2::SockRef;
use support::{Client, Embedded, End, Failure, Server, ms};

/// What a deadline of 300 ms may take.
const IN_TIME: Range<Duration> = ms(250)..ms(3000);

#[track_caller]
fn in_time(since: Instant) {
    let took = since.elapsed();
    assert!(IN_TIME.contains(&took), "{took:?} is not within {IN_TIME:?}");
}

/// RFC 9110, section 15.5.9.
#[track_caller]
fn is_408_and_the_end(client: &mut Client) {
    let response = client.response();
    assert_eq!(response.status, 408, "{response:?}");
    assert!(response.closes(), "{response:?}");
    assert!(!response.text().is_empty(), "the reason is named");
    client.closed();
}

#[test]
fn a_head_that_stops_halfway_is_408() {
    let server = Server::start(&["--head-timeout", "300ms"]);
    // The first head's time runs from the connection's start.
    let since = Instant::now();
    let mut client = server.connect();
    client.send("GET /plaintext HTTP/1.1\r\nHost:");
    is_408_and_the_end(&mut client);
    in_time(since);
}

#[test]
fn a_head_that_trickles_is_408() {
    // Each further byte must not buy more time.
    let server = Server::start(&["--head-timeout", "300ms"]);
    let since = Instant::now();
    let mut client = server.connect();
    let mut bytes = "GET /plaintext HTTP/1.1\r\nHost: ".bytes().chain(std::iter::repeat(b'x'));
    let response = loop {
        client.send([bytes.next().expect("endless")]);
        client.patience(ms(20));
        match client.try_response() {
            Err(Failure::Silence(received)) if received.is_empty() => assert!(since.elapsed() < IN_TIME.end),
            other => break other.expect("an answer"),
        }
    };
    assert_eq!(response.status, 408, "{response:?}");
    in_time(since);
}

#[test]
fn the_head_of_a_later_request_has_the_same_deadline() {
    let server = Server::start(&["--head-timeout", "300ms"]);
    let mut client = server.connect();
    assert_eq!(client.get("/plaintext").status, 200);
    let since = Instant::now();
    client.send("GET /plain");
    is_408_and_the_end(&mut client);
    in_time(since);
}

#[test]
fn a_finished_head_is_not_cut_by_its_deadline() {
    let server = Server::start(&["--app", "echo", "--head-timeout", "300ms"]);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 5\r\n\r\nhell");
    client.patience(ms(700));
    assert!(matches!(client.try_response(), Err(Failure::Silence(_))), "the body has its own deadline");
    client.patience(support::PATIENCE);
    assert_eq!(client.send("o").response().text(), "hello");
}

#[test]
fn a_body_that_stops_halfway_is_408() {
    let server = Server::start(&["--app", "echo", "--body-timeout", "300ms"]);
    for framing in ["Content-Length: 100\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n64\r\nhello"] {
        let mut client = server.connect();
        let since = Instant::now();
        client.send(format!("POST / HTTP/1.1\r\nHost: kiang.test\r\n{framing}"));
        is_408_and_the_end(&mut client);
        in_time(since);
    }
}

#[test]
fn a_body_of_which_something_keeps_coming_is_not_cut() {
    let server = Server::start(&["--app", "echo", "--body-timeout", "300ms"]);
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 11\r\n\r\n");
    for _ in 0..10 {
        client.send("x").patience(ms(100));
        assert!(matches!(client.try_response(), Err(Failure::Silence(_))), "cut while bytes keep coming");
    }
    client.patience(support::PATIENCE);
    assert_eq!(client.send("x").response().text(), "xxxxxxxxxxx");
}

#[test]
fn an_idle_connection_is_closed_without_a_word() {
    // A 408 here would be taken for the answer to a request that is just under way.
    let server = Server::start(&["--idle-timeout", "300ms"]);
    let mut client = server.connect();
    let since = Instant::now();
    assert_eq!(client.get("/plaintext").status, 200);
    client.closed();
    in_time(since);
}

#[test]
fn empty_lines_do_not_make_an_idle_connection_busy() {
    let server = Server::start(&["--idle-timeout", "300ms", "--head-timeout", "300ms"]);
    for requests in [0, 1] {
        let mut client = server.connect();
        let since = Instant::now();
        for _ in 0..requests {
            assert_eq!(client.get("/plaintext").status, 200);
        }
        while client.try_send("\r\n").is_ok() && client.end() == End::Open {
            assert!(since.elapsed() < IN_TIME.end, "kept open by empty lines");
            std::thread::sleep(ms(20));
        }
        in_time(since);
    }
}

#[test]
fn a_connection_in_use_is_not_idle() {
    let server = Server::start(&["--idle-timeout", "300ms", "--head-timeout", "300ms"]);
    let mut client = server.connect();
    for _ in 0..10 {
        assert_eq!(client.get("/plaintext").status, 200);
        client.patience(ms(100));
        assert_eq!(client.end(), End::Open);
        client.patience(support::PATIENCE);
    }
}

#[test]
fn a_connection_that_never_speaks_is_closed() {
    let server = Server::start(&["--idle-timeout", "300ms", "--head-timeout", "300ms"]);
    let since = Instant::now();
    let mut client = server.connect();
    client.closed();
    in_time(since);
}

#[test]
fn a_client_that_stops_reading_is_cut_off() {
    let server = Server::start(&["--write-timeout", "300ms"]);
    let mut client = server.connect();
    let last_progress = client.shout("GET /json/50?m=1 HTTP/1.1\r\nHost: kiang.test\r\n\r\n");
    let took = last_progress.elapsed();
    // What we see of the server's progress lags behind what it sees, so only the upper bound is exact.
    assert!(took < IN_TIME.end, "{took:?}");
    server.quiet();
}

#[test]
fn a_client_that_reads_slowly_is_served_to_the_end() {
    const REQUESTS: usize = 4000;
    let server = Server::start(&["--write-timeout", "300ms"]);
    let mut client = server.connect();
    let size = client.get("/json/50?m=1").body.len();
    // A small window, so that the server's progress follows the reader's closely.
    SockRef::from(client.stream()).set_recv_buffer_size(64 * 1024).expect("SO_RCVBUF is settable");
    let mut writer = client.stream().try_clone().expect("a socket can be cloned");
    let writer = std::thread::spawn(move || {
        let request = "GET /json/50?m=1 HTTP/1.1\r\nHost: kiang.test\r\n\r\n";
        writer.write_all(request.repeat(REQUESTS).as_bytes()).expect("all requests are taken in the end");
    });
    let (mut received, total) = (0, REQUESTS * size);
    let mut reader = client.stream();
    reader.set_read_timeout(Some(support::PATIENCE)).expect("a deadline");
    let since = Instant::now();
    while received < total {
        let mut piece = vec![0; total / 20];
        reader.read_exact(&mut piece).expect("the server goes on");
        received += piece.len();
        // This is the slow reader: 20 pieces in about two seconds, several times the deadline.
        std::thread::sleep(ms(100));
    }
    writer.join().expect("the writer succeeded");
    assert!(since.elapsed() > 3 * IN_TIME.start, "slow enough to mean something");
}

fn embedded<S: Service>(deadlines: Deadlines, make: impl Fn(Core) -> S + Send + Sync + 'static) -> Embedded {
    Embedded::start_with(move |server| server.cores(Cores::count(1)).deadlines(deadlines), make)
}

/// With a deadline for handlers of 300 ms, and no least rate.
fn hasty<S: Service>(make: impl Fn(Core) -> S + Send + Sync + 'static) -> Embedded {
    embedded(Deadlines { handler: ms(300), min_body_rate: 0, ..Deadlines::default() }, make)
}

/// Counts those that are alive.
struct Guard(Rc<Cell<usize>>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

#[test]
fn a_handler_that_takes_too_long_is_dropped_and_answered_503() {
    let server = hasty(|core: Core| {
        let alive = Rc::new(Cell::new(0));
        let counted = alive.clone();
        App::new()
            .get("/never", async move || {
                counted.set(counted.get() + 1);
                let _guard = Guard(counted.clone());
                core.sleep(support::PATIENCE * 10).await;
            })
            .get("/alive", move || alive.get().to_string())
    });
    let mut client = server.connect();
    for _ in 0..3 {
        let since = Instant::now();
        let response = client.get("/never");
        in_time(since);
        assert_eq!((response.status, response.text()), (503, "503 Service Unavailable\n"));
        assert!(!response.closes(), "the connection goes on: {response:?}");
        assert_eq!(client.get("/alive").text(), "0", "it was dropped");
    }
    // What is pipelined behind is answered too.
    client.send("GET /never HTTP/1.1\r\nHost: x\r\n\r\nGET /alive HTTP/1.1\r\nHost: x\r\n\r\n");
    assert_eq!((client.response().status, client.response().status), (503, 200));
}

#[test]
fn a_handler_that_takes_too_long_with_a_body_unread_ends_the_connection_in_order() {
    let server = hasty(|core: Core| {
        App::new().post("/never", async move |_body: Body| core.sleep(support::PATIENCE * 10).await)
    });
    let mut client = server.connect();
    client.send("POST /never HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n");
    client.send(vec![b'x'; 10_000]);
    let response = client.response();
    assert_eq!((response.status, response.closes()), (503, true));
    client.closed();
    // A short rest is read instead.
    let mut client = server.connect();
    client.send("POST /never HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhel");
    let response = client.response();
    assert_eq!((response.status, response.closes()), (503, false));
    client.send("lo");
    assert_eq!(client.get("/other").status, 404);
}

#[test]
fn a_handler_that_wakes_again_and_again_gets_no_more_time() {
    let server = hasty(|core: Core| {
        App::new().get("/busy", async move || {
            for _ in 0..1000 {
                core.sleep(ms(10)).await;
            }
        })
    });
    let since = Instant::now();
    assert_eq!(server.connect().get("/busy").status, 503);
    in_time(since);
}

/// Reads the body, and after each piece pauses.
async fn read_with_pauses(core: Core, mut body: Body, pause: Duration) -> Result<String, Error> {
    let mut length = 0;
    while let Some(piece) = body.next().await {
        length += piece?.len();
        core.sleep(pause).await;
    }
    Ok(length.to_string())
}

#[test]
fn a_handler_is_not_blamed_for_a_slow_peer_and_is_for_its_own_pauses() {
    let server = hasty(|core: Core| {
        let pausing = core.clone();
        App::new()
            .post("/quick", move |body: Body| read_with_pauses(core.clone(), body, ms(1)))
            .post("/slow", move |body: Body| read_with_pauses(pausing.clone(), body, ms(80)))
    });
    for (path, status) in [("/quick", 200), ("/slow", 503)] {
        let mut client = server.connect();
        client.send(format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n"));
        for _ in 0..10 {
            // The peer's own pace, which takes several times the handler's deadline.
            thread::sleep(ms(100));
            client.send("x");
        }
        assert_eq!(client.response().status, status, "{path}");
    }
}

/// Sends bytes in pieces of this size, at this pace, until there is an answer or the body is whole.
#[track_caller]
fn upload(mut client: Client, length: usize, piece: usize, every: Duration) -> (u16, Duration) {
    client.send(format!("POST / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: {length}\r\n\r\n"));
    let (since, mut sent) = (Instant::now(), 0);
    while sent < length {
        let next = piece.min(length - sent);
        client.send(vec![b'x'; next]).patience(every);
        sent += next;
        if sent == length {
            break;
        }
        match client.try_response() {
            Err(Failure::Silence(_)) => {}
            answer => return (answer.expect("an answer").status, since.elapsed()),
        }
    }
    client.patience(support::PATIENCE);
    (client.response().status, since.elapsed())
}

#[test]
fn a_body_below_the_least_rate_is_408_and_one_above_it_is_not() {
    let server = Server::start(&["--app", "echo", "--min-body-rate", "1kB"]);
    let (slow, quick) = (server.connect(), server.connect());
    thread::scope(|scope| {
        // 200 and 2000 bytes per second. The slow one has 5 s, and a second for each 1000 bytes: 6.25 s.
        let slow = scope.spawn(|| upload(slow, 1 << 20, 20, ms(100)));
        let quick = scope.spawn(|| upload(quick, 16_000, 200, ms(100)));
        let (status, took) = slow.join().expect("no panic");
        assert_eq!(status, 408);
        assert!((ms(5500)..ms(9000)).contains(&took), "{took:?}");
        let (status, took) = quick.join().expect("no panic");
        assert_eq!(status, 200);
        assert!(took > ms(7000), "long enough to mean something: {took:?}");
    });
}

#[test]
fn a_peer_is_not_blamed_for_a_slow_handler() {
    // No peer could send so fast, were it waited for.
    let deadlines = Deadlines { min_body_rate: 1 << 40, ..Deadlines::default() };
    let server = embedded(deadlines, |core: Core| {
        App::new().post("/", move |body: Body| read_with_pauses(core.clone(), body, ms(2000)))
    });
    let mut client = server.connect();
    client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n");
    // Each byte is there when the handler wants the next piece, 2 s after the one before.
    for _ in 0..4 {
        client.send("x").patience(ms(1800));
        assert!(
            matches!(client.try_response(), Err(Failure::Silence(_))),
            "cut, or too quick to mean something"
        );
    }
    client.patience(support::PATIENCE);
    assert_eq!(client.response().text(), "4");
}

/// A server that owes a peer an answer, of which the last piece is stuck, and a short one behind it; then it waits for
/// the body of a third request. Also what the handler of that one was told.
fn owing_and_waiting(deadlines: Deadlines) -> (Embedded, Client, Arc<Mutex<Option<String>>>) {
    let told = Arc::new(Mutex::new(None));
    let server = {
        let told = Arc::clone(&told);
        embedded(deadlines, move |_core| {
            // Two pieces, of which the kernel takes one.
            let (large, told) = (Bytes::from(vec![b'x'; 512 << 10]), Arc::clone(&told));
            App::new().get("/large", move || large.clone()).get("/small", || "small").post(
                "/body",
                async move |mut body: Body| {
                    while let Some(piece) = body.next().await {
                        if let Err(error) = piece {
                            *told.lock().expect("no panic") = Some(error.to_string());
                        }
                    }
                },
            )
        })
    };
    let mut client = server.connect();
    SockRef::from(client.stream()).set_recv_buffer_size(8 << 10).expect("SO_RCVBUF is settable");
    client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\nGET /small HTTP/1.1\r\nHost: x\r\n\r\n");
    client.send("POST /body HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nhello");
    (server, client, told)
}

#[test]
fn a_peer_that_does_not_read_is_not_told_that_its_body_came_too_slowly() {
    let deadlines = Deadlines { write: ms(400), ..Deadlines::default() };
    let (_server, client, told) = owing_and_waiting(deadlines);
    support::until(support::PATIENCE, "it is cut", || {
        client.stream().take_error().expect("a socket").is_some()
    });
    assert_eq!(*told.lock().expect("no panic"), None);
}

#[test]
fn the_deadline_of_a_body_holds_while_the_peer_does_not_read() {
    let deadlines = Deadlines { body: ms(400), write: Duration::from_secs(60), ..Deadlines::default() };
    let (_server, _client, told) = owing_and_waiting(deadlines);
    support::until(support::PATIENCE, "the handler is told that the body came too slowly", || {
        told.lock().expect("no panic").as_ref().is_some_and(|error| error.contains("came too slowly"))
    });
}
