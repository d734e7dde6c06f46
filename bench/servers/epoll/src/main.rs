//! A bare epoll loop: what the older interface costs when nothing else is done. Answers the same bytes as the floor.
//!
//! Edge-triggered: the kernel looks at a connection again when something changes, and not at every wait for as long
//! as there was something.

mod epoll;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, RawFd};

use epoll::{Epoll, Event};
use plaintext::Responder;

/// What one read takes at most; more is there only if it was filled.
const READ: usize = 64 * 1024;

struct Connection {
    stream: TcpStream,
    /// The beginning of a request whose rest is still to come.
    partial: Vec<u8>,
    /// Answers that the socket had no room for. While there are any, nothing is read.
    unsent: Vec<u8>,
    closing: bool,
}

struct Server {
    epoll: Epoll,
    listener: TcpListener,
    responder: Responder,
    /// By file descriptor.
    connections: Vec<Option<Connection>>,
    /// Used by one connection at a time, so that an idle one owns no buffer.
    input: Box<[u8]>,
    output: Vec<u8>,
}

fn main() -> io::Result<()> {
    let listener = plaintext::listen()?;
    listener.set_nonblocking(true)?;
    let epoll = Epoll::new()?;
    epoll.add(listener.as_raw_fd(), Epoll::LISTENER)?;
    let mut server = Server {
        epoll,
        listener,
        responder: Responder::new("epoll"),
        connections: Vec::new(),
        input: vec![0; READ].into(),
        output: Vec::new(),
    };
    let mut events = Epoll::events();
    loop {
        let ready = server.epoll.wait(&mut events)?;
        server.responder.tick();
        for event in &events[..ready] {
            if event.descriptor() == server.listener.as_raw_fd() {
                server.accept()?;
            } else {
                server.serve(event);
            }
        }
    }
}

impl Server {
    /// Accepts one connection: the listener is level-triggered, so that the others come with the next turns.
    fn accept(&mut self) -> io::Result<()> {
        let stream = match self.listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::ConnectionAborted) => {
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        stream.set_nonblocking(true)?;
        let descriptor = stream.as_raw_fd();
        self.epoll.add(descriptor, Epoll::CONNECTION)?;
        let index = index(descriptor);
        if index >= self.connections.len() {
            self.connections.resize_with(index + 1, || None);
        }
        self.connections[index] =
            Some(Connection { stream, partial: Vec::new(), unsent: Vec::new(), closing: false });
        Ok(())
    }

    #[inline]
    fn serve(&mut self, event: &Event) {
        let slot = &mut self.connections[index(event.descriptor())];
        let Some(connection) = slot else { return };
        let (input, output) = (&mut self.input, &mut self.output);
        if connection.serve(event.hung_up(), &self.responder, input, output).is_err() {
            // Dropping the stream closes it, and closing takes it out of the epoll.
            *slot = None;
        }
    }
}

impl Connection {
    /// Reads and answers until there is nothing more to read, or no room to write. An error ends the connection.
    #[inline]
    fn serve(
        &mut self,
        hung_up: bool,
        responder: &Responder,
        input: &mut [u8],
        output: &mut Vec<u8>,
    ) -> io::Result<()> {
        if !self.unsent.is_empty() {
            let unsent = std::mem::take(&mut self.unsent);
            self.send(&unsent)?;
        }
        while self.unsent.is_empty() {
            if self.closing {
                return Err(ErrorKind::ConnectionAborted.into());
            }
            let length = match self.stream.read(input) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(length) => length,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            self.answer(responder, &input[..length], output);
            self.send(output)?;
            // A read that was not filled took everything: the next bytes are a new edge. Not so the end of the stream,
            // which may have come with the edge that led here.
            if length < input.len() && !hung_up && !self.closing {
                return Ok(());
            }
        }
        Ok(())
    }

    #[inline]
    fn answer(&mut self, responder: &Responder, bytes: &[u8], output: &mut Vec<u8>) {
        output.clear();
        let answered = if self.partial.is_empty() {
            let answered = responder.answer(bytes, output);
            if answered.consumed < bytes.len() {
                self.partial.extend_from_slice(&bytes[answered.consumed..]);
            }
            answered
        } else {
            self.partial.extend_from_slice(bytes);
            let answered = responder.answer(&self.partial, output);
            self.partial.drain(..answered.consumed);
            answered
        };
        self.closing = answered.close;
    }

    /// Sends what the socket takes; keeps the rest for when it has room again, which is an edge too.
    #[inline]
    fn send(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            match self.stream.write(bytes) {
                Ok(sent) => bytes = &bytes[sent..],
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.unsent.extend_from_slice(bytes);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn index(descriptor: RawFd) -> usize {
    usize::try_from(descriptor).expect("an open descriptor is not negative")
}
