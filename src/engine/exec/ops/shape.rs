//! Operators that rearrange elements or speak of shapes.

use super::{Call, Operator};
use crate::engine::exec::data::{OpResult, axis_of, fail, for_held, int_scalar, ints, like, make, scalar, unsupported, with};
use crate::engine::graph::Attribute;
use crate::engine::tensor::{DType, Value};
use candle_core::Tensor;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Flatten" => flatten,
        "Reshape" => reshape,
        "Transpose" => transpose,
        "Squeeze" => squeeze,
        "Unsqueeze" => unsqueeze,
        "Concat" => concat,
        "Split" => split,
        "Shape" => shape,
        "Size" => |c| Ok(vec![make(DType::I64, vec![c.input(0)?.shape().iter().product::<usize>() as i64], &[])?]),
        "Expand" => expand,
        "Tile" => tile,
        "Constant" => constant,
        "ConstantOfShape" => constant_of_shape,
        "Range" => range,
        "DepthToSpace" => depth_to_space,
        "SpaceToDepth" => space_to_depth,
        _ => return None,
    })
}

/// The same elements in the same order under another shape.
pub(super) fn reshaped(x: &Value, shape: &[usize]) -> OpResult<Value> {
    Ok(like(x, x.data.reshape(shape)?))
}

fn flatten(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let rank = x.shape().len();
    let axis = c.int("axis", 1);
    let axis = if axis == rank as i64 { rank } else { axis_of(axis, rank)? };
    let rows: usize = x.shape()[..axis].iter().product();
    let columns: usize = x.shape()[axis..].iter().product();
    Ok(vec![reshaped(x, &[rows, columns])?])
}

fn reshape(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let Some(wanted) = c.ints("shape", 1)? else { return fail("the new shape is missing") };
    let shape = reshape_target(x.shape(), &wanted, c.int("allowzero", 0) != 0)?;
    Ok(vec![reshaped(x, &shape)?])
}

fn reshape_target(from: &[usize], wanted: &[i64], zero_is_zero: bool) -> OpResult<Vec<usize>> {
    let total: usize = from.iter().product();
    let refuse = || fail(format!("a tensor of shape {from:?} cannot become {wanted:?}"));
    let mut shape = Vec::with_capacity(wanted.len());
    let mut free = None;
    for (i, &d) in wanted.iter().enumerate() {
        match d {
            0 if !zero_is_zero => match from.get(i) {
                Some(n) => shape.push(*n),
                None => return refuse(),
            },
            -1 if free.is_none() => {
                free = Some(i);
                shape.push(1);
            }
            d if d >= 0 => shape.push(d as usize),
            _ => return refuse(),
        }
    }
    let known: usize = shape.iter().product();
    if let Some(i) = free {
        if known == 0 || !total.is_multiple_of(known) {
            return refuse();
        }
        shape[i] = total / known;
    } else if known != total {
        return refuse();
    }
    Ok(shape)
}

fn transpose(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let rank = x.shape().len();
    let order: Vec<usize> = match c.node.ints("perm") {
        Some(perm) => perm.iter().map(|&p| axis_of(p, rank)).collect::<OpResult<_>>()?,
        None => (0..rank).rev().collect(),
    };
    let mut sorted = order.clone();
    sorted.sort_unstable();
    if !sorted.iter().copied().eq(0..rank) {
        return fail(format!("perm {order:?} is no order of the axes of {:?}", x.shape()));
    }
    Ok(vec![like(x, x.data.permute(order)?.contiguous()?)])
}

fn squeeze(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let rank = x.shape().len();
    let gone: Vec<usize> = match c.ints("axes", 1)? {
        Some(axes) => axes.iter().map(|&a| axis_of(a, rank)).collect::<OpResult<_>>()?,
        None => (0..rank).filter(|&i| x.shape()[i] == 1).collect(),
    };
    if let Some(&axis) = gone.iter().find(|&&i| x.shape().get(i) != Some(&1)) {
        return fail(format!("axis {axis} of shape {:?} is not 1 and cannot be dropped", x.shape()));
    }
    let shape: Vec<usize> = (0..rank).filter(|i| !gone.contains(i)).map(|i| x.shape()[i]).collect();
    Ok(vec![reshaped(x, &shape)?])
}

fn unsqueeze(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let Some(axes) = c.ints("axes", 1)? else { return fail("the axes are missing") };
    let rank = x.shape().len() + axes.len();
    let new: Vec<usize> = axes.iter().map(|&a| axis_of(a, rank)).collect::<OpResult<_>>()?;
    let mut old = x.shape().iter();
    let mut shape = Vec::with_capacity(rank);
    for i in 0..rank {
        match (new.contains(&i), old.len()) {
            (false, 1..) => shape.extend(old.next()),
            _ => shape.push(1),
        }
    }
    Ok(vec![reshaped(x, &shape)?])
}

fn concat(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let first = c.input(0)?;
    let axis = axis_of(c.int("axis", 1), first.shape().len())?;
    let parts: Vec<&Value> = (0..c.inputs.len()).map(|i| c.input(i)).collect::<OpResult<_>>()?;
    let mut shape = first.shape().to_vec();
    shape[axis] = 0;
    for part in &parts {
        let fits = part.shape().len() == shape.len()
            && part.shape().iter().zip(&shape).enumerate().all(|(i, (a, b))| i == axis || a == b);
        if !fits {
            return fail(format!("shapes {:?} and {:?} cannot be joined along axis {axis}", first.shape(), part.shape()));
        }
        shape[axis] += part.shape()[axis];
    }
    let outer: usize = shape[..axis].iter().product();
    let inner: usize = shape[axis + 1..].iter().product();
    for_held!(first, T => {
        let total: usize = shape.iter().product();
        let mut out = vec![T::default(); total];
        let (row, mut from) = (shape[axis] * inner, 0);
        for part in parts {
            let width = part.shape()[axis] * inner;
            with::<T, _>(part, |x| {
                for i in 0..outer {
                    out[i * row + from..i * row + from + width].copy_from_slice(&x[i * width..(i + 1) * width]);
                }
            })?;
            from += width;
        }
        Ok(vec![make::<T>(first.dtype, out, &shape)?])
    })
}

fn split(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let axis = axis_of(c.int("axis", 0), x.shape().len())?;
    let length = x.shape()[axis];
    let sizes: Vec<usize> = match c.ints("split", 1)? {
        Some(sizes) => sizes.iter().map(|&n| n.max(0) as usize).collect(),
        None => {
            let parts = (c.int("num_outputs", c.node.outputs.len() as i64).max(1)) as usize;
            let size = length.div_ceil(parts);
            (0..parts).map(|i| length.saturating_sub(i * size).min(size)).collect()
        }
    };
    if sizes.iter().sum::<usize>() != length {
        return fail(format!("parts {sizes:?} do not fill axis {axis} of shape {:?}", x.shape()));
    }
    let mut from = 0;
    sizes
        .into_iter()
        .map(|size| {
            let part = x.data.narrow(axis, from, size)?.contiguous()?;
            from += size;
            Ok(like(x, part))
        })
        .collect()
}

fn shape(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let rank = x.shape().len() as i64;
    let clip = |v: i64| (if v < 0 { v + rank } else { v }).clamp(0, rank) as usize;
    let (start, end) = (clip(c.int("start", 0)), clip(c.int("end", rank)));
    let dims: Vec<i64> = x.shape()[start..end.max(start)].iter().map(|&d| d as i64).collect();
    let count = dims.len();
    Ok(vec![make(DType::I64, dims, &[count])?])
}

fn expand(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let wanted: Vec<usize> = ints(c.input(1)?)?.iter().map(|&d| d.max(0) as usize).collect();
    let shape = super::elementwise::broadcast_shape(x.shape(), &wanted)?;
    Ok(vec![like(x, x.data.broadcast_as(shape)?.contiguous()?)])
}

fn tile(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let times = ints(c.input(1)?)?;
    let mut data = x.data.clone();
    for (axis, &n) in times.iter().enumerate() {
        let copies: Vec<&Tensor> = (0..n.max(0)).map(|_| &data).collect();
        data = if copies.is_empty() { data.narrow(axis, 0, 0)? } else { Tensor::cat(&copies, axis)? };
    }
    Ok(vec![like(x, data.contiguous()?)])
}

fn constant(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let attributes = &c.node.attributes;
    Ok(vec![match (attributes.iter().next(), attributes.get("value")) {
        (_, Some(Attribute::Tensor(t))) => Value::from_stored(t)?,
        (Some((_, Attribute::Float(v))), _) => Value::from_f32(vec![*v], &[])?,
        (Some((_, Attribute::Int(v))), _) => Value::from_i64(vec![*v], &[])?,
        (Some((_, Attribute::Floats(v))), _) => Value::from_f32(v.clone(), &[v.len()])?,
        (Some((_, Attribute::Ints(v))), _) => Value::from_i64(v.clone(), &[v.len()])?,
        _ => return unsupported("the constant is of a kind that cannot be computed with"),
    }])
}

fn constant_of_shape(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let shape: Vec<usize> = ints(c.input(0)?)?.iter().map(|&d| d.max(0) as usize).collect();
    let fill = match c.node.attributes.get("value") {
        Some(Attribute::Tensor(t)) => Value::from_stored(t)?,
        _ => Value::from_f32(vec![0.0], &[1])?,
    };
    Ok(vec![like(&fill, fill.data.reshape(vec![1; shape.len()])?.broadcast_as(shape)?.contiguous()?)])
}

fn range(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (start, limit, delta) = (c.input(0)?, c.input(1)?, c.input(2)?);
    if start.dtype.is_float() {
        let (a, b, d) = (f64::from(scalar(start)?), f64::from(scalar(limit)?), f64::from(scalar(delta)?));
        let count = ((b - a) / d).ceil().max(0.0) as usize;
        let values: Vec<f32> = (0..count).map(|i| (a + i as f64 * d) as f32).collect();
        return Ok(vec![make(start.dtype, values, &[count])?]);
    }
    let (a, b, d) = (int_scalar(start)?, int_scalar(limit)?, int_scalar(delta)?);
    if d == 0 {
        return fail("a range with step 0 never ends");
    }
    let values: Vec<i64> =
        std::iter::successors(Some(a), |v| v.checked_add(d)).take_while(|v| if d > 0 { *v < b } else { *v > b }).collect();
    let count = values.len();
    Ok(vec![make(start.dtype, values, &[count])?])
}

fn depth_to_space(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let b = c.int("blocksize", 1).max(1) as usize;
    let &[n, channels, h, w] = x.shape() else { return fail("four axes are needed") };
    let d = channels / (b * b);
    let (split, order): ([usize; 6], _) = if c.node.text("mode") == Some("CRD") {
        ([n, d, b, b, h, w], vec![0, 1, 4, 2, 5, 3])
    } else {
        ([n, b, b, d, h, w], vec![0, 3, 4, 1, 5, 2])
    };
    let data = x.data.reshape(split.to_vec())?.permute(order)?.contiguous()?;
    Ok(vec![like(x, data.reshape((n, d, h * b, w * b))?)])
}

fn space_to_depth(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let b = c.int("blocksize", 1).max(1) as usize;
    let &[n, channels, h, w] = x.shape() else { return fail("four axes are needed") };
    let split = vec![n, channels, h / b, b, w / b, b];
    let data = x.data.reshape(split)?.permute(vec![0, 3, 5, 1, 2, 4])?.contiguous()?;
    Ok(vec![like(x, data.reshape((n, channels * b * b, h / b, w / b))?)])
}
