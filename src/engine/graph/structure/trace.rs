//! Follows channels through a graph, node by node.

use super::atoms::{Atom, Atoms};
use super::rules;
use crate::engine::graph::{Attribute, Dim, Model, Node, Wire, reads};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The channels along one axis of a wire; `None` where nothing can be cut (batch, places of an image).
pub(super) type Axis = Option<Arc<[Atom]>>;

/// The axes of one wire, first to last.
pub(super) type Axes = Vec<Axis>;

/// What is known of channels so far.
pub(super) struct Trace<'m> {
    pub model: &'m Model,
    pub atoms: Atoms,
    pub wires: BTreeMap<Wire, Axes>,
    readers: BTreeMap<Wire, Vec<usize>>,
}

impl<'m> Trace<'m> {
    /// Follows the channels of all constants through the whole model.
    pub fn of(model: &'m Model) -> Self {
        let readers = crate::engine::graph::consumers(model);
        let mut trace = Self { model, atoms: Atoms::default(), wires: BTreeMap::new(), readers };
        for node in &model.nodes {
            trace.pass(node);
        }
        for port in &model.outputs {
            let axes = trace.axes(&port.wire).unwrap_or_default();
            for axis in &axes {
                trace.hold(axis, &format!("they reach the output \"{}\"", port.wire));
            }
        }
        trace
    }

    fn pass(&mut self, node: &Node) {
        let plain =
            matches!(node.domain.as_str(), "" | "ai.onnx") && !node.attributes.values().any(|a| matches!(a, Attribute::Graph(_)));
        let found = if plain { rules::outputs(self, node) } else { None };
        if found.is_none() {
            let reason = format!("they reach \"{}\" ({}), through which channels are not followed", node.label(), node.op);
            for wire in reads(node) {
                let axes = self.axes(&wire).unwrap_or_default();
                for axis in &axes {
                    self.hold(axis, &reason);
                }
            }
        }
        let mut found = found.unwrap_or_default().into_iter();
        for wire in &node.outputs {
            let axes = found.next().unwrap_or_default();
            if let Some((wire, checked)) = wire.as_ref().and_then(|w| Some((w, self.checked(w, axes)?))) {
                self.wires.insert(wire.clone(), checked);
            }
        }
    }

    /// Axes as the wire's shape has them; channels that do not fit it are held. `None` where the rank is unknown.
    fn checked(&mut self, wire: &Wire, axes: Axes) -> Option<Axes> {
        let dims = self.dims(wire);
        let fits = |(axis, dim): (&Axis, &Dim)| axis.as_ref().is_none_or(|a| Some(a.len()) == dim.known());
        if dims.as_ref().is_some_and(|dims| dims.len() == axes.len() && axes.iter().zip(dims).all(fits)) {
            return Some(axes);
        }
        let reason = format!("the shape of \"{wire}\" is not known well enough");
        for axis in &axes {
            self.hold(axis, &reason);
        }
        Some(vec![None; dims?.len()])
    }

    pub fn dims(&self, wire: &Wire) -> Option<Vec<Dim>> {
        match self.model.constants.get(wire) {
            Some(tensor) => Some(tensor.shape().iter().map(|n| Dim::Known(*n)).collect()),
            None => self.model.facts.get(wire)?.shape.clone(),
        }
    }

    /// The axes of a wire; constants get channels of their own when they are first asked for. `None` where
    /// not even the rank is known.
    pub fn axes(&mut self, wire: &Wire) -> Option<Axes> {
        if let Some(axes) = self.wires.get(wire) {
            return Some(axes.clone());
        }
        let Some(tensor) = self.model.constants.get(wire) else { return Some(vec![None; self.dims(wire)?.len()]) };
        let axes: Axes = tensor.shape().iter().map(|n| Some(self.atoms.fresh(*n).into())).collect();
        self.wires.insert(wire.clone(), axes.clone());
        Some(axes)
    }

    /// The axes of a node's input.
    pub fn input(&mut self, node: &Node, index: usize) -> Option<Axes> {
        self.axes(node.input(index)?)
    }

    pub fn hold(&mut self, axis: &Axis, reason: &str) {
        if let Some(atoms) = axis {
            self.atoms.hold(atoms, reason);
        }
    }

    /// Channels that meet one to one in `node`. Where those of one side cannot be followed, the other's stay.
    pub fn tie(&mut self, a: &Axis, b: &Axis, node: &Node) -> Axis {
        match (a, b) {
            (Some(x), Some(y)) if x.len() == y.len() => {
                x.iter().zip(y.iter()).for_each(|(x, y)| self.atoms.join(*x, *y));
                a.clone()
            }
            (None, None) => None,
            _ => {
                let reason = format!("they meet, in \"{}\" ({}), what must stay as it is", node.label(), node.op);
                self.hold(a, &reason);
                self.hold(b, &reason);
                None
            }
        }
    }

    /// `count` channels that stay.
    pub fn held(&mut self, count: usize, reason: &str) -> Vec<Atom> {
        let atoms = self.atoms.fresh(count);
        self.atoms.hold(&atoms, reason);
        atoms
    }

    /// Channels that `node` mixes with each other: none can be taken away alone.
    pub fn mixed(&mut self, axis: &Axis, node: &Node) {
        self.hold(axis, &format!("\"{}\" ({}) computes across them", node.label(), node.op));
    }

    /// Whole numbers of an attribute or of a constant input.
    pub fn ints(&self, node: &Node, name: &str, index: usize) -> Option<Vec<i64>> {
        match node.ints(name) {
            Some(values) => Some(values.to_vec()),
            None => self.constant_ints(node.input(index)?),
        }
    }

    pub fn constant_ints(&self, wire: &Wire) -> Option<Vec<i64>> {
        let tensor = self.model.constants.get(wire).filter(|t| t.dtype().integer_range().is_some())?;
        tensor.to_i64().ok()
    }

    /// The nodes that read a wire.
    pub fn readers(&self, wire: &Wire) -> impl Iterator<Item = &'m Node> + use<'m, '_> {
        let model = self.model;
        self.readers.get(wire).into_iter().flatten().filter_map(|i| model.nodes.get(*i))
    }

    /// The node that makes a wire.
    pub fn maker(&self, wire: &Wire) -> Option<&'m Node> {
        self.model.nodes.iter().find(|n| n.outputs.iter().flatten().any(|w| w == wire))
    }
}
