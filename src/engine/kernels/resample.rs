//! Weighted sums of places along one axis.

use super::isa::wide;
use super::parts;
use std::ops::{AddAssign, Mul};

/// What each place of the new axis is made of: places of the old one and their weights.
pub type Taps<T> = Vec<Vec<(usize, T)>>;

/// Elements that one task takes at least.
const TILE: usize = 1 << 14;

/// `[outer, length, inner]` becomes `[outer, taps.len(), inner]`.
///
/// # Panics
/// When a tap lies outside `length`.
pub fn resample<T>(x: &[T], length: usize, inner: usize, taps: &Taps<T>) -> Vec<T>
where
    T: Copy + Default + Send + Sync + Mul<Output = T> + AddAssign,
{
    if length * inner * taps.len() == 0 {
        return Vec::new();
    }
    let outer = x.len() / (length * inner);
    let mut out = vec![T::default(); outer * taps.len() * inner];
    let work = |first: usize, part: &mut [T]| {
        wide(|| {
            for (i, to) in part.chunks_exact_mut(inner).enumerate() {
                let (block, place) = ((first + i) / taps.len(), (first + i) % taps.len());
                let from = &x[block * length * inner..][..length * inner];
                if let [to] = to {
                    taps[place].iter().for_each(|(tap, weight)| *to += from[*tap] * *weight);
                    continue;
                }
                for (tap, weight) in &taps[place] {
                    for (to, v) in to.iter_mut().zip(&from[tap * inner..][..inner]) {
                        *to += *v * *weight;
                    }
                }
            }
        });
    };
    let many = TILE.div_ceil(inner);
    parts(&mut out, many * inner, &|i, part| work(i * many, part));
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_what_the_taps_name() {
        let x: Vec<f32> = (0..12).map(|v| v as f32).collect();
        // Two blocks of three places of two.
        let taps = vec![vec![(0, 0.5), (2, 0.5)], vec![], vec![(1, 2.0)], vec![(2, 1.0)]];
        let expected = [2., 3., 0., 0., 4., 6., 4., 5., 8., 9., 0., 0., 16., 18., 10., 11.];
        assert_eq!(resample(&x, 3, 2, &taps), expected);
    }
}
