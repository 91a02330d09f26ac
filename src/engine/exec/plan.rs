//! The plan: which steps run in which order on which slots, and when a slot is emptied.

use super::control::{self, Control, Planned};
use super::data::scalar;
use super::integer::{self, IntegerStep};
use super::ops::{FakeQuantize, Operator, PackedConv, PackedProduct, Recurrent, find};
use super::places::Affine;
use super::separable::is_separable;
use super::{Arithmetic, ExecError, Request, attributes, evaluate_node, missing};
use crate::engine::graph::{Dim, Fact, Model, Node, NodeId, Wire, layers, producers, reads, topological};
use crate::engine::tensor::{DType, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Where a value lies while a plan runs.
pub(super) type Slot = usize;

pub(super) enum Work {
    Node(Operator),
    /// Input 0 convolved; input 1, if there, added; then limits.
    Conv(Box<PackedConv>),
    /// One convolution per input, their results side by side along the channels.
    Beside(Vec<PackedConv>),
    Quantize(FakeQuantize),
    /// Input 0 times a constant matrix; then limits.
    Product(Box<PackedProduct>),
    Affine(Affine),
    /// Inputs: data, lengths of the sequences, initial states.
    Recurrent(Box<Recurrent>),
    /// Inputs: the node's own, then what its sub-graphs take from outside.
    Control(Box<Control>),
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
    /// Multiply-accumulates of the layers for one sample, as far as they are known.
    pub macs: u64,
}

impl Plan {
    /// The outputs, where all of them are constants and nothing is left to run.
    pub fn finished(&self) -> Option<Vec<Value>> {
        let constant = |slot: Slot| self.constants.iter().find(|(s, _)| *s == slot).map(|(_, v)| v.clone());
        self.outputs.iter().map(|(_, slot)| constant(*slot)).collect::<Option<_>>().filter(|_| self.steps.is_empty())
    }
}

/// A step before slots are given out.
pub(super) struct Draft {
    pub work: Work,
    pub node: Node,
    pub inputs: Vec<Option<Wire>>,
    pub outputs: Vec<Option<Wire>>,
}

pub(super) fn make(model: &Model, request: &Request) -> Result<Plan, ExecError> {
    make_inside(model, request, Constants::new())
}

/// [`make`] for a sub-graph: `outer` are constants of the graph around it.
pub(super) fn make_inside(model: &Model, request: &Request, outer: Constants) -> Result<Plan, ExecError> {
    let feeds: Vec<Wire> = match &request.inputs {
        Some(wires) => wires.clone(),
        None => model.inputs.iter().filter(|p| !model.constants.contains_key(&p.wire)).map(|p| p.wire.clone()).collect(),
    };
    let outputs: Vec<Wire> = match &request.outputs {
        Some(wires) => wires.clone(),
        None => model.outputs.iter().map(|p| p.wire.clone()).collect(),
    };
    let kept: BTreeSet<Wire> = outputs.iter().chain(&request.taps).cloned().collect();
    let nodes = needed(model, &feeds, &outer, &kept)?;
    refuse_missing(&nodes)?;
    for node in &nodes {
        attributes::check(node).map_err(|reason| ExecError::Node { node: node.label(), op: node.op.clone(), reason })?;
    }
    let fed: BTreeSet<Wire> = feeds.iter().cloned().collect();
    let (constants, drafts) = fold(model, nodes, &fed, &kept, outer)?;
    let drafts = match request.arithmetic {
        Arithmetic::Simulated => drafts,
        Arithmetic::Integer => integer::lower(drafts, &constants, model, &kept),
    };
    let drafts = drafts.into_iter().map(|d| pack_recurrent(d, &constants)).collect::<Result<Vec<Draft>, ExecError>>()?;
    let drafts = fuse(drafts, model, &constants, &kept)?;
    let sample_bytes = sample_bytes(&drafts, model);
    let separable = request.taps.is_empty() && is_separable(&drafts, &feeds, &outputs, &constants, model);
    let chosen: BTreeSet<NodeId> = drafts.iter().map(|d| d.node.id).collect();
    let macs = layers(model).iter().filter(|l| l.node.is_some_and(|node| chosen.contains(&node))).filter_map(|l| l.macs).sum();
    let plan = lay_out(model, feeds, outputs, &request.taps, constants, drafts);
    Ok(Plan { separable: separable.then_some(sample_bytes), macs, ..plan })
}

/// The nodes between what is fed and what is wanted, in running order.
fn needed<'m>(model: &'m Model, feeds: &[Wire], outer: &Constants, wanted: &BTreeSet<Wire>) -> Result<Vec<&'m Node>, ExecError> {
    let producers = producers(model);
    let mut seen: BTreeSet<Wire> = feeds.iter().chain(outer.keys()).cloned().collect();
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
    let missing = missing::among(nodes.iter().copied());
    if missing.is_empty() { Ok(()) } else { Err(ExecError::Unsupported(missing)) }
}

pub(super) type Constants = BTreeMap<Wire, Value>;

/// Computes nodes that read constants alone; the rest become drafts.
fn fold(
    model: &Model,
    nodes: Vec<&Node>,
    fed: &BTreeSet<Wire>,
    kept: &BTreeSet<Wire>,
    outer: Constants,
) -> Result<(Constants, Vec<Draft>), ExecError> {
    let mut constants = outer;
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
        // A wire that is fed is not computed a second time.
        let outputs = node.outputs.iter().map(|w| w.clone().filter(|w| !fed.contains(w))).collect();
        if control::is_control(node) {
            match control::plan(node, &constants)? {
                Planned::Values(values) => {
                    let free = |(wire, value): (&Option<Wire>, Value)| Some((wire.clone().filter(|w| !fed.contains(w))?, value));
                    constants.extend(node.outputs.iter().zip(values).filter_map(free));
                }
                Planned::Work(control, inputs) => {
                    drafts.push(Draft { work: Work::Control(control), node: node.clone(), inputs, outputs });
                }
            }
            continue;
        }
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
        drafts.push(Draft { work: Work::Node(operator), node: node.clone(), inputs: node.inputs.clone(), outputs });
    }
    Ok((constants, drafts))
}

/// A recurrent layer with constant weights gets them packed.
fn pack_recurrent(draft: Draft, constants: &Constants) -> Result<Draft, ExecError> {
    let Some(parameters) = Recurrent::parameters(&draft.node) else { return Ok(draft) };
    let values = parameters.map(|i| draft.node.input(i).map(|w| constants.get(w)));
    // One that is computed keeps the layer from being packed.
    if values.iter().any(|v| matches!(v, Some(None))) {
        return Ok(draft);
    }
    let layer = Recurrent::new(&draft.node, values.map(Option::flatten)).map_err(|e| ExecError::at(&draft.node, e))?;
    let inputs = Recurrent::DATA.iter().map(|i| draft.node.input(*i).cloned()).collect();
    Ok(Draft { work: Work::Recurrent(Box::new(layer)), inputs, ..draft })
}

/// Bytes of f32 that the widest step reads and writes for one sample, as far as shapes are known.
fn sample_bytes(drafts: &[Draft], model: &Model) -> usize {
    let size = |wire: &Wire| -> usize {
        // Bytes of an integer layer are as many as the values that they stand for.
        let (wire, width) = integer::rounded_wire(wire).map_or((wire.clone(), 4), |floats| (floats, 1));
        let shape = model.facts.get(&wire).and_then(|f| f.shape.as_ref());
        let known = |s: &Vec<Dim>| s.iter().skip(1).fold(width, |n: usize, d| n.saturating_mul(d.known().unwrap_or(1)));
        shape.map_or(0, known)
    };
    // What is only rounded is read once, and nothing of it again.
    let stays = |d: &&Draft| !matches!(d.work, Work::Integer(IntegerStep::Quantize(..)));
    drafts
        .iter()
        .filter(stays)
        .map(|d| d.inputs.iter().chain(&d.outputs).flatten().map(size).fold(0, usize::saturating_add))
        .max()
        .unwrap_or(0)
}

/// Joins steps whose values in between nobody sees.
fn fuse(drafts: Vec<Draft>, model: &Model, constants: &Constants, kept: &BTreeSet<Wire>) -> Result<Vec<Draft>, ExecError> {
    let mut readers: BTreeMap<Wire, usize> = BTreeMap::new();
    for wire in drafts.iter().flat_map(|d| reads(&d.node)) {
        *readers.entry(wire).or_default() += 1;
    }
    let alone = |wire: &Wire| readers.get(wire) == Some(&1) && !kept.contains(wire);
    let mut done: Vec<Option<Draft>> = Vec::with_capacity(drafts.len());
    let sources = producers(model);
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
            None => {
                let mut draft = join_beside(pack(draft, constants)?, &mut done, &made, &alone);
                if let Work::Product(product) = &mut draft.work {
                    product.image = flattened(&draft.node, model, &sources).filter(|(c, p)| c * p == product.depth());
                }
                join_flatten(draft, &mut done, &made, &alone)
            }
        };
        for wire in draft.outputs.iter().flatten() {
            made.insert(wire.clone(), done.len());
        }
        done.push(Some(draft));
    }
    Ok(done.into_iter().flatten().collect())
}

/// A step whose weights are constant gets them packed.
fn pack(draft: Draft, constants: &Constants) -> Result<Draft, ExecError> {
    let node = &draft.node;
    let fixed = |i: usize| node.input(i).is_none_or(|w| constants.contains_key(w));
    let constant = |i: usize| node.input(i).and_then(|w| constants.get(w));
    let Work::Node(operator) = draft.work else { return Ok(draft) };
    let work = match (node.domain.as_str(), node.op.as_str(), constant(1)) {
        ("" | "ai.onnx", "Conv", Some(weight)) if fixed(2) && weight.dtype != DType::F64 => {
            let conv = PackedConv::new(node, weight, constant(2)).map_err(|e| ExecError::at(node, e))?;
            Some(Work::Conv(Box::new(conv)))
        }
        ("" | "ai.onnx", "Gemm" | "MatMul", Some(weight)) if fixed(2) => {
            PackedProduct::of(node, weight, constant(2)).map(|p| Work::Product(Box::new(p)))
        }
        ("" | "ai.onnx", "BatchNormalization", Some(gamma)) => match [constant(2), constant(3), constant(4)] {
            [Some(beta), Some(mean), Some(variance)] => {
                Affine::of(node, [gamma, beta, mean, variance], operator).map(Work::Affine)
            }
            _ => None,
        },
        _ => None,
    };
    Ok(match work {
        None => draft,
        // The general operator of a batch normalization still reads its parameters.
        Some(work @ Work::Affine(_)) => Draft { work, ..draft },
        Some(work) => Draft { work, inputs: vec![draft.inputs.first().cloned().flatten()], ..draft },
    })
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

/// `Relu` or `Clip` after a convolution or a product.
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
    let work = &mut done[index].as_mut()?.work;
    let limits = match work {
        Work::Conv(conv) => (&mut conv.low, &mut conv.high),
        Work::Product(product) => (&mut product.low, &mut product.high),
        _ => return None,
    };
    if (*limits.0, *limits.1) != (f32::NEG_INFINITY, f32::INFINITY) {
        return None;
    }
    (*limits.0, *limits.1) = (low, high);
    let mut joined = done[index].take()?;
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

/// `Concat` along the channels of convolutions that nobody else reads: they write to their places in it.
fn join_beside(draft: Draft, done: &mut [Option<Draft>], made: &BTreeMap<Wire, usize>, alone: &dyn Fn(&Wire) -> bool) -> Draft {
    let node = &draft.node;
    let plain = |index: &usize| matches!(&done[*index], Some(Draft { work: Work::Conv(_), inputs, .. }) if inputs.len() == 1);
    let conv = |wire: &Option<Wire>| made.get(wire.as_ref().filter(|w| alone(w))?).copied().filter(plain);
    let joins = matches!(draft.work, Work::Node(_)) && node.op == "Concat" && node.int("axis") == Some(1);
    let Some(indices) = draft.inputs.iter().map(conv).collect::<Option<Vec<usize>>>().filter(|_| joins) else { return draft };
    let mut inputs = Vec::with_capacity(indices.len());
    let mut convs = Vec::with_capacity(indices.len());
    for taken in indices.into_iter().filter_map(|i| done[i].take()) {
        inputs.extend(taken.inputs);
        if let Work::Conv(conv) = taken.work {
            convs.push(*conv);
        }
    }
    Draft { work: Work::Beside(convs), inputs, ..draft }
}

/// Channels and places of the image that `node` reads flattened, whoever flattens it and when.
fn flattened(node: &Node, model: &Model, sources: &BTreeMap<&Wire, usize>) -> Option<(usize, usize)> {
    let flatten = &model.nodes[*sources.get(node.input(0)?)?];
    if flatten.op != "Flatten" || flatten.int("axis").unwrap_or(1) != 1 {
        return None;
    }
    let shape = model.facts.get(flatten.input(0)?)?.shape.as_ref().filter(|s| s.len() >= 3)?;
    let places = shape[2..].iter().map(Dim::known).product::<Option<usize>>()?;
    Some((shape[1].known()?, places))
}

/// A product of what `Flatten` gives, and nobody else reads, takes what `Flatten` takes: an image that
/// lies channels last need not be turned around.
fn join_flatten(
    mut draft: Draft,
    done: &mut [Option<Draft>],
    made: &BTreeMap<Wire, usize>,
    alone: &dyn Fn(&Wire) -> bool,
) -> Draft {
    let Work::Product(product) = &mut draft.work else { return draft };
    let flattened = draft.inputs.first().and_then(Option::as_ref).filter(|w| alone(w)).and_then(|w| made.get(w));
    let Some(&index) = flattened else { return draft };
    let flattens = |d: &Draft| d.node.op == "Flatten" && d.node.int("axis").unwrap_or(1) == 1 && matches!(d.work, Work::Node(_));
    if product.image.is_none() {
        return draft;
    }
    if let Some(flatten) = done[index].take_if(|d| flattens(d)) {
        product.flatten = true;
        draft.inputs = flatten.inputs;
    }
    draft
}

/// Gives out slots and notes when each is last read.
fn lay_out(model: &Model, feeds: Vec<Wire>, outputs: Vec<Wire>, taps: &[Wire], constants: Constants, drafts: Vec<Draft>) -> Plan {
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
    Plan { opset: model.opset(), slots: slots.len(), feeds, constants, steps, outputs, taps, separable: None, macs: 0 }
}
