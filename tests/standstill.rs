//! The process stands still (SIGSTOP, a frozen cgroup, a suspended machine) while its peers do not: what they have
//! sent in time is answered when it goes on, also where a deadline has passed meanwhile.

mod support;

use std::thread;

use rustix::process::Signal;
use support::{Client, PATIENCE, Server, ms, raise_open_files, skip};

const PLAINTEXT: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n\r\n";
/// Longer than any deadline of these tests.
const STANDSTILL: std::time::Duration = ms(3000);

/// A server on one core, on which every wait for a peer is short.
fn hasty(more: &[&str]) -> Server {
    let arguments = [
        "--cores",
        "1",
        "--head-timeout",
        "2s",
        "--idle-timeout",
        "2s",
        "--body-timeout",
        "2s",
        "--min-body-rate",
        "1kB",
    ];
    Server::start(&[&arguments, more].concat())
}

/// Stops the process, does this, lets every deadline pass, and lets the process go on.
fn standing_still(server: &Server, meanwhile: impl FnOnce()) {
    server.signal(Signal::STOP);
    meanwhile();
    // Nothing to await: time itself has to pass.
    thread::sleep(STANDSTILL);
    server.signal(Signal::CONT);
}

#[track_caller]
fn all_answered(clients: &mut [Client], text: &str) {
    for (number, client) in clients.iter_mut().enumerate() {
        match client.try_response() {
            Ok(response) => assert_eq!(response.text(), text, "of client {number}"),
            Err(failure) => panic!("client {number} was in time: {failure:?}"),
        }
    }
}

#[test]
fn two_thousand_requests_on_idle_connections_are_answered() {
    // More than there are buffers to receive with.
    const COUNT: usize = 2000;
    if raise_open_files() < COUNT as u64 + 200 {
        return skip("the hard limit of open files forbids 2000 connections");
    }
    let server = Server::start(&["--cores", "1", "--idle-timeout", "3s", "--head-timeout", "3s"]);
    let mut clients: Vec<_> = (0..COUNT).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/plaintext").status, 200);
    }
    server.signal(Signal::STOP);
    for client in &mut clients {
        client.send(PLAINTEXT);
    }
    thread::sleep(ms(3500));
    server.signal(Signal::CONT);
    all_answered(&mut clients, "Hello, World!");
}

#[test]
fn two_thousand_requests_on_fresh_connections_are_answered() {
    const COUNT: usize = 2000;
    if raise_open_files() < COUNT as u64 + 200 {
        return skip("the hard limit of open files forbids 2000 connections");
    }
    let server = Server::start(&["--cores", "1", "--idle-timeout", "3s", "--head-timeout", "3s"]);
    let mut clients: Vec<_> = (0..COUNT).map(|_| server.connect()).collect();
    // All of them have been accepted, and have not said a word.
    assert_eq!(server.open_connections(), COUNT as u64 + 1);
    server.signal(Signal::STOP);
    for client in &mut clients {
        client.send(PLAINTEXT);
    }
    thread::sleep(ms(3500));
    server.signal(Signal::CONT);
    all_answered(&mut clients, "Hello, World!");
}

#[test]
fn heads_that_are_finished_meanwhile_are_answered() {
    let server = hasty(&[]);
    // Of a first request, and of a second.
    for before in [0, 1] {
        let mut clients: Vec<_> = (0..400).map(|_| server.connect()).collect();
        for client in &mut clients {
            for _ in 0..before {
                assert_eq!(client.get("/plaintext").status, 200);
            }
            client.send(&PLAINTEXT[..20]);
        }
        standing_still(&server, || {
            for client in &mut clients {
                client.send(&PLAINTEXT[20..]);
            }
        });
        all_answered(&mut clients, "Hello, World!");
    }
}

#[test]
fn bodies_that_are_finished_meanwhile_are_answered() {
    let server = hasty(&["--app", "echo"]);
    let mut clients: Vec<_> = (0..400).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("POST / HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 10\r\n\r\nhello");
    }
    standing_still(&server, || {
        for client in &mut clients {
            client.send("world");
        }
    });
    all_answered(&mut clients, "helloworld");
}

#[test]
fn a_body_that_nobody_reads_is_skipped_when_it_comes_meanwhile() {
    let server = hasty(&[]);
    let mut clients: Vec<_> = (0..400).map(|_| server.connect()).collect();
    for client in &mut clients {
        client.send("POST /plaintext HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 10\r\n\r\nhello");
        let response = client.response();
        assert!(response.status == 405 && !response.closes(), "{response:?}");
    }
    standing_still(&server, || {
        for client in &mut clients {
            client.send("world").send(PLAINTEXT);
        }
    });
    all_answered(&mut clients, "Hello, World!");
}

#[test]
fn the_last_requests_of_a_drain_are_answered() {
    // Longer than an idle connection is waited for while the server drains, and than the whole drain.
    let server = Server::start(&["--cores", "1", "--drain", "2s"]);
    let mut clients: Vec<_> = (0..400).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/plaintext").status, 200);
    }
    // One that keeps the drain from its end.
    let mut upload = server.connect();
    upload.send("POST /upload HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 10\r\n\r\nhello");
    assert_eq!(server.cores("connections"), 402);
    server.signal(Signal::TERM);
    server.says("draining");
    server.signal(Signal::STOP);
    for client in &mut clients {
        client.send(PLAINTEXT);
    }
    upload.send("world");
    thread::sleep(ms(3500));
    server.signal(Signal::CONT);
    all_answered(&mut clients, "Hello, World!");
    assert_eq!(upload.response().status, 200);
    clients.iter_mut().for_each(Client::closed);
    assert_eq!(server.finished(PATIENCE).code, Some(0));
}

#[test]
fn a_peer_that_was_silent_meanwhile_is_still_too_late() {
    let server = hasty(&[]);
    let mut idle = server.connect();
    assert_eq!(idle.get("/plaintext").status, 200);
    let mut half = server.connect();
    half.send("GET /plain");
    standing_still(&server, || {});
    idle.closed();
    assert_eq!(half.response().status, 408);
}
