use crate::engine::Ctx;
use crate::engine::graph::{StoredWeight, Wire};
use crate::engine::tensor::Tensor;
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::compress::{CompressError, LayerWork, Technique};
use crate::pipeline::configure::{LayerPlan, Sparsity};

pub(in crate::pipeline::compress) struct Magnitude;

impl Technique for Magnitude {
    fn name(&self) -> &'static str {
        "magnitude"
    }

    fn concerns(&self, plan: &LayerPlan) -> bool {
        plan.treatment.sparsity != Sparsity::Dense
    }

    fn needs(&self, _plan: &LayerPlan) -> Vec<Wire> {
        Vec::new()
    }

    fn apply(&self, plan: &LayerPlan, work: &mut LayerWork, _statistics: &Statistics, _ctx: &Ctx) -> Result<(), CompressError> {
        prune(&mut work.weights, plan.treatment.sparsity);
        let tensor = Tensor::from_f32(plan.layer.shape.clone(), &work.weights)
            .map_err(|source| CompressError::Tensor { layer: plan.layer.name.clone(), source })?;
        work.stored = Some(StoredWeight::Float32(tensor));
        Ok(())
    }
}

/// Sets the small weights to zero. Of equal magnitudes the earlier goes first.
pub(in crate::pipeline::compress) fn prune(weights: &mut [f32], sparsity: Sparsity) {
    match sparsity {
        Sparsity::Dense => {}
        Sparsity::Threshold(threshold) => {
            for weight in weights.iter_mut().filter(|w| w.abs() < threshold) {
                *weight = 0.0;
            }
        }
        Sparsity::Fraction(fraction) => {
            let count = (f64::from(fraction) * weights.len() as f64).round() as usize;
            if count == 0 {
                return;
            }
            let mut order: Vec<(f32, usize)> = weights.iter().enumerate().map(|(i, w)| (w.abs(), i)).collect();
            let by_magnitude = |a: &(f32, usize), b: &(f32, usize)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
            let last = count.min(order.len()) - 1;
            order.select_nth_unstable_by(last, by_magnitude);
            for (_, index) in &order[..=last] {
                weights[*index] = 0.0;
            }
        }
    }
}
