//! From channels that were followed to groups of them.

use super::atoms::Atom;
use super::trace::{Axes, Trace};
use super::{ChannelGroup, Member, Role, Structure};
use crate::engine::graph::{Model, Node, Wire, layers};
use std::collections::{BTreeMap, BTreeSet};

/// An axis of a wire, numbered in the order of their names.
type Slot = usize;

/// On which axes a channel lies and how often, and whether it must stay: those of whom this is the same are a group.
type Alike = (Vec<(Slot, usize)>, bool);

/// A channel that layers make.
struct Channel {
    atom: Atom,
    /// Where it lies.
    places: BTreeMap<Slot, Vec<usize>>,
    /// The first layer that makes it, and the place there.
    first: (usize, usize),
}

pub(super) fn structure(model: &Model) -> Structure {
    let mut trace = Trace::of(model);
    let wires: BTreeMap<Wire, Axes> = std::mem::take(&mut trace.wires);
    let wires: BTreeMap<Wire, Axes> = wires.into_iter().map(|(wire, axes)| (wire, resolved(&mut trace, &axes))).collect();
    let slots: Vec<(&Wire, usize)> = wires.iter().flat_map(|(w, axes)| (0..axes.len()).map(move |a| (w, a))).collect();
    let channels = channels(model, &wires, &slots);
    let mut alike: BTreeMap<Alike, Vec<Channel>> = BTreeMap::new();
    for channel in channels {
        let lies = channel.places.iter().map(|(slot, places)| (*slot, places.len())).collect();
        let held = trace.atoms.reason(channel.atom).is_some();
        alike.entry((lies, held)).or_default().push(channel);
    }
    let mut found: Vec<Vec<Channel>> = alike.into_values().collect();
    for group in &mut found {
        group.sort_by_key(|c| c.first);
    }
    found.sort_by_key(|group| group.first().map(|c| c.first));
    let facts = Facts::of(model);
    let mut names: BTreeMap<&str, usize> = BTreeMap::new();
    let mut groups = Vec::new();
    for channels in &found {
        let Some(first) = channels.first() else { continue };
        let layer = facts.names.get(first.first.0).map_or("", String::as_str);
        let times = names.entry(layer).or_insert(0);
        *times += 1;
        groups.push(ChannelGroup {
            name: if *times == 1 { layer.to_owned() } else { format!("{layer} #{times}") },
            channels: channels.len(),
            members: members(model, &facts, channels, &slots),
            obstacle: trace.atoms.reason(first.atom).map(str::to_owned),
        });
    }
    let atoms = found.iter().map(|group| group.iter().map(|c| c.atom).collect()).collect();
    Structure { groups, atoms, wires }
}

/// Every atom by the one that stands for it.
fn resolved(trace: &mut Trace<'_>, axes: &Axes) -> Axes {
    let mut roots = |atoms: &[Atom]| atoms.iter().map(|atom| trace.atoms.root(*atom)).collect();
    axes.iter().map(|axis| axis.as_ref().map(|atoms| roots(atoms))).collect()
}

fn channels(model: &Model, wires: &BTreeMap<Wire, Axes>, slots: &[(&Wire, usize)]) -> Vec<Channel> {
    let mut made: BTreeMap<Atom, (usize, usize)> = BTreeMap::new();
    for (number, layer) in layers(model).iter().enumerate() {
        let rows = wires.get(&layer.weight).and_then(|axes| axes.get(layer.out_axis)?.clone());
        for (place, atom) in rows.iter().flat_map(|rows| rows.iter()).enumerate() {
            made.entry(*atom).or_insert((number, place));
        }
    }
    let mut places: BTreeMap<Atom, BTreeMap<Slot, Vec<usize>>> = BTreeMap::new();
    for (slot, (wire, axis)) in slots.iter().enumerate() {
        let atoms = wires.get(*wire).and_then(|axes| axes.get(*axis)?.clone());
        for (place, atom) in atoms.iter().flat_map(|atoms| atoms.iter()).enumerate() {
            if made.contains_key(atom) {
                places.entry(*atom).or_default().entry(slot).or_default().push(place);
            }
        }
    }
    made.into_iter().map(|(atom, first)| Channel { atom, first, places: places.remove(&atom).unwrap_or_default() }).collect()
}

/// What the model's constants are to it.
struct Facts {
    names: Vec<String>,
    /// Weight → number of its layer and axis of its rows.
    weights: BTreeMap<Wire, (usize, usize)>,
    scales: BTreeSet<Wire>,
}

impl Facts {
    fn of(model: &Model) -> Self {
        let layers = layers(model);
        let weights = layers.iter().enumerate().map(|(i, l)| (l.weight.clone(), (i, l.out_axis))).collect();
        let mut scales: BTreeSet<Wire> = model.nodes.iter().flat_map(scaling).cloned().collect();
        for other in model.nodes.iter().flat_map(|n| n.inputs.iter().flatten().filter(|w| !scaling(n).any(|s| s == *w))) {
            scales.remove(other);
        }
        Self { names: layers.into_iter().map(|l| l.name).collect(), weights, scales }
    }

    /// Whose turn it is, and what it does.
    fn role(&self, tensor: &Wire, axis: usize) -> (usize, Role) {
        match self.weights.get(tensor) {
            Some((layer, out)) if *out == axis => (*layer, Role::Makes),
            Some((layer, _)) => (*layer, Role::Reads),
            None if self.scales.contains(tensor) => (usize::MAX, Role::Scales),
            None => (usize::MAX, Role::Follows),
        }
    }
}

/// The inputs of a node that scale its output or are added to it.
fn scaling(node: &Node) -> impl Iterator<Item = &Wire> {
    let which: &[usize] = match node.op.as_str() {
        "Conv" | "ConvTranspose" | "Gemm" | "BatchNormalization" | "InstanceNormalization" => &[1, 2],
        "MatMul" | "Add" | "Sub" | "Mul" => &[0, 1],
        _ => &[],
    };
    which.iter().filter_map(|index| node.input(*index))
}

fn members(model: &Model, facts: &Facts, channels: &[Channel], slots: &[(&Wire, usize)]) -> Vec<Member> {
    let Some(first) = channels.first() else { return Vec::new() };
    let held: Vec<Slot> = first.places.keys().copied().filter(|s| model.constants.contains_key(slots[*s].0)).collect();
    let mut members: Vec<(usize, Member)> = Vec::new();
    for slot in held {
        let (tensor, axis) = slots[slot];
        let (turn, role) = facts.role(tensor, axis);
        let places = channels.iter().map(|c| c.places.get(&slot).cloned().unwrap_or_default()).collect();
        members.push((turn, Member { tensor: tensor.clone(), axis, role, places }));
    }
    members.sort_by_key(|(turn, member)| (*turn, member.role));
    members.into_iter().map(|(_, member)| member).collect()
}
