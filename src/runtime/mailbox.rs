//! What reaches a core from other threads: a queue of messages, and the bell that says there are some.
//!
//! The bell is a pipe, read through the network ring, so that a message is prompt even while the core is busy.
//! An eventfd will not do: the ring's own eventfd, which wakes a core that sleeps in glommio, would have to be
//! signalled from within the wake-up of another. Kernels put that off, and some (seen on 6.18) do so once and never again.

use rustix::pipe::{PipeFlags, pipe_with};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};

/// One core's mailbox; any thread may post to it.
///
/// The writers bound it: every task posts at most one wake-up at a time; a connection is handed over only to a core that
/// has fewer, those on their way included; and [questions](Self::ask), of which there could be any number, are counted.
pub(crate) struct Mailbox<M> {
    sender: Sender<M>,
    receiver: std::sync::Mutex<Option<Receiver<M>>>,
    ear: OwnedFd,
    bell: OwnedFd,
    /// Whether the bell was rung and not yet heard: one byte in the pipe serves many messages.
    rung: AtomicBool,
    /// Questions that wait.
    questions: AtomicUsize,
}

/// How many questions may wait for a core: one that a handler holds must not gather those of a minute.
const MOST_QUESTIONS: usize = 1024;

impl<M> Mailbox<M> {
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

    /// Posts a message. If the core has ended, the message is dropped.
    pub(crate) fn post(&self, message: M) {
        if self.sender.send(message).is_ok() && !self.rung.swap(true, Ordering::AcqRel) {
            // The pipe holds one byte at most, or two for a moment: this cannot block or fail.
            let _ = rustix::io::write(&self.bell, &[1]);
        }
    }

    /// Posts a message of a kind that has no bound of its own: if too many of these wait already, it is dropped. The core
    /// says [`answered`](Self::answered) for each.
    pub(crate) fn ask(&self, question: M) {
        if self.questions.fetch_add(1, Ordering::Relaxed) < MOST_QUESTIONS {
            self.post(question);
        } else {
            self.answered();
        }
    }

    /// Says that a question waits no longer.
    pub(crate) fn answered(&self) {
        self.questions.fetch_sub(1, Ordering::Relaxed);
    }

    /// The receiving end, for the core itself, once.
    pub(crate) fn take_receiver(&self) -> Option<Receiver<M>> {
        self.receiver.lock().unwrap_or_else(std::sync::PoisonError::into_inner).take()
    }

    /// What becomes readable when there is something.
    pub(crate) fn ear(&self) -> BorrowedFd<'_> {
        self.ear.as_fd()
    }

    /// Says that the bell was heard; must come before the messages are taken.
    pub(crate) fn heard(&self) {
        // A swap, since the messages must be looked at after it: what posts from now on rings again.
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
            mailbox.ask("question");
        }
        mailbox.post("wake-up");
        assert_eq!(
            mail.iter().take(MOST_QUESTIONS).filter(|message| *message == "question").count(),
            MOST_QUESTIONS
        );
        assert_eq!(mail.try_recv(), Ok("wake-up"), "a wake-up comes through all the same");
        for _ in 0..MOST_QUESTIONS {
            mailbox.answered();
        }
        mailbox.ask("question");
        assert_eq!(mail.try_recv(), Ok("question"), "there is room again");
    }
}
