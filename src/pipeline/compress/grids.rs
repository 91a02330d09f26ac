//! Which grid each weight of a matrix is rounded on.

use crate::engine::kernels::affine::AffineParameters;

/// Grids of rectangles, from left to right, then down.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Grids {
    pub tiles: Vec<AffineParameters>,
    tall: usize,
    wide: usize,
    across: usize,
}

impl Grids {
    /// Of rectangles of `tall` × `wide` weights in a matrix of `rows` × `cols`.
    pub fn new(tiles: Vec<AffineParameters>, (tall, wide): (usize, usize), (rows, cols): (usize, usize)) -> Self {
        let (tall, wide) = (tall.clamp(1, rows.max(1)), wide.clamp(1, cols.max(1)));
        Self { tiles, tall, wide, across: cols.div_ceil(wide) }
    }

    pub fn at(&self, row: usize, col: usize) -> AffineParameters {
        self.tiles[row / self.tall * self.across + col / self.wide]
    }

    /// Whether each row has scales of its own.
    pub fn is_by_row(&self) -> bool {
        self.tall == 1
    }

    /// Whether all weights of a row share one scale, and no other row does.
    pub fn has_one_per_row(&self) -> bool {
        self.tall == 1 && self.across == 1
    }

    /// Multiplies the scales of one row; no other row must share them.
    pub fn scale_row(&mut self, row: usize, factor: f64) {
        for grid in &mut self.tiles[row * self.across..(row + 1) * self.across] {
            grid.scale = (f64::from(grid.scale) * factor) as f32;
        }
    }

    /// The weights that codes [rows × cols] stand for.
    pub fn decode(&self, codes: &[i32], cols: usize) -> Vec<f32> {
        let value = |(i, code): (usize, &i32)| self.at(i / cols, i % cols).dequantize(*code);
        codes.iter().enumerate().map(value).collect()
    }
}

/// The nearest code for a value in f64, and what it stands for.
pub(super) fn nearest(grid: &AffineParameters, value: f64) -> (i32, f64) {
    let scale = f64::from(grid.scale);
    let code = (value / scale).round_ties_even() + f64::from(grid.zero_point);
    let code = code.clamp(f64::from(grid.low), f64::from(grid.high)) as i32;
    (code, f64::from(code - grid.zero_point) * scale)
}
