//! Shape inference: element type and shape of every wire, as far as they can be known without
//! running the model. Free dimensions keep their names; what is not known stays unknown.

use super::contents::{Entry, contents};
use super::shapes_indexing::indexing;
use super::shapes_sequence as sequence;
use super::shapes_windows as windows;
use crate::engine::graph::{Attribute, Dim, Fact, Model, Node, Wire, is_elementwise};
use crate::engine::tensor::{DType, Tensor};
use std::collections::BTreeMap;

/// Larger constants do not describe shapes.
const CONTENTS: usize = 64;

/// What is known so far.
pub(super) struct Known<'m> {
    model: &'m Model,
    facts: BTreeMap<Wire, Fact>,
    contents: BTreeMap<Wire, Vec<Entry>>,
}

pub(super) type Shape = Vec<Dim>;

impl Known<'_> {
    pub fn shape(&self, wire: &Wire) -> Option<Shape> {
        if let Some(tensor) = self.model.constants.get(wire) {
            return Some(tensor.shape().iter().map(|&n| Dim::Known(n)).collect());
        }
        self.facts.get(wire)?.shape.clone()
    }

    pub fn dtype(&self, wire: &Wire) -> Option<DType> {
        self.model.constants.get(wire).map(Tensor::dtype).or_else(|| self.facts.get(wire)?.dtype)
    }

    pub fn entries(&self, wire: &Wire) -> Option<Vec<Entry>> {
        if let Some(tensor) = self.model.constants.get(wire) {
            return entries_of(tensor);
        }
        self.contents.get(wire).cloned()
    }

    /// Whole numbers given as an attribute or as a constant input.
    pub fn ints(&self, node: &Node, name: &str, index: usize) -> Option<Vec<i64>> {
        match node.ints(name) {
            Some(v) => Some(v.to_vec()),
            None => self.entries(node.input(index)?)?.iter().map(Entry::int).collect(),
        }
    }

    /// The elements of a constant of numbers.
    pub fn floats(&self, wire: &Wire) -> Option<Vec<f32>> {
        self.model.constants.get(wire).filter(|t| t.len() <= CONTENTS)?.to_f32().ok()
    }

    pub fn opset(&self) -> i64 {
        self.model.opset()
    }
}

pub(super) fn entries_of(tensor: &Tensor) -> Option<Vec<Entry>> {
    if tensor.len() > CONTENTS || tensor.dtype().integer_range().is_none() {
        return None;
    }
    Some(tensor.to_i64().ok()?.into_iter().map(Entry::Int).collect())
}

/// Fills in [`Model::facts`]. What the file says stays where inference knows no better.
#[must_use]
pub fn infer_shapes(model: &Model) -> Model {
    let mut known = Known { model, facts: model.facts.clone(), contents: BTreeMap::new() };
    for port in model.outputs.iter().chain(&model.inputs) {
        known.facts.insert(port.wire.clone(), port.fact.clone());
    }
    for node in &model.nodes {
        let standard = matches!(node.domain.as_str(), "" | "ai.onnx");
        if !standard {
            continue;
        }
        let shapes = shapes(node, &known).unwrap_or_default();
        for (i, wire) in node.outputs.iter().enumerate() {
            let Some(wire) = wire else { continue };
            let fact = Fact { dtype: dtype(node, &known, i), shape: shapes.get(i).cloned().flatten() };
            merge(known.facts.entry(wire.clone()).or_default(), fact);
        }
        if let (Some(wire), Some(entries)) = (node.output(0), contents(node, &known))
            && entries.len() <= CONTENTS
        {
            known.contents.insert(wire.clone(), entries);
        }
    }
    let facts = known.facts;
    Model { facts, ..model.clone() }
}

/// Takes what inference found; keeps the file's word for what it did not.
fn merge(fact: &mut Fact, found: Fact) {
    fact.dtype = found.dtype.or(fact.dtype);
    let Some(shape) = found.shape else { return };
    fact.shape = Some(match fact.shape.take() {
        Some(old) if old.len() == shape.len() => {
            let better = |(new, old): (Dim, Dim)| match (&new, &old) {
                (Dim::Known(_), _) | (Dim::Named(_), Dim::Named(_) | Dim::Unknown) => new,
                _ => old,
            };
            shape.into_iter().zip(old).map(better).collect()
        }
        _ => shape,
    });
}

fn dtype(node: &Node, known: &Known, output: usize) -> Option<DType> {
    let of = |i: usize| known.dtype(node.input(i)?);
    let named = |name: &str| node.int(name).filter(|v| *v != 0).map(|v| DType::from_onnx(v as i32));
    match (node.op.as_str(), output) {
        (
            "Equal" | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" | "Xor" | "Not" | "IsNaN" | "IsInf"
            | "OptionalHasElement",
            _,
        )
        | ("Dropout", 1) => Some(DType::Bool),
        ("Shape" | "Size" | "ArgMax" | "ArgMin" | "NonZero" | "NonMaxSuppression", _)
        | ("MaxPool" | "TopK", 1)
        | ("Unique", 1..) => Some(DType::I64),
        ("Cast" | "BitCast", _) => named("to"),
        ("EyeLike", _) => named("dtype").or_else(|| of(0)),
        ("HannWindow" | "HammingWindow" | "BlackmanWindow" | "MelWeightMatrix", _) => {
            named("output_datatype").or(Some(DType::F32))
        }
        ("Where" | "CastLike", _) => of(1),
        ("OneHot", _) => of(2),
        ("Constant", _) => match node.attributes.iter().next()?.1 {
            Attribute::Tensor(t) => Some(t.dtype()),
            Attribute::Float(_) | Attribute::Floats(_) => Some(DType::F32),
            Attribute::Int(_) | Attribute::Ints(_) => Some(DType::I64),
            _ => None,
        },
        ("ConstantOfShape", _) => match node.attributes.get("value") {
            Some(Attribute::Tensor(t)) => Some(t.dtype()),
            _ => Some(DType::F32),
        },
        ("LayerNormalization", 1 | 2) | ("DynamicQuantizeLinear", 1) => Some(DType::F32),
        ("QuantizeLinear", _) => of(2).or_else(|| named("output_dtype")).or(Some(DType::U8)),
        ("DequantizeLinear", _) => named("output_dtype").or_else(|| of(1)),
        ("DynamicQuantizeLinear", _) => Some(DType::U8),
        ("If", _) => sequence::branches(node, output)?.dtype,
        ("Loop" | "Scan", _) => None,
        _ => of(0),
    }
}

/// Shapes of the outputs.
fn shapes(node: &Node, known: &Known) -> Option<Vec<Option<Shape>>> {
    let of = |i: usize| known.shape(node.input(i)?);
    let one = |shape: Option<Shape>| Some(vec![shape]);
    match node.op.as_str() {
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "Min" | "Max" | "Sum" | "Mean" | "Equal" | "Greater"
        | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" | "Xor" | "Where" | "BitShift" | "BitwiseAnd"
        | "BitwiseOr" | "BitwiseXor" => {
            // Before operator set 7 the second input was made to fit the first.
            if node.int("broadcast").unwrap_or(0) != 0 && known.opset() < 7 {
                return one(of(0));
            }
            let all: Option<Vec<Shape>> = (0..node.inputs.len()).map(of).collect();
            one(all?.into_iter().try_fold(Vec::new(), |a, b| broadcast(&a, &b)))
        }
        "Conv" | "MaxPool" | "AveragePool" | "ConvTranspose" => one(windows::windows(node, known)),
        "GlobalAveragePool" | "GlobalMaxPool" => {
            one(Some(of(0)?.into_iter().enumerate().map(|(i, d)| if i < 2 { d } else { Dim::Known(1) }).collect()))
        }
        "Gemm" => {
            let (a, b) = (of(0)?, of(1)?);
            let pick = |s: &Shape, name: &str, i: usize| s.get(if node.int(name).unwrap_or(0) != 0 { 1 - i } else { i }).cloned();
            one(Some(vec![pick(&a, "transA", 0)?, pick(&b, "transB", 1)?]))
        }
        "MatMul" => one(matmul(&of(0)?, &of(1)?)),
        "Flatten" => {
            let shape = of(0)?;
            let axis = node.int("axis").unwrap_or(1);
            let at = usize::try_from(if axis < 0 { axis + shape.len() as i64 } else { axis }).ok()?;
            one(Some(vec![product(shape.get(..at)?), product(shape.get(at..)?)]))
        }
        "Reshape" => one(windows::reshape(node, known)),
        "Transpose" => {
            let shape = of(0)?;
            let order: Vec<i64> = node.ints("perm").map_or_else(|| (0..shape.len() as i64).rev().collect(), <[i64]>::to_vec);
            one(order.iter().map(|&i| shape.get(usize::try_from(i).ok()?).cloned()).collect())
        }
        "Squeeze" => one(windows::squeeze(node, known)),
        "Unsqueeze" => one(windows::unsqueeze(node, known)),
        "Concat" => one(concat(node, known)),
        "Split" => windows::split(node, known),
        "Slice" => one(windows::slice(node, known)),
        "Gather" => {
            let (data, indices) = (of(0)?, of(1)?);
            let axis = axis(node.int("axis").unwrap_or(0), data.len())?;
            one(Some([&data[..axis], &indices, &data[axis + 1..]].concat()))
        }
        "GatherElements" => one(of(1)),
        "Pad" => one(windows::pad(node, known)),
        "Resize" | "Upsample" => one(windows::resize(node, known)),
        "Shape" => one(Some(vec![Dim::Known(contents(node, known)?.len())])),
        "Size" => one(Some(Vec::new())),
        "Expand" => {
            let wanted: Shape = known.entries(node.input(1)?)?.iter().map(Entry::dim).collect();
            one(broadcast(&of(0)?, &wanted))
        }
        "ConstantOfShape" => one(Some(known.entries(node.input(0)?)?.iter().map(Entry::dim).collect())),
        "Constant" => match node.attributes.iter().next()?.1 {
            Attribute::Tensor(t) => one(Some(t.shape().iter().map(|&n| Dim::Known(n)).collect())),
            Attribute::Ints(v) => one(Some(vec![Dim::Known(v.len())])),
            Attribute::Floats(v) => one(Some(vec![Dim::Known(v.len())])),
            _ => one(Some(Vec::new())),
        },
        "ArgMax" | "ArgMin" => one(windows::reduced(node, of(0)?, Some(&[node.int("axis").unwrap_or(0)]))),
        op if op.starts_with("Reduce") => one(windows::reduced(node, of(0)?, known.ints(node, "axes", 1).as_deref())),
        "Tile" => {
            let times = known.entries(node.input(1)?)?;
            one(Some(of(0)?.iter().zip(&times).map(|(d, t)| scaled(d, t)).collect()))
        }
        "Dropout" => Some(vec![of(0), of(0)]),
        "DynamicQuantizeLinear" => Some(vec![of(0), Some(Vec::new()), Some(Vec::new())]),
        "LayerNormalization" => {
            let shape = of(0)?;
            let from = axis(node.int("axis").unwrap_or(-1), shape.len())?;
            let rows: Shape = shape.iter().enumerate().map(|(i, d)| if i < from { d.clone() } else { Dim::Known(1) }).collect();
            Some(vec![Some(shape), Some(rows.clone()), Some(rows)])
        }
        "BatchNormalization"
        | "PRelu"
        | "RotaryEmbedding"
        | "TensorScatter"
        | "Hardmax"
        | "Shrink"
        | "MeanVarianceNormalization" => one(of(0)),
        "OptionalHasElement" => one(Some(Vec::new())),
        "RNN" | "GRU" | "LSTM" => sequence::recurrent(node, known),
        "Attention" => sequence::attention(node, known),
        "If" => Some((0..node.outputs.len()).map(|i| sequence::branches(node, i)?.shape).collect()),
        op if is_elementwise(op) || KEEPING.contains(&op) => one(of(0)),
        _ => indexing(node, known),
    }
}

/// Further operators whose output has the shape of their first input.
const KEEPING: [&str; 19] = [
    "InstanceNormalization",
    "GroupNormalization",
    "LRN",
    "CastLike",
    "Softmax",
    "LogSoftmax",
    "RMSNormalization",
    "LpNormalization",
    "QuantizeLinear",
    "DequantizeLinear",
    "CumSum",
    "CumProd",
    "Trilu",
    "EyeLike",
    "ReverseSequence",
    "Scatter",
    "ScatterElements",
    "ScatterND",
    "SwiGLU",
];

pub(super) fn scaled(dim: &Dim, times: &Entry) -> Dim {
    match (dim, times) {
        (d, Entry::Int(1)) => d.clone(),
        (Dim::Known(1), t) => t.dim(),
        (Dim::Known(n), Entry::Int(t)) => {
            usize::try_from(*t).ok().and_then(|t| n.checked_mul(t)).map_or(Dim::Unknown, Dim::Known)
        }
        _ => Dim::Unknown,
    }
}

/// An axis as counted from the front.
pub(super) fn axis(axis: i64, rank: usize) -> Option<usize> {
    let at = usize::try_from(if axis < 0 { axis + rank as i64 } else { axis }).ok()?;
    (at < rank).then_some(at)
}

/// Numpy's rule; `None` where shapes do not go together.
pub(super) fn broadcast(a: &[Dim], b: &[Dim]) -> Option<Shape> {
    let rank = a.len().max(b.len());
    let at = |s: &[Dim], i: usize| if i + s.len() < rank { Dim::Known(1) } else { s[i + s.len() - rank].clone() };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Some(x),
            (Dim::Known(1), y) => Some(y),
            (x, Dim::Known(1)) => Some(x),
            (Dim::Known(_), Dim::Known(_)) => None,
            // A free dimension beside a number above 1 must be that number or 1.
            (Dim::Known(n), _) | (_, Dim::Known(n)) => Some(Dim::Known(n)),
            _ => Some(Dim::Unknown),
        })
        .collect()
}

fn matmul(a: &[Dim], b: &[Dim]) -> Option<Shape> {
    let one = Dim::Known(1);
    let left = if a.len() == 1 { vec![one.clone(), a[0].clone()] } else { a.to_vec() };
    let right = if b.len() == 1 { vec![b[0].clone(), one] } else { b.to_vec() };
    let ([batch_a @ .., m, _], [batch_b @ .., _, n]) = (left.as_slice(), right.as_slice()) else { return None };
    let mut shape = broadcast(batch_a, batch_b)?;
    shape.extend((a.len() > 1).then(|| m.clone()));
    shape.extend((b.len() > 1).then(|| n.clone()));
    Some(shape)
}

/// The product of the dimensions that are numbers; `None` where it is beyond counting.
pub(super) fn numbers(dims: &[Dim]) -> Option<usize> {
    dims.iter().filter_map(Dim::known).try_fold(1_usize, usize::checked_mul)
}

/// The product of dimensions: one free dimension times 1 keeps its name.
pub(super) fn product(dims: &[Dim]) -> Dim {
    let Some(number) = numbers(dims) else { return Dim::Unknown };
    let free: Vec<&Dim> = dims.iter().filter(|d| d.known().is_none()).collect();
    match free[..] {
        [] => Dim::Known(number),
        [only] if number == 1 => only.clone(),
        _ => Dim::Unknown,
    }
}

fn concat(node: &Node, known: &Known) -> Option<Shape> {
    let parts: Vec<Shape> = node.inputs.iter().map(|w| known.shape(w.as_ref()?)).collect::<Option<_>>()?;
    let first = parts.first()?;
    let along = axis(node.int("axis").unwrap_or(1), first.len())?;
    let mut shape = first.clone();
    for part in &parts[1..] {
        for (i, dim) in shape.iter_mut().enumerate() {
            let other = part.get(i)?;
            if i != along && dim.known().is_none() && other.known().is_some() {
                *dim = other.clone();
            }
        }
    }
    let total = parts.iter().try_fold(0_usize, |n, p| n.checked_add(p.get(along)?.known()?));
    shape[along] = total.map_or(Dim::Unknown, Dim::Known);
    Some(shape)
}
