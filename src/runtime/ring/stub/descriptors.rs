//! Descriptors that are real, so that whoever owns one can close it, and lead nowhere.

use rustix::net::{AddressFamily, SocketType, socket, sockopt::socket_linger};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use super::net::Link;

/// The descriptors that the code above has of one machine.
#[derive(Default)]
pub(super) struct Descriptors {
    open: Vec<Descriptor>,
    listener: Option<RawFd>,
    /// Connections whose descriptor is known to be closed, since its number was given out again.
    replaced: Vec<Link>,
}

struct Descriptor {
    fd: RawFd,
    link: Link,
    /// The same socket, to ask it something when the other descriptor is closed.
    own: OwnedFd,
    inode: u64,
    /// An operation has used it: from then on it is closed through the ring.
    used: bool,
}

impl Descriptors {
    /// A socket that listens and to which nobody can connect.
    pub(super) fn listener(&mut self) -> io::Result<OwnedFd> {
        let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::STREAM, None)?;
        // Without a name the kernel chooses one that is no file (`unix(7)`, autobind).
        socket.bind(&socket2::SockAddr::unix("")?)?;
        let socket = OwnedFd::from(socket);
        self.listener = Some(socket.as_raw_fd());
        Ok(socket)
    }

    pub(super) fn is_listener(&self, fd: RawFd) -> bool {
        self.listener == Some(fd)
    }

    pub(super) fn connection(&mut self, link: Link) -> io::Result<OwnedFd> {
        let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        let inode = inode(socket.as_fd())?;
        let own = socket.try_clone()?;
        let is_same = |open: &mut Descriptor| open.fd == socket.as_raw_fd();
        self.replaced.extend(self.open.extract_if(.., is_same).map(|open| open.link));
        self.open.push(Descriptor { fd: socket.as_raw_fd(), link, own, inode, used: false });
        Ok(socket)
    }

    pub(super) fn link(&self, fd: BorrowedFd<'_>) -> Option<Link> {
        self.open.iter().find(|open| open.fd == fd.as_raw_fd()).map(|open| open.link)
    }

    /// The connection that an operation is to use.
    pub(super) fn of_operation(&mut self, fd: RawFd) -> Option<Link> {
        let open = self.open.iter_mut().find(|open| open.fd == fd)?;
        open.used = true;
        Some(open.link)
    }

    /// Closes a descriptor for the code above: the connection, and whether it is to be reset.
    pub(super) fn close(&mut self, fd: RawFd) -> Option<(Link, bool)> {
        let at = self.open.iter().position(|open| open.fd == fd)?;
        let open = self.open.swap_remove(at);
        let hard = socket_linger(&open.own).ok().flatten() == Some(Duration::ZERO);
        // SAFETY: the code above gave up the descriptor with its submission, so this is the one to close it.
        drop(unsafe { OwnedFd::from_raw_fd(fd) });
        Some((open.link, hard))
    }

    /// The connections whose descriptor was closed by its owner and not through the ring.
    pub(super) fn dropped(&mut self) -> Vec<Link> {
        let is_dropped = |open: &mut Descriptor| {
            // SAFETY: only asked what it is; another thread may have the number by now, which the inode tells.
            let fd = unsafe { BorrowedFd::borrow_raw(open.fd) };
            !open.used && !inode(fd).is_ok_and(|found| found == open.inode)
        };
        let mut dropped = std::mem::take(&mut self.replaced);
        dropped.extend(self.open.extract_if(.., is_dropped).map(|open| open.link));
        dropped.sort_unstable();
        dropped
    }
}

/// The number of a socket, which no other has.
fn inode(fd: BorrowedFd<'_>) -> io::Result<u64> {
    Ok(File::from(fd.try_clone_to_owned()?).metadata()?.ino())
}

/// Whether a read would find something now.
pub(super) fn is_readable(fd: RawFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    // SAFETY: an operation's descriptor stays open until its last completion (`Kernel::push`).
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut looked_at = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)];
    poll(&mut looked_at, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// Reads from a descriptor that is no connection.
pub(super) fn read(fd: RawFd, length: usize) -> io::Result<Vec<u8>> {
    // SAFETY: as above.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut bytes = vec![0; length];
    let read = rustix::io::read(fd, &mut bytes)?;
    bytes.truncate(read);
    Ok(bytes)
}
