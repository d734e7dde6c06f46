//! How long a peer may take, and a handler.

use crate::http::limits::InvalidSetting;
use std::time::Duration;

/// How long one peer may take over everything, and a handler over its answer. Every wait of a connection has one of
/// these deadlines, kept to the millisecond.
///
/// ```
/// use std::time::Duration;
/// let patient = kiang::Deadlines { idle: Duration::from_secs(300), ..kiang::Deadlines::default() };
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deadlines {
    /// For a request's head, from its first byte (from the connection's start for the first); beyond it, 408.
    /// Default 10 s.
    pub head: Duration,
    /// Between two pieces of a request's body; beyond it, 408. Default 30 s.
    pub body: Duration,
    /// How fast a request's body must come at the least, in bytes per second, beginning 5 s after it is first waited
    /// for; slower, 408. Only the time spent waiting for the peer counts, so a slow handler is not held against it.
    /// 0 asks for nothing. Default 240.
    pub min_body_rate: u64,
    /// Between an answer and the next request; beyond it, the connection is closed. Default 75 s.
    pub idle: Duration,
    /// For a handler, from the call to its response; beyond it, it is dropped and the request answered 503. The time
    /// it waits for the peer's body does not count: that has its own deadlines. Default 60 s.
    pub handler: Duration,
    /// For the peer to take anything of a response that waits to be sent, as its kernel acknowledges it; one that took
    /// nothing is cut with a reset, at most a quarter of this later. Default 30 s.
    pub write: Duration,
    /// For a peer that is still sending when its last answer has left, such as one that is refused: so long it is
    /// listened to, in order that it can read the answer before it learns that nobody reads what it sends (RFC 9112
    /// section 9.6). One that sends nothing for 2 s is let go before. Default 30 s.
    pub linger: Duration,
    /// While the server drains, for one more request on an idle connection, which may be on its way; four times as
    /// long on one that never had a request. Default 250 ms.
    pub drain_idle: Duration,
    /// For a peer to say goodbye that was told that its core has no place: a few round trips. Default 1 s.
    pub shed: Duration,
}

impl Deadlines {
    /// Whether a server can keep to these deadlines. [`Server::run`](crate::Server::run) asks this first.
    ///
    /// # Errors
    /// The first field with a value that is not possible.
    pub fn check(&self) -> Result<(), InvalidSetting> {
        // Without `..`: a new field is looked at here.
        let Self { head, body, min_body_rate: _, idle, handler, write, linger, drain_idle, shed } = *self;
        let all = [
            ("head", head),
            ("body", body),
            ("idle", idle),
            ("handler", handler),
            ("write", write),
            ("linger", linger),
            ("drain_idle", drain_idle),
            ("shed", shed),
        ];
        match all.into_iter().find(|(_, deadline)| deadline.is_zero()) {
            Some((field, _)) => Err(InvalidSetting::new(field, "is zero, so nobody could meet it")),
            None => Ok(()),
        }
    }
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(10),
            body: Duration::from_secs(30),
            min_body_rate: 240,
            idle: Duration::from_secs(75),
            handler: Duration::from_secs(60),
            write: Duration::from_secs(30),
            linger: Duration::from_secs(30),
            drain_idle: Duration::from_millis(250),
            shed: Duration::from_secs(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_that_nobody_could_meet_is_named() {
        assert_eq!(Deadlines::default().check(), Ok(()));
        let deadlines = Deadlines { idle: Duration::ZERO, min_body_rate: 0, ..Deadlines::default() };
        let invalid = deadlines.check().expect_err("it is zero");
        assert_eq!(invalid.to_string(), "`idle` is zero, so nobody could meet it");
    }
}
