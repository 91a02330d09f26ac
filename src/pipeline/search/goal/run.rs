//! The search itself.

use super::steps::Around;
use super::{Candidate, Ended, Found, Goal, Objective, Options, Origin, Outcome, Planner, Predicted, Search, words};
use crate::engine::Ctx;
use crate::pipeline::compress::{self, CompressError};
use crate::pipeline::configure::{self, Plan};
use crate::pipeline::search::judge::Judge;
use crate::pipeline::search::sensitivity::{self, Map, Method, Survey};
use crate::pipeline::search::{SearchError, TaskUnit, Verdict};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Points of the frontier that are built to see how far predictions hold.
const SPREAD: usize = 9;
/// Points about a limit that are looked at for one whose file keeps to it exactly.
const NEAR: usize = 256;

/// Why the search goes no further.
#[derive(Debug)]
pub(super) enum Stop {
    Ended(Ended),
    Failed(Box<SearchError>),
}

impl<E: Into<SearchError>> From<E> for Stop {
    fn from(error: E) -> Self {
        Self::Failed(Box::new(error.into()))
    }
}

/// All that a search knows.
pub(super) struct Bench<'a, 'f> {
    pub search: &'a Search<'a>,
    pub planner: Planner,
    judge: Judge,
    candidates: Vec<Candidate>,
    tried: BTreeMap<Vec<usize>, usize>,
    best: Option<usize>,
    started: Instant,
    found: &'f mut dyn FnMut(&Found),
}

/// # Errors
/// When there are no samples, layers or choices, no plan can keep to the limits, the model cannot be run, or on a cancel
/// before anything was found. After that, a cancel ends the search with what there is.
pub fn run(search: &Search<'_>, ctx: &Ctx, found: &mut dyn FnMut(&Found)) -> Result<Outcome, SearchError> {
    let started = Instant::now();
    let options = Options::new(&search.space)?;
    let map = map(search, &options, started, ctx, found)?;
    let clock = Instant::now();
    let planner = Planner::new(options, &map, &search.space, ctx)?;
    let frontier_seconds = clock.elapsed().as_secs_f64();
    found(&Found::Frontier(planner.shown()));
    let judge = Judge::new(&search.space.subject.folded, search.selection, ctx)?;
    let (candidates, tried) = (Vec::new(), BTreeMap::new());
    let mut bench = Bench { search, planner, judge, candidates, tried, best: None, started, found };
    bench.check_reachable()?;
    let ended = match bench.explore(ctx) {
        Err(_) if ctx.is_cancelled() && !bench.candidates.is_empty() => Ended::Cancelled,
        other => other?,
    };
    bench.finish(&map, ended, frontier_seconds)
}

/// Sensitivities of all layers at all choices: exact, unless a method or the time left says otherwise.
fn map(
    search: &Search<'_>,
    options: &Options,
    started: Instant,
    ctx: &Ctx,
    found: &mut dyn FnMut(&Found),
) -> Result<Map, SearchError> {
    let survey = Survey {
        subject: search.space.subject,
        settings: &options.settings,
        data: search.survey,
        statistics: search.statistics,
        calibration_key: search.calibration_key,
        store: search.store,
    };
    let Some(seconds) = search.effort.seconds.filter(|_| search.method == Method::Exact) else {
        return sensitivity::measure(&survey, search.method, ctx, &mut |cell| found(&Found::Cell(cell.clone())));
    };
    // The quick map first: with it there is something to go on, should the time not suffice for the other.
    let quick = sensitivity::measure(&survey, Method::Fast, ctx, &mut |cell| found(&Found::Cell(cell.clone())))?;
    let (inner, half) = (ctx.fresh(), Duration::from_secs_f64(seconds.clamp(0.0, 1e9) / 2.0));
    let measured = sensitivity::measure(&survey, Method::Exact, &inner, &mut |cell| {
        found(&Found::Cell(cell.clone()));
        if started.elapsed() > half || ctx.is_cancelled() {
            inner.cancel();
        }
    });
    match measured {
        Err(_) if inner.is_cancelled() && !ctx.is_cancelled() => Ok(quick),
        other => other,
    }
}

/// What a verdict says the task loses, and how much more it may be: in points, or percent.
fn loss(verdict: &Verdict, unit: TaskUnit, confidence: f64) -> (f64, f64) {
    match (verdict.task, unit) {
        (Some(task), TaskUnit::Top1Points) => (task.value, task.margin(confidence).max(100.0 * unseen(task.samples, confidence))),
        (Some(task), TaskUnit::NatsPerToken) => {
            let percent = |nats: f64| 100.0 * (nats.exp() - 1.0);
            (percent(task.value), percent(task.value + task.margin(confidence)) - percent(task.value))
        }
        (None, _) => {
            let n = verdict.predictions.max(1) as f64;
            let share = verdict.flips as f64 / n;
            let margin = crate::pipeline::search::normal_quantile(confidence) * (share * (1.0 - share) / n).sqrt();
            (100.0 * share, 100.0 * margin.max(unseen(verdict.predictions, confidence)))
        }
    }
}

/// The largest share that may well not show up among `samples`, with a confidence: p of (1 − p)ⁿ = 1 − confidence, the
/// exact bound of Clopper and Pearson (1934) for none seen. Where nothing was lost, samples show no spread, and that
/// is no certainty.
fn unseen(samples: usize, confidence: f64) -> f64 {
    1.0 - (1.0 - confidence).powf(1.0 / samples.max(1) as f64)
}

impl Bench<'_, '_> {
    /// The limit on bytes, if that is the goal.
    pub fn budget(&self) -> Option<u64> {
        match self.search.goal {
            Goal::MaxBytes(bytes) => Some(bytes),
            Goal::MaxRatio(ratio) => Some((ratio.max(0.0) * self.search.space.subject.loaded.bytes as f64) as u64),
            Goal::MaxDrop { .. } => None,
        }
    }

    fn check_reachable(&self) -> Result<(), SearchError> {
        let Some(budget) = self.budget() else { return Ok(()) };
        if self.search.space.objective != Objective::Bytes {
            return Err(SearchError::Unreachable("a limit on bytes needs bytes as what is kept small".to_owned()));
        }
        let smallest = self.planner.frontier.plan(0).map(|p| self.built(&p)).transpose()?.map_or(0, |(_, bytes)| bytes);
        if smallest > budget {
            return Err(SearchError::Unreachable(format!(
                "no plan is so small: the limit is {budget} bytes, the smallest of the choices takes {smallest}; allow fewer bits"
            )));
        }
        Ok(())
    }

    /// The plan for the model, and its exact bytes.
    fn built(&self, plan: &[usize]) -> Result<(Plan, u64), SearchError> {
        let plan =
            configure::plan(&self.planner.options.recipe("search", plan, self.search.space.subject), self.search.space.subject)?;
        let bytes = self.search.space.counted.of(&plan);
        Ok((plan, bytes))
    }

    pub fn candidate(&self, index: usize) -> Option<&Candidate> {
        self.candidates.get(index)
    }

    pub fn is_tried(&self, plan: &[usize]) -> bool {
        self.tried.contains_key(plan)
    }

    pub fn ended(&self) -> Option<Ended> {
        let late = self.search.effort.seconds.is_some_and(|s| self.started.elapsed().as_secs_f64() > s);
        if self.candidates.len() >= self.search.effort.evaluations.max(1) {
            Some(Ended::Evaluations)
        } else {
            // With nothing in hand, one more is worth its time.
            (late && self.best.is_some()).then_some(Ended::Time)
        }
    }

    /// Builds and measures a plan, unless that was done before.
    pub fn measure(&mut self, plan: &[usize], origin: Origin, ctx: &Ctx) -> Result<usize, Stop> {
        if let Some(known) = self.tried.get(plan) {
            return Ok(*known);
        }
        if let Some(ended) = self.ended() {
            return Err(Stop::Ended(ended));
        }
        let candidate = self.judged(plan, origin, ctx)?;
        let index = self.candidates.len();
        ctx.advance(1);
        (self.found)(&Found::Candidate(candidate.clone()));
        if candidate.keeps && self.best.and_then(|b| self.candidates.get(b)).is_none_or(|best| self.is_better(&candidate, best)) {
            (self.found)(&Found::Best(candidate.clone()));
            self.best = Some(index);
        }
        self.tried.insert(plan.to_vec(), index);
        self.candidates.push(candidate);
        Ok(index)
    }

    fn judged(&self, plan: &[usize], origin: Origin, ctx: &Ctx) -> Result<Candidate, SearchError> {
        let (built, bytes) = self.built(plan)?;
        let subject = self.search.space.subject;
        let measured = if built.is_unchanged() {
            self.judge.judge_whole(&subject.folded, ctx)?
        } else {
            match compress::run_with(&built, subject, self.search.statistics, self.search.samples, &ctx.fresh()) {
                Err(CompressError::NotFinite { .. }) => None,
                variant => self.judge.judge_whole(&variant?.model, ctx)?,
            }
        };
        let Predicted { size, kl: predicted } = self.planner.summed(plan);
        let keeps_goal = |verdict: Verdict| match self.search.goal {
            Goal::MaxDrop { points, confidence } => {
                let (lost, margin) = loss(&verdict, self.judge.task_unit(), confidence);
                // What is the original to the last bit loses nothing for certain.
                built.is_unchanged() || lost + margin <= points
            }
            _ => self.budget().is_none_or(|budget| bytes <= budget),
        };
        let keeps = self.is_within_other(plan) && measured.is_some_and(keeps_goal);
        Ok(Candidate { origin, plan: plan.to_vec(), bytes, size, predicted, measured, keeps })
    }

    /// Of two that keep to the goal.
    fn is_better(&self, one: &Candidate, other: &Candidate) -> bool {
        let kl = |c: &Candidate| c.measured.map_or(f64::INFINITY, |v| v.kl.value);
        let size = |c: &Candidate| if self.search.space.objective == Objective::Bytes { c.bytes } else { c.size };
        match self.search.goal {
            Goal::MaxDrop { .. } => (size(one), kl(one)) < (size(other), kl(other)),
            _ => (kl(one), size(one)) < (kl(other), size(other)),
        }
    }

    /// All that is tried, until the effort is spent or nothing gets better.
    fn explore(&mut self, ctx: &Ctx) -> Result<Ended, SearchError> {
        ctx.start("Measuring plans", self.search.effort.evaluations);
        match self.try_all(ctx) {
            Ok(()) => Ok(Ended::Settled),
            Err(Stop::Ended(ended)) => Ok(ended),
            Err(Stop::Failed(error)) => Err(*error),
        }
    }

    fn try_all(&mut self, ctx: &Ctx) -> Result<(), Stop> {
        match self.budget() {
            Some(budget) => {
                if let Some(plan) = self.largest_within(budget)? {
                    self.measure(&plan, Origin::Frontier, ctx)?;
                }
            }
            None => self.bisect(ctx)?,
        }
        for setting in 0..self.planner.options.settings.len() {
            let uniform = vec![setting; self.planner.options.groups.len()];
            let is_usable = self.planner.choices.iter().all(|g| g.get(setting).is_some_and(|c| c.cost.is_finite()));
            if is_usable && self.is_within_other(&uniform) {
                self.measure(&uniform, Origin::Uniform(self.planner.options.settings[setting].label.clone()), ctx)?;
            }
        }
        for point in self.spread() {
            if let Some(plan) = self.planner.frontier.plan(point) {
                self.measure(&plan, Origin::Frontier, ctx)?;
            }
        }
        self.step_until_settled(ctx)
    }

    /// The plan of least predicted loss whose file keeps to the budget to the byte: the model's sums are a few bytes
    /// off.
    fn largest_within(&self, budget: u64) -> Result<Option<Vec<usize>>, SearchError> {
        let near = self.planner.frontier.within(budget).map_or(0, |p| p + 1) + 8;
        for point in (0..near.min(self.planner.frontier.points.len())).rev().take(NEAR) {
            let Some(plan) = self.planner.frontier.plan(point) else { continue };
            if self.built(&plan)?.1 <= budget {
                return Ok(Some(plan));
            }
        }
        Ok(self.planner.frontier.plan(0))
    }

    /// Halves the frontier between what loses too much and what does not.
    fn bisect(&mut self, ctx: &Ctx) -> Result<(), Stop> {
        let (mut low, mut high) = (0, self.planner.frontier.points.len().saturating_sub(1));
        while low < high {
            let middle = usize::midpoint(low, high);
            let Some(plan) = self.planner.frontier.plan(middle) else { break };
            let index = self.measure(&plan, Origin::Frontier, ctx)?;
            if self.candidate(index).is_some_and(|c| c.keeps) { high = middle } else { low = middle + 1 }
        }
        if let Some(plan) = self.planner.frontier.plan(low) {
            self.measure(&plan, Origin::Frontier, ctx)?;
        }
        Ok(())
    }

    /// Points of the frontier at equal ratios of size: most of what there is to choose lies among the small.
    fn spread(&self) -> Vec<usize> {
        let points = &self.planner.frontier.points;
        let (Some(first), Some(last)) = (points.first(), points.last()) else { return Vec::new() };
        let ratio = last.size.max(1) as f64 / first.size.max(1) as f64;
        let at = |i: usize| (first.size as f64 * ratio.powf(i as f64 / (SPREAD - 1) as f64)).ceil() as u64;
        let mut places: Vec<usize> = (0..SPREAD).filter_map(|i| self.planner.frontier.within(at(i))).collect();
        places.dedup();
        places
    }

    /// Small steps about the best plan, from what its layers bear in its company, while that makes it better.
    fn step_until_settled(&mut self, ctx: &Ctx) -> Result<(), Stop> {
        let survey = Judge::new(&self.search.space.subject.folded, self.search.survey, ctx)?;
        for round in 1.. {
            let Some(best) = self.best else { return Ok(()) };
            let Some(start) = self.candidate(best).cloned() else { return Ok(()) };
            if let Some(ended) = self.ended() {
                return Err(Stop::Ended(ended));
            }
            let around = Around::measure(self, &survey, &start, ctx)?;
            for plan in around.proposals(self, &start, ctx)? {
                self.measure(&plan, Origin::Step(round), ctx)?;
            }
            if self.best == Some(best) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Whether a plan keeps to the limits: its file to the budget, its sums to that of the third quantity.
    pub fn fits(&self, plan: &[usize]) -> bool {
        self.is_within_other(plan) && self.budget().is_none_or(|budget| self.built(plan).is_ok_and(|(_, bytes)| bytes <= budget))
    }

    /// Whether a plan's sums keep to the limit of the third quantity.
    fn is_within_other(&self, plan: &[usize]) -> bool {
        let chosen = self.planner.choices.iter().zip(plan).filter_map(|(group, option)| group.get(*option));
        let other = chosen.fold(0_u64, |sum, c| sum.saturating_add(c.other));
        self.planner.limit.is_none_or(|limit| other <= limit)
    }

    fn finish(self, map: &Map, ended: Ended, frontier_seconds: f64) -> Result<Outcome, SearchError> {
        let loss_of = |c: &Candidate| c.measured.map_or(f64::INFINITY, |v| v.kl.value);
        let nearest =
            (0..self.candidates.len()).min_by(|a, b| loss_of(&self.candidates[*a]).total_cmp(&loss_of(&self.candidates[*b])));
        let Some(chosen) = self.best.or(nearest).and_then(|c| self.candidates.get(c)) else {
            return Err(SearchError::Unreachable("no plan could be measured; allow more evaluations or more time".to_owned()));
        };
        let mut recipe = self.planner.options.recipe("search", &chosen.plan, self.search.space.subject);
        recipe.description = words::summary(&self, chosen);
        recipe.history = words::history(&self, chosen, map);
        Ok(Outcome {
            goal: self.search.goal,
            frontier: self.planner.shown(),
            frontier_points: self.planner.frontier.points.len(),
            is_exact: self.planner.frontier.is_exact,
            frontier_seconds,
            task_unit: self.judge.task_unit(),
            best: self.best,
            recipe,
            ended,
            evaluations: self.candidates.len(),
            seconds: self.started.elapsed().as_secs_f64(),
            candidates: self.candidates,
        })
    }

    pub fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }
}

#[cfg(test)]
mod tests {
    use super::{TaskUnit, Verdict, loss, unseen};
    use crate::pipeline::search::Estimate;

    #[test]
    fn few_samples_without_a_loss_are_no_certainty() {
        let nothing = Estimate { value: 0.0, standard_error: Some(0.0), samples: 6 };
        let verdict = Verdict { kl: nothing, task: Some(nothing), flips: 0, predictions: 6 };
        for one in [verdict, Verdict { task: None, ..verdict }] {
            let (lost, margin) = loss(&one, TaskUnit::Top1Points, 0.95);
            assert!(lost == 0.0 && (margin - 39.3).abs() < 0.1, "{margin}");
        }
        // The rule of three.
        assert!((unseen(1_000, 0.95) - 0.003).abs() < 1e-4);
    }
}
