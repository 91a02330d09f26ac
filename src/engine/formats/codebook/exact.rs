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

/// Where each of at most `k` clusters begins, and the end of the last. Memory: 4·k bytes per value.
pub(super) fn exact(sorted: &Sorted, k: usize, ctx: &Ctx) -> Result<Vec<usize>, FormatError> {
    let n = sorted.len();
    let k = k.min(n);
    // costs[i]: of the first i values in so many clusters.
    let mut costs = sorted.squares.clone();
    costs.iter_mut().zip(sorted.sums.iter().zip(&sorted.weights)).skip(1).for_each(|(c, (s, w))| *c -= s * s / w);
    let mut begins = vec![vec![0_u32; n + 1]];
    for clusters in 2..=k {
        ctx.check()?;
        // Of the last layer the last entry alone is asked for.
        let whole = clusters < k;
        begins.push(layer(sorted, &mut costs, begins.last().map_or(&[], Vec::as_slice), whole));
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
fn layer(sorted: &Sorted, costs: &mut [f64], floor: &[u32], whole: bool) -> Vec<u32> {
    let ends = costs.len();
    // What does not depend on the end: cost(j, i) = squares(i) + open(j) − (sums(i) − sums(j))²/(weights(i) − weights(j)).
    let open: Vec<f64> = costs.iter().zip(&sorted.squares).map(|(c, q)| c - q).collect();
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
                widest(One { sorted, open: &open, floor: floor[end], bounds, end, found });
            }
        });
        for (at, (cost, begin)) in found.into_iter().enumerate() {
            let end = (2 * at + 1) * stride - 1;
            (costs[end], begins[end]) = (cost, begin);
        }
    }
    if whole {
        // What lies between two ends that are done hangs on them alone.
        let before: Vec<Option<u32>> = std::iter::once(None).chain(begins.chunks_exact(SHARE).map(|c| c.last().copied())).collect();
        let chunks = begins.par_chunks_mut(SHARE).zip(costs.par_chunks_mut(SHARE)).zip(before).enumerate();
        chunks.for_each(|(task, ((begins, costs), before))| {
            widest(Between { sorted, open: &open, floor, first: task * SHARE, before, begins, costs });
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
        *found = least(sorted, open, below.min(above.saturating_sub(1))..above, end);
    }
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
        for stride in std::iter::successors(Some(SHARE / 2), |s| (*s > 1).then_some(s / 2)) {
            for at in (stride - 1..begins.len()).step_by(2 * stride) {
                let bounds = (at.checked_sub(stride).map_or(before, |left| Some(begins[left])), begins.get(at + stride).copied());
                let mut found = (0.0, 0);
                One { sorted, open, floor: floor[first + at], bounds, end: first + at, found: &mut found }.run();
                (costs[at], begins[at]) = found;
            }
        }
    }
}

const LANES: usize = 8;

/// The least cost of the first `end` values whose last cluster begins in `range`, and the first such place.
#[inline(always)]
fn least(sorted: &Sorted, open: &[f64], range: std::ops::Range<usize>, end: usize) -> (f64, u32) {
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
