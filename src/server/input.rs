//! How a connection waits for requests, and how it ends when none comes.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use super::connection::{Connection, Cut, Input};
use super::linger::linger;
use super::waits::Wait;
use crate::runtime::Transport;

/// While the server drains, an idle connection gets this long to send one more request, which is then answered
/// with `Connection: close`: the request may be on its way already.
const DRAIN_IDLE: Duration = Duration::from_millis(250);
/// The same for a connection that has just been accepted.
const DRAIN_FRESH: Duration = Duration::from_secs(1);
/// How long and how much to listen to a peer after the last answer.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 1 << 20;

impl<T: Transport> Connection<T> {
    /// Waits for more to arrive.
    pub(super) async fn input(&mut self) -> Result<Input, Cut> {
        let is_mid_head = self.http.is_mid_head();
        let wait = self.begin_input(is_mid_head);
        poll_fn(|cx| {
            match self.stream.poll_receive(cx) {
                Poll::Ready(Ok(bytes)) if bytes.is_empty() => return Poll::Ready(Ok(Input::Ended)),
                Poll::Ready(Ok(bytes)) => {
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
                let time = if self.answered { DRAIN_IDLE } else { DRAIN_FRESH };
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

    /// Sends what is left and says goodbye; if the peer may still be sending, listens for a moment.
    pub(super) async fn finish(&mut self) {
        if self.flush().await.is_err() || self.sent().await.is_err() || !self.lingers {
            return;
        }
        linger(&mut self.stream, &mut self.patience, &self.worker.core, LINGER, LINGER_BYTES).await;
    }
}
