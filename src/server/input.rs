//! How a connection waits for requests, and how it ends when none comes.

use std::future::poll_fn;
use std::task::Poll;

use super::connection::{Connection, Cut, Input};
use super::linger::linger;
use super::waits::Wait;
use crate::runtime::Transport;

/// A connection that has just been accepted gets so many times the wait of an idle one while the server drains.
const FRESH_SHARE: u32 = 4;

impl<T: Transport> Connection<T> {
    /// Waits for more to arrive.
    pub(super) async fn input(&mut self) -> Result<Input, Cut> {
        let is_mid_head = self.http.is_mid_head();
        if is_mid_head && self.hold_gathered().is_err() {
            return Ok(Input::NoRoom);
        }
        let wait = self.begin_input(is_mid_head);
        poll_fn(|cx| {
            match self.stream.poll_receive(cx) {
                Poll::Ready(Ok(bytes)) if bytes.is_empty() => return Poll::Ready(Ok(Input::Ended)),
                Poll::Ready(Ok(bytes)) => {
                    self.hold_nothing();
                    self.share.renew(self.waiting());
                    self.http.receive(bytes);
                    return Poll::Ready(Ok(Input::Arrived));
                }
                Poll::Ready(Err(_)) => return Poll::Ready(Err(Cut)),
                Poll::Pending => {}
            }
            let now = self.now();
            if self.leaving.is_some() {
                // Not idle: the peer still takes the answer.
                match self.poll_sent(cx) {
                    Poll::Ready(Ok(())) if wait == Wait::Idle => {
                        self.patience.restart(wait, now, self.worker.deadlines.idle);
                    }
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(cut)) => return Poll::Ready(Err(cut)),
                    Poll::Pending => return Poll::Pending,
                }
            }
            if !is_mid_head && self.worker.is_draining() {
                let idle = self.worker.deadlines.drain_idle;
                let time = if self.answered { idle } else { idle.saturating_mul(FRESH_SHARE) };
                self.patience.begin(Wait::Drain, now, time);
                if self.patience.poll_input_passed(Wait::Drain, now, || self.stream.has_unread(), cx) {
                    return Poll::Ready(Ok(Input::TooLate));
                }
            }
            if self.patience.poll_input_passed(wait, now, || self.stream.has_unread(), cx) {
                Poll::Ready(Ok(Input::TooLate))
            } else {
                Poll::Pending
            }
        })
        .await
    }

    /// Begins the wait for a request, or for the rest of one; neither is lengthened by what is no request, such as an
    /// empty line, and a head's time runs from its first byte.
    fn begin_input(&mut self, is_mid_head: bool) -> Wait {
        let deadlines = &self.worker.deadlines;
        let (wait, time) = match (self.answered, is_mid_head) {
            (false, _) => (Wait::FirstHead, deadlines.head),
            (true, true) => (Wait::Head, deadlines.head),
            (true, false) => (Wait::Idle, deadlines.idle),
        };
        if is_mid_head {
            self.patience.end(Wait::Idle);
            self.patience.end(Wait::Drain);
        }
        let now = self.worker.core.now();
        self.patience.begin(wait, now, time);
        wait
    }

    /// Sends what is left and says goodbye; if the peer may still be sending, listens for as long as it does.
    pub(super) async fn finish(&mut self) {
        if self.taken().await.is_err() {
            return;
        }
        self.current.streams = false;
        if !self.lingers {
            return;
        }
        let (terms, _farewell) = self.worker.farewells.enter(self.worker.deadlines.linger);
        linger(&mut self.stream, &mut self.patience, &self.worker.core, terms).await;
    }
}
