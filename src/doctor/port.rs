//! Whether an address is free to listen on, and who holds it if not.

use socket2::{Domain, Socket, Type};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Instant;
use std::{env, io, thread};

use crate::address::{Address, ListenAddr};
use crate::error::Error;
use crate::runtime::{self, AFTERLIFE, Found, Holder};

/// What came of trying to listen on an address.
#[derive(Debug)]
pub(super) enum Port {
    Free,
    /// Somebody listens there; who, if that can be seen.
    Taken(Option<Holder>),
    /// A port below `net.ipv4.ip_unprivileged_port_start`, and no privilege.
    Forbidden {
        /// The program that would need the privilege.
        program: String,
    },
    /// No interface has this address.
    NotOurs,
    /// The folder of a Unix socket is not there.
    NoFolder,
    /// A name that has no address.
    Unresolved(Error),
    Other(io::Error),
}

/// Tries every address that this one stands for, each under its own name.
pub(super) fn look(addr: &ListenAddr) -> Vec<(String, Port)> {
    // What a service manager passes needs no look: nobody else can have it.
    match addr.resolve() {
        Ok(addrs) => addrs.iter().map(|addr| (addr.to_string(), look_at(addr))).collect(),
        Err(error) => vec![(addr.to_string(), Port::Unresolved(error))],
    }
}

fn look_at(addr: &Address) -> Port {
    match addr {
        Address::Tcp(addr) => look_at_port(*addr),
        Address::Unix(path) => look_at_path(path),
    }
}

fn look_at_path(path: &Path) -> Port {
    match runtime::look(path) {
        Ok(Found::Nothing) if !path.parent().is_some_and(Path::is_dir) => Port::NoFolder,
        Ok(Found::Nothing | Found::Stale) => Port::Free,
        Ok(Found::Live(holder)) => Port::Taken(holder),
        Err(error) => Port::Other(error),
    }
}

fn look_at_port(addr: SocketAddr) -> Port {
    let began = Instant::now();
    loop {
        let error = match bind(addr) {
            Ok(()) => return Port::Free,
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::AddrInUse => match Holder::of(addr) {
                None if began.elapsed() < AFTERLIFE => thread::sleep(AFTERLIFE / 20),
                holder => return Port::Taken(holder),
            },
            io::ErrorKind::AddrNotAvailable => return Port::NotOurs,
            io::ErrorKind::PermissionDenied => {
                let program =
                    env::current_exe().map_or_else(|_| "PROGRAM".into(), |path| path.display().to_string());
                return Port::Forbidden { program };
            }
            _ => return Port::Other(error),
        }
    }
}

/// Binds without `SO_REUSEPORT`, so that another server on the port is noticed instead of joined: the kernel
/// would deal out the connections to both. `SO_REUSEADDR` only lets connections in TIME-WAIT not count
/// (`socket(7)`).
fn bind(addr: SocketAddr) -> io::Result<()> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    #[test]
    fn a_free_port_is_free_and_stays_so() {
        let free =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        assert!(matches!(look_at_port(free), Port::Free));
        assert!(TcpListener::bind(free).is_ok());
    }

    #[test]
    fn the_holder_of_a_port_is_named() {
        for local in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(local) else {
                continue; // This machine may have no IPv6.
            };
            let addr = listener.local_addr().expect("a bound socket has an address");
            let Port::Taken(Some(holder)) = look_at_port(addr) else {
                panic!("{addr} is not taken, or by nobody")
            };
            assert_eq!(holder.pid, std::process::id());
            assert!(!holder.name.is_empty());
        }
    }

    #[test]
    fn a_foreign_address_is_not_ours() {
        // TEST-NET-1 (RFC 5737).
        assert!(matches!(look_at_port("192.0.2.1:8080".parse().expect("valid")), Port::NotOurs));
    }

    #[test]
    fn the_holder_of_a_unix_socket_is_named_and_a_stale_file_is_free() {
        let path = env::temp_dir().join(format!("kiang-doctor-{}.sock", std::process::id()));
        let listener = UnixListener::bind(&path).expect("a path that is free");
        let Port::Taken(Some(holder)) = look_at_path(&path) else { panic!("nobody listens") };
        assert_eq!(holder.pid, std::process::id());
        drop(listener);
        assert!(matches!(look_at_path(&path), Port::Free));
        std::fs::remove_file(&path).expect("our own file");
        assert!(matches!(look_at_path(&path), Port::Free));
        assert!(matches!(look_at_path(Path::new("/nonexistent/kiang.sock")), Port::NoFolder));
        assert!(matches!(look_at_path(Path::new("/dev/null")), Port::Other(_)));
    }
}
