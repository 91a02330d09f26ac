//! Normalization and softmax.

use super::{Call, Operator};
use crate::engine::exec::data::{Held, OpResult, axis_of, fail, floats, held, like, make, unsupported, with};
use crate::engine::kernels::softmax::{log_softmax, softmax};
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Softmax" => |c| rows(c, softmax),
        "LogSoftmax" => |c| rows(c, log_softmax),
        "BatchNormalization" => batch,
        "LayerNormalization" => layer,
        "SimplifiedLayerNormalization" | "RMSNormalization" => root_mean_square,
        "InstanceNormalization" => instance,
        "GroupNormalization" => group,
        "LpNormalization" => lp,
        "LRN" => local_response,
        _ => return None,
    })
}

/// Before operator set 13 everything from `axis` on (default 1) is one row; since then a row is
/// one axis (default the last).
fn rows(c: &Call<'_>, f: fn(&mut [f32])) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let rank = x.shape().len();
    if held(x)? != Held::F32 {
        return unsupported(format!("values of type {} are not supported here; cast them to float32", x.dtype));
    }
    let axis = axis_of(c.int("axis", if c.opset < 13 { 1 } else { -1 }), rank)?;
    if c.opset < 13 || axis + 1 >= rank {
        let length: usize = x.shape()[axis.min(rank)..].iter().product();
        let mut out = floats(x)?;
        out.chunks_mut(length.max(1)).for_each(f);
        return Ok(vec![make(x.dtype, out, x.shape())?]);
    }
    let swapped = like(x, x.data.transpose(axis, rank - 1)?.contiguous()?);
    let mut out = floats(&swapped)?;
    out.chunks_mut(x.shape()[axis].max(1)).for_each(f);
    let done = make(x.dtype, out, swapped.shape())?;
    Ok(vec![like(&done, done.data.transpose(axis, rank - 1)?.contiguous()?)])
}

/// Per-channel `x·scale + shift` in place: channel is axis 1.
fn per_channel(x: &Value, scale: &[f32], shift: &[f32]) -> OpResult<Value> {
    let channels = x.shape().get(1).copied().unwrap_or(1);
    if scale.len() != channels || shift.len() != channels {
        return fail(format!("{} channels do not fit parameters of {}", channels, scale.len()));
    }
    let inner: usize = x.shape().iter().skip(2).product();
    let values = with::<f32, _>(x, |s| {
        let mut out = Vec::with_capacity(s.len());
        for (i, plane) in s.chunks(inner.max(1)).enumerate() {
            let (a, b) = (scale[i % channels], shift[i % channels]);
            out.extend(plane.iter().map(|v| v * a + b));
        }
        out
    })?;
    make(x.dtype, values, x.shape())
}

fn batch(c: &Call<'_>) -> OpResult<Vec<Value>> {
    if c.int("training_mode", 0) != 0 {
        return unsupported("batch normalization in training mode is not supported; export the model for inference");
    }
    let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|i| c.input(i).and_then(floats));
    let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
    let epsilon = f64::from(c.float("epsilon", 1e-5));
    let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| f64::from(*g) / (f64::from(*v) + epsilon).sqrt()).collect();
    let shift: Vec<f32> =
        beta.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| (f64::from(*b) - f64::from(*m) * s) as f32).collect();
    let scale: Vec<f32> = scale.iter().map(|s| *s as f32).collect();
    Ok(vec![per_channel(c.input(0)?, &scale, &shift)?])
}

/// Mean and reciprocal standard deviation of a row, summed in f64.
fn moments(row: &[f32], epsilon: f64) -> (f64, f64) {
    let n = row.len().max(1) as f64;
    let mean = row.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
    let variance = row.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n;
    (mean, 1.0 / (variance + epsilon).sqrt())
}

fn layer(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let axis = axis_of(c.int("axis", -1), x.shape().len())?;
    let length: usize = x.shape()[axis..].iter().product();
    let scale = floats(c.input(1)?)?;
    let bias = c.optional(2).map(floats).transpose()?.unwrap_or_else(|| vec![0.0; length]);
    if scale.len() != length || bias.len() != length {
        return fail(format!("rows of {length} do not fit a scale of {} and a bias of {}", scale.len(), bias.len()));
    }
    let epsilon = f64::from(c.float("epsilon", 1e-5));
    let (mut means, mut factors) = (Vec::new(), Vec::new());
    let mut out = floats(x)?;
    for row in out.chunks_mut(length.max(1)) {
        let (mean, factor) = moments(row, epsilon);
        means.push(mean as f32);
        factors.push(factor as f32);
        for (v, (s, b)) in row.iter_mut().zip(scale.iter().zip(&bias)) {
            *v = ((f64::from(*v) - mean) * factor) as f32 * s + b;
        }
    }
    let rows: Vec<usize> = x.shape().iter().enumerate().map(|(i, &d)| if i < axis { d } else { 1 }).collect();
    Ok(vec![make(x.dtype, out, x.shape())?, make(DType::F32, means, &rows)?, make(DType::F32, factors, &rows)?])
}

fn root_mean_square(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let axis = axis_of(c.int("axis", -1), x.shape().len())?;
    let length: usize = x.shape()[axis..].iter().product();
    let scale = floats(c.input(1)?)?;
    if scale.len() != length {
        return fail(format!("rows of {length} do not fit a scale of {}", scale.len()));
    }
    let epsilon = f64::from(c.float("epsilon", 1e-5));
    let mut out = floats(x)?;
    for row in out.chunks_mut(length.max(1)) {
        let square = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / length.max(1) as f64;
        let factor = 1.0 / (square + epsilon).sqrt();
        for (v, s) in row.iter_mut().zip(&scale) {
            *v = (f64::from(*v) * factor) as f32 * s;
        }
    }
    Ok(vec![make(x.dtype, out, x.shape())?])
}

fn instance(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let channels = c.input(0)?.shape().get(1).copied().unwrap_or(1);
    grouped(c, channels)
}

fn group(c: &Call<'_>) -> OpResult<Vec<Value>> {
    grouped(c, c.int("num_groups", 1).max(1) as usize)
}

/// Normalizes runs of channels, then scales per channel (or per group, as `GroupNormalization` 18 gives it).
fn grouped(c: &Call<'_>, groups: usize) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let [batch, channels, spatial @ ..] = x.shape() else { return fail("at least two axes are needed") };
    if groups == 0 || channels % groups != 0 {
        return fail(format!("{channels} channels cannot be split into {groups} groups"));
    }
    let spread = |v: Vec<f32>| -> Vec<f32> {
        if v.len() == *channels { v } else { v.iter().flat_map(|s| std::iter::repeat_n(*s, channels / groups)).collect() }
    };
    let (scale, bias) = (spread(floats(c.input(1)?)?), spread(floats(c.input(2)?)?));
    let epsilon = f64::from(c.float("epsilon", 1e-5));
    let mut out = floats(x)?;
    let length = channels / groups * spatial.iter().product::<usize>();
    for row in out.chunks_mut(length.max(1)).take(batch.saturating_mul(groups)) {
        let (mean, factor) = moments(row, epsilon);
        for v in row.iter_mut() {
            *v = ((f64::from(*v) - mean) * factor) as f32;
        }
    }
    Ok(vec![per_channel(&make(x.dtype, out, x.shape())?, &scale, &bias)?])
}

fn lp(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let rank = x.shape().len();
    let axis = axis_of(c.int("axis", -1), rank)?;
    let squared = c.int("p", 2) == 2;
    let swapped = like(x, x.data.transpose(axis, rank - 1)?.contiguous()?);
    let mut out = floats(&swapped)?;
    for row in out.chunks_mut(x.shape()[axis].max(1)) {
        let sum: f64 = row.iter().map(|v| if squared { f64::from(*v).powi(2) } else { f64::from(v.abs()) }).sum();
        let norm = if squared { sum.sqrt() } else { sum };
        if norm > 0.0 {
            for v in row.iter_mut() {
                *v = (f64::from(*v) / norm) as f32;
            }
        }
    }
    let done = make(x.dtype, out, swapped.shape())?;
    Ok(vec![like(&done, done.data.transpose(axis, rank - 1)?.contiguous()?)])
}

fn local_response(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let [_, channels, spatial @ ..] = x.shape() else { return fail("at least two axes are needed") };
    let (channels, inner) = (*channels, spatial.iter().product::<usize>());
    let size = c.int("size", 1).max(1) as usize;
    let (alpha, beta, bias) = (c.float("alpha", 1e-4), c.float("beta", 0.75), c.float("bias", 1.0));
    let values = with::<f32, _>(x, |s| {
        let mut out = s.to_vec();
        for (i, v) in out.iter_mut().enumerate() {
            let (channel, at) = (i / inner % channels, i % inner);
            let image = i / (inner * channels) * inner * channels;
            let (from, to) = (channel.saturating_sub((size - 1) / 2), (channel + size / 2 + 1).min(channels));
            let sum: f32 = (from..to).map(|k| s[image + k * inner + at].powi(2)).sum();
            *v /= (bias + alpha / size as f32 * sum).powf(beta);
        }
        out
    })?;
    Ok(vec![make(x.dtype, values, x.shape())?])
}
