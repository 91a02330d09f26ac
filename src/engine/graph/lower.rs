//! Rewrites a model so that its layers read stored weights through `DequantizeLinear`, `Cast` or `Gather`,
//! and rounded data through `QuantizeLinear`/`DequantizeLinear` pairs (QDQ). The rewritten model is
//! what is evaluated, what is measured in bytes and what is exported: one graph, three uses.

mod weights;

use super::passes::upgrade_opset;
use super::stored::StoredWeight;
use super::{GraphError, Model, Node, Patch, Wire};
use crate::engine::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};

/// How the data on a wire is rounded before a layer reads it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RoundedInput {
    Static { scale: f32, zero_point: u8 },
    Dynamic,
}

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
}

/// # Errors
/// When the operator set cannot be raised to what the storage needs, or the result is no valid graph.
pub fn lower(model: &Model, layers: &[LoweredLayer]) -> Result<Model, GraphError> {
    let mut needed = layers.iter().filter_map(|l| l.stored.as_ref()).map(StoredWeight::opset).max().unwrap_or(1);
    for layer in layers {
        needed = needed.max(match layer.rounded {
            None => 1,
            Some(RoundedInput::Static { .. }) => 10,
            Some(RoundedInput::Dynamic) => 11,
        });
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
    }
    round_inputs(&mut patch, &mut names, &model, layers);
    patch.apply(&model)
}

/// Gives wires names that neither the model nor the patch has yet.
struct Names(BTreeSet<Wire>);

impl Names {
    fn of(model: &Model) -> Self {
        let given = model.inputs.iter().map(|p| p.wire.clone()).chain(model.constants.keys().cloned());
        Self(given.chain(model.nodes.iter().flat_map(|n| n.outputs.iter().flatten().cloned())).collect())
    }

    fn fresh(&mut self, mut name: String) -> Wire {
        while self.0.contains(name.as_str()) {
            name.push('_');
        }
        let wire = Wire::from(name);
        self.0.insert(wire.clone());
        wire
    }
}

/// One pair of nodes per wire and rounding, shared by the layers that read it so.
fn round_inputs(patch: &mut Patch, names: &mut Names, model: &Model, layers: &[LoweredLayer]) {
    let mut made: BTreeMap<(Wire, bool), Wire> = BTreeMap::new();
    for layer in layers {
        let Some(rounded) = layer.rounded else { continue };
        let key = (layer.input.clone(), rounded == RoundedInput::Dynamic);
        let out = made.entry(key).or_insert_with(|| round_wire(patch, names, &layer.input, rounded)).clone();
        // A weight that several nodes share is one layer; those that read the same data read it rounded.
        let same = |n: &&Node| n.input(1) == Some(&layer.weight) && n.input(0) == Some(&layer.input);
        let product = |n: &&Node| matches!(n.op.as_str(), "Conv" | "ConvTranspose" | "Gemm" | "MatMul");
        for node in model.nodes.iter().filter(same).filter(product) {
            patch.set_input(node.id, 0, Some(out.clone()));
        }
    }
}

fn round_wire(patch: &mut Patch, names: &mut Names, input: &Wire, rounded: RoundedInput) -> Wire {
    match rounded {
        RoundedInput::Static { scale, zero_point } => {
            let [q, out] = ["quantized", "rounded"].map(|s| names.fresh(format!("{input}_{s}")));
            let [s, z] = ["scale", "zero_point"].map(|s| names.fresh(format!("{input}_{s}")));
            patch.set_constant(s.clone(), Tensor::scalar_f32(scale));
            patch.set_constant(z.clone(), Tensor::scalar_u8(zero_point));
            let parameters = [Some(s), Some(z)];
            let inputs = |first: &Wire| std::iter::once(Some(first.clone())).chain(parameters.clone()).collect();
            patch.add_node(format!("{input}_quantize"), "QuantizeLinear", inputs(input), vec![q.clone()], []);
            patch.add_node(format!("{input}_dequantize"), "DequantizeLinear", inputs(&q), vec![out.clone()], []);
            out
        }
        RoundedInput::Dynamic => {
            let [q, s, z, out] = ["dynamic", "dynamic_scale", "dynamic_zero_point", "dynamic_rounded"]
                .map(|s| names.fresh(format!("{input}_{s}")));
            let outputs = vec![q.clone(), s.clone(), z.clone()];
            let name = format!("{input}_dynamic_quantize");
            patch.add_node(name, "DynamicQuantizeLinear", vec![Some(input.clone())], outputs, []);
            let inputs = vec![Some(q), Some(s), Some(z)];
            patch.add_node(format!("{input}_dynamic_dequantize"), "DequantizeLinear", inputs, vec![out.clone()], []);
            out
        }
    }
}
