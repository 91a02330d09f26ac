//! Cuts: what lies on the wires between two nodes is kept, so that after a change to a layer only what
//! comes behind it runs again. Kept values are the very ones that the full pass made, and a step
//! computes the same bits whatever it is fused with: outputs are those of a full pass, to the bit.

use super::{ExecError, Executor, Request};
use crate::engine::context::Ctx;
use crate::engine::graph::{Model, NodeId, Wire, layers, reads};
use crate::engine::tensor::Value;
use std::collections::{BTreeMap, BTreeSet};

/// Values by wire.
type Values = Vec<(Wire, Value)>;

/// A place between two nodes, and what crosses it.
#[derive(Debug, Clone)]
struct Cut {
    /// Nodes of the model that come before.
    at: usize,
    wires: Vec<Wire>,
}

/// What is kept of some batches of one model.
#[derive(Debug)]
pub struct Checkpoints {
    /// Node → how many come before it.
    places: BTreeMap<NodeId, usize>,
    /// In running order; the first is the model's input.
    cuts: Vec<Cut>,
    /// Per batch, every wire that some cut needs.
    batches: Vec<BTreeMap<Wire, Value>>,
    bytes: usize,
}

/// The part of a (changed) model that lies behind a cut, ready to run.
#[derive(Debug)]
pub struct Suffix {
    executor: Executor,
    wires: Vec<Wire>,
    /// Nodes of the model that need not run.
    pub skipped: usize,
}

impl Checkpoints {
    /// Runs `model` on every batch and keeps what crosses the cuts before its layers: of all of them as
    /// many as `budget` bytes hold, those first that save most multiply-accumulates per byte. The feeds,
    /// which the caller holds anyway, are kept beyond the budget. Gives the outputs per batch as well.
    ///
    /// # Errors
    /// When the model cannot be run, or the work was cancelled.
    pub fn record(model: &Model, batches: &[Values], budget: usize, ctx: &Ctx) -> Result<(Self, Vec<Values>), ExecError> {
        let places: BTreeMap<NodeId, usize> = model.nodes.iter().enumerate().map(|(i, n)| (n.id, i)).collect();
        let start = Cut { at: 0, wires: crossing(model, 0) };
        let mut candidates: Vec<Cut> = Vec::new();
        for layer in layers(model) {
            let at = layer.node.and_then(|node| places.get(&node)).copied().unwrap_or(0);
            if at > 0 && candidates.last().is_none_or(|c| c.at < at) {
                candidates.push(Cut { at, wires: crossing(model, at) });
            }
        }
        let chosen = match batches.first() {
            Some(first) if budget > 0 => {
                let sizes = measure(model, &candidates, first, ctx)?;
                choose(model, candidates, &sizes, budget / batches.len().max(1))
            }
            _ => Vec::new(),
        };
        let taps: Vec<Wire> =
            chosen.iter().flat_map(|c| c.wires.iter().cloned()).collect::<BTreeSet<Wire>>().into_iter().collect();
        let executor = Executor::new(model, &Request { taps, ..Request::default() })?;
        let mut kept = Self { places, cuts: [start].into_iter().chain(chosen).collect(), batches: Vec::new(), bytes: 0 };
        let mut outputs = Vec::with_capacity(batches.len());
        for feeds in batches {
            let mut values: BTreeMap<Wire, Value> = feeds.iter().cloned().collect();
            outputs.push(executor.run(feeds, ctx, &mut |wire, value| {
                values.insert(wire.clone(), value.clone());
            })?);
            kept.bytes +=
                values.iter().filter(|(w, _)| !feeds.iter().any(|(f, _)| f == *w)).map(|(_, v)| bytes(v)).sum::<usize>();
            kept.batches.push(values);
        }
        Ok((kept, outputs))
    }

    /// Bytes kept beside the feeds.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Batches that were recorded.
    #[must_use]
    pub fn batches(&self) -> usize {
        self.batches.len()
    }

    /// Plans what must run when nothing before node `first` of the recorded model has changed. `changed`
    /// may have other weights and further nodes; wires must have kept their names. The request's inputs
    /// are set here.
    ///
    /// # Errors
    /// When the changed model cannot be planned.
    pub fn behind(&self, changed: &Model, first: NodeId, request: &Request) -> Result<Suffix, ExecError> {
        let at = self.places.get(&first).copied().unwrap_or(0);
        let found = self.cuts.iter().rev().find(|c| c.at <= at);
        let (wires, skipped) = found.map_or((Vec::new(), 0), |c| (c.wires.clone(), c.at));
        let request = Request { inputs: Some(wires.clone()), ..request.clone() };
        Ok(Suffix { executor: Executor::new(changed, &request)?, wires, skipped })
    }

    /// Runs the suffix on what is kept of batch `index`.
    ///
    /// # Errors
    /// As [`Executor::run`], or when there is no such batch.
    pub fn run(&self, suffix: &Suffix, index: usize, ctx: &Ctx, tap: &mut dyn FnMut(&Wire, &Value)) -> Result<Values, ExecError> {
        let kept = self.batches.get(index);
        let feed = |wire: &Wire| -> Result<(Wire, Value), ExecError> {
            let value = kept.and_then(|values| values.get(wire)).ok_or_else(|| ExecError::NoSource { wire: wire.clone() })?;
            Ok((wire.clone(), value.clone()))
        };
        let feeds = suffix.wires.iter().map(feed).collect::<Result<Values, ExecError>>()?;
        suffix.executor.run(&feeds, ctx, tap)
    }
}

pub(super) fn bytes(value: &Value) -> usize {
    value.shape().iter().product::<usize>() * value.data.dtype().size_in_bytes()
}

/// What nodes from `at` on read of what lies before, constants aside.
pub(super) fn crossing(model: &Model, at: usize) -> Vec<Wire> {
    let (before, after) = model.nodes.split_at(at.min(model.nodes.len()));
    let inputs = model.inputs.iter().map(|p| &p.wire).filter(|w| !model.constants.contains_key(*w));
    let made: BTreeSet<&Wire> = before.iter().flat_map(|n| n.outputs.iter().flatten()).chain(inputs).collect();
    let read = after.iter().flat_map(reads).chain(model.outputs.iter().map(|p| p.wire.clone()));
    read.filter(|w| made.contains(w)).collect::<BTreeSet<Wire>>().into_iter().collect()
}

/// Bytes of each wire that the candidates need, as one batch shows them.
fn measure(model: &Model, candidates: &[Cut], feeds: &Values, ctx: &Ctx) -> Result<BTreeMap<Wire, usize>, ExecError> {
    let taps: BTreeSet<Wire> = candidates.iter().flat_map(|c| c.wires.iter().cloned()).collect();
    let executor = Executor::new(model, &Request { taps: taps.into_iter().collect(), ..Request::default() })?;
    let mut sizes = BTreeMap::new();
    executor.run(feeds, ctx, &mut |wire, value| {
        sizes.insert(wire.clone(), bytes(value));
    })?;
    // What is fed need not be kept again.
    for (wire, _) in feeds {
        sizes.insert(wire.clone(), 0);
    }
    Ok(sizes)
}

/// Greedily those cuts that save most work per byte, while they fit.
fn choose(model: &Model, candidates: Vec<Cut>, sizes: &BTreeMap<Wire, usize>, budget: usize) -> Vec<Cut> {
    let macs: BTreeMap<NodeId, u64> = layers(model).into_iter().filter_map(|l| Some((l.node?, l.macs.unwrap_or(1)))).collect();
    // Work of the nodes before each candidate.
    let mut work = vec![0_u64; model.nodes.len() + 1];
    for (i, node) in model.nodes.iter().enumerate() {
        work[i + 1] = work[i] + macs.get(&node.id).copied().unwrap_or(0) + 1;
    }
    let mut chosen: Vec<bool> = vec![false; candidates.len()];
    let (mut held, mut used): (BTreeSet<&Wire>, usize) = (BTreeSet::new(), 0);
    loop {
        let cost = |i: usize| -> usize {
            candidates[i].wires.iter().filter(|w| !held.contains(w)).map(|w| sizes.get(w).copied().unwrap_or(0)).sum()
        };
        // A change at layer j runs from the last chosen cut up to it; choosing i spares those between i
        // and the next chosen one the work from that cut to i.
        let gain = |i: usize| -> u64 {
            let last = (0..i).rev().find(|&j| chosen[j]).map_or(0, |j| work[candidates[j].at]);
            let next = (i + 1..candidates.len()).find(|&j| chosen[j]).unwrap_or(candidates.len());
            (work[candidates[i].at] - last) * (next - i) as u64
        };
        let fitting = (0..candidates.len()).filter(|&i| !chosen[i] && used + cost(i) <= budget && gain(i) > 0);
        let worth = |i: usize| gain(i) as f64 / (cost(i) + 1) as f64;
        let Some(best) = fitting.max_by(|&a, &b| worth(a).total_cmp(&worth(b)).then(b.cmp(&a))) else { break };
        used += cost(best);
        chosen[best] = true;
        held.extend(&candidates[best].wires);
    }
    drop(held);
    candidates.into_iter().zip(chosen).filter_map(|(cut, chosen)| chosen.then_some(cut)).collect()
}
