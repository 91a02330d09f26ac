//! Between candle tensors and the slices that operators compute on.

use super::ExecError;
use super::image::Order;
use crate::engine::context::Cancelled;
use crate::engine::kernels::layout::transpose;
use crate::engine::tensor::{DType, TensorError, Value};
use candle_core::{DType as CandleType, Device, Layout, Storage, WithDType};

/// Why one operator could not be computed. The plan adds the node's name.
#[derive(Debug, thiserror::Error)]
pub(in crate::engine) enum OpError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Candle(candle_core::Error),
    /// A node of a sub-graph could not be computed.
    #[error(transparent)]
    Inside(#[from] Box<ExecError>),
    #[error("{0}")]
    Reason(String),
    /// What is asked for makes sense, but is not done here.
    #[error("{0}")]
    Unsupported(String),
}

/// Without the stack that candle adds to its sentences.
impl From<candle_core::Error> for OpError {
    fn from(error: candle_core::Error) -> Self {
        match error {
            candle_core::Error::WithBacktrace { inner, .. } => Self::from(*inner),
            other => Self::Candle(other),
        }
    }
}

pub(super) type OpResult<T> = Result<T, OpError>;

/// An error with a reason in words.
pub(super) fn fail<T>(reason: impl Into<String>) -> OpResult<T> {
    Err(OpError::Reason(reason.into()))
}

/// A refusal by name: a mode or a type that no operator here computes. What is *wrong* with a model
/// is told by [`fail`].
pub(super) fn unsupported<T>(reason: impl Into<String>) -> OpResult<T> {
    Err(OpError::Unsupported(reason.into()))
}

/// How a value is held inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Held {
    F32,
    F64,
    Int,
    Bool,
}

pub(super) fn held(value: &Value) -> OpResult<Held> {
    Ok(match value.data.dtype() {
        CandleType::F32 => Held::F32,
        CandleType::F64 => Held::F64,
        CandleType::I64 => Held::Int,
        CandleType::U8 => Held::Bool,
        other => return fail(format!("a candle tensor of type {other:?} cannot be computed with; give f32, f64, i64 or u8")),
    })
}

/// How values of an ONNX type are held inside.
pub(super) fn held_as(dtype: DType) -> OpResult<Held> {
    Ok(match dtype {
        DType::F64 => Held::F64,
        d if d.is_float() => Held::F32,
        DType::Bool => Held::Bool,
        DType::Other(_) => return unsupported(format!("values of type {dtype} cannot be computed with")),
        _ => Held::Int,
    })
}

fn slice<'a, T: WithDType>(storage: &'a Storage, layout: &Layout) -> OpResult<&'a [T]> {
    let Storage::Cpu(cpu) = storage else { return fail("the tensor is not in main memory") };
    let start = layout.start_offset();
    let all = cpu.as_slice::<T>()?;
    match all.get(start..start + layout.shape().elem_count()) {
        Some(part) => Ok(part),
        None => fail("a tensor reaches beyond its memory"),
    }
}

/// Calls `use_it` with the elements in row-major order; no copy where they already lie so.
pub(super) fn with<T: WithDType + Default, R>(value: &Value, use_it: impl FnOnce(&[T]) -> R) -> OpResult<R> {
    let data = row_major::<T>(value)?;
    let (storage, layout) = data.storage_and_layout();
    Ok(use_it(slice::<T>(&storage, layout)?))
}

/// The data, row-major: itself where it is, else a copy.
fn row_major<T: WithDType + Default>(value: &Value) -> OpResult<candle_core::Tensor> {
    if value.data.is_contiguous() {
        return Ok(value.data.clone());
    }
    let last = channels_at_end(&value.data)?;
    if value.data.rank() < 3 || !last.is_contiguous() {
        return Ok(value.data.contiguous()?);
    }
    let (batch, channels, places) = planes(value);
    let (storage, layout) = last.storage_and_layout();
    let turned = transpose(slice::<T>(&storage, layout)?, batch, places, channels);
    Ok(candle_core::Tensor::from_vec(turned, value.shape(), &Device::Cpu)?)
}

/// Batch, channels, places of one channel.
fn planes(value: &Value) -> (usize, usize, usize) {
    let shape = value.shape();
    (shape[0], shape[1], shape[2..].iter().product())
}

/// [`with`] for two values at once.
pub(super) fn with2<T: WithDType + Default, U: WithDType + Default, R>(
    a: &Value,
    b: &Value,
    use_it: impl FnOnce(&[T], &[U]) -> R,
) -> OpResult<R> {
    with::<T, _>(a, |x| with::<U, _>(b, |y| use_it(x, y)))?
}

/// The same data with the channel axis, the second, last: a view.
pub(super) fn channels_at_end(data: &candle_core::Tensor) -> Result<candle_core::Tensor, TensorError> {
    let rank = data.rank();
    let axes: Vec<usize> = if rank < 3 { (0..rank).collect() } else { [0].into_iter().chain(2..rank).chain([1]).collect() };
    Ok(data.permute(axes)?)
}

/// [`with`] in the order `[batch, spatial axes…, channels]`: no copy for values from
/// [`make_channels_last`].
pub(super) fn with_channels_last<T: WithDType + Default, R>(value: &Value, use_it: impl FnOnce(&[T]) -> R) -> OpResult<R> {
    if value.data.rank() >= 3 && !is_channels_last(value) {
        let (batch, channels, places) = planes(value);
        return with::<T, _>(value, |x| use_it(&transpose(x, batch, channels, places)));
    }
    with(&like(value, channels_at_end(&value.data)?), use_it)
}

/// Calls `use_it` with the elements of any value as f32, in the given order of axes; no copy where they already lie so.
///
/// # Errors
/// When candle refuses the conversion.
pub fn with_order<R>(value: &Value, order: Order, use_it: impl FnOnce(&[f32]) -> R) -> Result<R, TensorError> {
    if order == Order::Rows || value.data.rank() < 3 {
        return value.with_f32(use_it);
    }
    like(value, channels_at_end(&value.data)?).with_f32(use_it)
}

/// Whether the channels of one place lie side by side in memory, so that [`with_channels_last`] copies nothing.
pub(super) fn is_channels_last(value: &Value) -> bool {
    value.data.rank() >= 3 && channels_at_end(&value.data).is_ok_and(|data| data.is_contiguous())
}

/// A value of `shape` (`[batch, channels, spatial axes…]`) from elements in the order `[batch, spatial
/// axes…, channels]`. It is a tensor like any other, held the way convolutions read and write fastest:
/// whoever asks for row-major elements gets a copy.
pub(super) fn make_channels_last<T: WithDType>(dtype: DType, values: Vec<T>, shape: &[usize]) -> OpResult<Value> {
    let rank = shape.len();
    if rank < 3 {
        return make(dtype, values, shape);
    }
    let held: Vec<usize> = [shape[0]].into_iter().chain(shape[2..].iter().copied()).chain([shape[1]]).collect();
    let axes: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
    let data = candle_core::Tensor::from_vec(values, held, &Device::Cpu)?.permute(axes)?;
    Ok(Value { dtype, data })
}

/// The elements in the order in which they lie, for work that treats each by itself; [`make_alike`]
/// makes a value of what comes out.
pub(super) fn with_any_order<R>(value: &Value, use_it: impl FnOnce(&[f32]) -> R) -> OpResult<R> {
    if is_channels_last(value) { with_channels_last(value, use_it) } else { with(value, use_it) }
}

/// A value that lies as `value` does.
pub(super) fn make_alike(value: &Value, values: Vec<f32>) -> OpResult<Value> {
    if is_channels_last(value) {
        make_channels_last(value.dtype, values, value.shape())
    } else {
        make(value.dtype, values, value.shape())
    }
}

pub(super) fn make<T: WithDType>(dtype: DType, values: Vec<T>, shape: &[usize]) -> OpResult<Value> {
    Ok(Value { dtype, data: candle_core::Tensor::from_vec(values, shape, &Device::Cpu)? })
}

/// A value of the same type over other candle data.
pub(super) fn like(value: &Value, data: candle_core::Tensor) -> Value {
    Value { dtype: value.dtype, data }
}

/// Dispatches on how a value is held: `$call` is expanded once per element type `$t`. Casts to f64
/// inside it go through [`Number`].
macro_rules! for_held {
    ($value:expr, $t:ident => $call:expr) => {
        match $crate::engine::exec::data::held($value)? {
            $crate::engine::exec::data::Held::F32 => {
                type $t = f32;
                $call
            }
            $crate::engine::exec::data::Held::F64 => {
                type $t = f64;
                $call
            }
            $crate::engine::exec::data::Held::Int => {
                type $t = i64;
                $call
            }
            $crate::engine::exec::data::Held::Bool => {
                type $t = u8;
                $call
            }
        }
    };
}
pub(super) use for_held;

/// The f32 elements of any value.
pub(super) fn floats(value: &Value) -> OpResult<Vec<f32>> {
    Ok(value.to_f32()?)
}

/// The integer elements of a shape-like value.
pub(super) fn ints(value: &Value) -> OpResult<Vec<i64>> {
    Ok(value.to_i64()?)
}

/// The elements of any value, at full precision but for the largest integers.
pub(super) fn doubles(value: &Value) -> OpResult<Vec<f64>> {
    if value.dtype == DType::U64 {
        return with::<i64, _>(value, |s| s.iter().map(|v| *v as u64 as f64).collect());
    }
    for_held!(value, T => with::<T, _>(value, |s| s.iter().map(|v| Number::to_f64(*v)).collect()))
}

pub(super) fn scalar(value: &Value) -> OpResult<f32> {
    match floats(value)?.as_slice() {
        [v] => Ok(*v),
        other => fail(format!("one number was expected and a tensor of {} was found", other.len())),
    }
}

pub(super) fn int_scalar(value: &Value) -> OpResult<i64> {
    match ints(value)?.first() {
        Some(v) => Ok(*v),
        None => fail("a whole number was expected and an empty tensor was found"),
    }
}

/// An axis as counted from the front; negative ones count from the end.
pub(super) fn axis_of(axis: i64, rank: usize) -> OpResult<usize> {
    let at = if axis < 0 { axis + rank as i64 } else { axis };
    if at < 0 || at >= rank as i64 {
        return fail(format!("axis {axis} does not exist in a tensor of rank {rank}"));
    }
    Ok(at as usize)
}

/// Row-major distance between neighbours along each axis.
pub(super) fn strides_of(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = strides[i] * shape[i];
    }
    strides
}

/// What operators on any element type compute through.
pub(super) trait Number: Copy {
    fn to_f64(self) -> f64;
    fn from_f64(v: f64) -> Self;
}

macro_rules! number {
    ($($t:ty),*) => {
        $(impl Number for $t {
            fn to_f64(self) -> f64 {
                self as f64
            }

            fn from_f64(v: f64) -> Self {
                v as Self
            }
        })*
    };
}
number!(f32, f64, i64, u8);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_last_is_a_view() {
        let value = make_channels_last(DType::F32, (0..12).map(|v| v as f32).collect(), &[1, 2, 2, 3]).unwrap();
        assert!(is_channels_last(&value));
        assert_eq!(value.shape(), [1, 2, 2, 3]);
        assert_eq!(value.to_f32().unwrap(), [0., 2., 4., 6., 8., 10., 1., 3., 5., 7., 9., 11.]);
        let held = with_channels_last::<f32, _>(&value, <[f32]>::to_vec).unwrap();
        assert_eq!(held, (0..12).map(|v| v as f32).collect::<Vec<f32>>());
    }
}
