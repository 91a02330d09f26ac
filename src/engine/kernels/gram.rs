//! Sums of outer products of columns: what second moments of a layer's inputs are made of.

use super::convolve::{Finish, Panels, cover_rows};
use super::parts;
use super::tile::Shared;

/// Columns of a result that one task computes.
const WIDE: usize = 48;

/// Adds `Σ_p right[i][p]·right[j][p]` to `gram` [k × k], its upper triangle (j ≥ i, and some places below it), and
/// where `left` is given `Σ_p left[i][p]·right[j][p]` to `cross` [k × k]. Both matrices are [k × count], row-major.
/// Products are summed in f32, what comes out is added in f64.
///
/// # Panics
/// When a slice is shorter than its matrix.
pub fn add_products(right: &[f32], left: Option<&[f32]>, (k, count): (usize, usize), gram: &mut [f64], cross: &mut [f64]) {
    if k == 0 || count == 0 {
        return;
    }
    let blocks = k.div_ceil(WIDE);
    let own = k * WIDE;
    let kinds = 1 + usize::from(left.is_some());
    let mut made = vec![0.0_f32; blocks * kinds * own];
    // The last block of a triangle has the most rows: it begins first.
    parts(&mut made, kinds * own, &|part, out| {
        let block = blocks - 1 - part;
        let (from, to) = (block * WIDE, ((block + 1) * WIDE).min(k));
        let panels = Panels::pack(to - from, count, &[], |o, p| right[(from + o) * count + p]);
        let (triangle, whole) = out.split_at_mut(own);
        let rows = |data: &[f32], n: usize, out: &mut [f32]| {
            cover_rows(&panels, data, (n, count), Finish::NONE, Shared::new(&mut out[..n * (to - from)]));
        };
        rows(right, to, triangle);
        if let Some(left) = left {
            rows(left, k, whole);
        }
    });
    let add = |sums: &mut [f64], kind: usize, is_triangle: bool| {
        parts(sums, k, &|i, row| {
            for block in 0..blocks {
                let (from, to) = (block * WIDE, ((block + 1) * WIDE).min(k));
                if is_triangle && i >= to {
                    continue;
                }
                let tile = &made[((blocks - 1 - block) * kinds + kind) * own..][..own];
                let line = &tile[i * (to - from)..][..to - from];
                row[from..to].iter_mut().zip(line).for_each(|(sum, x)| *sum += f64::from(*x));
            }
        });
    };
    add(&mut gram[..k * k], 0, true);
    if left.is_some() {
        add(&mut cross[..k * k], 1, false);
    }
}

/// Makes a matrix [k × k] of which only the upper triangle is known symmetric.
pub fn mirror(gram: &mut [f64], k: usize) {
    for i in 0..k {
        for j in 0..i {
            gram[i * k + j] = gram[j * k + i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    #[test]
    fn products_are_those_of_the_plain_sum() {
        let mut random = Random::new(7);
        for (k, count) in [(1, 1), (9, 33), (48, 20), (101, 64)] {
            let x: Vec<f32> = (0..k * count).map(|_| random.normal()).collect();
            let y: Vec<f32> = (0..k * count).map(|_| random.normal()).collect();
            let (mut gram, mut cross) = (vec![1.0; k * k], vec![0.5; k * k]);
            add_products(&x, Some(&y), (k, count), &mut gram, &mut cross);
            mirror(&mut gram, k);
            let sum = |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
            let row = |m: &'_ [f32], i: usize| m[i * count..][..count].to_vec();
            for i in 0..k {
                for j in 0..k {
                    assert!((gram[i * k + j] - 1.0 - sum(&row(&x, i), &row(&x, j))).abs() < 1e-3, "{k}: {i},{j}");
                    assert!((cross[i * k + j] - 0.5 - sum(&row(&y, i), &row(&x, j))).abs() < 1e-3, "{k}: {i},{j}");
                }
            }
        }
    }
}
