//! What the data say: weights by what they are multiplied with (Wanda, Sun et al. 2023, arXiv 2306.11695), channels
//! by how much of them there is, and how often (APoZ, Hu et al. 2016, arXiv 1607.03250).

use crate::pipeline::calibrate::Activity;

/// `|w|·‖x‖₂`: a score per weight. `squares` holds the mean square of the input of each column; rows are cut in
/// `runs` equal runs that read inputs of their own, as those of grouped convolutions do. (The mean instead of the
/// sum over samples scales all scores alike.)
#[must_use]
pub fn wanda(weights: &[f32], row_len: usize, squares: &[f32], runs: usize) -> Vec<f64> {
    let rows = weights.len() / row_len.max(1);
    let rows_of_run = rows.div_ceil(runs.max(1)).max(1);
    let score = |(place, w): (usize, &f32)| {
        let (row, column) = (place / row_len.max(1), place % row_len.max(1));
        let square = squares.get((row / rows_of_run) * row_len + column).copied().unwrap_or(0.0);
        f64::from(w.abs()) * f64::from(square.max(0.0)).sqrt()
    };
    weights.iter().enumerate().map(score).collect()
}

/// Mean |a| of each channel.
#[must_use]
pub fn mean(channels: &[Activity]) -> Vec<f64> {
    channels.iter().map(|seen| seen.magnitude / seen.count.max(1) as f64).collect()
}

/// The share of values of each channel that are not zero.
#[must_use]
pub fn alive(channels: &[Activity]) -> Vec<f64> {
    channels.iter().map(|seen| seen.count.saturating_sub(seen.zeros) as f64 / seen.count.max(1) as f64).collect()
}
