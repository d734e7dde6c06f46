//! One address of a server: reserved when it is named, opened for all cores when the server runs.
//!
//! Exactly one server may have an address. `SO_REUSEPORT` alone lets any two of the same user share it, so the first
//! socket does without: it is bound with `SO_REUSEADDR` only, and two such can be bound together, but the kernel lets
//! one of them listen (`socket(7)`, `ip(7)`). Only then are the sockets of the other cores bound beside it. A file does
//! the same for a Unix socket, and whoever passes a socket has seen to it.

use socket2::Socket;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use super::holder::{AFTERLIFE, Holder};
use super::listener::{Common, Ending, bind, listen, share_port};
use super::passed;
use super::socket_file::{self, Found, Permissions, SocketFile};
use super::takeover::{Shared, Taken, is_offered, take_over};
use crate::address::{Address, ListenAddr, Written};
use crate::error::{Error, Result};

/// An address that a server is going to listen on.
pub(crate) struct Endpoint {
    pub(crate) address: Address,
    source: Source,
}

enum Source {
    /// A socket that is bound and does not listen.
    Bound(Socket),
    /// Nothing yet: it is made when the server runs, or taken over from the server that has it.
    Nothing,
    /// A socket that listens already, and is not ours to close for others.
    Passed(Socket),
}

/// The listening sockets of one address.
pub(crate) struct Opened {
    /// At least one for each core, more if a predecessor had more.
    pub(crate) sockets: Vec<Socket>,
    pub(crate) common: Arc<Common>,
    /// What a successor may take over.
    pub(crate) shared: Option<Arc<Shared>>,
    /// Whether a predecessor had them.
    pub(crate) was_taken: bool,
}

impl Endpoint {
    /// Reserves everything that this address stands for. An address in use is an error, unless the server there offers
    /// it to a successor: what becomes of that is decided by [`open`](Self::open).
    pub(crate) fn reserve(address: &ListenAddr) -> Result<Vec<Self>> {
        if let Written::Passed(name) = &address.0 {
            let passed = |(address, socket)| Self { address, source: Source::Passed(socket) };
            return Ok(passed::sockets(name.as_deref())?.into_iter().map(passed).collect());
        }
        address.resolve()?.into_iter().map(Self::at).collect()
    }

    fn at(address: Address) -> Result<Self> {
        let source = match &address {
            Address::Tcp(tcp) => match bind(*tcp) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse && is_offered(&address) => {
                    Source::Nothing
                }
                first => Source::Bound(insist(*tcp, Some(first), || bind(*tcp))?),
            },
            Address::Unix(path) => match socket_file::look(path).map_err(|error| cannot(&address, error))? {
                Found::Live(holder) if !is_offered(&address) => return Err(taken(&address, holder)),
                Found::Live(_) | Found::Stale | Found::Nothing => Source::Nothing,
            },
        };
        let bound = match &source {
            Source::Bound(socket) => {
                socket.local_addr().map_err(|error| cannot(&address, error))?.as_socket()
            }
            Source::Nothing | Source::Passed(_) => None,
        };
        // A port 0 has become a port.
        Ok(Self { address: bound.map_or(address, Address::Tcp), source })
    }

    /// Opens it for so many cores: from now on connections wait in the queues.
    ///
    /// # Errors
    /// If another has the address, who is named if that can be seen.
    pub(crate) fn open(self, cores: usize, takeover: bool, permissions: Permissions) -> Result<Opened> {
        let Self { address, source } = self;
        let failed = |error| cannot(&address, error);
        if let Source::Passed(socket) = source {
            let sockets = one_for_all(socket, cores).map_err(failed)?;
            let common = Common::new(Ending::Left, None);
            return Ok(Opened { sockets, common, shared: None, was_taken: false });
        }
        let mut taken = if takeover { take_over(&address).map_err(failed)? } else { None };
        let sockets = taken.as_mut().map(|taken| std::mem::take(&mut taken.sockets)).unwrap_or_default();
        let offer = |sockets: &[Socket], taken: Option<&Taken>| {
            takeover.then(|| Shared::new(address.clone(), sockets, taken)).transpose().map_err(failed)
        };
        let (sockets, ending, shared) = match &address {
            Address::Tcp(tcp) => {
                let bound = if let Source::Bound(socket) = source { Some(socket) } else { None };
                let sockets = tcp_sockets(*tcp, bound, sockets, cores)?;
                let shared = offer(&sockets, taken.as_ref())?;
                (sockets, Ending::Closed, shared)
            }
            Address::Unix(path) => {
                let socket = match sockets.into_iter().next() {
                    Some(socket) => socket,
                    None => claim_path(path, permissions)?,
                };
                let file = SocketFile::at(path).map_err(failed)?;
                let shared = offer(std::slice::from_ref(&socket), taken.as_ref())?;
                let sockets = one_for_all(socket, cores).map_err(failed)?;
                (sockets, Ending::removed(file, cores), shared)
            }
        };
        let common = Common::new(ending, shared.clone());
        Ok(Opened { sockets, common, shared, was_taken: taken.is_some() })
    }
}

/// A socket for each core, of which the first, if nobody handed any over, makes sure that the address is ours.
///
/// All of them listen before the first core accepts, but not beside a predecessor's: a socket there gets its share of
/// the connections from the moment on that it listens.
fn tcp_sockets(
    address: SocketAddr,
    bound: Option<Socket>,
    mut sockets: Vec<Socket>,
    cores: usize,
) -> Result<Vec<Socket>> {
    let failed = |error| cannot(&address.into(), error);
    let is_first = sockets.is_empty();
    if is_first {
        sockets.push(claim_port(address, bound)?);
    }
    if sockets.len() < cores {
        sockets.iter().try_for_each(share_port).map_err(failed)?;
    }
    while sockets.len() < cores {
        let socket = super::listener::bind_beside(address).map_err(failed)?;
        if is_first {
            listen(&socket).map_err(failed)?;
        }
        sockets.push(socket);
    }
    Ok(sockets)
}

/// A socket that listens on this address when no other does.
fn claim_port(address: SocketAddr, bound: Option<Socket>) -> Result<Socket> {
    let listening = |socket: Socket| listen(&socket).map(|()| socket);
    insist(address, bound.map(listening), || bind(address).and_then(listening))
}

/// Tries, after this first time, until nobody has the address or somebody is seen to have it.
///
/// Somebody unseen can be a process that has just ended. And two servers that begin to listen within the same instant
/// can both be refused by the kernel, which looks at sockets that only begin to: each tries again, one a little later
/// than the other.
fn insist<T>(
    address: SocketAddr,
    mut first: Option<io::Result<T>>,
    mut attempt: impl FnMut() -> io::Result<T>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        match first.take().unwrap_or_else(&mut attempt) {
            Ok(done) => return Ok(done),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => match Holder::of(address) {
                None if began.elapsed() < AFTERLIFE => thread::sleep(a_while()),
                holder => return Err(taken(&address.into(), holder)),
            },
            Err(error) => return Err(cannot(&address.into(), error)),
        }
    }
}

/// Between 5 and 37 ms, another time each time.
fn a_while() -> Duration {
    Duration::from_millis(5 + RandomState::new().hash_one(0) % 32)
}

fn claim_path(path: &Path, permissions: Permissions) -> Result<Socket> {
    let address = Address::Unix(path.to_owned());
    let claimed = socket_file::claim(path, permissions, listen).map_err(|error| cannot(&address, error))?;
    claimed.map_err(|holder| taken(&address, holder))
}

/// The same socket for each core.
fn one_for_all(socket: Socket, cores: usize) -> io::Result<Vec<Socket>> {
    let mut sockets = (1..cores).map(|_| socket.try_clone()).collect::<io::Result<Vec<_>>>()?;
    sockets.push(socket);
    Ok(sockets)
}

fn taken(address: &Address, holder: Option<Holder>) -> Error {
    let who = match holder {
        Some(holder) if holder.pid == std::process::id() => "taken by this process itself".to_owned(),
        Some(Holder { name, pid }) => format!("taken by `{name}`, process {pid}"),
        None => "taken, by a process that this user cannot see".to_owned(),
    };
    Error::new(format!("cannot listen on {address}: {who}"))
}

fn cannot(address: &Address, error: io::Error) -> Error {
    Error::new(format!("cannot listen on {address}")).because(error)
}
