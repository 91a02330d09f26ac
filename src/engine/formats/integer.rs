//! Affine integers of 1 to 8 and 16 bits: `w ≈ (q − z)·s`, as ONNX `DequantizeLinear` has it.
//!
//! How a scale follows from a range [low, high] of b bits, n = 2^b − 1, t = 2^(b−1) − 1:
//! - [`Symmetry::Restricted`]: s = max(|low|, |high|)/t, codes −t … t. The rule of ONNX Runtime for int8.
//! - [`Symmetry::Full`]: s = 2·max(|low|, |high|)/n, codes −t − 1 … t: half a step finer, and the largest
//!   positive weight is clipped by half a step. The rule of ONNX Runtime for int4, of torch's observers for
//!   all widths (absmax/127.5 for 8 bits).
//! - [`Symmetry::Wide`]: s = max(|low|, |high|)/t, codes −t − 1 … t: the steps of `Restricted`, and one more code
//!   below, which serves where the range clips (GPTQ and AIMET have it so).
//! - [`Symmetry::Asymmetric`]: the range is widened to hold zero, s = (high − low)/n in f64, z = round(−low/s),
//!   codes 0 … n. Zero stays exact.
//!
//! Scales in f16 and powers of two are rounded up, so that nothing clips that would not with an f32 scale; the
//! zero point follows from the scale that is stored. A scale is lowered where a level would be infinite.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]

use super::encoded::{Encoded, Parts, Storage, f32_at};
use super::error::FormatError;
use super::importance::Weighing;
use super::matrix::{Matrix, Shape, Tiles};
use super::observe::{Observer, Range};
use super::pack::{Lines, code_at, pack, packed_len, signed, unpack};
use super::rounding::{Rule, with_rule};
use super::{Codec, Format, How};
use crate::engine::Ctx;
use crate::engine::kernels::affine::{AffineParameters, asymmetric, symmetric};
use crate::engine::kernels::widest::{Work, widest};
use half::f16;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Integer {
    /// 1 to 8, or 16.
    pub bits: u8,
    pub symmetry: Symmetry,
    pub granularity: Granularity,
    pub scales: ScaleType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Symmetry {
    /// As many codes below zero as above.
    Restricted,
    /// Every code of two's complement.
    Full,
    /// Every code of two's complement, with the steps of `Restricted`.
    Wide,
    /// Unsigned codes and a zero point.
    Asymmetric,
}

/// Which weights share one scale.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Granularity {
    Tensor,
    /// One output channel.
    Channel,
    /// So many neighbors along a row; the last group of a row may be shorter, a longer one is the row.
    Group(usize),
    /// A rectangle; those at the edges may be smaller.
    Block {
        rows: usize,
        cols: usize,
    },
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ScaleType {
    #[default]
    F32,
    F16,
    /// The exponent in one byte, 2^(byte − 127) (E8M0 of the OCP microscaling formats).
    PowerOfTwo,
}

/// e of 2^e ≤ x < 2^(e + 1), for normal x.
fn exponent(x: f64) -> i32 {
    (x.to_bits() >> 52) as i32 - 1023
}

impl ScaleType {
    fn size(self) -> u64 {
        match self {
            Self::F32 => 4,
            Self::F16 => 2,
            Self::PowerOfTwo => 1,
        }
    }

    /// The smallest scale of this type that is no smaller; `None` where there is none.
    fn up(self, scale: f64) -> Option<f32> {
        match self {
            Self::F32 => Some(scale as f32),
            Self::F16 => {
                let near = f16::from_f64(scale);
                let up = if near.to_f64() < scale { f16::from_bits(near.to_bits() + 1) } else { near };
                up.is_finite().then(|| up.to_f32())
            }
            Self::PowerOfTwo => {
                let exponent = exponent(scale) + i32::from(scale > 2_f64.powi(exponent(scale)));
                Some(2_f64.powi(exponent.clamp(-127, 127)) as f32)
            }
        }
    }

    fn write(self, scale: f32, out: &mut Vec<u8>) {
        match self {
            Self::F32 => out.extend(scale.to_le_bytes()),
            Self::F16 => out.extend(f16::from_f32(scale).to_le_bytes()),
            Self::PowerOfTwo => out.push((exponent(f64::from(scale)) + 127) as u8),
        }
    }

    fn read(self, bytes: &[u8], index: usize) -> f32 {
        match self {
            Self::F32 => f32_at(bytes, index),
            Self::F16 => bytes.get(index * 2..).and_then(|b| b.first_chunk()).map_or(0.0, |b| f16::from_le_bytes(*b).to_f32()),
            Self::PowerOfTwo => 2_f64.powi(bytes.get(index).map_or(0, |b| i32::from(*b)) - 127) as f32,
        }
    }
}

impl Integer {
    fn tiles(&self, shape: Shape) -> Tiles {
        match self.granularity {
            Granularity::Tensor => Tiles::new(shape, usize::MAX, usize::MAX),
            Granularity::Channel => Tiles::new(shape, 1, usize::MAX),
            Granularity::Group(size) => Tiles::new(shape, 1, size),
            Granularity::Block { rows, cols } => Tiles::new(shape, rows, cols),
        }
    }

    /// Smallest and largest code, with no zero point yet.
    fn codes(&self) -> (i32, i32) {
        let top = (1 << (self.bits.max(1) - 1)) - 1;
        match self.symmetry {
            Symmetry::Restricted => (-top, top),
            Symmetry::Full | Symmetry::Wide => (-top - 1, top),
            Symmetry::Asymmetric => (0, (1 << self.bits) - 1),
        }
    }

    /// The grid that spans a range; `None` where its scale is too large for the type of scales.
    #[must_use]
    pub fn grid(&self, range: Range) -> Option<AffineParameters> {
        let (low, high) = self.codes();
        let absmax = range.low.abs().max(range.high.abs());
        let exact = match self.symmetry {
            Symmetry::Restricted | Symmetry::Wide => AffineParameters { low, ..symmetric(absmax, self.bits) },
            Symmetry::Full => {
                let scale = (2.0 * f64::from(absmax) / f64::from((1 << self.bits) - 1)) as f32;
                AffineParameters { scale: if scale < f32::MIN_POSITIVE { 1.0 } else { scale }, zero_point: 0, low, high }
            }
            Symmetry::Asymmetric => asymmetric(range.low, range.high, self.bits),
        };
        let mut grid = AffineParameters { scale: self.scales.up(f64::from(exact.scale))?, ..exact };
        let beyond = |g: &AffineParameters| g.dequantize(g.low).is_infinite() || g.dequantize(g.high).is_infinite();
        while beyond(&grid) {
            // An infinite scale first becomes the largest.
            grid.scale = match self.scales {
                ScaleType::PowerOfTwo => grid.scale / 2.0,
                _ => (grid.scale * 0.999).min(f32::MAX),
            };
        }
        if grid.scale != exact.scale && self.symmetry == Symmetry::Asymmetric {
            let zero = (-f64::from(range.low.min(0.0)) / f64::from(grid.scale)).round_ties_even();
            grid.zero_point = zero.clamp(0.0, f64::from(high)) as i32;
        }
        Some(grid)
    }

    /// What its errors are weighed by, where that makes a difference.
    fn weighing(how: &How<'_>, shape: Shape) -> Option<Weighing> {
        let importance = how.importance.filter(|_| matches!(how.range, Observer::Grid { .. }))?;
        Some(Weighing::new(&importance, shape))
    }

    /// The grid of one tile of a matrix, whose weights these are.
    fn fit(
        &self,
        (matrix, tile): (&Matrix<'_>, usize),
        values: &[f32],
        importance: Option<&[f32]>,
        how: &How<'_>,
    ) -> Result<AffineParameters, FormatError> {
        let range = how.range.of_unchecked(values, importance, self).ok_or_else(|| matrix.not_finite())?;
        self.grid(range).ok_or_else(|| {
            let (row, col) = self.tiles(matrix.shape()).origin(tile);
            let exact = Self { scales: ScaleType::F32, ..*self }.grid(range).map_or(f32::NAN, |g| g.scale);
            FormatError::ScaleTooLarge { row, col, scale: exact }
        })
    }

    fn fit_all(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx) -> Result<Vec<AffineParameters>, FormatError> {
        let tiles = self.tiles(matrix.shape());
        let weighing = Self::weighing(how, matrix.shape());
        tiles.map(matrix, |tile, values| {
            ctx.check()?;
            let importance = weighing.as_ref().map(|w| w.of_tile(tiles, tile));
            self.fit((matrix, tile), values, importance.as_deref(), how)
        })
    }

    /// The stored grid of a tile.
    fn grid_at(&self, parts: &Parts, tile: usize) -> AffineParameters {
        let (low, high) = self.codes();
        let zero_point = match self.symmetry {
            Symmetry::Asymmetric => i32::from(code_at(&parts.zero_points, self.bits, tile)),
            Symmetry::Restricted | Symmetry::Full | Symmetry::Wide => 0,
        };
        AffineParameters { scale: self.scales.read(&parts.scales, tile), zero_point, low, high }
    }

    fn grids(&self, parts: &Parts, shape: Shape) -> Vec<AffineParameters> {
        (0..self.tiles(shape).count()).map(|tile| self.grid_at(parts, tile)).collect()
    }

    fn code(&self, code: u16) -> i32 {
        if self.symmetry == Symmetry::Asymmetric { i32::from(code) } else { signed(code, self.bits) }
    }

    fn lines(&self, shape: Shape) -> Lines {
        Lines::of_rows(shape, 1, self.bits)
    }

    /// [`Codec::encode`] with grids that someone else chose, one per tile.
    fn encode_on<R: Rule>(
        &self,
        matrix: &Matrix<'_>,
        grids: &[AffineParameters],
        rule: R,
        ctx: &Ctx,
    ) -> Result<Vec<u8>, FormatError> {
        let (tiles, cols) = (self.tiles(matrix.shape()), matrix.shape().cols());
        self.lines(matrix.shape()).write(ctx, |first, codes| {
            for (row, codes) in (first..).zip(codes.chunks_mut(cols)) {
                let grids = &grids[tiles.first_of(row)..];
                let values = matrix.segment(row, 0, cols);
                let segments = values.chunks(tiles.wide).zip(codes.chunks_mut(tiles.wide)).zip(grids).enumerate();
                for (segment, ((x, codes), grid)) in segments {
                    let at = (row * cols + segment * tiles.wide) as u64;
                    widest(Quantize { x, out: codes, grid: *grid, at, rule, store: |q, _| q as i32 as u16 });
                }
            }
            Ok(())
        })
    }

    fn approximate_by<R: Rule>(
        &self,
        matrix: &Matrix<'_>,
        how: &How<'_>,
        rule: R,
        ctx: &Ctx,
        out: &mut [f32],
    ) -> Result<(), FormatError> {
        let (tiles, cols) = (self.tiles(matrix.shape()), matrix.shape().cols());
        // A tile of one row is read twice while it lies in the cache; others are fitted beforehand.
        let fitted = if tiles.tall > 1 { Some(self.fit_all(matrix, how, ctx)?) } else { None };
        let weighing = Self::weighing(how, matrix.shape());
        let rows = (1_usize << 15).div_ceil(cols.max(1));
        out.par_chunks_mut((rows * cols).max(1)).enumerate().try_for_each(|(task, out)| {
            ctx.check()?;
            for (row, out) in (task * rows..).zip(out.chunks_mut(cols)) {
                let values = matrix.segment(row, 0, cols);
                for (segment, (x, out)) in values.chunks(tiles.wide).zip(out.chunks_mut(tiles.wide)).enumerate() {
                    let tile = tiles.first_of(row) + segment;
                    let grid = match &fitted {
                        Some(grids) => grids[tile],
                        None => {
                            let from = segment * tiles.wide;
                            let importance = weighing.as_ref().map(|w| w.segment(row, from, from + x.len()));
                            self.fit((matrix, tile), x, importance, how)?
                        }
                    };
                    let at = (row * cols + segment * tiles.wide) as u64;
                    // The quantized value less the zero point, as `AffineParameters::dequantize` has it.
                    let zero = grid.zero_point as f32;
                    widest(Quantize { x, out, grid, at, rule, store: move |q, scale| (q - zero) * scale });
                }
            }
            ctx.advance(out.len());
            Ok(())
        })
    }
}

/// Codes of a run of weights that share a grid: `saturate(round(x/s) + z)`, given to `store` with the scale.
struct Quantize<'a, T, R, F> {
    x: &'a [f32],
    out: &'a mut [T],
    grid: AffineParameters,
    /// Place of the first weight.
    at: u64,
    rule: R,
    store: F,
}

impl<T, R: Rule, F: Fn(f32, f32) -> T> Work for Quantize<'_, T, R, F> {
    #[inline(always)]
    fn run(self) {
        let Self { x, out, grid, at, rule, store } = self;
        let AffineParameters { scale, zero_point, low, high } = grid;
        let (zero, low, high) = (zero_point as f32, low as f32, high as f32);
        for (i, (o, x)) in out.iter_mut().zip(x).enumerate() {
            let q = rule.whole(x / scale, at + i as u64) + zero;
            *o = store(q.clamp(low, high), scale);
        }
    }
}

impl Codec for Integer {
    fn validate(&self) -> Result<(), String> {
        match (self.bits, self.granularity) {
            (bits, _) if !(1..=8).contains(&bits) && bits != 16 => Err(format!("integers have 1 to 8 or 16 bits, not {bits}")),
            (1, _) if self.symmetry != Symmetry::Asymmetric => {
                Err("a symmetric integer of one bit has no level but zero; take binary, or asymmetric".to_owned())
            }
            (_, Granularity::Group(0) | Granularity::Block { rows: 0, .. } | Granularity::Block { cols: 0, .. }) => {
                Err("a group of no weights".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn storage(&self, shape: Shape) -> Storage {
        let tiles = self.tiles(shape).count() as u64;
        let zero_points = if self.symmetry == Symmetry::Asymmetric { packed_len(tiles, self.bits) } else { 0 };
        Storage {
            values: packed_len(shape.len() as u64, self.bits),
            scales: tiles * self.scales.size(),
            zero_points,
            ..Storage::default()
        }
    }

    fn encode(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx) -> Result<Parts, FormatError> {
        let grids = self.fit_all(matrix, how, ctx)?;
        let values = with_rule!(how.rounding, rule => self.encode_on(matrix, &grids, rule, ctx))?;
        let mut parts = Parts { values, ..Parts::default() };
        for grid in &grids {
            self.scales.write(grid.scale, &mut parts.scales);
        }
        if self.symmetry == Symmetry::Asymmetric {
            let zeros: Vec<u16> = grids.iter().map(|g| g.zero_point as u16).collect();
            pack(&zeros, self.bits, &mut parts.zero_points);
        }
        Ok(parts)
    }

    fn decode(&self, parts: &Parts, shape: Shape, out: &mut [f32]) {
        let (tiles, grids, cols) = (self.tiles(shape), self.grids(parts, shape), shape.cols());
        self.lines(shape).read(&parts.values, cols, out, |first, codes, out| {
            for (row, (codes, out)) in (first..).zip(codes.chunks(cols).zip(out.chunks_mut(cols))) {
                let segments = codes.chunks(tiles.wide).zip(out.chunks_mut(tiles.wide));
                for ((codes, out), grid) in segments.zip(&grids[tiles.first_of(row)..]) {
                    for (o, code) in out.iter_mut().zip(codes) {
                        *o = grid.dequantize(self.code(*code));
                    }
                }
            }
        });
    }

    fn levels(&self, parts: &Parts, shape: Shape, row: usize, col: usize) -> Vec<f32> {
        let grid = self.grid_at(parts, self.tiles(shape).holding(row, col));
        (grid.low..=grid.high).map(|q| grid.dequantize(q)).collect()
    }

    fn approximate(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx, out: &mut [f32]) -> Result<(), FormatError> {
        with_rule!(how.rounding, rule => self.approximate_by(matrix, how, rule, ctx, out))
    }
}

impl Encoded {
    /// Integers whose codes and grids someone else chose: a code per weight, row by row, and a grid per tile.
    /// Codes beyond a grid are cut to it; scales are rounded to their type.
    ///
    /// # Errors
    /// When there are not as many codes or grids as the matrix needs, or a scale is too large for its type.
    pub fn of_integers(format: Integer, shape: Shape, codes: &[i32], grids: &[AffineParameters]) -> Result<Self, FormatError> {
        let (low, high) = format.codes();
        let unsigned: Vec<u16> = codes.iter().map(|q| (*q).clamp(low, high) as u16).collect();
        let mut parts = Parts::default();
        pack(&unsigned, format.bits, &mut parts.values);
        for (tile, grid) in grids.iter().enumerate() {
            let (row, col) = format.tiles(shape).origin(tile);
            let scale = format.scales.up(f64::from(grid.scale)).filter(|s| s.is_finite() && *s > 0.0);
            let too_large = FormatError::ScaleTooLarge { row, col, scale: grid.scale };
            format.scales.write(scale.ok_or(too_large)?, &mut parts.scales);
        }
        if format.symmetry == Symmetry::Asymmetric {
            let zeros: Vec<u16> = grids.iter().map(|g| g.zero_point.clamp(low, high) as u16).collect();
            pack(&zeros, format.bits, &mut parts.zero_points);
        }
        Self::new(Format::Integer(format), shape, parts)
    }

    /// Codes and grids of integers, for those who write them in a layout of their own; `None` for other formats.
    #[must_use]
    pub fn integers(&self) -> Option<(Vec<i32>, Vec<AffineParameters>)> {
        let Format::Integer(format) = self.format() else { return None };
        let mut codes = vec![0_u16; self.shape().len()];
        unpack(&self.parts().values, format.bits, &mut codes);
        Some((codes.iter().map(|c| format.code(*c)).collect(), format.grids(self.parts(), self.shape())))
    }
}

impl fmt::Display for Integer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.symmetry == Symmetry::Asymmetric { "uint" } else { "int" };
        write!(f, "{sign}{} {}", self.bits, self.granularity)?;
        match self.symmetry {
            Symmetry::Full => f.write_str(", full range")?,
            Symmetry::Wide => f.write_str(", all codes")?,
            Symmetry::Restricted | Symmetry::Asymmetric => {}
        }
        f.write_str(match self.scales {
            ScaleType::F32 => "",
            ScaleType::F16 => ", f16 scales",
            ScaleType::PowerOfTwo => ", power-of-two scales",
        })
    }
}

impl fmt::Display for Granularity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tensor => f.write_str("per tensor"),
            Self::Channel => f.write_str("per channel"),
            Self::Group(size) => write!(f, "group {size}"),
            Self::Block { rows, cols } => write!(f, "block {rows}×{cols}"),
        }
    }
}
