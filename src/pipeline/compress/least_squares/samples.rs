use crate::engine::kernels::factor::{add_scaled, dot};
use crate::engine::kernels::tasks;
use crate::pipeline::calibrate::Samples;

/// Steps of the conjugate gradients at most, and the residual, of the first one, at which they stop.
const STEPS: usize = 200;
const DONE: f64 = 1e-10;

/// As [`super::on_support`], from samples and what the original weights made of theirs. For rows so wide that their
/// second moments would not fit in memory; there are seldom as many samples as unknowns, and the ridge decides then.
pub(in crate::pipeline::compress) fn on_samples(made: &mut [f32], samples: &Samples, ridge: f64) {
    let (width, rows, count) = (samples.width, samples.rows, samples.count());
    if count < 2 || width == 0 {
        return;
    }
    let n = count as f64;
    let mean = |of: &[f32], width: usize, i: usize| (0..count).map(|p| f64::from(of[p * width + i])).sum::<f64>() / n;
    let means: Vec<f64> = (0..width).map(|i| mean(&samples.made, width, i)).collect();
    let square = samples.made.iter().enumerate().map(|(i, x)| (f64::from(*x) - means[i % width]).powi(2)).sum::<f64>();
    let ridge = ridge * square / (n * width as f64);
    tasks(made.chunks_mut(width), &|row, made| {
        let support: Vec<usize> = (0..width).filter(|i| made[*i] != 0.0).collect();
        // Columns of the support, centered: a line each.
        let places = support.iter().flat_map(|&i| (0..count).map(move |p| (p, i)));
        let columns: Vec<f64> = places.map(|(p, i)| f64::from(samples.made[p * width + i]) - means[i]).collect();
        let wanted = mean(&samples.outputs, rows, row);
        let mut rest: Vec<f64> = (0..count).map(|p| f64::from(samples.outputs[p * rows + row]) - wanted).collect();
        for (i, line) in support.iter().zip(columns.chunks(count)) {
            add_scaled(-f64::from(made[*i]), line, &mut rest);
        }
        let right: Vec<f64> = columns.chunks(count).map(|line| dot(line, &rest) / n).collect();
        for (i, change) in support.iter().zip(solve(&columns, count, ridge, right)) {
            let value = (f64::from(made[*i]) + change) as f32;
            if value != 0.0 && value.is_finite() {
                made[*i] = value;
            }
        }
    });
}

/// `(X·Xᵀ/n + λI)⁻¹·b` by conjugate gradients, X [unknowns × count].
fn solve(columns: &[f64], count: usize, ridge: f64, right: Vec<f64>) -> Vec<f64> {
    let mut found = vec![0.0; right.len()];
    let mut residual = right;
    let mut direction = residual.clone();
    let mut size = dot(&residual, &residual);
    let done = DONE * size;
    for _ in 0..STEPS {
        if size <= done || size == 0.0 {
            break;
        }
        let mut outputs = vec![0.0; count];
        direction.iter().zip(columns.chunks(count)).for_each(|(d, line)| add_scaled(*d, line, &mut outputs));
        let image: Vec<f64> =
            direction.iter().zip(columns.chunks(count)).map(|(d, line)| dot(line, &outputs) / count as f64 + ridge * d).collect();
        let step = size / dot(&direction, &image);
        if !step.is_finite() {
            break;
        }
        add_scaled(step, &direction, &mut found);
        add_scaled(-step, &image, &mut residual);
        let next = dot(&residual, &residual);
        direction.iter_mut().zip(&residual).for_each(|(d, r)| *d = r + next / size * *d);
        size = next;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::compress::least_squares::on_support;

    #[test]
    fn samples_and_moments_give_the_same() {
        let (width, rows, count) = (6, 2, 40);
        let x = |p: usize, i: usize| (0.9 * i as f64 + 0.31 * (p * p) as f64).cos() + 0.2 * (p as f64 * 0.1).sin();
        let original: Vec<f64> = (0..rows * width).map(|i| (i as f64 * 0.77).sin()).collect();
        let output = |p: usize, row: usize| (0..width).map(|i| original[row * width + i] * x(p, i)).sum::<f64>();
        let samples = Samples {
            width,
            rows,
            made: (0..count * width).map(|i| x(i / width, i % width) as f32).collect(),
            outputs: (0..count * rows).map(|i| output(i / rows, i % rows) as f32).collect(),
        };
        let mean = |i: usize| (0..count).map(|p| x(p, i)).sum::<f64>() / count as f64;
        let moment =
            |i: usize, j: usize| (0..count).map(|p| (x(p, i) - mean(i)) * (x(p, j) - mean(j))).sum::<f64>() / count as f64;
        let h: Vec<f64> = (0..width * width).map(|k| moment(k / width, k % width)).collect();
        let pruned: Vec<f64> = original.iter().enumerate().map(|(i, w)| if i % 3 == 0 { 0.0 } else { *w }).collect();
        let mut exact = pruned.clone();
        on_support(&mut exact, &original, &h, &h, width, 0.01);
        let mut made: Vec<f32> = pruned.iter().map(|w| *w as f32).collect();
        on_samples(&mut made, &samples, 0.01);
        for (a, b) in made.iter().zip(&exact) {
            assert!((f64::from(*a) - b).abs() < 1e-4, "{a} {b}");
        }
        assert!(made.iter().zip(&pruned).any(|(a, b)| (f64::from(*a) - b).abs() > 1e-3), "something was solved for");
    }
}
