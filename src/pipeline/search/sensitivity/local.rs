//! Errors at the outputs of layers: one layer changed alone, and with all before it changed too.

use super::Survey;
use crate::engine::Ctx;
use crate::engine::exec::{Executor, Request};
use crate::engine::graph::{Layer, Model, Wire};
use crate::engine::tensor::{TensorError, Value};
use crate::pipeline::compress;
use crate::pipeline::configure::Plan;
use crate::pipeline::evaluate::EvaluateError;
use crate::pipeline::load::Dataset;
use crate::pipeline::search::{Estimate, SearchError};
use std::collections::{BTreeMap, BTreeSet};

/// Samples that errors of outputs are measured on.
pub(super) const LOCAL_SAMPLES: usize = 32;
/// Bytes of what is kept of them; a network with wider wires gets fewer samples.
const LOCAL_BYTES: usize = 1 << 28;

/// What lies on the wires around the layers of the original, for a few samples.
pub(super) struct Local<'a> {
    survey: &'a Survey<'a>,
    input: Wire,
    batches: Vec<Batch>,
}

struct Batch {
    /// Samples that count, and samples that were fed.
    rows: (usize, usize),
    seen: BTreeMap<Wire, Value>,
}

impl<'a> Local<'a> {
    pub fn record(survey: &'a Survey<'a>, samples: usize, ctx: &Ctx) -> Result<Self, SearchError> {
        let model = &*survey.subject.folded;
        let port = model.data_input().ok_or(EvaluateError::NoPorts)?;
        let input = port.wire.clone();
        let fixed = port.fact.shape.as_ref().and_then(|s| s.first()?.known());
        let around = survey.subject.layers.iter().flat_map(|l| [l.input.clone(), l.output.clone()]);
        let taps: BTreeSet<Wire> = around.filter(|w| *w != input && !model.constants.contains_key(w)).collect();
        let executor = Executor::new(model, &Request { taps: taps.into_iter().collect(), ..Request::default() })?;
        let data = super::samples(survey.data, samples);
        let mut local = Self { survey, input: input.clone(), batches: Vec::new() };
        let all: Vec<usize> = (0..data.len()).collect();
        // Small batches: memory is counted between them.
        for indices in all.chunks(data.batch_size(fixed).min(fixed.unwrap_or(8).max(1))) {
            ctx.check()?;
            let fed = Dataset::whole_batch(indices, fixed);
            let values = data.batch(&fed, ctx)?;
            let mut seen = BTreeMap::from([(input.clone(), values.clone())]);
            executor.run(&[(input.clone(), values)], ctx, &mut |wire, value| {
                seen.insert(wire.clone(), value.clone());
            })?;
            local.batches.push(Batch { rows: (indices.len(), fed.len()), seen });
            if local.bytes() > LOCAL_BYTES {
                break;
            }
        }
        Ok(local)
    }

    fn bytes(&self) -> usize {
        let values = self.batches.iter().flat_map(|b| b.seen.values());
        values.map(|v| v.shape().iter().product::<usize>() * v.data.dtype().size_in_bytes()).sum()
    }

    /// Error power over signal power at a layer's output, where `variant` changes this layer alone. `None` where
    /// the layer cannot run on its own or gives what is not finite.
    pub fn error(&self, variant: &Model, layer: &Layer, ctx: &Ctx) -> Result<Option<Estimate>, SearchError> {
        let is_fed = self.batches.iter().all(|b| b.seen.contains_key(&layer.input) && b.seen.contains_key(&layer.output));
        if !is_fed {
            return Ok(None);
        }
        let request =
            Request { inputs: Some(vec![layer.input.clone()]), outputs: Some(vec![layer.output.clone()]), ..Request::default() };
        let executor = Executor::new(variant, &request)?;
        let mut parts = Vec::new();
        for batch in &self.batches {
            let (Some(x), Some(y)) = (batch.seen.get(&layer.input), batch.seen.get(&layer.output)) else { continue };
            let made = executor.run(&[(layer.input.clone(), x.clone())], ctx, &mut |_, _| {})?;
            if let Some((_, made)) = made.first() {
                powers(y, made, batch.rows, &mut parts)?;
            }
        }
        Ok(Estimate::of_ratio(&parts))
    }

    /// The same at the outputs of all layers where all of them are changed, by layer.
    pub fn cumulative(&self, plan: &Plan, ctx: &Ctx) -> Result<Vec<Option<Estimate>>, SearchError> {
        let layers = &self.survey.subject.layers;
        if plan.is_unchanged() {
            return Ok(vec![None; layers.len()]);
        }
        let variant = compress::run(plan, self.survey.subject, self.survey.statistics, &ctx.fresh())?;
        let is_made = |wire: &Wire| variant.model.nodes.iter().any(|n| n.outputs.iter().flatten().any(|w| w == wire));
        let taps: Vec<Wire> = layers.iter().map(|l| l.output.clone()).filter(|w| is_made(w)).collect();
        let executor = Executor::new(&variant.model, &Request { taps, ..Request::default() })?;
        let mut parts: BTreeMap<Wire, Vec<(f64, f64)>> = BTreeMap::new();
        for batch in &self.batches {
            let Some(values) = batch.seen.get(&self.input) else { continue };
            let mut failed = None;
            let mut watch = |wire: &Wire, made: &Value| {
                let Some(original) = batch.seen.get(wire) else { return };
                if let Err(error) = powers(original, made, batch.rows, parts.entry(wire.clone()).or_default()) {
                    failed = Some(error);
                }
            };
            executor.run(&[(self.input.clone(), values.clone())], ctx, &mut watch)?;
            if let Some(error) = failed {
                return Err(error.into());
            }
        }
        Ok(layers.iter().map(|l| Estimate::of_ratio(parts.get(&l.output)?)).collect())
    }
}

/// Per sample that counts: Σ(y − y')² and Σy². Values that do not lie by sample are taken as one.
fn powers(original: &Value, made: &Value, rows: (usize, usize), parts: &mut Vec<(f64, f64)>) -> Result<(), TensorError> {
    let (counted, fed) = rows;
    original.with_f32(|y| {
        made.with_f32(|z| {
            let by_sample = fed > 0 && original.shape().first().is_some_and(|d| d.is_multiple_of(fed));
            let size = if by_sample { y.len() / fed } else { y.len() };
            for (y, z) in y.chunks(size.max(1)).zip(z.chunks(size.max(1))).take(if by_sample { counted } else { 1 }) {
                let power = |v: f64| v * v;
                let error: f64 = y.iter().zip(z).map(|(y, z)| power(f64::from(*y) - f64::from(*z))).sum();
                parts.push((error, y.iter().map(|y| power(f64::from(*y))).sum()));
            }
        })
    })?
}

/// A ratio of error to signal as signal to noise in dB; `None` without an error.
pub(super) fn db(ratio: Estimate) -> Option<Estimate> {
    (ratio.value > 0.0).then(|| ratio.scaled(-10.0 * ratio.value.log10(), 10.0 / (std::f64::consts::LN_10 * ratio.value)))
}
