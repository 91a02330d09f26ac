//! Normalizing rows: moments in f64, summed in one fixed order.

use super::isa::wide;
use super::tasks;

/// Partial sums of a row.
const LANES: usize = 8;
/// Elements that one task takes at least.
const TILE: usize = 1 << 14;

/// f32 or f64.
pub trait Real: Copy + Send + Sync + Into<f64> {
    fn of(v: f64) -> Self;
}

impl Real for f32 {
    fn of(v: f64) -> Self {
        v as Self
    }
}

impl Real for f64 {
    fn of(v: f64) -> Self {
        v
    }
}

/// Σ f(v), in lanes first.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled as part of loops for vectors that the caller names")]
fn sum<T: Real>(row: &[T], f: impl Fn(f64) -> f64) -> f64 {
    let mut lanes = [0.0; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane += f((*v).into());
        }
    }
    let rest: f64 = rest.iter().map(|v| f((*v).into())).sum();
    lanes.iter().sum::<f64>() + rest
}

/// What a row is moved and divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Center {
    /// Mean and standard deviation.
    Mean,
    /// Nothing and the root of the mean square.
    Zero,
}

/// Mean and variance of a row (0 and mean square about [`Center::Zero`]).
pub fn moments<T: Real>(row: &[T], center: Center) -> (f64, f64) {
    let n = row.len().max(1) as f64;
    wide(|| {
        let mean = if center == Center::Mean { sum(row, |v| v) / n } else { 0.0 };
        (mean, sum(row, |v| (v - mean) * (v - mean)) / n)
    })
}

/// Normalizes each row of `length` in place: `(x − mean)·factor·scale + shift`, `scale` and `shift` of
/// `length` elements or empty. Gives mean and factor = 1/√(variance + epsilon) of every row.
pub fn normalize<T: Real>(
    rows: &mut [T],
    length: usize,
    center: Center,
    epsilon: f64,
    (scale, shift): (&[f64], &[f64]),
) -> Vec<(f64, f64)> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut found = vec![(0.0, 0.0); rows.len() / length];
    let work = |rows: &mut [T], found: &mut [(f64, f64)]| {
        for (row, found) in rows.chunks_exact_mut(length).zip(found) {
            let (mean, variance) = moments(row, center);
            let factor = 1.0 / (variance + epsilon).sqrt();
            *found = (mean, factor);
            wide(|| apply(row, mean, factor, scale, shift));
        }
    };
    let many = TILE.div_ceil(length);
    tasks(rows.chunks_mut(many * length).zip(found.chunks_mut(many)), &|_, (rows, found)| work(rows, found));
    found
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn apply<T: Real>(row: &mut [T], mean: f64, factor: f64, scale: &[f64], shift: &[f64]) {
    match (scale, shift) {
        ([], _) => row.iter_mut().for_each(|v| *v = T::of(((*v).into() - mean) * factor)),
        (_, []) => row.iter_mut().zip(scale).for_each(|(v, s)| *v = T::of(((*v).into() - mean) * factor * s)),
        _ => {
            for (v, (s, b)) in row.iter_mut().zip(scale.iter().zip(shift)) {
                *v = T::of(((*v).into() - mean) * factor * s + b);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kernels::serial;
    use crate::engine::random::Random;

    #[test]
    fn rows_have_the_moments_asked_for() {
        let mut random = Random::new(2);
        let (length, scale) = (77, 3.0);
        let x: Vec<f32> = (0..length * 500).map(|_| random.normal() * 5.0 + 2.0).collect();
        let (factors, shifts) = (vec![scale; length], vec![-1.0; length]);
        let mut y = x.clone();
        let found = normalize(&mut y, length, Center::Mean, 0.0, (&factors, &shifts));
        for (row, (from, (mean, factor))) in y.chunks(length).zip(x.chunks(length).zip(&found)) {
            let (m, v) = moments(row, Center::Mean);
            assert!((m + 1.0).abs() < 1e-6 && (v - 9.0).abs() < 1e-4);
            let plain = from.iter().map(|v| f64::from(*v)).sum::<f64>() / length as f64;
            assert!((mean - plain).abs() < 1e-12 && *factor > 0.0);
        }
        let mut alone = x.clone();
        serial(|| normalize(&mut alone, length, Center::Mean, 0.0, (&factors, &shifts)));
        assert_eq!(alone, y);
        let mut squares = [3.0_f32, -4.0, 0.0, 0.0];
        let found = normalize(&mut squares, 4, Center::Zero, 0.0, (&[], &[]));
        assert_eq!((squares, found), ([1.2, -1.6, 0.0, 0.0], vec![(0.0, 0.4)]));
    }
}
