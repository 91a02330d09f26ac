//! Distance from the geometric median (FPGM, He et al. 2019, arXiv 1811.00250): rows near the middle of the others
//! can be replaced by them, however large they are.

/// `Σ_k ‖row − row_k‖₂` of each row.
#[must_use]
pub fn scores(weights: &[f32], row_len: usize) -> Vec<f64> {
    let rows: Vec<&[f32]> = weights.chunks(row_len.max(1)).collect();
    let mut scores = vec![0.0; rows.len()];
    for (i, a) in rows.iter().enumerate() {
        for (j, b) in rows.iter().enumerate().skip(i + 1) {
            let distance = a.iter().zip(*b).map(|(x, y)| f64::from(x - y).powi(2)).sum::<f64>().sqrt();
            scores[i] += distance;
            scores[j] += distance;
        }
    }
    scores
}
