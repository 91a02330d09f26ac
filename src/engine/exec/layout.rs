//! Steps on values whose channels lie last. Convolutions and pooling write such values; this lets the
//! operators between them work on them as they lie, instead of turning them around before and after.

use super::data::{OpResult, channels_at_end, ints, is_channels_last, like};
use super::ops::{Call, Operator};
use crate::engine::graph::{Attribute, Node, is_elementwise};
use crate::engine::tensor::Value;
use std::borrow::Cow;

/// Runs `operator`, on channels-last views where that is the same and saves turning values around.
pub(super) fn run(operator: Operator, call: &Call<'_>) -> OpResult<Vec<Value>> {
    let Some(view) = View::of(call)? else { return call.compute(operator) };
    let inner = Call { node: &view.node, opset: call.opset, inputs: &view.inputs, pool: call.pool };
    inner
        .compute(operator)?
        .iter()
        .map(|out| if out.shape().len() == view.rank { channels_second(out) } else { Ok(out.clone()) })
        .collect()
}

/// The same operator on values whose second axis has become the last.
struct View<'a> {
    rank: usize,
    node: Cow<'a, Node>,
    inputs: Vec<Option<Value>>,
}

impl<'a> View<'a> {
    /// `None` where no input lies so, or the operator is not known to be the same.
    fn of(call: &Call<'a>) -> OpResult<Option<Self>> {
        let lies_last = |v: &Value| !v.data.is_contiguous() && is_channels_last(v);
        let given = || call.inputs.iter().flatten();
        let Some(rank) = given().find(|v| lies_last(v)).map(|v| v.shape().len()) else { return Ok(None) };
        let rest_single = given().skip(1).all(|v| v.shape().iter().product::<usize>() == 1);
        let node = match call.node.op.as_str() {
            op if is_elementwise(op) && rest_single => Cow::Borrowed(call.node),
            "QuantizeLinear" | "DequantizeLinear" if rest_single => Cow::Borrowed(call.node),
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Min" | "Max" | "Sum" | "Mean" | "PRelu" | "Where" | "Equal" | "Greater"
            | "Less" | "GreaterOrEqual" | "LessOrEqual" | "And" | "Or"
                if given().all(|v| v.shape().len() <= rank) =>
            {
                return broadcast(call, rank).map(Some);
            }
            "Concat" if given().all(|v| v.shape().len() == rank) => {
                let axis = axis_at_end(call.node.int("axis").unwrap_or(1), rank);
                let mut node = call.node.clone();
                node.attributes.insert("axis".to_owned(), Attribute::Int(axis));
                Cow::Owned(node)
            }
            "Pad" => return pad(call, rank),
            "Slice" => return slice(call, rank),
            _ => return Ok(None),
        };
        let at_end = |v: &Option<Value>| -> OpResult<Option<Value>> {
            v.as_ref()
                .map(|v| if v.shape().len() == rank { Ok(like(v, channels_at_end(&v.data)?)) } else { Ok(v.clone()) })
                .transpose()
        };
        let inputs = call.inputs.iter().map(at_end).collect::<OpResult<Vec<Option<Value>>>>()?;
        Ok(Some(Self { rank, node, inputs }))
    }
}

/// Where an axis lies when the second has become the last.
fn axis_at_end(axis: i64, rank: usize) -> i64 {
    let rank = rank as i64;
    match if axis < 0 { axis + rank } else { axis } {
        0 => 0,
        1 => rank - 1,
        a => a - 1,
    }
}

/// The last axis becomes the second again.
fn channels_second(value: &Value) -> OpResult<Value> {
    let rank = value.shape().len();
    let axes: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    Ok(like(value, value.data.permute(axes)?))
}

/// Operands that broadcast get all axes first.
fn broadcast<'a>(call: &Call<'a>, rank: usize) -> OpResult<View<'a>> {
    let whole = |v: &Option<Value>| -> OpResult<Option<Value>> {
        let Some(v) = v else { return Ok(None) };
        let missing = rank - v.shape().len();
        let shape: Vec<usize> = std::iter::repeat_n(1, missing).chain(v.shape().iter().copied()).collect();
        let data = if missing == 0 { v.data.clone() } else { v.data.reshape(shape)? };
        Ok(Some(like(v, channels_at_end(&data)?)))
    };
    let inputs = call.inputs.iter().map(whole).collect::<OpResult<Vec<Option<Value>>>>()?;
    Ok(View { rank, node: Cow::Borrowed(call.node), inputs })
}

fn at_end(v: &Value) -> OpResult<Option<Value>> {
    Ok(Some(like(v, channels_at_end(&v.data)?)))
}

/// `Pad` whose amounts are an input for all axes.
fn pad<'a>(call: &Call<'a>, rank: usize) -> OpResult<Option<View<'a>>> {
    let (Some(x), Some(pads), None) = (call.optional(0), call.optional(1), call.optional(3)) else { return Ok(None) };
    let pads = ints(pads)?;
    if pads.len() != 2 * rank {
        return Ok(None);
    }
    let turn = |p: &[i64]| -> Vec<i64> { p[..1].iter().chain(&p[2..]).chain(&p[1..2]).copied().collect() };
    let turned: Vec<i64> = turn(&pads[..rank]).into_iter().chain(turn(&pads[rank..])).collect();
    let inputs = vec![at_end(x)?, Some(Value::from_i64(turned, &[2 * rank])?), call.optional(2).cloned()];
    Ok(Some(View { rank, node: Cow::Borrowed(call.node), inputs }))
}

/// `Slice` whose axes are an input.
fn slice<'a>(call: &Call<'a>, rank: usize) -> OpResult<Option<View<'a>>> {
    let (Some(x), Some(axes)) = (call.optional(0), call.optional(3)) else { return Ok(None) };
    let axes = ints(axes)?;
    if axes.iter().any(|a| !(-(rank as i64)..rank as i64).contains(a)) {
        return Ok(None);
    }
    let turned: Vec<i64> = axes.iter().map(|a| axis_at_end(*a, rank)).collect();
    let mut inputs = call.inputs.to_vec();
    inputs[0] = at_end(x)?;
    inputs[3] = Some(Value::from_i64(turned, &[axes.len()])?);
    Ok(Some(View { rank, node: Cow::Borrowed(call.node), inputs }))
}
