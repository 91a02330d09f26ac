//! A third quantity that plans must keep within a limit: a sum is dominated by another that is no worse in all
//! three.

use super::{Frontier, FrontierError, Numbered, Point, Stage, order, retain, thinned};
use crate::engine::Ctx;
use std::collections::BTreeMap;

/// How many points a stage may have. Sets that no third quantity limits are thinned out later.
const MOST_POINTS: usize = 1 << 17;

/// A sum on its way: what it is, and what it came from.
#[derive(Clone, Copy)]
struct Candidate {
    point: Point,
    other: u64,
    /// `other`, but no less than what surely keeps to the limit whatever follows: below that it does not matter.
    pressing: u64,
    parent: u32,
    option: u8,
}

pub(super) fn all(groups: &[Vec<Numbered>], limit: u64, ctx: &Ctx) -> Result<Frontier, FrontierError> {
    let least = |options: &Vec<Numbered>| options.iter().map(|o| o.choice.other).min().unwrap_or(0);
    let most = |options: &Vec<Numbered>| options.iter().map(|o| o.choice.other).max().unwrap_or(0);
    let total = |of: &dyn Fn(&Vec<Numbered>) -> u64| groups.iter().fold(0_u64, |sum, g| sum.saturating_add(of(g)));
    let (mut least_left, mut most_left) = (total(&least), total(&most));
    if least_left > limit {
        return Err(FrontierError::Infeasible { least: least_left, limit });
    }
    let (mut points, mut others) = (vec![Point { size: 0, cost: 0.0 }], vec![0]);
    let (mut stages, mut is_exact) = (vec![Stage::default(); groups.len()], true);
    let order = order(groups);
    for &group in &order {
        ctx.check()?;
        let Some((options, stage)) = groups.get(group).zip(stages.get_mut(group)) else { continue };
        least_left = least_left.saturating_sub(least(options));
        most_left = most_left.saturating_sub(most(options));
        let mut sums = sums((&points, &others), options, limit - least_left.min(limit), limit.saturating_sub(most_left));
        let by_all = |a: &Candidate, b: &Candidate| {
            let sizes = a.point.size.cmp(&b.point.size).then(a.point.cost.total_cmp(&b.point.cost));
            sizes.then(a.pressing.cmp(&b.pressing))
        };
        sums.sort_by(by_all);
        (points, others, *stage) = undominated(&sums);
        if points.len() > MOST_POINTS {
            is_exact = false;
            let is_kept = thinned(points.len(), MOST_POINTS);
            retain(&mut points, &is_kept);
            retain(&mut others, &is_kept);
            stage.retain(&is_kept);
        }
    }
    // All that are left keep to the limit: now only two quantities count.
    if let Some(last) = order.last().and_then(|group| stages.get_mut(*group)) {
        let mut best = f64::INFINITY;
        let is_kept: Vec<bool> = points
            .iter()
            .map(|p| {
                let better = p.cost < best;
                best = best.min(p.cost);
                better
            })
            .collect();
        retain(&mut points, &is_kept);
        last.retain(&is_kept);
    }
    Ok(Frontier { points, is_exact, stages, order })
}

/// Every point with every option, as far as the limit can still be kept.
fn sums((points, others): (&[Point], &[u64]), options: &[Numbered], highest: u64, harmless: u64) -> Vec<Candidate> {
    let mut sums = Vec::with_capacity(points.len() * options.len());
    for &Numbered { number: option, choice } in options {
        for (parent, (before, other)) in points.iter().zip(others).enumerate() {
            let point = Point { size: before.size.saturating_add(choice.size), cost: before.cost + choice.cost };
            let other = other.saturating_add(choice.other);
            if other <= highest {
                sums.push(Candidate { point, other, pressing: other.max(harmless), parent: parent as u32, option });
            }
        }
    }
    sums
}

/// Of sums by ascending size, those that no earlier one beats in cost and in what presses.
fn undominated(sums: &[Candidate]) -> (Vec<Point>, Vec<u64>, Stage) {
    // Cost → what presses least at that cost or below: the dearer, the less.
    let mut stairs: BTreeMap<u64, u64> = BTreeMap::new();
    let (mut points, mut others, mut stage) = (Vec::new(), Vec::new(), Stage::default());
    for sum in sums {
        let cost = ordered(sum.point.cost);
        if stairs.range(..=cost).next_back().is_some_and(|(_, pressing)| *pressing <= sum.pressing) {
            continue;
        }
        let beaten: Vec<u64> = stairs.range(cost..).take_while(|(_, p)| **p >= sum.pressing).map(|(c, _)| *c).collect();
        for cost in beaten {
            stairs.remove(&cost);
        }
        stairs.insert(cost, sum.pressing);
        points.push(sum.point);
        others.push(sum.other);
        stage.parents.push(sum.parent);
        stage.options.push(sum.option);
    }
    (points, others, stage)
}

/// Bits of a number that are ordered as the numbers are.
fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if value.is_sign_negative() { !bits } else { bits | 1 << 63 }
}
