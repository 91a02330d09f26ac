//! The other direction: a whole recipe, and what its error falls to when one layer is spared.

use super::{SharedStatistics, Survey, calibrated, first_touched, part};
use crate::engine::Ctx;
use crate::engine::exec::prepare;
use crate::engine::graph::{Layer, Model, Node, NodeId, Wire, reads};
use crate::pipeline::compress;
use crate::pipeline::configure::{self, Activations, Plan, Recipe, Scheme, Sparsity};
use crate::pipeline::load::Subject;
use crate::pipeline::search::SearchError;
use crate::pipeline::search::judge::{Judge, TaskUnit, Verdict};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What is turned off in one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spared {
    Weights,
    Activations,
}

/// One layer of the recipe spared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ablation {
    /// Place in the model's layers.
    pub layer: usize,
    pub spared: Spared,
    /// What is left of the error; `None` where the output is not finite.
    pub left: Option<Verdict>,
}

/// The recipe as it is, and with each of its quantizers off.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Without {
    pub recipe: String,
    /// `None` where the output is not finite.
    pub whole: Option<Verdict>,
    pub task_unit: TaskUnit,
    pub ablations: Vec<Ablation>,
}

/// Spares each layer of `recipe` in turn, weights and activations apart; `shown` sees each number as it comes. The
/// survey's settings are not used.
///
/// # Errors
/// When the recipe does not fit, samples are lacking, the model cannot be run, or on cancel.
pub fn without(
    survey: &Survey<'_>,
    recipe: &Recipe,
    ctx: &Ctx,
    shown: &mut dyn FnMut(&Ablation),
) -> Result<Without, SearchError> {
    // Cuts are made in the network as it was loaded.
    let (equalize, balance) = (configure::Equalization::None, configure::Balance::None);
    let recipe = &configure::Recipe { equalize, balance, ..recipe.clone() };
    let plan = configure::plan(recipe, survey.subject)?;
    if plan.cuts_channels() || plan.left_out.is_some() {
        return Err(SearchError::CutsChannels { recipe: recipe.name.clone() });
    }
    let known = calibrated(survey, std::slice::from_ref(&plan), ctx)?;
    let source = |wires: &BTreeSet<Wire>, _: &Ctx| Ok(part(known.as_ref(), wires));
    let survey = &Survey { statistics: &source, ..*survey };
    let made = |plan: &Plan| unpacked(survey.subject, survey.statistics, plan, ctx);
    let whole = made(&plan)?;
    let judge = Judge::new(&survey.subject.folded, survey.data, ctx)?;
    let (judge, verdict) = judge.from_changed(&whole, ctx)?;
    let mut cases = Vec::new();
    for (layer, planned) in plan.layers.iter().enumerate() {
        let treatment = &planned.treatment;
        let has_weights = treatment.weights != Scheme::F32 || treatment.sparsity != Sparsity::Dense;
        cases.extend(has_weights.then_some((layer, Spared::Weights)));
        cases.extend((treatment.activations != Activations::None).then_some((layer, Spared::Activations)));
    }
    ctx.start(format!("Sparing layers of {}", recipe.name), cases.len());
    let mut ablations = Vec::with_capacity(cases.len());
    for (layer, spared) in cases {
        ctx.check()?;
        let mut changed = plan.clone();
        let Some(planned) = changed.layers.get_mut(layer) else { continue };
        match spared {
            Spared::Weights => (planned.treatment.weights, planned.treatment.sparsity) = (Scheme::F32, Sparsity::Dense),
            Spared::Activations => planned.treatment.activations = Activations::None,
        }
        let left = match survey.subject.layers.get(layer) {
            Some(found) => judge.judge(&made(&changed)?, first_in(&whole, found), ctx)?,
            None => None,
        };
        let ablation = Ablation { layer, spared, left };
        shown(&ablation);
        ablations.push(ablation);
        ctx.advance(1);
    }
    Ok(Without { recipe: recipe.name.clone(), whole: verdict, task_unit: judge.task_unit(), ablations })
}

/// The model that a plan makes, with stored weights unpacked: what comes before a layer then holds no weights.
pub(in crate::pipeline::search) fn unpacked(
    subject: &Subject,
    statistics: SharedStatistics<'_>,
    plan: &Plan,
    ctx: &Ctx,
) -> Result<Model, SearchError> {
    if plan.is_unchanged() {
        return Ok((*subject.folded).clone());
    }
    let variant = compress::run(plan, subject, statistics, &ctx.fresh())?;
    Ok(prepare(&variant.model)?)
}

/// The first node of a changed model that sparing a layer can touch: whatever reads its weights or its data.
pub(in crate::pipeline::search) fn first_in(model: &Model, layer: &Layer) -> NodeId {
    let own = model.nodes.iter().find(|n| n.output(0) == Some(&layer.output)).map(|n| n.id);
    let touched = |n: &&Node| {
        let read = reads(n);
        read.contains(&layer.weight) || read.contains(&layer.input) || Some(n.id) == own
    };
    model.nodes.iter().find(touched).map_or_else(|| first_touched(model, layer), |n| n.id)
}
