//! Layers that decide together.

use super::layer::{LayerPlan, and};
use super::recipe::{Grouping, Treatment};
use crate::engine::graph::groups::streams;
use crate::pipeline::load::Subject;

/// Why layers decide together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupKind {
    /// They are matrices that read the same data: all take one treatment.
    Projections,
    /// Their data meet in residual sums: all that have static ranges take one.
    Sums,
}

impl GroupKind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Projections => "projections",
            Self::Sums => "sums",
        }
    }
}

/// Layers that decide together, as numbers of [`Subject::layers`]; two at least. (Nodes that read one weight are
/// one layer already.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub kind: GroupKind,
    pub layers: Vec<usize>,
}

/// The groups of a model under a recipe's [`Grouping`].
#[must_use]
pub fn groups(grouping: Grouping, subject: &Subject) -> Vec<Group> {
    let of = |kind| move |layers| Group { kind, layers };
    let mut groups = Vec::new();
    if grouping != Grouping::Apart {
        groups.extend(subject.projections().into_iter().map(of(GroupKind::Projections)));
    }
    if grouping == Grouping::ProjectionsAndSums {
        groups.extend(streams(&subject.folded, &subject.layers).into_iter().map(of(GroupKind::Sums)));
    }
    groups
}

/// What each layer is treated with, and what a person should know of it.
pub(super) struct Decided {
    pub treatments: Vec<Treatment>,
    pub notes: Vec<Option<String>>,
}

/// Members of a group take one treatment: what overrides say of some holds for all, and of several that differ
/// the widest. `named` are the layers that an override matches.
pub(super) fn together(groups: &[Group], named: &[bool], mut treatments: Vec<Treatment>, subject: &Subject) -> Decided {
    let mut notes = vec![None; treatments.len()];
    for group in groups.iter().filter(|g| g.kind == GroupKind::Projections) {
        let members = || group.layers.iter().copied();
        let any = members().any(|i| named[i]);
        // Of equals the first.
        let wider = |a: usize, b: usize| if width(&treatments[b]) > width(&treatments[a]) { b } else { a };
        let Some(chosen) = members().filter(|i| named[*i] || !any).reduce(wider) else { continue };
        let treatment = treatments[chosen];
        for member in members().filter(|i| *i != chosen) {
            if treatments[member] != treatment {
                notes[member] = Some(format!(
                    "treated as \"{}\", which reads the same data (`groups: Apart` in the recipe sets them free)",
                    subject.layers[chosen].name
                ));
                treatments[member] = treatment;
            }
        }
    }
    Decided { treatments, notes }
}

fn width(treatment: &Treatment) -> (u8, u8) {
    (treatment.weights.bits(), treatment.activations.bits())
}

/// Layers of a stream whose data have static ranges get one range, on the widest of their grids.
pub(super) fn share_ranges(groups: &[Group], layers: &mut [LayerPlan]) {
    for group in groups.iter().filter(|g| g.kind == GroupKind::Sums) {
        let bits = |i: usize| layers[i].treatment.activations.static_grid().map(|grid| grid.bits);
        let members: Vec<usize> = group.layers.iter().copied().filter(|i| bits(*i).is_some()).collect();
        let wider = |a: usize, b: usize| if bits(b) > bits(a) { b } else { a };
        let Some(widest) = members.iter().copied().reduce(wider) else { continue };
        let activations = layers[widest].treatment.activations;
        for member in &members {
            share(*member, &members, layers);
            let name = layers[widest].layer.name.clone();
            let one = &mut layers[*member];
            if one.treatment.activations != activations {
                one.treatment.activations = activations;
                one.note = Some(and(one.note.take(), &format!("its data are rounded as those of \"{name}\"")));
            }
        }
    }
}

/// Gives a member the wires of the others.
fn share(member: usize, members: &[usize], layers: &mut [LayerPlan]) {
    let own = layers[member].layer.input.clone();
    let mut shares = Vec::new();
    let mut names = Vec::new();
    for other in members.iter().map(|i| &layers[*i]).filter(|l| l.layer.input != own) {
        names.push(format!("\"{}\"", other.layer.name));
        if !shares.iter().any(|(wire, _)| *wire == other.layer.input) {
            shares.push((other.layer.input.clone(), other.known));
        }
    }
    if shares.is_empty() {
        return;
    }
    let one = &mut layers[member];
    one.shares = shares;
    one.note = Some(and(one.note.take(), &format!("its data share one range with those of {}", names.join(", "))));
}
