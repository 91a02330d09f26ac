//! Matrix products: row-major `[m, k] · [k, n]`.

use super::is_serial;
use super::product::{Columns, Rows, Target, multiply};
use rayon::iter::{IndexedParallelIterator, IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;

/// Rows of the left matrix that one task takes; a multiple of what the inner loop takes at once.
const ROWS: usize = 32;
/// Columns that one task takes where there are few rows.
const COLUMNS: usize = 384;

/// The left matrix by its strides, so that a transposed one needs no copy.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    pub data: &'a [f32],
    pub row_stride: usize,
    pub column_stride: usize,
}

/// `out[r][j] = Σ_k left[r][k] · right[k][j]`; every sum runs in the order of k.
///
/// # Panics
/// When a slice is shorter than its matrix.
pub fn matmul(left: Left<'_>, right: &[f32], (m, k, n): (usize, usize, usize), out: &mut [f32]) {
    if m == 0 || n == 0 {
        return;
    }
    let out = &mut out[..m * n];
    if k == 0 {
        out.fill(0.0);
        return;
    }
    let offsets: Vec<usize> = (0..k).map(|i| i * n).collect();
    let zeros = vec![0.0; ROWS.min(m)];
    let limits = (f32::NEG_INFINITY, f32::INFINITY);
    let pack = |from: usize, to: usize| {
        Rows::pack(to - from, k, |r, i| left.data[(from + r) * left.row_stride + i * left.column_stride])
    };
    let small = m * k * n < 1 << 16 || is_serial();
    if m > ROWS || n <= COLUMNS || small {
        let task = |(index, out): (usize, &mut [f32])| {
            let (from, to) = (index * ROWS, (index * ROWS + ROWS).min(m));
            let columns = Columns { data: right, base: 0, offsets: &offsets, count: n };
            multiply(&pack(from, to), (0, to - from), &zeros, columns, &mut Target { data: out, stride: n, room: n }, limits);
        };
        if small {
            out.chunks_mut(ROWS * n).enumerate().for_each(task);
        } else {
            out.par_chunks_mut(ROWS * n).enumerate().for_each(task);
        }
        return;
    }
    let rows = pack(0, m);
    let parts: Vec<(usize, Vec<f32>)> = (0..n.div_ceil(COLUMNS))
        .into_par_iter()
        .map(|index| {
            let count = COLUMNS.min(n - index * COLUMNS);
            let mut part = vec![0.0; m * count];
            let columns = Columns { data: right, base: index * COLUMNS, offsets: &offsets, count };
            multiply(&rows, (0, m), &zeros, columns, &mut Target { data: &mut part, stride: count, room: count }, limits);
            (count, part)
        })
        .collect();
    for (index, (count, part)) in parts.iter().enumerate() {
        for (r, line) in part.chunks(*count).enumerate() {
            out[r * n + index * COLUMNS..][..*count].copy_from_slice(line);
        }
    }
}

/// `[rows, columns]` to `[columns, rows]`.
pub fn transpose<T: Copy + Default>(x: &[T], rows: usize, columns: usize) -> Vec<T> {
    let mut out = vec![T::default(); rows * columns];
    for (r, line) in x.chunks(columns.max(1)).take(rows).enumerate() {
        for (j, v) in line.iter().enumerate() {
            out[j * rows + r] = *v;
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    #[test]
    fn agrees_with_plain_sums() {
        let mut random = Random::new(3);
        for (m, k, n) in [(1, 64, 1000), (5, 7, 3), (70, 65, 66), (33, 100, 400), (1, 300, 500), (0, 3, 4), (2, 0, 3)] {
            let a: Vec<f32> = (0..m * k).map(|_| random.normal()).collect();
            let b: Vec<f32> = (0..k * n).map(|_| random.normal()).collect();
            let mut out = vec![1.0; m * n];
            matmul(Left { data: &a, row_stride: k, column_stride: 1 }, &b, (m, k, n), &mut out);
            let turned = transpose(&a, m, k);
            let mut again = vec![1.0; m * n];
            matmul(Left { data: &turned, row_stride: 1, column_stride: m }, &b, (m, k, n), &mut again);
            assert_eq!(out, again);
            for r in 0..m {
                for j in 0..n {
                    let exact: f64 = (0..k).map(|i| f64::from(a[r * k + i]) * f64::from(b[i * n + j])).sum();
                    assert!((f64::from(out[r * n + j]) - exact).abs() < 1e-4);
                }
            }
        }
    }
}
