//! The smaller network that is seen once blocks are closed.

use super::blocks::Blocks;
use std::collections::{BTreeMap, BTreeSet};

/// What a box stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shown {
    Node(usize),
    Block(usize),
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Folded {
    /// In topological order.
    pub boxes: Vec<Shown>,
    /// The box of each node.
    pub box_of: Vec<usize>,
    /// Between boxes, each pair once.
    pub wires: Vec<(usize, usize)>,
    /// For each of these, the wires of the whole network that it stands for.
    pub carries: Vec<Vec<usize>>,
}

/// Closes blocks. Of a closed block inside a closed one nothing is seen; a block that does not exist is ignored.
#[must_use]
pub fn fold(blocks: &Blocks, closed: &BTreeSet<usize>, wires: &[(usize, usize)]) -> Folded {
    let mut folded = Folded { box_of: vec![0; blocks.order.len()], ..Folded::default() };
    let mut shut = closed.iter().filter_map(|&at| Some((at, blocks.blocks.get(at)?.nodes.clone()))).peekable();
    let mut place = 0;
    while let Some(&node) = blocks.order.get(place) {
        // Blocks stand by their first node, outer ones first: what begins before here lies in one that was closed.
        while shut.next_if(|(_, nodes)| nodes.start < place).is_some() {}
        let (shown, end) = match shut.next_if(|(_, nodes)| nodes.start == place) {
            Some((block, nodes)) => (Shown::Block(block), nodes.end),
            None => (Shown::Node(node), place + 1),
        };
        for &node in blocks.order.get(place..end).unwrap_or_default() {
            folded.box_of[node] = folded.boxes.len();
        }
        folded.boxes.push(shown);
        place = end.max(place + 1);
    }
    let mut merged: BTreeMap<(usize, usize), Vec<usize>> = BTreeMap::new();
    for (wire, &(from, to)) in wires.iter().enumerate() {
        if let (Some(&from), Some(&to)) = (folded.box_of.get(from), folded.box_of.get(to))
            && from != to
        {
            merged.entry((from, to)).or_default().push(wire);
        }
    }
    (folded.wires, folded.carries) = merged.into_iter().unzip();
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_block_is_one_box_and_its_wires_merge() {
        let wires = [(0, 1), (0, 2), (1, 3), (2, 3), (1, 2), (3, 4)];
        let blocks = Blocks::propose(&["in", "a.x", "a.y", "b", "c"], &wires);
        let folded = fold(&blocks, &BTreeSet::from([0, 77]), &wires);
        assert_eq!(folded.boxes, [Shown::Node(0), Shown::Block(0), Shown::Node(3), Shown::Node(4)]);
        assert_eq!(folded.box_of, [0, 1, 1, 2, 3]);
        assert_eq!(folded.wires, [(0, 1), (1, 2), (2, 3)]);
        assert_eq!(folded.carries, [vec![0, 1], vec![2, 3], vec![5]]);
    }

    #[test]
    fn of_closed_blocks_within_each_other_the_outer_is_seen() {
        let wires = [(0, 1), (1, 2), (2, 3), (3, 4)];
        let blocks = Blocks::propose(&["a.0.x", "a.0.y", "a.1.x", "a.1.y", "b"], &wires);
        assert_eq!(blocks.blocks.len(), 3);
        let outer = fold(&blocks, &BTreeSet::from([0, 1, 2]), &wires);
        assert_eq!(outer.boxes, [Shown::Block(0), Shown::Node(4)]);
        let inner = fold(&blocks, &BTreeSet::from([2]), &wires);
        assert_eq!(inner.boxes, [Shown::Node(0), Shown::Node(1), Shown::Block(2), Shown::Node(4)]);
    }
}
