//! Places of tokens: `RotaryEmbedding` (Su et al., "RoFormer", 2021) and `TensorScatter`, which writes
//! new keys and values into a cache.

use super::cast::narrow;
use super::{Call, Operator};
use crate::engine::exec::data::{Held, OpResult, axis_of, fail, floats, for_held, held, ints, make, unsupported, with, with2};
use crate::engine::tensor::Value;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "RotaryEmbedding" => rotary,
        "TensorScatter" => tensor_scatter,
        _ => return None,
    })
}

fn rotary(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    if held(x)? != Held::F32 {
        return unsupported(format!("values of type {} are not supported here; cast them to float32", x.dtype));
    }
    let count = usize::try_from(c.int("num_heads", 0)).unwrap_or(0);
    // Heads come before the sequence in four axes and lie within the last of three.
    let (batch, heads, length, size, heads_first) = match *x.shape() {
        [batch, heads, length, size] => (batch, heads, length, size, true),
        [batch, length, width] if count > 0 && width.is_multiple_of(count) => (batch, count, length, width / count, false),
        _ => return fail(format!("shape {:?} cannot be split into {count} heads", x.shape())),
    };
    let turned = match usize::try_from(c.int("rotary_embedding_dim", 0)) {
        Ok(0) => size,
        Ok(turned) if turned <= size => turned,
        _ => return fail(format!("rotary_embedding_dim does not fit heads of {size}")),
    };
    if turned % 2 != 0 {
        return fail(format!("{turned} elements cannot be turned in pairs"));
    }
    let half = turned / 2;
    let angles = angles(c, batch, length, half)?;
    let (dtype, interleaved) = (x.dtype, c.int("interleaved", 0) != 0);
    let values = with::<f32, _>(x, |x| {
        let mut out = x.to_vec();
        for (index, head) in out.chunks_mut(size.max(1)).enumerate() {
            let (b, t) = if heads_first {
                (index / (heads * length), index % length)
            } else {
                (index / (heads * length), index / heads % length)
            };
            let place = (b * length + t) * half;
            for i in 0..half {
                let (cos, sin) = angles[place + i];
                let (first, second) = if interleaved { (2 * i, 2 * i + 1) } else { (i, half + i) };
                let (a, b) = (head[first], head[second]);
                head[first] = narrow(dtype, cos * a - sin * b);
                head[second] = narrow(dtype, sin * a + cos * b);
            }
        }
        out
    })?;
    Ok(vec![make(x.dtype, values, x.shape())?])
}

/// Cosine and sine for each token of each sample, `[batch, length, half]`: as they are given, or taken
/// from a table by the tokens' places.
fn angles(c: &Call<'_>, batch: usize, length: usize, half: usize) -> OpResult<Vec<(f32, f32)>> {
    let (cos, sin) = (c.input(1)?, c.input(2)?);
    if cos.shape() != sin.shape() {
        return fail(format!("cosines of shape {:?} and sines of {:?} do not go together", cos.shape(), sin.shape()));
    }
    let pairs: Vec<(f32, f32)> = floats(cos)?.into_iter().zip(floats(sin)?).collect();
    let Some(places) = c.optional(3) else {
        if cos.shape() != [batch, length, half] {
            return fail(format!("cosines of shape {:?} should have [{batch}, {length}, {half}]", cos.shape()));
        }
        return Ok(pairs);
    };
    let &[rows, width] = cos.shape() else { return fail("with position_ids, cosines and sines have two axes") };
    if width != half || places.shape() != [batch, length] {
        let shape = places.shape();
        return fail(format!("cosines of width {width} and places of shape {shape:?} do not fit {half} pairs"));
    }
    let mut all = Vec::with_capacity(batch * length * half);
    for place in ints(places)? {
        match usize::try_from(place).ok().filter(|p| *p < rows) {
            Some(row) => all.extend_from_slice(&pairs[row * half..][..half]),
            None => return fail(format!("place {place} is outside a table of {rows} rows")),
        }
    }
    Ok(all)
}

fn tensor_scatter(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (cache, update) = (c.input(0)?, c.input(1)?);
    let (shape, new) = (cache.shape(), update.shape());
    let axis = axis_of(c.int("axis", -2), shape.len())?;
    let fits =
        shape.len() == new.len() && shape.iter().zip(new).enumerate().all(|(i, (a, b))| if i == axis { b <= a } else { a == b });
    if axis == 0 || !fits {
        return fail(format!("an update of shape {new:?} does not fit a cache of {shape:?} along axis {axis}"));
    }
    let (length, count, inner) = (shape[axis], new[axis], shape[axis + 1..].iter().product::<usize>());
    let circular = match c.node.text("mode").unwrap_or("linear") {
        "linear" => false,
        "circular" => true,
        other => return fail(format!("mode \"{other}\" is neither linear nor circular")),
    };
    let starts = c.optional(2).map(ints).transpose()?.unwrap_or_else(|| vec![0; shape[0]]);
    let latest = if circular { i64::MAX } else { (length - count) as i64 };
    if starts.len() != shape[0] || starts.iter().any(|s| *s < 0 || *s > latest) {
        return fail(format!("{count} elements cannot be written at places {starts:?} of {length}"));
    }
    let per_sample: usize = shape[1..axis].iter().product();
    for_held!(cache, T => {
        let values = with2::<T, T, _>(cache, update, |old, new| {
            let mut out = old.to_vec();
            for line in 0..shape[0] * per_sample {
                let start = starts[line / per_sample] as usize % length.max(1);
                for i in 0..count {
                    let to = (line * length + (start + i) % length) * inner;
                    out[to..to + inner].copy_from_slice(&new[(line * count + i) * inner..][..inner]);
                }
            }
            out
        })?;
        Ok(vec![make::<T>(cache.dtype, values, shape)?])
    })
}
