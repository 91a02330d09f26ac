//! Optimal brain surgeon (Hassibi & Stork 1993; layer by layer as in OBC, arXiv 2208.11580): what the output of a
//! row loses when a weight goes and the others make up for it.

/// `½ w² / [H⁻¹]_jj` of each weight of a row; `inverse` is H⁻¹, row-major. A weight of which the Hessian says
/// nothing (its entry is not positive) costs nothing.
#[must_use]
pub fn saliency(row: &[f64], inverse: &[f64]) -> Vec<f64> {
    let diagonal = |j: usize| inverse.get(j * row.len() + j).copied().unwrap_or(0.0);
    row.iter().enumerate().map(|(j, w)| if diagonal(j) > 0.0 { 0.5 * w * w / diagonal(j) } else { 0.0 }).collect()
}

/// The row without weight `gone`, the others moved so that the output changes least.
#[must_use]
pub fn without(row: &[f64], inverse: &[f64], gone: usize) -> Vec<f64> {
    let at = |i: usize, j: usize| inverse.get(i * row.len() + j).copied().unwrap_or(0.0);
    let (Some(w), pivot) = (row.get(gone), at(gone, gone)) else { return row.to_vec() };
    let step = if pivot > 0.0 { w / pivot } else { 0.0 };
    let moved = row.iter().enumerate().map(|(i, own)| if i == gone { 0.0 } else { own - step * at(i, gone) });
    moved.collect()
}
