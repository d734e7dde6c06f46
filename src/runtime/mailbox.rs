//! What reaches a core from other threads: closures to run there, and the bell that says there are some.
//!
//! The bell is a pipe, read through the network ring, so that a message is prompt even while the core is busy.
//! It is no eventfd: the ring's own eventfd, by which it wakes a sleeping core, would have to be signalled from
//! within the wake-up of another. Kernels put that off, and some (seen on 6.18) do it once and never again.

use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::core::Core;

pub(super) type Message = Box<dyn FnOnce(&Core) + Send>;

/// One core's mailbox; anyone may post to it.
///
/// Its bound is that of its writers: every task posts at most one wake-up at a time, every question of
/// [`Core::ask_all`](super::Core::ask_all) one message for each core, and who hands over a connection does so only to a
/// core that has fewer than itself, those on their way included.
pub(crate) struct Mailbox {
    sender: Sender<Message>,
    receiver: std::sync::Mutex<Option<Receiver<Message>>>,
    ear: OwnedFd,
    bell: OwnedFd,
    /// Whether the bell was rung and not yet heard: one byte in the pipe serves many messages.
    rung: AtomicBool,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let (sender, receiver) = channel();
        let (ear, bell) = pipe_with(PipeFlags::CLOEXEC)?;
        Ok(Arc::new(Self {
            sender,
            receiver: std::sync::Mutex::new(Some(receiver)),
            ear,
            bell,
            rung: AtomicBool::new(false),
        }))
    }

    /// Has `message` run on the core. If the core has ended, it is dropped.
    pub(crate) fn post(&self, message: impl FnOnce(&Core) + Send + 'static) {
        if self.sender.send(Box::new(message)).is_ok() && !self.rung.swap(true, Ordering::AcqRel) {
            // The pipe holds one byte at most, or two for a moment: this cannot block or fail.
            let _ = rustix::io::write(&self.bell, &[1]);
        }
    }

    /// The receiving end, for the core itself, once.
    pub(crate) fn take_receiver(&self) -> Option<Receiver<Message>> {
        self.receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// What becomes readable when there is something.
    pub(crate) fn ear(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }

    /// Says that the bell was heard; must come before the messages are taken.
    pub(crate) fn heard(&self) {
        // A swap, since the messages must be looked at after it: whoever posts from now on rings again.
        self.rung.swap(false, Ordering::AcqRel);
    }
}
