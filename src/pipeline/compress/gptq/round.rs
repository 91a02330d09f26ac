use crate::engine::kernels::affine::AffineParameters;
use crate::engine::kernels::factor::dot;
use crate::engine::kernels::tasks;
use crate::pipeline::compress::grids::nearest;
use crate::pipeline::compress::system::{Feedback, System};

/// Codes of the rows of `wanted` [rows × width], the error of each column passed on. `grid` gives the grid of a row
/// and column; weights that `pruned` names become zero.
pub(in crate::pipeline::compress) fn round(
    wanted: &[f64],
    system: &System,
    feedback: &Feedback,
    grid: &(dyn Fn(usize, usize) -> AffineParameters + Sync),
    pruned: &(dyn Fn(usize, usize) -> bool + Sync),
) -> Vec<i32> {
    let n = system.width;
    let mut codes = vec![0; wanted.len()];
    tasks(codes.chunks_mut(n.max(1)).zip(wanted.chunks(n.max(1))), &|row, (codes, wanted)| {
        let mut errors = vec![0.0; n];
        for (k, &col) in system.order.iter().enumerate() {
            let grid = grid(row, col);
            let value = wanted[col] + dot(&errors[..k], feedback.row(k));
            let (code, level) = if pruned(row, col) { (grid.zero_point, 0.0) } else { nearest(&grid, value) };
            codes[col] = code;
            errors[k] = wanted[col] - level;
        }
    });
    codes
}
