//! The floor: the least that answering HTTP on `io_uring` costs on one core: what Kiang is measured against.
//!
//! One thread, no executor, no futures, no timers: completions drive a state machine per connection, and one
//! `io_uring_enter` per turn submits what the last turn made and waits for the next completion.

mod buffers;
mod ring;
mod server;

use std::io;
use std::os::fd::AsRawFd;

use server::Server;

fn main() -> io::Result<()> {
    let listener = plaintext::listen()?;
    let mut ring = ring::set_up()?;
    let mut server = Server::new(listener.as_raw_fd(), &ring)?;
    server.run(&mut ring)
}
