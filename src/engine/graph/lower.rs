//! Rewrites a model so that its layers read stored weights through `DequantizeLinear`, `Cast` or `Gather`,
//! and rounded data through `QuantizeLinear`/`DequantizeLinear` pairs (QDQ). The rewritten model is
//! what is evaluated, what is measured in bytes and what is exported: one graph, three uses.

mod low_rank;
mod weights;

pub use low_rank::LowRank;

use super::bias::BiasPlace;
use super::passes::upgrade_opset;
use super::rounding::{RoundedInput, round_inputs};
use super::stored::StoredWeight;
use super::{GraphError, Model, Patch, Wire};
use std::collections::BTreeSet;

/// One layer's part of the rewrite.
#[derive(Debug, Clone)]
pub struct LoweredLayer {
    /// The wire that holds the weight today; it keeps its name and comes out of the new nodes.
    pub weight: Wire,
    /// The shape that the layer reads.
    pub shape: Vec<usize>,
    /// Axis of the output channels in `shape`.
    pub out_axis: usize,
    /// `None` leaves the weight as it is.
    pub stored: Option<StoredWeight>,
    /// The wire whose data the layer reads and how it is rounded.
    pub input: Wire,
    pub rounded: Option<RoundedInput>,
    /// Added to what the layer gives, one number per output channel; `None` leaves the bias as it is.
    pub bias: Option<(BiasPlace, Vec<f32>)>,
    /// What is added to what the layer gives of its data.
    pub low_rank: Option<LowRank>,
}

/// # Errors
/// When the operator set cannot be raised to what the storage needs, or the result is no valid graph.
pub fn lower(model: &Model, layers: &[LoweredLayer]) -> Result<Model, GraphError> {
    let mut needed = layers.iter().filter_map(|l| l.stored.as_ref()).map(StoredWeight::opset).max().unwrap_or(1);
    for layer in layers {
        needed = needed.max(layer.rounded.as_ref().map_or(1, RoundedInput::opset));
        needed = needed.max(layer.low_rank.as_ref().map_or(1, |_| LowRank::OPSET));
    }
    let mut model = upgrade_opset(model, needed)?;
    let replaced: Vec<&Wire> = layers.iter().filter(|l| l.stored.is_some()).map(|l| &l.weight).collect();
    model.inputs.retain(|p| !replaced.contains(&&p.wire));
    for wire in &replaced {
        model.constants.remove(*wire);
    }
    let mut names = Names::of(&model);
    names.0.extend(replaced.iter().map(|w| (*w).clone()));
    let mut patch = Patch::new("store weights and round inputs", &model);
    for layer in layers {
        if let Some(stored) = &layer.stored {
            weights::store(&mut patch, &mut names, layer, stored)?;
        }
        if let Some(low_rank) = &layer.low_rank {
            low_rank.write(&mut patch, &mut names, &model, layer)?;
        }
    }
    for (place, added) in layers.iter().filter_map(|l| l.bias.as_ref()) {
        place.write(&mut patch, &mut names, &model, added)?;
    }
    round_inputs(&mut patch, &mut names, &model, layers)?;
    patch.apply(&model)
}

/// Gives wires names that neither the model nor the patch has yet.
pub(super) struct Names(BTreeSet<Wire>);

impl Names {
    pub(super) fn of(model: &Model) -> Self {
        let given = model.inputs.iter().map(|p| p.wire.clone()).chain(model.constants.keys().cloned());
        Self(given.chain(model.nodes.iter().flat_map(|n| n.outputs.iter().flatten().cloned())).collect())
    }

    pub(super) fn fresh(&mut self, mut name: String) -> Wire {
        while self.0.contains(name.as_str()) {
            name.push('_');
        }
        let wire = Wire::from(name);
        self.0.insert(wire.clone());
        wire
    }
}
