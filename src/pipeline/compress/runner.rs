//! Alternates collecting and applying: asks every technique what it must know, has it collected in
//! one pass, applies the techniques layer by layer, and writes the result into the graph.

use super::CompressError;
use super::technique::{LayerWork, registry};
use super::variant::{CompressedLayer, Variant};
use crate::engine::Ctx;
use crate::engine::graph::{LoweredLayer, StoredWeight, Wire, lower};
use crate::engine::kernels::affine::ErrorSums;
use crate::engine::tensor::Tensor;
use crate::pipeline::calibrate::{CalibrateError, Statistics};
use crate::pipeline::configure::{FileFormat, LayerPlan, Plan};
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

/// # Errors
/// When weights are not finite, statistics cannot be had, or on cancel.
pub fn run(plan: &Plan, subject: &Subject, statistics: StatisticsSource<'_>, ctx: &Ctx) -> Result<Variant, CompressError> {
    if plan.is_unchanged() {
        return Ok(unchanged(plan, subject));
    }
    let wanted = needs(plan);
    let statistics = if wanted.is_empty() {
        Statistics::default()
    } else {
        statistics(&wanted, ctx)?.ok_or_else(|| CompressError::NoData { recipe: plan.recipe.clone() })?
    };
    ctx.start(format!("Compressing with {}", plan.recipe), plan.layers.len());
    let done: Vec<(LoweredLayer, CompressedLayer)> = ctx.pool().install(|| {
        plan.layers.par_iter().map(|layer| compress_layer(layer, plan.file, subject, &statistics, ctx)).collect::<Result<_, _>>()
    })?;
    let (lowered, layers): (Vec<_>, Vec<_>) = done.into_iter().unzip();
    let model = lower(&subject.folded, &lowered)?;
    Ok(Variant { recipe: plan.recipe.clone(), model: Arc::new(model), layers, unchanged: false })
}

fn unchanged(plan: &Plan, subject: &Subject) -> Variant {
    let layers = plan.layers.iter().map(|l| CompressedLayer {
        name: l.layer.name.clone(),
        weight_sqnr_db: f64::INFINITY,
        zero_fraction: zero_fraction(&weights_of(l, subject).unwrap_or_default()),
        bytes: l.bytes,
        stored: None,
        dense: None,
    });
    Variant { recipe: plan.recipe.clone(), model: Arc::clone(&subject.original), layers: layers.collect(), unchanged: true }
}

fn weights_of(plan: &LayerPlan, subject: &Subject) -> Result<Vec<f32>, CompressError> {
    let Some(tensor) = subject.folded.constants.get(&plan.layer.weight) else { return Ok(Vec::new()) };
    tensor.to_f32().map_err(|source| CompressError::Tensor { layer: plan.layer.name.clone(), source })
}

fn zero_fraction(weights: &[f32]) -> f64 {
    weights.iter().filter(|w| **w == 0.0).count() as f64 / weights.len().max(1) as f64
}

fn compress_layer(
    plan: &LayerPlan,
    file: FileFormat,
    subject: &Subject,
    statistics: &Statistics,
    ctx: &Ctx,
) -> Result<(LoweredLayer, CompressedLayer), CompressError> {
    ctx.check()?;
    let original = weights_of(plan, subject)?;
    let count = original.iter().filter(|w| !w.is_finite()).count();
    if count > 0 && !plan.treatment.is_unchanged() {
        return Err(CompressError::NotFinite { layer: plan.layer.name.clone(), count, total: original.len() });
    }
    let mut work = LayerWork { weights: original.clone(), original, stored: None, rounded: None };
    for technique in registry().into_iter().filter(|t| t.concerns(plan)) {
        technique.apply(plan, &mut work, statistics, ctx)?;
    }
    let failed = |source| CompressError::Tensor { layer: plan.layer.name.clone(), source };
    work.stored = work.stored.map(|s| file.adapted(s, plan.treatment.activations)).transpose().map_err(failed)?;
    let mut sums = ErrorSums::default();
    sums.add_slices(&work.original, &work.weights);
    ctx.advance(1);
    let layer = CompressedLayer {
        name: plan.layer.name.clone(),
        weight_sqnr_db: sums.sqnr_db(),
        zero_fraction: zero_fraction(&work.weights),
        bytes: work.stored.as_ref().map_or(plan.original_bytes, StoredWeight::size_bytes),
        dense: match &work.stored {
            Some(stored) if file.needs_values(&plan.layer, stored) => Some(
                Tensor::from_f32(plan.layer.shape.clone(), &work.weights)
                    .map_err(|source| CompressError::Tensor { layer: plan.layer.name.clone(), source })?,
            ),
            _ => None,
        },
        stored: work.stored.clone(),
    };
    let lowered = LoweredLayer {
        weight: plan.layer.weight.clone(),
        shape: plan.layer.shape.clone(),
        out_axis: plan.layer.out_axis,
        stored: work.stored,
        input: plan.layer.input.clone(),
        rounded: work.rounded,
    };
    Ok((lowered, layer))
}
