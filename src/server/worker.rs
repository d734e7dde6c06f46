//! One core's share of a server: its application, its connections, and their end.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::accept::accept_until_drain;
use super::access_log::{CoreLog, OpenLog};
use super::admission::Places;
use super::deadlines::Deadlines;
use super::service::Service;
use crate::h1::encode::Preamble;
use crate::http::limits::Limits;
use crate::runtime::{Core, Listener, Notice, Phase, Timer};

/// What the connections of a core share.
pub(super) struct Worker {
    pub(super) core: Core,
    pub(super) service: Box<dyn Service>,
    pub(super) limits: Limits,
    pub(super) deadlines: Deadlines,
    pub(super) access_log: Option<Rc<CoreLog>>,
    preamble: RefCell<Rc<Preamble>>,
    preamble_second: Cell<u64>,
    pub(super) places: Places,
    /// Given when a connection has ended.
    pub(super) ended: Notice,
}

impl Worker {
    /// Begins to serve on this core.
    pub(super) fn start(
        core: &Core,
        service: Box<dyn Service>,
        listeners: Vec<Listener>,
        limits: Limits,
        deadlines: Deadlines,
        drain: Duration,
        access_log: Option<OpenLog>,
    ) {
        let worker = Rc::new(Self {
            core: core.clone(),
            service,
            limits,
            deadlines,
            access_log: access_log.map(|log| CoreLog::new(core, log)),
            preamble: RefCell::new(Rc::new(Preamble::new(&core.clock().date()))),
            preamble_second: Cell::new(core.clock().date_second()),
            places: Places::default(),
            ended: Notice::default(),
        });
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

    pub(super) fn count_request(&self) {
        self.core.update_counts(|counts| counts.requests += 1);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.core.phase() != Phase::Serving
    }
}

/// Waits for the drain to begin, then for the last connection or the deadline, and stops the core.
async fn drain_when_told(worker: Rc<Worker>, accepting: Rc<Cell<usize>>, drain: Duration) {
    // Every task is woken when the phase changes.
    poll_fn(|_| if worker.is_draining() { Poll::Ready(()) } else { Poll::Pending }).await;
    let deadline = Timer::new(&worker.core);
    deadline.set(drain);
    let mut done = pin!(worker.ended.wait_until(|| accepting.get() == 0 && worker.places.are_empty()));
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
