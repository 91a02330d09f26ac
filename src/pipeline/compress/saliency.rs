//! What single weights count where it takes more than their layer's weights and ranges to tell: gradients of the whole
//! network, or second moments of what the layer reads.

use super::CompressError;
use super::corrected::WIDEST;
use super::importance::{gradient, second_order};
use super::runner::weights_of;
use super::system::System;
use crate::engine::Ctx;
use crate::engine::graph::{Channels, Layer, Wire};
use crate::pipeline::calibrate::{Demand, Moments, Original, Sequence, Slopes, slopes};
use crate::pipeline::configure::{LayerPlan, Plan, Saliency};
use crate::pipeline::load::{Dataset, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// Samples whose gradients are followed.
const SAMPLES: usize = 64;

/// By weight: a score for each of its elements, a row per output channel.
pub(super) type Scores = BTreeMap<Wire, Vec<f64>>;

/// `|w·g|`, added up over single samples, of the layers that are pruned by it.
///
/// # Errors
/// When weights cannot be read, the network has an operator that gradients are not known of, or on cancel.
pub(super) fn by_slopes(plan: &Plan, subject: &Subject, data: &Dataset, ctx: &Ctx) -> Result<Scores, CompressError> {
    let asks = |layer: &&LayerPlan| layer.treatment.weighs_data() && layer.treatment.saliency == Saliency::Taylor;
    slopes_of(plan.layers.iter().filter(asks).map(|l| &l.layer), subject, data, ctx)
}

fn slopes_of<'a>(
    wanted: impl Iterator<Item = &'a Layer>,
    subject: &Subject,
    data: &Dataset,
    ctx: &Ctx,
) -> Result<Scores, CompressError> {
    let mut layers: BTreeMap<Wire, (Channels, Vec<f32>)> = BTreeMap::new();
    for layer in wanted {
        layers.insert(layer.weight.clone(), rows_of(layer, subject)?);
    }
    let mut scores = Scores::new();
    if layers.is_empty() {
        return Ok(scores);
    }
    let wires: BTreeSet<Wire> = layers.keys().cloned().collect();
    let mut each = |found: &Slopes| {
        for (wire, (channels, rows)) in &layers {
            let Some(slopes) = found.get(wire).map(|all| channels.gather(all)) else { continue };
            let own = gradient::taylor(rows, 1, &[slopes]);
            let sums = scores.entry(wire.clone()).or_insert_with(|| vec![0.0; own.len()]);
            sums.iter_mut().zip(own).for_each(|(sum, one)| *sum += one);
        }
    };
    slopes(&subject.folded, &wires, &data.spread(SAMPLES), &mut each, ctx)?;
    Ok(scores)
}

fn rows_of(layer: &Layer, subject: &Subject) -> Result<(Channels, Vec<f32>), CompressError> {
    let channels = Channels::new(&layer.shape, layer.out_axis);
    Ok((channels, channels.gather(&weights_of(layer, subject)?)))
}

/// What each weight of one layer counts by data, in rows of output channels; `None` where data do not tell.
///
/// # Errors
/// When weights cannot be read, the network cannot be run or followed back, or on cancel.
pub fn weight_scores_by_data(
    layer: &Layer,
    saliency: Saliency,
    subject: &Subject,
    data: &Dataset,
    ctx: &Ctx,
) -> Result<Option<Vec<f64>>, CompressError> {
    match saliency {
        Saliency::Magnitude | Saliency::Inputs => Ok(None),
        Saliency::Taylor => Ok(slopes_of(std::iter::once(layer), subject, data, ctx)?.remove(&layer.weight)),
        Saliency::Surgeon => {
            let (_, rows) = rows_of(layer, subject)?;
            let original = Original { layer, left: None, rows: &rows, beside: None };
            let models = (&*subject.folded, &*subject.folded);
            let demand = |width| Demand { gram: width <= WIDEST, ..Demand::default() };
            let seen = Sequence::begin(&subject.folded, data, ctx)?.look(models, layer, original, demand, ctx)?;
            Ok(by_curvature(&rows, &seen.moments))
        }
    }
}

/// `½ w²/[H⁻¹]_jj` of `rows`, a row per output channel: what the outputs of each lose when a weight goes and the others
/// make up for it. `moments` are those of each group of rows; `None` where they tell nothing.
pub(super) fn by_curvature(rows: &[f32], moments: &[Moments]) -> Option<Vec<f64>> {
    let width = moments.first()?.width.max(1);
    let group = rows.len() / moments.len();
    let mut scores = Vec::with_capacity(rows.len());
    for (rows, moments) in rows.chunks(group.max(1)).zip(moments) {
        if moments.gram.is_empty() {
            return None;
        }
        let system = System::new(moments.gram.clone(), width, false)?;
        let mut inverse: Vec<f64> = (0..width * width).map(|i| f64::from(u8::from(i / width == i % width))).collect();
        system.solve(&mut inverse);
        for row in rows.chunks(width) {
            let row: Vec<f64> = row.iter().map(|w| f64::from(*w)).collect();
            scores.extend(second_order::saliency(&row, &inverse));
        }
    }
    Some(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_weight_that_another_can_stand_in_for_counts_little() {
        // Two inputs that are nearly one, and a third of its own.
        let gram = vec![1.0, 0.98, 0.0, 0.98, 1.0, 0.0, 0.0, 0.0, 1.0];
        let moments = [Moments { width: 3, count: 100, gram, ..Moments::default() }];
        let scores = by_curvature(&[1.0, 1.0, 0.5, 0.0, 2.0, 1.0], &moments).unwrap();
        assert!(scores[0] < scores[2] && scores[1] < scores[2], "{scores:?}");
        assert!(scores[3] == 0.0 && scores[4] < scores[5], "{scores:?}");
        assert_eq!(by_curvature(&[1.0; 3], &[Moments { width: 3, ..Moments::default() }]), None);
    }
}
