//! What a treatment does to one layer's weights, without the rest of the model: for the grid, the
//! inspector and the heat map, while a person drags.

use super::magnitude;
use super::round_to_nearest;
use crate::engine::graph::{Layer, ScaleLayout};
use crate::engine::kernels::affine::ErrorSums;
use crate::pipeline::configure::{FloatFormat, Granularity, Scheme, Treatment};

#[derive(Debug, Clone, Default)]
pub struct Preview {
    /// The weights that the layer would compute with, in the order of `layer.shape`.
    pub approximate: Vec<f32>,
    pub sums: ErrorSums,
    /// Share of weights that are zero, 0 to 1.
    pub zero_fraction: f32,
    /// One per group; empty for floats.
    pub scales: Vec<f32>,
}

/// Treats `weights`, which lie in the order of `layer.shape`.
#[must_use]
pub fn preview(weights: &[f32], layer: &Layer, treatment: &Treatment) -> Preview {
    let mut approximate = weights.to_vec();
    magnitude::prune(&mut approximate, treatment.sparsity);
    let mut scales = Vec::new();
    match treatment.weights {
        Scheme::Float(FloatFormat::F32) => {}
        Scheme::Float(FloatFormat::F16) => round_to_nearest::round_to_half(&mut approximate),
        Scheme::Integer { bits, symmetric, granularity } => {
            let layout = match granularity {
                Granularity::Tensor => ScaleLayout::Tensor,
                Granularity::Group(size) if layer.parameters() / layer.out_channels().max(1) >= size => {
                    ScaleLayout::Blocked { size }
                }
                Granularity::Channel | Granularity::Group(_) => ScaleLayout::Axis(layer.out_axis),
            };
            let grid = round_to_nearest::Grid { bits, symmetric };
            let quantized = round_to_nearest::quantize(&approximate, layer, layout, grid);
            scales = quantized.groups.iter().map(|g| g.scale).collect();
            approximate = quantized.approximate;
        }
    }
    let mut sums = ErrorSums::default();
    sums.add_slices(weights, &approximate);
    let zeros = approximate.iter().filter(|w| **w == 0.0).count();
    Preview { zero_fraction: zeros as f32 / approximate.len().max(1) as f32, approximate, sums, scales }
}
