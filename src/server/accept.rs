//! Connections as they come in on one core.

use std::future::poll_fn;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use super::connection::Connection;
use super::worker::Worker;
use crate::runtime::{Accepted, Listener, Place, Stream, Timer};

/// How long to wait when the kernel has no descriptor or memory for a connection.
const RETRY: Duration = Duration::from_millis(100);
/// How often to say so.
const COMPLAIN: Duration = Duration::from_secs(60);

/// Serves what the listener accepts, until the server drains; then empties its queue and closes it.
pub(super) async fn accept_until_drain(worker: &Rc<Worker>, listener: Listener) {
    let mut complained: Option<Instant> = None;
    while !worker.is_draining() {
        if !worker.has_room() {
            listener.pause().await;
            worker.room().await;
            continue;
        }
        match next(worker, &listener).await {
            None => break,
            Some(Ok(accepted)) => place(worker, accepted),
            Some(Err(error)) => {
                if complained.is_none_or(|at| at.elapsed() > COMPLAIN) {
                    complained = Some(Instant::now());
                    log::warn!(
                        "core {} cannot accept a connection: {error}; open ones are served, and accepting is tried again every {RETRY:?} (said at most once a minute; `kiang doctor` shows the limits)",
                        worker.core.id()
                    );
                }
                wait_or_drain(worker).await;
            }
        }
    }
    listener.close(|stream| serve(worker, stream)).await;
}

/// The next connection, or `None` when the server drains.
async fn next(worker: &Worker, listener: &Listener) -> Option<io::Result<Accepted>> {
    let mut accept = pin!(listener.accept());
    poll_fn(|cx| match accept.as_mut().poll(cx) {
        Poll::Ready(accepted) => Poll::Ready(Some(accepted)),
        // Every task is woken when the drain begins.
        Poll::Pending if worker.is_draining() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

async fn wait_or_drain(worker: &Worker) {
    let timer = Timer::new(&worker.core);
    timer.set(RETRY);
    poll_fn(|cx| if timer.poll_passed(cx) || worker.is_draining() { Poll::Ready(()) } else { Poll::Pending })
        .await;
}

/// Serves a connection here, or has a core serve it that has noticeably fewer.
fn place(worker: &Rc<Worker>, accepted: Accepted) {
    match worker.elsewhere() {
        Some((core, place)) => worker.core.hand_over(core, accepted, place),
        None => serve(worker, accepted.open(&worker.core)),
    }
}

/// Serves a connection that another core has handed over.
pub(super) fn adopt(worker: &Rc<Worker>, accepted: Accepted, place: Place) {
    let connection = Connection::new(worker.take_over(place), accepted.open(&worker.core));
    worker.core.spawn(connection.serve());
}

fn serve(worker: &Rc<Worker>, stream: Stream) {
    let connection = Connection::new(worker.admit(), stream);
    worker.core.spawn(connection.serve());
}
