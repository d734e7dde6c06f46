//! An HTTP/1.1 client that takes nothing on trust: what RFC 9112 does not allow a server to send is an error.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

use super::PATIENCE;

/// Why there was no (further) answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The connection ended in order, before the first byte of an answer.
    Closed,
    /// The connection ended in order, within an answer.
    Truncated(Vec<u8>),
    /// Reset, or another error of the socket.
    Broken(io::Error),
    /// Nothing (more) came within the deadline.
    Silence(Vec<u8>),
    /// Not HTTP/1.1.
    Malformed(String),
}

/// How a connection ended that was to deliver nothing more.
#[derive(Debug, PartialEq)]
pub(crate) enum End {
    Closed,
    Reset,
    /// Still open at the deadline.
    Open,
    /// It did deliver something more.
    Bytes(Vec<u8>),
}

/// One answer, as received.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) reason: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// A field's value. A field that occurs twice is an error: none that the tests look at may.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values = self.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
        let value = values.next().map(|(_, value)| value.as_str());
        assert!(values.next().is_none(), "{name} occurs twice: {self:?}");
        value
    }

    #[track_caller]
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).expect("the body is text")
    }

    /// Whether the server announced that this is its last answer on the connection.
    #[track_caller]
    pub(crate) fn closes(&self) -> bool {
        self.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"))
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
    patience: Duration,
}

impl Client {
    #[track_caller]
    pub(crate) fn connect(addr: SocketAddr) -> Self {
        Self::try_connect(addr).unwrap_or_else(|error| panic!("cannot connect to {addr}: {error}"))
    }

    pub(crate) fn try_connect(addr: SocketAddr) -> io::Result<Self> {
        Self::over(TcpStream::connect_timeout(&addr, PATIENCE)?)
    }

    pub(crate) fn over(stream: TcpStream) -> io::Result<Self> {
        // Each write is to leave as a segment of its own: how requests are cut up is what many tests vary.
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::new(), patience: PATIENCE })
    }

    /// To a Unix socket. std's type of a TCP stream is but a descriptor that is read and written.
    pub(crate) fn try_connect_unix(path: &Path) -> io::Result<Self> {
        let stream = TcpStream::from(OwnedFd::from(UnixStream::connect(path)?));
        stream.set_write_timeout(Some(PATIENCE))?;
        Ok(Self { stream, received: Vec::new(), patience: PATIENCE })
    }

    #[track_caller]
    pub(crate) fn connect_unix(path: &Path) -> Self {
        Self::try_connect_unix(path)
            .unwrap_or_else(|error| panic!("cannot connect to {}: {error}", path.display()))
    }

    /// How long to wait for an answer, from the call that waits.
    pub(crate) fn patience(&mut self, patience: Duration) {
        self.patience = patience;
    }

    pub(crate) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) -> &mut Self {
        self.stream.write_all(bytes.as_ref()).expect("the server takes what is sent");
        self
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends one request over and over and reads nothing, until the server breaks off; when it last took something.
    #[track_caller]
    pub(crate) fn shout(&mut self, request: &str) -> Instant {
        const MOST: usize = 64 * 1024 * 1024;
        let socket = SockRef::from(&self.stream);
        // What the kernel would hold for us is work for the server that proves nothing.
        socket.set_recv_buffer_size(16 * 1024).expect("SO_RCVBUF is settable");
        socket.set_write_timeout(Some(2 * PATIENCE)).expect("a deadline");
        let requests = request.repeat(1000);
        let (mut written, mut last_progress) = (0, Instant::now());
        loop {
            // A write may end within a request, and the next has to go on there.
            match self.stream.write(&requests.as_bytes()[written % requests.len()..]) {
                Ok(count) => (written, last_progress) = (written + count, Instant::now()),
                Err(error) if matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                    return last_progress;
                }
                Err(error) => panic!("it was not cut off: {error}"),
            }
            assert!(written < MOST, "who reads nothing must not be read from forever");
        }
    }

    /// Sends no more, and still listens.
    #[track_caller]
    pub(crate) fn half_close(&mut self) -> &mut Self {
        self.stream.shutdown(Shutdown::Write).expect("the connection is open");
        self
    }

    /// Ends the connection with a reset, as a crashed peer or an impatient proxy does.
    pub(crate) fn reset(self) {
        SockRef::from(&self.stream).set_linger(Some(Duration::ZERO)).expect("SO_LINGER is settable");
    }

    #[track_caller]
    pub(crate) fn get(&mut self, target: &str) -> Response {
        self.send(format!("GET {target} HTTP/1.1\r\nHost: kiang.test\r\n\r\n")).response()
    }

    #[track_caller]
    pub(crate) fn post(&mut self, target: &str, body: impl AsRef<[u8]>) -> Response {
        let body = body.as_ref();
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\nHost: kiang.test\r\nContent-Length: {length}\r\n\r\n");
        self.send([head.as_bytes(), body].concat()).response()
    }

    /// A POST whose body arrives in these chunks.
    #[track_caller]
    pub(crate) fn post_chunked(&mut self, target: &str, chunks: &[&[u8]]) -> Response {
        let head =
            format!("POST {target} HTTP/1.1\r\nHost: kiang.test\r\nTransfer-Encoding: chunked\r\n\r\n");
        self.send(head);
        for chunk in chunks {
            self.send([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
        }
        self.send("0\r\n\r\n").response()
    }

    /// The next answer, interim ones included.
    #[track_caller]
    pub(crate) fn response(&mut self) -> Response {
        self.try_response().unwrap_or_else(|failure| panic!("no answer: {failure:?}"))
    }

    /// The next answer, to a HEAD request: no body follows, whatever the head says (RFC 9112, 6.3).
    #[track_caller]
    pub(crate) fn response_to_head(&mut self) -> Response {
        self.parse(true).unwrap_or_else(|failure| panic!("no answer: {failure:?}"))
    }

    pub(crate) fn try_response(&mut self) -> Result<Response, Failure> {
        self.parse(false)
    }

    pub(crate) fn try_response_to_head(&mut self) -> Result<Response, Failure> {
        self.parse(true)
    }

    /// The next `count` bytes, whatever they are.
    #[track_caller]
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let deadline = Instant::now() + self.patience;
        while self.received.len() < count {
            if let Err(failure) = self.fill(deadline) {
                panic!("{count} bytes were expected: {failure:?}");
            }
        }
        self.received.drain(..count).collect()
    }

    /// Waits for the end of the connection.
    pub(crate) fn end(&mut self) -> End {
        if self.received.is_empty() {
            match self.fill(Instant::now() + self.patience) {
                Ok(()) => {}
                Err(Failure::Closed) => return End::Closed,
                Err(Failure::Broken(_)) => return End::Reset,
                Err(_) => return End::Open,
            }
        }
        End::Bytes(std::mem::take(&mut self.received))
    }

    /// Asserts that the server closes, in order, having nothing more to say.
    #[track_caller]
    pub(crate) fn closed(&mut self) {
        assert_eq!(self.end(), End::Closed);
    }

    /// Reads something; the failures are told apart by what was read before.
    fn fill(&mut self, deadline: Instant) -> Result<(), Failure> {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).map_err(Failure::Broken)?;
        let mut piece = [0; 16 * 1024];
        match self.stream.read(&mut piece) {
            Ok(0) if self.received.is_empty() => Err(Failure::Closed),
            Ok(0) => Err(Failure::Truncated(std::mem::take(&mut self.received))),
            Ok(count) => {
                self.received.extend_from_slice(&piece[..count]);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                Err(Failure::Silence(self.received.clone()))
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Failure::Broken(error)),
        }
    }

    fn parse(&mut self, to_head: bool) -> Result<Response, Failure> {
        let deadline = Instant::now() + self.patience;
        let end = loop {
            if let Some(end) = find(&self.received, b"\r\n\r\n") {
                break end;
            }
            self.fill(deadline)?;
        };
        let head: Vec<u8> = self.received.drain(..end + 4).collect();
        let mut response = parse_head(&head[..end]).map_err(Failure::Malformed)?;
        let framing = Framing::of(&response, to_head).map_err(Failure::Malformed)?;
        response.body = loop {
            let taken = match framing {
                Framing::Length(length) => {
                    (self.received.len() >= length).then(|| (self.received[..length].to_vec(), length))
                }
                Framing::Chunked => decode_chunked(&self.received).map_err(Failure::Malformed)?,
                Framing::UntilClose => None,
            };
            if let Some((body, used)) = taken {
                self.received.drain(..used);
                break body;
            }
            match self.fill(deadline) {
                Ok(()) => {}
                Err(Failure::Closed) if framing == Framing::UntilClose => break Vec::new(),
                Err(Failure::Truncated(all)) if framing == Framing::UntilClose => break all,
                // Without a byte of the body it is still the middle of an answer.
                Err(Failure::Closed) => return Err(Failure::Truncated(head)),
                Err(failure) => return Err(failure),
            }
        };
        Ok(response)
    }
}

/// Connects from a given address: further source addresses are further ranges of ephemeral ports.
pub(crate) fn connect_from(source: IpAddr, addr: SocketAddr) -> io::Result<Client> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.bind(&SocketAddr::new(source, 0).into())?;
    socket.connect_timeout(&addr.into(), PATIENCE)?;
    Client::over(socket.into())
}

#[derive(Clone, Copy, PartialEq)]
enum Framing {
    Length(usize),
    Chunked,
    UntilClose,
}

impl Framing {
    /// RFC 9112, section 6.3.
    fn of(response: &Response, to_head: bool) -> Result<Self, String> {
        let length = unique(response, "content-length")?;
        let coding = unique(response, "transfer-encoding")?;
        if length.is_some() && coding.is_some() {
            return Err(format!("both Content-Length and Transfer-Encoding: {response:?}"));
        }
        let length = match length {
            Some(digits) if !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) => {
                Some(digits.parse().map_err(|_| format!("Content-Length: {digits}"))?)
            }
            Some(other) => return Err(format!("Content-Length: {other}")),
            None => None,
        };
        if matches!(response.status, 100..=199 | 204) && (length.is_some() || coding.is_some()) {
            return Err(format!("an answer without content is framed: {response:?}"));
        }
        Ok(match (length, coding) {
            _ if to_head || matches!(response.status, 100..=199 | 204 | 304) => Self::Length(0),
            (Some(length), _) => Self::Length(length),
            (_, Some(coding)) if coding.eq_ignore_ascii_case("chunked") => Self::Chunked,
            (_, Some(coding)) => return Err(format!("Transfer-Encoding: {coding}")),
            (None, None) if response.closes() => Self::UntilClose,
            (None, None) => return Err(format!("an answer without framing: {response:?}")),
        })
    }
}

fn unique<'a>(response: &'a Response, name: &str) -> Result<Option<&'a str>, String> {
    let mut values = response.headers.iter().filter(|(known, _)| known.eq_ignore_ascii_case(name));
    match (values.next(), values.next()) {
        (value, None) => Ok(value.map(|(_, value)| value.as_str())),
        _ => Err(format!("{name} occurs twice: {response:?}")),
    }
}

/// A status line and field lines, without the final empty line (RFC 9112, sections 4 and 5).
fn parse_head(head: &[u8]) -> Result<Response, String> {
    let text = std::str::from_utf8(head).map_err(|_| format!("a head of other than text: {head:?}"))?;
    let mut lines = text.split("\r\n");
    let line = lines.next().unwrap_or_default();
    let wrong = || format!("status line {line:?}");
    // HTTP/1.1 also in answers to 1.0: the version is the server's own (RFC 9110, section 6.2).
    let (status, reason) =
        line.strip_prefix("HTTP/1.1 ").ok_or_else(wrong)?.split_once(' ').ok_or_else(wrong)?;
    if status.len() != 3 || !status.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let mut headers = Vec::new();
    for line in lines {
        let (name, value) = line.split_once(':').ok_or_else(|| format!("field line {line:?}"))?;
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty()
            || !name.bytes().all(token)
            || value.bytes().any(|byte| byte < b' ' && byte != b'\t')
        {
            return Err(format!("field line {line:?}"));
        }
        headers.push((name.to_owned(), value.trim_matches([' ', '\t']).to_owned()));
    }
    let status = status.parse().map_err(|_| wrong())?;
    Ok(Response { status, reason: reason.to_owned(), headers, body: Vec::new() })
}

/// A chunked body and how many bytes it took, when it is complete (RFC 9112, section 7.1).
pub(crate) fn decode_chunked(bytes: &[u8]) -> Result<Option<(Vec<u8>, usize)>, String> {
    let (mut body, mut at) = (Vec::new(), 0);
    loop {
        let Some(end) = find(&bytes[at..], b"\r\n") else { return Ok(None) };
        let line =
            std::str::from_utf8(&bytes[at..at + end]).map_err(|_| "a chunk size of other than text")?;
        if line.is_empty() || !line.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(format!("chunk size {line:?}"));
        }
        let size = usize::from_str_radix(line, 16).map_err(|_| format!("chunk size {line:?}"))?;
        let data = at + end + 2;
        let Some(after) = bytes.get(data + size..data + size + 2) else { return Ok(None) };
        if after != b"\r\n" {
            let mut error = format!("chunk of {size} bytes is followed by");
            let _ = write!(error, " {after:?}");
            return Err(error);
        }
        body.extend_from_slice(&bytes[data..data + size]);
        at = data + size + 2;
        if size == 0 {
            return Ok(Some((body, at)));
        }
    }
}

/// Where a short sequence of bytes begins.
pub(crate) fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
