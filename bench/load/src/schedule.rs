//! When requests are due.

use std::str::FromStr;

const SECOND: u64 = 1_000_000_000;
/// How many requests a burst has, where no other number is given.
const BURST: u32 = 10;

/// How requests are spread over a second. All have the same mean rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spacing {
    /// The same time between any two.
    Even,
    /// Independent of each other, as requests of many clients are: gaps have an exponential distribution.
    Poisson,
    /// This many at once, evenly spaced: what a generator with a coarse timer sends.
    Bursts(u32),
}

impl FromStr for Spacing {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        match name {
            "even" => Ok(Self::Even),
            "poisson" => Ok(Self::Poisson),
            "bursts" => Ok(Self::Bursts(BURST)),
            _ => Err(format!("there is no spacing {name:?}; there are even, poisson, bursts")),
        }
    }
}

/// The planned starts of requests, in nanoseconds from the beginning, in order.
#[derive(Clone, Debug)]
pub struct Schedule {
    spacing: Spacing,
    rate: u32,
    end: u64,
    number: u64,
    /// Poisson: the last start. A fraction of a nanosecond matters when millions of gaps are added up.
    last: f64,
    random: Random,
}

impl Schedule {
    /// `rate` requests a second for `nanoseconds`. The same seed gives the same schedule.
    ///
    /// # Panics
    /// When the rate or the size of a burst is zero.
    #[must_use]
    pub fn new(spacing: Spacing, rate: u32, nanoseconds: u64, seed: u64) -> Self {
        assert!(rate > 0 && spacing != Spacing::Bursts(0), "nothing would ever be due");
        Self { spacing, rate, end: nanoseconds, number: 0, last: 0.0, random: Random(seed) }
    }

    /// The start of request `number`, computed from the number, so that rounding errors do not add up.
    fn evenly(&self, number: u64) -> u64 {
        let nanoseconds = u128::from(number) * u128::from(SECOND) / u128::from(self.rate);
        u64::try_from(nanoseconds).unwrap_or(u64::MAX)
    }
}

impl Iterator for Schedule {
    type Item = u64;

    fn next(&mut self) -> Option<u64> {
        let start = match self.spacing {
            Spacing::Even => self.evenly(self.number),
            Spacing::Bursts(size) => self.evenly(self.number - self.number % u64::from(size)),
            Spacing::Poisson => {
                // The inverse of the exponential distribution's function. The argument is never zero.
                #[expect(clippy::cast_precision_loss, reason = "a billion is exact")]
                let gap = -(1.0 - self.random.fraction()).ln() * SECOND as f64 / f64::from(self.rate);
                self.last += gap;
                #[expect(
                    clippy::cast_possible_truncation,
                    clippy::cast_sign_loss,
                    reason = "positive; days at most"
                )]
                let start = self.last as u64;
                start
            }
        };
        self.number += 1;
        (start < self.end).then_some(start)
    }
}

/// `SplitMix64` (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014): any seed will do.
#[derive(Clone, Debug)]
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// At least 0, below 1.
    fn fraction(&mut self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits are exact")]
        let fraction = (self.next() >> 11) as f64 / (1_u64 << 53) as f64;
        fraction
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn starts(spacing: Spacing, rate: u32, seconds: u64) -> Vec<u64> {
        Schedule::new(spacing, rate, seconds * SECOND, 1).collect()
    }

    #[test]
    fn even_starts_do_not_drift() {
        let starts = starts(Spacing::Even, 30_000, 100);
        assert_eq!(starts.len(), 3_000_000);
        assert_eq!(starts[..4], [0, 33_333, 66_666, 100_000]);
        assert_eq!(starts[2_970_000], 99 * SECOND);
    }

    #[test]
    fn bursts_have_the_same_rate_and_start_at_once() {
        let starts = starts(Spacing::Bursts(10), 1_000, 2);
        assert_eq!(starts.len(), 2_000);
        assert!(starts.chunks(10).all(|burst| burst.iter().all(|start| *start == burst[0])));
        assert_eq!((starts[0], starts[10], starts[20]), (0, 10_000_000, 20_000_000));
    }

    #[test]
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    fn poisson_has_the_mean_and_the_variance_of_its_name() {
        let starts = starts(Spacing::Poisson, 10_000, 20);
        // 200,000 requests are due; the standard deviation of their number is its root, 447.
        assert!((starts.len() as f64 - 200_000.0).abs() < 5.0 * 447.0, "{}", starts.len());
        let gaps = starts.windows(2).map(|pair| (pair[1] - pair[0]) as f64).collect::<Vec<_>>();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((mean - 100_000.0).abs() < 1_200.0, "{mean}");
        let variance = gaps.iter().map(|gap| (gap - mean).powi(2)).sum::<f64>() / gaps.len() as f64;
        assert!((variance.sqrt() / mean - 1.0).abs() < 0.02, "as large as the mean: {}", variance.sqrt());
        // What even spacing with noise would not have: one gap in e is longer than the mean.
        let longer = gaps.iter().filter(|gap| **gap > mean).count() as f64 / gaps.len() as f64;
        assert!((longer - (-1.0_f64).exp()).abs() < 0.01, "{longer}");
    }

    #[test]
    fn a_seed_repeats_its_schedule_and_another_does_not() {
        let schedule = |seed| Schedule::new(Spacing::Poisson, 1_000, SECOND, seed).collect::<Vec<_>>();
        assert_eq!(schedule(7), schedule(7));
        assert_ne!(schedule(7), schedule(8));
    }
}
