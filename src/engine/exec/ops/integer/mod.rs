//! Operators that compute on 8-bit integers: ONNX's own, and those that ONNX Runtime's quantizer writes
//! (domain `com.microsoft`).
//!
//! Unsigned bytes times signed ones is what the kernels do. Signed data become unsigned by adding 128,
//! unsigned weights signed by taking 128 off, with their zero points. Where a weight's zero point is not
//! zero then, one more output channel of ones gives the sum of the data it must be multiplied with.

mod around;
mod blocks;
mod convolve;
mod matmul;
#[cfg(test)]
mod tests;

use super::{Call, Operator};
use crate::engine::exec::data::{OpResult, fail, floats, int_scalar, ints, scalar, unsupported, with, with_channels_last};
use crate::engine::kernels::quantize::quantize;
use crate::engine::tensor::{DType, Value};

/// ONNX's own operators.
pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "QLinearConv" => convolve::qlinear,
        "ConvInteger" => convolve::integer,
        "QLinearMatMul" => matmul::qlinear,
        "MatMulInteger" => matmul::integer,
        _ => return None,
    })
}

/// Those of the domain `com.microsoft`.
pub(super) fn find_microsoft(op: &str) -> Option<Operator> {
    Some(match op {
        "QLinearConv" => convolve::qlinear,
        "QGemm" => matmul::gemm,
        "MatMulIntegerToFloat" => matmul::to_float,
        "DynamicQuantizeMatMul" => matmul::dynamic,
        "MatMulNBits" => blocks::matmul_nbits,
        "QLinearAdd" => |c| around::binary(c, "Add"),
        "QLinearMul" => |c| around::binary(c, "Mul"),
        "QLinearConcat" => around::concat,
        "QLinearSigmoid" => |c| around::unary(c, "Sigmoid"),
        "QLinearLeakyRelu" => |c| around::unary(c, "LeakyRelu"),
        "QLinearAveragePool" => |c| around::unary(c, "AveragePool"),
        "QLinearGlobalAveragePool" => |c| around::unary(c, "GlobalAveragePool"),
        _ => return None,
    })
}

/// How the elements of a value are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    Rows,
    ChannelsLast,
}

/// What must be added to a type's values to make them unsigned.
fn shift_of(value: &Value, what: &str) -> OpResult<i64> {
    match value.dtype {
        DType::U8 => Ok(0),
        DType::I8 => Ok(128),
        other => unsupported(format!("{what} of type {other} is not supported; uint8 and int8 are")),
    }
}

/// 8-bit data as unsigned bytes.
fn unsigned(value: &Value, what: &str, order: Order) -> OpResult<Vec<u8>> {
    let shift = shift_of(value, what)?;
    let read = |s: &[i64]| s.iter().map(|v| (v + shift) as u8).collect();
    match order {
        Order::Rows => with::<i64, _>(value, read),
        Order::ChannelsLast => with_channels_last::<i64, _>(value, read),
    }
}

/// 8-bit weights as signed bytes.
fn signed(value: &Value, what: &str) -> OpResult<Vec<i8>> {
    let shift = shift_of(value, what)? - 128;
    with::<i64, _>(value, |s| s.iter().map(|v| (v + shift) as i8).collect())
}

/// Zero points beside `value`, shifted as its elements are; one 0 where there are none.
fn zeros(zero: Option<&Value>, value: &Value, shift: i64) -> OpResult<Vec<i32>> {
    let Some(zero) = zero else { return Ok(vec![shift as i32]) };
    if zero.dtype != value.dtype {
        return fail(format!("a zero point of type {} does not go with values of type {}", zero.dtype, value.dtype));
    }
    Ok(ints(zero)?.iter().map(|z| (z + shift) as i32).collect())
}

/// The only element of a scale or zero point.
fn single<'a>(value: &'a Value, what: &str) -> OpResult<&'a Value> {
    if value.shape().iter().product::<usize>() != 1 {
        return fail(format!("{what} must be one number, not of shape {:?}", value.shape()));
    }
    Ok(value)
}

/// One value per row or column where one or that many are given.
fn spread<T: Copy>(values: &[T], count: usize, what: &str) -> OpResult<Vec<T>> {
    match values {
        [one] => Ok(vec![*one; count]),
        many if many.len() == count => Ok(many.to_vec()),
        many => fail(format!("{} values do not fit {what} of {count}", many.len())),
    }
}

/// Scale and zero point of a whole tensor.
#[derive(Debug, Clone, Copy)]
struct Scale {
    step: f32,
    zero: i64,
    dtype: DType,
}

impl Scale {
    /// From the inputs `index` and `index + 1` of a call.
    fn of(c: &Call<'_>, index: usize) -> OpResult<Self> {
        let scale = scalar(single(c.input(index)?, "a scale")?)?;
        let Some(zero) = c.optional(index + 1) else { return Ok(Self { step: scale, zero: 0, dtype: DType::U8 }) };
        Ok(Self { step: scale, zero: int_scalar(single(zero, "a zero point")?)?, dtype: zero.dtype })
    }

    fn range(&self) -> OpResult<(i64, i64)> {
        match self.dtype {
            DType::U8 | DType::I8 => Ok(self.dtype.integer_range().unwrap_or_default()),
            other => unsupported(format!("quantization to {other} is not supported; uint8 and int8 are")),
        }
    }

    /// Sums times `factors` (one per element of the last axis, over this scale) as values of this type.
    fn round(&self, sums: &[i32], factors: &[f32]) -> OpResult<Vec<i64>> {
        let range = self.range()?;
        let factors = factors.iter().map(|f| f / self.step).collect::<Vec<f32>>();
        let factors = factors.iter().cycle();
        Ok(sums.iter().zip(factors).map(|(sum, f)| quantize(*sum as f32 * f, 1.0, self.zero, range)).collect())
    }
}

/// The scales of weights, one per output channel or one for all.
fn scales(value: &Value, count: usize) -> OpResult<Vec<f32>> {
    spread(&floats(value)?, count, "output channels")
}
