//! Weights that pruning left, solved for anew: per output channel the least squares of what the original network
//! gives, with a ridge towards the weights as they are (Hubara et al. and Frantar et al. call it reconstruction).
//! What counts most in pruning without retraining. Limits: one system per output channel; needs more places than a
//! row has weights left. From second moments where those fit in memory ([`on_support`]), else by conjugate gradients on
//! the samples themselves ([`on_samples`]); where few are left, exchanged for better ones first ([`pursue`]).
//! The same of layers whose network lost channels, all of their weights towards what the whole network gave ([`on_all`]).

mod moments;
mod pursuit;
mod samples;
mod whole;

pub(super) use moments::on_support;
pub(super) use pursuit::{Cells, pursue};
pub(super) use samples::on_samples;
pub(super) use whole::on_all;

/// What a symmetric matrix `h` [width × width] holds for the places of `support` alone: its lower triangle.
fn on(h: &[f64], width: usize, support: &[usize]) -> Vec<f64> {
    let n = support.len();
    let mut out = vec![0.0; n * n];
    for (k, (line, i)) in out.chunks_mut(n.max(1)).zip(support).enumerate() {
        let own = &h[i * width..(i + 1) * width];
        line.iter_mut().zip(&support[..=k]).for_each(|(v, j)| *v = own[*j]);
    }
    out
}
