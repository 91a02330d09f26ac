//! Operators whose output has the channels of their inputs, in place.

use super::from_front;
use crate::engine::graph::structure::trace::{Axes, Axis, Trace};
use crate::engine::graph::{Dim, Node};

/// Inputs that are stretched to one shape and meet value by value.
pub(super) fn broadcast(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    // Before operator set 7 the second input was made to fit the first by an attribute.
    if t.model.opset() < 7 && node.int("broadcast").unwrap_or(0) != 0 {
        return None;
    }
    let inputs = node.inputs.iter().map(|w| Some((t.axes(w.as_ref()?)?, t.dims(w.as_ref()?)?)));
    let inputs: Vec<(Axes, Vec<Dim>)> = inputs.collect::<Option<_>>()?;
    Some(broadcast_axes(t, node, &inputs))
}

/// As numpy stretches: axes are counted from the last, and one of size 1 goes with any.
pub(super) fn broadcast_axes(t: &mut Trace<'_>, node: &Node, inputs: &[(Axes, Vec<Dim>)]) -> Axes {
    let rank = inputs.iter().map(|(axes, _)| axes.len()).max().unwrap_or(0);
    let mut out = Vec::with_capacity(rank);
    for at in 0..rank {
        let here: Vec<(&Axis, &Dim)> = inputs
            .iter()
            .filter_map(|(axes, dims)| {
                let place = (at + axes.len()).checked_sub(rank)?;
                Some((axes.get(place)?, dims.get(place)?))
            })
            .collect();
        let stretched = here.iter().any(|(_, dim)| dim.known() != Some(1));
        let mut met: Option<Axis> = None;
        for (axis, dim) in here {
            if stretched && dim.known() == Some(1) {
                t.hold(axis, &format!("\"{}\" ({}) spreads it over others", node.label(), node.op));
            } else {
                met = Some(match met {
                    Some(before) => t.tie(&before, axis, node),
                    None => axis.clone(),
                });
            }
        }
        out.push(met.flatten());
    }
    out
}

/// Parameters of one value per channel of the second axis.
pub(super) fn per_channel(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let x = t.input(node, 0)?;
    let mut channels = x.get(1)?.clone();
    for index in 1..node.inputs.len() {
        let [parameter] = &t.input(node, index)?[..] else { return None };
        let tied = t.tie(&channels, &parameter.clone(), node);
        channels = tied;
    }
    let mut out = x;
    out[1] = channels;
    Some(out)
}

pub(super) fn pool(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let mut axes = t.input(node, 0)?;
    axes.get(1)?;
    axes.iter_mut().skip(2).for_each(|axis| *axis = None);
    Some(axes)
}

/// Operators that compare values along an axis, or scale them by each other.
pub(super) fn across(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let mut axes = t.input(node, 0)?;
    let (old, rank) = (t.model.opset() < 13, axes.len());
    let from_axis_on = matches!(node.op.as_str(), "LayerNormalization" | "RMSNormalization")
        || old && matches!(node.op.as_str(), "Softmax" | "LogSoftmax" | "Hardmax");
    let default = if old && node.op.ends_with("max") { 1 } else { -1 };
    let axis = match node.op.as_str() {
        "CumSum" => *t.constant_ints(node.input(1)?)?.first()?,
        _ => node.int("axis").unwrap_or(default),
    };
    let first = from_front(axis, rank)?;
    let last = if from_axis_on { rank } else { first + 1 };
    for axis in &mut axes[first..last] {
        t.mixed(axis, node);
        *axis = None;
    }
    // Scales and shifts of what is normalized lie along the same axes: they stay as they are.
    Some(axes)
}

pub(super) fn reduced(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let x = t.input(node, 0)?;
    let asked = match node.op.as_str() {
        "ArgMax" | "ArgMin" => Some(vec![node.int("axis").unwrap_or(0)]),
        _ if node.ints("axes").is_none() && node.input(1).is_some() => Some(t.constant_ints(node.input(1)?)?),
        _ => node.ints("axes").map(<[i64]>::to_vec),
    };
    let gone: Vec<usize> = match asked {
        Some(axes) if !axes.is_empty() => axes.iter().map(|a| from_front(*a, x.len())).collect::<Option<_>>()?,
        _ if node.int("noop_with_empty_axes").unwrap_or(0) != 0 => Vec::new(),
        _ => (0..x.len()).collect(),
    };
    let kept = node.int("keepdims").unwrap_or(1) != 0;
    let mut out = Vec::new();
    for (at, axis) in x.iter().enumerate() {
        if !gone.contains(&at) {
            out.push(axis.clone());
            continue;
        }
        t.mixed(axis, node);
        if kept {
            out.push(None);
        }
    }
    Some(out)
}

/// Scales and zero points lie along one axis, or there is one of each.
pub(super) fn quantized(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let mut axes = t.input(node, 0)?;
    for index in 1..node.inputs.len() {
        let Some(wire) = node.input(index).cloned() else { continue };
        let (scale, dims) = (t.axes(&wire)?, t.dims(&wire)?);
        match (&scale[..], &dims[..]) {
            ([], _) | (_, [Dim::Known(1)]) => {}
            ([scale], _) => {
                let at = from_front(node.int("axis").unwrap_or(1), axes.len())?;
                axes[at] = t.tie(&axes[at].clone(), scale, node);
            }
            _ => return None,
        }
    }
    Some(axes)
}

/// Who asks for a shape may count channels with it: those that are asked for stay.
pub(super) fn shape(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let axes = t.input(node, 0)?;
    let wire = node.output(0)?;
    let picked = |reader: &Node| -> Option<Vec<usize>> {
        let places = match reader.op.as_str() {
            "Gather" if reader.input(0) == Some(wire) => t.constant_ints(reader.input(1)?)?,
            "Slice" => {
                let start = *t.ints(reader, "starts", 1)?.first()?;
                let end = *t.ints(reader, "ends", 2)?.first()?;
                let all = axes.len() as i64;
                let clip = |v: i64| if v < 0 { v.saturating_add(all) } else { v }.clamp(0, all);
                (clip(start)..clip(end)).collect()
            }
            _ => return None,
        };
        places.iter().map(|p| from_front(*p, axes.len())).collect()
    };
    let asked: Option<Vec<Vec<usize>>> = t.readers(wire).map(picked).collect();
    let asked: Vec<usize> = asked.map_or_else(|| (0..axes.len()).collect(), |all| all.concat());
    for at in asked {
        t.hold(&axes[at], &format!("\"{}\" (Shape) counts them", node.label()));
    }
    Some(vec![None])
}
