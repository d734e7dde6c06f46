//! What the made-up kernel does for each operation.

use io_uring::opcode;
use std::os::fd::{IntoRawFd, RawFd};

use super::Machine;
use super::descriptors;
use super::entry::{
    ACCEPT_MULTISHOT, BUFFER_SELECT, CANCEL_ANY, CANCEL_FD, Completion, RECEIVE_MULTISHOT, SKIP_SUCCESS,
    Submission, TIMEOUT_UPDATE, holds, read, timespec, write,
};
use super::net::{Heard, Link};

/// An operation that the kernel holds.
pub(super) struct Operation {
    user_data: u64,
    fd: RawFd,
    kind: Kind,
    /// Cancelled, and when that takes effect.
    cancelled: Option<u64>,
}

enum Kind {
    Accept,
    Receive(Link),
    Send { link: Link, address: u64, sent: usize, copy: Vec<u8> },
    Read { address: u64, length: usize },
    Timeout { due: u64 },
}

/// An amount as the result of an operation; the kernel moves no more at a time.
fn amount(of: usize) -> i32 {
    i32::try_from(of).unwrap_or(i32::MAX)
}

/// What one look at an operation brought.
enum Step {
    Waits,
    /// It goes on, and could bring more at once.
    Goes,
    Ends,
}

impl Operation {
    /// When it completes by itself.
    pub(super) fn next_event(&self) -> Option<u64> {
        let own = match self.kind {
            Kind::Timeout { due } => Some(due),
            _ => None,
        };
        own.into_iter().chain(self.cancelled).min()
    }

    /// Whether it is one that a core always has: its bell, and its alarm.
    pub(super) fn is_the_cores(&self) -> bool {
        matches!(self.kind, Kind::Read { .. } | Kind::Timeout { .. })
    }
}

impl Machine {
    pub(super) fn submit(&mut self, entry: &Submission) {
        let Submission { opcode, user_data, fd, .. } = *entry;
        self.net.note("submission", user_data, opcode.into());
        match opcode {
            opcode::AcceptMulti::CODE => {
                debug_assert_eq!(entry.ioprio, ACCEPT_MULTISHOT);
                if self.descriptors.is_listener(fd) {
                    self.accepts.push(user_data);
                    self.hold(entry, Kind::Accept);
                } else {
                    self.violation(format!("an accept from descriptor {fd}, which does not listen"));
                }
            }
            opcode::RecvMulti::CODE => {
                debug_assert_eq!((entry.ioprio, entry.flags), (RECEIVE_MULTISHOT, BUFFER_SELECT));
                debug_assert_eq!(entry.buffer_group, 0);
                self.with_link(entry, |machine, link| machine.hold(entry, Kind::Receive(link)));
            }
            opcode::Send::CODE => self.with_link(entry, |machine, link| machine.send(entry, link)),
            opcode::Shutdown::CODE => self.with_link(entry, |machine, link| {
                debug_assert_eq!(entry.length, libc::SHUT_WR.cast_unsigned());
                machine.net.server_finishes(link);
                machine.complete_soon(Completion::last(user_data, 0));
            }),
            opcode::AsyncCancel::CODE => self.cancel(entry),
            opcode::Close::CODE => self.close(entry),
            opcode::Read::CODE => {
                let kind = Kind::Read { address: entry.address, length: entry.length as usize };
                self.hold(entry, kind);
            }
            opcode::Timeout::CODE => {
                let due = self.net.now + timespec(entry.address).as_micros() as u64;
                self.hold(entry, Kind::Timeout { due });
            }
            opcode::TimeoutUpdate::CODE => self.update_timeout(entry),
            other => self.violation(format!("the stub does not know the operation {other}")),
        }
    }

    fn with_link(&mut self, entry: &Submission, then: impl FnOnce(&mut Self, Link)) {
        match self.descriptors.of_operation(entry.fd) {
            Some(link) => then(self, link),
            None => self.violation(format!("operation {} on {}, which is closed", entry.opcode, entry.fd)),
        }
    }

    fn hold(&mut self, entry: &Submission, kind: Kind) {
        self.operations.push(Operation { user_data: entry.user_data, fd: entry.fd, kind, cancelled: None });
    }

    fn send(&mut self, entry: &Submission, link: Link) {
        let copy = read(entry.address, entry.length as usize);
        let waits = entry.op_flags & libc::MSG_DONTWAIT.cast_unsigned() == 0;
        if waits {
            self.net.set_sends(link, true);
            return self.hold(entry, Kind::Send { link, address: entry.address, sent: 0, copy });
        }
        let most = self.cut_short(copy.len());
        let result = match self.net.server_writes(link, &copy[..most]) {
            Ok(sent) => amount(sent),
            Err(error) => -error,
        };
        // A short send fails where all of it was wanted (MSG_WAITALL), and a failure is always told.
        if result != entry.length.cast_signed() || entry.flags & SKIP_SUCCESS == 0 {
            self.batch.push(Completion::last(entry.user_data, result));
        }
    }

    fn close(&mut self, entry: &Submission) {
        if self.operations.iter().any(|operation| operation.fd == entry.fd) {
            self.violation(format!(
                "descriptor {} is closed while the kernel has operations on it",
                entry.fd
            ));
        }
        match self.descriptors.close(entry.fd) {
            Some((link, hard)) => {
                self.net.server_closes(link, hard);
                self.complete_soon(Completion::last(entry.user_data, 0));
            }
            None => self.violation(format!("descriptor {} is closed twice", entry.fd)),
        }
    }

    fn cancel(&mut self, entry: &Submission) {
        let matches = |operation: &Operation| match entry.op_flags {
            flags if flags & CANCEL_ANY != 0 => true,
            flags if flags & CANCEL_FD != 0 => operation.fd == entry.fd,
            _ => operation.user_data == entry.address,
        };
        let found: Vec<_> = (0..self.operations.len()).filter(|at| matches(&self.operations[*at])).collect();
        let mut result = if found.is_empty() { -libc::ENOENT } else { amount(found.len()) };
        for at in found {
            let mut takes_effect = self.net.now;
            if self.random.one_in(self.faults.late) {
                // It runs at this moment, and ends a little later.
                takes_effect += self.random.between(1, 5_000);
                result = -libc::EALREADY;
            }
            self.operations[at].cancelled.get_or_insert(takes_effect);
        }
        self.complete_soon(Completion::last(entry.user_data, result));
    }

    fn update_timeout(&mut self, entry: &Submission) {
        debug_assert_eq!(entry.op_flags & TIMEOUT_UPDATE, TIMEOUT_UPDATE);
        let new = self.net.now + timespec(entry.offset).as_micros() as u64;
        let target = self.operations.iter_mut().find(|operation| operation.user_data == entry.address);
        match target.map(|operation| &mut operation.kind) {
            Some(Kind::Timeout { due }) => *due = new,
            _ => self.batch.push(Completion::last(entry.user_data, -libc::ENOENT)),
        }
    }

    /// Looks at every operation, in any order.
    pub(super) fn progress(&mut self) {
        self.put_off = false;
        let mut at = 0;
        while at < self.operations.len() {
            let other = at + self.random.below((self.operations.len() - at) as u64) as usize;
            self.operations.swap(at, other);
            if self.look_at(at) {
                self.operations.swap_remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Whether the operation has ended.
    fn look_at(&mut self, at: usize) -> bool {
        const MOST_STEPS: u64 = 40;
        let steps = self.random.between(1, MOST_STEPS);
        for _ in 0..steps {
            match self.step(at) {
                Step::Waits => return self.end_if_cancelled(at),
                Step::Ends => return true,
                Step::Goes => {}
            }
        }
        self.put_off = true;
        false
    }

    fn end_if_cancelled(&mut self, at: usize) -> bool {
        let Operation { user_data, cancelled, ref kind, .. } = self.operations[at];
        if cancelled.is_none_or(|takes_effect| takes_effect > self.net.now) {
            return false;
        }
        let result = match kind {
            Kind::Send { link, sent, .. } => {
                let (link, sent) = (*link, *sent);
                self.net.set_blocked(link, false);
                if sent > 0 { amount(sent) } else { -libc::ECANCELED }
            }
            _ => -libc::ECANCELED,
        };
        self.batch.push(Completion::last(user_data, result));
        true
    }

    fn step(&mut self, at: usize) -> Step {
        // A cancelled operation may still have brought something before.
        if self.operations[at].cancelled.is_some() && self.random.percent(50) {
            return Step::Waits;
        }
        match self.operations[at].kind {
            Kind::Accept => self.accept(at),
            Kind::Receive(link) => self.receive(at, link),
            Kind::Send { link, .. } => self.send_on(at, link),
            Kind::Read { address, length } => self.read_on(at, address, length),
            Kind::Timeout { due } if due <= self.net.now => self.end(at, -libc::ETIME),
            Kind::Timeout { .. } => Step::Waits,
        }
    }

    fn end(&mut self, at: usize, result: i32) -> Step {
        self.batch.push(Completion::last(self.operations[at].user_data, result));
        Step::Ends
    }

    /// Brings a completion of a multishot operation, which may be its last.
    fn bring(&mut self, completion: Completion) -> Step {
        if self.random.one_in(self.faults.end) {
            self.batch.push(completion);
            return Step::Ends;
        }
        self.batch.push(completion.more());
        Step::Goes
    }

    /// True if what could be done now is done later.
    fn puts_off(&mut self) -> bool {
        let puts_off = self.random.one_in(self.faults.late);
        self.put_off |= puts_off;
        puts_off
    }

    fn cut_short(&mut self, length: usize) -> usize {
        if length > 1 && self.random.one_in(self.faults.short) {
            // Mostly much shorter: one buffer of a byte is what shows most.
            return (1 + self.random.length(length as u64 - 1)).min(length);
        }
        length
    }

    fn accept(&mut self, at: usize) -> Step {
        if self.net.waiting() == 0 || self.puts_off() {
            return Step::Waits;
        }
        if self.random.one_in(self.faults.accept) {
            return self.end(at, -libc::EMFILE);
        }
        let Some(link) = self.net.accept() else { return Step::Waits };
        let user_data = self.operations[at].user_data;
        match self.descriptors.connection(link) {
            Ok(fd) => self.bring(Completion::last(user_data, fd.into_raw_fd())),
            Err(error) => {
                self.violation(format!("the machine has no descriptor left for the simulation: {error}"));
                Step::Waits
            }
        }
    }

    fn receive(&mut self, at: usize, link: Link) -> Step {
        if self.puts_off() {
            return Step::Waits;
        }
        let user_data = self.operations[at].user_data;
        let arrived = self.net.unread(link);
        let room = self.provided.as_ref().and_then(super::Provided::next);
        if arrived > 0 && (room.is_none() || self.random.one_in(self.faults.no_buffers)) {
            return self.end(at, -libc::ENOBUFS);
        }
        let most = self.cut_short(arrived.min(room.unwrap_or(1)).max(1));
        match self.net.server_reads(link, most) {
            Heard::Nothing => Step::Waits,
            Heard::End => self.end(at, 0),
            Heard::Error(error) => self.end(at, -error),
            Heard::Bytes(bytes) => {
                let filled = match &mut self.provided {
                    Some(provided) => provided.fill(&bytes),
                    None => Err("there are no buffers".to_owned()),
                };
                match filled {
                    Ok(id) => self.bring(Completion::last(user_data, amount(bytes.len())).with_buffer(id)),
                    Err(what) => {
                        self.violation(what);
                        Step::Waits
                    }
                }
            }
        }
    }

    /// A send that waits for room: it completes when all is taken.
    fn send_on(&mut self, at: usize, link: Link) -> Step {
        let Kind::Send { address, sent, ref copy, .. } = self.operations[at].kind else { return Step::Waits };
        if !holds(address, copy) {
            let length = copy.len();
            self.violation(format!("{length} bytes that are being sent have changed, {sent} were taken"));
            return self.end(at, -libc::EFAULT);
        }
        let left = copy.len() - sent;
        if !self.net.is_writable(link) {
            self.net.set_blocked(link, true);
            return Step::Waits;
        }
        if self.puts_off() {
            return Step::Waits;
        }
        let most = self.cut_short(left);
        let Kind::Send { sent, ref copy, .. } = self.operations[at].kind else { return Step::Waits };
        let (total, result) = (copy.len(), self.net.server_writes(link, &copy[sent..sent + most]));
        let now_sent = match result {
            Ok(taken) => sent + taken,
            Err(error) => {
                self.net.set_blocked(link, false);
                return self.end(at, if sent > 0 { amount(sent) } else { -error });
            }
        };
        if let Kind::Send { sent, .. } = &mut self.operations[at].kind {
            *sent = now_sent;
        }
        self.net.set_blocked(link, false);
        self.net.set_sends(link, now_sent < total);
        // A signal can end it early, in spite of MSG_WAITALL.
        if now_sent == total || self.random.one_in(self.faults.end) {
            return self.end(at, amount(now_sent));
        }
        Step::Goes
    }

    fn read_on(&mut self, at: usize, address: u64, length: usize) -> Step {
        let fd = self.operations[at].fd;
        if !descriptors::is_readable(fd) {
            return Step::Waits;
        }
        match descriptors::read(fd, length) {
            Ok(bytes) => {
                write(address, &bytes);
                self.end(at, amount(bytes.len()))
            }
            Err(error) => self.end(at, -error.raw_os_error().unwrap_or(libc::EIO)),
        }
    }
}
