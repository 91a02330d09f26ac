//! Pooling operators.

use super::cast::cast_to;
use super::convolution::spatial3;
use super::{Call, Operator};
use crate::engine::exec::data::{OpError, OpResult, fail, make, make_channels_last, unsupported, with, with_channels_last};
use crate::engine::exec::memory::room;
use crate::engine::graph::{Auto, window_axes};
use crate::engine::kernels::pool::{Pooling, Window, pool};
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "MaxPool" => |c| windows(c, Pooling::Max),
        "AveragePool" => |c| {
            let padded = c.int("count_include_pad", 0) != 0;
            windows(c, if padded { Pooling::AveragePadded } else { Pooling::Average })
        },
        "GlobalAveragePool" => |c| global(c, 0.0, |a, b| a + b, |sum, n| sum / n as f64),
        "GlobalMaxPool" => |c| global(c, f64::NEG_INFINITY, |a, b| if a.is_nan() || a > b { a } else { b }, |top, _| top),
        _ => return None,
    })
}

fn windows(c: &Call<'_>, kind: Pooling) -> OpResult<Vec<Value>> {
    if c.node.outputs.len() > 1 && c.node.outputs[1].is_some() {
        return unsupported("the output of indices is not supported");
    }
    let given = c.input(0)?;
    // Maxima of narrow integers are exact in f32.
    let x = &if given.dtype.is_float() { given.clone() } else { cast_to(given, DType::F32)? };
    let (window, shape) = pool_window(c, x.shape())?;
    let mut out = vec![0.0_f32; room::<f32>(&shape)?];
    let pooled = if shape.len() <= 4 {
        with_channels_last::<f32, _>(x, |s| c.install(|| pool(&window, kind, s, &mut out)))?;
        make_channels_last(x.dtype, out, &shape)?
    } else {
        with::<f32, _>(x, |s| c.install(|| pool(&window, kind, s, &mut out)))?;
        make(x.dtype, out, &shape)?
    };
    Ok(vec![cast_to(&pooled, given.dtype)?])
}

/// Where the windows of a pooling node lie on an input of `shape`, and the shape of its output. With two
/// spatial axes or one, the channels, which lie last, are a third one with windows of one: whole places
/// are joined at a time.
pub(in crate::engine::exec) fn pool_window(c: &Call<'_>, shape: &[usize]) -> OpResult<(Window, Vec<usize>)> {
    let [batch, channels, spatial @ ..] = shape else { return fail("a batch and a channel axis are needed") };
    let Some(kernel) = c.node.ints("kernel_shape") else { return fail("attribute \"kernel_shape\" is missing") };
    let kernel: Vec<usize> = kernel.iter().map(|&k| k.max(1) as usize).collect();
    let axes =
        window_axes(c.node, spatial, &kernel, Auto::Window { ceil: c.int("ceil_mode", 0) != 0 }).map_err(OpError::Reason)?;
    let positive = |pads: &[isize]| pads.iter().map(|&p| p.max(0) as usize).collect::<Vec<_>>();
    let shape: Vec<usize> = [*batch, *channels].iter().chain(&axes.output).copied().collect();
    let last = spatial.len() <= 2;
    let with_channels =
        |axes: &[usize], channels: usize| -> Vec<usize> { axes.iter().copied().chain(last.then_some(channels)).collect() };
    let window = Window {
        input: spatial3(&with_channels(spatial, *channels), 1)?,
        kernel: spatial3(&with_channels(&kernel, 1), 1)?,
        stride: spatial3(&with_channels(&axes.stride, 1), 1)?,
        dilation: spatial3(&with_channels(&axes.dilation, 1), 1)?,
        pad: spatial3(&with_channels(&positive(&axes.pad_before), 0), 0)?,
        pad_after: spatial3(&with_channels(&positive(&axes.pad_after), 0), 0)?,
        output: spatial3(&with_channels(&axes.output, *channels), 1)?,
    };
    Ok((window, shape))
}

/// Joins the places of each channel, in the order of the places.
fn global(c: &Call<'_>, start: f64, join: impl Fn(f64, f64) -> f64, finish: impl Fn(f64, usize) -> f64) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let [batch, channels, spatial @ ..] = x.shape() else { return fail("a batch and a channel axis are needed") };
    let (channels, places) = (*channels, spatial.iter().product::<usize>());
    let mut values = Vec::with_capacity(batch * channels);
    with_channels_last::<f32, _>(x, |s| {
        for image in s.chunks((channels * places).max(1)) {
            let mut sums = vec![start; channels];
            for place in image.chunks(channels) {
                for (sum, v) in sums.iter_mut().zip(place) {
                    *sum = join(*sum, f64::from(*v));
                }
            }
            values.extend(sums.iter().map(|s| finish(*s, places) as f32));
        }
    })?;
    values.resize(batch * channels, finish(start, 0) as f32);
    let shape: Vec<usize> = [*batch, channels].into_iter().chain(spatial.iter().map(|_| 1)).collect();
    Ok(vec![make(x.dtype, values, &shape)?])
}
