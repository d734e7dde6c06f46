//! What becomes of a connection for which its core has no place: it is told so, and listened to for a moment.

use std::rc::Rc;

use super::admission::Shedding;
use super::linger::{Terms, linger};
use super::patience::Patience;
use super::worker::Worker;
use crate::h1::connection::{Connection as Http, ServerSide};
use crate::http::respond::{RETRY_AFTER, plain_status};
use crate::runtime::{Payload, Transport};
use http::StatusCode;

/// How much to listen to: the head of a request and the beginning of a body.
const LINGER_BYTES: usize = 64 << 10;

/// Answers 503 without waiting for a request, since a server that waits for one can be made to wait (RFC 9110 sections
/// 15.6.4 and 10.2.3).
pub(super) async fn shed(worker: Rc<Worker>, _place: Shedding, mut stream: impl Transport) {
    let mut patience = Patience::new(&worker.core);
    let mut response = plain_status(StatusCode::SERVICE_UNAVAILABLE).header(RETRY_AFTER.0, RETRY_AFTER.1);
    let mut out = stream.take_buffer();
    let last = ServerSide { keep_alive: false, reads_on: false };
    if Http::new().respond(&mut response, last, &worker.preamble(), &mut out).is_err() {
        stream.put_buffer(out);
        return;
    }
    stream.start_send(Payload::Buffer(out));
    // Its place is wanted by the next one.
    let time = worker.deadlines.shed;
    let terms = Terms { time, silence: time, most: LINGER_BYTES };
    linger(&mut stream, &mut patience, &worker.core, terms).await;
}
