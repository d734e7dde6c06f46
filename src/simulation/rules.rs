//! When the server must have ended what, and when it may: the promises of `docs/architecture.md`, seen from outside.

use super::peer::Peer;
use super::plan::{Ending, Reading};
use crate::runtime::Net;
use crate::server::Deadlines;
use std::time::Duration;

/// What all peers know of the server.
pub(super) struct Rules {
    pub(super) deadlines: Deadlines,
    pub(super) most_requests: Option<u64>,
    /// There may be more connections than are served.
    pub(super) may_shed: bool,
    /// When the server was told to drain, and when it must have ended.
    pub(super) drain_began: Option<u64>,
    pub(super) drain_ends: Option<u64>,
}

/// How much earlier than its time a deadline may pass, and how much later: microseconds. The wheel's ticks are
/// milliseconds; a turn takes up to three, and some of them bring nothing.
pub(super) const EARLY: u64 = 4_000;
pub(super) const LATE: u64 = 60_000;
const SECOND: u64 = 1_000_000;
/// How long a request that nothing stands in the way of may take.
const PROMPT: u64 = 1_500_000;

/// How long a body may be waited for, whatever its rate (`Deadlines::min_body_rate`).
const GRACE: Duration = Duration::from_secs(5);

impl Rules {
    /// After how long without a byte a body may be given up.
    fn body_at_least(&self) -> Duration {
        let Deadlines { body, min_body_rate, .. } = self.deadlines;
        if min_body_rate == 0 { body } else { body.min(GRACE) }
    }
}

pub(super) fn micros(time: Duration) -> u64 {
    time.as_micros() as u64
}

impl Peer {
    /// When the server must have ended something, and what.
    pub(super) fn due(&self, net: &Net, rules: &Rules) -> Option<(u64, &'static str)> {
        let connection = net.at(self.link?);
        let accepted = connection.accepted?;
        if connection.ended.is_some() || self.gone || self.concluded {
            return None;
        }
        let Rules { deadlines, drain_began, drain_ends, .. } = rules;
        let drain = drain_ends.map(|end| (end, "the drain"));
        let own = match self.plan.reading {
            Reading::Never => {
                // The last of an answer may be left to the wait for what comes next, whichever that is, and is waited for
                // after it. The peer is looked at now and then.
                let Deadlines { head, body, idle, handler, write, .. } = *deadlines;
                let wait = micros(head.max(body).max(idle).max(handler) + write + write / 4) + SECOND;
                connection.blocked_since.map(|since| (since + wait, "the wait for a peer that does not read"))
            }
            Reading::Slowly(..) => None,
            Reading::Promptly if self.announced => None,
            Reading::Promptly if self.answered < self.sent.len() => {
                let takes = self.ask(self.answered).map_or(0, |ask| ask.takes);
                let from = self.sent[self.answered].max(self.last_answer).max(accepted);
                Some((from + takes + PROMPT, "an exchange"))
            }
            Reading::Promptly if self.written < self.plan.stops_at || self.plan.ending != Ending::Stalls => {
                None
            }
            // A drain gives everybody a moment for one more request.
            Reading::Promptly => {
                let (due, what) = self.stalled_until(accepted, deadlines);
                Some((drain_began.map_or(due, |began| due.max(began + SECOND)), what))
            }
        };
        own.into_iter().chain(drain).min()
    }

    /// When a connection must have ended on which the peer does nothing any more.
    fn stalled_until(&self, accepted: u64, deadlines: &Deadlines) -> (u64, &'static str) {
        let [start, body, _] = self.marks(self.answered);
        let last = self.last_answer.max(accepted);
        let (head, wait) = (micros(deadlines.head), micros(deadlines.body));
        match self.written {
            written if written < start => {
                (last.max(self.last_write) + wait, "the wait for a body that is not wanted")
            }
            written if written == start && self.answered == 0 => {
                (accepted + head, "the wait for a first request")
            }
            written if written == start => {
                (last.max(self.last_write) + micros(deadlines.idle), "an idle connection")
            }
            written if written < body => {
                // From the first byte of the head, which may have come together with others.
                (last.max(self.begun[self.answered]) + head, "the wait for a head")
            }
            _ => {
                let takes = self.ask(self.answered).map_or(0, |ask| ask.takes);
                (last.max(self.last_write) + takes + wait, "the wait for a body")
            }
        }
    }

    /// Whether a request that has not come could have been given up.
    pub(super) fn has_been_slow(&self, number: usize, body: usize, net: &Net, rules: &Rules) -> bool {
        let Some(begun) = self.begun.get(number) else { return false };
        let Deadlines { head, body: piece, min_body_rate, .. } = rules.deadlines;
        let has_passed = |from: u64, wait: Duration| from + micros(wait) <= net.now + EARLY;
        if self.written >= body {
            // A rate is asked for of all the time that the body was waited for.
            return has_passed(self.last_write, piece) || min_body_rate > 0 && has_passed(*begun, GRACE);
        }
        // The first head's time runs from the connection's start.
        let accepted = self.link.and_then(|link| net.at(link).accepted).filter(|_| number == 0);
        has_passed(accepted.unwrap_or(*begun), head)
    }

    /// The connection has ended, and everything was read: holds the end against what it may be.
    pub(super) fn judge(&self, net: &Net, rules: &Rules) -> Result<(), String> {
        let Some(link) = self.link else { return Ok(()) };
        let Some(ended) = net.at(link).ended else { return Ok(()) };
        let Rules { deadlines, drain_began, drain_ends, .. } = rules;
        let at_least = |from: u64, wait: Duration| from + micros(wait) <= ended + EARLY;
        let is_draining = drain_began.is_some_and(|began| began <= ended);
        let is_prompt = self.plan.reading == Reading::Promptly;
        if self.gone || self.shed || drain_ends.is_some_and(|end| end <= ended + EARLY) {
            return Ok(());
        }
        if rules.may_shed && self.answered == 0 && (self.reset && !self.is_within_answer() || !is_prompt) {
            return Ok(());
        }
        let was_not_read = !is_prompt && at_least(self.last_read, deadlines.write);
        if was_not_read {
            return Ok(());
        }
        let [_, body, end] = self.marks(self.answered);
        if self.is_within_answer()
            && self.written < end
            && (self.finished || self.has_been_slow(self.answered, body, net, rules))
        {
            // An answer that is made of the body ends with it.
            return Ok(());
        }
        let sends_on = self.plan.asks.iter().take(self.sent.len()).any(|ask| ask.says_close);
        if self.is_within_answer() && self.reset && sends_on {
            // What it sends behind its last request is not read.
            return Ok(());
        }
        let [_, unsent_body, _] = self.marks(self.sent.len());
        if self.is_within_answer()
            && self.reset
            && !is_prompt
            && (self.finished || self.has_been_slow(self.sent.len(), unsent_body, net, rules))
        {
            // The reset is for the request that does not come whole, and takes answers along that were not read.
            return Ok(());
        }
        if self.is_within_answer() {
            return Err(format!("the connection ends within the answer to request {}", self.answered));
        }
        if self.announced {
            return Ok(());
        }
        if let Some(sent) = self.sent.get(self.answered) {
            return if drain_began.is_some_and(|began| began <= *sent) {
                Ok(())
            } else {
                Err(format!("the connection ends, and request {} is not answered", self.answered))
            };
        }
        if is_draining || self.finished {
            return Ok(());
        }
        let [start, ..] = self.marks(self.answered);
        let last = if is_prompt { self.last_answer.max(self.last_write) } else { self.last_write };
        let may_end = match self.written {
            // One deadline for all of a body that is not wanted. Its time runs while a long answer is still on its way.
            written if written < start => {
                at_least(self.answer_began.min(self.last_write), rules.body_at_least())
            }
            written if written > start => false,
            _ if self.answered == 0 => {
                net.at(link).accepted.is_some_and(|accepted| at_least(accepted, deadlines.head))
            }
            _ => at_least(last, deadlines.idle),
        };
        if may_end { Ok(()) } else { Err("the connection ends for no reason".to_owned()) }
    }
}
