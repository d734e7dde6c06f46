//! Puts an executor on a thread of its own, pinned to one processor.
//!
//! glommio can do both, but asks `/sys/devices/system/cpu` for the machine's topology first, and panics where a
//! container has masked it, or where a thread of its blocking pool is refused. Here the affinity is set by the system
//! call alone (`sched_setaffinity(2)`), and threads and descriptors are tried before glommio takes them.

use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, PoolPlacement};
use rustix::thread::{CpuSet, gettid, sched_setaffinity};
use std::fs::File;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use std::{any::Any, io};

use crate::error::{Error, Result};
use crate::threads;

/// Threads of glommio's blocking pool for each executor.
const POOL: usize = 1;

/// Starts a thread with an executor on it, pins it to `cpu`, and runs the future that `work` returns.
///
/// The one thread of glommio's blocking pool, its least, is started before this one is pinned, and so may run on every
/// processor that this process may use. Nothing of ours runs there: `blocking.rs` has a pool of its own.
///
/// # Errors
/// If the thread cannot be started. What goes wrong on the thread is the result of joining it.
pub(super) fn spawn_pinned<F: Future<Output = Result<()>> + 'static>(
    name: String,
    cpu: usize,
    configure: impl FnOnce(LocalExecutorBuilder) -> LocalExecutorBuilder + Send + 'static,
    work: impl FnOnce() -> F + Send + 'static,
) -> io::Result<JoinHandle<Result<()>>> {
    threads::start(&name.clone(), move || {
        let builder = LocalExecutorBuilder::new(Placement::Unbound);
        let builder = configure(builder).blocking_thread_pool_placement(PoolPlacement::Unbound(POOL));
        let executor = make(&name, builder).map_err(|error| cannot_start(cpu).because(error))?;
        pin(cpu).map_err(|error| cannot_start(cpu).because(error))?;
        executor.run(work())
    })
}

pub(super) fn cannot_start(cpu: usize) -> Error {
    Error::new(format!("cannot start a core on processor {cpu} (`kiang doctor` examines this machine)"))
}

/// The message of a panic.
pub(super) fn words_of(panic: &(dyn Any + Send)) -> &str {
    match panic.downcast_ref::<String>() {
        Some(text) => text,
        None => panic.downcast_ref::<&str>().copied().unwrap_or("without a message"),
    }
}

fn make(name: &str, builder: LocalExecutorBuilder) -> io::Result<LocalExecutor> {
    // One core at a time, so that no other core takes the room that was found.
    static ONE_BY_ONE: Mutex<()> = Mutex::new(());
    let _alone = ONE_BY_ONE.lock().unwrap_or_else(PoisonError::into_inner);
    find_descriptors()?;
    find_room(POOL).map_err(|error| threads::refused(&format!("{name}'s blocking pool"), &error))?;
    // Another process of the same user can still take the room meanwhile.
    match catch_unwind(AssertUnwindSafe(|| builder.make())) {
        Ok(made) => made.map_err(|error| io::Error::other(error.to_string())),
        Err(panic) => Err(io::Error::other(words_of(&*panic).to_owned())),
    }
}

fn pin(cpu: usize) -> io::Result<()> {
    let mut set = CpuSet::new();
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// Descriptors of an executor: three rings, their notifiers, and some to spare.
const DESCRIPTORS: usize = 12;

/// Opens so many files at once, and closes them: without a descriptor glommio panics too.
fn find_descriptors() -> io::Result<()> {
    let opened: io::Result<Vec<_>> = (0..DESCRIPTORS).map(|_| File::open("/dev/null")).collect();
    opened.map(drop).map_err(|error| {
        let message = format!(
            "{DESCRIPTORS} more files cannot be opened: {error}; allow more by `ulimit -n` (Docker: --ulimit nofile=, \
            systemd: LimitNOFILE=)"
        );
        io::Error::new(error.kind(), message)
    })
}

/// Starts so many threads at once, and ends them.
fn find_room(count: usize) -> io::Result<()> {
    let gate = Mutex::new(());
    thread::scope(|scope| {
        let closed = gate.lock().unwrap_or_else(PoisonError::into_inner);
        let started: Vec<_> = (0..count)
            .map(|_| {
                thread::Builder::new().spawn_scoped(scope, || {
                    drop(gate.lock());
                    gettid()
                })
            })
            .collect();
        drop(closed);
        let mut all = Ok(());
        for thread in started {
            match thread.map(thread::ScopedJoinHandle::join) {
                // The kernel counts a thread until its directory is gone, a moment after it was joined.
                Ok(Ok(id)) => wait_until_gone(Path::new(&format!("/proc/self/task/{}", id.as_raw_nonzero()))),
                Ok(Err(_)) => {}
                Err(error) => all = Err(error),
            }
        }
        all
    })
}

fn wait_until_gone(directory: &Path) {
    const AT_MOST: Duration = Duration::from_millis(100);
    let since = Instant::now();
    while directory.exists() && since.elapsed() < AT_MOST {
        thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::thread::sched_getaffinity;
    use std::sync::mpsc::channel;

    #[test]
    fn the_thread_is_pinned_and_its_pool_is_not() {
        let before = sched_getaffinity(None).expect("the kernel tells");
        let cpu = (0..CpuSet::MAX_CPU).rev().find(|cpu| before.is_set(*cpu)).expect("one at least");
        let (tell, told) = channel();
        let work = move || async move {
            let pool = glommio::executor().spawn_blocking(|| sched_getaffinity(None)).await;
            let _ = tell.send((sched_getaffinity(None), pool));
            Ok(())
        };
        let thread = spawn_pinned("test".into(), cpu, |builder| builder.io_memory(64 << 10), work);
        thread.expect("it starts").join().expect("no panic").expect("it works");
        let (own, pool) = told.recv().expect("it was sent");
        let mut only = CpuSet::new();
        only.set(cpu);
        assert_eq!((own, pool), (Ok(only), Ok(before)));
    }
}
