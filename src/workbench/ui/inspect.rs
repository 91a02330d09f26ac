//! What the inspector shows of one layer: worked out once per layer and once per treatment.

use super::scores::{FEW_STEPS, Score};
use super::text::tr;
use crate::engine::formats::Encoded;
use crate::engine::graph::{Layer, Model};
use crate::engine::kernels::affine::{ErrorSums, min_max};
use crate::engine::kernels::summary::{Spread, histogram, rows_along, spread};
use crate::pipeline::compress::{Preview, preview};
use crate::pipeline::configure::{Granularity, Treatment};
use std::sync::Arc;

pub const BINS: usize = 96;
/// A layer of up to so many weights is scored within the frame.
pub const WITHIN_A_FRAME: usize = 2_000_000;

/// What depends on the layer alone.
#[derive(Debug)]
pub struct LayerFacts {
    pub index: usize,
    pub weights: Vec<f32>,
    /// Of each output channel.
    pub spreads: Vec<Spread>,
    pub low: f32,
    pub high: f32,
    pub histogram: Vec<u32>,
}

/// What depends on how the layer is treated.
#[derive(Debug)]
pub struct Treated {
    pub treatment: Treatment,
    pub score: Score,
    /// In the weights' own order.
    pub approximate: Arc<Vec<f32>>,
    pub scales: Vec<f32>,
    /// The weights in their format, which knows its levels; `None` where they stay floats of 32 bits.
    pub encoded: Option<Encoded>,
    pub histogram: Vec<u32>,
    /// Root mean square of the error.
    pub rms_error: f32,
    /// Signal to noise of each output channel, in dB.
    pub channels_db: Vec<f32>,
}

/// The weights of a layer as numbers.
///
/// # Errors
/// When the model holds no such weight or it is no tensor of numbers.
pub fn weights_of(model: &Model, layer: &Layer) -> Result<Vec<f32>, String> {
    let tensor = model.constants.get(&layer.weight).ok_or_else(|| tr!("inspect-no-weight", layer = &layer.name))?;
    tensor.to_f32().map_err(|e| format!("{}: {e}", layer.name))
}

impl LayerFacts {
    /// # Errors
    /// As [`weights_of`].
    pub fn new(model: &Model, layer: &Layer, index: usize) -> Result<Self, String> {
        let weights = weights_of(model, layer)?;
        let columns = (weights.len() / layer.out_channels().max(1)).max(1);
        let spreads: Vec<Spread> = rows_along(&weights, &layer.shape, layer.out_axis).chunks(columns).map(spread).collect();
        let low = spreads.iter().map(|s| s.low).fold(0.0, f32::min);
        let high = spreads.iter().map(|s| s.high).fold(0.0, f32::max);
        let histogram = histogram(&weights, low, high, BINS);
        Ok(Self { index, weights, spreads, low, high, histogram })
    }

    /// Weights of one output channel.
    #[must_use]
    pub fn columns(&self) -> usize {
        (self.weights.len() / self.spreads.len().max(1)).max(1)
    }

    #[must_use]
    pub fn treat(&self, layer: &Layer, treatment: &Treatment) -> Treated {
        let Preview { approximate, sums, zero_fraction, scales, encoded } = preview(&self.weights, layer, treatment);
        let columns = (self.weights.len() / layer.out_channels().max(1)).max(1);
        let before = rows_along(&self.weights, &layer.shape, layer.out_axis);
        let after = rows_along(&approximate, &layer.shape, layer.out_axis);
        let channels_db = before.chunks(columns).zip(after.chunks(columns)).map(|(x, y)| {
            let mut sums = ErrorSums::default();
            sums.add_slices(x, y);
            sums.sqnr_db() as f32
        });
        Treated {
            treatment: *treatment,
            score: score(
                &sums,
                zero_fraction,
                shared_scale(treatment, &scales).map_or(0, |step| self.channels_below(FEW_STEPS, step)),
            ),
            histogram: histogram(&approximate, self.low, self.high, BINS),
            rms_error: (sums.error / self.weights.len().max(1) as f64).sqrt() as f32,
            channels_db: channels_db.collect(),
            approximate: Arc::new(approximate),
            scales,
            encoded,
        }
    }
}

/// The error of a layer's weights under a treatment.
#[must_use]
pub fn score_of(weights: &[f32], layer: &Layer, treatment: &Treatment) -> Score {
    let found = preview(weights, layer, treatment);
    let lost = shared_scale(treatment, &found.scales).map_or(0, |step| {
        let columns = (weights.len() / layer.out_channels().max(1)).max(1);
        let spans = |row: &[f32]| {
            let (low, high) = min_max(row);
            high - low
        };
        rows_along(weights, &layer.shape, layer.out_axis).chunks(columns).filter(|row| spans(row) < FEW_STEPS * step).count()
    });
    score(&found.sums, found.zero_fraction, lost)
}

/// The one scale that all channels share, if they do.
#[must_use]
pub fn shared_scale(treatment: &Treatment, scales: &[f32]) -> Option<f32> {
    match (treatment.weights.granularity(), scales) {
        (Some(Granularity::Tensor), [scale]) => Some(*scale),
        _ => None,
    }
}

fn score(sums: &ErrorSums, zero_fraction: f32, lost_channels: usize) -> Score {
    let noise = if sums.error == 0.0 { 0.0 } else { sums.error / sums.signal.max(f64::MIN_POSITIVE) };
    Score { sqnr_db: sums.sqnr_db(), noise, zero_fraction, lost_channels }
}

impl LayerFacts {
    /// How many channels span fewer than `steps` steps of the one scale that all share.
    #[must_use]
    pub fn channels_below(&self, steps: f32, scale: f32) -> usize {
        self.spreads.iter().filter(|s| s.width() < steps * scale).count()
    }
}
