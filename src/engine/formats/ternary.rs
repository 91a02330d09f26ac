//! Ternary weights (Li and Liu 2016, Ternary Weight Networks) and binary ones (Rastegari et al. 2016,
//! XNOR-Net). Rounding a trained network to them breaks it: they are for networks trained with them.
//! The rounding mode has no say here.

use super::encoded::{Parts, Storage, f32_at, f32_bytes};
use super::error::FormatError;
use super::matrix::{Matrix, Shape, Tiles};
use super::pack::{Lines, packed_len, signed};
use super::{Codec, How};
use crate::engine::Ctx;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Which weights share the α of ternary weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Sharing {
    Layer,
    /// One output channel.
    Filter,
}

/// Weights up to this share of the mean magnitude become zero.
const THRESHOLD: f64 = 0.7;

fn mean(sum: f64, count: usize) -> f64 {
    if count == 0 { 0.0 } else { sum / count as f64 }
}

fn magnitudes(values: &[f32]) -> f64 {
    values.iter().map(|v| f64::from(v.abs())).sum()
}

/// Δ = 0.7·mean|w| and α = mean of the |w| above it; 0 where there is none.
fn fit(values: &[f32]) -> (f64, f32) {
    let delta = THRESHOLD * mean(magnitudes(values), values.len());
    let above = values.iter().map(|v| f64::from(v.abs())).filter(|v| *v > delta);
    let (sum, count) = above.fold((0.0, 0), |(sum, count), v| (sum + v, count + 1));
    (delta, mean(sum, count) as f32)
}

impl Sharing {
    fn tiles(self, shape: Shape) -> Tiles {
        Tiles::new(shape, if self == Self::Layer { usize::MAX } else { 1 }, usize::MAX)
    }
}

impl Codec for Sharing {
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    fn storage(&self, shape: Shape) -> Storage {
        let (values, tiles) = (packed_len(shape.len() as u64, 2), self.tiles(shape).count() as u64);
        Storage { values, scales: 4 * tiles, ..Storage::default() }
    }

    fn encode(&self, matrix: &Matrix<'_>, _how: &How<'_>, ctx: &Ctx) -> Result<Parts, FormatError> {
        let (tiles, cols) = (self.tiles(matrix.shape()), matrix.shape().cols());
        let fits = tiles.map(matrix, |_, values| Ok(fit(values)))?;
        let values = Lines::of_rows(matrix.shape(), 1, 2).write(ctx, |first, codes| {
            for (row, codes) in (first..).zip(codes.chunks_mut(cols)) {
                let (delta, _) = fits[tiles.first_of(row)];
                for (code, x) in codes.iter_mut().zip(matrix.segment(row, 0, cols)) {
                    // −1 is 11 in two's complement.
                    *code = if f64::from(x.abs()) <= delta { 0 } else { 1 | u16::from(*x < 0.0) << 1 };
                }
            }
            Ok(())
        })?;
        Ok(Parts { values, scales: f32_bytes(fits.iter().map(|f| f.1)), ..Parts::default() })
    }

    fn decode(&self, parts: &Parts, shape: Shape, out: &mut [f32]) {
        let (tiles, cols) = (self.tiles(shape), shape.cols());
        decode(parts, shape, 2, out, |row| f32_at(&parts.scales, tiles.first_of(row)), |code| signed(code, 2) as f32, cols);
    }

    fn levels(&self, parts: &Parts, shape: Shape, row: usize, _col: usize) -> Vec<f32> {
        let alpha = f32_at(&parts.scales, self.tiles(shape).first_of(row));
        vec![-alpha, 0.0, alpha]
    }
}

/// sign(w)·α, α = mean|w| of the output channel; 0 counts as positive. A positive weight is the bit 1.
pub(super) struct Binary;

impl Codec for Binary {
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    fn storage(&self, shape: Shape) -> Storage {
        let filters = Tiles::new(shape, 1, usize::MAX).count() as u64;
        Storage { values: packed_len(shape.len() as u64, 1), scales: 4 * filters, ..Storage::default() }
    }

    fn encode(&self, matrix: &Matrix<'_>, _how: &How<'_>, ctx: &Ctx) -> Result<Parts, FormatError> {
        let filters = Tiles::new(matrix.shape(), 1, usize::MAX);
        let alphas = filters.map(matrix, |_, values| Ok(mean(magnitudes(values), values.len()) as f32))?;
        let cols = matrix.shape().cols();
        let values = Lines::of_rows(matrix.shape(), 1, 1).write(ctx, |first, codes| {
            for (code, x) in codes.iter_mut().zip(&matrix.values()[first * cols..]) {
                *code = u16::from(*x >= 0.0);
            }
            Ok(())
        })?;
        Ok(Parts { values, scales: f32_bytes(alphas), ..Parts::default() })
    }

    fn decode(&self, parts: &Parts, shape: Shape, out: &mut [f32]) {
        let sign = |code| if code == 0 { -1.0 } else { 1.0 };
        decode(parts, shape, 1, out, |row| f32_at(&parts.scales, row), sign, shape.cols());
    }

    fn levels(&self, parts: &Parts, _shape: Shape, row: usize, _col: usize) -> Vec<f32> {
        let alpha = f32_at(&parts.scales, row);
        vec![-alpha, alpha]
    }
}

fn decode(
    parts: &Parts,
    shape: Shape,
    bits: u8,
    out: &mut [f32],
    alpha: impl Fn(usize) -> f32 + Sync,
    sign: impl Fn(u16) -> f32 + Sync,
    cols: usize,
) {
    Lines::of_rows(shape, 1, bits).read(&parts.values, cols, out, |first, codes, out| {
        for (row, (codes, out)) in (first..).zip(codes.chunks(cols).zip(out.chunks_mut(cols))) {
            let alpha = alpha(row);
            for (o, code) in out.iter_mut().zip(codes) {
                *o = sign(*code) * alpha;
            }
        }
    });
}

impl fmt::Display for Sharing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::Layer { "per layer" } else { "per filter" })
    }
}
