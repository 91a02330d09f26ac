//! Residual branches: what lies between a split of the data and the sum in which the ways meet again.

use crate::engine::graph::passes::infer_shapes;
use crate::engine::graph::{Dim, Fact, GraphError, Model, Node, NodeId, Patch, Wire, consumers, producers, reads};
use std::collections::{BTreeMap, BTreeSet};

/// One way into a sum, which nothing else reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Branch {
    /// Its nodes, and the sum.
    nodes: BTreeSet<NodeId>,
    sum: Wire,
    /// What goes the other way.
    other: Wire,
}

impl Branch {
    /// The innermost branch that a node lies on.
    ///
    /// # Errors
    /// Why there is none that the network can do without.
    pub fn of(model: &Model, node: NodeId) -> Result<Self, String> {
        let mut reason = "no residual branch runs through it".to_owned();
        let readers = consumers(model);
        for sum in model.nodes.iter().filter(|n| n.op == "Add" && n.domain.is_empty()) {
            let (Some(a), Some(b), Some(out)) = (sum.input(0), sum.input(1), sum.output(0)) else { continue };
            for (own, other) in [(a, b), (b, a)] {
                let nodes = if own == other { BTreeSet::new() } else { way(model, &readers, sum, own) };
                if !nodes.contains(&node) {
                    continue;
                }
                match bypassed(model, &nodes, other, out) {
                    Ok(()) => {
                        let nodes = nodes.into_iter().chain([sum.id]).collect();
                        return Ok(Self { nodes, sum: out.clone(), other: other.clone() });
                    }
                    Err(why) => reason = why,
                }
            }
        }
        Err(reason)
    }

    /// The model without the branch: what goes the other way is all that is left of the sum.
    ///
    /// # Errors
    /// When the result is no valid graph.
    pub fn left_out(&self, model: &Model) -> Result<Model, GraphError> {
        let mut patch = Patch::new("leave out a residual branch", model);
        self.nodes.iter().for_each(|id| patch.remove_node(*id));
        patch.redirect(self.sum.clone(), self.other.clone());
        let mut left = patch.apply(model)?;
        let made: BTreeSet<Wire> = left.nodes.iter().flat_map(|n| n.outputs.iter().flatten().cloned()).collect();
        left.facts.retain(|wire, _| made.contains(wire) || !self.makes(model, wire));
        Ok(infer_shapes(&left))
    }

    fn makes(&self, model: &Model, wire: &Wire) -> bool {
        let own = model.nodes.iter().filter(|n| self.nodes.contains(&n.id));
        own.flat_map(|n| n.outputs.iter().flatten()).any(|w| w == wire)
    }
}

/// The nodes that work for one term of a sum alone.
fn way(model: &Model, readers: &BTreeMap<Wire, Vec<usize>>, sum: &Node, term: &Wire) -> BTreeSet<NodeId> {
    let mut own: BTreeSet<NodeId> = BTreeSet::new();
    let end = model.nodes.iter().position(|n| n.id == sum.id).unwrap_or(0);
    for node in model.nodes.iter().take(end).rev() {
        let works = |wire: &Wire| {
            let read = readers.get(wire).map_or(&[][..], Vec::as_slice);
            let for_own =
                |i: &usize| model.nodes.get(*i).is_some_and(|n| own.contains(&n.id) || (n.id == sum.id && wire == term));
            !read.is_empty() && read.iter().all(for_own) && model.outputs.iter().all(|port| port.wire != *wire)
        };
        if node.outputs.iter().flatten().next().is_some() && node.outputs.iter().flatten().all(works) {
            own.insert(node.id);
        }
    }
    own
}

/// # Errors
/// Why the network needs the branch.
fn bypassed(model: &Model, branch: &BTreeSet<NodeId>, other: &Wire, sum: &Wire) -> Result<(), String> {
    if model.constants.contains_key(other) {
        return Err("nothing goes past its branch but a constant".to_owned());
    }
    if model.outputs.iter().any(|port| port.wire == *sum) {
        return Err("the sum that its branch goes into is an output of the network".to_owned());
    }
    let shape = |wire: &Wire| model.facts.get(wire).and_then(|fact: &Fact| fact.shape.clone());
    let is_known = shape(other).is_some_and(|dims| dims.iter().skip(1).all(|dim| *dim != Dim::Unknown));
    if !is_known || shape(other) != shape(sum) {
        return Err("what goes past its branch is not shaped as the sum of both".to_owned());
    }
    // Where the ways part: something that the branch reads is read, or made, on the other way too.
    let makers = producers(model);
    let mut past: BTreeSet<Wire> = BTreeSet::new();
    let mut open = vec![other.clone()];
    while let Some(wire) = open.pop() {
        if past.insert(wire.clone())
            && let Some(maker) = makers.get(&&wire).and_then(|i| model.nodes.get(*i))
        {
            open.extend(reads(maker));
        }
    }
    let of_branch = model.nodes.iter().filter(|n| branch.contains(&n.id)).flat_map(reads);
    let mut begins = of_branch.filter(|wire| !model.constants.contains_key(wire));
    if begins.any(|wire| past.contains(&wire)) { Ok(()) } else { Err("its branch does not part from the other way".to_owned()) }
}
