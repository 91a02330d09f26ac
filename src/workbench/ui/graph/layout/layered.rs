//! The network on ranks: wires that span several ranks get a bend on each rank between.
//!
//! All wires of one node share their bends: what many read runs down once and branches off. Where a network has so
//! many long wires that bends would outnumber boxes by far, the longest run down a lane beside the drawing.

use crate::workbench::ui::graph::links::Links;
use std::ops::Range;

/// Bends that a drawing may have, for each box and beside.
const BENDS_PER_BOX: usize = 6;
const BENDS: usize = 2_000;

/// How the wires of a node that span more than one rank get down.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Trunk {
    /// There are none.
    Short,
    /// These vertices, one on each rank below the node.
    Bends(Range<usize>),
    /// A lane right of all boxes, over these ranks.
    Aside { ranks: Range<usize> },
}

#[derive(Debug)]
pub(super) struct Layered {
    /// Vertices below this number are boxes, the others bends.
    pub(super) boxes: usize,
    /// Of each vertex.
    pub(super) rank: Vec<usize>,
    /// Half its width, in grid units; 0 for bends.
    pub(super) half: Vec<i64>,
    /// Vertices of each rank, left to right, and where each stands in its own.
    pub(super) layers: Vec<Vec<usize>>,
    pub(super) place: Vec<usize>,
    /// From a rank to the next.
    pub(super) edges: Vec<(usize, usize)>,
    /// Edges that end, and that begin, at each vertex.
    pub(super) into: Links,
    pub(super) out: Links,
    /// Of each box.
    pub(super) trunks: Vec<Trunk>,
}

impl Layered {
    /// Vertices stand in the order in which a walk down from the sources meets them.
    pub(super) fn new(widths: &[i64], wires: &[(usize, usize)], ranks: &[usize]) -> Self {
        let boxes = widths.len();
        let mut rank = ranks.to_vec();
        let trunks = trunks(wires, &mut rank, boxes);
        let mut edges = Vec::with_capacity(wires.len() + rank.len());
        for &(from, to) in wires {
            match (&trunks[from], rank[to] - rank[from]) {
                (_, 1) => edges.push((from, to)),
                (Trunk::Bends(bends), span) => edges.push((bends.start + span - 2, to)),
                _ => {}
            }
        }
        // Trunks come last: where nothing else decides, they run down on the right.
        for (source, trunk) in trunks.iter().enumerate() {
            let Trunk::Bends(bends) = trunk else { continue };
            edges.push((source, bends.start));
            edges.extend(bends.clone().skip(1).map(|bend| (bend - 1, bend)));
        }
        let half = widths.iter().copied().chain(std::iter::repeat_n(0, rank.len() - boxes)).collect();
        let into = Links::new(rank.len(), edges.iter().enumerate().map(|(i, e)| (e.1, i)));
        let out = Links::new(rank.len(), edges.iter().enumerate().map(|(i, e)| (e.0, i)));
        let place = vec![0; rank.len()];
        let mut layered = Self { boxes, rank, half, layers: Vec::new(), place, edges, into, out, trunks };
        layered.stand();
        layered
    }

    fn stand(&mut self) {
        self.layers = vec![Vec::new(); self.rank.iter().max().map_or(0, |r| r + 1)];
        let mut met = vec![false; self.rank.len()];
        let mut stack = Vec::new();
        for start in 0..self.rank.len() {
            if !self.into.of(start).is_empty() {
                continue;
            }
            stack.push(start);
            while let Some(vertex) = stack.pop() {
                if std::mem::replace(&mut met[vertex], true) {
                    continue;
                }
                self.place[vertex] = self.layers[self.rank[vertex]].len();
                self.layers[self.rank[vertex]].push(vertex);
                stack.extend(self.out.of(vertex).iter().rev().map(|&e| self.edges[e].1));
            }
        }
    }

    pub(super) fn is_bend(&self, vertex: usize) -> bool {
        vertex >= self.boxes
    }

    /// Where the vertices above, or below, stand in their rank.
    pub(super) fn above(&self, vertex: usize) -> impl Iterator<Item = usize> {
        self.into.of(vertex).iter().map(|&e| self.place[self.edges[e].0])
    }

    pub(super) fn below(&self, vertex: usize) -> impl Iterator<Item = usize> {
        self.out.of(vertex).iter().map(|&e| self.place[self.edges[e].1])
    }

    /// Puts a rank in another order.
    pub(super) fn reorder(&mut self, rank: usize, order: Vec<usize>) {
        for (place, &vertex) in order.iter().enumerate() {
            self.place[vertex] = place;
        }
        self.layers[rank] = order;
    }
}

/// Decides how the long wires of each box get down; the ranks of new bends are added to `rank`.
fn trunks(wires: &[(usize, usize)], rank: &mut Vec<usize>, boxes: usize) -> Vec<Trunk> {
    let mut lowest = rank.clone();
    for &(from, to) in wires {
        lowest[from] = lowest[from].max(rank[to]);
    }
    let span = |node: usize| lowest[node] - rank[node];
    let mut long: Vec<usize> = (0..boxes).filter(|&n| span(n) > 1).collect();
    // Short ones first: they get their bends.
    long.sort_by_key(|&n| (span(n), n));
    let mut left = BENDS + BENDS_PER_BOX * boxes;
    let mut bends = Vec::new();
    let mut trunks = vec![Trunk::Short; boxes];
    for node in long {
        let ranks = rank[node] + 1..lowest[node];
        trunks[node] = if ranks.len() <= left {
            left -= ranks.len();
            let first = boxes + bends.len();
            bends.extend(ranks);
            Trunk::Bends(first..boxes + bends.len())
        } else {
            left = 0;
            Trunk::Aside { ranks }
        };
    }
    rank.extend(bends);
    trunks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wires_of_one_node_share_their_bends() {
        let wires = [(0, 1), (1, 2), (2, 3), (0, 2), (0, 3)];
        let layered = Layered::new(&[4; 4], &wires, &[0, 1, 2, 3]);
        assert_eq!(layered.rank, [0, 1, 2, 3, 1, 2]);
        assert_eq!(layered.trunks[0], Trunk::Bends(4..6));
        let mut edges = layered.edges.clone();
        edges.sort_unstable();
        assert_eq!(edges, [(0, 1), (0, 4), (1, 2), (2, 3), (4, 2), (4, 5), (5, 3)]);
        assert_eq!(layered.layers, [vec![0], vec![1, 4], vec![2, 5], vec![3]]);
    }
}
