//! SIGTERM and SIGINT: the first drains, the second leaves at once.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook::iterator::{Handle as SignalsHandle, Signals};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock};
use std::thread::{self, JoinHandle};

use super::handle::Handle;

/// Listens for signals on a thread of its own, until it is dropped.
pub(super) struct Listening {
    signals: SignalsHandle,
    thread: Option<JoinHandle<()>>,
    is_over: Arc<AtomicBool>,
}

impl Listening {
    pub(super) fn start(server: Handle) -> io::Result<Self> {
        // Registered signals never get their default action back by themselves: once the server is over, they end the
        // process again, like any.
        static IS_OVER: LazyLock<Arc<AtomicBool>> = LazyLock::new(|| {
            let is_over = Arc::new(AtomicBool::new(false));
            for signal in [SIGTERM, SIGINT] {
                if let Err(error) = flag::register_conditional_default(signal, Arc::clone(&is_over)) {
                    log::warn!("signal {signal} will do nothing once the server is over: {error}");
                }
            }
            is_over
        });
        let is_over = Arc::clone(&IS_OVER);
        is_over.store(false, Ordering::SeqCst);
        let mut signals = Signals::new([SIGTERM, SIGINT])?;
        let handle = signals.handle();
        let thread = thread::Builder::new().name("kiang-signals".into()).spawn(move || {
            let mut draining = false;
            for signal in signals.forever() {
                if draining {
                    // At once, also if a handler holds a core: by the shell's convention for signals.
                    std::process::exit(128 + signal);
                }
                draining = true;
                log::info!("draining; a second signal leaves at once");
                server.shutdown();
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
