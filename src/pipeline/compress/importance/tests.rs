use super::*;
use crate::pipeline::calibrate::Activity;

fn near(found: &[f64], wanted: &[f64]) {
    assert_eq!(found.len(), wanted.len());
    for (a, b) in found.iter().zip(wanted) {
        assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{found:?} is not {wanted:?}");
    }
}

#[test]
fn rows_are_sized_and_told_from_each_other() {
    let weights = [3.0, -4.0, 0.0, 0.0, 1.0, 0.0];
    near(&magnitude::l1(&weights, 2), &[7.0, 0.0, 1.0]);
    near(&magnitude::l2(&weights, 2), &[5.0, 0.0, 1.0]);
    let between = (4.0_f64 + 16.0).sqrt();
    near(&median::scores(&weights, 2), &[5.0 + between, 6.0, 1.0 + between]);
    near(&batch_norm::scores(&[-2.0, 0.5]), &[2.0, 0.5]);
}

#[test]
fn lamp_keeps_the_largest_of_every_layer() {
    near(&lamp::scores(&[1.0, -2.0, 2.0, 0.0]), &[1.0 / 9.0, 0.5, 0.5, 0.0]);
    near(&lamp::scores(&[0.0, 0.0]), &[0.0, 0.0]);
    near(&lamp::scores(&[0.001]), &[1.0]);
}

/// The matrix and the data of the reference: `W = ½ sin(1.3i + 0.7j)` (4×8), `X = cos(0.9j + 0.31k²) + 0.3 sin(0.5jk)`
/// (8×16), row 2 of X four times as large.
fn reference() -> (Vec<f32>, Vec<f32>) {
    let weights = (0..32).map(|p| (0.5 * (1.3 * f64::from(p / 8) + 0.7 * f64::from(p % 8)).sin()) as f32).collect();
    let x = |j: i32, k: i32| {
        let value = (0.9 * f64::from(j) + 0.31 * f64::from(k * k)).cos() + 0.3 * (0.5 * f64::from(j * k)).sin();
        if j == 2 { 4.0 * value } else { value }
    };
    let square = |j: i32| ((0..16).map(|k| x(j, k).powi(2)).sum::<f64>() / 16.0) as f32;
    (weights, (0..8).map(square).collect())
}

#[test]
fn wanda_prunes_what_others_prune() {
    let (weights, squares) = reference();
    let pruned = |scores: &[f64]| -> Vec<usize> {
        let row = &scores[8..16];
        (0..2).flat_map(|g| least(&row[4 * g..4 * g + 4], 2).into_iter().map(move |i| 4 * g + i)).collect()
    };
    let sizes: Vec<f64> = weights.iter().map(|w| f64::from(w.abs())).collect();
    assert_eq!(pruned(&sizes), [2, 3, 6, 7]);
    assert_eq!(pruned(&activation::wanda(&weights, 8, &squares, 1)), [1, 3, 6, 7]);
}

#[test]
fn groups_of_rows_read_inputs_of_their_own() {
    let scores = activation::wanda(&[1.0, 2.0, 1.0, 2.0], 2, &[1.0, 4.0, 9.0, 0.0], 2);
    near(&scores, &[1.0, 4.0, 3.0, 0.0]);
}

#[test]
fn the_surgeon_agrees_with_the_reference() {
    let (hessian, row) = ([2.0, 0.8, 0.2, 0.8, 1.5, -0.3, 0.2, -0.3, 1.0], [0.5, -0.4, 0.3]);
    let inverse = inverted(&hessian);
    near(&second_order::saliency(&row, &inverse), &[0.179_432_6, 0.082_612_2, 0.038_593_2].map(|s: f64| s));
    near(&second_order::without(&row, &inverse, 2), &[0.568_644_1, -0.496_610_2, 0.0]);
    near(&second_order::saliency(&[1.0], &[0.0]), &[0.0]);
}

/// By cofactors.
fn inverted(h: &[f64; 9]) -> Vec<f64> {
    let minor = |i: usize, j: usize| {
        let rest: Vec<f64> = (0..9).filter(|p| p / 3 != i && p % 3 != j).map(|p| h[p]).collect();
        (rest[0] * rest[3] - rest[1] * rest[2]) * if (i + j).is_multiple_of(2) { 1.0 } else { -1.0 }
    };
    let determinant: f64 = (0..3).map(|j| h[j] * minor(0, j)).sum();
    (0..9).map(|p| minor(p % 3, p / 3) / determinant).collect()
}

#[test]
fn stability_is_optimal_brain_damage_of_small_steps() {
    let (h, w, sigma) = ([2.0, 0.8, 0.2, 0.8, 1.5, -0.3, 0.2, -0.3, 1.0], [0.5, -0.4, 0.3], 0.1);
    let loss = |step: &[f64]| -> f64 { (0..9).map(|p| 0.5 * h[p] * step[p / 3] * step[p % 3]).sum() };
    let signs = |bits: usize| (0..3).map(move |i| if bits >> i & 1 == 0 { 1.0 } else { -1.0 });
    let all: Vec<f64> = (0..8).map(|b| loss(&signs(b).zip(w).map(|(e, w)| sigma * e * w).collect::<Vec<_>>())).collect();
    let found = stability::estimate(&all);
    near(&[found.mean], &[0.004_15]);
    let added: Vec<f64> = (0..8).map(|b| loss(&signs(b).map(|e| sigma * e).collect::<Vec<_>>())).collect();
    near(&[stability::estimate(&added).mean], &[0.0225]);
    assert!(found.standard_error > 0.0 && stability::estimate(&all[..1]).standard_error == 0.0);
    assert_eq!(stability::estimate(&[]), stability::Stability::default());
    let drawn: Vec<f32> = (0..64).map(|i| stability::sign(1, 0, i)).collect();
    let positive = drawn.iter().filter(|s| **s > 0.0).count();
    assert!((16..48).contains(&positive) && drawn != (0..64).map(|i| stability::sign(1, 1, i)).collect::<Vec<_>>());
}

#[test]
fn gradients_of_single_samples_do_not_cancel() {
    let gradients = [vec![1.0, 0.0, 2.0, -2.0], vec![-1.0, 0.0, 2.0, -2.0]];
    let weights = [2.0, 5.0, 1.0, 1.0];
    near(&gradient::fisher(&weights, &gradients), &[2.0, 0.0, 2.0, 2.0]);
    near(&gradient::taylor(&weights, 2, &gradients), &[2.0, 0.0]);
    near(&gradient::taylor(&weights, 2, &[]), &[0.0, 0.0]);
}

#[test]
fn channels_of_several_tensors_count_together() {
    near(&together(&[vec![1.0, 3.0], vec![0.0, 0.0], vec![400.0, 0.0]]), &[2.5, 1.5]);
    assert_eq!(least(&[0.5, 0.1, 0.5, 0.1, 0.9], 3), [0, 1, 3]);
    near(&by_channel(&[1.0, 2.0, 4.0], &[vec![0, 2], vec![1], vec![]]), &[5.0, 2.0, 0.0]);
    let seen = [Activity { magnitude: 6.0, zeros: 3, count: 4 }, Activity::default()];
    near(&activation::mean(&seen), &[1.5, 0.0]);
    near(&activation::alive(&seen), &[0.25, 0.0]);
}
