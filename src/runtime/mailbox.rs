//! What reaches a core from other threads: closures to run there, and the eventfd that says there are some.
//!
//! The eventfd is read through the network ring, so that a message is prompt even while the core is busy.

use rustix::event::{EventfdFlags, eventfd};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::core::Core;

pub(super) type Message = Box<dyn FnOnce(&Core) + Send>;

/// One core's mailbox; anyone may post to it.
///
/// Its bound is that of its writers: every task posts at most one wake-up at a time, and every question of
/// [`Core::ask_all`](super::Core::ask_all) one message for each core.
pub(crate) struct Mailbox {
    sender: Sender<Message>,
    receiver: std::sync::Mutex<Option<Receiver<Message>>>,
    bell: OwnedFd,
    /// Whether the bell was rung and not yet answered: one write to the eventfd serves many messages.
    rung: AtomicBool,
}

impl Mailbox {
    pub(crate) fn new() -> io::Result<Arc<Self>> {
        let (sender, receiver) = channel();
        Ok(Arc::new(Self {
            sender,
            receiver: std::sync::Mutex::new(Some(receiver)),
            bell: eventfd(0, EventfdFlags::CLOEXEC)?,
            rung: AtomicBool::new(false),
        }))
    }

    /// Has `message` run on the core. If the core has ended, it is dropped.
    pub(crate) fn post(&self, message: impl FnOnce(&Core) + Send + 'static) {
        if self.sender.send(Box::new(message)).is_ok() && !self.rung.swap(true, Ordering::AcqRel) {
            // Adds one to a counter that never nears its limit, so this cannot block or fail.
            let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
        }
    }

    /// The receiving end, for the core itself, once.
    pub(crate) fn take_receiver(&self) -> Option<Receiver<Message>> {
        self.receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// What becomes readable when there is something.
    pub(crate) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }

    /// Says that the bell was heard; must come before the messages are taken.
    pub(crate) fn heard(&self) {
        self.rung.store(false, Ordering::SeqCst);
    }
}
