//! One-dimensional k-means with the least possible error (Wang and Song 2011, Ckmeans.1d.dp).
//!
//! Clusters of sorted values are runs, so that the best split of the first i values into k runs is a best
//! last run behind a best split into k − 1. Where that last run begins never moves left as i grows, nor
//! as k does. So every other i is done first, then those between them, whose last runs begin between those
//! of their neighbors: O(n log n) for each k. Where runs begin is kept for all k and i.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]

use super::sort::Sorted;
use crate::engine::Ctx;
use crate::engine::formats::error::FormatError;
use crate::engine::kernels::widest::{Work, widest};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use std::ops::Range;

/// Where each of at most `k` clusters begins, and the end of the last. Memory: 4·k bytes per value.
pub(super) fn exact(sorted: &Sorted, k: usize, ctx: &Ctx) -> Result<Vec<usize>, FormatError> {
    let n = sorted.len();
    let k = k.min(n);
    // costs[i]: of the first i values in so many clusters.
    let mut costs = sorted.squares.clone();
    costs.iter_mut().zip(sorted.sums.iter().zip(&sorted.weights)).skip(1).for_each(|(c, (s, w))| *c -= s * s / w);
    let mut begins = vec![vec![0_u32; n + 1]];
    let mut open = Vec::with_capacity(n + 1);
    for clusters in 2..=k {
        ctx.check()?;
        // Of the last layer the last entry alone is asked for.
        let whole = clusters < k;
        // What does not depend on the end: cost(j, i) = squares(i) + open(j) − (sums(i) − sums(j))²/(weights(i) − weights(j)).
        open.clear();
        open.extend(costs.iter().zip(&sorted.squares).map(|(c, q)| c - q));
        begins.push(layer(sorted, &open, &mut costs, begins.last().map_or(&[], Vec::as_slice), whole));
    }
    let mut bounds = vec![n];
    let mut end = n;
    for begins in begins.iter().rev().take(k) {
        end = begins[end] as usize;
        bounds.push(end);
    }
    bounds.reverse();
    bounds.dedup();
    Ok(bounds)
}

/// Ends that one task works on, a power of two: what it looks at stays near.
const SHARE: usize = 1 << 13;

/// One more cluster: where the last one begins for every end, or for the last end alone; `costs` become
/// those of so many clusters. `floor` is where the last cluster begins with one cluster less.
fn layer(sorted: &Sorted, open: &[f64], costs: &mut [f64], floor: &[u32], whole: bool) -> Vec<u32> {
    let ends = costs.len();
    let mut begins = floor.to_vec();
    let top = if whole { ends.next_power_of_two() } else { ends };
    let last = if whole { SHARE } else { ends };
    // The ends at odd multiples of a stride, counted from 1; those at even ones are done.
    for stride in std::iter::successors(Some(top), |s| Some(s / 2)).take_while(|s| *s >= last).filter(|s| *s <= ends) {
        let mut found = vec![(0.0, 0); (ends / stride).div_ceil(2)];
        found.par_chunks_mut(16).enumerate().for_each(|(task, found)| {
            for (at, found) in (task * 16..).zip(found) {
                let end = (2 * at + 1) * stride - 1;
                let bounds = (end.checked_sub(stride).map(|left| begins[left]), begins.get(end + stride).copied());
                widest(One { sorted, open, floor: floor[end], bounds, end, found });
            }
        });
        for (at, (cost, begin)) in found.into_iter().enumerate() {
            let end = (2 * at + 1) * stride - 1;
            (costs[end], begins[end]) = (cost, begin);
        }
    }
    if whole {
        // What lies between two ends that are done hangs on them alone.
        let before: Vec<Option<u32>> =
            std::iter::once(None).chain(begins.chunks_exact(SHARE).map(|c| c.last().copied())).collect();
        let chunks = begins.par_chunks_mut(SHARE).zip(costs.par_chunks_mut(SHARE)).zip(before).enumerate();
        chunks.for_each(|(task, ((begins, costs), before))| {
            widest(Between { sorted, open, floor, first: task * SHARE, before, begins, costs });
        });
    }
    begins
}

/// The best last cluster for one end.
struct One<'a> {
    sorted: &'a Sorted,
    open: &'a [f64],
    /// Where the last cluster begins with one cluster less.
    floor: u32,
    /// Where it begins for the nearest ends on either side that are done.
    bounds: (Option<u32>, Option<u32>),
    end: usize,
    found: &'a mut (f64, u32),
}

impl Work for One<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { sorted, open, floor, bounds: (left, right), end, found } = self;
        let below = left.unwrap_or(0).max(floor) as usize;
        let above = right.map_or(end, |b| b as usize + 1).min(end);
        let range = below.min(above.saturating_sub(1))..above;
        *found = if range.len() > 4 * BLOCK { least_far(sorted, open, range, end) } else { least(sorted, open, range, end) };
    }
}

/// Places whose costs are bounded together.
const BLOCK: usize = 256;

/// [`least`] of a long range, most of which is never looked at. Where the last cluster begins later, what is before
/// costs more and the cluster itself less: no place in a block is better than the cost before the block's first
/// place and that of the cluster from its last.
#[inline(always)]
fn least_far(sorted: &Sorted, open: &[f64], range: Range<usize>, end: usize) -> (f64, u32) {
    let (weight, sum) = (sorted.weights[end], sorted.sums[end]);
    let own = |at: usize| (sum - sorted.sums[at]).powi(2) / (weight - sorted.weights[at]);
    let known = range.clone().step_by(BLOCK).fold(f64::INFINITY, |best, at| best.min(open[at] - own(at)));
    // As much as sums of so many values are rounded by: what is so near is looked at.
    let known = known + 1e-11 * sorted.squares[end];
    let mut found = (f64::INFINITY, range.start as u32);
    for first in range.clone().step_by(BLOCK) {
        let last = (first + BLOCK).min(range.end) - 1;
        let bound = open[first] + sorted.squares[first] - sorted.squares[last] - own(last);
        if bound <= known {
            let (cost, begin) = least(sorted, open, first..last + 1, end);
            found = if cost < found.0 { (cost, begin) } else { found };
        }
    }
    found
}

/// The best last clusters for a run of ends, of which the last is done if the run is whole.
struct Between<'a> {
    sorted: &'a Sorted,
    open: &'a [f64],
    floor: &'a [u32],
    /// Number of the first end.
    first: usize,
    /// Where the last cluster begins for the end before it.
    before: Option<u32>,
    begins: &'a mut [u32],
    costs: &'a mut [f64],
}

impl Work for Between<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { sorted, open, floor, first, before, begins, costs } = self;
        for stride in std::iter::successors(Some(SHARE / 2), |s| (*s > LANES).then_some(s / 2)) {
            for at in (stride - 1..begins.len()).step_by(2 * stride) {
                let bounds = (at.checked_sub(stride).map_or(before, |left| Some(begins[left])), begins.get(at + stride).copied());
                let mut found = (0.0, 0);
                One { sorted, open, floor: floor[first + at], bounds, end: first + at, found: &mut found }.run();
                (costs[at], begins[at]) = found;
            }
        }
        // Seven ends between two that are done: few places for any of them, tried for all at once.
        let mut left = before;
        for (at, (begins, costs)) in (first..).step_by(LANES).zip(begins.chunks_mut(LANES).zip(costs.chunks_mut(LANES))) {
            let below = left.unwrap_or(0).max(floor[at]) as usize;
            let Some(right) = begins.get(LANES - 1).copied() else {
                // The last few of all have nothing to their right.
                for (end, (begin, cost)) in (at..).zip(begins.iter_mut().zip(costs)) {
                    (*cost, *begin) = least(sorted, open, below.min(end.saturating_sub(1))..end, end);
                }
                return;
            };
            left = Some(right);
            let (best, found) = side_by_side(sorted, open, below..(right as usize + 1).min(at + LANES - 1), at);
            for (i, (begin, cost)) in begins.iter_mut().zip(costs).enumerate().take(LANES - 1) {
                (*cost, *begin) = if at + i == 0 { (0.0, 0) } else { (sorted.squares[at + i] + best[i], found[i]) };
            }
        }
    }
}

/// What [`least`] finds, less the squares, for eight ends from `first` on; at least one place of the range lies
/// before each.
#[inline(always)]
fn side_by_side(sorted: &Sorted, open: &[f64], range: Range<usize>, first: usize) -> ([f64; LANES], [u32; LANES]) {
    let ends = |all: &[f64]| -> [f64; LANES] { std::array::from_fn(|i| all[first + i]) };
    let (weights, sums) = (ends(&sorted.weights), ends(&sorted.sums));
    let (mut best, mut found) = ([f64::INFINITY; LANES], [0.0_f64; LANES]);
    for at in range.clone() {
        let (w, s, o, place) = (sorted.weights[at], sorted.sums[at], open[at], (at - range.start) as f64);
        for i in 0..LANES {
            let (weight, sum) = (weights[i] - w, sums[i] - s);
            // A cluster begins before its end.
            let gain = if weight > 0.0 { o - sum * sum / weight } else { f64::INFINITY };
            let better = gain < best[i];
            best[i] = if better { gain } else { best[i] };
            found[i] = if better { place } else { found[i] };
        }
    }
    (best, found.map(|place| (range.start + place as usize) as u32))
}

const LANES: usize = 8;

/// The least cost of the first `end` values whose last cluster begins in `range`, and the first such place.
#[inline(always)]
fn least(sorted: &Sorted, open: &[f64], range: Range<usize>, end: usize) -> (f64, u32) {
    let (weight, sum) = (sorted.weights[end], sorted.sums[end]);
    let gain = |w: f64, s: f64, open: f64| open - (sum - s) * (sum - s) / (weight - w);
    let start = range.start;
    let (w, w_rest) = sorted.weights[range.clone()].as_chunks::<LANES>();
    let (s, s_rest) = sorted.sums[range.clone()].as_chunks::<LANES>();
    let (o, o_rest) = open[range].as_chunks::<LANES>();
    let mut found = (f64::INFINITY, start);
    if !w.is_empty() {
        let (mut best, mut at) = ([f64::INFINITY; LANES], [0.0_f64; LANES]);
        for (chunk, ((w, s), o)) in w.iter().zip(s).zip(o).enumerate() {
            let chunk = chunk as f64;
            for i in 0..LANES {
                let gain = gain(w[i], s[i], o[i]);
                let better = gain < best[i];
                best[i] = if better { gain } else { best[i] };
                at[i] = if better { chunk } else { at[i] };
            }
        }
        for i in 0..LANES {
            let place = start + at[i] as usize * LANES + i;
            if best[i] < found.0 || best[i] == found.0 && place < found.1 {
                found = (best[i], place);
            }
        }
    }
    let done = start + w.len() * LANES;
    for (i, ((w, s), o)) in w_rest.iter().zip(s_rest).zip(o_rest).enumerate() {
        let gain = gain(*w, *s, *o);
        // Two choices instead of a branch that nobody can foresee.
        let better = gain < found.0;
        found.1 = if better { done + i } else { found.1 };
        found.0 = if better { gain } else { found.0 };
    }
    // No value, no cost.
    if end == 0 { (0.0, 0) } else { (sorted.squares[end] + found.0, found.1 as u32) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    /// The least cost of each run from the start in one cluster more: by halves, without any short cut.
    fn plain(sorted: &Sorted, before: &[f64], costs: &mut [f64], ends: Range<usize>, begins: Range<usize>) {
        if ends.is_empty() {
            return;
        }
        let end = usize::midpoint(ends.start, ends.end);
        let cost = |at: usize| {
            let (sum, weight) = (sorted.sums[end] - sorted.sums[at], sorted.weights[end] - sorted.weights[at]);
            before[at] + sorted.squares[end] - sorted.squares[at] - sum * sum / weight
        };
        let places = begins.start..begins.end.min(end);
        let best = places.min_by(|a, b| cost(*a).total_cmp(&cost(*b))).unwrap_or(0);
        costs[end] = if end == 0 { 0.0 } else { cost(best) };
        plain(sorted, before, costs, ends.start..end, begins.start..best + 1);
        plain(sorted, before, costs, end + 1..ends.end, best..begins.end);
    }

    #[test]
    fn short_cuts_lead_to_the_same_end() {
        let mut random = Random::new(12);
        // Several shares of ends and many blocks of places; few of either; weights that are no counts.
        for (count, k) in [(40_000, 6), (8 * SHARE, 3), (900, 20), (13, 5), (8, 3), (3, 3)] {
            let pairs: Vec<(f32, f32)> = (0..count).map(|_| (random.normal().powi(3), random.uniform() + 0.01)).collect();
            for sorted in [Sorted::new(&pairs.iter().map(|p| p.0).collect::<Vec<_>>()), Sorted::weighed(pairs.iter().copied())] {
                let n = sorted.len();
                let cost = |from: usize, to: usize| {
                    let (sum, weight) = (sorted.sums[to] - sorted.sums[from], sorted.weights[to] - sorted.weights[from]);
                    sorted.squares[to] - sorted.squares[from] - sum * sum / weight
                };
                let mut least: Vec<f64> = (0..=n).map(|end| if end == 0 { 0.0 } else { cost(0, end) }).collect();
                for _ in 1..k {
                    let before = least.clone();
                    plain(&sorted, &before, &mut least, 0..n + 1, 0..n);
                }
                let bounds = exact(&sorted, k, &Ctx::new(2).unwrap()).unwrap();
                assert!(bounds.len() <= k + 1 && bounds.windows(2).all(|w| w[0] < w[1]), "{bounds:?}");
                let found: f64 = bounds.windows(2).map(|w| cost(w[0], w[1])).sum();
                assert!((found - least[n]).abs() <= 1e-9 * sorted.squares[n], "{count} {k}: {found} {}", least[n]);
            }
        }
    }
}
