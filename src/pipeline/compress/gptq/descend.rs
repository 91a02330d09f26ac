use crate::engine::kernels::affine::AffineParameters;
use crate::engine::kernels::factor::{add_scaled, dot};
use crate::engine::kernels::tasks;
use crate::pipeline::compress::grids::nearest;
use crate::pipeline::compress::system::System;

/// Goes through the columns again and again, at most `sweeps` times, and sets each code to the level that is best
/// while the others stay: `(Q − W)·H·(Q − W)ᵀ` never grows. Weights that `pruned` names stay zero.
pub(in crate::pipeline::compress) fn descend(
    codes: &mut [i32],
    wanted: &[f64],
    system: &System,
    sweeps: u8,
    grid: &(dyn Fn(usize, usize) -> AffineParameters + Sync),
    pruned: &(dyn Fn(usize, usize) -> bool + Sync),
) {
    let n = system.width;
    tasks(codes.chunks_mut(n.max(1)).zip(wanted.chunks(n.max(1))), &|row, (codes, wanted)| {
        let grids: Vec<AffineParameters> = (0..n).map(|col| grid(row, col)).collect();
        let mut levels: Vec<f64> =
            codes.iter().zip(&grids).map(|(q, g)| f64::from(q - g.zero_point) * f64::from(g.scale)).collect();
        let errors: Vec<f64> = levels.iter().zip(wanted).map(|(q, w)| q - w).collect();
        let mut residual: Vec<f64> = (0..n).map(|col| dot(&errors, &system.h[col * n..(col + 1) * n])).collect();
        for _ in 0..sweeps {
            let mut moved = false;
            for col in (0..n).filter(|col| !pruned(row, *col)) {
                let curvature = system.h[col * n + col];
                if curvature <= 0.0 {
                    continue;
                }
                let (code, level) = nearest(&grids[col], levels[col] - residual[col] / curvature);
                if code != codes[col] {
                    add_scaled(level - levels[col], &system.h[col * n..(col + 1) * n], &mut residual);
                    (codes[col], levels[col], moved) = (code, level, true);
                }
            }
            if !moved {
                break;
            }
        }
    });
}
