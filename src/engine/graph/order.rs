//! Who produces a wire, who reads it, and in which order nodes can run.

use super::{Attribute, GraphError, Model, Node, Wire};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

/// Wire → index of the node that produces it.
#[must_use]
pub fn producers(model: &Model) -> BTreeMap<&Wire, usize> {
    model.nodes.iter().enumerate().flat_map(|(i, n)| n.outputs.iter().flatten().map(move |w| (w, i))).collect()
}

/// Wire → indices of the nodes that read it, sub-graphs included.
#[must_use]
pub fn consumers(model: &Model) -> BTreeMap<Wire, Vec<usize>> {
    let mut map: BTreeMap<Wire, Vec<usize>> = BTreeMap::new();
    for (i, node) in model.nodes.iter().enumerate() {
        for wire in reads(node) {
            map.entry(wire).or_default().push(i);
        }
    }
    map
}

/// Everything a node reads: its inputs and what its sub-graphs take from outside.
#[must_use]
pub fn reads(node: &Node) -> Vec<Wire> {
    let mut all: Vec<Wire> = node.inputs.iter().flatten().cloned().collect();
    for attribute in node.attributes.values() {
        if let Attribute::Graph(graph) = attribute {
            all.extend(captured(graph));
        }
    }
    all
}

/// What a sub-graph takes from the graph around it: wires that it reads or gives out and does not make.
#[must_use]
pub fn captured(graph: &Model) -> BTreeSet<Wire> {
    let mut inside: BTreeSet<&Wire> = graph.inputs.iter().map(|p| &p.wire).chain(graph.constants.keys()).collect();
    inside.extend(graph.nodes.iter().flat_map(|n| n.outputs.iter().flatten()));
    let outputs = graph.outputs.iter().map(|p| p.wire.clone());
    graph.nodes.iter().flat_map(reads).chain(outputs).filter(|w| !inside.contains(w)).collect()
}

/// Indices of the nodes in an order in which each comes after what it reads; ties keep the order
/// of the file.
///
/// # Errors
/// When a wire has no source or two, or the graph has a cycle.
pub fn topological(model: &Model) -> Result<Vec<usize>, GraphError> {
    let given: BTreeSet<&Wire> = model.inputs.iter().map(|p| &p.wire).chain(model.constants.keys()).collect();
    let mut source: BTreeMap<&Wire, usize> = BTreeMap::new();
    for (i, node) in model.nodes.iter().enumerate() {
        for wire in node.outputs.iter().flatten() {
            if given.contains(wire) || source.insert(wire, i).is_some() {
                return Err(GraphError::ProducedTwice { wire: wire.clone() });
            }
        }
    }
    let mut waiting = vec![0_usize; model.nodes.len()];
    let mut followers: Vec<Vec<usize>> = vec![Vec::new(); model.nodes.len()];
    for (i, node) in model.nodes.iter().enumerate() {
        for wire in reads(node) {
            match source.get(&wire) {
                Some(&from) => {
                    waiting[i] += 1;
                    followers[from].push(i);
                }
                None if given.contains(&wire) => {}
                None => return Err(GraphError::Undefined { node: node.label(), wire }),
            }
        }
    }
    if let Some(port) = model.outputs.iter().find(|p| !source.contains_key(&p.wire) && !given.contains(&p.wire)) {
        return Err(GraphError::OutputMissing { wire: port.wire.clone() });
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        waiting.iter().enumerate().filter(|(_, n)| **n == 0).map(|(i, _)| Reverse(i)).collect();
    let mut order = Vec::with_capacity(model.nodes.len());
    while let Some(Reverse(i)) = ready.pop() {
        order.push(i);
        for &follower in &followers[i] {
            waiting[follower] -= 1;
            if waiting[follower] == 0 {
                ready.push(Reverse(follower));
            }
        }
    }
    match waiting.iter().position(|n| *n > 0) {
        Some(i) => Err(GraphError::Cycle { node: model.nodes[i].label() }),
        None => Ok(order),
    }
}
