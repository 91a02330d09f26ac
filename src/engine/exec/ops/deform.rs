//! `DeformConv`: a convolution whose taps are moved by an input (Dai and others, 2017; with a mask: Zhu
//! and others, 2018). Two spatial axes.

use super::{Call, Operator};
use crate::engine::exec::data::OpError;
use crate::engine::exec::data::{Number, OpResult, fail, for_held, make, unsupported, with, with2};
use crate::engine::exec::memory::room;
use crate::engine::graph::{Auto, WindowAxes, window_axes};
use crate::engine::tensor::Value;
use candle_core::WithDType;

pub(super) fn find(op: &str) -> Option<Operator> {
    (op == "DeformConv").then_some(deformed as Operator)
}

/// Sizes that everything below speaks of.
struct Sizes {
    batch: usize,
    channels: usize,
    image: [usize; 2],
    outputs: usize,
    kernel: [usize; 2],
    groups: usize,
    offset_groups: usize,
    window: WindowAxes,
}

impl Sizes {
    fn of(c: &Call<'_>, x: &Value, weight: &Value, offset: &Value) -> OpResult<Self> {
        let (&[batch, channels, h, w], &[outputs, per_group, kh, kw]) = (x.shape(), weight.shape()) else {
            return unsupported("deformable convolution over other than two spatial axes is not supported");
        };
        let groups = c.int("group", 1).max(0) as usize;
        let offset_groups = c.int("offset_group", 1).max(0) as usize;
        let fits = groups > 0
            && offset_groups > 0
            && outputs.is_multiple_of(groups)
            && channels.is_multiple_of(offset_groups)
            && per_group.checked_mul(groups) == Some(channels)
            && kh > 0
            && kw > 0
            && c.node.ints("kernel_shape").is_none_or(|k| k == [kh as i64, kw as i64]);
        if !fits {
            return fail(format!("a weight of shape {:?} does not fit an input of shape {:?}", weight.shape(), x.shape()));
        }
        let window = window_axes(c.node, &[h, w], &[kh, kw], Auto::Conv).map_err(OpError::Reason)?;
        let wanted = [batch, 2 * offset_groups * kh * kw, window.output[0], window.output[1]];
        if offset.shape() != wanted {
            return fail(format!("offsets of shape {:?} were found where {wanted:?} is needed", offset.shape()));
        }
        Ok(Self { batch, channels, image: [h, w], outputs, kernel: [kh, kw], groups, offset_groups, window })
    }

    fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    fn places(&self) -> usize {
        self.window.output.iter().product()
    }
}

/// The image at a place between elements; zero outside.
fn between<T: Number>(image: &[T], [h, w]: [usize; 2], y: f64, x: f64) -> f64 {
    if !(y > -1.0 && y < h as f64 && x > -1.0 && x < w as f64) {
        return 0.0;
    }
    let (y0, x0) = (y.floor(), x.floor());
    let (fy, fx) = (y - y0, x - x0);
    let pixel = |y: f64, x: f64| {
        if y >= 0.0 && y < h as f64 && x >= 0.0 && x < w as f64 { image[y as usize * w + x as usize].to_f64() } else { 0.0 }
    };
    (1.0 - fy) * ((1.0 - fx) * pixel(y0, x0) + fx * pixel(y0, x0 + 1.0))
        + fy * ((1.0 - fx) * pixel(y0 + 1.0, x0) + fx * pixel(y0 + 1.0, x0 + 1.0))
}

/// The moved taps of one image: `[channels · taps, places]`.
fn columns<T: Number>(z: &Sizes, image: &[T], offset: &[T], mask: Option<&[T]>) -> Vec<T> {
    let (taps, places) = (z.taps(), z.places());
    let mut out = Vec::with_capacity(z.channels * taps * places);
    let size = z.image[0] * z.image[1];
    for channel in 0..z.channels {
        let group = channel / (z.channels / z.offset_groups);
        for tap in 0..taps {
            let moved = (group * taps + tap) * 2 * places;
            for place in 0..places {
                let start = |a: usize, at: usize, k: usize| {
                    (at * z.window.stride[a] + k * z.window.dilation[a]) as f64 - z.window.pad_before[a] as f64
                };
                let (row, column) = (place / z.window.output[1], place % z.window.output[1]);
                let y = start(0, row, tap / z.kernel[1]) + offset[moved + place].to_f64();
                let x = start(1, column, tap % z.kernel[1]) + offset[moved + places + place].to_f64();
                let strength = mask.map_or(1.0, |m| m[(group * taps + tap) * places + place].to_f64());
                out.push(T::from_f64(strength * between(&image[channel * size..], z.image, y, x)));
            }
        }
    }
    out
}

/// Weights times columns, one sum after the other in the order of the taps.
fn product<T: WithDType>(z: &Sizes, weight: &[T], bias: Option<&[T]>, columns: &[T], out: &mut Vec<T>) {
    let (places, depth, each) = (z.places(), z.channels / z.groups * z.taps(), z.outputs / z.groups);
    for output in 0..z.outputs {
        let from = out.len();
        out.resize(from + places, bias.map_or(T::zero(), |b| b[output]));
        for k in 0..depth {
            let w = weight[output * depth + k];
            let column = &columns[(output / each * depth + k) * places..][..places];
            for (sum, v) in out[from..].iter_mut().zip(column) {
                *sum += w * *v;
            }
        }
    }
}

fn deformed(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, weight, offset) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let z = Sizes::of(c, x, weight, offset)?;
    let (bias, mask) = (c.optional(3), c.optional(4));
    if let Some(bias) = bias.filter(|b| b.shape() != [z.outputs]) {
        return fail(format!("a bias of shape {:?} does not fit {} output channels", bias.shape(), z.outputs));
    }
    let marks = [z.batch, z.offset_groups * z.taps(), z.window.output[0], z.window.output[1]];
    if let Some(mask) = mask.filter(|m| m.shape() != marks) {
        return fail(format!("a mask of shape {:?} was found where {marks:?} is needed", mask.shape()));
    }
    if !x.dtype.is_float() {
        return fail(format!("floating-point values are needed, not {}", x.dtype));
    }
    let shape = [z.batch, z.outputs, z.window.output[0], z.window.output[1]];
    for_held!(x, T => {
        room::<T>(&[z.channels, z.taps(), z.places()])?;
        let mut out: Vec<T> = Vec::with_capacity(room::<T>(&shape)?);
        let bias = bias.map(|b| with::<T, _>(b, <[T]>::to_vec)).transpose()?;
        let mask = mask.map(|m| with::<T, _>(m, <[T]>::to_vec)).transpose()?;
        with::<T, _>(weight, |weight| {
            with2::<T, T, _>(x, offset, |x, offset| {
                let part = |all: &[T], i: usize| -> std::ops::Range<usize> {
                    let each = all.len() / z.batch.max(1);
                    i * each..(i + 1) * each
                };
                for i in 0..z.batch {
                    let mask = mask.as_deref().map(|m| &m[part(m, i)]);
                    let moved = columns::<T>(&z, &x[part(x, i)], &offset[part(offset, i)], mask);
                    product::<T>(&z, weight, bias.as_deref(), &moved, &mut out);
                }
            })
        })??;
        Ok(vec![make::<T>(x.dtype, out, &shape)?])
    })
}
