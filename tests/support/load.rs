//! Load: closed loops over many connections from few threads, and hogs that take the CPUs away.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use super::{Client, ms};

/// Closed-loop clients in the background, until stopped.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicU64>,
    threads: Vec<JoinHandle<Duration>>,
}

impl Load {
    /// Each of `threads` sends a request on all of its `connections`, then reads all answers, and again.
    pub(crate) fn start(addr: SocketAddr, threads: usize, connections: usize, target: &str) -> Self {
        Self::with_pauses(addr, threads, connections, target, |_| None)
    }

    /// As `start`, with a pause after each round that depends on the round.
    pub(crate) fn with_pauses(
        addr: SocketAddr,
        threads: usize,
        connections: usize,
        target: &str,
        pause: impl Fn(u64) -> Option<Duration> + Send + Clone + 'static,
    ) -> Self {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let request = Arc::new(format!("GET {target} HTTP/1.1\r\nHost: kiang.test\r\n\r\n"));
        let threads = (0..threads).map(|_| {
            let (stop, answered, request, pause) =
                (stop.clone(), answered.clone(), request.clone(), pause.clone());
            thread::spawn(move || {
                let mut clients: Vec<_> = (0..connections).map(|_| Client::connect(addr)).collect();
                // Far beyond any bound that a test asserts: so the failure says how long the stall really was.
                for client in &mut clients {
                    client.patience(ms(20_000));
                }
                let (mut worst, mut round) = (Duration::ZERO, 0);
                while !stop.load(Ordering::Relaxed) {
                    let since = Instant::now();
                    for client in &mut clients {
                        client.send(request.as_bytes());
                    }
                    for client in &mut clients {
                        let response = client.response();
                        assert_eq!(response.status, 200, "{response:?}");
                        worst = worst.max(since.elapsed());
                    }
                    answered.fetch_add(connections as u64, Ordering::Relaxed);
                    if let Some(pause) = pause(round) {
                        thread::sleep(pause);
                    }
                    round += 1;
                }
                worst
            })
        });
        let threads = threads.collect();
        Self { stop, answered, threads }
    }

    /// Answers so far.
    pub(crate) fn answered(&self) -> u64 {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more answers have arrived.
    #[track_caller]
    pub(crate) fn answers(&self, more: u64) {
        let goal = self.answered() + more;
        super::until(ms(30_000), "answers under load", || self.answered() >= goal);
    }

    /// Ends the load; the longest that any answer took.
    #[track_caller]
    pub(crate) fn stop(self) -> Duration {
        self.stop.store(true, Ordering::Relaxed);
        let worst = self.threads.into_iter().map(|thread| thread.join().expect("every request was answered"));
        worst.max().unwrap_or_default()
    }
}

/// A thread on each CPU that this process may use, pinned, spinning, until dropped.
pub(crate) struct Hogs {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Hogs {
    pub(crate) fn on_all_cpus() -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let cpus = core_affinity::get_core_ids().expect("the CPUs are known");
        let threads = cpus.into_iter().map(|cpu| {
            let stop = stop.clone();
            thread::spawn(move || {
                assert!(core_affinity::set_for_current(cpu), "a thread can be pinned to CPU {}", cpu.id);
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }
}

impl Drop for Hogs {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}
