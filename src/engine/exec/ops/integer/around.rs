//! What lies between quantized layers: dequantized, computed in floats, quantized again.

use super::Scale;
use crate::engine::exec::data::{OpResult, fail, make, unsupported, with};
use crate::engine::exec::ops::{Call, find};
use crate::engine::graph::Node;
use crate::engine::kernels::quantize::{dequantize, quantize};
use crate::engine::tensor::{DType, Value};

/// The f32 values of codes.
fn real(value: &Value, scale: Scale) -> OpResult<Value> {
    scale.range()?;
    if value.dtype != scale.dtype {
        return fail(format!("a zero point of type {} does not go with values of type {}", scale.dtype, value.dtype));
    }
    let values = with::<i64, _>(value, |s| s.iter().map(|q| dequantize(*q, scale.step, scale.zero)).collect())?;
    make::<f32>(DType::F32, values, value.shape())
}

fn codes(value: &Value, scale: Scale) -> OpResult<Value> {
    let range = scale.range()?;
    let codes = with::<f32, _>(value, |s| s.iter().map(|v| quantize(*v, scale.step, scale.zero, range)).collect())?;
    make::<i64>(scale.dtype, codes, value.shape())
}

/// Runs ONNX's operator `op` with the node's attributes on floats.
fn compute(c: &Call<'_>, op: &str, inputs: Vec<Value>) -> OpResult<Value> {
    if c.int("channels_last", 0) != 0 {
        return unsupported("attribute \"channels_last\" is not supported");
    }
    let node = Node { op: op.to_owned(), domain: String::new(), ..c.node.clone() };
    let Some(operator) = find(&node) else { return fail(format!("operator {op} is missing")) };
    let inputs: Vec<Option<Value>> = inputs.into_iter().map(Some).collect();
    // The opset that the model asks of ONNX may be too old for `op`; its newest form is meant.
    let outputs = operator(&Call { node: &node, opset: c.opset.max(17), inputs: &inputs, pool: c.pool })?;
    match outputs.into_iter().next() {
        Some(value) => Ok(value),
        None => fail("nothing was computed"),
    }
}

/// `(x, x_scale, x_zero, y_scale, y_zero)`.
pub(super) fn unary(c: &Call<'_>, op: &str) -> OpResult<Vec<Value>> {
    let x = real(c.input(0)?, Scale::of(c, 1)?)?;
    Ok(vec![codes(&compute(c, op, vec![x])?, Scale::of(c, 3)?)?])
}

/// `(a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero)`.
pub(super) fn binary(c: &Call<'_>, op: &str) -> OpResult<Vec<Value>> {
    let (a, b) = (real(c.input(0)?, Scale::of(c, 1)?)?, real(c.input(3)?, Scale::of(c, 4)?)?);
    Ok(vec![codes(&compute(c, op, vec![a, b])?, Scale::of(c, 6)?)?])
}

/// `(y_scale, y_zero, (x, x_scale, x_zero)…)`.
pub(super) fn concat(c: &Call<'_>) -> OpResult<Vec<Value>> {
    if c.inputs.len() < 5 || !(c.inputs.len() - 2).is_multiple_of(3) {
        return fail(format!("{} inputs are not a scale, a zero point and then three for each tensor", c.inputs.len()));
    }
    let parts =
        (2..c.inputs.len()).step_by(3).map(|i| real(c.input(i)?, Scale::of(c, i + 1)?)).collect::<OpResult<Vec<Value>>>()?;
    Ok(vec![codes(&compute(c, "Concat", parts)?, Scale::of(c, 0)?)?])
}
