//! Weights as every format sees them: a matrix, and the rectangles of it that share a scale.

use super::error::FormatError;
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use rayon::slice::ParallelSlice;
use std::ops::Range;

/// Rows (output channels) × columns (the flattened input axis), few enough for sizes in bits to be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    rows: usize,
    cols: usize,
}

impl Shape {
    /// # Errors
    /// [`FormatError::TooLarge`] where a size in bits could overflow.
    pub fn new(rows: usize, cols: usize) -> Result<Self, FormatError> {
        // 2⁵² weights, columns filled up to a block, 16 bits each: all below 2⁶⁴.
        let limit = 1_u128 << 52;
        if (rows as u128).saturating_mul(cols as u128 + 1024) > limit || cols as u128 > limit {
            return Err(FormatError::TooLarge { rows, cols });
        }
        Ok(Self { rows, cols })
    }

    #[must_use]
    pub fn rows(self) -> usize {
        self.rows
    }

    #[must_use]
    pub fn cols(self) -> usize {
        self.cols
    }

    #[must_use]
    pub fn len(self) -> usize {
        self.rows * self.cols
    }

    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }
}

/// Weights in row-major order. Whoever rounds them refuses those that are NaN or infinite.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    values: &'a [f32],
    shape: Shape,
}

impl<'a> Matrix<'a> {
    /// # Errors
    /// When the values do not fill the matrix, or are too many to count.
    pub fn new(values: &'a [f32], rows: usize, cols: usize) -> Result<Self, FormatError> {
        let shape = Shape::new(rows, cols)?;
        if values.len() != shape.len() {
            return Err(FormatError::Shape { given: values.len(), rows, cols });
        }
        Ok(Self { values, shape })
    }

    /// Checks every weight, on the threads of whoever calls.
    ///
    /// # Errors
    /// [`FormatError::NotFinite`] for the first that is NaN or infinite.
    pub(super) fn check_finite(&self) -> Result<(), FormatError> {
        let fine = |part: &[f32]| part.iter().fold(true, |fine, v| fine & v.is_finite());
        if self.values.par_chunks(1 << 16).all(fine) { Ok(()) } else { Err(self.not_finite()) }
    }

    /// Names the first weight that is NaN or infinite, for one who knows that there is one.
    pub(super) fn not_finite(&self) -> FormatError {
        let at = self.values.iter().position(|v| !v.is_finite()).unwrap_or_default();
        let cols = self.shape.cols;
        FormatError::NotFinite { row: at / cols, col: at % cols, value: self.values[at] }
    }

    #[must_use]
    pub fn values(&self) -> &'a [f32] {
        self.values
    }

    #[must_use]
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// The weights from column `from` (not counting `to`) of one row.
    pub(super) fn segment(&self, row: usize, from: usize, to: usize) -> &'a [f32] {
        &self.values[row * self.shape.cols + from..row * self.shape.cols + to]
    }
}

/// A matrix cut into equal rectangles; those at the right and lower edge may be smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tiles {
    shape: Shape,
    /// Rows of one tile; at least 1.
    pub(super) tall: usize,
    /// Columns of one tile; at least 1.
    pub(super) wide: usize,
}

impl Tiles {
    /// A tile larger than the matrix is cut down to it.
    pub(super) fn new(shape: Shape, tall: usize, wide: usize) -> Self {
        Self { shape, tall: tall.clamp(1, shape.rows.max(1)), wide: wide.clamp(1, shape.cols.max(1)) }
    }

    /// Tiles side by side.
    pub(super) fn across(self) -> usize {
        if self.shape.is_empty() { 0 } else { self.shape.cols.div_ceil(self.wide) }
    }

    pub(super) fn count(self) -> usize {
        self.across() * self.shape.rows.div_ceil(self.tall)
    }

    /// The number of the tile at the left end of a row.
    pub(super) fn first_of(self, row: usize) -> usize {
        row / self.tall * self.across()
    }

    pub(super) fn holding(self, row: usize, col: usize) -> usize {
        self.first_of(row) + col / self.wide
    }

    /// Row and column where a tile begins.
    pub(super) fn origin(self, tile: usize) -> (usize, usize) {
        let across = self.across().max(1);
        (tile / across * self.tall, tile % across * self.wide)
    }

    /// Rows and columns of a tile.
    pub(super) fn span(self, tile: usize) -> (Range<usize>, Range<usize>) {
        let (row, col) = self.origin(tile);
        (row..(row + self.tall).min(self.shape.rows), col..(col + self.wide).min(self.shape.cols))
    }

    /// The weights of a tile, a row at a time.
    pub(super) fn segments<'a>(self, matrix: &Matrix<'a>, tile: usize) -> impl Iterator<Item = &'a [f32]> + use<'a> {
        let (rows, cols) = self.span(tile);
        let matrix = *matrix;
        rows.map(move |row| matrix.segment(row, cols.start, cols.end))
    }

    /// `f` of every tile, in order: what it is given is the tile's weights, in one piece where they lie so.
    pub(super) fn map<T: Send>(
        self,
        matrix: &Matrix<'_>,
        f: impl Fn(usize, &[f32]) -> Result<T, FormatError> + Sync,
    ) -> Result<Vec<T>, FormatError> {
        let together = self.tall == 1 || self.wide == self.shape.cols;
        (0..self.count())
            .into_par_iter()
            .map(|tile| {
                if together {
                    let (row, col) = self.origin(tile);
                    let start = row * self.shape.cols + col;
                    let rows = self.tall.min(self.shape.rows - row);
                    let length = rows.saturating_sub(1) * self.shape.cols + self.wide.min(self.shape.cols - col);
                    f(tile, &matrix.values[start..start + length])
                } else {
                    let gathered: Vec<f32> = self.segments(matrix, tile).flatten().copied().collect();
                    f(tile, &gathered)
                }
            })
            .collect()
    }
}
