//! The weight error of a layer under a treatment, kept once found.

use crate::engine::formats::observe::Observer;
use crate::pipeline::configure::{Importance, Plan, Rounding, Scheme, Sparsity, Treatment, WIDTHS};
use std::collections::HashMap;

/// What the error of a layer's weights depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Key {
    layer: usize,
    scheme: Scheme,
    rounding: Rounding,
    sparsity: (u8, u32, u32),
    range: (u8, u32),
    weighs: bool,
}

impl Key {
    #[must_use]
    pub fn new(layer: usize, treatment: &Treatment) -> Self {
        let sparsity = match treatment.sparsity {
            Sparsity::Dense => (0, 0, 0),
            Sparsity::Threshold(t) => (1, t.to_bits(), 0),
            Sparsity::Fraction(f) => (2, f.to_bits(), 0),
            Sparsity::Pattern { keep, of } => (3, u32::from(keep), u32::from(of)),
            Sparsity::Blocks { rows, columns, share } => (4, share.to_bits(), u32::from(rows) << 16 | u32::from(columns)),
            Sparsity::Rows(share) => (5, share.to_bits(), 0),
        };
        let range = match treatment.range {
            Observer::MinMax => (0, 0),
            Observer::MovingAverage => (1, 0),
            Observer::Percentile(percent) => (2, percent.to_bits()),
            Observer::Entropy => (3, 0),
            Observer::Grid { exponent } => (4, exponent.to_bits()),
            Observer::Gaussian => (5, 0),
            Observer::Histogram => (6, 0),
            Observer::HalfQuadratic => (7, 0),
        };
        let weighs = treatment.importance == Importance::Activations;
        Self { layer, scheme: treatment.weights, rounding: treatment.rounding, sparsity, range, weighs }
    }
}

/// The error of one layer's weights under one treatment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Score {
    /// Signal to noise in dB; infinite without error.
    pub sqnr_db: f64,
    /// Error power over signal power.
    pub noise: f64,
    /// Share of zeros, 0 to 1.
    pub zero_fraction: f32,
    /// Where one scale serves all channels: how many span fewer than [`FEW_STEPS`] steps of it.
    pub lost_channels: usize,
}

/// A channel that spans fewer steps than this is as good as lost.
pub const FEW_STEPS: f32 = 4.0;

#[derive(Debug, Default)]
pub struct Scores {
    known: HashMap<Key, Score>,
    version: u64,
}

impl Scores {
    #[must_use]
    pub fn get(&self, layer: usize, treatment: &Treatment) -> Option<Score> {
        self.known.get(&Key::new(layer, treatment)).copied()
    }

    pub fn insert(&mut self, layer: usize, treatment: &Treatment, score: Score) {
        self.known.insert(Key::new(layer, treatment), score);
        self.version += 1;
    }

    /// Grows with every score that comes in.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The weight SQNR of a whole plan in dB: of the layers' relative errors (error power over
    /// signal power) the mean, so that each layer counts the same whatever the size of its weights.
    /// `None` until every layer has been scored.
    #[must_use]
    pub fn of_plan(&self, plan: &Plan) -> Option<f64> {
        let mut sum = 0.0;
        for (index, layer) in plan.layers.iter().enumerate() {
            sum += self.get(index, &layer.treatment)?.noise;
        }
        let mean = sum / plan.layers.len().max(1) as f64;
        Some(if mean == 0.0 { f64::INFINITY } else { -10.0 * mean.log10() })
    }

    /// What a plan needs that is not known, its present choice or also the other widths.
    pub fn missing(&self, plan: &Plan, with_widths: bool, into: &mut Vec<(usize, Treatment)>) {
        for (index, layer) in plan.layers.iter().enumerate() {
            let present = std::iter::once(layer.treatment);
            let widths = WIDTHS.iter().filter(|_| with_widths).map(|&bits| at_width(&layer.treatment, bits));
            into.extend(present.chain(widths).filter(|t| self.get(index, t).is_none()).map(|t| (index, t)));
        }
    }
}

/// A treatment with its weights in another scheme.
#[must_use]
pub fn with_scheme(treatment: &Treatment, weights: Scheme) -> Treatment {
    Treatment { weights, ..*treatment }
}

/// A treatment with its weights at another width.
#[must_use]
pub fn at_width(treatment: &Treatment, bits: u8) -> Treatment {
    with_scheme(treatment, treatment.weights.with_bits(bits))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::configure::Granularity;

    #[test]
    fn what_changes_the_error_changes_the_key() {
        let base = Treatment { weights: Scheme::per_channel(4), ..Treatment::UNCHANGED };
        let others = [
            Treatment { weights: Scheme::per_channel(5), ..base },
            Treatment { weights: Scheme::Integer { bits: 4, symmetric: false, granularity: Granularity::Channel }, ..base },
            Treatment { weights: Scheme::Integer { bits: 4, symmetric: true, granularity: Granularity::Tensor }, ..base },
            Treatment { weights: Scheme::Integer { bits: 4, symmetric: true, granularity: Granularity::Group(32) }, ..base },
            Treatment { sparsity: Sparsity::Fraction(0.5), ..base },
            Treatment { sparsity: Sparsity::Threshold(0.5), ..base },
        ];
        for other in others {
            assert_ne!(Key::new(0, &base), Key::new(0, &other));
        }
        assert_ne!(Key::new(0, &base), Key::new(1, &base));
    }
}
