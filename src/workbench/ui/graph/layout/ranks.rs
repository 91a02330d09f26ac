//! On which rank each node lies: wires go down by one rank at least, and their total length is the smallest.
//!
//! The network simplex of Gansner, Koutsofios, North and Vo, "A Technique for Drawing Directed Graphs" (1993), §2.
//! Two shortcuts of our own: the tight tree grows as Prim's does, from two heaps; and since every wire weighs the
//! same, the cut value of a tree edge is the number of wires that leave its subtree less those that enter it, a sum
//! over the subtree's nodes.

use crate::workbench::ui::graph::links::Links;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Steps over a node or wire after which the ranks are taken as they are: feasible always, shortest nearly always.
const WORK: usize = 4_000_000;

/// Ranks from 0 of the nodes of one connected network. Wires run from a lower number to a higher one.
pub(super) fn ranks(count: usize, wires: &[(usize, usize)]) -> Vec<usize> {
    let mut simplex = Simplex::new(count, wires);
    let pivots = WORK / (count + wires.len() + 1);
    for _ in 0..pivots {
        if !simplex.pivot() {
            break;
        }
    }
    let least = simplex.rank.iter().min().copied().unwrap_or(0);
    simplex.rank.iter().map(|r| (r - least) as usize).collect()
}

/// Each node as high as its inputs let it; what has no input lies right above the first that reads it.
fn longest_path(count: usize, wires: &[(usize, usize)], around: &Links) -> Vec<i64> {
    let mut rank = vec![0; count];
    let mut source = vec![true; count];
    for node in 0..count {
        for &wire in around.of(node) {
            let (from, to) = wires[wire];
            if to == node {
                source[node] = false;
                rank[node] = rank[node].max(rank[from] + 1);
            }
        }
    }
    for node in (0..count).filter(|&n| source[n]) {
        rank[node] = around.of(node).iter().map(|&w| rank[wires[w].1] - 1).min().unwrap_or(0);
    }
    rank
}

struct Simplex<'a> {
    wires: &'a [(usize, usize)],
    /// The wires at each node.
    around: Links,
    rank: Vec<i64>,
    in_tree: Vec<bool>,
    /// The tree edge toward node 0, and when the node's walk began and ended.
    up: Vec<usize>,
    first: Vec<usize>,
    last: Vec<usize>,
    /// Nodes as the walk meets them, parents first.
    walk: Vec<usize>,
    /// Wires that leave a node less those that enter it.
    surplus: Vec<i64>,
}

const NONE: usize = usize::MAX;

impl<'a> Simplex<'a> {
    fn new(count: usize, wires: &'a [(usize, usize)]) -> Self {
        let both = wires.iter().enumerate().flat_map(|(i, &(a, b))| [(a, i), (b, i)]);
        let around = Links::new(count, both);
        let rank = longest_path(count, wires, &around);
        let mut surplus = vec![0; count];
        for &(from, to) in wires {
            surplus[from] += 1;
            surplus[to] -= 1;
        }
        let mut simplex = Self {
            wires,
            around,
            rank,
            in_tree: vec![false; wires.len()],
            up: vec![NONE; count],
            first: vec![0; count],
            last: vec![0; count],
            walk: Vec::with_capacity(count),
            surplus,
        };
        simplex.grow();
        simplex.number();
        simplex
    }

    fn slack(&self, wire: usize) -> i64 {
        let (from, to) = self.wires[wire];
        self.rank[to] - self.rank[from] - 1
    }

    /// A spanning tree of wires that are one rank long. The tree moves as a whole by `shift` toward the nearest node
    /// outside; ranks inside are kept without it, so that a move costs nothing.
    fn grow(&mut self) {
        let mut inside = vec![false; self.rank.len()];
        // Wires that leave the tree downward, and upward, by slack where `shift` is 0.
        let (mut below, mut above) = (BinaryHeap::new(), BinaryHeap::new());
        let mut shift = 0;
        let mut next = (!inside.is_empty()).then_some(0);
        while let Some(node) = next {
            inside[node] = true;
            self.rank[node] -= shift;
            for &wire in self.around.of(node) {
                let (from, to) = self.wires[wire];
                match from == node {
                    true if !inside[to] => below.push(Reverse((self.slack(wire), wire))),
                    false if !inside[from] => above.push(Reverse((self.slack(wire), wire))),
                    _ => {}
                }
            }
            while below.peek().is_some_and(|Reverse((_, w))| inside[self.wires[*w].1]) {
                below.pop();
            }
            while above.peek().is_some_and(|Reverse((_, w))| inside[self.wires[*w].0]) {
                above.pop();
            }
            let down = below.peek().map(|Reverse((slack, wire))| (slack - shift, *wire));
            let up = above.peek().map(|Reverse((slack, wire))| (slack + shift, *wire));
            next = match (down, up) {
                (Some((slack, wire)), other) if other.is_none_or(|(o, _)| slack <= o) => {
                    shift += slack;
                    self.in_tree[wire] = true;
                    Some(self.wires[wire].1)
                }
                (_, Some((slack, wire))) => {
                    shift -= slack;
                    self.in_tree[wire] = true;
                    Some(self.wires[wire].0)
                }
                _ => None,
            };
        }
    }

    /// Walks the tree from node 0: a subtree is what was met between a node's `first` and `last`.
    fn number(&mut self) {
        self.walk.clear();
        let mut stack = Vec::new();
        if !self.up.is_empty() {
            self.up[0] = NONE;
            stack.push(0);
        }
        while let Some(node) = stack.pop() {
            self.first[node] = self.walk.len();
            self.walk.push(node);
            for &wire in self.around.of(node) {
                if self.in_tree[wire] && wire != self.up[node] {
                    let (from, to) = self.wires[wire];
                    let child = if from == node { to } else { from };
                    self.up[child] = wire;
                    stack.push(child);
                }
            }
        }
        for &node in &self.walk {
            self.last[node] = self.first[node];
        }
        for &node in self.walk.iter().rev() {
            if let Some(parent) = self.parent(node) {
                self.last[parent] = self.last[parent].max(self.last[node]);
            }
        }
    }

    fn parent(&self, node: usize) -> Option<usize> {
        let &(from, to) = self.wires.get(self.up[node])?;
        Some(if from == node { to } else { from })
    }

    /// Trades the tree edge that costs the most for one that costs nothing; false where none costs anything.
    fn pivot(&mut self) -> bool {
        let mut sum = self.surplus.clone();
        let mut worst = (0, NONE);
        for &node in self.walk.iter().rev() {
            let Some(parent) = self.parent(node) else { continue };
            sum[parent] += sum[node];
            let leaves = self.wires[self.up[node]].0 == node;
            let cut = if leaves { sum[node] } else { -sum[node] };
            if cut < worst.0 {
                worst = (cut, node);
            }
        }
        let top = worst.1;
        if top == NONE {
            return false;
        }
        let under = self.first[top]..=self.last[top];
        let leaves = self.wires[self.up[top]].0 == top;
        // The subtree moves up where its own wire leaves it, else down, until a wire in its way is tight.
        let in_the_way = |&(from, to): &(usize, usize)| {
            let (from, to) = (under.contains(&self.first[from]), under.contains(&self.first[to]));
            from != to && to == leaves
        };
        let wires = self.wires.iter().enumerate();
        let stop = wires.filter(|(_, w)| in_the_way(w)).map(|(i, _)| (self.slack(i), i)).min();
        let Some((slack, wire)) = stop else { return false };
        for &node in &self.walk[under] {
            self.rank[node] += if leaves { -slack } else { slack };
        }
        self.in_tree[self.up[top]] = false;
        self.in_tree[wire] = true;
        self.number();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workbench::ui::graph::tests::Lcg;

    #[test]
    fn a_diamond_with_a_long_side_has_the_longest_paths_ranks() {
        assert_eq!(ranks(5, &[(0, 1), (1, 2), (2, 4), (0, 3), (3, 4)])[4], 3);
    }

    #[test]
    fn a_late_input_lies_right_above_its_reader() {
        // 0 → 1 → 2 → 4, and 3 → 4 by way of nothing.
        assert_eq!(ranks(5, &[(0, 1), (1, 2), (2, 4), (3, 4)]), [0, 1, 2, 2, 3]);
    }

    #[test]
    fn a_side_chain_moves_as_one_toward_what_reads_it_most() {
        // 0..5 a chain; 6 → 7 hang off 0 and are read twice at 5: one long wire, at the top.
        let wires = [(0, 1), (1, 2), (2, 3), (3, 4), (4, 8), (0, 5), (5, 6), (5, 7), (6, 8), (7, 8)];
        let rank = ranks(9, &wires);
        let length: usize = wires.iter().map(|&(a, b)| rank[b] - rank[a]).sum();
        assert_eq!(length, 5 + 3 + 2 + 2, "{rank:?}");
    }

    #[test]
    fn no_node_of_a_random_network_would_lie_better_elsewhere() {
        for seed in 0..40 {
            let mut lcg = Lcg(seed);
            let count = 5 + lcg.below(60);
            let mut wires: Vec<(usize, usize)> = (1..count).map(|at| (lcg.below(at), at)).collect();
            wires.extend((0..count / 2).map(|_| (lcg.below(count), lcg.below(count))).filter(|(a, b)| a < b));
            wires.sort_unstable();
            wires.dedup();
            let rank = ranks(count, &wires);
            assert!(wires.iter().all(|&(a, b)| rank[a] < rank[b]) && rank.contains(&0));
            for node in 0..count {
                let into: Vec<usize> = wires.iter().filter(|w| w.1 == node).map(|w| rank[w.0]).collect();
                let out: Vec<usize> = wires.iter().filter(|w| w.0 == node).map(|w| rank[w.1]).collect();
                let (highest, lowest) = (into.iter().max().map(|r| r + 1), out.iter().min().map(|r| r - 1));
                assert!(into.len() <= out.len() || highest == Some(rank[node]), "{node} could go up");
                assert!(out.len() <= into.len() || lowest == Some(rank[node]), "{node} could go down");
            }
        }
    }
}
