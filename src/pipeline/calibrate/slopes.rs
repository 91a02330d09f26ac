//! Gradients of single samples: what the loss says of weights.

use super::CalibrateError;
use crate::engine::Ctx;
use crate::engine::exec::{Target, gradients};
use crate::engine::graph::{Model, Wire};
use crate::pipeline::load::Dataset;
use std::collections::{BTreeMap, BTreeSet};

/// By weight, its gradient in the order of its elements.
pub type Slopes = BTreeMap<Wire, Vec<f32>>;

/// Gives `each` the gradients of `weights` for one sample of `data` after the other: of the cross-entropy with the
/// sample's class, or with the class that the network finds likeliest where there are no labels.
///
/// # Errors
/// When the network has an operator that gradients are not known of, the data cannot be read, or on cancel.
pub fn slopes(
    model: &Model,
    weights: &BTreeSet<Wire>,
    data: &Dataset,
    each: &mut dyn FnMut(&Slopes),
    ctx: &Ctx,
) -> Result<(), CalibrateError> {
    if data.is_empty() {
        return Err(CalibrateError::Empty);
    }
    ctx.start("Following gradients", data.len());
    for sample in 0..data.len() {
        ctx.check()?;
        let label = data.labels.as_ref().and_then(|labels| labels.get(sample).copied());
        let target = label.map_or(Target::Own, Target::Class);
        each(&gradients(model, &data.batch(&[sample], ctx)?, target, weights, ctx)?);
        ctx.advance(1);
    }
    Ok(())
}
