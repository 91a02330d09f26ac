//! What layers bear in the company of a whole plan. Sensitivities of layers alone are too hopeful: errors of many layers
//! meet. About a plan that was built, each group is moved one option up and down and measured for real; sums
//! over these numbers hold for a few moves at a time.

use super::run::{Bench, Stop};
use super::{Candidate, Goal};
use crate::engine::Ctx;
use crate::pipeline::compress::CompressError;
use crate::pipeline::configure;
use crate::pipeline::search::SearchError;
use crate::pipeline::search::frontier::{Choice, frontier};
use crate::pipeline::search::judge::Judge;
use crate::pipeline::search::sensitivity::{first_in, unpacked};

/// Groups that a proposal moves at most; and by how much it should be smaller, where size is what is sought.
const MOVES: [(u64, f64); 5] = [(2, 0.995), (3, 0.99), (5, 0.98), (8, 0.965), (13, 0.94)];
/// Steps down that exchanges are made of, and exchanges that are proposed in a round.
const DOWNS: usize = 24;
const EXCHANGES: usize = 6;
/// Points about a limit that are looked at for one whose file keeps to it.
const NEAR: usize = 64;

/// What each group's options cost beside a plan; NaN where they were not measured.
pub(super) struct Around {
    /// With steps down that cost no less than they do alone.
    choices: Vec<Vec<Choice>>,
    moves: Vec<Move>,
}

/// One group's step to a neighboring option, as it was measured.
#[derive(Clone, Copy)]
struct Move {
    group: usize,
    option: usize,
    /// Bytes, or what else is kept small, that it takes more.
    size: i64,
    /// Nats that it loses.
    cost: f64,
}

impl Around {
    /// Measures every group's next smaller and next larger option, the rest being as in `start`.
    pub fn measure(bench: &Bench<'_, '_>, survey: &Judge, start: &Candidate, ctx: &Ctx) -> Result<Self, Stop> {
        let made = |plan: &[usize]| {
            let recipe = bench.planner.options.recipe("search", plan, bench.search.space.subject);
            let plan = configure::plan(&recipe, bench.search.space.subject)?;
            unpacked(bench.search.space.subject, bench.search.statistics, &plan, ctx)
        };
        let model = made(&start.plan)?;
        let (judge, whole) = survey.from_changed(&model, ctx)?;
        let base = whole.map_or(f64::NAN, |v| v.kl.value);
        let mut choices = bench.planner.choices.clone();
        // What a proposal counts as the third quantity is its moves.
        for (options, own) in choices.iter_mut().zip(&start.plan) {
            for (option, choice) in options.iter_mut().enumerate() {
                choice.other = u64::from(option != *own);
            }
        }
        let mut moves = Vec::new();
        for (group, options) in choices.iter_mut().enumerate() {
            ctx.check()?;
            // A round of many groups takes long.
            if let Some(ended) = bench.ended() {
                return Err(Stop::Ended(ended));
            }
            let own = start.plan.get(group).copied().unwrap_or(0);
            let near = neighbors(options, own);
            let alone: Vec<f64> = options.iter().map(|c| c.cost).collect();
            let here = alone.get(own).copied().unwrap_or(0.0);
            let size = options.get(own).map_or(0, |c| c.size);
            for (option, choice) in options.iter_mut().enumerate() {
                choice.cost = if option == own { 0.0 } else { f64::NAN };
                if !near.contains(&option) {
                    continue;
                }
                let mut plan = start.plan.clone();
                if let Some(place) = plan.get_mut(group) {
                    *place = option;
                }
                let members = bench.planner.options.groups.get(group).into_iter().flatten();
                let touched = members.filter_map(|l| bench.search.space.subject.layers.get(*l)).map(|l| first_in(&model, l));
                let Some(first) = touched.min_by_key(|id| model.nodes.iter().position(|n| n.id == *id)) else { continue };
                choice.cost = match made(&plan) {
                    Err(SearchError::Compress(CompressError::NotFinite { .. })) => f64::NAN,
                    changed => judge.judge(&changed?, first, ctx)?.map_or(f64::NAN, |v| v.kl.value - base),
                };
                if choice.cost.is_finite() {
                    moves.push(Move { group, option, size: choice.size as i64 - size as i64, cost: choice.cost });
                }
                // Where errors happen to cancel, one more seems to cost nothing; together such moves ruin the network.
                // A step down costs no less than it does alone.
                let lost = alone.get(option).map_or(0.0, |cost| cost - here);
                choice.cost = if lost > 0.0 { choice.cost.max(lost) } else { choice.cost };
            }
        }
        Ok(Self { choices, moves })
    }

    /// Plans that should be better than `start`: within the budget, or smaller.
    pub fn proposals(&self, bench: &Bench<'_, '_>, start: &Candidate, ctx: &Ctx) -> Result<Vec<Vec<usize>>, SearchError> {
        let mut proposals: Vec<Vec<usize>> = Vec::new();
        for (moves, share) in MOVES {
            let found = frontier(&self.choices, Some(moves), ctx)?;
            let room = match bench.search.goal {
                Goal::MaxDrop { .. } => (start.size as f64 * share) as u64,
                // The sums are a few bytes off: what is left in the file counts.
                _ => bench.budget().map_or(u64::MAX, |b| b.saturating_sub(start.bytes)).saturating_add(start.size),
            };
            let near = found.within(room).map_or(0, |p| p + 1);
            for point in (0..near).rev().take(NEAR) {
                let Some(plan) = found.plan(point) else { continue };
                if bench.fits(&plan) {
                    proposals.push(plan);
                    break;
                }
            }
        }
        if bench.budget().is_some() {
            proposals.extend(self.exchanges(bench, start));
        }
        proposals.retain(|p| *p != start.plan && !bench.is_tried(p));
        proposals.dedup();
        Ok(proposals)
    }

    /// Single exchanges: one step up, and one or two down that make room for it, those first that promise most.
    fn exchanges(&self, bench: &Bench<'_, '_>, start: &Candidate) -> Vec<Vec<usize>> {
        let room = bench.budget().map_or(0, |b| b.saturating_sub(start.bytes)) as i64;
        let ups = self.moves.iter().filter(|m| m.cost < 0.0 && m.size > 0);
        let mut downs: Vec<Move> = self.moves.iter().filter(|m| m.size < 0).copied().collect();
        // What a byte saved costs, the cheapest first.
        downs.sort_by(|a, b| (a.cost / -a.size as f64).total_cmp(&(b.cost / -b.size as f64)));
        downs.truncate(DOWNS);
        let mut found: Vec<(f64, Vec<Move>)> = Vec::new();
        for up in ups {
            let mut add = |down: &[Move]| {
                let all: Vec<Move> = std::iter::once(*up).chain(down.iter().copied()).collect();
                let is_once = (1..all.len()).all(|i| all[..i].iter().all(|m| m.group != all[i].group));
                let (size, cost) = all.iter().fold((0, 0.0), |(s, c), m| (s + m.size, c + m.cost));
                if is_once && size <= room && cost < 0.0 {
                    found.push((cost, all));
                }
            };
            add(&[]);
            for (i, down) in downs.iter().enumerate() {
                add(&[*down]);
                for other in &downs[..i] {
                    add(&[*down, *other]);
                }
            }
        }
        found.sort_by(|a, b| a.0.total_cmp(&b.0));
        let mut plans = Vec::new();
        for (_, moves) in found {
            let mut plan = start.plan.clone();
            for one in moves {
                if let Some(place) = plan.get_mut(one.group) {
                    *place = one.option;
                }
            }
            if !bench.is_tried(&plan) && bench.fits(&plan) {
                plans.push(plan);
            }
            if plans.len() == EXCHANGES {
                break;
            }
        }
        plans
    }
}

/// The options next to one by size, of those that can be used and are no worse than both their neighbors.
fn neighbors(options: &[Choice], own: usize) -> Vec<usize> {
    let Some(here) = options.get(own) else { return Vec::new() };
    let usable = |c: &Choice| c.cost.is_finite();
    let smaller = options.iter().enumerate().filter(|(_, c)| usable(c) && c.size < here.size);
    // Of equal sizes the one that costs less.
    let down = smaller.max_by(|a, b| a.1.size.cmp(&b.1.size).then(b.1.cost.total_cmp(&a.1.cost)));
    let larger = options.iter().enumerate().filter(|(_, c)| usable(c) && c.size > here.size && c.cost < here.cost);
    let up = larger.min_by(|a, b| a.1.size.cmp(&b.1.size).then(a.1.cost.total_cmp(&b.1.cost)));
    down.into_iter().chain(up).map(|(i, _)| i).collect()
}
