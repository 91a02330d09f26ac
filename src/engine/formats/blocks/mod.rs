//! The block formats of GGUF files: runs of 32 or 256 weights of a row that share scales.
//!
//! Layouts, and the rules by which scales are picked, are those of ggml (`ggml-common.h`,
//! `ggml-quants.c`): the same weights give the same bytes. Where ggml computes with what is no number
//! any more (denormal spans, scales beyond half precision, columns without importance), the result
//! here is defined: such a block decodes to zeros, is refused, or is weighed evenly.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]

mod lanes;
mod legacy;
mod microscaling;
mod nonlinear;
mod rows;
mod search;
mod signed;
mod ternary;
#[cfg(test)]
mod tests;
mod two_level;

use serde::{Deserialize, Serialize};
use std::fmt;

/// Why weights could not be brought into a block format, or out of it.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FormatError {
    #[error("rows of {cols} weights do not divide into the blocks of {block} that {format} is made of")]
    Width { format: BlockFormat, cols: usize, block: usize },
    #[error("{found} {what} were found where {expected} are needed")]
    Length { what: &'static str, expected: usize, found: usize },
    #[error("the weight in row {row}, column {column} is {value}; {format} holds numbers alone")]
    NotFinite { format: BlockFormat, row: usize, column: usize, value: f32 },
    #[error("the weights from row {row}, column {column} on are too large for the half-precision scales of {format}")]
    TooLarge { format: BlockFormat, row: usize, column: usize },
    #[error("the importance of column {column} is {value}; it must be a number that is not negative")]
    Importance { column: usize, value: f32 },
    #[error("{rows} × {cols} weights are more than this machine can count")]
    Overflow { rows: usize, cols: usize },
}

/// A block format. Each variant's layout stands where it is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum BlockFormat {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    #[serde(rename = "Q2_K")]
    Q2K,
    #[serde(rename = "Q3_K")]
    Q3K,
    #[serde(rename = "Q4_K")]
    Q4K,
    #[serde(rename = "Q5_K")]
    Q5K,
    #[serde(rename = "Q6_K")]
    Q6K,
    #[serde(rename = "IQ4_NL")]
    Iq4Nl,
    #[serde(rename = "IQ4_XS")]
    Iq4Xs,
    #[serde(rename = "TQ1_0")]
    Tq1_0,
    #[serde(rename = "TQ2_0")]
    Tq2_0,
    #[serde(rename = "MXFP4")]
    MxFp4,
}

/// What is fixed about a format.
struct Layout {
    name: &'static str,
    /// Its number in GGUF files (`enum ggml_type`).
    ggml_type: u32,
    len: usize,
    bytes: usize,
    /// Where in a block its half-precision scales lie.
    halves: &'static [usize],
}

const fn layout(name: &'static str, ggml_type: u32, len: usize, bytes: usize, halves: &'static [usize]) -> Layout {
    Layout { name, ggml_type, len, bytes, halves }
}

const SUPER: usize = 256;

impl BlockFormat {
    pub const ALL: [Self; 15] = [
        Self::Q4_0,
        Self::Q4_1,
        Self::Q5_0,
        Self::Q5_1,
        Self::Q8_0,
        Self::Q2K,
        Self::Q3K,
        Self::Q4K,
        Self::Q5K,
        Self::Q6K,
        Self::Iq4Nl,
        Self::Iq4Xs,
        Self::Tq1_0,
        Self::Tq2_0,
        Self::MxFp4,
    ];

    const fn layout(self) -> Layout {
        match self {
            Self::Q4_0 => layout("Q4_0", 2, 32, 18, &[0]),
            Self::Q4_1 => layout("Q4_1", 3, 32, 20, &[0, 2]),
            Self::Q5_0 => layout("Q5_0", 6, 32, 22, &[0]),
            Self::Q5_1 => layout("Q5_1", 7, 32, 24, &[0, 2]),
            Self::Q8_0 => layout("Q8_0", 8, 32, 34, &[0]),
            Self::Q2K => layout("Q2_K", 10, SUPER, 84, &[80, 82]),
            Self::Q3K => layout("Q3_K", 11, SUPER, 110, &[108]),
            Self::Q4K => layout("Q4_K", 12, SUPER, 144, &[0, 2]),
            Self::Q5K => layout("Q5_K", 13, SUPER, 176, &[0, 2]),
            Self::Q6K => layout("Q6_K", 14, SUPER, 210, &[208]),
            Self::Iq4Nl => layout("IQ4_NL", 20, 32, 18, &[0]),
            Self::Iq4Xs => layout("IQ4_XS", 23, SUPER, 136, &[0]),
            Self::Tq1_0 => layout("TQ1_0", 34, SUPER, 54, &[52]),
            Self::Tq2_0 => layout("TQ2_0", 35, SUPER, 66, &[64]),
            Self::MxFp4 => layout("MXFP4", 39, 32, 17, &[]),
        }
    }

    /// The name that ggml gives it.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.layout().name
    }

    /// The format of that name, in letters of any case.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.name().eq_ignore_ascii_case(name))
    }

    /// Weights in a block.
    #[must_use]
    pub fn block_len(self) -> usize {
        self.layout().len
    }

    /// Bytes that a block takes.
    #[must_use]
    pub fn block_bytes(self) -> usize {
        self.layout().bytes
    }

    /// Bits that a weight takes, with its share of the scales.
    #[must_use]
    pub fn bits_per_weight(self) -> f64 {
        self.block_bytes() as f64 * 8.0 / self.block_len() as f64
    }

    /// Bits of one code, without the half-precision scales; what goes into scales of few bits is rounded off.
    #[must_use]
    pub fn nominal_bits(self) -> u8 {
        let Layout { len, bytes, halves, .. } = self.layout();
        ((bytes - 2 * halves.len()) * 8 / len) as u8
    }

    /// Its number in GGUF files.
    #[must_use]
    pub fn ggml_type(self) -> u32 {
        self.layout().ggml_type
    }

    #[must_use]
    pub fn from_ggml_type(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.ggml_type() == code)
    }

    /// Whether importance makes a difference to how weights are quantized.
    #[must_use]
    pub fn uses_importance(self) -> bool {
        !matches!(self, Self::Q8_0 | Self::Tq1_0 | Self::Tq2_0 | Self::MxFp4)
    }

    /// Whether a network has to be trained for it: weights of any other come out ruined.
    #[must_use]
    pub fn needs_training(self) -> bool {
        matches!(self, Self::Tq1_0 | Self::Tq2_0)
    }

    /// Bytes that a matrix takes.
    ///
    /// # Errors
    /// When a row does not divide into blocks, or the number overflows.
    pub fn bytes(self, rows: usize, cols: usize) -> Result<u64, FormatError> {
        let block = self.block_len();
        if !cols.is_multiple_of(block) {
            return Err(FormatError::Width { format: self, cols, block });
        }
        let blocks = (cols / block) as u64;
        (rows as u64)
            .checked_mul(blocks)
            .and_then(|n| n.checked_mul(self.block_bytes() as u64))
            .ok_or(FormatError::Overflow { rows, cols })
    }

    /// Quantizes a matrix [rows, cols] of `values`, row by row, into `out` ([`Self::bytes`] long).
    /// `importance` holds one weight per column, such as `E[x²]` of the layer's input: errors are
    /// weighed by it, where the format knows how ([`Self::uses_importance`]). The same bytes on
    /// every machine, at any number of threads.
    ///
    /// # Errors
    /// When sizes do not fit, a weight is NaN or infinite, or is too large for the format's scales.
    pub fn quantize(self, values: &[f32], cols: usize, importance: Option<&[f32]>, out: &mut [u8]) -> Result<(), FormatError> {
        rows::quantize(self, values, cols, importance, out)
    }

    /// The weights that whole blocks stand for. Any bytes are blocks: what no quantizer writes decodes
    /// to whatever it says, infinities and NaN included.
    ///
    /// # Errors
    /// When `bytes` is no whole number of blocks, or `out` is not as long as they are.
    pub fn dequantize(self, bytes: &[u8], out: &mut [f32]) -> Result<(), FormatError> {
        rows::dequantize(self, bytes, out)
    }
}

impl fmt::Display for BlockFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
