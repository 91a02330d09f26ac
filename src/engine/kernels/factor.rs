//! Cholesky factors of symmetric positive matrices in f64, and systems solved with them. Matrices are dense and
//! row-major; only the lower triangle is read and written.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]

use super::parts;
use super::widest::{Work, widest};

/// Columns that are factored together: their rows lie in the cache while all rows below use them.
const PANEL: usize = 24;

/// Replaces the lower triangle of `a` [n × n] by L of `a = L·Lᵀ`; the upper triangle stays as it was.
///
/// # Errors
/// The first column whose pivot is not positive: the matrix is not positive definite, as far as f64 can tell.
///
/// # Panics
/// When `a` is shorter than n × n.
pub fn cholesky(a: &mut [f64], n: usize) -> Result<(), usize> {
    for from in (0..n).step_by(PANEL) {
        let to = (from + PANEL).min(n);
        // What the columns before leave of the panel; then its own triangle, and the rows below it.
        let panel: Vec<f64> = a[from * n..to * n].to_vec();
        parts(&mut a[from * n..n * n], n, &|_, row| widest(Less { row, panel: &panel, n, from, to }));
        triangle(a, n, from, to)?;
        let wide = to - from;
        let turned: Vec<f64> = (0..wide * wide).map(|i| a[(from + i % wide) * n + from + i / wide]).collect();
        parts(&mut a[to * n..n * n], n, &|_, row| widest(Divide { row: &mut row[from..to], turned: &turned }));
    }
    Ok(())
}

fn triangle(a: &mut [f64], n: usize, from: usize, to: usize) -> Result<(), usize> {
    for row in from..to {
        for column in from..=row {
            let sum: f64 = (from..column).map(|k| a[row * n + k] * a[column * n + k]).sum();
            let left = a[row * n + column] - sum;
            a[row * n + column] = if column < row {
                left / a[column * n + column]
            } else if left > 0.0 && left.is_finite() {
                left.sqrt()
            } else {
                return Err(row);
            };
        }
    }
    Ok(())
}

/// Subtracts from the columns of a panel what the columns before them account for.
struct Less<'a> {
    row: &'a mut [f64],
    panel: &'a [f64],
    n: usize,
    from: usize,
    to: usize,
}

impl Work for Less<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { row, panel, n, from, to } = self;
        let (before, own) = row.split_at_mut(from);
        for (x, above) in own[..to - from].iter_mut().zip(panel.chunks(n)) {
            *x -= sum_of_products(before, &above[..from]);
        }
    }
}

/// Divides a row of a panel by the panel's own triangle, which lies turned: a row per column of L.
struct Divide<'a> {
    row: &'a mut [f64],
    turned: &'a [f64],
}

impl Work for Divide<'_> {
    #[inline(always)]
    fn run(self) {
        let n = self.row.len();
        for (k, column) in self.turned.chunks(n).enumerate() {
            let (done, rest) = self.row.split_at_mut(k + 1);
            done[k] /= column[k];
            for (x, y) in rest.iter_mut().zip(&column[k + 1..]) {
                *x -= done[k] * y;
            }
        }
    }
}

/// Values that the loops below take at once.
const LANES: usize = 8;

#[inline(always)]
fn sum_of_products(a: &[f64], b: &[f64]) -> f64 {
    let mut sums = [0.0; LANES];
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    for (x, y) in a.iter().zip(b) {
        for i in 0..LANES {
            sums[i] += x[i] * y[i];
        }
    }
    let rest: f64 = a_rest.iter().zip(b_rest).map(|(x, y)| x * y).sum();
    sums.iter().sum::<f64>() + rest
}

struct Dot<'a>(&'a [f64], &'a [f64], &'a mut f64);

impl Work for Dot<'_> {
    #[inline(always)]
    fn run(self) {
        *self.2 = sum_of_products(self.0, self.1);
    }
}

/// Σ aᵢ·bᵢ over the shorter of the two.
#[must_use]
pub fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut sum = 0.0;
    let n = a.len().min(b.len());
    widest(Dot(&a[..n], &b[..n], &mut sum));
    sum
}

struct Axpy<'a>(f64, &'a [f64], &'a mut [f64]);

impl Work for Axpy<'_> {
    #[inline(always)]
    fn run(self) {
        for (y, x) in self.2.iter_mut().zip(self.1) {
            *y += self.0 * x;
        }
    }
}

/// `y += factor·x`, over the shorter of the two.
pub fn add_scaled(factor: f64, x: &[f64], y: &mut [f64]) {
    widest(Axpy(factor, x, y));
}

/// Replaces every row b of `rows` [any × n] by b·(L·Lᵀ)⁻¹.
///
/// # Panics
/// When `l` is shorter than n × n.
pub fn solve(l: &[f64], n: usize, rows: &mut [f64]) {
    parts(rows, n, &|_, row| {
        for i in 0..row.len() {
            let (done, rest) = row.split_at_mut(i);
            rest[0] = (rest[0] - dot(&l[i * n..i * n + i], done)) / l[i * n + i];
        }
        for i in (0..row.len()).rev() {
            let (before, rest) = row.split_at_mut(i);
            rest[0] /= l[i * n + i];
            add_scaled(-rest[0], &l[i * n..i * n + i], before);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    fn positive(n: usize, random: &mut Random) -> Vec<f64> {
        let x: Vec<f64> = (0..n * (n + 3)).map(|_| f64::from(random.normal())).collect();
        let at = |i: usize, j: usize| dot(&x[i * (n + 3)..][..n + 3], &x[j * (n + 3)..][..n + 3]);
        (0..n * n).map(|k| at(k / n, k % n)).collect()
    }

    #[test]
    fn factors_multiply_back_and_systems_are_solved() {
        let mut random = Random::new(3);
        for n in [1, 2, 7, 23, 24, 25, 130] {
            let a = positive(n, &mut random);
            let mut l = a.clone();
            cholesky(&mut l, n).unwrap();
            for i in 0..n {
                for j in 0..=i {
                    let back = dot(&l[i * n..=i * n + j], &l[j * n..=j * n + j]);
                    assert!((back - a[i * n + j]).abs() < 1e-9 * n as f64, "{n}: {i},{j}");
                }
            }
            let wanted: Vec<f64> = (0..2 * n).map(|i| (i as f64 * 0.7).sin()).collect();
            let mut rows: Vec<f64> = (0..2 * n).map(|k| dot(&wanted[k / n * n..][..n], &a[k % n * n..][..n])).collect();
            solve(&l, n, &mut rows);
            // The smallest eigenvalues of random matrices lose a few digits.
            assert!(rows.iter().zip(&wanted).all(|(x, y)| (x - y).abs() < 1e-6), "{n}");
        }
    }

    #[test]
    fn what_is_not_positive_is_said() {
        let mut singular = vec![1.0, 1.0, 1.0, 1.0];
        assert_eq!(cholesky(&mut singular, 2), Err(1));
        assert_eq!(cholesky(&mut [f64::NAN], 1), Err(0));
        assert_eq!(cholesky(&mut [], 0), Ok(()));
    }
}
