//! What a server costs that has nothing to do: no CPU time, and little memory for each idle connection.

mod support;

use std::thread;

use support::{Client, PATIENCE, Server, file, ms, raise_open_files, skip, until};

/// CPU time over two seconds in which nothing happens. Nothing to await here: time itself has to pass.
#[track_caller]
fn costs_nothing(server: &Server, what: &str) {
    // Whatever the last requests left to be tidied up is not what is measured.
    thread::sleep(ms(200));
    let before = server.cpu_time();
    thread::sleep(ms(2000));
    let spent = server.cpu_time().saturating_sub(before);
    eprintln!("{what}: {spent:?} of CPU time in 2 s");
    assert!(spent < ms(20), "{what} cost {spent:?} in 2 s");
}

#[track_caller]
fn idle_connections(server: &Server, count: usize) -> Vec<Client> {
    let connect = |_| {
        let mut client = server.connect();
        assert_eq!(client.get("/plaintext").status, 200);
        client
    };
    (0..count).map(connect).collect()
}

#[test]
fn an_idle_server_sleeps() {
    let server = Server::start(&[]);
    costs_nothing(&server, "a server that never had a connection");
    let clients = idle_connections(&server, 100);
    costs_nothing(&server, "a server with 100 idle connections");
    drop(clients);
    server.quiet();
    costs_nothing(&server, "a server whose connections are all gone");
}

#[test]
fn a_server_whose_last_deadline_has_passed_sleeps() {
    let server = Server::start(&["--idle-timeout", "200ms"]);
    for mut client in idle_connections(&server, 10) {
        client.closed();
    }
    costs_nothing(&server, "a server that has closed its last connection by itself");
}

#[test]
fn a_server_that_has_written_its_logs_sleeps() {
    let log = file("idle.log", "");
    let server = Server::start(&["--access-log", log.to_str().expect("a plain path")]);
    let clients = idle_connections(&server, 10);
    costs_nothing(&server, "a server with an access log");
    let written = std::fs::read_to_string(log).expect("it is there");
    assert_eq!(written.lines().count(), 10);
    drop(clients);
}

#[test]
fn ten_thousand_idle_connections_cost_little_and_hinder_nobody() {
    const COUNT: usize = 10_000;
    if raise_open_files() < COUNT as u64 + 200 {
        return skip("the hard limit of open files forbids 10,000 connections");
    }
    let server = Server::start(&[]);
    // Twice, so that what the first use of a code path costs is not counted as the price of connections.
    drop(idle_connections(&server, 200));
    server.quiet();
    let (memory, descriptors) = (server.rss(), server.descriptors());
    let mut clients = idle_connections(&server, COUNT);
    let each = (server.rss() - memory) / COUNT as u64;
    eprintln!("an idle connection costs {each} bytes of resident memory");
    assert!(each <= 2048, "an idle connection costs {each} bytes of resident memory");
    costs_nothing(&server, "a server with 10,000 idle connections");

    let mut other = server.connect();
    for _ in 0..1000 {
        assert_eq!(other.get("/plaintext").status, 200);
    }
    for client in clients.iter_mut().step_by(100) {
        assert_eq!(client.get("/plaintext").status, 200, "an idle connection is still good");
    }
    drop((clients, other));
    server.quiet();
    until(PATIENCE, "descriptors are back to the start", || server.descriptors() <= descriptors);
}
