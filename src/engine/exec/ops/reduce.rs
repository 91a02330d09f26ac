//! Reductions along axes.

use super::cast::{whole, wrap};
use super::element::Element;
use super::{Call, Operator};
use crate::engine::exec::data::{Held, OpResult, axis_of, fail, for_held, held, like, make, with};
use crate::engine::tensor::{DType, Value};
use std::cmp::Ordering;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "ReduceMean" => |c| reduce(c, |s| s.iter().sum::<f64>() / s.len() as f64, Some(mean)),
        "ReduceSum" => |c| reduce(c, |s| s.iter().sum(), Some(|s, _| sum(s, |v| v))),
        "ReduceSumSquare" => |c| reduce(c, |s| s.iter().map(|v| v * v).sum(), Some(|s, _| sum(s, |v| v.wrapping_mul(v)))),
        "ReduceL1" => |c| reduce(c, |s| s.iter().map(|v| v.abs()).sum(), Some(size)),
        "ReduceL2" => |c| reduce(c, |s| s.iter().map(|v| v * v).sum::<f64>().sqrt(), None),
        "ReduceProd" => |c| reduce(c, |s| s.iter().product(), Some(|s, _| s.iter().fold(1, |a, b| a.wrapping_mul(*b)))),
        "ReduceLogSum" => |c| reduce(c, |s| s.iter().sum::<f64>().ln(), None),
        "ReduceLogSumExp" => |c| reduce(c, log_sum_exp, None),
        "ReduceMax" => |c| {
            let top = |s: &[f64]| s.iter().copied().fold(f64::NEG_INFINITY, |a, b| if a.is_nan() || a > b { a } else { b });
            reduce(c, top, Some(|s, dtype| extreme(s, dtype, Ordering::Greater)))
        },
        "ReduceMin" => |c| {
            let least = |s: &[f64]| s.iter().copied().fold(f64::INFINITY, |a, b| if a.is_nan() || a < b { a } else { b });
            reduce(c, least, Some(|s, dtype| extreme(s, dtype, Ordering::Less)))
        },
        "ArgMax" => |c| argument(c, Ordering::Greater),
        "ArgMin" => |c| argument(c, Ordering::Less),
        _ => return None,
    })
}

/// A reduction of integers that f64 could not hold; the type matters where an order does.
type OnInts = fn(&[i64], DType) -> i64;

fn sum(s: &[i64], f: impl Fn(i64) -> i64) -> i64 {
    s.iter().fold(0, |a, b| a.wrapping_add(f(*b)))
}

/// Rounded towards zero, as integers divide; of nothing it is 0.
fn mean(s: &[i64], dtype: DType) -> i64 {
    let total: i128 = s.iter().map(|v| if dtype == DType::U64 { i128::from(*v as u64) } else { i128::from(*v) }).sum();
    (total / s.len().max(1) as i128) as i64
}

/// The sum of absolute values.
fn size(s: &[i64], dtype: DType) -> i64 {
    sum(s, |v| if dtype == DType::U64 { v } else { v.wrapping_abs() })
}

/// The first in the order; of nothing, the other end of the type's range.
fn extreme(s: &[i64], dtype: DType, wanted: Ordering) -> i64 {
    let (low, high) = if dtype == DType::U64 { (0, -1) } else { dtype.integer_range().unwrap_or((i64::MIN, i64::MAX)) };
    let start = if wanted == Ordering::Greater { low } else { high };
    s.iter().fold(start, |best, v| if v.order(best, dtype) == wanted { *v } else { best })
}

fn log_sum_exp(s: &[f64]) -> f64 {
    let top = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    if top.is_finite() { top + s.iter().map(|v| (v - top).exp()).sum::<f64>().ln() } else { top }
}

/// Moves the reduced axes last: (kept axes' lengths, values of x so ordered, count per group).
fn arranged(x: &Value, axes: &[usize]) -> OpResult<(Vec<usize>, Value, usize)> {
    let rank = x.shape().len();
    let kept: Vec<usize> = (0..rank).filter(|i| !axes.contains(i)).collect();
    let order: Vec<usize> = kept.iter().chain(axes).copied().collect();
    let count = axes.iter().map(|&i| x.shape()[i]).product();
    let ordered = if order.iter().copied().eq(0..rank) { x.data.clone() } else { x.data.permute(order)?.contiguous()? };
    Ok((kept.iter().map(|&i| x.shape()[i]).collect(), like(x, ordered), count))
}

fn reduce(c: &Call<'_>, f: fn(&[f64]) -> f64, on_ints: Option<OnInts>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let rank = x.shape().len();
    let mut axes = match c.ints("axes", 1)? {
        Some(axes) if !axes.is_empty() => axes.iter().map(|&a| axis_of(a, rank)).collect::<OpResult<Vec<_>>>()?,
        _ if c.int("noop_with_empty_axes", 0) != 0 => Vec::new(),
        _ => (0..rank).collect(),
    };
    axes.sort_unstable();
    axes.dedup();
    let (mut shape, ordered, count) = arranged(x, &axes)?;
    let groups: usize = shape.iter().product();
    if c.int("keepdims", 1) != 0 {
        shape = x.shape().iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect();
    }
    let dtype = x.dtype;
    let group = |g: usize| g * count..(g + 1) * count;
    Ok(vec![match (held(x)?, on_ints) {
        (Held::Int, Some(on_ints)) => {
            let one = |s: &[i64], g| wrap(dtype, on_ints(&s[group(g)], dtype));
            make(dtype, with::<i64, _>(&ordered, |s| (0..groups).map(|g| one(s, g)).collect())?, &shape)?
        }
        (Held::Int, None) => {
            let wide = |v: &i64| if dtype == DType::U64 { *v as u64 as f64 } else { *v as f64 };
            let values = with::<i64, _>(&ordered, |s| over(s, groups, count, wide, f))?;
            make(dtype, values.into_iter().map(|v| whole(dtype, v)).collect(), &shape)?
        }
        (Held::F32, _) => {
            let values = with::<f32, _>(&ordered, |s| over(s, groups, count, |v| f64::from(*v), f))?;
            make(dtype, values.into_iter().map(|v| v as f32).collect(), &shape)?
        }
        (Held::F64, _) => make(dtype, with::<f64, _>(&ordered, |s| over(s, groups, count, |v| *v, f))?, &shape)?,
        (Held::Bool, _) => {
            let values = with::<u8, _>(&ordered, |s| over(s, groups, count, |v| f64::from(*v), f))?;
            make(dtype, values.into_iter().map(|v| u8::from(v > 0.0)).collect(), &shape)?
        }
    }])
}

/// `f` of each group of `count` elements.
fn over<T>(s: &[T], groups: usize, count: usize, wide: impl Fn(&T) -> f64, f: fn(&[f64]) -> f64) -> Vec<f64> {
    let mut buffer = vec![0.0_f64; count];
    let one = |g: usize| {
        for (to, from) in buffer.iter_mut().zip(&s[g * count..]) {
            *to = wide(from);
        }
        f(&buffer)
    };
    (0..groups).map(one).collect()
}

/// The place of the largest or the smallest element along an axis.
fn argument(c: &Call<'_>, wanted: Ordering) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let axis = axis_of(c.int("axis", 0), x.shape().len())?;
    let (mut shape, ordered, count) = arranged(x, &[axis])?;
    if count == 0 {
        return fail("an empty axis has no largest element");
    }
    if held(x)? == Held::Bool {
        return fail("numbers are needed, not booleans");
    }
    let last = c.int("select_last_index", 0) != 0;
    let groups: usize = shape.iter().product();
    let best = for_held!(x, T => with::<T, _>(&ordered, |s| {
        let better = |a: T, b: T| !a.is_nan() && !b.is_nan() && a.order(b, x.dtype) == wanted;
        (0..groups)
            .map(|g| {
                let row = &s[g * count..(g + 1) * count];
                let mut at = 0;
                for (i, v) in row.iter().enumerate() {
                    if better(*v, row[at]) || (last && *v == row[at]) {
                        at = i;
                    }
                }
                at as i64
            })
            .collect::<Vec<i64>>()
    })?);
    if c.int("keepdims", 1) != 0 {
        shape.insert(axis, 1);
    }
    Ok(vec![make(DType::I64, best, &shape)?])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_reduced_exactly() {
        let large = (1_i64 << 53) + 1;
        assert_eq!(sum(&[large, 1], |v| v), large + 1);
        assert_eq!(mean(&[i64::MAX, i64::MAX], DType::I64), i64::MAX);
        assert_eq!(mean(&[-3, -4], DType::I64), -3);
        assert_eq!(mean(&[-1, -3], DType::U64), -2);
        assert_eq!(extreme(&[large, large - 1], DType::I64, Ordering::Greater), large);
    }

    #[test]
    fn large_numbers_without_sign_are_large() {
        assert_eq!(extreme(&[-1, 5], DType::U64, Ordering::Greater), -1);
        assert_eq!(extreme(&[-1, 5], DType::U64, Ordering::Less), 5);
        assert_eq!((extreme(&[], DType::U64, Ordering::Less), extreme(&[], DType::I8, Ordering::Greater)), (-1, -128));
    }
}
