//! What each layer bears: one layer at a time, at every setting in question.

mod exact;
mod fast;
mod keep;
mod local;
mod without;

pub use keep::Store;
pub use without::{Ablation, Spared, Without, without};
pub(super) use without::{first_in, unpacked};

use super::judge::TaskUnit;
use super::{Estimate, SearchError};
use crate::engine::Ctx;
use crate::engine::graph::{Layer, Model, NodeId, Wire, reads};
use crate::pipeline::calibrate::{CalibrateError, Statistics};
use crate::pipeline::compress::{self, Variant};
use crate::pipeline::configure::{self, Activations, ChannelCut, LayerPlan, Plan, Recipe, Treatment};
use crate::pipeline::load::{Dataset, Subject};
use keep::Row;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// One column of the map: what is done to the layer of the row, all others being left alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Setting {
    /// In a few characters: `w4`, `a8`.
    pub label: String,
    pub treatment: Treatment,
}

impl Setting {
    /// Weights alone, at the width given and otherwise as `base` has them.
    #[must_use]
    pub fn weights(base: &Treatment, bits: u8) -> Self {
        let treatment = Treatment { weights: base.weights.with_bits(bits), activations: Activations::None, ..*base };
        Self { label: format!("w{bits}"), treatment }
    }

    /// The data that the layer reads, alone.
    #[must_use]
    pub fn activations(activations: Activations) -> Self {
        let treatment = Treatment { activations, ..Treatment::UNCHANGED };
        Self { label: format!("a{}", activations.bits()), treatment }
    }
}

/// How scores come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Method {
    /// Every cell is run to the end of the network, on all samples.
    Exact,
    /// For each layer one setting is run to the end, on few samples; the KL of the others is taken to grow as the
    /// error at the layer's own output does, which is measured.
    Fast,
}

impl Method {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Fast => "fast",
        }
    }
}

/// What one setting of one layer costs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scores {
    pub method: Method,
    /// KL(original ‖ changed) in nats, mean over predictions; `None` where the output is not finite.
    pub kl: Option<Estimate>,
    /// What the task loses, in the map's unit; measured by the exact method alone.
    pub task: Option<Estimate>,
    /// Predictions whose first class changed; measured by the exact method alone.
    pub flips: Option<usize>,
    /// Signal to noise of the layer's output, this layer alone being changed, in dB; `None` without an error.
    pub local_sqnr_db: Option<Estimate>,
    /// The same with all layers before it at the same setting too.
    pub cumulative_sqnr_db: Option<Estimate>,
    /// Signal to noise of the weights in dB; `None` without an error. Of all weights: there is no sampling error.
    pub weight_sqnr_db: Option<f64>,
    /// What the person should know of the number.
    pub note: Option<String>,
}

impl Scores {
    /// Of a layer that stays as it is.
    fn untouched(method: Method, samples: usize, note: Option<String>) -> Self {
        let nothing = Estimate { value: 0.0, standard_error: Some(0.0), samples };
        Self {
            method,
            kl: Some(nothing),
            task: None,
            flips: Some(0),
            local_sqnr_db: None,
            cumulative_sqnr_db: None,
            weight_sqnr_db: None,
            note,
        }
    }
}

/// One number of the map as it comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// Place in [`Subject::layers`].
    pub layer: usize,
    /// Place in the settings.
    pub setting: usize,
    pub scores: Scores,
    /// Whether it was measured before.
    pub is_kept: bool,
}

/// The whole map: layers × settings.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Map {
    pub method: Method,
    pub settings: Vec<Setting>,
    pub layers: Vec<String>,
    pub task_unit: TaskUnit,
    /// Samples that networks were run to the end on.
    pub samples: usize,
    /// By layer, then setting.
    pub scores: Vec<Vec<Scores>>,
    /// Cells that were measured now; the others were kept from before.
    pub measured: usize,
    pub seconds: f64,
}

/// [`StatisticsSource`](compress::StatisticsSource) that several threads may ask.
pub type SharedStatistics<'a> = &'a (dyn Fn(&BTreeSet<Wire>, &Ctx) -> Result<Option<Statistics>, CalibrateError> + Sync);

/// What a map is made from.
#[derive(Clone, Copy)]
pub struct Survey<'a> {
    pub subject: &'a Subject,
    pub settings: &'a [Setting],
    pub data: &'a Dataset,
    pub statistics: SharedStatistics<'a>,
    /// What the calibrated ranges of activations come from: part of the name under which scores are kept.
    pub calibration_key: &'a str,
    pub store: &'a dyn Store,
}

/// The samples that layers are surveyed on: `count`, spread evenly over the whole set, in which classes may lie sorted.
#[must_use]
pub fn samples(data: &Dataset, count: usize) -> Dataset {
    data.spread(count)
}

/// Measures the map, cell by cell; `cell` sees each as soon as it is known.
///
/// # Errors
/// When there are no samples or layers, a setting makes no sense, the original cannot be run, or on cancel. What was
/// measured until then is kept in the store.
pub fn measure(survey: &Survey<'_>, method: Method, ctx: &Ctx, cell: &mut dyn FnMut(&Cell)) -> Result<Map, SearchError> {
    let started = std::time::Instant::now();
    if survey.data.is_empty() {
        return Err(SearchError::Empty);
    }
    if survey.subject.layers.is_empty() {
        return Err(SearchError::NoLayers);
    }
    if survey.settings.is_empty() {
        return Err(SearchError::NoSettings);
    }
    let plans = plans(survey.subject, survey.settings)?;
    let mut rows: Vec<Row> = (0..survey.subject.layers.len()).map(|layer| Row::read(survey, &plans, method, layer)).collect();
    for (layer, row) in rows.iter().enumerate() {
        for (setting, scores) in row.scores.iter().enumerate() {
            if let Some(scores) = scores {
                cell(&Cell { layer, setting, scores: scores.clone(), is_kept: true });
            }
        }
    }
    let missing: usize = rows.iter().map(Row::missing).sum();
    if missing > 0 {
        let known = calibrated(survey, &plans, ctx)?;
        let source = |wires: &BTreeSet<Wire>, _: &Ctx| Ok(part(known.as_ref(), wires));
        let survey = &Survey { statistics: &source, ..*survey };
        match method {
            Method::Exact => exact::measure(survey, &plans, &mut rows, ctx, cell)?,
            Method::Fast => fast::measure(survey, &plans, &mut rows, ctx, cell)?,
        }
    }
    let empty = || Scores { note: Some("not measured".to_owned()), kl: None, ..Scores::untouched(method, 0, None) };
    Ok(Map {
        method,
        settings: survey.settings.to_vec(),
        layers: survey.subject.layers.iter().map(|l| l.name.clone()).collect(),
        task_unit: if survey.data.is_text() { TaskUnit::NatsPerToken } else { TaskUnit::Top1Points },
        samples: match method {
            Method::Exact => survey.data.len(),
            Method::Fast => survey.data.len().min(fast::PROBE_SAMPLES),
        },
        scores: rows.into_iter().map(|r| r.scores.into_iter().map(|s| s.unwrap_or_else(empty)).collect()).collect(),
        measured: missing,
        seconds: started.elapsed().as_secs_f64(),
    })
}

/// What each setting does to all layers.
fn plans(subject: &Subject, settings: &[Setting]) -> Result<Vec<Plan>, SearchError> {
    // One layer at a time is changed; channels belong to several.
    let whole = |treatment| Treatment { channels: ChannelCut::None, ..treatment };
    let plan = |s: &Setting| Ok(configure::plan(&Recipe::new(s.label.clone(), whole(s.treatment)), subject)?);
    settings.iter().map(plan).collect()
}

/// What all of the plans must know of the data, in one pass; `None` where the project has no calibration data.
fn calibrated(survey: &Survey<'_>, plans: &[Plan], ctx: &Ctx) -> Result<Option<Statistics>, SearchError> {
    let wires: BTreeSet<Wire> = plans.iter().flat_map(compress::needs).collect();
    if wires.is_empty() { Ok(Some(Statistics::default())) } else { Ok((survey.statistics)(&wires, ctx)?) }
}

/// The part of statistics that is about some wires.
fn part(known: Option<&Statistics>, wires: &BTreeSet<Wire>) -> Option<Statistics> {
    let known = known?;
    let mut part = Statistics::default();
    part.samples = known.samples;
    part.wires = wires.iter().filter_map(|w| Some((w.to_string(), known.wire(w)?.clone()))).collect();
    Some(part)
}

/// The model with one layer treated as `plan` says and all others left alone.
fn alone(subject: &Subject, plan: &Plan, layer: &LayerPlan, survey: &Survey<'_>, ctx: &Ctx) -> Result<Variant, SearchError> {
    let only = Plan {
        layers: vec![layer.clone()],
        recipe: plan.recipe.clone(),
        groups: Vec::new(),
        left_out: None,
        cuts: None,
        ..*plan
    };
    // A context of its own: one layer is soon done, and the progress is that of the map.
    Ok(compress::run(&only, subject, survey.statistics, &ctx.fresh())?)
}

/// The first node that a change of the layer's weights or of the data that it reads can touch.
fn first_touched(model: &Model, layer: &Layer) -> NodeId {
    let own = layer.node.unwrap_or(NodeId(0));
    let touched = |wires: Vec<Wire>| wires.contains(&layer.weight);
    model.nodes.iter().find(|n| n.id == own || touched(reads(n))).map_or(own, |n| n.id)
}
