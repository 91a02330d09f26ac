//! Losses, and other functions of whole rows that take sums in f64.

use super::{Call, Operator};
use crate::engine::exec::data::{Held, Number, OpResult, axis_of, fail, for_held, held, ints, make, with};
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "NegativeLogLikelihoodLoss" => |c| Ok(vec![loss(c, c.input(0)?, &reals(c.input(0)?)?)?]),
        "SoftmaxCrossEntropyLoss" => cross_entropy,
        "MeanVarianceNormalization" => mean_variance,
        "Hardmax" => hardmax,
        "Shrink" => shrink,
        _ => return None,
    })
}

/// The elements as f64.
fn reals(value: &Value) -> OpResult<Vec<f64>> {
    for_held!(value, T => with::<T, _>(value, |x| x.iter().map(|v| v.to_f64()).collect()))
}

/// A value of a floating-point type, rounded to it.
fn real(dtype: DType, values: Vec<f64>, shape: &[usize]) -> OpResult<Value> {
    super::cast::cast_to(&make(DType::F64, values, shape)?, dtype)
}

/// `log_probabilities` are those of `x`, `[samples, classes, places…]`.
fn loss(c: &Call<'_>, x: &Value, log_probabilities: &[f64]) -> OpResult<Value> {
    let &[samples, classes, ref places @ ..] = x.shape() else {
        return fail(format!("samples and classes are needed, not shape {:?}", x.shape()));
    };
    let target = c.input(1)?;
    let wanted: Vec<usize> = [samples].into_iter().chain(places.iter().copied()).collect();
    if target.shape() != wanted {
        return fail(format!("targets of shape {:?} should have {wanted:?}", target.shape()));
    }
    let weights = c.optional(2).map(reals).transpose()?;
    if weights.as_ref().is_some_and(|w| w.len() != classes) {
        return fail(format!("one weight is needed for each of {classes} classes"));
    }
    let ignored = c.node.int("ignore_index");
    let inner: usize = places.iter().product();
    let (mut losses, mut total) = (Vec::with_capacity(samples * inner), 0.0);
    for (i, class) in ints(target)?.into_iter().enumerate() {
        if ignored == Some(class) {
            losses.push(0.0);
            continue;
        }
        let Some(class) = usize::try_from(class).ok().filter(|k| *k < classes) else {
            return fail(format!("target {class} is none of {classes} classes"));
        };
        let weight = weights.as_ref().map_or(1.0, |w| w[class]);
        total += weight;
        losses.push(-weight * log_probabilities[(i / inner * classes + class) * inner + i % inner]);
    }
    let sum: f64 = losses.iter().sum();
    match c.node.text("reduction").unwrap_or("mean") {
        "none" => real(x.dtype, losses, &wanted),
        "sum" => real(x.dtype, vec![sum], &[]),
        "mean" => real(x.dtype, vec![sum / total], &[]),
        other => fail(format!("reduction \"{other}\" is none of none, sum, mean")),
    }
}

fn cross_entropy(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let &[samples, classes, ref places @ ..] = x.shape() else {
        return fail(format!("samples and classes are needed, not shape {:?}", x.shape()));
    };
    let inner: usize = places.iter().product();
    let mut logs = reals(x)?;
    for sample in 0..samples {
        for place in 0..inner {
            let at = |k: usize| (sample * classes + k) * inner + place;
            let top = (0..classes).map(|k| logs[at(k)]).fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = (0..classes).map(|k| (logs[at(k)] - top).exp()).sum();
            for k in 0..classes {
                logs[at(k)] -= top + sum.ln();
            }
        }
    }
    Ok(vec![loss(c, x, &logs)?, real(x.dtype, logs, x.shape())?])
}

/// `(x − mean) / (standard deviation + 1e-9)` over some axes.
fn mean_variance(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let rank = x.shape().len();
    let axes = c.node.ints("axes").unwrap_or(&[0, 2, 3]);
    let axes = axes.iter().map(|a| axis_of(*a, rank)).collect::<OpResult<Vec<usize>>>()?;
    let strides = crate::engine::exec::data::strides_of(x.shape());
    let mut values = reals(x)?;
    // The group of an element: its place along the axes that are kept.
    let mut groups = vec![0; values.len()];
    let mut count = 1;
    for axis in (0..rank).rev().filter(|a| !axes.contains(a)) {
        for (i, group) in groups.iter_mut().enumerate() {
            *group += i / strides[axis] % x.shape()[axis] * count;
        }
        count *= x.shape()[axis];
    }
    let size = values.len() as f64 / count.max(1) as f64;
    let sums = |values: &[f64], f: fn(f64) -> f64| {
        let mut sums = vec![0.0; count];
        groups.iter().zip(values).for_each(|(g, v)| sums[*g] += f(*v) / size);
        sums
    };
    let means = sums(&values, |v| v);
    groups.iter().zip(&mut values).for_each(|(g, v)| *v -= means[*g]);
    let variances = sums(&values, |v| v * v);
    groups.iter().zip(&mut values).for_each(|(g, v)| *v /= variances[*g].sqrt() + 1e-9);
    Ok(vec![real(x.dtype, values, x.shape())?])
}

/// 1 at the first largest element of each row, 0 elsewhere. Before operator set 13 everything from
/// `axis` on is one row.
fn hardmax(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let axis = axis_of(c.int("axis", if c.opset < 13 { 1 } else { -1 }), x.shape().len())?;
    let (length, inner) = if c.opset < 13 {
        (x.shape()[axis..].iter().product(), 1)
    } else {
        (x.shape()[axis], x.shape()[axis + 1..].iter().product::<usize>())
    };
    let values = reals(x)?;
    let mut out = vec![0.0; values.len()];
    for block in 0..values.len() / (length * inner).max(1) {
        for place in 0..inner {
            let at = |k: usize| (block * length + k) * inner + place;
            let best = (1..length).fold(0, |best, k| if values[at(k)] > values[at(best)] { k } else { best });
            out[at(best)] = 1.0;
        }
    }
    Ok(vec![real(x.dtype, out, x.shape())?])
}

/// `x + bias` below `−lambd`, `x − bias` above `lambd`, else 0.
fn shrink(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    let (bias, limit) = (f64::from(c.float("bias", 0.0)), f64::from(c.float("lambd", 0.5)));
    if held(x)? == Held::Bool {
        return fail("Shrink needs numbers, not booleans");
    }
    let shrunk = |v: f64| match v {
        v if v < -limit => v + bias,
        v if v > limit => v - bias,
        _ => 0.0,
    };
    Ok(vec![real(x.dtype, reals(x)?.into_iter().map(shrunk).collect(), x.shape())?])
}
