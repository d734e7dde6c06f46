//! What becomes of a connection for which its core has no place: it is told so, and listened to for a moment.

use std::time::Duration;

use super::admission::Shedding;
use super::linger::linger;
use crate::h1::connection::Connection as Http;
use crate::http::respond::plain_status;
use crate::runtime::{Payload, Stream, Timer};
use http::StatusCode;

/// How long to listen to a peer that was told to go: a few round trips, since its place is wanted by the next one.
const LINGER: Duration = Duration::from_secs(1);
/// How much to listen to: the head of a request and the beginning of a body.
const LINGER_BYTES: usize = 64 << 10;
/// When to come again, in seconds. A connection's place may become free at any time.
const RETRY_AFTER: &str = "1";

/// Answers 503 without waiting for a request, since whoever waits for one can be made to wait (RFC 9110 sections
/// 15.6.4 and 10.2.3).
pub(super) async fn shed(place: Shedding, stream: Stream) {
    let worker = &place.0;
    let timer = Timer::new(&worker.core);
    timer.set(LINGER);
    let mut response = plain_status(StatusCode::SERVICE_UNAVAILABLE).header("Retry-After", RETRY_AFTER);
    let mut out = stream.take_buffer();
    if Http::new().respond(&mut response, false, false, &worker.preamble(), &mut out).is_err() {
        stream.put_buffer(out);
        return;
    }
    stream.start_send(Payload::Buffer(out));
    linger(&stream, &timer, LINGER_BYTES).await;
}
