//! The end of a connection whose peer may still be sending.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::patience::Patience;
use super::waits::Wait;
use crate::runtime::{Core, Transport};

/// Says goodbye, and listens until the peer has done so too, has sent `most` bytes, or the time has passed.
///
/// A close with unread input resets the connection, and a reset destroys the answer on its way: the peer must read
/// the answer before it learns that nobody reads what it sends (RFC 9112 section 9.6).
pub(super) async fn linger(
    stream: &mut impl Transport,
    patience: &mut Patience,
    core: &Core,
    time: Duration,
    most: usize,
) {
    stream.shut_down();
    patience.restart(Wait::Linger, core.now(), time);
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
        if patience.poll_input_passed(Wait::Linger, core.now(), || stream.has_unread(), cx) {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
}
