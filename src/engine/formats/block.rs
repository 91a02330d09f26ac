//! Blocks of GGUF files as one of the formats. Scales lie within the blocks and count as values; the
//! rounding mode and the observer have no say, for scales and codes are searched for together.

use super::blocks::{BlockFormat, FormatError as BlockError};
use super::encoded::{Parts, Storage};
use super::error::FormatError;
use super::matrix::{Matrix, Shape};
use super::{Codec, How};
use crate::engine::Ctx;

impl Codec for BlockFormat {
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    fn fits(&self, shape: Shape) -> Result<(), FormatError> {
        Ok(self.bytes(shape.rows(), shape.cols()).map(drop)?)
    }

    fn storage(&self, shape: Shape) -> Storage {
        Storage { values: self.bytes(shape.rows(), shape.cols()).unwrap_or(0), ..Storage::default() }
    }

    fn encode(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx) -> Result<Parts, FormatError> {
        ctx.check()?;
        let shape = matrix.shape();
        let len = usize::try_from(self.bytes(shape.rows(), shape.cols())?)
            .map_err(|_| BlockError::Overflow { rows: shape.rows(), cols: shape.cols() })?;
        let mut values = vec![0; len];
        let cols = shape.cols();
        match &how.importance {
            None => self.quantize(matrix.values(), cols, None, &mut values)?,
            Some(importance) => {
                let row_bytes = values.len().checked_div(shape.rows()).unwrap_or(0);
                for (row, tall, columns) in importance.runs(shape) {
                    let out = &mut values[row * row_bytes..(row + tall) * row_bytes];
                    self.quantize(&matrix.values()[row * cols..(row + tall) * cols], cols, Some(columns), out)?;
                }
            }
        }
        ctx.advance(shape.len());
        Ok(Parts { values, ..Parts::default() })
    }

    fn decode(&self, parts: &Parts, _shape: Shape, out: &mut [f32]) {
        // Lengths were checked when the parts came: there is nothing that this could refuse.
        if self.dequantize(&parts.values, out).is_err() {
            out.fill(f32::NAN);
        }
    }

    fn levels(&self, parts: &Parts, shape: Shape, row: usize, col: usize) -> Vec<f32> {
        let block = (row * shape.cols() + col) / self.block_len();
        let mut levels = vec![0.0; self.block_len()];
        let bytes = parts.values.get(block * self.block_bytes()..(block + 1) * self.block_bytes());
        match bytes.map(|bytes| self.dequantize(bytes, &mut levels)) {
            Some(Ok(())) => levels,
            _ => Vec::new(),
        }
    }
}
