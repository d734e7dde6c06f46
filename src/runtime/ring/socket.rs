//! One connected socket: what it receives, what it sends, and how it ends.

use io_uring::{cqueue, opcode, squeue, types};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd};
use std::task::{Context, Poll};

use super::super::tasks::Tasks;
use super::super::waiter::Waiter;
use super::{Op, Ring, buffers};
use crate::budget::Share;
use crate::bytes::Bytes;

/// Which socket of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SocketId(pub(super) u32);

/// How much may have arrived on one connection and not been read. At this much its receive is cancelled, so that the
/// peer's TCP window closes. The receive is armed again at half; while many buffers are lent, when all was read.
const MOST_HELD: usize = 64 << 10;
/// The same where memory is short.
const MOST_HELD_IF_SHORT: usize = 8 << 10;

/// What a piece counts at the least, however short: it takes a buffer, or memory of its own.
const LEAST_HELD: usize = 1 << 10;

/// What is sent, kept by the ring until the kernel has done with it. Neither moves its bytes when it is moved.
#[derive(Debug)]
pub(crate) enum Payload {
    Buffer(Vec<u8>),
    Bytes(Bytes),
}

pub(super) struct Socket {
    /// Absent once the close has been handed to the kernel.
    fd: Option<OwnedFd>,
    waiter: Waiter,
    waits_to_receive: bool,
    waits_to_send: bool,
    inbox: Inbox,
    receive: Receive,
    sending: Option<Sending>,
    send_error: Option<i32>,
    /// Operations of this socket that the kernel still holds: at most one receive, one send, one shutdown, and a
    /// cancellation for each time the receive pauses and for the end, of which the kernel completes the one before first.
    operations: u8,
    /// The stream was dropped: the socket is closed as soon as the kernel holds nothing of it.
    abandoned: bool,
}

/// A send that the kernel holds.
///
/// The first try does not wait for room (`MSG_DONTWAIT`), so it is over when the submitting `io_uring_enter` returns, and
/// it completes only if it fell short (`IOSQE_CQE_SKIP_SUCCESS`). So an answer costs no completion, and a core that
/// submits it and waits for the next request in one system call is not woken by its own send. What is left after a short
/// try is sent by a second kind of send, which waits for room and completes. Each completes at most once.
pub(super) struct Sending {
    payload: Payload,
    /// How much of it the kernel has taken.
    sent: usize,
    /// Whether the kernel holds the first try.
    is_first_try: bool,
    /// The memory of a buffer that the kernel has not taken at once. Bytes are counted by those who hold them.
    share: Option<Share>,
}

/// What the multishot receive is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receive {
    Armed,
    /// Too much is held: its cancellation is under way.
    Pausing,
    /// Too much is held, and nothing is armed.
    Paused,
    /// It ended for want of buffers.
    Starved,
    /// The peer has said all it will (0), or the connection is broken (an error number).
    Ended(i32),
}

/// Pieces that have arrived. There is nearly always at most one, and that needs no memory.
#[derive(Default)]
struct Inbox {
    first: Option<Bytes>,
    rest: VecDeque<Bytes>,
    held: usize,
}

impl Inbox {
    fn push(&mut self, bytes: Bytes) {
        self.held += bytes.len().max(LEAST_HELD);
        match &self.first {
            None => self.first = Some(bytes),
            Some(_) => self.rest.push_back(bytes),
        }
    }

    fn pop(&mut self) -> Option<Bytes> {
        let bytes = self.first.take()?;
        self.held -= bytes.len().max(LEAST_HELD);
        self.first = self.rest.pop_front();
        Some(bytes)
    }
}

impl Ring {
    /// Takes over a connected socket and begins to receive.
    pub(crate) fn add_socket(&mut self, fd: OwnedFd) -> SocketId {
        let id = SocketId(self.sockets.insert(Socket {
            fd: Some(fd),
            waiter: Waiter::Nobody,
            waits_to_receive: false,
            waits_to_send: false,
            inbox: Inbox::default(),
            receive: Receive::Paused,
            sending: None,
            send_error: None,
            operations: 0,
            abandoned: false,
        }) as u32);
        self.arm_receive(id);
        id
    }

    /// What has arrived, in order; empty at the end of the stream.
    pub(crate) fn poll_receive(
        &mut self,
        id: SocketId,
        tasks: &Tasks,
        cx: &Context<'_>,
    ) -> Poll<io::Result<Bytes>> {
        if let Some(result) = self.try_receive(id) {
            return Poll::Ready(result);
        }
        let socket = self.socket(id);
        tasks.wait(&mut socket.waiter, cx);
        socket.waits_to_receive = true;
        Poll::Pending
    }

    /// What has arrived, if anything has.
    pub(crate) fn try_receive(&mut self, id: SocketId) -> Option<io::Result<Bytes>> {
        let socket = self.socket(id);
        socket.waits_to_receive = false;
        let Some(bytes) = socket.inbox.pop() else {
            return match (socket.receive, socket.send_error) {
                (Receive::Ended(0), _) => Some(Ok(Bytes::new())),
                // A socket tells each error once. If a send was told that the peer is gone, the receive may never
                // be, and would wait for ever.
                (Receive::Ended(error), _) | (_, Some(error)) => {
                    Some(Err(io::Error::from_raw_os_error(error)))
                }
                _ => None,
            };
        };
        let (receive, held) = (socket.receive, socket.inbox.held);
        if receive == Receive::Paused && held <= self.held_to_go_on() {
            self.arm_receive(id);
        }
        Some(Ok(bytes))
    }

    /// How much may be held now.
    fn most_held(&self) -> usize {
        if self.budget.is_short() { MOST_HELD_IF_SHORT } else { MOST_HELD }
    }

    /// How much may be held for a receive to be armed again.
    fn held_to_go_on(&self) -> usize {
        if self.buffers.are_scarce() { 0 } else { self.most_held() / 2 }
    }

    /// Ready when the connection is broken, so that an answer would reach nobody.
    pub(crate) fn poll_broken(&mut self, id: SocketId, tasks: &Tasks, cx: &Context<'_>) -> Poll<()> {
        let socket = self.socket(id);
        if socket.send_error.is_some() || matches!(socket.receive, Receive::Ended(1..)) {
            return Poll::Ready(());
        }
        tasks.wait(&mut socket.waiter, cx);
        Poll::Pending
    }

    /// Sends all of it; the send before must have ended ([`poll_sent`](Self::poll_sent)).
    pub(crate) fn start_send(&mut self, id: SocketId, payload: Payload) {
        let socket = self.socket(id);
        debug_assert!(socket.sending.is_none(), "one send at a time keeps the order");
        if socket.send_error.is_some() {
            // It would fail again; what waits for it is told by `poll_sent`.
            return;
        }
        socket.sending = Some(Sending { payload, sent: 0, is_first_try: true, share: None });
        self.unsettled.push(id);
        self.push_send(id);
    }

    /// Ready when nothing is being sent, with the error if that is because it failed.
    pub(crate) fn poll_sent(
        &mut self,
        id: SocketId,
        tasks: &Tasks,
        cx: &Context<'_>,
    ) -> Poll<io::Result<()>> {
        let socket = self.socket(id);
        socket.waits_to_send = false;
        if let Some(error) = socket.send_error {
            return Poll::Ready(Err(io::Error::from_raw_os_error(error)));
        }
        let Some(sending) = &socket.sending else { return Poll::Ready(Ok(())) };
        let completes = !sending.is_first_try;
        tasks.wait(&mut socket.waiter, cx);
        socket.waits_to_send = true;
        self.settling_is_awaited |= !completes;
        Poll::Pending
    }

    /// Says that nothing more will be sent (`shutdown(2)`).
    pub(crate) fn shut_down(&mut self, id: SocketId) {
        let Some(fd) = self.fd(id) else { return };
        self.push_for(id, opcode::Shutdown::new(fd, libc::SHUT_WR).build(), Op::Shutdown);
    }

    /// The descriptor, to ask the kernel about it.
    pub(crate) fn socket_fd(&self, id: SocketId) -> Option<BorrowedFd<'_>> {
        self.sockets[id.0 as usize].fd.as_ref().map(AsFd::as_fd)
    }

    /// How many bytes have arrived that the ring has not delivered.
    pub(crate) fn unread(&self, id: SocketId) -> u64 {
        self.socket_fd(id).map_or(0, |fd| self.kernel.unread(fd))
    }

    /// How many bytes the kernel holds for the peer.
    pub(crate) fn unacknowledged(&self, id: SocketId) -> usize {
        self.socket_fd(id).map_or(0, |fd| self.kernel.unacknowledged(fd))
    }

    /// How much the peer has acknowledged so far: a number that changes when it takes something.
    pub(crate) fn acknowledged(&self, id: SocketId) -> u64 {
        let acknowledged = self.socket_fd(id).and_then(|fd| self.kernel.acknowledged(fd));
        // A local socket does not count what its peer takes: there, what is left tells.
        acknowledged.unwrap_or_else(|| self.unacknowledged(id) as u64)
    }

    /// Gives the socket up: its operations are cancelled, and after the last completion it is closed.
    pub(crate) fn abandon(&mut self, id: SocketId, tasks: &Tasks) {
        let socket = self.socket(id);
        socket.abandoned = true;
        tasks.forget(&mut socket.waiter);
        socket.inbox = Inbox::default();
        if socket.operations == 0 {
            self.close(id);
        } else if let Some(fd) = self.fd(id) {
            // Closing a descriptor does not cancel its operations (`io_uring_prep_cancel_fd(3)` does).
            let all = types::CancelBuilder::fd(fd).all();
            self.push_for(id, opcode::AsyncCancel2::new(all).build(), Op::Cancel);
        }
    }

    /// Wakes the futures that wait for a socket inside a combinator, which waking their task need not poll again.
    pub(crate) fn wake_foreign(&mut self, tasks: &Tasks) {
        for (_, socket) in &mut self.sockets {
            if matches!(socket.waiter, Waiter::Other(_)) {
                tasks.notify(&mut socket.waiter);
            }
        }
    }

    /// Arms what ended for want of buffers, if nothing was received that is still to be read: a peer that sends more than
    /// the others goes on when its connection has read it, and takes no buffer from those that have none.
    ///
    /// This comes before the tasks push what they arm, so it is first in the kernel as well.
    pub(super) fn revive_starved(&mut self) {
        for id in std::mem::take(&mut self.starved) {
            let Some(socket) = self.sockets.get_mut(id.0 as usize) else { continue };
            if socket.receive != Receive::Starved || socket.abandoned {
                continue;
            }
            if socket.inbox.held > 0 {
                socket.receive = Receive::Paused;
            } else {
                self.arm_receive(id);
            }
        }
    }

    pub(super) fn received(&mut self, id: SocketId, done: &cqueue::Entry, last: bool, tasks: &Tasks) {
        let buffer = cqueue::buffer_select(done.flags());
        let bytes = buffer.map(|buffer| {
            self.buffers.take(buffer, usize::try_from(done.result()).unwrap_or(0), &self.budget)
        });
        let socket = self.socket(id);
        if let Some(bytes) = bytes.filter(|bytes| !bytes.is_empty() && !socket.abandoned) {
            socket.inbox.push(bytes);
        }
        let result = done.result();
        if last {
            socket.operations -= 1;
            socket.receive = match result {
                0 => Receive::Ended(0),
                error if error == -libc::ENOBUFS => Receive::Starved,
                error if error == -libc::ECANCELED => Receive::Paused,
                // It may end without an error at any time, and is then armed again.
                1.. => Receive::Paused,
                error => Receive::Ended(-error),
            };
        }
        if socket.abandoned {
            return self.close_if_idle(id);
        }
        let socket = self.socket(id);
        let wake = socket.waits_to_receive || matches!(socket.receive, Receive::Ended(1..));
        let (receive, held) = (socket.receive, socket.inbox.held);
        match receive {
            Receive::Armed if held >= MOST_HELD_IF_SHORT && held >= self.most_held() => {
                let socket = self.socket(id);
                socket.receive = Receive::Pausing;
                let cancel = opcode::AsyncCancel::new(Op::Receive.data(id.0)).build();
                self.push_for(id, cancel, Op::Cancel);
            }
            Receive::Paused if held <= self.held_to_go_on() => self.arm_receive(id),
            Receive::Starved => self.starved.push(id),
            _ => {}
        }
        if wake {
            let socket = self.socket(id);
            socket.waits_to_receive = false;
            tasks.notify(&mut socket.waiter);
        }
    }

    /// A send has completed: in part, or with an error, or it was not the first try.
    pub(super) fn sent(&mut self, id: SocketId, result: i32, tasks: &Tasks) {
        let budget = self.budget.clone();
        let socket = self.socket(id);
        socket.operations -= 1;
        let Some(sending) = &mut socket.sending else { return };
        let first_try = std::mem::take(&mut sending.is_first_try);
        match usize::try_from(result) {
            Ok(taken) => sending.sent += taken,
            Err(_) if first_try && result == -libc::EAGAIN => {}
            Err(_) => socket.send_error = Some(-result),
        }
        let is_whole = sending.sent >= sending.payload.len();
        if !is_whole && socket.send_error.is_none() && !socket.abandoned {
            // MSG_WAITALL makes this rare but for the first try; a signal can still cut a send short.
            if first_try || result > 0 {
                if let Payload::Buffer(buffer) = &sending.payload {
                    sending.share.get_or_insert_with(|| budget.take(buffer.capacity()));
                }
                return self.push_send(id);
            }
            socket.send_error = Some(libc::EPIPE);
        }
        self.end_send(id, tasks);
    }

    /// Ends the first tries that have succeeded: those that the kernel has taken and not completed. Only if the ring could
    /// [settle](Self::can_settle) after it was entered, and when all completions were taken.
    pub(super) fn settle_sends(&mut self, tasks: &Tasks) {
        let mut unsettled = std::mem::take(&mut self.unsettled);
        for id in unsettled.drain(..) {
            // The place may be free by now, or have a send that was pushed after the one noted here. That has been
            // submitted too, and is over.
            let Some(socket) = self.sockets.get_mut(id.0 as usize) else { continue };
            if socket.sending.as_ref().is_some_and(|sending| sending.is_first_try) {
                socket.operations -= 1;
                self.operations -= 1;
                self.end_send(id, tasks);
            }
        }
        // Completions that the loop above caused to be pushed are no sends; the list keeps its memory.
        debug_assert!(self.unsettled.is_empty(), "nothing is sent while sends are settled");
        self.unsettled = unsettled;
    }

    /// Whether the kernel has taken every entry, and keeps no completion back.
    pub(super) fn can_settle(&mut self) -> bool {
        self.backlog.is_empty() && self.kernel.has_taken_all() && !self.kernel.has_overflown()
    }

    /// Counts the first tries that have succeeded as ended, while the ring is dropped.
    pub(super) fn forget_settled_sends(&mut self) {
        for id in std::mem::take(&mut self.unsettled) {
            self.operations -= usize::from(self.forget_send(id));
        }
    }

    /// Notes that the kernel has done with a send, while the ring is dropped. Whether it was a first try.
    pub(super) fn forget_send(&mut self, id: SocketId) -> bool {
        let sending = self.sockets.get_mut(id.0 as usize).and_then(|socket| socket.sending.as_mut());
        sending.is_some_and(|sending| std::mem::take(&mut sending.is_first_try))
    }

    fn end_send(&mut self, id: SocketId, tasks: &Tasks) {
        let socket = self.socket(id);
        let sending = socket.sending.take();
        if socket.waits_to_send || socket.send_error.is_some() {
            socket.waits_to_send = false;
            tasks.notify(&mut socket.waiter);
        }
        if let Some(Sending { payload: Payload::Buffer(buffer), .. }) = sending {
            self.put_spare(buffer);
        }
        self.close_if_idle(id);
    }

    /// An operation without a result has ended.
    pub(super) fn finished(&mut self, id: SocketId) {
        self.socket(id).operations -= 1;
        self.close_if_idle(id);
    }

    /// The descriptor is closed: the place is free.
    pub(super) fn closed(&mut self, id: SocketId) {
        self.sockets.remove(id.0 as usize);
    }

    fn arm_receive(&mut self, id: SocketId) {
        let Some(fd) = self.fd(id) else { return };
        self.socket(id).receive = Receive::Armed;
        self.push_for(id, opcode::RecvMulti::new(fd, buffers::GROUP).build(), Op::Receive);
    }

    fn push_send(&mut self, id: SocketId) {
        let Some(fd) = self.fd(id) else { return };
        let Some(Sending { payload, sent, is_first_try, .. }) = &self.socket(id).sending else { return };
        let rest = &payload.as_slice()[*sent..];
        let (start, length) = (rest.as_ptr(), u32::try_from(rest.len()).unwrap_or(u32::MAX));
        let (wait, completion) = if *is_first_try {
            (libc::MSG_DONTWAIT, squeue::Flags::SKIP_SUCCESS)
        } else {
            (0, squeue::Flags::empty())
        };
        let send = opcode::Send::new(fd, start, length).flags(libc::MSG_NOSIGNAL | libc::MSG_WAITALL | wait);
        self.push_for(id, send.build().flags(completion), Op::Send);
    }

    fn push_for(&mut self, id: SocketId, entry: squeue::Entry, op: Op) {
        // Checked also in release builds: a count that wrapped would free memory under the kernel.
        let operations = &mut self.socket(id).operations;
        *operations = operations.checked_add(1).expect("a socket has a handful of operations");
        self.push(entry, op, id.0);
    }

    fn close_if_idle(&mut self, id: SocketId) {
        let socket = self.socket(id);
        if socket.abandoned && socket.operations == 0 {
            self.close(id);
        }
    }

    /// Closes the descriptor through the ring; no other operation of the socket is left.
    fn close(&mut self, id: SocketId) {
        if let Some(fd) = self.socket(id).fd.take() {
            self.push(opcode::Close::new(types::Fd(fd.into_raw_fd())).build(), Op::Close, id.0);
        }
    }

    fn fd(&self, id: SocketId) -> Option<types::Fd> {
        self.sockets[id.0 as usize].fd.as_ref().map(|fd| types::Fd(fd.as_raw_fd()))
    }

    /// A socket whose place is taken: ids are only with streams and in operations, and neither outlives it.
    fn socket(&mut self, id: SocketId) -> &mut Socket {
        &mut self.sockets[id.0 as usize]
    }
}

impl Payload {
    fn as_slice(&self) -> &[u8] {
        match self {
            Self::Buffer(buffer) => buffer,
            Self::Bytes(bytes) => bytes,
        }
    }

    fn len(&self) -> usize {
        self.as_slice().len()
    }
}
