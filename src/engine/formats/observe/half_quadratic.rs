//! The zero point with the least errors, the largest few of them left out of account (HQQ: Badri and Shaji 2023,
//! half-quadratic quantization, mobiusml.github.io/hqq_blog). The step stays that of the min–max range; weights alone
//! tell. The zero point is a code here, as ONNX and GGUF have it, where the reference keeps a float: it is rounded, and
//! stays where that gains nothing.

use super::Range;
use crate::engine::formats::integer::{Integer, Symmetry};
use crate::engine::kernels::affine::AffineParameters;

/// Rounds, at most.
const ROUNDS: usize = 20;
/// p of the errors' norm |e|^p, its weight β to begin with, and what β grows by: the reference's.
const NORM: f32 = 0.7;
const WEIGHT: f32 = 10.0;
const GROWTH: f32 = 1.01;

/// The range whose grid has the least mean |x − x̂| of those that were come by; `all` where none has less.
pub(super) fn of_weights(weights: &[f32], all: Range, target: &Integer) -> Range {
    let Some(plain) = target.grid(all).filter(|_| target.symmetry == Symmetry::Asymmetric) else { return all };
    let (scale, low, high) = (plain.scale, plain.low as f32, plain.high as f32);
    if weights.is_empty() || all.low == all.high {
        return all;
    }
    let mut best = (error(weights, &plain), all);
    let mut consider = |zero: f32| {
        let zero = zero.clamp(low, high);
        let range = Range { low: (low - zero) * scale, high: (high - zero) * scale };
        if let Some(grid) = target.grid(range) {
            let error = error(weights, &grid);
            if error < best.0 {
                best = (error, range);
            }
        }
    };
    let (mut zero, mut weight, mut least) = (-all.low.min(0.0) / scale, WEIGHT, f64::INFINITY);
    for _ in 0..ROUNDS {
        let (mut next, mut sum) = (0.0_f64, 0.0_f64);
        for x in weights {
            let code = (x / scale + zero).round_ties_even().clamp(low, high);
            let error = x - (code - zero) * scale;
            sum += f64::from(error.abs());
            next += f64::from(code - (x - shrunk(error, weight)) / scale);
        }
        // No longer better, or no number any more.
        if !(sum < least) {
            break;
        }
        least = sum;
        zero = (next / weights.len() as f64) as f32;
        weight *= GROWTH;
        consider(zero.round_ties_even());
    }
    consider(zero.floor());
    consider(zero.ceil());
    best.1
}

/// What of an error is taken to belong to an outlier: all but what `|e|^(p − 1)/β` is.
fn shrunk(error: f32, weight: f32) -> f32 {
    let size = error.abs();
    if size == 0.0 { 0.0 } else { error.signum() * (size - size.powf(NORM - 1.0) / weight).max(0.0) }
}

/// Σ|x − x̂|.
fn error(weights: &[f32], grid: &AffineParameters) -> f64 {
    let (zero, low, high) = (grid.zero_point as f32, grid.low as f32, grid.high as f32);
    let one = |x: &f32| f64::from((x - (((x / grid.scale).round_ties_even() + zero).clamp(low, high) - zero) * grid.scale).abs());
    weights.iter().map(one).sum()
}
