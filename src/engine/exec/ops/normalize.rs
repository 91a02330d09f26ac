//! Normalization, softmax and dropout.

use super::{Call, Operator};
use crate::engine::exec::data::{
    OpResult, axis_of, fail, int_scalar, is_channels_last, make, make_channels_last, scalar, unsupported, with,
    with_channels_last,
};
use crate::engine::kernels::isa::wide;
use crate::engine::kernels::normalize::{Center, Real, moments, normalize};
use crate::engine::kernels::softmax::{Kind, softmax};
use crate::engine::tensor::{DType, Value};
use candle_core::WithDType;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Softmax" => |c| rows(c, Kind::Softmax),
        "LogSoftmax" => |c| rows(c, Kind::Log),
        "BatchNormalization" => batch,
        "LayerNormalization" => |c| layer(c, Center::Mean),
        "SimplifiedLayerNormalization" | "RMSNormalization" => |c| layer(c, Center::Zero),
        "InstanceNormalization" => |c| {
            let channels = c.input(0)?.shape().get(1).copied().unwrap_or(1);
            grouped(c, channels)
        },
        "GroupNormalization" => |c| grouped(c, usize::try_from(c.int("num_groups", 1)).unwrap_or(0)),
        "LpNormalization" => lp,
        "LRN" => local_response,
        "Dropout" => dropout,
        _ => return None,
    })
}

/// Dispatches on how real numbers are held: `$call` is expanded for `$t` = f32 and f64.
macro_rules! for_real {
    ($value:expr, $t:ident => $call:expr) => {
        match $value.dtype {
            DType::F64 => {
                type $t = f64;
                $call
            }
            d if d.is_float() => {
                type $t = f32;
                $call
            }
            other => return fail(format!("floating-point values are needed, not {other}")),
        }
    };
}

/// What tensors of real numbers hold.
trait Number: Real + WithDType + Default {}
impl Number for f32 {}
impl Number for f64 {}

fn reals(value: &Value) -> OpResult<Vec<f64>> {
    for_real!(value, T => with::<T, _>(value, widened))
}

fn widened<T: Real>(values: &[T]) -> Vec<f64> {
    values.iter().map(|v| (*v).into()).collect()
}

/// `value` repeated to `shape`, as broadcasting does.
fn spread(value: &Value, shape: &[usize]) -> OpResult<Vec<f64>> {
    if value.shape() == shape {
        return reals(value);
    }
    match value.data.broadcast_as(shape) {
        Ok(data) => reals(&Value { dtype: value.dtype, data: data.contiguous()? }),
        Err(_) => fail(format!("parameters of shape {:?} do not fit rows of shape {shape:?}", value.shape())),
    }
}

/// Before operator set 13 everything from `axis` on (default 1) is one row; since then a row is
/// one axis (default the last).
fn rows(c: &Call<'_>, kind: Kind) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let axis = axis_of(c.int("axis", if c.opset < 13 { 1 } else { -1 }), x.shape().len())?;
    let after: usize = x.shape().iter().skip(axis + 1).product();
    let along = x.shape().get(axis).copied().unwrap_or(1);
    let (length, inner) = if c.opset < 13 { (along * after, 1) } else { (along, after) };
    if x.dtype == DType::F64 {
        let values = with::<f64, _>(x, |s| softmax64(kind, s, length, inner))?;
        return Ok(vec![make(x.dtype, values, x.shape())?]);
    }
    if !x.dtype.is_float() {
        return fail(format!("floating-point values are needed, not {}", x.dtype));
    }
    let mut out = with::<f32, _>(x, <[f32]>::to_vec)?;
    c.install(|| softmax(kind, &mut out, length, inner));
    Ok(vec![make(x.dtype, out, x.shape())?])
}

fn softmax64(kind: Kind, x: &[f64], length: usize, inner: usize) -> Vec<f64> {
    let mut out = x.to_vec();
    for i in (0..x.len()).filter(|i| (i / inner).is_multiple_of(length)) {
        let column = || (0..length).map(|k| i + k * inner);
        let top = column().fold(f64::NEG_INFINITY, |top, at| top.max(x[at]));
        let sum: f64 = column().map(|at| (x[at] - top).exp()).sum();
        for at in column() {
            out[at] = if kind == Kind::Log { x[at] - top - sum.ln() } else { (x[at] - top).exp() / sum };
        }
    }
    out
}

/// Per-channel `x·scale + shift`: channel is axis 1. The result lies as `x` does.
fn per_channel<T: Number>(x: &Value, scale: &[T], shift: &[T]) -> OpResult<Value> {
    let channels = x.shape().get(1).copied().unwrap_or(1);
    if scale.len() != channels || shift.len() != channels {
        return fail(format!("{} channels do not fit parameters of {} and {}", channels, scale.len(), shift.len()));
    }
    if is_channels_last(x) && channels > 0 {
        let values = with_channels_last::<T, _>(x, |s| {
            let mut out = s.to_vec();
            wide(|| {
                for place in out.chunks_exact_mut(channels) {
                    for (v, (a, b)) in place.iter_mut().zip(scale.iter().zip(shift)) {
                        *v = *v * *a + *b;
                    }
                }
            });
            out
        })?;
        return make_channels_last(x.dtype, values, x.shape());
    }
    let inner: usize = x.shape().iter().skip(2).product();
    let values = with::<T, _>(x, |s| {
        let mut out = s.to_vec();
        wide(|| {
            for (i, plane) in out.chunks_mut(inner.max(1)).enumerate() {
                let (a, b) = (scale[i % channels], shift[i % channels]);
                for v in plane {
                    *v = *v * a + b;
                }
            }
        });
        out
    })?;
    make(x.dtype, values, x.shape())
}

/// In training the batch's own moments are used, and the running ones move towards them.
fn batch(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let [gamma, beta, mean, variance] = [1, 2, 3, 4].map(|i| c.input(i).and_then(reals));
    let (gamma, beta, mut mean, mut variance) = (gamma?, beta?, mean?, variance?);
    let channels = x.shape().get(1).copied().unwrap_or(1);
    if [&gamma, &beta, &mean, &variance].iter().any(|p| p.len() != channels) {
        return fail(format!("each of the four parameters of a batch normalization needs {channels} numbers, one per channel"));
    }
    let mut running = Vec::new();
    if c.int("training_mode", 0) != 0 {
        let momentum = f64::from(c.float("momentum", 0.9));
        let inner: usize = x.shape().iter().skip(2).product();
        let found: Vec<(f64, f64)> =
            for_real!(x, T => with::<T, _>(x, |s| (0..channels).map(|k| channel_moments(s, channels, inner, k)).collect()))?;
        for (i, (old, new)) in [(&mean, 0), (&variance, 1)].into_iter().enumerate() {
            let moved = old.iter().zip(&found).map(|(o, f)| o * momentum + if new == 0 { f.0 } else { f.1 } * (1.0 - momentum));
            let parameter = c.input(3 + i)?;
            let moved: Vec<f64> = moved.collect();
            running
                .push(for_real!(parameter, T => make(parameter.dtype, moved.iter().map(|v| T::of(*v)).collect(), &[channels])?));
        }
        (mean, variance) = found.into_iter().unzip();
    }
    let epsilon = f64::from(c.float("epsilon", 1e-5));
    let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift: Vec<f64> = beta.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| b - m * s).collect();
    let of = |v: &[f64]| v.iter().map(|v| *v as f32).collect::<Vec<f32>>();
    let y = match x.dtype {
        DType::F64 => per_channel::<f64>(x, &scale, &shift)?,
        d if d.is_float() => per_channel::<f32>(x, &of(&scale), &of(&shift))?,
        other => return fail(format!("floating-point values are needed, not {other}")),
    };
    Ok([y].into_iter().chain(running).collect())
}

/// Mean and variance of one channel over batch and places.
fn channel_moments<T: Real>(x: &[T], channels: usize, inner: usize, channel: usize) -> (f64, f64) {
    let planes = x.chunks(inner.max(1)).skip(channel).step_by(channels.max(1));
    moments(&planes.flatten().copied().collect::<Vec<T>>(), Center::Mean)
}

fn layer(c: &Call<'_>, center: Center) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let axis = axis_of(c.int("axis", -1), x.shape().len())?;
    let row = &x.shape()[axis..];
    let length: usize = row.iter().product();
    let scale = spread(c.input(1)?, row)?;
    let shift = c.optional(2).map(|b| spread(b, row)).transpose()?.unwrap_or_default();
    let epsilon = f64::from(c.float("epsilon", 1e-5));
    let (out, found) = for_real!(x, T => {
        let mut out = with::<T, _>(x, <[T]>::to_vec)?;
        let found = c.install(|| normalize(&mut out, length, center, epsilon, (&scale, &shift)));
        (make(x.dtype, out, x.shape())?, found)
    });
    // The type in which means and deviations are given; computed they are in f64.
    let stash = if c.int("stash_type", 1) == 11 { DType::F64 } else { DType::F32 };
    let mut shape: Vec<usize> = x.shape()[..axis].to_vec();
    let missing = shape.iter().product::<usize>() - found.len();
    shape.resize(x.shape().len(), 1);
    let each = |of: fn(&(f64, f64)) -> f64| -> OpResult<Value> {
        let values = found.iter().map(of).chain(std::iter::repeat_n(f64::NAN, missing));
        match stash {
            DType::F64 => make(stash, values.collect::<Vec<f64>>(), &shape),
            _ => make(stash, values.map(|v| v as f32).collect(), &shape),
        }
    };
    let factors = each(|f| f.1)?;
    Ok(if center == Center::Mean { vec![out, each(|f| f.0)?, factors] } else { vec![out, factors] })
}

/// Normalizes runs of channels, then scales per channel (or per group, as `GroupNormalization` 18 gives it).
fn grouped(c: &Call<'_>, groups: usize) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let [_, channels, spatial @ ..] = x.shape() else { return fail("at least two axes are needed") };
    if channels.checked_rem(groups) != Some(0) && *channels > 0 {
        return fail(format!("{channels} channels cannot be split into {groups} groups"));
    }
    let spread = |v: Vec<f64>| -> Vec<f64> {
        if v.len() == *channels { v } else { v.iter().flat_map(|s| std::iter::repeat_n(*s, channels / groups.max(1))).collect() }
    };
    let (scale, bias) = (spread(reals(c.input(1)?)?), spread(reals(c.input(2)?)?));
    let epsilon = f64::from(c.float("epsilon", 1e-5));
    let length = channels / groups.max(1) * spatial.iter().product::<usize>();
    Ok(vec![for_real!(x, T => {
        let mut out = with::<T, _>(x, <[T]>::to_vec)?;
        c.install(|| normalize(&mut out, length.max(1), Center::Mean, epsilon, (&[], &[])));
        let of = |v: &[f64]| v.iter().map(|v| T::of(*v)).collect::<Vec<T>>();
        per_channel(&make(x.dtype, out, x.shape())?, &of(&scale), &of(&bias))?
    })])
}

/// Divides by the sum of sizes or the root of the sum of squares along an axis; where that is zero, the
/// zeros stay.
fn lp(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let axis = axis_of(c.int("axis", -1), x.shape().len())?;
    let squared = match c.int("p", 2) {
        1 => false,
        2 => true,
        p => return fail(format!("attribute \"p\" is {p}; 1 and 2 are defined")),
    };
    let (length, inner) = (x.shape().get(axis).copied().unwrap_or(1), x.shape().iter().skip(axis + 1).product::<usize>());
    Ok(vec![for_real!(x, T => make(x.dtype, with::<T, _>(x, |s| divided_by_norms(s, squared, length, inner))?, x.shape())?)])
}

fn divided_by_norms<T: Real>(x: &[T], squared: bool, length: usize, inner: usize) -> Vec<T> {
    let mut out = x.to_vec();
    for block in out.chunks_mut((length * inner).max(1)) {
        for at in 0..inner {
            let column = || block.iter().skip(at).step_by(inner).map(|v| (*v).into());
            let norm: f64 = if squared { column().map(|v| v * v).sum::<f64>().sqrt() } else { column().map(f64::abs).sum() };
            if norm != 0.0 {
                for v in block.iter_mut().skip(at).step_by(inner) {
                    *v = T::of((*v).into() / norm);
                }
            }
        }
    }
    out
}

fn local_response(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let [_, channels, spatial @ ..] = x.shape() else { return fail("at least two axes are needed") };
    let (channels, inner) = (*channels, spatial.iter().product::<usize>());
    let size = usize::try_from(c.int("size", 1)).unwrap_or(1).max(1);
    let [alpha, beta, bias] = [("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)].map(|(name, v)| f64::from(c.float(name, v)));
    // y^0.75 by roots, which are much faster than powers.
    let power = |y: f64| if beta == 0.75 { y.sqrt() * y.sqrt().sqrt() } else { y.powf(beta) };
    let divisor = |sum: f64| power(bias + alpha / size as f64 * sum);
    Ok(vec![for_real!(x, T => {
        make(x.dtype, with::<T, _>(x, |s| divided_by_neighbors(s, [channels, inner], size, divisor))?, x.shape())?
    })])
}

/// Divides by a function of the sum of squares over `size` neighboring channels, one plane after the other.
fn divided_by_neighbors<T: Real>(x: &[T], [channels, inner]: [usize; 2], size: usize, divisor: impl Fn(f64) -> f64) -> Vec<T> {
    let mut out = x.to_vec();
    let mut sums = vec![0.0; inner];
    for (i, plane) in out.chunks_mut(inner.max(1)).enumerate() {
        let (image, channel) = (i / channels * channels, i % channels);
        let (from, to) = (channel.saturating_sub((size - 1) / 2), channel.saturating_add(size / 2).min(channels - 1));
        wide(|| {
            sums.fill(0.0);
            for near in (from..=to).map(|k| &x[(image + k) * inner..][..inner]) {
                for (sum, v) in sums.iter_mut().zip(near) {
                    let v: f64 = (*v).into();
                    *sum += v * v;
                }
            }
            for (v, sum) in plane.iter_mut().zip(&sums) {
                *v = T::of((*v).into() / divisor(*sum));
            }
        });
    }
    out
}

/// At inference, or with nothing to drop, the values as they are; the mask is all true then.
fn dropout(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let training = c.optional(2).map(int_scalar).transpose()?.unwrap_or(0) != 0;
    if training && c.optional(1).map(scalar).transpose()?.unwrap_or(0.5) != 0.0 {
        return unsupported("dropout in training draws random numbers, which is not supported; export the model for inference");
    }
    let mut outputs = vec![x.clone()];
    if c.node.outputs.get(1).is_some_and(Option::is_some) {
        outputs.push(make(DType::Bool, vec![1_u8; x.shape().iter().product()], x.shape())?);
    }
    Ok(outputs)
}
