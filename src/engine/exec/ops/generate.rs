//! Operators that make values from numbers: constants, ranges, windows of signals, mel filters.

use super::cast::cast_to;
use super::shape::{sizes, spread};
use super::{Call, Operator};
use crate::engine::exec::data::{OpResult, doubles, fail, int_scalar, like, make};
use crate::engine::exec::memory::room;
use crate::engine::graph::Attribute;
use crate::engine::tensor::{DType, Value};
use std::f64::consts::PI;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "ConstantOfShape" => constant_of_shape,
        "Range" => range,
        "HannWindow" => |c| window(c, [0.5, 0.5, 0.0]),
        "HammingWindow" => |c| window(c, [25.0 / 46.0, 21.0 / 46.0, 0.0]),
        "BlackmanWindow" => |c| window(c, [0.42, 0.5, 0.08]),
        "MelWeightMatrix" => mel_weights,
        _ => return None,
    })
}

fn constant_of_shape(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let shape = sizes(c.input(0)?)?;
    let fill = match c.node.attributes.get("value") {
        Some(Attribute::Tensor(t)) => Value::from_stored(t)?,
        Some(_) => return fail("the value is no tensor"),
        None => Value::from_f32(vec![0.0], &[1])?,
    };
    if fill.shape().iter().product::<usize>() != 1 {
        return fail(format!("a value of shape {:?} was found where one number is needed", fill.shape()));
    }
    let one = like(&fill, fill.data.reshape(vec![1; shape.len()])?);
    Ok(vec![spread(&one, &shape)?])
}

/// The number of a value of one element.
fn double(value: &Value) -> OpResult<f64> {
    doubles(value)?.first().copied().map_or_else(|| fail("a number is missing"), Ok)
}

fn range(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (start, limit, delta) = (c.input(0)?, c.input(1)?, c.input(2)?);
    if start.dtype != limit.dtype || start.dtype != delta.dtype {
        return fail(format!("start, limit and delta are of types {}, {} and {}", start.dtype, limit.dtype, delta.dtype));
    }
    if start.dtype.is_float() {
        let (a, b, d) = (double(start)?, double(limit)?, double(delta)?);
        let count = ((b - a) / d).ceil().max(0.0);
        if !count.is_finite() {
            return fail(format!("a range from {a} to {b} with step {d} never ends"));
        }
        let count = room::<f64>(&[count as usize])?;
        let values = make(DType::F64, (0..count).map(|i| a + i as f64 * d).collect(), &[count])?;
        return Ok(vec![cast_to(&values, start.dtype)?]);
    }
    let (a, b, d) = (int_scalar(start)?, int_scalar(limit)?, int_scalar(delta)?);
    if d == 0 {
        return fail("a range with step 0 never ends");
    }
    let (reach, step) = (i128::from(b) - i128::from(a), i128::from(d));
    let count = if (reach > 0) == (step > 0) { reach.unsigned_abs().div_ceil(step.unsigned_abs()) } else { 0 };
    let count = room::<i64>(&[usize::try_from(count).unwrap_or(usize::MAX)])?;
    Ok(vec![make(start.dtype, (0..count as i64).map(|i| a.wrapping_add(i.wrapping_mul(d))).collect(), &[count])?])
}

/// Cosine windows: `w[0] − w[1]·cos(2πi/n) + w[2]·cos(4πi/n)`.
fn window(c: &Call<'_>, w: [f64; 3]) -> OpResult<Vec<Value>> {
    let size = int_scalar(c.input(0)?)?;
    let Ok(size) = usize::try_from(size) else { return fail(format!("size {size} is negative")) };
    let count = room::<f64>(&[size])?;
    let period = if c.int("periodic", 1) != 0 { count as f64 } else { count as f64 - 1.0 };
    let at = |i: usize| {
        let angle = if period > 0.0 { 2.0 * PI * i as f64 / period } else { 0.0 };
        w[0] - w[1] * angle.cos() + w[2] * (2.0 * angle).cos()
    };
    let values = make(DType::F64, (0..count).map(at).collect(), &[count])?;
    Ok(vec![cast_to(&values, DType::from_onnx(c.int("output_datatype", 1) as i32))?])
}

/// Triangular filters, evenly spaced on the mel scale (2595·log₁₀(1 + f/700)): `[bins of the spectrum, bands]`.
fn mel_weights(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (bands, length, rate) = (int_scalar(c.input(0)?)?, int_scalar(c.input(1)?)?, int_scalar(c.input(2)?)?);
    let (low, high) = (double(c.input(3)?)?, double(c.input(4)?)?);
    let (Ok(bands), Ok(length), true) = (usize::try_from(bands), usize::try_from(length), rate > 0) else {
        return fail(format!("{bands} bands of a transform of length {length} at {rate} samples per second cannot be"));
    };
    let bins = length / 2 + 1;
    let shape = [bins, bands];
    let total = room::<f64>(&shape)?;
    room::<f64>(&[bands, 8])?;
    let mel = |hertz: f64| 2595.0 * (1.0 + hertz / 700.0).log10();
    let step = (mel(high) - mel(low)) / (bands as f64 + 2.0);
    // The bins of the spectrum where triangles begin, peak and end.
    let corners: Vec<f64> = (0..bands + 2)
        .map(|i| {
            let hertz = 700.0 * (10.0_f64.powf((i as f64 * step + mel(low)) / 2595.0) - 1.0);
            ((length as f64 + 1.0) * hertz / rate as f64).floor()
        })
        .collect();
    let mut out = vec![0.0_f64; total];
    for band in 0..bands {
        let (left, peak, right) = (corners[band], corners[band + 1], corners[band + 2]);
        for bin in 0..bins {
            let at = bin as f64;
            let rises = left <= at && at <= peak;
            out[bin * bands + band] = match () {
                () if rises && peak == left => f64::from(u8::from(at == peak)),
                () if rises => (at - left) / (peak - left),
                () if peak < at && at < right => (right - at) / (right - peak),
                () => 0.0,
            };
        }
    }
    let values = make(DType::F64, out, &shape)?;
    Ok(vec![cast_to(&values, DType::from_onnx(c.int("output_datatype", 1) as i32))?])
}
