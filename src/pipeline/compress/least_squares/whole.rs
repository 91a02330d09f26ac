use crate::engine::kernels::factor::add_scaled;
use crate::engine::kernels::tasks;
use crate::pipeline::compress::system::System;

/// Solves for all of `weights` W [rows × width]: what they make of x̂ comes as near as can be to y. `towards` is
/// `E[y·x̂ᵀ]` [rows × width] and `h` = `E[x̂·x̂ᵀ]`, both centered or neither; `system` is that of `h` and damps towards
/// the weights as they are. Weights of inputs that were never seen to change stay.
pub(in crate::pipeline::compress) fn on_all(weights: &mut [f64], towards: &[f64], h: &[f64], system: &System) {
    let n = system.width.max(1);
    let mut moved = towards.to_vec();
    tasks(moved.chunks_mut(n).zip(weights.chunks(n)), &|_, (moved, weights)| {
        weights.iter().zip(h.chunks(n)).for_each(|(w, h)| add_scaled(-*w, h, moved));
    });
    system.solve(&mut moved);
    weights.iter_mut().zip(&moved).for_each(|(w, m)| *w += m);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    /// What two lost inputs gave is regained from three that go with them; a dead one keeps its weight.
    #[test]
    fn what_is_left_takes_over_what_is_gone() {
        let (count, width) = (200, 4);
        let mut random = Random::new(5);
        let free: Vec<f64> = (0..3 * count).map(|_| f64::from(random.normal())).collect();
        let left = |i: usize, p: usize| if i < 3 { free[i * count + p] } else { 0.0 };
        // y = 1·x₀ + 2·x₁ + 0.5·x₂ + (x₀ − x₁) + 3·x₂, of which the last two terms are of lost inputs.
        let y = |p: usize| 2.0 * left(0, p) + left(1, p) + 3.5 * left(2, p);
        let sum = |f: &dyn Fn(usize) -> f64| (0..count).map(f).sum::<f64>() / count as f64;
        let h: Vec<f64> = (0..width * width).map(|k| sum(&|p| left(k / width, p) * left(k % width, p))).collect();
        let towards: Vec<f64> = (0..width).map(|i| sum(&|p| y(p) * left(i, p))).collect();
        let system = System::new(h.clone(), width, false).unwrap();
        let mut weights = vec![1.0, 2.0, 0.5, 7.0];
        on_all(&mut weights, &towards, &h, &system);
        for (w, wanted) in weights.iter().zip([2.0, 1.0, 3.5, 7.0]) {
            assert!((w - wanted).abs() < 0.05, "{weights:?}");
        }
    }
}
