//! One-dimensional k-means with the least possible error (Wang and Song 2011, Ckmeans.1d.dp).
//!
//! Clusters of sorted values are runs, so that the best split into k is a best last run behind a best split
//! into k − 1. Where the last run begins never moves left as its end moves right, which makes a
//! layer of that table O(n log n) by halving. Instead of the whole table, O(kn), each layer carries along where the
//! middle cluster began; the halves before and behind it are then split alike. Twice the time, memory O(n).

use super::sort::Sorted;
use crate::engine::Ctx;
use crate::engine::formats::error::FormatError;
use crate::engine::kernels::widest::{Work, widest};

/// Where each of at most `k` clusters begins, and the end of the last.
pub(crate) fn exact(sorted: &Sorted, k: usize, ctx: &Ctx) -> Result<Vec<usize>, FormatError> {
    let mut bounds = vec![0];
    if sorted.len() > 0 && k > 0 {
        split(sorted, 0, sorted.len(), k, &mut bounds, ctx)?;
        bounds.push(sorted.len());
    }
    Ok(bounds)
}

/// Appends where the second to the `k`-th cluster of the values from `low` to `high` begin.
fn split(sorted: &Sorted, low: usize, high: usize, k: usize, bounds: &mut Vec<usize>, ctx: &Ctx) -> Result<(), FormatError> {
    if k <= 1 || high - low <= 1 {
        return Ok(());
    }
    if high - low <= k {
        bounds.extend(low + 1..high);
        return Ok(());
    }
    let first = k / 2;
    let middle = low + middle(&Part::new(sorted, low, high), k, first, ctx)?;
    split(sorted, low, middle, first, bounds, ctx)?;
    bounds.push(middle);
    split(sorted, middle, high, k - first, bounds, ctx)
}

/// In the best split of a part into `k` clusters: where the cluster behind the first `first` begins.
fn middle(part: &Part<'_>, k: usize, first: usize, ctx: &Ctx) -> Result<usize, FormatError> {
    let ends = part.weights.len();
    // costs[i]: of the first i values in so many clusters; starts[i]: where the middle cluster of that split begins.
    let mut costs: Vec<f64> = (0..ends).map(|end| part.cost(0, end)).collect();
    let mut starts: Vec<u32> = Vec::new();
    for clusters in 2..=k {
        ctx.check()?;
        let (mut next, mut begins) = (vec![0.0; ends], vec![0_u32; ends]);
        // A last layer is asked for its last entry alone.
        let from = if clusters == k { ends - 1 } else { 0 };
        fill(part, &costs, 0..ends, from, &mut next[from..], &mut begins[from..]);
        costs = next;
        starts = if clusters == first + 1 {
            begins
        } else if clusters > first {
            begins.iter().map(|b| starts[*b as usize]).collect()
        } else {
            starts
        };
    }
    Ok(starts.last().map_or(0, |s| *s as usize))
}

/// Values of a part, with sums that begin with it.
struct Part<'a> {
    weights: &'a [f64],
    sums: &'a [f64],
    squares: &'a [f64],
}

impl<'a> Part<'a> {
    fn new(sorted: &'a Sorted, low: usize, high: usize) -> Self {
        let of = |all: &'a [f64]| &all[low..=high];
        Self { weights: of(&sorted.weights), sums: of(&sorted.sums), squares: of(&sorted.squares) }
    }

    /// Σ(x − mean)² of the values from `from` to `to`.
    #[inline(always)]
    fn cost(&self, from: usize, to: usize) -> f64 {
        let weight = self.weights[to] - self.weights[from];
        let sum = self.sums[to] - self.sums[from];
        let error = self.squares[to] - self.squares[from] - sum * sum / weight;
        if weight > 0.0 { error.max(0.0) } else { 0.0 }
    }
}

/// Ends that one task works on.
const SHARE: usize = 1 << 14;

/// For the ends from `first` on: the least cost over where the last cluster may begin (within `range`), and
/// the first such place.
fn fill(part: &Part<'_>, before: &[f64], range: std::ops::Range<usize>, first: usize, costs: &mut [f64], begins: &mut [u32]) {
    let half = costs.len() / 2;
    if costs.is_empty() {
        return;
    }
    let end = first + half;
    let candidates = range.start..range.end.min(end + 1);
    let (cost, begin) = least(part, before, candidates, end);
    costs[half] = cost;
    begins[half] = begin as u32;
    let (left, right) = costs.split_at_mut(half);
    let (left_begins, right_begins) = begins.split_at_mut(half);
    let (Some((_, right)), Some((_, right_begins))) = (right.split_first_mut(), right_begins.split_first_mut()) else { return };
    let long = left.len() > SHARE;
    let mut lower = || fill(part, before, range.start..begin + 1, first, left, left_begins);
    let mut upper = || fill(part, before, begin..range.end, end + 1, right, right_begins);
    if long {
        rayon::join(lower, upper);
    } else {
        lower();
        upper();
    }
}

/// The least cost of a last cluster that ends at `end`, and the first place to begin it.
fn least(part: &Part<'_>, before: &[f64], range: std::ops::Range<usize>, end: usize) -> (f64, usize) {
    let mut found = (f64::INFINITY, range.start);
    widest(Least { part, before, range, end, found: &mut found });
    found
}

struct Least<'a> {
    part: &'a Part<'a>,
    before: &'a [f64],
    range: std::ops::Range<usize>,
    end: usize,
    found: &'a mut (f64, usize),
}

const LANES: usize = 8;

impl Work for Least<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { part, before, range, end, found } = self;
        let (weight, sum, square) = (part.weights[end], part.sums[end], part.squares[end]);
        let cost = |w: f64, s: f64, q: f64, before: f64| {
            let (w, s) = (weight - w, sum - s);
            let error = square - q - s * s / w;
            // Not a number where the cluster is empty.
            before + if error > 0.0 { error } else { 0.0 }
        };
        let start = range.start;
        let (w, w_rest) = part.weights[range.clone()].as_chunks::<LANES>();
        let (s, s_rest) = part.sums[range.clone()].as_chunks::<LANES>();
        let (q, q_rest) = part.squares[range.clone()].as_chunks::<LANES>();
        let (b, b_rest) = before[range].as_chunks::<LANES>();
        let (mut best, mut at) = ([f64::INFINITY; LANES], [0.0_f64; LANES]);
        for (chunk, (((w, s), q), b)) in w.iter().zip(s).zip(q).zip(b).enumerate() {
            let chunk = chunk as f64;
            for i in 0..LANES {
                let cost = cost(w[i], s[i], q[i], b[i]);
                let better = cost < best[i];
                best[i] = if better { cost } else { best[i] };
                at[i] = if better { chunk } else { at[i] };
            }
        }
        for i in 0..LANES {
            let place = start + at[i] as usize * LANES + i;
            if best[i] < found.0 || best[i] == found.0 && place < found.1 {
                *found = (best[i], place);
            }
        }
        let done = start + w.len() * LANES;
        for (i, (((w, s), q), b)) in w_rest.iter().zip(s_rest).zip(q_rest).zip(b_rest).enumerate() {
            let cost = cost(*w, *s, *q, *b);
            if cost < found.0 {
                *found = (cost, done + i);
            }
        }
    }
}
