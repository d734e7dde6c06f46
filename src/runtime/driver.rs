//! The one task of a core's executor: runs the tasks that can go on and turns the ring, for ever.
//!
//! A turn is one system call: it submits what the tasks have pushed, takes what has completed, and waits in the kernel if
//! no task can go on. No wait has a timeout of its own, since programming a timer for each would cost a tenth of a request:
//! the next deadline is one timeout in the ring, moved only if a deadline comes before it.
//!
//! glommio has no part in this, and gets no turn, unless the program uses it on this core and says so
//! ([`Core::beat`]). Then a beat passes every millisecond: with traffic behind it, glommio's reactor looks at its events;
//! with none, the thread is glommio's, which sleeps until the network ring signals.

use std::io;

use super::core::Core;
use super::ring::Parking;

/// Drives the core until it is told to stop.
pub(super) async fn drive(core: &Core) -> io::Result<()> {
    // The other cores may have taken long to start, and no deadline may begin in the past.
    core.tick();
    let mut sharing = Sharing::default();
    loop {
        core.tasks().run();
        // A task or a message has stopped the core; no wait would end any more.
        if core.has_stopped() {
            return Ok(());
        }
        if core.shares_its_thread() {
            sharing.turn(core).await?;
        } else {
            turn(core)?;
        }
    }
}

/// One turn; waits if no task can go on.
pub(super) fn turn(core: &Core) -> io::Result<()> {
    let waits = !core.tasks().any_ready();
    if waits {
        core.set_alarm();
    }
    core.ring().turn(waits, core.tasks())?;
    core.tick();
    if core.ring().bell_rang() {
        core.open_mail();
    }
    Ok(())
}

/// How a core shares its thread with glommio.
#[derive(Default)]
struct Sharing {
    /// Made when first needed: a ring without an eventfd has less to do for each completion.
    parking: Option<Parking>,
    /// Whether some task ran since the beat before.
    busy: bool,
}

impl Sharing {
    async fn turn(&mut self, core: &Core) -> io::Result<()> {
        let parking = match &mut self.parking {
            Some(parking) => parking,
            none => none.insert(Parking::new(&mut core.ring())?),
        };
        core.ring().arm_beat();
        turn(core)?;
        self.busy |= core.tasks().any_ready();
        if core.ring().beat_passed() {
            if std::mem::take(&mut self.busy) {
                // One pass through glommio's reactor, and straight back.
                parking.signal();
                parking.wait(None).await?;
            } else {
                sleep(core, parking).await?;
                core.tick();
            }
        }
        Ok(())
    }
}

/// Sleeps in glommio until something happens on the ring, a deadline comes, or a task becomes ready.
async fn sleep(core: &Core, parking: &Parking) -> io::Result<()> {
    core.set_alarm();
    Parking::set_signals(&mut core.ring(), true);
    // What completed before the signals were on has sent none: look once more.
    core.ring().turn(false, core.tasks())?;
    if !core.ring().has_news() && !core.tasks().any_ready() {
        parking.wait(Some(core.tasks())).await?;
    }
    Parking::set_signals(&mut core.ring(), false);
    Ok(())
}
