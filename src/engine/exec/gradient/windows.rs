//! Convolutions and pooling of images, with any padding, in terms of what candle can differentiate.

use super::Trouble;
use super::ops::{picked, refuse};
use crate::engine::graph::{Auto, Node, WindowAxes, window_axes};
use candle_core::{Device, Tensor};

/// Images padded on both sides of both axes: with zeros, or with what loses every comparison.
fn padded(x: &Tensor, axes: &WindowAxes, kernel: &[usize], fill: f32) -> Result<Tensor, Trouble> {
    let mut x = x.clone();
    for (at, size) in kernel.iter().enumerate() {
        // With sizes rounded up the last window may reach further than the padding.
        let reach = (axes.output[at] - 1) * axes.stride[at] + (size - 1) * axes.dilation[at] + 1;
        let (Ok(before), dim) = (usize::try_from(axes.pad_before[at]), x.dim(at + 2)?) else {
            return refuse("gradients do not pass through padding that cuts");
        };
        let after = reach.saturating_sub(before + dim);
        for (count, first) in [(before, true), (after, false)] {
            if count == 0 {
                continue;
            }
            let mut shape = x.dims().to_vec();
            shape[at + 2] = count;
            let border = Tensor::full(fill, shape, &Device::Cpu)?;
            x = if first { Tensor::cat(&[&border, &x], at + 2)? } else { Tensor::cat(&[&x, &border], at + 2)? };
        }
    }
    Ok(x)
}

fn images(x: &Tensor) -> Result<(), Trouble> {
    if x.rank() == 4 { Ok(()) } else { refuse("gradients are known of windows over images") }
}

pub(super) fn convolve(node: &Node, x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor, Trouble> {
    images(x)?;
    let kernel = &weight.dims()[2..];
    let axes = window_axes(node, &x.dims()[2..], kernel, Auto::Conv).map_err(Trouble::Refused)?;
    let same = |values: &[usize]| values.windows(2).all(|pair| pair[0] == pair[1]);
    if !same(&axes.stride) || !same(&axes.dilation) {
        return refuse("its strides or dilations differ between the axes");
    }
    let groups = usize::try_from(node.int("group").unwrap_or(1)).unwrap_or(1).max(1);
    let x = padded(x, &axes, kernel, 0.0)?;
    let out = if groups > 1 && groups == weight.dim(0)? && weight.dim(1)? == 1 {
        // One product per tap is faster than one convolution per channel.
        taps(&x, &axes, kernel, &|tap, at| {
            let (row, column) = (at / kernel[1], at % kernel[1]);
            let scale = weight.narrow(2, row, 1)?.narrow(3, column, 1)?.reshape((1, groups, 1, 1))?;
            Ok(tap.broadcast_mul(&scale)?)
        })?
        .into_iter()
        .reduce(|a, b| a.and_then(|a| Ok((a + b?)?)))
        .unwrap_or_else(|| refuse("an empty kernel"))?
    } else {
        x.contiguous()?.conv2d(&weight.contiguous()?, 0, axes.stride[0], axes.dilation[0], groups)?
    };
    let Some(bias) = bias else { return Ok(out) };
    Ok(out.broadcast_add(&bias.reshape((1, bias.elem_count(), 1, 1))?)?)
}

type Tap<'a> = &'a dyn Fn(&Tensor, usize) -> Result<Tensor, Trouble>;

/// What each place of a kernel sees, treated by `each`; row by row.
fn taps(x: &Tensor, axes: &WindowAxes, kernel: &[usize], each: Tap<'_>) -> Result<Vec<Result<Tensor, Trouble>>, Trouble> {
    let &[height, width] = kernel else { return refuse("gradients are known of windows over images") };
    let seen = |at: usize, tap: usize| {
        let (step, first) = (axes.stride[at], tap * axes.dilation[at]);
        (0..axes.output[at]).map(move |place| first + place * step)
    };
    let mut all = Vec::with_capacity(height * width);
    for row in 0..height {
        let rows = picked(x, 2, seen(0, row))?;
        for column in 0..width {
            all.push(each(&picked(&rows, 3, seen(1, column))?, row * width + column));
        }
    }
    Ok(all)
}

fn pooled(node: &Node, x: &Tensor) -> Result<(WindowAxes, Vec<usize>), Trouble> {
    images(x)?;
    let kernel: Vec<usize> =
        node.ints("kernel_shape").unwrap_or_default().iter().filter_map(|n| usize::try_from(*n).ok()).collect();
    let ceil = node.int("ceil_mode").unwrap_or(0) != 0;
    let axes = window_axes(node, &x.dims()[2..], &kernel, Auto::Window { ceil }).map_err(Trouble::Refused)?;
    Ok((axes, kernel))
}

pub(super) fn max_pool(node: &Node, x: &Tensor) -> Result<Tensor, Trouble> {
    let (axes, kernel) = pooled(node, x)?;
    let x = padded(x, &axes, &kernel, f32::MIN)?;
    let all = taps(&x, &axes, &kernel, &|tap, _| Ok(tap.clone()))?;
    all.into_iter().reduce(|a, b| a.and_then(|a| Ok(a.maximum(&b?)?))).unwrap_or_else(|| refuse("an empty window"))
}

pub(super) fn average_pool(node: &Node, x: &Tensor) -> Result<Tensor, Trouble> {
    let (axes, kernel) = pooled(node, x)?;
    let whole = Tensor::ones((1, 1, x.dim(2)?, x.dim(3)?), x.dtype(), &Device::Cpu)?;
    let sum = |x: &Tensor| -> Result<Tensor, Trouble> {
        let x = padded(x, &axes, &kernel, 0.0)?;
        let all = taps(&x, &axes, &kernel, &|tap, _| Ok(tap.clone()))?;
        all.into_iter().reduce(|a, b| a.and_then(|a| Ok((a + b?)?))).unwrap_or_else(|| refuse("an empty window"))
    };
    let total = sum(x)?;
    // Without the padding among what is counted, windows at the edges see fewer values.
    if node.int("count_include_pad").unwrap_or(0) == 0 {
        return Ok(total.broadcast_div(&sum(&whole)?)?);
    }
    Ok(total.affine(1.0 / kernel.iter().product::<usize>().max(1) as f64, 0.0)?)
}
