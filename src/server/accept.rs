//! Connections as they come in on one core.

use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::admission::Admittance;
use super::complaint::Complaint;
use super::connection::Connection;
use super::shed::shed;
use super::worker::Worker;
use crate::http::upgrade::Upgraded;
use crate::runtime::{Accepted, Listener, Place, Stream, Timer};

/// How long to wait when the kernel has no descriptor or memory for a connection, if none of ours ends before.
const RETRY: Duration = Duration::from_millis(100);
/// How long to wait once one of ours has ended: the ring closes its descriptor within a few turns.
const CLOSING: Duration = Duration::from_millis(1);
/// How many connections are taken in a row before those that are open have their turn, and for how long.
const BURST: u32 = 256;
const TURN: Duration = Duration::from_millis(1);

/// Serves what the listener accepts, until the server drains; then empties its queue and closes it.
pub(super) async fn accept_until_drain(worker: &Rc<Worker>, listener: Listener) {
    let complaint = Complaint::default();
    let mut in_a_row = 0;
    // How many connections had ended when the kernel last had a descriptor, or was last asked for one in vain.
    let mut endings = worker.places.endings();
    if let Err(error) = listener.listen() {
        log::error!("core {} cannot listen: {error}", worker.core.id());
    }
    while !worker.is_draining() {
        if in_a_row >= BURST {
            // Meanwhile newcomers wait in the kernel's queue, which is bounded, and not in descriptors of ours.
            listener.pause().await;
            wait_or_drain(worker, TURN).await;
            in_a_row = 0;
        }
        match next(worker, &listener, &mut in_a_row).await {
            None => break,
            Some(Ok(accepted)) => {
                endings = worker.places.endings();
                place(worker, accepted);
            }
            Some(Err(error)) => {
                if complaint.is_due(worker.core.now()) {
                    log::warn!(
                        "core {} cannot accept a connection: {error}; open ones are served, and accepting is tried again when one ends, and every {RETRY:?} (said at most once a minute; `kiang doctor` shows the limits)",
                        worker.core.id()
                    );
                }
                descriptor_or_drain(worker, &mut endings).await;
            }
        }
    }
    listener.close(|accepted| take_in(worker, accepted, None)).await;
}

/// The next connection, or `None` when the server drains. `in_a_row` counts those for which it did not wait.
async fn next(worker: &Worker, listener: &Listener, in_a_row: &mut u32) -> Option<io::Result<Accepted>> {
    let mut accept = pin!(listener.accept());
    *in_a_row += 1;
    poll_fn(|cx| match accept.as_mut().poll(cx) {
        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        // Every task is woken when the drain begins.
        Poll::Pending if worker.is_draining() => Poll::Ready(None),
        Poll::Pending => {
            *in_a_row = 0;
            Poll::Pending
        }
    })
    .await
}

async fn wait_or_drain(worker: &Worker, wait: Duration) {
    let timer = Timer::new(&worker.core);
    timer.set(wait);
    poll_fn(|cx| if timer.poll_passed(cx) || worker.is_draining() { Poll::Ready(()) } else { Poll::Pending })
        .await;
}

/// Waits until a descriptor may be free: one of ours has ended, or some time has passed, in which another part of the
/// process, or another process, may have closed some.
async fn descriptor_or_drain(worker: &Worker, endings: &mut u64) {
    let (places, timer) = (&worker.places, Timer::new(&worker.core));
    timer.set(RETRY);
    let before = *endings;
    let mut ended = pin!(places.ended().wait_until(|| places.endings() != before));
    let one_has_ended = poll_fn(|cx| {
        if ended.as_mut().poll(cx).is_ready() {
            return Poll::Ready(true);
        }
        if timer.poll_passed(cx) || worker.is_draining() { Poll::Ready(false) } else { Poll::Pending }
    })
    .await;
    *endings = places.endings();
    if one_has_ended {
        wait_or_drain(worker, CLOSING).await;
    }
}

/// Serves a connection here, or has a core serve it that has noticeably fewer.
fn place(worker: &Rc<Worker>, accepted: Accepted) {
    match worker.places.elsewhere() {
        Some((core, place)) => worker.core.hand_over(core, accepted, place),
        None => take_in(worker, accepted, None),
    }
}

/// Serves a connection that another core has handed over.
pub(super) fn adopt(worker: &Rc<Worker>, accepted: Accepted, place: Place) {
    take_in(worker, accepted, Some(place));
}

/// Serves a connection, or turns it away. `place` is what it has here already, if it was handed over.
fn take_in(worker: &Rc<Worker>, accepted: Accepted, place: Option<Place>) {
    // A peer that is gone already has none; it will be noticed soon enough.
    let peer = accepted.peer().ok();
    match worker.places.admit(peer.map(|peer| peer.ip()), place) {
        Admittance::Admitted(admission) => {
            let stream = Stream::open(&worker.core, accepted);
            let mut connection = Connection::new(worker, admission, stream, peer);
            worker.core.spawn(async move {
                if let Some(upgrade) = connection.serve().await {
                    (upgrade.then)(Upgraded::new(connection)).await;
                }
            });
        }
        Admittance::Shed(place) => {
            worker.core.spawn(shed(Rc::clone(worker), place, Stream::open(&worker.core, accepted)));
        }
        Admittance::Refused => accepted.reset(),
    }
}
