//! Listening sockets: connections as they come, until there may be no more.

use io_uring::{opcode, types};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::task::{Context, Poll};

use super::super::tasks::Tasks;
use super::super::waiter::Waiter;
use super::{Op, Ring};

/// Which listening socket of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AcceptorId(pub(super) u32);

pub(super) struct Acceptor {
    listener: OwnedFd,
    accepted: VecDeque<OwnedFd>,
    /// Why the last multishot accept ended, if that was an error.
    error: Option<i32>,
    armed: bool,
    stopping: bool,
    waiter: Waiter,
    /// Operations that the kernel still holds: at most one accept and its cancellation.
    operations: u8,
}

impl Ring {
    /// Takes over a listening socket; nothing is accepted before [`poll_accept`](Self::poll_accept) asks.
    pub(crate) fn add_acceptor(&mut self, listener: OwnedFd) -> AcceptorId {
        AcceptorId(self.acceptors.insert(Acceptor {
            listener,
            accepted: VecDeque::new(),
            error: None,
            armed: false,
            stopping: false,
            waiter: Waiter::Nobody,
            operations: 0,
        }) as u32)
    }

    /// The next connection. After an error the next call tries again.
    pub(crate) fn poll_accept(
        &mut self,
        id: AcceptorId,
        tasks: &Tasks,
        cx: &Context<'_>,
    ) -> Poll<io::Result<OwnedFd>> {
        let acceptor = self.acceptor(id);
        if let Some(fd) = acceptor.accepted.pop_front() {
            return Poll::Ready(Ok(fd));
        }
        if let Some(error) = acceptor.error.take() {
            return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
        }
        tasks.wait(&mut acceptor.waiter, cx);
        if !acceptor.armed && !acceptor.stopping {
            acceptor.armed = true;
            acceptor.operations += 1;
            let listener = types::Fd(acceptor.listener.as_raw_fd());
            let accept = opcode::AcceptMulti::new(listener).flags(libc::SOCK_CLOEXEC);
            self.push(accept.build(), Op::Accept, id.0);
        }
        Poll::Pending
    }

    /// Stops accepting; what the kernel has handed over by then is still there to be polled. Ready when the
    /// last of it has come.
    pub(crate) fn poll_stop_accepting(
        &mut self,
        id: AcceptorId,
        tasks: &Tasks,
        cx: &Context<'_>,
    ) -> Poll<()> {
        let acceptor = self.acceptor(id);
        let first = !std::mem::replace(&mut acceptor.stopping, true);
        if acceptor.operations == 0 {
            acceptor.stopping = false;
            return Poll::Ready(());
        }
        tasks.wait(&mut acceptor.waiter, cx);
        if first {
            acceptor.operations += 1;
            let cancel = opcode::AsyncCancel::new(Op::Accept.data(id.0)).build();
            self.push(cancel, Op::CancelAccept, id.0);
        }
        Poll::Pending
    }

    /// The listening socket, to ask or tell the kernel something about it.
    pub(crate) fn listener(&self, id: AcceptorId) -> &OwnedFd {
        &self.acceptors[id.0 as usize].listener
    }

    /// The connections that the kernel has handed over and nobody has polled.
    pub(crate) fn take_accepted(&mut self, id: AcceptorId) -> VecDeque<OwnedFd> {
        std::mem::take(&mut self.acceptor(id).accepted)
    }

    /// The next connection in the queue of a listening socket that was given back, or EAGAIN.
    pub(crate) fn accept_now(&self, listener: &OwnedFd) -> io::Result<OwnedFd> {
        self.kernel.accept_now(listener)
    }

    /// Gives the listening socket back. It must have stopped accepting.
    pub(crate) fn remove_acceptor(&mut self, id: AcceptorId) -> OwnedFd {
        let acceptor = self.acceptors.remove(id.0 as usize);
        debug_assert_eq!(acceptor.operations, 0, "the kernel still accepts for a place that is freed");
        acceptor.listener
    }

    pub(super) fn accepted(&mut self, id: AcceptorId, result: i32, last: bool, tasks: &Tasks) {
        let acceptor = self.acceptor(id);
        if result >= 0 {
            // SAFETY: the kernel has just given us this descriptor; nobody else knows it.
            acceptor.accepted.push_back(unsafe { OwnedFd::from_raw_fd(result) });
        } else if result != -libc::ECANCELED {
            acceptor.error = Some(-result);
        }
        if last {
            acceptor.armed = false;
            acceptor.operations -= 1;
        }
        tasks.notify(&mut acceptor.waiter);
    }

    pub(super) fn acceptor_finished(&mut self, id: AcceptorId, tasks: &Tasks) {
        let acceptor = self.acceptor(id);
        acceptor.operations -= 1;
        tasks.notify(&mut acceptor.waiter);
    }

    /// An acceptor whose place is taken: it is removed only when nothing of it is left.
    fn acceptor(&mut self, id: AcceptorId) -> &mut Acceptor {
        &mut self.acceptors[id.0 as usize]
    }
}
