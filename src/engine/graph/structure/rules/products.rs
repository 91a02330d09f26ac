//! Products with weights: channels end in the columns of a weight, and new ones begin in its rows.

use crate::engine::graph::Node;
use crate::engine::graph::structure::trace::{Axes, Axis, Trace};

/// How channels of a grouped convolution can go. Where there are more groups than channels in one, whole groups
/// go, as those of a depthwise convolution; else each group loses the same of its own channels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::engine::graph::structure) enum Grouped {
    Whole,
    Alike,
}

/// For a convolution of `groups` groups with `inputs` and `outputs` channels each.
pub(in crate::engine::graph::structure) fn grouped(groups: usize, inputs: usize, outputs: usize) -> Grouped {
    if groups >= inputs.min(outputs) { Grouped::Whole } else { Grouped::Alike }
}

/// The number of groups that a node names, at least 1.
fn groups(node: &Node) -> usize {
    usize::try_from(node.int("group").unwrap_or(1)).unwrap_or(1).max(1)
}

/// [samples, channels, places…] of which the places are of the output.
fn image(x: &Axes, channels: Axis) -> Axes {
    let mut out: Axes = vec![None; x.len()];
    out[0].clone_from(&x[0]);
    out[1] = channels;
    out
}

/// Weights [outputs, inputs of one group, …].
pub(super) fn conv(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let (x, w) = (t.input(node, 0)?, t.input(node, 1)?);
    let [Some(rows), Some(columns), ..] = &w[..] else { return None };
    let groups = groups(node);
    if x.len() != w.len() || !rows.len().is_multiple_of(groups) {
        return None;
    }
    let (inputs, outputs) = (columns.len(), rows.len() / groups);
    if groups == 1 {
        t.tie(&x[1], &w[1], node);
    } else {
        let channels = x[1].clone().unwrap_or_else(|| t.held(groups * inputs, "they are read by groups").into());
        if channels.len() != groups * inputs || inputs == 0 || outputs == 0 {
            return None;
        }
        for (read, made) in channels.chunks(inputs).zip(rows.chunks(outputs)) {
            match grouped(groups, inputs, outputs) {
                Grouped::Whole => read.iter().chain(made).for_each(|one| t.atoms.join(read[0], *one)),
                Grouped::Alike => {
                    read.iter().zip(columns.iter()).for_each(|(a, b)| t.atoms.join(*a, *b));
                    made.iter().zip(&rows[..outputs]).for_each(|(a, b)| t.atoms.join(*a, *b));
                }
            }
        }
    }
    bias(t, node, &w[0]);
    Some(image(&x, w[0].clone()))
}

fn bias(t: &mut Trace<'_>, node: &Node, channels: &Axis) {
    if let Some([bias]) = t.input(node, 2).as_deref() {
        t.tie(channels, bias, node);
    }
}

/// Weights [inputs, outputs of one group, …].
pub(super) fn conv_transpose(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let (x, w) = (t.input(node, 0)?, t.input(node, 1)?);
    let [Some(rows), Some(columns), ..] = &w[..] else { return None };
    let groups = groups(node);
    if x.len() != w.len() || !rows.len().is_multiple_of(groups) {
        return None;
    }
    t.tie(&x[1], &w[0], node);
    let (inputs, outputs) = (rows.len() / groups, columns.len());
    let made: Axis = if groups == 1 {
        w[1].clone()
    } else if inputs == 0 || outputs == 0 {
        return None;
    } else {
        let mut made = Vec::with_capacity(groups * outputs);
        for read in rows.chunks(inputs) {
            match grouped(groups, inputs, outputs) {
                Grouped::Whole => {
                    for one in read {
                        t.atoms.join(read[0], *one);
                    }
                    made.extend(std::iter::repeat_n(read[0], outputs));
                }
                Grouped::Alike => {
                    read.iter().zip(&rows[..inputs]).for_each(|(a, b)| t.atoms.join(*a, *b));
                    made.extend(columns.iter());
                }
            }
        }
        Some(made.into())
    };
    if groups > 1 && grouped(groups, inputs, outputs) == Grouped::Whole {
        t.hold(&w[1], "whole groups of a transposed convolution go, not the outputs of each");
    }
    bias(t, node, &made);
    Some(image(&x, made))
}

pub(super) fn gemm(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let mut matrix = |index: usize, name: &str| -> Option<[Axis; 2]> {
        let mut axes: [Axis; 2] = t.input(node, index)?.try_into().ok()?;
        if node.int(name).unwrap_or(0) != 0 {
            axes.swap(0, 1);
        }
        Some(axes)
    };
    let ([rows, inner], [columns, outputs]) = (matrix(0, "transA")?, matrix(1, "transB")?);
    t.tie(&inner, &columns, node);
    if let Some(added) = node.input(2).cloned() {
        let (axes, dims) = (t.axes(&added)?, t.dims(&added)?);
        let backward = axes.iter().zip(&dims).rev().zip([&outputs, &rows]);
        for ((axis, _), with) in backward.filter(|((_, dim), _)| dim.known() != Some(1)) {
            t.tie(with, axis, node);
        }
    }
    Some(vec![rows, outputs])
}

/// […, m, k] × […, k, n].
pub(super) fn matmul(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let (a_wire, b_wire) = (node.input(0)?, node.input(1)?);
    let (mut a, mut b) = (t.axes(a_wire)?, t.axes(b_wire)?);
    let (mut a_dims, mut b_dims) = (t.dims(a_wire)?, t.dims(b_wire)?);
    let (inner, _) = (a.pop()?, a_dims.pop());
    let rows = a.pop();
    a_dims.truncate(a.len());
    let columns = if b.len() > 1 { b.pop() } else { None };
    let other = b.pop()?;
    b_dims.truncate(b.len());
    t.tie(&inner, &other, node);
    let mut out = super::pointwise::broadcast_axes(t, node, &[(a, a_dims), (b, b_dims)]);
    out.extend(rows);
    out.extend(columns);
    Some(out)
}
