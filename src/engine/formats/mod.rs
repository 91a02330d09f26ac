//! Number formats for weights: what each can hold, how many bytes it takes, and the way there and back.
//!
//! A weight is seen as a matrix of rows (output channels) × columns (the flattened input axis). A
//! [`Format`] says exactly how many bytes such a matrix takes ([`Format::bytes`]), turns it into them
//! ([`Format::encode`]) and back ([`Encoded::decode`]); [`Format::approximate`] does both at once. Rules that
//! tools differ in – how a scale follows from a range, how a short block is filled up – are stated where
//! they are written. Results are the same at any number of threads and on every processor.
//!
//! Weights that are NaN or infinite are refused. A group of zeros has scale 1; so has one so small that
//! its scale would be no normal f32: its weights become zero.

mod block;
pub mod blocks;
mod codebook;
mod encoded;
mod error;
mod float;
mod importance;
mod integer;
mod matrix;
mod micro;
mod normal;
pub mod observe;
pub mod pack;
mod rounding;
mod table;
mod ternary;
#[cfg(test)]
mod tests;

pub use codebook::{Codebook, Entries, Fit, Scope, Zeros};
pub use encoded::{Encoded, Parts, Storage};
pub use error::FormatError;
pub use float::{Float, Fp8, Fp8Scale};
pub use importance::Importance;
pub use integer::{Granularity, Integer, ScaleType, Symmetry};
pub use matrix::{Matrix, Shape};
pub use micro::Micro;
pub use normal::{NORMAL_BLOCK, NORMAL_LEVELS, NORMAL_SUPER, NormalScales};
pub use rounding::Rounding;
pub use ternary::Sharing;

use crate::engine::Ctx;
use blocks::BlockFormat;
use observe::Observer;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How a matrix of weights is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Format {
    /// Affine integers: `w ≈ (q − z)·s`.
    Integer(Integer),
    /// Floats of 8 or 16 bits.
    Float(Float),
    /// Narrow numbers in blocks that share a scale of 8 bits.
    Micro(Micro),
    /// 16 levels spaced as a normal distribution has it (NF4), in blocks of 64.
    Normal(NormalScales),
    /// Few values that all weights share, and their numbers.
    Codebook(Codebook),
    /// −α, 0 or α. Needs training.
    Ternary(Sharing),
    /// −α or α, α per output channel. Needs training.
    Binary,
    /// Blocks of GGUF files, which lie along the rows.
    Block(BlockFormat),
}

/// What is chosen besides the format when weights are rounded to it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct How<'a> {
    pub rounding: Rounding,
    /// How the range that integers span is chosen; the other formats have rules of their own.
    pub range: Observer,
    /// What errors of the columns count, where the format weighs them ([`Format::weighs`]).
    pub importance: Option<Importance<'a>>,
}

/// What every family of formats can do. Shapes and lengths of parts were checked before it is asked.
trait Codec {
    /// # Errors
    /// A sentence on what is wrong with the settings.
    fn validate(&self) -> Result<(), String>;
    /// # Errors
    /// When a matrix of this shape cannot be held.
    fn fits(&self, _shape: Shape) -> Result<(), FormatError> {
        Ok(())
    }
    fn storage(&self, shape: Shape) -> Storage;
    /// What is stored of a matrix of finite weights.
    fn encode(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx) -> Result<Parts, FormatError>;
    fn decode(&self, parts: &Parts, shape: Shape, out: &mut [f32]);
    /// Every value that the weight at this place could have, in ascending order.
    fn levels(&self, parts: &Parts, shape: Shape, row: usize, col: usize) -> Vec<f32>;
    /// What comes of encoding and decoding. Nobody has looked yet whether the weights are finite.
    fn approximate(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx, out: &mut [f32]) -> Result<(), FormatError> {
        matrix.check_finite()?;
        let parts = self.encode(matrix, how, ctx)?;
        self.decode(&parts, matrix.shape(), out);
        Ok(())
    }
}

impl Format {
    /// Symmetric integers, one scale per output channel.
    #[must_use]
    pub const fn per_channel(bits: u8) -> Self {
        Self::Integer(Integer { bits, symmetry: Symmetry::Restricted, granularity: Granularity::Channel, scales: ScaleType::F32 })
    }

    fn codec(&self) -> &dyn Codec {
        match self {
            Self::Integer(format) => format,
            Self::Float(format) => format,
            Self::Micro(format) => format,
            Self::Normal(format) => format,
            Self::Codebook(format) => format,
            Self::Ternary(format) => format,
            Self::Binary => &ternary::Binary,
            Self::Block(format) => format,
        }
    }

    /// Whether weights that were not trained for it lose too much for the network to work.
    #[must_use]
    pub fn needs_training(&self) -> bool {
        match self {
            Self::Ternary(_) | Self::Binary => true,
            Self::Block(format) => format.needs_training(),
            _ => false,
        }
    }

    /// Whether importance makes a difference to weights whose ranges are chosen so.
    #[must_use]
    pub fn weighs(&self, range: Observer) -> bool {
        match self {
            Self::Integer(_) => matches!(range, Observer::Grid { .. }),
            Self::Codebook(format) => format.weighs(),
            Self::Block(format) => format.uses_importance(),
            Self::Float(_) | Self::Micro(_) | Self::Normal(_) | Self::Ternary(_) | Self::Binary => false,
        }
    }

    /// # Errors
    /// [`FormatError::Impossible`] where the settings make no sense, with what to change.
    pub fn validate(&self) -> Result<(), FormatError> {
        self.codec().validate().map_err(|reason| FormatError::Impossible { format: self.to_string(), reason })
    }

    fn check(&self, shape: Shape, how: &How<'_>) -> Result<(), FormatError> {
        self.validate()?;
        self.codec().fits(shape)?;
        how.importance.map_or(Ok(()), |importance| importance.check(shape))?;
        how.range.validate().map_err(|reason| FormatError::Impossible { format: self.to_string(), reason })
    }

    /// The bytes that a matrix takes, before there is one: those of [`Format::encode`], part by part.
    ///
    /// # Errors
    /// When the settings make no sense or the matrix is too large to be counted.
    pub fn bytes(&self, rows: usize, cols: usize) -> Result<Storage, FormatError> {
        self.validate()?;
        let shape = Shape::new(rows, cols)?;
        self.codec().fits(shape)?;
        Ok(self.codec().storage(shape))
    }

    /// Rounds weights to the format.
    ///
    /// # Errors
    /// When the settings make no sense, a weight is NaN or infinite, a scale does not fit in its type, or on cancel.
    pub fn encode(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx) -> Result<Encoded, FormatError> {
        ctx.pool().install(|| self.encode_here(matrix, how, ctx))
    }

    /// [`Format::encode`] on the threads of whoever calls: of `ctx` all but the threads counts.
    ///
    /// # Errors
    /// As [`Format::encode`].
    pub fn encode_here(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx) -> Result<Encoded, FormatError> {
        self.check(matrix.shape(), how)?;
        matrix.check_finite()?;
        let parts = self.codec().encode(matrix, how, ctx)?;
        Encoded::new(*self, matrix.shape(), parts)
    }

    /// Rounds weights to the format and back, into `out`: bit for bit what [`Format::encode`] and
    /// [`Encoded::decode`] give, without the bytes between where that is faster.
    ///
    /// # Errors
    /// As [`Format::encode`], and when `out` is not as long as the matrix.
    pub fn approximate(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx, out: &mut [f32]) -> Result<(), FormatError> {
        let shape = matrix.shape();
        self.check(shape, how)?;
        if out.len() != shape.len() {
            return Err(FormatError::Shape { given: out.len(), rows: shape.rows(), cols: shape.cols() });
        }
        ctx.pool().install(|| self.codec().approximate(matrix, how, ctx, out))
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(format) => format.fmt(f),
            Self::Float(format) => format.fmt(f),
            Self::Micro(format) => format.fmt(f),
            Self::Normal(format) => format.fmt(f),
            Self::Codebook(format) => format.fmt(f),
            Self::Ternary(sharing) => write!(f, "ternary {sharing}"),
            Self::Binary => f.write_str("binary"),
            Self::Block(format) => f.write_str(&format.name().to_ascii_lowercase()),
        }
    }
}
