use crate::engine::Ctx;
use crate::engine::graph::{RoundedInput, Wire};
use crate::engine::kernels::affine::asymmetric;
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::compress::{CompressError, LayerWork, Technique};
use crate::pipeline::configure::{Activations, LayerPlan};

pub(in crate::pipeline::compress) struct ActivationRange;

impl Technique for ActivationRange {
    fn name(&self) -> &'static str {
        "activation range"
    }

    fn concerns(&self, plan: &LayerPlan) -> bool {
        plan.treatment.activations != Activations::None
    }

    fn needs(&self, plan: &LayerPlan) -> Vec<Wire> {
        if plan.treatment.activations == Activations::Static { vec![plan.layer.input.clone()] } else { Vec::new() }
    }

    fn apply(&self, plan: &LayerPlan, work: &mut LayerWork, statistics: &Statistics, _ctx: &Ctx) -> Result<(), CompressError> {
        work.rounded = match plan.treatment.activations {
            Activations::None => None,
            Activations::Dynamic => Some(RoundedInput::Dynamic),
            Activations::Static => {
                let range = statistics.range(&plan.layer.input).ok_or_else(|| CompressError::NoRange {
                    layer: plan.layer.name.clone(),
                    wire: plan.layer.input.to_string(),
                })?;
                let parameters = asymmetric(range.min, range.max, 8);
                Some(RoundedInput::Static { scale: parameters.scale, zero_point: parameters.zero_point as u8 })
            }
        };
        Ok(())
    }
}
