//! What is worth saying, and not worth saying each time.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How often to say it.
const EVERY: Duration = Duration::from_secs(60);

/// Something that is said at most once a minute, however often it happens: peers must not be able to fill a log.
#[derive(Debug, Default)]
pub(super) struct Complaint(Cell<Option<Instant>>);

impl Complaint {
    /// Whether it is time to say it; then it counts as said.
    pub(super) fn is_due(&self, now: Instant) -> bool {
        let due = self.0.get().is_none_or(|said| now.saturating_duration_since(said) > EVERY);
        if due {
            self.0.set(Some(now));
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_said_at_once_and_then_at_most_once_a_minute() {
        let (complaint, start) = (Complaint::default(), Instant::now());
        assert!(complaint.is_due(start));
        assert!(!complaint.is_due(start + EVERY));
        assert!(complaint.is_due(start + EVERY + Duration::from_millis(1)));
        assert!(!complaint.is_due(start + EVERY + Duration::from_secs(1)));
    }
}
