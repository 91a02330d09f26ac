//! Operators that take elements by place along one axis: slices, gathers, selections.

use super::{Call, Operator};
use crate::engine::exec::data::{Number, OpError, OpResult, axis_of, fail, for_held, ints, like, make, with};
use crate::engine::exec::memory::room;
use crate::engine::graph::slice_places;
use crate::engine::tensor::{DType, Value};
use candle_core::WithDType;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Slice" => slice,
        "Gather" => gather,
        "Compress" => compress,
        "NonZero" => non_zero,
        "ReverseSequence" => reverse_sequence,
        _ => return None,
    })
}

/// Where an element comes from along one axis; `None` is the fill value.
pub(super) type Places = Vec<Option<usize>>;

/// Picks places along one axis; what has no place becomes `fill`.
pub(super) fn take(x: &Value, axis: usize, places: &Places, fill: f64) -> OpResult<Value> {
    for_held!(x, T => take_or::<T>(x, axis, places, <T as Number>::from_f64(fill)))
}

/// [`take`] with a fill value of the type that holds `x`.
pub(super) fn take_or<T: WithDType + Default>(x: &Value, axis: usize, places: &Places, fill: T) -> OpResult<Value> {
    let mut shape = x.shape().to_vec();
    let length = std::mem::replace(&mut shape[axis], places.len());
    let total = room::<T>(&shape)?;
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    let values = with::<T, _>(x, |from| {
        let mut out: Vec<T> = Vec::with_capacity(total);
        for i in 0..outer {
            let block = &from[i * length * inner..(i + 1) * length * inner];
            if inner == 1 {
                out.extend(places.iter().map(|p| p.map_or(fill, |p| block[p])));
                continue;
            }
            for place in places {
                match place {
                    Some(p) => out.extend_from_slice(&block[p * inner..(p + 1) * inner]),
                    None => out.resize(out.len() + inner, fill),
                }
            }
        }
        out
    })?;
    make::<T>(x.dtype, values, &shape)
}

/// `count` places along one axis, from place `from` on.
pub(super) fn part(x: &Value, axis: usize, from: usize, count: usize) -> OpResult<Value> {
    // A view of no elements may begin beyond the memory of its tensor, where candle cannot read it.
    if count == 0 || x.shape().contains(&0) {
        return take(x, axis, &(from..from + count).map(Some).collect(), 0.0);
    }
    Ok(like(x, x.data.narrow(axis, from, count)?))
}

fn slice(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let (Some(starts), Some(ends)) = (c.ints("starts", 1)?, c.ints("ends", 2)?) else {
        return fail("starts or ends are missing");
    };
    let axes = c.ints("axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = c.optional(4).map(ints).transpose()?.unwrap_or_else(|| vec![1; starts.len()]);
    if ends.len() != starts.len() || axes.len() != starts.len() || steps.len() != starts.len() {
        return fail("starts, ends, axes and steps have different lengths");
    }
    let mut out = x.clone();
    let mut seen = vec![false; x.shape().len()];
    for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = axis_of(axis, x.shape().len())?;
        if std::mem::replace(&mut seen[axis], true) {
            return fail(format!("axis {axis} is sliced twice"));
        }
        let length = x.shape()[axis];
        let places = slice_places(start, end, step, length).map_err(OpError::Reason)?;
        if places.len() == length && step == 1 {
            continue;
        }
        out = match places.clone().next() {
            Some(first) if step == 1 => part(&out, axis, first, places.len())?,
            _ => take(&out, axis, &places.map(Some).collect(), 0.0)?,
        };
    }
    Ok(vec![like(&out, out.data.contiguous()?)])
}

fn gather(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, indices) = (c.input(0)?, c.input(1)?);
    let axis = axis_of(c.int("axis", 0), x.shape().len())?;
    let length = x.shape()[axis];
    let places = ints(indices)?.into_iter().map(|i| place(i, length).map(Some)).collect::<OpResult<Places>>()?;
    let taken = take(x, axis, &places, 0.0)?;
    let shape: Vec<usize> = x.shape()[..axis].iter().chain(indices.shape()).chain(&x.shape()[axis + 1..]).copied().collect();
    Ok(vec![super::shape::reshaped(&taken, &shape)?])
}

/// An index as counted from the front; negative ones count from the end.
pub(super) fn place(index: i64, length: usize) -> OpResult<usize> {
    let at = if index < 0 { index + length as i64 } else { index };
    if at < 0 || at >= length as i64 {
        return fail(format!("index {index} is outside an axis of length {length}"));
    }
    Ok(at as usize)
}

fn compress(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, condition) = (c.input(0)?, ints(c.input(1)?)?);
    let (x, axis) = match c.node.int("axis") {
        Some(axis) => (x.clone(), axis_of(axis, x.shape().len())?),
        None => (like(x, x.data.flatten_all()?), 0),
    };
    let length = x.shape()[axis];
    let places: Places = condition.iter().enumerate().filter(|(_, v)| **v != 0).map(|(i, _)| Some(i)).collect();
    if let Some(Some(last)) = places.last()
        && *last >= length
    {
        return fail(format!("the condition picks element {last} of an axis of length {length}"));
    }
    Ok(vec![take(&x, axis, &places, 0.0)?])
}

/// Places of the elements that are not zero: `[rank, count]`, in row-major order.
fn non_zero(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let shape = x.shape();
    let hits: Vec<usize> = for_held!(x, T => with::<T, _>(x, |s| {
        s.iter().enumerate().filter(|(_, v)| **v != T::default()).map(|(i, _)| i).collect()
    })?);
    let steps = crate::engine::exec::data::strides_of(shape);
    let places: Vec<i64> =
        steps.iter().zip(shape).flat_map(|(step, n)| hits.iter().map(move |i| (i / step % n) as i64)).collect();
    Ok(vec![make(DType::I64, places, &[shape.len(), hits.len()])?])
}

fn reverse_sequence(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, lengths) = (c.input(0)?, ints(c.input(1)?)?);
    let shape = x.shape();
    let time = axis_of(c.int("time_axis", 0), shape.len())?;
    let batch = axis_of(c.int("batch_axis", 1), shape.len())?;
    if time == batch {
        return fail("the axes of time and of the batch are the same");
    }
    if lengths.len() != shape[batch] || lengths.iter().any(|&n| n < 0 || n > shape[time] as i64) {
        return fail(format!("the lengths {lengths:?} do not fit a tensor of shape {shape:?}"));
    }
    let steps = crate::engine::exec::data::strides_of(shape);
    for_held!(x, T => {
        let values = with::<T, _>(x, |s| {
            (0..s.len())
                .map(|flat| {
                    let (t, length) = (flat / steps[time] % shape[time], lengths[flat / steps[batch] % shape[batch]] as usize);
                    s[if t < length { flat - t * steps[time] + (length - 1 - t) * steps[time] } else { flat }]
                })
                .collect::<Vec<T>>()
        })?;
        Ok(vec![make::<T>(x.dtype, values, shape)?])
    })
}
