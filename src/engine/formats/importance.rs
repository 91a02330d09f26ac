//! How much the errors of a matrix's columns count: what its inputs are like.

use super::error::FormatError;
use super::matrix::{Shape, Tiles};
use std::borrow::Cow;

/// One number for each column, such as `E[x²]` of the input that the column is multiplied with: the squared
/// error of a weight counts so many times. Rows of a grouped convolution read different inputs: there every run
/// of as many rows has numbers of its own.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Importance<'a> {
    values: &'a [f32],
    runs: usize,
}

impl<'a> Importance<'a> {
    /// `values`: of each run of rows (there are `runs`, of equal length) one number per column.
    #[must_use]
    pub fn new(values: &'a [f32], runs: usize) -> Self {
        Self { values, runs: runs.max(1) }
    }

    /// # Errors
    /// When the numbers do not fit the matrix, or one of them is negative, NaN or infinite.
    pub(super) fn check(&self, shape: Shape) -> Result<(), FormatError> {
        if self.values.len() != self.runs * shape.cols() || !shape.rows().is_multiple_of(self.runs) {
            return Err(FormatError::Importance {
                given: self.values.len(),
                runs: self.runs,
                rows: shape.rows(),
                cols: shape.cols(),
            });
        }
        match self.values.iter().position(|v| !(v.is_finite() && *v >= 0.0)) {
            Some(at) => Err(FormatError::NoImportance { column: at % shape.cols().max(1), value: self.values[at] }),
            None => Ok(()),
        }
    }

    /// Every run's first row, number of rows and numbers.
    pub(super) fn runs(&self, shape: Shape) -> impl Iterator<Item = (usize, usize, &'a [f32])> {
        let tall = shape.rows() / self.runs;
        self.values.chunks(shape.cols().max(1)).enumerate().map(move |(run, values)| (run * tall, tall, values))
    }
}

/// The least that an error counts, of the most.
const LEAST: f32 = 1e-6;

/// Importance by which errors are summed: at most 1 and at least [`LEAST`], for a sum of such errors must tell
/// ranges and clusters apart. Columns that calibration never saw count as the least one that it did.
#[derive(Debug, Clone)]
pub(super) struct Weighing {
    values: Vec<f32>,
    cols: usize,
    /// Rows of a run.
    tall: usize,
}

impl Weighing {
    /// Of importance that was checked.
    pub(super) fn new(importance: &Importance<'_>, shape: Shape) -> Self {
        let most = importance.values.iter().fold(0.0_f32, |m, v| m.max(*v));
        let scaled: Vec<f32> =
            importance.values.iter().map(|v| if most > 0.0 { (f64::from(*v) / f64::from(most)) as f32 } else { 1.0 }).collect();
        let least = scaled.iter().copied().filter(|v| *v > 0.0).fold(1.0, f32::min).max(LEAST);
        let values = scaled.into_iter().map(|v| v.max(least)).collect();
        Self { values, cols: shape.cols(), tall: (shape.rows() / importance.runs).max(1) }
    }

    /// Of the columns from `from`, not counting `to`, of one row.
    pub(super) fn segment(&self, row: usize, from: usize, to: usize) -> &[f32] {
        let start = row / self.tall * self.cols;
        &self.values[start + from..start + to]
    }

    /// Of the weights of a tile, in their order.
    pub(super) fn of_tile(&self, tiles: Tiles, tile: usize) -> Cow<'_, [f32]> {
        let (rows, cols) = tiles.span(tile);
        if rows.len() == 1 {
            return Cow::Borrowed(self.segment(rows.start, cols.start, cols.end));
        }
        Cow::Owned(rows.flat_map(|row| self.segment(row, cols.start, cols.end)).copied().collect())
    }

    /// Of the weights of whole rows, in their order.
    pub(super) fn of_rows(&self, first: usize, count: usize) -> Vec<f32> {
        (first..first + count).flat_map(|row| self.segment(row, 0, self.cols)).copied().collect()
    }
}
