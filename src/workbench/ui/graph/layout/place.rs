//! Where on its rank each vertex lies.
//!
//! Brandes and Köpf, "Fast and Simple Horizontal Coordinate Assignment" (2001): vertices are aligned with a median
//! neighbor in four ways (from above or below, from the left or the right), each is packed, and each vertex takes the
//! mean of its two middle places. The packing is by longest paths over blocks, in place of the paper's classes, whose
//! shifts needed an erratum (Brandes, Walter and Zink 2020).
//!
//! All in whole grid units: order statistics of the four, and their rounded mean, keep every distance that the four
//! keep, and what is aligned in all four is aligned exactly.

use super::layered::Layered;
use crate::workbench::ui::graph::links::Links;

/// Grid units between two boxes, between two bends, and between a box and a bend.
const BETWEEN_BOXES: i64 = 6;
const BETWEEN_BENDS: i64 = 3;
const BESIDE_A_BOX: i64 = 4;

/// The center of each vertex, in grid units; the leftmost border is at 0.
pub(super) fn centers(layered: &Layered) -> Vec<i64> {
    let straight = Straight::new(layered);
    let mut ways: Vec<(Vec<i64>, Extent, bool)> = Vec::with_capacity(4);
    for from_above in [true, false] {
        for from_left in [true, false] {
            let x = Way::new(layered, &straight, from_above, from_left).pack();
            let extent = Extent::of(layered, &x);
            ways.push((x, extent, from_left));
        }
    }
    let narrowest = ways.iter().map(|(_, e, _)| *e).min_by_key(|e| e.right - e.left).unwrap_or_default();
    for (x, extent, from_left) in &mut ways {
        let shift = if *from_left { narrowest.left - extent.left } else { narrowest.right - extent.right };
        for x in x {
            *x += shift;
        }
    }
    let mut middle: Vec<i64> = (0..layered.rank.len())
        .map(|v| {
            let mut four = [ways[0].0[v], ways[1].0[v], ways[2].0[v], ways[3].0[v]];
            four.sort_unstable();
            (four[1] + four[2]).div_euclid(2)
        })
        .collect();
    let left = Extent::of(layered, &middle).left;
    for x in &mut middle {
        *x -= left;
    }
    middle
}

#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    left: i64,
    right: i64,
}

impl Extent {
    fn of(layered: &Layered, x: &[i64]) -> Self {
        let borders = || x.iter().zip(&layered.half);
        Self {
            left: borders().map(|(x, half)| x - half).min().unwrap_or(0),
            right: borders().map(|(x, half)| x + half).max().unwrap_or(0),
        }
    }
}

/// The edges along which vertices may be aligned.
struct Straight {
    into: Links,
    out: Links,
}

impl Straight {
    /// All but those that branch off a trunk, which would bend it, and those that cross a trunk (type 1 conflicts).
    fn new(layered: &Layered) -> Self {
        let is_trunk = |edge: usize| {
            let (upper, lower) = layered.edges[edge];
            layered.is_bend(upper) && layered.is_bend(lower)
        };
        let mut allowed: Vec<bool> = (0..layered.edges.len())
            .map(|edge| is_trunk(edge) || !layered.out.of(layered.edges[edge].0).iter().any(|&e| is_trunk(e)))
            .collect();
        for rank in 1..layered.layers.len() {
            let lower = &layered.layers[rank];
            // Between two trunks, only what starts between them may be aligned.
            let (mut begun, mut left) = (0, 0);
            for (at, &vertex) in lower.iter().enumerate() {
                let trunk = layered.into.of(vertex).iter().copied().find(|&e| is_trunk(e));
                if trunk.is_none() && at + 1 < lower.len() {
                    continue;
                }
                let right = trunk.map_or(usize::MAX, |e| layered.place[layered.edges[e].0]);
                for &between in &lower[begun..=at] {
                    for &edge in layered.into.of(between) {
                        let start = layered.place[layered.edges[edge].0];
                        if (start < left || start > right) && !is_trunk(edge) {
                            allowed[edge] = false;
                        }
                    }
                }
                (begun, left) = (at + 1, right);
            }
        }
        let edges = || layered.edges.iter().enumerate().filter(|(i, _)| allowed[*i]);
        let count = layered.rank.len();
        Self {
            into: Links::new(count, edges().map(|(_, &(upper, lower))| (lower, upper))),
            out: Links::new(count, edges().map(|(_, e)| *e)),
        }
    }
}

/// One of the four ways to look at the layers: perhaps upside down, perhaps mirrored.
struct Way<'a> {
    layered: &'a Layered,
    straight: &'a Straight,
    from_above: bool,
    from_left: bool,
}

impl<'a> Way<'a> {
    fn new(layered: &'a Layered, straight: &'a Straight, from_above: bool, from_left: bool) -> Self {
        Self { layered, straight, from_above, from_left }
    }

    fn layer(&self, step: usize) -> Vec<usize> {
        let count = self.layered.layers.len();
        let mut layer = self.layered.layers[if self.from_above { step } else { count - 1 - step }].clone();
        if !self.from_left {
            layer.reverse();
        }
        layer
    }

    /// Where a vertex stands on its rank, from the side that this way begins at.
    fn place(&self, vertex: usize) -> usize {
        let place = self.layered.place[vertex];
        if self.from_left { place } else { self.layered.layers[self.layered.rank[vertex]].len() - 1 - place }
    }

    /// The block of each vertex, named by its first.
    fn align(&self) -> Vec<usize> {
        let mut root: Vec<usize> = (0..self.layered.rank.len()).collect();
        let mut near: Vec<(usize, usize)> = Vec::new();
        for step in 1..self.layered.layers.len() {
            // One past the place of the last neighbor that was taken: alignments do not cross.
            let mut free = 0;
            for vertex in self.layer(step) {
                let links = if self.from_above { &self.straight.into } else { &self.straight.out };
                near.clear();
                near.extend(links.of(vertex).iter().map(|&n| (self.place(n), n)));
                near.sort_unstable();
                let medians = near.len().saturating_sub(1) / 2..=near.len() / 2;
                if let Some(&(place, neighbor)) = near.get(medians).and_then(|m| m.iter().find(|(p, _)| *p >= free)) {
                    root[vertex] = root[neighbor];
                    free = place + 1;
                }
            }
        }
        root
    }

    /// Where each vertex lies once blocks are pushed to this way's side, and then back toward their neighbors.
    fn pack(&self) -> Vec<i64> {
        let root = self.align();
        let half = &self.layered.half;
        let mut apart = Vec::new();
        for step in 0..self.layered.layers.len() {
            for pair in self.layer(step).windows(2) {
                apart.push((pair[0], pair[1]));
            }
        }
        let distance = |(a, b): (usize, usize)| half[a] + half[b] + gap(self.layered.is_bend(a), self.layered.is_bend(b));
        let out = Links::new(root.len(), apart.iter().enumerate().map(|(i, p)| (root[p.0], i)));
        let mut waits = vec![0; root.len()];
        for pair in &apart {
            waits[root[pair.1]] += 1;
        }
        let mut order: Vec<usize> = (0..root.len()).filter(|&v| root[v] == v && waits[v] == 0).collect();
        let mut x = vec![0; root.len()];
        let mut next = 0;
        while let Some(&block) = order.get(next) {
            next += 1;
            for &i in out.of(block) {
                let other = root[apart[i].1];
                x[other] = x[other].max(x[block] + distance(apart[i]));
                waits[other] -= 1;
                if waits[other] == 0 {
                    order.push(other);
                }
            }
        }
        for &block in order.iter().rev() {
            let room = out.of(block).iter().map(|&i| x[root[apart[i].1]] - distance(apart[i])).min();
            x[block] = room.map_or(x[block], |room| room.max(x[block]));
        }
        root.iter().map(|&r| if self.from_left { x[r] } else { -x[r] }).collect()
    }
}

fn gap(a_is_bend: bool, b_is_bend: bool) -> i64 {
    match (a_is_bend, b_is_bend) {
        (false, false) => BETWEEN_BOXES,
        (true, true) => BETWEEN_BENDS,
        _ => BESIDE_A_BOX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chain_is_straight_and_a_fork_opens_evenly() {
        // 0 → 1 → 2, 3 → 4 → 5, a diamond with a stem.
        let wires = [(0, 1), (1, 2), (1, 3), (2, 4), (3, 4), (4, 5)];
        let layered = Layered::new(&[10; 6], &wires, &[0, 1, 2, 2, 3, 4]);
        assert_eq!(centers(&layered), [23, 23, 10, 36, 23, 23]);
    }

    #[test]
    fn what_reads_a_trunk_does_not_bend_it() {
        let wires = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 2), (0, 3), (0, 4)];
        let layered = Layered::new(&[10; 5], &wires, &[0, 1, 2, 3, 4]);
        let x = centers(&layered);
        assert_eq!(x[5], x[6]);
        assert_eq!(x[6], x[7]);
        assert_eq!((x[1], x[2]), (x[2], x[3]));
    }

    #[test]
    fn what_hangs_off_a_trunk_alone_does_not_bend_it() {
        let wires = [(0, 1), (1, 2), (2, 3), (3, 4), (0, 4), (0, 5), (0, 6)];
        let layered = Layered::new(&[10; 7], &wires, &[0, 1, 2, 3, 4, 2, 3]);
        let x = centers(&layered);
        assert!(x[7] == x[8] && x[8] == x[9], "{x:?}");
    }
}
