//! Every cell run to the end of the network; what lies before the layer is not computed again.

use super::keep::Row;
use super::local::{LOCAL_SAMPLES, Local, db};
use super::{Cell, Method, Scores, Survey, alone, first_touched};
use crate::engine::Ctx;
use crate::pipeline::compress::CompressError;
use crate::pipeline::configure::Plan;
use crate::pipeline::search::judge::Judge;
use crate::pipeline::search::{Estimate, SearchError};
use std::sync::mpsc;

/// What all cells are measured with.
struct Bench<'a> {
    survey: &'a Survey<'a>,
    plans: &'a [Plan],
    judge: Judge,
    local: Local<'a>,
    /// By setting, then layer.
    cumulative: Vec<Vec<Option<Estimate>>>,
}

pub(super) fn measure(
    survey: &Survey<'_>,
    plans: &[Plan],
    rows: &mut [Row],
    ctx: &Ctx,
    cell: &mut dyn FnMut(&Cell),
) -> Result<(), SearchError> {
    let judge = Judge::new(&survey.subject.folded, survey.data, ctx)?;
    let local = Local::record(survey, LOCAL_SAMPLES, ctx)?;
    let is_wanted = |setting: usize| rows.iter().any(|r| r.scores.get(setting).is_some_and(Option::is_none));
    let nothing = || Ok(vec![None; rows.len()]);
    let cumulative = plans.iter().enumerate().map(|(i, plan)| if is_wanted(i) { local.cumulative(plan, ctx) } else { nothing() });
    let cumulative = cumulative.collect::<Result<Vec<_>, SearchError>>()?;
    let bench = Bench { survey, plans, judge, local, cumulative };
    ctx.start("Sensitivity", rows.iter().map(Row::missing).sum());
    for (layer, row) in rows.iter_mut().enumerate() {
        let done = bench.row(layer, row, ctx, cell);
        row.write(survey);
        done?;
    }
    Ok(())
}

impl Bench<'_> {
    /// Measures what is missing of a row, its cells side by side, and shows each as it comes.
    fn row(&self, layer: usize, row: &mut Row, ctx: &Ctx, cell: &mut dyn FnMut(&Cell)) -> Result<(), SearchError> {
        let missing = row.scores.iter().enumerate().filter(|(_, s)| s.is_none()).map(|(i, _)| i);
        let missing: Vec<usize> = missing.collect();
        let (send, receive) = mpsc::sync_channel(missing.len());
        ctx.pool().in_place_scope(|scope| {
            for setting in missing {
                let send = send.clone();
                scope.spawn(move |_| {
                    // Nobody listens any more where another cell has failed.
                    let _ = send.send((setting, self.cell(layer, setting, ctx)));
                });
            }
            drop(send);
            let mut result = Ok(());
            for (setting, scores) in receive {
                match scores {
                    Ok(scores) => {
                        row.set(setting, scores.clone(), self.survey);
                        cell(&Cell { layer, setting, scores, is_kept: false });
                        ctx.advance(1);
                    }
                    Err(error) => result = result.and(Err(error)),
                }
            }
            result
        })
    }

    fn cell(&self, layer: usize, setting: usize, ctx: &Ctx) -> Result<Scores, SearchError> {
        ctx.check()?;
        let subject = self.survey.subject;
        let samples = self.judge.samples();
        let found = self.plans.get(setting).and_then(|plan| Some((plan, plan.layers.get(layer)?)));
        let Some((plan, planned)) = found else { return Ok(Scores::untouched(Method::Exact, samples, None)) };
        if planned.treatment.is_unchanged() {
            return Ok(Scores::untouched(Method::Exact, samples, planned.refusal.clone()));
        }
        let variant = match alone(subject, plan, planned, self.survey, ctx) {
            Err(SearchError::Compress(error @ CompressError::NotFinite { .. })) => {
                let scores = Scores::untouched(Method::Exact, samples, Some(error.to_string()));
                return Ok(Scores { kl: None, flips: None, ..scores });
            }
            other => other?,
        };
        let first = first_touched(&subject.folded, &planned.layer);
        let verdict = self.judge.judge(&variant.model, first, ctx)?;
        let local = self.local.error(&variant.model, &planned.layer, ctx)?;
        let weight = variant.layers.first().map(|l| l.weight_sqnr_db).filter(|db| db.is_finite());
        let note = match verdict {
            None => Some("the output is not finite: NaN or infinity".to_owned()),
            Some(_) => planned.refusal.clone(),
        };
        Ok(Scores {
            method: Method::Exact,
            kl: verdict.map(|v| v.kl),
            task: verdict.and_then(|v| v.task),
            flips: verdict.map(|v| v.flips),
            local_sqnr_db: local.and_then(db),
            cumulative_sqnr_db: self.cumulative.get(setting).and_then(|c| c.get(layer).copied()?).and_then(db),
            weight_sqnr_db: weight,
            note,
        })
    }
}
