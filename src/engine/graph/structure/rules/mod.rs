//! What operators do to channels: which of their output is which of their inputs, and which meet.

mod moves;
mod pointwise;
mod products;
mod regroup;

pub(super) use products::{Grouped, grouped};

use super::trace::{Axes, Trace};
use crate::engine::graph::{Node, is_elementwise};

/// The channels of a node's outputs; `None` for an operator through which they are not followed.
pub(super) fn outputs(trace: &mut Trace<'_>, node: &Node) -> Option<Vec<Axes>> {
    let one = |axes: Option<Axes>| axes.map(|a| vec![a]);
    match node.op.as_str() {
        "Conv" => one(products::conv(trace, node)),
        "ConvTranspose" => one(products::conv_transpose(trace, node)),
        "Gemm" => one(products::gemm(trace, node)),
        "MatMul" => one(products::matmul(trace, node)),
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" | "Min" | "Max" | "Sum" | "Mean" | "Where" | "PRelu" | "Equal"
        | "Greater" | "GreaterOrEqual" | "Less" | "LessOrEqual" | "And" | "Or" | "Xor" => one(pointwise::broadcast(trace, node)),
        "BatchNormalization" | "InstanceNormalization" => one(pointwise::per_channel(trace, node)),
        "MaxPool" | "AveragePool" | "LpPool" | "GlobalAveragePool" | "GlobalMaxPool" | "GlobalLpPool" => {
            one(pointwise::pool(trace, node))
        }
        "Softmax" | "LogSoftmax" | "Hardmax" | "LayerNormalization" | "RMSNormalization" | "LpNormalization" | "CumSum" => {
            one(pointwise::across(trace, node))
        }
        "QuantizeLinear" | "DequantizeLinear" => one(pointwise::quantized(trace, node)),
        "Dropout" => {
            let axes = trace.input(node, 0)?;
            Some(vec![axes.clone(), axes])
        }
        "Concat" => one(moves::concat(trace, node)),
        "Split" => moves::split(trace, node),
        "Slice" => one(moves::slice(trace, node)),
        "Gather" => one(moves::gather(trace, node)),
        "Pad" => one(moves::pad(trace, node)),
        "Transpose" => one(moves::transpose(trace, node)),
        "Squeeze" => one(moves::squeeze(trace, node)),
        "Unsqueeze" => one(moves::unsqueeze(trace, node)),
        "Resize" | "Upsample" | "Expand" | "Tile" => one(moves::stretched(trace, node)),
        "DepthToSpace" => one(moves::depth_to_space(trace, node)),
        "Flatten" | "Reshape" => one(regroup::reshape(trace, node)),
        "Shape" => Some(vec![pointwise::shape(trace, node)?]),
        "Constant" | "ConstantOfShape" | "Range" => Some(vec![vec![None; trace.dims(node.output(0)?)?.len()]]),
        "ArgMax" | "ArgMin" => one(pointwise::reduced(trace, node)),
        op if op.starts_with("Reduce") => one(pointwise::reduced(trace, node)),
        op if is_elementwise(op) || op == "CastLike" => one(trace.input(node, 0)),
        _ => None,
    }
}

/// An axis as counted from the front.
fn from_front(axis: i64, rank: usize) -> Option<usize> {
    let at = usize::try_from(if axis < 0 { axis.checked_add(rank as i64)? } else { axis }).ok()?;
    (at < rank).then_some(at)
}
