//! Shape rules that need attributes or the contents of inputs.

use super::contents::Entry;
use super::shapes::{Known, Shape, axis, numbers, product};
use crate::engine::graph::{Attribute, Auto, Dim, Node, slice_places, transposed_axes, window_axes};

/// Convolutions and pooling.
pub(super) fn windows(node: &Node, known: &Known) -> Option<Shape> {
    let input = known.shape(node.input(0)?)?;
    let weight = || known.shape(node.input(1)?)?.iter().map(Dim::known).collect::<Option<Vec<usize>>>();
    let groups = node.int("group").unwrap_or(1).max(1) as usize;
    let (channels, kernel) = match node.op.as_str() {
        "Conv" => {
            let weight = weight()?;
            (Dim::Known(*weight.first()?), weight.get(2..)?.to_vec())
        }
        "ConvTranspose" => {
            let weight = weight()?;
            (Dim::Known(weight.get(1)?.checked_mul(groups)?), weight.get(2..)?.to_vec())
        }
        _ => (input.get(1)?.clone(), node.ints("kernel_shape")?.iter().map(|&k| k.max(1) as usize).collect()),
    };
    let mut shape = vec![input.first()?.clone(), channels];
    let spatial = input.get(2..)?;
    let sizes: Option<Vec<usize>> = spatial.iter().map(Dim::known).collect();
    let Some(sizes) = sizes else {
        shape.extend(spatial.iter().map(|_| Dim::Unknown));
        return Some(shape);
    };
    let output = match node.op.as_str() {
        "ConvTranspose" => transposed_axes(node, &sizes, &kernel),
        "Conv" => window_axes(node, &sizes, &kernel, Auto::Conv),
        _ => window_axes(node, &sizes, &kernel, Auto::Window { ceil: node.int("ceil_mode").unwrap_or(0) != 0 }),
    };
    shape.extend(output.ok()?.output.into_iter().map(Dim::Known));
    Some(shape)
}

pub(super) fn reshape(node: &Node, known: &Known) -> Option<Shape> {
    let wanted = match node.ints("shape") {
        Some(v) => v.iter().map(|v| Entry::Int(*v)).collect(),
        None => known.entries(node.input(1)?)?,
    };
    let input = known.shape(node.input(0)?);
    let keep_zero = node.int("allowzero").unwrap_or(0) != 0;
    let mut free = None;
    let mut shape: Shape = Vec::with_capacity(wanted.len());
    for (i, entry) in wanted.iter().enumerate() {
        shape.push(match entry {
            Entry::Int(0) if !keep_zero => input.as_ref().and_then(|s| s.get(i)).cloned().unwrap_or(Dim::Unknown),
            Entry::Int(-1) => {
                free = Some(i);
                Dim::Known(1)
            }
            other => other.dim(),
        });
    }
    if let Some(i) = free {
        shape[i] = input.map_or(Dim::Unknown, |input| rest(&input, &shape));
    }
    Some(shape)
}

/// What `-1` stands for: the elements that the other dimensions leave, free dimensions cancelled.
fn rest(input: &[Dim], others: &[Dim]) -> Dim {
    let mut left: Vec<&Dim> = input.iter().filter(|d| d.known().is_none()).collect();
    for dim in others.iter().filter(|d| d.known().is_none()) {
        match left.iter().position(|d| *d == dim && *dim != Dim::Unknown) {
            Some(i) => {
                left.remove(i);
            }
            None => return Dim::Unknown,
        }
    }
    let (Some(total), Some(taken)) = (numbers(input), numbers(others)) else { return Dim::Unknown };
    if taken == 0 || !total.is_multiple_of(taken) {
        return Dim::Unknown;
    }
    let mut dims: Shape = left.into_iter().cloned().collect();
    dims.push(Dim::Known(total / taken));
    product(&dims)
}

pub(super) fn squeeze(node: &Node, known: &Known) -> Option<Shape> {
    let shape = known.shape(node.input(0)?)?;
    let gone: Vec<usize> = match known.ints(node, "axes", 1) {
        Some(axes) => axes.iter().map(|&a| axis(a, shape.len())).collect::<Option<_>>()?,
        None if node.input(1).is_some() || shape.iter().any(|d| d.known().is_none()) => return None,
        None => (0..shape.len()).filter(|&i| shape[i] == Dim::Known(1)).collect(),
    };
    Some(shape.into_iter().enumerate().filter(|(i, _)| !gone.contains(i)).map(|(_, d)| d).collect())
}

pub(super) fn unsqueeze(node: &Node, known: &Known) -> Option<Shape> {
    let shape = known.shape(node.input(0)?)?;
    let axes = known.ints(node, "axes", 1)?;
    let rank = shape.len() + axes.len();
    let new: Vec<usize> = axes.iter().map(|&a| axis(a, rank)).collect::<Option<_>>()?;
    let mut old = shape.into_iter();
    (0..rank).map(|i| if new.contains(&i) { Some(Dim::Known(1)) } else { old.next() }).collect()
}

pub(super) fn split(node: &Node, known: &Known) -> Option<Vec<Option<Shape>>> {
    let shape = known.shape(node.input(0)?)?;
    let along = axis(node.int("axis").unwrap_or(0), shape.len())?;
    let count = node.outputs.len();
    let given = known.ints(node, "split", 1);
    Some(
        (0..count)
            .map(|i| {
                let size = match (&given, &shape[along]) {
                    (Some(sizes), _) => sizes.get(i).and_then(|n| usize::try_from(*n).ok()).map(Dim::Known),
                    // Sizes that are computed are not known; absent ones are equal.
                    (None, _) if node.input(1).is_some() => None,
                    (None, Dim::Known(n)) => {
                        let part = n.div_ceil(count);
                        Some(Dim::Known(n.saturating_sub(i * part).min(part)))
                    }
                    _ => None,
                };
                let mut part = shape.clone();
                part[along] = size.unwrap_or(Dim::Unknown);
                Some(part)
            })
            .collect(),
    )
}

pub(super) fn slice(node: &Node, known: &Known) -> Option<Shape> {
    let mut shape = known.shape(node.input(0)?)?;
    let axes: Option<Vec<i64>> =
        if node.input(3).is_some() || node.ints("axes").is_some() { Some(known.ints(node, "axes", 3)?) } else { None };
    let (starts, ends) = (known.ints(node, "starts", 1), known.ints(node, "ends", 2));
    let count = starts.as_ref().or(ends.as_ref()).map(Vec::len).or(axes.as_ref().map(Vec::len))?;
    let axes = axes.unwrap_or_else(|| (0..count as i64).collect());
    let steps = if node.input(4).is_some() { known.ints(node, "", 4) } else { Some(vec![1; count]) };
    for (i, &a) in axes.iter().enumerate() {
        let along = axis(a, shape.len())?;
        let one = |v: &Option<Vec<i64>>| v.as_ref().and_then(|v| v.get(i).copied());
        shape[along] = match (one(&starts), one(&ends), one(&steps), shape[along].clone()) {
            (Some(start), Some(end), Some(step), Dim::Known(n)) => Dim::Known(slice_places(start, end, step, n).ok()?.len()),
            // Everything of a free dimension is still that dimension.
            (Some(0), Some(end), Some(1), dim) if end >= i64::from(i32::MAX) => dim,
            _ => Dim::Unknown,
        };
    }
    Some(shape)
}

pub(super) fn pad(node: &Node, known: &Known) -> Option<Shape> {
    let mut shape = known.shape(node.input(0)?)?;
    let rank = shape.len();
    let pads = known.ints(node, "pads", 1);
    let axes = if node.input(3).is_some() { known.ints(node, "", 3)? } else { (0..rank as i64).collect() };
    for (i, &a) in axes.iter().enumerate() {
        let along = axis(a, rank)?;
        let change = pads.as_ref().and_then(|p| p.get(i)?.checked_add(*p.get(i + axes.len())?));
        shape[along] = match (change, &shape[along]) {
            (Some(0), dim) => dim.clone(),
            (Some(change), Dim::Known(n)) => Dim::Known(n.checked_add_signed(isize::try_from(change).ok()?)?),
            _ => Dim::Unknown,
        };
    }
    Some(shape)
}

pub(super) fn resize(node: &Node, known: &Known) -> Option<Shape> {
    let shape = known.shape(node.input(0)?)?;
    if node.attributes.contains_key("axes") || node.text("keep_aspect_ratio_policy").is_some_and(|p| p != "stretch") {
        return Some(vec![Dim::Unknown; shape.len()]);
    }
    let early = node.op == "Upsample" || known.opset() < 11;
    if let Some(sizes) = node.input(3).filter(|_| !early).and_then(|w| known.entries(w))
        && sizes.len() == shape.len()
    {
        return Some(sizes.iter().map(Entry::dim).collect());
    }
    let scales = match node.attributes.get("scales") {
        Some(Attribute::Floats(v)) => Some(v.clone()),
        _ => node.input(if early { 1 } else { 2 }).and_then(|w| known.floats(w)),
    };
    let Some(scales) = scales.filter(|s| s.len() == shape.len()) else { return Some(vec![Dim::Unknown; shape.len()]) };
    let change = |(dim, scale): (&Dim, &f32)| match dim {
        dim if *scale == 1.0 => dim.clone(),
        Dim::Known(n) => Dim::Known((*n as f32 * scale).floor() as usize),
        _ => Dim::Unknown,
    };
    Some(shape.iter().zip(&scales).map(change).collect())
}

pub(super) fn reduced(node: &Node, shape: Shape, axes: Option<&[i64]>) -> Option<Shape> {
    let keep = node.int("keepdims").unwrap_or(1) != 0;
    if axes.is_none() && node.input(1).is_some() {
        return keep.then(|| vec![Dim::Unknown; shape.len()]);
    }
    let gone: Vec<usize> = match axes {
        Some(axes) if !axes.is_empty() => axes.iter().map(|&a| axis(a, shape.len())).collect::<Option<_>>()?,
        _ if node.int("noop_with_empty_axes").unwrap_or(0) != 0 => return Some(shape),
        _ => (0..shape.len()).collect(),
    };
    let rest = shape.into_iter().enumerate();
    Some(if keep {
        rest.map(|(i, d)| if gone.contains(&i) { Dim::Known(1) } else { d }).collect()
    } else {
        rest.filter(|(i, _)| !gone.contains(i)).map(|(_, d)| d).collect()
    })
}
