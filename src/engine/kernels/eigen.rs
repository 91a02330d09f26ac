//! Eigenvalues and eigenvectors of symmetric matrices in f64. Matrices are dense and row-major; the result is the same
//! at any number of threads. Once results are no longer wanted ([`super::until`]) they come back unfinished.

use super::factor::{add_scaled, dot};
use super::{is_stopped, parts};
use crate::engine::random::Random;

/// Sweeps of rotations, at most; a matrix of any size needs about ten.
const SWEEPS: usize = 40;
/// Matrices up to this size are taken apart as a whole; of larger ones a subspace is turned until it holds what is
/// asked for.
const WHOLE: usize = 96;
/// Vectors that the subspace has besides those that are asked for.
const SPARE: usize = 8;
/// How often the subspace is multiplied.
const TURNS: usize = 24;

/// Eigenvalues in falling order and the eigenvectors that belong to them.
#[derive(Debug, Clone, PartialEq)]
pub struct Eigen {
    pub values: Vec<f64>,
    /// A row of n for each value, of length 1.
    pub vectors: Vec<f64>,
}

/// The `count` largest eigenvalues of a symmetric matrix [n × n] without negative ones, fewer where n is smaller. Of large
/// matrices those whose values lie close together come out as some basis of what they span.
///
/// # Panics
/// When `a` is shorter than n × n.
#[must_use]
pub fn leading(a: &[f64], n: usize, count: usize) -> Eigen {
    let count = count.min(n);
    let wide = (count + SPARE).min(n);
    let mut found = if n <= WHOLE || wide * 2 > n { jacobi(&a[..n * n], n) } else { subspace(a, n, wide) };
    found.values.truncate(count);
    found.vectors.truncate(count * n);
    found
}

/// Turns a random subspace towards the largest eigenvalues (orthogonal iteration), then takes it apart (Rayleigh–Ritz).
/// Source: Golub and Van Loan, Matrix Computations, 4th edition, §8.2.4.
fn subspace(a: &[f64], n: usize, wide: usize) -> Eigen {
    let mut random = Random::new(0x51ab);
    let mut basis: Vec<f64> = (0..wide * n).map(|_| f64::from(random.normal())).collect();
    orthonormal(&mut basis, n);
    let multiplied = |basis: &[f64]| {
        let mut out = vec![0.0; wide * n];
        parts(&mut out, n, &|row, out| {
            let vector = &basis[row * n..(row + 1) * n];
            out.iter_mut().zip(a.chunks(n)).for_each(|(o, line)| *o = dot(line, vector));
        });
        out
    };
    for _ in 0..TURNS {
        if is_stopped() {
            break;
        }
        basis = multiplied(&basis);
        orthonormal(&mut basis, n);
    }
    let image = multiplied(&basis);
    let small: Vec<f64> = (0..wide * wide).map(|k| dot(&basis[k / wide * n..][..n], &image[k % wide * n..][..n])).collect();
    let inner = jacobi(&symmetric(&small, wide), wide);
    let mut vectors = vec![0.0; wide * n];
    parts(&mut vectors, n, &|row, out| {
        for (factor, vector) in inner.vectors[row * wide..(row + 1) * wide].iter().zip(basis.chunks(n)) {
            add_scaled(*factor, vector, out);
        }
    });
    Eigen { values: inner.values, vectors }
}

/// What rounding made of a symmetric matrix, symmetric again.
fn symmetric(a: &[f64], n: usize) -> Vec<f64> {
    (0..n * n).map(|k| f64::midpoint(a[k], a[k % n * n + k / n])).collect()
}

/// Makes rows orthogonal and of length 1, twice for the digits that once loses (Gram–Schmidt); rows that depend on those before
/// them become zero.
fn orthonormal(rows: &mut [f64], n: usize) {
    for i in (0..rows.len() / n.max(1)).take_while(|_| !is_stopped()) {
        let (before, rest) = rows.split_at_mut(i * n);
        let row = &mut rest[..n];
        let whole = dot(row, row).sqrt();
        for _ in 0..2 {
            for other in before.chunks(n) {
                let along = dot(other, row);
                add_scaled(-along, other, row);
            }
        }
        let left = dot(row, row).sqrt();
        let factor = if left > whole * 1e-12 && left.is_normal() { 1.0 / left } else { 0.0 };
        for x in row.iter_mut() {
            *x *= factor;
        }
    }
}

/// The whole of a matrix, by rotations that make one pair of places zero each (cyclic Jacobi, Golub and Van Loan
/// §8.5.3).
fn jacobi(a: &[f64], n: usize) -> Eigen {
    let mut a = a.to_vec();
    let mut vectors: Vec<f64> = (0..n * n).map(|k| f64::from(u8::from(k / n == k % n))).collect();
    let total: f64 = a.iter().map(|x| x * x).sum();
    for _ in 0..SWEEPS {
        let off: f64 = (0..n * n).filter(|k| k / n != k % n).map(|k| a[k] * a[k]).sum();
        // As small as sums of rounding errors are, or no number.
        if off <= total * 1e-30 || off.is_nan() || is_stopped() {
            break;
        }
        for p in 0..n {
            if is_stopped() {
                break;
            }
            for q in p + 1..n {
                rotate(&mut a, &mut vectors, n, (p, q));
            }
        }
    }
    let mut order: Vec<usize> = (0..n).collect();
    order.sort_by(|i, j| a[j * n + j].total_cmp(&a[i * n + i]).then(i.cmp(j)));
    Eigen {
        values: order.iter().map(|i| a[i * n + i]).collect(),
        vectors: order.iter().flat_map(|i| vectors[i * n..(i + 1) * n].iter().copied()).collect(),
    }
}

/// Makes `a[p][q]` zero.
fn rotate(a: &mut [f64], vectors: &mut [f64], n: usize, (p, q): (usize, usize)) {
    let between = a[p * n + q];
    if between == 0.0 {
        return;
    }
    let slope = (a[q * n + q] - a[p * n + p]) / (2.0 * between);
    let tangent = slope.signum() / (slope.abs() + slope.hypot(1.0));
    let cosine = 1.0 / tangent.hypot(1.0);
    let sine = tangent * cosine;
    let turn = |x: &mut f64, y: &mut f64| (*x, *y) = (cosine * *x - sine * *y, sine * *x + cosine * *y);
    for k in 0..n {
        let (mut x, mut y) = (a[k * n + p], a[k * n + q]);
        turn(&mut x, &mut y);
        (a[k * n + p], a[k * n + q]) = (x, y);
    }
    for rows in [a, vectors] {
        let (before, after) = rows.split_at_mut(q * n);
        before[p * n..(p + 1) * n].iter_mut().zip(&mut after[..n]).for_each(|(x, y)| turn(x, y));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kernels::until;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    /// `Σ value·vᵀv` of some orthogonal vectors: a symmetric matrix whose eigenvalues are known.
    fn made_of(values: &[f64], seed: u64) -> Vec<f64> {
        let n = values.len();
        let mut random = Random::new(seed);
        let mut basis: Vec<f64> = (0..n * n).map(|_| f64::from(random.normal())).collect();
        orthonormal(&mut basis, n);
        let at = |i: usize, j: usize| values.iter().enumerate().map(|(k, v)| v * basis[k * n + i] * basis[k * n + j]).sum();
        (0..n * n).map(|k| at(k / n, k % n)).collect()
    }

    #[test]
    fn values_come_out_and_vectors_belong_to_them() {
        for (n, count) in [(1, 1), (2, 2), (7, 3), (60, 60), (150, 4), (200, 12)] {
            let values: Vec<f64> = (0..n).map(|i| 100.0 / (1.0 + i as f64).powi(2)).collect();
            let a = made_of(&values, n as u64);
            let found = leading(&a, n, count);
            assert_eq!((found.values.len(), found.vectors.len()), (count, count * n));
            for (k, (value, wanted)) in found.values.iter().zip(&values).enumerate() {
                assert!((value - wanted).abs() < 1e-6 * values[0], "{n}: {value} is not {wanted}");
                let vector = &found.vectors[k * n..(k + 1) * n];
                assert!((dot(vector, vector) - 1.0).abs() < 1e-9, "{n}");
                for (x, line) in vector.iter().zip(a.chunks(n)) {
                    assert!((dot(line, vector) - value * x).abs() < 1e-3 * wanted.max(1e-3), "{n}: {k}");
                }
            }
        }
    }

    #[test]
    fn what_is_lost_is_hardly_more_than_must_be() {
        // Values that hardly fall: no vector is found exactly, but together they hold what there is.
        let values: Vec<f64> = (0..160).map(|i| 1.0 - i as f64 / 400.0).collect();
        let found = leading(&made_of(&values, 5), 160, 16);
        let (held, best): (f64, f64) = (found.values.iter().sum(), values.iter().take(16).sum());
        assert!(held > 0.98 * best && held < best * (1.0 + 1e-9), "{held} of {best}");
    }

    #[test]
    fn what_is_no_longer_wanted_is_left_unfinished() {
        let a = made_of(&[4.0, 3.0, 2.0, 1.0], 9);
        let stop = Arc::new(AtomicBool::new(true));
        let found = until(&stop, || leading(&a, 4, 4));
        assert!(found.vectors.iter().all(|x| *x == 0.0 || *x == 1.0), "nothing was turned: {:?}", found.vectors);
        // Far too large to be done in the time that a test has.
        let large = vec![1.0; 1200 * 1200];
        let found = until(&stop, || leading(&large, 1200, 1200));
        assert_eq!(found.values.len(), 1200);
    }

    #[test]
    fn odd_matrices_do_no_harm() {
        assert_eq!(leading(&[], 0, 3), Eigen { values: vec![], vectors: vec![] });
        assert_eq!(leading(&[0.0; 4], 2, 1).values, [0.0]);
        assert_eq!(leading(&vec![0.0; 120 * 120], 120, 2).values, [0.0, 0.0]);
        let one: Vec<f64> = (0..120 * 120).map(|k| ((k / 120 + 1) * (k % 120 + 1)) as f64).collect();
        let found = leading(&one, 120, 3);
        let square: f64 = (1..=120).map(|i: i32| f64::from(i * i)).sum();
        assert!((found.values[0] - square).abs() < 1e-6 * square && found.values[1].abs() < 1e-6 * square);
        assert!(leading(&[f64::NAN], 1, 1).values[0].is_nan());
    }
}
