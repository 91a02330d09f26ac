//! Second moments of a layer's inputs as a system of equations: damped, factored, in the order in which columns are
//! treated. All that corrects weights solves with it.

use crate::engine::kernels::factor::{cholesky, solve};

/// Damping to begin with: a share of the mean of the diagonal (Frantar et al. 2022 take 1 %).
const DAMPING: f64 = 0.01;
/// How often it is multiplied by ten before a system is given up.
const RAISES: u32 = 8;

/// A symmetric matrix H [width × width] and the Cholesky factor of `H + λI`.
#[derive(Debug, Clone)]
pub(super) struct System {
    pub width: usize,
    /// Without the damping. Columns that were never anything but zero count as the mean of the others.
    pub h: Vec<f64>,
    /// Which column comes when.
    pub order: Vec<usize>,
    /// Share of the mean of the diagonal that was added to it.
    pub damping: f64,
    /// Of the columns in reverse order: row-major, lower triangle.
    l: Vec<f64>,
}

/// What the error of a column tells those that come after it: `H + λI = (I + U)·D·(I + U)ᵀ`, U strictly upper
/// triangular, in the order of the system. Rounding `w_k + Σ_{i<k} e_i·U_ik` is what GPTQ does (Chee et al. 2023,
/// arXiv 2307.13304, theorem 6), with one factorization and no inverse.
#[derive(Debug, Clone)]
pub(super) struct Feedback {
    width: usize,
    /// Row k holds `U_ik` of all i.
    rows: Vec<f64>,
    /// `D_k`: what the squared error of a column costs once the columns after it have made up for it.
    pub costs: Vec<f64>,
}

impl System {
    /// In an order where columns of larger moments come first, or that of the columns themselves. `None` where no
    /// damping makes the matrix positive: it holds NaN, or nothing at all was ever seen.
    pub fn new(mut h: Vec<f64>, width: usize, is_descending: bool) -> Option<Self> {
        let seen: Vec<f64> = (0..width).map(|i| h[i * width + i]).filter(|d| *d > 0.0).collect();
        let mean = seen.iter().sum::<f64>() / seen.len().max(1) as f64;
        if seen.is_empty() || !mean.is_finite() {
            return None;
        }
        for i in 0..width {
            if h[i * width + i] <= mean * 1e-12 {
                h[i * width..(i + 1) * width].fill(0.0);
                (0..width).for_each(|j| h[j * width + i] = 0.0);
                h[i * width + i] = mean;
            }
        }
        let mut order: Vec<usize> = (0..width).collect();
        if is_descending {
            order.sort_by(|a, b| h[b * width + b].total_cmp(&h[a * width + a]).then(a.cmp(b)));
        }
        let reversed: Vec<usize> = order.iter().rev().copied().collect();
        let mut damping = DAMPING;
        for _ in 0..RAISES {
            let mut l: Vec<f64> =
                reversed.iter().flat_map(|&i| reversed.iter().map(move |j| (i, *j))).map(|(i, j)| h[i * width + j]).collect();
            (0..width).for_each(|i| l[i * width + i] += damping * mean);
            if cholesky(&mut l, width).is_ok() {
                return Some(Self { width, h, order, damping, l });
            }
            damping *= 10.0;
        }
        None
    }

    /// Whether more damping was needed than usual.
    pub fn is_raised(&self) -> bool {
        self.damping > DAMPING
    }

    pub fn feedback(&self) -> Feedback {
        let n = self.width;
        let last = n.saturating_sub(1);
        let pivot = |k: usize| self.l[(last - k) * n + last - k];
        let mut rows = vec![0.0; n * n];
        for k in 0..n {
            let scale = pivot(k);
            for i in 0..k {
                rows[k * n + i] = self.l[(last - i) * n + last - k] / scale;
            }
        }
        Feedback { width: n, rows, costs: (0..n).map(|k| pivot(k) * pivot(k)).collect() }
    }

    /// Replaces every row b of `rows` [any × width] by `b·(H + λI)⁻¹`.
    pub fn solve(&self, rows: &mut [f64]) {
        let n = self.width;
        let mut turned: Vec<f64> = Vec::with_capacity(rows.len());
        for row in rows.chunks(n) {
            turned.extend(self.order.iter().rev().map(|i| row[*i]));
        }
        solve(&self.l, n, &mut turned);
        for (row, solved) in rows.chunks_mut(n).zip(turned.chunks(n)) {
            for (i, x) in self.order.iter().rev().zip(solved) {
                row[*i] = *x;
            }
        }
    }
}

impl Feedback {
    /// `U_ik` of all i below `k`.
    pub fn row(&self, k: usize) -> &[f64] {
        &self.rows[k * self.width..k * self.width + k]
    }
}
