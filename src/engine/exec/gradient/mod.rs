//! Gradients of a network's loss with respect to its weights, one sample at a time, through candle's automatic
//! differentiation. Knows the operators of common convolutional and dense networks and says which it does not.

mod ops;
#[cfg(test)]
mod tests;
mod windows;

use super::ExecError;
use crate::engine::context::Ctx;
use crate::engine::graph::{Model, Node, Wire};
use crate::engine::tensor::{TensorError, Value};
use candle_core::{D, DType, Device, Tensor, Var};
use std::collections::{BTreeMap, BTreeSet};

/// What a sample is held against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// Its class.
    Class(usize),
    /// The class that the network itself finds likeliest, where none is known.
    Own,
}

/// Why a node could not be computed.
pub(super) enum Trouble {
    /// Gradients do not pass through it.
    Refused(String),
    Candle(candle_core::Error),
}

impl From<candle_core::Error> for Trouble {
    fn from(error: candle_core::Error) -> Self {
        Self::Candle(error)
    }
}

impl Trouble {
    fn at(self, node: &Node) -> ExecError {
        match self {
            Self::Refused(reason) => ExecError::Refused { node: node.label(), op: node.op.clone(), reason },
            Self::Candle(error) => ExecError::Node { node: node.label(), op: node.op.clone(), reason: error.to_string() },
        }
    }
}

/// The gradient of the cross-entropy of one sample (a batch of one) for each of `weights`, in the order of its
/// elements. A weight that the loss does not hang on has zeros.
///
/// # Errors
/// When the network has an operator or an output that gradients are not known of, or on cancel.
pub fn gradients(
    model: &Model,
    sample: &Value,
    target: Target,
    weights: &BTreeSet<Wire>,
    ctx: &Ctx,
) -> Result<BTreeMap<Wire, Vec<f32>>, ExecError> {
    let input = model.data_input().ok_or_else(|| ExecError::NoSource { wire: "the data input".into() })?;
    let mut vars: BTreeMap<Wire, Var> = BTreeMap::new();
    for wire in weights {
        let constant = model.constants.get(wire).ok_or_else(|| ExecError::NoSource { wire: wire.clone() })?;
        let value = Value::from_stored(constant)?.data.to_dtype(DType::F32).map_err(TensorError::from)?;
        vars.insert(wire.clone(), Var::from_tensor(&value).map_err(TensorError::from)?);
    }
    let mut wires: BTreeMap<Wire, Tensor> = BTreeMap::from([(input.wire.clone(), sample.data.clone())]);
    for node in &model.nodes {
        ctx.check()?;
        let made = ctx.pool().install(|| ops::compute(node, &Inputs { model, wires: &wires, vars: &vars }));
        for (wire, value) in node.outputs.iter().flatten().zip(made.map_err(|trouble| trouble.at(node))?) {
            wires.insert(wire.clone(), value);
        }
    }
    let loss = loss(model, &wires, target)?;
    ctx.check()?;
    let found = ctx.pool().install(|| loss.backward()).map_err(TensorError::from)?;
    let one = |(wire, var): (Wire, Var)| -> Result<(Wire, Vec<f32>), TensorError> {
        let values = match found.get(&var) {
            Some(gradient) => gradient.flatten_all()?.to_vec1::<f32>()?,
            None => vec![0.0; var.elem_count()],
        };
        Ok((wire, values))
    };
    Ok(vars.into_iter().map(one).collect::<Result<_, _>>()?)
}

/// Where a node's inputs come from.
pub(super) struct Inputs<'a> {
    model: &'a Model,
    wires: &'a BTreeMap<Wire, Tensor>,
    vars: &'a BTreeMap<Wire, Var>,
}

impl Inputs<'_> {
    pub fn opset(&self) -> i64 {
        self.model.opset()
    }

    pub fn has(node: &Node, index: usize) -> bool {
        node.input(index).is_some()
    }

    pub fn float(&self, node: &Node, index: usize) -> Result<Tensor, Trouble> {
        let wire = node.input(index).ok_or_else(|| Trouble::Refused(format!("input {index} is left out")))?;
        if let Some(var) = self.vars.get(wire) {
            return Ok(var.as_tensor().clone());
        }
        if let Some(made) = self.wires.get(wire) {
            return Ok(made.clone());
        }
        let constant = self.model.constants.get(wire).ok_or_else(|| Trouble::Refused(format!("\"{wire}\" has no value")))?;
        let value = Value::from_stored(constant).map_err(|e| Trouble::Refused(e.to_string()))?;
        Ok(value.data.to_dtype(DType::F32)?)
    }

    /// Whole numbers of an attribute or of a constant.
    pub fn ints(&self, node: &Node, name: &str, index: usize) -> Result<Option<Vec<i64>>, Trouble> {
        if let Some(values) = node.ints(name) {
            return Ok(Some(values.to_vec()));
        }
        let Some(wire) = node.input(index) else { return Ok(None) };
        let constant = self.model.constants.get(wire);
        let values =
            constant.ok_or_else(|| Trouble::Refused(format!("gradients take constant sizes, and \"{wire}\" is computed")))?;
        values.to_i64().map(Some).map_err(|e| Trouble::Refused(e.to_string()))
    }
}

/// Cross-entropy of the first output; one that is a softmax already is not put through another.
fn loss(model: &Model, wires: &BTreeMap<Wire, Tensor>, target: Target) -> Result<Tensor, ExecError> {
    let refused =
        |reason: &str| ExecError::Refused { node: "the output".to_owned(), op: "loss".to_owned(), reason: reason.to_owned() };
    let port = model.outputs.first().ok_or_else(|| refused("the network has none"))?;
    let output = wires.get(&port.wire).ok_or_else(|| ExecError::NoSource { wire: port.wire.clone() })?;
    let maker = model.nodes.iter().find(|n| n.output(0) == Some(&port.wire)).map_or("", |n| n.op.as_str());
    let classes = output.elem_count();
    if output.dims().iter().filter(|d| **d > 1).count() != 1 {
        return Err(refused("gradients are known of networks whose first output is one score per class"));
    }
    let compute = || -> candle_core::Result<Tensor> {
        let scores = output.flatten_all()?;
        let class = match target {
            Target::Class(class) => class.min(classes.saturating_sub(1)),
            Target::Own => scores.argmax(D::Minus1)?.to_scalar::<u32>()? as usize,
        };
        let logs = match maker {
            // Kept from the logarithm of nothing.
            "Softmax" => scores.maximum(&Tensor::full(f32::MIN_POSITIVE, scores.dims(), &Device::Cpu)?)?.log()?,
            "LogSoftmax" => scores,
            _ => log_softmax(&scores, 0)?,
        };
        logs.narrow(0, class, 1)?.neg()?.sum_all()
    };
    Ok(compute().map_err(TensorError::from)?)
}

/// Shifted by the largest, which changes nothing but what fits into a float.
pub(super) fn log_softmax(x: &Tensor, axis: usize) -> candle_core::Result<Tensor> {
    let shifted = x.broadcast_sub(&x.max_keepdim(axis)?.detach())?;
    shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(axis)?.log()?)
}
