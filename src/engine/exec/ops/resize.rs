//! `Resize` and `Upsample`: one axis after the other.

use super::cast::cast_to;
use super::index::{Places, take};
use super::{Call, Operator};
use crate::engine::exec::data::{
    Held, OpResult, axis_of, channels_at_end, fail, floats, held, ints, is_channels_last, like, make, with,
};
use crate::engine::exec::memory::room;
use crate::engine::graph::Attribute;
use crate::engine::kernels::resample::{Taps, resample};
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    matches!(op, "Resize" | "Upsample").then_some(resize as Operator)
}

/// How one axis changes.
#[derive(Debug, Clone, Copy)]
struct Axis {
    from: usize,
    to: usize,
    scale: f64,
    /// First and last place to read, as parts of the axis; only `tf_crop_and_resize` asks.
    region: (f64, f64),
}

impl Axis {
    fn changes(&self, transform: &str) -> bool {
        self.from != self.to || self.scale != 1.0 || (transform == "tf_crop_and_resize" && self.region != (0.0, 1.0))
    }
}

fn resize(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let given = c.input(0)?;
    // Operator set 10 and `Upsample` have (x, scales); since 11 it is (x, roi, scales, sizes).
    let early = c.node.op == "Upsample" || c.opset < 11;
    let transform = if early { "asymmetric" } else { c.node.text("coordinate_transformation_mode").unwrap_or("half_pixel") };
    let mut axes = axes(c, given, early)?;
    let shape: Vec<usize> = axes.iter().map(|a| a.to).collect();
    room::<f64>(&shape)?;
    // Values whose channels lie last stay so.
    let last = is_channels_last(given) && !given.data.is_contiguous();
    let view = if last { like(given, channels_at_end(&given.data)?) } else { given.clone() };
    if last {
        axes[1..].rotate_left(1);
    }
    let mode = c.node.text("mode").unwrap_or("nearest");
    let mut out = match mode {
        "nearest" => nearest(c, &view, &axes, transform, early)?,
        "linear" | "bilinear" => blended(c, &view, &axes, transform, Filter::Linear)?,
        "cubic" => blended(c, &view, &axes, transform, Filter::Cubic(f64::from(c.float("cubic_coeff_a", -0.75))))?,
        other => return fail(format!("resize mode \"{other}\" is unknown")),
    };
    if transform == "tf_crop_and_resize" {
        out = outside(c, &out, &axes, if mode == "nearest" { Precision::Single } else { Precision::Double })?;
    }
    if last {
        let rank = axes.len();
        let order: Vec<usize> = [0, rank - 1].into_iter().chain(1..rank - 1).collect();
        out = like(&out, out.data.permute(order)?);
    }
    Ok(vec![out])
}

fn nearest(c: &Call<'_>, x: &Value, axes: &[Axis], transform: &str, early: bool) -> OpResult<Value> {
    if c.int("antialias", 0) != 0 {
        return fail("antialiasing of the nearest element is not defined; use mode \"linear\" or \"cubic\"");
    }
    let mode = if early { "floor" } else { c.node.text("nearest_mode").unwrap_or("round_prefer_floor") };
    let mut out = x.clone();
    for (at, axis) in axes.iter().enumerate().filter(|(_, a)| a.changes(transform)) {
        let places = sources(transform, axis, Precision::Single)?;
        out = take(&out, at, &places.iter().map(|p| Some(rounded(mode, *p, axis.from))).collect::<Places>(), 0.0)?;
    }
    Ok(out)
}

fn blended(c: &Call<'_>, x: &Value, axes: &[Axis], transform: &str, filter: Filter) -> OpResult<Value> {
    let inside_only = c.int("exclude_outside", 0) != 0;
    // Whole numbers are computed with as real ones, and cut once at the end.
    let mut out = match held(x)? {
        Held::Int => cast_to(x, DType::F64)?,
        Held::Bool => return fail("truth values can only be resized with mode \"nearest\""),
        Held::F32 | Held::F64 => x.clone(),
    };
    for (at, axis) in axes.iter().enumerate().filter(|(_, a)| a.changes(transform)) {
        let stretch = if c.int("antialias", 0) != 0 { axis.scale.min(1.0) } else { 1.0 };
        let taps: Taps<f64> = sources(transform, axis, Precision::Double)?
            .iter()
            .map(|p| filter.taps(*p, axis.from, stretch, inside_only))
            .collect();
        let mut shape = out.shape().to_vec();
        shape[at] = axis.to;
        let inner: usize = shape[at + 1..].iter().product();
        out = if held(&out)? == Held::F64 {
            make(out.dtype, with::<f64, _>(&out, |s| c.install(|| resample(s, axis.from, inner, &taps)))?, &shape)?
        } else {
            let taps = taps.iter().map(|row| row.iter().map(|(i, w)| (*i, *w as f32)).collect()).collect();
            make(out.dtype, with::<f32, _>(&out, |s| c.install(|| resample(s, axis.from, inner, &taps)))?, &shape)?
        };
    }
    let Some((low, high)) = x.dtype.integer_range() else { return Ok(out) };
    let values = with::<f64, _>(&out, |s| s.iter().map(|v| whole(*v).clamp(low, high)).collect())?;
    make::<i64>(x.dtype, values, out.shape())
}

/// What is before the point; a sum that misses a whole number by rounding alone is that number.
fn whole(v: f64) -> i64 {
    if (v - v.round()).abs() < 1e-9 * v.abs().max(1.0) { v.round() as i64 } else { v as i64 }
}

/// Puts `extrapolation_value` where the sources lie outside the input.
fn outside(c: &Call<'_>, x: &Value, axes: &[Axis], precision: Precision) -> OpResult<Value> {
    let fill = f64::from(c.float("extrapolation_value", 0.0));
    let mut out = x.clone();
    for (at, axis) in axes.iter().enumerate().filter(|(_, a)| a.changes("tf_crop_and_resize")) {
        let inside = |p: &f64| (0.0..=axis.from as f64 - 1.0).contains(p);
        let places: Places =
            sources("tf_crop_and_resize", axis, precision)?.iter().enumerate().map(|(i, p)| inside(p).then_some(i)).collect();
        if places.iter().any(Option::is_none) {
            out = take(&out, at, &places, fill)?;
        }
    }
    Ok(out)
}

/// Scales of an old node are an attribute or its second input.
fn scales_of(c: &Call<'_>, early: bool) -> OpResult<Vec<f32>> {
    match (c.optional(if early { 1 } else { 2 }), c.node.attributes.get("scales")) {
        (Some(scales), _) if !scales.shape().contains(&0) => floats(scales),
        (_, Some(Attribute::Floats(scales))) => Ok(scales.clone()),
        _ => Ok(Vec::new()),
    }
}

fn axes(c: &Call<'_>, x: &Value, early: bool) -> OpResult<Vec<Axis>> {
    let rank = x.shape().len();
    let chosen: Vec<usize> = match c.node.ints("axes") {
        Some(axes) => axes.iter().map(|&a| axis_of(a, rank)).collect::<OpResult<_>>()?,
        None => (0..rank).collect(),
    };
    let mut all: Vec<Axis> = x.shape().iter().map(|&n| Axis { from: n, to: n, scale: 1.0, region: (0.0, 1.0) }).collect();
    let sizes = if early { None } else { c.optional(3) };
    if let Some(sizes) = sizes.map(ints).transpose()?.filter(|s| !s.is_empty()) {
        if sizes.len() != chosen.len() {
            return fail(format!("{} sizes do not fit {} axes", sizes.len(), chosen.len()));
        }
        for (&axis, &size) in chosen.iter().zip(&sizes) {
            let Ok(size) = usize::try_from(size) else { return fail(format!("a size of {size} cannot be made")) };
            all[axis].to = size;
            all[axis].scale = size as f64 / all[axis].from.max(1) as f64;
        }
        keep_aspect(c, &chosen, &mut all);
    } else {
        let scales = scales_of(c, early)?;
        if scales.len() != chosen.len() {
            return fail(format!("{} scales do not fit {} axes", scales.len(), chosen.len()));
        }
        for (&axis, &scale) in chosen.iter().zip(&scales) {
            if !(scale > 0.0 && scale.is_finite()) {
                return fail(format!("a scale of {scale} cannot be used; give a positive one"));
            }
            // In f32, as the scale is: 10 places times 0.7 are 7.
            all[axis].to = (all[axis].from as f32 * scale).floor() as usize;
            all[axis].scale = f64::from(scale);
        }
    }
    if let Some(empty) = all.iter().position(|a| a.from == 0 && a.to > 0) {
        return fail(format!("axis {empty} is empty and cannot be resized"));
    }
    if c.node.text("coordinate_transformation_mode") == Some("tf_crop_and_resize") {
        let Some(regions) = c.optional(1).map(floats).transpose()?.filter(|r| r.len() == 2 * chosen.len()) else {
            return fail("\"tf_crop_and_resize\" needs a region: the input \"roi\" with two numbers per axis");
        };
        for (i, &axis) in chosen.iter().enumerate() {
            all[axis].region = (f64::from(regions[i]), f64::from(regions[i + chosen.len()]));
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
        // Halves are rounded up.
        all[a].to = (all[a].from as f64 * scale + 0.5).floor() as usize;
    }
}

/// In which numbers places are computed: f32 decides ties of the nearest element as ONNX Runtime does, f64
/// gives weights all their digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Precision {
    Single,
    Double,
}

/// Where each output lies among the inputs.
fn sources(transform: &str, axis: &Axis, precision: Precision) -> OpResult<Vec<f64>> {
    // A sum, product or quotient of f32 is the one of f64 rounded.
    let r = |v: f64| if precision == Precision::Single { f64::from(v as f32) } else { v };
    let (from, to, scale) = (axis.from as f64, axis.to as f64, r(axis.scale));
    // What the output would measure if sizes were not whole.
    let width = r(from * scale);
    let half_pixel = |i: f64, offset: f64| r(r(offset + r((i + 0.5) / scale)) - 0.5);
    let source = |i: f64| match transform {
        "half_pixel" => Some(half_pixel(i, 0.0)),
        "asymmetric" => Some(r(i / scale)),
        "pytorch_half_pixel" => Some(if axis.to > 1 { half_pixel(i, 0.0) } else { 0.0 }),
        "align_corners" => Some(if axis.to > 1 { r(r(i * (from - 1.0)) / r(width - 1.0)) } else { 0.0 }),
        "half_pixel_symmetric" => Some(half_pixel(i, r(from / 2.0 * r(1.0 - r(to / width))))),
        "tf_crop_and_resize" => {
            let ((start, end), last) = (axis.region, from - 1.0);
            Some(if axis.to > 1 {
                r(r(start * last) + r(r(r(i * r(end - start)) * last) / (to - 1.0)))
            } else {
                r(r(0.5 * r(start + end)) * last)
            })
        }
        _ => None,
    };
    match (0..axis.to).map(|i| source(i as f64)).collect() {
        Some(places) => Ok(places),
        None => fail(format!("coordinate transformation \"{transform}\" is unknown")),
    }
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

/// How a place between elements is made of them.
#[derive(Debug, Clone, Copy)]
enum Filter {
    Linear,
    /// Keys 1981, with its `a`.
    Cubic(f64),
}

impl Filter {
    /// The weight of an element at distance `d`.
    fn weight(self, d: f64) -> f64 {
        let d = d.abs();
        match self {
            Self::Linear => (1.0 - d).max(0.0),
            Self::Cubic(a) if d <= 1.0 => ((a + 2.0) * d - (a + 3.0)) * d * d + 1.0,
            Self::Cubic(a) if d < 2.0 => ((a * d - 5.0 * a) * d + 8.0 * a) * d - 4.0 * a,
            Self::Cubic(_) => 0.0,
        }
    }

    /// Elements of an axis of `length` around `place` and their weights. `stretch` below 1 widens the
    /// filter against aliases. Elements beyond the ends are those at the ends, or have no weight.
    fn taps(self, place: f64, length: usize, stretch: f64, inside_only: bool) -> Vec<(usize, f64)> {
        let reach = if matches!(self, Self::Linear) { 1.0 } else { 2.0 } / stretch;
        let last = length as f64 - 1.0;
        // Far outside everything is the element at the end.
        let place = if place.is_nan() { 0.0 } else { place.clamp(-reach - 1.0, last + reach + 1.0) };
        let (first, end) = ((place - reach).ceil() as i64, (place + reach).floor() as i64);
        let mut taps: Vec<(usize, f64)> = Vec::new();
        for i in first..=end {
            let at = (i as f64).clamp(0.0, last);
            let weight = self.weight((i as f64 - place) * stretch);
            if weight == 0.0 || (inside_only && at != i as f64) {
                continue;
            }
            match taps.last_mut() {
                Some((same, sum)) if *same == at as usize => *sum += weight,
                _ => taps.push((at as usize, weight)),
            }
        }
        let sum: f64 = taps.iter().map(|t| t.1).sum();
        if (inside_only || stretch < 1.0) && sum != 0.0 {
            for tap in &mut taps {
                tap.1 /= sum;
            }
        }
        taps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_whole_numbers_survive_rounding() {
        let axis = Axis { from: 10, to: 6, scale: f64::from(0.6_f32), region: (0.0, 1.0) };
        assert_eq!(sources("half_pixel", &axis, Precision::Single).unwrap()[1], 2.0);
        assert!(sources("half_pixel", &axis, Precision::Double).unwrap()[1] < 2.0);
        assert!(sources("sideways", &axis, Precision::Double).is_err());
        assert_eq!([40.999_999_999_99, 40.9, -3.7].map(whole), [41, 40, -3]);
    }

    #[test]
    fn taps_beyond_the_ends_are_those_at_the_ends() {
        assert_eq!(Filter::Linear.taps(1.25, 4, 1.0, false), [(1, 0.75), (2, 0.25)]);
        assert_eq!(Filter::Linear.taps(-0.25, 4, 1.0, false), [(0, 1.0)]);
        assert_eq!(Filter::Linear.taps(1e300, 4, 1.0, false), [(3, 1.0)]);
        let cubic = Filter::Cubic(-0.75).taps(0.5, 4, 1.0, true);
        assert_eq!(cubic.iter().map(|t| t.0).collect::<Vec<_>>(), [0, 1, 2]);
        assert!((cubic.iter().map(|t| t.1).sum::<f64>() - 1.0).abs() < 1e-12);
        // Twice as wide: distances of ½ and 1½ weigh as ¼ and ¾ do.
        assert_eq!(Filter::Linear.taps(1.5, 4, 0.5, false), [(0, 0.125), (1, 0.375), (2, 0.375), (3, 0.125)]);
    }
}
