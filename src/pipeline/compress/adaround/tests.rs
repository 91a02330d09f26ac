use super::search::beta;
use super::{Search, on_moments, on_samples};
use crate::engine::kernels::affine::AffineParameters;
use crate::pipeline::calibrate::Samples;

const N: usize = 8;

fn grid(row: usize) -> AffineParameters {
    let absmax = (0..N).fold(0.0, |m: f64, j| m.max(weight(row, j).abs()));
    AffineParameters { scale: (2.0 * absmax / 7.0) as f32, zero_point: 0, low: -4, high: 3 }
}

fn weight(row: usize, j: usize) -> f64 {
    0.5 * (1.3 * row as f64 + 0.7 * j as f64).sin()
}

fn input(j: usize, k: usize) -> f64 {
    let (j, k) = (j as f64, k as f64);
    ((0.9 * j + 0.31 * k * k).cos() + 0.3 * (0.5 * j * k).sin()) * if j == 2.0 { 4.0 } else { 1.0 }
}

fn wanted() -> Vec<f64> {
    (0..32).map(|i| weight(i / N, i % N)).collect()
}

/// ‖(W − Ŵ)·X‖² of the toy of the reference.
fn error(codes: &[i32]) -> f64 {
    let off = |row: usize, j: usize| weight(row, j) - f64::from(codes[row * N + j]) * f64::from(grid(row).scale);
    (0..64).map(|i| (0..N).map(|j| off(i / 16, j) * input(j, i % 16)).sum::<f64>().powi(2)).sum()
}

#[test]
fn undecided_weights_are_told_apart_more_and_more_sharply() {
    // The schedule of the paper's own program, 10,000 steps.
    for (step, wanted) in [(2000, 20.0), (4000, 17.364), (6000, 11.0), (8000, 4.636)] {
        assert!((beta(step, 10_000) - wanted).abs() < 1e-3, "{step}: {}", beta(step, 10_000));
    }
}

#[test]
fn comes_near_the_best_there_is_and_is_the_same_again() {
    let wanted = wanted();
    let sum = |i: usize, j: usize| (0..16).map(|k| input(i, k) * input(j, k)).sum::<f64>() / 16.0;
    let h: Vec<f64> = (0..N * N).map(|i| sum(i / N, i % N)).collect();
    let grid = |row: usize, _: usize| grid(row);
    let search = Search { wanted: &wanted, width: N, grid: &grid, iterations: 1000, seed: 1 };
    let codes = on_moments(&search, &h);
    // Nearest gives 2.188, the best of all ways up and down 0.290; with so few weights the relaxation stops before.
    assert!(error(&codes) < 0.65, "{}", error(&codes));
    assert_eq!(codes, on_moments(&search, &h));
    let samples = Samples {
        width: N,
        rows: 4,
        made: (0..16 * N).map(|i| input(i % N, i / N) as f32).collect(),
        outputs: (0..64).map(|i| (0..N).map(|j| weight(i % 4, j) * input(j, i / 4)).sum::<f64>() as f32).collect(),
    };
    let free = (f32::NEG_INFINITY, f32::INFINITY);
    let sampled = on_samples(&search, &samples, &[0.0; 4], free, false).0;
    assert!(error(&sampled) < 0.65, "{}", error(&sampled));
    // Behind a clip that lets nothing through every choice is as good: weights stay where they were.
    let closed = on_samples(&search, &samples, &[0.0; 4], (1e6, 2e6), false).0;
    let nearest: Vec<i32> =
        wanted.iter().enumerate().map(|(i, w)| (w / f64::from(grid(i / N, 0).scale)).round().clamp(-4.0, 3.0) as i32).collect();
    assert_eq!(closed, nearest);
}
