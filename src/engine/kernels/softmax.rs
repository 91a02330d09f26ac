//! Softmax, with the largest element taken off first so that nothing overflows. Sums run over
//! [`LANES`] partial sums, in one order everywhere.

use super::parts;
use super::transcendental::exp;
use super::widest::{Work, widest};

/// Partial maxima and sums of a row.
const LANES: usize = 16;
/// Elements of rows that are treated together: they stay in the nearest cache.
const GROUP: usize = 1 << 10;
/// Elements that one task takes at least.
const TILE: usize = 1 << 14;

/// What is made of each row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `exp(x − max) / Σ`
    Softmax,
    /// `x − max − ln Σ exp(x − max)`
    Log,
}

/// In place, over the middle axis of `[blocks, length, inner]`.
pub fn softmax(kind: Kind, values: &mut [f32], length: usize, inner: usize) {
    let block = length * inner;
    if block == 0 {
        return;
    }
    let work = |part: &mut [f32]| {
        if inner == 1 {
            widest(Rows(kind, part, length));
        } else {
            widest(Columns(kind, part, length, inner));
        }
    };
    parts(values, block * (TILE / block).max(1), &|_, part| work(part));
}

/// Rows of a length.
struct Rows<'a>(Kind, &'a mut [f32], usize);

impl Work for Rows<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]
    fn run(self) {
        let Self(kind, part, length) = self;
        if kind == Kind::Log {
            part.chunks_exact_mut(length).for_each(log_row);
            return;
        }
        // Short rows are too short for vectors: powers are taken of several at once.
        for group in part.chunks_mut(length * (GROUP / length).max(1)) {
            for row in group.chunks_exact_mut(length) {
                let top = join(row, f32::NEG_INFINITY, larger);
                for v in row.iter_mut() {
                    *v -= top;
                }
            }
            for v in group.iter_mut() {
                *v = exp(*v);
            }
            for row in group.chunks_exact_mut(length) {
                let factor = 1.0 / join(row, 0.0, |a, b| a + b);
                for v in row.iter_mut() {
                    *v *= factor;
                }
            }
        }
    }
}

/// Blocks of a length and an inner length.
struct Columns<'a>(Kind, &'a mut [f32], usize, usize);

impl Work for Columns<'_> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]
    fn run(self) {
        let Self(kind, part, length, inner) = self;
        let mut scratch = vec![0.0; 2 * inner];
        for block in part.chunks_exact_mut(length * inner) {
            columns(kind, block, inner, &mut scratch);
        }
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled as part of loops for vectors that the caller names")]
fn larger(a: f32, b: f32) -> f32 {
    if b > a { b } else { a }
}

/// Joins a row in lanes, then the lanes in order, then what is left over.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn join(row: &[f32], start: f32, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let (chunks, rest) = row.as_chunks::<LANES>();
    for chunk in chunks {
        for (lane, v) in lanes.iter_mut().zip(chunk) {
            *lane = f(*lane, *v);
        }
    }
    lanes.iter().chain(rest).fold(start, |a, b| f(a, *b))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn log_row(row: &mut [f32]) {
    let top = join(row, f32::NEG_INFINITY, larger);
    let mut sum = 0.0;
    let mut powers = [0.0; 8 * LANES];
    for part in row.chunks(powers.len()) {
        for (p, v) in powers.iter_mut().zip(part) {
            *p = exp(*v - top);
        }
        sum += join(&powers[..part.len()], 0.0, |a, b| a + b);
    }
    // The logarithm once a row may cost what it likes.
    let shift = f64::from(sum).ln() as f32;
    for v in row.iter_mut() {
        *v = (*v - top) - shift;
    }
}

/// All columns of `[length, inner]` at once. `scratch` holds a maximum and a sum per column.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn columns(kind: Kind, block: &mut [f32], inner: usize, scratch: &mut [f32]) {
    let (tops, sums) = scratch.split_at_mut(inner);
    tops.fill(f32::NEG_INFINITY);
    sums.fill(0.0);
    for line in block.chunks_exact(inner) {
        for (top, v) in tops.iter_mut().zip(line) {
            *top = larger(*top, *v);
        }
    }
    for line in block.chunks_exact_mut(inner) {
        for (v, (top, sum)) in line.iter_mut().zip(tops.iter().zip(sums.iter_mut())) {
            let power = exp(*v - top);
            *sum += power;
            *v = if kind == Kind::Softmax { power } else { *v - top };
        }
    }
    for sum in sums.iter_mut() {
        *sum = if kind == Kind::Softmax { 1.0 / *sum } else { f64::from(*sum).ln() as f32 };
    }
    for line in block.chunks_exact_mut(inner) {
        for (v, sum) in line.iter_mut().zip(sums.iter()) {
            *v = if kind == Kind::Softmax { *v * sum } else { *v - sum };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    #[test]
    fn sums_to_one_for_large_values() {
        let mut row = [1000.0, 1001.0, 1002.0];
        softmax(Kind::Softmax, &mut row, 3, 1);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let mut logs = [1000.0, 1001.0, 1002.0];
        softmax(Kind::Log, &mut logs, 3, 1);
        assert!(row.iter().zip(logs).all(|(p, l)| (p.ln() - l).abs() < 1e-5));
    }

    #[test]
    fn rows_and_columns_agree_with_the_definition() {
        let mut random = Random::new(8);
        for (blocks, length, inner) in [(3, 1000, 1), (70, 257, 1), (5, 7, 33), (2, 300, 40), (4, 1, 3)] {
            let x: Vec<f32> = (0..blocks * length * inner).map(|_| random.normal() * 4.0).collect();
            for kind in [Kind::Softmax, Kind::Log] {
                let mut y = x.clone();
                softmax(kind, &mut y, length, inner);
                for i in 0..x.len() {
                    let column = |k: usize| i / (length * inner) * length * inner + k * inner + i % inner;
                    let sum: f64 = (0..length).map(|k| f64::from(x[column(k)]).exp()).sum();
                    let exact = f64::from(x[i]) - sum.ln();
                    let exact = if kind == Kind::Log { exact } else { exact.exp() };
                    assert!((f64::from(y[i]) - exact).abs() < 1e-6 * exact.abs() + 1e-6, "{kind:?} {length} {inner} {i}");
                }
            }
        }
    }

    #[test]
    fn a_nan_takes_its_row_with_it() {
        let mut rows = [1.0, f32::NAN, 2.0, 1.0, f32::NEG_INFINITY, 1.0];
        softmax(Kind::Softmax, &mut rows, 3, 1);
        assert!(rows[..3].iter().all(|v| v.is_nan()));
        assert_eq!(rows[3..], [0.5, 0.0, 0.5]);
    }
}
