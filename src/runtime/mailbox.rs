//! What reaches a core from other threads: closures to run there, and the bell that says there are some.
//!
//! The bell is a pipe, read through the network ring, so that a message is prompt even while the core is busy.
//! It is no eventfd: the ring's own eventfd, by which it wakes a sleeping core, would have to be signalled from
//! within the wake-up of another. Kernels put that off, and some (seen on 6.18) do it once and never again.

use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

use super::core::Core;

pub(super) type Message = Box<dyn FnOnce(&Core) + Send>;

/// One core's mailbox; anyone may post to it.
///
/// Its bound is that of its writers: every task posts at most one wake-up at a time, who hands over a connection does
/// so only to a core that has fewer than itself, those on their way included, and [questions](Self::ask), of which anybody
/// can have any number, are counted.
pub(crate) struct Mailbox {
    sender: Sender<Message>,
    receiver: std::sync::Mutex<Option<Receiver<Message>>>,
    ear: OwnedFd,
    bell: OwnedFd,
    /// Whether the bell was rung and not yet heard: one byte in the pipe serves many messages.
    rung: AtomicBool,
    /// Questions that wait.
    questions: AtomicUsize,
}

/// How many questions may wait for a core: one that a handler holds must not gather those of a minute.
const MOST_QUESTIONS: usize = 1024;

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
            questions: AtomicUsize::new(0),
        }))
    }

    /// Has `message` run on the core. If the core has ended, it is dropped.
    pub(crate) fn post(&self, message: impl FnOnce(&Core) + Send + 'static) {
        if self.sender.send(Box::new(message)).is_ok() && !self.rung.swap(true, Ordering::AcqRel) {
            // The pipe holds one byte at most, or two for a moment: this cannot block or fail.
            let _ = rustix::io::write(&self.bell, &[1]);
        }
    }

    /// The same for what may be asked without end: if too many wait already, it is dropped.
    pub(crate) fn ask(self: &Arc<Self>, question: impl FnOnce(&Core) + Send + 'static) {
        if self.questions.fetch_add(1, Ordering::Relaxed) >= MOST_QUESTIONS {
            self.questions.fetch_sub(1, Ordering::Relaxed);
            return;
        }
        let mailbox = Arc::clone(self);
        self.post(move |core| {
            mailbox.questions.fetch_sub(1, Ordering::Relaxed);
            question(core);
        });
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_hears_nothing_gathers_so_many_questions_and_no_more() {
        let mailbox = Mailbox::new().expect("a pipe");
        let mail = mailbox.take_receiver().expect("the first to take it");
        for _ in 0..3 * MOST_QUESTIONS {
            mailbox.ask(|_| {});
        }
        mailbox.post(|_| {});
        assert_eq!(mail.try_iter().count(), MOST_QUESTIONS + 1, "a wake-up comes through all the same");
    }
}
