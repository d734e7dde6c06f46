//! Deadlines: each fires not before its time, soon after it, and only when the peer really made no progress.
//!
//! The upper bounds are generous, because a busy machine is not a bug. The lower ones are nearly exact: the test's
//! clock starts before the server's can, but a core that has just lost its CPU for a moment counts from the time
//! it last looked at the clock.

mod support;

use std::io::{Read, Write};
use std::ops::Range;
use std::time::{Duration, Instant};

use socket2::SockRef;
use support::{Client, End, Failure, Server, ms};

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
