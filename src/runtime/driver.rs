//! The one task of a core's executor: turns the ring, runs the tasks, and sleeps when there is nothing to do.
//!
//! A turn is one system call; it waits in the kernel only if no task can go on. A wait has no timeout, since
//! programming a timer for each would cost a tenth of a request: instead a beat passes every millisecond while
//! there is work. A beat refreshes the clock and advances the timers. With traffic behind it, it also lets
//! glommio's reactor look at its own events, if anything of glommio's is under way; with none, it hands the
//! thread to glommio, which sleeps until the network ring signals.

use std::io;
use std::time::Duration;

use super::core::Core;
use super::ring::Parking;

/// Drives the core until it is told to stop.
pub(super) async fn drive(core: &Core, parking: &Parking) -> io::Result<()> {
    // The other cores may have taken long to start, and no deadline may begin in the past.
    core.tick();
    core.ring().arm_beat();
    let mut busy = true;
    while !core.has_stopped() {
        core.tasks().run();
        let wait = !core.tasks().any_ready();
        core.ring().turn(wait, core.tasks())?;
        if core.ring().bell_rang() {
            core.open_mail();
        }
        if core.ring().beat_passed() {
            core.tick();
            if !std::mem::take(&mut busy) && !core.tasks().any_ready() {
                sleep(core, parking).await?;
                core.tick();
            } else if core.hosts_work() {
                // One pass through glommio's reactor, and straight back.
                parking.signal();
                parking.wait(None).await?;
            }
            core.ring().arm_beat();
        }
        busy |= core.tasks().any_ready();
    }
    Ok(())
}

/// Sleeps until something happens on the ring, a deadline comes, or a task becomes ready.
async fn sleep(core: &Core, parking: &Parking) -> io::Result<()> {
    if let Some(deadline) = core.next_deadline() {
        let left = deadline.saturating_sub(core.clock().millis()).max(1);
        core.ring().set_alarm(deadline, Duration::from_millis(left));
    }
    Parking::set_signals(&mut core.ring(), true);
    // What completed before the signals were on has sent none: look once more.
    core.ring().turn(false, core.tasks())?;
    if !core.ring().has_news() && !core.tasks().any_ready() {
        parking.wait(Some(core.tasks())).await?;
    }
    Parking::set_signals(&mut core.ring(), false);
    Ok(())
}
