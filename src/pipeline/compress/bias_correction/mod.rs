//! Setting right what the outputs of a layer are like on the whole: their mean, in the bias (Nagel et al. 2019, arXiv
//! 1906.04721, §4.2, from data), and their deviation, in the scales of the weights (the statistics correction of
//! Frantar and Alistarh 2022, arXiv 2208.11580, §A.4). Limits: a mean set right in a badly damaged layer brings it
//! nearer to a constant; pair it with the deviation, or with least squares.

mod expected;

pub(super) use expected::analytic;

use crate::engine::kernels::factor::dot;
use crate::pipeline::calibrate::Moments;

/// How far a deviation is set right at most.
const MOST: f64 = 4.0;

/// What is missing of the mean of each output of a group: `E[W·x] − E[Ŵ·x̂]`. Where x had channels that x̂ lost, its
/// outputs tell the first.
pub(super) fn missing(original: &[f32], made: &[f32], moments: &Moments) -> Vec<f64> {
    let mean = |rows: &[f32], of: &[f64], row: usize| -> f64 {
        rows[row * of.len()..(row + 1) * of.len()].iter().zip(of).map(|(w, x)| f64::from(*w) * x).sum()
    };
    let rows = original.len() / moments.width.max(1);
    let wanted = |row: usize| {
        if moments.is_cut {
            moments.output_mean.get(row).copied().unwrap_or_default()
        } else {
            mean(original, &moments.mean, row)
        }
    };
    (0..rows).map(|row| wanted(row) - mean(made, &moments.made_mean, row)).collect()
}

/// By how much the weights of each output of a group must be multiplied for it to vary as it did, within bounds; 1
/// where nothing varies. `covariance` is that of x̂.
pub(super) fn factors(made: &[f32], covariance: &[f64], moments: &Moments) -> Vec<f64> {
    let n = moments.width;
    let outputs = moments.output_mean.iter().zip(&moments.output_square);
    made.chunks(n.max(1))
        .zip(outputs)
        .map(|(row, (mean, square))| {
            let row: Vec<f64> = row.iter().map(|w| f64::from(*w)).collect();
            let varies: f64 =
                row.iter().zip(covariance.chunks(n)).filter(|(w, _)| **w != 0.0).map(|(w, c)| w * dot(&row, c)).sum();
            let wanted = square - mean * mean;
            let factor = (wanted / varies).sqrt();
            if varies > 0.0 && wanted > 0.0 && factor.is_finite() { factor.clamp(1.0 / MOST, MOST) } else { 1.0 }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mean_and_deviation_come_out_right() {
        // Two inputs that vary apart; x̂ is x less a tenth.
        let moments = Moments {
            width: 2,
            count: 10,
            mean: vec![1.0, -2.0],
            made_mean: vec![0.9, -2.1],
            output_mean: vec![0.0, 3.0],
            output_square: vec![4.0, 9.0],
            ..Moments::default()
        };
        let (original, made) = ([1.0, 0.5, 2.0, 1.0], [1.0, 0.0, 2.0, 0.0]);
        assert_eq!(missing(&original, &made, &moments).map_to_cents(), [-90, -180]);
        let factors = factors(&made, &[1.0, 0.0, 0.0, 1.0], &moments);
        assert_eq!(factors, [2.0, 1.0], "the second output was constant");
    }

    trait Cents {
        fn map_to_cents(&self) -> Vec<i32>;
    }

    impl Cents for Vec<f64> {
        fn map_to_cents(&self) -> Vec<i32> {
            self.iter().map(|v| (v * 100.0).round() as i32).collect()
        }
    }
}
