//! Peers that take an answer slowly, or not at all: the first are served to the end, the others cut, and the kernel keeps
//! little for either.

mod support;

use std::io::Read;
use std::time::{Duration, Instant};

use kiang::{AccessLog, App, Bytes, Cores, Deadlines};
use socket2::SockRef;
use support::{Embedded, PATIENCE, file, ms, until};

/// A server that waits so long for a peer to take something, and has this much for it.
fn impatient(log: &str, write: Duration, length: usize) -> Embedded {
    let deadlines = Deadlines { write, ..Deadlines::default() };
    Embedded::start_with(
        |server| {
            server.cores(Cores::count(1)).deadlines(deadlines).access_log(AccessLog::file(file(log, "")))
        },
        move |_core| {
            let large = Bytes::from(vec![b'x'; length]);
            App::new().get("/large", move || large.clone())
        },
    )
}

#[test]
fn a_client_that_reads_slowly_and_keeps_reading_is_not_cut() {
    // So much that the kernel's own buffer is full, and takes far longer than the deadline to become a third empty.
    const LENGTH: usize = 12 << 20;
    let server = impatient("slowly.log", ms(1000), LENGTH);
    let mut client = server.connect();
    SockRef::from(client.stream()).set_recv_buffer_size(64 << 10).expect("SO_RCVBUF is settable");
    client.send("GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    client.stream().set_read_timeout(Some(PATIENCE)).expect("a deadline");
    let (begun, mut received) = (Instant::now(), 0);
    let mut piece = vec![0; 16 << 10];
    loop {
        match client.stream().read(&mut piece) {
            Ok(0) => break,
            Ok(count) => received += count,
            Err(error) => panic!("cut after {received} bytes in {:?}: {error}", begun.elapsed()),
        }
        if begun.elapsed() < ms(5000) {
            // The reader's own pace, about 400 KB a second, for several times the deadline.
            std::thread::sleep(ms(40));
        }
    }
    assert!(received > LENGTH, "the whole answer and its head: {received} bytes");
}

/// What the kernel still has to send for the server, on connections that the server has closed.
fn half_dead(server: &Embedded) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("procfs");
    let port = format!(":{:04X}", server.addr().port());
    let is_half_dead = |line: &&str| {
        let mut columns = line.split_whitespace().skip(1);
        let local = columns.next().is_some_and(|address| address.ends_with(&port));
        // FIN-WAIT-1, in `include/net/tcp_states.h` of the kernel; a descriptor that is open has an inode.
        local && columns.nth(1) == Some("04") && columns.nth(5) == Some("0")
    };
    table.lines().filter(is_half_dead).map(ToOwned::to_owned).collect()
}

#[test]
fn a_last_answer_that_is_not_taken_is_reset_too() {
    // So little that the kernel takes all of it.
    let server = impatient("last.log", ms(500), 200 << 10);
    let mut client = server.connect();
    SockRef::from(client.stream()).set_recv_buffer_size(4 << 10).expect("SO_RCVBUF is settable");
    client.send("GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    let mut seen = Vec::new();
    until(PATIENCE, "the connection is reset", || {
        seen.extend(half_dead(&server));
        let error = client.stream().take_error().expect("a socket");
        error.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset)
    });
    assert!(seen.is_empty(), "{seen:?}");
    // One that takes it gets all of it, and its end.
    let mut client = server.connect();
    let response = client.send("GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").response();
    assert_eq!(response.body.len(), 200 << 10);
    client.closed();
}

#[test]
fn what_is_cut_is_reset_and_leaves_nothing_in_the_kernel() {
    let server = impatient("cut.log", ms(500), 12 << 20);
    let mut client = server.connect();
    client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    // The client reads nothing, and its kernel is told of the end all the same.
    until(PATIENCE, "the connection is reset", || {
        client
            .stream()
            .take_error()
            .is_ok_and(|error| error.is_some_and(|error| error.kind() == std::io::ErrorKind::ConnectionReset))
    });
    until(PATIENCE, "nothing of it stays in the kernel", || half_dead(&server).is_empty());
    drop(server);
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
    let log = std::fs::read_to_string(path.join(format!("{}-cut.log", std::process::id()))).expect("a log");
    assert!(log.lines().count() == 1 && log.contains("\"cut\":true"), "{log}");
}

#[test]
fn the_kernel_holds_little_of_what_a_peer_does_not_take() {
    let server = impatient("owed.log", PATIENCE, 64 << 20);
    let mut client = server.connect();
    SockRef::from(client.stream()).set_recv_buffer_size(16 << 10).expect("SO_RCVBUF is settable");
    client.send("GET /large HTTP/1.1\r\nHost: x\r\n\r\n");
    let port = format!(":{:04X}", server.addr().port());
    let owed = || {
        let table = std::fs::read_to_string("/proc/net/tcp").expect("procfs");
        let queues = table.lines().filter_map(|line| {
            let mut columns = line.split_whitespace().skip(1);
            let local = columns.next()?.ends_with(&port);
            let (unsent, _) = columns.nth(2)?.split_once(':')?;
            u64::from_str_radix(unsent, 16).ok().filter(|_| local)
        });
        queues.max().unwrap_or(0)
    };
    let mut most = 0;
    until(PATIENCE, "the server has sent what the kernel takes", || {
        let before = std::mem::replace(&mut most, owed());
        std::thread::sleep(ms(50));
        most > 0 && most == before
    });
    assert!(most < 1 << 20, "{most} bytes lie in the kernel for a peer that takes nothing");
}
