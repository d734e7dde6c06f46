//! What the connections of one core share. A leaf: it knows neither a connection nor who accepts one.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use super::access_log::CoreLog;
use super::admission::Places;
use super::deadlines::Deadlines;
use super::linger::Farewells;
use super::service::Service;
use super::share::Turn;
use crate::h1::encode::Preamble;
use crate::http::limits::Limits;
use crate::http::request::{Origin, Request};
use crate::runtime::{Core, Phase};

/// What the connections of a core share.
pub(super) struct Worker {
    pub(super) core: Core,
    pub(super) service: Box<dyn Service>,
    pub(super) limits: Limits,
    pub(super) deadlines: Deadlines,
    pub(super) access_log: Option<Rc<CoreLog>>,
    pub(super) places: Rc<Places>,
    /// The peers that are listened to after their last answer.
    pub(super) farewells: Farewells,
    /// What those who have used up their share have of a turn.
    pub(super) turn: Turn,
    preamble: RefCell<Rc<Preamble>>,
    preamble_second: Cell<u64>,
    /// The place of the request that was read last. The next one is mostly read faster there.
    request: Cell<Option<Box<Request>>>,
}

impl Worker {
    pub(super) fn new(
        core: &Core,
        service: Box<dyn Service>,
        limits: Limits,
        deadlines: Deadlines,
        access_log: Option<Rc<CoreLog>>,
        places: Rc<Places>,
    ) -> Rc<Self> {
        Rc::new(Self {
            core: core.clone(),
            service,
            limits,
            deadlines,
            access_log,
            places,
            farewells: Farewells::default(),
            turn: Turn::default(),
            preamble: RefCell::new(Rc::new(Preamble::new(&core.clock().date()))),
            preamble_second: Cell::new(core.clock().date_second()),
            request: Cell::new(None),
        })
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
}
