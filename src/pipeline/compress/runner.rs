//! Alternates collecting and applying: asks every technique what it must know, has it collected in
//! one pass, applies the techniques layer by layer, and writes the result into the graph.

use super::CompressError;
use super::allocation::allocate;
use super::bias_correction::analytic;
use super::channels::DataSource;
use super::kept::{Keep, Nothing};
use super::saliency::{Scores, by_slopes};
use super::sequential;
use super::technique::{LayerWork, registry};
use super::variant::{CompressedLayer, Variant};
use crate::engine::Ctx;
use crate::engine::graph::{Channels, Layer, LowRank, LoweredLayer, Wire, lower};
use crate::engine::kernels::affine::ErrorSums;
use crate::engine::tensor::Tensor;
use crate::pipeline::calibrate::{CalibrateError, Statistics};
use crate::pipeline::configure::{FileFormat, LayerPlan, Plan, Recovery};
use crate::pipeline::load::Subject;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Where statistics come from: a pass over data, or a cache in front of one. `None` where the
/// project has no calibration data.
pub type StatisticsSource<'a> = &'a dyn Fn(&BTreeSet<Wire>, &Ctx) -> Result<Option<Statistics>, CalibrateError>;

/// The wires whose ranges the techniques of a plan must know.
#[must_use]
pub fn needs(plan: &Plan) -> BTreeSet<Wire> {
    plan.layers
        .iter()
        .flat_map(|layer| registry().into_iter().filter(|t| t.concerns(layer)).flat_map(|t| t.needs(layer)))
        .collect()
}

/// Compresses without samples: what would be corrected with them is rounded to nearest.
///
/// # Errors
/// As [`run_with`].
pub fn run(plan: &Plan, subject: &Subject, statistics: StatisticsSource<'_>, ctx: &Ctx) -> Result<Variant, CompressError> {
    run_with(plan, subject, statistics, &|_| Ok(None), ctx)
}

/// `subject` is what [`prepare`](super::prepare) made.
///
/// # Errors
/// When weights are not finite, statistics cannot be had, or on cancel.
pub fn run_with(
    plan: &Plan,
    subject: &Subject,
    statistics: StatisticsSource<'_>,
    samples: DataSource<'_>,
    ctx: &Ctx,
) -> Result<Variant, CompressError> {
    run_on(plan, subject, statistics, samples, &Nothing, ctx)
}

/// [`run_with`], which goes on where one was stopped as far as `keep` has kept what it made.
///
/// # Errors
/// As [`run_with`].
pub fn run_on(
    plan: &Plan,
    subject: &Subject,
    statistics: StatisticsSource<'_>,
    samples: DataSource<'_>,
    keep: &dyn Keep,
    ctx: &Ctx,
) -> Result<Variant, CompressError> {
    if plan.is_unchanged() {
        return Ok(unchanged(plan, subject));
    }
    let takes_samples = plan.is_corrected() || plan.layers.iter().any(|l| l.treatment.weighs_data());
    let samples = if takes_samples { samples(ctx)? } else { None };
    let plan = &(if samples.is_some() { plan.clone() } else { plan.uncorrected() });
    let plan = &allocate(plan, subject, ctx)?;
    let scores = samples.as_ref().map_or(Ok(Scores::new()), |data| by_slopes(plan, subject, data, ctx))?;
    let wanted = needs(plan);
    let statistics = if wanted.is_empty() {
        Statistics::default()
    } else {
        statistics(&wanted, ctx)?.ok_or_else(|| CompressError::NoData { recipe: plan.recipe.clone() })?
    };
    let known = (&statistics, &scores);
    ctx.start(format!("Compressing with {}", plan.recipe), plan.layers.len());
    let done: Vec<Made> = match samples {
        Some(data) if plan.is_corrected() => sequential::run(plan, subject, known, &data, keep, ctx)?,
        _ => ctx.pool().install(|| {
            let made = plan.layers.par_iter().map(|layer| compress_layer(layer, plan.file, subject, known, ctx));
            made.inspect(|_| ctx.advance(1)).collect::<Result<_, _>>()
        })?,
    };
    let (lowered, layers): (Vec<_>, Vec<_>) = done.into_iter().map(|made| (made.lowered, made.layer)).unzip();
    let model = plan.file.finished(lower(&subject.folded, &lowered)?)?;
    let base = Arc::clone(&subject.folded);
    Ok(Variant { recipe: plan.recipe.clone(), model: Arc::new(model), base, layers, unchanged: false })
}

fn unchanged(plan: &Plan, subject: &Subject) -> Variant {
    let layers = plan.layers.iter().map(|l| CompressedLayer {
        name: l.layer.name.clone(),
        weight_sqnr_db: f64::INFINITY,
        zero_fraction: zero_fraction(&weights_of(&l.layer, subject).unwrap_or_default()),
        bytes: l.bytes,
        stored: None,
        dense: None,
        steps: Vec::new(),
    });
    let (model, base) = (Arc::clone(&subject.original), Arc::clone(&subject.folded));
    Variant { recipe: plan.recipe.clone(), model, base, layers: layers.collect(), unchanged: true }
}

pub(super) fn weights_of(layer: &Layer, subject: &Subject) -> Result<Vec<f32>, CompressError> {
    let Some(tensor) = subject.folded.constants.get(&layer.weight) else { return Ok(Vec::new()) };
    tensor.to_f32().map_err(|source| CompressError::Tensor { layer: layer.name.clone(), source })
}

fn zero_fraction(weights: &[f32]) -> f64 {
    weights.iter().filter(|w| **w == 0.0).count() as f64 / weights.len().max(1) as f64
}

/// What became of one layer: its part of the rewrite, what is said of it, what it computes with.
pub(super) struct Made {
    pub lowered: LoweredLayer,
    pub layer: CompressedLayer,
    pub weights: Vec<f32>,
}

impl LayerWork {
    /// The layer as it is in the model.
    ///
    /// # Errors
    /// When it is to be changed and its weights are not finite.
    pub(super) fn of(plan: &LayerPlan, subject: &Subject, scores: &Scores) -> Result<Self, CompressError> {
        let original = weights_of(&plan.layer, subject)?;
        let count = original.iter().filter(|w| !w.is_finite()).count();
        if count > 0 && !plan.is_unchanged() {
            return Err(CompressError::NotFinite { layer: plan.layer.name.clone(), count, total: original.len() });
        }
        let scores = scores.get(&plan.layer.weight).cloned().unwrap_or_default();
        Ok(Self { weights: original.clone(), original, scores, stored: None, rounded: None, low_rank: None })
    }
}

/// Applies the techniques that need no samples.
pub(super) fn compress_layer(
    plan: &LayerPlan,
    file: FileFormat,
    subject: &Subject,
    (statistics, scores): (&Statistics, &Scores),
    ctx: &Ctx,
) -> Result<Made, CompressError> {
    ctx.check()?;
    let mut work = LayerWork::of(plan, subject, scores)?;
    for technique in registry().into_iter().filter(|t| t.concerns(plan)) {
        technique.apply(plan, &mut work, statistics, ctx)?;
    }
    let added = mended(plan, subject, &work);
    let mut made = Made::of(plan, file, work)?;
    if let (Some((_, bias)), Some(added)) = (&mut made.lowered.bias, added) {
        *bias = added;
    }
    Ok(made)
}

/// What batch normalization says is to be added to each output channel, where the plan asks for that.
fn mended(plan: &LayerPlan, subject: &Subject, work: &LayerWork) -> Option<Vec<f32>> {
    if plan.treatment.correction.recovery != Recovery::BatchNorm {
        return None;
    }
    let channels = Channels::new(&plan.layer.shape, plan.layer.out_axis);
    analytic(plan, &subject.folded, &channels.gather(&work.original), &channels.gather(&work.weights))
}

impl Made {
    pub(super) fn of(plan: &LayerPlan, file: FileFormat, mut work: LayerWork) -> Result<Self, CompressError> {
        let failed = |source| CompressError::Tensor { layer: plan.layer.name.clone(), source };
        work.stored = work.stored.map(|s| file.adapted(s, plan.treatment.activations)).transpose().map_err(failed)?;
        let mut sums = ErrorSums::default();
        sums.add_slices(&work.original, &work.weights);
        let beside = work.low_rank.as_ref().map_or(0, LowRank::size_bytes);
        let layer = CompressedLayer {
            name: plan.layer.name.clone(),
            weight_sqnr_db: sums.sqnr_db(),
            zero_fraction: zero_fraction(&work.weights),
            bytes: work.stored.as_ref().map_or(plan.bytes, |stored| stored.size_bytes() + beside),
            dense: match &work.stored {
                Some(stored) if file.needs_values(&plan.layer, stored) => {
                    Some(Tensor::from_f32(plan.layer.shape.clone(), &work.weights).map_err(failed)?)
                }
                _ => None,
            },
            stored: work.stored.clone(),
            steps: Vec::new(),
        };
        let lowered = LoweredLayer {
            weight: plan.layer.weight.clone(),
            shape: plan.layer.shape.clone(),
            out_axis: plan.layer.out_axis,
            stored: work.stored,
            input: plan.layer.input.clone(),
            rounded: work.rounded,
            bias: plan.bias.clone().map(|place| (place, vec![0.0; plan.layer.out_channels()])),
            low_rank: work.low_rank,
        };
        Ok(Self { lowered, layer, weights: work.weights })
    }
}
