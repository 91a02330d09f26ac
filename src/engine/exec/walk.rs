//! A walk through a model with all of some data at once, node by node: what lies on the wires that cross the place
//! reached is kept, so that weights behind it may change before the walk goes on.

use super::cuts::{bytes, crossing};
use super::{ExecError, Executor, Request};
use crate::engine::context::Ctx;
use crate::engine::graph::{Model, Wire, reads};
use crate::engine::tensor::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Where a walk is, and what lies there.
#[derive(Debug, Clone)]
pub struct Walk {
    /// Nodes of the model that have run.
    at: usize,
    /// Per batch, what the nodes from there on read of those before.
    batches: Vec<BTreeMap<Wire, Value>>,
}

impl Walk {
    /// Before the first node, with what is fed to each batch.
    #[must_use]
    pub fn new(batches: Vec<Vec<(Wire, Value)>>) -> Self {
        Self { at: 0, batches: batches.into_iter().map(|feeds| feeds.into_iter().collect()).collect() }
    }

    /// Runs the nodes of `model` up to number `to` (not counting it) on every batch. Nodes and wires must be those
    /// of the model that the walk began with; weights may be others.
    ///
    /// # Errors
    /// When the nodes cannot be run, or on cancel: the walk is then of no use any more.
    pub fn advance(&mut self, model: &Model, to: usize, ctx: &Ctx) -> Result<(), ExecError> {
        let to = to.min(model.nodes.len());
        if to <= self.at {
            return Ok(());
        }
        let kept: BTreeSet<Wire> = crossing(model, to).into_iter().collect();
        let between = model.nodes.get(self.at..to).unwrap_or_default();
        let made: BTreeSet<&Wire> = between.iter().flat_map(|n| n.outputs.iter().flatten()).collect();
        let read: BTreeSet<Wire> = between.iter().flat_map(reads).collect();
        let outputs: Vec<Wire> = kept.iter().filter(|w| made.contains(w)).cloned().collect();
        if !outputs.is_empty() {
            let held = self.batches.first();
            let inputs = read.into_iter().filter(|w| held.is_some_and(|values| values.contains_key(w))).collect();
            let request = Request { inputs: Some(inputs), outputs: Some(outputs), ..Request::default() };
            let executor = Executor::new(model, &request)?;
            for values in &mut self.batches {
                let feeds: Vec<(Wire, Value)> = values.iter().map(|(w, v)| (w.clone(), v.clone())).collect();
                let made = executor.run(&feeds, ctx, &mut |_, _| {})?;
                values.extend(made);
                values.retain(|wire, _| kept.contains(wire));
            }
        }
        for values in &mut self.batches {
            values.retain(|wire, _| kept.contains(wire));
        }
        self.at = to;
        Ok(())
    }

    /// What lies on a wire that crosses the place reached, batch by batch.
    pub fn on<'a>(&'a self, wire: &'a Wire) -> impl Iterator<Item = &'a Value> {
        self.batches.iter().filter_map(move |values| values.get(wire))
    }

    #[must_use]
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Goes on with the first `count` batches alone.
    pub fn keep(&mut self, count: usize) {
        self.batches.truncate(count);
    }

    /// Bytes that are kept.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.batches.iter().flat_map(BTreeMap::values).map(bytes).sum()
    }
}
