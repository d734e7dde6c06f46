//! Connections as they come in on one core.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use super::admission::Verdict;
use super::complaint::Complaint;
use super::connection::Connection;
use super::shed::shed;
use super::worker::Worker;
use crate::http::upgrade::Upgraded;
use crate::runtime::{Accepted, Listener, Place, Stream, Timer};

/// How long to wait when the kernel has no descriptor or memory for a connection.
const RETRY: Duration = Duration::from_millis(100);
/// How many connections are taken in a row before those that are open have their turn, and for how long.
const BURST: u32 = 256;
const TURN: Duration = Duration::from_millis(1);

/// Serves what the listener accepts, until the server drains; then empties its queue and closes it.
pub(super) async fn accept_until_drain(worker: &Rc<Worker>, listener: Listener) {
    let complaint = Complaint::default();
    let mut in_a_row = 0;
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
            Some(Ok(accepted)) => place(worker, accepted),
            Some(Err(error)) => {
                if complaint.is_due(worker.core.now()) {
                    log::warn!(
                        "core {} cannot accept a connection: {error}; open ones are served, and accepting is tried again every {RETRY:?} (said at most once a minute; `kiang doctor` shows the limits)",
                        worker.core.id()
                    );
                }
                wait_or_drain(worker, RETRY).await;
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

/// Serves a connection here, or has a core serve it that has noticeably fewer.
fn place(worker: &Rc<Worker>, accepted: Accepted) {
    match worker.elsewhere() {
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
    match worker.admit(peer.map(|peer| peer.ip()), place) {
        Verdict::Admitted(admission) => {
            let stream = Stream::open(&worker.core, accepted);
            let mut connection = Connection::new(admission, stream, peer);
            worker.core.spawn(async move {
                if let Some(upgrade) = connection.serve().await {
                    (upgrade.then)(Upgraded::new(connection)).await;
                }
            });
        }
        Verdict::Shed(place) => worker.core.spawn(shed(place, Stream::open(&worker.core, accepted))),
        Verdict::Refused => accepted.reset(),
    }
}
