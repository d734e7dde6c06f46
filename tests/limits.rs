//! How many connections there may be and how many requests on one: what is over is told so or cut, and counted.

mod support;

use kiang::{App, Deadlines, Limits};
use std::time::Duration;
use support::{Client, End, Failure, PATIENCE, Server, connect_from, ms, until};

const PLAINTEXT: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n\r\n";

/// So many connections that are served.
fn served(server: &Server, count: usize) -> Vec<Client> {
    let connect = |_| {
        let mut client = server.connect();
        assert_eq!(client.get("/plaintext").status, 200);
        client
    };
    (0..count).map(connect).collect()
}

/// Waits until somebody who comes is served, which the end of others may take a moment to allow.
fn is_let_in(server: &Server) {
    until(PATIENCE, "there is room again", || {
        let Ok(mut client) = Client::try_connect(server.addr()) else { return false };
        client.try_send(PLAINTEXT).is_ok()
            && client.try_response().is_ok_and(|response| response.status == 200)
    });
}

#[test]
fn the_last_request_of_a_connection_is_answered_with_close() {
    let server = Server::start(&["--max-requests", "3"]);
    let mut client = server.connect();
    for last in [false, false, true] {
        let response = client.get("/plaintext");
        assert_eq!((response.status, response.closes()), (200, last));
    }
    client.closed();
}

#[test]
fn requests_pipelined_behind_the_last_are_not_answered() {
    let server = Server::start(&["--max-requests", "3"]);
    // Also when the last answer is one that is waited for.
    for last in ["/plaintext", "/cores"] {
        let mut client = server.connect();
        let last = PLAINTEXT.replace("/plaintext", last);
        client.send(format!("{PLAINTEXT}{PLAINTEXT}{last}{PLAINTEXT}{PLAINTEXT}"));
        for closes in [false, false, true] {
            let response = client.response();
            assert_eq!((response.status, response.closes()), (200, closes));
        }
        // In order, although the server does not read what was behind: a reset could destroy the answers.
        client.closed();
    }
}

#[test]
fn a_connection_over_the_limit_is_answered_503_before_it_asks() {
    let server = Server::start(&["--cores", "1", "--max-connections", "2"]);
    let mut clients = served(&server, 2);
    for _ in 0..20 {
        let mut client = server.connect();
        let response = client.response();
        assert_eq!((response.status, response.header("retry-after")), (503, Some("1")), "{response:?}");
        assert!(response.closes() && !response.text().is_empty(), "{response:?}");
        client.closed();
    }
    let response = clients[0].get("/cores");
    assert!(response.text().contains("\"shed\":20,"), "{response:?}");
    assert!(
        response.text().contains("\"accepted\":2,"),
        "who was turned away was not accepted: {response:?}"
    );
    let complaints = server.stderr().lines().filter(|line| line.contains("max-connections")).count();
    assert_eq!(complaints, 1, "one line, not one for each:\n{}", server.stderr());
    clients.pop();
    is_let_in(&server);
}

#[test]
fn a_connection_over_the_limit_that_is_still_sending_can_read_why() {
    // A close with unread input resets the connection, and a reset destroys the answer on its way.
    let server = Server::start(&["--cores", "1", "--max-connections", "1"]);
    let _client = served(&server, 1);
    for _ in 0..20 {
        let mut client = server.connect();
        client.send("POST /upload HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 500000\r\n\r\n");
        client.send(vec![b'x'; 30_000]);
        assert_eq!(client.response().status, 503);
    }
}

#[test]
fn a_drain_waits_for_those_that_are_told_to_go() {
    let server = Server::start(&["--cores", "1", "--max-connections", "1"]);
    let _inside = served(&server, 1);
    let mut outside = server.connect();
    assert_eq!(outside.response().status, 503);
    server.signal(rustix::process::Signal::TERM);
    let finished = server.finished(PATIENCE);
    assert_eq!(finished.code, Some(0), "{finished:?}");
    assert!(finished.after < ms(5000), "it listens to nobody for long: {finished:?}");
}

#[test]
fn a_peer_with_too_many_connections_gets_no_more_and_others_do() {
    let server = Server::start(&["--cores", "1", "--max-connections-per-peer", "3"]);
    let mut clients = served(&server, 3);
    for _ in 0..20 {
        // A reset may come before the connection is looked at, or while.
        if let Ok(mut client) = Client::try_connect(server.addr()) {
            assert_eq!(client.end(), End::Reset);
        }
    }
    let mut other = connect_from([127, 0, 0, 2].into(), server.addr()).expect("all of 127/8 is this machine");
    let response = other.get("/cores");
    assert!(response.text().contains("\"shed_by_peer\":20,"), "{response:?}");
    assert!(clients.iter_mut().all(|client| client.get("/plaintext").status == 200), "who was there stays");
    let complaints = || server.stderr().lines().filter(|line| line.contains("127.0.0.1 has 3")).count();
    assert_eq!(complaints(), 1, "one line, not one for each:\n{}", server.stderr());
    clients.pop();
    is_let_in(&server);
}

#[test]
fn a_peer_is_counted_down_with_every_manner_of_ending() {
    let server =
        Server::start(&["--cores", "1", "--max-connections-per-peer", "2", "--idle-timeout", "300ms"]);
    for manner in 0..5 {
        for mut client in served(&server, 2) {
            match manner {
                0 => drop(client),
                1 => client.reset(),
                2 => drop(client.half_close().end()),
                3 => drop(client.send("GARBAGE\r\n\r\n").response()),
                // Until the server closes it.
                _ => client.closed(),
            }
        }
        until(PATIENCE, "both places are free again", || {
            let clients: Vec<_> = (0..2).filter_map(|_| Client::try_connect(server.addr()).ok()).collect();
            let answers = clients.into_iter().map(|mut client| {
                client.try_send(PLAINTEXT).map_err(Failure::Broken).and_then(|()| client.try_response())
            });
            answers.collect::<Vec<_>>().iter().filter(|answer| answer.is_ok()).count() == 2
        });
        // And what asked must be gone before the next round.
        until(PATIENCE, "the other address sees nobody else", || {
            let mut other = connect_from([127, 0, 0, 2].into(), server.addr()).expect("this machine");
            other.get("/cores").text().contains("\"connections\":1,")
        });
    }
}

#[test]
fn limits_and_deadlines_that_would_serve_nobody_are_refused() {
    let run = |limits, deadlines| {
        let server = kiang::Server::bind("127.0.0.1:0").expect("a free port").signals(false);
        server.limits(limits).deadlines(deadlines).run(|_core| App::new()).expect_err("refused").to_string()
    };
    for (limits, name) in [
        (Limits { requests: Some(0), ..Limits::default() }, "`requests`"),
        (Limits { connections: 0, ..Limits::default() }, "`connections`"),
        (Limits { connections_per_peer: 0, ..Limits::default() }, "`connections_per_peer`"),
    ] {
        let said = run(limits, Deadlines::default());
        assert!(said.contains(name) && said.contains("at least 1"), "{said}");
    }
    let said = run(Limits::default(), Deadlines { handler: Duration::ZERO, ..Deadlines::default() });
    assert!(said.contains("`handler`"), "{said}");
}
