//! Holds outputs against those of the original on the same samples, with everything before a change kept.

use super::{Estimate, SearchError};
use crate::engine::Ctx;
use crate::engine::exec::{Checkpoints, Executor, Request};
use crate::engine::graph::{Model, NodeId, Wire};
use crate::engine::tensor::Value;
use crate::pipeline::evaluate::EvaluateError;
use crate::pipeline::evaluate::outputs::{OutputKind, kl, top1};
use crate::pipeline::load::Dataset;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Bytes that may be kept of what lies on wires.
const KEPT_BYTES: usize = 1 << 29;

/// What a change costs the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskUnit {
    /// Points of top-1 that are lost.
    Top1Points,
    /// Negative log probability (nats) by which a token that follows becomes less likely.
    NatsPerToken,
}

/// How far outputs are from the original's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// KL(original ‖ changed) in nats, mean over predictions.
    pub kl: Estimate,
    /// What the task loses, paired with the original on the same samples; `None` without labels.
    pub task: Option<Estimate>,
    /// Predictions whose first class is another one.
    pub flips: usize,
    pub predictions: usize,
}

/// The samples of one batch and what the original makes of them.
struct Known {
    /// Places in the data set.
    samples: Vec<usize>,
    labels: Labels,
    outputs: Value,
}

enum Labels {
    Unknown,
    /// One per sample.
    Classes(Vec<usize>),
    /// The tokens that were fed: each is what the place before it should predict.
    Next(Vec<i64>),
}

/// Sums over the predictions of one sample.
#[derive(Default, Clone, Copy)]
struct SampleSums {
    kl: f64,
    rows: f64,
    task: f64,
    labelled: f64,
    flips: usize,
}

/// The original on some samples.
pub struct Judge {
    kind: OutputKind,
    is_text: bool,
    output: Wire,
    known: Arc<Vec<Known>>,
    feeds: Arc<Vec<Vec<(Wire, Value)>>>,
    checkpoints: Checkpoints,
}

impl Judge {
    /// Runs `model` on all of `data` and keeps what the layers read, as far as memory is granted.
    ///
    /// # Errors
    /// When data and model do not fit each other, outputs are not finite, or on cancel.
    pub fn new(model: &Model, data: &Dataset, ctx: &Ctx) -> Result<Self, SearchError> {
        if data.is_empty() {
            return Err(SearchError::Empty);
        }
        let input = model.data_input().ok_or(EvaluateError::NoPorts)?.clone();
        let output = model.outputs.first().ok_or(EvaluateError::NoPorts)?.wire.clone();
        let fixed = input.fact.shape.as_ref().and_then(|s| s.first()?.known());
        ctx.start("Running the original", 0);
        let (mut known, mut feeds) = (Vec::new(), Vec::new());
        let all: Vec<usize> = (0..data.len()).collect();
        for samples in all.chunks(data.batch_size(fixed)) {
            ctx.check()?;
            let values = data.batch(&Dataset::whole_batch(samples, fixed), ctx)?;
            let labels = match &data.labels {
                _ if data.is_text() => Labels::Next(values.to_i64()?),
                Some(labels) => Labels::Classes(samples.iter().filter_map(|i| labels.get(*i).copied()).collect()),
                None => Labels::Unknown,
            };
            known.push((samples.to_vec(), labels));
            feeds.push(vec![(input.wire.clone(), values)]);
        }
        let (checkpoints, outputs) = Checkpoints::record(model, &feeds, KEPT_BYTES, ctx)?;
        let with_outputs = |((samples, labels), made): (_, Vec<(Wire, Value)>)| {
            let outputs = made.into_iter().next().ok_or(EvaluateError::NoPorts)?.1;
            Ok(Known { samples, labels, outputs })
        };
        let known = known.into_iter().zip(outputs).map(with_outputs).collect::<Result<Vec<_>, SearchError>>()?;
        let (known, feeds) = (Arc::new(known), Arc::new(feeds));
        let judge = Self { kind: OutputKind::of(model), is_text: data.is_text(), output, known, feeds, checkpoints };
        // Against itself: this finds what is not finite, and labels that do not fit.
        for known in judge.known.iter() {
            judge.batch(known, &known.outputs, &mut Vec::new())?;
        }
        Ok(judge)
    }

    /// The same samples and outputs, with what `model` has on its wires kept instead: for changes of a model that
    /// is changed already.
    ///
    /// # Errors
    /// When the model cannot be run, or on cancel.
    pub fn from_changed(&self, model: &Model, ctx: &Ctx) -> Result<(Self, Option<Verdict>), SearchError> {
        let (checkpoints, outputs) = Checkpoints::record(model, &self.feeds, KEPT_BYTES, ctx)?;
        let (known, feeds) = (Arc::clone(&self.known), Arc::clone(&self.feeds));
        let judge = Self { known, feeds, checkpoints, output: self.output.clone(), ..*self };
        let mut sums = Vec::new();
        for (known, made) in judge.known.iter().zip(outputs) {
            let made = made.into_iter().next().ok_or(EvaluateError::NoPorts)?.1;
            match judge.batch(known, &made, &mut sums) {
                Err(SearchError::NotFinite { .. }) => return Ok((judge, None)),
                other => other?,
            }
        }
        let verdict = judge.verdict(&sums);
        Ok((judge, verdict))
    }

    #[must_use]
    pub fn task_unit(&self) -> TaskUnit {
        if self.is_text { TaskUnit::NatsPerToken } else { TaskUnit::Top1Points }
    }

    #[must_use]
    pub fn samples(&self) -> usize {
        self.known.iter().map(|k| k.samples.len()).sum()
    }

    /// Judges `changed`, whose nodes before `first` are those of the recorded model. `None` where it gives NaN or infinity.
    ///
    /// # Errors
    /// When it cannot be run, or on cancel.
    pub fn judge(&self, changed: &Model, first: NodeId, ctx: &Ctx) -> Result<Option<Verdict>, SearchError> {
        let request = Request { outputs: Some(vec![self.output.clone()]), ..Request::default() };
        let suffix = self.checkpoints.behind(changed, first, &request)?;
        let mut sums = Vec::new();
        for (index, known) in self.known.iter().enumerate() {
            ctx.check()?;
            let made = self.checkpoints.run(&suffix, index, ctx, &mut |_, _| {})?;
            let Some((_, made)) = made.into_iter().next() else { return Err(EvaluateError::NoPorts.into()) };
            match self.batch(known, &made, &mut sums) {
                Err(SearchError::NotFinite { .. }) => return Ok(None),
                other => other?,
            }
        }
        Ok(self.verdict(&sums))
    }

    /// Judges a whole model that reads the same input.
    ///
    /// # Errors
    /// When it cannot be run, or on cancel.
    pub fn judge_whole(&self, model: &Model, ctx: &Ctx) -> Result<Option<Verdict>, SearchError> {
        let request = Request { outputs: Some(vec![self.output.clone()]), ..Request::default() };
        let executor = Executor::new(model, &request)?;
        let mut sums = Vec::new();
        for (known, feeds) in self.known.iter().zip(self.feeds.iter()) {
            ctx.check()?;
            let made = executor.run(feeds, ctx, &mut |_, _| {})?;
            let Some((_, made)) = made.into_iter().next() else { return Err(EvaluateError::NoPorts.into()) };
            match self.batch(known, &made, &mut sums) {
                Err(SearchError::NotFinite { .. }) => return Ok(None),
                other => other?,
            }
        }
        Ok(self.verdict(&sums))
    }

    fn verdict(&self, sums: &[SampleSums]) -> Option<Verdict> {
        let ratio = |of: &dyn Fn(&SampleSums) -> (f64, f64)| Estimate::of_ratio(&sums.iter().map(of).collect::<Vec<_>>());
        let unit = if self.is_text { 1.0 } else { 100.0 };
        Some(Verdict {
            kl: ratio(&|s| (s.kl, s.rows))?,
            task: ratio(&|s| (s.task, s.labelled)).map(|t| t.scaled(t.value * unit, unit)),
            flips: sums.iter().map(|s| s.flips).sum(),
            predictions: sums.iter().map(|s| s.rows).sum::<f64>() as usize,
        })
    }

    fn batch(&self, known: &Known, made: &Value, sums: &mut Vec<SampleSums>) -> Result<(), SearchError> {
        let shape = known.outputs.shape().to_vec();
        if made.shape() != shape {
            return Err(EvaluateError::OtherShape { original: shape, compressed: made.shape().to_vec() }.into());
        }
        known.outputs.with_f32(|before| made.with_f32(|after| self.rows(known, &shape, before, after, sums)))??
    }

    fn rows(
        &self,
        known: &Known,
        shape: &[usize],
        before: &[f32],
        after: &[f32],
        sums: &mut Vec<SampleSums>,
    ) -> Result<(), SearchError> {
        let classes = shape.last().copied().unwrap_or(1).max(1);
        let fed = if shape.len() > 1 { shape[0].max(1) } else { known.samples.len().max(1) };
        let per_sample = (before.len() / classes / fed).max(1);
        for (place, &sample) in known.samples.iter().enumerate() {
            let mut sum = SampleSums::default();
            let rows = place * per_sample * classes..(place + 1) * per_sample * classes;
            let (Some(before), Some(after)) = (before.get(rows.clone()), after.get(rows)) else { continue };
            for (row, (b, a)) in before.chunks(classes).zip(after.chunks(classes)).enumerate() {
                if b.iter().chain(a).any(|v| v.is_nan() || *v == f32::INFINITY) {
                    return Err(SearchError::NotFinite { sample });
                }
                let label = match &known.labels {
                    Labels::Unknown => None,
                    Labels::Classes(labels) if per_sample == 1 => labels.get(place).copied(),
                    Labels::Classes(labels) => {
                        let rows = before.len() / classes;
                        return Err(EvaluateError::Rows { labels: labels.len(), rows, samples: known.samples.len() }.into());
                    }
                    // What follows the last token of a text nobody knows.
                    Labels::Next(_) if row + 1 == per_sample => continue,
                    Labels::Next(tokens) => {
                        let next = tokens.get(place * per_sample + row + 1).copied().unwrap_or(-1);
                        Some(usize::try_from(next).unwrap_or(usize::MAX))
                    }
                };
                if let Some(label) = label.filter(|l| *l >= classes) {
                    return Err(EvaluateError::Label { sample, label, classes }.into());
                }
                self.row(b, a, label, &mut sum);
            }
            sums.push(sum);
        }
        Ok(())
    }

    fn row(&self, before: &[f32], after: &[f32], label: Option<usize>, sum: &mut SampleSums) {
        let [log_before, log_after] = [before, after].map(|row| self.kind.log_probabilities(row));
        sum.kl += kl(&log_before, &log_after).max(0.0);
        sum.rows += 1.0;
        let (was, is) = (top1(before), top1(after));
        sum.flips += usize::from(was != is);
        if let Some(label) = label {
            sum.labelled += 1.0;
            sum.task += if self.is_text {
                log_before.get(label).unwrap_or(&0.0) - log_after.get(label).unwrap_or(&0.0)
            } else {
                f64::from(u8::from(was == label)) - f64::from(u8::from(is == label))
            };
        }
    }
}
