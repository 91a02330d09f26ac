//! What layers bear in the company of a whole plan. Sensitivities of layers alone are too hopeful: errors of many layers
//! meet. About a plan that was built, each group is moved one option up and down and measured for real; sums
//! over these numbers hold for small steps.

use super::run::Bench;
use super::{Candidate, Goal};
use crate::engine::Ctx;
use crate::pipeline::compress::CompressError;
use crate::pipeline::configure;
use crate::pipeline::search::SearchError;
use crate::pipeline::search::frontier::{Choice, frontier};
use crate::pipeline::search::judge::Judge;
use crate::pipeline::search::sensitivity::{first_in, unpacked};

/// Shares by which the next plan should be smaller, where size is what is sought.
const SMALLER: [f64; 3] = [0.95, 0.98, 0.99];

/// What each group's options cost beside a plan; NaN where they were not measured.
pub(super) struct Around {
    choices: Vec<Vec<Choice>>,
}

impl Around {
    /// Measures every group's next smaller and next larger option, the rest being as in `start`.
    pub fn measure(bench: &Bench<'_, '_>, survey: &Judge, start: &Candidate, ctx: &Ctx) -> Result<Self, SearchError> {
        let made = |plan: &[usize]| {
            let recipe = bench.planner.options.recipe("search", plan, bench.search.space.subject);
            let plan = configure::plan(&recipe, bench.search.space.subject)?;
            unpacked(bench.search.space.subject, bench.search.statistics, &plan, ctx)
        };
        let model = made(&start.plan)?;
        let (judge, whole) = survey.from_changed(&model, ctx)?;
        let base = whole.map_or(f64::NAN, |v| v.kl.value);
        let mut choices = bench.planner.choices.clone();
        for (group, options) in choices.iter_mut().enumerate() {
            ctx.check()?;
            let own = start.plan.get(group).copied().unwrap_or(0);
            let near = neighbors(options, own);
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
            }
        }
        Ok(Self { choices })
    }

    /// Plans that should be better than `start`: within the budget, or smaller.
    pub fn proposals(&self, bench: &Bench<'_, '_>, start: &Candidate, ctx: &Ctx) -> Result<Vec<Vec<usize>>, SearchError> {
        let limit = bench.planner.limit;
        let mut proposals = Vec::new();
        match bench.search.goal {
            Goal::MaxDrop { .. } => {
                let found = frontier(&self.choices, limit, ctx)?;
                for share in SMALLER {
                    let plan = found.within((start.size as f64 * share) as u64).and_then(|p| found.plan(p));
                    proposals.extend(plan);
                }
            }
            _ => {
                // All steps together, and only those that promise much: the sum holds the better the fewer they are.
                for scale in [1.0, 2.0, 4.0] {
                    let careful = self.careful(start, scale);
                    let found = frontier(&careful, limit, ctx)?;
                    let room = bench.budget().map_or(u64::MAX, |b| b.saturating_sub(start.bytes)).saturating_add(start.size);
                    let near = found.within(room).map_or(0, |p| p + 1) + 8;
                    for point in (0..near.min(found.points.len())).rev().take(64) {
                        let Some(plan) = found.plan(point) else { continue };
                        if bench.fits(&plan)? {
                            proposals.push(plan);
                            break;
                        }
                    }
                }
            }
        }
        proposals.retain(|p| *p != start.plan);
        proposals.dedup();
        Ok(proposals)
    }

    /// The same with every cost of a step to a smaller option taken `scale` times.
    fn careful(&self, start: &Candidate, scale: f64) -> Vec<Vec<Choice>> {
        let group = |(options, own): (&Vec<Choice>, &usize)| {
            let size = options.get(*own).map_or(0, |c| c.size);
            let one = |c: &Choice| Choice { cost: if c.size < size { c.cost.max(0.0) * scale } else { c.cost }, ..*c };
            options.iter().map(one).collect()
        };
        self.choices.iter().zip(&start.plan).map(group).collect()
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
