//! How other threads end a server.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::notify::Notifier;
use crate::runtime::{Mailbox, Phase, tell_all};

/// Ends a running server from any thread.
#[derive(Clone, Default)]
pub struct Handle(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The cores, once they run.
    mailboxes: Option<Arc<[Arc<Mailbox>]>>,
    wanted: Phase,
    /// Told when the server begins to end.
    notifier: Option<Notifier>,
}

impl Handle {
    /// Drains: what waits in the accept queues is accepted and answered, what is in flight is finished, idle
    /// connections are closed; then [`Server::run`](crate::Server::run) returns. A server that has not begun
    /// drains as soon as it does.
    pub fn shutdown(&self) {
        self.tell_end();
        self.enter(Phase::Draining);
    }

    /// Stops at once, and cuts every connection.
    pub fn shutdown_now(&self) {
        self.tell_end();
        self.enter(Phase::Stopped);
    }

    /// Drains because a successor serves: what the service manager knows as the service goes on.
    pub(super) fn give_way(&self) {
        self.state().notifier = None;
        self.enter(Phase::Draining);
    }

    /// Sets the notifier that is told when the server begins to end.
    pub(super) fn tell(&self, notifier: Notifier) {
        self.state().notifier = Some(notifier);
    }

    /// Whether nobody has ended the server yet.
    pub(super) fn is_untouched(&self) -> bool {
        self.state().wanted == Phase::Serving
    }

    fn tell_end(&self) {
        let notifier = self.state().notifier.take();
        if let Some(notifier) = notifier {
            notifier.stopping();
        }
    }

    /// Takes the cores that now run.
    pub(super) fn attach(&self, mailboxes: Arc<[Arc<Mailbox>]>) {
        let wanted = {
            let mut state = self.state();
            state.mailboxes = Some(mailboxes);
            state.wanted
        };
        self.enter(wanted);
    }

    fn enter(&self, phase: Phase) {
        let mut state = self.state();
        if state.wanted < phase {
            state.wanted = phase;
        }
        if let Some(mailboxes) = state.mailboxes.as_deref().filter(|_| phase > Phase::Serving) {
            tell_all(mailboxes, move |core| core.enter_phase(phase));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
