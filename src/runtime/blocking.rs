//! Threads for functions that block: one pool for all cores of a server, so that no core waits for a file, a name or a lock.
//!
//! A core hands a job over without waiting, and hears of its end as a wake-up in its mailbox. Threads start when jobs wait
//! for one, each started by another thread of the pool: a core starts none.

use std::future::Future;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{Error, Result};
use crate::threads;
use http::StatusCode;

/// Threads for each core, at most.
const THREADS_PER_CORE: usize = 4;
/// How many jobs may wait for a thread.
const MOST_WAITING: usize = 1024;

/// The pool. Its threads end when it is dropped and the jobs that wait are done.
pub(super) struct Pool {
    jobs: SyncSender<Job>,
}

type Job = Box<dyn FnOnce() + Send>;

/// What the threads of a pool share.
struct Crew {
    jobs: Mutex<Receiver<Job>>,
    /// Threads that run, and those of them that wait for a job.
    threads: AtomicUsize,
    idle: AtomicUsize,
    most: usize,
    /// The processors to run on.
    cpus: Vec<usize>,
}

impl Pool {
    /// A pool for cores on `cores`, where this process may use `available` processors: on those without a core, or if there
    /// are none on any.
    ///
    /// # Errors
    /// If its first thread cannot be started.
    pub(super) fn start(cores: &[usize], available: &[usize]) -> io::Result<Arc<Self>> {
        let spare: Vec<_> = available.iter().copied().filter(|cpu| !cores.contains(cpu)).collect();
        let (sender, jobs) = sync_channel(MOST_WAITING);
        let crew = Arc::new(Crew {
            jobs: Mutex::new(jobs),
            threads: AtomicUsize::new(0),
            idle: AtomicUsize::new(0),
            most: THREADS_PER_CORE * cores.len(),
            cpus: if spare.is_empty() { available.to_vec() } else { spare },
        });
        crew.start_thread()?;
        Ok(Arc::new(Self { jobs: sender }))
    }

    /// Has a thread run this, unless the returned future is dropped before it begins.
    ///
    /// # Errors
    /// If too many jobs wait.
    pub(super) fn run<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(
        &self,
        function: F,
    ) -> Result<impl Future<Output = Result<T>> + use<T, F>> {
        let (answer, answered) = futures_channel::oneshot::channel();
        let job = Box::new(move || {
            if !answer.is_canceled() {
                // If no reader is left, the answer is dropped here.
                drop(answer.send(catch_unwind(AssertUnwindSafe(function))));
            }
        });
        self.jobs.try_send(job).map_err(|_| {
            Error::with_status(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the pool for functions that block is full: {MOST_WAITING} wait for a thread"),
            )
        })?;
        Ok(async {
            match answered.await {
                Ok(Ok(answer)) => Ok(answer),
                Ok(Err(panic)) => resume_unwind(panic),
                Err(_) => Err(Error::new("the pool for functions that block has ended")),
            }
        })
    }
}

impl Crew {
    fn start_thread(self: &Arc<Self>) -> io::Result<()> {
        let crew = Arc::clone(self);
        let number = self.threads.fetch_add(1, Ordering::Relaxed);
        let started = threads::start(&format!("kiang-blocking-{number}"), move || crew.work());
        if started.is_err() {
            self.threads.fetch_sub(1, Ordering::Relaxed);
        }
        started.map(drop)
    }

    fn work(self: Arc<Self>) {
        if let Err(error) = place_on(&self.cpus) {
            log::warn!("a thread for functions that block runs beside the cores: {error}");
        }
        loop {
            self.idle.fetch_add(1, Ordering::Relaxed);
            let job = self.jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
            let others_wait = self.idle.fetch_sub(1, Ordering::Relaxed) > 1;
            let Ok(job) = job else { return };
            if !others_wait && self.threads.load(Ordering::Relaxed) < self.most {
                // The next job finds a thread. If none can be started, it waits for one of those there are.
                let _ = self.start_thread();
            }
            // A function's panic is caught in the job; this is of what the job drops.
            let _ = catch_unwind(AssertUnwindSafe(job));
        }
    }
}

/// Lets the calling thread run on these processors, and no others.
fn place_on(cpus: &[usize]) -> io::Result<()> {
    let mut set = rustix::thread::CpuSet::new();
    for &cpu in cpus.iter().filter(|cpu| **cpu < rustix::thread::CpuSet::MAX_CPU) {
        set.set(cpu);
    }
    Ok(rustix::thread::sched_setaffinity(None, &set)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;
    use std::task::{Context, Poll, Waker};
    use std::thread;
    use std::time::Duration;

    const PATIENCE: Duration = Duration::from_secs(10);

    fn pool() -> Arc<Pool> {
        Pool::start(&[0], &super::super::cores::available().expect("processors")).expect("a thread")
    }

    /// Waits as a core does not: by looking again and again.
    fn wait<T>(future: impl Future<Output = T>) -> T {
        let mut future = std::pin::pin!(future);
        let since = std::time::Instant::now();
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return value;
            }
            assert!(since.elapsed() < PATIENCE, "no answer");
            thread::yield_now();
        }
    }

    /// Occupies every thread of the pool until the returned sender is dropped.
    fn occupied(pool: &Pool) -> std::sync::mpsc::Sender<()> {
        let (hold, held) = channel::<()>();
        let held = Arc::new(Mutex::new(held));
        for _ in 0..THREADS_PER_CORE {
            let (begun, begins) = channel();
            let held = Arc::clone(&held);
            let job = pool.run(move || {
                begun.send(()).expect("the test waits");
                let _ = held.lock().unwrap_or_else(PoisonError::into_inner).recv();
            });
            // Not awaited, and not dropped either: it would not begin.
            std::mem::forget(job.expect("there is room"));
            begins.recv_timeout(PATIENCE).expect("a thread is there for it");
        }
        hold
    }

    #[test]
    fn jobs_run_beside_each_other_on_so_many_threads() {
        let pool = pool();
        drop(occupied(&pool));
        assert_eq!(wait(pool.run(|| 1 + 1).expect("there is room")).expect("an answer"), 2);
    }

    #[test]
    fn a_full_pool_says_so_and_takes_jobs_again_later() {
        let pool = pool();
        let hold = occupied(&pool);
        let waiting: Vec<_> = (0..MOST_WAITING).map(|_| pool.run(|| {}).expect("there is room")).collect();
        let refused = pool.run(|| {}).map(drop).expect_err("no room");
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert!(refused.to_string().contains("full"), "{refused}");
        drop(hold);
        for job in waiting {
            wait(job).expect("it ran");
        }
        assert!(pool.run(|| {}).is_ok());
    }

    #[test]
    fn a_job_whose_caller_is_gone_is_not_begun() {
        let pool = pool();
        let hold = occupied(&pool);
        let (begun, begins) = channel();
        drop(pool.run(move || begun.send(())).expect("there is room"));
        let after = pool.run(|| {}).expect("there is room");
        drop(hold);
        wait(after).expect("it ran");
        assert!(begins.recv_timeout(PATIENCE).is_err(), "its sender was dropped unused");
    }

    #[test]
    fn a_panic_goes_to_the_caller_and_leaves_the_thread() {
        let pool = pool();
        for _ in 0..2 * THREADS_PER_CORE {
            let panics = pool.run(|| -> () { panic!("on purpose, in a test") }).expect("there is room");
            assert!(catch_unwind(AssertUnwindSafe(|| wait(panics))).is_err());
        }
        wait(pool.run(|| {}).expect("there is room")).expect("the threads are still there");
    }
}
