//! One core's share of a server: its application, its connections, and their end.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use super::accept::{accept_until_drain, adopt};
use super::access_log::{CoreLog, OpenLog};
use super::admission::Places;
use super::balance::Balance;
use super::deadlines::Deadlines;
use super::service::Service;
use crate::h1::encode::Preamble;
use crate::http::limits::Limits;
use crate::http::request::{Origin, Request};
use crate::runtime::{Core, Listener, Loads, Notice, Phase, Place, Timer};

/// What every core of a server is given.
#[derive(Clone)]
pub(super) struct Setup {
    pub(super) limits: Limits,
    pub(super) deadlines: Deadlines,
    /// How long a drain may take.
    pub(super) drain: Duration,
    /// What there is to balance by, if connections are balanced.
    pub(super) loads: Option<Arc<Loads>>,
    pub(super) access_log: Option<OpenLog>,
}

/// What the connections of a core share.
pub(super) struct Worker {
    pub(super) core: Core,
    pub(super) service: Box<dyn Service>,
    pub(super) limits: Limits,
    pub(super) deadlines: Deadlines,
    pub(super) access_log: Option<Rc<CoreLog>>,
    preamble: RefCell<Rc<Preamble>>,
    preamble_second: Cell<u64>,
    /// The place of the request that was read last. The next one is mostly read faster there.
    request: Cell<Option<Box<Request>>>,
    pub(super) places: Places,
    /// What there is to balance by, if connections are balanced.
    pub(super) balance: Option<Balance>,
    /// Given when a connection has ended.
    pub(super) ended: Notice,
}

impl Worker {
    /// Begins to serve on this core.
    pub(super) fn start(core: &Core, service: Box<dyn Service>, listeners: Vec<Listener>, setup: Setup) {
        let Setup { limits, deadlines, drain, loads, access_log } = setup;
        let worker = Rc::new(Self {
            core: core.clone(),
            service,
            limits,
            deadlines,
            access_log: access_log.map(|log| CoreLog::new(core, log)),
            preamble: RefCell::new(Rc::new(Preamble::new(&core.clock().date()))),
            preamble_second: Cell::new(core.clock().date_second()),
            request: Cell::new(None),
            places: Places::default(),
            balance: loads.map(Balance::new),
            ended: Notice::default(),
        });
        if worker.balance.is_some() {
            let worker = Rc::downgrade(&worker);
            core.adopt_with(move |accepted, place| {
                // It ends only when nothing is on its way.
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
                worker.ended.give();
            });
        }
        core.spawn(drain_when_told(worker, accepting, drain));
    }

    /// How every response begins, made anew when the second changes.
    pub(super) fn preamble(&self) -> Rc<Preamble> {
        let second = self.core.clock().date_second();
        if self.preamble_second.replace(second) != second {
            *self.preamble.borrow_mut() = Rc::new(Preamble::new(&self.core.clock().date()));
        }
        Rc::clone(&self.preamble.borrow())
    }

    /// A place for requests that come in here.
    pub(super) fn request_place(&self, origin: Origin) -> Box<Request> {
        match self.request.take() {
            Some(mut place) => {
                place.origin_is(origin);
                place
            }
            None => Box::new(Request::new(origin)),
        }
    }

    /// Keeps the place for the next connection that has requests; nothing of the last one stays but its head.
    pub(super) fn keep_place(&self, mut place: Box<Request>) {
        place.release();
        self.request.set(Some(place));
    }

    pub(super) fn count_request(&self) {
        self.core.update_counts(|counts| counts.requests += 1);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.core.phase() != Phase::Serving
    }

    /// The core that should have the connection just accepted, and a place there; counted as handed over.
    pub(super) fn elsewhere(&self) -> Option<(usize, Place)> {
        let elsewhere = self.balance.as_ref()?.elsewhere(&self.core)?;
        self.core.update_counts(|counts| {
            counts.accepted += 1;
            counts.handed_over += 1;
        });
        Some(elsewhere)
    }

    /// Whether nothing is left to serve, nor on its way from another core.
    fn is_done(&self) -> bool {
        self.places.are_empty() && self.balance.as_ref().is_none_or(|balance| balance.close(&self.core))
    }
}

/// Waits for the drain to begin, then for the last connection or the deadline, and stops the core.
async fn drain_when_told(worker: Rc<Worker>, accepting: Rc<Cell<usize>>, drain: Duration) {
    // Every task is woken when the phase changes.
    poll_fn(|_| if worker.is_draining() { Poll::Ready(()) } else { Poll::Pending }).await;
    let deadline = Timer::new(&worker.core);
    deadline.set(drain);
    let mut done = pin!(worker.ended.wait_until(|| accepting.get() == 0 && worker.is_done()));
    let in_time = poll_fn(|cx| match done.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending if deadline.poll_passed(cx) => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    });
    if !in_time.await {
        let (id, open) = (worker.core.id(), worker.places.open());
        log::warn!("core {id}: the drain took longer than {drain:?}; {open} connections are cut");
    }
    worker.core.enter_phase(Phase::Stopped);
}
