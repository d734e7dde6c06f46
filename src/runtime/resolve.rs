//! From what a person writes to the addresses of this machine.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::path::Path;

use super::listener::bind;
use crate::address::{Address, ListenAddr, Written};
use crate::error::{Error, Result};

impl ListenAddr {
    /// The addresses it stands for; none for sockets that a service manager passes.
    ///
    /// A name is looked up, which can take seconds. What only other machines have is left out, and so is IPv6 where
    /// there is none, unless nothing would be left.
    ///
    /// # Errors
    /// If a name cannot be resolved.
    pub fn resolve(&self) -> Result<Vec<Address>> {
        let addresses = match &self.0 {
            Written::Ip(address) => vec![*address],
            Written::Every(port) => every(*port, has_ipv6(Path::new("/proc/net/if_inet6"))),
            Written::Name(name, port) => ours(look_up(name, *port)?),
            Written::Unix(path) => return Ok(vec![Address::Unix(path.clone())]),
            Written::Passed(_) => Vec::new(),
        };
        Ok(addresses.into_iter().map(Address::from).collect())
    }
}

fn every(port: u16, ipv6: bool) -> Vec<SocketAddr> {
    let mut all = vec![(Ipv4Addr::UNSPECIFIED, port).into()];
    if ipv6 {
        all.push((Ipv6Addr::UNSPECIFIED, port).into());
    }
    all
}

/// Whether any interface has an IPv6 address: the kernel lists them in this file (`proc_net(5)`).
fn has_ipv6(list: &Path) -> bool {
    fs::read(list).is_ok_and(|list| !list.is_empty())
}

fn look_up(name: &str, port: u16) -> Result<Vec<SocketAddr>> {
    let cannot = || format!("the name `{name}` cannot be resolved to an address to listen on");
    let found = (name, port).to_socket_addrs().map_err(|error| Error::new(cannot()).because(error))?;
    let mut addresses = Vec::new();
    for address in found {
        // A resolver may name an address once for each entry that it has.
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    if addresses.is_empty() { Err(Error::new(cannot())) } else { Ok(addresses) }
}

/// Those of this machine, or all if none is.
fn ours(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let is_ours = |address: &SocketAddr| {
        // Any port will do, but the interface of a link-local address stands in the address itself.
        let mut any_port = *address;
        any_port.set_port(0);
        let foreign = |error: io::Error| {
            error.kind() == io::ErrorKind::AddrNotAvailable
                || error.raw_os_error() == Some(libc::EAFNOSUPPORT)
        };
        !bind(any_port).is_err_and(foreign)
    };
    let ours: Vec<_> = addresses.iter().copied().filter(is_ours).collect();
    if ours.is_empty() { addresses } else { ours }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_other_machines_are_left_out_if_any_is_ours() {
        let addresses = |all: &[&str]| -> Vec<SocketAddr> {
            all.iter().map(|text| text.parse().expect("an address")).collect()
        };
        // TEST-NET-1 and the documentation prefix (RFC 5737, RFC 3849).
        let (ours_and_others, others) = (
            addresses(&["192.0.2.1:80", "127.0.0.1:80", "[2001:db8::1]:80"]),
            addresses(&["192.0.2.1:80", "[2001:db8::1]:80"]),
        );
        assert_eq!(ours(ours_and_others), addresses(&["127.0.0.1:80"]));
        assert_eq!(ours(others.clone()), others);
    }

    #[test]
    fn every_address_is_ipv4_and_what_ipv6_there_is() {
        assert_eq!(every(80, false), ["0.0.0.0:80".parse().expect("an address")]);
        assert_eq!(every(80, true).len(), 2);
        assert!(!has_ipv6(Path::new("/nonexistent")));
    }
}
