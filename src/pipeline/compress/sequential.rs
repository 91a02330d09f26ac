//! Layers one after the other, each corrected given what it reads in the original network and behind the compressed
//! layers before it.

use super::CompressError;
use super::behind::Behind;
use super::corrected::{Corrected, correct, demand};
use super::kept::{Keep, names};
use super::runner::{Made, compress_layer};
use super::saliency::{Scores, by_curvature};
use super::technique::{LayerWork, Technique};
use super::{activation_range::ActivationRange, magnitude::Magnitude};
use crate::engine::Ctx;
use crate::engine::graph::{Channels, Layer, LoweredLayer, Model, StoredWeight, Wire, consumers, layers, lower};
use crate::engine::tensor::Tensor;
use crate::pipeline::calibrate::{CalibrateError, LayerData, Original, Sequence, Statistics};
use crate::pipeline::configure::{LayerPlan, Plan, Saliency};
use crate::pipeline::load::{Dataset, Subject};

/// What becomes of every layer of a plan, in its order. Layers that `keep` has of a run that was stopped are taken from
/// there; it keeps nothing once all are made.
///
/// # Errors
/// When weights are not finite or cannot be stored, the data cannot be fed, or on cancel.
pub(super) fn run(
    plan: &Plan,
    subject: &Subject,
    known: (&Statistics, &Scores),
    data: &Dataset,
    keep: &dyn Keep,
    ctx: &Ctx,
) -> Result<Vec<Made>, CompressError> {
    let names = names(plan, subject, data, ctx)?;
    let run = names.last().map_or("", String::as_str);
    let mut course = Course::begin(plan, subject, known, data, ctx)?;
    let mut made = (*subject.folded).clone();
    let mut done = Vec::with_capacity(plan.layers.len());
    for (layer, name) in plan.layers.iter().zip(&names) {
        ctx.check()?;
        let kept = || keep.read(run, name).and_then(|bytes| Corrected::from_bytes(&bytes, layer));
        let found = if !layer.is_corrected() {
            None
        } else if let Some(kept) = kept() {
            // The walk stops at the same places as that of the run that was stopped: the same to the bit.
            course.sequence.reach((course.original, &made), &layer.layer, ctx)?;
            Some(kept)
        } else {
            let found = course.correct(layer, &made)?;
            if let Some(Err(error)) = found.as_ref().map(|found| keep.write(run, name, &found.to_bytes())) {
                ctx.warn("cache", format!("what is done of this run could not be kept: {error}"));
            }
            found
        };
        let one = match found {
            Some(found) => course.place(layer, &found)?,
            None => compress_layer(&layer.uncorrected(), plan.file, subject, known, ctx)?,
        };
        if !layer.is_unchanged() {
            made = lower(&made, &[one.as_floats(layer)?])?;
        }
        ctx.advance(1);
        done.push(one);
    }
    keep.forget(run);
    Ok(done)
}

/// A run on its way from layer to layer.
struct Course<'a> {
    plan: &'a Plan,
    subject: &'a Subject,
    statistics: &'a Statistics,
    scores: &'a Scores,
    /// What layers are held against, and its layers: of a network that lost channels as it was before.
    original: &'a Model,
    before: Vec<Layer>,
    sequence: Sequence,
    ctx: &'a Ctx,
}

impl<'a> Course<'a> {
    fn begin(
        plan: &'a Plan,
        subject: &'a Subject,
        (statistics, scores): (&'a Statistics, &'a Scores),
        data: &Dataset,
        ctx: &'a Ctx,
    ) -> Result<Self, CompressError> {
        let original = subject.whole.as_ref().map_or(&*subject.folded, |whole| &*whole.model);
        let sequence = Sequence::begin(original, data, ctx)?;
        if sequence.judges_itself {
            let said = "too few samples to hold any out: every step is judged on those that it was made from";
            ctx.warn("calibration", said);
        }
        Ok(Self { plan, subject, statistics, scores, original, before: layers(original), sequence, ctx })
    }

    /// `None`, and a warning, where nothing can be known of what the layer reads.
    fn correct(&mut self, layer: &LayerPlan, made: &Model) -> Result<Option<Corrected>, CompressError> {
        let Some(data) = self.look(layer, made)? else { return Ok(None) };
        let mut work = LayerWork::of(layer, self.subject, self.scores)?;
        if layer.treatment.weighs_data() && layer.treatment.saliency == Saliency::Surgeon {
            let rows = Channels::new(&layer.layer.shape, layer.layer.out_axis).gather(&work.original);
            match by_curvature(&rows, &data.moments) {
                Some(scores) => work.scores = scores,
                None => self.ctx.warn(layer.layer.name.clone(), "its curvature is not known: pruned by magnitude"),
            }
        }
        if Magnitude.concerns(layer) {
            Magnitude.apply(layer, &mut work, self.statistics, self.ctx)?;
        }
        let behind = Behind::of(&self.subject.folded, &layer.layer);
        let found = correct(layer, &work, &data, (&self.subject.folded, &behind), self.ctx)?;
        if found.is_none() {
            let said = "its inputs are all zero in the calibration data: rounded to nearest";
            self.ctx.warn(layer.layer.name.clone(), said);
        }
        Ok(found)
    }

    /// What the layer reads, and what it gave as it was before; `None`, and a warning, where that cannot be told.
    fn look(&mut self, layer: &LayerPlan, made: &Model) -> Result<Option<LayerData>, CompressError> {
        let before = self.before.iter().find(|l| l.node == layer.layer.node).unwrap_or(&layer.layer);
        let weights = self.original.constants.get(&before.weight).map(Tensor::to_f32).transpose();
        let weights = weights.map_err(|source| CompressError::Tensor { layer: before.name.clone(), source })?;
        let channels = Channels::new(&before.shape, before.out_axis);
        let mut rows = channels.gather(&weights.unwrap_or_default());
        let whole = self.subject.whole.as_ref();
        let left = whole.map(|whole| whole.left.places(&before.weight, before.out_axis, channels.count));
        if let Some(left) = &left {
            let size = channels.row_len();
            rows = left.iter().filter_map(|row| rows.get(row * size..(row + 1) * size)).flatten().copied().collect();
        }
        let beside = beside(self.original, before);
        let was = Original { layer: before, left: left.as_deref(), rows: &rows, beside: beside.as_ref() };
        let models = (self.original, made);
        match self.sequence.look(models, &layer.layer, was, |width| demand(layer, width), self.ctx) {
            Ok(data) => Ok(Some(data)),
            Err(CalibrateError::Unread { layer, reason }) => {
                self.ctx.warn(layer, format!("{reason}: rounded to nearest, nothing corrected"));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    fn place(&self, layer: &LayerPlan, found: &Corrected) -> Result<Made, CompressError> {
        let mut work = LayerWork::of(layer, self.subject, self.scores)?;
        found.place(&layer.layer, &mut work)?;
        if ActivationRange.concerns(layer) {
            ActivationRange.apply(layer, &mut work, self.statistics, self.ctx)?;
        }
        let mut made = Made::of(layer, self.plan.file, work)?;
        made.lowered.bias = layer.bias.clone().zip(found.added.clone());
        made.layer.steps.clone_from(&found.steps);
        Ok(made)
    }
}

/// The other term of the sum that alone reads what a layer gives.
fn beside(model: &Model, layer: &Layer) -> Option<Wire> {
    let readers = consumers(model);
    let [one] = readers.get(&layer.output)?.as_slice() else { return None };
    let sum = model.nodes.get(*one).filter(|node| node.op == "Add")?;
    let other = sum.input(usize::from(sum.input(0) == Some(&layer.output)))?;
    (*other != layer.output && !model.constants.contains_key(other)).then(|| other.clone())
}

impl Made {
    /// The layer as its weights are by now, for those that come behind it.
    fn as_floats(&self, plan: &LayerPlan) -> Result<LoweredLayer, CompressError> {
        let tensor = Tensor::from_f32(plan.layer.shape.clone(), &self.weights)
            .map_err(|source| CompressError::Tensor { layer: plan.layer.name.clone(), source })?;
        Ok(LoweredLayer { stored: Some(StoredWeight::Float32(tensor)), rounded: None, low_rank: None, ..self.lowered.clone() })
    }
}
