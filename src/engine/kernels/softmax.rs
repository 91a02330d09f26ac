//! Softmax of one row, with the largest element taken off first so that nothing overflows.

fn top(row: &[f32]) -> f32 {
    row.iter().copied().fold(f32::NEG_INFINITY, f32::max)
}

/// In place: `exp(x − max) / Σ`.
pub fn softmax(row: &mut [f32]) {
    let top = top(row);
    let mut sum = 0.0_f32;
    for v in row.iter_mut() {
        *v = (*v - top).exp();
        sum += *v;
    }
    for v in row.iter_mut() {
        *v /= sum;
    }
}

/// In place: `x − max − ln Σ exp(x − max)`.
pub fn log_softmax(row: &mut [f32]) {
    let top = top(row);
    let sum: f64 = row.iter().map(|v| f64::from(*v - top).exp()).sum();
    let shift = sum.ln();
    for v in row.iter_mut() {
        *v = (f64::from(*v - top) - shift) as f32;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_to_one_for_large_values() {
        let mut row = [1000.0, 1001.0, 1002.0];
        softmax(&mut row);
        assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        let mut logs = [1000.0, 1001.0, 1002.0];
        log_softmax(&mut logs);
        assert!(row.iter().zip(logs).all(|(p, l)| (p.ln() - l).abs() < 1e-5));
    }
}
