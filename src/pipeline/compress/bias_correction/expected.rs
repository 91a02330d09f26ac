//! What the means of a layer's outputs lose, told by batch normalization alone (Nagel et al. 2019, arXiv 1906.04721,
//! §4.2.1 and appendix C): the channels behind it are taken to be normal, cut off by the activation between. Padding is not
//! looked at. Only as good as the statistics that the network was trained with.

use crate::engine::graph::{CutNormals, Model, Normal, cut_normals};
use crate::engine::kernels::special::erf;
use crate::pipeline::compress::round_to_nearest::Columns;
use crate::pipeline::configure::LayerPlan;

/// What is to be added to each output channel: `(W − Ŵ)·E[x]`, weights in the order of the layer's rows. `None` where it
/// is not known what the layer reads, which the plan has said.
pub(in crate::pipeline::compress) fn analytic(
    plan: &LayerPlan,
    model: &Model,
    original: &[f32],
    made: &[f32],
) -> Option<Vec<f32>> {
    let layer = &plan.layer;
    let means = means(&cut_normals(model, &layer.input).ok()?);
    let (columns, runs) = Columns::spread_over(layer, &means)?;
    let rows = layer.out_channels();
    let width = layer.parameters() / rows.max(1);
    let pairs = original.chunks(width.max(1)).zip(made.chunks(width.max(1)));
    let added = pairs.enumerate().map(|(row, (original, made))| {
        // Rows that read inputs of their own have columns of their own.
        let own = columns.get(row * runs / rows.max(1) * width..).unwrap_or_default();
        original.iter().zip(made).zip(own).map(|((w, made), x)| (f64::from(*w) - f64::from(*made)) * f64::from(*x)).sum::<f64>()
            as f32
    });
    Some(added.collect())
}

fn means(known: &CutNormals) -> Vec<f64> {
    let each = known.normals.iter().zip(&known.bounds);
    each.flat_map(|(normal, bounds)| std::iter::repeat_n(mean_between(*normal, *bounds), known.repeat)).collect()
}

/// The mean of a normal variable whose values beyond `low` and `high` are set to these.
fn mean_between(normal: Normal, (low, high): (f32, f32)) -> f64 {
    let (mean, deviation) = (f64::from(normal.mean), f64::from(normal.deviation));
    let (low, high) = (f64::from(low), f64::from(high));
    if deviation <= 0.0 || deviation.is_nan() {
        return mean.max(low).min(high);
    }
    let below = |x: f64| 0.5 * (1.0 + erf((x - mean) / deviation * std::f64::consts::FRAC_1_SQRT_2));
    let density = |x: f64| {
        let z = (x - mean) / deviation;
        (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
    };
    let at = |bound: f64, share: f64| if bound.is_finite() { bound * share } else { 0.0 };
    let inside = mean * (below(high) - below(low)) + deviation * (density(low) - density(high));
    at(low, below(low)) + inside + at(high, 1.0 - below(high))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_behind_activations_are_those_of_the_reference() {
        let normal = |mean, deviation| Normal { mean, deviation };
        let relu = (0.0, f32::INFINITY);
        assert!((mean_between(normal(0.5, 1.0), relu) - 0.697_796_6).abs() < 1e-7);
        assert!((mean_between(normal(-1.0, 0.5), relu) - 0.004_245_4).abs() < 1e-7);
        // Uncut, cut where nothing is, and cut to the middle.
        assert!((mean_between(normal(0.5, 1.0), (f32::NEG_INFINITY, f32::INFINITY)) - 0.5).abs() < 1e-12);
        assert!((mean_between(normal(3.0, 0.1), (0.0, 6.0)) - 3.0).abs() < 1e-9);
        assert!((mean_between(normal(3.0, 2.0), (0.0, 6.0)) - 3.0).abs() < 1e-9);
        assert!(mean_between(normal(9.0, 1.0), (0.0, 6.0)) > 5.99);
        assert_eq!(mean_between(normal(-2.0, 0.0), relu), 0.0);
    }
}
