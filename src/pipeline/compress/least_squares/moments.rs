use super::on;
use crate::engine::kernels::factor::{add_scaled, cholesky, solve};
use crate::engine::kernels::tasks;

/// Solves for the weights of `made` [rows × width] that are not zero: what they make of x̂ comes as near as can be to
/// what `original` makes of x. `h` = `E[x̂·x̂ᵀ]`, `cross` = `E[x·x̂ᵀ]`; `ridge` is a share of the mean of the diagonal.
/// Rows whose system cannot be solved stay as they are.
pub(in crate::pipeline::compress) fn on_support(
    made: &mut [f64],
    original: &[f64],
    h: &[f64],
    cross: &[f64],
    width: usize,
    ridge: f64,
) {
    let mean = (0..width).map(|i| h[i * width + i]).sum::<f64>() / width.max(1) as f64;
    tasks(made.chunks_mut(width.max(1)).zip(original.chunks(width.max(1))), &|_, (made, original)| {
        let support: Vec<usize> = (0..width).filter(|i| made[*i] != 0.0).collect();
        let n = support.len();
        // What is left to explain: W·C − ŵ·H, on the support.
        let mut rest = vec![0.0; width];
        for (i, w) in original.iter().enumerate() {
            add_scaled(*w, &cross[i * width..(i + 1) * width], &mut rest);
        }
        for i in &support {
            add_scaled(-made[*i], &h[i * width..(i + 1) * width], &mut rest);
        }
        let mut right: Vec<f64> = support.iter().map(|i| rest[*i]).collect();
        let mut system = on(h, width, &support);
        (0..n).for_each(|i| system[i * n + i] += ridge * mean);
        if cholesky(&mut system, n).is_err() {
            return;
        }
        solve(&system, n, &mut right);
        for (i, change) in support.iter().zip(right) {
            // A weight that comes out as exactly zero would leave the support.
            let value = made[*i] + change;
            made[*i] = if value == 0.0 { f64::from(f32::MIN_POSITIVE) } else { value };
        }
    });
}
