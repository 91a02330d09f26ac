//! Which range of values a grid should span: what was seen, less what is worth clipping.
//!
//! [`Accumulator`] watches data once, in bounded memory; an [`Observer`] chooses a range from what is
//! left of it ([`Observer::of_data`]), or from weights that are all there ([`Observer::of_weights`]).
//! Clipping by itself is biased: at few bits it needs bias correction to pay.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]

mod accumulate;
mod entropy;
mod grid;
mod half_quadratic;
mod histogram;
mod shrink;

pub use accumulate::{Accumulator, ChannelSums};
pub use entropy::{entropy, entropy_window};
pub use histogram::{Bins, Histogram};
pub use shrink::shrink;

use super::integer::{Integer, Symmetry};
use crate::engine::kernels::widest::{Work, widest};
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use serde::{Deserialize, Serialize};
use std::fmt;

/// From `low` to `high`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Range {
    pub low: f32,
    pub high: f32,
}

impl Range {
    #[must_use]
    pub fn absmax(self) -> f32 {
        self.low.abs().max(self.high.abs())
    }

    /// What both ranges hold.
    #[must_use]
    pub fn within(self, other: Self) -> Self {
        Self { low: self.low.max(other.low), high: self.high.min(other.high) }
    }
}

/// How the range of a grid is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub enum Observer {
    /// All that was seen.
    #[default]
    MinMax,
    /// The exponential average of the batches' smallest and largest values, each new batch with weight
    /// 0.01 (as torch's moving-average observer). Of weights, which are one batch: all there is.
    MovingAverage,
    /// This share of the values, in percent: from symmetric grids the largest magnitudes are cut off, from
    /// asymmetric ones half of the rest at either end. The rule of ONNX Runtime's percentile calibrator.
    Percentile(f32),
    /// The range whose quantized histogram is nearest to the real one by Kullback–Leibler divergence
    /// (Migacz 2017, as TensorRT and ModelOpt do it), over 2,048 bins at least.
    Entropy,
    /// The shrunk min–max range, of 80 in steps of one percent, with the least Σ|x − x̂|^p: p = 2 is the
    /// squared error, GPTQ takes 2.4.
    Grid { exponent: f32 },
    /// The min–max range, drawn in from both ends while the squared error falls; the rule of torch's histogram
    /// observer.
    Histogram,
    /// The range with the least squared error if the values were normal with their mean and variance.
    Gaussian,
    /// Of weights on asymmetric grids: the step and the zero point with the least error on the mean, the largest errors
    /// left out of account while they are sought (HQQ). Of anything else min–max.
    HalfQuadratic,
}

impl Observer {
    /// The least squared error.
    pub const MSE: Self = Self::Grid { exponent: 2.0 };

    /// # Errors
    /// A sentence on what is wrong with the settings.
    pub fn validate(&self) -> Result<(), String> {
        match self {
            Self::Percentile(p) if !(*p > 0.0 && *p <= 100.0) => {
                Err(format!("a percentile lies above 0 and up to 100, not at {p}"))
            }
            Self::Grid { exponent } if !(*exponent > 0.0 && *exponent <= 16.0) => {
                Err(format!("the exponent of an error lies above 0 and up to 16, not at {exponent}"))
            }
            _ => Ok(()),
        }
    }

    /// The range for a grid over data that was watched; `None` where no finite value was seen.
    #[must_use]
    pub fn of_data(&self, seen: &Accumulator, target: &Integer) -> Option<Range> {
        let all = seen.range()?;
        let symmetric = target.symmetry != Symmetry::Asymmetric;
        let chosen = match *self {
            Self::MinMax | Self::HalfQuadratic => all,
            Self::MovingAverage => seen.average()?,
            Self::Percentile(percent) => percentile(seen, percent, symmetric),
            Self::Entropy => entropy(&seen.histogram().magnitudes(), groups(all, target)).map_or(all, around_zero),
            Self::Grid { exponent } => grid::of_histogram(&seen.histogram().bins(), all, target, exponent),
            Self::Histogram => shrink(&seen.histogram().bins(), 1 << target.bits.min(16)).unwrap_or(all),
            Self::Gaussian => gaussian(seen.mean(), seen.variance(), all, target),
        };
        Some(finish(chosen, all, symmetric))
    }

    /// The range for a grid over these weights, which are finite.
    #[must_use]
    pub fn of_weights(&self, weights: &[f32], target: &Integer) -> Range {
        self.of_weighed(weights, None, target)
    }

    /// [`Observer::of_weights`], the error of each weight counted as often as `importance` says (positive, a
    /// number for every weight). [`Observer::Grid`] alone looks at errors.
    #[must_use]
    pub fn of_weighed(&self, weights: &[f32], importance: Option<&[f32]>, target: &Integer) -> Range {
        self.of_unchecked(weights, importance, target).unwrap_or_default()
    }

    /// [`Observer::of_weighed`] of weights that nobody has looked at; `None` where one is NaN or infinite.
    pub(super) fn of_unchecked(self, weights: &[f32], importance: Option<&[f32]>, target: &Integer) -> Option<Range> {
        let all = finite_min_max(weights)?;
        let symmetric = target.symmetry != Symmetry::Asymmetric;
        let chosen = match self {
            // Its grid may reach beyond what was seen on one side.
            Self::HalfQuadratic if !symmetric => return Some(half_quadratic::of_weights(weights, all, target)),
            Self::MinMax | Self::MovingAverage | Self::HalfQuadratic => all,
            Self::Grid { exponent } => grid::of_weights(weights, importance, all, target, exponent),
            Self::Percentile(_) | Self::Entropy | Self::Histogram | Self::Gaussian => {
                let mut seen = Accumulator::default();
                seen.add(weights);
                self.of_data(&seen, target).unwrap_or(all)
            }
        };
        Some(finish(chosen, all, symmetric))
    }
}

impl fmt::Display for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MinMax => f.write_str("min-max"),
            Self::MovingAverage => f.write_str("moving average"),
            Self::Percentile(percent) => write!(f, "percentile {percent}"),
            Self::Entropy => f.write_str("entropy"),
            Self::Grid { exponent } if *exponent == 2.0 => f.write_str("MSE"),
            Self::Grid { exponent } => write!(f, "L{exponent}"),
            Self::Histogram => f.write_str("histogram"),
            Self::Gaussian => f.write_str("Gaussian"),
            Self::HalfQuadratic => f.write_str("half-quadratic"),
        }
    }
}

/// No range reaches beyond what was seen; a symmetric one is as wide on either side.
fn finish(chosen: Range, all: Range, symmetric: bool) -> Range {
    if symmetric { around_zero(chosen.absmax().min(all.absmax())) } else { chosen.within(all) }
}

fn around_zero(absmax: f32) -> Range {
    Range { low: -absmax, high: absmax }
}

/// Levels for magnitudes: half of all, or all where no value is negative and the grid is free to move.
fn groups(all: Range, target: &Integer) -> usize {
    let unsigned = all.low >= 0.0 && target.symmetry == Symmetry::Asymmetric;
    // More groups than bins can tell nothing: 16 bits are taken for 8.
    1 << (target.bits.min(8) - u8::from(!unsigned)).max(1)
}

fn percentile(seen: &Accumulator, percent: f32, symmetric: bool) -> Range {
    let share = f64::from(percent) / 100.0;
    if symmetric {
        around_zero(seen.histogram().magnitudes().edge_at(share) as f32)
    } else {
        let (bins, cut) = (seen.histogram().bins(), (1.0 - share) / 2.0);
        Range { low: bins.edge_at(cut) as f32, high: bins.edge_at(1.0 - cut) as f32 }
    }
}

/// Half the width, in standard deviations, of the range with the least squared error of normal values, by
/// bits from 1 to 8, and for 16; minimized over the exact integral of the error of every level.
const RESTRICTED: [f64; 9] = [0.0, 1.224006, 1.952309, 2.473879, 2.898728, 3.270115, 3.607461, 3.920501, 5.93823];
const FULL: [f64; 9] = [0.0, 1.572578, 2.106385, 2.53956, 2.92628, 3.281653, 3.612346, 3.922611, 5.938245];
const ASYMMETRIC: [f64; 9] = [0.612003, 1.572578, 2.106385, 2.53956, 2.92628, 3.281653, 3.612346, 3.922611, 5.938245];

fn gaussian(mean: f64, variance: f64, all: Range, target: &Integer) -> Range {
    let widths = match target.symmetry {
        // One more code at one end is worth little: the same widths.
        Symmetry::Restricted | Symmetry::Wide => RESTRICTED,
        Symmetry::Full => FULL,
        Symmetry::Asymmetric => ASYMMETRIC,
    };
    let width = widths[usize::from(target.bits.clamp(1, 9)) - 1];
    if target.symmetry == Symmetry::Asymmetric {
        let half = width * variance.max(0.0).sqrt();
        Range { low: (mean - half) as f32, high: (mean + half) as f32 }.within(all)
    } else {
        around_zero((width * (variance + mean * mean).max(0.0).sqrt()) as f32)
    }
}

/// Values of a slice that one task takes.
const SHARE: usize = 1 << 20;

/// Smallest and largest value; zeros for none. The values are finite.
#[must_use]
pub fn min_max(values: &[f32]) -> Range {
    finite_min_max(values).unwrap_or_default()
}

/// [`min_max`], or `None` where a value is NaN or infinite.
fn finite_min_max(values: &[f32]) -> Option<Range> {
    if values.is_empty() {
        return Some(Range::default());
    }
    let part = |values: &[f32]| {
        let mut found = None;
        widest(MinMax(values, &mut found));
        found
    };
    if values.len() <= SHARE {
        return part(values);
    }
    let join = |a: Range, b: Range| Some(Range { low: a.low.min(b.low), high: a.high.max(b.high) });
    values.par_chunks(SHARE).map(part).try_reduce_with(join).unwrap_or_default()
}

/// The largest magnitude; 0 for none.
#[must_use]
pub fn absmax(values: &[f32]) -> f32 {
    min_max(values).absmax()
}

/// Values that the loops below take at once.
const LANES: usize = 16;

/// Leaves `None` where a value is not finite.
struct MinMax<'a>(&'a [f32], &'a mut Option<Range>);

impl Work for MinMax<'_> {
    #[inline(always)]
    fn run(self) {
        let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        // Comparisons pass NaN over: 0·x is 0 for what is finite, and NaN for what is not, which stays in the sum.
        let mut bad = [0.0_f32; LANES];
        let (whole, rest) = self.0.as_chunks::<LANES>();
        for x in whole {
            for i in 0..LANES {
                low[i] = if x[i] < low[i] { x[i] } else { low[i] };
                high[i] = if x[i] > high[i] { x[i] } else { high[i] };
                bad[i] += x[i] * 0.0;
            }
        }
        for (i, &x) in rest.iter().enumerate() {
            low[i] = low[i].min(x);
            high[i] = high[i].max(x);
            bad[i] += x * 0.0;
        }
        *self.1 = bad.iter().all(|b| *b == 0.0).then(|| Range {
            low: low.iter().fold(f32::INFINITY, |a, b| a.min(*b)),
            high: high.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b)),
        });
    }
}
