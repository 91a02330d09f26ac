//! Pooling operators.

use super::cast::cast_to;
use super::convolution::spatial3;
use super::{Call, Operator};
use crate::engine::exec::data::{OpError, OpResult, fail, ints, make, make_channels_last, with, with_channels_last, with2};
use crate::engine::exec::memory::room;
use crate::engine::graph::{Auto, window_axes};
use crate::engine::kernels::isa::wide;
use crate::engine::kernels::pool::{Element, Pooling, Window, maxima, pool};
use crate::engine::tensor::{DType, Value};
use candle_core::WithDType;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "MaxPool" => max,
        "AveragePool" => |c| {
            let padded = c.int("count_include_pad", 0) != 0;
            Ok(vec![windows(c, if padded { Pooling::AveragePadded } else { Pooling::Average })?])
        },
        "LpPool" => lp,
        "GlobalAveragePool" => |c| global(c, 0.0, |a, b| a + b, |sum, n| sum / n as f64),
        "GlobalMaxPool" => |c| global(c, f64::NEG_INFINITY, |a, b| if a.is_nan() || a > b { a } else { b }, |top, _| top),
        "GlobalLpPool" => |c| match power(c)? {
            1.0 => global(c, 0.0, |sum, v| sum + v.abs(), |sum, _| sum),
            2.0 => global(c, 0.0, |sum, v| sum + v * v, |sum, _| sum.sqrt()),
            p => global(c, 0.0, |sum, v| sum + v.abs().powf(p), |sum, _| sum.powf(1.0 / p)),
        },
        "MaxUnpool" => unpool,
        _ => return None,
    })
}

/// `x` as its windows are joined: f32, or f64 where that would lose digits.
fn floating(x: &Value) -> OpResult<Value> {
    match x.dtype {
        d if d.is_float() => Ok(x.clone()),
        d if d.bits() <= 16 => cast_to(x, DType::F32),
        _ => cast_to(x, DType::F64),
    }
}

fn windows(c: &Call<'_>, kind: Pooling) -> OpResult<Value> {
    let given = c.input(0)?;
    let x = floating(given)?;
    let (window, shape) = pool_window(c, x.shape())?;
    let pooled = match x.dtype {
        DType::F64 => pooled::<f64>(c, &window, kind, &x, &shape)?,
        _ => pooled::<f32>(c, &window, kind, &x, &shape)?,
    };
    cast_to(&pooled, given.dtype)
}

fn pooled<T: Element + WithDType + Default>(
    c: &Call<'_>,
    window: &Window,
    kind: Pooling,
    x: &Value,
    shape: &[usize],
) -> OpResult<Value> {
    let mut out = vec![T::ZERO; shape.iter().product()];
    with_channels_last::<T, _>(x, |s| c.install(|| pool(window, kind, s, &mut out)))?;
    make_channels_last(x.dtype, out, shape)
}

fn max(c: &Call<'_>) -> OpResult<Vec<Value>> {
    if c.node.output(1).is_none() {
        return Ok(vec![windows(c, Pooling::Max)?]);
    }
    let given = c.input(0)?;
    let x = floating(given)?;
    let (window, shape) = pool_window(c, x.shape())?;
    let by_column = c.int("storage_order", 0) != 0;
    let (values, places) = match x.dtype {
        DType::F64 => {
            let (values, places) = with::<f64, _>(&x, |s| c.install(|| maxima(&window, by_column, s)))?;
            (make(x.dtype, values, &shape)?, places)
        }
        _ => {
            let (values, places) = with::<f32, _>(&x, |s| c.install(|| maxima(&window, by_column, s)))?;
            (make(x.dtype, values, &shape)?, places)
        }
    };
    Ok(vec![cast_to(&values, given.dtype)?, make(DType::I64, places, &shape)?])
}

/// The `p` of a norm: at least 1.
fn power(c: &Call<'_>) -> OpResult<f64> {
    let p = c.node.int("p").map_or_else(|| f64::from(c.float("p", 2.0)), |p| p as f64);
    if p >= 1.0 { Ok(p) } else { fail(format!("attribute \"p\" is {p}, but a norm needs at least 1")) }
}

/// The `p`-norm of each window: powers are summed as averages are, then the root is taken.
fn lp(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let p = power(c)?;
    let x = floating(c.input(0)?)?;
    let each = |x: &Value, f: &dyn Fn(f64) -> f64| -> OpResult<Value> {
        Ok(match x.dtype {
            DType::F64 => {
                let values = with_channels_last::<f64, _>(x, |s| s.iter().map(|v| f(*v)).collect())?;
                make_channels_last::<f64>(x.dtype, values, x.shape())?
            }
            _ => {
                let values = with_channels_last::<f32, _>(x, |s| s.iter().map(|v| f(f64::from(*v)) as f32).collect())?;
                make_channels_last::<f32>(x.dtype, values, x.shape())?
            }
        })
    };
    let powers = each(&x, &|v| if p == 2.0 { v * v } else { v.abs().powf(p) })?;
    let inputs = [Some(powers)];
    let sums = windows(&Call { node: c.node, opset: c.opset, inputs: &inputs, pool: c.pool }, Pooling::Sum)?;
    Ok(vec![each(&sums, &|v| if p == 2.0 { v.sqrt() } else { v.powf(1.0 / p) })?])
}

/// Longest window, and most outputs, that are believed.
const LONGEST: i64 = 1 << 20;
const MOST: usize = 1 << 31;

/// Where the windows of a pooling node lie on an input of `shape`, and the shape of its output.
pub(in crate::engine::exec) fn pool_window(c: &Call<'_>, shape: &[usize]) -> OpResult<(Window, Vec<usize>)> {
    let [batch, channels, spatial @ ..] = shape else { return fail("a batch and a channel axis are needed") };
    let Some(kernel) = c.node.ints("kernel_shape") else { return fail("attribute \"kernel_shape\" is missing") };
    for name in ["kernel_shape", "strides", "dilations", "pads"] {
        if let Some(bad) = c.node.ints(name).unwrap_or_default().iter().find(|v| !(0..=LONGEST).contains(*v)) {
            return fail(format!("attribute \"{name}\" holds {bad}, but a window reaches from 0 to {LONGEST}"));
        }
    }
    let kernel: Vec<usize> = kernel.iter().map(|&k| k.max(1) as usize).collect();
    let axes =
        window_axes(c.node, spatial, &kernel, Auto::Window { ceil: c.int("ceil_mode", 0) != 0 }).map_err(OpError::Reason)?;
    let positive = |pads: &[isize]| pads.iter().map(|&p| p.max(0) as usize).collect::<Vec<_>>();
    let shape: Vec<usize> = [*batch, *channels].iter().chain(&axes.output).copied().collect();
    if shape.iter().try_fold(1_usize, |all, n| all.checked_mul(*n)).is_none_or(|all| all > MOST) {
        return fail(format!("an output of shape {shape:?} is more than can be computed"));
    }
    let window = Window {
        channels: *channels,
        input: spatial3(spatial, 1)?,
        kernel: spatial3(&kernel, 1)?,
        stride: spatial3(&axes.stride, 1)?,
        dilation: spatial3(&axes.dilation, 1)?,
        pad: spatial3(&positive(&axes.pad_before), 0)?,
        pad_after: spatial3(&positive(&axes.pad_after), 0)?,
        output: spatial3(&axes.output, 1)?,
    };
    room::<f32>(&shape)?;
    Ok((window, shape))
}

/// Joins the places of each channel, in the order of the places.
fn global(c: &Call<'_>, start: f64, join: impl Fn(f64, f64) -> f64, finish: impl Fn(f64, usize) -> f64) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let [batch, channels, spatial @ ..] = x.shape() else { return fail("a batch and a channel axis are needed") };
    let places = spatial.iter().product::<usize>();
    let shape: Vec<usize> = [*batch, *channels].into_iter().chain(spatial.iter().map(|_| 1)).collect();
    let ends = |sums: Vec<f64>| sums.into_iter().map(|s| finish(s, places));
    Ok(vec![match x.dtype {
        DType::F64 => {
            let sums = with_channels_last::<f64, _>(x, |s| over_places(s, *batch, *channels, start, join))?;
            make(x.dtype, ends(sums).collect::<Vec<f64>>(), &shape)?
        }
        d if d.is_float() => {
            let sums = with_channels_last::<f32, _>(x, |s| over_places(s, *batch, *channels, start, join))?;
            make(x.dtype, ends(sums).map(|v| v as f32).collect(), &shape)?
        }
        other => return fail(format!("values of type {other} cannot be pooled here; cast them to float32")),
    }])
}

fn over_places<T: Into<f64> + Copy>(
    x: &[T],
    batch: usize,
    channels: usize,
    start: f64,
    join: impl Fn(f64, f64) -> f64,
) -> Vec<f64> {
    let mut all = vec![start; batch * channels];
    if all.is_empty() || x.is_empty() {
        return all;
    }
    let image = x.len() / batch;
    wide(|| {
        for (sums, image) in all.chunks_exact_mut(channels).zip(x.chunks_exact(image)) {
            for place in image.chunks_exact(channels) {
                for (sum, v) in sums.iter_mut().zip(place) {
                    *sum = join(*sum, (*v).into());
                }
            }
        }
    });
    all
}

/// Puts maxima back where `MaxPool` found them, zeros elsewhere. Indices count within the shape that
/// strides, pads and kernel tell; a larger shape asked for has zeros at the ends of its axes.
fn unpool(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (given, places) = (c.input(0)?, c.input(1)?);
    let x = floating(given)?;
    let [batch, channels, spatial @ ..] = x.shape() else { return fail("a batch and a channel axis are needed") };
    let Some(kernel) = c.node.ints("kernel_shape").filter(|k| k.len() == spatial.len()) else {
        return fail("attribute \"kernel_shape\" is missing or does not fit the spatial axes");
    };
    let (rank, strides, pads) = (spatial.len(), c.node.ints("strides"), c.node.ints("pads"));
    if strides.is_some_and(|s| s.len() != rank) || pads.is_some_and(|p| p.len() != 2 * rank) {
        return fail("strides or pads do not fit the spatial axes");
    }
    let mut told = vec![*batch, *channels];
    for a in 0..rank {
        let (stride, pad) = (strides.map_or(1, |s| s[a]), pads.map_or(0, |p| p[a].saturating_add(p[a + rank])));
        let steps = (spatial[a] as i64 - 1).checked_mul(stride);
        let size = steps.and_then(|s| s.checked_sub(pad)?.checked_add(kernel[a])).filter(|n| (0..=1 << 31).contains(n));
        let Some(size) = size else { return fail(format!("spatial axis {a} would have no size that can be computed")) };
        told.push(size as usize);
    }
    let shape = match c.optional(2) {
        Some(shape) => ints(shape)?.iter().map(|&n| usize::try_from(n).unwrap_or(usize::MAX)).collect(),
        None => told.clone(),
    };
    let fits = shape.len() == told.len() && shape.iter().zip(&told).all(|(n, told)| n >= told);
    let total = shape.iter().try_fold(1_usize, |all, n| all.checked_mul(*n)).filter(|all| fits && *all <= MOST);
    let Some(total) = total else { return fail(format!("an output of shape {shape:?} does not hold one of {told:?}")) };
    if places.shape() != x.shape() {
        return fail(format!("indices of shape {:?} do not fit values of shape {:?}", places.shape(), x.shape()));
    }
    let out = match x.dtype {
        DType::F64 => {
            let values = with2::<f64, i64, _>(&x, places, |x, places| scatter(x, places, &told, &shape, total))??;
            make(x.dtype, values, &shape)?
        }
        _ => {
            let values = with2::<f32, i64, _>(&x, places, |x, places| scatter(x, places, &told, &shape, total))??;
            make(x.dtype, values, &shape)?
        }
    };
    Ok(vec![cast_to(&out, given.dtype)?])
}

/// Values at places counted within `told`, in a tensor of `shape` that is at least as large.
fn scatter<T: Copy + Default>(x: &[T], places: &[i64], told: &[usize], shape: &[usize], total: usize) -> OpResult<Vec<T>> {
    let mut out = vec![T::default(); total];
    for (v, &place) in x.iter().zip(places) {
        let (mut rest, mut at, mut step) = (usize::try_from(place).unwrap_or(usize::MAX), 0, 1);
        for (n, told) in shape.iter().zip(told).rev() {
            at += rest % (*told).max(1) * step;
            rest /= (*told).max(1);
            step *= n;
        }
        match out.get_mut(at).filter(|_| rest == 0) {
            Some(to) => *to = *v,
            None => return fail(format!("index {place} lies outside a tensor of shape {told:?}")),
        }
    }
    Ok(out)
}
