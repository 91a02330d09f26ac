//! Levels in ascending order, spaced as they like, and the search for the one that stands for a number.

use super::rounding::Rule;

/// The number of the level that `x` becomes. Numbers outside take the level at that end.
pub(super) fn nearest<R: Rule>(levels: &[f32], x: f32, rule: R, at: u64) -> usize {
    let upper = levels.partition_point(|level| *level <= x);
    let (Some(low), Some(high)) = (upper.checked_sub(1).and_then(|i| levels.get(i)), levels.get(upper)) else {
        return upper.saturating_sub(1);
    };
    // In f64, so that the middle between two levels is exact.
    let (low, high, x) = (f64::from(*low), f64::from(*high), f64::from(x));
    let way = (x - low) / (high - low);
    if rule.up(way, upper.is_multiple_of(2), high.abs() > low.abs(), at) { upper } else { upper - 1 }
}

#[cfg(test)]
mod tests {
    use super::super::rounding::{Ceiling, Floor, NearestAway, NearestEven};
    use super::*;

    #[test]
    fn finds_the_level() {
        let levels = [-4.0, -1.0, 0.0, 2.0];
        let all = [-9.0, -4.0, -2.5, -0.2, 1.0, 1.1, 5.0];
        assert_eq!(all.map(|x| nearest(&levels, x, NearestEven, 0)), [0, 0, 0, 2, 2, 3, 3]);
        assert_eq!(all.map(|x| nearest(&levels, x, NearestAway, 0)), [0, 0, 0, 2, 3, 3, 3]);
        assert_eq!(all.map(|x| nearest(&levels, x, Floor, 0)), [0, 0, 0, 1, 2, 2, 3]);
        assert_eq!(all.map(|x| nearest(&levels, x, Ceiling, 0)), [0, 0, 1, 2, 3, 3, 3]);
        assert_eq!(nearest(&[], 1.0, NearestEven, 0), 0);
    }
}
