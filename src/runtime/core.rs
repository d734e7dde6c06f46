//! The handle to the core that code runs on.

use std::cell::{Cell, RefCell, RefMut};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::Receiver;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use super::accepted::Accepted;
use super::blocking::Pool;
use super::clock::Clock;
use super::loads::Place;
use super::mailbox;
use super::ring::Ring;
use super::tasks::{Remote, Tasks, WakeUp};
use super::timer::Timer;
use super::wheel::{NEVER, Wheel};
use crate::budget::Budget;
use crate::error::Result;

/// The core that code runs on: what it can do there without leaving it, and how it asks the others.
///
/// A clone is the same core. It cannot be sent to another thread, and neither can what it spawns.
#[derive(Clone)]
pub struct Core(Rc<Inner>);

struct Inner {
    id: usize,
    cpu: usize,
    tasks: Rc<Tasks>,
    ring: RefCell<Ring>,
    wheel: RefCell<Wheel>,
    clock: Clock,
    mail: Receiver<Message>,
    /// Every core's mailbox, by core.
    mailboxes: Arc<[Arc<Mailbox>]>,
    phase: Cell<Phase>,
    /// How many [`Beat`]s there are.
    beats: Cell<usize>,
    pool: Arc<Pool>,
    counts: Cell<Counts>,
    budget: Budget,
    /// What serves a connection that another core has accepted.
    adopter: RefCell<Option<Adopter>>,
}

type Adopter = Rc<dyn Fn(Accepted, Place)>;

/// One core's mailbox.
pub(crate) type Mailbox = mailbox::Mailbox<Message>;

/// What other threads post to a core.
pub(crate) enum Message {
    /// A task can go on.
    Wake(WakeUp),
    /// Runs on the core.
    Run(Job),
    /// The same, for what may be asked any number of times: [counted](mailbox::Mailbox::ask).
    Ask(Job),
}

type Job = Box<dyn FnOnce(&Core) + Send>;

impl Remote for Mailbox {
    fn post(&self, wake_up: WakeUp) {
        self.post(Message::Wake(wake_up));
    }
}

/// Whether a core takes on work.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd)]
pub(crate) enum Phase {
    #[default]
    Serving,
    /// What is in flight is finished, and nothing new begun.
    Draining,
    Stopped,
}

/// What one core has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
#[non_exhaustive]
pub struct Counts {
    /// Connections open now.
    pub connections: u64,
    /// Connections accepted since the start, those that were then handed over included, whatever became of them there;
    /// those that were turned away here not.
    pub accepted: u64,
    /// Connections turned away since the start because the core had all it may have.
    pub shed: u64,
    /// Connections turned away since the start because their peer had all it may have.
    pub shed_by_peer: u64,
    /// Connections handed over to other cores since the start ([`Server::balance`](crate::Server::balance)).
    pub handed_over: u64,
    /// Connections taken over from other cores since the start.
    pub taken_over: u64,
    /// Requests received since the start.
    pub requests: u64,
    /// Bytes that requests and unsent answers take now, as far as they are counted
    /// ([`Server::memory`](crate::Server::memory)).
    pub memory: u64,
    /// Requests refused since the start, and answers not sent, because there was no room in that memory.
    pub refused_for_memory: u64,
}

/// How long [`Core::ask_all`] waits for a core.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

impl Core {
    /// Which core of the server this is, counted from 0.
    pub fn id(&self) -> usize {
        self.0.id
    }

    /// The number of the processor it is pinned to, as the kernel counts them.
    pub fn cpu(&self) -> usize {
        self.0.cpu
    }

    /// Runs a future on this core, beside whatever else runs here.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.0.tasks.spawn(future);
    }

    /// Waits; to the millisecond.
    pub async fn sleep(&self, duration: Duration) {
        let timer = Timer::new(self);
        timer.set(duration);
        poll_fn(|cx| if timer.poll_passed(cx) { Poll::Ready(()) } else { Poll::Pending }).await;
    }

    /// The time, at most a few milliseconds old: it costs a load and no system call.
    pub fn now(&self) -> Instant {
        self.0.clock.now()
    }

    /// Runs a function that blocks on another thread, while this core goes on.
    ///
    /// The threads are the server's: four for each core, on processors that no core has where there are any. Up to 1,024
    /// functions may wait for one. A function whose caller is gone before it begins is not begun. If the function panics,
    /// the panic goes on where its answer is awaited.
    ///
    /// ```no_run
    /// # async fn read(core: kiang::Core) -> kiang::Result<String> {
    /// let names = core.blocking(|| std::fs::read_to_string("/etc/hosts")).await?;
    /// # Ok(names?)
    /// # }
    /// ```
    ///
    /// # Errors
    /// If so many functions wait already; the error's status is 503.
    pub async fn blocking<T: Send + 'static>(
        &self,
        function: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T> {
        self.0.pool.run(function)?.await
    }

    /// Lets glommio, the executor under this core, have its turn for as long as the returned value lives.
    ///
    /// A core waits in its own ring, and glommio's timers, files, channels and tasks stand still meanwhile. A program that
    /// uses glommio itself on a core holds one of these: then glommio has its turn at least every millisecond while
    /// the core is busy, and the core sleeps in glommio while it is not. That costs some ten system calls for each time the
    /// core falls asleep; `docs/architecture.md` has the figures.
    pub fn beat(&self) -> Beat {
        self.0.beats.set(self.0.beats.get() + 1);
        Beat(self.clone())
    }

    /// What this core has done.
    pub fn counts(&self) -> Counts {
        let budget = &self.0.budget;
        Counts { memory: budget.used() as u64, refused_for_memory: budget.refused(), ..self.0.counts.get() }
    }

    /// Asks every core the same question, this one included, and gathers the answers in the order of the cores.
    ///
    /// The question travels as a message. A core that has not answered within a second, because a handler
    /// holds it, is left out, and so is one for which a thousand questions wait already.
    pub async fn ask_all<T, F>(&self, question: F) -> Vec<T>
    where
        T: Send + 'static,
        F: Fn(&Core) -> T + Send + Clone + 'static,
    {
        let answers: Vec<_> = self
            .0
            .mailboxes
            .iter()
            .map(|mailbox| {
                let (answer, answered) = futures_channel::oneshot::channel();
                let question = question.clone();
                // If no reader is left, the answer is not needed.
                mailbox.ask(Message::Ask(Box::new(move |core| drop(answer.send(question(core))))));
                answered
            })
            .collect();
        let timer = Timer::new(self);
        timer.set(ANSWER_WITHIN);
        let mut heard = Vec::with_capacity(answers.len());
        for answer in answers {
            let mut answer = pin!(answer);
            let answer = poll_fn(|cx| match answer.as_mut().poll(cx) {
                Poll::Ready(answer) => Poll::Ready(answer.ok()),
                Poll::Pending if timer.poll_passed(cx) => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            });
            heard.extend(answer.await);
        }
        heard
    }

    pub(super) fn new(
        id: usize,
        cpu: usize,
        tasks: Rc<Tasks>,
        ring: Ring,
        mail: Receiver<Message>,
        mailboxes: Arc<[Arc<Mailbox>]>,
        pool: Arc<Pool>,
    ) -> Self {
        let budget = ring.budget().clone();
        Self(Rc::new(Inner {
            id,
            cpu,
            tasks,
            ring: RefCell::new(ring),
            wheel: RefCell::new(Wheel::new()),
            clock: Clock::new(),
            mail,
            mailboxes,
            phase: Cell::default(),
            beats: Cell::new(0),
            pool,
            counts: Cell::default(),
            budget,
            adopter: RefCell::default(),
        }))
    }

    /// What counts the memory of this core's requests.
    pub(crate) fn budget(&self) -> &Budget {
        &self.0.budget
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.0.clock
    }

    pub(crate) fn phase(&self) -> Phase {
        self.0.phase.get()
    }

    /// The time at this moment, for what is measured within a turn: a call of the kernel's, where [`now`](Self::now) is
    /// a load.
    pub(crate) fn precise_now(&self) -> Instant {
        self.0.clock.precise_now()
    }

    /// How many tasks wait for their turn behind the one that runs.
    pub(crate) fn waiting(&self) -> usize {
        self.0.tasks.waiting()
    }

    /// Enters a phase and lets every task see it. There is no way back.
    pub(crate) fn enter_phase(&self, phase: Phase) {
        if self.0.phase.get() < phase {
            self.0.phase.set(phase);
            self.0.tasks.wake_all();
            self.ring().wake_foreign(&self.0.tasks);
        }
    }

    pub(crate) fn update_counts(&self, update: impl FnOnce(&mut Counts)) {
        let mut counts = self.0.counts.get();
        update(&mut counts);
        self.0.counts.set(counts);
    }

    /// Sets what serves the connections that other cores hand over to this one.
    pub(crate) fn adopt_with(&self, adopt: impl Fn(Accepted, Place) + 'static) {
        *self.0.adopter.borrow_mut() = Some(Rc::new(adopt));
    }

    /// Hands a connection over to another core, where it has a place.
    pub(crate) fn hand_over(&self, to: usize, accepted: Accepted, place: Place) {
        self.0.mailboxes[to].post(Message::Run(Box::new(move |core| {
            let adopter = core.0.adopter.borrow().clone();
            if let Some(adopt) = adopter {
                adopt(accepted, place);
            }
        })));
    }

    pub(super) fn has_stopped(&self) -> bool {
        self.phase() == Phase::Stopped
    }

    pub(super) fn tasks(&self) -> &Tasks {
        &self.0.tasks
    }

    pub(super) fn ring(&self) -> RefMut<'_, Ring> {
        self.0.ring.borrow_mut()
    }

    pub(super) fn wheel(&self) -> &RefCell<Wheel> {
        &self.0.wheel
    }

    /// Whether glommio must have its turn.
    pub(super) fn shares_its_thread(&self) -> bool {
        self.0.beats.get() > 0
    }

    /// Reads the clock and passes the deadlines that have come.
    pub(super) fn tick(&self) {
        self.0.clock.refresh();
        let now = self.0.clock.millis();
        let mut wheel = self.0.wheel.borrow_mut();
        if wheel.next() <= now {
            wheel.advance(now, &self.0.tasks);
        }
    }

    /// Has the ring wake this core for its next deadline, if there is one.
    pub(super) fn set_alarm(&self) {
        let deadline = self.0.wheel.borrow().next();
        if deadline != NEVER {
            let left = deadline.saturating_sub(self.0.clock.millis()).max(1);
            self.ring().set_alarm(deadline, Duration::from_millis(left));
        }
    }

    /// Runs the messages that other threads have posted.
    pub(super) fn open_mail(&self) {
        const MOST_IN_A_ROW: usize = 1024;
        let own = &self.0.mailboxes[self.0.id];
        own.heard();
        for _ in 0..MOST_IN_A_ROW {
            let Ok(message) = self.0.mail.try_recv() else { return };
            let job = match message {
                Message::Wake(wake_up) => {
                    wake_up.deliver(&self.0.tasks);
                    continue;
                }
                Message::Run(job) => job,
                Message::Ask(job) => {
                    own.answered();
                    job
                }
            };
            if catch_unwind(AssertUnwindSafe(|| job(self))).is_err() {
                log::error!("a message to core {} panicked", self.0.id);
            }
        }
        // There may be more: come back after the sockets had their turn.
        own.post(Message::Run(Box::new(|_| {})));
    }
}

/// Says that a program uses glommio itself on a core; made by [`Core::beat`].
#[must_use = "glommio has its turn only while this lives"]
pub struct Beat(Core);

impl Drop for Beat {
    fn drop(&mut self) {
        let beats = &self.0.0.beats;
        beats.set(beats.get() - 1);
    }
}

/// Wakes the futures that wait for something to change.
#[derive(Default)]
pub(crate) struct Notice(RefCell<Vec<Waker>>);

impl Notice {
    /// Resolves when `condition` holds, which is looked at now and after every [`give`](Self::give).
    pub(crate) async fn wait_until(&self, condition: impl Fn() -> bool) {
        poll_fn(|cx| {
            if condition() {
                return Poll::Ready(());
            }
            let mut waiting = self.0.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    pub(crate) fn give(&self) {
        for waker in self.0.take() {
            waker.wake();
        }
    }
}
