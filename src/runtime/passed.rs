//! Sockets that a service manager has opened and passed when it started this process (`sd_listen_fds(3)`).

use rustix::net::sockopt::{socket_acceptconn, socket_type};
use rustix::net::{SocketType, getsockname};
use socket2::Socket;
use std::env;
use std::os::fd::{AsFd, RawFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use super::listener::set_inherited;
use super::ring::duplicate;
use crate::address::{Address, ListenAddr, Written};
use crate::error::{Error, Result};

/// The number of the first that is passed (`SD_LISTEN_FDS_START`).
const FIRST: RawFd = 3;
/// Nobody passes more, and a wrong number must not have us try millions.
const MOST: RawFd = 256;

impl ListenAddr {
    /// The sockets that a service manager passed, if it passed this process any (socket activation,
    /// `systemd.socket(5)`).
    pub fn passed() -> Option<Self> {
        let found = Environment::read().descriptors();
        found.is_ok_and(|found| !found.is_empty()).then_some(Self(Written::Passed(None)))
    }
}

/// The listening sockets that were passed, or those of them that have this name.
///
/// # Errors
/// If there are none, or one is no listening stream socket.
pub(super) fn sockets(name: Option<&str>) -> Result<Vec<(Address, Socket)>> {
    let found = Environment::read().descriptors()?;
    let wanted = found.iter().filter(|(_, given)| name.is_none_or(|name| name == given));
    let sockets = wanted.map(|(number, name)| take(*number, name)).collect::<Result<Vec<_>>>()?;
    if sockets.is_empty() {
        let names: Vec<_> = found.iter().map(|(_, name)| format!("`{name}`")).collect();
        return Err(Error::new(format!(
            "no socket with the name `{}` was passed, but {}: see `FileDescriptorName=` in systemd.socket(5)",
            name.unwrap_or_default(),
            names.join(", ")
        )));
    }
    Ok(sockets)
}

fn take(number: RawFd, name: &str) -> Result<(Address, Socket)> {
    let wrong = |what: &str| format!("the descriptor {number} (`{name}`) that was passed {what}");
    let fd = duplicate(number).map_err(|error| Error::new(wrong("is not open")).because(error))?;
    let is_listening =
        socket_type(fd.as_fd()) == Ok(SocketType::STREAM) && socket_acceptconn(fd.as_fd()) == Ok(true);
    if !is_listening {
        return Err(Error::new(wrong(
            "is no listening stream socket: use `ListenStream=`, and leave `Accept=` out (systemd.socket(5))",
        )));
    }
    let socket = Socket::from(fd);
    let unusable = |error| Error::new(wrong("cannot be used")).because(error);
    // An accept is to wait, whatever the ring of this kernel makes of a descriptor that does not block.
    socket.set_nonblocking(false).map_err(unusable)?;
    let address = socket.local_addr().map_err(unusable)?;
    let address = match address.as_socket() {
        Some(address) => {
            set_inherited(&socket).map_err(unusable)?;
            Address::Tcp(address)
        }
        None => Address::Unix(path_of(&socket)),
    };
    Ok((address, socket))
}

/// The path of a Unix socket, or how `ss` shows an abstract name.
fn path_of(socket: &Socket) -> PathBuf {
    let address =
        getsockname(socket).ok().and_then(|address| rustix::net::SocketAddrUnix::try_from(address).ok());
    let Some(address) = address else { return PathBuf::from("?") };
    if let Some(path) = address.path() {
        return std::ffi::OsString::from_vec(path.to_bytes().to_vec()).into();
    }
    let name = address.abstract_name().unwrap_or_default();
    std::ffi::OsString::from_vec([b"@", name].concat()).into()
}

/// What the service manager says in the environment. The variables stay there: other processes see by `LISTEN_PID` that
/// they are not meant.
struct Environment {
    /// `LISTEN_PID`
    pid: Option<String>,
    /// `LISTEN_FDS`
    count: Option<String>,
    /// `LISTEN_FDNAMES`
    names: Option<String>,
}

impl Environment {
    fn read() -> Self {
        let read = |name| env::var(name).ok();
        Self { pid: read("LISTEN_PID"), count: read("LISTEN_FDS"), names: read("LISTEN_FDNAMES") }
    }

    /// The descriptors for this process, with their names.
    fn descriptors(&self) -> Result<Vec<(RawFd, String)>> {
        let (Some(pid), Some(count)) = (&self.pid, &self.count) else {
            return Err(Error::new(
                "no sockets were passed (LISTEN_FDS and LISTEN_PID are not set): `systemd` as an address is for a \
                service that a systemd socket unit starts",
            ));
        };
        let own = std::process::id().to_string();
        if *pid != own {
            return Err(Error::new(format!(
                "the sockets that were passed are for process {pid} (LISTEN_PID), and this is {own}: the service \
                manager must start this program itself, not by way of another"
            )));
        }
        let count = count.parse().ok().filter(|count| (1..=MOST).contains(count)).ok_or_else(|| {
            Error::new(format!(
                "LISTEN_FDS is `{count}`: a number of descriptors from 1 to {MOST} is expected"
            ))
        })?;
        let mut names = self.names.as_deref().unwrap_or_default().split(':');
        let named = (FIRST..FIRST + count).map(|number| {
            let name = names.next().filter(|name| !name.is_empty());
            // As `sd_listen_fds_with_names` has it.
            (number, name.unwrap_or("unknown").to_owned())
        });
        Ok(named.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(pid: Option<u32>, count: &str, names: &str) -> Result<Vec<(RawFd, String)>> {
        let pid = pid.map(|pid| pid.to_string());
        Environment { pid, count: Some(count.into()), names: Some(names.into()) }.descriptors()
    }

    #[test]
    fn descriptors_are_numbered_from_3_and_named_if_they_have_names() {
        let own = Some(std::process::id());
        let named = |count, names| said(own, count, names).expect("well said");
        assert_eq!(named("2", "http:admin"), [(3, "http".into()), (4, "admin".into())]);
        assert_eq!(named("2", "http"), [(3, "http".into()), (4, "unknown".into())]);
    }

    #[test]
    fn what_is_meant_for_others_or_makes_no_sense_is_refused() {
        let wrong = |pid, count| said(pid, count, "").expect_err("wrong").to_string();
        assert!(wrong(None, "1").contains("no sockets were passed"));
        assert!(wrong(Some(1), "1").contains("are for process 1"));
        for count in ["0", "-1", "many", "1000000"] {
            assert!(wrong(Some(std::process::id()), count).contains(&format!("LISTEN_FDS is `{count}`")));
        }
    }
}
