//! What comes behind a layer's product: its bias, and the activation that alone reads what it gives.

use crate::engine::graph::{Layer, Model, consumers};
use crate::engine::tensor::Tensor;

#[derive(Debug, Clone)]
pub(super) struct Behind {
    /// One number per output channel.
    pub bias: Vec<f32>,
    /// Where a ReLU or Clip cuts the outputs; infinite where none does.
    pub clip: (f32, f32),
}

impl Behind {
    pub fn of(model: &Model, layer: &Layer) -> Self {
        let free = (f32::NEG_INFINITY, f32::INFINITY);
        let scalar = |wire| model.constants.get(wire).and_then(|t: &Tensor| t.to_f32().ok()?.first().copied());
        let bias = layer.bias.as_ref().and_then(|wire| model.constants.get(wire)?.to_f32().ok());
        let bias = bias.filter(|b| b.len() == layer.out_channels()).unwrap_or_else(|| vec![0.0; layer.out_channels()]);
        let readers = consumers(model);
        let reader = match readers.get(&layer.output).map(Vec::as_slice) {
            Some([one]) => model.nodes.get(*one),
            _ => None,
        };
        let clip = match reader {
            Some(node) if node.op == "Relu" => (0.0, f32::INFINITY),
            Some(node) if node.op == "Clip" => {
                let bound = |index: usize, name: &str, free: f32| {
                    node.input(index).and_then(scalar).or_else(|| node.float(name)).unwrap_or(free)
                };
                (bound(1, "min", free.0), bound(2, "max", free.1))
            }
            _ => free,
        };
        // Limits that are no limits would make a clamp panic.
        Self { bias, clip: if clip.0 < clip.1 { clip } else { free } }
    }

    /// The biases of some output channels.
    pub fn biases(&self, first: usize, count: usize) -> &[f32] {
        self.bias.get(first..first + count).unwrap_or_default()
    }

    pub fn cut(&self, output: f32) -> f32 {
        output.clamp(self.clip.0, self.clip.1)
    }
}
