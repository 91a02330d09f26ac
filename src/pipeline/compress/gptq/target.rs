use crate::engine::kernels::factor::add_scaled;
use crate::engine::kernels::tasks;
use crate::pipeline::compress::system::System;

/// Moves weights W [rows × width] to `W + W·(C − H)·(H + λI)⁻¹`, C = `E[x·x̂ᵀ]`: what they make of x̂ is then nearest
/// to what W makes of x.
pub(in crate::pipeline::compress) fn target(weights: &mut [f64], cross: &[f64], system: &System) {
    let n = system.width;
    let mut moved = vec![0.0; weights.len()];
    tasks(moved.chunks_mut(n.max(1)).zip(weights.chunks(n.max(1))), &|_, (moved, weights)| {
        for (w, (cross, h)) in weights.iter().zip(cross.chunks(n).zip(system.h.chunks(n))) {
            add_scaled(*w, cross, moved);
            add_scaled(-*w, h, moved);
        }
    });
    system.solve(&mut moved);
    weights.iter_mut().zip(&moved).for_each(|(w, m)| *w += m);
}
