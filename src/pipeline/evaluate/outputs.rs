//! What a model's outputs mean, and how far two sets of them are apart.

use crate::engine::graph::{Model, producers};

/// What the last axis of an output holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    Logits,
    Probabilities,
    LogProbabilities,
}

impl OutputKind {
    /// Read off the operator that produces the model's first output.
    #[must_use]
    pub fn of(model: &Model) -> Self {
        let producers = producers(model);
        let op = model.outputs.first().and_then(|p| producers.get(&p.wire)).map_or("", |i| model.nodes[*i].op.as_str());
        match op {
            "Softmax" => Self::Probabilities,
            "LogSoftmax" => Self::LogProbabilities,
            _ => Self::Logits,
        }
    }

    /// Natural-log probabilities of one row, in f64.
    #[must_use]
    pub fn log_probabilities(self, row: &[f32]) -> Vec<f64> {
        match self {
            Self::Probabilities => row.iter().map(|p| f64::from(*p).max(1e-12).ln()).collect(),
            Self::LogProbabilities => row.iter().map(|p| f64::from(*p)).collect(),
            Self::Logits => {
                let top = row.iter().fold(f64::NEG_INFINITY, |m, v| m.max(f64::from(*v)));
                let sum: f64 = row.iter().map(|v| (f64::from(*v) - top).exp()).sum();
                row.iter().map(|v| f64::from(*v) - top - sum.ln()).collect()
            }
        }
    }
}

/// KL(p ‖ q) in nats of two rows of log probabilities.
#[must_use]
pub fn kl(log_p: &[f64], log_q: &[f64]) -> f64 {
    log_p.iter().zip(log_q).map(|(p, q)| if *p == f64::NEG_INFINITY { 0.0 } else { p.exp() * (p - q) }).sum()
}

/// Cosine of the angle between two rows; 1 where both are zero.
#[must_use]
pub fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |x: &[f32], y: &[f32]| x.iter().zip(y).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    let norms = (dot(a, a) * dot(b, b)).sqrt();
    if norms == 0.0 { f64::from(u8::from(dot(a, a) == dot(b, b))) } else { dot(a, b) / norms }
}

/// Index of the largest value; the lowest index wins a tie.
#[must_use]
pub fn top1(row: &[f32]) -> usize {
    row.iter().enumerate().fold((0, f32::NEG_INFINITY), |best, (i, v)| if *v > best.1 { (i, *v) } else { best }).0
}

/// Whether `label` is among the five largest; the lowest index wins a tie.
#[must_use]
pub fn in_top5(row: &[f32], label: usize) -> bool {
    let Some(&score) = row.get(label) else { return false };
    let before = row.iter().enumerate().filter(|(i, v)| **v > score || (**v == score && *i < label)).count();
    before < 5
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn divergence_of_the_oracle() {
        let rows = [[2.0, 1.0, 0.1], [1.8, 1.2, 0.0]].map(|r| OutputKind::Logits.log_probabilities(&r));
        assert!((kl(&rows[0], &rows[1]) - 0.015_034_507_8).abs() < 1e-8);
        assert!((cosine(&[0.12, -0.5, 0.33, 0.9], &[0.1, -0.5, 0.3, 0.9]) - 0.999_494_6).abs() < 1e-6);
    }

    #[test]
    fn ties_go_to_the_lower_class() {
        assert_eq!(top1(&[1.0, 3.0, 3.0]), 1);
        let row = [1.0; 6];
        assert!(in_top5(&row, 4) && !in_top5(&row, 5) && !in_top5(&row, 9));
    }
}
