use super::on;
use crate::engine::kernels::factor::{add_scaled, cholesky, dot, solve};
use crate::engine::kernels::{is_stopped, tasks};
use std::collections::BTreeSet;

/// How often weights are exchanged.
const ROUNDS: usize = 8;
/// Share of a row's weights that is exchanged at first; halved whenever that does not help.
const FIRST: usize = 8;
/// Rows with more weights than this left take too long.
const MOST: usize = 384;

/// Of each cell of a row as many weights are left as before: `of` inputs next to each other, tap by tap.
#[derive(Debug, Clone, Copy)]
pub(in crate::pipeline::compress) struct Cells {
    pub of: usize,
    /// Weights of a row for each input.
    pub taps: usize,
}

impl Cells {
    fn at(self, place: usize) -> usize {
        let (of, taps) = (self.of.max(1), self.taps.max(1));
        place / taps / of * taps + place % taps
    }
}

/// Exchanges pruned weights for others of the same row, as long as the least squares over what is left fall: those
/// that the gradient wants most come in, those whose loss costs least go out (subspace pursuit, Dai and Milenkovic
/// 2009, with the exact cost of a removal). Weights, moments and ridge are those of [`super::on_support`]; in `cells`,
/// where there are any, a weight is exchanged for another of its cell.
pub(in crate::pipeline::compress) fn pursue(
    made: &mut [f64],
    original: &[f64],
    h: &[f64],
    cross: &[f64],
    ridge: f64,
    cells: Option<Cells>,
) {
    let width = h.len().isqrt();
    let mean = (0..width).map(|i| h[i * width + i]).sum::<f64>() / width.max(1) as f64;
    tasks(made.chunks_mut(width.max(1)).zip(original.chunks(width.max(1))), &|_, (made, original)| {
        let mut wanted: Vec<f64> = original.iter().map(|w| ridge * mean * w).collect();
        for (i, w) in original.iter().enumerate() {
            add_scaled(*w, &cross[i * width..(i + 1) * width], &mut wanted);
        }
        let row = Row { h, width, damping: ridge * mean, wanted, cells };
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
    cells: Option<Cells>,
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
        let mut factor = on(self.h, self.width, &support);
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
        let mut touched = BTreeSet::new();
        if let Some(cells) = self.cells {
            outside.retain(|i| touched.len() < count && touched.insert(cells.at(*i)));
        }
        let mut support: Vec<usize> = from.support.iter().chain(outside.iter().take(count)).copied().collect();
        support.sort_unstable();
        let more = self.solve(support)?;
        // A removal costs v²/[A⁻¹]ᵢᵢ.
        let inverse = diagonal_of_inverse(&more.factor, more.support.len());
        let costs: Vec<f64> = more.values.iter().zip(&inverse).map(|(v, d)| v * v / d).collect();
        let mut order: Vec<usize> = (0..costs.len()).collect();
        order.sort_by(|a, b| costs[*a].total_cmp(&costs[*b]).then(b.cmp(a)));
        let order = order.into_iter().map(|i| more.support[i]);
        let mut kept: Vec<usize> = match self.cells {
            // The cheapest of each cell that one came into.
            Some(cells) => order.filter(|i| !touched.remove(&cells.at(*i))).collect(),
            None => order.skip(more.support.len() - from.support.len()).collect(),
        };
        kept.sort_unstable();
        self.solve(kept)
    }
}

/// Of (L·Lᵀ)⁻¹, from the lower triangle of L [n × n]: the squares of each column of L⁻¹.
fn diagonal_of_inverse(l: &[f64], n: usize) -> Vec<f64> {
    let (mut inverse, mut diagonal) = (vec![0.0; n * n], vec![0.0; n]);
    for i in 0..n {
        let (above, rest) = inverse.split_at_mut(i * n);
        let row = &mut rest[..=i];
        for (k, line) in above.chunks(n).enumerate() {
            add_scaled(-l[i * n + k], &line[..=k], row);
        }
        row[i] = 1.0;
        for (x, sum) in row.iter_mut().zip(&mut diagonal) {
            *x /= l[i * n + i];
            *sum += *x * *x;
        }
    }
    diagonal
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
        let begun = made.clone();
        pursue(&mut made, &original, &h, &h, 1e-6, None);
        for (v, w) in made.iter().zip(&original) {
            assert!((v - w).abs() < 1e-3, "{made:?}");
        }
        // One of each cell but the last.
        let mut made = begun;
        pursue(&mut made, &original, &h, &h, 1e-6, Some(Cells { of: 3, taps: 1 }));
        let left: Vec<usize> = made.chunks(3).map(|cell| cell.iter().filter(|v| **v != 0.0).count()).collect();
        assert_eq!(left, [1, 1, 1, 0], "{made:?}");
        assert!((made[1] - 1.0).abs() < 1e-2 && (made[4] + 2.0).abs() < 1e-2 && (made[7] - 0.5).abs() < 1e-2, "{made:?}");
    }

    #[test]
    fn cells_lie_along_the_inputs_tap_by_tap() {
        // Eight inputs of two taps each, in fours.
        let cells = Cells { of: 4, taps: 2 };
        let at: Vec<usize> = (0..16).map(|place| cells.at(place)).collect();
        assert_eq!(at, [0, 1, 0, 1, 0, 1, 0, 1, 2, 3, 2, 3, 2, 3, 2, 3]);
    }

    #[test]
    fn the_diagonal_is_that_of_the_inverse() {
        let mut random = Random::new(4);
        let n = 7;
        let x: Vec<f64> = (0..n * 9).map(|_| f64::from(random.normal())).collect();
        let mut l: Vec<f64> = (0..n * n).map(|k| dot(&x[k / n * 9..][..9], &x[k % n * 9..][..9])).collect();
        cholesky(&mut l, n).unwrap();
        let mut inverse: Vec<f64> = (0..n * n).map(|i| f64::from(u8::from(i / n == i % n))).collect();
        solve(&l, n, &mut inverse);
        for (i, d) in diagonal_of_inverse(&l, n).iter().enumerate() {
            assert!((d - inverse[i * n + i]).abs() < 1e-9 * d, "{i}");
        }
    }
}
