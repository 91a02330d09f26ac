//! The errors of single layers: alone, and with everything before them compressed too.

use super::report::LayerError;
use super::{EvaluateError, Subjects};
use crate::engine::Ctx;
use crate::engine::exec::{Executor, Request};
use crate::engine::graph::{Layer, Model, Wire};
use crate::engine::kernels::affine::ErrorSums;
use crate::engine::tensor::Value;
use crate::pipeline::load::Dataset;
use std::collections::{BTreeMap, BTreeSet};

/// Measured on all of `data`.
pub(super) fn layer_errors(
    subjects: &Subjects<'_>,
    data: &Dataset,
    batch: usize,
    ctx: &Ctx,
) -> Result<Vec<LayerError>, EvaluateError> {
    let layers: Vec<&Layer> = subjects.layers.iter().filter(|l| runs_alone(subjects, l)).collect();
    let input = subjects.reference.data_input().ok_or(EvaluateError::NoPorts)?.wire.clone();
    let wires: BTreeSet<Wire> = layers.iter().flat_map(|l| [l.input.clone(), l.output.clone()]).filter(|w| *w != input).collect();
    let taps: Vec<Wire> = wires.into_iter().collect();
    let outputs: Vec<Wire> = layers.iter().map(|l| l.output.clone()).collect();
    let reference = executor("original", subjects.reference, &Request { taps, ..Request::default() })?;
    let variant = executor("compressed", subjects.variant, &Request { taps: outputs, ..Request::default() })?;
    let alone = layers
        .iter()
        .map(|l| {
            let (input, output) = (vec![l.input.clone()], vec![l.output.clone()]);
            let request = Request { inputs: Some(input), outputs: Some(output), ..Request::default() };
            executor("compressed", subjects.variant, &request)
        })
        .collect::<Result<Vec<_>, _>>()?;
    let mut sums = vec![(ErrorSums::default(), ErrorSums::default()); layers.len()];
    let samples = data.len();
    ctx.start("Measuring layer errors", samples);
    let all: Vec<usize> = (0..samples).collect();
    for indices in all.chunks(batch) {
        ctx.check()?;
        let values = data.batch(&Dataset::whole_batch(indices, reference.fixed_batch()), ctx)?;
        let mut seen: BTreeMap<Wire, Value> = BTreeMap::from([(input.clone(), values.clone())]);
        run(&reference, "original", &input, &values, ctx, &mut |w, v| {
            seen.insert(w.clone(), v.clone());
        })?;
        let mut compressed: BTreeMap<Wire, Value> = BTreeMap::new();
        run(&variant, "compressed", &input, &values, ctx, &mut |w, v| {
            compressed.insert(w.clone(), v.clone());
        })?;
        for ((layer, alone), (local, cumulative)) in layers.iter().zip(&alone).zip(&mut sums) {
            let (Some(x), Some(y)) = (seen.get(&layer.input), seen.get(&layer.output)) else { continue };
            if let Some(other) = compressed.get(&layer.output) {
                cumulative.merge(compare(y, other)?);
            }
            let out = alone
                .run(&[(layer.input.clone(), x.clone())], ctx, &mut |_, _| {})
                .map_err(|source| EvaluateError::Exec { which: "compressed", source })?;
            if let Some((_, other)) = out.first() {
                local.merge(compare(y, other)?);
            }
        }
        ctx.advance(indices.len());
    }
    let measured: BTreeMap<&str, (ErrorSums, ErrorSums)> = layers.iter().map(|l| l.name.as_str()).zip(sums).collect();
    Ok(subjects
        .layers
        .iter()
        .map(|layer| {
            let sums = measured.get(layer.name.as_str());
            LayerError {
                name: layer.name.clone(),
                weight_sqnr_db: subjects.weight_sqnr_db.get(&layer.name).copied().and_then(finite),
                local_sqnr_db: sums.and_then(|s| finite(s.0.sqnr_db())),
                cumulative_sqnr_db: sums.and_then(|s| finite(s.1.sqnr_db())),
                samples: if sums.is_some() { samples } else { 0 },
            }
        })
        .collect())
}

/// Whether the wires of a layer are there in both models (an operator set upgrade keeps them).
fn runs_alone(subjects: &Subjects<'_>, layer: &Layer) -> bool {
    let produced = |wire: &Wire| {
        let is_input = subjects.variant.inputs.iter().any(|p| p.wire == *wire);
        is_input || subjects.variant.nodes.iter().any(|n| n.outputs.iter().flatten().any(|w| w == wire))
    };
    produced(&layer.input) && produced(&layer.output)
}

fn finite(value: f64) -> Option<f64> {
    value.is_finite().then_some(value)
}

fn executor(which: &'static str, model: &Model, request: &Request) -> Result<Executor, EvaluateError> {
    Executor::new(model, request).map_err(|source| EvaluateError::Exec { which, source })
}

fn run(
    executor: &Executor,
    which: &'static str,
    input: &Wire,
    values: &Value,
    ctx: &Ctx,
    tap: &mut dyn FnMut(&Wire, &Value),
) -> Result<(), EvaluateError> {
    executor.run(&[(input.clone(), values.clone())], ctx, tap).map_err(|source| EvaluateError::Exec { which, source })?;
    Ok(())
}

fn compare(original: &Value, other: &Value) -> Result<ErrorSums, EvaluateError> {
    let mut sums = ErrorSums::default();
    original.with_f32(|x| other.with_f32(|y| sums.add_slices(x, y)))??;
    Ok(sums)
}
