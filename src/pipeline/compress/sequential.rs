//! Layers one after the other, each corrected given what it reads in the original network and behind the compressed
//! layers before it.

use super::CompressError;
use super::corrected::{Behind, Corrected, correct, demand};
use super::runner::{Made, compress_layer, weights_of};
use super::technique::{LayerWork, Technique};
use super::{activation_range::ActivationRange, magnitude::Magnitude};
use crate::engine::Ctx;
use crate::engine::graph::{Channels, Layer, LoweredLayer, Model, StoredWeight, consumers, lower};
use crate::engine::tensor::Tensor;
use crate::pipeline::calibrate::{CalibrateError, LayerData, Sequence, Statistics};
use crate::pipeline::configure::{LayerPlan, Plan};
use crate::pipeline::load::{Dataset, Subject};

/// What becomes of every layer of a plan, in its order.
///
/// # Errors
/// When weights are not finite or cannot be stored, the data cannot be fed, or on cancel.
pub(super) fn run(
    plan: &Plan,
    subject: &Subject,
    statistics: &Statistics,
    data: &Dataset,
    ctx: &Ctx,
) -> Result<Vec<Made>, CompressError> {
    let original = &*subject.folded;
    let mut sequence = Sequence::begin(original, data, ctx)?;
    if sequence.judges_itself {
        ctx.warn("calibration", "too few samples to hold any out: every step is judged on those that it was made from");
    }
    let mut made = original.clone();
    let mut done = Vec::with_capacity(plan.layers.len());
    for layer in &plan.layers {
        ctx.check()?;
        let found = if layer.needs_samples() { look(&mut sequence, (original, &made), layer, subject, ctx)? } else { None };
        let one = match found {
            Some(data) => corrected(layer, plan, subject, statistics, &data, ctx)?,
            None => compress_layer(&layer.uncorrected(), plan.file, subject, statistics, ctx)?,
        };
        if !layer.treatment.is_unchanged() {
            made = lower(&made, &[one.as_floats(layer)?])?;
        }
        ctx.advance(1);
        done.push(one);
    }
    Ok(done)
}

/// What the layer reads; `None`, and a warning, where that cannot be told.
fn look(
    sequence: &mut Sequence,
    models: (&Model, &Model),
    layer: &LayerPlan,
    subject: &Subject,
    ctx: &Ctx,
) -> Result<Option<LayerData>, CompressError> {
    let rows = Channels::new(&layer.layer.shape, layer.layer.out_axis).gather(&weights_of(layer, subject)?);
    match sequence.look(models, &layer.layer, &rows, |width| demand(layer, width), ctx) {
        Ok(data) => Ok(Some(data)),
        Err(CalibrateError::Unread { layer, reason }) => {
            ctx.warn(layer, format!("{reason}: rounded to nearest, nothing corrected"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

fn corrected(
    layer: &LayerPlan,
    plan: &Plan,
    subject: &Subject,
    statistics: &Statistics,
    data: &LayerData,
    ctx: &Ctx,
) -> Result<Made, CompressError> {
    let mut work = LayerWork::of(layer, subject)?;
    if Magnitude.concerns(layer) {
        Magnitude.apply(layer, &mut work, statistics, ctx)?;
    }
    let behind = behind(&subject.folded, &layer.layer);
    let Some(Corrected { added, steps }) = correct(layer, &mut work, data, &behind, ctx)? else {
        ctx.warn(layer.layer.name.clone(), "its inputs are all zero in the calibration data: rounded to nearest");
        return compress_layer(&layer.uncorrected(), plan.file, subject, statistics, ctx);
    };
    if ActivationRange.concerns(layer) {
        ActivationRange.apply(layer, &mut work, statistics, ctx)?;
    }
    let mut made = Made::of(layer, plan.file, work)?;
    made.lowered.bias = layer.bias.clone().zip(added);
    made.layer.steps = steps;
    Ok(made)
}

/// The layer's bias, and the limits of the ReLU or Clip that alone reads what it gives.
fn behind(model: &Model, layer: &Layer) -> Behind {
    let free = (f32::NEG_INFINITY, f32::INFINITY);
    let scalar = |wire| model.constants.get(wire).and_then(|t: &Tensor| t.to_f32().ok()?.first().copied());
    let bias = layer.bias.as_ref().and_then(|wire| model.constants.get(wire)?.to_f32().ok());
    let bias = bias.filter(|b| b.len() == layer.out_channels()).unwrap_or_else(|| vec![0.0; layer.out_channels()]);
    let readers = consumers(model);
    let reader = match readers.get(&layer.output).map(Vec::as_slice) {
        Some([one]) => model.nodes.get(*one),
        _ => None,
    };
    let clip = match reader {
        Some(node) if node.op == "Relu" => (0.0, f32::INFINITY),
        Some(node) if node.op == "Clip" => {
            let bound = |index: usize, name: &str, free: f32| {
                node.input(index).and_then(scalar).or_else(|| node.float(name)).unwrap_or(free)
            };
            (bound(1, "min", free.0), bound(2, "max", free.1))
        }
        _ => free,
    };
    // Limits that are no limits would make a clamp panic.
    Behind { bias, clip: if clip.0 < clip.1 { clip } else { free } }
}

impl Made {
    /// The layer as its weights are by now, for those that come behind it.
    fn as_floats(&self, plan: &LayerPlan) -> Result<LoweredLayer, CompressError> {
        let tensor = Tensor::from_f32(plan.layer.shape.clone(), &self.weights)
            .map_err(|source| CompressError::Tensor { layer: plan.layer.name.clone(), source })?;
        Ok(LoweredLayer { stored: Some(StoredWeight::Float32(tensor)), rounded: None, low_rank: None, ..self.lowered.clone() })
    }
}
