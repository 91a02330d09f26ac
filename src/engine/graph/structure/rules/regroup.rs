//! Axes that are merged and split: flatten and reshape.

use super::from_front;
use crate::engine::graph::structure::atoms::Atom;
use crate::engine::graph::structure::trace::{Axes, Trace};
use crate::engine::graph::{Dim, Node};
use std::ops::Range;

/// Larger blocks of places are not looked through.
const LARGEST: usize = 1 << 22;

pub(super) fn reshape(t: &mut Trace<'_>, node: &Node) -> Option<Axes> {
    let (axes, before) = (t.input(node, 0)?, t.dims(node.input(0)?)?);
    let (runs, after) = if node.op == "Flatten" {
        let axis = node.int("axis").unwrap_or(1);
        let at = if axis == before.len() as i64 { before.len() } else { from_front(axis, before.len())? };
        (vec![(0..at, 0..1), (at..before.len(), 1..2)], vec![Dim::Unknown; 2])
    } else {
        let after = t.dims(node.output(0)?)?;
        (runs(&before, &after)?, after)
    };
    let mut out: Axes = vec![None; after.len()];
    for (from, to) in runs {
        let tracked: Vec<usize> = from.clone().filter(|at| axes[*at].is_some()).collect();
        if to.is_empty() {
            for at in tracked {
                t.mixed(&axes[at], node);
            }
            continue;
        }
        let Some(flat) = flat(t, &axes, &before, &from, &tracked, node) else { continue };
        let sizes: Vec<usize> = match to.len() {
            1 => vec![flat.len()],
            _ => after[to.clone()].iter().map(Dim::known).collect::<Option<_>>()?,
        };
        // Of an image the channels within a group go on, of a matrix whole heads.
        let (axis, atoms) = parted(t, &flat, &sizes, before.len() > 3);
        out[to.start + axis] = Some(atoms.into());
    }
    if node.op == "Reshape" {
        for (at, axis) in out.iter_mut().enumerate() {
            if !can_change(t, node, at) {
                t.hold(axis, &format!("\"{}\" (Reshape) is told their number by a computed shape", node.label()));
                *axis = None;
            }
        }
    }
    Some(out)
}

/// The channels of axes `from` as one axis; `None` where there are none to follow.
fn flat(t: &mut Trace<'_>, axes: &Axes, dims: &[Dim], from: &Range<usize>, tracked: &[usize], node: &Node) -> Option<Vec<Atom>> {
    let &[only] = tracked else {
        for at in tracked {
            t.mixed(&axes[*at], node);
        }
        return None;
    };
    let atoms = axes[only].clone()?;
    let size = |range: Range<usize>| dims[range].iter().map(Dim::known).try_fold(1_usize, |n, d| n.checked_mul(d?));
    let (Some(outer), Some(inner)) = (size(from.start..only), size(only + 1..from.end)) else {
        t.mixed(&axes[only], node);
        return None;
    };
    if outer.saturating_mul(inner).saturating_mul(atoms.len()) > LARGEST {
        t.mixed(&axes[only], node);
        return None;
    }
    let once = atoms.iter().flat_map(|atom| std::iter::repeat_n(*atom, inner));
    let once: Vec<Atom> = once.collect();
    Some((0..outer).flat_map(|_| once.iter().copied()).collect())
}

/// Splits an axis over several and says which of them the channels lie along from then on; what lies along the
/// others becomes one. An axis that tells channels apart without that is taken first.
fn parted(t: &mut Trace<'_>, flat: &[Atom], sizes: &[usize], inner: bool) -> (usize, Vec<Atom>) {
    let along = |axis: usize| {
        let below: usize = sizes[axis + 1..].iter().product();
        move |place: usize| (place / below.max(1)) % sizes[axis].max(1)
    };
    let roots: Vec<Atom> = flat.iter().map(|a| t.atoms.root(*a)).collect();
    let tells = |axis: &usize| {
        let at = along(*axis);
        let mut seen: Vec<Option<Atom>> = vec![None; sizes[*axis]];
        roots.iter().enumerate().all(|(place, root)| *seen[at(place)].get_or_insert(*root) == *root)
    };
    let wide = |axis: &usize| sizes[*axis] > 1;
    let fallback = if inner { (0..sizes.len()).rev().find(wide) } else { (0..sizes.len()).find(wide) };
    let axis = (0..sizes.len()).filter(wide).find(tells).or(fallback).unwrap_or(0);
    let at = along(axis);
    let mut found: Vec<Option<Atom>> = vec![None; sizes.get(axis).copied().unwrap_or(0)];
    for (place, atom) in flat.iter().enumerate() {
        let first = *found[at(place)].get_or_insert(*atom);
        t.atoms.join(first, *atom);
    }
    (axis, found.into_iter().flatten().collect())
}

/// Runs of axes before and after that hold the same values. One free dimension may stand on either side.
fn runs(before: &[Dim], after: &[Dim]) -> Option<Vec<(Range<usize>, Range<usize>)>> {
    let free = |dims: &[Dim]| dims.iter().filter(|d| d.known().is_none()).count();
    let known = |dims: &[Dim]| dims.iter().filter_map(Dim::known).try_fold(1_usize, usize::checked_mul);
    let sized = known(before)? == known(after)? && known(before)? > 0;
    if free(before) != free(after) || free(before) > 1 || !sized {
        return None;
    }
    let (mut runs, mut from, mut to) = (Vec::new(), 0..0, 0..0);
    while from.end < before.len() || to.end < after.len() {
        let (a, b) = (&before[from.clone()], &after[to.clone()]);
        let behind = (free(a), known(a)?) <= (free(b), known(b)?) && from.end < before.len();
        // Where both are level a run begins: it takes one axis of each side.
        if behind || to.end == after.len() {
            from.end += 1;
        } else {
            to.end += 1;
        }
        let (a, b) = (&before[from.clone()], &after[to.clone()]);
        let level = free(a) == free(b) && known(a)? == known(b)?;
        let rest = from.end == before.len() || to.end == after.len();
        if level && !from.is_empty() && !to.is_empty() && !rest {
            runs.push((from.clone(), to.clone()));
            (from, to) = (from.end..from.end, to.end..to.end);
        }
    }
    runs.push((from, to));
    Some(runs)
}

/// Whether the target of a reshape lets the size of an axis change: it is a constant, which is rewritten, or
/// leaves the size to be found.
fn can_change(t: &Trace<'_>, node: &Node, axis: usize) -> bool {
    let Some(target) = node.input(1) else { return node.ints("shape").is_some() };
    if t.model.constants.contains_key(target) {
        return true;
    }
    let Some(maker) = t.maker(target).filter(|n| n.op == "Concat") else { return false };
    let mut place = 0;
    for part in maker.inputs.iter().flatten() {
        let dims = t.dims(part).unwrap_or_default();
        let [Dim::Known(count)] = dims[..] else { return false };
        if (place..place + count).contains(&axis) {
            let entry = t.constant_ints(part).and_then(|all| all.get(axis - place).copied());
            return matches!(entry, Some(0 | -1));
        }
        place += count;
    }
    false
}
