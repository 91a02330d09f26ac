//! The plan: which steps run in which order on which slots, and when a slot is emptied.

use super::data::scalar;
use super::integer::{self, IntegerStep};
use super::ops::{FakeQuantize, Operator, PackedConv, find};
use super::separable::is_separable;
use super::{Arithmetic, ExecError, MissingOperator, Request, evaluate_node};
use crate::engine::graph::{Fact, Model, Node, Wire, reads, topological};
use crate::engine::tensor::{TensorError, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Where a value lies while a plan runs.
pub(super) type Slot = usize;

pub(super) enum Work {
    Node(Operator),
    /// Input 0 convolved; input 1, if there, added; then limits.
    Conv(Box<PackedConv>),
    Quantize(FakeQuantize),
    Integer(IntegerStep),
}

pub(super) struct Step {
    pub work: Work,
    pub node: Node,
    pub inputs: Vec<Option<Slot>>,
    pub outputs: Vec<Option<Slot>>,
    /// Slots that nothing reads after this step.
    pub free: Vec<Slot>,
}

pub(super) struct Feed {
    pub wire: Wire,
    pub slot: Slot,
    /// What the model declares, for its own inputs.
    pub fact: Fact,
}

pub(super) struct Plan {
    pub opset: i64,
    pub slots: usize,
    pub feeds: Vec<Feed>,
    pub constants: Vec<(Slot, Value)>,
    pub steps: Vec<Step>,
    pub outputs: Vec<(Wire, Slot)>,
    pub taps: BTreeMap<Slot, Wire>,
    /// Where samples of a batch can run apart: bytes that the widest step touches for one of them.
    pub separable: Option<usize>,
}

/// A step before slots are given out.
pub(super) struct Draft {
    pub work: Work,
    pub node: Node,
    pub inputs: Vec<Option<Wire>>,
    pub outputs: Vec<Option<Wire>>,
}

pub(super) fn make(model: &Model, request: &Request) -> Result<Plan, ExecError> {
    let feeds: Vec<Wire> = match &request.inputs {
        Some(wires) => wires.clone(),
        None => model.inputs.iter().filter(|p| !model.constants.contains_key(&p.wire)).map(|p| p.wire.clone()).collect(),
    };
    let outputs: Vec<Wire> = match &request.outputs {
        Some(wires) => wires.clone(),
        None => model.outputs.iter().map(|p| p.wire.clone()).collect(),
    };
    let kept: BTreeSet<Wire> = outputs.iter().chain(&request.taps).cloned().collect();
    let nodes = needed(model, &feeds, &kept)?;
    refuse_missing(&nodes)?;
    let fed: BTreeSet<Wire> = feeds.iter().cloned().collect();
    let (constants, drafts) = fold(model, nodes, &fed, &kept)?;
    let drafts = match request.arithmetic {
        Arithmetic::Simulated => drafts,
        Arithmetic::Integer => integer::lower(drafts, &constants, model, &kept),
    };
    let mut constants = constants;
    let drafts = drafts.into_iter().map(|d| turn_weight(d, &mut constants)).collect::<Result<Vec<Draft>, ExecError>>()?;
    let drafts = fuse(drafts, &constants, &kept)?;
    let sample_bytes = sample_bytes(&drafts, model);
    let separable = request.taps.is_empty() && is_separable(&drafts, &feeds, &outputs, &constants, model);
    Ok(lay_out(model, feeds, outputs, &request.taps, constants, drafts, separable.then_some(sample_bytes)))
}

/// The nodes between what is fed and what is wanted, in running order.
fn needed<'m>(model: &'m Model, feeds: &[Wire], wanted: &BTreeSet<Wire>) -> Result<Vec<&'m Node>, ExecError> {
    let producers = crate::engine::graph::producers(model);
    let mut seen: BTreeSet<Wire> = feeds.iter().cloned().collect();
    let mut chosen: BTreeSet<usize> = BTreeSet::new();
    let mut open: Vec<Wire> = wanted.iter().cloned().collect();
    while let Some(wire) = open.pop() {
        if !seen.insert(wire.clone()) || model.constants.contains_key(&wire) {
            continue;
        }
        let Some(&index) = producers.get(&wire) else { return Err(ExecError::NoSource { wire }) };
        if chosen.insert(index) {
            open.extend(reads(&model.nodes[index]));
        }
    }
    let order = topological(model)?;
    Ok(order.into_iter().filter(|i| chosen.contains(i)).map(|i| &model.nodes[i]).collect())
}

fn refuse_missing(nodes: &[&Node]) -> Result<(), ExecError> {
    let mut missing: Vec<MissingOperator> = Vec::new();
    for node in nodes.iter().filter(|n| find(n).is_none()) {
        if !missing.iter().any(|m| m.op == node.op && m.domain == node.domain) {
            missing.push(MissingOperator { op: node.op.clone(), domain: node.domain.clone(), node: node.label() });
        }
    }
    if missing.is_empty() { Ok(()) } else { Err(ExecError::Unsupported(missing)) }
}

pub(super) type Constants = BTreeMap<Wire, Value>;

/// Computes nodes that read constants alone; the rest become drafts.
fn fold(
    model: &Model,
    nodes: Vec<&Node>,
    fed: &BTreeSet<Wire>,
    kept: &BTreeSet<Wire>,
) -> Result<(Constants, Vec<Draft>), ExecError> {
    let mut constants = Constants::new();
    let mut drafts: Vec<Draft> = Vec::new();
    let wanted = nodes.iter().flat_map(|n| reads(n)).chain(kept.iter().cloned()).filter(|w| !fed.contains(w));
    for wire in wanted {
        if let Some(tensor) = model.constants.get(&wire)
            && !constants.contains_key(&wire)
        {
            constants.insert(wire, Value::from_stored(tensor)?);
        }
    }
    for node in nodes {
        let Some(operator) = find(node) else { continue };
        let known = node.inputs.iter().flatten().all(|w| constants.contains_key(w))
            && !node.outputs.iter().flatten().any(|w| fed.contains(w));
        if known {
            let inputs: Vec<Option<Value>> = node.inputs.iter().map(|w| constants.get(w.as_ref()?).cloned()).collect();
            let values = evaluate_node(node, &inputs, model.opset(), None)?;
            for (wire, value) in node.outputs.iter().zip(values) {
                constants.extend(wire.clone().map(|w| (w, value)));
            }
            continue;
        }
        // A wire that is fed is not computed a second time.
        let outputs = node.outputs.iter().map(|w| w.clone().filter(|w| !fed.contains(w))).collect();
        drafts.push(Draft { work: Work::Node(operator), node: node.clone(), inputs: node.inputs.clone(), outputs });
    }
    Ok((constants, drafts))
}

/// A constant weight that `Gemm` would turn around at every run is turned once.
fn turn_weight(mut draft: Draft, constants: &mut Constants) -> Result<Draft, ExecError> {
    let node = &draft.node;
    let weight = node.input(1).and_then(|w| Some((w.clone(), constants.get(w)?.clone())));
    let Some((name, value)) = weight.filter(|_| node.op == "Gemm" && node.int("transB").unwrap_or(0) != 0) else {
        return Ok(draft);
    };
    if value.shape().len() != 2 {
        return Ok(draft);
    }
    let data = value.data.t().and_then(|t| t.contiguous()).map_err(TensorError::from)?;
    let turned = Wire::from(format!("{name}\u{0}turned"));
    constants.insert(turned.clone(), Value { dtype: value.dtype, data });
    draft.node.inputs[1] = Some(turned.clone());
    draft.inputs[1] = Some(turned);
    draft.node.attributes.remove("transB");
    Ok(draft)
}

/// Bytes of f32 that the widest step reads and writes for one sample, as far as shapes are known.
fn sample_bytes(drafts: &[Draft], model: &Model) -> usize {
    let size = |wire: &Wire| -> usize {
        let shape = model.facts.get(wire).and_then(|f| f.shape.as_ref());
        shape.map_or(0, |s| s.iter().skip(1).map(|d| d.known().unwrap_or(1)).product::<usize>() * 4)
    };
    drafts.iter().map(|d| d.inputs.iter().chain(&d.outputs).flatten().map(size).sum()).max().unwrap_or(0)
}

/// Joins steps whose values in between nobody sees.
fn fuse(drafts: Vec<Draft>, constants: &Constants, kept: &BTreeSet<Wire>) -> Result<Vec<Draft>, ExecError> {
    let mut readers: BTreeMap<Wire, usize> = BTreeMap::new();
    for wire in drafts.iter().flat_map(|d| reads(&d.node)) {
        *readers.entry(wire).or_default() += 1;
    }
    let alone = |wire: &Wire| readers.get(wire) == Some(&1) && !kept.contains(wire);
    let mut done: Vec<Option<Draft>> = Vec::with_capacity(drafts.len());
    // Which finished step made a wire.
    let mut made: BTreeMap<Wire, usize> = BTreeMap::new();
    for draft in drafts {
        let fused = join_quantize(&draft, &done, &made, constants, &alone)
            .or_else(|| join_limits(&draft, &mut done, &made, constants, &alone))
            .or_else(|| join_add(&draft, &mut done, &made, constants, &alone));
        let draft = match fused {
            Some((previous, joined)) => {
                done[previous] = None;
                joined
            }
            None => pack(draft, constants)?,
        };
        for wire in draft.outputs.iter().flatten() {
            made.insert(wire.clone(), done.len());
        }
        done.push(Some(draft));
    }
    Ok(done.into_iter().flatten().collect())
}

/// A convolution with constant weights gets them packed.
fn pack(draft: Draft, constants: &Constants) -> Result<Draft, ExecError> {
    let constant = |i: usize| draft.node.input(i).and_then(|w| constants.get(w));
    let whole =
        draft.node.op == "Conv" && draft.node.domain.is_empty() && draft.node.input(2).is_none_or(|w| constants.contains_key(w));
    let Some(weight) = constant(1).filter(|_| whole) else { return Ok(draft) };
    let conv = PackedConv::new(&draft.node, weight, constant(2)).map_err(|e| ExecError::at(&draft.node, e))?;
    Ok(Draft { work: Work::Conv(Box::new(conv)), inputs: vec![draft.inputs.first().cloned().flatten()], ..draft })
}

type Joined = Option<(usize, Draft)>;

fn join_quantize(
    draft: &Draft,
    done: &[Option<Draft>],
    made: &BTreeMap<Wire, usize>,
    constants: &Constants,
    alone: &dyn Fn(&Wire) -> bool,
) -> Joined {
    if draft.node.op != "DequantizeLinear" {
        return None;
    }
    let between = draft.node.input(0).filter(|w| alone(w))?;
    let index = *made.get(between)?;
    let first = done[index].as_ref().filter(|d| d.node.op == "QuantizeLinear")?;
    let given = |node: &Node| [1, 2].map(|i| node.input(i).map(|w| constants.get(w)));
    let (a, b) = (given(&first.node), given(&draft.node));
    // A scale or zero point that is computed cannot be looked at now.
    if a.iter().chain(&b).any(|v| matches!(v, Some(None))) {
        return None;
    }
    let work = FakeQuantize::of((&first.node, &draft.node), a.map(Option::flatten), b.map(Option::flatten))?;
    let inputs = vec![first.inputs.first().cloned().flatten()];
    Some((index, Draft { work: Work::Quantize(work), node: draft.node.clone(), inputs, outputs: draft.outputs.clone() }))
}

/// `Relu` or `Clip` after a convolution.
fn join_limits(
    draft: &Draft,
    done: &mut [Option<Draft>],
    made: &BTreeMap<Wire, usize>,
    constants: &Constants,
    alone: &dyn Fn(&Wire) -> bool,
) -> Joined {
    let node = &draft.node;
    let constant = |i: usize| -> Option<Option<f32>> {
        match node.input(i) {
            None => Some(None),
            Some(wire) => scalar(constants.get(wire)?).ok().map(Some),
        }
    };
    let (low, high) = match node.op.as_str() {
        "Relu" => (0.0, f32::INFINITY),
        "Clip" => (
            constant(1)?.or(node.float("min")).unwrap_or(f32::NEG_INFINITY),
            constant(2)?.or(node.float("max")).unwrap_or(f32::INFINITY),
        ),
        _ => return None,
    };
    let index = *made.get(node.input(0).filter(|w| alone(w))?)?;
    let unlimited = |c: &PackedConv| c.low == f32::NEG_INFINITY && c.high == f32::INFINITY;
    if !matches!(&done[index], Some(Draft { work: Work::Conv(conv), .. }) if unlimited(conv)) {
        return None;
    }
    let mut joined = done[index].take()?;
    if let Work::Conv(conv) = &mut joined.work {
        (conv.low, conv.high) = (low, high);
    }
    joined.outputs.clone_from(&draft.outputs);
    Some((index, joined))
}

/// `Add` of a convolution and something else of its shape (checked when it runs).
fn join_add(
    draft: &Draft,
    done: &mut [Option<Draft>],
    made: &BTreeMap<Wire, usize>,
    constants: &Constants,
    alone: &dyn Fn(&Wire) -> bool,
) -> Joined {
    if draft.node.op != "Add" {
        return None;
    }
    let (a, b) = (draft.node.input(0)?, draft.node.input(1)?);
    // The later of two convolutions takes the sum: its result is still near.
    let mut choices: Vec<(usize, &Wire)> = [(a, b), (b, a)]
        .into_iter()
        .filter(|(x, other)| alone(x) && !constants.contains_key(*other))
        .filter_map(|(x, other)| Some((*made.get(x)?, other)))
        .collect();
    choices.sort_by_key(|c| std::cmp::Reverse(c.0));
    let free = |index: usize| {
        matches!(&done[index], Some(Draft { work: Work::Conv(conv), inputs, .. })
            if inputs.len() == 1 && conv.low == f32::NEG_INFINITY && conv.high == f32::INFINITY)
    };
    let (index, other) = choices.into_iter().find(|(index, _)| free(*index))?;
    let mut joined = done[index].take()?;
    joined.inputs.push(Some(other.clone()));
    joined.outputs.clone_from(&draft.outputs);
    Some((index, joined))
}

/// Gives out slots and notes when each is last read.
fn lay_out(
    model: &Model,
    feeds: Vec<Wire>,
    outputs: Vec<Wire>,
    taps: &[Wire],
    constants: Constants,
    drafts: Vec<Draft>,
    separable: Option<usize>,
) -> Plan {
    let mut slots: BTreeMap<Wire, Slot> = BTreeMap::new();
    let mut slot = |wire: &Wire| {
        let next = slots.len();
        *slots.entry(wire.clone()).or_insert(next)
    };
    let feeds: Vec<Feed> = feeds
        .into_iter()
        .map(|wire| {
            let port = model.inputs.iter().find(|p| p.wire == wire);
            Feed { slot: slot(&wire), fact: port.map(|p| p.fact.clone()).unwrap_or_default(), wire }
        })
        .collect();
    let mut steps: Vec<Step> = drafts
        .into_iter()
        .map(|d| Step {
            inputs: d.inputs.iter().map(|w| w.as_ref().map(&mut slot)).collect(),
            outputs: d.outputs.iter().map(|w| w.as_ref().map(&mut slot)).collect(),
            work: d.work,
            node: d.node,
            free: Vec::new(),
        })
        .collect();
    let outputs: Vec<(Wire, Slot)> = outputs.into_iter().map(|w| (w.clone(), slot(&w))).collect();
    let taps: BTreeMap<Slot, Wire> = taps.iter().map(|w| (slot(w), w.clone())).collect();
    let held: BTreeSet<Slot> = outputs.iter().map(|(_, s)| *s).collect();
    let mut seen = held;
    for step in steps.iter_mut().rev() {
        for &slot in step.inputs.iter().chain(&step.outputs).flatten() {
            if seen.insert(slot) {
                step.free.push(slot);
            }
        }
    }
    let constants = constants.into_iter().filter_map(|(w, v)| slots.get(&w).map(|s| (*s, v))).collect();
    Plan { opset: model.opset(), slots: slots.len(), feeds, constants, steps, outputs, taps, separable }
}
