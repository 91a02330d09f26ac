//! Operators that read or write elements at places given by index tensors.

use super::element::Element;
use super::index::place;
use super::{Call, Operator};
use crate::engine::exec::data::{OpResult, axis_of, fail, for_held, ints, make, strides_of, with, with2};
use crate::engine::exec::memory::room;
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "GatherElements" => gather_elements,
        "GatherND" => gather_nd,
        "Scatter" | "ScatterElements" => scatter_elements,
        "ScatterND" => scatter_nd,
        "OneHot" => one_hot,
        _ => return None,
    })
}

/// What happens where an update meets an element.
#[derive(Clone, Copy)]
enum Reduction {
    Replace,
    Add,
    Multiply,
    Larger,
    Smaller,
}

impl Reduction {
    fn of(c: &Call<'_>) -> OpResult<Self> {
        Ok(match c.node.text("reduction").unwrap_or("none") {
            "none" => Self::Replace,
            "add" => Self::Add,
            "mul" => Self::Multiply,
            "max" => Self::Larger,
            "min" => Self::Smaller,
            other => return fail(format!("reduction \"{other}\" is unknown")),
        })
    }

    fn apply<T: Element>(self, old: T, new: T, dtype: DType) -> T {
        match self {
            Self::Replace => new,
            Self::Add => old.plus(new, dtype),
            Self::Multiply => old.times(new, dtype),
            Self::Larger => old.larger(new, dtype),
            Self::Smaller => old.smaller(new, dtype),
        }
    }
}

/// For each index, in row-major order, the flat place in `data` that it speaks of: its own place, but
/// for `axis`, where it says how far along.
fn element_places(data: &[usize], indices: &Value, axis: usize) -> OpResult<Vec<usize>> {
    let (shape, own) = (indices.shape(), strides_of(data));
    if shape.len() != data.len() || shape.iter().zip(data).enumerate().any(|(i, (n, most))| i != axis && n > most) {
        return fail(format!("indices of shape {shape:?} do not fit data of shape {data:?}"));
    }
    let steps = strides_of(shape);
    ints(indices)?
        .into_iter()
        .enumerate()
        .map(|(flat, index)| {
            let rest: usize = (0..shape.len()).filter(|&i| i != axis).map(|i| flat / steps[i] % shape[i] * own[i]).sum();
            Ok(rest + place(index, data[axis])? * own[axis])
        })
        .collect()
}

fn gather_elements(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, indices) = (c.input(0)?, c.input(1)?);
    let axis = axis_of(c.int("axis", 0), x.shape().len())?;
    let at = element_places(x.shape(), indices, axis)?;
    for_held!(x, T => {
        let values = with::<T, _>(x, |s| at.iter().map(|i| s[*i]).collect::<Vec<T>>())?;
        Ok(vec![make::<T>(x.dtype, values, indices.shape())?])
    })
}

fn scatter_elements(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, indices, updates) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let axis = axis_of(c.int("axis", 0), x.shape().len())?;
    if updates.shape() != indices.shape() {
        return fail(format!("updates of shape {:?} do not fit indices of shape {:?}", updates.shape(), indices.shape()));
    }
    let at = element_places(x.shape(), indices, axis)?;
    Ok(vec![write(x, &at, 1, updates, Reduction::of(c)?)?])
}

/// Writes runs of `length` elements of `updates` to the places `at`.
fn write(x: &Value, at: &[usize], length: usize, updates: &Value, reduction: Reduction) -> OpResult<Value> {
    for_held!(x, T => {
        let values = with2::<T, T, _>(x, updates, |old, new| {
            let mut out = old.to_vec();
            for (&to, run) in at.iter().zip(new.chunks(length.max(1))) {
                for (cell, v) in out[to..to + length].iter_mut().zip(run) {
                    *cell = reduction.apply::<T>(*cell, *v, x.dtype);
                }
            }
            out
        })?;
        make::<T>(x.dtype, values, x.shape())
    })
}

/// Flat places that tuples of indices (the last axis of `indices`) name within `shape`.
fn tuple_places(shape: &[usize], tuples: &[i64], width: usize) -> OpResult<Vec<usize>> {
    let steps = strides_of(shape);
    tuples
        .chunks_exact(width)
        .map(|tuple| tuple.iter().enumerate().map(|(i, &v)| Ok(place(v, shape[i])? * steps[i])).sum())
        .collect()
}

/// Rows of indices and how many indices each has.
fn tuples_of(indices: &Value, rank: usize) -> OpResult<(Vec<i64>, usize, &[usize])> {
    match indices.shape().split_last() {
        Some((&width, lead)) if width >= 1 && width <= rank => Ok((ints(indices)?, width, lead)),
        _ => fail(format!("indices of shape {:?} do not name places in {rank} axes", indices.shape())),
    }
}

fn gather_nd(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, indices) = (c.input(0)?, c.input(1)?);
    let shape = x.shape();
    let Some(batch_axes) = usize::try_from(c.int("batch_dims", 0)).ok().filter(|b| *b < shape.len().min(indices.shape().len()))
    else {
        return fail(format!("batch_dims {} does not fit data of shape {shape:?}", c.int("batch_dims", 0)));
    };
    let (tuples, width, lead) = tuples_of(indices, shape.len() - batch_axes)?;
    if lead.get(..batch_axes) != shape.get(..batch_axes) {
        return fail(format!("indices of shape {:?} and data of shape {shape:?} have different batches", indices.shape()));
    }
    let inner = &shape[batch_axes..];
    let (block, length) = (inner.iter().product::<usize>(), inner[width..].iter().product::<usize>());
    let batches: usize = shape[..batch_axes].iter().product();
    let mut at = tuple_places(inner, &tuples, width)?;
    let each = at.len() / batches.max(1);
    for (i, to) in at.iter_mut().enumerate() {
        *to += i / each.max(1) * block;
    }
    let out: Vec<usize> = lead.iter().chain(&inner[width..]).copied().collect();
    for_held!(x, T => {
        let total = room::<T>(&out)?;
        let values = with::<T, _>(x, |s| {
            let mut all: Vec<T> = Vec::with_capacity(total);
            for &from in &at {
                all.extend_from_slice(&s[from..from + length]);
            }
            all
        })?;
        Ok(vec![make::<T>(x.dtype, values, &out)?])
    })
}

fn scatter_nd(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, indices, updates) = (c.input(0)?, c.input(1)?, c.input(2)?);
    let (tuples, width, lead) = tuples_of(indices, x.shape().len())?;
    let wanted: Vec<usize> = lead.iter().chain(&x.shape()[width..]).copied().collect();
    if updates.shape() != wanted {
        return fail(format!("updates of shape {:?} were found where {wanted:?} is needed", updates.shape()));
    }
    let at = tuple_places(x.shape(), &tuples, width)?;
    let length = x.shape()[width..].iter().product();
    Ok(vec![write(x, &at, length, updates, Reduction::of(c)?)?])
}

fn one_hot(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (indices, values) = (c.input(0)?, c.input(2)?);
    let depth = crate::engine::exec::data::int_scalar(c.input(1)?)?;
    let Ok(depth) = usize::try_from(depth) else { return fail(format!("depth {depth} is negative")) };
    let axis = axis_of(c.int("axis", -1), indices.shape().len() + 1)?;
    let mut shape = indices.shape().to_vec();
    shape.insert(axis, depth);
    let inner: usize = shape[axis + 1..].iter().product();
    let hot = ints(indices)?;
    for_held!(values, T => {
        let total = room::<T>(&shape)?;
        let out = with::<T, _>(values, |pair| {
            let [off, on] = pair else { return None };
            let mut out = vec![*off; total];
            for (flat, &index) in hot.iter().enumerate() {
                if let Ok(at) = place(index, depth) {
                    out[(flat / inner * depth + at) * inner + flat % inner] = *on;
                }
            }
            Some(out)
        })?;
        match out {
            Some(out) => Ok(vec![make::<T>(values.dtype, out, &shape)?]),
            None => fail("two values, off and on, are needed"),
        }
    })
}
