//! The inner loop of convolutions and matrix products: a few packed rows times many columns.
//!
//! A column is a place in memory; the k-th factor of column `j` lies at `base + offsets[k] + j`. With
//! `offsets[k] = k·width` that is a matrix product; with the offsets of a kernel's taps it is a
//! convolution that never writes out its patches (Dukhan, "The Indirect Convolution Algorithm", 2019).
//! Each output is one chain of fused multiply-adds in the order of k, on every machine that has them.

use std::sync::OnceLock;

/// What the processor offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Isa {
    #[cfg(target_arch = "x86_64")]
    Avx512,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    Plain,
}

impl Isa {
    /// The widest that this processor has.
    pub fn best() -> Self {
        static BEST: OnceLock<Isa> = OnceLock::new();
        *BEST.get_or_init(|| {
            #[cfg(target_arch = "x86_64")]
            {
                if std::arch::is_x86_feature_detected!("avx512f") {
                    return Self::Avx512;
                }
                if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                    return Self::Avx2;
                }
            }
            Self::Plain
        })
    }

    /// Columns in one vector.
    pub fn lanes(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 16,
            _ => 8,
        }
    }

    /// Vectors that fit the registers beside `rows` rows.
    fn vectors(self, rows: usize) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => match rows {
                8 => 3,
                4 => 6,
                _ => 8,
            },
            _ => match rows {
                4 => 3,
                2 => 4,
                _ => 8,
            },
        }
    }

    fn rows(self) -> usize {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => 8,
            _ => 4,
        }
    }
}

/// The left matrix, its rows in blocks as the inner loop reads them: within a block, `[k][row]`.
#[derive(Debug, Clone)]
pub struct Rows {
    isa: Isa,
    /// (first row, rows, start in `data`)
    blocks: Vec<(usize, usize, usize)>,
    data: Vec<f32>,
    depth: usize,
}

impl Rows {
    /// Packs `count` rows of `depth` factors; `at(row, k)` gives them.
    pub fn pack(count: usize, depth: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        Self::pack_for(Isa::best(), count, depth, at)
    }

    pub fn pack_for(isa: Isa, count: usize, depth: usize, at: impl Fn(usize, usize) -> f32) -> Self {
        let mut blocks = Vec::new();
        let mut data = Vec::with_capacity(count * depth);
        let mut row = 0;
        while row < count {
            let mut rows = isa.rows();
            while rows > count - row {
                rows /= 2;
            }
            blocks.push((row, rows, data.len()));
            data.extend((0..depth).flat_map(|k| (row..row + rows).map(move |r| (r, k))).map(|(r, k)| at(r, k)));
            row += rows;
        }
        Self { isa, blocks, data, depth }
    }

    /// Columns are computed in multiples of this.
    pub fn lanes(&self) -> usize {
        self.isa.lanes()
    }
}

/// Where the right-hand factors lie.
#[derive(Debug, Clone, Copy)]
pub struct Columns<'a> {
    pub data: &'a [f32],
    pub base: usize,
    /// One per k.
    pub offsets: &'a [usize],
    pub count: usize,
}

/// Where results go: row `r`, column `j` at `r·stride + j`.
#[derive(Debug)]
pub struct Target<'a> {
    pub data: &'a mut [f32],
    pub stride: usize,
    /// Columns of a row that may be written; at least `count`.
    pub room: usize,
}

/// `clamp(init[row] + Σ_k row[k] · column[k], low, high)` for the rows `from..to`, which must start and
/// end where blocks do (a block has up to 8 rows; multiples of 8 always fit). Row `from` goes to
/// row 0 of the target.
pub fn multiply(
    rows: &Rows,
    (from, to): (usize, usize),
    init: &[f32],
    columns: Columns<'_>,
    target: &mut Target<'_>,
    limits: (f32, f32),
) {
    assert_eq!(columns.offsets.len(), rows.depth, "one offset per factor");
    assert!(target.room >= columns.count && target.stride >= target.room, "no room for a row of results");
    let reach = columns.offsets.iter().copied().max().unwrap_or(0);
    let lanes = rows.isa.lanes();
    let mut edge = Edge::default();
    for &(row, count, start) in rows.blocks.iter().filter(|b| b.0 >= from && b.0 < to) {
        let widest = rows.isa.vectors(count);
        let mut column = 0;
        while column < columns.count {
            let vectors = widest.min((columns.count - column).div_ceil(lanes));
            let width = vectors * lanes;
            let inside = columns.base + column + reach + width <= columns.data.len();
            let (data, base, offsets, reach) = if inside {
                (columns.data, columns.base + column, columns.offsets, reach)
            } else {
                edge.fill(columns, column, width);
                (edge.panel.as_slice(), 0, edge.offsets.as_slice(), rows.depth.saturating_sub(1) * width)
            };
            let fits = column + width <= target.room;
            let place = (row - from) * target.stride + column;
            let (out, stride) = if fits {
                (&mut target.data[place..], target.stride)
            } else {
                edge.results.resize(count * width, 0.0);
                (edge.results.as_mut_slice(), width)
            };
            let a = &rows.data[start..start + count * rows.depth];
            run(
                rows.isa,
                &mut Tile { a, init: &init[row..row + count], offsets, reach, data, base, out, stride, limits },
                count,
                vectors,
            );
            if !fits {
                let valid = columns.count - column;
                for (r, line) in edge.results.chunks(width).enumerate() {
                    let place = place + r * target.stride;
                    target.data[place..place + valid.min(width)].copy_from_slice(&line[..valid.min(width)]);
                }
            }
            column += width;
        }
    }
}

/// Copies for tiles that would read or write beyond the end.
#[derive(Default)]
struct Edge {
    panel: Vec<f32>,
    offsets: Vec<usize>,
    results: Vec<f32>,
    /// (base + column, width) of what the panel holds.
    held: Option<(usize, usize)>,
}

impl Edge {
    fn fill(&mut self, columns: Columns<'_>, column: usize, width: usize) {
        let at = columns.base + column;
        if self.held == Some((at, width)) {
            return;
        }
        self.held = Some((at, width));
        self.panel.clear();
        self.panel.resize(columns.offsets.len() * width, 0.0);
        self.offsets = (0..columns.offsets.len()).map(|k| k * width).collect();
        for (line, offset) in self.panel.chunks_mut(width).zip(columns.offsets) {
            let start = (at + offset).min(columns.data.len());
            let end = (start + width).min(columns.data.len());
            line[..end - start].copy_from_slice(&columns.data[start..end]);
        }
    }
}

struct Tile<'a> {
    /// `[k][rows]`
    a: &'a [f32],
    init: &'a [f32],
    offsets: &'a [usize],
    /// The largest offset; found once per product by [`multiply`], which alone makes tiles.
    reach: usize,
    data: &'a [f32],
    base: usize,
    out: &'a mut [f32],
    stride: usize,
    limits: (f32, f32),
}

fn run(isa: Isa, tile: &mut Tile<'_>, rows: usize, vectors: usize) {
    let width = vectors * isa.lanes();
    assert!(tile.init.len() >= rows && tile.a.len() >= rows * tile.offsets.len(), "factors are missing");
    assert!(tile.base + tile.reach + width <= tile.data.len() || tile.offsets.is_empty(), "columns reach beyond their data");
    assert!((rows - 1) * tile.stride + width <= tile.out.len(), "results reach beyond their place");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => x86::run_avx512(tile, rows, vectors),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => x86::run_avx2(tile, rows, vectors),
        Isa::Plain => plain(tile, rows, width),
    }
}

/// The twin of the vector kernels, and what runs where there are none.
fn plain(tile: &mut Tile<'_>, rows: usize, width: usize) {
    let (low, high) = tile.limits;
    let mut sums = [0.0_f32; 64];
    for row in 0..rows {
        let sums = &mut sums[..width];
        sums.fill(tile.init[row]);
        for (k, offset) in tile.offsets.iter().enumerate() {
            let w = tile.a[k * rows + row];
            let start = tile.base + offset;
            for (sum, x) in sums.iter_mut().zip(&tile.data[start..start + width]) {
                *sum = multiply_add(w, *x, *sum);
            }
        }
        for (out, sum) in tile.out[row * tile.stride..].iter_mut().zip(sums) {
            let v = if *sum < low { low } else { *sum };
            *out = if v > high { high } else { v };
        }
    }
}

/// Fused where the processor does it in one step; elsewhere fusing would be a slow library call.
fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions and unchecked loads of the inner loop")]
mod x86 {
    use super::Tile;
    use std::arch::x86_64::{
        __m256, __m512, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_set1_ps, _mm256_setzero_ps,
        _mm256_storeu_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_set1_ps, _mm512_setzero_ps,
        _mm512_storeu_ps,
    };

    macro_rules! kernel {
        ($name:ident, $feature:literal, $vector:ty, $lanes:literal, $zero:ident, $splat:ident, $load:ident, $store:ident, $fma:ident, $max:ident, $min:ident) => {
            /// # Safety
            /// The processor has the feature, and `super::run` has checked every reach.
            #[target_feature(enable = $feature)]
            unsafe fn $name<const ROWS: usize, const VECTORS: usize>(tile: &mut Tile<'_>) {
                let mut sums: [[$vector; VECTORS]; ROWS] = [[$zero(); VECTORS]; ROWS];
                for (row, sums) in sums.iter_mut().enumerate() {
                    *sums = [$splat(tile.init[row]); VECTORS];
                }
                // SAFETY: `super::run` asserted that base + offset + VECTORS·lanes stays inside `data` for
                // every offset, that `a` holds ROWS factors per offset, and that every row of results
                // lies inside `out`.
                unsafe {
                    let data = tile.data.as_ptr().add(tile.base);
                    let mut a = tile.a.as_ptr();
                    for &offset in tile.offsets {
                        let column = data.add(offset);
                        let mut x: [$vector; VECTORS] = [$zero(); VECTORS];
                        for j in 0..VECTORS {
                            x[j] = $load(column.add(j * $lanes));
                        }
                        for row in 0..ROWS {
                            let w = $splat(*a.add(row));
                            for j in 0..VECTORS {
                                sums[row][j] = $fma(w, x[j], sums[row][j]);
                            }
                        }
                        a = a.add(ROWS);
                    }
                    // The sum is the second operand, so that a NaN stays one.
                    let (low, high) = ($splat(tile.limits.0), $splat(tile.limits.1));
                    for row in 0..ROWS {
                        let out = tile.out.as_mut_ptr().add(row * tile.stride);
                        for j in 0..VECTORS {
                            $store(out.add(j * $lanes), $min(high, $max(low, sums[row][j])));
                        }
                    }
                }
            }
        };
    }

    kernel!(
        tile_avx512,
        "avx512f",
        __m512,
        16,
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_max_ps,
        _mm512_min_ps
    );
    kernel!(
        tile_avx2,
        "avx2,fma",
        __m256,
        8,
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_max_ps,
        _mm256_min_ps
    );

    macro_rules! choose {
        ($kernel:ident, $tile:expr, $rows:expr, $vectors:expr, $(($r:literal, $v:literal)),*) => {
            match ($rows, $vectors) {
                // SAFETY: the caller chose this by what the processor has; `super::run` checked every reach.
                $(($r, $v) => unsafe { $kernel::<$r, $v>($tile) },)*
                (rows, vectors) => unreachable!("no kernel for {rows} rows of {vectors} vectors"),
            }
        };
    }

    pub(super) fn run_avx512(tile: &mut Tile<'_>, rows: usize, vectors: usize) {
        choose!(
            tile_avx512,
            tile,
            rows,
            vectors,
            (8, 1),
            (8, 2),
            (8, 3),
            (4, 1),
            (4, 2),
            (4, 3),
            (4, 4),
            (4, 5),
            (4, 6),
            (2, 1),
            (2, 2),
            (2, 3),
            (2, 4),
            (2, 5),
            (2, 6),
            (2, 7),
            (2, 8),
            (1, 1),
            (1, 2),
            (1, 3),
            (1, 4),
            (1, 5),
            (1, 6),
            (1, 7),
            (1, 8)
        );
    }

    pub(super) fn run_avx2(tile: &mut Tile<'_>, rows: usize, vectors: usize) {
        choose!(
            tile_avx2,
            tile,
            rows,
            vectors,
            (4, 1),
            (4, 2),
            (4, 3),
            (2, 1),
            (2, 2),
            (2, 3),
            (2, 4),
            (1, 1),
            (1, 2),
            (1, 3),
            (1, 4),
            (1, 5),
            (1, 6),
            (1, 7),
            (1, 8)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    fn all() -> Vec<Isa> {
        #[cfg(target_arch = "x86_64")]
        {
            let mut found = vec![Isa::Plain];
            if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
                found.push(Isa::Avx2);
            }
            if std::arch::is_x86_feature_detected!("avx512f") {
                found.push(Isa::Avx512);
            }
            return found;
        }
        #[cfg(not(target_arch = "x86_64"))]
        vec![Isa::Plain]
    }

    #[test]
    fn every_kernel_agrees_with_a_plain_sum() {
        let mut random = Random::new(7);
        for (m, k, n) in [(1, 9, 130), (3, 5, 7), (8, 20, 48), (15, 33, 50), (23, 1, 17), (2, 4, 129)] {
            let a: Vec<f32> = (0..m * k).map(|_| random.normal()).collect();
            let b: Vec<f32> = (0..k * n).map(|_| random.normal()).collect();
            let init: Vec<f32> = (0..m).map(|_| random.normal()).collect();
            let offsets: Vec<usize> = (0..k).map(|i| i * n).collect();
            for isa in all() {
                let rows = Rows::pack_for(isa, m, k, |r, i| a[r * k + i]);
                let mut out = vec![0.0; m * n];
                let columns = Columns { data: &b, base: 0, offsets: &offsets, count: n };
                multiply(&rows, (0, m), &init, columns, &mut Target { data: &mut out, stride: n, room: n }, (-1.0, 2.0));
                for r in 0..m {
                    for j in 0..n {
                        let exact: f64 =
                            f64::from(init[r]) + (0..k).map(|i| f64::from(a[r * k + i]) * f64::from(b[i * n + j])).sum::<f64>();
                        let expected = exact.clamp(-1.0, 2.0);
                        assert!((f64::from(out[r * n + j]) - expected).abs() < 1e-5, "{isa:?} {m}×{k}×{n} at {r},{j}");
                    }
                }
            }
        }
    }

    #[test]
    fn nan_stays_nan_under_limits() {
        for isa in all() {
            let rows = Rows::pack_for(isa, 1, 1, |_, _| 1.0);
            let mut out = [0.0];
            let columns = Columns { data: &[f32::NAN], base: 0, offsets: &[0], count: 1 };
            multiply(&rows, (0, 1), &[0.0], columns, &mut Target { data: &mut out, stride: 1, room: 1 }, (0.0, 6.0));
            assert!(out[0].is_nan(), "{isa:?}");
        }
    }
}
