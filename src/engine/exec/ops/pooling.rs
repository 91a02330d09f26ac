//! Pooling operators.

use super::convolution::spatial3;
use super::unary::cast_to;
use super::{Call, Operator};
use crate::engine::exec::data::{OpError, OpResult, fail, make, with};
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
        "GlobalAveragePool" => |c| global(c, |s| (s.iter().map(|v| f64::from(*v)).sum::<f64>() / s.len() as f64) as f32),
        "GlobalMaxPool" => {
            |c| global(c, |s| s.iter().copied().fold(f32::NEG_INFINITY, |a, b| if a.is_nan() || a > b { a } else { b }))
        }
        _ => return None,
    })
}

fn windows(c: &Call<'_>, kind: Pooling) -> OpResult<Vec<Value>> {
    if c.node.outputs.len() > 1 && c.node.outputs[1].is_some() {
        return fail("the output of indices is not supported");
    }
    let given = c.input(0)?;
    // Maxima of narrow integers are exact in f32.
    let x = &if given.dtype.is_float() { given.clone() } else { cast_to(given, DType::F32)? };
    let [batch, channels, spatial @ ..] = x.shape() else { return fail("a batch and a channel axis are needed") };
    let Some(kernel) = c.node.ints("kernel_shape") else { return fail("attribute \"kernel_shape\" is missing") };
    let kernel: Vec<usize> = kernel.iter().map(|&k| k.max(1) as usize).collect();
    let axes =
        window_axes(c.node, spatial, &kernel, Auto::Window { ceil: c.int("ceil_mode", 0) != 0 }).map_err(OpError::Reason)?;
    let positive = |pads: &[isize]| pads.iter().map(|&p| p.max(0) as usize).collect::<Vec<_>>();
    let window = Window {
        input: spatial3(spatial, 1)?,
        kernel: spatial3(&kernel, 1)?,
        stride: spatial3(&axes.stride, 1)?,
        dilation: spatial3(&axes.dilation, 1)?,
        pad: spatial3(&positive(&axes.pad_before), 0)?,
        pad_after: spatial3(&positive(&axes.pad_after), 0)?,
        output: spatial3(&axes.output, 1)?,
    };
    let shape: Vec<usize> = [*batch, *channels].iter().chain(&axes.output).copied().collect();
    let mut out = vec![0.0_f32; room::<f32>(&shape)?];
    with::<f32, _>(x, |s| c.install(|| pool(&window, kind, s, &mut out)))?;
    Ok(vec![cast_to(&make(x.dtype, out, &shape)?, given.dtype)?])
}

fn global(c: &Call<'_>, f: impl Fn(&[f32]) -> f32) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let [batch, channels, spatial @ ..] = x.shape() else { return fail("a batch and a channel axis are needed") };
    let plane: usize = spatial.iter().product();
    let values: Vec<f32> = with::<f32, _>(x, |s| s.chunks(plane.max(1)).map(f).collect())?;
    let shape: Vec<usize> = [*batch, *channels].into_iter().chain(spatial.iter().map(|_| 1)).collect();
    Ok(vec![make(x.dtype, values, &shape)?])
}
