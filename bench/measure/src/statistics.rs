//! The middle of several values, and how far they spread.

/// Median and quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Spread {
    pub(crate) low: f64,
    pub(crate) median: f64,
    pub(crate) high: f64,
}

impl Spread {
    /// None of no values. Between two values a quartile lies in proportion (Hyndman and Fan, 1996: definition 7).
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values = values.into_iter().collect::<Vec<_>>();
        values.sort_by(f64::total_cmp);
        let last = values.len().checked_sub(1)?;
        let quarter = |number: usize| {
            // In quarters of a place.
            let (place, rest) = (last * number / 4, last * number % 4);
            #[expect(clippy::cast_precision_loss, reason = "0 to 3")]
            let share = rest as f64 / 4.0;
            values[place] + (values[(place + 1).min(last)] - values[place]) * share
        };
        Some(Self { low: quarter(1), median: quarter(2), high: quarter(3) })
    }

    pub(crate) fn show(&self, decimals: usize) -> String {
        let Self { low, median, high } = self;
        format!("{median:.decimals$} ({low:.decimals$}-{high:.decimals$})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quartiles_lie_between_the_values() {
        let spread = |values: &[f64]| Spread::of(values.iter().copied()).unwrap();
        assert_eq!(spread(&[3.0]), Spread { low: 3.0, median: 3.0, high: 3.0 });
        assert_eq!(spread(&[2.0, 1.0]), Spread { low: 1.25, median: 1.5, high: 1.75 });
        assert_eq!(spread(&[5.0, 1.0, 4.0, 2.0, 3.0]), Spread { low: 2.0, median: 3.0, high: 4.0 });
        assert_eq!(spread(&[1.0, 2.0, 3.0, 4.0]), Spread { low: 1.75, median: 2.5, high: 3.25 });
        assert_eq!(Spread::of([]), None);
        assert_eq!(spread(&[1.0, 2.0]).show(2), "1.50 (1.25-1.75)");
    }
}
