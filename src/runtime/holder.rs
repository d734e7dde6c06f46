//! The process that listens on an address already (`proc_net_tcp(5)`, `proc_pid_fd(5)`).

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// The sockets of a process that used `io_uring` are closed a moment after it has ended.
pub(crate) const AFTERLIFE: Duration = Duration::from_secs(1);

/// A process that listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Holder {
    pub(crate) name: String,
    pub(crate) pid: u32,
}

impl Holder {
    /// The process with this number, if it has not ended.
    pub(crate) fn with_pid(pid: u32) -> Option<Self> {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some(Self { name: name.trim().to_owned(), pid })
    }

    /// The process that listens on this address, if its descriptors can be read: those of other users cannot.
    pub(crate) fn of(addr: SocketAddr) -> Option<Self> {
        let inodes: Vec<_> = ["/proc/net/tcp", "/proc/net/tcp6"]
            .iter()
            .flat_map(|table| {
                let table = fs::read_to_string(table).unwrap_or_default();
                listeners(&table, addr)
                    .into_iter()
                    .map(|inode| format!("socket:[{inode}]"))
                    .collect::<Vec<_>>()
            })
            .collect();
        if inodes.is_empty() {
            return None;
        }
        // Most descriptors of others are not ours to read: they are passed over.
        let processes = fs::read_dir("/proc").ok()?.flatten();
        processes.filter_map(|process| process.file_name().to_str()?.parse().ok()).find_map(|pid: u32| {
            let mut open = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
            open.find(|fd| {
                fs::read_link(fd.path())
                    .is_ok_and(|to| inodes.iter().any(|inode| to.as_os_str() == inode.as_str()))
            })?;
            Self::with_pid(pid)
        })
    }
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
