//! Operators that widen or cut axes: padding, crops.

use super::index::{Places, take, take_or};
use super::{Call, Operator};
use crate::engine::exec::data::{Number, OpResult, axis_of, fail, for_held, held, ints, with};
use crate::engine::exec::memory::room;
use crate::engine::tensor::Value;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Pad" => pad,
        "CenterCropPad" => center_crop_pad,
        _ => return None,
    })
}

fn pad(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let rank = x.shape().len();
    let Some(pads) = c.ints("pads", 1)?.or_else(|| c.node.ints("paddings").map(<[i64]>::to_vec)) else {
        return fail("the pads are missing");
    };
    let axes = distinct_axes(c.optional(3).map(ints).transpose()?, rank)?;
    if pads.len() != 2 * axes.len() {
        return fail(format!("{} pads do not fit {} axes", pads.len(), axes.len()));
    }
    let mode = c.node.text("mode").unwrap_or("constant");
    let mut shape = x.shape().to_vec();
    for (i, &axis) in axes.iter().enumerate() {
        let length = i128::from(pads[i]) + i128::from(pads[i + axes.len()]) + shape[axis] as i128;
        let Ok(length) = usize::try_from(length) else {
            return fail(format!("pads {pads:?} leave {length} elements along axis {axis} of shape {:?}", x.shape()));
        };
        shape[axis] = length;
    }
    let filled = c.optional(2).filter(|v| !v.shape().contains(&0));
    for_held!(x, T => {
        room::<T>(&shape)?;
        let fill = match filled {
            Some(v) if held(v)? == held(x)? => with::<T, _>(v, |s| s[0])?,
            Some(v) => return fail(format!("the fill value is of type {}, the data of type {}", v.dtype, x.dtype)),
            None => T::from_f64(f64::from(c.float("value", 0.0))),
        };
        let mut out = x.clone();
        for (i, &axis) in axes.iter().enumerate() {
            let (before, after) = (pads[i], pads[i + axes.len()]);
            if before != 0 || after != 0 {
                out = take_or::<T>(&out, axis, &pad_places(mode, before, after, x.shape()[axis])?, fill)?;
            }
        }
        Ok(vec![out])
    })
}

/// The axes given, each once; all where none are given.
fn distinct_axes(given: Option<Vec<i64>>, rank: usize) -> OpResult<Vec<usize>> {
    let Some(given) = given else { return Ok((0..rank).collect()) };
    let axes = given.iter().map(|&a| axis_of(a, rank)).collect::<OpResult<Vec<usize>>>()?;
    if (1..axes.len()).any(|i| axes[..i].contains(&axes[i])) {
        return fail(format!("the axes {given:?} name one axis twice"));
    }
    Ok(axes)
}

/// Negative pads cut first; what is left is then padded.
fn pad_places(mode: &str, before: i64, after: i64, length: usize) -> OpResult<Places> {
    let cut = |pad: i64| if pad < 0 { pad.unsigned_abs() as usize } else { 0 };
    let (first, last) = (cut(before), length.saturating_sub(cut(after)));
    // Together the pads cut no more than there is, but each alone may.
    let missing = (first + cut(after)).saturating_sub(length) as i64;
    let (n, before, after) = (last.saturating_sub(first) as i64, before.max(0), after.max(0));
    (-before..n + after - missing)
        .map(|i| {
            if (0..n).contains(&i) {
                return Ok(Some(first + i as usize));
            }
            let from = match mode {
                "constant" => return Ok(None),
                _ if n == 0 => return fail("an empty axis has no edge to pad with"),
                "edge" => i.clamp(0, n - 1),
                "wrap" => i.rem_euclid(n),
                "reflect" if n == 1 => 0,
                "reflect" => {
                    let turn = i.rem_euclid(2 * (n - 1));
                    if turn < n { turn } else { 2 * (n - 1) - turn }
                }
                other => return fail(format!("padding mode \"{other}\" is unknown")),
            };
            Ok(Some(first + from as usize))
        })
        .collect()
}

fn center_crop_pad(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, wanted) = (c.input(0)?, ints(c.input(1)?)?);
    let rank = x.shape().len();
    let axes = distinct_axes(c.node.ints("axes").map(<[i64]>::to_vec), rank)?;
    if wanted.len() != axes.len() || wanted.iter().any(|&n| n < 0) {
        return fail(format!("the sizes {wanted:?} do not fit {} axes", axes.len()));
    }
    let mut shape = x.shape().to_vec();
    for (&axis, &n) in axes.iter().zip(&wanted) {
        shape[axis] = n as usize;
    }
    for_held!(x, T => room::<T>(&shape))?;
    let mut out = x.clone();
    for (&axis, &to) in axes.iter().zip(&wanted) {
        let from = x.shape()[axis] as i64;
        if to != from {
            // Crops begin, and pads are smaller, on the left.
            let shift = if to < from { (from - to) / 2 } else { -((to - from) / 2) };
            let places: Places = (shift..shift + to).map(|i| (0..from).contains(&i).then_some(i as usize)).collect();
            out = take(&out, axis, &places, 0.0)?;
        }
    }
    Ok(vec![out])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(mode: &str, before: i64, after: i64) -> Vec<Option<usize>> {
        pad_places(mode, before, after, 4).unwrap()
    }

    #[test]
    fn pads_reach_where_numpy_reaches() {
        let all = |v: &[usize]| v.iter().map(|i| Some(*i)).collect::<Places>();
        assert_eq!(places("reflect", 5, 4), all(&[1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1]));
        assert_eq!(places("wrap", 5, 1), all(&[3, 0, 1, 2, 3, 0, 1, 2, 3, 0]));
        assert_eq!(places("edge", 2, -3), all(&[0, 0, 0]));
        assert_eq!(places("constant", -3, 1), vec![Some(3), None]);
        assert_eq!(places("constant", -5, 3), vec![None, None]);
        assert_eq!(places("constant", 3, -5), vec![None, None]);
        assert!(pad_places("edge", 1, 0, 0).is_err());
    }
}
