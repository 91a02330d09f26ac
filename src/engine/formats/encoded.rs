//! Weights as bytes.

use super::error::FormatError;
use super::matrix::Shape;
use super::{Codec, Format};
use crate::engine::Ctx;

/// Bytes by what they hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Storage {
    /// One code per weight.
    pub values: u64,
    pub scales: u64,
    pub zero_points: u64,
    pub codebook: u64,
    /// Codes that fill up the last block of a row; they lie among the values.
    pub padding: u64,
}

impl Storage {
    #[must_use]
    pub fn total(&self) -> u64 {
        self.values + self.scales + self.zero_points + self.codebook + self.padding
    }

    /// All that is stored, in bits per weight; `None` for a matrix without weights.
    #[must_use]
    pub fn bits_per_weight(&self, rows: usize, cols: usize) -> Option<f64> {
        let weights = rows as f64 * cols as f64;
        (weights > 0.0).then(|| self.total() as f64 * 8.0 / weights)
    }
}

/// What is stored. Numbers of more than one byte are little-endian.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Parts {
    /// A dense stream of codes ([`super::pack`]).
    pub values: Vec<u8>,
    pub scales: Vec<u8>,
    /// A dense stream as well, of as many bits each as a value.
    pub zero_points: Vec<u8>,
    pub codebook: Vec<u8>,
}

/// A matrix in a format: parts whose lengths are what the format says.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    format: Format,
    shape: Shape,
    parts: Parts,
}

impl Encoded {
    /// Parts that came from wherever.
    ///
    /// # Errors
    /// When the format's settings make no sense, or a part is not as long as the format makes it.
    pub fn new(format: Format, shape: Shape, parts: Parts) -> Result<Self, FormatError> {
        let wanted = format.bytes(shape.rows(), shape.cols())?;
        let lengths = [
            ("values", parts.values.len(), wanted.values + wanted.padding),
            ("scales", parts.scales.len(), wanted.scales),
            ("zero points", parts.zero_points.len(), wanted.zero_points),
            ("codebook", parts.codebook.len(), wanted.codebook),
        ];
        for (part, given, wanted) in lengths {
            if given as u64 != wanted {
                return Err(FormatError::Damaged { part, given: given as u64, wanted });
            }
        }
        Ok(Self { format, shape, parts })
    }

    #[must_use]
    pub fn format(&self) -> Format {
        self.format
    }

    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    #[must_use]
    pub fn into_parts(self) -> Parts {
        self.parts
    }

    fn codec(&self) -> &dyn Codec {
        self.format.codec()
    }

    /// The bytes that are there; nothing of it is predicted but how many of them are padding.
    #[must_use]
    pub fn storage(&self) -> Storage {
        let padding = self.codec().storage(self.shape).padding;
        Storage {
            values: self.parts.values.len() as u64 - padding,
            scales: self.parts.scales.len() as u64,
            zero_points: self.parts.zero_points.len() as u64,
            codebook: self.parts.codebook.len() as u64,
            padding,
        }
    }

    /// The weights that the bytes stand for, row by row.
    #[must_use]
    pub fn decode(&self, ctx: &Ctx) -> Vec<f32> {
        ctx.pool().install(|| self.decode_here())
    }

    /// [`Encoded::decode`] on the threads of whoever calls.
    #[must_use]
    pub fn decode_here(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.shape.len()];
        self.codec().decode(&self.parts, self.shape, &mut out);
        out
    }

    /// Every value that the weight at this place could have been given, ascending; none outside the matrix.
    /// Of blocks of GGUF files: those that its block does hold.
    #[must_use]
    pub fn levels(&self, row: usize, col: usize) -> Vec<f32> {
        if row >= self.shape.rows() || col >= self.shape.cols() {
            return Vec::new();
        }
        let mut levels = self.codec().levels(&self.parts, self.shape, row, col);
        levels.sort_unstable_by(f32::total_cmp);
        levels.dedup();
        levels
    }
}

/// The f32 at `index` of a little-endian slice; 0 where there is none.
pub(super) fn f32_at(bytes: &[u8], index: usize) -> f32 {
    bytes.get(index * 4..).and_then(|b| b.first_chunk()).map_or(0.0, |b| f32::from_le_bytes(*b))
}

pub(super) fn f32_bytes(values: impl IntoIterator<Item = f32>) -> Vec<u8> {
    values.into_iter().flat_map(f32::to_le_bytes).collect()
}
