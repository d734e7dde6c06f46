//! Signals: SIGTERM and SIGINT drain, SIGHUP and SIGUSR1 reopen the access log, others are ignored.

use signal_hook::consts::{SIGALRM, SIGHUP, SIGINT, SIGIO, SIGPROF, SIGTERM, SIGUSR1, SIGUSR2, SIGVTALRM};
use signal_hook::iterator::{Handle as SignalsHandle, Signals};
use signal_hook::{flag, low_level};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::JoinHandle;

use super::access_log::OpenLog;
use super::handle::Handle;
use crate::threads;

/// Signals with a meaning here.
const MEANT: [i32; 4] = [SIGTERM, SIGINT, SIGHUP, SIGUSR1];
/// Signals without one. By default each of them would end the process, and every request in flight with it (signal(7)).
/// SIGQUIT keeps its default action, a core dump. Rust ignores SIGPIPE.
const MEANINGLESS: [i32; 5] = [SIGUSR2, SIGALRM, SIGIO, SIGPROF, SIGVTALRM];

/// Listens for signals on a thread of its own, until it is dropped.
pub(super) struct Listening {
    signals: SignalsHandle,
    thread: Option<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
}

impl Listening {
    /// Starts the thread. `access_log` is what SIGHUP and SIGUSR1 reopen.
    pub(super) fn start(server: Handle, access_log: Option<OpenLog>) -> io::Result<Self> {
        // A registered signal never gets its default action back by itself. Once the server is over, this flag gives
        // each of them its default action.
        static IS_OVER: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
            let is_over = Arc::new(AtomicBool::new(false));
            for signal in all() {
                if let Err(error) = flag::register_conditional_default(signal, Arc::clone(&is_over)) {
                    log::warn!("{} will do nothing once the server is over: {error}", name(signal));
                }
            }
            is_over
        });
        let is_over = Arc::clone(&IS_OVER);
        is_over.store(false, Ordering::SeqCst);
        let mut signals = Signals::new(all())?;
        let handle = signals.handle();
        let mut receiver = Receiver { server, access_log, draining: false, ignored: Vec::new() };
        let thread = threads::start("kiang-signals", move || {
            for signal in signals.forever() {
                receiver.receive(signal);
            }
        })?;
        Ok(Self { signals: handle, thread: Some(thread), is_over })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.signals.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
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
