//! How a core sleeps: glommio reads the eventfd that the ring signals.
//!
//! While the core is busy the signals are switched off in the shared completion ring
//! (`io_uring_cq_eventfd_toggle(3)`): a registered eventfd that nobody waits for costs one to two percent.

use glommio::io::BufferedFile;
use rustix::event::{EventfdFlags, eventfd};
use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::io;
use std::os::fd::{AsFd, FromRawFd, IntoRawFd, OwnedFd};
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;

use super::super::tasks::Tasks;
use super::Ring;

/// The eventfd between a ring and glommio.
pub(crate) struct Parking {
    file: Rc<BufferedFile>,
    /// The same eventfd, to write to it.
    bell: OwnedFd,
    /// A read that is under way. It outlives the wait that began it: dropped, it could still take a signal that
    /// the next wait needs.
    read: RefCell<Option<Read>>,
}

type Read = Pin<Box<dyn Future<Output = io::Result<()>>>>;

impl Parking {
    /// Registers an eventfd with the ring; its signals begin switched off. Must run inside the executor.
    pub(crate) fn new(ring: &mut Ring) -> io::Result<Self> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC)?;
        ring.kernel.register_eventfd(&bell)?;
        let reader = bell.as_fd().try_clone_to_owned()?;
        // SAFETY: the descriptor is open, and ours to give away.
        let file = unsafe { BufferedFile::from_raw_fd(reader.into_raw_fd()) };
        Ok(Self { file: Rc::new(file), bell, read: RefCell::default() })
    }

    /// Switches the ring's signals on or off.
    pub(crate) fn set_signals(ring: &mut Ring, on: bool) {
        ring.kernel.set_signals(on);
    }

    /// Makes the next [`wait`](Self::wait) return at once.
    pub(crate) fn signal(&self) {
        // Adds one to a counter that never nears its limit, so this cannot block or fail.
        let _ = rustix::io::write(&self.bell, &1_u64.to_ne_bytes());
    }

    /// Gives the thread to glommio until the eventfd is signalled, or one of `tasks` can go on.
    pub(crate) async fn wait(&self, tasks: Option<&Tasks>) -> io::Result<()> {
        poll_fn(|cx| {
            let mut slot = self.read.borrow_mut();
            let read = slot.get_or_insert_with(|| {
                let file = Rc::clone(&self.file);
                Box::pin(async move { file.read_at(0, 8).await.map(drop).map_err(io::Error::from) })
            });
            if let Poll::Ready(result) = read.as_mut().poll(cx) {
                *slot = None;
                return Poll::Ready(result);
            }
            match tasks {
                Some(tasks) if tasks.any_ready_or_wake(cx) => Poll::Ready(Ok(())),
                _ => Poll::Pending,
            }
        })
        .await
    }
}
