//! `bench-idle PORT COUNT`: opens connections to 127.0.0.1, makes one request on each, prints `ready COUNT`, and holds
//! them until its standard input ends. What the server's memory has grown by meanwhile is what they cost.

use std::error::Error;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpStream};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

/// One source address has about 28,000 ephemeral ports by default, some of them in use or waiting to be used again.
const PER_SOURCE: u32 = 10_000;
/// Not 127.0.0.1, whose ports everything else uses.
const FIRST_SOURCE: Ipv4Addr = Ipv4Addr::new(127, 0, 1, 1);
const REQUEST: &[u8] = b"GET /plaintext HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
const BODY: &[u8] = b"Hello, World!";

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(port), Some(count)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bench-idle PORT COUNT".into());
    };
    let (port, count): (u16, u32) = (port.parse()?, count.parse()?);
    let needed = u64::from(count) + 16;
    if rlimit::increase_nofile_limit(needed)? < needed {
        return Err(format!("{count} connections need {needed} open files: ulimit -Hn is lower").into());
    }
    let connections = (0..count).map(|number| open(port, number)).collect::<io::Result<Vec<_>>>()?;
    println!("ready {}", connections.len());
    io::stdin().read_to_end(&mut Vec::new())?;
    Ok(())
}

fn open(port: u16, number: u32) -> io::Result<TcpStream> {
    let source = Ipv4Addr::from_bits(FIRST_SOURCE.to_bits() + number / PER_SOURCE);
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
    // Reset at the end: thousands of ports in TIME_WAIT would be missing for the next server's turn.
    socket.set_linger(Some(Duration::ZERO))?;
    socket.bind(&SocketAddrV4::new(source, 0).into())?;
    socket.connect(&SocketAddrV4::new(Ipv4Addr::LOCALHOST, port).into())?;
    let mut stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(REQUEST)?;
    let (mut answer, mut length) = ([0; 1024], 0);
    while !answer[..length].ends_with(BODY) {
        match stream.read(&mut answer[length..])? {
            0 => return Err(io::Error::other(format!("connection {number}: no answer ending in {BODY:?}"))),
            read => length += read,
        }
    }
    Ok(stream)
}
