//! Signals: SIGTERM and SIGINT drain, SIGHUP and SIGUSR1 reopen the access log, others are ignored.

use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM};
use signal_hook::iterator::{Handle as SignalsHandle, Signals};
use signal_hook::{flag, low_level};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::access_log::OpenLog;
use super::handle::Handle;
use crate::threads;

/// Signals with a meaning here.
const MEANT: [i32; 4] = [SIGTERM, SIGINT, SIGHUP, SIGUSR1];
/// Signals without one. By default each of them would end the process, and every request in flight with it (signal(7)).
/// SIGQUIT keeps its default action, a core dump. Rust ignores SIGPIPE.
const MEANINGLESS: [i32; 5] = [SIGUSR2, SIGALRM, SIGIO, SIGPROF, SIGVTALRM];

/// Listens for signals on a thread of its own, until it is dropped or [for good](Self::until_exit).
pub(super) struct Listening {
    signals: SignalsHandle,
    thread: Option<JoinHandle<()>>,
}

/// How many servers of this process listen for signals.
static LISTENING: Mutex<usize> = Mutex::new(0);
/// Whether none does. A registered signal never gets its default action back by itself: with this flag it has that
/// action.
static IS_OVER: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in all() {
        if let Err(error) = flag::register_conditional_default(signal, Arc::clone(&is_over)) {
            log::warn!("{} will do nothing once the server is over: {error}", name(signal));
        }
    }
    is_over
});

impl Listening {
    /// Starts the thread. `access_log` is what SIGHUP and SIGUSR1 reopen.
    pub(super) fn start(server: Handle, access_log: Option<OpenLog>) -> io::Result<Self> {
        let mut signals = Signals::new(all())?;
        let handle = signals.handle();
        let mut receiver = Receiver { server, access_log, draining: false, ignored: Vec::new() };
        let thread = threads::start("kiang-signals", move || {
            for signal in signals.forever() {
                receiver.receive(signal);
            }
        })?;
        count(|listening| listening + 1);
        Ok(Self { signals: handle, thread: Some(thread) })
    }

    /// Listens as long as the process lives, though the server has ended.
    pub(super) fn until_exit(self) {
        // The thread goes on, and default actions do not come back.
        std::mem::forget(self);
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        count(|listening| listening - 1);
        self.signals.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Counts a server in or out.
fn count(change: impl FnOnce(usize) -> usize) {
    let mut listening = LISTENING.lock().unwrap_or_else(PoisonError::into_inner);
    *listening = change(*listening);
    IS_OVER.store(*listening == 0, Ordering::SeqCst);
}

/// What acts on signals.
struct Receiver {
    server: Handle,
    access_log: Option<OpenLog>,
    draining: bool,
    /// Signals whose line is in the log already.
    ignored: Vec<i32>,
}

impl Receiver {
    fn receive(&mut self, signal: i32) {
        match signal {
            // At once, also if a handler holds a core: by the shell's convention for signals.
            SIGTERM | SIGINT if self.draining => std::process::exit(128 + signal),
            SIGTERM | SIGINT => {
                self.draining = true;
                log::info!("draining; a second signal leaves at once");
                self.server.shutdown();
            }
            // SIGHUP alone will reload certificates too, when there are any: SIGUSR1 is for logs, as with nginx.
            SIGHUP | SIGUSR1 => self.reopen(name(signal)),
            _ => self.ignore(signal),
        }
    }

    fn reopen(&self, signal: &str) {
        match &self.access_log {
            Some(log) => log.reopen(signal),
            None => log::info!("{signal}: there is no access log to reopen"),
        }
    }

    /// Says so once for each signal: a timer may send thousands.
    fn ignore(&mut self, signal: i32) {
        if !self.ignored.contains(&signal) {
            self.ignored.push(signal);
            log::warn!("{} means nothing here and is ignored (said once)", name(signal));
        }
    }
}

fn all() -> impl Iterator<Item = i32> {
    MEANT.into_iter().chain(MEANINGLESS)
}

fn name(signal: i32) -> &'static str {
    low_level::signal_name(signal).unwrap_or("a signal")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_actions_come_back_when_the_last_server_is_over() {
        let start = || Listening::start(Handle::default(), None).expect("signals can be received");
        let (one, other) = (start(), start());
        assert!(!IS_OVER.load(Ordering::SeqCst));
        drop(one);
        assert!(!IS_OVER.load(Ordering::SeqCst), "a signal for the other server would end the process");
        drop(other);
        assert!(IS_OVER.load(Ordering::SeqCst));
    }
}
