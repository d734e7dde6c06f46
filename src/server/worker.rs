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

    pub(super) fn count_request(&self) {
        self.core.update_counts(|counts| counts.requests += 1);
    }

    pub(super) fn is_draining(&self) -> bool {
        self.core.phase() != Phase::Serving
    }
}
