//! Operators that there are none of here.

use super::control::is_control;
use super::ops::find;
use crate::engine::graph::{Attribute, Model, Node};

/// An operator without an implementation, and where the model uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MissingOperator {
    pub op: String,
    pub domain: String,
    pub node: String,
}

impl MissingOperator {
    /// The operator with its domain, where that is not ONNX's own.
    #[must_use]
    pub fn full_name(&self) -> String {
        if self.domain.is_empty() { self.op.clone() } else { format!("{}.{}", self.domain, self.op) }
    }

    pub(super) fn at(node: &Node) -> Self {
        Self { op: node.op.clone(), domain: node.domain.clone(), node: node.label() }
    }

    fn is_same_operator(&self, other: &Self) -> bool {
        self.op == other.op && self.domain == other.domain
    }
}

/// Every node of a model, those of its sub-graphs too, whose operator cannot be run.
#[must_use]
pub fn missing_operators(model: &Model) -> Vec<MissingOperator> {
    among(&model.nodes)
}

/// [`missing_operators`] of some nodes.
pub(super) fn among<'a>(nodes: impl IntoIterator<Item = &'a Node>) -> Vec<MissingOperator> {
    let mut missing = Vec::new();
    nodes.into_iter().for_each(|node| note(node, &mut missing));
    missing
}

fn note(node: &Node, missing: &mut Vec<MissingOperator>) {
    if !is_control(node) && find(node).is_none() {
        missing.push(MissingOperator::at(node));
    }
    for attribute in node.attributes.values() {
        if let Attribute::Graph(graph) = attribute {
            graph.nodes.iter().for_each(|n| note(n, missing));
        }
    }
}

/// The operators, each with the first node that asks for it.
pub(super) fn list(missing: &[MissingOperator]) -> String {
    let mut first: Vec<&MissingOperator> = Vec::new();
    for one in missing {
        if !first.iter().any(|m| m.is_same_operator(one)) {
            first.push(one);
        }
    }
    first.iter().map(|m| format!("{} (node \"{}\")", m.full_name(), m.node)).collect::<Vec<_>>().join(", ")
}
