//! Balance: connections are spread evenly, and those that change cores are served like any other.

mod support;

use std::io::ErrorKind;
use std::thread;

use rustix::process::Signal;
use support::{Client, PATIENCE, Server, skip};

const PLAINTEXT: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n\r\n";
const ONE_SHOT: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\nConnection: close\r\n\r\n";
const CONNECTIONS: usize = 64;
/// A connection moves at a difference of one and a sixteenth, so of 32 on each core three are left at the most.
const LARGEST_DIFFERENCE: u64 = 3;

/// On two cores, where the core that is chosen at random is always the other one.
fn on_two_cores(arguments: &[&str]) -> Option<Server> {
    if thread::available_parallelism().is_ok_and(|cpus| cpus.get() < 2) {
        skip("it takes two CPUs");
        return None;
    }
    Some(Server::start(&[&["--cores", "2"], arguments].concat()))
}

/// One member of `/cores`, for each core.
#[track_caller]
fn each(client: &mut Client, member: &str) -> Vec<u64> {
    let response = client.get("/cores");
    let cores: serde_json::Value = serde_json::from_slice(&response.body).expect("/cores is JSON");
    cores.as_array().expect("an array").iter().map(|core| core[member].as_u64().expect("a count")).collect()
}

#[track_caller]
fn even(connections: &[u64]) {
    let difference = connections[0].abs_diff(connections[1]);
    assert!(difference <= LARGEST_DIFFERENCE, "{connections:?}");
}

#[test]
fn connections_that_come_one_by_one_are_even_at_any_time() {
    let Some(server) = on_two_cores(&["--balance"]) else { return };
    let mut clients = Vec::new();
    for _ in 0..CONNECTIONS {
        let mut client = server.connect();
        even(&each(&mut client, "connections"));
        clients.push(client);
    }
    let (handed, taken) = (each(&mut clients[0], "handed_over"), each(&mut clients[0], "taken_over"));
    assert_eq!((handed[0], handed[1]), (taken[1], taken[0]));
    assert!(handed.iter().sum::<u64>() > 0, "the kernel's hash is never that even");
    let (accepted, open) = (each(&mut clients[0], "accepted"), each(&mut clients[0], "connections"));
    for core in 0..2 {
        assert_eq!(open[core], accepted[core] - handed[core] + taken[core]);
    }
    // Moved or not, each goes on to be served.
    for client in &mut clients {
        for _ in 0..3 {
            assert_eq!(client.get("/plaintext").text(), "Hello, World!");
        }
        assert_eq!(client.post("/upload", "hello").text(), "5");
    }
    drop(clients);
    server.quiet();
}

#[test]
fn connections_that_come_all_at_once_are_even_too() {
    let Some(server) = on_two_cores(&["--balance"]) else { return };
    for _ in 0..5 {
        // While the process is stopped the kernel goes on to complete connections.
        server.signal(Signal::STOP);
        let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
        for client in &mut clients {
            client.send(PLAINTEXT);
        }
        server.signal(Signal::CONT);
        for client in &mut clients {
            assert_eq!(client.response().text(), "Hello, World!");
        }
        even(&each(&mut clients[0], "connections"));
        drop(clients);
        server.quiet();
    }
}

#[test]
fn connections_that_have_ended_do_not_count() {
    let Some(server) = on_two_cores(&["--balance"]) else { return };
    for number in 0..500 {
        let mut client = server.connect();
        client.send(ONE_SHOT);
        assert_eq!(client.response().status, 200, "connection {number}");
        client.closed();
    }
    server.quiet();
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/plaintext").status, 200);
    }
    even(&each(&mut clients[0], "connections"));
}

/// The connections of the busiest core, over fifty runs: on average, in tenths, and at worst.
fn busiest(server: &Server, connections: usize) -> (u64, u64) {
    const RUNS: u64 = 50;
    let (mut sum, mut worst) = (0, 0);
    for _ in 0..RUNS {
        let mut clients: Vec<_> = (0..connections).map(|_| server.connect()).collect();
        for client in &mut clients {
            assert_eq!(client.get("/plaintext").status, 200);
        }
        let busiest = each(&mut clients[0], "connections").into_iter().max().expect("there are cores");
        (sum, worst) = (sum + busiest, worst.max(busiest));
        drop(clients);
        server.quiet();
    }
    (sum * 10 / RUNS, worst)
}

#[test]
fn the_busiest_core_has_hardly_more_than_its_share() {
    let (Some(dealt), Some(balanced)) = (on_two_cores(&[]), on_two_cores(&["--balance"])) else { return };
    for connections in [8, 64] {
        let (dealt, balanced) = (busiest(&dealt, connections), busiest(&balanced, connections));
        eprintln!(
            "{connections} connections on 2 cores, the busiest has: by the kernel's hash {}.{} (at worst {}), balanced \
            {}.{} (at worst {})",
            dealt.0 / 10,
            dealt.0 % 10,
            dealt.1,
            balanced.0 / 10,
            balanced.0 % 10,
            balanced.1
        );
        assert!(balanced.1 <= connections as u64 / 2 + LARGEST_DIFFERENCE / 2);
    }
}

#[test]
fn without_it_connections_stay_where_the_kernel_puts_them() {
    let server = Server::start(&[]);
    let mut clients: Vec<_> = (0..CONNECTIONS).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/plaintext").status, 200);
    }
    for member in ["handed_over", "taken_over"] {
        assert_eq!(each(&mut clients[0], member).iter().sum::<u64>(), 0);
    }
}

#[test]
fn a_drain_loses_no_connection_that_changes_cores() {
    for _ in 0..5 {
        let Some(server) = on_two_cores(&["--balance"]) else { return };
        server.connect().get("/plaintext");
        server.drains_answering(PLAINTEXT, |server| (0..100).map(|_| server.connect()).collect());
    }
}

#[test]
fn a_drain_under_load_loses_no_request() {
    for _ in 0..3 {
        let Some(server) = on_two_cores(&["--balance"]) else { return };
        let addr = server.addr();
        let clients: Vec<_> = (0..8)
            .map(|_| {
                thread::spawn(move || {
                    // Some connections stay open for a while, so that there is something to even out.
                    let mut open = std::collections::VecDeque::new();
                    loop {
                        let mut client = match Client::try_connect(addr) {
                            Ok(client) => client,
                            Err(error) if error.kind() == ErrorKind::ConnectionRefused => return,
                            Err(error) => panic!("{error}"),
                        };
                        assert_eq!(client.get("/plaintext").status, 200);
                        open.push_back(client);
                        if open.len() > 8 {
                            open.pop_front();
                        }
                    }
                })
            })
            .collect();
        support::until(PATIENCE, "connections change cores", || server.cores("handed_over") > 20);
        server.signal(Signal::TERM);
        for client in clients {
            client.join().expect("no request was lost");
        }
        assert_eq!(server.finished(PATIENCE).code, Some(0));
    }
}
