//! Operators that put elements in order: the largest, the distinct.

use super::element::Element;
use super::index::{Places, take};
use super::{Call, Operator};
use crate::engine::exec::data::{OpResult, axis_of, fail, for_held, int_scalar, like, make, with};
use crate::engine::tensor::{DType, Value};
use std::cmp::Ordering;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "TopK" => top_k,
        "Unique" => unique,
        _ => return None,
    })
}

/// The `k` largest or smallest along an axis and where they were; of equals the first comes first.
fn top_k(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let k = match (c.optional(1), c.node.int("k")) {
        (Some(k), _) => int_scalar(k)?,
        (None, Some(k)) => k,
        (None, None) => return fail("k is missing"),
    };
    let axis = axis_of(c.int("axis", -1), x.shape().len())?;
    let length = x.shape()[axis];
    let Some(k) = usize::try_from(k).ok().filter(|k| *k <= length) else {
        return fail(format!("k is {k}, the axis has {length} elements"));
    };
    let largest = c.int("largest", 1) != 0;
    let inner: usize = x.shape()[axis + 1..].iter().product();
    let outer: usize = x.shape()[..axis].iter().product();
    let mut shape = x.shape().to_vec();
    shape[axis] = k;
    for_held!(x, T => {
        let (mut values, mut places) = (vec![T::default(); outer * k * inner], vec![0_i64; outer * k * inner]);
        with::<T, _>(x, |s| {
            let mut order: Vec<usize> = Vec::with_capacity(length);
            for line in 0..outer * inner {
                let (from, to) = (line / inner * length * inner + line % inner, line / inner * k * inner + line % inner);
                let before = |a: &usize, b: &usize| -> Ordering {
                    let by_value = s[from + a * inner].order(s[from + b * inner], x.dtype);
                    (if largest { by_value.reverse() } else { by_value }).then(a.cmp(b))
                };
                order.clear();
                order.extend(0..length);
                if 0 < k && k < length {
                    order.select_nth_unstable_by(k - 1, before);
                }
                order[..k].sort_unstable_by(before);
                for (i, &place) in order[..k].iter().enumerate() {
                    values[to + i * inner] = s[from + place * inner];
                    places[to + i * inner] = place as i64;
                }
            }
        })?;
        Ok(vec![make::<T>(x.dtype, values, &shape)?, make(DType::I64, places, &shape)?])
    })
}

/// Distinct elements, or distinct slices along an axis: their values, where each was first, which of
/// them each element is, and how often each occurs.
fn unique(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let (x, axis) = match c.node.int("axis") {
        Some(axis) => (x.clone(), axis_of(axis, x.shape().len())?),
        None => (like(x, x.data.flatten_all()?), 0),
    };
    let count = x.shape()[axis];
    let rows = like(&x, x.data.transpose(0, axis)?.contiguous()?);
    let width: usize = rows.shape()[1..].iter().product();
    let mut groups: Vec<Vec<usize>> = for_held!(&rows, T => with::<T, _>(&rows, |s| {
        let compare = |a: usize, b: usize| -> Ordering {
            let (a, b) = (&s[a * width..(a + 1) * width], &s[b * width..(b + 1) * width]);
            a.iter().zip(b).map(|(a, b)| a.order(*b, x.dtype)).find(|o| o.is_ne()).unwrap_or(Ordering::Equal)
        };
        let mut order: Vec<usize> = (0..count).collect();
        order.sort_by(|a, b| compare(*a, *b));
        order.chunk_by(|a, b| compare(*a, *b).is_eq()).map(<[usize]>::to_vec).collect()
    })?);
    if c.int("sorted", 1) == 0 {
        groups.sort_by_key(|g| g[0]);
    }
    let mut which = vec![0_i64; count];
    for (i, group) in groups.iter().enumerate() {
        for &member in group {
            which[member] = i as i64;
        }
    }
    let firsts: Places = groups.iter().map(|g| Some(g[0])).collect();
    let n = groups.len();
    Ok(vec![
        take(&x, axis, &firsts, 0.0)?,
        make(DType::I64, groups.iter().map(|g| g[0] as i64).collect(), &[n])?,
        make(DType::I64, which, &[count])?,
        make(DType::I64, groups.iter().map(|g| g.len() as i64).collect(), &[n])?,
    ])
}
