//! Magnitude pruning: the weights of smallest absolute value become zero, either all below a
//! threshold or a given share of the layer (Han et al. 2015, arXiv 1506.02626, without retraining).
//! Limits: uniform shares hurt small layers; without recovery accuracy falls quickly past one half.

mod apply;
#[cfg(test)]
mod tests;

pub use apply::weight_scores;
pub(super) use apply::{Magnitude, prune};
