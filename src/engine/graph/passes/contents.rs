//! What small whole-number tensors hold while shapes are inferred: the chains from `Shape` to
//! `Reshape`, with free dimensions kept by name.

use super::shapes::Known;
use crate::engine::graph::{Attribute, Dim, Node, slice_places};
use std::sync::Arc;

/// One element.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Entry {
    Int(i64),
    /// The size of a free dimension.
    Name(Arc<str>),
    Unknown,
}

impl Entry {
    pub fn of(dim: &Dim) -> Self {
        match dim {
            Dim::Known(n) => Self::Int(*n as i64),
            Dim::Named(name) => Self::Name(name.clone()),
            Dim::Unknown => Self::Unknown,
        }
    }

    /// As a dimension; negative numbers are none.
    pub fn dim(&self) -> Dim {
        match self {
            Self::Int(n) if *n >= 0 => Dim::Known(*n as usize),
            Self::Name(name) => Dim::Named(name.clone()),
            _ => Dim::Unknown,
        }
    }

    pub fn int(&self) -> Option<i64> {
        if let Self::Int(n) = self { Some(*n) } else { None }
    }
}

/// What a node's first output holds, if it is such a tensor.
pub(super) fn contents(node: &Node, known: &Known) -> Option<Vec<Entry>> {
    let of = |i: usize| known.entries(node.input(i)?);
    match node.op.as_str() {
        "Shape" => {
            let shape = known.shape(node.input(0)?)?;
            let rank = shape.len() as i64;
            let clip = |v: i64| (if v < 0 { v + rank } else { v }).clamp(0, rank) as usize;
            let (start, end) = (clip(node.int("start").unwrap_or(0)), clip(node.int("end").unwrap_or(rank)));
            Some(shape[start..end.max(start)].iter().map(Entry::of).collect())
        }
        "Size" => {
            let shape = known.shape(node.input(0)?)?;
            let count = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(d.known()?));
            Some(vec![count.map_or(Entry::Unknown, |n| Entry::Int(n as i64))])
        }
        "Constant" => match node.attributes.iter().next()? {
            (_, Attribute::Tensor(t)) => super::shapes::entries_of(t),
            (_, Attribute::Int(v)) => Some(vec![Entry::Int(*v)]),
            (_, Attribute::Ints(v)) => Some(v.iter().map(|v| Entry::Int(*v)).collect()),
            _ => None,
        },
        // The order of the elements stays; the shape is the shape rules' matter.
        "Unsqueeze" | "Squeeze" | "Identity" | "Reshape" | "Flatten" => of(0),
        "Cast" => matches!(node.int("to")?, 6 | 7).then(|| of(0))?,
        "Gather" => gather(node, known),
        "Slice" => slice(node, known),
        "Concat" => {
            let parts: Option<Vec<Vec<Entry>>> = node.inputs.iter().map(|w| known.entries(w.as_ref()?)).collect();
            Some(parts?.concat())
        }
        "Add" | "Sub" | "Mul" | "Div" | "Min" | "Max" => arithmetic(&node.op, &of(0)?, &of(1)?),
        "ConstantOfShape" => {
            let count = of(0)?.iter().try_fold(1_i64, |n, e| n.checked_mul(e.int()?))?;
            let fill = match node.attributes.get("value") {
                Some(Attribute::Tensor(t)) => super::shapes::entries_of(t)?.first()?.clone(),
                _ => return None,
            };
            (0..=64).contains(&count).then(|| vec![fill; count as usize])
        }
        _ => None,
    }
}

fn gather(node: &Node, known: &Known) -> Option<Vec<Entry>> {
    let data = known.entries(node.input(0)?)?;
    known.shape(node.input(0)?).filter(|s| s.len() == 1)?;
    let indices = known.entries(node.input(1)?)?;
    indices
        .iter()
        .map(|i| {
            let i = i.int()?;
            data.get(usize::try_from(if i < 0 { i.saturating_add(data.len() as i64) } else { i }).ok()?).cloned()
        })
        .collect()
}

fn slice(node: &Node, known: &Known) -> Option<Vec<Entry>> {
    let data = known.entries(node.input(0)?)?;
    let one = |name: &str, index: usize| -> Option<i64> {
        match node.ints(name) {
            Some([v]) => Some(*v),
            Some(_) => None,
            None => known.entries(node.input(index)?)?.first()?.int(),
        }
    };
    let step = if node.input(4).is_some() { known.entries(node.input(4)?)?.first()?.int()? } else { 1 };
    let places = slice_places(one("starts", 1)?, one("ends", 2)?, step, data.len()).ok()?;
    places.map(|i| data.get(i).cloned()).collect()
}

fn arithmetic(op: &str, a: &[Entry], b: &[Entry]) -> Option<Vec<Entry>> {
    let count = if a.len() == 1 { b.len() } else { a.len() };
    if (a.len() != 1 && a.len() != count) || (b.len() != 1 && b.len() != count) {
        return None;
    }
    let at = |v: &[Entry], i: usize| v[if v.len() == 1 { 0 } else { i }].clone();
    Some((0..count).map(|i| combine(op, &at(a, i), &at(b, i))).collect())
}

fn combine(op: &str, a: &Entry, b: &Entry) -> Entry {
    match (op, a, b) {
        ("Mul" | "Div", x, Entry::Int(1)) | ("Mul", Entry::Int(1), x) | ("Add" | "Sub", x, Entry::Int(0)) => x.clone(),
        (_, Entry::Int(x), Entry::Int(y)) => {
            let result = match op {
                "Add" => x.checked_add(*y),
                "Sub" => x.checked_sub(*y),
                "Mul" => x.checked_mul(*y),
                "Div" => x.checked_div(*y),
                "Min" => Some(*x.min(y)),
                _ => Some(*x.max(y)),
            };
            result.map_or(Entry::Unknown, Entry::Int)
        }
        _ => Entry::Unknown,
    }
}
