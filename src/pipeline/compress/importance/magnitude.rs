//! Sizes of weights (Han et al. 2015, arXiv 1506.02626; of whole filters Li et al. 2017, arXiv 1608.08710).

/// Σ|w| of each row.
#[must_use]
pub fn l1(weights: &[f32], row_len: usize) -> Vec<f64> {
    rows(weights, row_len, |row| row.iter().map(|w| f64::from(w.abs())).sum())
}

/// ‖w‖₂ of each row.
#[must_use]
pub fn l2(weights: &[f32], row_len: usize) -> Vec<f64> {
    rows(weights, row_len, |row| row.iter().map(|w| f64::from(*w).powi(2)).sum::<f64>().sqrt())
}

fn rows(weights: &[f32], row_len: usize, score: impl Fn(&[f32]) -> f64) -> Vec<f64> {
    weights.chunks(row_len.max(1)).map(score).collect()
}
