//! Floats of 16 bits, and of 8 bits with a scale (OCP 8-bit floating-point specification, 2023).
//!
//! What lies beyond the largest number becomes the largest, never infinite. The scale of float8 is absmax
//! over the largest number of the type (448 or 57344), in f32.

use super::encoded::{Parts, Storage, f32_at, f32_bytes};
use super::error::FormatError;
use super::matrix::{Matrix, Shape, Tiles};
use super::pack::{Lines, packed_len};
use super::rounding::{Rule, with_rule};
use super::{Codec, How, observe};
use crate::engine::Ctx;
use crate::engine::tensor::MiniFloat;
use crate::engine::tensor::Overflow;
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Float {
    F16,
    BF16,
    Fp8 { kind: Fp8, scale: Fp8Scale },
}

/// The two split 8 bits between range and precision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fp8 {
    E4M3,
    E5M2,
}

/// Which weights share the scale of a float8 format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fp8Scale {
    Tensor,
    Channel,
}

impl Fp8 {
    pub(super) fn element(self) -> &'static MiniFloat {
        match self {
            Self::E4M3 => &MiniFloat::E4M3FN,
            Self::E5M2 => &MiniFloat::E5M2,
        }
    }
}

impl Float {
    fn element(self) -> &'static MiniFloat {
        match self {
            Self::F16 => &MiniFloat::F16,
            Self::BF16 => &MiniFloat::BF16,
            Self::Fp8 { kind, .. } => kind.element(),
        }
    }

    /// The rectangles that share a scale; `None` where there are no scales.
    fn tiles(self, shape: Shape) -> Option<Tiles> {
        match self {
            Self::F16 | Self::BF16 => None,
            Self::Fp8 { scale: Fp8Scale::Tensor, .. } => Some(Tiles::new(shape, usize::MAX, usize::MAX)),
            Self::Fp8 { scale: Fp8Scale::Channel, .. } => Some(Tiles::new(shape, 1, usize::MAX)),
        }
    }

    /// The scale of a row; 1 where there are none.
    fn scale(tiles: Option<Tiles>, scales: &[u8], row: usize) -> f32 {
        tiles.map_or(1.0, |tiles| f32_at(scales, tiles.first_of(row)))
    }

    fn codes<R: Rule>(self, matrix: &Matrix<'_>, scales: &[u8], rule: R, ctx: &Ctx) -> Result<Vec<u8>, FormatError> {
        let (element, shape) = (self.element(), matrix.shape());
        let (tiles, cols) = (self.tiles(shape), shape.cols());
        Lines::of_rows(shape, 1, element.bits()).write(ctx, |first, codes| {
            for (row, codes) in (first..).zip(codes.chunks_mut(cols)) {
                let scale = f64::from(Self::scale(tiles, scales, row));
                for (col, (code, x)) in codes.iter_mut().zip(matrix.segment(row, 0, cols)).enumerate() {
                    *code = element_code(element, f64::from(*x) / scale, rule, (row * cols + col) as u64);
                }
            }
            Ok(())
        })
    }
}

/// The pattern of `x`, rounded once.
#[inline]
pub(super) fn element_code<R: Rule>(element: &MiniFloat, x: f64, rule: R, at: u64) -> u16 {
    element.encode_by(x, Overflow::Saturate, |x| rule.whole64(x, at))
}

/// What every pattern of a type stands for.
pub(super) fn numbers(element: &MiniFloat) -> Vec<f32> {
    (0..=u16::MAX >> (16 - element.bits())).map(|code| element.decode(code)).collect()
}

/// Every finite number of a type.
pub(super) fn finite(element: &MiniFloat) -> impl Iterator<Item = f32> {
    numbers(element).into_iter().filter(|x| x.is_finite())
}

impl Codec for Float {
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    fn storage(&self, shape: Shape) -> Storage {
        Storage {
            values: packed_len(shape.len() as u64, self.element().bits()),
            scales: self.tiles(shape).map_or(0, |tiles| tiles.count() as u64 * 4),
            ..Storage::default()
        }
    }

    fn encode(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx) -> Result<Parts, FormatError> {
        let largest = self.element().max();
        let scales = match self.tiles(matrix.shape()) {
            None => Vec::new(),
            Some(tiles) => f32_bytes(tiles.map(matrix, |_, values| Ok(usable(observe::absmax(values) / largest)))?),
        };
        let values = with_rule!(how.rounding, rule => self.codes(matrix, &scales, rule, ctx))?;
        Ok(Parts { values, scales, ..Parts::default() })
    }

    fn decode(&self, parts: &Parts, shape: Shape, out: &mut [f32]) {
        let (tiles, cols) = (self.tiles(shape), shape.cols());
        let numbers = numbers(self.element());
        Lines::of_rows(shape, 1, self.element().bits()).read(&parts.values, cols, out, |first, codes, out| {
            for (row, (codes, out)) in (first..).zip(codes.chunks(cols).zip(out.chunks_mut(cols))) {
                let scale = Self::scale(tiles, &parts.scales, row);
                for (o, code) in out.iter_mut().zip(codes) {
                    *o = scaled(numbers[usize::from(*code)], scale);
                }
            }
        });
    }

    fn levels(&self, parts: &Parts, shape: Shape, row: usize, _col: usize) -> Vec<f32> {
        let scale = Self::scale(self.tiles(shape), &parts.scales, row);
        finite(self.element()).map(|x| scaled(x, scale)).collect()
    }
}

/// A scale that can be divided by: 1 where there is nothing to scale.
pub(super) fn usable(scale: f32) -> f32 {
    if scale < f32::MIN_POSITIVE { 1.0 } else { scale }
}

/// A level of a finite type times its scale: the largest f32 where rounding of the scale carried it beyond.
pub(super) fn scaled(level: f32, scale: f32) -> f32 {
    let x = level * scale;
    if x.is_infinite() { f32::MAX.copysign(x) } else { x }
}

impl fmt::Display for Float {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F16 => f.write_str("fp16"),
            Self::BF16 => f.write_str("bf16"),
            Self::Fp8 { kind, scale } => {
                f.write_str(if *kind == Fp8::E4M3 { "fp8 e4m3" } else { "fp8 e5m2" })?;
                f.write_str(if *scale == Fp8Scale::Tensor { " per tensor" } else { " per channel" })
            }
        }
    }
}
