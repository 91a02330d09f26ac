//! One layer by itself: for files that are written while they are made, where no two layers are held at once.

use super::CompressError;
use super::technique::{LayerWork, registry};
use crate::engine::Ctx;
use crate::engine::graph::StoredWeight;
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::configure::LayerPlan;

/// What became of some weights.
#[derive(Debug, Clone)]
pub struct Alone {
    /// `None` where the plan leaves them as they are.
    pub stored: Option<StoredWeight>,
    /// The values that it stands for.
    pub weights: Vec<f32>,
}

/// Applies all techniques that a plan asks for to `weights`, in the order of `plan.layer.shape`. Nothing is known of
/// data; runs on the threads of whoever calls.
///
/// # Errors
/// When weights are not finite, or a technique needs statistics.
pub fn alone(plan: &LayerPlan, weights: Vec<f32>, ctx: &Ctx) -> Result<Alone, CompressError> {
    let count = weights.iter().filter(|w| !w.is_finite()).count();
    if count > 0 && !plan.treatment.is_unchanged() {
        return Err(CompressError::NotFinite { layer: plan.layer.name.clone(), count, total: weights.len() });
    }
    // No technique here looks back at what the weights were.
    let mut work = LayerWork { weights, original: Vec::new(), scores: Vec::new(), stored: None, rounded: None, low_rank: None };
    for technique in registry().into_iter().filter(|t| t.concerns(plan)) {
        technique.apply(plan, &mut work, &Statistics::default(), ctx)?;
    }
    Ok(Alone { stored: work.stored, weights: work.weights })
}
