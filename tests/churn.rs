//! A hundred thousand connections that come and go in all manners: descriptors and memory end where they began.

mod support;

use std::net::SocketAddr;
use std::thread;
use std::time::Instant;

use support::{Client, Launch, PATIENCE, Server, until};

const CONNECTIONS: usize = 100_000;
const THREADS: usize = 4;
/// Memory that allocators keep for reuse. A leak of 100 bytes per connection would be five times as much.
const SLACK: u64 = 2 * 1024 * 1024;

/// One connection, in one of the manners in which connections end.
fn visit(addr: SocketAddr, number: usize) {
    const GET: &str = "GET /plaintext HTTP/1.1\r\nHost: kiang.test\r\n";
    let mut client = Client::connect(addr);
    match number % 8 {
        // Served and closed by the client.
        0 => assert_eq!(client.get("/plaintext").status, 200),
        // Served and closed by the server.
        1 => {
            client.send(format!("{GET}Connection: close\r\n\r\n"));
            assert_eq!(client.response().status, 200);
            client.closed();
        }
        // Served and reset.
        2 => {
            assert_eq!(client.post("/upload", "hello").text(), "5");
            client.reset();
        }
        // Reset with the answers on their way.
        3 => {
            client.send(format!("{GET}\r\n").repeat(16));
            client.reset();
        }
        // Closed with the answer on its way.
        4 => {
            client.send(format!("{GET}\r\n"));
        }
        // Closed within a head.
        5 => {
            client.send(GET);
        }
        // Reset within a body.
        6 => {
            client.send("POST /upload HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: 1000\r\n\r\nhello");
            client.reset();
        }
        // Never said a word.
        _ => {}
    }
}

fn visits(server: &Server, connections: usize) {
    thread::scope(|scope| {
        for thread in 0..THREADS {
            scope.spawn(move || {
                for number in 0..connections / THREADS {
                    // Several addresses, because each has its own range of ports for the client's side, and those
                    // of connections closed in order rest for a minute.
                    visit(server.addrs()[(number / 8 + thread) % server.addrs().len()], number);
                }
            });
        }
    });
    server.quiet();
}

#[test]
fn a_hundred_thousand_connections_leave_nothing_behind() {
    let binds = ["127.0.0.1:0", "127.0.0.2:0", "127.0.0.3:0", "127.0.0.4:0"];
    let arguments: Vec<_> =
        std::iter::once("serve").chain(binds.iter().flat_map(|addr| ["--bind", *addr])).collect();
    let server = Launch::new(&arguments).start();
    visits(&server, CONNECTIONS / 20);
    let (descriptors, memory) = (server.descriptors(), server.rss());
    let since = Instant::now();
    visits(&server, CONNECTIONS);
    let grown = server.rss().saturating_sub(memory);
    eprintln!(
        "{CONNECTIONS} connections in {:?}; resident memory grew by {} KiB",
        since.elapsed(),
        grown / 1024
    );
    until(PATIENCE, "descriptors are back to the start", || server.descriptors() <= descriptors);
    assert!(grown < SLACK, "resident memory grew by {} KiB", grown / 1024);
    assert!(server.cores("accepted") > CONNECTIONS as u64);
}
