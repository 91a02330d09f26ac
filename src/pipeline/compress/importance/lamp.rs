//! Layer-adaptive magnitudes (LAMP, Lee et al. 2021, arXiv 2010.07611): `w² / Σ w'²` over the weights of the layer
//! that are not smaller. The largest weight of every layer scores 1, so that one threshold over all layers takes
//! none away whole.

/// A score per weight, 0 to 1; a layer of zeros scores 0 throughout.
#[must_use]
pub fn scores(weights: &[f32]) -> Vec<f64> {
    let square = |w: &f32| f64::from(*w).powi(2);
    let mut order: Vec<usize> = (0..weights.len()).collect();
    order.sort_by(|a, b| weights[*b].abs().total_cmp(&weights[*a].abs()));
    let mut scores = vec![0.0; weights.len()];
    let mut sum = 0.0;
    for equal in order.chunk_by(|a, b| weights[*a].abs() == weights[*b].abs()) {
        sum += equal.iter().map(|i| square(&weights[*i])).sum::<f64>();
        for place in equal.iter().filter(|_| sum > 0.0) {
            scores[*place] = square(&weights[*place]) / sum;
        }
    }
    scores
}
