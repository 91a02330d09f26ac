//! Scales of batch normalization (network slimming, Liu et al. 2017, arXiv 1708.06519): a channel that is scaled
//! to nothing says nothing. Worth most where training drove the scales apart.

/// |γ| of each channel.
#[must_use]
pub fn scores(scale: &[f32]) -> Vec<f64> {
    scale.iter().map(|gamma| f64::from(gamma.abs())).collect()
}
