//! Whether the samples of a batch can run apart. Where they can, a batch is run a few samples at a
//! time from the first step to the last: what one step writes is still in the cache when the next
//! reads it, threads never wait for each other, and memory does not grow with the batch.

use super::data::floats;
use super::integer::IntegerStep;
use super::plan::{Draft, Work};
use crate::engine::graph::{Dim, Model, Node, Wire, is_elementwise};
use crate::engine::tensor::Value;
use std::collections::{BTreeMap, BTreeSet};

type Constants = BTreeMap<Wire, Value>;

/// Whether every step treats rows of the first axis one by one, so that a batch may be cut anywhere
/// and the parts joined. Only what is known for certain counts.
pub(super) fn is_separable(drafts: &[Draft], feeds: &[Wire], outputs: &[Wire], constants: &Constants, model: &Model) -> bool {
    let mut view = View { rows: feeds.iter().cloned().collect(), constants, model };
    for draft in drafts {
        if !view.keeps_rows(draft) {
            return false;
        }
        view.rows.extend(draft.outputs.iter().flatten().cloned());
    }
    !feeds.is_empty() && outputs.iter().all(|w| view.rows.contains(w))
}

struct View<'a> {
    /// Wires whose first axis counts samples.
    rows: BTreeSet<Wire>,
    constants: &'a Constants,
    model: &'a Model,
}

impl View<'_> {
    fn is_rows(&self, wire: Option<&Wire>) -> bool {
        wire.is_some_and(|w| self.rows.contains(w))
    }

    fn rank(&self, wire: &Wire) -> Option<usize> {
        match self.constants.get(wire) {
            Some(value) => Some(value.shape().len()),
            None => Some(self.model.facts.get(wire)?.shape.as_ref()?.len()),
        }
    }

    /// Input `i` is constant or absent.
    fn is_fixed(&self, node: &Node, i: usize) -> bool {
        node.input(i).is_none_or(|w| self.constants.contains_key(w))
    }

    fn ints(&self, node: &Node, name: &str, index: usize) -> Option<Vec<i64>> {
        match node.ints(name) {
            Some(v) => Some(v.to_vec()),
            None => self.constants.get(node.input(index)?)?.to_i64().ok(),
        }
    }

    /// Whether `axis` is surely not the first.
    fn is_inner(&self, wire: Option<&Wire>, axis: i64) -> bool {
        axis > 0 || (axis < 0 && wire.and_then(|w| self.rank(w)).is_some_and(|rank| axis + rank as i64 > 0))
    }

    fn keeps_rows(&self, draft: &Draft) -> bool {
        let node = &draft.node;
        let data = draft.inputs.first().and_then(Option::as_ref);
        match draft.work {
            Work::Conv(_) | Work::Beside(_) => return draft.inputs.iter().all(|w| self.is_rows(w.as_ref())),
            Work::Quantize(_) | Work::Affine(_) => return self.is_rows(data),
            Work::Product(_) => return self.is_rows(data) && data.and_then(|w| self.rank(w)).is_some_and(|rank| rank >= 2),
            // One scale for the whole batch; time comes first, or the batch after it: samples are not rows.
            Work::Integer(IntegerStep::QuantizeDynamic(_)) | Work::Control(_) | Work::Recurrent(_) => return false,
            Work::Integer(_) => return draft.inputs.iter().all(|w| self.is_rows(w.as_ref())),
            Work::Node(_) => {}
        }
        let rest_fixed = (1..node.inputs.len()).all(|i| self.is_fixed(node, i));
        match node.op.as_str() {
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" | "Sum" | "PRelu" | "Where" | "Equal" | "Greater" | "Less" => {
                self.broadcasts(node)
            }
            "Concat" => {
                node.inputs.iter().all(|w| self.is_rows(w.as_ref())) && self.is_inner(data, node.int("axis").unwrap_or(0))
            }
            "MatMul" => self.multiplies(node),
            "Gather" if self.is_fixed(node, 0) => self.is_rows(node.input(1)) && node.int("axis").unwrap_or(0) == 0,
            _ if !rest_fixed || !self.is_rows(data) => false,
            // Indices count over the whole batch; statistics are of the whole batch.
            "MaxPool" => node.output(1).is_none(),
            "BatchNormalization" => node.int("training_mode").unwrap_or(0) == 0 && (1..5).all(|i| node.output(i).is_none()),
            op if is_elementwise(op) || PER_SAMPLE.contains(&op) => true,
            "Gather" | "Split" | "ArgMax" | "ArgMin" => self.is_inner(data, node.int("axis").unwrap_or(0)),
            "Gemm" => node.int("transA").unwrap_or(0) == 0 && self.repeats(node.input(2), 2),
            "Flatten" => node.int("axis").unwrap_or(1) == 1,
            "Softmax" | "LogSoftmax" => {
                self.is_inner(data, node.int("axis").unwrap_or(if self.model.opset() < 13 { 1 } else { -1 }))
            }
            "LayerNormalization" | "SimplifiedLayerNormalization" | "RMSNormalization" => {
                self.is_inner(data, node.int("axis").unwrap_or(-1))
            }
            "Reshape" => self.ints(node, "shape", 1).is_some_and(|shape| self.reshapes_rows(node, &shape)),
            "Transpose" => node.ints("perm").and_then(<[i64]>::first) == Some(&0),
            "Slice" => {
                let axes = self.ints(node, "axes", 3);
                axes.is_some_and(|axes| axes.iter().all(|a| self.is_inner(data, *a)))
            }
            "Pad" => self.pads_inside(node),
            "Squeeze" | "Unsqueeze" => {
                // Negative axes count from an end that the node itself moves.
                self.ints(node, "axes", 1).is_some_and(|axes| axes.iter().all(|a| *a > 0))
            }
            "Resize" | "Upsample" => self.resizes_inside(node),
            op if op.starts_with("Reduce") => {
                let axes = self.ints(node, "axes", 1);
                axes.is_some_and(|axes| !axes.is_empty() && axes.iter().all(|a| self.is_inner(data, *a)))
            }
            "QuantizeLinear" | "DequantizeLinear" => {
                let single = node.input(1).and_then(|w| self.constants.get(w)).is_some_and(|s| s.shape().len() <= 1);
                single && self.is_inner(data, node.int("axis").unwrap_or(1))
            }
            _ => false,
        }
    }

    /// Each input counts samples, all in one rank, or is constant and the same for all.
    fn broadcasts(&self, node: &Node) -> bool {
        let ranks: Option<Vec<usize>> =
            node.inputs.iter().flatten().filter(|w| self.rows.contains(*w)).map(|w| self.rank(w)).collect();
        let Some(ranks) = ranks.filter(|r| !r.is_empty()) else { return false };
        let rank = ranks[0];
        ranks.iter().all(|r| *r == rank)
            && node.inputs.iter().flatten().all(|w| self.rows.contains(w) || self.repeats(Some(w), rank))
    }

    /// A constant that is the same for all samples of a tensor of `rank`; an absent one is.
    fn repeats(&self, wire: Option<&Wire>, rank: usize) -> bool {
        let Some(wire) = wire else { return true };
        self.constants.get(wire).is_some_and(|v| {
            let shape = v.shape();
            shape.len() < rank || (shape.len() == rank && shape.first().is_none_or(|d| *d == 1))
        })
    }

    fn multiplies(&self, node: &Node) -> bool {
        let (Some(a), Some(b)) = (node.input(0), node.input(1)) else { return false };
        let (Some(rank_a), Some(rank_b)) = (self.rank(a), self.rank(b)) else { return false };
        match (self.rows.contains(a), self.rows.contains(b)) {
            (true, true) => rank_a == rank_b && rank_a >= 3,
            (true, false) => {
                self.constants.contains_key(b) && rank_a >= 2 && (rank_b == 2 || rank_b < rank_a && self.repeats(Some(b), rank_a))
            }
            _ => false,
        }
    }

    /// The first axis is kept, or takes what is left over where one sample fills all others.
    fn reshapes_rows(&self, node: &Node, shape: &[i64]) -> bool {
        match shape {
            [0, ..] => node.int("allowzero").unwrap_or(0) == 0,
            [-1, rest @ ..] => {
                let fact = node.input(0).and_then(|w| self.model.facts.get(w));
                let sample = fact.and_then(|f| product(f.shape.as_ref()?.get(1..)?.iter().map(Dim::known)));
                let given = product(rest.iter().map(|d| usize::try_from(*d).ok()));
                sample.is_some() && sample == given
            }
            _ => false,
        }
    }

    fn pads_inside(&self, node: &Node) -> bool {
        let Some(pads) = self.ints(node, "pads", 1) else { return false };
        node.input(3).is_none() && pads.first() == Some(&0) && pads.get(pads.len() / 2) == Some(&0)
    }

    /// Scales are given and leave the first axis alone; sizes would name the batch.
    fn resizes_inside(&self, node: &Node) -> bool {
        let early = node.op == "Upsample" || self.model.opset() < 11;
        let scales = node.input(if early { 1 } else { 2 }).and_then(|w| self.constants.get(w));
        let first = scales.and_then(|s| floats(s).ok()?.first().copied());
        first == Some(1.0) && node.input(3).is_none() && !node.attributes.contains_key("axes")
    }
}

fn product(mut dims: impl Iterator<Item = Option<usize>>) -> Option<usize> {
    dims.try_fold(1_usize, |n, d| n.checked_mul(d?))
}

/// Further operators that never mix samples, with their other inputs constant.
const PER_SAMPLE: [&str; 11] = [
    "InstanceNormalization",
    "GroupNormalization",
    "LRN",
    "Dropout",
    "Conv",
    "ConvTranspose",
    "AveragePool",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "DepthToSpace",
    "SpaceToDepth",
];
