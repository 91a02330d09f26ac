//! `Resize` and `Upsample`: one axis after the other.

use super::index::{Places, take};
use super::{Call, Operator};
use crate::engine::exec::data::{Number, OpResult, axis_of, fail, floats, for_held, ints, make, unsupported, with};
use crate::engine::exec::memory::room;
use crate::engine::tensor::Value;

pub(super) fn find(op: &str) -> Option<Operator> {
    matches!(op, "Resize" | "Upsample").then_some(resize as Operator)
}

/// How one axis changes.
struct Axis {
    from: usize,
    to: usize,
    scale: f64,
}

fn resize(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let x = c.input(0)?;
    // Operator set 10 and `Upsample` have (x, scales); since 11 it is (x, roi, scales, sizes).
    let early = c.node.op == "Upsample" || c.opset < 11;
    let scales = if early { c.optional(1) } else { c.optional(2) };
    let sizes = if early { None } else { c.optional(3) };
    let axes = axes(c, x, scales, sizes)?;
    for_held!(x, T => room::<T>(&axes.iter().map(|a| a.to).collect::<Vec<usize>>()))?;
    let mode = c.node.text("mode").unwrap_or("nearest");
    let transform = if early { "asymmetric" } else { c.node.text("coordinate_transformation_mode").unwrap_or("half_pixel") };
    if transform == "tf_crop_and_resize" || c.int("antialias", 0) != 0 {
        return unsupported(format!("resizing with \"{transform}\" or antialiasing is not supported"));
    }
    let nearest = if early { "floor" } else { c.node.text("nearest_mode").unwrap_or("round_prefer_floor") };
    let mut out = x.clone();
    for (at, axis) in axes.iter().enumerate().filter(|(_, a)| a.from != a.to || a.scale != 1.0) {
        if axis.from == 0 {
            return fail("an empty axis cannot be resized");
        }
        let places = (0..axis.to).map(|i| source(transform, i as f64, axis)).collect::<OpResult<Vec<f64>>>()?;
        out = match mode {
            "nearest" => take(&out, at, &places.iter().map(|p| Some(rounded(nearest, *p, axis.from))).collect::<Places>(), 0.0)?,
            "linear" | "bilinear" => blend(&out, at, &places, |t| vec![(0, 1.0 - t), (1, t)], false)?,
            "cubic" => {
                let a = f64::from(c.float("cubic_coeff_a", -0.75));
                blend(&out, at, &places, |t| cubic(a, t), c.int("exclude_outside", 0) != 0)?
            }
            other => return fail(format!("resize mode \"{other}\" is unknown")),
        };
    }
    Ok(vec![out])
}

fn axes(c: &Call<'_>, x: &Value, scales: Option<&Value>, sizes: Option<&Value>) -> OpResult<Vec<Axis>> {
    let rank = x.shape().len();
    let chosen: Vec<usize> = match c.node.ints("axes") {
        Some(axes) => axes.iter().map(|&a| axis_of(a, rank)).collect::<OpResult<_>>()?,
        None => (0..rank).collect(),
    };
    let mut all: Vec<Axis> = x.shape().iter().map(|&n| Axis { from: n, to: n, scale: 1.0 }).collect();
    let given: Vec<f64> = match scales.map(floats).transpose()? {
        Some(v) if !v.is_empty() => v.into_iter().map(f64::from).collect(),
        _ => c
            .node
            .attributes
            .get("scales")
            .and_then(|a| {
                if let crate::engine::graph::Attribute::Floats(v) = a {
                    Some(v.iter().map(|s| f64::from(*s)).collect())
                } else {
                    None
                }
            })
            .unwrap_or_default(),
    };
    if let Some(sizes) = sizes.map(ints).transpose()?.filter(|s| !s.is_empty()) {
        if sizes.len() != chosen.len() {
            return fail(format!("{} sizes do not fit {} axes", sizes.len(), chosen.len()));
        }
        for (&axis, &size) in chosen.iter().zip(&sizes) {
            all[axis].to = size.max(0) as usize;
            all[axis].scale = size as f64 / all[axis].from.max(1) as f64;
        }
        keep_aspect(c, &chosen, &mut all);
    } else {
        if given.len() != chosen.len() {
            return fail(format!("{} scales do not fit {} axes", given.len(), chosen.len()));
        }
        for (&axis, &scale) in chosen.iter().zip(&given) {
            all[axis].to = (all[axis].from as f64 * scale).floor() as usize;
            all[axis].scale = scale;
        }
    }
    Ok(all)
}

fn keep_aspect(c: &Call<'_>, chosen: &[usize], all: &mut [Axis]) {
    let scales = chosen.iter().map(|&a| all[a].scale);
    let scale = match c.node.text("keep_aspect_ratio_policy") {
        Some("not_larger") => scales.fold(f64::INFINITY, f64::min),
        Some("not_smaller") => scales.fold(0.0, f64::max),
        _ => return,
    };
    for &a in chosen {
        all[a].scale = scale;
        all[a].to = (all[a].from as f64 * scale).round() as usize;
    }
}

/// Where output `i` lies among the inputs.
fn source(transform: &str, i: f64, axis: &Axis) -> OpResult<f64> {
    let (from, to) = (axis.from as f64, axis.to as f64);
    Ok(match transform {
        "half_pixel" => (i + 0.5) / axis.scale - 0.5,
        "pytorch_half_pixel" if axis.to > 1 => (i + 0.5) / axis.scale - 0.5,
        // A scale may ask for a length that is no whole number: ONNX's vectors count with it as it is.
        "align_corners" if axis.to > 1 => {
            let length = axis.scale * from;
            i * (from - 1.0) / (if (length - to).abs() < 1e-4 { to } else { length } - 1.0)
        }
        "pytorch_half_pixel" | "align_corners" => 0.0,
        "asymmetric" => i / axis.scale,
        "half_pixel_symmetric" => {
            let adjustment = to / (axis.scale * from);
            let center = from / 2.0;
            center * (1.0 - adjustment) + (i + 0.5) / axis.scale - 0.5
        }
        other => return fail(format!("coordinate transformation \"{other}\" is unknown")),
    })
}

fn rounded(mode: &str, place: f64, length: usize) -> usize {
    let at = match mode {
        "floor" => place.floor(),
        "ceil" => place.ceil(),
        "round_prefer_ceil" => (place + 0.5).floor(),
        _ => (place - 0.5).ceil(),
    };
    at.clamp(0.0, length as f64 - 1.0) as usize
}

/// Weights of the neighbors −1, 0, 1, 2 at distance `t` (Keys 1981).
fn cubic(a: f64, t: f64) -> Vec<(i64, f64)> {
    let near = |d: f64| ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0;
    let far = |d: f64| ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a;
    vec![(-1, far(t + 1.0)), (0, near(t)), (1, near(1.0 - t)), (2, far(2.0 - t))]
}

/// Weighted sums of neighbors along one axis.
fn blend(x: &Value, axis: usize, places: &[f64], taps: impl Fn(f64) -> Vec<(i64, f64)>, inside_only: bool) -> OpResult<Value> {
    let mut shape = x.shape().to_vec();
    let length = std::mem::replace(&mut shape[axis], places.len());
    let (outer, inner): (usize, usize) = (shape[..axis].iter().product(), shape[axis + 1..].iter().product());
    let plan: Vec<Vec<(usize, f64)>> = places
        .iter()
        .map(|p| {
            let base = p.floor();
            let mut row: Vec<(i64, f64)> = taps(p - base).into_iter().map(|(d, w)| (base as i64 + d, w)).collect();
            if inside_only {
                row.retain(|(i, _)| (0..length as i64).contains(i));
                let sum: f64 = row.iter().map(|r| r.1).sum();
                for r in &mut row {
                    r.1 /= sum;
                }
            }
            row.into_iter().map(|(i, w)| (i.clamp(0, length as i64 - 1) as usize, w)).collect()
        })
        .collect();
    for_held!(x, T => {
        let values = with::<T, _>(x, |s| {
            let mut out: Vec<T> = Vec::with_capacity(outer * places.len() * inner);
            for block in s.chunks((length * inner).max(1)).take(outer) {
                for row in &plan {
                    out.extend((0..inner).map(|j| T::from_f64(row.iter().map(|(i, w)| block[i * inner + j].to_f64() * w).sum())));
                }
            }
            out
        })?;
        make::<T>(x.dtype, values, &shape)
    })
}
