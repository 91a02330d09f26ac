//! Quantization operators.

use super::{Call, Operator, install};
use crate::engine::exec::data::{
    Number, OpResult, axis_of, fail, floats, for_held, int_scalar, ints, make, make_alike, scalar, unsupported, with,
    with_any_order,
};
use crate::engine::exec::image::{Buffer, Held, Image};
use crate::engine::graph::Node;
use crate::engine::kernels::isa::wide;
use crate::engine::kernels::quantize::{dequantize, fake_quantize, quantize};
use crate::engine::tensor::{DType, Value};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "QuantizeLinear" => quantize_linear,
        "DequantizeLinear" => dequantize_linear,
        "DynamicQuantizeLinear" => dynamic,
        _ => return None,
    })
}

/// Which scale an element has: index of the scale = `(flat / inner % length) / block · stride + flat / (inner·length)…`.
struct Scales {
    scale: Vec<f32>,
    zero: Vec<i64>,
    layout: Layout,
}

enum Layout {
    Tensor,
    /// One scale per place along an axis of `length`, `inner` elements apart.
    Axis {
        length: usize,
        inner: usize,
    },
    /// One scale per block along the axis and per place everywhere else.
    Block {
        length: usize,
        inner: usize,
        size: usize,
        blocks: usize,
    },
}

impl Scales {
    fn of(c: &Call<'_>, x: &Value, scale: &Value, zero: Option<&Value>) -> OpResult<Self> {
        let scales = floats(scale)?;
        let zero = zero.map(ints).transpose()?.unwrap_or_else(|| vec![0; scales.len()]);
        if zero.len() != scales.len() {
            return fail(format!("{} scales and {} zero points do not go together", scales.len(), zero.len()));
        }
        let shape = x.shape();
        let axis = |default| axis_of(c.int("axis", default), shape.len());
        let layout = if scales.len() == 1 && scale.shape().len() <= 1 {
            Layout::Tensor
        } else if scale.shape().len() <= 1 && scale.shape().len() != shape.len() || c.int("block_size", 0) == 0 {
            let axis = axis(1)?;
            if scales.len() != shape[axis] {
                return fail(format!("{} scales do not fit axis {axis} of shape {shape:?}", scales.len()));
            }
            Layout::Axis { length: shape[axis], inner: shape[axis + 1..].iter().product() }
        } else {
            let (axis, size) = (axis(1)?, c.int("block_size", 0).max(1) as usize);
            let blocks = shape[axis].div_ceil(size);
            let expected = shape.iter().enumerate().map(|(i, &d)| if i == axis { blocks } else { d });
            if !expected.eq(scale.shape().iter().copied()) {
                return fail(format!(
                    "scales of shape {:?} do not fit blocks of {size} along axis {axis} of {shape:?}",
                    scale.shape()
                ));
            }
            Layout::Block { length: shape[axis], inner: shape[axis + 1..].iter().product(), size, blocks }
        };
        Ok(Self { scale: scales, zero, layout })
    }

    fn at(&self, flat: usize) -> (f32, i64) {
        let index = match self.layout {
            Layout::Tensor => 0,
            Layout::Axis { length, inner } => flat / inner % length,
            Layout::Block { length, inner, size, blocks } => {
                (flat / (inner * length) * blocks + flat / inner % length / size) * inner + flat % inner
            }
        };
        (self.scale[index], self.zero[index])
    }
}

fn quantize_linear(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, scale, zero) = (c.input(0)?, c.input(1)?, c.optional(2));
    let asked = c.node.int("output_dtype").filter(|v| *v != 0).map(|v| DType::from_onnx(v as i32));
    let dtype = zero.map(|z| z.dtype).or(asked).unwrap_or(DType::U8);
    let Some(range) = dtype.integer_range() else {
        return unsupported(format!("quantization to {dtype} is not supported"));
    };
    let scales = Scales::of(c, x, scale, zero)?;
    let values: Vec<i64> = for_held!(x, T => with::<T, _>(x, |s| {
        s.iter()
            .enumerate()
            .map(|(i, v)| {
                let (scale, zero) = scales.at(i);
                quantize(v.to_f64() as f32, scale, zero, range)
            })
            .collect()
    })?);
    Ok(vec![make(dtype, values, x.shape())?])
}

fn dequantize_linear(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, scale) = (c.input(0)?, c.input(1)?);
    let scales = Scales::of(c, x, scale, c.optional(2))?;
    let dtype = c.node.int("output_dtype").filter(|v| *v != 0).map_or(scale.dtype, |v| DType::from_onnx(v as i32));
    let values: Vec<f32> = with::<i64, _>(x, |s| {
        s.iter()
            .enumerate()
            .map(|(i, q)| {
                let (scale, zero) = scales.at(i);
                super::unary::narrow(dtype, dequantize(*q, scale, zero))
            })
            .collect()
    })?;
    Ok(vec![make(dtype, values, x.shape())?])
}

/// To u8 over the range found in the data, zero included.
fn dynamic(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let (low, high) = with::<f32, _>(x, |s| s.iter().fold((0.0_f32, 0.0_f32), |(a, b), v| (a.min(*v), b.max(*v))))?;
    let scale = if high == low { 1.0 } else { (high - low) / 255.0 };
    let zero = (-low / scale).round_ties_even().clamp(0.0, 255.0) as i64;
    let values: Vec<i64> = with::<f32, _>(x, |s| s.iter().map(|v| quantize(*v, scale, zero, (0, 255))).collect())?;
    Ok(vec![make(DType::U8, values, x.shape())?, make(DType::F32, vec![scale], &[])?, make(DType::U8, vec![zero], &[])?])
}

/// A `QuantizeLinear` → `DequantizeLinear` pair with one scale, as one step on f32.
pub(in crate::engine::exec) struct FakeQuantize {
    scale: f32,
    zero: i64,
    range: (i64, i64),
}

impl FakeQuantize {
    /// `None` where the pair is not one scale with one zero point of up to 16 bits on both sides.
    pub fn of(pair: (&Node, &Node), quantize: [Option<&Value>; 2], dequantize: [Option<&Value>; 2]) -> Option<Self> {
        let read = |[scale, zero]: [Option<&Value>; 2]| -> Option<(f32, i64, DType)> {
            let scale_value = scale?;
            if scale_value.dtype != DType::F32
                || scale_value.shape().iter().product::<usize>() != 1
                || scale_value.shape().len() > 1
            {
                return None;
            }
            let zero_point = zero.map_or(Some(0), |z| int_scalar(z).ok())?;
            Some((scalar(scale_value).ok()?, zero_point, zero.map_or(DType::U8, |z| z.dtype)))
        };
        if pair.0.int("output_dtype").is_some_and(|v| v != 0) || pair.1.int("output_dtype").is_some_and(|v| v != 0) {
            return None;
        }
        let (first, second) = (read(quantize)?, read(dequantize)?);
        let same = first.0.to_bits() == second.0.to_bits() && first.1 == second.1;
        let range = first.2.integer_range().filter(|_| same && first.2.bits() <= 16)?;
        Some(Self { scale: first.0, zero: first.1, range })
    }

    pub fn run(&self, x: &Held, pool: Option<&rayon::ThreadPool>) -> OpResult<Held> {
        match x {
            Held::Image(image) => {
                let mut out = Buffer::new(image.data.len());
                self.round(&image.data, &mut out, pool);
                Ok(Held::Image(Image::new(image.shape.clone(), out)))
            }
            Held::Value(x) => {
                let values = with_any_order(x, |s| {
                    let mut out = vec![0.0_f32; s.len()];
                    self.round(s, &mut out, pool);
                    out
                })?;
                Ok(Held::Value(make_alike(x, values)?))
            }
        }
    }

    fn round(&self, x: &[f32], out: &mut [f32], pool: Option<&rayon::ThreadPool>) {
        const TILE: usize = 1 << 15;
        let part = |x: &[f32], out: &mut [f32]| wide(|| fake_quantize(x, self.scale, self.zero, self.range, out));
        if x.len() <= TILE || pool.is_none() {
            part(x, out);
        } else {
            install(pool, || out.par_chunks_mut(TILE).zip(x.par_chunks(TILE)).for_each(|(o, x)| part(x, o)));
        }
    }
}
