//! Leaving: no request is lost that a client was entitled to send, and nobody can hold the server back.

mod support;

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::{Client, End, Failure, PATIENCE, Server, ms, until};

const PLAINTEXT: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n\r\n";
const ONE_SHOT: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\nConnection: close\r\n\r\n";
const UPLOAD: &str = "POST / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 10\r\n\r\nhello";

/// Waits until the server has stopped listening, which is how a drain begins.
#[track_caller]
fn refuses_connections(server: &Server) {
    until(PATIENCE, "new connections are refused", || Client::try_connect(server.addr()).is_err());
}

/// An upload that is under way: its handler runs, for the body is asked for.
fn upload_under_way(server: &Server) -> Client {
    let mut client = server.connect();
    client.send(UPLOAD.replace("\r\n\r\nhello", "\r\nExpect: 100-continue\r\n\r\n"));
    assert_eq!(client.response().status, 100);
    client.send("hello");
    client
}

#[test]
fn requests_that_wait_in_accept_queues_are_answered() {
    let server = Server::start(&[]);
    server.connect().get("/plaintext");
    // While the process is stopped the kernel goes on to complete connections and to take what they send.
    server.drains_answering(PLAINTEXT, |server| (0..100).map(|_| server.connect()).collect());
}

#[test]
fn requests_that_wait_on_idle_connections_are_answered() {
    let server = Server::start(&[]);
    let mut clients: Vec<_> = (0..100).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/plaintext").status, 200);
    }
    server.drains_answering(PLAINTEXT, |_| clients);
}

/// Closed-loop clients until the server refuses; what each saw is judged where it happens.
fn load_until_refused(server: &Server, client: fn(std::net::SocketAddr, &AtomicU64)) -> Duration {
    let (addr, answered) = (server.addr(), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..8)
        .map(|_| {
            let answered = answered.clone();
            thread::spawn(move || client(addr, &answered))
        })
        .collect();
    until(PATIENCE, "the load runs", || answered.load(Ordering::Relaxed) > 500);
    server.signal(Signal::TERM);
    let since = Instant::now();
    for client in clients {
        client.join().expect("no request was lost");
    }
    since.elapsed()
}

#[test]
fn sigterm_under_keep_alive_load_loses_no_request() {
    for _ in 0..5 {
        let server = Server::start(&[]);
        load_until_refused(&server, |addr, answered| {
            while let Ok(mut client) = Client::try_connect(addr) {
                // Eight pipelined at a time: some are in flight, others not yet sent, when the signal comes.
                loop {
                    client.send(PLAINTEXT.repeat(8));
                    let responses: Vec<_> = (0..8).map_while(|_| client.try_response().ok()).collect();
                    assert!(!responses.is_empty(), "a request was lost");
                    answered.fetch_add(responses.len() as u64, Ordering::Relaxed);
                    // What was sent behind the announced last one may be sent again: it was not processed
                    // (RFC 9112, section 9.6).
                    if responses.iter().any(support::Response::closes) {
                        break;
                    }
                    assert_eq!(responses.len(), 8, "the connection ended unannounced");
                }
            }
        });
        assert_eq!(server.finished(PATIENCE).code, Some(0));
    }
}

#[test]
fn sigterm_under_one_shot_load_loses_no_request() {
    for _ in 0..5 {
        let server = Server::start(&[]);
        load_until_refused(&server, |addr, answered| {
            loop {
                let mut client = match Client::try_connect(addr) {
                    Ok(client) => client,
                    Err(error) if error.kind() == ErrorKind::ConnectionRefused => break,
                    Err(error) => panic!("{error}"),
                };
                client.send(ONE_SHOT);
                assert_eq!(client.response().status, 200);
                answered.fetch_add(1, Ordering::Relaxed);
            }
        });
        assert_eq!(server.finished(PATIENCE).code, Some(0));
    }
}

#[test]
fn idle_connections_are_closed_and_the_server_leaves_early() {
    let server = Server::start(&["--drain", "30s"]);
    let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
    // Half of them have been used, half never spoke.
    for client in clients.iter_mut().step_by(2) {
        assert_eq!(client.get("/plaintext").status, 200);
    }
    assert_eq!(server.cores("connections"), 51);
    server.signal(Signal::TERM);
    let finished = server.finished(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.after < ms(5000), "with nothing to wait for it took {:?}", finished.after);
    clients.iter_mut().for_each(Client::closed);
}

#[test]
fn an_idle_connection_may_be_given_more_time_for_one_more_request() {
    let server = Server::start(&["--drain-idle-timeout", "8s", "--drain", "30s"]);
    let mut client = server.connect();
    assert_eq!(client.get("/plaintext").status, 200);
    server.signal(Signal::TERM);
    refuses_connections(&server);
    client.patience(ms(1000));
    assert_eq!(client.end(), End::Open, "closed after the 250 ms of the default");
    client.patience(PATIENCE);
    let response = client.get("/plaintext");
    assert!(response.status == 200 && response.closes(), "{response:?}");
    assert_eq!(server.finished(PATIENCE).code, Some(0));
}

#[test]
fn a_server_without_connections_leaves_at_once_also_on_sigint() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&["--drain", "30s"]);
        server.signal(signal);
        let finished = server.finished(PATIENCE);
        assert_eq!(finished.code, Some(0), "{finished:?}");
        assert!(finished.after < ms(3000), "it took {:?}", finished.after);
    }
}

#[test]
fn a_request_in_flight_is_answered_and_told_that_it_is_the_last() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Server::start(&["--app", "echo"]);
        let mut client = upload_under_way(&server);
        server.signal(signal);
        refuses_connections(&server);
        let response = client.send("world").response();
        assert_eq!((response.status, response.text()), (200, "helloworld"));
        assert!(response.closes(), "{response:?}");
        client.closed();
        assert_eq!(server.finished(PATIENCE).code, Some(0));
    }
}

#[test]
fn a_head_under_way_may_be_finished() {
    let server = Server::start(&["--cores", "1"]);
    let (mut client, mut other) = (server.connect(), server.connect());
    client.send("GET /plaintext HTTP/1.1\r\nHost: ki");
    // Its answer tells that the part before has been seen.
    assert_eq!(other.get("/plaintext").status, 200);
    server.signal(Signal::TERM);
    refuses_connections(&server);
    other.closed();
    let response = client.send("ang.test\r\n\r\n").response();
    assert_eq!(response.text(), "Hello, World!");
    assert!(response.closes(), "{response:?}");
    assert_eq!(server.finished(PATIENCE).code, Some(0));
}

#[test]
fn a_request_past_the_drain_time_is_cut() {
    let server = Server::start(&["--app", "echo", "--drain", "500ms"]);
    let mut client = upload_under_way(&server);
    server.signal(Signal::TERM);
    let finished = server.finished(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!((ms(400)..ms(4000)).contains(&finished.after), "it took {:?}", finished.after);
    match client.try_response() {
        Err(Failure::Closed | Failure::Broken(_)) => {}
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_second_signal_leaves_at_once() {
    for (first, second) in
        [(Signal::TERM, Signal::TERM), (Signal::INT, Signal::INT), (Signal::TERM, Signal::INT)]
    {
        let server = Server::start(&["--app", "echo", "--drain", "60s"]);
        let mut client = upload_under_way(&server);
        server.signal(first);
        refuses_connections(&server);
        client.patience(ms(300));
        assert_eq!(client.end(), End::Open, "the first signal waits for the request");
        server.signal(second);
        let finished = server.finished(PATIENCE);
        assert!(finished.after < ms(2000), "it took {:?}", finished.after);
    }
}
