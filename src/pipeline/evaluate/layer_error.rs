//! The errors of single layers: alone, and with everything before them compressed too; and what
//! quantization did to their data and weights on the way.

use super::contamination::{BiasSums, Contamination, DamageSums, of_weights};
use super::grid::{DataGrid, Makers};
use super::report::LayerError;
use super::{EvaluateError, Subjects};
use crate::engine::Ctx;
use crate::engine::exec::{Executor, Request};
use crate::engine::graph::{Layer, LayerKind, Model, Wire};
use crate::engine::kernels::affine::ErrorSums;
use crate::engine::tensor::{TensorError, Value};
use crate::pipeline::load::Dataset;
use std::collections::{BTreeMap, BTreeSet};

/// One layer on its own, and what is summed up of it.
struct Alone<'a> {
    layer: &'a Layer,
    executor: Executor,
    /// Where its rounded data come from.
    rounded: Option<(Wire, DataGrid)>,
    local: ErrorSums,
    cumulative: ErrorSums,
    data: DamageSums,
    bias: BiasSums,
    not_finite: u64,
}

impl<'a> Alone<'a> {
    fn new(layer: &'a Layer, variant: &Model, makers: &Makers<'_>) -> Result<Self, EvaluateError> {
        let rounded = makers.data(layer).map(|(wire, grid)| (wire.clone(), grid));
        let request = Request {
            inputs: Some(vec![layer.input.clone()]),
            outputs: Some(vec![layer.output.clone()]),
            taps: rounded.iter().map(|(wire, _)| wire.clone()).collect(),
            ..Request::default()
        };
        let executor = executor("compressed", variant, &request)?;
        let (local, cumulative) = (ErrorSums::default(), ErrorSums::default());
        let (data, bias) = (DamageSums::default(), BiasSums::default());
        Ok(Self { layer, executor, rounded, local, cumulative, data, bias, not_finite: 0 })
    }

    /// One batch: what the original's layer reads and gives, and what the compressed model's gives.
    fn measure(&mut self, x: &Value, y: &Value, compressed: Option<&Value>, ctx: &Ctx) -> Result<(), EvaluateError> {
        if let Some(other) = compressed {
            let (sums, bad) = compare(y, other)?;
            self.cumulative.merge(sums);
            self.not_finite += bad;
        }
        let mut failed = None;
        let data = &mut self.data;
        let grid = self.rounded.as_ref().map(|(_, grid)| *grid);
        let mut watch = |_: &Wire, rounded: &Value| {
            let Some(grid) = grid else { return };
            let seen = x.with_f32(|x| rounded.with_f32(|r| data.add_data(x, r, &grid)));
            if let Err(error) = seen.and_then(|inner| inner) {
                failed = Some(error);
            }
        };
        let out = self
            .executor
            .run(&[(self.layer.input.clone(), x.clone())], ctx, &mut watch)
            .map_err(|source| EvaluateError::Exec { which: "compressed", source })?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        if let Some((_, other)) = out.first() {
            let (sums, bad) = compare(y, other)?;
            self.local.merge(sums);
            self.not_finite += if compressed.is_some() { 0 } else { bad };
            let axis = match self.layer.kind {
                LayerKind::Conv | LayerKind::Depthwise | LayerKind::ConvTranspose => 1,
                _ => y.shape().len().saturating_sub(1),
            };
            y.with_f32(|y_values| other.with_f32(|o| self.bias.add(y_values, o, y.shape(), axis)))??;
        }
        Ok(())
    }
}

/// Measured on all of `data`.
pub(super) fn layer_errors(
    subjects: &Subjects<'_>,
    data: &Dataset,
    batch: usize,
    ctx: &Ctx,
) -> Result<(Vec<LayerError>, Vec<Contamination>), EvaluateError> {
    let layers: Vec<&Layer> = subjects.layers.iter().filter(|l| runs_alone(subjects, l)).collect();
    let input = subjects.reference.data_input().ok_or(EvaluateError::NoPorts)?.wire.clone();
    let wires: BTreeSet<Wire> = layers.iter().flat_map(|l| [l.input.clone(), l.output.clone()]).filter(|w| *w != input).collect();
    let taps: Vec<Wire> = wires.into_iter().collect();
    let outputs: Vec<Wire> = layers.iter().map(|l| l.output.clone()).collect();
    let reference = executor("original", subjects.reference, &Request { taps, ..Request::default() })?;
    let variant = executor("compressed", subjects.variant, &Request { taps: outputs, ..Request::default() })?;
    let makers = Makers::new(subjects.variant);
    let mut alone = layers.iter().map(|l| Alone::new(l, subjects.variant, &makers)).collect::<Result<Vec<_>, EvaluateError>>()?;
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
        for one in &mut alone {
            let (Some(x), Some(y)) = (seen.get(&one.layer.input), seen.get(&one.layer.output)) else { continue };
            one.measure(x, y, compressed.get(&one.layer.output), ctx)?;
        }
        ctx.advance(indices.len());
    }
    let measured: BTreeMap<&str, &Alone<'_>> = alone.iter().map(|a| (a.layer.name.as_str(), a)).collect();
    let errors = subjects.layers.iter().map(|layer| {
        let sums = measured.get(layer.name.as_str());
        LayerError {
            name: layer.name.clone(),
            weight_sqnr_db: subjects.weight_sqnr_db.get(&layer.name).copied().and_then(finite),
            local_sqnr_db: sums.and_then(|s| finite(s.local.sqnr_db())),
            cumulative_sqnr_db: sums.and_then(|s| finite(s.cumulative.sqnr_db())),
            samples: if sums.is_some() { samples } else { 0 },
            steps: Vec::new(),
        }
    });
    let contamination = alone.iter().map(|one| contamination(one, subjects, &makers, ctx)).collect::<Result<_, _>>()?;
    Ok((errors.collect(), contamination))
}

fn contamination(
    one: &Alone<'_>,
    subjects: &Subjects<'_>,
    makers: &Makers<'_>,
    ctx: &Ctx,
) -> Result<Contamination, EvaluateError> {
    let layer = one.layer;
    let before = match subjects.reference.constants.get(&layer.weight) {
        Some(tensor) => tensor.to_f32()?,
        None => Vec::new(),
    };
    let after = makers.values(layer, ctx).map_err(|source| EvaluateError::Exec { which: "compressed", source })?;
    let after = after.filter(|a| a.len() == before.len()).unwrap_or_else(|| before.clone());
    let grid = one.rounded.as_ref().map(|(_, grid)| grid);
    let weights = of_weights(layer, (&before, &after), makers.weights(layer).as_ref(), grid, subjects.variant)?;
    let bias = one.bias.finish(one.local.signal, one.local.error);
    let own_share = (one.cumulative.error > 0.0).then(|| one.local.error / one.cumulative.error);
    Ok(Contamination {
        name: layer.name.clone(),
        data: one.rounded.as_ref().map(|_| one.data.finish()),
        weights: weights.damage,
        dead_channels: weights.dead_channels,
        channels: weights.channels,
        accumulator: weights.accumulator,
        bias_error: bias.map(|b| b.0),
        bias_share: bias.map(|b| b.1),
        not_finite: one.not_finite,
        own_share: own_share.and_then(finite),
    })
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

/// The error of the values that are finite on both sides, and how many are not where the original's are.
fn compare(original: &Value, other: &Value) -> Result<(ErrorSums, u64), TensorError> {
    original.with_f32(|x| {
        other.with_f32(|y| {
            let (mut sums, mut bad) = (ErrorSums::default(), 0);
            for (x, y) in x.iter().zip(y).filter(|(x, _)| x.is_finite()) {
                if y.is_finite() {
                    sums.add(*x, *y);
                } else {
                    bad += 1;
                }
            }
            (sums, bad)
        })
    })?
}
