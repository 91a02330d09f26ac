use crate::engine::kernels::factor::{add_scaled, cholesky, dot, solve};
use crate::engine::kernels::{is_stopped, tasks};

/// How often weights are exchanged.
const ROUNDS: usize = 8;
/// Share of a row's weights that is exchanged at first; halved whenever that does not help.
const FIRST: usize = 8;
/// Rows with more weights than this left take too long.
const MOST: usize = 256;

/// Exchanges pruned weights for others of the same row, as long as the least squares over what is left fall: those
/// that the gradient wants most come in, those whose loss costs least go out (subspace pursuit, Dai and Milenkovic
/// 2009, with the exact cost of a removal). Weights, moments and ridge are those of [`super::on_support`].
pub(in crate::pipeline::compress) fn pursue(
    made: &mut [f64],
    original: &[f64],
    h: &[f64],
    cross: &[f64],
    width: usize,
    ridge: f64,
) {
    let mean = (0..width).map(|i| h[i * width + i]).sum::<f64>() / width.max(1) as f64;
    tasks(made.chunks_mut(width.max(1)).zip(original.chunks(width.max(1))), &|_, (made, original)| {
        let mut wanted: Vec<f64> = original.iter().map(|w| ridge * mean * w).collect();
        for (i, w) in original.iter().enumerate() {
            add_scaled(*w, &cross[i * width..(i + 1) * width], &mut wanted);
        }
        let row = Row { h, width, damping: ridge * mean, wanted };
        let support: Vec<usize> = (0..width).filter(|i| made[*i] != 0.0).collect();
        if support.is_empty() || support.len() > MOST || support.len() == width {
            return;
        }
        if let Some(found) = row.pursue(support) {
            made.fill(0.0);
            for (i, v) in found.support.iter().zip(&found.values) {
                made[*i] = if *v == 0.0 { f64::from(f32::MIN_POSITIVE) } else { *v };
            }
        }
    });
}

/// `½·v·(H + λI)·vᵀ − v·wanted` is to be made small.
struct Row<'a> {
    h: &'a [f64],
    width: usize,
    damping: f64,
    wanted: Vec<f64>,
}

struct Solved {
    support: Vec<usize>,
    values: Vec<f64>,
    factor: Vec<f64>,
    error: f64,
}

impl Row<'_> {
    fn solve(&self, support: Vec<usize>) -> Option<Solved> {
        let n = support.len();
        let places = support.iter().flat_map(|&i| support.iter().map(move |j| i * self.width + j));
        let mut factor: Vec<f64> = places.map(|place| self.h[place]).collect();
        (0..n).for_each(|i| factor[i * n + i] += self.damping);
        cholesky(&mut factor, n).ok()?;
        let right: Vec<f64> = support.iter().map(|i| self.wanted[*i]).collect();
        let mut values = right.clone();
        solve(&factor, n, &mut values);
        Some(Solved { error: -0.5 * dot(&right, &values), support, values, factor })
    }

    fn pursue(&self, support: Vec<usize>) -> Option<Solved> {
        let count = support.len();
        let mut best = self.solve(support)?;
        let mut exchanged = (count / FIRST).clamp(1, self.width - count);
        for _ in 0..ROUNDS {
            if is_stopped() {
                break;
            }
            let Some(next) = self.exchange(&best, exchanged) else { break };
            if next.error < best.error {
                best = next;
            } else if exchanged == 1 {
                break;
            } else {
                exchanged /= 2;
            }
        }
        Some(best)
    }

    /// As many weights in as out.
    fn exchange(&self, from: &Solved, count: usize) -> Option<Solved> {
        let mut gradient = self.wanted.clone();
        for (i, v) in from.support.iter().zip(&from.values) {
            add_scaled(-v, &self.h[i * self.width..(i + 1) * self.width], &mut gradient);
        }
        let gain = |i: usize| gradient[i] * gradient[i] / (self.h[i * self.width + i] + self.damping);
        let mut outside: Vec<usize> = (0..self.width).filter(|i| from.support.binary_search(i).is_err()).collect();
        outside.sort_by(|a, b| gain(*b).total_cmp(&gain(*a)).then(a.cmp(b)));
        let mut support: Vec<usize> = from.support.iter().chain(outside.iter().take(count)).copied().collect();
        support.sort_unstable();
        let more = self.solve(support)?;
        let n = more.support.len();
        // A removal costs v²/[A⁻¹]ᵢᵢ.
        let mut inverse: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect();
        solve(&more.factor, n, &mut inverse);
        let cost = |i: usize| more.values[i] * more.values[i] / inverse[i * n + i];
        let mut order: Vec<usize> = (0..n).collect();
        order.sort_by(|a, b| cost(*b).total_cmp(&cost(*a)).then(a.cmp(b)));
        let mut kept: Vec<usize> = order.iter().take(from.support.len()).map(|i| more.support[*i]).collect();
        kept.sort_unstable();
        self.solve(kept)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    #[test]
    fn finds_the_weights_that_matter() {
        // Ten inputs that go together in pairs; the output hangs on three of them alone.
        let (width, count) = (10, 60);
        let mut random = Random::new(3);
        let free: Vec<f64> = (0..width * count).map(|_| f64::from(random.normal())).collect();
        let x = |i: usize, p: usize| free[i * count + p] + if i % 2 == 1 { 2.0 * free[(i - 1) * count + p] } else { 0.0 };
        let moment = |i: usize, j: usize| (0..count).map(|p| x(i, p) * x(j, p)).sum::<f64>() / count as f64;
        let h: Vec<f64> = (0..width * width).map(|k| moment(k / width, k % width)).collect();
        let mut original = vec![0.0; width];
        (original[1], original[4], original[7]) = (1.0, -2.0, 0.5);
        // Two of three places are wrong to begin with.
        let mut made = vec![0.0; width];
        (made[0], made[4], made[6]) = (1.0, 1.0, 1.0);
        pursue(&mut made, &original, &h, &h, width, 1e-6);
        for (v, w) in made.iter().zip(&original) {
            assert!((v - w).abs() < 1e-3, "{made:?}");
        }
    }
}
