//! What a treatment does to one layer's weights, without the rest of the model: for the grid, the
//! inspector and the heat map, while a person drags.

use super::magnitude;
use super::round_to_nearest::{decode, encode, how};
use crate::engine::Ctx;
use crate::engine::formats::Encoded;
use crate::engine::graph::Layer;
use crate::engine::kernels::affine::ErrorSums;
use crate::pipeline::configure::{Treatment, fitting};
use std::sync::LazyLock;

#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// The weights that the layer would compute with, in the order of `layer.shape`.
    pub approximate: Vec<f32>,
    pub sums: ErrorSums,
    /// Share of weights that are zero, 0 to 1.
    pub zero_fraction: f32,
    /// One per group of integers; empty for other formats.
    pub scales: Vec<f32>,
    /// The weights in their format; `None` where they stay floats of 32 bits.
    pub encoded: Option<Encoded>,
}

/// Nobody waits for a preview long enough to cancel it, and it runs on the threads of whoever asks: all
/// previews share this one. `None` where the system refuses a thread.
static UNHURRIED: LazyLock<Option<Ctx>> = LazyLock::new(|| Ctx::new(1).ok());

/// Treats `weights`, which lie in the order of `layer.shape`. What the plan would leave alone stays as it is, as
/// do weights that a format cannot hold. Errors count alike, whatever importance the treatment asks for: nothing is
/// known here of the layer's data.
#[must_use]
pub fn preview(weights: &[f32], layer: &Layer, treatment: &Treatment) -> Preview {
    let mut approximate = weights.to_vec();
    magnitude::prune(&mut approximate, layer, treatment.sparsity);
    let (mut scales, mut kept) = (Vec::new(), None);
    let (scheme, _) = fitting(layer, treatment.weights);
    if let (Some(format), Some(ctx)) = (scheme.format(), UNHURRIED.as_ref())
        && let Ok(encoded) = encode(&approximate, layer, format, &how(treatment), ctx)
    {
        scales = encoded.integers().map_or_else(Vec::new, |(_, grids)| grids.iter().map(|g| g.scale).collect());
        approximate = decode(&encoded, layer);
        kept = Some(encoded);
    }
    let mut sums = ErrorSums::default();
    sums.add_slices(weights, &approximate);
    let zeros = approximate.iter().filter(|w| **w == 0.0).count();
    Preview { zero_fraction: zeros as f32 / approximate.len().max(1) as f32, approximate, sums, scales, encoded: kept }
}
