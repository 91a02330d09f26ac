//! In which order the vertices of a rank stand, so that few wires cross.
//!
//! Sweeps by barycenter: Sugiyama, Tagawa and Toda, "Methods for Visual Understanding of Hierarchical System
//! Structures" (1981). After each, neighbors are swapped where that helps: Gansner et al. (1993), §3. Crossings are
//! counted as inversions: Barth, Jünger and Mutzel, "Simple and Efficient Bilayer Cross Counting" (2002).

use super::layered::Layered;

/// Sweeps without a better order after which the best is taken.
const PATIENCE: usize = 4;
const SWEEPS: usize = 24;
/// Rounds of swaps after a sweep.
const SWAPS: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Side {
    Above,
    Below,
}

/// Leaves the best order that the sweeps find, never a worse one than there was. Returns its crossings.
pub(super) fn reduce_crossings(layered: &mut Layered) -> usize {
    let mut counts = Counts::new(layered);
    let mut best = (counts.total(), layered.layers.clone());
    let mut stale = 0;
    for sweep in 0..SWEEPS {
        if best.0 == 0 || stale == PATIENCE {
            break;
        }
        let ranks = layered.layers.len();
        if sweep % 2 == 0 {
            (1..ranks).for_each(|rank| sort(layered, rank, Side::Above, sweep % 4 == 2));
        } else {
            (0..ranks.saturating_sub(1)).rev().for_each(|rank| sort(layered, rank, Side::Below, sweep % 4 == 3));
        }
        counts.recount(layered);
        swap_neighbors(layered, &mut counts);
        stale += 1;
        if counts.total() < best.0 {
            best = (counts.total(), layered.layers.clone());
            stale = 0;
        }
    }
    for (rank, order) in best.1.into_iter().enumerate() {
        layered.reorder(rank, order);
    }
    best.0
}

/// Sorts a rank by the mean place of the neighbors on one side. What has none there keeps its place. Among equals
/// the order stays, or turns around.
fn sort(layered: &mut Layered, rank: usize, side: Side, turned: bool) {
    let mut keyed: Vec<(f64, usize)> = Vec::with_capacity(layered.layers[rank].len());
    for &vertex in &layered.layers[rank] {
        let (sum, count) = match side {
            Side::Above => layered.above(vertex).fold((0, 0), |(s, n), p| (s + p, n + 1)),
            Side::Below => layered.below(vertex).fold((0, 0), |(s, n), p| (s + p, n + 1)),
        };
        if count > 0 {
            keyed.push((sum as f64 / f64::from(count), vertex));
        }
    }
    if turned {
        keyed.reverse();
    }
    if keyed.is_sorted_by(|a, b| a.0 <= b.0) && !turned {
        return;
    }
    keyed.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut next = keyed.into_iter();
    let linked = |v: usize| match side {
        Side::Above => !layered.into.of(v).is_empty(),
        Side::Below => !layered.out.of(v).is_empty(),
    };
    let old = &layered.layers[rank];
    let order = old.iter().map(|&v| if linked(v) { next.next().map_or(v, |(_, w)| w) } else { v }).collect();
    layered.reorder(rank, order);
}

/// Crossings between each rank and the next.
struct Counts(Vec<usize>);

impl Counts {
    fn new(layered: &Layered) -> Self {
        let mut counts = Self(vec![0; layered.layers.len().saturating_sub(1)]);
        counts.recount(layered);
        counts
    }

    fn total(&self) -> usize {
        self.0.iter().sum()
    }

    fn recount(&mut self, layered: &Layered) {
        for (rank, count) in self.0.iter_mut().enumerate() {
            *count = crossings(layered, rank);
        }
    }

    /// Whether a wire crosses another right above or below a rank.
    fn any_at(&self, rank: usize) -> bool {
        let gap = |g: usize| self.0.get(g).is_some_and(|&c| c > 0);
        gap(rank) || rank > 0 && gap(rank - 1)
    }
}

/// Crossings between a rank and the next: the inversions of the lower ends, read in the order of the upper ones.
fn crossings(layered: &Layered, rank: usize) -> usize {
    let width = layered.layers[rank + 1].len();
    if width < 2 || layered.layers[rank].len() < 2 {
        return 0;
    }
    let mut ends = Vec::new();
    for &vertex in &layered.layers[rank] {
        let start = ends.len();
        ends.extend(layered.below(vertex));
        ends[start..].sort_unstable();
    }
    if ends.is_sorted() {
        return 0;
    }
    // A Fenwick tree over the lower places: how many ends so far lie at or left of one.
    let mut seen = vec![0; width + 1];
    let mut inversions = 0;
    for (so_far, &end) in ends.iter().enumerate() {
        let mut at = end + 1;
        let mut before = 0;
        while at > 0 {
            before += seen[at];
            at &= at - 1;
        }
        inversions += so_far - before;
        at = end + 1;
        while at <= width {
            seen[at] += 1;
            at += at & at.wrapping_neg();
        }
    }
    inversions
}

/// Swaps neighbors wherever fewer wires cross then.
fn swap_neighbors(layered: &mut Layered, counts: &mut Counts) {
    let (mut left, mut right) = (Vec::new(), Vec::new());
    for _ in 0..SWAPS {
        let mut better = false;
        for rank in 0..layered.layers.len() {
            if !counts.any_at(rank) {
                continue;
            }
            let mut swapped = false;
            for at in 1..layered.layers[rank].len() {
                let (a, b) = (layered.layers[rank][at - 1], layered.layers[rank][at]);
                let (mut kept, mut turned) = (0, 0);
                for side in [Side::Above, Side::Below] {
                    gather(layered, a, side, &mut left);
                    gather(layered, b, side, &mut right);
                    kept += pairs_in_turn(&right, &left);
                    turned += pairs_in_turn(&left, &right);
                }
                if turned < kept {
                    layered.layers[rank].swap(at - 1, at);
                    (layered.place[a], layered.place[b]) = (at, at - 1);
                    swapped = true;
                }
            }
            if swapped {
                better = true;
                for gap in rank.saturating_sub(1)..=rank {
                    if gap < counts.0.len() {
                        counts.0[gap] = crossings(layered, gap);
                    }
                }
            }
        }
        if !better {
            break;
        }
    }
}

fn gather(layered: &Layered, vertex: usize, side: Side, into: &mut Vec<usize>) {
    into.clear();
    match side {
        Side::Above => into.extend(layered.above(vertex)),
        Side::Below => into.extend(layered.below(vertex)),
    }
    into.sort_unstable();
}

/// Pairs of one from each sorted list, the first smaller than the second.
fn pairs_in_turn(first: &[usize], second: &[usize]) -> usize {
    let mut smaller = 0;
    let mut pairs = 0;
    for value in second {
        while smaller < first.len() && first[smaller] < *value {
            smaller += 1;
        }
        pairs += smaller;
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workbench::ui::graph::tests::Lcg;

    /// By looking at every pair of edges.
    fn count_crossings(layered: &Layered) -> usize {
        let ends = |edge: usize| {
            let (upper, lower) = layered.edges[edge];
            (layered.rank[upper], layered.place[upper], layered.place[lower])
        };
        let all = || (0..layered.edges.len()).map(ends);
        all().map(|a| all().filter(|b| a.0 == b.0 && a.1 < b.1 && a.2 > b.2).count()).sum()
    }

    #[test]
    fn crossings_are_inversions() {
        // Three above, three below, each to the opposite one.
        let mut layered = Layered::new(&[1; 6], &[(0, 5), (1, 4), (2, 3)], &[0, 0, 0, 1, 1, 1]);
        layered.reorder(1, vec![3, 4, 5]);
        assert_eq!(count_crossings(&layered), 3);
        assert_eq!(reduce_crossings(&mut layered), 0);
        assert_eq!(count_crossings(&layered), 0);
    }

    #[test]
    fn two_full_triples_keep_the_nine_crossings_that_they_must() {
        let wires: Vec<_> = (0..3).flat_map(|a| (3..6).map(move |b| (a, b))).collect();
        let mut layered = Layered::new(&[1; 6], &wires, &[0, 0, 0, 1, 1, 1]);
        assert_eq!(reduce_crossings(&mut layered), 9);
    }

    #[test]
    fn random_networks_never_cross_more_than_before() {
        for seed in 0..40 {
            let mut lcg = Lcg(seed);
            let count = 10 + lcg.below(80);
            let rank: Vec<usize> = (0..count).map(|at| at / 6).collect();
            let wires = (0..2 * count).map(|_| (lcg.below(count), lcg.below(count)));
            let mut wires: Vec<_> = wires.filter(|&(a, b)| rank[a] < rank[b]).collect();
            wires.sort_unstable();
            wires.dedup();
            let mut layered = Layered::new(&vec![4; count], &wires, &rank);
            let before = count_crossings(&layered);
            let claimed = reduce_crossings(&mut layered);
            assert_eq!(claimed, count_crossings(&layered));
            assert!(claimed <= before, "{before} → {claimed}");
            // A good order is the hardest to keep.
            assert!(reduce_crossings(&mut layered) <= claimed);
            for (at, order) in layered.layers.iter().enumerate() {
                assert!(order.iter().enumerate().all(|(p, &v)| layered.place[v] == p && layered.rank[v] == at));
            }
        }
    }
}
