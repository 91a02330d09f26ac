//! Second moments of a layer as its systems of equations want them: centered where the bias is set right in the end.

use crate::pipeline::calibrate::Moments;
use crate::pipeline::configure::Correction;

/// Which means second moments are reduced by.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    /// `E[x̂]·E[x̂]ᵀ`.
    Made,
    /// `E[x]·E[x̂]ᵀ`.
    Cross,
    /// None.
    Plain,
}

/// Moments `of` inputs [width × width], less the product of their means.
pub(super) fn covariance(of: &[f64], moments: &Moments, side: Side) -> Vec<f64> {
    let left = match side {
        Side::Made => &moments.made_mean,
        Side::Cross => &moments.mean,
        Side::Plain => return of.to_vec(),
    };
    let n = moments.width.max(1);
    of.iter().enumerate().map(|(i, v)| v - left[i / n] * moments.made_mean[i % n]).collect()
}

/// The covariance of x̂ where the bias is set right in the end, else `E[x̂·x̂ᵀ]`.
pub(super) fn hessian(moments: &Moments, correction: Correction) -> Vec<f64> {
    covariance(&moments.gram, moments, if correction.mends_bias() { Side::Made } else { Side::Plain })
}

/// What the original outputs y have to do with x̂, of networks that lost channels: `E[y·x̂ᵀ]` [rows × width], reduced as
/// [`hessian`] is.
pub(super) fn towards(moments: &Moments, correction: Correction) -> Vec<f64> {
    if !correction.mends_bias() {
        return moments.towards.clone();
    }
    let rows = moments.towards.chunks(moments.width.max(1)).zip(&moments.output_mean);
    rows.flat_map(|(row, y)| row.iter().zip(&moments.made_mean).map(move |(v, x)| v - y * x)).collect()
}
