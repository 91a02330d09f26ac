//! What the loss says (first-order Taylor, Molchanov et al. 2019, arXiv 1906.10771; diagonal Fisher, as in optimal
//! brain damage, LeCun et al. 1990). Gradients are those of single samples, one after the other: squares of their
//! mean would underestimate.

/// `|Σ w·g|` of each row, averaged over samples.
#[must_use]
pub fn taylor(weights: &[f32], row_len: usize, gradients: &[Vec<f32>]) -> Vec<f64> {
    let row_len = row_len.max(1);
    let mut scores = vec![0.0; weights.len().div_ceil(row_len)];
    for sample in gradients {
        for ((score, w), g) in scores.iter_mut().zip(weights.chunks(row_len)).zip(sample.chunks(row_len)) {
            *score += w.iter().zip(g).map(|(w, g)| f64::from(*w) * f64::from(*g)).sum::<f64>().abs();
        }
    }
    averaged(scores, gradients.len())
}

/// `½ w² E[g²]` of each weight.
#[must_use]
pub fn fisher(weights: &[f32], gradients: &[Vec<f32>]) -> Vec<f64> {
    let mut scores = vec![0.0; weights.len()];
    for sample in gradients {
        for ((score, w), g) in scores.iter_mut().zip(weights).zip(sample) {
            *score += 0.5 * (f64::from(*w) * f64::from(*g)).powi(2);
        }
    }
    averaged(scores, gradients.len())
}

fn averaged(mut scores: Vec<f64>, samples: usize) -> Vec<f64> {
    for score in &mut scores {
        *score /= samples.max(1) as f64;
    }
    scores
}
