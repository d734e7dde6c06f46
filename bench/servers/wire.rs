//! Black-box tests of the servers that are measured: one that answers wrongly does other work than the rest.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command};
use std::thread;
use std::time::{Duration, Instant};

const REQUEST: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\n\r\n";
const PATIENCE: Duration = Duration::from_secs(10);

/// What all must do, and what only the bare loops promise (`bare`): to answer at once, to answer a client that has shut
/// down its side, and to end a connection after a 404.
pub(crate) fn answers_on_the_wire(binary: &str, bare: bool) {
    let server = Server::start(binary);
    same_answers(&server);
    split_requests(&server, bare);
    a_client_that_reads_late(&server);
    churn(&server);
    if bare {
        half_closed(&server);
        not_found(&server);
    }
}

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(binary: &str) -> Self {
        // The servers take a port and not a socket: ask the kernel for a free one, and let it go.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let process = Command::new(binary).arg(port.to_string()).spawn().unwrap();
        Self { process, port }
    }

    fn connect(&self) -> TcpStream {
        let started = Instant::now();
        loop {
            match TcpStream::connect(("127.0.0.1", self.port)) {
                Ok(stream) => {
                    stream.set_nodelay(true).unwrap();
                    stream.set_read_timeout(Some(PATIENCE)).unwrap();
                    return stream;
                }
                Err(error) if error.kind() == ErrorKind::ConnectionRefused => {
                    assert!(started.elapsed() < PATIENCE, "the server does not listen");
                    thread::sleep(Duration::from_millis(10));
                }
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

/// Reads until `count` answers are complete, and returns them without anything after.
fn answers(stream: &mut TcpStream, count: usize) -> String {
    let (mut received, mut chunk) = (String::new(), [0; 4096]);
    while received.matches("Hello, World!").count() < count {
        let length = stream.read(&mut chunk).unwrap();
        assert_ne!(length, 0, "closed after {received:?}");
        received.push_str(std::str::from_utf8(&chunk[..length]).unwrap());
    }
    assert_eq!(received.matches("HTTP/1.1 200 ").count(), count);
    assert!(received.ends_with("Hello, World!"));
    received
}

/// The same fields and the same bodies, so that all render as much.
fn same_answers(server: &Server) {
    for (path, media, length) in [("plaintext", "text/plain", 13), ("json", "application/json", 27)] {
        let mut stream = server.connect();
        write!(stream, "GET /{path} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut received = String::new();
        let (head, body) = loop {
            let mut chunk = [0; 4096];
            let read = stream.read(&mut chunk).unwrap();
            assert_ne!(read, 0, "closed after {received:?}");
            received.push_str(std::str::from_utf8(&chunk[..read]).unwrap());
            if let Some((head, body)) = received.split_once("\r\n\r\n")
                && body.len() >= length
            {
                break (head.to_ascii_lowercase(), body);
            }
        };
        let lines = head.split("\r\n").collect::<Vec<_>>();
        assert!(lines[0].starts_with("http/1.1 200 "), "{head}");
        let length = format!("content-length: {length}");
        for field in ["server: ", "date: ", &format!("content-type: {media}"), &length] {
            assert_eq!(lines.iter().filter(|line| line.starts_with(field)).count(), 1, "{field} in {head}");
        }
        assert_eq!(lines.len(), 5, "fields that others do not send: {head}");
        assert!(body == "Hello, World!" || body == r#"{"message":"Hello, World!"}"#, "{body}");
    }
}

/// Every split point, on one connection; with a whole request before, if `ahead`, that is answered at once. (With
/// `pipeline_flush` hyper waits for the rest, in the hope of answering both in one write.)
fn split_requests(server: &Server, ahead: bool) {
    let mut stream = server.connect();
    for split in 1..REQUEST.len() {
        if ahead {
            stream.write_all(&[REQUEST, &REQUEST[..split]].concat()).unwrap();
            answers(&mut stream, 1);
        } else {
            stream.write_all(&REQUEST[..split]).unwrap();
        }
        stream.write_all(&REQUEST[split..]).unwrap();
        answers(&mut stream, 1);
    }
}

/// Far more at once than fits into any buffer, read late: the server has to wait for room, and lose no answer.
fn a_client_that_reads_late(server: &Server) {
    const REQUESTS: usize = 60_000;
    let mut stream = server.connect();
    let mut writer = stream.try_clone().unwrap();
    let writing = thread::spawn(move || {
        for _ in 0..REQUESTS / 100 {
            writer.write_all(&REQUEST.repeat(100)).unwrap();
        }
    });
    thread::sleep(Duration::from_millis(500));
    // Others are served meanwhile.
    let mut other = server.connect();
    other.write_all(REQUEST).unwrap();
    let one = answers(&mut other, 1).len();
    let mut all = vec![0; one * REQUESTS];
    stream.read_exact(&mut all).unwrap();
    assert!(
        all.chunks(one).all(|answer| answer.starts_with(b"HTTP/1.1 200 ") && answer.ends_with(b"World!"))
    );
    writing.join().unwrap();
}

/// A client that shuts down its side gets the answer, and then the end.
fn half_closed(server: &Server) {
    for _ in 0..100 {
        let mut stream = server.connect();
        stream.write_all(REQUEST).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).unwrap();
        assert!(all.starts_with("HTTP/1.1 200 OK\r\n") && all.ends_with("Hello, World!"), "{all:?}");
    }
}

/// Whatever is not served is refused, and ends the connection.
fn not_found(server: &Server) {
    let mut stream = server.connect();
    stream.write_all(&[REQUEST, b"GET / HTTP/1.1\r\n\r\n", REQUEST].concat()).unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).unwrap();
    assert!(all.contains("Hello, World!HTTP/1.1 404 Not Found\r\n") && all.ends_with("Not Found"), "{all:?}");
}

/// Slots and descriptors are used again.
fn churn(server: &Server) {
    for _ in 0..2_000 {
        let mut stream = server.connect();
        stream.write_all(REQUEST).unwrap();
        answers(&mut stream, 1);
    }
}
