//! What of a correction fits a layer.

use super::correction::{Correction, Loss, Recovery, Solver};
use super::layer::and;
use super::recipe::Treatment;
use super::scheme::{Scheme, Sparsity};
use crate::engine::graph::{BiasPlace, Layer, Model, cut_normals};
use crate::pipeline::load::Subject;

/// What of a correction can be done to a layer, where its bias is, and why not the rest.
pub(super) fn corrected(
    layer: &Layer,
    treatment: &Treatment,
    subject: &Subject,
) -> (Correction, Option<BiasPlace>, Option<String>) {
    let (wanted, model) = (treatment.correction, &*subject.folded);
    let is_dense = treatment.weights == Scheme::F32 && treatment.sparsity == Sparsity::Dense;
    // Of a network that lost channels layers are to make up for those, changed or not.
    if wanted == Correction::NONE || (is_dense && (subject.whole.is_none() || wanted.recovery == Recovery::None)) {
        return (Correction::NONE, None, None);
    }
    if let Err(reason) = readable(layer, model) {
        return (Correction::NONE, None, Some(format!("{reason}: rounded to nearest, nothing corrected")));
    }
    let (mut correction, mut refusal) = (wanted, None);
    if is_dense {
        // There is nothing to choose a level for.
        correction.solver = Solver::Nearest;
    }
    let integers = treatment.weights.has_ranges();
    let solver = match correction.solver {
        Solver::Gptq { .. } if !integers && treatment.weights != Scheme::F32 => Some("GPTQ rounds to integers"),
        Solver::AdaRound { .. } if !integers => Some("AdaRound rounds to integers"),
        Solver::AdaRound { .. } if treatment.sparsity != Sparsity::Dense => Some("AdaRound takes dense layers"),
        _ => None,
    };
    if let Some(reason) = solver {
        correction.solver = Solver::Nearest;
        refusal = Some(format!("{reason}, and this is {}: each weight to its nearest level", treatment.weights));
    }
    if matches!(correction.solver, Solver::AdaRound { loss: Loss::Activation, .. }) && correction.recovery == Recovery::Deviation
    {
        correction.recovery = Recovery::Bias;
    }
    if !correction.mends_bias() {
        return (correction, None, refusal);
    }
    if let (Recovery::BatchNorm, Err(reason)) = (correction.recovery, cut_normals(model, &layer.input)) {
        correction.recovery = Recovery::None;
        return (correction, None, Some(and(refusal, &format!("{reason}: its bias is not set right"))));
    }
    match BiasPlace::of(model, layer) {
        Ok(place) => (correction, Some(place), refusal),
        Err(reason) => {
            correction.recovery = Recovery::None;
            (correction, None, Some(and(refusal, &format!("{reason}: its outputs are not set right"))))
        }
    }
}

/// # Errors
/// Why it cannot be told what each weight of the layer is multiplied with.
pub(super) fn readable(layer: &Layer, model: &Model) -> Result<(), &'static str> {
    let node = layer.node.and_then(|id| model.node(id)).ok_or("the file holds weights without a graph")?;
    if model.constants.contains_key(&layer.input) {
        return Err("its input is a constant of the model");
    }
    let groups = node.int("group").unwrap_or(1);
    if layer.parameters() == 0 {
        return Err("it has no weights");
    }
    match node.op.as_str() {
        "Gemm" if node.int("transA").unwrap_or(0) != 0 => Err("its data have their channels first"),
        "Gemm" if node.float("alpha").is_some_and(|a| a != 1.0) => Err("its product is scaled"),
        "ConvTranspose" if groups > 1 && layer.out_axis != 0 => Err("it is a grouped transposed convolution"),
        _ => Ok(()),
    }
}
