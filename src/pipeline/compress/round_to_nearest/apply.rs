use super::columns::Columns;
use crate::engine::Ctx;
use crate::engine::formats::{Encoded, Format, FormatError, How, Matrix};
use crate::engine::graph::{Channels, Layer, StoredWeight, Wire};
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::compress::{CompressError, LayerWork, Technique};
use crate::pipeline::configure::{ImportanceSource, LayerPlan, Scheme, Treatment};
use std::borrow::Cow;

pub(in crate::pipeline::compress) struct RoundToNearest;

impl Technique for RoundToNearest {
    fn name(&self) -> &'static str {
        "round to nearest"
    }

    fn concerns(&self, plan: &LayerPlan) -> bool {
        plan.treatment.weights != Scheme::F32
    }

    fn needs(&self, plan: &LayerPlan) -> Vec<Wire> {
        // A correction knows its inputs better.
        let is_asked = plan.importance == ImportanceSource::Calibrated && !plan.treatment.correction.needs_data();
        if is_asked { vec![plan.layer.input.clone()] } else { Vec::new() }
    }

    fn apply(&self, plan: &LayerPlan, work: &mut LayerWork, statistics: &Statistics, ctx: &Ctx) -> Result<(), CompressError> {
        let name = || plan.layer.name.clone();
        let Some(format) = plan.treatment.weights.format() else { return Ok(()) };
        let columns = Columns::of(plan, statistics)?;
        let how = How { importance: columns.as_ref().map(Columns::importance), ..how(&plan.treatment) };
        let encoded = encode(&work.weights, &plan.layer, format, &how, ctx)
            .map_err(|source| CompressError::Format { layer: name(), source })?;
        let stored = StoredWeight::of(format, &plan.layer, Some(&encoded))
            .map_err(|source| CompressError::Tensor { layer: name(), source })?;
        work.stored = Some(stored);
        work.weights = decode(&encoded, &plan.layer);
        Ok(())
    }
}

/// What a treatment says of rounding and ranges; importance, which it takes data to know, is left out.
pub(in crate::pipeline::compress) fn how(treatment: &Treatment) -> How<'static> {
    How { rounding: treatment.rounding, range: treatment.range, importance: None }
}

/// Weights in the order of `layer.shape` as a matrix in `format`, a row per output channel. Runs on the
/// threads of whoever calls.
pub(in crate::pipeline::compress) fn encode(
    weights: &[f32],
    layer: &Layer,
    format: Format,
    how: &How<'_>,
    ctx: &Ctx,
) -> Result<Encoded, FormatError> {
    let channels = Channels::new(&layer.shape, layer.out_axis);
    let rows = if layer.out_axis == 0 { Cow::Borrowed(weights) } else { Cow::Owned(channels.gather(weights)) };
    let matrix = Matrix::new(&rows, channels.count, channels.row_len())?;
    format.encode_here(&matrix, how, ctx)
}

/// What [`encode`] made of weights, in the order of `layer.shape`.
pub(in crate::pipeline::compress) fn decode(encoded: &Encoded, layer: &Layer) -> Vec<f32> {
    let rows = encoded.decode_here();
    if layer.out_axis == 0 { rows } else { Channels::new(&layer.shape, layer.out_axis).scatter(&rows) }
}
