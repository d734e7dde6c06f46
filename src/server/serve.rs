//! One core's share of a server: how it begins to serve, and how it ends.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::accept::{accept_until_drain, adopt};
use super::access_log::{CoreLog, OpenLog};
use super::admission::Places;
use super::deadlines::Deadlines;
use super::memory;
use super::service::Service;
use super::worker::Worker;
use crate::http::limits::Limits;
use crate::runtime::{Core, Listener, Loads, Phase, Timer};

/// What every core of a server is given.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) limits: Limits,
    pub(super) deadlines: Deadlines,
    /// The memory that the requests of each core may take, in bytes, if that is limited.
    pub(super) memory: Option<usize>,
    /// How long a drain may take.
    pub(super) drain: Duration,
    /// What there is to balance by, if connections are balanced.
    pub(super) loads: Option<Arc<Loads>>,
    pub(super) access_log: Option<OpenLog>,
}

/// A deadline that is missed by more than this is missed because the process stood still; then the drain lasts as long
/// again.
const STOOD_STILL: Duration = Duration::from_secs(1);

/// Far longer than anybody waits, and short enough to be added to any moment.
const LONGEST_DRAIN: Duration = Duration::from_secs(1 << 32);

/// Begins to serve on this core.
pub(super) fn serve(core: &Core, service: Box<dyn Service>, listeners: Vec<Listener>, setup: Setup) {
    let Setup { limits, deadlines, memory, drain, loads, access_log } = setup;
    if let Some(bytes) = memory {
        memory::limit(core, bytes);
    }
    let access_log = access_log.map(|log| CoreLog::new(core, log));
    let balances = loads.is_some();
    let places = Places::new(core, &limits, loads);
    let worker = Worker::new(core, service, limits, deadlines, access_log, places);
    if balances {
        let worker = Rc::downgrade(&worker);
        core.adopt_with(move |accepted, place| {
            // The worker ends only when nothing is on its way.
            if let Some(worker) = worker.upgrade() {
                adopt(&worker, accepted, place);
            }
        });
    }
    let accepting = Rc::new(Cell::new(listeners.len()));
    for listener in listeners {
        let (worker, accepting) = (Rc::clone(&worker), Rc::clone(&accepting));
        core.spawn(async move {
            accept_until_drain(&worker, listener).await;
            accepting.set(accepting.get() - 1);
            worker.places.ended().give();
        });
    }
    core.spawn(drain_when_told(worker, accepting, drain));
}

/// Waits for the drain to begin, then for the last connection or the deadline, and stops the core.
async fn drain_when_told(worker: Rc<Worker>, accepting: Rc<Cell<usize>>, drain: Duration) {
    // Every task is woken when the phase changes.
    poll_fn(|_| if worker.is_draining() { Poll::Ready(()) } else { Poll::Pending }).await;
    let drain = drain.min(LONGEST_DRAIN);
    let deadline = Timer::new(&worker.core);
    deadline.set(drain);
    let mut end = worker.core.now() + drain;
    let places = &worker.places;
    let mut done = pin!(places.ended().wait_until(|| accepting.get() == 0 && places.are_done()));
    let in_time = poll_fn(|cx| match done.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending if !deadline.poll_passed(cx) => Poll::Pending,
        Poll::Pending if worker.core.now().saturating_duration_since(end) > STOOD_STILL => {
            // The process stood still meanwhile, and has yet to take what its peers have sent in time.
            deadline.set(STOOD_STILL.min(drain));
            end = worker.core.now() + STOOD_STILL;
            deadline.poll_passed(cx);
            Poll::Pending
        }
        Poll::Pending => Poll::Ready(false),
    });
    if !in_time.await {
        let (id, open) = (worker.core.id(), places.open());
        log::warn!("core {id}: the drain took longer than {drain:?}; {open} connections are cut");
    }
    worker.core.enter_phase(Phase::Stopped);
}
