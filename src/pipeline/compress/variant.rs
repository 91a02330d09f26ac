//! The compressed model.

use super::judge::Step;
use crate::engine::graph::{Model, StoredWeight, Wire};
use crate::engine::tensor::Tensor;
use crate::pipeline::load::Subject;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What became of one layer.
#[derive(Debug, Clone)]
pub struct CompressedLayer {
    pub name: String,
    /// Signal-to-noise of the weights in dB; `INFINITY` where nothing changed.
    pub weight_sqnr_db: f64,
    /// Share of weights that are zero, 0 to 1.
    pub zero_fraction: f64,
    /// Bytes of codes, scales and zero points.
    pub bytes: u64,
    pub stored: Option<StoredWeight>,
    /// The weights as the layer computes with them, for a file that has no type for what is stored.
    pub dense: Option<Tensor>,
    /// What each step of a correction did, on samples that it did not see; empty where nothing was corrected.
    pub steps: Vec<Step>,
}

/// A model as a recipe makes it: the graph that is evaluated is the graph that is exported.
#[derive(Debug, Clone)]
pub struct Variant {
    pub recipe: String,
    pub model: Arc<Model>,
    /// What the techniques began with: batch norm folded, channels cut, nothing rounded.
    pub base: Arc<Model>,
    pub layers: Vec<CompressedLayer>,
    /// Whether this is the original, untouched.
    pub unchanged: bool,
}

impl Variant {
    /// `base` with the biases that a correction mended: what files without this graph take the rest from.
    #[must_use]
    pub fn mended_base(&self) -> Arc<Model> {
        if self.unchanged {
            return Arc::clone(&self.base);
        }
        let mut base = (*self.base).clone();
        for (wire, tensor) in &mut base.constants {
            let now = self.model.constants.get(wire);
            if let Some(now) = now.filter(|n| (n.dtype(), n.shape()) == (tensor.dtype(), tensor.shape())) {
                *tensor = now.clone();
            }
        }
        Arc::new(base)
    }

    /// The layers' weights as files without a graph hold them: one tensor for each that was changed.
    #[must_use]
    pub fn whole_weights(&self, subject: &Subject) -> BTreeMap<Wire, Tensor> {
        let layers = subject.layers.iter().zip(&self.layers);
        layers
            .filter_map(|(layer, made)| {
                let tensor = made.stored.as_ref()?.whole().or(made.dense.as_ref())?;
                Some((layer.weight.clone(), tensor.clone()))
            })
            .collect()
    }
}
