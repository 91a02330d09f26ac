//! One connected network, laid out: ranks, order, places, then wires between them.

use super::layered::{Layered, Trunk};
use super::{order, place, ranks};
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Grid units between ranks, and the most by which wires that go far aside widen that.
const BETWEEN_RANKS: i64 = 8;
const WIDEST_MORE: i64 = 12;
/// A gap is widened by one unit for each so many that a wire in it goes aside.
const SLANT: i64 = 12;
/// Grid units between lanes beside the drawing.
const LANE: i64 = 3;

/// In grid units, from the top left corner.
pub(super) struct Part {
    pub(super) centers: Vec<(i64, i64)>,
    /// Of each wire, from the lower border of one box to the upper border of another. Between two ranks a route
    /// changes its x, beside a rank it runs straight down.
    pub(super) routes: Vec<Vec<(i64, i64)>>,
    pub(super) width: i64,
    pub(super) height: i64,
}

/// Lays out boxes of these half widths and heights. Wires run from a lower number to a higher one, each once.
pub(super) fn lay(halves: &[(i64, i64)], wires: &[(usize, usize)]) -> Part {
    let widths: Vec<i64> = halves.iter().map(|h| h.0).collect();
    let rank = ranks::ranks(halves.len(), wires);
    let mut layered = Layered::new(&widths, wires, &rank);
    order::reduce_crossings(&mut layered);
    let x = place::centers(&layered);
    let right = x.iter().zip(&layered.half).map(|(x, half)| x + half).max().unwrap_or(0);
    let (lanes, width) = lanes(&layered.trunks, right);
    let columns = Columns { layered: &layered, x, lanes };
    let ways: Vec<Vec<usize>> = wires.iter().map(|&wire| columns.way(wire)).collect();
    let bands = Bands::new(halves, &layered, &columns, wires, &ways);
    let centers = (0..halves.len()).map(|b| (columns.x[b], bands.middle(rank[b]))).collect();
    let routes = wires.iter().zip(&ways).map(|(&wire, way)| columns.route(wire, way, &bands, halves)).collect();
    Part { centers, routes, width, height: bands.bottoms.last().copied().unwrap_or(0) }
}

/// A lane for each trunk that runs aside, right of `right`; those that do not meet share one. And the right end of
/// them all.
fn lanes(trunks: &[Trunk], right: i64) -> (Vec<Option<i64>>, i64) {
    let mut aside: Vec<(usize, usize, usize)> = Vec::new();
    for (node, trunk) in trunks.iter().enumerate() {
        if let Trunk::Aside { ranks } = trunk {
            aside.push((ranks.start, ranks.end, node));
        }
    }
    aside.sort_unstable();
    let mut of = vec![None; trunks.len()];
    let (mut busy, mut free, mut count) = (BinaryHeap::new(), BinaryHeap::new(), 0);
    for (start, end, node) in aside {
        while let Some(&Reverse((until, lane))) = busy.peek() {
            if until >= start {
                break;
            }
            busy.pop();
            free.push(Reverse(lane));
        }
        let lane = free.pop().map_or_else(
            || {
                count += 1;
                count
            },
            |Reverse(lane)| lane,
        );
        busy.push(Reverse((end, lane)));
        of[node] = Some(right + lane * LANE);
    }
    (of, right + count * LANE)
}

/// Where vertices and lanes lie from left to right.
struct Columns<'a> {
    layered: &'a Layered,
    x: Vec<i64>,
    lanes: Vec<Option<i64>>,
}

impl Columns<'_> {
    /// The bends on a wire's way down; none where it is one rank long or runs down a lane.
    fn way(&self, (from, to): (usize, usize)) -> Vec<usize> {
        let span = self.layered.rank[to] - self.layered.rank[from];
        match &self.layered.trunks[from] {
            Trunk::Bends(bends) => bends.clone().take(span - 1).collect(),
            _ => Vec::new(),
        }
    }

    /// The lane that a wire runs down, where it does.
    fn lane(&self, (from, to): (usize, usize)) -> Option<i64> {
        self.lanes[from].filter(|_| self.layered.rank[to] > self.layered.rank[from] + 1)
    }

    /// The gaps in which a wire moves aside, and by how much.
    fn asides(&self, wire: (usize, usize), way: &[usize]) -> Vec<(usize, i64)> {
        let (from, to) = (self.layered.rank[wire.0], self.layered.rank[wire.1]);
        let (start, end) = (self.x[wire.0], self.x[wire.1]);
        if let Some(lane) = self.lane(wire) {
            return vec![(from, lane - start), (to - 1, lane - end)];
        }
        let mut stops = vec![start];
        stops.extend(way.iter().map(|&bend| self.x[bend]));
        stops.push(end);
        stops.windows(2).enumerate().map(|(i, pair)| (from + i, (pair[1] - pair[0]).abs())).collect()
    }

    fn route(&self, wire: (usize, usize), way: &[usize], bands: &Bands, halves: &[(i64, i64)]) -> Vec<(i64, i64)> {
        let (from, to) = (self.layered.rank[wire.0], self.layered.rank[wire.1]);
        let (start, end) = (self.x[wire.0], self.x[wire.1]);
        let mut stops = vec![(start, bands.middle(from) + halves[wire.0].1), (start, bands.bottoms[from])];
        if let Some(lane) = self.lane(wire) {
            stops.extend([(lane, bands.tops[from + 1]), (lane, bands.bottoms[to - 1])]);
        }
        for &bend in way {
            let (x, rank) = (self.x[bend], self.layered.rank[bend]);
            stops.extend([(x, bands.tops[rank]), (x, bands.bottoms[rank])]);
        }
        stops.extend([(end, bands.tops[to]), (end, bands.middle(to) - halves[wire.1].1)]);
        let mut route: Vec<(i64, i64)> = Vec::with_capacity(stops.len());
        for stop in stops {
            if route.last() == Some(&stop) {
                continue;
            }
            if let [.., (a, _), (b, y)] = route[..]
                && a == b
                && b == stop.0
                && y <= stop.1
            {
                route.pop();
            }
            route.push(stop);
        }
        route
    }
}

/// Where ranks begin and end from top to bottom.
struct Bands {
    tops: Vec<i64>,
    bottoms: Vec<i64>,
}

impl Bands {
    fn new(halves: &[(i64, i64)], layered: &Layered, columns: &Columns, wires: &[(usize, usize)], ways: &[Vec<usize>]) -> Self {
        let count = layered.layers.len();
        let mut half = vec![0; count];
        for (node, (_, height)) in halves.iter().enumerate() {
            half[layered.rank[node]] = half[layered.rank[node]].max(*height);
        }
        let mut aside = vec![0; count];
        for (&wire, way) in wires.iter().zip(ways) {
            for (gap, by) in columns.asides(wire, way) {
                aside[gap] = aside[gap].max(by);
            }
        }
        let (mut tops, mut bottoms) = (Vec::with_capacity(count), Vec::with_capacity(count));
        let mut y = 0;
        for rank in 0..count {
            tops.push(y);
            bottoms.push(y + 2 * half[rank]);
            y += 2 * half[rank] + BETWEEN_RANKS + (aside[rank] / SLANT).min(WIDEST_MORE);
        }
        Self { tops, bottoms }
    }

    fn middle(&self, rank: usize) -> i64 {
        i64::midpoint(self.tops[rank], self.bottoms[rank])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_are_shared_by_what_does_not_meet() {
        let aside = |ranks| Trunk::Aside { ranks };
        let (of, right) = lanes(&[aside(1..5), aside(3..9), Trunk::Short, aside(6..8)], 100);
        assert_eq!(of, [Some(103), Some(106), None, Some(103)]);
        assert_eq!(right, 106);
    }
}
