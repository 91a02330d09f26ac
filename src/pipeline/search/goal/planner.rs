//! From sensitivities to plans, without building any: for a hand on a slider.

use super::{Options, Predicted, Space};
use crate::engine::Ctx;
use crate::pipeline::configure::Recipe;
use crate::pipeline::load::Subject;
use crate::pipeline::search::SearchError;
use crate::pipeline::search::frontier::{Choice, Frontier, FrontierError, frontier};
use crate::pipeline::search::sensitivity::Map;

/// Points that a chart shows at most.
const SHOWN: usize = 2_000;

/// All best plans that sums of sensitivities tell of.
#[derive(Debug)]
pub struct Planner {
    pub options: Options,
    /// By group, then option.
    pub choices: Vec<Vec<Choice>>,
    pub frontier: Frontier,
    /// What the third quantity may sum up to.
    pub limit: Option<u64>,
}

impl Planner {
    /// # Errors
    /// When a layer has no option with a finite loss, no plan keeps to the limit, or on cancel.
    pub fn new(options: Options, map: &Map, space: &Space<'_>, ctx: &Ctx) -> Result<Self, SearchError> {
        let choices = options.choices(map);
        let limit = space.max_other.map(|(objective, share)| (options.original(objective) as f64 * share) as u64);
        let frontier = frontier(&choices, limit, ctx).map_err(|error| match (error, space.max_other) {
            (FrontierError::Infeasible { least, limit }, Some((objective, _))) => {
                let unit = objective.unit();
                SearchError::Unreachable(format!(
                    "no plan keeps to the limit of {limit} {unit}: the least that the choices allow is {least} {unit}; allow more, or fewer bits"
                ))
            }
            (other, _) => other.into(),
        })?;
        Ok(Self { options, choices, frontier, limit })
    }

    /// The plan of a point as a recipe.
    #[must_use]
    pub fn recipe(&self, name: &str, point: usize, subject: &Subject) -> Option<Recipe> {
        Some(self.options.recipe(name, &self.frontier.plan(point)?, subject))
    }

    /// What a plan sums up to.
    #[must_use]
    pub fn summed(&self, plan: &[usize]) -> Predicted {
        let chosen = self.choices.iter().zip(plan).filter_map(|(group, option)| group.get(*option));
        chosen.fold(Predicted { size: 0, kl: 0.0 }, |sum, c| Predicted { size: sum.size + c.size, kl: sum.kl + c.cost })
    }

    /// The frontier for a chart: of many points some, evenly spread, the ends among them.
    #[must_use]
    pub fn shown(&self) -> Vec<Predicted> {
        let every = self.frontier.points.len().div_ceil(SHOWN).max(1);
        let last = self.frontier.points.len().saturating_sub(1);
        let points = self.frontier.points.iter().enumerate().filter(|(i, _)| i % every == 0 || *i == last);
        points.map(|(_, p)| Predicted { size: p.size, kl: p.cost }).collect()
    }
}
