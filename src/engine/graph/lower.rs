//! Rewrites a model so that its layers read stored weights through `DequantizeLinear` or `Cast`,
//! and rounded data through `QuantizeLinear`/`DequantizeLinear` pairs (QDQ). The rewritten model is
//! what is evaluated, what is measured in bytes and what is exported: one graph, three uses.

use super::passes::upgrade_opset;
use super::rounding::{RoundedInput, round_inputs};
use super::{Attribute, GraphError, Model, Patch, Wire};
use crate::engine::tensor::{DType, Tensor};
use std::collections::BTreeSet;

/// How codes and scales lie in a quantized weight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScaleLayout {
    Tensor,
    Axis(usize),
    /// The weight is stored as [out, in] and the scales as [out, ceil(in / size)].
    Blocked {
        size: usize,
    },
}

/// A layer's weight as it is stored.
#[derive(Debug, Clone)]
pub enum StoredWeight {
    /// Still f32 (pruned, say).
    Float32(Tensor),
    Float16(Tensor),
    Integer {
        codes: Tensor,
        scales: Tensor,
        zero_points: Option<Tensor>,
        layout: ScaleLayout,
    },
}

impl StoredWeight {
    /// Bytes of codes, scales and zero points.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        match self {
            Self::Float32(t) | Self::Float16(t) => t.size_bytes() as u64,
            Self::Integer { codes, scales, zero_points, .. } => {
                (codes.size_bytes() + scales.size_bytes() + zero_points.as_ref().map_or(0, Tensor::size_bytes)) as u64
            }
        }
    }

    /// The operator set that the storage needs.
    fn opset(&self) -> i64 {
        match self {
            Self::Float32(_) => 1,
            Self::Float16(_) => 9,
            Self::Integer { codes, layout, .. } => match (codes.dtype(), layout) {
                (DType::I2 | DType::U2, _) => 25,
                (DType::I4 | DType::U4, _) | (_, ScaleLayout::Blocked { .. }) => 21,
                (_, ScaleLayout::Axis(_)) => 13,
                (_, ScaleLayout::Tensor) => 10,
            },
        }
    }
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
        needed = needed.max(layer.rounded.as_ref().map_or(1, RoundedInput::opset));
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
            store_weight(&mut patch, &mut names, layer, stored)?;
        }
    }
    round_inputs(&mut patch, &mut names, &model, layers)?;
    patch.apply(&model)
}

/// Gives wires names that neither the model nor the patch has yet.
pub(super) struct Names(BTreeSet<Wire>);

impl Names {
    fn of(model: &Model) -> Self {
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

fn store_weight(patch: &mut Patch, names: &mut Names, layer: &LoweredLayer, stored: &StoredWeight) -> Result<(), GraphError> {
    let name = &layer.weight;
    let fail = |e: &dyn std::fmt::Display| GraphError::Patch { label: format!("store \"{name}\""), reason: e.to_string() };
    match stored {
        StoredWeight::Float32(tensor) => patch.set_constant(name.clone(), tensor.clone()),
        StoredWeight::Float16(tensor) => {
            let half = names.fresh(format!("{name}_fp16"));
            patch.set_constant(half.clone(), tensor.clone());
            let to = Attribute::Int(i64::from(DType::F32.onnx_code()));
            patch.add_node(format!("{name}_cast"), "Cast", vec![Some(half)], vec![name.clone()], [("to", to)]);
        }
        StoredWeight::Integer { codes, scales, zero_points, layout } => {
            let q = names.fresh(format!("{name}_quantized"));
            let s = names.fresh(format!("{name}_scale"));
            patch.set_constant(q.clone(), codes.clone());
            patch.set_constant(s.clone(), scales.clone());
            let mut inputs = vec![Some(q), Some(s)];
            if let Some(zero_points) = zero_points {
                let z = names.fresh(format!("{name}_zero_point"));
                patch.set_constant(z.clone(), zero_points.clone());
                inputs.push(Some(z));
            }
            let node = format!("{name}_dequantize");
            match *layout {
                ScaleLayout::Tensor => {
                    patch.add_node(node, "DequantizeLinear", inputs, vec![name.clone()], []);
                }
                ScaleLayout::Axis(axis) => {
                    let axis = Attribute::Int(axis as i64);
                    patch.add_node(node, "DequantizeLinear", inputs, vec![name.clone()], [("axis", axis)]);
                }
                ScaleLayout::Blocked { size } => {
                    let attributes = [("axis", Attribute::Int(1)), ("block_size", Attribute::Int(size as i64))];
                    unflatten(patch, names, layer, codes.shape(), node, inputs, attributes).map_err(|e| fail(&e))?;
                }
            }
        }
    }
    Ok(())
}

/// Dequantizes [out, in] in blocks, then gives the weight the shape its layer reads.
fn unflatten(
    patch: &mut Patch,
    names: &mut Names,
    layer: &LoweredLayer,
    flat_shape: &[usize],
    node: String,
    inputs: Vec<Option<Wire>>,
    attributes: [(&'static str, Attribute); 2],
) -> Result<(), crate::engine::tensor::TensorError> {
    let name = &layer.weight;
    // A square weight looks the same both ways: the axis decides, not the shape.
    let turned = layer.shape.len() == 2 && layer.out_axis == 1;
    if !turned && layer.shape == flat_shape {
        patch.add_node(node, "DequantizeLinear", inputs, vec![name.clone()], attributes);
        return Ok(());
    }
    let flat = names.fresh(format!("{name}_flat"));
    patch.add_node(node, "DequantizeLinear", inputs, vec![flat.clone()], attributes);
    if turned {
        let perm = Attribute::Ints(vec![1, 0]);
        patch.add_node(format!("{name}_transpose"), "Transpose", vec![Some(flat)], vec![name.clone()], [("perm", perm)]);
    } else {
        let shape = names.fresh(format!("{name}_shape"));
        let dims: Vec<i64> = layer.shape.iter().map(|&d| d as i64).collect();
        patch.set_constant(shape.clone(), Tensor::from_i64(vec![dims.len()], &dims)?);
        patch.add_node(format!("{name}_reshape"), "Reshape", vec![Some(flat), Some(shape)], vec![name.clone()], []);
    }
    Ok(())
}
