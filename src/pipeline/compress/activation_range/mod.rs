//! Rounding of the data that a layer reads to 4, 8 or 16 bits: with a range that calibration found and an
//! observer chose ([`crate::engine::formats::observe`]), one scale per tensor, or with a range found while
//! the model runs, per tensor or per token. Ranges of softmax, sigmoid and tanh are those of the function.
//! Limits: with min–max one outlier in the calibration data widens every step; other observers clip, which
//! biases the layer's output.

mod apply;
#[cfg(test)]
mod tests;

pub(super) use apply::ActivationRange;
