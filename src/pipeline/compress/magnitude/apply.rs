use crate::engine::Ctx;
use crate::engine::graph::{Channels, Layer, StoredWeight, Wire};
use crate::engine::tensor::Tensor;
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::compress::importance::activation;
use crate::pipeline::compress::pattern::{Lie, gone};
use crate::pipeline::compress::round_to_nearest::Columns;
use crate::pipeline::compress::{CompressError, LayerWork, Technique};
use crate::pipeline::configure::{LayerPlan, Saliency, Sparsity};

pub(in crate::pipeline::compress) struct Magnitude;

impl Technique for Magnitude {
    fn name(&self) -> &'static str {
        "magnitude"
    }

    fn concerns(&self, plan: &LayerPlan) -> bool {
        plan.treatment.sparsity != Sparsity::Dense
    }

    fn needs(&self, plan: &LayerPlan) -> Vec<Wire> {
        if plan.treatment.weighs_inputs() { vec![plan.layer.input.clone()] } else { Vec::new() }
    }

    fn apply(&self, plan: &LayerPlan, work: &mut LayerWork, statistics: &Statistics, ctx: &Ctx) -> Result<(), CompressError> {
        let (layer, sparsity) = (&plan.layer, plan.treatment.sparsity);
        if plan.treatment.weighs_inputs() {
            let (squares, runs) = Columns::calibrated(layer, statistics)?;
            let lie = Lie::of(layer);
            let scored = |rows: &[f32]| activation::wanda(rows, lie.row_len, &squares, runs);
            zero(&mut work.weights, layer, sparsity, &scored, true);
        } else if plan.treatment.weighs_data() && work.scores.len() == work.weights.len() {
            zero(&mut work.weights, layer, sparsity, &|_| work.scores.clone(), false);
        } else {
            prune(&mut work.weights, layer, sparsity);
        }
        if !work.weights.is_empty() && work.weights.iter().all(|w| *w == 0.0) {
            ctx.warn(layer.name.clone(), format!("nothing is left of it: no weight passes \"{sparsity}\""));
        }
        let tensor = Tensor::from_f32(layer.shape.clone(), &work.weights)
            .map_err(|source| CompressError::Tensor { layer: layer.name.clone(), source })?;
        work.stored = Some(StoredWeight::Float32(tensor));
        Ok(())
    }
}

/// What each weight counts, in rows of output channels; its magnitude where it takes more than ranges to tell.
///
/// # Errors
/// When it hangs on inputs and what calibration saw does not fit the layer.
pub fn weight_scores(
    layer: &Layer,
    weights: &[f32],
    saliency: Saliency,
    statistics: &Statistics,
) -> Result<Vec<f64>, CompressError> {
    let rows = Channels::new(&layer.shape, layer.out_axis).gather(weights);
    match saliency {
        Saliency::Magnitude | Saliency::Surgeon | Saliency::Taylor => Ok(rows.iter().map(|w| f64::from(w.abs())).collect()),
        Saliency::Inputs => {
            let (squares, runs) = Columns::calibrated(layer, statistics)?;
            Ok(activation::wanda(&rows, Lie::of(layer).row_len, &squares, runs))
        }
    }
}

/// Sets the small weights to zero, which lie in the order of `layer.shape`. Of equal magnitudes the earlier goes first.
pub(in crate::pipeline::compress) fn prune(weights: &mut [f32], layer: &Layer, sparsity: Sparsity) {
    if let Sparsity::Threshold(threshold) = sparsity {
        weights.iter_mut().filter(|w| w.abs() < threshold).for_each(|w| *w = 0.0);
        return;
    }
    let magnitudes = |rows: &[f32]| rows.iter().map(|w| f64::from(w.abs())).collect();
    zero(weights, layer, sparsity, &magnitudes, false);
}

fn zero(weights: &mut [f32], layer: &Layer, sparsity: Sparsity, scored: &dyn Fn(&[f32]) -> Vec<f64>, by_row: bool) {
    if sparsity == Sparsity::Dense {
        return;
    }
    let channels = Channels::new(&layer.shape, layer.out_axis);
    let mut rows = channels.gather(weights);
    for place in gone(&scored(&rows), Lie::of(layer), sparsity, by_row) {
        rows.get_mut(place).into_iter().for_each(|w| *w = 0.0);
    }
    weights.iter_mut().zip(channels.scatter(&rows)).for_each(|(w, left)| *w = left);
}
