//! What a run came to, and whether it may be believed.

use serde::{Deserialize, Serialize};

use crate::histogram::Summary;

/// The 99th percentile of the generator's own lateness, at most. A burst of ten takes some 60 us to send.
const MOST_LATE_US: f64 = 200.0;
/// The share of the time for which the generator's thread may have waited for its processor.
const MOST_PREEMPTED: f64 = 0.02;

/// What a run came to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Requests that were due. Without a rate: those that were sent.
    pub planned: u64,
    /// Requests that were sent.
    pub sent: u64,
    /// Right answers.
    pub answered: u64,
    /// Requests without one: answered wrongly, cut off, or not answered in time.
    pub errors: u64,
    /// What the first error was.
    pub error: Option<String>,
    /// From the first planned start to the last answer.
    pub seconds: f64,
    /// From the planned start of a request to the end of its answer. Without a rate, from when its batch was sent.
    pub latency: Summary,
    /// How late the generator itself sent a request that was due, and that a connection was free for.
    pub late: Summary,
    /// For how long the generator's thread was ready to run and its processor was not.
    pub preempted_us: f64,
}

impl Outcome {
    /// Why this run must not be compared with another: the load was not what was asked for. None if it was.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        let preempted = self.preempted_us / 1e6 / self.seconds;
        if self.errors > 0 || self.answered != self.planned {
            let error = self.error.as_deref().unwrap_or("no error was seen");
            Some(format!("{} of {} requests were answered: {error}", self.answered, self.planned))
        } else if self.answered == 0 {
            Some("nothing was asked".to_owned())
        } else if self.late.p99_us > MOST_LATE_US {
            Some(format!("the generator was late: one request in 100 by {:.0} us or more", self.late.p99_us))
        } else if preempted > MOST_PREEMPTED {
            Some(format!("the generator waited for its processor, {:.0} % of the time", preempted * 100.0))
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Outcome {
        Outcome {
            planned: 1_000,
            sent: 1_000,
            answered: 1_000,
            errors: 0,
            error: None,
            seconds: 1.0,
            latency: Summary::default(),
            late: Summary { p99_us: 60.0, ..Summary::default() },
            preempted_us: 500.0,
        }
    }

    #[test]
    fn a_run_is_refused_when_the_generator_was_the_limit() {
        assert_eq!(good().refusal(), None);
        let late = Outcome { late: Summary { p99_us: 300.0, ..Summary::default() }, ..good() };
        assert!(late.refusal().unwrap().contains("late"));
        let preempted = Outcome { preempted_us: 30_000.0, ..good() };
        assert!(preempted.refusal().unwrap().contains("3 %"));
    }

    #[test]
    fn a_run_is_refused_when_an_answer_is_missing() {
        let cut = Outcome { answered: 999, errors: 1, error: Some("closed".to_owned()), ..good() };
        assert_eq!(cut.refusal().unwrap(), "999 of 1000 requests were answered: closed");
        assert!(Outcome { answered: 0, planned: 0, sent: 0, ..good() }.refusal().is_some());
    }
}
