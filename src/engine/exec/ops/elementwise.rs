//! Functions of two elements or more, with broadcasting.

use super::cast::{cast_to, narrow, wrap};
use super::shape::{reshaped, spread};
use super::{Call, Operator, install};
use crate::engine::exec::data::{Held, OpResult, axis_of, fail, for_held, held, make, strides_of, with, with2};
use crate::engine::exec::memory::room;
use crate::engine::kernels::map::{broadcast, map2};
use crate::engine::tensor::{DType, Value};
use std::cmp::Ordering;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Add" | "Sum" => |c| fold(c, |a, b| a + b, |a, b| a + b, i64::wrapping_add),
        "Sub" => |c| fold(c, |a, b| a - b, |a, b| a - b, i64::wrapping_sub),
        "Mul" => |c| fold(c, |a, b| a * b, |a, b| a * b, i64::wrapping_mul),
        "Div" => divide,
        "Min" => |c| fold(c, min32, min64, by_sign(c, i64::min, |a, b| (a as u64).min(b as u64) as i64)),
        "Max" => |c| fold(c, max32, max64, by_sign(c, i64::max, |a, b| (a as u64).max(b as u64) as i64)),
        "Mean" => mean,
        "Pow" => pow,
        "Mod" => modulo,
        "PRelu" => prelu,
        "Equal" => |c| compare(c, |a, b| a == b, |a, b| a == b, Ordering::is_eq),
        "Greater" => |c| compare(c, |a, b| a > b, |a, b| a > b, Ordering::is_gt),
        "GreaterOrEqual" => |c| compare(c, |a, b| a >= b, |a, b| a >= b, Ordering::is_ge),
        "Less" => |c| compare(c, |a, b| a < b, |a, b| a < b, Ordering::is_lt),
        "LessOrEqual" => |c| compare(c, |a, b| a <= b, |a, b| a <= b, Ordering::is_le),
        "And" => |c| logic(c, |a, b| a & b),
        "Or" => |c| logic(c, |a, b| a | b),
        "Xor" => |c| logic(c, |a, b| a ^ b),
        "Where" => choose,
        _ => return None,
    })
}

type OnInts = fn(i64, i64) -> i64;

/// The upper half of uint64 is held as negative numbers: there, `unsigned` computes.
fn by_sign(c: &Call<'_>, signed: OnInts, unsigned: OnInts) -> OnInts {
    if c.optional(0).is_some_and(|v| v.dtype == DType::U64) { unsigned } else { signed }
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
    T: candle_core::WithDType + Default,
    R: Send + Copy + Default,
{
    let shape = broadcast_shape(a.shape(), b.shape())?;
    room::<R>(&shape)?;
    let values = with2::<T, T, _>(a, b, |x, y| {
        if a.shape() == b.shape() {
            return install(pool, || map2(x, y, f));
        }
        broadcast(x, &broadcast_strides(a.shape(), &shape), y, &broadcast_strides(b.shape(), &shape), &shape, f)
    })?;
    Ok((values, shape))
}

/// The sum of two values held as f32, rounded to the type of the first.
pub(super) fn add(a: &Value, b: &Value, pool: Option<&rayon::ThreadPool>) -> OpResult<Value> {
    let dtype = a.dtype;
    let (values, shape) = pairs::<f32, f32>(a, b, |x, y| narrow(dtype, x + y), pool)?;
    make(a.dtype, values, &shape)
}

/// Input `i` as it meets the first. Before operator set 7, `axis` said which axis of the first input
/// the first axis of the second belongs to.
fn partner(c: &Call<'_>, i: usize) -> OpResult<Value> {
    let (a, b) = (c.input(0)?, c.input(i)?);
    match c.node.int("axis") {
        Some(axis) if c.opset < 7 && c.int("broadcast", 0) != 0 => {
            let behind = (a.shape().len() - axis_of(axis, a.shape().len())?).saturating_sub(b.shape().len());
            reshaped(b, &[b.shape(), &vec![1; behind]].concat())
        }
        _ => Ok(b.clone()),
    }
}

fn fold(
    c: &Call<'_>,
    f: impl Fn(f32, f32) -> f32 + Sync + Send,
    g: impl Fn(f64, f64) -> f64 + Sync + Send,
    h: impl Fn(i64, i64) -> i64 + Sync + Send,
) -> OpResult<Vec<Value>> {
    let mut sum = c.input(0)?.clone();
    let any_number = matches!(c.node.op.as_str(), "Sum" | "Min" | "Max" | "Mean");
    for i in 1..if any_number { c.inputs.len() } else { 2 } {
        sum = joined(c, &sum, &partner(c, i)?, &f, &g, &h)?;
    }
    Ok(vec![sum])
}

/// The two values joined element by element, the result rounded or wrapped to the type of the first.
fn joined(
    c: &Call<'_>,
    a: &Value,
    b: &Value,
    f: impl Fn(f32, f32) -> f32 + Sync + Send,
    g: impl Fn(f64, f64) -> f64 + Sync + Send,
    h: impl Fn(i64, i64) -> i64 + Sync + Send,
) -> OpResult<Value> {
    let dtype = a.dtype;
    match held(a)? {
        Held::F32 if dtype == DType::F32 => pairs(a, b, f, c.pool).and_then(|(v, s)| make(dtype, v, &s)),
        Held::F32 => pairs(a, b, |x, y| narrow(dtype, f(x, y)), c.pool).and_then(|(v, s)| make(dtype, v, &s)),
        Held::F64 => pairs(a, b, g, c.pool).and_then(|(v, s)| make(dtype, v, &s)),
        Held::Int => pairs(a, b, |x, y| wrap(dtype, h(x, y)), c.pool).and_then(|(v, s)| make(dtype, v, &s)),
        Held::Bool => fail("numbers are needed, not booleans"),
    }
}

/// A function of two tensors of integers.
pub(super) fn pairs_of_ints(c: &Call<'_>, f: impl Fn(i64, i64) -> i64 + Sync + Send) -> OpResult<Vec<Value>> {
    let (a, b) = (c.input(0)?, c.input(1)?);
    if held(a)? != Held::Int || held(b)? != Held::Int {
        return fail(format!("integers are needed, not {} and {}", a.dtype, b.dtype));
    }
    let (values, shape) = pairs(a, b, f, c.pool)?;
    Ok(vec![make(a.dtype, values, &shape)?])
}

/// Division by zero has no result among the integers.
fn refuse_zero(b: &Value) -> OpResult<()> {
    if held(b)? == Held::Int && with::<i64, _>(b, |s| s.contains(&0))? {
        return fail("integers are divided by zero");
    }
    Ok(())
}

/// Integers are rounded towards zero.
fn divide(c: &Call<'_>) -> OpResult<Vec<Value>> {
    refuse_zero(c.input(1)?)?;
    let whole = by_sign(c, i64::wrapping_div, |a, b| (a as u64 / b as u64) as i64);
    fold(c, |a, b| a / b, |a, b| a / b, whole)
}

fn mean(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let sum = fold(c, |a, b| a + b, |a, b| a + b, i64::wrapping_add)?.swap_remove(0);
    let n = c.inputs.len() as f64;
    Ok(vec![match held(&sum)? {
        Held::F64 => make(sum.dtype, with::<f64, _>(&sum, |s| s.iter().map(|v| v / n).collect())?, sum.shape())?,
        _ => {
            let one = |v: &f32| narrow(sum.dtype, v / n as f32);
            make(sum.dtype, with::<f32, _>(&sum, |s| s.iter().map(one).collect())?, sum.shape())?
        }
    }])
}

/// The exponent may be of another type than the base, which gives the result its type.
fn pow(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (base, exponent) = (c.input(0)?, partner(c, 1)?);
    Ok(vec![match (held(base)?, held(&exponent)?) {
        (Held::F32, _) => joined(c, base, &cast_to(&exponent, DType::F32)?, power32, f64::powf, |a, _| a)?,
        (Held::F64, _) => joined(c, base, &cast_to(&exponent, DType::F64)?, power32, f64::powf, |a, _| a)?,
        (Held::Int, Held::Int) => joined(c, base, &exponent, power32, f64::powf, whole_power)?,
        (Held::Int, _) => {
            let (wide, exponent) = (cast_to(base, DType::F64)?, cast_to(&exponent, DType::F64)?);
            let (v, s) = pairs(&wide, &exponent, f64::powf, c.pool)?;
            make(base.dtype, v.into_iter().map(|x| wrap(base.dtype, x as i64)).collect(), &s)?
        }
        (Held::Bool, _) => return fail("Pow needs numbers, not booleans"),
    }])
}

fn power32(x: f32, y: f32) -> f32 {
    if y == 2.0 { x * x } else { x.powf(y) }
}

/// By squaring, exact but for what overflows; a negative exponent leaves what is left of a fraction.
fn whole_power(base: i64, exponent: i64) -> i64 {
    if exponent < 0 {
        return (base as f64).powf(exponent as f64) as i64;
    }
    let (mut result, mut square, mut left) = (1_i64, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result = result.wrapping_mul(square);
        }
        square = square.wrapping_mul(square);
        left >>= 1;
    }
    result
}

/// `fmod = 1` gives C's remainder (sign of the dividend), else Python's (sign of the divisor).
fn modulo(c: &Call<'_>) -> OpResult<Vec<Value>> {
    refuse_zero(c.input(1)?)?;
    let as_c = c.int("fmod", 0) == 1;
    let unsigned = c.input(0)?.dtype == DType::U64;
    fold(
        c,
        move |a, b| {
            let r = a % b;
            if !as_c && r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
        },
        move |a, b| {
            let r = a % b;
            if !as_c && r != 0.0 && (r < 0.0) != (b < 0.0) { r + b } else { r }
        },
        move |a, b| {
            if unsigned {
                return (a as u64 % b as u64) as i64;
            }
            let r = a.wrapping_rem(b);
            if !as_c && r != 0 && (r < 0) != (b < 0) { r + b } else { r }
        },
    )
}

fn prelu(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, mut slope) = (c.input(0)?, c.input(1)?.clone());
    // Before operator set 7 a slope of one axis went by channels.
    if let (true, &[channels], [_, _, spatial @ ..]) = (c.opset < 7 && slope.shape() != [1], slope.shape(), x.shape()) {
        slope = reshaped(&slope, &[vec![channels], vec![1; spatial.len()]].concat())?;
    }
    if broadcast_shape(x.shape(), slope.shape())? != x.shape() {
        return fail(format!("a slope of shape {:?} does not fit values of shape {:?}", slope.shape(), x.shape()));
    }
    let whole = |x: i64, s: i64| if x < 0 { s.wrapping_mul(x) } else { x };
    let result = joined(c, x, &slope, |x, s| if x < 0.0 { s * x } else { x }, |x, s| if x < 0.0 { s * x } else { x }, whole)?;
    Ok(vec![result])
}

fn compare(
    c: &Call<'_>,
    f: impl Fn(f32, f32) -> bool + Sync + Send,
    g: impl Fn(f64, f64) -> bool + Sync + Send,
    h: impl Fn(Ordering) -> bool + Sync + Send,
) -> OpResult<Vec<Value>> {
    let (a, b) = (c.input(0)?, &partner(c, 1)?);
    let (values, shape) = match held(a)? {
        Held::F32 => pairs::<f32, u8>(a, b, |x, y| u8::from(f(x, y)), c.pool)?,
        Held::F64 => pairs::<f64, u8>(a, b, |x, y| u8::from(g(x, y)), c.pool)?,
        Held::Int if a.dtype == DType::U64 => pairs::<i64, u8>(a, b, |x, y| u8::from(h((x as u64).cmp(&(y as u64)))), c.pool)?,
        Held::Int => pairs::<i64, u8>(a, b, |x, y| u8::from(h(x.cmp(&y))), c.pool)?,
        Held::Bool => pairs::<u8, u8>(a, b, |x, y| u8::from(h(x.cmp(&y))), c.pool)?,
    };
    Ok(vec![make(DType::Bool, values, &shape)?])
}

fn logic(c: &Call<'_>, f: impl Fn(u8, u8) -> u8 + Sync + Send) -> OpResult<Vec<Value>> {
    let (values, shape) = pairs::<u8, u8>(c.input(0)?, &partner(c, 1)?, f, c.pool)?;
    Ok(vec![make(DType::Bool, values, &shape)?])
}

fn choose(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (condition, a, b) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let shape = broadcast_shape(&broadcast_shape(condition.shape(), a.shape())?, b.shape())?;
    let (condition, x, y) = (spread(condition, &shape)?, spread(a, &shape)?, spread(b, &shape)?);
    for_held!(a, T => {
        let values = with::<u8, _>(&condition, |k| {
            with2::<T, T, _>(&x, &y, |x, y| k.iter().zip(x.iter().zip(y)).map(|(k, (x, y))| if *k != 0 { *x } else { *y }).collect::<Vec<T>>())
        })??;
        Ok(vec![make::<T>(a.dtype, values, &shape)?])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_of_integers_are_exact() {
        assert_eq!(whole_power(3, 39), 4_052_555_153_018_976_267);
        assert_eq!(whole_power(-2, 3), -8);
        assert_eq!(whole_power(0, 0), 1);
        assert_eq!((whole_power(2, -1), whole_power(1, -5)), (0, 1));
    }
}
