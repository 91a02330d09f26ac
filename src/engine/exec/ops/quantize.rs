//! Quantization operators.

use super::cast::{cast_to, narrow, overflow_of};
use super::{Call, Operator, install};
use crate::engine::exec::data::{
    Held as HeldAs, OpResult, axis_of, doubles, fail, held, int_scalar, make, make_alike, scalar, unsupported, with,
    with_any_order,
};
use crate::engine::exec::image::{Buffer, Held, Image};
use crate::engine::graph::Node;
use crate::engine::kernels::isa::wide;
use crate::engine::kernels::parts;
use crate::engine::kernels::quantize::{dequantize, fake_quantize, quantize, saturate};
use crate::engine::tensor::{DType, Rounding, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "QuantizeLinear" => quantize_linear,
        "DequantizeLinear" => dequantize_linear,
        "DynamicQuantizeLinear" => dynamic,
        _ => return None,
    })
}

/// The scale and the zero point of every element.
struct Scales {
    scale: Vec<f64>,
    /// Empty: all zero.
    zero: Vec<f64>,
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
        let scales = doubles(scale)?;
        let zero = zero.map(doubles).transpose()?.unwrap_or_default();
        if !zero.is_empty() && zero.len() != scales.len() {
            return fail(format!("{} scales and {} zero points do not go together", scales.len(), zero.len()));
        }
        let shape = x.shape();
        let axis = || axis_of(c.int("axis", 1), shape.len());
        let block = c.int("block_size", 0);
        let layout = if scales.len() == 1 && scale.shape().len() <= 1 {
            Layout::Tensor
        } else if block <= 0 || (scale.shape().len() <= 1 && shape.len() != 1) {
            let axis = axis()?;
            if scales.len() != shape[axis] {
                return fail(format!("{} scales do not fit axis {axis} of shape {shape:?}", scales.len()));
            }
            Layout::Axis { length: shape[axis], inner: shape[axis + 1..].iter().product() }
        } else {
            let (axis, size) = (axis()?, usize::try_from(block).unwrap_or(usize::MAX));
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

    /// How many elements that follow one another have the same scale, at least.
    fn run(&self) -> usize {
        match self.layout {
            Layout::Tensor => usize::MAX,
            Layout::Axis { inner, .. } => inner.max(1),
            Layout::Block { .. } => 1,
        }
    }

    /// Scale and zero point of the element at a row-major place.
    fn at(&self, flat: usize) -> (f64, f64) {
        let index = match self.layout {
            Layout::Tensor => 0,
            Layout::Axis { length, inner } => flat / inner % length,
            Layout::Block { length, inner, size, blocks } => {
                (flat / (inner * length) * blocks + flat / inner % length / size) * inner + flat % inner
            }
        };
        (self.scale[index], self.zero.get(index).copied().unwrap_or(0.0))
    }

    /// `f` of every element, its scale and its zero point.
    fn map<T: Copy, R>(&self, x: &[T], f: impl Fn(T, f64, f64) -> R) -> Vec<R> {
        let mut out = Vec::with_capacity(x.len());
        let run = self.run();
        for (i, part) in x.chunks(run).enumerate() {
            let (scale, zero) = self.at(i.saturating_mul(run));
            out.extend(part.iter().map(|v| f(*v, scale, zero)));
        }
        out
    }
}

/// The type that attribute `name` asks for; 0 asks for none.
fn asked(c: &Call<'_>, name: &str) -> Option<DType> {
    c.node.int(name).filter(|v| *v != 0).map(|v| i32::try_from(v).map_or(DType::Other(0), DType::from_onnx))
}

/// In which precision a number is divided by its scale: that of the scale, unless the node says otherwise.
/// Scales that hold no fractions (powers of two, integers) say nothing about it.
fn precision(c: &Call<'_>, scale: &Value) -> OpResult<DType> {
    match asked(c, "precision") {
        Some(asked @ (DType::F16 | DType::BF16 | DType::F32 | DType::F64)) => Ok(asked),
        Some(other) => unsupported(format!("a division in {other} is not supported")),
        None if matches!(scale.dtype, DType::F16 | DType::BF16 | DType::F64) => Ok(scale.dtype),
        None => Ok(DType::F32),
    }
}

/// `x / scale` in the type `precision`.
fn quotient(precision: DType, x: f64, scale: f64) -> f64 {
    match precision {
        DType::F64 => x / scale,
        DType::F32 => f64::from(x as f32 / scale as f32),
        _ => f64::from(narrow(precision, narrow(precision, x as f32) / narrow(precision, scale as f32))),
    }
}

fn quantize_linear(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, scale, zero) = (c.input(0)?, c.input(1)?, c.optional(2));
    let wanted = asked(c, "output_dtype");
    if let (Some(asked), Some(zero)) = (wanted, zero)
        && asked != zero.dtype
    {
        return fail(format!("a zero point of type {} does not go with results of type {asked}", zero.dtype));
    }
    let dtype = zero.map(|z| z.dtype).or(wanted).unwrap_or(DType::U8);
    let scales = Scales::of(c, x, scale, zero)?;
    let precision = precision(c, scale)?;
    if dtype.is_minifloat() {
        if dtype.bits() == 8 && scales.zero.iter().any(|z| *z != 0.0) {
            return fail(format!("the zero point of {dtype} must be zero"));
        }
        let rounding = Rounding { overflow: overflow_of(c), ..Rounding::default() };
        let round = |v: f64, scale, zero| dtype.rounded(quotient(precision, v, scale) + zero, rounding);
        return Ok(vec![make(dtype, scales.map(&doubles(x)?, round), x.shape())?]);
    }
    let Some(range) = dtype.integer_range().filter(|_| dtype.bits() <= 16) else {
        return unsupported(format!("quantization to {dtype} is not supported"));
    };
    let values = if x.dtype == DType::F32 && precision == DType::F32 {
        with::<f32, _>(x, |s| scales.map(s, |v, scale, zero| quantize(v, scale as f32, zero as i64, range)))?
    } else {
        let round = |v: f64, scale, zero| saturate(quotient(precision, v, scale).round_ties_even() + zero, range);
        scales.map(&doubles(x)?, round)
    };
    Ok(vec![make(dtype, values, x.shape())?])
}

fn dequantize_linear(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, scale) = (c.input(0)?, c.input(1)?);
    let scales = Scales::of(c, x, scale, c.optional(2))?;
    let dtype = asked(c, "output_dtype").unwrap_or(scale.dtype);
    if !matches!(dtype, DType::F16 | DType::BF16 | DType::F32) {
        return unsupported(format!("dequantization to {dtype} is not supported"));
    }
    let values: Vec<f32> = match held(x)? {
        HeldAs::Int => {
            with::<i64, _>(x, |s| scales.map(s, |q, scale, zero| narrow(dtype, dequantize(q, scale as f32, zero as i64))))?
        }
        HeldAs::F32 if x.dtype.is_minifloat() => {
            with::<f32, _>(x, |s| scales.map(s, |q, scale, zero| narrow(dtype, (q - zero as f32) * scale as f32)))?
        }
        _ => return fail(format!("values of type {} are not quantized ones", x.dtype)),
    };
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
        let asked = |node: &Node, name: &str| node.int(name).is_some_and(|v| v != 0);
        if asked(pair.0, "output_dtype") || asked(pair.1, "output_dtype") || asked(pair.0, "precision") {
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
            other => {
                // The result has the type of the scale, whatever goes in.
                let x = &cast_to(&other.clone().into_value()?, DType::F32)?;
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
        let part = |i: usize, out: &mut [f32]| {
            wide(|| fake_quantize(&x[i * TILE..][..out.len()], self.scale, self.zero, self.range, out));
        };
        install(pool, || parts(out, TILE, &part));
    }
}
