//! What every technique is to the runner, and which there are.

use super::CompressError;
use super::low_rank::Compensation;
use super::{activation_range::ActivationRange, magnitude::Magnitude, round_to_nearest::RoundToNearest};
use crate::engine::Ctx;
use crate::engine::graph::{LowRank, RoundedInput, StoredWeight, Wire};
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::configure::LayerPlan;

/// One layer on the bench: what it was, what it is by now, how it will be stored.
#[derive(Debug, Clone)]
pub struct LayerWork {
    pub original: Vec<f32>,
    /// What the next technique starts from, and in the end what the layer computes with.
    pub weights: Vec<f32>,
    /// What each weight counts, a row per output channel, where pruning asks for what no single layer tells.
    pub scores: Vec<f64>,
    pub stored: Option<StoredWeight>,
    pub rounded: Option<RoundedInput>,
    /// What is added to what the stored weights give; `weights` hold it already.
    pub low_rank: Option<LowRank>,
}

/// A way to make a layer smaller. Says what it must know, and applies itself given that.
pub trait Technique: Sync {
    /// A stable name, for logs and registries.
    fn name(&self) -> &'static str;

    /// Whether the plan asks for it on this layer.
    fn concerns(&self, plan: &LayerPlan) -> bool;

    /// Wires whose range it must know.
    fn needs(&self, plan: &LayerPlan) -> Vec<Wire>;

    /// # Errors
    /// When a statistic it asked for is missing, or the result cannot be stored.
    fn apply(&self, plan: &LayerPlan, work: &mut LayerWork, statistics: &Statistics, ctx: &Ctx) -> Result<(), CompressError>;
}

/// Every technique, in the order in which they are applied.
#[must_use]
pub fn registry() -> [&'static dyn Technique; 4] {
    [&Magnitude, &RoundToNearest, &Compensation, &ActivationRange]
}
