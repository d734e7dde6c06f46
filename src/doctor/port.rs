//! Whether an address is free to listen on, and who holds it if not.

use socket2::{Domain, Socket, Type};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};
use std::{env, fs, io, thread};

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
    Other(io::Error),
}

/// A process that listens.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Holder {
    pub(super) name: String,
    pub(super) pid: u32,
}

/// The sockets of a process that used `io_uring` are closed a moment after it has ended.
const AFTERLIFE: Duration = Duration::from_secs(1);

/// Tries it.
pub(super) fn look(addr: SocketAddr) -> Port {
    let began = Instant::now();
    loop {
        let error = match bind(addr) {
            Ok(()) => return Port::Free,
            Err(error) => error,
        };
        match error.kind() {
            io::ErrorKind::AddrInUse => match holder(addr) {
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

fn holder(addr: SocketAddr) -> Option<Holder> {
    let inodes: Vec<_> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .flat_map(|table| {
            let table = fs::read_to_string(table).unwrap_or_default();
            listeners(&table, addr).into_iter().map(|inode| format!("socket:[{inode}]")).collect::<Vec<_>>()
        })
        .collect();
    // Most descriptors of others are not ours to read: they are passed over.
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|process| process.file_name().to_str()?.parse().ok()).find_map(|pid: u32| {
        let mut open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        open.find(|fd| {
            fs::read_link(fd.path())
                .is_ok_and(|to| inodes.iter().any(|inode| to.as_os_str() == inode.as_str()))
        })?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Some(Holder { name: name.trim().to_owned(), pid })
    })
}

/// The inodes of the sockets in this table (`proc_net_tcp(5)`) whose listening excludes ours.
fn listeners(table: &str, addr: SocketAddr) -> Vec<&str> {
    const LISTEN: &str = "0A";
    table
        .lines()
        .skip(1)
        .filter_map(|line| {
            let mut fields = line.split_whitespace().skip(1);
            let (local, state) = (fields.next()?, fields.nth(1)?);
            let (ip, port) = local.split_once(':')?;
            let any = ip.bytes().all(|digit| digit == b'0') || addr.ip().is_unspecified();
            let same = u16::from_str_radix(port, 16) == Ok(addr.port()) && (any || ip == in_hex(addr.ip()));
            if same && state == LISTEN { fields.nth(5) } else { None }
        })
        .collect()
}

/// An address as the table writes it: each word of four bytes as a number of this machine.
fn in_hex(ip: IpAddr) -> String {
    let bytes = match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    bytes
        .chunks_exact(4)
        .map(|word| format!("{:08X}", u32::from_ne_bytes([word[0], word[1], word[2], word[3]])))
        .collect::<Vec<_>>()
        .concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_free_port_is_free_and_stays_so() {
        let free =
            TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port");
        assert!(matches!(look(free), Port::Free));
        assert!(TcpListener::bind(free).is_ok());
    }

    #[test]
    fn the_holder_of_a_port_is_named() {
        for local in ["127.0.0.1:0", "0.0.0.0:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(local) else {
                continue; // This machine may have no IPv6.
            };
            let addr = listener.local_addr().expect("a bound socket has an address");
            let Port::Taken(Some(holder)) = look(addr) else { panic!("{addr} is not taken, or by nobody") };
            assert_eq!(holder.pid, std::process::id());
            assert!(!holder.name.is_empty());
        }
    }

    #[test]
    fn a_foreign_address_is_not_ours() {
        // TEST-NET-1 (RFC 5737).
        assert!(matches!(look("192.0.2.1:8080".parse().expect("valid")), Port::NotOurs));
    }

    #[test]
    #[cfg(target_endian = "little")]
    fn listeners_are_found_by_port_and_address() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n\
            \x20  0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 11 1 0\n\
            \x20  1: 0100007F:1F90 0100007F:A0C2 01 00000000:00000000 00:00000000 00000000  1000        0 22 1 0\n\
            \x20  2: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 33 1 0\n\
            \x20  3: 0200007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 44 1 0\n";
        let found = |addr: &str| listeners(table, addr.parse().expect("valid"));
        assert_eq!(found("127.0.0.1:8080"), ["11"]);
        assert_eq!(found("127.0.0.1:80"), ["33"]);
        assert_eq!(found("0.0.0.0:8080"), ["11", "44"]);
        assert!(found("127.0.0.1:8081").is_empty());
    }
}
