//! SIGTERM and SIGINT: the first drains, the second leaves at once.

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle as SignalsHandle, Signals};
use std::io;
use std::thread::{self, JoinHandle};

use super::handle::Handle;

/// Listens for signals on a thread of its own, until it is dropped.
pub(super) struct Listening {
    signals: SignalsHandle,
    thread: Option<JoinHandle<()>>,
}

impl Listening {
    pub(super) fn start(server: Handle) -> io::Result<Self> {
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
        Ok(Self { signals: handle, thread: Some(thread) })
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.signals.close();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
