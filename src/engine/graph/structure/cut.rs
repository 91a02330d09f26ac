//! A model without some of its channels: smaller weights, the same network.

use super::Structure;
use super::atoms::Atom;
use super::edit;
use super::trace::Axis;
use crate::engine::graph::passes::infer_shapes;
use crate::engine::graph::{Dim, Fact, GraphError, Model, Wire};
use crate::engine::tensor::{Tensor, TensorError};
use std::collections::{BTreeMap, BTreeSet};

/// What the tensors of a cut model hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Values {
    /// What is left of the original's.
    Kept,
    /// Nothing: only their sizes count, and no weight is read.
    SizesOnly,
}

/// Which channels are gone.
pub(super) struct Gone<'s> {
    structure: &'s Structure,
    atoms: BTreeSet<Atom>,
}

impl<'s> Gone<'s> {
    pub fn new(structure: &'s Structure, removed: &[Vec<usize>]) -> Self {
        let named = structure.atoms.iter().zip(removed);
        let atoms = named.flat_map(|(atoms, gone)| gone.iter().filter_map(|i| atoms.get(*i).copied())).collect();
        Self { structure, atoms }
    }

    /// The axes of a wire.
    pub fn axes(&self, wire: &Wire) -> &[Axis] {
        self.structure.wires.get(wire).map_or(&[], Vec::as_slice)
    }

    /// How many of these channels are left.
    pub fn left(&self, atoms: &[Atom]) -> usize {
        atoms.iter().filter(|a| !self.atoms.contains(a)).count()
    }

    /// The places of an axis that are left, where it loses any.
    pub fn kept(&self, axis: &Axis) -> Option<Vec<usize>> {
        let atoms = axis.as_ref()?;
        let kept: Vec<usize> = (0..atoms.len()).filter(|i| !self.atoms.contains(&atoms[*i])).collect();
        (kept.len() < atoms.len()).then_some(kept)
    }
}

/// Which slices of the constants a cut leaves.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Left(BTreeMap<Wire, Vec<Option<Vec<usize>>>>);

impl Left {
    /// What [`cut`] leaves of the constants of `model`.
    #[must_use]
    pub fn of(model: &Model, structure: &Structure, removed: &[Vec<usize>]) -> Self {
        let gone = Gone::new(structure, removed);
        let kept = |wire: &Wire| gone.axes(wire).iter().map(|axis| gone.kept(axis)).collect::<Vec<_>>();
        let all = model.constants.keys().map(|wire| (wire.clone(), kept(wire)));
        Self(all.filter(|(_, axes)| axes.iter().any(Option::is_some)).collect())
    }

    /// The places along an axis of `count` that are left.
    #[must_use]
    pub fn places(&self, constant: &Wire, axis: usize, count: usize) -> Vec<usize> {
        let kept = self.0.get(constant).and_then(|axes| axes.get(axis)?.clone());
        kept.unwrap_or_else(|| (0..count).collect())
    }
}

/// `model` without the channels `removed` of each of the structure's groups (channel numbers, by group; what is
/// not named stays). Weights, biases and whatever else has one value per channel lose theirs; attributes and
/// constant shapes are put right; the result is checked by shape inference.
///
/// # Errors
/// When a group that cannot be cut loses channels, a group loses all, or the result is no valid graph.
pub fn cut(model: &Model, structure: &Structure, removed: &[Vec<usize>], values: Values) -> Result<Model, GraphError> {
    check(structure, removed)?;
    let gone = Gone::new(structure, removed);
    if gone.atoms.is_empty() {
        return Ok(model.clone());
    }
    let mut out = model.clone();
    for (wire, tensor) in &mut out.constants {
        for (axis, atoms) in gone.axes(wire).iter().enumerate() {
            if let Some(kept) = gone.kept(atoms) {
                *tensor = take(tensor, axis, &kept, values).map_err(|e| fail(format!("\"{wire}\": {e}")))?;
            }
        }
    }
    edit::nodes(&mut out, &gone)?;
    out.validate()?;
    out.drop_unread_constants();
    for port in out.inputs.iter_mut().filter(|p| out.constants.contains_key(&p.wire)) {
        shrink(&mut port.fact.shape, gone.axes(&port.wire), &gone);
    }
    for (wire, normals) in &mut out.normals {
        if let Some(kept) = gone.axes(wire).get(1).and_then(|axis| gone.kept(axis)) {
            *normals = kept.iter().filter_map(|i| normals.get(*i).copied()).collect();
        }
    }
    for (wire, fact) in &mut out.facts {
        shrink(&mut fact.shape, gone.axes(wire), &gone);
    }
    let inferred = infer_shapes(&out);
    agree(&out, &inferred)?;
    Ok(inferred)
}

fn fail(reason: String) -> GraphError {
    GraphError::Patch { label: "cut channels".to_owned(), reason }
}

fn check(structure: &Structure, removed: &[Vec<usize>]) -> Result<(), GraphError> {
    for (group, gone) in structure.groups.iter().zip(removed) {
        let different: BTreeSet<&usize> = gone.iter().collect();
        if let (Some(obstacle), false) = (&group.obstacle, gone.is_empty()) {
            return Err(fail(format!("the channels of \"{}\" cannot be cut: {obstacle}", group.name)));
        }
        if different.len() >= group.channels {
            return Err(fail(format!("nothing would be left of the channels of \"{}\"", group.name)));
        }
        if let Some(beyond) = different.iter().find(|i| ***i >= group.channels) {
            return Err(fail(format!("\"{}\" has no channel {beyond}", group.name)));
        }
    }
    Ok(())
}

fn shrink(shape: &mut Option<Vec<Dim>>, axes: &[Axis], gone: &Gone<'_>) {
    for (dim, axis) in shape.iter_mut().flatten().zip(axes) {
        if let Some(kept) = gone.kept(axis) {
            *dim = Dim::Known(kept.len());
        }
    }
}

/// Inference on its own must find the shapes that the cut foresees.
fn agree(expected: &Model, inferred: &Model) -> Result<(), GraphError> {
    for (wire, fact) in &expected.facts {
        let found = inferred.facts.get(wire).and_then(Fact::known_shape);
        if let (Some(found), Some(wanted)) = (found, fact.known_shape())
            && found != wanted
        {
            return Err(fail(format!("\"{wire}\" would be {found:?} and not {wanted:?}")));
        }
    }
    Ok(())
}

/// The slices of a tensor at `kept` places of an axis.
pub(super) fn take(tensor: &Tensor, axis: usize, kept: &[usize], values: Values) -> Result<Tensor, TensorError> {
    let mut shape = tensor.shape().to_vec();
    let count = shape.get(axis).copied().unwrap_or(1);
    let outer: usize = shape[..axis].iter().product();
    let inner: usize = shape[axis + 1..].iter().product();
    shape[axis] = kept.len();
    if values == Values::SizesOnly {
        return Tensor::zeros(tensor.dtype(), shape);
    }
    let bits = tensor.dtype().bits();
    if !bits.is_multiple_of(8) {
        // Several to a byte.
        let all = tensor.to_i64()?;
        return Tensor::from_integers(tensor.dtype(), shape, &picked(&all, (outer, count, inner), kept));
    }
    let all = tensor.bytes();
    Tensor::from_bytes(tensor.dtype(), shape, picked(&all, (outer, count, inner * bits / 8), kept))
}

fn picked<T: Copy>(all: &[T], (outer, count, inner): (usize, usize, usize), kept: &[usize]) -> Vec<T> {
    let starts = (0..outer).flat_map(|o| kept.iter().map(move |k| (o * count + k) * inner));
    starts.filter_map(|start| all.get(start..start + inner)).flatten().copied().collect()
}
