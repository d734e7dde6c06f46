//! The three epoll calls.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// As many as one wait returns.
const EVENTS: usize = 256;

pub(crate) struct Epoll(OwnedFd);

#[derive(Clone, Copy)]
#[repr(transparent)]
pub(crate) struct Event(libc::epoll_event);

impl Event {
    #[inline]
    pub(crate) fn descriptor(&self) -> RawFd {
        #[expect(clippy::cast_possible_truncation, reason = "`add` put a descriptor there")]
        let descriptor = self.0.u64 as RawFd;
        descriptor
    }

    /// Whether the peer has closed, or shut down its side.
    #[inline]
    pub(crate) fn hung_up(&self) -> bool {
        self.0.events & flags(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR) != 0
    }
}

impl Epoll {
    pub(crate) const LISTENER: i32 = libc::EPOLLIN;
    /// Both directions from the start, so that nothing has to be changed when a send finds no room.
    pub(crate) const CONNECTION: i32 = libc::EPOLLIN | libc::EPOLLOUT | libc::EPOLLRDHUP | libc::EPOLLET;

    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: takes no pointer.
        let descriptor = check(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
        // SAFETY: just created, and owned by nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(descriptor) }))
    }

    pub(crate) fn add(&self, descriptor: RawFd, interest: i32) -> io::Result<()> {
        let data = u64::from(descriptor.cast_unsigned());
        let mut event = libc::epoll_event { events: flags(interest), u64: data };
        // SAFETY: `event` is valid, and copied by the call.
        check(unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, descriptor, &raw mut event)
        })?;
        Ok(())
    }

    pub(crate) fn events() -> Box<[Event]> {
        vec![Event(libc::epoll_event { events: 0, u64: 0 }); EVENTS].into()
    }

    /// Waits until something is ready; returns how many `events` say what.
    #[inline]
    pub(crate) fn wait(&self, events: &mut [Event]) -> io::Result<usize> {
        let capacity = i32::try_from(events.len()).unwrap_or(i32::MAX);
        // SAFETY: `Event` is nothing but an `epoll_event`, and there is room for `capacity` of them.
        match check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr().cast(), capacity, -1) })
        {
            Ok(ready) => Ok(usize::try_from(ready).expect("a count")),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }
}

fn flags(flags: i32) -> u32 {
    flags.cast_unsigned()
}

fn check(result: i32) -> io::Result<i32> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
