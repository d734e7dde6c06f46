//! What the bare loops (`floor`, `epoll`) answer, and the socket that the servers listen on: shared, so that the loops
//! differ in their I/O and in nothing else.
//!
//! This is a yardstick, not an HTTP server: no router, no limits but one, no deadlines, and it knows no request but a
//! GET without a body. Whatever else comes is answered 404 and the connection closed, because the framing of what
//! follows is not looked at.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::time::{Duration, SystemTime};

use serde::Serialize;
use socket2::{Domain, Socket, Type};

/// The longest head that a connection may hold back; whoever sends more without completing it is closed.
const MAX_HEAD: usize = 16 * 1024;
const MAX_HEADERS: usize = 32;

/// The port to serve on: the first argument, else `$PORT`, else 8080.
///
/// # Panics
/// When that is not a port number: there is nothing better to do at start.
#[must_use]
pub fn port() -> u16 {
    let given = std::env::args().nth(1).or_else(|| std::env::var("PORT").ok());
    given.map_or(8080, |port| port.parse().expect("the port must be a number below 65536"))
}

/// Listens on `127.0.0.1` at [`port`].
///
/// # Errors
/// When the port is taken.
pub fn listen() -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    // Accepted sockets inherit it from their listener: no system call per connection.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port()).into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// The body of `/json`, which every server serializes anew for each request.
#[derive(Serialize)]
pub struct Message {
    message: &'static str,
}

/// The one message that there is.
pub const MESSAGE: Message = Message { message: "Hello, World!" };

/// What one look at received bytes came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Answered {
    /// How many of the bytes were whole requests; the rest waits for more.
    pub consumed: usize,
    /// The connection must be closed once the answers have left.
    pub close: bool,
}

/// Renders the answers. The head holds a date, so it is rendered anew when the second changes, not per request.
pub struct Responder {
    server: &'static str,
    second: libc::time_t,
    ok: Vec<u8>,
    /// The head alone: the body is serialized for each request.
    json: Vec<u8>,
    not_found: Vec<u8>,
}

impl Responder {
    /// A responder whose answers say `Server: {server}`.
    #[must_use]
    pub fn new(server: &'static str) -> Self {
        let mut responder =
            Self { server, second: -1, ok: Vec::new(), json: Vec::new(), not_found: Vec::new() };
        responder.tick();
        responder
    }

    /// Looks at the clock; call it once per turn of the loop.
    pub fn tick(&mut self) {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // The coarse clock is read from memory, without asking the time source; it lags by a kernel tick at most.
        // SAFETY: `now` is a valid timespec to write to, and this clock has existed since Linux 2.6.32.
        unsafe { libc::clock_gettime(libc::CLOCK_REALTIME_COARSE, &raw mut now) };
        if now.tv_sec != self.second {
            self.second = now.tv_sec;
            self.render();
        }
    }

    #[cold]
    fn render(&mut self) {
        let since_epoch = Duration::from_secs(self.second.unsigned_abs());
        let date = httpdate::fmt_http_date(SystemTime::UNIX_EPOCH + since_epoch);
        let server = self.server;
        let json = serde_json::to_vec(&MESSAGE).expect("a string serializes").len();
        let (text, length) = ("text/plain", "Hello, World!".len());
        for (response, status, media, length, rest) in [
            (&mut self.ok, "200 OK", text, length, "\r\nHello, World!"),
            (&mut self.json, "200 OK", "application/json", json, "\r\n"),
            (&mut self.not_found, "404 Not Found", text, 9, "Connection: close\r\n\r\nNot Found"),
        ] {
            response.clear();
            write!(
                response,
                "HTTP/1.1 {status}\r\nServer: {server}\r\nDate: {date}\r\nContent-Type: {media}\r\n\
                 Content-Length: {length}\r\n{rest}"
            )
            .expect("writing to memory does not fail");
        }
    }

    /// Appends to `out` the answers to all whole requests in `input`.
    #[inline]
    pub fn answer(&self, input: &[u8], out: &mut Vec<u8>) -> Answered {
        let mut consumed = 0;
        while consumed < input.len() {
            // Uninitialized, because clearing an array of headers costs about as much as parsing a short request.
            let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
            let mut request = httparse::Request::new(&mut []);
            match request.parse_with_uninit_headers(&input[consumed..], &mut headers) {
                Ok(httparse::Status::Complete(length)) => consumed += length,
                Ok(httparse::Status::Partial) => {
                    return Answered { consumed, close: input.len() - consumed > MAX_HEAD };
                }
                Err(_) => return Answered { consumed, close: true },
            }
            match (request.method, request.path) {
                (Some("GET"), Some("/plaintext")) => out.extend_from_slice(&self.ok),
                (Some("GET"), Some("/json")) => {
                    out.extend_from_slice(&self.json);
                    append_message(out);
                }
                _ => {
                    out.extend_from_slice(&self.not_found);
                    return Answered { consumed, close: true };
                }
            }
        }
        Answered { consumed, close: false }
    }
}

fn append_message(out: &mut Vec<u8>) {
    serde_json::to_writer(out, &MESSAGE).expect("writing to memory does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUEST: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: localhost\r\n\r\n";

    fn answer(input: &[u8]) -> (Answered, String) {
        let mut out = Vec::new();
        let answered = Responder::new("test").answer(input, &mut out);
        (answered, String::from_utf8(out).unwrap())
    }

    #[test]
    fn pipelined_requests_are_answered_together() {
        let (answered, out) = answer(&REQUEST.repeat(3));
        assert_eq!(answered, Answered { consumed: 3 * REQUEST.len(), close: false });
        assert_eq!(out.matches("HTTP/1.1 200 OK\r\nServer: test\r\nDate: ").count(), 3);
        assert!(out.ends_with(" GMT\r\nContent-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, World!"));
    }

    #[test]
    fn json_has_the_length_that_its_head_says() {
        let (answered, out) = answer(b"GET /json HTTP/1.1\r\n\r\n");
        assert!(!answered.close);
        let (head, body) = out.split_once("\r\n\r\n").unwrap();
        assert!(head.contains("Content-Type: application/json") && head.ends_with("Content-Length: 27"));
        assert_eq!(body, r#"{"message":"Hello, World!"}"#);
    }

    #[test]
    fn an_incomplete_request_waits_at_every_split_point() {
        for split in 1..REQUEST.len() {
            let (answered, out) = answer(&[REQUEST, &REQUEST[..split]].concat());
            assert_eq!(answered, Answered { consumed: REQUEST.len(), close: false });
            assert_eq!(out.matches("Hello, World!").count(), 1);
        }
    }

    #[test]
    fn another_path_or_method_is_404_and_the_end() {
        for head in ["GET / HTTP/1.1\r\n\r\n", "POST /plaintext HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc"] {
            let (answered, out) = answer(head.as_bytes());
            assert!(answered.close);
            assert!(out.starts_with("HTTP/1.1 404 Not Found\r\n") && out.contains("Connection: close\r\n"));
        }
    }

    #[test]
    fn what_does_not_parse_or_never_ends_is_closed() {
        assert!(answer(b"nonsense\0\r\n\r\n").0.close);
        assert!(answer(&b"GET /".iter().copied().chain([b'a'; MAX_HEAD]).collect::<Vec<_>>()).0.close);
    }
}
