//! Fourier transforms of signals. Complex numbers are pairs along a last axis of length 2; one of
//! length 1 holds real numbers.

use super::{Call, Operator};
use crate::engine::exec::data::{Number, OpResult, axis_of, doubles, fail, for_held, int_scalar, make};
use crate::engine::exec::memory::room;
use crate::engine::kernels::fourier::{Complex, transform};
use crate::engine::tensor::Value;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "DFT" => whole,
        "STFT" => short_time,
        _ => return None,
    })
}

/// Complex numbers from a slice of pairs or of real numbers.
fn at(values: &[f64], parts: usize, index: usize) -> Complex {
    [values[index * parts], if parts == 2 { values[index * parts + 1] } else { 0.0 }]
}

fn parts_of(x: &Value) -> OpResult<usize> {
    match x.shape().last() {
        Some(&parts @ 1..=2) if x.shape().len() >= 2 && x.dtype.is_float() => Ok(parts),
        _ => fail(format!("a signal of shape {:?} is neither real (last axis 1) nor complex (2)", x.shape())),
    }
}

/// A positive length that a model gives.
fn length_of(value: &Value, what: &str) -> OpResult<usize> {
    match int_scalar(value)? {
        n @ 1.. => Ok(n as usize),
        n => fail(format!("the {what} is {n}, a positive number is needed")),
    }
}

fn whole(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let parts = parts_of(x)?;
    let axis = match c.optional(2) {
        Some(axis) => int_scalar(axis)?,
        None => c.int("axis", if c.opset < 20 { 1 } else { -2 }),
    };
    let axis = axis_of(axis, x.shape().len())?;
    if axis + 1 == x.shape().len() {
        return fail("the last axis holds the parts of complex numbers and cannot be transformed");
    }
    let (inverse, onesided) = (c.int("inverse", 0) != 0, c.int("onesided", 0) != 0);
    let from = x.shape()[axis];
    let length = match c.optional(1) {
        Some(length) => length_of(length, "length")?,
        None if inverse && onesided => 2 * from.saturating_sub(1),
        None => from,
    };
    if onesided && inverse != (parts == 2) {
        return fail("a one-sided transform goes from real numbers to complex ones, its inverse back");
    }
    let kept = if onesided && !inverse { length / 2 + 1 } else { length };
    let parts_out = if onesided && inverse { 1 } else { 2 };
    let mut shape = [&x.shape()[..x.shape().len() - 1], &[parts_out]].concat();
    shape[axis] = kept;
    let total = room::<f64>(&shape)?;
    room::<Complex>(&[length, 4])?;
    let inner: usize = x.shape()[axis + 1..x.shape().len() - 1].iter().product();
    let values = doubles(x)?;
    let mut out = vec![0.0_f64; total];
    let scale = if inverse { 1.0 / length.max(1) as f64 } else { 1.0 };
    for line in 0..total / (kept * parts_out).max(1) {
        let (outer, j) = (line / inner, line % inner);
        let mut signal: Vec<Complex> =
            (0..length.min(from)).map(|i| at(&values, parts, (outer * from + i) * inner + j)).collect();
        signal.resize(length, [0.0; 2]);
        if onesided && inverse {
            // The other half is the mirror image of this one.
            for k in length / 2 + 1..length {
                signal[k] = [signal[length - k][0], -signal[length - k][1]];
            }
        }
        transform(&mut signal, inverse);
        for (k, v) in signal[..kept].iter().enumerate() {
            let to = ((outer * kept + k) * inner + j) * parts_out;
            for part in 0..parts_out {
                out[to + part] = v[part] * scale;
            }
        }
    }
    Ok(vec![stored(x, &out, &shape)?])
}

/// Numbers in the type of `x`.
fn stored(x: &Value, values: &[f64], shape: &[usize]) -> OpResult<Value> {
    for_held!(x, T => {
        let values = values.iter().map(|v| <T as Number>::from_f64(*v)).collect();
        make::<T>(x.dtype, values, shape)
    })
}

/// Spectra of windows that step along a signal: `[batch, frames, bins, 2]`.
fn short_time(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let parts = parts_of(x)?;
    let &[batch, samples, _] = x.shape() else { return fail("a signal of shape [batch, samples, 1 or 2] is needed") };
    let step = length_of(c.input(1)?, "frame step")?;
    let window = c.optional(2).map(doubles).transpose()?;
    let length = match (c.optional(3), &window) {
        (Some(length), _) => length_of(length, "frame length")?,
        (None, Some(window)) => window.len(),
        (None, None) => samples,
    };
    if length == 0 || length > samples || window.as_ref().is_some_and(|w| w.len() != length) {
        return fail(format!("frames of {length} samples do not fit the window or a signal of {samples}"));
    }
    let onesided = c.int("onesided", 1) != 0;
    if onesided && parts == 2 {
        return fail("a one-sided transform needs a real signal");
    }
    let (frames, bins) = ((samples - length) / step + 1, if onesided { length / 2 + 1 } else { length });
    let shape = [batch, frames, bins, 2];
    let total = room::<f64>(&shape)?;
    let values = doubles(x)?;
    let mut out: Vec<f64> = Vec::with_capacity(total);
    for frame in 0..batch * frames {
        let from = frame / frames * samples + frame % frames * step;
        let weight = |i: usize| window.as_ref().map_or(1.0, |w| w[i]);
        let mut signal: Vec<Complex> = (0..length).map(|i| at(&values, parts, from + i).map(|part| part * weight(i))).collect();
        transform(&mut signal, false);
        out.extend(signal[..bins].iter().flatten());
    }
    Ok(vec![stored(x, &out, &shape)?])
}
