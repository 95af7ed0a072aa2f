//! A figure that was taken several times. Nothing is dropped: the least and the greatest stand
//! beside the median.

use serde::Serialize;

/// The figures of one kind, in the order they were taken.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Sample {
    values: Vec<f64>,
}

impl Sample {
    /// Takes one more.
    pub fn add(&mut self, value: f64) {
        self.values.push(value);
    }

    /// How many were taken.
    pub const fn count(&self) -> usize {
        self.values.len()
    }

    /// The least.
    pub fn min(&self) -> f64 {
        self.sorted().first().copied().unwrap_or(f64::NAN)
    }

    /// The greatest.
    pub fn max(&self) -> f64 {
        self.sorted().last().copied().unwrap_or(f64::NAN)
    }

    /// The middle, or the mean of the two middle ones.
    pub fn median(&self) -> f64 {
        let sorted = self.sorted();
        let middle = sorted.len() / 2;
        let at = |index: usize| sorted.get(index).copied().unwrap_or(f64::NAN);
        if sorted.len() % 2 == 1 {
            at(middle)
        } else {
            f64::midpoint(at(middle.saturating_sub(1)), at(middle))
        }
    }

    /// The value that so many of a hundred do not exceed: the nearest rank.
    pub fn percentile(&self, percent: usize) -> f64 {
        let sorted = self.sorted();
        let rank = (sorted.len() * percent).div_ceil(100);
        let index = rank.saturating_sub(1);
        sorted.get(index).copied().unwrap_or(f64::NAN)
    }

    /// Each value over the other sample's value of the same round.
    #[must_use]
    pub fn ratios(&self, to: &Self) -> Self {
        let pairs = self.values.iter().zip(&to.values);
        pairs.map(|(value, other)| value / other).collect()
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.values.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl FromIterator<f64> for Sample {
    fn from_iter<T: IntoIterator<Item = f64>>(values: T) -> Self {
        Self {
            values: values.into_iter().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(values: &[f64]) -> [f64; 3] {
        let sample: Sample = values.iter().copied().collect();
        [sample.min(), sample.median(), sample.max()]
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these values are exact")]
    fn the_median_is_the_middle_or_between_the_two() {
        assert_eq!(figures(&[3.0, 1.0, 2.0]), [1.0, 2.0, 3.0]);
        assert_eq!(figures(&[4.0, 1.0, 2.0, 3.0]), [1.0, 2.5, 4.0]);
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these values are exact")]
    fn a_percentile_is_a_value_that_was_measured() {
        let sample: Sample = (1..=200).map(f64::from).collect();
        assert_eq!(sample.percentile(99), 198.0);
        assert_eq!(sample.percentile(100), 200.0);
        assert_eq!(Sample::from_iter([7.0]).percentile(99), 7.0);
    }

    #[test]
    #[expect(clippy::float_cmp, reason = "these values are exact")]
    fn ratios_are_taken_round_by_round() {
        let ratios = Sample::from_iter([2.0, 9.0]).ratios(&Sample::from_iter([4.0, 3.0]));
        assert_eq!(figures(&ratios.values), [0.5, 1.75, 3.0]);
    }

    #[test]
    fn no_figure_is_not_zero() {
        assert!(figures(&[])[1].is_nan());
    }
}
