//! Launches the cores: a thread each, pinned, with a glommio executor that hosts the driver.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::blocking::Pool;
use super::core::{Core, Mailbox, Message, Phase};
use super::cores;
use super::driver::drive;
use super::machine::{cannot_start, spawn_pinned, words_of};
use super::ring::Ring;
use super::tasks::Tasks;
use crate::error::{Error, Result};

/// The running cores.
pub(crate) struct Threads {
    handles: Vec<JoinHandle<Result<()>>>,
    mailboxes: Arc<[Arc<Mailbox>]>,
}

/// glommio's own preempt timer, so long that it never fires: a timer that fires between the poll that woke a
/// task and the look at the queue lets glommio 0.9.0 sleep with a runnable task. The driver gives way by itself.
const NEVER_PREEMPT: Duration = Duration::from_secs(3600);
/// Memory glommio registers for files, in bytes, its least; each core's share of `RLIMIT_MEMLOCK`.
const FILE_MEMORY: usize = 64 << 10;
/// Entries of glommio's own three rings.
const FILE_RING: usize = 64;

/// Starts a core on each of `cpus`, and returns when all of them run.
///
/// `begin` is called on every core, and gives it its first work, which waits until all cores are ready. If one
/// cannot start, none does.
pub(crate) fn launch(
    cpus: &[usize],
    begin: impl Fn(&Core) -> Result<()> + Send + Sync + 'static,
) -> Result<Threads> {
    let mailboxes: Arc<[_]> = cpus.iter().map(|_| Mailbox::new()).collect::<io::Result<Vec<_>>>()?.into();
    let pool = Pool::start(cpus, &cores::available()?)
        .map_err(|error| Error::new("cannot start a thread for functions that block").because(error))?;
    let begin = Arc::new(begin);
    let (started, starts) = channel();
    let mut threads = Threads { handles: Vec::new(), mailboxes: Arc::clone(&mailboxes) };
    let mut go = Vec::new();
    for (id, &cpu) in cpus.iter().enumerate() {
        let (go_ahead, all_ready) = channel();
        go.push(go_ahead);
        let (begin, mailboxes, started) = (Arc::clone(&begin), Arc::clone(&mailboxes), started.clone());
        let pool = Arc::clone(&pool);
        let handle = spawn_pinned(
            format!("kiang-{id}"),
            cpu,
            |builder| builder.preempt_timer(NEVER_PREEMPT).io_memory(FILE_MEMORY).ring_depth(FILE_RING),
            move || async move {
                let result = run(id, cpu, mailboxes, pool, &*begin, started, &all_ready).await;
                // Nobody listens any more if another core failed first.
                if let Err(error) = &result {
                    log::error!("core {id} ended: {error}");
                }
                result
            },
        );
        match handle {
            Ok(handle) => threads.handles.push(handle),
            Err(error) => {
                drop(go);
                let _ = threads.join();
                return Err(cannot_start(cpu).because(error));
            }
        }
    }
    drop(started);
    for _ in cpus {
        // A core that fails to start ends, and drops its sender without a word.
        if starts.recv().is_err() {
            drop(go);
            return match threads.join() {
                Err(error) => Err(error),
                Ok(()) => Err(Error::new("a core ended while it started")),
            };
        }
    }
    for go_ahead in go {
        // A core that is gone is noticed when it is joined.
        let _ = go_ahead.send(());
    }
    Ok(threads)
}

async fn run(
    id: usize,
    cpu: usize,
    mailboxes: Arc<[Arc<Mailbox>]>,
    pool: Arc<Pool>,
    begin: &(dyn Fn(&Core) -> Result<()> + Send + Sync),
    started: Sender<()>,
    all_ready: &Receiver<()>,
) -> Result<()> {
    check_placement(cpu)?;
    let mailbox = Arc::clone(&mailboxes[id]);
    let mail = mailbox.take_receiver().ok_or_else(|| Error::new("a mailbox has two owners"))?;
    let ring = Ring::new(mailbox.ear()).map_err(|error| cannot_start(cpu).because(error))?;
    let all = Arc::clone(&mailboxes);
    let core = Core::new(id, cpu, Tasks::new(mailbox), ring, mail, mailboxes, pool);
    begin(&core)?;
    let _ = started.send(());
    drop(started);
    // Blocks the thread, on which nothing runs yet. If another core failed, this one ends too.
    let driven = if all_ready.recv().is_ok() { drive(&core).await } else { Ok(()) };
    if driven.is_err() {
        // A server of which a part is dead, and still gets its share of connections, is worse than none: the others
        // drain, and whoever supervises the process starts it anew.
        core.enter_phase(Phase::Stopped);
        tell_all(&all, |core| core.enter_phase(Phase::Draining));
    }
    // Connections and whatever else still runs end here; the ring then closes what they held.
    core.tasks().clear();
    driven.map_err(|error| Error::new(format!("the network ring of core {id} failed")).because(error))
}

impl Threads {
    /// How to reach the cores from any thread.
    pub(crate) fn mailboxes(&self) -> Arc<[Arc<Mailbox>]> {
        Arc::clone(&self.mailboxes)
    }

    /// Waits until every core has ended; the first error, if any ended with one.
    pub(crate) fn join(self) -> Result<()> {
        let mut result = Ok(());
        for handle in self.handles {
            let ended = match handle.join() {
                Ok(ended) => ended,
                Err(panic) => Err(Error::new("a core panicked").because(words_of(&*panic).to_owned())),
            };
            result = result.and(ended);
        }
        result
    }
}

/// Has every core run this.
pub(crate) fn tell_all(mailboxes: &[Arc<Mailbox>], message: impl Fn(&Core) + Send + Clone + 'static) {
    for mailbox in mailboxes {
        let message = message.clone();
        mailbox.post(Message::Run(Box::new(move |core| message(core))));
    }
}

/// A thread that is not where it should be would share a processor with another core.
fn check_placement(cpu: usize) -> Result<()> {
    let placed = core_affinity::get_core_ids().unwrap_or_default();
    if placed.len() == 1 && placed[0].id == cpu {
        return Ok(());
    }
    Err(Error::new(format!("the kernel did not pin a thread to processor {cpu}")))
}
