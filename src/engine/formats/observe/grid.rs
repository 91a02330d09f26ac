//! The range, out of shrunk ones, whose grid makes the least error Σ|x − x̂|^p.

use super::histogram::Bins;
use super::{LANES, Range};
use crate::engine::formats::integer::Integer;
use crate::engine::kernels::affine::AffineParameters;
use crate::engine::kernels::widest::{Work, widest};

/// Ranges that are tried: all, and less by a hundredth each time.
const STEPS: usize = 80;

fn shrunk(all: Range, step: usize) -> Range {
    let share = 1.0 - step as f64 / 100.0;
    Range { low: (share * f64::from(all.low)) as f32, high: (share * f64::from(all.high)) as f32 }
}

/// The first range with the least error, of those whose scale can be stored.
fn best(all: Range, target: &Integer, mut error: impl FnMut(&AffineParameters) -> f64) -> Range {
    let mut best = (f64::INFINITY, all);
    for step in 0..STEPS {
        let range = shrunk(all, step);
        let Some(grid) = target.grid(range) else { continue };
        let error = error(&grid);
        if error < best.0 {
            best = (error, range);
        }
    }
    best.1
}

/// The best range for these weights, every one of which counts: as much as any other, or as its importance.
pub(super) fn of_weights(weights: &[f32], importance: Option<&[f32]>, all: Range, target: &Integer, exponent: f32) -> Range {
    if all.absmax() < f32::MIN_POSITIVE {
        return all;
    }
    best(all, target, |grid| error(weights, importance, grid, all.absmax(), exponent))
}

/// The best range for the values of a histogram, taken to lie in the middle of their bins; where the grid is
/// finer than the bins, its error is that of values spread evenly between two levels.
pub(super) fn of_histogram(bins: &Bins, all: Range, target: &Integer, exponent: f32) -> Range {
    let exponent = f64::from(exponent);
    best(all, target, |grid| {
        let scale = f64::from(grid.scale);
        let (zero, low, high) = (f64::from(grid.zero_point), f64::from(grid.low), f64::from(grid.high));
        let spread = (scale / 2.0).powf(exponent) / (exponent + 1.0);
        let filled = bins.counts.iter().enumerate().filter(|(_, count)| **count > 0);
        let errors = filled.map(|(bin, count)| {
            let x = (bins.edge(bin) + bins.width / 2.0).clamp(f64::from(all.low), f64::from(all.high));
            let steps = x / scale + zero;
            let inside = steps >= low && steps <= high;
            let error = if inside && scale < 2.0 * bins.width {
                spread
            } else {
                ((steps.round_ties_even().clamp(low, high) - zero) * scale - x).abs().powf(exponent)
            };
            *count as f64 * error
        });
        errors.sum()
    })
}

/// Σ importance·(|x − x̂|/unit)^exponent; without importance every weight counts once.
pub(super) fn error(weights: &[f32], importance: Option<&[f32]>, grid: &AffineParameters, unit: f32, exponent: f32) -> f64 {
    let mut sum = 0.0;
    let power = move |e| power(e, exponent);
    match (exponent == 2.0, importance) {
        (true, None) => widest(Errors { weights, counts: Once, grid: *grid, unit, power: |e| e * e, sum: &mut sum }),
        (true, Some(i)) => widest(Errors { weights, counts: Each(i), grid: *grid, unit, power: |e| e * e, sum: &mut sum }),
        (false, None) => widest(Errors { weights, counts: Once, grid: *grid, unit, power, sum: &mut sum }),
        (false, Some(i)) => widest(Errors { weights, counts: Each(i), grid: *grid, unit, power, sum: &mut sum }),
    }
    sum
}

/// How often the error of a weight counts.
trait Counts: Copy {
    fn times(self, error: f32, place: usize) -> f32;
}

#[derive(Clone, Copy)]
struct Once;

impl Counts for Once {
    #[inline(always)]
    fn times(self, error: f32, _place: usize) -> f32 {
        error
    }
}

/// A number for every weight.
#[derive(Clone, Copy)]
struct Each<'a>(&'a [f32]);

impl Counts for Each<'_> {
    #[inline(always)]
    fn times(self, error: f32, place: usize) -> f32 {
        error * self.0[place]
    }
}

struct Errors<'a, C, F> {
    weights: &'a [f32],
    counts: C,
    grid: AffineParameters,
    /// What errors are divided by, so that no power of them overflows.
    unit: f32,
    power: F,
    sum: &'a mut f64,
}

/// Values whose errors are summed in f32 before they join the sum in f64.
const RUN: usize = 4096;

impl<C: Counts, F: Fn(f32) -> f32> Work for Errors<'_, C, F> {
    #[inline(always)]
    fn run(self) {
        // Whole numbers this small are rounded by adding it and taking it off, half to even.
        const MAGIC: f32 = 12_582_912.0;
        let Self { weights, counts, grid, unit, power, sum } = self;
        let unit = 1.0 / unit;
        let (low, high) = ((grid.low - grid.zero_point) as f32, (grid.high - grid.zero_point) as f32);
        let one = |x: f32| {
            let q = (x / grid.scale).clamp(low, high);
            power((((q + MAGIC) - MAGIC) * grid.scale - x) * unit)
        };
        for (at, run) in (0..).step_by(RUN).zip(weights.chunks(RUN)) {
            let mut lanes = [0.0_f32; LANES];
            let (whole, rest) = run.as_chunks::<LANES>();
            for (at, x) in (at..).step_by(LANES).zip(whole) {
                for i in 0..LANES {
                    lanes[i] += counts.times(one(x[i]), at + i);
                }
            }
            for ((lane, x), at) in lanes.iter_mut().zip(rest).zip(at + run.len() - rest.len()..) {
                *lane += counts.times(one(*x), at);
            }
            *sum += lanes.iter().map(|l| f64::from(*l)).sum::<f64>();
        }
    }
}

/// |x|^p for p > 0, without branches: 2^(p·log2|x|), good to a few units in the sixth digit. Powers too
/// small for a normal f32 are 0.
#[inline(always)]
fn power(x: f32, p: f32) -> f32 {
    const SQRT_HALF: u32 = 0x3F35_04F3;
    let bits = x.abs().to_bits();
    // |x| = 2^e·m with m around 1; log2 m by the series of the inverse hyperbolic tangent.
    let e = (bits.wrapping_sub(SQRT_HALF) as i32) >> 23;
    let m = f32::from_bits(bits.wrapping_sub((e << 23) as u32));
    let t = (m - 1.0) / (m + 1.0);
    let s = t * t;
    let series = 1.0 + s * (1.0 / 3.0 + s * (1.0 / 5.0 + s * (1.0 / 7.0 + s * (1.0 / 9.0))));
    let log2 = e as f32 + t * series * (2.0 / std::f32::consts::LN_2);
    let y = (log2 * p).clamp(-127.0, 127.0);
    let whole = (y + 12_582_912.0) - 12_582_912.0;
    let f = (y - whole) * std::f32::consts::LN_2;
    // e^f, |f| < 0.35, by Taylor.
    let small = 1.0 + f * (1.0 + f * (0.5 + f * (1.0 / 6.0 + f * (1.0 / 24.0 + f * (1.0 / 120.0 + f * (1.0 / 720.0))))));
    let scale = f32::from_bits(((whole as i32 + 127) as u32) << 23);
    if y > -126.0 { small * scale } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_are_powers() {
        for x in [1e-9_f32, 1e-4, 0.03, 0.5, 0.7, 0.72, 1.0, 1.5, 40.0, -3.0] {
            for p in [0.5_f32, 1.0, 2.4, 3.5] {
                let exact = f64::from(x.abs()).powf(f64::from(p));
                assert!((f64::from(power(x, p)) / exact - 1.0).abs() < 5e-6, "{x} {p}: {} {exact}", power(x, p));
            }
        }
        assert_eq!(power(0.0, 2.4), 0.0);
    }
}
