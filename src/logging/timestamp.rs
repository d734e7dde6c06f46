//! Times as logs write them: RFC 3339 in UTC, to the millisecond.

use std::fmt;
use std::ops::Deref;
use std::time::SystemTime;

/// A moment as text, such as `2026-11-22T05:52:10.123Z` (RFC 3339 section 5.6).
///
/// ```
/// use kiang::logging::Timestamp;
/// assert_eq!(Timestamp::of(std::time::UNIX_EPOCH).to_string(), "1970-01-01T00:00:00.000Z");
/// ```
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Timestamp([u8; 24]);

impl Timestamp {
    /// This moment, its millisecond rounded down.
    ///
    /// A time before 1970 is shown as 1970. A year beyond 9999 is shown by its last four digits. A clock that is so wrong
    /// was never set.
    pub fn of(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let (seconds, millis) = (since_epoch.as_secs(), u64::from(since_epoch.subsec_millis()));
        let (year, month, day) = date(seconds / 86_400);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        for (at, digits, mut number) in [
            (0, 4, year),
            (5, 2, month),
            (8, 2, day),
            (11, 2, seconds / 3600 % 24),
            (14, 2, seconds / 60 % 60),
            (17, 2, seconds % 60),
            (20, 3, millis),
        ] {
            for place in (at..at + digits).rev() {
                text[place] = b'0' + (number % 10) as u8;
                number /= 10;
            }
        }
        Self(text)
    }
}

/// Year, month and day of a day since 1970, in the Gregorian calendar.
fn date(days: u64) -> (u64, u64, u64) {
    // Years are counted from March. Then the leap day is the last of a year, and months have one simple pattern.
    const ERA: u64 = 146_097; // Days in 400 years.
    let days = days + 719_468; // From 0000-03-01 to 1970-01-01.
    let (era, of_era) = (days / ERA, days % ERA);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / (ERA - 1)) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

impl Deref for Timestamp {
    type Target = str;

    fn deref(&self) -> &str {
        // The text is ASCII.
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn at(seconds: u64, millis: u64) -> String {
        let since_epoch = Duration::from_secs(seconds) + Duration::from_millis(millis);
        Timestamp::of(SystemTime::UNIX_EPOCH + since_epoch).to_string()
    }

    #[test]
    fn moments_are_written_as_the_rest_of_the_world_writes_them() {
        assert_eq!(at(784_111_777, 9), "1994-11-06T08:49:37.009Z");
        assert_eq!(at(951_782_399, 999), "2000-02-28T23:59:59.999Z");
        assert_eq!(at(951_782_400, 0), "2000-02-29T00:00:00.000Z");
        assert_eq!(at(951_868_800, 0), "2000-03-01T00:00:00.000Z");
        assert_eq!(at(4_107_542_400, 0), "2100-03-01T00:00:00.000Z", "a century without a leap day");
    }

    #[test]
    fn every_second_day_agrees_with_another_calendar() {
        for day in (0..80_000).step_by(2) {
            let time = SystemTime::UNIX_EPOCH + Duration::from_secs(day * 86_400);
            let (ours, other) = (Timestamp::of(time), httpdate::fmt_http_date(time));
            // "Sun, 06 Nov 1994 08:49:37 GMT"
            assert_eq!((&ours[..4], &ours[8..10]), (&other[12..16], &other[5..7]), "{other}");
        }
    }

    #[test]
    fn a_clock_that_was_never_set_is_no_panic() {
        assert_eq!(
            &*Timestamp::of(SystemTime::UNIX_EPOCH - Duration::from_secs(1)),
            "1970-01-01T00:00:00.000Z"
        );
        assert_eq!(&at(400_000_000_000, 0)[..4], "4645");
    }
}
