//! What layers lose when they alone are compressed, measured by running the network, and the plans that follow.

use super::scores::{Key, at_width};
use super::text::tr;
use super::view::bytes_as;
use crate::engine::graph::Layer;
use crate::engine::units;
use crate::pipeline::configure::{LayerPlan, Plan, Recipe, Treatment, WIDTHS, plan};
use crate::pipeline::load::Subject;
use crate::pipeline::search::goal::Planner;
use crate::pipeline::search::sensitivity::{Scores, Setting};
use std::collections::HashMap;
use std::sync::Arc;

/// The recipe that follows the budget.
pub const BUDGET_RECIPE: &str = "within budget";

/// Plans that are counted to the byte before a budget is given up.
const TRIES: usize = 8;

/// KL(original ‖ changed) in nats, mean over predictions; `None` where the output is not finite.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Loss {
    pub kl: Option<f64>,
    /// Of `kl`, in nats.
    pub standard_error: Option<f64>,
    pub samples: usize,
}

#[derive(Debug, Default)]
pub struct Losses {
    known: HashMap<Key, Loss>,
    /// All best plans by the sums of these; there once every layer was measured at every width.
    planner: Option<Arc<Planner>>,
    /// Bytes and nats of these plans, or of some of them where there are many: for a chart.
    pub plans: Vec<(u64, f64)>,
}

/// What is measured of each layer: the weights of `base` at the widths of the heat map, and as they are.
#[must_use]
pub fn settings(base: &Treatment) -> Vec<Setting> {
    let unchanged = Setting { label: "as it is".to_owned(), treatment: Treatment::UNCHANGED };
    WIDTHS.map(|bits| Setting::weights(base, bits)).into_iter().chain([unchanged]).collect()
}

impl Losses {
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.known.is_empty()
    }

    pub fn insert(&mut self, layer: usize, treatment: &Treatment, scores: &Scores) {
        let loss = Loss {
            kl: scores.kl.map(|k| k.value),
            standard_error: scores.kl.and_then(|k| k.standard_error),
            samples: scores.kl.map_or(0, |k| k.samples),
        };
        self.known.insert(Key::new(layer, treatment), loss);
    }

    /// Of the weights alone: what the layer reads stays float.
    #[must_use]
    pub fn get(&self, layer: usize, treatment: &Treatment) -> Option<Loss> {
        self.known.get(&Key::new(layer, treatment)).copied()
    }

    pub fn set_planner(&mut self, planner: Arc<Planner>) {
        self.plans = planner.shown().iter().map(|p| (p.size, p.kl)).collect();
        self.planner = Some(planner);
    }

    #[must_use]
    pub fn planner(&self) -> Option<&Planner> {
        self.planner.as_deref()
    }

    /// Whether every layer of a plan was measured at every width of the heat map.
    #[must_use]
    pub fn covers(&self, plan: &Plan) -> bool {
        let known = |(index, layer): (usize, &LayerPlan)| {
            WIDTHS.iter().all(|&bits| self.known.contains_key(&Key::new(index, &at_width(&layer.treatment, bits))))
        };
        plan.layers.iter().enumerate().all(known)
    }

    /// What a plan's weights lose by the sum over layers, in nats; `None` where one was not measured. What rounded data
    /// lose comes on top.
    #[must_use]
    pub fn of_plan(&self, plan: &Plan) -> Option<f64> {
        if self.is_empty() {
            return None;
        }
        plan.layers.iter().enumerate().map(|(index, layer)| self.get(index, &layer.treatment)?.kl).sum()
    }

    /// The layers that lose most as a plan has them, the worst first.
    #[must_use]
    pub fn worst(&self, plan: &Plan) -> Vec<usize> {
        // What is not finite is worse than any number.
        let loss = |index: usize| {
            let found = self.get(index, &plan.layers.get(index)?.treatment)?;
            Some(found.kl.unwrap_or(f64::INFINITY))
        };
        let mut losses: Vec<(usize, f64)> = (0..plan.layers.len()).filter_map(|i| Some((i, loss(i)?))).collect();
        losses.sort_by(|a, b| b.1.total_cmp(&a.1));
        losses.into_iter().map(|(index, _)| index).collect()
    }

    /// The plan that loses least in so many bytes of the exported file.
    #[must_use]
    pub fn within(&self, bytes: u64, subject: &Subject) -> Option<Recipe> {
        let planner = self.planner.as_ref()?;
        let mut target = bytes;
        for _ in 0..TRIES {
            let point = planner.frontier.within(target)?;
            let mut recipe = planner.recipe(BUDGET_RECIPE, point, subject)?;
            // What stands beside the weights in a file is not quite a sum over layers.
            let over = plan(&recipe, subject).ok()?.bytes.saturating_sub(bytes);
            if over == 0 {
                recipe.description = format!("The least loss in {bytes} bytes, by the sum of what layers lose alone.");
                return Some(recipe);
            }
            target = target.checked_sub(over)?;
        }
        None
    }
}

/// A loss for people: thousandths of a nat.
#[must_use]
pub fn millinats(kl: f64) -> String {
    let thousandths = 1e3 * kl;
    if thousandths >= 100.0 {
        format!("{thousandths:.0} mnat")
    } else if thousandths >= 1.0 {
        format!("{thousandths:.1} mnat")
    } else {
        format!("{thousandths:.3} mnat")
    }
}

/// In words: what the layer's width costs and what its neighbors would.
#[must_use]
pub fn why(losses: &Losses, layer: &Layer, index: usize, plan: &Plan) -> Option<String> {
    let treatment = plan.layers.get(index)?.treatment;
    let here = losses.get(index, &treatment)?;
    let order = losses.worst(plan);
    let place = order.iter().position(|i| *i == index)? + 1;
    let Some(kl) = here.kl else {
        return Some(tr!("losses-why-not-finite").to_owned());
    };
    let loss = match here.standard_error {
        Some(error) => tr!("losses-within", loss = millinats(kl), error = millinats(error)),
        None => millinats(kl),
    };
    let layers = order.len().to_string();
    let mut text = vec![tr!("losses-why", loss = loss, place = place.to_string(), layers = layers, samples = here.samples)];
    let bits = treatment.weights.bits();
    let bytes = |bits: u8| bytes_as(layer, treatment.weights.with_bits(bits));
    let other = |bits: u8| Some((bits, losses.get(index, &at_width(&treatment, bits))?.kl?, bytes(bits)));
    let now = bytes_as(layer, treatment.weights);
    if let Some((narrower, loss, size)) = WIDTHS.iter().rev().filter(|b| **b < bits).find_map(|b| other(*b)) {
        let saved = units::bytes(now.saturating_sub(size));
        text.push(tr!("losses-why-narrower", bits = narrower, size = saved, loss = millinats(loss)));
    }
    if let Some((wider, loss, size)) = WIDTHS.iter().filter(|b| **b > bits).find_map(|b| other(*b)) {
        let more = units::bytes(size.saturating_sub(now));
        text.push(tr!("losses-why-wider", bits = wider, size = more, loss = millinats(loss)));
    }
    Some(text.join(tr!("losses-why-between")))
}
