//! The toy of the reference: W 4 × 8, X 8 × 16, 3 bits per row; figures computed with an independent program.

use super::{choose, descend, round, target};
use crate::engine::kernels::affine::AffineParameters;
use crate::pipeline::compress::grids::nearest;
use crate::pipeline::compress::least_squares::on_support;
use crate::pipeline::compress::system::System;

const N: usize = 8;

fn weights() -> Vec<f64> {
    (0..32).map(|k| 0.5 * (1.3 * (k / N) as f64 + 0.7 * (k % N) as f64).sin()).collect()
}

fn data() -> Vec<f64> {
    let x = |j: usize, k: usize| {
        let (j, k) = (j as f64, k as f64);
        ((0.9 * j + 0.31 * k * k).cos() + 0.3 * (0.5 * j * k).sin()) * if j == 2.0 { 4.0 } else { 1.0 }
    };
    (0..N * 16).map(|i| x(i / 16, i % 16)).collect()
}

fn moments() -> Vec<f64> {
    let x = data();
    let sum = |i: usize, j: usize| (0..16).map(|k| x[i * 16 + k] * x[j * 16 + k]).sum::<f64>() / 8.0;
    (0..N * N).map(|k| sum(k / N, k % N)).collect()
}

fn grids(weights: &[f64]) -> Vec<AffineParameters> {
    // The whole range of codes over ±absmax, as GPTQ's own quantizer has it.
    let grid = |(row, weights): (usize, &[f64])| {
        let absmax = weights.iter().fold(0.0, |m: f64, w| m.max(w.abs()));
        let scale = (2.0 * absmax / 7.0) as f32;
        // The largest weight lies half-way between two levels: the last digit of the scale decides, as it did there.
        let scale = if row == 0 { scale.next_up() } else { scale.next_down() };
        AffineParameters { scale, zero_point: 0, low: -4, high: 3 }
    };
    weights.chunks(N).enumerate().map(grid).collect()
}

/// ‖(W − Ŵ)·X‖².
fn error(weights: &[f64], made: &[f64]) -> f64 {
    let x = data();
    let output = |row: usize, k: usize| (0..N).map(|j| (weights[row * N + j] - made[row * N + j]) * x[j * 16 + k]).sum::<f64>();
    (0..64).map(|i| output(i / 16, i % 16).powi(2)).sum()
}

fn rounded(is_descending: bool, sweeps: u8) -> (Vec<i32>, f64) {
    let (w, system) = (weights(), System::new(moments(), N, is_descending).unwrap());
    let grids = grids(&w);
    let grid = |row: usize, _: usize| grids[row];
    let mut codes = round(&w, &system, &system.feedback(), &grid, &|_, _| false);
    descend(&mut codes, &w, &system, sweeps, &grid, &|_, _| false);
    let made: Vec<f64> = codes.iter().enumerate().map(|(i, q)| f64::from(*q) * f64::from(grids[i / N].scale)).collect();
    (codes, error(&w, &made))
}

#[test]
fn rounds_as_the_reference_does() {
    let w = weights();
    let plain: Vec<f64> = w.iter().enumerate().map(|(i, w)| nearest(&grids(&weights())[i / N], *w).1).collect();
    assert!((error(&w, &plain) - 2.188_205).abs() < 1e-4);
    let (codes, natural) = rounded(false, 0);
    assert_eq!(codes[..N], [0, 2, 3, 3, 1, -2, -4, -4]);
    assert!((natural - 0.383_832).abs() < 1e-4, "{natural}");
    let (_, descending) = rounded(true, 0);
    assert!((descending - 0.521_321).abs() < 1e-4, "{descending}");
}

#[test]
fn descending_never_makes_it_worse() {
    assert!(rounded(true, 20).1 <= rounded(true, 0).1 + 1e-9);
    assert!(rounded(false, 20).1 <= rounded(false, 0).1 + 1e-9);
}

/// Two of every four along the inputs, those with the largest scores.
fn two_of_four(scores: &[f64]) -> Vec<bool> {
    scores
        .chunks(4)
        .flat_map(|four| (0..4).map(|i| (0..4).filter(|j| (four[*j], *j) > (four[i], i)).count() >= 2).collect::<Vec<bool>>())
        .collect()
}

#[test]
fn least_squares_on_the_support_as_the_reference_does() {
    let w = weights();
    let norms: Vec<f64> = data().chunks(16).map(|x| x.iter().map(|v| v * v).sum::<f64>().sqrt()).collect();
    let magnitude: Vec<f64> = w.iter().map(|w| w.abs()).collect();
    let wanda: Vec<f64> = w.iter().enumerate().map(|(i, w)| w.abs() * norms[i % N]).collect();
    for (scores, before, after, of_row_1) in
        [(magnitude, 12.532_942, 1.215_121, [2, 3, 6, 7]), (wanda, 5.897_605, 0.601_481, [1, 3, 6, 7])]
    {
        let pruned = two_of_four(&scores);
        let gone: Vec<usize> = (0..N).filter(|j| pruned[N + j]).collect();
        assert_eq!(gone, of_row_1);
        let mut made: Vec<f64> = w.iter().zip(&pruned).map(|(w, p)| if *p { 0.0 } else { *w }).collect();
        assert!((error(&w, &made) - before).abs() < 1e-4);
        on_support(&mut made, &w, &moments(), &moments(), N, 0.0);
        assert!((error(&w, &made) - after).abs() < 1e-4, "{}", error(&w, &made));
        assert!(made.iter().zip(&pruned).all(|(m, p)| (*m == 0.0) == *p));
    }
}

#[test]
fn pruning_with_feedback_prunes_the_share_and_beats_magnitude() {
    let (w, system) = (weights(), System::new(moments(), N, false).unwrap());
    let made = choose(&w, 0.5, &system, &system.feedback());
    assert_eq!(made.iter().filter(|v| **v == 0.0).count(), 16);
    let mut magnitudes: Vec<f64> = w.iter().map(|w| w.abs()).collect();
    magnitudes.sort_by(f64::total_cmp);
    let smallest: Vec<f64> = w.iter().map(|w| if w.abs() < magnitudes[16] { 0.0 } else { *w }).collect();
    assert!(error(&w, &made) < 0.5 * error(&w, &smallest), "{} {}", error(&w, &made), error(&w, &smallest));
    assert_eq!(choose(&w, 0.0, &system, &system.feedback()), w);
}

#[test]
fn a_target_that_follows_other_inputs_gives_the_same_outputs() {
    // x̂ = x/2: the weights that make of it what the old ones made of x are twice as large.
    let (h, mut w) = (moments(), weights());
    let halved: Vec<f64> = h.iter().map(|v| v / 4.0).collect();
    let cross: Vec<f64> = h.iter().map(|v| v / 2.0).collect();
    let system = System::new(halved, N, true).unwrap();
    target(&mut w, &cross, &system);
    let before = error(&weights().iter().map(|w| 2.0 * w).collect::<Vec<_>>(), &w);
    assert!(before < 0.1 * error(&weights().iter().map(|w| 2.0 * w).collect::<Vec<_>>(), &weights()), "{before}");
}

#[test]
fn systems_that_cannot_be_solved_are_damped_or_said_to_be_none() {
    // All columns alike: of rank one.
    let flat = System::new(vec![1.0; 16], 4, true).unwrap();
    assert!(flat.damping >= 0.01);
    assert!(System::new(vec![0.0; 16], 4, true).is_none());
    assert!(System::new(vec![f64::NAN; 16], 4, true).is_none());
    // A column that was never seen does no harm.
    let mut dead = vec![0.0; 4];
    dead[0] = 2.0;
    let system = System::new(dead, 2, true).unwrap();
    assert!(system.feedback().costs.iter().all(|c| c.is_finite() && *c > 0.0));
}
