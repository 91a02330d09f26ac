//! The pass over the data, and what is made of the outputs.

use super::EvaluateError;
use super::finding::findings;
use super::layer_error::layer_errors;
use super::outputs::{OutputKind, cosine, in_top5, kl, top1};
use super::report::{ChangedPrediction, Fidelity, NextToken, Percentage, REPORT_FORMAT, REPORT_VERSION, Report, TaskMetrics};
use crate::engine::Ctx;
use crate::engine::exec::{Arithmetic, Executor, Request};
use crate::engine::graph::{Layer, Model, Wire};
use crate::engine::kernels::affine::ErrorSums;
use crate::engine::tensor::Value;
use crate::pipeline::load::Dataset;
use std::collections::BTreeMap;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// The models that are compared.
#[derive(Debug, Clone)]
pub struct Subjects<'a> {
    /// As it was loaded: what accuracy is compared with.
    pub original: &'a Model,
    /// What the compressed model was made from: what layer outputs are compared with.
    pub reference: &'a Model,
    pub variant: &'a Model,
    pub layers: &'a [Layer],
    /// Weight error by layer, as the compression found it.
    pub weight_sqnr_db: BTreeMap<String, f64>,
}

/// What names a report, and how much is measured.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    pub recipe: String,
    pub recipe_key: String,
    pub model_hash: String,
    pub split: String,
    pub calibration_key: String,
    /// Samples that layer errors are measured on; 0: none.
    pub layer_samples: usize,
    pub bytes: u64,
    pub bytes_original: u64,
    /// Of the compressed model; layer errors are simulated in any case.
    pub arithmetic: Arithmetic,
}

/// Changed predictions that a report lists at most.
const CHANGED_LIMIT: usize = 2_000;

/// What errors call the two models.
const ORIGINAL: &str = "original";
const COMPRESSED: &str = "compressed";

/// # Errors
/// When data and models do not fit each other, outputs are not finite, or on cancel.
pub fn run(subjects: &Subjects<'_>, data: &Dataset, settings: &Settings, ctx: &Ctx) -> Result<Report, EvaluateError> {
    let started = Instant::now();
    if data.is_empty() {
        return Err(EvaluateError::Empty);
    }
    let input = subjects.original.data_input().ok_or(EvaluateError::NoPorts)?.wire.clone();
    let original = executor(ORIGINAL, subjects.original, Arithmetic::Simulated)?;
    let variant = executor(COMPRESSED, subjects.variant, settings.arithmetic)?;
    let batch = data.batch_size(original.fixed_batch());
    let mut tally = Tally::new(OutputKind::of(subjects.original));
    ctx.start(format!("Evaluating {}", settings.recipe), data.len());
    let all: Vec<usize> = (0..data.len()).collect();
    for indices in all.chunks(batch) {
        ctx.check()?;
        let values = data.batch(&Dataset::whole_batch(indices, original.fixed_batch()), ctx)?;
        let before = first_output(ORIGINAL, &original, &input, &values, ctx)?;
        let after = first_output(COMPRESSED, &variant, &input, &values, ctx)?;
        let truth = Truth::of(data, indices, &values)?;
        let shape = before.shape().to_vec();
        if after.shape() != shape {
            return Err(EvaluateError::OtherShape { original: shape, compressed: after.shape().to_vec() });
        }
        let counted = before.with_f32(|b| after.with_f32(|a| tally.batch(indices, &truth, &shape, b, a)))??;
        if let Err(EvaluateError::NotFinite { which, sample, .. }) = counted {
            return Err(first_bad(which, sample, subjects, &input, &values, ctx)?);
        }
        counted?;
        ctx.advance(indices.len());
    }
    let (layers, contamination) = if settings.layer_samples == 0 {
        (Vec::new(), Vec::new())
    } else {
        layer_errors(subjects, &data.spread(settings.layer_samples), batch, ctx)?
    };
    let each_kl = tally.kl.iter().copied().collect();
    let (metrics, baseline, fidelity, changed) = tally.finish();
    Ok(Report {
        format: REPORT_FORMAT.to_owned(),
        version: REPORT_VERSION,
        recipe: settings.recipe.clone(),
        recipe_key: settings.recipe_key.clone(),
        model_hash: settings.model_hash.clone(),
        data_key: data.key(),
        calibration_key: settings.calibration_key.clone(),
        split: settings.split.clone(),
        samples: data.len(),
        seed: ctx.seed,
        metrics,
        baseline,
        fidelity,
        findings: findings(&layers, &contamination),
        layers,
        contamination,
        integer_layers: (settings.arithmetic == Arithmetic::Integer).then(|| variant.integer_layers()),
        changed,
        each_kl,
        bytes: settings.bytes,
        bytes_original: settings.bytes_original,
        seconds: started.elapsed().as_secs_f64(),
        unix_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
    })
}

/// What another program made of the data.
#[derive(Debug, Clone)]
pub struct Elsewhere {
    /// `None` without labels.
    pub metrics: Option<TaskMetrics>,
    pub fidelity: Fidelity,
    pub samples: usize,
}

/// Holds what another program gives for each batch against the original model: its first output.
///
/// # Errors
/// When data and models do not fit each other, outputs are not finite, the program says so, or on cancel.
pub fn run_elsewhere(
    original: &Model,
    forward: &mut dyn FnMut(&Value) -> Result<Value, EvaluateError>,
    data: &Dataset,
    ctx: &Ctx,
) -> Result<Elsewhere, EvaluateError> {
    if data.is_empty() {
        return Err(EvaluateError::Empty);
    }
    let input = original.data_input().ok_or(EvaluateError::NoPorts)?.wire.clone();
    let ours = executor(ORIGINAL, original, Arithmetic::Simulated)?;
    let mut tally = Tally::new(OutputKind::of(original));
    ctx.start("Evaluating elsewhere", data.len());
    let all: Vec<usize> = (0..data.len()).collect();
    for indices in all.chunks(data.batch_size(ours.fixed_batch())) {
        ctx.check()?;
        let values = data.batch(&Dataset::whole_batch(indices, ours.fixed_batch()), ctx)?;
        let before = first_output(ORIGINAL, &ours, &input, &values, ctx)?;
        let after = forward(&values)?;
        let (shape, truth) = (before.shape().to_vec(), Truth::of(data, indices, &values)?);
        if after.shape() != shape {
            return Err(EvaluateError::OtherShape { original: shape, compressed: after.shape().to_vec() });
        }
        before.with_f32(|b| after.with_f32(|a| tally.batch(indices, &truth, &shape, b, a)))???;
        ctx.advance(indices.len());
    }
    let (metrics, _, fidelity, _) = tally.finish();
    Ok(Elsewhere { metrics, fidelity, samples: data.len() })
}

fn executor(which: &'static str, model: &Model, arithmetic: Arithmetic) -> Result<Executor, EvaluateError> {
    let first = model.outputs.first().ok_or(EvaluateError::NoPorts)?.wire.clone();
    let request = Request { outputs: Some(vec![first]), arithmetic, ..Request::default() };
    Executor::new(model, &request).map_err(|source| EvaluateError::Exec { which, source })
}

fn first_output(
    which: &'static str,
    executor: &Executor,
    input: &Wire,
    values: &Value,
    ctx: &Ctx,
) -> Result<Value, EvaluateError> {
    let outputs = executor
        .run(&[(input.clone(), values.clone())], ctx, &mut |_, _| {})
        .map_err(|source| EvaluateError::Exec { which, source })?;
    outputs.into_iter().next().map(|(_, value)| value).ok_or(EvaluateError::NoPorts)
}

/// Runs a batch once more to find where the first value comes from that is not finite; minus infinity, which masks
/// are made of, is none.
fn first_bad(
    which: &'static str,
    sample: usize,
    subjects: &Subjects<'_>,
    input: &Wire,
    values: &Value,
    ctx: &Ctx,
) -> Result<EvaluateError, EvaluateError> {
    let exec = |source| EvaluateError::Exec { which, source };
    let model = if which == ORIGINAL { subjects.original } else { subjects.variant };
    let taps = model.nodes.iter().flat_map(|n| n.outputs.iter().flatten().cloned()).collect();
    let executor = Executor::new(model, &Request { taps, ..Request::default() }).map_err(exec)?;
    let mut bad: Vec<Wire> = Vec::new();
    let mut watch = |wire: &Wire, value: &Value| {
        let is_bad = |all: &[f32]| all.iter().any(|v| v.is_nan() || *v == f32::INFINITY);
        if value.dtype.is_float() && value.with_f32(is_bad).unwrap_or(false) {
            bad.push(wire.clone());
        }
    };
    executor.run(&[(input.clone(), values.clone())], ctx, &mut watch).map_err(exec)?;
    let first = model.nodes.iter().find(|n| n.outputs.iter().flatten().any(|w| bad.contains(w)));
    let place = first.map_or_else(
        || "at its output".to_owned(),
        |node| match subjects.layers.iter().find(|l| node.output(0) == Some(&l.output)) {
            Some(layer) => format!("in layer \"{}\"", layer.name),
            None => format!("in node \"{}\" ({})", node.label(), node.op),
        },
    );
    Ok(EvaluateError::NotFinite { which, sample, place })
}

/// What the outputs of a batch should say.
enum Truth {
    Unknown,
    /// A class number per sample.
    Classes(Vec<usize>),
    /// The tokens that were fed: each is what the place before it should predict.
    Next(Vec<i64>),
}

impl Truth {
    fn of(data: &Dataset, indices: &[usize], fed: &Value) -> Result<Self, EvaluateError> {
        Ok(match &data.labels {
            _ if data.is_text() => Self::Next(fed.to_i64()?),
            Some(labels) => Self::Classes(indices.iter().filter_map(|i| labels.get(*i).copied()).collect()),
            None => Self::Unknown,
        })
    }
}

/// One row of output in its place.
struct Place {
    sample: usize,
    position: Option<usize>,
    label: Option<usize>,
}

/// Sums over labelled rows of one model.
#[derive(Clone, Copy, Default)]
struct Hits {
    top1: usize,
    top5: usize,
    /// Negative log probability of the labels.
    surprise: f64,
}

impl Hits {
    fn add(&mut self, row: &[f32], log: &[f64], label: usize) {
        self.top1 += usize::from(top1(row) == label);
        self.top5 += usize::from(in_top5(row, label));
        self.surprise -= log[label];
    }

    fn metrics(self, labelled: usize, text: bool) -> TaskMetrics {
        let perplexity = (self.surprise / labelled.max(1) as f64).exp();
        TaskMetrics {
            top1: Percentage::of(self.top1, labelled),
            top5: Percentage::of(self.top5, labelled),
            next_token: text.then_some(NextToken { perplexity, tokens: labelled }),
        }
    }
}

/// Counts over all samples; one KL per row is all that is kept.
struct Tally {
    kind: OutputKind,
    rows: usize,
    labelled: usize,
    text: bool,
    before: Hits,
    after: Hits,
    kl: Vec<f64>,
    cosine: f64,
    sums: ErrorSums,
    flips: [usize; 3],
    changed: Vec<ChangedPrediction>,
}

impl Tally {
    fn new(kind: OutputKind) -> Self {
        Self {
            kind,
            rows: 0,
            labelled: 0,
            text: false,
            before: Hits::default(),
            after: Hits::default(),
            kl: Vec::new(),
            cosine: 0.0,
            sums: ErrorSums::default(),
            flips: [0; 3],
            changed: Vec::new(),
        }
    }

    fn batch(
        &mut self,
        indices: &[usize],
        truth: &Truth,
        shape: &[usize],
        before: &[f32],
        after: &[f32],
    ) -> Result<(), EvaluateError> {
        let classes = shape.last().copied().unwrap_or(1).max(1);
        // Rows of samples that only fill up the batch do not count.
        let rows_per_sample = match shape.first() {
            Some(&fed) if fed > 0 && shape.len() > 1 => (before.len() / classes / fed).max(1),
            _ => (before.len() / classes / indices.len().max(1)).max(1),
        };
        let rows = (before.len() / classes).min(rows_per_sample * indices.len());
        match truth {
            Truth::Classes(labels) if rows != labels.len() => {
                return Err(EvaluateError::Rows { labels: labels.len(), rows, samples: indices.len() });
            }
            Truth::Next(tokens) if before.len() / classes != tokens.len() => {
                return Err(EvaluateError::Tokens { tokens: tokens.len(), rows: before.len() / classes });
            }
            Truth::Unknown | Truth::Classes(_) => {}
            Truth::Next(_) => self.text = true,
        }
        for (row, (b, a)) in before.chunks(classes).zip(after.chunks(classes)).take(rows).enumerate() {
            let sample = indices[(row / rows_per_sample).min(indices.len() - 1)];
            for (which, values) in [(ORIGINAL, b), (COMPRESSED, a)] {
                if values.iter().any(|v| v.is_nan() || *v == f32::INFINITY) {
                    return Err(EvaluateError::NotFinite { which, sample, place: "at its output".to_owned() });
                }
            }
            let place = match truth {
                Truth::Unknown => Place { sample, position: None, label: None },
                Truth::Classes(labels) => Place { sample, position: None, label: Some(labels[row]) },
                // What follows the last token of a text nobody knows.
                Truth::Next(_) if (row + 1).is_multiple_of(rows_per_sample) => continue,
                Truth::Next(tokens) => Place {
                    sample,
                    position: Some(row % rows_per_sample),
                    label: Some(usize::try_from(tokens[row + 1]).unwrap_or(usize::MAX)),
                },
            };
            self.row(&place, b, a)?;
        }
        Ok(())
    }

    fn row(&mut self, place: &Place, before: &[f32], after: &[f32]) -> Result<(), EvaluateError> {
        let &Place { sample, position, label } = place;
        self.rows += 1;
        let [log_before, log_after] = [before, after].map(|row| self.kind.log_probabilities(row));
        self.kl.push(kl(&log_before, &log_after).max(0.0));
        self.cosine += cosine(before, after);
        self.sums.add_slices(before, after);
        if let Some(label) = label {
            if label >= before.len() {
                return Err(EvaluateError::Label { sample, label, classes: before.len() });
            }
            self.labelled += 1;
            self.before.add(before, &log_before, label);
            self.after.add(after, &log_after, label);
        }
        let (was, is) = (top1(before), top1(after));
        if was != is {
            self.flips[0] += 1;
            self.flips[1] += usize::from(label == Some(was));
            self.flips[2] += usize::from(label == Some(is));
            if self.changed.len() < CHANGED_LIMIT {
                self.changed.push(ChangedPrediction { sample, position, label, before: was, after: is });
            }
        }
        Ok(())
    }

    fn finish(mut self) -> (Option<TaskMetrics>, Option<TaskMetrics>, Fidelity, Vec<ChangedPrediction>) {
        let [baseline, compressed] = [self.before, self.after].map(|h| h.metrics(self.labelled, self.text));
        let labelled = self.labelled > 0;
        let n = self.rows.max(1) as f64;
        let mean = self.kl.iter().sum::<f64>() / n;
        self.kl.sort_by(f64::total_cmp);
        let quantile = |q: f64| self.kl.get(((q * n).ceil() as usize).saturating_sub(1)).copied().unwrap_or(0.0);
        let sqnr = self.sums.sqnr_db();
        let fidelity = Fidelity {
            kl_mean: mean,
            kl_median: quantile(0.5),
            kl_p99: quantile(0.99),
            kl_max: quantile(1.0),
            flips: self.flips[0],
            flips_to_wrong: self.flips[1],
            flips_to_right: self.flips[2],
            cosine: self.cosine / n,
            sqnr_db: sqnr.is_finite().then_some(sqnr),
        };
        (labelled.then_some(compressed), labelled.then_some(baseline), fidelity, self.changed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two texts of three tokens, of which the first of each is given: probabilities of a vocabulary of four.
    #[test]
    fn tokens_are_judged_by_the_row_before_them() {
        let rows = |p: f32| {
            let row = |label: usize| (0..4).map(move |i| if i == label { p } else { (1.0 - p) / 3.0 });
            // The last row of a text predicts what nobody knows: it must not count.
            let text = [1, 2, 0].into_iter().flat_map(row);
            text.clone().chain(text).map(f32::ln).collect::<Vec<f32>>()
        };
        let mut tally = Tally::new(OutputKind::LogProbabilities);
        let truth = Truth::Next(vec![0, 1, 2, 0, 1, 2]);
        tally.batch(&[7, 9], &truth, &[2, 3, 4], &rows(0.5), &rows(0.1)).unwrap();
        let (after, before, fidelity, changed) = tally.finish();
        let (before, after) = (before.unwrap(), after.unwrap());
        let text = before.next_token.unwrap();
        assert!(text.tokens == 4 && (text.perplexity - 2.0).abs() < 1e-6, "{text:?}");
        assert!((after.next_token.unwrap().perplexity - 10.0).abs() < 1e-5);
        assert_eq!((before.top1.value, after.top1.value, fidelity.flips, fidelity.flips_to_wrong), (100.0, 0.0, 4, 4));
        let places: Vec<_> = changed.iter().map(|c| (c.sample, c.position, c.label)).collect();
        assert_eq!(places, [(7, Some(0), Some(1)), (7, Some(1), Some(2)), (9, Some(0), Some(1)), (9, Some(1), Some(2))]);
    }

    #[test]
    fn what_is_no_language_model_is_refused() {
        let mut tally = Tally::new(OutputKind::Logits);
        let error = tally.batch(&[0], &Truth::Next(vec![0, 1, 2]), &[1, 4], &[0.0; 4], &[0.0; 4]).unwrap_err();
        assert!(matches!(error, EvaluateError::Tokens { tokens: 3, rows: 1 }), "{error}");
        let outside = tally.batch(&[0], &Truth::Next(vec![0, 9]), &[1, 2, 4], &[0.0; 8], &[0.0; 8]).unwrap_err();
        assert!(matches!(outside, EvaluateError::Label { label: 9, classes: 4, .. }), "{outside}");
    }
}
