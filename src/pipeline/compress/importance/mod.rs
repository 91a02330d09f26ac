//! What weights and channels count: one number each, the least of which goes first. A file for each family; pure
//! functions on weights and on what calibration saw. Weights lie in rows, one per output channel.

pub mod activation;
pub mod batch_norm;
pub mod gradient;
pub mod lamp;
pub mod magnitude;
pub mod median;
pub mod second_order;
pub mod stability;
#[cfg(test)]
mod tests;

/// Scores of several tensors that bear the same channels, added up, each counted in units of its own mean: none
/// outweighs the others by the size of its numbers.
#[must_use]
pub fn together(scores: &[Vec<f64>]) -> Vec<f64> {
    let mut sums = vec![0.0; scores.iter().map(Vec::len).max().unwrap_or(0)];
    for one in scores {
        let mean = one.iter().sum::<f64>() / one.len().max(1) as f64;
        // Where all count nothing, none counts more than another.
        let unit = if mean.abs() > 0.0 { mean.abs() } else { 1.0 };
        sums.iter_mut().zip(one).for_each(|(sum, score)| *sum += score / unit);
    }
    sums
}

/// The places of the `count` least scores, in order; of equals the earlier ones.
#[must_use]
pub fn least(scores: &[f64], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    if count == 0 {
        return Vec::new();
    }
    if count < order.len() {
        order.select_nth_unstable_by(count - 1, |a, b| scores[*a].total_cmp(&scores[*b]).then(a.cmp(b)));
        order.truncate(count);
    }
    order.sort_unstable();
    order
}

/// A score per channel from one per row: a channel of several rows has their sum.
#[must_use]
pub fn by_channel(rows: &[f64], places: &[Vec<usize>]) -> Vec<f64> {
    places.iter().map(|places| places.iter().filter_map(|row| rows.get(*row)).sum()).collect()
}
