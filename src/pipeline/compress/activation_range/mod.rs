//! Rounding of the data that a layer reads to 8 bits, asymmetric, one scale per tensor: with the
//! calibrated min–max range, or with a range found while the model runs (ONNX
//! `DynamicQuantizeLinear`). Limits: one outlier in the calibration data widens every step.

mod apply;
#[cfg(test)]
mod tests;

pub(super) use apply::ActivationRange;
