//! SmoothQuant (Xiao et al. 2023, arXiv 2211.10438, equation 4): difficulty is moved from data to weights.

use crate::engine::Ctx;
use crate::engine::graph::Wire;
use crate::engine::graph::passes::{Passage, Passages};
use crate::engine::tensor::{Tensor, TensorError};
use crate::pipeline::calibrate;
use crate::pipeline::compress::CompressError;
use crate::pipeline::load::{Dataset, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// No scale is smaller, as the reference has it.
const LEAST: f32 = 1e-5;

/// The scales of each passage, by its place, from the weights as they were before any was scaled.
pub(super) fn scales(
    passages: &Passages,
    subject: &Subject,
    data: &Dataset,
    strength: f32,
    ctx: &Ctx,
) -> Result<BTreeMap<usize, Vec<f32>>, CompressError> {
    let wires: BTreeSet<Wire> = passages.found.iter().map(|p| p.wire.clone()).collect();
    let statistics = calibrate::run(&subject.folded, &wires, data, ctx)?;
    let mut all = BTreeMap::new();
    for (number, passage) in passages.found.iter().enumerate() {
        let seen = statistics.wire(&passage.wire).and_then(|seen| seen.channels.as_ref());
        let Some(seen) = seen.filter(|s| s.channels() == passage.channels) else {
            ctx.warn(passage.wire.to_string(), "its channels could not be told apart: they are not balanced");
            continue;
        };
        let weights =
            largest(passage, subject).map_err(|source| CompressError::Tensor { layer: passage.wire.to_string(), source })?;
        all.insert(number, between(seen.absmax(), &weights, strength));
    }
    Ok(all)
}

/// The largest magnitude of the weights that read each channel, in all layers that do.
fn largest(passage: &Passage, subject: &Subject) -> Result<Vec<f32>, TensorError> {
    let mut largest = vec![0.0_f32; passage.channels];
    for member in &passage.readers {
        let Some(layer) = subject.layers.get(member.layer) else { continue };
        let weights = subject.folded.constants.get(&layer.weight).map_or(Ok(Vec::new()), Tensor::to_f32)?;
        for (weight, channel) in weights.iter().zip(member.channels(weights.len())) {
            if let Some(largest) = largest.get_mut(channel) {
                *largest = largest.max(weight.abs());
            }
        }
    }
    Ok(largest)
}

/// `data^strength / weights^(1 − strength)` per channel. Channels that are dead on one side stay as they are.
pub(super) fn between(data: &[f32], weights: &[f32], strength: f32) -> Vec<f32> {
    let one = |(data, weights): (&f32, &f32)| {
        let scale = data.powf(strength) / weights.powf(1.0 - strength);
        if *data > 0.0 && *weights > 0.0 && scale.is_finite() { scale.max(LEAST) } else { 1.0 }
    };
    data.iter().zip(weights).map(one).collect()
}
