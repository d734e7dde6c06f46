//! The end of a connection whose peer may still be sending.

use std::future::poll_fn;
use std::task::Poll;

use crate::runtime::{Stream, Timer};

/// Says goodbye, and listens until the peer has done so too, has sent `most` bytes, or the timer's deadline passes.
///
/// A close with unread input resets the connection, and a reset destroys the answer on its way: the peer must read
/// it before it learns that nobody reads what it sends (RFC 9112 section 9.6).
pub(super) async fn linger(stream: &Stream, timer: &Timer, most: usize) {
    // The rest of a send that fell short must be taken first: neither waits for the other in the kernel.
    let is_sent = poll_fn(|cx| match stream.poll_sent(cx) {
        Poll::Ready(sent) => Poll::Ready(sent.is_ok()),
        Poll::Pending if timer.poll_passed(cx) => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    });
    if !is_sent.await {
        return;
    }
    stream.shut_down();
    let mut heard = 0;
    poll_fn(|cx| {
        while let Poll::Ready(received) = stream.poll_receive(cx) {
            heard += match received {
                Ok(bytes) if !bytes.is_empty() => bytes.len(),
                _ => return Poll::Ready(()),
            };
            if heard > most {
                return Poll::Ready(());
            }
        }
        if timer.poll_passed(cx) { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
