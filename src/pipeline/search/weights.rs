//! The error that each width makes in a layer's weights, without running the model.

use crate::engine::Ctx;
use crate::engine::context::Cancelled;
use crate::engine::kernels::affine::ErrorSums;
use crate::pipeline::compress::preview;
use crate::pipeline::configure::Treatment;
use crate::pipeline::load::Subject;

/// The widths that the heat map shows.
pub const WIDTHS: [u8; 6] = [2, 3, 4, 5, 6, 8];

/// One layer's weight error at each width, with the other settings of its treatment as they are.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightErrors {
    pub layer: usize,
    pub sums: Vec<(u8, ErrorSums)>,
}

/// One row of the map. Layers that cannot be read or hold NaN have an empty row.
#[must_use]
pub fn weight_errors(subject: &Subject, layer: usize, treatment: &Treatment, widths: &[u8]) -> WeightErrors {
    let Some(found) = subject.layers.get(layer) else { return WeightErrors { layer, sums: Vec::new() } };
    let weights = subject.folded.constants.get(&found.weight).and_then(|t| t.to_f32().ok()).unwrap_or_default();
    if weights.is_empty() || weights.iter().any(|w| !w.is_finite()) {
        return WeightErrors { layer, sums: Vec::new() };
    }
    let at = |bits: u8| Treatment { weights: treatment.weights.with_bits(bits), ..*treatment };
    WeightErrors { layer, sums: widths.iter().map(|&b| (b, preview(&weights, found, &at(b)).sums)).collect() }
}

/// The whole map, row by row as it comes.
///
/// # Errors
/// On cancel.
pub fn weight_error_map(
    subject: &Subject,
    treatments: &[Treatment],
    widths: &[u8],
    ctx: &Ctx,
    row: &mut dyn FnMut(WeightErrors),
) -> Result<(), Cancelled> {
    ctx.start("Weight errors", subject.layers.len());
    for (layer, treatment) in treatments.iter().enumerate() {
        ctx.check()?;
        row(weight_errors(subject, layer, treatment, widths));
        ctx.advance(1);
    }
    Ok(())
}
