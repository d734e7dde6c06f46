//! The end of a connection whose peer may still be sending.

use std::cell::Cell;
use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::patience::Patience;
use super::waits::Wait;
use crate::runtime::{Core, Transport};

/// How long a peer that is listened to may be silent.
const SILENCE: Duration = Duration::from_secs(2);
/// How many connections of a core are listened to for as long as their peers keep sending. A flood of refused clients
/// that never end must not take all places: those beyond are listened to briefly.
const MOST_PATIENT: usize = 256;
/// How long and how much such a peer is listened to.
const BRIEFLY: Duration = Duration::from_secs(2);
const LITTLE: usize = 1 << 20;

/// For how long a peer is listened to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Terms {
    /// In all, and without hearing anything.
    pub(super) time: Duration,
    pub(super) silence: Duration,
    /// How many bytes.
    pub(super) most: usize,
}

/// How many connections of a core are listened to with patience.
#[derive(Default)]
pub(super) struct Farewells(Cell<usize>);

/// One of them, until it is dropped.
pub(super) struct Farewell<'a>(Option<&'a Cell<usize>>);

impl Farewells {
    /// On which terms another peer is listened to, for as long as the returned value lives.
    pub(super) fn enter(&self, time: Duration) -> (Terms, Farewell<'_>) {
        let patient = self.0.get();
        if patient >= MOST_PATIENT {
            let terms = Terms { time: time.min(BRIEFLY), silence: SILENCE, most: LITTLE };
            return (terms, Farewell(None));
        }
        self.0.set(patient + 1);
        (Terms { time, silence: SILENCE, most: usize::MAX }, Farewell(Some(&self.0)))
    }
}

impl Drop for Farewell<'_> {
    fn drop(&mut self) {
        if let Some(patient) = self.0 {
            patient.set(patient.get() - 1);
        }
    }
}

/// Says goodbye, and listens until the peer has done so too, or the terms end it. What is heard is dropped at once.
///
/// A close with unread input resets the connection, and a reset destroys the answer on its way: the peer must read
/// the answer before it learns that nobody reads what it sends (RFC 9112 section 9.6).
pub(super) async fn linger(stream: &mut impl Transport, patience: &mut Patience, core: &Core, terms: Terms) {
    patience.restart(Wait::Linger, core.now(), terms.time);
    // The rest of a send that fell short must be taken first: in the kernel neither waits for the other.
    let is_sent = poll_fn(|cx| match stream.poll_sent(cx) {
        Poll::Ready(sent) => Poll::Ready(sent.is_ok()),
        Poll::Pending if patience.poll_passed(Wait::Linger, core.now(), cx) => Poll::Ready(false),
        Poll::Pending => Poll::Pending,
    });
    if !is_sent.await {
        return;
    }
    stream.shut_down();
    patience.restart(Wait::Silence, core.now(), terms.silence);
    let mut heard = 0_usize;
    poll_fn(|cx| {
        let now = core.now();
        while let Poll::Ready(received) = stream.poll_receive(cx) {
            heard = match received {
                Ok(bytes) if !bytes.is_empty() => heard.saturating_add(bytes.len()),
                _ => return Poll::Ready(()),
            };
            if heard > terms.most {
                return Poll::Ready(());
            }
            patience.restart(Wait::Silence, now, terms.silence);
        }
        let has_passed = patience.poll_passed(Wait::Linger, now, cx)
            || patience.poll_input_passed(Wait::Silence, now, || stream.has_unread(), cx);
        if has_passed { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_a_number_peers_are_listened_to_briefly_until_one_has_gone() {
        let (farewells, time) = (Farewells::default(), Duration::from_secs(30));
        let mut patient: Vec<_> = (0..MOST_PATIENT)
            .map(|_| {
                let (terms, farewell) = farewells.enter(time);
                assert_eq!((terms.time, terms.most), (time, usize::MAX));
                farewell
            })
            .collect();
        let (terms, brief) = farewells.enter(time);
        assert_eq!((terms.time, terms.most), (BRIEFLY, LITTLE));
        drop(brief);
        assert_eq!(farewells.enter(time).0.time, BRIEFLY, "a brief one has held no place");
        patient.pop();
        assert_eq!(farewells.enter(time).0.time, time);
    }
}
