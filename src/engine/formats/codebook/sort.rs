//! Values in order, each once, with how often it comes and the sums of all before it.

use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

/// Distinct values in ascending order. `sums[i]` is the sum of the first i, each taken as often as it
/// comes, less `center`; `squares` and `weights` likewise. In f64: what is taken off keeps the digits that
/// matter when two sums are subtracted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sorted {
    pub(super) values: Vec<f64>,
    pub(super) center: f64,
    pub(super) weights: Vec<f64>,
    pub(super) sums: Vec<f64>,
    pub(super) squares: Vec<f64>,
}

impl Sorted {
    pub(crate) fn new(values: &[f32]) -> Self {
        let mut keys: Vec<u32> = values.iter().map(|v| key(*v)).collect();
        radix(&mut keys);
        let mut points: Vec<(f64, f64)> = Vec::new();
        let mut last = None;
        for key in keys {
            match points.last_mut() {
                Some(point) if last == Some(key) => point.1 += 1.0,
                _ => points.push((f64::from(value(key)), 1.0)),
            }
            last = Some(key);
        }
        Self::of_points(&points)
    }

    /// Of values that do not count alike: pairs of a value and how often it counts, more than 0.
    pub(super) fn weighed(pairs: impl Iterator<Item = (f32, f32)>) -> Self {
        // Pairs that are equal cannot be told apart: their order makes no difference to a sum.
        let mut keys: Vec<u64> = pairs.map(|(v, w)| u64::from(key(v)) << 32 | u64::from(w.to_bits())).collect();
        keys.par_sort_unstable();
        let mut points: Vec<(f64, f64)> = Vec::new();
        let mut last = None;
        for both in keys {
            let (key, weight) = ((both >> 32) as u32, f64::from(f32::from_bits(both as u32)));
            match points.last_mut() {
                Some(point) if last == Some(key) => point.1 += weight,
                _ => points.push((f64::from(value(key)), weight)),
            }
            last = Some(key);
        }
        Self::of_points(&points)
    }

    /// From (value, weight) in ascending order.
    pub(super) fn of_points(points: &[(f64, f64)]) -> Self {
        let total: f64 = points.iter().map(|p| p.1).sum();
        let center = if total > 0.0 { points.iter().map(|(x, w)| x * w).sum::<f64>() / total } else { 0.0 };
        let mut all = Self { center, ..Self::default() };
        all.values.extend(points.iter().map(|p| p.0));
        for of in [&mut all.weights, &mut all.sums, &mut all.squares] {
            of.reserve_exact(points.len() + 1);
            of.push(0.0);
        }
        let (mut weight, mut sum, mut square) = (0.0, 0.0, 0.0);
        for (x, w) in points {
            let x = x - center;
            (weight, sum, square) = (weight + w, sum + x * w, square + x * x * w);
            all.weights.push(weight);
            all.sums.push(sum);
            all.squares.push(square);
        }
        all
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// The mean of the values from number `from` up to `to`, not counting it; `None` where there are none.
    pub(super) fn mean(&self, from: usize, to: usize) -> Option<f64> {
        let weight = self.weights[to] - self.weights[from];
        (weight > 0.0).then(|| self.center + (self.sums[to] - self.sums[from]) / weight)
    }

    /// Neighbors joined to at most `count` points of about equal weight.
    pub(super) fn joined(&self, count: usize) -> Self {
        let total = self.weights.last().copied().unwrap_or(0.0);
        let mut points = Vec::with_capacity(count);
        let mut from = 0;
        for part in 1..=count {
            // Weights may be fractions: the last part is all that is left.
            let share = if part == count { total } else { total * part as f64 / count as f64 };
            let to = self.weights.partition_point(|w| *w <= share) - 1;
            if let Some(mean) = self.mean(from, to) {
                points.push((mean, self.weights[to] - self.weights[from]));
            }
            from = from.max(to);
        }
        Self::of_points(&points)
    }
}

/// A whole number in the order of the floats. −0 becomes 0.
fn key(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 0 { bits | 1 << 31 } else { !bits }
}

fn value(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

const DIGIT: u32 = 11;
const BUCKETS: usize = 1 << DIGIT;
/// Keys that one task sorts.
const SHARE: usize = 1 << 18;

/// Sorts by digits of 11 bits, lowest first; long slices in parts, which are then merged.
fn radix(keys: &mut Vec<u32>) {
    let mut spare = vec![0; keys.len()];
    keys.par_chunks_mut(SHARE).zip(spare.par_chunks_mut(SHARE)).for_each(|(keys, spare)| radix_part(keys, spare));
    let mut run = SHARE;
    while run < keys.len() {
        spare.par_chunks_mut(2 * run).zip(keys.par_chunks(2 * run)).for_each(|(out, keys)| {
            let (a, b) = keys.split_at(run.min(keys.len()));
            merge(a, b, out);
        });
        std::mem::swap(keys, &mut spare);
        run *= 2;
    }
}

fn merge<'a>(mut a: &'a [u32], mut b: &'a [u32], out: &mut [u32]) {
    for o in out {
        let from_a = match (a.first(), b.first()) {
            (Some(x), Some(y)) => x <= y,
            (x, _) => x.is_some(),
        };
        let side = if from_a { &mut a } else { &mut b };
        if let Some((first, rest)) = side.split_first() {
            *o = *first;
            *side = rest;
        }
    }
}

fn radix_part(keys: &mut [u32], spare: &mut [u32]) {
    let mut counts = vec![[0_usize; BUCKETS]; 3];
    let digit = |key: u32, pass: usize| (key >> (DIGIT * pass as u32)) as usize % BUCKETS;
    for key in keys.iter() {
        for (pass, counts) in counts.iter_mut().enumerate() {
            counts[digit(*key, pass)] += 1;
        }
    }
    let (mut from, mut to) = (&mut *keys, &mut *spare);
    for (pass, counts) in counts.iter_mut().enumerate() {
        let mut next = 0;
        for count in counts.iter_mut() {
            next += std::mem::replace(count, next);
        }
        for key in from.iter() {
            let place = &mut counts[digit(*key, pass)];
            to[*place] = *key;
            *place += 1;
        }
        std::mem::swap(&mut from, &mut to);
    }
    // Three passes leave the keys in the spare memory.
    keys.copy_from_slice(spare);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    #[test]
    fn sorts_and_counts() {
        let mut random = Random::new(4);
        let values: Vec<f32> = (0..700_000).map(|_| (random.normal() * 300.0).round() / 64.0).collect();
        let sorted = Sorted::new(&values);
        assert!(sorted.values.windows(2).all(|w| w[0] < w[1]));
        assert_eq!(sorted.weights.last().copied(), Some(700_000.0));
        let mut expected = values;
        expected.sort_unstable_by(f32::total_cmp);
        expected.dedup();
        assert_eq!(sorted.values, expected.iter().map(|v| f64::from(*v)).collect::<Vec<_>>());
        let joined = sorted.joined(50);
        assert!(joined.len() <= 50 && joined.weights.last() == sorted.weights.last());
    }

    #[test]
    fn zeros_of_either_sign_are_one() {
        assert_eq!(Sorted::new(&[0.0, -0.0, -1.0]).values, [-1.0, 0.0]);
        assert_eq!(Sorted::new(&[]).len(), 0);
    }
}
