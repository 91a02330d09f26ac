//! Two quantities: sets are sorted, so that the sums with each option are sorted too, and one pass merges them.

use super::{Frontier, Numbered, Point, Stage, order, retain, thinned};
use crate::engine::Ctx;
use crate::engine::context::Cancelled;
use rayon::prelude::*;

/// Points of a set that one thread takes at a time.
const PIECE: usize = 16_384;

/// Sums after a group, sizes and costs apart: merging reads one or the other.
#[derive(Default)]
struct Sums {
    sizes: Vec<u64>,
    costs: Vec<f64>,
}

/// What one piece of a merge gives.
#[derive(Default)]
struct Piece {
    sums: Sums,
    stage: Stage,
}

/// Points of all stages together: what is kept to find plans again takes five bytes for each.
const ALL_POINTS: usize = 32 << 20;
/// A stage may always have as many as this.
const FEW_POINTS: usize = 1 << 16;

pub(super) fn all(groups: &[Vec<Numbered>], ctx: &Ctx) -> Result<Frontier, Cancelled> {
    let mut sums = Sums { sizes: vec![0], costs: vec![0.0] };
    let (mut stages, mut is_exact, mut used) = (vec![Stage::default(); groups.len()], true, 0);
    for (done, &group) in order(groups).iter().enumerate() {
        ctx.check()?;
        let Some((options, kept)) = groups.get(group).zip(stages.get_mut(group)) else { continue };
        let cuts = cuts(&sums, options);
        let pieces: Vec<Piece> =
            ctx.pool().install(|| cuts.par_windows(2).map(|ends| merge(&sums, options, ends[0], ends[1])).collect());
        sums = Sums::default();
        for piece in pieces {
            sums.sizes.extend(piece.sums.sizes);
            sums.costs.extend(piece.sums.costs);
            kept.parents.extend(piece.stage.parents);
            kept.options.extend(piece.stage.options);
        }
        let limit = (ALL_POINTS.saturating_sub(used) / (groups.len() - done)).max(FEW_POINTS);
        if sums.sizes.len() > limit {
            is_exact = false;
            let is_kept = thinned(sums.sizes.len(), limit);
            retain(&mut sums.sizes, &is_kept);
            retain(&mut sums.costs, &is_kept);
            kept.retain(&is_kept);
        }
        used += sums.sizes.len();
    }
    Ok(Frontier { points: points(&sums), is_exact, stages, order: order(groups) })
}

fn points(sums: &Sums) -> Vec<Point> {
    sums.sizes.iter().zip(&sums.costs).map(|(&size, &cost)| Point { size, cost }).collect()
}

/// Sizes at which the next set is cut into pieces that are merged apart; the last is beyond all.
fn cuts(sums: &Sums, options: &[Numbered]) -> Vec<u64> {
    let count = sums.sizes.len();
    // The middle option's sums show where most of the next set lies.
    let middle = options.get(options.len() / 2).map_or(0, |o| o.choice.size);
    let inner = (1..count.div_ceil(PIECE)).filter_map(|i| sums.sizes.get(i * PIECE)).map(|size| size.saturating_add(middle));
    let mut cuts: Vec<u64> = std::iter::once(0).chain(inner).chain([u64::MAX]).collect();
    cuts.dedup();
    cuts
}

/// One option's sums that are left to look at, and the first of them.
struct Run<'a> {
    option: Numbered,
    sizes: &'a [u64],
    costs: &'a [f64],
    /// Place of `sizes` in the set.
    from: usize,
    /// Place of the head in `sizes`.
    at: usize,
    /// Size and cost of the head; infinite where there is none.
    head: (u64, f64),
}

impl Run<'_> {
    /// Goes on to the first sum that costs less than `least`: the others are dominated by what was taken before.
    fn advance(&mut self, least: f64) {
        let Numbered { choice, .. } = self.option;
        while let Some(cost) = self.costs.get(self.at) {
            if cost + choice.cost < least {
                let size = self.sizes.get(self.at).copied().unwrap_or(u64::MAX);
                self.head = (size.saturating_add(choice.size), cost + choice.cost);
                return;
            }
            self.at += 1;
        }
        self.head = (u64::MAX, f64::NEG_INFINITY);
    }

    fn is_done(&self) -> bool {
        self.at >= self.costs.len()
    }
}

/// The undominated sums of sizes from `low` up to, not including, `high`.
fn merge(sums: &Sums, options: &[Numbered], low: u64, high: u64) -> Piece {
    let below = |size: u64| sums.sizes.partition_point(|s| *s < size);
    // What smaller sums cost at least.
    let mut least = f64::INFINITY;
    let mut runs: Vec<Run<'_>> = Vec::with_capacity(options.len());
    for &option in options {
        let size = option.choice.size;
        let (from, to) = (below(low.saturating_sub(size)), below(high.saturating_sub(size)));
        if let Some(before) = from.checked_sub(1).and_then(|i| sums.costs.get(i)) {
            least = least.min(before + option.choice.cost);
        }
        let (sizes, costs) = (&sums.sizes[from..to], &sums.costs[from..to]);
        runs.push(Run { option, sizes, costs, from, at: 0, head: (u64::MAX, f64::NEG_INFINITY) });
    }
    for run in &mut runs {
        run.advance(least);
    }
    let mut piece = Piece::default();
    loop {
        runs.retain(|run| !run.is_done());
        let Some(best) = runs.iter().min_by(|a, b| a.head.0.cmp(&b.head.0).then(a.head.1.total_cmp(&b.head.1))) else {
            return piece;
        };
        least = best.head.1;
        piece.sums.sizes.push(best.head.0);
        piece.sums.costs.push(least);
        piece.stage.parents.push((best.from + best.at) as u32);
        piece.stage.options.push(best.option.number);
        for run in runs.iter_mut().filter(|run| run.head.1 >= least) {
            run.advance(least);
        }
    }
}
