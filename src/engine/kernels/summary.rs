//! What weights look like: counts, spreads and rearrangements for those who show them.

/// Counts of the finite values in `bins` equal bins from `low` to `high`; what lies outside is
/// counted in the bin at that end.
#[must_use]
pub fn histogram(values: &[f32], low: f32, high: f32, bins: usize) -> Vec<u32> {
    let mut counts = vec![0_u32; bins];
    let width = (high - low) / bins as f32;
    if bins == 0 || !(width > 0.0 && width.is_finite()) {
        if let (Some(first), false) = (counts.first_mut(), values.is_empty()) {
            *first = values.len() as u32;
        }
        return counts;
    }
    for value in values.iter().filter(|v| v.is_finite()) {
        let bin = ((value - low) / width).max(0.0) as usize;
        counts[bin.min(bins - 1)] += 1;
    }
    counts
}

/// Five numbers that say how values spread.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Spread {
    pub low: f32,
    pub quartile1: f32,
    pub median: f32,
    pub quartile3: f32,
    pub high: f32,
}

impl Spread {
    #[must_use]
    pub fn width(&self) -> f32 {
        self.high - self.low
    }

    #[must_use]
    pub fn absmax(&self) -> f32 {
        self.low.abs().max(self.high.abs())
    }
}

/// The spread of the finite values; quartiles are the nearest values there are. Zeros for none.
#[must_use]
pub fn spread(values: &[f32]) -> Spread {
    let mut sorted: Vec<f32> = values.iter().copied().filter(|v| v.is_finite()).collect();
    sorted.sort_unstable_by(f32::total_cmp);
    let Some(last) = sorted.len().checked_sub(1) else { return Spread::default() };
    let at = |quarter: usize| sorted[(last * quarter + 2) / 4];
    Spread { low: sorted[0], quartile1: at(1), median: at(2), quartile3: at(3), high: sorted[last] }
}

/// The values of a tensor of `shape` with `axis` brought to the front: row r holds all values whose
/// index along `axis` is r, the others in their order.
#[must_use]
pub fn rows_along(values: &[f32], shape: &[usize], axis: usize) -> Vec<f32> {
    let rows = shape.get(axis).copied().unwrap_or(1).max(1);
    let inner: usize = shape.iter().skip(axis + 1).product::<usize>().max(1);
    if axis == 0 || !values.len().is_multiple_of(rows * inner) {
        return values.to_vec();
    }
    let outer = values.len() / (rows * inner);
    let mut result = Vec::with_capacity(values.len());
    for row in 0..rows {
        for block in 0..outer {
            let start = (block * rows + row) * inner;
            result.extend_from_slice(&values[start..start + inner]);
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_every_finite_value_once() {
        let values = [-2.0, -1.0, -0.5, 0.0, 0.49, 0.5, 1.0, 7.0, f32::NAN];
        assert_eq!(histogram(&values, -1.0, 1.0, 4), [2, 1, 2, 3]);
        assert_eq!(histogram(&[3.0, 3.0], 3.0, 3.0, 2), [2, 0]);
        assert!(histogram(&[1.0], 0.0, 1.0, 0).is_empty());
    }

    #[test]
    fn spreads() {
        let s = spread(&[5.0, 1.0, 3.0, 2.0, 4.0, f32::NAN]);
        assert_eq!(s, Spread { low: 1.0, quartile1: 2.0, median: 3.0, quartile3: 4.0, high: 5.0 });
        assert_eq!(spread(&[]), Spread::default());
    }

    #[test]
    fn brings_an_axis_to_the_front() {
        let values: Vec<f32> = (0..12).map(|v| v as f32).collect();
        assert_eq!(rows_along(&values, &[3, 4], 1), [0., 4., 8., 1., 5., 9., 2., 6., 10., 3., 7., 11.]);
        assert_eq!(rows_along(&values, &[2, 3, 2], 1), [0., 1., 6., 7., 2., 3., 8., 9., 4., 5., 10., 11.]);
        assert_eq!(rows_along(&values, &[3, 4], 0), values);
    }
}
