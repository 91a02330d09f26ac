//! A labelled change of a graph: collected first, applied whole or not at all.

use super::{Attribute, GraphError, Model, Node, NodeId, Wire};
use crate::engine::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};

/// What to change. Nothing happens until [`Patch::apply`].
#[derive(Debug, Default)]
pub struct Patch {
    label: String,
    remove: BTreeSet<NodeId>,
    add: Vec<Node>,
    constants: BTreeMap<Wire, Tensor>,
    inputs: Vec<(NodeId, usize, Option<Wire>)>,
    outputs: Vec<(NodeId, usize, Wire)>,
    redirect: BTreeMap<Wire, Wire>,
    next: usize,
}

impl Patch {
    /// `label` names the change in errors and in the history of a variant.
    #[must_use]
    pub fn new(label: impl Into<String>, model: &Model) -> Self {
        Self { label: label.into(), next: model.next_id().0, ..Self::default() }
    }

    pub fn remove_node(&mut self, id: NodeId) {
        self.remove.insert(id);
    }

    /// Adds a node and returns its id.
    pub fn add_node(
        &mut self,
        name: impl Into<String>,
        op: &str,
        inputs: Vec<Option<Wire>>,
        outputs: Vec<Wire>,
        attributes: impl IntoIterator<Item = (&'static str, Attribute)>,
    ) -> NodeId {
        let id = NodeId(self.next);
        self.next += 1;
        self.add.push(Node {
            id,
            name: name.into(),
            op: op.to_owned(),
            domain: String::new(),
            inputs,
            outputs: outputs.into_iter().map(Some).collect(),
            attributes: attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        });
        id
    }

    pub fn set_constant(&mut self, wire: Wire, value: Tensor) {
        self.constants.insert(wire, value);
    }

    /// Makes input `index` of a node read `wire` instead.
    pub fn set_input(&mut self, node: NodeId, index: usize, wire: Option<Wire>) {
        self.inputs.push((node, index, wire));
    }

    /// Makes output `index` of a node produce `wire` instead.
    pub fn set_output(&mut self, node: NodeId, index: usize, wire: Wire) {
        self.outputs.push((node, index, wire));
    }

    /// Makes every reader of `from` (nodes that were there before, and model outputs) read `to`.
    pub fn redirect(&mut self, from: Wire, to: Wire) {
        self.redirect.insert(from, to);
    }

    /// The patched model, checked; constants that nothing reads any more are gone.
    ///
    /// # Errors
    /// When the patch names a node that is not there or the result is no valid graph.
    pub fn apply(self, model: &Model) -> Result<Model, GraphError> {
        let fail = |reason: String| GraphError::Patch { label: self.label.clone(), reason };
        let mut out = model.clone();
        out.nodes.retain(|n| !self.remove.contains(&n.id));
        for node in &mut out.nodes {
            for wire in node.inputs.iter_mut().flatten() {
                if let Some(to) = self.redirect.get(wire) {
                    *wire = to.clone();
                }
            }
        }
        for (id, index, wire) in &self.inputs {
            let node =
                out.nodes.iter_mut().find(|n| n.id == *id).ok_or_else(|| fail(format!("node {} is not in the graph", id.0)))?;
            if node.inputs.len() <= *index {
                node.inputs.resize(index + 1, None);
            }
            node.inputs[*index].clone_from(wire);
        }
        for (id, index, wire) in &self.outputs {
            let output = out.nodes.iter_mut().find(|n| n.id == *id).and_then(|n| n.outputs.get_mut(*index));
            *output.ok_or_else(|| fail(format!("node {} has no output {index} in the graph", id.0)))? = Some(wire.clone());
        }
        // The outputs of a model keep their names: what was redirected is renamed at its source.
        for port in &out.outputs {
            if let Some(to) = self.redirect.get(&port.wire) {
                return Err(fail(format!("\"{}\" is an output of the model and cannot become \"{to}\"", port.wire)));
            }
        }
        out.nodes.extend(self.add);
        out.constants.extend(self.constants);
        out.validate().map_err(|e| GraphError::Patch { label: self.label.clone(), reason: e.to_string() })?;
        out.drop_unread_constants();
        Ok(out)
    }
}

impl Model {
    /// Constants that nothing reads go, and with them the inputs that only named them (IR 3 lists
    /// every initializer as an input).
    pub(crate) fn drop_unread_constants(&mut self) {
        let read: BTreeSet<Wire> =
            super::consumers(self).into_keys().chain(self.outputs.iter().map(|p| p.wire.clone())).collect();
        let constants = &self.constants;
        self.inputs.retain(|p| read.contains(&p.wire) || !constants.contains_key(&p.wire));
        self.constants.retain(|wire, _| read.contains(wire));
    }
}
