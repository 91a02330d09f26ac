//! Every recipe as a point of the trade-off: what is predicted of it and what was measured.

use super::Bench;
use crate::pipeline::configure::{Plan, Recipe, Treatment, presets};
use crate::pipeline::evaluate::Report;
use crate::workbench::ui::inspect::WITHIN_A_FRAME;
use crate::workbench::ui::scores::with_scheme;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Time of a frame that plans of other recipes may take.
const PATIENCE: Duration = Duration::from_millis(4);

#[derive(Debug, Clone)]
pub struct Measured {
    pub report: Arc<Report>,
    /// The recipe or the data have changed since.
    pub stale: bool,
}

#[derive(Debug, Clone)]
pub struct Point {
    pub name: String,
    pub is_preset: bool,
    pub recipe: Arc<Recipe>,
    /// What a fresh report bears.
    pub key: String,
    /// `None`: not yet worked out. An error says why the recipe does not fit the model.
    pub plan: Option<Result<Arc<Plan>, String>>,
    /// Predicted weight SQNR in dB; `None` while layers have not been scored.
    pub sqnr_db: Option<f64>,
    pub measured: Option<Measured>,
    /// Whether it belongs on the chart: what the project works with, and the common presets.
    pub shown: bool,
    /// Layers of the plan, from the first, whose score is known.
    scored: usize,
}

impl Point {
    #[must_use]
    pub fn bytes(&self) -> Option<u64> {
        self.plan.as_ref()?.as_ref().ok().map(|p| p.bytes)
    }

    /// The newest report, if the recipe and the data are still as they were then.
    #[must_use]
    pub fn fresh(&self) -> Option<&Arc<Report>> {
        self.measured.as_ref().filter(|m| !m.stale).map(|m| &m.report)
    }
}

impl Bench {
    fn recipe(&mut self, name: &str) -> Option<Arc<Recipe>> {
        if let Some(recipe) = self.document().recipes.get(name).or_else(|| self.presets.get(name)) {
            return Some(Arc::clone(recipe));
        }
        let preset = Arc::new(presets::preset(name).ok()?);
        self.presets.insert(name.to_owned(), Arc::clone(&preset));
        Some(preset)
    }

    /// Whether plans are left to be made in the next frame.
    pub(super) fn sync_points(&mut self) -> bool {
        let start = Instant::now();
        let document = Arc::clone(self.document());
        let reports = self.reports.len();
        if self.points_for.as_ref().is_some_and(|(of, known)| Arc::ptr_eq(of, &document) && *known == reports) {
            return false;
        }
        let mut old = std::mem::take(&mut self.points);
        let mut more = false;
        for name in document.recipe_names() {
            let Some(recipe) = self.recipe(&name) else { continue };
            let known = old.iter().position(|p| p.name == name && Arc::ptr_eq(&p.recipe, &recipe));
            let fresh = || Point {
                is_preset: !document.recipes.contains_key(&name),
                key: self.opened.recipe_key(&recipe),
                name: name.clone(),
                recipe,
                plan: None,
                sqnr_db: None,
                measured: None,
                shown: false,
                scored: 0,
            };
            let mut point = known.map_or_else(fresh, |at| old.swap_remove(at));
            // Marks stand beside each other, so they must be of the same samples: those of the fullest
            // and newest report on the data as they are. A report of a few samples, or of data from before a change, is
            // stale.
            let measured = self.reports.iter().rev().filter(|r| r.split == "evaluate");
            let holding = measured.clone().filter(|r| self.is_of_data(r));
            let most = holding.clone().map(|r| r.samples).max();
            let data = most.and_then(|n| holding.clone().find(|r| r.samples == n)).map(|r| r.data_key.as_str());
            let is_of_data = |r: &Report| Some(r.data_key.as_str()) == data && self.is_calibrated_so(r);
            let holds = |r: &Report| r.recipe_key == point.key && is_of_data(r);
            let newest = measured.filter(|r| r.recipe == name);
            let best = newest.clone().find(|r| holds(r)).or_else(|| newest.clone().next());
            let kept = !point.is_preset || name == document.active || document.run.contains(&name);
            point.shown = kept || best.is_some() || presets::is_common(&name);
            point.measured = best.map(|r| Measured { report: Arc::clone(r), stale: !holds(r) });
            if point.plan.is_none() && point.shown {
                if name == document.active || start.elapsed() < PATIENCE {
                    let plan = self.opened.plan(&point.recipe);
                    point.plan = Some(plan.map(Arc::new).map_err(|e| e.to_string()));
                } else {
                    more = true;
                }
            }
            self.points.push(point);
        }
        self.points_for = (!more).then_some((document, reports));
        more
    }

    pub(super) fn sync_quality(&mut self) {
        for point in &mut self.points {
            let Some(Ok(plan)) = point.plan.as_ref().filter(|_| point.sqnr_db.is_none()) else { continue };
            // While scores come in every frame asks: each layer is looked up once.
            let known = |at: usize| plan.layers.get(at).is_some_and(|l| self.scores.get(at, &l.treatment).is_some());
            while known(point.scored) {
                point.scored += 1;
            }
            if point.scored == plan.layers.len() {
                point.sqnr_db = self.scores.of_plan(plan);
            }
        }
    }

    /// What no score is known of yet: first the active recipe's layers, then their other widths, then what the
    /// inspected layer could be stored as, then the other recipes.
    #[must_use]
    pub fn unscored(&self) -> Vec<(usize, Treatment)> {
        let mut missing = Vec::new();
        if let Some(plan) = self.plan() {
            self.scores.missing(plan, false, &mut missing);
            self.scores.missing(plan, true, &mut missing);
        }
        if let Some((index, plan)) = self.selection.primary().and_then(|i| Some((i, self.layer_plan(i)?))) {
            let offered = self.offers.fitting.iter().map(|o| with_scheme(&plan.treatment, o.scheme));
            missing.extend(offered.filter(|t| self.scores.get(index, t).is_none()).map(|t| (index, t)));
        }
        for plan in self.points.iter().filter(|p| p.shown).filter_map(|p| p.plan.as_ref()?.as_ref().ok()) {
            self.scores.missing(plan, false, &mut missing);
        }
        missing
    }

    /// Layers of a point without a score, if scoring them is not too much for a frame: every frame asks.
    pub(super) fn few_unscored(&self, point: &Point) -> Option<Vec<(usize, Treatment)>> {
        let plan = point.plan.as_ref()?.as_ref().ok().filter(|_| point.sqnr_db.is_none())?;
        // The first time everything is missing: that is a job's work.
        let most = if self.scores.version() == 0 { 8 } else { usize::MAX };
        let (mut missing, mut weights) = (Vec::new(), 0);
        for (index, layer) in plan.layers.iter().enumerate().skip(point.scored) {
            if self.scores.get(index, &layer.treatment).is_none() {
                missing.push((index, layer.treatment));
                weights += layer.layer.parameters();
                if weights > WITHIN_A_FRAME || missing.len() > most {
                    return None;
                }
            }
        }
        Some(missing)
    }

    /// Whether layers of the active recipe wait for their score.
    #[must_use]
    pub fn active_is_unscored(&self) -> bool {
        self.active().is_some_and(|p| p.plan.is_some() && p.sqnr_db.is_none())
    }
}

#[cfg(test)]
impl Point {
    /// A point of which only the prediction is known.
    pub(crate) fn predicted(recipe: Recipe, sqnr_db: Option<f64>) -> Self {
        Self {
            name: recipe.name.clone(),
            is_preset: false,
            recipe: Arc::new(recipe),
            key: String::new(),
            plan: None,
            sqnr_db,
            measured: None,
            shown: true,
            scored: 0,
        }
    }
}
