//! Convolutions of 8-bit data.

use super::{Order, Scale, scales, shift_of, signed, single, spread, unsigned, zeros};
use crate::engine::exec::data::{OpError, OpResult, fail, ints, make_channels_last, scalar, unsupported};
use crate::engine::exec::memory::room;
use crate::engine::exec::ops::Call;
use crate::engine::exec::ops::convolution::spatial3;
use crate::engine::graph::{Auto, window_axes};
use crate::engine::kernels::integer::{Finish, Geometry, Sink, Slide, Weights, convolve};
use crate::engine::tensor::{DType, Value};

/// `ConvInteger(x, w, x_zero_point, w_zero_point)`.
pub(super) fn integer(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (sums, shape) = sums(c, [c.input(0)?, c.input(1)?], [c.optional(2), c.optional(3)], None)?;
    let sums: Vec<i64> = sums.into_iter().map(i64::from).collect();
    Ok(vec![make_channels_last(DType::I32, sums, &shape)?])
}

/// `QLinearConv(x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, bias)`.
pub(super) fn qlinear(c: &Call<'_>) -> OpResult<Vec<Value>> {
    if c.int("channels_last", 0) != 0 {
        return unsupported("attribute \"channels_last\" is not supported");
    }
    let (x_scale, y) = (scalar(single(c.input(1)?, "the scale of the data")?)?, Scale::of(c, 6)?);
    let bias = c.optional(8).map(ints).transpose()?;
    let (sums, shape) = sums(c, [c.input(0)?, c.input(3)?], [c.optional(2), c.optional(5)], bias.as_deref())?;
    let factors: Vec<f32> = scales(c.input(4)?, shape[1])?.iter().map(|w| x_scale * w).collect();
    Ok(vec![make_channels_last(y.dtype, y.round(&sums, &factors)?, &shape)?])
}

/// The sums, channels last, and the shape that they have with channels second.
fn sums(
    c: &Call<'_>,
    [x, w]: [&Value; 2],
    [x_zero, w_zero]: [Option<&Value>; 2],
    bias: Option<&[i64]>,
) -> OpResult<(Vec<i32>, Vec<usize>)> {
    let ([batch, channels, spatial @ ..], [of, per_group, kernel @ ..]) = (x.shape(), w.shape()) else {
        return fail("a batch and a channel axis are needed");
    };
    let groups = c.int("group", 1).max(1) as usize;
    let whole = w.shape().iter().all(|d| *d > 0) && of.is_multiple_of(groups);
    if !whole || per_group.checked_mul(groups) != Some(*channels) || kernel.len() != spatial.len() || kernel.is_empty() {
        return fail(format!("a weight of shape {:?} does not fit data of shape {:?}", w.shape(), x.shape()));
    }
    if bias.is_some_and(|b| b.len() != *of) {
        return fail(format!("a bias of {} does not fit {of} output channels", bias.map_or(0, <[i64]>::len)));
    }
    let (x_zero, w_zero) = (zeros(x_zero, x, shift_of(x, "data")?)?, zeros(w_zero, w, shift_of(w, "a weight")? - 128)?);
    let &[x_zero] = x_zero.as_slice() else { return fail("the zero point of the data must be one number") };
    let w_zero = spread(&w_zero, *of, "output channels")?;
    let axes = window_axes(c.node, spatial, kernel, Auto::Conv).map_err(OpError::Reason)?;
    let g = Geometry {
        input: spatial3(spatial, 1)?,
        kernel: spatial3(kernel, 1)?,
        stride: spatial3(&axes.stride, 1)?,
        dilation: spatial3(&axes.dilation, 1)?,
        pad: spatial3(&axes.pad_before, 0)?,
        output: spatial3(&axes.output, 1)?,
    };
    let (data, codes) = (unsigned(x, "data", Order::ChannelsLast)?, signed(w, "a weight")?);
    let places = g.output.iter().product::<usize>();
    room::<i32>(&[*batch, places, *of])?;
    room::<u8>(&g.scratch(x.shape()[1]))?;
    let run = |codes: &[i8], of: usize, bias: Option<&[i64]>| {
        let weights = Weights::pack(codes, groups, of, g.kernel, Slide::of(&g.stride, &g.dilation));
        let bias = |i: usize| bias.map_or(0, |b| b[i] as i32);
        let offset: Vec<i32> =
            weights.sums().iter().enumerate().map(|(i, s)| bias(i).wrapping_sub(s.wrapping_mul(x_zero))).collect();
        let mut sums = vec![0; batch * places * of];
        c.install(|| convolve(&g, &weights, *batch, &data, x_zero as u8, &Finish::sums(&offset), Sink::Sums(&mut sums)));
        sums
    };
    let mut sums = run(&codes, *of, bias);
    if w_zero.iter().any(|z| *z != 0) {
        // The data under each window, less its zero point, once per group.
        let ones = vec![1; groups * codes.len() / of];
        let totals = run(&ones, groups, None);
        for (sums, totals) in sums.chunks_mut(*of).zip(totals.chunks(groups)) {
            for (i, (sum, zero)) in sums.iter_mut().zip(&w_zero).enumerate() {
                *sum = sum.wrapping_sub(zero.wrapping_mul(totals[i / (of / groups)]));
            }
        }
    }
    Ok((sums, [*batch, *of].iter().chain(&axes.output).copied().collect()))
}
