//! Matrix products: row-major `[m, k] · [k, n]`.

use super::convolve::{Finish, Panels, WORTH, cover_rows};
use super::isa::Isa;
use super::tile::{self, Shared, Tile};
use super::{each, threads};

/// The left matrix by its strides, so that a transposed one needs no copy.
#[derive(Debug, Clone, Copy)]
pub struct Left<'a> {
    pub data: &'a [f32],
    pub row_stride: usize,
    pub column_stride: usize,
}

/// Rows from which on it pays to pack the right matrix first.
const PACKED: usize = 6;

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
    if left.column_stride != 1 || left.row_stride != k {
        let at = |i: usize| left.data[i / k * left.row_stride + i % k * left.column_stride];
        let copy: Vec<f32> = (0..m * k).map(at).collect();
        return matmul(Left { data: &copy, row_stride: k, column_stride: 1 }, right, (m, k, n), out);
    }
    if m < PACKED {
        few_rows(left.data, right, (m, k, n), out);
    } else {
        product(left.data, m, &Panels::pack_matrix(right, k, n), out);
    }
}

/// [`matmul`] of `m` rows with a matrix that is packed once for many products; its bias is added.
///
/// # Panics
/// When a slice is shorter than its matrix.
pub fn product(left: &[f32], m: usize, right: &Panels, out: &mut [f32]) {
    assert!(out.len() >= m * right.channels(), "the result is too short");
    cover_rows(right, left, (m, right.depth()), Finish::NONE, Shared::new(out));
}

/// Reads the right matrix where it lies: packing it would cost more than it saves.
fn few_rows(left: &[f32], right: &[f32], (m, k, n): (usize, usize, usize), out: &mut [f32]) {
    let isa = Isa::best();
    let lanes = isa.lanes();
    let (whole, rest) = (n / lanes, n % lanes);
    let end: Vec<f32> = if rest == 0 {
        Vec::new()
    } else {
        let line =
            |i: usize| right[i * n + whole * lanes..].iter().take(rest).copied().chain(std::iter::repeat_n(0.0, lanes - rest));
        (0..k).flat_map(line).collect()
    };
    let init = [0.0; 64];
    let out = Shared::new(out);
    let cover = |from: usize, to: usize| {
        let mut block = from;
        while block < to {
            let last = block == whole;
            let taken = if last { 1 } else { tile::blocks(isa, whole.min(to) - block, m) };
            let (weights, weights_at, weights_step) = if last { (end.as_slice(), 0, lanes) } else { (right, block * lanes, n) };
            let tile = Tile {
                data: left,
                at: 0,
                step: k,
                runs: &[0],
                run: k,
                weights,
                weights_at,
                block_stride: lanes,
                weights_step,
                init: &init,
                valid: if last { rest } else { lanes },
                residual: None,
                limits: (f32::NEG_INFINITY, f32::INFINITY),
            };
            tile::run(isa, &tile, m, taken, out, block * lanes, n);
            block += taken;
        }
    };
    let blocks = n.div_ceil(lanes);
    let parts = if threads() == 1 { 1 } else { (m * k * n / WORTH).clamp(1, 2 * threads()).min(blocks) };
    if parts == 1 {
        return cover(0, blocks);
    }
    each(parts, &|part| cover(blocks * part / parts, blocks * (part + 1) / parts));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kernels::layout::transpose;
    use crate::engine::random::Random;

    #[test]
    fn agrees_with_plain_sums() {
        let mut random = Random::new(3);
        for (m, k, n) in [(1, 64, 1000), (5, 7, 3), (70, 65, 66), (33, 100, 400), (1, 300, 500), (0, 3, 4), (2, 0, 3)] {
            let a: Vec<f32> = (0..m * k).map(|_| random.normal()).collect();
            let b: Vec<f32> = (0..k * n).map(|_| random.normal()).collect();
            let mut out = vec![1.0; m * n];
            matmul(Left { data: &a, row_stride: k, column_stride: 1 }, &b, (m, k, n), &mut out);
            let turned = transpose(&a, 1, m, k);
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
