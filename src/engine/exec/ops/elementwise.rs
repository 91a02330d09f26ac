//! Functions of two elements or more, with broadcasting.

use super::unary::wrap;
use super::{Call, Operator, install};
use crate::engine::exec::data::{Held, OpResult, fail, for_held, held, make, strides_of, with, with2};
use crate::engine::kernels::map::{broadcast, map2};
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Add" | "Sum" => |c| fold(c, |a, b| a + b, |a, b| a + b, i64::wrapping_add),
        "Sub" => |c| fold(c, |a, b| a - b, |a, b| a - b, i64::wrapping_sub),
        "Mul" => |c| fold(c, |a, b| a * b, |a, b| a * b, i64::wrapping_mul),
        "Div" => |c| fold(c, |a, b| a / b, |a, b| a / b, |a, b| a.checked_div(b).unwrap_or(0)),
        "Min" => |c| fold(c, min32, min64, i64::min),
        "Max" => |c| fold(c, max32, max64, i64::max),
        "Mean" => mean,
        "Pow" => pow,
        "Mod" => modulo,
        "PRelu" => prelu,
        "Equal" => |c| compare(c, |a, b| a == b, |a, b| a == b, |a, b| a == b),
        "Greater" => |c| compare(c, |a, b| a > b, |a, b| a > b, |a, b| a > b),
        "GreaterOrEqual" => |c| compare(c, |a, b| a >= b, |a, b| a >= b, |a, b| a >= b),
        "Less" => |c| compare(c, |a, b| a < b, |a, b| a < b, |a, b| a < b),
        "LessOrEqual" => |c| compare(c, |a, b| a <= b, |a, b| a <= b, |a, b| a <= b),
        "And" => |c| logic(c, |a, b| a & b),
        "Or" => |c| logic(c, |a, b| a | b),
        "Xor" => |c| logic(c, |a, b| a ^ b),
        "Where" => choose,
        _ => return None,
    })
}

// A NaN on either side stays one, as ONNX asks.
fn min32(a: f32, b: f32) -> f32 {
    if a.is_nan() || a < b { a } else { b }
}

fn max32(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

fn min64(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

fn max64(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// The shape that two shapes broadcast to (numpy's rule).
pub(in crate::engine::exec) fn broadcast_shape(a: &[usize], b: &[usize]) -> OpResult<Vec<usize>> {
    let rank = a.len().max(b.len());
    let at = |s: &[usize], i: usize| if i + s.len() < rank { 1 } else { s[i + s.len() - rank] };
    (0..rank)
        .map(|i| match (at(a, i), at(b, i)) {
            (x, y) if x == y => Ok(x),
            (1, y) => Ok(y),
            (x, 1) => Ok(x),
            _ => fail(format!("shapes {a:?} and {b:?} do not broadcast")),
        })
        .collect()
}

/// Strides of `shape` seen as `out`: 0 along axes that are repeated.
fn broadcast_strides(shape: &[usize], out: &[usize]) -> Vec<usize> {
    let lead = out.len() - shape.len();
    let own = strides_of(shape);
    (0..out.len()).map(|i| if i < lead || shape[i - lead] == 1 { 0 } else { own[i - lead] }).collect()
}

/// Applies `f` to every pair of elements.
fn pairs<T, R>(
    a: &Value,
    b: &Value,
    f: impl Fn(T, T) -> R + Sync + Send,
    pool: Option<&rayon::ThreadPool>,
) -> OpResult<(Vec<R>, Vec<usize>)>
where
    T: candle_core::WithDType,
    R: Send + Copy + Default,
{
    let shape = broadcast_shape(a.shape(), b.shape())?;
    let values = with2::<T, T, _>(a, b, |x, y| {
        if a.shape() == b.shape() {
            return install(pool, || map2(x, y, f));
        }
        broadcast(x, &broadcast_strides(a.shape(), &shape), y, &broadcast_strides(b.shape(), &shape), &shape, f)
    })?;
    Ok((values, shape))
}

/// The sum of two f32 values.
pub(super) fn add(a: &Value, b: &Value, pool: Option<&rayon::ThreadPool>) -> OpResult<Value> {
    let (values, shape) = pairs::<f32, f32>(a, b, |x, y| x + y, pool)?;
    make(a.dtype, values, &shape)
}

fn fold(
    c: &Call<'_>,
    f: impl Fn(f32, f32) -> f32 + Sync + Send,
    g: impl Fn(f64, f64) -> f64 + Sync + Send,
    h: impl Fn(i64, i64) -> i64 + Sync + Send,
) -> OpResult<Vec<Value>> {
    let mut sum = c.input(0)?.clone();
    for i in 1..c.inputs.len() {
        let b = c.input(i)?;
        let dtype = sum.dtype;
        sum = match held(&sum)? {
            Held::F32 => pairs(&sum, b, &f, c.pool).and_then(|(v, s)| make(dtype, v, &s))?,
            Held::F64 => pairs(&sum, b, &g, c.pool).and_then(|(v, s)| make(dtype, v, &s))?,
            Held::Int => pairs(&sum, b, |x, y| wrap(dtype, h(x, y)), c.pool).and_then(|(v, s)| make(dtype, v, &s))?,
            Held::Bool => return fail(format!("{} needs numbers, not booleans", c.node.op)),
        };
    }
    Ok(vec![sum])
}

fn mean(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let sum = fold(c, |a, b| a + b, |a, b| a + b, i64::wrapping_add)?.swap_remove(0);
    let n = c.inputs.len() as f64;
    Ok(vec![match held(&sum)? {
        Held::F64 => make(sum.dtype, with::<f64, _>(&sum, |s| s.iter().map(|v| v / n).collect())?, sum.shape())?,
        _ => make(sum.dtype, with::<f32, _>(&sum, |s| s.iter().map(|v| v / n as f32).collect())?, sum.shape())?,
    }])
}

/// The exponent may be of another type than the base, which gives the result its type.
fn pow(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let base = c.input(0)?;
    let exponent = super::unary::cast_to(c.input(1)?, if held(base)? == Held::Int { DType::F64 } else { base.dtype })?;
    Ok(vec![match held(base)? {
        Held::F32 => pairs(base, &exponent, power32, c.pool).and_then(|(v, s)| make(base.dtype, v, &s))?,
        Held::F64 => pairs(base, &exponent, f64::powf, c.pool).and_then(|(v, s)| make(base.dtype, v, &s))?,
        Held::Int => {
            let wide = super::unary::cast_to(base, DType::F64)?;
            let (v, s) = pairs(&wide, &exponent, f64::powf, c.pool)?;
            make(base.dtype, v.into_iter().map(|x| x as i64).collect(), &s)?
        }
        Held::Bool => return fail("Pow needs numbers, not booleans"),
    }])
}

fn power32(x: f32, y: f32) -> f32 {
    if y == 2.0 { x * x } else { x.powf(y) }
}

/// `fmod = 1` gives C's remainder (sign of the dividend), else Python's (sign of the divisor).
fn modulo(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let as_c = c.int("fmod", 0) == 1;
    fold(
        c,
        |a, b| if as_c { a % b } else { a - (a / b).floor() * b },
        |a, b| if as_c { a % b } else { a - (a / b).floor() * b },
        move |a, b| {
            let r = a.checked_rem(b).unwrap_or(0);
            if !as_c && r != 0 && (r < 0) != (b < 0) { r + b } else { r }
        },
    )
}

fn prelu(c: &Call<'_>) -> OpResult<Vec<Value>> {
    fold(c, |x, s| if x < 0.0 { s * x } else { x }, |x, s| if x < 0.0 { s * x } else { x }, |x, s| if x < 0 { s * x } else { x })
}

fn compare(
    c: &Call<'_>,
    f: impl Fn(f32, f32) -> bool + Sync + Send,
    g: impl Fn(f64, f64) -> bool + Sync + Send,
    h: impl Fn(i64, i64) -> bool + Sync + Send,
) -> OpResult<Vec<Value>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    let (values, shape) = match held(a)? {
        Held::F32 => pairs::<f32, u8>(a, b, |x, y| u8::from(f(x, y)), c.pool)?,
        Held::F64 => pairs::<f64, u8>(a, b, |x, y| u8::from(g(x, y)), c.pool)?,
        Held::Int => pairs::<i64, u8>(a, b, |x, y| u8::from(h(x, y)), c.pool)?,
        Held::Bool => pairs::<u8, u8>(a, b, |x, y| u8::from(h(i64::from(x), i64::from(y))), c.pool)?,
    };
    Ok(vec![make(DType::Bool, values, &shape)?])
}

fn logic(c: &Call<'_>, f: impl Fn(u8, u8) -> u8 + Sync + Send) -> OpResult<Vec<Value>> {
    let (values, shape) = pairs::<u8, u8>(c.input(0)?, c.input(1)?, f, c.pool)?;
    Ok(vec![make(DType::Bool, values, &shape)?])
}

fn choose(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (condition, a, b) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let shape = broadcast_shape(&broadcast_shape(condition.shape(), a.shape())?, b.shape())?;
    let spread = condition.data.broadcast_as(shape.as_slice())?.contiguous()?;
    let condition = Value { dtype: DType::Bool, data: spread };
    for_held!(a, T => {
        let x = Value { dtype: a.dtype, data: a.data.broadcast_as(shape.as_slice())?.contiguous()? };
        let y = Value { dtype: b.dtype, data: b.data.broadcast_as(shape.as_slice())?.contiguous()? };
        let values = with::<u8, _>(&condition, |k| {
            with2::<T, T, _>(&x, &y, |x, y| k.iter().zip(x.iter().zip(y)).map(|(k, (x, y))| if *k != 0 { *x } else { *y }).collect::<Vec<T>>())
        })??;
        Ok(vec![make::<T>(a.dtype, values, &shape)?])
    })
}
