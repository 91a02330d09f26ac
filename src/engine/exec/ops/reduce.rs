//! Reductions along axes.

use super::{Call, Operator};
use crate::engine::exec::data::{Held, OpResult, axis_of, fail, for_held, held, like, make, with};
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "ReduceMean" => |c| reduce(c, |s| s.iter().sum::<f64>() / s.len() as f64),
        "ReduceSum" => |c| reduce(c, |s| s.iter().sum()),
        "ReduceSumSquare" => |c| reduce(c, |s| s.iter().map(|v| v * v).sum()),
        "ReduceL1" => |c| reduce(c, |s| s.iter().map(|v| v.abs()).sum()),
        "ReduceL2" => |c| reduce(c, |s| s.iter().map(|v| v * v).sum::<f64>().sqrt()),
        "ReduceProd" => |c| reduce(c, |s| s.iter().product()),
        "ReduceLogSum" => |c| reduce(c, |s| s.iter().sum::<f64>().ln()),
        "ReduceLogSumExp" => |c| reduce(c, log_sum_exp),
        "ReduceMax" => {
            |c| reduce(c, |s| s.iter().copied().fold(f64::NEG_INFINITY, |a, b| if a.is_nan() || a > b { a } else { b }))
        }
        "ReduceMin" => |c| reduce(c, |s| s.iter().copied().fold(f64::INFINITY, |a, b| if a.is_nan() || a < b { a } else { b })),
        "ArgMax" => |c| argument(c, |a, b| a > b),
        "ArgMin" => |c| argument(c, |a, b| a < b),
        _ => return None,
    })
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

fn reduce(c: &Call<'_>, f: impl Fn(&[f64]) -> f64) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let rank = x.shape().len();
    let mut axes = match c.ints("axes", 1)? {
        Some(axes) if !axes.is_empty() => axes.iter().map(|&a| axis_of(a, rank)).collect::<OpResult<Vec<_>>>()?,
        _ if c.int("noop_with_empty_axes", 0) != 0 => return Ok(vec![x.clone()]),
        _ => (0..rank).collect(),
    };
    axes.sort_unstable();
    axes.dedup();
    let (mut shape, ordered, count) = arranged(x, &axes)?;
    let groups: usize = shape.iter().product();
    if c.int("keepdims", 1) != 0 {
        shape = x.shape().iter().enumerate().map(|(i, &d)| if axes.contains(&i) { 1 } else { d }).collect();
    }
    let mut buffer = vec![0.0_f64; count];
    for_held!(x, T => {
        let values = with::<T, _>(&ordered, |s| {
            (0..groups)
                .map(|g| {
                    for (to, from) in buffer.iter_mut().zip(&s[g * count..]) {
                        *to = *from as f64;
                    }
                    f(&buffer) as T
                })
                .collect::<Vec<T>>()
        })?;
        Ok(vec![make::<T>(x.dtype, values, &shape)?])
    })
}

fn argument(c: &Call<'_>, better: impl Fn(f64, f64) -> bool) -> OpResult<Vec<Value>> {
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
        (0..groups)
            .map(|g| {
                let row = &s[g * count..(g + 1) * count];
                let mut at = 0;
                for (i, v) in row.iter().enumerate() {
                    if better(*v as f64, row[at] as f64) || (last && *v == row[at]) {
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
