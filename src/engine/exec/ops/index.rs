//! Operators that take elements by place: slices, gathers, padding.

use super::{Call, Operator};
use crate::engine::exec::data::{Number, OpError, OpResult, axis_of, fail, for_held, ints, like, make, strides_of, with};
use crate::engine::graph::slice_places;
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Slice" => slice,
        "Gather" => gather,
        "GatherElements" => gather_elements,
        "Pad" => pad,
        "CumSum" => cumulative_sum,
        "Trilu" => triangle,
        "OneHot" => one_hot,
        _ => return None,
    })
}

/// Where an element comes from along one axis; `None` is the fill value.
pub(super) type Places = Vec<Option<usize>>;

/// Picks places along one axis; what has no place becomes `fill`.
pub(super) fn take(x: &Value, axis: usize, places: &Places, fill: f64) -> OpResult<Value> {
    let mut shape = x.shape().to_vec();
    let length = std::mem::replace(&mut shape[axis], places.len());
    let inner: usize = shape[axis + 1..].iter().product();
    let outer: usize = shape[..axis].iter().product();
    for_held!(x, T => {
        let fill = T::from_f64(fill);
        let values = with::<T, _>(x, |from| {
            let mut out: Vec<T> = Vec::with_capacity(outer * places.len() * inner);
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
    })
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
    for (((&start, &end), &axis), &step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = axis_of(axis, x.shape().len())?;
        let length = x.shape()[axis];
        let places = slice_places(start, end, step, length).map_err(OpError::Reason)?;
        if places.len() == length && step == 1 {
            continue;
        }
        out = match places.first() {
            Some(&first) if step == 1 => like(&out, out.data.narrow(axis, first, places.len())?),
            _ => take(&out, axis, &places.into_iter().map(Some).collect(), 0.0)?,
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

fn place(index: i64, length: usize) -> OpResult<usize> {
    let at = if index < 0 { index + length as i64 } else { index };
    if at < 0 || at >= length as i64 {
        return fail(format!("index {index} is outside an axis of length {length}"));
    }
    Ok(at as usize)
}

fn gather_elements(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, indices) = (c.input(0)?, c.input(1)?);
    let axis = axis_of(c.int("axis", 0), x.shape().len())?;
    let (shape, own) = (indices.shape().to_vec(), strides_of(x.shape()));
    if shape.len() != own.len() {
        return fail("data and indices have different ranks");
    }
    let steps = strides_of(&shape);
    let mut at = Vec::new();
    for (flat, index) in ints(indices)?.into_iter().enumerate() {
        let mut from = 0;
        for i in 0..shape.len() {
            let along = if i == axis { place(index, x.shape()[i])? } else { flat / steps[i] % shape[i] };
            if along >= x.shape()[i] {
                return fail("indices reach beyond the data");
            }
            from += along * own[i];
        }
        at.push(from);
    }
    for_held!(x, T => {
        let values = with::<T, _>(x, |s| at.iter().map(|i| s[*i]).collect::<Vec<T>>())?;
        Ok(vec![make::<T>(x.dtype, values, &shape)?])
    })
}

fn pad(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let rank = x.shape().len();
    let Some(pads) = c.ints("pads", 1)?.or_else(|| c.node.ints("paddings").map(<[i64]>::to_vec)) else {
        return fail("the pads are missing");
    };
    let fill = match c.optional(2) {
        Some(v) if v.shape().iter().product::<usize>() > 0 => f64::from(v.to_f32()?[0]),
        _ => f64::from(c.float("value", 0.0)),
    };
    let axes: Vec<usize> = match c.optional(3) {
        Some(axes) => ints(axes)?.into_iter().map(|a| axis_of(a, rank)).collect::<OpResult<_>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return fail(format!("{} pads do not fit {} axes", pads.len(), axes.len()));
    }
    let mode = c.node.text("mode").unwrap_or("constant");
    let mut out = x.clone();
    for (i, &axis) in axes.iter().enumerate() {
        let (before, after) = (pads[i], pads[i + axes.len()]);
        if before != 0 || after != 0 {
            out = take(&out, axis, &pad_places(mode, before, after, x.shape()[axis])?, fill)?;
        }
    }
    Ok(vec![out])
}

fn pad_places(mode: &str, before: i64, after: i64, length: usize) -> OpResult<Places> {
    let n = length as i64;
    (-before..n + after)
        .map(|i| {
            if (0..n).contains(&i) {
                return Ok(Some(i as usize));
            }
            Ok(match mode {
                "constant" => None,
                _ if n == 0 => return fail("an empty axis has no edge to pad with"),
                "edge" => Some(i.clamp(0, n - 1) as usize),
                "wrap" => Some(i.rem_euclid(n) as usize),
                "reflect" if n == 1 => Some(0),
                "reflect" => {
                    let turn = i.rem_euclid(2 * (n - 1));
                    Some(if turn < n { turn } else { 2 * (n - 1) - turn } as usize)
                }
                other => return fail(format!("padding mode \"{other}\" is unknown")),
            })
        })
        .collect()
}

fn cumulative_sum(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let axis = axis_of(crate::engine::exec::data::int_scalar(c.input(1)?)?, x.shape().len())?;
    let (exclusive, reverse) = (c.int("exclusive", 0) != 0, c.int("reverse", 0) != 0);
    let length = x.shape()[axis];
    let inner: usize = x.shape()[axis + 1..].iter().product();
    for_held!(x, T => {
        let mut out = with::<T, _>(x, <[T]>::to_vec)?;
        for block in out.chunks_mut((length * inner).max(1)) {
            for j in 0..inner {
                let mut sum = T::default();
                for step in 0..length {
                    let i = if reverse { length - 1 - step } else { step };
                    let cell = &mut block[i * inner + j];
                    let next = sum + *cell;
                    *cell = if exclusive { sum } else { next };
                    sum = next;
                }
            }
        }
        Ok(vec![make::<T>(x.dtype, out, x.shape())?])
    })
}

fn triangle(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let [.., rows, columns] = *x.shape() else { return fail("a matrix is needed") };
    let k = c.optional(1).map(crate::engine::exec::data::int_scalar).transpose()?.unwrap_or(0);
    let upper = c.int("upper", 1) != 0;
    for_held!(x, T => {
        let mut out = with::<T, _>(x, <[T]>::to_vec)?;
        for (flat, v) in out.iter_mut().enumerate() {
            let (row, column) = ((flat / columns % rows) as i64, (flat % columns) as i64);
            let above = column - row >= k;
            if (upper && !above) || (!upper && column - row > k) {
                *v = T::default();
            }
        }
        Ok(vec![make::<T>(x.dtype, out, x.shape())?])
    })
}

fn one_hot(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (indices, depth, values) = (c.input(0)?, crate::engine::exec::data::int_scalar(c.input(1)?)?, c.input(2)?);
    let rank = indices.shape().len() + 1;
    let axis = axis_of(c.int("axis", -1), rank)?;
    let depth = depth.max(0) as usize;
    let mut shape = indices.shape().to_vec();
    shape.insert(axis, depth);
    let inner: usize = shape[axis + 1..].iter().product();
    let hot = ints(indices)?;
    let pair = values.to_f32()?;
    let [off, on] = pair[..] else { return fail("two values, off and on, are needed") };
    let mut out = vec![off; shape.iter().product()];
    for (flat, &index) in hot.iter().enumerate() {
        let at = if index < 0 { index + depth as i64 } else { index };
        if (0..depth as i64).contains(&at) {
            out[(flat / inner * depth + at as usize) * inner + flat % inner] = on;
        }
    }
    let result = make(DType::F32, out, &shape)?;
    Ok(vec![super::unary::cast_to(&result, values.dtype)?])
}
