//! Which channels of a network stand and fall together, and what is left of it without some of them.
//!
//! Every axis of every constant begins as a row of channels of its own; a walk through the nodes joins those that
//! meet: the rows of a weight are the channels of its output, a sum makes one of those of its terms, a
//! concatenation lays them side by side, a weight's columns are the channels that it reads (dependency graphs as
//! in DepGraph, arXiv 2301.12900, but per channel, so that parts of an axis can have different fates). Channels
//! that appear in the same places of the same tensors are a group: any of its channels can go in place of any other.

mod atoms;
mod branch;
mod cut;
mod edit;
mod find;
mod mask;
mod rules;
mod trace;

pub use branch::Branch;
pub use cut::{Left, Values, cut};
pub use mask::mask;

use super::{Model, Wire};
use atoms::Atom;
use std::collections::BTreeMap;
use trace::Axes;

/// What a tensor has to do with a channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    /// The rows of a layer's weight: they make the channel.
    Makes,
    /// The columns of a layer's weight: they read it.
    Reads,
    /// Biases, scales and shifts: where they are zero, so is the channel.
    Scales,
    /// Anything else of the model that has one value per channel.
    Follows,
}

/// A constant that holds something of every channel of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub tensor: Wire,
    pub axis: usize,
    pub role: Role,
    /// By channel of the group: its places along the axis.
    pub places: Vec<Vec<usize>>,
}

/// Channels that are cut alike: each appears in the same tensors equally often.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChannelGroup {
    /// Of the first layer that makes the channels; unique.
    pub name: String,
    /// How many there are.
    pub channels: usize,
    /// Those of the layers first, in running order.
    pub members: Vec<Member>,
    /// Why none of them can be cut, where that is so.
    pub obstacle: Option<String>,
}

impl ChannelGroup {
    /// The weights whose rows make the channels.
    pub fn makers(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter(|m| m.role == Role::Makes)
    }
}

/// The channels of a model.
#[derive(Debug, Clone)]
pub struct Structure {
    /// All that layers make, in the order in which they make them.
    pub groups: Vec<ChannelGroup>,
    /// By group and channel: the atom that stands for it.
    atoms: Vec<Vec<Atom>>,
    /// What stands on each axis of each wire.
    wires: BTreeMap<Wire, Axes>,
}

impl Structure {
    /// Deterministic; reads no weights.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        find::structure(model)
    }

    /// The axis of a wire along which the channels of a group lie, and by channel its places there.
    #[must_use]
    pub fn on_wire(&self, group: usize, wire: &Wire) -> Option<(usize, Vec<Vec<usize>>)> {
        let atoms = self.atoms.get(group)?;
        let number: BTreeMap<Atom, usize> = atoms.iter().enumerate().map(|(i, a)| (*a, i)).collect();
        for (axis, lies) in self.wires.get(wire)?.iter().enumerate() {
            let mut places = vec![Vec::new(); atoms.len()];
            for (place, atom) in lies.iter().flat_map(|lies| lies.iter()).enumerate() {
                number.get(atom).into_iter().for_each(|channel| places[*channel].push(place));
            }
            if places.iter().any(|p| !p.is_empty()) {
                return Some((axis, places));
            }
        }
        None
    }
}
