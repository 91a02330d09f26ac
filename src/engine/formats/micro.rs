//! Narrow numbers in blocks along a row, each block with a scale of 8 bits.
//!
//! The MX formats (OCP microscaling formats 1.0): blocks of 32, the scale a power of two (E8M0). The rule of
//! the specification: exponent = floor(log2 absmax) − the exponent of the element's largest number; what
//! lies beyond the largest element becomes the largest. (So a block whose absmax over 2^exponent lies
//! between 6 and 8 clips in MXFP4; other tools round the scale up.) MXINT8 elements are m/64, m from −127 to 127.
//!
//! NVFP4 (NVIDIA's, Blackwell): blocks of 16 E2M1 numbers, each with an E4M3 scale, and an f32 scale for the
//! whole tensor: g = absmax/(448·6), block scale = E4M3 nearest to absmax of the block/(6·g), element = w/(scale·g).
//!
//! A row that does not fill its last block is filled up with zeros, which are stored.

use super::encoded::{Parts, Storage, f32_bytes};
use super::error::FormatError;
use super::float::{element_code, finite, numbers, scaled, usable};
use super::matrix::{Matrix, Shape, Tiles};
use super::pack::{Lines, packed_len, signed};
use super::rounding::{NearestEven, Rule, with_rule};
use super::{Codec, How, observe};
use crate::engine::Ctx;
use crate::engine::tensor::MiniFloat;
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Micro {
    MxFp4,
    MxFp6E2M3,
    MxFp6E3M2,
    MxFp8E4M3,
    MxFp8E5M2,
    MxInt8,
    NvFp4,
}

/// Numbers of a block.
enum Element {
    Float(&'static MiniFloat),
    /// m/64 of 8 bits.
    Fixed,
}

impl Element {
    fn bits(&self) -> u8 {
        match self {
            Self::Float(float) => float.bits(),
            Self::Fixed => 8,
        }
    }

    fn largest_exponent(&self) -> i32 {
        match self {
            Self::Float(float) => float.largest_exponent(),
            Self::Fixed => 0,
        }
    }

    #[inline]
    fn encode<R: Rule>(&self, x: f64, rule: R, at: u64) -> u16 {
        match self {
            Self::Float(float) => element_code(float, x, rule, at),
            Self::Fixed => rule.whole64(x * 64.0, at).clamp(-127.0, 127.0) as i32 as u8 as u16,
        }
    }

    /// What every code stands for.
    fn numbers(&self) -> Vec<f32> {
        match self {
            Self::Float(float) => numbers(float),
            Self::Fixed => (0..=255).map(|code| signed(code, 8) as f32 / 64.0).collect(),
        }
    }
}

impl Micro {
    fn element(self) -> Element {
        match self {
            Self::MxFp4 | Self::NvFp4 => Element::Float(&MiniFloat::E2M1),
            Self::MxFp6E2M3 => Element::Float(&MiniFloat::E2M3),
            Self::MxFp6E3M2 => Element::Float(&MiniFloat::E3M2),
            Self::MxFp8E4M3 => Element::Float(&MiniFloat::E4M3FN),
            Self::MxFp8E5M2 => Element::Float(&MiniFloat::E5M2),
            Self::MxInt8 => Element::Fixed,
        }
    }

    /// Bits of one number.
    #[must_use]
    pub fn bits(self) -> u8 {
        self.element().bits()
    }

    /// Weights of one block.
    #[must_use]
    pub fn block(self) -> usize {
        if self == Self::NvFp4 { 16 } else { 32 }
    }

    fn lines(self, shape: Shape) -> Lines {
        Lines::of_rows(shape, self.block(), self.element().bits())
    }

    fn tiles(self, shape: Shape) -> Tiles {
        Tiles::new(shape, 1, self.block())
    }

    /// The byte of a block's scale. `whole` is the scale of the tensor.
    fn scale_byte(self, values: &[f32], whole: f32) -> u8 {
        let absmax = f64::from(observe::absmax(values));
        if self == Self::NvFp4 {
            let largest = f64::from(MiniFloat::E2M1.max());
            return element_code(&MiniFloat::E4M3FN, absmax / (largest * f64::from(whole)), NearestEven, 0) as u8;
        }
        // Every f32 is a normal f64: its exponent stands in its bits. Zero has the lowest there is.
        let exponent = if absmax == 0.0 { -127 } else { (absmax.to_bits() >> 52) as i32 - 1023 };
        ((exponent - self.element().largest_exponent()).clamp(-127, 127) + 127) as u8
    }

    fn scale(self, byte: u8, whole: f32) -> f64 {
        if self == Self::NvFp4 {
            f64::from(MiniFloat::E4M3FN.decode(u16::from(byte))) * f64::from(whole)
        } else {
            2_f64.powi(i32::from(byte) - 127)
        }
    }

    /// Bytes of the blocks' scales, and the scale of the tensor.
    fn split(self, scales: &[u8]) -> (&[u8], f32) {
        match scales.split_last_chunk::<4>() {
            Some((blocks, whole)) if self == Self::NvFp4 => (blocks, f32::from_le_bytes(*whole)),
            _ => (scales, 1.0),
        }
    }

    fn codes<R: Rule>(self, matrix: &Matrix<'_>, scales: &[u8], rule: R, ctx: &Ctx) -> Result<Vec<u8>, FormatError> {
        let (element, shape, block) = (self.element(), matrix.shape(), self.block());
        let (lines, tiles, cols) = (self.lines(shape), self.tiles(shape), shape.cols());
        let (blocks, whole) = self.split(scales);
        lines.write(ctx, |first, codes| {
            for (row, codes) in (first..).zip(codes.chunks_mut(lines.length)) {
                let values = matrix.segment(row, 0, cols).chunks(block);
                for (at, (values, codes)) in values.zip(codes.chunks_mut(block)).enumerate() {
                    let scale = self.scale(blocks[tiles.first_of(row) + at], whole);
                    let place = (row * cols + at * block) as u64;
                    for ((x, code), place) in values.iter().zip(codes).zip(place..) {
                        // A block whose scale was rounded to zero holds zeros.
                        let x = if scale > 0.0 { f64::from(*x) / scale } else { 0.0 };
                        *code = element.encode(x, rule, place);
                    }
                }
            }
            Ok(())
        })
    }
}

impl Codec for Micro {
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    fn storage(&self, shape: Shape) -> Storage {
        let values = packed_len(shape.len() as u64, self.element().bits());
        let whole = if *self == Self::NvFp4 { size_of::<f32>() as u64 } else { 0 };
        Storage {
            values,
            scales: self.tiles(shape).count() as u64 + whole,
            padding: self.lines(shape).bytes() - values,
            ..Storage::default()
        }
    }

    fn encode(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx) -> Result<Parts, FormatError> {
        let largest = MiniFloat::E2M1.max() * MiniFloat::E4M3FN.max();
        let whole = if *self == Self::NvFp4 { usable(observe::absmax(matrix.values()) / largest) } else { 1.0 };
        let mut scales = self.tiles(matrix.shape()).map(matrix, |_, values| Ok(self.scale_byte(values, whole)))?;
        if *self == Self::NvFp4 {
            scales.extend(f32_bytes([whole]));
        }
        let values = with_rule!(how.rounding, rule => self.codes(matrix, &scales, rule, ctx))?;
        Ok(Parts { values, scales, ..Parts::default() })
    }

    fn decode(&self, parts: &Parts, shape: Shape, out: &mut [f32]) {
        let (numbers, block) = (self.element().numbers(), self.block());
        let (lines, tiles, cols) = (self.lines(shape), self.tiles(shape), shape.cols());
        let (blocks, whole) = self.split(&parts.scales);
        lines.read(&parts.values, cols, out, |first, codes, out| {
            for (row, (codes, out)) in (first..).zip(codes.chunks(lines.length).zip(out.chunks_mut(cols))) {
                let scales = &blocks[tiles.first_of(row)..];
                for ((codes, out), byte) in codes.chunks(block).zip(out.chunks_mut(block)).zip(scales) {
                    let scale = self.scale(*byte, whole) as f32;
                    for (o, code) in out.iter_mut().zip(codes) {
                        *o = scaled(numbers[usize::from(*code)], scale);
                    }
                }
            }
        });
    }

    fn levels(&self, parts: &Parts, shape: Shape, row: usize, col: usize) -> Vec<f32> {
        let (blocks, whole) = self.split(&parts.scales);
        let byte = blocks.get(self.tiles(shape).holding(row, col)).copied().unwrap_or(0);
        let scale = self.scale(byte, whole) as f32;
        match self.element() {
            Element::Float(float) => finite(float).map(|x| scaled(x, scale)).collect(),
            Element::Fixed => (-127..=127).map(|m| scaled(m as f32 / 64.0, scale)).collect(),
        }
    }
}

impl fmt::Display for Micro {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::MxFp4 => "mxfp4",
            Self::MxFp6E2M3 => "mxfp6 e2m3",
            Self::MxFp6E3M2 => "mxfp6 e3m2",
            Self::MxFp8E4M3 => "mxfp8 e4m3",
            Self::MxFp8E5M2 => "mxfp8 e5m2",
            Self::MxInt8 => "mxint8",
            Self::NvFp4 => "nvfp4",
        })
    }
}
