//! Weight sharing: a few values per layer or group of output channels, and for every weight the number of
//! the one it takes (Han et al. 2016, Deep Compression). Entries are f32. Where the data has fewer
//! distinct values than there are entries, the last entry is repeated, so that sizes depend on no weight.

mod choose;
mod exact;
mod lloyd;
mod sort;
mod vector;

use super::encoded::{Parts, Storage, f32_at, f32_bytes};
use super::error::FormatError;
use super::importance::Weighing;
use super::matrix::{Matrix, Shape};
use super::pack::{Lines, packed_len};
use super::rounding::{Rule, with_rule};
use super::table::nearest;
use super::{Codec, How};
use crate::engine::Ctx;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSlice;
use serde::{Deserialize, Serialize};
use std::fmt;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Codebook {
    /// Of the number of an entry: 1 to 8.
    pub bits: u8,
    pub scope: Scope,
    pub entries: Entries,
}

/// Which weights share a codebook.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Scope {
    #[default]
    Layer,
    /// So many output channels; the last group may be smaller.
    Channels(usize),
}

/// What an entry stands for, and how entries are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Entries {
    /// One weight.
    Scalar {
        fit: Fit,
        #[serde(default)]
        zeros: Zeros,
    },
    /// Two neighbors along a row; k-means. A row that does not divide is filled up with zeros.
    Pair,
    /// Four neighbors along a row; k-means.
    Quad,
}

/// How the entries of a scalar codebook are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fit {
    /// The least possible squared error: one-dimensional k-means by dynamic programming (Wang and Song
    /// 2011), for up to 2²⁰ distinct values (2¹⁸ for 8 bits); more are first joined to that many points of
    /// equal mass, and the result is improved on all of them as in [`Fit::Lloyd`].
    Exact,
    /// Lloyd's iteration from evenly spaced entries, as Deep Compression does. An entry that no weight is
    /// nearest to stays where it is.
    Lloyd,
    /// As many weights for every entry, which is their mean (histogram equalization).
    EqualMass,
    /// Powers of two of either sign, from the largest weight down, and zero. Multiplications become shifts.
    PowerOfTwo,
}

/// What becomes of weights that are exactly zero.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Zeros {
    /// They are weights like all others.
    #[default]
    Shared,
    /// The number 0 is theirs alone: pruned weights stay pruned, and the entries, one fewer, are found
    /// for the others.
    Apart,
}

impl Default for Entries {
    fn default() -> Self {
        Self::Scalar { fit: Fit::Exact, zeros: Zeros::Shared }
    }
}

impl Entries {
    /// Weights of one entry.
    #[must_use]
    pub fn width(self) -> usize {
        match self {
            Self::Scalar { .. } => 1,
            Self::Pair => 2,
            Self::Quad => 4,
        }
    }
}

impl Codebook {
    /// Entries that are stored per codebook.
    #[must_use]
    pub fn stored(&self) -> usize {
        let apart = matches!(self.entries, Entries::Scalar { zeros: Zeros::Apart, .. });
        (1_usize << self.bits.min(16)) - usize::from(apart)
    }

    /// Rows that share a codebook; at least 1.
    fn tall(&self, shape: Shape) -> usize {
        match self.scope {
            Scope::Layer => shape.rows().max(1),
            Scope::Channels(count) => count.clamp(1, shape.rows().max(1)),
        }
    }

    fn books(&self, shape: Shape) -> usize {
        if shape.is_empty() { 0 } else { shape.rows().div_ceil(self.tall(shape)) }
    }

    /// One code per vector.
    fn lines(&self, shape: Shape) -> Lines {
        let length = shape.cols().div_ceil(self.entries.width());
        Lines { count: shape.rows() * length, length, bits: self.bits }
    }

    /// Whether importance makes a difference: where entries are the means of what is nearest to them.
    pub(super) fn weighs(&self) -> bool {
        matches!(self.entries, Entries::Scalar { fit: Fit::Exact | Fit::Lloyd, .. })
    }

    /// Entries of one codebook, `width` values each; those of scalars in ascending order. `importance` holds a
    /// number for every value.
    fn fit(&self, values: &[f32], importance: Option<&[f32]>, cols: usize, ctx: &Ctx) -> Result<Vec<f32>, FormatError> {
        let count = self.stored();
        let mut entries = match self.entries {
            Entries::Scalar { fit, zeros } => choose::scalar(values, importance, fit, zeros, count, ctx)?,
            Entries::Pair => vector::fit::<2>(values, cols, count, ctx)?,
            Entries::Quad => vector::fit::<4>(values, cols, count, ctx)?,
        };
        let width = self.entries.width();
        let last = entries.len().checked_sub(width).map_or_else(|| vec![0.0; width], |at| entries[at..].to_vec());
        while entries.len() < count * width {
            entries.extend(&last);
        }
        Ok(entries)
    }

    /// The codebook of a row.
    fn book(&self, codebook: &[u8], shape: Shape, row: usize) -> Vec<f32> {
        let size = self.stored() * self.entries.width();
        let first = row / self.tall(shape) * size;
        (first..first + size).map(|i| f32_at(codebook, i)).collect()
    }

    fn codes<R: Rule>(&self, matrix: &Matrix<'_>, codebook: &[u8], rule: R, ctx: &Ctx) -> Result<Vec<u8>, FormatError> {
        let (shape, cols) = (matrix.shape(), matrix.shape().cols());
        let lines = self.lines(shape);
        lines.write(ctx, |first, codes| {
            let mut book = Vec::new();
            for (row, codes) in (first..).zip(codes.chunks_mut(lines.length)) {
                if book.is_empty() || row.is_multiple_of(self.tall(shape)) {
                    book = self.book(codebook, shape, row);
                }
                let values = matrix.segment(row, 0, cols);
                match self.entries {
                    Entries::Scalar { zeros, .. } => {
                        for ((code, x), at) in codes.iter_mut().zip(values).zip((row * cols) as u64..) {
                            *code = match zeros {
                                Zeros::Apart if *x == 0.0 => 0,
                                Zeros::Apart => nearest(&book, *x, rule, at) as u16 + 1,
                                Zeros::Shared => nearest(&book, *x, rule, at) as u16,
                            };
                        }
                    }
                    Entries::Pair => vector::assign::<2>(values, &book, codes),
                    Entries::Quad => vector::assign::<4>(values, &book, codes),
                }
            }
            Ok(())
        })
    }

    /// The values that a code stands for.
    fn entry<'a>(&self, book: &'a [f32], code: u16) -> &'a [f32] {
        let (width, code) = (self.entries.width(), usize::from(code));
        let at = match self.entries {
            Entries::Scalar { zeros: Zeros::Apart, .. } => match code.checked_sub(1) {
                Some(at) => at,
                None => return &[0.0],
            },
            _ => code,
        };
        book.get(at * width..(at + 1) * width).unwrap_or(&[])
    }
}

impl Codec for Codebook {
    fn validate(&self) -> Result<(), String> {
        match (self.bits, self.scope) {
            (bits, _) if !(1..=8).contains(&bits) => Err(format!("numbers of entries have 1 to 8 bits, not {bits}")),
            (_, Scope::Channels(0)) => Err("a codebook for no channels".to_owned()),
            _ => Ok(()),
        }
    }

    fn storage(&self, shape: Shape) -> Storage {
        let lines = self.lines(shape);
        let whole = packed_len((shape.len() / self.entries.width()) as u64, self.bits);
        let entries = self.books(shape) as u64 * self.stored() as u64 * self.entries.width() as u64;
        let values = whole.min(lines.bytes());
        Storage { values, codebook: entries * 4, padding: lines.bytes() - values, ..Storage::default() }
    }

    fn encode(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx) -> Result<Parts, FormatError> {
        let (shape, cols) = (matrix.shape(), matrix.shape().cols());
        let tall = self.tall(shape);
        let weighing = how.importance.filter(|_| self.weighs()).map(|importance| Weighing::new(&importance, shape));
        let books: Vec<Vec<f32>> = matrix
            .values()
            .par_chunks((tall * cols).max(1))
            .enumerate()
            .map(|(book, values)| {
                let importance = weighing.as_ref().map(|w| w.of_rows(book * tall, values.len() / cols));
                self.fit(values, importance.as_deref(), cols, ctx)
            })
            .collect::<Result<_, _>>()?;
        let codebook = f32_bytes(books.into_iter().flatten());
        let values = with_rule!(how.rounding, rule => self.codes(matrix, &codebook, rule, ctx))?;
        Ok(Parts { values, codebook, ..Parts::default() })
    }

    fn decode(&self, parts: &Parts, shape: Shape, out: &mut [f32]) {
        let (lines, cols, width) = (self.lines(shape), shape.cols(), self.entries.width());
        lines.read(&parts.values, cols, out, |first, codes, out| {
            let mut book = Vec::new();
            for (row, (codes, out)) in (first..).zip(codes.chunks(lines.length).zip(out.chunks_mut(cols))) {
                if book.is_empty() || row.is_multiple_of(self.tall(shape)) {
                    book = self.book(&parts.codebook, shape, row);
                }
                for (code, out) in codes.iter().zip(out.chunks_mut(width)) {
                    out.iter_mut().zip(self.entry(&book, *code)).for_each(|(o, e)| *o = *e);
                }
            }
        });
    }

    fn levels(&self, parts: &Parts, shape: Shape, row: usize, col: usize) -> Vec<f32> {
        let (book, width) = (self.book(&parts.codebook, shape, row), self.entries.width());
        let zero = matches!(self.entries, Entries::Scalar { zeros: Zeros::Apart, .. }).then_some(0.0);
        book.into_iter().skip(col % width).step_by(width).chain(zero).collect()
    }
}

impl fmt::Display for Codebook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "codebook of {} bits", self.bits)?;
        match self.entries {
            Entries::Scalar { fit, zeros } => {
                f.write_str(match fit {
                    Fit::Exact => ", exact k-means",
                    Fit::Lloyd => ", k-means",
                    Fit::EqualMass => ", equal mass",
                    Fit::PowerOfTwo => ", powers of two",
                })?;
                if zeros == Zeros::Apart {
                    f.write_str(", zeros apart")?;
                }
            }
            Entries::Pair => f.write_str(", vectors of 2")?,
            Entries::Quad => f.write_str(", vectors of 4")?,
        }
        match self.scope {
            Scope::Layer => f.write_str(" per layer"),
            Scope::Channels(1) => f.write_str(" per channel"),
            Scope::Channels(count) => write!(f, " per {count} channels"),
        }
    }
}
