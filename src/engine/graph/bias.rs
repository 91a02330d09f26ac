//! Where a layer's bias is, or could be: what is added to each output channel.

use super::lower::Names;
use super::{GraphError, Layer, Model, NodeId, Patch, Wire, consumers};
use crate::engine::tensor::{DType, Tensor};

/// An input of a node that is added to every output channel of a layer.
#[derive(Debug, Clone, PartialEq)]
pub struct BiasPlace {
    /// The layer itself, or the sum behind a product of matrices.
    node: NodeId,
    input: usize,
    /// The constant that is there today; where there is none it gets this name.
    wire: Wire,
    /// What it is multiplied with before it is added: `beta` of `Gemm`.
    factor: f32,
    exists: bool,
    /// Whether other nodes read the constant as well.
    is_shared: bool,
}

impl BiasPlace {
    /// # Errors
    /// Why nothing can be added to the layer's outputs.
    pub fn of(model: &Model, layer: &Layer) -> Result<Self, String> {
        let node = layer.node.and_then(|id| model.node(id)).ok_or("there is no graph to add a bias in")?;
        let readers = consumers(model);
        let (node, input, factor) = match node.op.as_str() {
            "Conv" | "ConvTranspose" => (node, 2, 1.0),
            "Gemm" => (node, 2, node.float("beta").unwrap_or(1.0)),
            _ => {
                let behind = readers.get(&layer.output).map_or(&[][..], Vec::as_slice);
                let seen = model.outputs.iter().any(|p| p.wire == layer.output);
                let sum = match behind {
                    [one] if !seen => model.nodes.get(*one).filter(|n| n.op == "Add"),
                    _ => None,
                };
                let sum = sum.ok_or("no bias is added to what it gives")?;
                (sum, usize::from(sum.input(0) == Some(&layer.output)), 1.0)
            }
        };
        if factor == 0.0 {
            return Err("its bias is multiplied by zero".to_owned());
        }
        let named = node.input(input).cloned();
        let constant = named.as_ref().map(|w| model.constants.get(w).ok_or("its bias is computed")).transpose()?;
        let fits = constant.is_none_or(|t| {
            let width = layer.out_channels();
            t.dtype() == DType::F32 && t.len() == width && t.shape().last().is_none_or(|n| *n == width)
        });
        if !fits || (constant.is_none() && !matches!(node.op.as_str(), "Conv" | "ConvTranspose" | "Gemm")) {
            return Err("its bias is no float32 number per output channel".to_owned());
        }
        let is_shared = named.as_ref().is_some_and(|w| readers.get(w).is_some_and(|r| r.len() > 1));
        let wire = named.unwrap_or_else(|| Wire::from(format!("{}_bias", layer.weight)));
        Ok(Self { node: node.id, input, wire, factor, exists: constant.is_some(), is_shared })
    }

    /// The bias with `added` (one number per output channel) on top, as the node reads it.
    ///
    /// # Errors
    /// When a sum overflows f32, or the model has another constant there.
    fn sum(&self, model: &Model, added: &[f32]) -> Result<Tensor, String> {
        let old = match model.constants.get(&self.wire).filter(|_| self.exists) {
            Some(tensor) => (tensor.shape().to_vec(), tensor.to_f32().map_err(|e| e.to_string())?),
            None => (vec![added.len()], vec![0.0; added.len()]),
        };
        let values: Vec<f32> = old.1.iter().zip(added).map(|(b, a)| b + a / self.factor).collect();
        if values.len() != old.1.len() || values.iter().any(|v| !v.is_finite()) {
            return Err(format!("the bias \"{}\" cannot take what is to be added", self.wire));
        }
        Tensor::from_f32(old.0, &values).map_err(|e| e.to_string())
    }

    pub(super) fn write(&self, patch: &mut Patch, names: &mut Names, model: &Model, added: &[f32]) -> Result<(), GraphError> {
        let fail = |reason| GraphError::Patch { label: "correct a bias".to_owned(), reason };
        let tensor = self.sum(model, added).map_err(fail)?;
        if self.exists && !self.is_shared {
            patch.set_constant(self.wire.clone(), tensor);
            return Ok(());
        }
        let wire = names.fresh(if self.exists { format!("{}_corrected", self.wire) } else { self.wire.to_string() });
        patch.set_input(self.node, self.input, Some(wire.clone()));
        patch.set_constant(wire, tensor);
        Ok(())
    }
}
