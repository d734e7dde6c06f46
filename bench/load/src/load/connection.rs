//! One connection: requests out, answers in.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use super::Error;
use crate::answers::{Answers, Wrong};

/// One source address has about 28,000 ephemeral ports by default, some of them in use or waiting to be used again.
const PER_SOURCE: u32 = 10_000;
/// Not 127.0.0.1, whose ports everything else uses.
const FIRST_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
/// How long opening a connection, or the first answer on it, may take.
const OPENING: Duration = Duration::from_secs(10);

pub(super) struct Connection {
    stream: TcpStream,
    /// The beginning of an answer whose rest is still to come.
    partial: Vec<u8>,
    /// Answers that are still to come.
    outstanding: u32,
}

impl Connection {
    /// Opens connection `number`, and waits for the answer to its first request.
    pub(super) fn open(
        address: SocketAddrV4,
        number: u32,
        request: &[u8],
        answers: &mut Answers,
    ) -> Result<Self, Error> {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
        socket.set_linger(Some(Duration::ZERO))?;
        socket.set_tcp_nodelay(true)?;
        if address.ip().is_loopback() {
            let source = Ipv4Addr::from_bits(FIRST_SOURCE.to_bits() + number / PER_SOURCE);
            socket.bind(&SocketAddrV4::new(source, 0).into())?;
        }
        socket.connect_timeout(&address.into(), OPENING)?;
        socket.set_read_timeout(Some(OPENING))?;
        let mut connection = Self { stream: socket.into(), partial: Vec::new(), outstanding: 0 };
        connection.send(request, 1)?;
        let (mut buffer, since) = ([0; 4096], Instant::now());
        while connection.receive(answers, &mut buffer, false)? == 0 {
            if since.elapsed() >= OPENING {
                return Err(io::Error::from(ErrorKind::TimedOut).into());
            }
        }
        connection.stream.set_nonblocking(true)?;
        Ok(connection)
    }

    pub(super) fn socket(&self) -> &TcpStream {
        &self.stream
    }

    /// Sends these bytes, which are so many requests.
    #[inline]
    pub(super) fn send(&mut self, requests: &[u8], count: u32) -> Result<(), Error> {
        if self.stream.write(requests)? < requests.len() {
            return Err(io::Error::other("the socket has no room for what is sent at once").into());
        }
        self.outstanding += count;
        Ok(())
    }

    /// Reads everything that has arrived; returns how many answers are complete with it.
    #[inline]
    pub(super) fn receive(
        &mut self,
        answers: &mut Answers,
        buffer: &mut [u8],
        hung_up: bool,
    ) -> Result<u32, Error> {
        let before = self.outstanding;
        loop {
            let length = match self.stream.read(buffer) {
                Ok(0) => return Err(io::Error::from(ErrorKind::UnexpectedEof).into()),
                Ok(length) => length,
                // An earlier read took what the edge was for.
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) => return Err(error.into()),
            };
            self.frame(answers, &buffer[..length])?;
            // A read that was not filled took everything: what comes next is a new edge. Not so the end of the
            // stream, which may have come with this edge.
            if length < buffer.len() && !hung_up {
                break;
            }
        }
        Ok(before - self.outstanding)
    }

    /// Whether all that was asked is answered.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.outstanding == 0
    }

    #[inline]
    fn frame(&mut self, answers: &mut Answers, arrived: &[u8]) -> Result<(), Wrong> {
        let gathered;
        let bytes = if self.partial.is_empty() {
            arrived
        } else {
            self.partial.extend_from_slice(arrived);
            gathered = std::mem::take(&mut self.partial);
            &gathered
        };
        let mut consumed = 0;
        while consumed < bytes.len() {
            if self.outstanding == 0 {
                return Err(Wrong::Unasked);
            }
            let Some(length) = answers.next(&bytes[consumed..])? else { break };
            consumed += length;
            self.outstanding -= 1;
        }
        self.partial.extend_from_slice(&bytes[consumed..]);
        Ok(())
    }
}
