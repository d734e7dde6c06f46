//! Where a server listens: as a person writes it, and as the kernel has it.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::error::{Error, Result};

/// The longest path of a Unix socket in bytes: `sun_path` has room for one more, the final zero (`unix(7)`).
const LONGEST_PATH: usize = 107;

/// Where to listen, as a person writes it:
///
/// | written | means |
/// |---|---|
/// | `127.0.0.1:8080`, `[::1]:8080`, `[fe80::1%eth0]:8080` | this IP address; port 0 is any that is free |
/// | `:8080`, `*:8080`, `8080` | every address of this machine, IPv4 and IPv6 |
/// | `localhost:8080`, `www.example.org:8080` | every address of this name that this machine has |
/// | `unix:/run/kiang.sock` | a Unix socket with this path |
/// | `systemd`, `systemd:http` | the sockets that a service manager passed, all or those of this name |
///
/// ```
/// use kiang::ListenAddr;
///
/// let address: ListenAddr = ":8080".parse()?;
/// assert_eq!(address.to_string(), "*:8080");
/// assert!("127.0.0.1:70000".parse::<ListenAddr>().unwrap_err().to_string().contains("too large"));
/// # Ok::<(), kiang::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct ListenAddr(pub(crate) Written);

/// What a [`ListenAddr`] says.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Written {
    Ip(SocketAddr),
    /// A port of every address of this machine.
    Every(u16),
    /// A host name, or an IPv6 address with the name of an interface.
    Name(String, u16),
    /// A Unix socket; the path is absolute.
    Unix(PathBuf),
    /// The sockets that the process was started with, or those of this name.
    Passed(Option<String>),
}

/// An address that a server listens on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Address {
    /// An IP address and a port.
    Tcp(SocketAddr),
    /// The path of a Unix socket (`unix(7)`).
    Unix(PathBuf),
}

impl Address {
    /// The IP address and port, if it is no Unix socket.
    pub fn tcp(&self) -> Option<SocketAddr> {
        match self {
            Self::Tcp(address) => Some(*address),
            Self::Unix(_) => None,
        }
    }
}

/// What [`Server::bind`](crate::Server::bind) takes: whatever std turns into socket addresses, and [`ListenAddr`].
pub trait ToListenAddrs {
    /// The addresses to listen on; names are resolved later.
    ///
    /// # Errors
    /// If it is a text that is no address.
    fn to_listen_addrs(&self) -> Result<Vec<ListenAddr>>;
}

impl ListenAddr {
    /// A Unix socket with this path, absolute or relative to the folder that the process is in now.
    ///
    /// # Errors
    /// If the path is empty, has a zero byte, or is longer than 107 bytes.
    pub fn unix(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let shown = path.display();
        let bytes = path.as_os_str().as_bytes();
        if bytes.first() == Some(&b'@') {
            return Err(Error::new(format!(
                "`unix:{shown}` would be an abstract socket, which has no owner and no mode: write a path, such as \
                `unix:/run/kiang.sock`"
            )));
        }
        if bytes.contains(&0) || bytes.last() == Some(&b'/') {
            return Err(Error::new(format!(
                "`{shown}` is no path of a file: write one, such as `/run/kiang.sock`"
            )));
        }
        let path = std::path::absolute(path).map_err(|_| {
            Error::new("the path of the Unix socket is missing: write `unix:/run/kiang.sock`")
        })?;
        let length = path.as_os_str().len();
        if length > LONGEST_PATH {
            return Err(Error::new(format!(
                "the path `{}` has {length} bytes, and that of a Unix socket at most {LONGEST_PATH}: choose a shorter \
                one",
                path.display()
            )));
        }
        Ok(Self(Written::Unix(path)))
    }

    /// Every address of this machine that has such a name, or the address itself if it is one.
    fn host(host: &str, port: u16) -> Result<Self> {
        if let Ok(ip) = host.parse::<IpAddr>() {
            return Ok(SocketAddr::new(ip, port).into());
        }
        if host.is_empty() || host == "*" {
            return Ok(Self(Written::Every(port)));
        }
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let has_zone = host.split_once('%').is_some_and(|(ip, zone)| {
            ip.parse::<Ipv6Addr>().is_ok() && !zone.is_empty() && zone.bytes().all(|byte| byte > b' ')
        });
        if !has_zone {
            if !host.bytes().all(is_plain) {
                return Err(Error::new(format!(
                    "`{host}` is neither an IP address nor a host name: write one, such as `127.0.0.1:{port}`"
                )));
            }
            if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
                return Err(Error::new(format!(
                    "`{host}` is no IPv4 address: it has four numbers from 0 to 255, as `127.0.0.1` has"
                )));
            }
        }
        Ok(Self(Written::Name(host.to_owned(), port)))
    }

    /// Whether each use of it is a port of its own.
    pub(crate) fn is_any_port(&self) -> bool {
        match &self.0 {
            Written::Ip(address) => address.port() == 0,
            Written::Every(port) | Written::Name(_, port) => *port == 0,
            Written::Unix(_) | Written::Passed(_) => false,
        }
    }

    /// Whether two of these would be a mistake.
    pub fn excludes(&self, other: &Self) -> bool {
        self == other && !self.is_any_port()
    }
}

impl FromStr for ListenAddr {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("unix:") {
            return Self::unix(path);
        }
        if text == "systemd" {
            return Ok(Self(Written::Passed(None)));
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            return Ok(Self(Written::Passed(Some(name.to_owned()))));
        }
        if text.starts_with(['/', '.']) {
            return Err(Error::new(format!("a Unix socket is written with `unix:`: write `unix:{text}`")));
        }
        if let Some((scheme, rest)) = text.split_once("://") {
            let rest = rest.split('/').next().unwrap_or_default();
            return Err(Error::new(format!("an address has no `{scheme}://`: write `{rest}`")));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Ok(Self(Written::Every(port(text)?)));
        }
        if let Ok(address) = text.parse::<SocketAddr>() {
            return Ok(address.into());
        }
        if let Some(rest) = text.strip_prefix('[') {
            return bracketed(text, rest);
        }
        let Some((host, after)) = text.rsplit_once(':') else {
            return Err(Error::new(if text.is_empty() {
                "an address is missing: write one, such as `127.0.0.1:8080`".to_owned()
            } else {
                format!("a port is missing: write `{text}:8080`")
            }));
        };
        // The longest first: `::1:80` is an address, too, and what was meant nobody can tell.
        if text.parse::<Ipv6Addr>().is_ok() || host.contains(':') {
            return Err(Error::new(format!(
                "an IPv6 address stands in brackets: write `[{text}]:8080`, or `[{host}]:{after}`"
            )));
        }
        Self::host(host, port(after)?)
    }
}

/// An IPv6 address in brackets that is more than std reads, or a mistake.
fn bracketed(text: &str, rest: &str) -> Result<ListenAddr> {
    let Some((host, after)) = rest.split_once(']') else {
        return Err(Error::new(format!("the bracket of `{text}` is not closed: write `[::1]:8080`")));
    };
    let Some(after) = after.strip_prefix(':') else {
        return Err(Error::new(format!("a port is missing: write `[{host}]:8080`")));
    };
    let port = port(after)?;
    let ip = host.split_once('%').map_or(host, |(ip, _)| ip);
    if ip.parse::<Ipv6Addr>().is_err() {
        return Err(Error::new(format!(
            "`{ip}` is no IPv6 address: only one stands in brackets, as in `[::1]:{port}`"
        )));
    }
    ListenAddr::host(host, port)
}

fn port(text: &str) -> Result<u16> {
    if text.is_empty() {
        return Err(Error::new("a port is missing behind the colon: write one, such as `:8080`"));
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(Error::new(format!("the port `{text}` is no whole number: write one, such as `8080`")));
    }
    text.parse().map_err(|_| Error::new(format!("the port {text} is too large: ports go up to {}", u16::MAX)))
}

impl fmt::Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Written::Ip(address) => address.fmt(f),
            Written::Every(port) => write!(f, "*:{port}"),
            Written::Name(name, port) if name.contains(':') => write!(f, "[{name}]:{port}"),
            Written::Name(name, port) => write!(f, "{name}:{port}"),
            Written::Unix(path) => write!(f, "unix:{}", path.display()),
            Written::Passed(None) => f.write_str("systemd"),
            Written::Passed(Some(name)) => write!(f, "systemd:{name}"),
        }
    }
}

impl fmt::Debug for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl From<SocketAddr> for ListenAddr {
    fn from(address: SocketAddr) -> Self {
        Self(Written::Ip(address))
    }
}

impl From<Address> for ListenAddr {
    fn from(address: Address) -> Self {
        Self(match address {
            Address::Tcp(address) => Written::Ip(address),
            Address::Unix(path) => Written::Unix(path),
        })
    }
}

impl From<SocketAddr> for Address {
    fn from(address: SocketAddr) -> Self {
        Self::Tcp(address)
    }
}

impl ToListenAddrs for ListenAddr {
    fn to_listen_addrs(&self) -> Result<Vec<ListenAddr>> {
        Ok(vec![self.clone()])
    }
}

impl ToListenAddrs for [ListenAddr] {
    fn to_listen_addrs(&self) -> Result<Vec<ListenAddr>> {
        Ok(self.to_vec())
    }
}

impl ToListenAddrs for str {
    fn to_listen_addrs(&self) -> Result<Vec<ListenAddr>> {
        let parsed =
            self.parse().map_err(|error| Error::new(format!("cannot listen on `{self}`")).because(error));
        Ok(vec![parsed?])
    }
}

impl ToListenAddrs for String {
    fn to_listen_addrs(&self) -> Result<Vec<ListenAddr>> {
        self.as_str().to_listen_addrs()
    }
}

impl ToListenAddrs for (&str, u16) {
    fn to_listen_addrs(&self) -> Result<Vec<ListenAddr>> {
        Ok(vec![ListenAddr::host(self.0, self.1)?])
    }
}

impl ToListenAddrs for (String, u16) {
    fn to_listen_addrs(&self) -> Result<Vec<ListenAddr>> {
        (self.0.as_str(), self.1).to_listen_addrs()
    }
}

impl ToListenAddrs for [SocketAddr] {
    fn to_listen_addrs(&self) -> Result<Vec<ListenAddr>> {
        Ok(self.iter().copied().map(ListenAddr::from).collect())
    }
}

impl<T: ToListenAddrs + ?Sized> ToListenAddrs for &T {
    fn to_listen_addrs(&self) -> Result<Vec<ListenAddr>> {
        (**self).to_listen_addrs()
    }
}

/// Whatever is one socket address.
macro_rules! one_address {
    ($($type:ty),*) => {$(
        impl ToListenAddrs for $type {
            fn to_listen_addrs(&self) -> Result<Vec<ListenAddr>> {
                Ok(vec![SocketAddr::from(*self).into()])
            }
        }
    )*};
}

one_address!(SocketAddr, SocketAddrV4, SocketAddrV6, (IpAddr, u16), (Ipv4Addr, u16), (Ipv6Addr, u16));

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        text.parse::<ListenAddr>().expect("an address").to_string()
    }

    fn wrong(text: &str) -> String {
        text.parse::<ListenAddr>().expect_err("no address").to_string()
    }

    #[test]
    fn what_people_type_is_understood() {
        let same = ["127.0.0.1:8080", "[::1]:80", "0.0.0.0:0", "[::]:80", "localhost:80", "a-b.example:1"];
        for text in
            same.into_iter().chain(["[fe80::1%eth0]:80", "unix:/run/kiang.sock", "systemd", "systemd:http"])
        {
            assert_eq!(read(text), text);
        }
        for text in ["8080", ":8080", "*:8080", " :8080 "] {
            assert_eq!(read(text), "*:8080");
        }
        assert_eq!(read("[fe80::1%2]:80"), "[fe80::1%2]:80");
        assert!(
            read("unix:kiang.sock").starts_with("unix:/"),
            "a path does not depend on the folder of later"
        );
    }

    #[test]
    fn what_is_wrong_is_named_with_what_to_write() {
        for (text, words) in [
            ("127.0.0.1:70000", "the port 70000 is too large: ports go up to 65535"),
            ("65536", "the port 65536 is too large"),
            ("[::1]:99999", "the port 99999 is too large"),
            ("127.0.0.1", "a port is missing: write `127.0.0.1:8080`"),
            ("localhost", "a port is missing: write `localhost:8080`"),
            ("[::1]", "a port is missing: write `[::1]:8080`"),
            ("localhost:", "a port is missing behind the colon"),
            (":", "a port is missing behind the colon"),
            ("localhost:http", "the port `http` is no whole number"),
            ("127.0.0.1:-1", "the port `-1` is no whole number"),
            ("::1", "stands in brackets: write `[::1]:8080`"),
            ("::1:80", "or `[::1]:80`"),
            ("[::1:80", "the bracket of `[::1:80` is not closed"),
            ("[localhost]:80", "`localhost` is no IPv6 address"),
            ("256.0.0.1:80", "`256.0.0.1` is no IPv4 address"),
            ("http://localhost:80/", "no `http://`: write `localhost:80`"),
            ("/run/kiang.sock", "write `unix:/run/kiang.sock`"),
            ("unix:", "the path of the Unix socket is missing"),
            ("unix:@kiang", "abstract"),
            ("unix:/run/", "no path of a file"),
            ("a b:80", "`a b` is neither an IP address nor a host name"),
            ("", "an address is missing"),
        ] {
            assert!(wrong(text).contains(words), "{text}: {}", wrong(text));
        }
        let long = format!("unix:/{}", "x".repeat(LONGEST_PATH));
        assert!(
            wrong(&long).contains("has 108 bytes, and that of a Unix socket at most 107"),
            "{}",
            wrong(&long)
        );
        assert!(long[..long.len() - 1].parse::<ListenAddr>().is_ok());
    }

    #[test]
    fn whatever_std_takes_for_an_address_is_one() {
        fn shown(address: impl ToListenAddrs) -> String {
            let all: Vec<_> =
                address.to_listen_addrs().expect("an address").iter().map(ToString::to_string).collect();
            all.join(" ")
        }
        let socket: SocketAddr = "127.0.0.1:80".parse().expect("an address");
        assert_eq!(shown("127.0.0.1:80"), "127.0.0.1:80");
        assert_eq!(shown(String::from(":80")), "*:80");
        assert_eq!(shown(socket), "127.0.0.1:80");
        assert_eq!(shown(&[socket, socket][..]), "127.0.0.1:80 127.0.0.1:80");
        assert_eq!(shown((Ipv4Addr::LOCALHOST, 80)), "127.0.0.1:80");
        assert_eq!(shown((Ipv6Addr::LOCALHOST, 80)), "[::1]:80");
        assert_eq!(shown(("localhost", 80)), "localhost:80");
        assert_eq!(shown(("::1", 80)), "[::1]:80");
    }

    #[test]
    fn an_address_twice_is_a_mistake_but_not_any_port() {
        let same = |text: &str| {
            let address: ListenAddr = text.parse().expect("an address");
            address.excludes(&address.clone())
        };
        assert!(same("127.0.0.1:80") && same(":80") && same("unix:/x") && same("systemd"));
        assert!(!same("127.0.0.1:0") && !same("localhost:0") && !same("0"));
    }
}
