//! What rounding took from a layer's weights, made up for as far as a product of two thin matrices can: Δ = W − Ŵ ≈
//! B·A. With second moments C of the inputs the one with the least E‖(Δ − B·A)·x‖² (EoRA, Liu et al. 2024, arXiv
//! 2410.21271); without data the one with the least squared error of the weights (truncated SVD, C = I). Both parts are
//! kept in f16. Limits: two more products for every layer, which no integer runtime fuses.

use super::CompressError;
use super::technique::{LayerWork, Technique};
use crate::engine::Ctx;
use crate::engine::graph::{Channels, Layer, LowRank, Wire};
use crate::engine::kernels::eigen::leading;
use crate::engine::kernels::factor::{add_scaled, dot};
use crate::engine::kernels::{parts, until};
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::configure::LayerPlan;
use half::f16;

/// B [outputs × rank] and A [rank × columns], as f16 holds them.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Factors {
    pub rank: usize,
    pub a: Vec<f32>,
    pub b: Vec<f32>,
}

impl Factors {
    /// Of `delta` [outputs × columns], whose columns are multiplied with inputs of second moments `moments`
    /// [columns × columns]. With U the leading eigenvectors of Δ·C·Δᵀ, U·Uᵀ·Δ is as near as rank allows: no moments
    /// need to be inverted, and what was never seen does no harm.
    pub fn of(delta: &[f64], columns: usize, moments: Option<&[f64]>, rank: usize) -> Self {
        let outputs = delta.len() / columns.max(1);
        let weighed = moments.map(|c| {
            let mut out = vec![0.0; delta.len()];
            parts(&mut out, columns.max(1), &|row, out| {
                let own = &delta[row * columns..(row + 1) * columns];
                out.iter_mut().zip(c.chunks(columns)).for_each(|(o, line)| *o = dot(line, own));
            });
            out
        });
        let weighed = weighed.as_deref().unwrap_or(delta);
        let mut gram = vec![0.0; outputs * outputs];
        parts(&mut gram, outputs.max(1), &|row, out| {
            let own = &weighed[row * columns..(row + 1) * columns];
            out.iter_mut().zip(delta.chunks(columns.max(1))).for_each(|(o, line)| *o = dot(line, own));
        });
        let vectors = leading(&gram, outputs, rank).vectors;
        let rank = vectors.len() / outputs.max(1);
        let held = |x: f64| f16::from_f64(x).to_f32();
        let b = (0..outputs * rank).map(|k| held(vectors[k % rank * outputs + k / rank])).collect();
        let mut a = vec![0.0; rank * columns];
        parts(&mut a, columns.max(1), &|row, out| {
            let factors = &vectors[row * outputs..(row + 1) * outputs];
            factors.iter().zip(delta.chunks(columns)).for_each(|(factor, line)| add_scaled(*factor, line, out));
        });
        Self { rank, a: a.into_iter().map(held).collect(), b }
    }

    /// Nothing, as large as what there would be.
    pub fn none(outputs: usize, columns: usize, rank: usize) -> Self {
        Self { rank, a: vec![0.0; rank * columns], b: vec![0.0; outputs * rank] }
    }

    /// Adds B·A to `rows` [outputs × columns].
    pub fn add_to(&self, rows: &mut [f32], columns: usize) {
        for (row, factors) in rows.chunks_mut(columns.max(1)).zip(self.b.chunks(self.rank.max(1))) {
            for (factor, line) in factors.iter().zip(self.a.chunks(columns.max(1))) {
                row.iter_mut().zip(line).for_each(|(w, x)| *w += factor * x);
            }
        }
    }

    pub fn stored(&self, layer: &Layer) -> Result<LowRank, CompressError> {
        LowRank::of(layer.kind, (&layer.shape, layer.out_axis), self.rank, Some((&self.a, &self.b)))
            .map_err(|source| CompressError::Tensor { layer: layer.name.clone(), source })
    }
}

/// What weights lack, row by row.
pub(super) fn lacking(original: &[f32], made: &[f32]) -> Vec<f64> {
    original.iter().zip(made).map(|(w, made)| f64::from(*w) - f64::from(*made)).collect()
}

/// Compensation that no data tell.
pub(super) struct Compensation;

impl Technique for Compensation {
    fn name(&self) -> &'static str {
        "low-rank compensation"
    }

    fn concerns(&self, plan: &LayerPlan) -> bool {
        plan.treatment.compensate > 0
    }

    fn needs(&self, _plan: &LayerPlan) -> Vec<Wire> {
        Vec::new()
    }

    fn apply(&self, plan: &LayerPlan, work: &mut LayerWork, _statistics: &Statistics, ctx: &Ctx) -> Result<(), CompressError> {
        ctx.check()?;
        let channels = Channels::new(&plan.layer.shape, plan.layer.out_axis);
        let (original, mut rows) = (channels.gather(&work.original), channels.gather(&work.weights));
        let columns = channels.row_len();
        let rank = usize::from(plan.treatment.compensate);
        let factors = until(ctx.stop(), || Factors::of(&lacking(&original, &rows), columns, None, rank));
        ctx.check()?;
        factors.add_to(&mut rows, columns);
        work.low_rank = Some(factors.stored(&plan.layer)?);
        work.weights = channels.scatter(&rows);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELTA: [f64; 6] = [0.1, -0.2, 0.05, 0.0, 0.15, -0.1];
    const MOMENTS: [f64; 9] = [4.0, 1.0, 0.0, 1.0, 2.0, 0.5, 0.0, 0.5, 1.0];

    /// tr((Δ − BA)·C·(Δ − BA)ᵀ).
    fn error(delta: &[f64], factors: &Factors) -> f64 {
        let mut made = vec![0.0; 6];
        factors.add_to(&mut made, 3);
        let left: Vec<f64> = delta.iter().zip(&made).map(|(d, m)| d - f64::from(*m)).collect();
        let row = |r: &[f64]| -> f64 { (0..9).map(|k| r[k / 3] * MOMENTS[k] * r[k % 3]).sum() };
        left.chunks(3).map(row).sum()
    }

    #[test]
    fn the_error_is_that_of_the_reference() {
        let eora = Factors::of(&DELTA, 3, Some(&MOMENTS), 1);
        let plain = Factors::of(&DELTA, 3, None, 1);
        let of = |factors: &Factors| error(&DELTA, factors);
        assert!((of(&eora) - 0.016_524_4).abs() < 2e-5, "{}", of(&eora));
        assert!((of(&plain) - 0.016_930_5).abs() < 2e-5, "{}", of(&plain));
        assert!((of(&Factors::none(2, 3, 1)) - 0.1125).abs() < 1e-9);
        // Of full rank nothing is left but what f16 cannot hold.
        assert!(of(&Factors::of(&DELTA, 3, Some(&MOMENTS), 2)) < 1e-6);
        assert_eq!(Factors::of(&DELTA, 3, Some(&MOMENTS), 9).rank, 2, "no more than there are outputs");
    }

    #[test]
    fn nothing_that_lacks_is_made_up_for_with_nothing() {
        let factors = Factors::of(&[0.0; 6], 3, Some(&MOMENTS), 1);
        let mut rows = vec![1.0; 6];
        factors.add_to(&mut rows, 3);
        assert_eq!(rows, [1.0; 6]);
    }
}
