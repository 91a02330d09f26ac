//! The pass over the data, and what is made of the outputs.

use super::EvaluateError;
use super::layer_error::layer_errors;
use super::outputs::{OutputKind, cosine, in_top5, kl, top1};
use super::report::{ChangedPrediction, Fidelity, Percentage, REPORT_FORMAT, REPORT_VERSION, Report, TaskMetrics};
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

/// # Errors
/// When data and models do not fit each other, outputs are not finite, or on cancel.
pub fn run(subjects: &Subjects<'_>, data: &Dataset, settings: &Settings, ctx: &Ctx) -> Result<Report, EvaluateError> {
    let started = Instant::now();
    if data.is_empty() {
        return Err(EvaluateError::Empty);
    }
    let input = subjects.original.data_input().ok_or(EvaluateError::NoPorts)?.wire.clone();
    let original = executor("original", subjects.original, Arithmetic::Simulated)?;
    let variant = executor("compressed", subjects.variant, settings.arithmetic)?;
    let batch = data.batch_size(original.fixed_batch());
    let mut tally = Tally::new(OutputKind::of(subjects.original));
    ctx.start(format!("Evaluating {}", settings.recipe), data.len());
    let all: Vec<usize> = (0..data.len()).collect();
    for indices in all.chunks(batch) {
        ctx.check()?;
        let values = data.batch(&Dataset::whole_batch(indices, original.fixed_batch()), ctx)?;
        let before = first_output("original", &original, &input, &values, ctx)?;
        let after = first_output("compressed", &variant, &input, &values, ctx)?;
        let labels = data.labels.as_ref().map(|l| indices.iter().map(|i| l[*i]).collect::<Vec<_>>());
        let shape = before.shape().to_vec();
        if after.shape() != shape {
            return Err(EvaluateError::OtherShape { original: shape, compressed: after.shape().to_vec() });
        }
        before.with_f32(|b| after.with_f32(|a| tally.batch(indices, labels.as_deref(), &shape, b, a)))???;
        ctx.advance(indices.len());
    }
    let layers = if settings.layer_samples == 0 {
        Vec::new()
    } else {
        layer_errors(subjects, &data.spread(settings.layer_samples), batch, ctx)?
    };
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
        layers,
        integer_layers: (settings.arithmetic == Arithmetic::Integer).then(|| variant.integer_layers()),
        changed,
        bytes: settings.bytes,
        bytes_original: settings.bytes_original,
        seconds: started.elapsed().as_secs_f64(),
        unix_time: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
    })
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

/// Counts over all samples; one KL per row is all that is kept.
struct Tally {
    kind: OutputKind,
    samples: usize,
    rows: usize,
    labelled: bool,
    hits: [usize; 4],
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
            samples: 0,
            rows: 0,
            labelled: false,
            hits: [0; 4],
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
        labels: Option<&[usize]>,
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
        if let Some(labels) = labels {
            if rows != labels.len() {
                return Err(EvaluateError::Rows { labels: labels.len(), rows, samples: indices.len() });
            }
            self.labelled = true;
        }
        for (row, (b, a)) in before.chunks(classes).zip(after.chunks(classes)).take(rows).enumerate() {
            let sample = indices[(row / rows_per_sample).min(indices.len() - 1)];
            for (which, values) in [("original", b), ("compressed", a)] {
                if values.iter().any(|v| v.is_nan() || *v == f32::INFINITY) {
                    return Err(EvaluateError::NotFinite { which, sample });
                }
            }
            self.row(sample, labels.map(|l| l[row]), b, a)?;
        }
        self.samples += indices.len();
        Ok(())
    }

    fn row(&mut self, sample: usize, label: Option<usize>, before: &[f32], after: &[f32]) -> Result<(), EvaluateError> {
        self.rows += 1;
        let log = |row: &[f32]| self.kind.log_probabilities(row);
        self.kl.push(kl(&log(before), &log(after)).max(0.0));
        self.cosine += cosine(before, after);
        self.sums.add_slices(before, after);
        let (was, is) = (top1(before), top1(after));
        if let Some(label) = label {
            if label >= before.len() {
                return Err(EvaluateError::Label { sample, label, classes: before.len() });
            }
            let found = [was == label, in_top5(before, label), is == label, in_top5(after, label)];
            for (hits, hit) in self.hits.iter_mut().zip(found) {
                *hits += usize::from(hit);
            }
        }
        if was != is {
            self.flips[0] += 1;
            self.flips[1] += usize::from(label == Some(was));
            self.flips[2] += usize::from(label == Some(is));
            if self.changed.len() < CHANGED_LIMIT {
                self.changed.push(ChangedPrediction { sample, label, before: was, after: is });
            }
        }
        Ok(())
    }

    fn finish(mut self) -> (Option<TaskMetrics>, Option<TaskMetrics>, Fidelity, Vec<ChangedPrediction>) {
        let metrics = |top1: usize, top5: usize| TaskMetrics {
            top1: Percentage::of(top1, self.samples),
            top5: Percentage::of(top5, self.samples),
        };
        let (baseline, compressed) = (metrics(self.hits[0], self.hits[1]), metrics(self.hits[2], self.hits[3]));
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
        (self.labelled.then_some(compressed), self.labelled.then_some(baseline), fidelity, self.changed)
    }
}
