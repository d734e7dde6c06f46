//! How long things took, with a bounded error.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// Nanoseconds; what took longer counts as this long. Longer than any run waits for an answer.
const LONGEST: u64 = 60_000_000_000;
/// Decimal digits: no quantile is wrong by more than a thousandth.
const DIGITS: u8 = 3;

/// Durations in nanoseconds, of which quantiles can be asked.
#[derive(Clone, Debug)]
pub struct Latencies(Histogram<u64>);

impl Default for Latencies {
    fn default() -> Self {
        Self(Histogram::new_with_bounds(1, LONGEST, DIGITS).expect("the bounds are valid"))
    }
}

impl Latencies {
    /// Counts one duration.
    #[inline]
    pub fn record(&mut self, nanoseconds: u64) {
        self.0.saturating_record(nanoseconds);
    }

    /// The duration in microseconds that this share of all does not exceed; zero if there are none.
    #[must_use]
    pub fn quantile(&self, share: f64) -> f64 {
        micros(self.0.value_at_quantile(share))
    }

    /// The quantiles that are reported.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary {
            p50_us: self.quantile(0.5),
            p99_us: self.quantile(0.99),
            p999_us: self.quantile(0.999),
            max_us: micros(self.0.max()),
        }
    }
}

/// Durations in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// Half of all took no longer.
    pub p50_us: f64,
    /// 99 of 100.
    pub p99_us: f64,
    /// 999 of 1,000.
    pub p999_us: f64,
    /// All.
    pub max_us: f64,
}

#[expect(clippy::cast_precision_loss, reason = "a minute at most")]
fn micros(nanoseconds: u64) -> f64 {
    nanoseconds as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_a_sorted_list_within_a_thousandth() {
        // Over six orders of magnitude, from 1 us to 1 s.
        let all =
            (0..10_000_u32).map(|number| 1e3 * 1e6_f64.powf(f64::from(number) / 1e4)).collect::<Vec<_>>();
        let mut latencies = Latencies::default();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "1 s at most")]
        for nanoseconds in &all {
            latencies.record(*nanoseconds as u64);
        }
        for (share, index) in [(0.5, 4_999), (0.99, 9_899), (0.999, 9_989), (1.0, 9_999)] {
            let (exact, told) = (all[index] / 1e3, latencies.quantile(share));
            assert!((told / exact - 1.0).abs() <= 1.1e-3, "{share}: {told} instead of {exact}");
        }
    }

    #[test]
    fn what_is_too_long_counts_as_the_longest() {
        let mut latencies = Latencies::default();
        latencies.record(u64::MAX);
        assert!((latencies.summary().max_us / 60e6 - 1.0).abs() < 1e-3, "{:?}", latencies.summary());
    }

    #[test]
    fn nothing_recorded_is_zero() {
        assert_eq!(Latencies::default().summary(), Summary::default());
    }
}
