//! Operators that rearrange elements or speak of shapes.

use super::{Call, Operator};
use crate::engine::exec::data::{OpResult, axis_of, fail, for_held, int_scalar, ints, like, make, unsupported, with};
use crate::engine::exec::memory::room;
use crate::engine::graph::Attribute;
use crate::engine::tensor::{DType, Value};

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
    let Some(known) = shape.iter().try_fold(1_usize, |n, &d| n.checked_mul(d)) else { return refuse() };
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
    let mut new = vec![false; rank];
    for &axis in &axes {
        if std::mem::replace(&mut new[axis_of(axis, rank)?], true) {
            return fail(format!("the axes {axes:?} name one axis twice"));
        }
    }
    let mut old = x.shape().iter();
    let shape: Vec<usize> = new.into_iter().map(|new| if new { 1 } else { old.next().copied().unwrap_or(1) }).collect();
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
        if part.dtype != first.dtype {
            return fail(format!("values of types {} and {} cannot be joined", first.dtype, part.dtype));
        }
        shape[axis] += part.shape()[axis];
    }
    let outer: usize = shape[..axis].iter().product();
    let inner: usize = shape[axis + 1..].iter().product();
    for_held!(first, T => {
        let mut out = vec![T::default(); room::<T>(&shape)?];
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
    let parts = c.node.outputs.len().max(1);
    let sizes: Vec<usize> = match c.ints("split", 1)? {
        Some(sizes) => match sizes.iter().map(|&n| usize::try_from(n).ok().filter(|n| *n <= length)).collect() {
            Some(sizes) => sizes,
            None => return fail(format!("the parts {sizes:?} do not fit an axis of length {length}")),
        },
        None => {
            let wanted = c.int("num_outputs", parts as i64);
            if wanted != parts as i64 {
                return fail(format!("num_outputs is {wanted}, but the node has {parts} outputs"));
            }
            let size = length.div_ceil(parts);
            (0..parts).map(|i| length.saturating_sub(i * size).min(size)).collect()
        }
    };
    if sizes.len() < parts || sizes.iter().sum::<usize>() != length {
        return fail(format!("{parts} parts {sizes:?} do not fill axis {axis} of shape {:?}", x.shape()));
    }
    let mut from = 0;
    sizes
        .into_iter()
        .map(|size| {
            let part = super::index::part(x, axis, from, size)?;
            from += size;
            Ok(like(x, part.data.contiguous()?))
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

/// Sizes that a model gives as numbers.
pub(super) fn sizes(value: &Value) -> OpResult<Vec<usize>> {
    let given = ints(value)?;
    match given.iter().map(|&d| usize::try_from(d).ok()).collect() {
        Some(sizes) => Ok(sizes),
        None => fail(format!("the shape {given:?} has a negative size")),
    }
}

/// The value repeated to fill `shape`.
pub(super) fn spread(x: &Value, shape: &[usize]) -> OpResult<Value> {
    for_held!(x, T => room::<T>(shape))?;
    Ok(like(x, x.data.broadcast_as(shape)?.contiguous()?))
}

fn expand(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let shape = super::elementwise::broadcast_shape(x.shape(), &sizes(c.input(1)?)?)?;
    Ok(vec![spread(x, &shape)?])
}

fn tile(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let rank = x.shape().len();
    let times = match c.optional(2) {
        // Operator set 1: one number of tiles, and the axis.
        Some(axis) => {
            let mut times = vec![1; rank];
            times[axis_of(int_scalar(axis)?, rank)?] = int_scalar(c.input(1)?)?;
            times
        }
        None => ints(c.input(1)?)?,
    };
    let shape: Option<Vec<usize>> =
        x.shape().iter().zip(&times).map(|(&n, &t)| n.checked_mul(usize::try_from(t).ok()?)).collect();
    let Some(shape) = shape.filter(|_| times.len() == rank) else {
        return fail(format!("a tensor of shape {:?} cannot be repeated {times:?} times", x.shape()));
    };
    for_held!(x, T => {
        let total = room::<T>(&shape)?;
        let mut out = with::<T, _>(x, <[T]>::to_vec)?;
        for axis in (0..rank).rev().filter(|&a| times[a] != 1 && total > 0) {
            let block: usize = x.shape()[axis] * shape[axis + 1..].iter().product::<usize>();
            let mut next: Vec<T> = Vec::with_capacity(out.len() * times[axis] as usize);
            for part in out.chunks(block) {
                for _ in 0..times[axis] {
                    next.extend_from_slice(part);
                }
            }
            out = next;
        }
        out.truncate(total);
        Ok(vec![make::<T>(x.dtype, out, &shape)?])
    })
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

/// Channels in blocks of `blocksize` × `blocksize`: (n, channels, height, width, blocksize).
fn blocks(c: &Call<'_>, x: &Value) -> OpResult<[usize; 5]> {
    let &[n, channels, h, w] = x.shape() else { return fail("four axes are needed") };
    match c.node.int("blocksize") {
        Some(b @ 1..=0x7FFF) => Ok([n, channels, h, w, b as usize]),
        Some(other) => fail(format!("the block size is {other}, a positive number is needed")),
        None => fail("attribute \"blocksize\" is missing"),
    }
}

fn depth_to_space(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let [n, channels, h, w, b] = blocks(c, x)?;
    if !channels.is_multiple_of(b * b) {
        return fail(format!("{channels} channels are no whole number of blocks of {b} × {b}"));
    }
    let d = channels / (b * b);
    let (split, order): ([usize; 6], _) = match c.node.text("mode") {
        Some("CRD") => ([n, d, b, b, h, w], vec![0, 1, 4, 2, 5, 3]),
        None | Some("DCR") => ([n, b, b, d, h, w], vec![0, 3, 4, 1, 5, 2]),
        Some(other) => return fail(format!("mode \"{other}\" is unknown")),
    };
    let data = x.data.reshape(split.to_vec())?.permute(order)?.contiguous()?;
    Ok(vec![like(x, data.reshape((n, d, h * b, w * b))?)])
}

fn space_to_depth(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let [n, channels, h, w, b] = blocks(c, x)?;
    if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
        return fail(format!("{h} × {w} is no whole number of blocks of {b} × {b}"));
    }
    let split = vec![n, channels, h / b, b, w / b, b];
    let order = match c.node.text("mode") {
        Some("CRD") => vec![0, 1, 3, 5, 2, 4],
        None | Some("DCR") => vec![0, 3, 5, 1, 2, 4],
        Some(other) => return fail(format!("mode \"{other}\" is unknown")),
    };
    let data = x.data.reshape(split)?.permute(order)?.contiguous()?;
    Ok(vec![like(x, data.reshape((n, channels * b * b, h / b, w / b))?)])
}
