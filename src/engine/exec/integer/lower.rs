//! Finds the layers of a plan that can run in integers, and joins what follows them.

use super::{Grid, InputGrid, IntegerStep, Layer, Shape, Wanted};
use crate::engine::exec::data::{floats, int_scalar, ints, scalar, with};
use crate::engine::exec::image::Order;
use crate::engine::exec::plan::{Constants, Draft, Work};
use crate::engine::graph::{Dim, Model, Node, Wire, producers};
use crate::engine::kernels::integer::{Slide, Weights};
use crate::engine::tensor::{DType, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Products of more factors could exceed the sum's 32 bits.
const DEPTH: usize = 1 << 16;

/// Replaces layers whose data come from `DequantizeLinear(QuantizeLinear(x))` and whose weights are
/// stored in 8 bits or fewer. `kept` are the wires that somebody looks at.
pub(in crate::engine::exec) fn lower(
    drafts: Vec<Draft>,
    constants: &Constants,
    model: &Model,
    kept: &BTreeSet<Wire>,
) -> Vec<Draft> {
    let found = Finder::new(&drafts, constants, model).layers();
    if found.layers.is_empty() {
        return drafts;
    }
    let mut steps = Steps { drafts: place(drafts, found), constants, model, kept };
    steps.drop_unread();
    // From the back: of two layers whose results are added, the later one takes the sum.
    for index in (0..steps.drafts.len()).rev() {
        steps.join_following(index);
    }
    for index in 0..steps.drafts.len() {
        steps.hand_on_bytes(index);
    }
    steps.drop_unread();
    steps.drafts.into_iter().flatten().map(named_by_wires).collect()
}

/// A step's node says what the step reads and makes, so that later fusions see no weight where none is read.
fn named_by_wires(mut draft: Draft) -> Draft {
    if let Work::Integer(_) = draft.work {
        draft.node.inputs.clone_from(&draft.inputs);
        draft.node.outputs.clone_from(&draft.outputs);
    }
    draft
}

/// What the data of a layer come from.
#[derive(Clone)]
struct Source {
    /// The floats.
    wire: Wire,
    grid: InputGrid,
    order: Order,
}

impl Source {
    /// Wires of the bytes and, where the scale is found in the data, of the scale and the zero point.
    fn wires(&self) -> Vec<Wire> {
        let (wire, order) = (&self.wire, self.order);
        match self.grid {
            InputGrid::Fixed(g) => vec![format!("{wire}\u{0}{order:?} {:x} {}", g.scale.to_bits(), g.zero).into()],
            InputGrid::Given => ["bytes", "scale", "zero"].map(|s| Wire::from(format!("{wire}\u{0}{order:?} {s}"))).to_vec(),
        }
    }

    fn draft(&self, node: &Node) -> Draft {
        let step = match self.grid {
            InputGrid::Fixed(grid) => IntegerStep::Quantize(grid, self.order),
            InputGrid::Given => IntegerStep::QuantizeDynamic(self.order),
        };
        let inputs = vec![Some(self.wire.clone())];
        Draft { work: Work::Integer(step), node: node.clone(), inputs, outputs: self.wires().into_iter().map(Some).collect() }
    }
}

/// The floats that the bytes on a wire stand for; `None` of a wire of the model.
pub(in crate::engine::exec) fn rounded_wire(wire: &Wire) -> Option<Wire> {
    wire.split_once('\u{0}').map(|(floats, _)| floats.into())
}

/// What was found, by place in the plan.
struct Found {
    layers: BTreeMap<usize, (Source, Layer)>,
    /// `DequantizeLinear` of pairs that layers read.
    pairs: BTreeMap<usize, Source>,
}

struct Finder<'a> {
    drafts: &'a [Draft],
    constants: &'a Constants,
    model: &'a Model,
    /// Which draft makes a wire.
    made: BTreeMap<&'a Wire, usize>,
    producers: BTreeMap<&'a Wire, usize>,
}

impl<'a> Finder<'a> {
    fn new(drafts: &'a [Draft], constants: &'a Constants, model: &'a Model) -> Self {
        let made = drafts.iter().enumerate().flat_map(|(i, d)| d.outputs.iter().flatten().map(move |w| (w, i))).collect();
        Self { drafts, constants, model, made, producers: producers(model) }
    }

    fn layers(&self) -> Found {
        let mut found = Found { layers: BTreeMap::new(), pairs: BTreeMap::new() };
        for (index, draft) in self.drafts.iter().enumerate() {
            let Some(layer) = self.layer(&draft.node) else { continue };
            let Some((pair, source)) = draft.node.input(0).and_then(|w| self.source(w, layer.order())) else { continue };
            if let InputGrid::Fixed(_) = source.grid {
                found.pairs.entry(pair).or_insert_with(|| source.clone());
            }
            found.layers.insert(index, (source.clone(), Layer { input: source.grid, ..layer }));
        }
        found
    }

    fn is(node: &Node, op: &str) -> bool {
        node.op == op && matches!(node.domain.as_str(), "" | "ai.onnx")
    }

    /// Where rounded data come from, and the place of their `DequantizeLinear`.
    fn source(&self, wire: &Wire, order: Order) -> Option<(usize, Source)> {
        let pair = *self.made.get(wire)?;
        let back = &self.drafts[pair].node;
        let forth = &self.drafts[*self.made.get(back.input(0)?)?].node;
        let x = forth.input(0)?.clone();
        if !Self::is(back, "DequantizeLinear") || back.int("output_dtype").is_some_and(|v| v != 0) {
            return None;
        }
        if Self::is(forth, "DynamicQuantizeLinear") {
            let same = (0..3).all(|i| back.input(i).is_some() && back.input(i) == forth.output(i));
            return same.then_some((pair, Source { wire: x, grid: InputGrid::Given, order }));
        }
        let grid = self.grid(back).filter(|g| self.grid(forth) == Some(*g))?;
        let plain = Self::is(forth, "QuantizeLinear") && forth.int("output_dtype").is_none_or(|v| v == 0);
        plain.then_some((pair, Source { wire: x, grid: InputGrid::Fixed(grid), order }))
    }

    /// One constant scale and zero point of 8 bits.
    fn grid(&self, node: &Node) -> Option<Grid> {
        let single = |v: &&Value| v.shape().iter().product::<usize>() == 1 && v.shape().len() <= 1;
        let scale = self.constants.get(node.input(1)?).filter(single).filter(|s| s.dtype == DType::F32)?;
        let scale = scalar(scale).ok().filter(|s| s.is_normal() && *s > 0.0)?;
        let Some(zero) = node.input(2) else { return Some(Grid { scale, zero: 0 }) };
        let zero = self.constants.get(zero).filter(single)?;
        let shift = match zero.dtype {
            DType::U8 => 0,
            DType::I8 => 128,
            _ => return None,
        };
        Some(Grid { scale, zero: u8::try_from(int_scalar(zero).ok()? + shift).ok()? })
    }

    /// The layer that a node is, its weights packed; `None` where it must stay in floats.
    fn layer(&self, node: &Node) -> Option<Layer> {
        let on = |op: &str| Self::is(node, op);
        let (conv, gemm) = (on("Conv"), on("Gemm"));
        if !conv && !gemm && !on("MatMul") {
            return None;
        }
        let turned = gemm && node.int("transB").unwrap_or(0) != 0;
        let one = |name: &str| node.float(name).is_none_or(|v| v == 1.0);
        if gemm && (node.int("transA").unwrap_or(0) != 0 || !one("alpha") || !one("beta")) {
            return None;
        }
        let out_axis = usize::from(!conv && !turned);
        let (codes, shape, scales) = self.weight(node.input(1)?, out_axis)?;
        let of = shape[out_axis];
        let (shape, weights) = if conv {
            let groups = usize::try_from(node.int("group").unwrap_or(1)).ok().filter(|g| *g > 0)?;
            let fits = (3..=5).contains(&shape.len()) && of.is_multiple_of(groups);
            let depth: usize = shape[1..].iter().product();
            if !fits || shape.contains(&0) || depth > DEPTH {
                return None;
            }
            let kernel = crate::engine::exec::ops::spatial3(&shape[2..], 1).ok()?;
            let along = |name: &str| node.ints(name).unwrap_or_default();
            let slide = Slide::of(along("strides"), along("dilations"));
            let weights = Weights::pack(&codes, groups, of, kernel, slide);
            (Shape::Conv { node: Box::new(node.clone()), weight: shape }, weights)
        } else {
            let &[rows, columns] = shape.as_slice() else { return None };
            if rows == 0 || columns == 0 || rows.max(columns) > DEPTH {
                return None;
            }
            let weights = if turned {
                Weights::pack(&codes, 1, of, [1; 3], Slide::Unit)
            } else {
                Weights::pack_matrix(&codes, rows, columns)
            };
            (Shape::Matrix, weights)
        };
        let bias = match node.input(2) {
            None => vec![0.0; of],
            Some(wire) => row_of(self.constants.get(wire)?, of)?,
        };
        let scales = if scales.len() == 1 { vec![scales[0]; of] } else { scales };
        let (low, high) = (f32::NEG_INFINITY, f32::INFINITY);
        let grid = InputGrid::Given;
        Some(Layer { shape, weights, scales, bias, input: grid, adds: false, low, high, wanted: Wanted::Floats })
    }

    /// Codes, shape and scales of a stored weight whose zero points are the middle of its range.
    fn weight(&self, wire: &Wire, out_axis: usize) -> Option<(Vec<i8>, Vec<usize>, Vec<f32>)> {
        let node = &self.model.nodes[*self.producers.get(wire)?];
        if !Self::is(node, "DequantizeLinear") || node.int("block_size").unwrap_or(0) != 0 {
            return None;
        }
        let constant = |i: usize| Value::from_stored(self.model.constants.get(node.input(i)?)?).ok();
        let (codes, scale) = (constant(0)?, constant(1)?);
        let zeros = if node.input(2).is_some() { ints(&constant(2)?).ok()? } else { vec![0] };
        let (low, high) = codes.dtype.integer_range().filter(|_| codes.dtype.bits() <= 8 && codes.dtype != DType::Bool)?;
        let middle = if low < 0 { 0 } else { i64::midpoint(high, 1) };
        let shape = codes.shape().to_vec();
        let axis = node.int("axis").unwrap_or(1);
        let axis = usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).ok()?;
        let scales = floats(&scale).ok().filter(|_| scale.dtype == DType::F32)?;
        let fits = scales.len() == 1 || (axis == out_axis && shape.get(out_axis) == Some(&scales.len()));
        if shape.len() < 2 || !fits || zeros.iter().any(|z| *z != middle) {
            return None;
        }
        let codes = with::<i64, _>(&codes, |c| c.iter().map(|v| (v - middle) as i8).collect()).ok()?;
        Some((codes, shape, scales))
    }
}

/// A constant that is added to every row of `of` elements.
fn row_of(value: &Value, of: usize) -> Option<Vec<f32>> {
    let row = value.shape().last().copied().unwrap_or(1) == value.shape().iter().product::<usize>();
    match floats(value).ok().filter(|_| row && value.dtype == DType::F32)? {
        one if one.len() == 1 => Some(vec![one[0]; of]),
        many if many.len() == of => Some(many),
        _ => None,
    }
}

/// The plan with its integer layers in place.
fn place(drafts: Vec<Draft>, mut found: Found) -> Vec<Option<Draft>> {
    let mut steps: Vec<Option<Draft>> = Vec::new();
    let mut made: BTreeSet<Wire> = BTreeSet::new();
    for (index, draft) in drafts.into_iter().enumerate() {
        let source = found.pairs.get(&index).or(found.layers.get(&index).map(|(source, _)| source));
        let Some(source) = source.cloned() else {
            steps.push(Some(draft));
            continue;
        };
        let wires = source.wires();
        if made.insert(wires[0].clone()) {
            steps.push(Some(source.draft(&draft.node)));
        }
        let mut inputs: Vec<Option<Wire>> = wires.into_iter().map(Some).collect();
        let step = match (found.layers.remove(&index), source.grid) {
            (Some((_, layer)), _) => IntegerStep::Layer(Box::new(layer)),
            (None, InputGrid::Fixed(grid)) => IntegerStep::Dequantize(grid, source.order),
            (None, InputGrid::Given) => continue,
        };
        inputs.truncate(if matches!(source.grid, InputGrid::Given) { 3 } else { 1 });
        steps.push(Some(Draft { work: Work::Integer(step), inputs, ..draft }));
    }
    steps
}

/// The steps of a plan while they are joined; those that are gone leave their place empty.
struct Steps<'a> {
    drafts: Vec<Option<Draft>>,
    constants: &'a Constants,
    model: &'a Model,
    kept: &'a BTreeSet<Wire>,
}

impl Steps<'_> {
    /// Steps that read a wire, each named once.
    fn readers(&self, wire: &Wire) -> Vec<usize> {
        let reads = |d: &Draft| d.inputs.iter().flatten().any(|w| w == wire);
        (0..self.drafts.len()).filter(|i| self.drafts[*i].as_ref().is_some_and(reads)).collect()
    }

    /// The step that alone reads a wire that nobody looks at.
    fn only_reader(&self, wire: &Wire) -> Option<usize> {
        match self.readers(wire).as_slice() {
            &[one] if !self.kept.contains(wire) => Some(one),
            _ => None,
        }
    }

    fn layer(&mut self, index: usize) -> Option<&mut Layer> {
        match &mut self.drafts[index].as_mut()?.work {
            Work::Integer(IntegerStep::Layer(layer)) => Some(layer),
            _ => None,
        }
    }

    fn output(&self, index: usize) -> Option<Wire> {
        self.drafts[index].as_ref()?.outputs.first()?.clone()
    }

    /// Takes out steps whose results nobody reads.
    fn drop_unread(&mut self) {
        for index in (0..self.drafts.len()).rev() {
            let Some(draft) = &self.drafts[index] else { continue };
            let read = |w: &Wire| self.kept.contains(w) || !self.readers(w).is_empty();
            if !draft.outputs.iter().flatten().any(read) {
                self.drafts[index] = None;
            }
        }
    }

    /// Limits and sums after the layer at `index` become part of it, as long as there are any.
    fn join_following(&mut self, index: usize) {
        let mut at = index;
        while self.layer(at).is_some() {
            let Some(wire) = self.output(at) else { return };
            let Some(next) = self.only_reader(&wire) else { return };
            let joined = self.join_limits(at, next) || self.join_bias(at, next) || self.join_add(at, next, &wire);
            if !joined {
                return;
            }
            // The layer runs where what it swallowed ran: what is added must be there.
            let Some(mut layer) = self.drafts[at].take() else { return };
            if let Some(swallowed) = self.drafts[next].take() {
                layer.outputs = swallowed.outputs;
            }
            self.drafts[next] = Some(layer);
            at = next;
        }
    }

    fn node(&self, index: usize, ops: &[&str]) -> Option<&Node> {
        let draft = self.drafts[index].as_ref().filter(|d| matches!(d.work, Work::Node(_)))?;
        ops.iter().any(|op| Finder::is(&draft.node, op)).then_some(&draft.node)
    }

    fn join_limits(&mut self, at: usize, next: usize) -> bool {
        let Some(node) = self.node(next, &["Relu", "Clip"]) else { return false };
        let bound = |i: usize, name: &str, none: f32| match node.input(i) {
            None => Some(node.float(name).unwrap_or(none)),
            Some(wire) => scalar(self.constants.get(wire)?).ok(),
        };
        let limits = if node.op == "Relu" {
            Some((0.0, f32::INFINITY))
        } else {
            bound(1, "min", f32::NEG_INFINITY).zip(bound(2, "max", f32::INFINITY))
        };
        let (Some((low, high)), Some(layer)) = (limits, self.layer(at)) else { return false };
        let free = layer.low == f32::NEG_INFINITY && layer.high == f32::INFINITY;
        if free {
            (layer.low, layer.high) = (low, high);
        }
        free
    }

    /// A constant row added to a matrix product.
    fn join_bias(&mut self, at: usize, next: usize) -> bool {
        let Some(node) = self.node(next, &["Add"]) else { return false };
        let row = node.inputs.iter().flatten().find_map(|w| self.constants.get(w)).cloned();
        let Some(layer) = self.layer(at).filter(|l| matches!(l.shape, Shape::Matrix) && l.is_bare()) else { return false };
        let of = layer.weights.out_channels();
        // Of a higher rank than the product's it would change the shape.
        let Some(row) = row.filter(|r| r.shape().len() <= 2).and_then(|r| row_of(&r, of)) else { return false };
        layer.bias.iter_mut().zip(row).for_each(|(b, r)| *b += r);
        true
    }

    /// Something of the same shape added to the layer's result.
    fn join_add(&mut self, at: usize, next: usize, wire: &Wire) -> bool {
        let Some(node) = self.node(next, &["Add"]) else { return false };
        let other = node.inputs.iter().flatten().find(|w| *w != wire).cloned();
        let Some(other) = other.filter(|w| !self.constants.contains_key(w)) else { return false };
        let shape = |w: &Wire| self.model.facts.get(w).and_then(|f| f.shape.clone());
        let is_known = |s: &Vec<Dim>| !s.contains(&Dim::Unknown);
        if shape(wire).is_none_or(|s| !is_known(&s)) || shape(wire) != shape(&other) {
            return false;
        }
        let Some(layer) = self.layer(at).filter(|l| l.is_bare()) else { return false };
        layer.adds = true;
        if let Some(draft) = &mut self.drafts[at] {
            draft.inputs.push(Some(other));
        }
        true
    }

    /// The grid and order of a step that only rounds.
    fn rounds(&self, index: usize) -> Option<(Grid, Order)> {
        match self.drafts[index].as_ref()?.work {
            Work::Integer(IntegerStep::Quantize(grid, order)) => Some((grid, order)),
            _ => None,
        }
    }

    /// Where the result of the layer at `index` is rounded, the layer does it, before a maximum over
    /// windows too.
    fn hand_on_bytes(&mut self, index: usize) {
        let Some(order) = self.layer(index).map(|l| l.order()) else { return };
        let Some(wire) = self.output(index) else { return };
        let readers = self.readers(&wire);
        let round = readers.iter().find_map(|r| self.rounds(*r).filter(|(_, o)| *o == order).map(|(grid, _)| (*r, grid)));
        let pool = readers.iter().find_map(|r| self.pooled(*r));
        let (grid, bytes) = match (round, pool) {
            (Some((step, grid)), _) => {
                let Some(bytes) = self.output(step) else { return };
                self.drafts[step] = None;
                (grid, bytes)
            }
            (None, Some((step, pool, grid))) if order == Order::ChannelsLast => {
                let source = Source { wire: wire.clone(), grid: InputGrid::Fixed(grid), order };
                let bytes = source.wires().remove(0);
                let Some(rounding) = self.drafts[step].take() else { return };
                let Some(draft) = &mut self.drafts[pool] else { return };
                draft.work = Work::Integer(IntegerStep::MaxPool);
                (draft.inputs, draft.outputs) = (vec![Some(bytes.clone())], rounding.outputs);
                (grid, bytes)
            }
            _ => return,
        };
        let floats = self.kept.contains(&wire) || !self.readers(&wire).is_empty();
        if let Some(layer) = self.layer(index) {
            layer.wanted = if floats { Wanted::Both(grid) } else { Wanted::Bytes(grid) };
        }
        if let Some(draft) = &mut self.drafts[index] {
            draft.outputs = floats.then_some(Some(wire)).into_iter().chain([Some(bytes)]).collect();
        }
    }

    /// A `MaxPool` whose result is only rounded: the step that rounds, the pool, the grid.
    fn pooled(&self, pool: usize) -> Option<(usize, usize, Grid)> {
        let node = self.node(pool, &["MaxPool"]).filter(|n| n.output(1).is_none())?;
        let step = self.only_reader(node.output(0)?)?;
        let (grid, order) = self.rounds(step)?;
        (order == Order::ChannelsLast).then_some((step, pool, grid))
    }
}
