//! What every model goes through after loading.

use super::{evaluate_node, ops};
use crate::engine::graph::passes::{Folding, fold_constants, infer_shapes};
use crate::engine::graph::{GraphError, Model, Node};
use crate::engine::tensor::{Tensor, Value};

/// Folds constants and fills in the shapes.
///
/// # Errors
/// When the graph is not valid.
pub fn prepare(model: &Model) -> Result<Model, GraphError> {
    let opset = model.opset();
    let folded = fold_constants(model, Folding::Compact, &|node, inputs| evaluate(node, inputs, opset))?;
    Ok(infer_shapes(&folded))
}

/// The model with all that constants alone decide computed, quantized weights too: as floats.
///
/// # Errors
/// When the graph is broken.
pub fn decode(model: &Model) -> Result<Model, GraphError> {
    let opset = model.opset();
    fold_constants(model, Folding::Whole, &|node, inputs| evaluate(node, inputs, opset))
}

/// Computes a node of stored constants; `None` where it cannot be.
fn evaluate(node: &Node, inputs: &[Tensor], opset: i64) -> Option<Vec<Tensor>> {
    ops::find(node)?;
    let mut given = inputs.iter();
    let values = node
        .inputs
        .iter()
        .map(|wire| match wire {
            Some(_) => Value::from_stored(given.next()?).ok().map(Some),
            None => Some(None),
        })
        .collect::<Option<Vec<Option<Value>>>>()?;
    let outputs = evaluate_node(node, &values, opset, None).ok()?;
    outputs.iter().map(|v| v.to_stored().ok()).collect()
}
