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

/// Ends that one task works on.
const SHARE: usize = 1 << 12;

/// One more cluster: where the last one begins for every end, or for the last end alone; `costs` become
/// those of so many clusters. `floor` is where the last cluster begins with one cluster less.
fn layer(sorted: &Sorted, costs: &mut [f64], floor: &[u32], whole: bool) -> Vec<u32> {
    let ends = costs.len();
    // What does not depend on the end: cost(j, i) = squares(i) + open(j) − (sums(i) − sums(j))²/(weights(i) − weights(j)).
    let open: Vec<f64> = costs.iter().zip(&sorted.squares).map(|(c, q)| c - q).collect();
    let mut begins = floor.to_vec();
    let level = |stride: usize, begins: &mut [u32], costs: &mut [f64]| {
        // The ends at odd multiples of the stride, counted from 1; those at even ones are done.
        let mut found = vec![(0.0, 0); (ends / stride).div_ceil(2)];
        found.par_chunks_mut(SHARE).enumerate().for_each(|(task, found)| {
            widest(Level { sorted, open: &open, floor, begins, stride, first: task * SHARE, found });
        });
        for (at, (cost, begin)) in found.into_iter().enumerate() {
            let end = (2 * at + 1) * stride - 1;
            (costs[end], begins[end]) = (cost, begin);
        }
    };
    if whole {
        let top = ends.next_power_of_two();
        std::iter::successors(Some(top), |s| (*s > 1).then_some(s / 2))
            .filter(|s| *s <= ends)
            .for_each(|stride| level(stride, &mut begins, costs));
    } else {
        level(ends, &mut begins, costs);
    }
    begins
}

/// The best last clusters for some of the ends of one level.
struct Level<'a> {
    sorted: &'a Sorted,
    open: &'a [f64],
    floor: &'a [u32],
    /// Of the ends that are done.
    begins: &'a [u32],
    stride: usize,
    /// Number of the first end, of those of the level.
    first: usize,
    found: &'a mut [(f64, u32)],
}

impl Work for Level<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { sorted, open, floor, begins, stride, first, found } = self;
        for (at, found) in (first..).zip(found) {
            let end = (2 * at + 1) * stride - 1;
            let below = end.checked_sub(stride).map_or(0, |left| begins[left]).max(floor[end]) as usize;
            let above = begins.get(end + stride).map_or(end, |b| *b as usize + 1).min(end);
            let range = below.min(above.saturating_sub(1))..above;
            *found = least(sorted, open, range, end);
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
        if gain < found.0 {
            found = (gain, done + i);
        }
    }
    // No value, no cost.
    if end == 0 { (0.0, 0) } else { (sorted.squares[end] + found.0, found.1 as u32) }
}
