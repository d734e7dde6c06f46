//! Takeover: a server hands its listening sockets to its successor, another process of the same user.
//!
//! The kernel's queue of new connections belongs to a listening socket. Two servers that each bind a socket of their
//! own (`SO_REUSEPORT`) share a port, but when one leaves, what is in its queue, or on the way there, must be reset,
//! ignored or migrated. A socket that both have open outlives the one that leaves, with its queue.
//!
//! The sockets travel as `SCM_RIGHTS` (`unix(7)`) over a socket with an abstract name that tells the address. Such
//! names belong to a network namespace, as ports do, and vanish with their socket. The connection they travelled over
//! stays open as the *tie* of the two processes: by it each sees whether the other still serves.

use crate::threads;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, recv, recvmsg, sendmsg, shutdown,
};
use socket2::Socket;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{self as unix, UnixListener, UnixStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::ring::peer;
use super::socket_file::identity;
use crate::address::Address;

/// Descriptors in one message; the kernel takes up to 253 (`SCM_MAX_FD`).
const BATCH: usize = 64;
/// The byte that goes with a batch: whether it is the last.
const MORE: u8 = b'+';
const LAST: u8 = b'.';
/// The last, and others than the one that sends it may have the sockets, too.
const LAST_OF_MANY: u8 = b'!';
/// How long a predecessor may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// How long to wait when the kernel has no descriptor for a successor.
const RETRY: Duration = Duration::from_millis(100);

/// What a predecessor has handed over.
pub(crate) struct Taken {
    /// Its listening sockets, as many as it had cores.
    pub(crate) sockets: Vec<Socket>,
    tie: Arc<UnixStream>,
    has_others: bool,
}

/// Whether a server of this user offers its sockets of this address.
pub(crate) fn is_offered(address: &Address) -> bool {
    connect(address).is_some()
}

/// Asks for the listening sockets of this address; none if nobody offers them.
pub(crate) fn take_over(address: &Address) -> io::Result<Option<Taken>> {
    let Some(tie) = connect(address) else { return Ok(None) };
    tie.set_read_timeout(Some(ANSWER))?;
    let mut sockets = Vec::new();
    loop {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut said = [0];
        let message = retry_on_intr(|| {
            recvmsg(&tie, &mut [IoSliceMut::new(&mut said)], &mut control, RecvFlags::CMSG_CLOEXEC)
        })?;
        for part in control.drain() {
            if let RecvAncillaryMessage::ScmRights(fds) = part {
                sockets.extend(fds.map(Socket::from));
            }
        }
        if message.flags.contains(ReturnFlags::CTRUNC) {
            return Err(io::Error::other("not all sockets arrived: too few files may be open"));
        }
        match (message.bytes, said) {
            // A server that leaves is asked in vain; one that still answers could not hand over.
            (0, _) if is_offered(address) => {
                return Err(io::Error::other(
                    "the server there could not hand its sockets over: see its log",
                ));
            }
            (0, _) => return Ok(None), // It leaves, and its port is free or about to be.
            (_, [MORE]) => {}
            (_, [last]) => {
                return Ok(Some(Taken { sockets, tie: Arc::new(tie), has_others: last == LAST_OF_MANY }));
            }
        }
    }
}

/// The listening sockets of one address, which another process may have open as well.
pub(crate) struct Shared {
    address: Address,
    predecessor: Option<Arc<UnixStream>>,
    state: Mutex<State>,
}

struct State {
    /// Further descriptors of the sockets, to hand over. None when this server has begun to leave.
    sockets: Option<Vec<OwnedFd>>,
    /// To everybody who was given them, and to who gave them.
    ties: Vec<Arc<UnixStream>>,
    /// Whether somebody may have them to whom there is no tie, such as a successor's successor.
    has_others: bool,
    /// Where successors ask.
    listener: Weak<UnixListener>,
}

impl Shared {
    /// These sockets, which came from a predecessor if there is a tie to one.
    pub(crate) fn new(
        address: Address,
        sockets: &[Socket],
        predecessor: Option<&Taken>,
    ) -> io::Result<Arc<Self>> {
        let sockets = sockets.iter().map(|socket| socket.as_fd().try_clone_to_owned());
        let has_others = predecessor.is_some_and(|taken| taken.has_others);
        let predecessor = predecessor.map(|taken| Arc::clone(&taken.tie));
        let state = State {
            sockets: Some(sockets.collect::<io::Result<_>>()?),
            ties: predecessor.iter().cloned().collect(),
            has_others,
            listener: Weak::new(),
        };
        Ok(Arc::new(Self { address, predecessor, state: Mutex::new(state) }))
    }

    /// Leaves the sockets and offers them no more. Whether another process stays and serves them.
    ///
    /// If two processes leave at the same time, at least one is told that nobody stays, since each process says that it
    /// leaves before it looks.
    pub(crate) fn leave(&self) -> bool {
        let mut state = self.state();
        state.sockets = None;
        if let Some(listener) = state.listener.upgrade() {
            // The thread that waits there ends, and with it the name.
            let _ = shutdown(&listener, Shutdown::Both);
        }
        for tie in &state.ties {
            let _ = shutdown(tie, Shutdown::Write);
        }
        state.has_others || state.ties.iter().any(|tie| stays(tie))
    }

    /// Gives the sockets to a successor. Whether there were any to give.
    ///
    /// The core that leaves waits for this: it must not block.
    fn give(&self, successor: &Arc<UnixStream>) -> io::Result<bool> {
        let mut state = self.state();
        state.ties.retain(|tie| stays(tie));
        let State { sockets: Some(sockets), ties, has_others, .. } = &mut *state else { return Ok(false) };
        let last = if *has_others || !ties.is_empty() { LAST_OF_MANY } else { LAST };
        // From the first message on it has some of them.
        ties.push(Arc::clone(successor));
        let mut batches = sockets.chunks(BATCH).peekable();
        while let Some(batch) = batches.next() {
            let batch: Vec<BorrowedFd<'_>> = batch.iter().map(AsFd::as_fd).collect();
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(BATCH))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            control.push(SendAncillaryMessage::ScmRights(&batch));
            let said = [if batches.peek().is_some() { MORE } else { last }];
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            sendmsg(successor, &[IoSlice::new(&said)], &mut control, flags)?;
        }
        Ok(true)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Offers sockets to a successor, on a thread of its own, until one serves them or this is dropped.
pub(crate) struct Offer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

impl Offer {
    /// Tells the predecessor that its sockets are served, if there is one, and offers them in its place. Calls `taken`
    /// when a successor serves them.
    pub(crate) fn start(shared: Arc<Shared>, taken: impl FnOnce() + Send + 'static) -> io::Result<Self> {
        if let Some(tie) = &shared.predecessor {
            tell_served(tie);
        }
        let listener = Arc::new(bind_name(&shared)?);
        shared.state().listener = Arc::downgrade(&listener);
        let offered = Arc::clone(&shared);
        let thread = threads::start("kiang-takeover", move || {
            if let Some(successor) = find_successor(&listener, &offered) {
                // The successor takes the name, and learns that it is free.
                drop(listener);
                taken();
                let _ = (&*successor).write_all(&[LAST]);
            }
        })?;
        Ok(Self { shared, thread: Some(thread) })
    }
}

impl Drop for Offer {
    fn drop(&mut self) {
        self.shared.leave();
        for tie in &self.shared.state().ties {
            // The thread may wait for a successor that has not begun to serve.
            let _ = shutdown(tie, Shutdown::Both);
        }
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Takes the name at which successors ask. A predecessor that leaves at this moment may need another to let it go.
fn bind_name(shared: &Shared) -> io::Result<UnixListener> {
    let until = Instant::now() + ANSWER;
    loop {
        match UnixListener::bind_addr(&name(&shared.address)?) {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse
                    && shared.predecessor.is_some()
                    && Instant::now() < until =>
            {
                thread::sleep(RETRY / 10);
            }
            bound => return bound,
        }
    }
}

/// Tells the predecessor that its sockets are served, and waits until it no longer offers them. One that has ended
/// meanwhile offers nothing either.
fn tell_served(mut predecessor: &UnixStream) {
    // Not `read`: with a deadline, a wait is interrupted by whatever the kernel has to do for a ring.
    let _ = predecessor.write_all(&[LAST]).and_then(|()| predecessor.read_exact(&mut [0]));
}

/// Waits for a successor that takes the sockets and serves them.
fn find_successor(listener: &UnixListener, shared: &Shared) -> Option<Arc<UnixStream>> {
    loop {
        let successor = match listener.accept() {
            Ok((successor, _)) => Arc::new(successor),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => return None, // It was shut down.
            Err(_) => {
                thread::sleep(RETRY);
                continue;
            }
        };
        let Some(pid) = same_user(&successor) else { continue };
        match shared.give(&successor) {
            Ok(true) => {}
            Ok(false) => return None,
            // The other end only asked whether there are any.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => continue,
            Err(error) => {
                log::warn!("the sockets of {} cannot be handed to process {pid}: {error}", shared.address);
                let _ = shutdown(&successor, Shutdown::Both);
                continue;
            }
        }
        // No deadline: it has our sockets until it serves, or ends and leaves them to us.
        if (&*successor).read_exact(&mut [0]).is_ok() {
            shared.state().has_others = true;
            log::info!("process {pid} has taken {} over", shared.address);
            return Some(successor);
        }
    }
}

/// Whether the process at the other end has not begun to leave.
fn stays(tie: &UnixStream) -> bool {
    loop {
        match recv(tie, &mut [0; 16][..], RecvFlags::DONTWAIT) {
            Ok((_, 1..)) | Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return true,
            Ok(_) | Err(_) => return false,
        }
    }
}

fn connect(address: &Address) -> Option<UnixStream> {
    let tie = UnixStream::connect_addr(&name(address).ok()?).ok()?;
    same_user(&tie)?;
    Some(tie)
}

/// The process at the other end, if the process is one of the same user: as `SO_REUSEPORT` has it (`socket(7)`). A
/// process of another PID namespace has the number 0.
fn same_user(tie: &UnixStream) -> Option<u32> {
    let (user, process) = peer(tie).ok()?;
    (user == rustix::process::geteuid().as_raw()).then(|| process.unwrap_or_default())
}

/// The name at which successors ask. For a Unix socket the name tells the file and not the path: a path may be too
/// long for a name, and may be written in many ways.
fn name(address: &Address) -> io::Result<unix::SocketAddr> {
    let name = match address {
        Address::Tcp(address) => address.to_string(),
        Address::Unix(path) => {
            let (device, number) = identity(path)?;
            format!("unix:{device}:{number}")
        }
    };
    unix::SocketAddr::from_abstract_name(format!("kiang-takeover-1/{name}"))
}
