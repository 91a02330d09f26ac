//! Convolutions of f64 and products of f64 and integers: what has no fast kernel.

use super::Call;
use super::convolution::{groups_of, spatial3, spread_out, turn};
use crate::engine::exec::data::{OpError, OpResult, doubles, fail, make, with, with2};
use crate::engine::exec::memory::room;
use crate::engine::graph::{Auto, transposed_axes, window_axes};
use crate::engine::kernels::convolve::Geometry;
use crate::engine::kernels::plain::{Matrix, Ring, convolve, matmul};
use crate::engine::tensor::{DType, Value};
use candle_core::WithDType;

/// The bias of a node, one value per output channel or none.
fn bias_of(c: &Call<'_>, out_channels: usize) -> OpResult<Vec<f64>> {
    let bias = c.optional(2).map(doubles).transpose()?.unwrap_or_default();
    if !bias.is_empty() && bias.len() != out_channels {
        return fail(format!("a bias of {} does not fit {out_channels} output channels", bias.len()));
    }
    Ok(bias)
}

/// `Conv` in f64.
pub(super) fn conv(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, weight) = (c.input(0)?, c.input(1)?);
    let groups = groups_of(c.node);
    let ([batch, channels, spatial @ ..], [out_channels, per_group, kernel @ ..]) = (x.shape(), weight.shape()) else {
        return fail("a batch and a channel axis are needed");
    };
    let fits = out_channels.is_multiple_of(groups) && per_group.checked_mul(groups) == Some(*channels);
    if !fits || kernel.len() != spatial.len() || weight.shape().contains(&0) {
        let (w, x) = (weight.shape(), x.shape());
        return fail(format!("a weight of shape {w:?} does not fit an input of shape {x:?} and {groups} groups"));
    }
    let axes = window_axes(c.node, spatial, kernel, Auto::Conv).map_err(OpError::Reason)?;
    let geometry = Geometry {
        groups,
        in_channels: *channels,
        out_channels: *out_channels,
        input: spatial3(spatial, 1)?,
        kernel: spatial3(kernel, 1)?,
        stride: spatial3(&axes.stride, 1)?,
        dilation: spatial3(&axes.dilation, 1)?,
        pad: spatial3(&axes.pad_before, 0)?,
        output: spatial3(&axes.output, 1)?,
    };
    let shape: Vec<usize> = [*batch, *out_channels].iter().chain(&axes.output).copied().collect();
    let mut out = vec![0.0_f64; room::<f64>(&shape)?];
    let bias = bias_of(c, *out_channels)?;
    with2::<f64, f64, _>(x, weight, |x, w| c.install(|| convolve(&geometry, w, &bias, x, &mut out)))?;
    Ok(vec![make(x.dtype, out, &shape)?])
}

/// `ConvTranspose` in f64: as in f32, the convolution of an input spread out with a kernel turned around.
pub(super) fn conv_transpose(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, weight) = (c.input(0)?, c.input(1)?);
    let groups = groups_of(c.node);
    let ([batch, channels, spatial @ ..], [in_channels, per_group, kernel @ ..]) = (x.shape(), weight.shape()) else {
        return fail("a batch and a channel axis are needed");
    };
    if channels != in_channels || kernel.len() != spatial.len() || channels % groups != 0 || weight.shape().contains(&0) {
        return fail(format!("a weight of shape {:?} does not fit an input of shape {:?}", weight.shape(), x.shape()));
    }
    let axes = transposed_axes(c.node, spatial, kernel).map_err(OpError::Reason)?;
    let out_channels = per_group * groups;
    let spread: Vec<usize> = spatial.iter().zip(&axes.stride).map(|(n, s)| (n.max(&1) - 1) * s + 1).collect();
    let shape: Vec<usize> = [*batch, out_channels].iter().chain(&axes.output).copied().collect();
    let mut out = vec![0.0_f64; room::<f64>(&shape)?];
    room::<f64>(&[&[*batch, *channels], spread.as_slice()].concat())?;
    // Every plane by itself: an image of one channel.
    let input = with::<f64, _>(x, |s| spread_out(s, batch * channels, 1, spatial, &axes.stride, &spread))?;
    let turned = with::<f64, _>(weight, |w| turn(w, groups, channels / groups, *per_group, kernel.iter().product()))?;
    let geometry = Geometry {
        groups,
        in_channels: *channels,
        out_channels,
        input: spatial3(&spread, 1)?,
        kernel: spatial3(kernel, 1)?,
        stride: [1; 3],
        dilation: spatial3(&axes.dilation, 1)?,
        pad: spatial3(&axes.pad_before, 0)?,
        output: spatial3(&axes.output, 1)?,
    };
    let bias = bias_of(c, out_channels)?;
    c.install(|| convolve(&geometry, &turned, &bias, &input, &mut out));
    Ok(vec![make(x.dtype, out, &shape)?])
}

/// How the matrices of a product lie.
pub(super) struct Product<'a> {
    pub size: (usize, usize, usize),
    /// Distances between neighbors of a column and of a row.
    pub left: (usize, usize),
    pub right: (usize, usize),
    /// Which matrix of each operand every product takes.
    pub places: &'a [(usize, usize)],
}

/// Products of the matrices of `a` and `b`, one after the other.
pub(super) fn products<T>(c: &Call<'_>, a: &Value, b: &Value, product: &Product<'_>) -> OpResult<Vec<T>>
where
    T: Ring + WithDType,
{
    let (m, k, n) = product.size;
    let mut out = vec![T::default(); room::<T>(&[product.places.len(), m, n])?];
    with2::<T, T, _>(a, b, |x, y| {
        c.install(|| {
            for (out, (i, j)) in out.chunks_mut((m * n).max(1)).zip(product.places) {
                let left = &x[i * m * k..][..m * k];
                let right = &y[j * k * n..][..k * n];
                let left = Matrix { data: left, row_stride: product.left.0, column_stride: product.left.1 };
                let right = Matrix { data: right, row_stride: product.right.0, column_stride: product.right.1 };
                matmul(left, right, product.size, out);
            }
        });
    })?;
    Ok(out)
}

/// Integers cut to the type they stand for.
pub(super) fn whole(dtype: DType, values: Vec<i64>, shape: &[usize]) -> OpResult<Value> {
    make(dtype, values.into_iter().map(|v| super::cast::wrap(dtype, v)).collect(), shape)
}
