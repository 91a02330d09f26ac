//! A map in a fraction of the time: of each layer one setting is run to the end of the network, on few samples. KL
//! grows as the square of what reaches the output while errors are small (its second-order expansion about the
//! original has no linear term), so that the others follow from the error power at the layer's own output, which
//! each of them is measured for. There are no gradients: the layer's measured KL stands where Fisher information
//! would, and in the very direction of the error.

use super::keep::Row;
use super::local::{Local, db};
use super::{Cell, Method, Scores, Survey, alone, first_touched};
use crate::engine::Ctx;
use crate::pipeline::compress::{CompressError, Variant};
use crate::pipeline::configure::{Activations, Plan};
use crate::pipeline::search::judge::Judge;
use crate::pipeline::search::{Estimate, SearchError};
use rayon::prelude::*;

/// Samples that one setting of each layer is run on.
pub(super) const PROBE_SAMPLES: usize = 24;
/// Samples that errors at the layers' outputs are measured on.
const OUTPUT_SAMPLES: usize = 16;

/// What a setting does at the layer's own output.
enum AtOutput {
    /// Nothing: the layer stays as it is.
    Untouched(Option<String>),
    /// It cannot be done.
    Impossible(String),
    Changed {
        variant: Variant,
        /// Error power over signal power; `None` where the layer cannot run on its own.
        error: Option<Estimate>,
    },
}

pub(super) fn measure(
    survey: &Survey<'_>,
    plans: &[Plan],
    rows: &mut [Row],
    ctx: &Ctx,
    cell: &mut dyn FnMut(&Cell),
) -> Result<(), SearchError> {
    let judge = Judge::new(&survey.subject.folded, &super::samples(survey.data, PROBE_SAMPLES), ctx)?;
    let local = Local::record(survey, OUTPUT_SAMPLES, ctx)?;
    ctx.start("Sensitivity, fast", rows.len());
    for (layer, row) in rows.iter_mut().enumerate().filter(|(_, row)| row.missing() > 0) {
        ctx.check()?;
        let at_output = |plan: &Plan| at_output(survey, &local, plan, layer, ctx);
        let changes: Vec<AtOutput> = ctx.pool().install(|| plans.par_iter().map(at_output).collect::<Result<_, _>>())?;
        for (setting, scores) in scores(survey, &judge, &changes, layer, ctx)?.into_iter().enumerate() {
            row.set(setting, scores.clone(), survey);
            cell(&Cell { layer, setting, scores, is_kept: false });
        }
        ctx.advance(1);
    }
    Ok(())
}

fn at_output(survey: &Survey<'_>, local: &Local<'_>, plan: &Plan, layer: usize, ctx: &Ctx) -> Result<AtOutput, SearchError> {
    let Some(planned) = plan.layers.get(layer) else { return Ok(AtOutput::Untouched(None)) };
    if planned.treatment.is_unchanged() {
        return Ok(AtOutput::Untouched(planned.refusal.clone()));
    }
    match alone(survey.subject, plan, planned, survey, ctx) {
        Err(SearchError::Compress(error @ CompressError::NotFinite { .. })) => Ok(AtOutput::Impossible(error.to_string())),
        Err(error) => Err(error),
        Ok(variant) => {
            let error = local.error(&variant.model, &planned.layer, ctx)?;
            Ok(AtOutput::Changed { variant, error })
        }
    }
}

/// The scores of a layer's settings, weights and activations each from a measurement of their own.
fn scores(survey: &Survey<'_>, judge: &Judge, changes: &[AtOutput], layer: usize, ctx: &Ctx) -> Result<Vec<Scores>, SearchError> {
    let Some(found) = survey.subject.layers.get(layer) else { return Ok(Vec::new()) };
    let is_data = |setting: usize| survey.settings.get(setting).is_some_and(|s| s.treatment.activations != Activations::None);
    let first = first_touched(&survey.subject.folded, found);
    let mut probes = [None, None];
    for (kind, probe) in probes.iter_mut().enumerate() {
        let Some(middle) = middle(changes, &|setting| usize::from(is_data(setting)) == kind) else { continue };
        let Some(AtOutput::Changed { variant, error }) = changes.get(middle) else { continue };
        let verdict = judge.judge(&variant.model, first, ctx)?;
        *probe = verdict.map(|v| (v.kl, error.map_or(0.0, |e| e.value), middle));
    }
    let score = |(setting, change): (usize, &AtOutput)| {
        let (variant, error) = match change {
            AtOutput::Untouched(note) => return Scores::untouched(Method::Fast, judge.samples(), note.clone()),
            AtOutput::Impossible(note) => {
                let scores = Scores::untouched(Method::Fast, 0, Some(note.clone()));
                return Scores { kl: None, flips: None, ..scores };
            }
            AtOutput::Changed { variant, error } => (variant, error),
        };
        let kl = probes[usize::from(is_data(setting))].and_then(|(kl, power, probe): (Estimate, f64, usize)| {
            if setting == probe {
                return Some(kl);
            }
            let factor = error.filter(|_| power > 0.0)?.value / power;
            Some(kl.scaled(kl.value * factor, factor))
        });
        Scores {
            method: Method::Fast,
            kl,
            task: None,
            flips: None,
            local_sqnr_db: error.and_then(db),
            cumulative_sqnr_db: None,
            weight_sqnr_db: variant.layers.first().map(|l| l.weight_sqnr_db).filter(|db| db.is_finite()),
            note: None,
        }
    };
    Ok(changes.iter().enumerate().map(score).collect())
}

/// The setting of middle error among those of a kind.
fn middle(changes: &[AtOutput], is_kind: &dyn Fn(usize) -> bool) -> Option<usize> {
    let mut errors: Vec<(f64, usize)> = changes
        .iter()
        .enumerate()
        .filter(|(setting, _)| is_kind(*setting))
        .filter_map(|(setting, change)| match change {
            AtOutput::Changed { error, .. } => Some((error.map_or(0.0, |e| e.value), setting)),
            _ => None,
        })
        .collect();
    errors.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    errors.get(errors.len() / 2).map(|(_, setting)| *setting)
}
