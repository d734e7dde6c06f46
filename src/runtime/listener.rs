//! Listening sockets on their cores: one for each core and TCP address, all bound to the same port (`SO_REUSEPORT`,
//! `socket(7)`), and one for all cores where there can only be one.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{Shutdown, shutdown};
use socket2::{Domain, Protocol, SockAddr, SockFilter, Socket, Type};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use super::accepted::Accepted;
use super::core::Core;
use super::ring::AcceptorId;
use super::socket_file::SocketFile;
use super::takeover::Shared;
use super::timer::Timer;

/// How many connections may wait to be accepted; the kernel lowers it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;

/// How many bytes the kernel takes of each connection beyond what is on its way to the peer (`TCP_NOTSENT_LOWAT` in
/// `tcp(7)`; else up to `tcp_wmem`, 4 MB). The longest piece of a body that is sent at a time.
const MOST_UNSENT: u32 = 256 << 10;

/// A socket bound to this address, not yet listening, that wants the address for itself once it does.
pub(crate) fn bind(address: SocketAddr) -> io::Result<Socket> {
    bind_with(address, false)
}

/// A socket bound to this address beside others that [share their port](share_port), not yet listening.
pub(crate) fn bind_beside(address: SocketAddr) -> io::Result<Socket> {
    bind_with(address, true)
}

/// Lets further sockets of this user be bound to the address of this one.
pub(crate) fn share_port(socket: &Socket) -> io::Result<()> {
    socket.set_reuse_port(true)
}

fn bind_with(address: SocketAddr, beside: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(beside)?;
    if address.is_ipv6() {
        // [::] and 0.0.0.0 are two addresses, and can both be bound.
        socket.set_only_v6(true)?;
    }
    set_inherited(&socket)?;
    socket.bind(&SockAddr::from(address))?;
    Ok(socket)
}

/// Sets what the connections that a TCP socket accepts inherit from it.
pub(super) fn set_inherited(socket: &Socket) -> io::Result<()> {
    // A response leaves when it is written, not when the one before was confirmed.
    socket.set_tcp_nodelay(true)?;
    // What a slow reader is owed waits here, where it is counted, and not in the kernel's memory.
    socket.set_tcp_notsent_lowat(MOST_UNSENT)
}

/// Begins to listen.
pub(crate) fn listen(socket: &Socket) -> io::Result<()> {
    socket.listen(BACKLOG)
}

/// What the listening sockets of one address have in common.
pub(crate) struct Common {
    ending: Ending,
    /// With whom the sockets may be shared.
    shared: Option<Arc<Shared>>,
}

/// What becomes of listening sockets when the server drains and no successor has them.
pub(crate) enum Ending {
    /// Each is closed by its core.
    Closed,
    /// There is one, it is closed by the last core that accepts, and then its file is removed.
    Removed { file: SocketFile, accepting: AtomicUsize },
    /// They belong to the service manager, and stay open.
    Left,
}

impl Ending {
    /// The file of a socket that so many cores have.
    pub(crate) fn removed(file: SocketFile, cores: usize) -> Self {
        Self::Removed { file, accepting: AtomicUsize::new(cores) }
    }
}

impl Common {
    pub(crate) fn new(ending: Ending, shared: Option<Arc<Shared>>) -> Arc<Self> {
        Arc::new(Self { ending, shared })
    }

    /// Whether all cores have the same socket, so that the kernel does not deal out its connections.
    pub(crate) fn is_one_for_all(&self) -> bool {
        !matches!(self.ending, Ending::Closed)
    }
}

impl Drop for Common {
    /// A server that did not get to serve, or was stopped at once, has closed nothing; its file must not stay.
    fn drop(&mut self) {
        if let Ending::Removed { file, accepting } = &self.ending
            && accepting.load(Ordering::Acquire) > 0
            && !self.shared.as_ref().is_some_and(|shared| shared.leave())
        {
            file.remove();
        }
    }
}

/// A listening socket on its core.
pub(crate) struct Listener {
    core: Core,
    id: AcceptorId,
    common: Arc<Common>,
}

impl Listener {
    pub(crate) fn new(core: &Core, socket: Socket, common: Arc<Common>) -> Self {
        Self { core: core.clone(), id: core.ring().add_acceptor(socket.into()), common }
    }

    /// Begins to listen, if the socket does not yet.
    pub(crate) fn listen(&self) -> io::Result<()> {
        if let Ending::Left = self.common.ending {
            // How many may wait there is the service manager's to say.
            return Ok(());
        }
        Ok(rustix::net::listen(self.core.ring().listener(self.id), BACKLOG)?)
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<Accepted> {
        poll_fn(|cx| self.core.ring().poll_accept(self.id, self.core.tasks(), cx)).await.map(Accepted::new)
    }

    /// Stops accepting for now; connections wait in the kernel's queue.
    pub(crate) async fn pause(&self) {
        poll_fn(|cx| self.core.ring().poll_stop_accepting(self.id, self.core.tasks(), cx)).await;
    }

    /// Closes the socket so that no connection is lost, and hands over those that were waiting here.
    pub(crate) async fn close(self, each: impl FnMut(Accepted)) {
        let common = Arc::clone(&self.common);
        let stays = common.shared.as_ref().is_some_and(|shared| shared.leave());
        match &common.ending {
            Ending::Closed if !stays => self.close_last(each).await,
            Ending::Removed { file, accepting } => self.close_file(file, accepting, stays, each).await,
            _ => self.close_shared(each).await,
        }
    }

    /// Leaves a socket to the other process that has it open: the queue is its business from now on.
    ///
    /// The kernel wakes one accept for each connection. If that was ours, and was cancelled before it looked, nobody
    /// may have been told: so the queue is looked at until it is seen empty with no accept of ours waiting. The socket
    /// must stay as it is: its flags and filters are also those of the other process.
    async fn close_shared(self, mut each: impl FnMut(Accepted)) {
        // Where connections keep coming, each of them wakes the other process, and there is no need to see the end.
        let mut rounds = 0;
        loop {
            self.pause().await;
            let accepted = self.core.ring().take_accepted(self.id);
            for fd in accepted {
                each(Accepted::new(fd));
            }
            rounds += 1;
            if !self.is_readable() || rounds == MOST_RETRIES {
                drop(self.core.ring().remove_acceptor(self.id));
                return;
            }
            self.accept_for(RETRY, &mut each).await;
        }
    }

    /// Whether connections wait in the kernel's queue.
    fn is_readable(&self) -> bool {
        let ring = self.core.ring();
        let mut looked_at = [PollFd::new(ring.listener(self.id), PollFlags::IN)];
        poll(&mut looked_at, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// Closes a socket that nobody else has open.
    ///
    /// Closing a listening socket resets the connections in its queue. So first the kernel is told to ignore
    /// new ones, then those whose handshake is under way get the time to finish it, and the queue is emptied
    /// before the close. A client that is ignored tries again a second
    /// later, and finds the port closed or another server.
    async fn close_last(self, mut each: impl FnMut(Accepted)) {
        let filtered = refuse_new(self.core.ring().listener(self.id));
        if let Err(error) = filtered {
            log::warn!("cannot keep new connections off a socket that is closing: {error}");
        }
        self.accept_for(HANDSHAKE, &mut each).await;
        self.empty(|_| {}, each).await;
    }

    /// Closes a Unix socket that all cores have, if no other process stays that has it open.
    ///
    /// The last core that accepts removes the file and shuts the socket down: from then on the kernel refuses new
    /// connections, and still gives those in the queue (`unix(7)`, `shutdown(2)`). Until then any core may accept. A
    /// connection for which the kernel has woken a core that has just left is found by the last one.
    async fn close_file(
        self,
        file: &SocketFile,
        accepting: &AtomicUsize,
        stays: bool,
        mut each: impl FnMut(Accepted),
    ) {
        self.pause().await;
        let is_last = accepting.fetch_sub(1, Ordering::AcqRel) == 1;
        if stays {
            return self.close_shared(each).await;
        }
        if is_last {
            file.remove();
            let shut_down = |listener: &OwnedFd| {
                if let Err(error) = shutdown(listener, Shutdown::Read) {
                    log::warn!("cannot keep new connections off a socket that is closing: {error}");
                }
            };
            return self.empty(shut_down, each).await;
        }
        let mut ring = self.core.ring();
        let accepted = ring.take_accepted(self.id);
        drop(ring.remove_acceptor(self.id));
        drop(ring);
        for fd in accepted {
            each(Accepted::new(fd));
        }
    }

    /// Hands over what is in the queue, then closes the socket. `before` is called when no accept waits any more.
    async fn empty(self, before: impl FnOnce(&OwnedFd), mut each: impl FnMut(Accepted)) {
        self.pause().await;
        let (queued, listener) = {
            let mut ring = self.core.ring();
            (ring.take_accepted(self.id), ring.remove_acceptor(self.id))
        };
        for fd in queued {
            each(Accepted::new(fd));
        }
        before(&listener);
        if rustix::io::ioctl_fionbio(&listener, true).is_err() {
            return;
        }
        let mut retries = MOST_RETRIES;
        loop {
            let accepted = self.core.ring().accept_now(&listener);
            match accepted {
                Ok(fd) => each(Accepted::new(fd)),
                // That of a Unix socket that was shut down is EINVAL.
                Err(error)
                    if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::InvalidInput) =>
                {
                    return;
                }
                Err(_) if retries > 0 => {
                    retries -= 1;
                    self.core.sleep(RETRY).await;
                }
                Err(error) => {
                    log::warn!("connections that wait on a closing socket cannot be accepted: {error}");
                    return;
                }
            }
        }
    }

    /// Hands over what comes within this time.
    async fn accept_for(&self, time: Duration, each: &mut impl FnMut(Accepted)) {
        let timer = Timer::new(&self.core);
        timer.set(time);
        while let Some(accepted) =
            poll_fn(|cx| match self.core.ring().poll_accept(self.id, self.core.tasks(), cx) {
                Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
                Poll::Pending if timer.poll_passed(cx) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            })
            .await
        {
            if timer.has_passed() {
                // So many come that those after it are no longer waited for; this one is taken.
                if let Ok(fd) = accepted {
                    each(Accepted::new(fd));
                }
                return;
            }
            match accepted {
                Ok(fd) => each(Accepted::new(fd)),
                // Out of descriptors, most likely: connections that end give some back.
                Err(_) => self.core.sleep(RETRY).await,
            }
        }
    }
}

/// How long to wait when a connection cannot be accepted while the socket is closed, and how often.
const RETRY: Duration = Duration::from_millis(10);
const MOST_RETRIES: u32 = 200;
/// How long a handshake that has begun may take to end up in the queue: more than a round trip to most clients.
const HANDSHAKE: Duration = Duration::from_millis(100);

/// Makes the kernel drop every segment that asks a listening socket for a new connection.
fn refuse_new(listener: &OwnedFd) -> io::Result<()> {
    // Classic BPF (`socket(7)`, SO_ATTACH_FILTER): the segment's flags are byte 13 of its TCP header
    // (RFC 9293 section 3.1); SYN without ACK is dropped, everything else passes.
    const FLAGS: u32 = 13;
    const SYN: u32 = 0x02;
    const SYN_ACK: u32 = 0x12;
    let code = |parts: u32| parts as u16;
    let filter = [
        SockFilter::new(code(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS), 0, 0, FLAGS),
        SockFilter::new(code(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K), 0, 0, SYN_ACK),
        SockFilter::new(code(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K), 0, 1, SYN),
        SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, 0),
        SockFilter::new(code(libc::BPF_RET | libc::BPF_K), 0, 0, u32::MAX),
    ];
    socket2::SockRef::from(&listener.as_fd()).attach_filter(&filter)
}
