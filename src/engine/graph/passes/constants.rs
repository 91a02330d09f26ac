//! Nodes that read constants alone are computed once and for all.

use crate::engine::graph::{Attribute, GraphError, Model, Node, NodeId};
use crate::engine::tensor::Tensor;
use std::collections::BTreeSet;

/// Computes a node from the values of the inputs that it has, in order; `None` where it cannot.
pub type Evaluate<'a> = dyn Fn(&Node, &[Tensor]) -> Option<Vec<Tensor>> + 'a;

/// A result may be this large even where its inputs were smaller.
const SMALL_BYTES: usize = 64 << 10;

/// How far constants are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Folding {
    /// Quantized weights keep the form they are stored in, and so does what would become larger.
    Compact,
    Whole,
}

/// Replaces nodes of constant inputs by their results. `evaluate` is given a node and the values of
/// the inputs that it has, in order, and answers `None` for what it cannot compute.
///
/// Left alone are nodes that make an output of the model, and what `folding` says.
///
/// # Errors
/// When the graph is not valid.
pub fn fold_constants(model: &Model, folding: Folding, evaluate: &Evaluate<'_>) -> Result<Model, GraphError> {
    let mut out = model.clone();
    out.validate()?;
    let outputs: BTreeSet<_> = out.outputs.iter().map(|p| p.wire.clone()).collect();
    let mut done: BTreeSet<NodeId> = BTreeSet::new();
    for node in &out.nodes {
        let quantized = matches!(node.op.as_str(), "QuantizeLinear" | "DequantizeLinear" | "DynamicQuantizeLinear");
        let kept = quantized && folding == Folding::Compact
            || node.attributes.values().any(|a| matches!(a, Attribute::Graph(_)))
            || node.outputs.iter().flatten().any(|w| outputs.contains(w));
        if kept {
            continue;
        }
        let inputs: Option<Vec<Tensor>> = node.inputs.iter().flatten().map(|w| out.constants.get(w).cloned()).collect();
        let Some(inputs) = inputs else { continue };
        let Some(values) = evaluate(node, &inputs) else { continue };
        let bytes = |all: &[Tensor]| all.iter().map(Tensor::size_bytes).sum::<usize>();
        if folding == Folding::Compact && node.op != "Constant" && bytes(&values) > bytes(&inputs).max(SMALL_BYTES) {
            continue;
        }
        for (wire, value) in node.outputs.iter().zip(values) {
            out.constants.extend(wire.clone().map(|w| (w, value)));
        }
        done.insert(node.id);
    }
    if !done.is_empty() {
        out.nodes.retain(|n| !done.contains(&n.id));
        out.drop_unread_constants();
    }
    Ok(out)
}
