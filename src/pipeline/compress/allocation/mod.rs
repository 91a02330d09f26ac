//! How much of each layer is pruned, where a share of all layers together is asked for: by one threshold for all
//! magnitudes, by magnitudes relative to what is left of the layer (LAMP, Lee et al. 2021, arXiv 2010.07611), or by
//! shapes alone (ERK, Evci et al. 2020, arXiv 1911.11134). What is pruned within a layer is another question.
//! Limits: one threshold for all ruins networks whose layers differ in scale; LAMP suits most.

use super::CompressError;
use super::runner::weights_of;
use crate::engine::Ctx;
use crate::engine::graph::Layer;
use crate::pipeline::configure::{Allocation, Plan, Sparsity};
use crate::pipeline::load::Subject;

/// The plan with a share of its own for each layer that has one: all together they prune as much as before.
///
/// # Errors
/// When weights cannot be read.
pub(super) fn allocate(plan: &Plan, subject: &Subject, ctx: &Ctx) -> Result<Plan, CompressError> {
    let shared: Vec<(usize, f64)> =
        plan.layers.iter().enumerate().filter_map(|(i, l)| Some((i, share(l.treatment.sparsity)?))).collect();
    if plan.allocation == Allocation::Uniform || shared.len() < 2 {
        return Ok(plan.clone());
    }
    let sizes: Vec<usize> = shared.iter().map(|(i, _)| plan.layers[*i].layer.parameters()).collect();
    let pruned: f64 = shared.iter().zip(&sizes).map(|((_, share), size)| share * *size as f64).sum();
    let fractions = if plan.allocation == Allocation::Erk {
        let layers: Vec<&Layer> = shared.iter().map(|(i, _)| &plan.layers[*i].layer).collect();
        by_shape(&layers, pruned)
    } else {
        let mut scores = Vec::with_capacity(shared.len());
        for (i, _) in &shared {
            let magnitudes: Vec<f32> = weights_of(&plan.layers[*i].layer, subject)?.iter().map(|w| w.abs()).collect();
            scores.push(if plan.allocation == Allocation::Lamp { relative(magnitudes) } else { magnitudes });
        }
        by_threshold(&scores, pruned.round() as usize)
    };
    let mut plan = plan.clone();
    for (((i, _), fraction), size) in shared.iter().zip(fractions).zip(sizes) {
        // Something must be left of every layer.
        let most = 1.0 - 1.0 / size.max(1) as f64;
        if fraction > most {
            ctx.warn(
                plan.layers[*i].layer.name.clone(),
                "the allocation leaves nothing of it but one weight; take another, or an override",
            );
        }
        plan.layers[*i].treatment.sparsity = Sparsity::Fraction(fraction.min(most) as f32);
    }
    Ok(plan)
}

fn share(sparsity: Sparsity) -> Option<f64> {
    if let Sparsity::Fraction(share) = sparsity { Some(f64::from(share)) } else { None }
}

/// The square of each magnitude over those of all that are not smaller; of equal ones the later counts as larger.
fn relative(magnitudes: Vec<f32>) -> Vec<f32> {
    let mut order: Vec<usize> = (0..magnitudes.len()).collect();
    order.sort_unstable_by(|a, b| magnitudes[*b].total_cmp(&magnitudes[*a]).then(b.cmp(a)));
    let (mut scores, mut left) = (magnitudes, 0.0_f64);
    for i in order {
        let square = f64::from(scores[i]) * f64::from(scores[i]);
        left += square;
        scores[i] = if left > 0.0 { (square / left) as f32 } else { 0.0 };
    }
    scores
}

/// The share of each layer below the threshold that `pruned` of all scores lie below.
fn by_threshold(scores: &[Vec<f32>], pruned: usize) -> Vec<f64> {
    let mut all: Vec<(f32, u32)> = Vec::with_capacity(scores.iter().map(Vec::len).sum());
    for (layer, scores) in (0..).zip(scores) {
        all.extend(scores.iter().map(|s| (*s, layer)));
    }
    let count = pruned.min(all.len());
    let mut below = vec![0_usize; scores.len()];
    if count > 0 {
        all.select_nth_unstable_by(count - 1, |a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        all.iter().take(count).for_each(|(_, layer)| below[*layer as usize] += 1);
    }
    below.iter().zip(scores).map(|(n, scores)| *n as f64 / scores.len().max(1) as f64).collect()
}

/// Shares that keep of each layer as many weights as it has outputs, inputs and places of a kernel, in one
/// proportion: small layers keep more.
fn by_shape(layers: &[&Layer], pruned: f64) -> Vec<f64> {
    let sizes: Vec<f64> = layers.iter().map(|l| l.parameters() as f64).collect();
    let weights: Vec<f64> = layers.iter().map(|l| l.shape.iter().sum::<usize>() as f64).collect();
    let keep = sizes.iter().sum::<f64>() - pruned;
    let mut whole = vec![false; layers.len()];
    loop {
        let full: f64 = sizes.iter().zip(&whole).filter(|(_, w)| **w).map(|(s, _)| s).sum();
        let rest: f64 = weights.iter().zip(&whole).filter(|(_, w)| !**w).map(|(s, _)| s).sum();
        let per_weight = if rest > 0.0 { (keep - full).max(0.0) / rest } else { 0.0 };
        let mut changed = false;
        for i in 0..layers.len() {
            if !whole[i] && per_weight * weights[i] > sizes[i] {
                (whole[i], changed) = (true, true);
            }
        }
        if !changed {
            let share = |i: usize| if whole[i] { 0.0 } else { (1.0 - per_weight * weights[i] / sizes[i].max(1.0)).max(0.0) };
            return (0..layers.len()).map(share).collect();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph::LayerKind;

    #[test]
    fn relative_scores_are_those_of_the_paper() {
        // Squares 9, 4, 1: 9/9, 4/13, 1/14.
        let scores = relative(vec![1.0, 3.0, 2.0]);
        for (score, wanted) in scores.iter().zip([1.0 / 14.0, 1.0, 4.0 / 13.0]) {
            assert!((score - wanted).abs() < 1e-6);
        }
        assert_eq!(relative(vec![0.0, 0.0]), [0.0, 0.0]);
    }

    #[test]
    fn one_threshold_prunes_as_much_as_was_asked() {
        let layers = [vec![0.1, 0.2, 0.9, 0.8], vec![0.3, 0.7]];
        assert_eq!(by_threshold(&layers, 3), [0.5, 0.5]);
        assert_eq!(by_threshold(&layers, 0), [0.0, 0.0]);
        assert_eq!(by_threshold(&layers, 99), [1.0, 1.0]);
    }

    #[test]
    fn shapes_keep_small_layers_and_the_whole_share() {
        let (small, large) = (Layer::lone(LayerKind::Conv, &[8, 3, 3, 3]), Layer::lone(LayerKind::Conv, &[64, 64, 3, 3]));
        let total = (small.parameters() + large.parameters()) as f64;
        let shares = by_shape(&[&small, &large], 0.9 * total);
        let pruned = shares[0] * small.parameters() as f64 + shares[1] * large.parameters() as f64;
        assert!((pruned - 0.9 * total).abs() < 1e-6);
        assert_eq!(shares[0], 0.0, "as small as it is, all of it is kept");
    }
}
