//! Operators that move values: channels keep what they are and get other places.

use super::from_front;
use crate::engine::graph::structure::trace::{Axes, Axis, Trace};
use crate::engine::graph::{Dim, Node, slice_places};
use std::sync::Arc;

pub(super) fn concat(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let parts = node.inputs.iter().map(|w| Some((t.axes(w.as_ref()?)?, t.dims(w.as_ref()?)?)));
    let parts: Vec<(Axes, Vec<Dim>)> = parts.collect::<Option<_>>()?;
    let along = from_front(node.int("axis").unwrap_or(1), parts.first()?.0.len())?;
    let mut out = parts[0].0.clone();
    for (axes, _) in &parts[1..] {
        for (at, axis) in axes.iter().enumerate().filter(|(at, _)| *at != along) {
            let tied = t.tie(out.get(at)?, axis, node);
            out[at] = tied;
        }
    }
    out[along] = None;
    if parts.iter().all(|(axes, _)| axes.get(along).is_none_or(Option::is_none)) {
        return Some(out);
    }
    let mut all = Vec::new();
    for (axes, dims) in &parts {
        match (axes.get(along)?, dims.get(along)?.known()) {
            (Some(atoms), _) => all.extend(atoms.iter()),
            (None, Some(count)) => all.extend(t.held(count, "they are joined to others that stay")),
            (None, None) => {
                let reason = format!("\"{}\" (Concat) joins them to data of an unknown size", node.label());
                parts.iter().filter_map(|(axes, _)| axes.get(along)).for_each(|axis| t.hold(axis, &reason));
                return Some(out);
            }
        }
    }
    out[along] = Some(all.into());
    Some(out)
}

pub(super) fn split(t: &mut Trace<'_>, node: &Node) -> Option<Vec<Axes>> {
    let axes = t.input(node, 0)?;
    let along = from_front(node.int("axis").unwrap_or(0), axes.len())?;
    if node.input(1).is_some_and(|sizes| t.constant_ints(sizes).is_none()) {
        return None;
    }
    let mut from = 0;
    let mut outputs = Vec::new();
    for wire in &node.outputs {
        let mut part = axes.clone();
        if let Some(atoms) = &axes[along] {
            let size = t.dims(wire.as_ref()?)?.get(along)?.known()?;
            part[along] = Some(atoms.get(from..from + size)?.into());
            from += size;
        }
        outputs.push(part);
    }
    Some(outputs)
}

/// The axes that a slice is taken along: axis, start, end, step.
pub(in crate::engine::graph::structure) fn slices(
    t: &Trace<'_>,
    node: &Node,
    rank: usize,
) -> Option<Vec<(usize, i64, i64, i64)>> {
    let (starts, ends) = (t.ints(node, "starts", 1)?, t.ints(node, "ends", 2)?);
    let axes = match (node.ints("axes"), node.input(3)) {
        (Some(axes), _) => axes.to_vec(),
        (None, Some(wire)) => t.constant_ints(wire)?,
        (None, None) => (0..starts.len() as i64).collect(),
    };
    let steps = match node.input(4) {
        Some(wire) => t.constant_ints(wire)?,
        None => vec![1; starts.len()],
    };
    let all = starts.iter().zip(&ends).zip(&axes).zip(&steps);
    all.map(|(((start, end), axis), step)| Some((from_front(*axis, rank)?, *start, *end, *step))).collect()
}

pub(super) fn slice(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let mut axes = t.input(node, 0)?;
    for (at, start, end, step) in slices(t, node, axes.len())? {
        let Some(atoms) = axes[at].clone() else { continue };
        let places = slice_places(start, end, step, atoms.len()).ok()?;
        if step == 1 {
            axes[at] = Some(places.filter_map(|p| atoms.get(p).copied()).collect());
        } else {
            t.hold(&axes[at].clone(), &format!("\"{}\" (Slice) takes every {step}th of them", node.label()));
            axes[at] = None;
        }
    }
    Some(axes)
}

pub(super) fn gather(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let axes = t.input(node, 0)?;
    let along = from_front(node.int("axis").unwrap_or(0), axes.len())?;
    let indices = node.input(1)?;
    let (rank, places) = (t.dims(indices)?.len(), t.constant_ints(indices));
    let mut middle: Axes = vec![None; rank];
    if let Some(atoms) = &axes[along] {
        let places: Option<Vec<usize>> =
            places.and_then(|all| all.iter().map(|p| from_front(*p, atoms.len())).collect::<Option<_>>());
        match places {
            Some(places) if rank == 1 => middle[0] = Some(places.iter().map(|p| atoms[*p]).collect()),
            // Single channels that are asked for by number stay, and so does what is looked up by data.
            _ => t.hold(&axes[along].clone(), &format!("\"{}\" (Gather) asks for them by number", node.label())),
        }
    }
    Some([&axes[..along], &middle, &axes[along + 1..]].concat())
}

/// Values before and after each axis: of the attribute, or of the second input; `None` where they are computed.
pub(in crate::engine::graph::structure) fn pads(t: &Trace<'_>, node: &Node, rank: usize) -> Option<Vec<(i64, i64)>> {
    let values = t.ints(node, "pads", 1)?;
    let axes = match node.input(3) {
        Some(wire) => t.constant_ints(wire)?,
        None => (0..rank as i64).collect(),
    };
    if values.len() != 2 * axes.len() {
        return None;
    }
    let mut all = vec![(0, 0); rank];
    for (i, axis) in axes.iter().enumerate() {
        all[from_front(*axis, rank)?] = (values[i], values[i + axes.len()]);
    }
    Some(all)
}

/// Channels that are padded have weights nowhere, and are cut by padding less.
pub(super) fn pad(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let axes = t.input(node, 0)?;
    let pads = pads(t, node, axes.len())?;
    let constant = node.text("mode").is_none_or(|mode| mode == "constant");
    let mut out = Vec::new();
    for (axis, (before, after)) in axes.iter().zip(pads) {
        out.push(match (axis, usize::try_from(before), usize::try_from(after)) {
            (None, ..) => None,
            (Some(_), Ok(0), Ok(0)) => axis.clone(),
            (Some(atoms), Ok(before), Ok(after)) if constant && node.input(3).is_none() => {
                let (mut all, after) = (t.atoms.fresh(before), t.atoms.fresh(after));
                all.extend(atoms.iter());
                all.extend(after);
                Some(all.into())
            }
            _ => {
                t.mixed(axis, node);
                None
            }
        });
    }
    Some(out)
}

pub(super) fn transpose(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let axes = t.input(node, 0)?;
    let order: Vec<i64> = node.ints("perm").map_or_else(|| (0..axes.len() as i64).rev().collect(), <[i64]>::to_vec);
    order.iter().map(|at| axes.get(usize::try_from(*at).ok()?).cloned()).collect()
}

pub(super) fn squeeze(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let (axes, dims) = (t.input(node, 0)?, t.dims(node.input(0)?)?);
    let gone: Vec<usize> = match t.ints(node, "axes", 1) {
        Some(asked) => asked.iter().map(|a| from_front(*a, axes.len())).collect::<Option<_>>()?,
        None if node.input(1).is_some() => return None,
        None => (0..dims.len()).filter(|i| dims[*i].known() == Some(1)).collect(),
    };
    for at in &gone {
        t.mixed(&axes[*at].clone(), node);
    }
    Some(axes.into_iter().enumerate().filter(|(at, _)| !gone.contains(at)).map(|(_, axis)| axis).collect())
}

pub(super) fn unsqueeze(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let axes = t.input(node, 0)?;
    let asked = t.ints(node, "axes", 1)?;
    let rank = axes.len() + asked.len();
    let new: Vec<usize> = asked.iter().map(|a| from_front(*a, rank)).collect::<Option<_>>()?;
    let mut old = axes.into_iter();
    (0..rank).map(|at| if new.contains(&at) { Some(None) } else { old.next() }).collect()
}

/// Operators that make some axes longer: channels pass along those that keep their size.
pub(super) fn stretched(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let (axes, before, after) = (t.input(node, 0)?, t.dims(node.input(0)?)?, t.dims(node.output(0)?)?);
    let added = after.len().checked_sub(axes.len())?;
    let mut out: Axes = vec![None; added];
    for (at, axis) in axes.iter().enumerate() {
        let same = axis.is_none() || before[at].known().is_some() && before[at] == after[added + at];
        if !same {
            t.mixed(axis, node);
        }
        out.push(axis.clone().filter(|_| same));
    }
    Some(out)
}

/// Blocks of b×b channels become places: they are one channel from then on.
pub(super) fn depth_to_space(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let mut axes = t.input(node, 0)?;
    let block = usize::try_from(node.int("blocksize")?).ok()?;
    let Some(atoms) = axes.get(1)?.clone() else { return Some(vec![None; axes.len()]) };
    let parts = block.checked_mul(block).filter(|p| *p > 0 && atoms.len().is_multiple_of(*p))?;
    let channels = atoms.len() / parts;
    // Column–row–depth order has the parts of a channel side by side, depth–column–row far apart.
    let beside = node.text("mode").is_some_and(|mode| mode == "CRD");
    let place = |channel: usize, part: usize| if beside { channel * parts + part } else { part * channels + channel };
    for channel in 0..channels {
        (1..parts).for_each(|part| t.atoms.join(atoms[place(channel, 0)], atoms[place(channel, part)]));
    }
    let made: Arc<[_]> = (0..channels).map(|channel| atoms[place(channel, 0)]).collect();
    axes.iter_mut().skip(1).for_each(|axis: &mut Axis| *axis = None);
    axes[1] = Some(made);
    Some(axes)
}
