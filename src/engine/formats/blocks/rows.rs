//! Matrices in pieces: what all formats have in common.

use super::{BlockFormat, FormatError, legacy, microscaling, nonlinear, signed, ternary, two_level};
use crate::engine::kernels::widest::{Work, widest};
use half::f16;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

/// Weights that one task takes: whole blocks of every format.
const PIECE: usize = 1 << 14;

/// Above it no half-precision scale of any format could be right, and squares of squares overflow.
const HUGE: f32 = 1e10;

/// How much errors of some columns count.
#[derive(Debug, Clone, Copy)]
pub(super) struct Importance<'a> {
    pub columns: &'a [f32],
    /// Of the whole row, where the format asks for it.
    pub mean_square: f32,
}

impl Importance<'_> {
    /// The weights of the errors in a block of 256: importance times size, the block's own mean square
    /// counted `factor` times.
    #[inline(always)]
    pub fn weights(&self, x: &[f32; 256], factor: f32) -> [f32; 256] {
        let sum = x.iter().fold(0.0, |sum, x| sum + x * x);
        let mut out = [0.0; 256];
        weigh(x, self.columns, factor * sum / 256.0, &mut out);
        out
    }
}

/// `out = importance·√(mean square + x²)`.
#[inline(always)]
pub(super) fn weigh(x: &[f32], importance: &[f32], mean_square: f32, out: &mut [f32]) {
    for ((o, x), i) in out.iter_mut().zip(x).zip(importance) {
        *o = i * (mean_square + x * x).sqrt();
    }
}

/// Every block: weights, their importance, the bytes to fill. Formats loop over this, and hand on no
/// closures: those that are not inlined are compiled for the oldest processors.
#[inline(always)]
pub(super) fn to_encode<'a, const LEN: usize, const BYTES: usize>(
    x: &'a [f32],
    importance: Option<Importance<'a>>,
    out: &'a mut [u8],
) -> impl Iterator<Item = (&'a [f32; LEN], Option<Importance<'a>>, &'a mut [u8; BYTES])> {
    let blocks = x.as_chunks::<LEN>().0.iter().zip(out.as_chunks_mut::<BYTES>().0);
    blocks.enumerate().map(move |(i, (x, out))| {
        let columns = importance.and_then(|whole| Some((whole, whole.columns.as_chunks::<LEN>().0.get(i)?)));
        (x, columns.map(|(whole, columns)| Importance { columns, ..whole }), out)
    })
}

/// Every block: its bytes, the weights to fill.
#[inline(always)]
pub(super) fn to_decode<'a, const BYTES: usize, const LEN: usize>(
    bytes: &'a [u8],
    out: &'a mut [f32],
) -> impl Iterator<Item = (&'a [u8; BYTES], &'a mut [f32; LEN])> {
    bytes.as_chunks::<BYTES>().0.iter().zip(out.as_chunks_mut::<LEN>().0)
}

struct Encode<'a> {
    format: BlockFormat,
    x: &'a [f32],
    importance: Option<Importance<'a>>,
    out: &'a mut [u8],
}

impl Work for Encode<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { format, x, importance, out } = self;
        match format {
            BlockFormat::Q4_0 => legacy::encode_q4_0(x, importance, out),
            BlockFormat::Q4_1 => legacy::encode_q4_1(x, importance, out),
            BlockFormat::Q5_0 => legacy::encode_q5_0(x, importance, out),
            BlockFormat::Q5_1 => legacy::encode_q5_1(x, importance, out),
            BlockFormat::Q8_0 => legacy::encode_q8_0(x, out),
            BlockFormat::Q2K => two_level::encode_q2k(x, importance, out),
            BlockFormat::Q3K => signed::encode_q3k(x, importance, out),
            BlockFormat::Q4K => two_level::encode_q4k(x, importance, out),
            BlockFormat::Q5K => two_level::encode_q5k(x, importance, out),
            BlockFormat::Q6K => signed::encode_q6k(x, importance, out),
            BlockFormat::Iq4Nl => nonlinear::encode_iq4_nl(x, importance, out),
            BlockFormat::Iq4Xs => nonlinear::encode_iq4_xs(x, importance, out),
            BlockFormat::Tq1_0 => ternary::encode_tq1_0(x, out),
            BlockFormat::Tq2_0 => ternary::encode_tq2_0(x, out),
            BlockFormat::MxFp4 => microscaling::encode(x, out),
        }
    }
}

struct Decode<'a> {
    format: BlockFormat,
    bytes: &'a [u8],
    out: &'a mut [f32],
}

impl Work for Decode<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { format, bytes, out } = self;
        match format {
            BlockFormat::Q4_0 => legacy::decode_q4_0(bytes, out),
            BlockFormat::Q4_1 => legacy::decode_q4_1(bytes, out),
            BlockFormat::Q5_0 => legacy::decode_q5_0(bytes, out),
            BlockFormat::Q5_1 => legacy::decode_q5_1(bytes, out),
            BlockFormat::Q8_0 => legacy::decode_q8_0(bytes, out),
            BlockFormat::Q2K => two_level::decode_q2k(bytes, out),
            BlockFormat::Q3K => signed::decode_q3k(bytes, out),
            BlockFormat::Q4K => two_level::decode_q4k(bytes, out),
            BlockFormat::Q5K => two_level::decode_q5k(bytes, out),
            BlockFormat::Q6K => signed::decode_q6k(bytes, out),
            BlockFormat::Iq4Nl => nonlinear::decode_iq4_nl(bytes, out),
            BlockFormat::Iq4Xs => nonlinear::decode_iq4_xs(bytes, out),
            BlockFormat::Tq1_0 => ternary::decode_tq1_0(bytes, out),
            BlockFormat::Tq2_0 => ternary::decode_tq2_0(bytes, out),
            BlockFormat::MxFp4 => microscaling::decode(bytes, out),
        }
    }
}

pub(super) fn quantize(
    format: BlockFormat,
    values: &[f32],
    cols: usize,
    importance: Option<&[f32]>,
    out: &mut [u8],
) -> Result<(), FormatError> {
    let rows = values.len().checked_div(cols).unwrap_or(0);
    let length =
        |what, expected, found| if expected == found { Ok(()) } else { Err(FormatError::Length { what, expected, found }) };
    length("weights", rows * cols, values.len())?;
    length("bytes of output", usize::try_from(format.bytes(rows, cols)?).unwrap_or(usize::MAX), out.len())?;
    let importance = match importance.filter(|_| format.uses_importance()) {
        None => None,
        Some(columns) => {
            length("numbers of importance", cols, columns.len())?;
            Some(usable(columns)?)
        }
    };
    if values.is_empty() {
        return Ok(());
    }
    refuse_what_is_no_weight(format, values, cols)?;
    let row_bytes = cols / format.block_len() * format.block_bytes();
    let piece_bytes = PIECE / format.block_len() * format.block_bytes();
    values.par_chunks(cols).zip(out.par_chunks_mut(row_bytes)).for_each(|(x, out)| {
        // The order of this sum is part of what the bytes are.
        let mean_square = importance.as_ref().map_or(0.0, |_| x.iter().fold(0.0, |sum: f32, x| sum + x * x) / cols as f32);
        x.par_chunks(PIECE).zip(out.par_chunks_mut(piece_bytes)).enumerate().for_each(|(piece, (x, out))| {
            let importance = importance.as_deref().and_then(|columns| {
                let columns = columns.get(piece * PIECE..)?.get(..x.len())?;
                Some(Importance { columns, mean_square })
            });
            widest(Encode { format, x, importance, out });
        });
    });
    refuse_scales_that_overflowed(format, cols, row_bytes, out)
}

pub(super) fn dequantize(format: BlockFormat, bytes: &[u8], out: &mut [f32]) -> Result<(), FormatError> {
    let (len, size) = (format.block_len(), format.block_bytes());
    let expected = (out.len() / len).saturating_mul(size);
    if !out.len().is_multiple_of(len) {
        return Err(FormatError::Width { format, cols: out.len(), block: len });
    }
    if bytes.len() != expected {
        return Err(FormatError::Length { what: "bytes", expected, found: bytes.len() });
    }
    out.par_chunks_mut(PIECE)
        .zip(bytes.par_chunks(PIECE / len * size))
        .for_each(|(out, bytes)| widest(Decode { format, bytes, out }));
    Ok(())
}

/// Importance scaled by a power of two to at most 2 (which changes no result) so that products with it
/// stay in range; runs of 16 columns that calibration never saw count as much as the least one that it
/// did.
fn usable(columns: &[f32]) -> Result<Vec<f32>, FormatError> {
    if let Some((column, value)) = columns.iter().enumerate().find(|(_, v)| !(v.is_finite() && **v >= 0.0)) {
        return Err(FormatError::Importance { column, value: *value });
    }
    let most = columns.iter().fold(0.0, |m: f32, v| m.max(*v));
    if most == 0.0 {
        return Ok(vec![1.0; columns.len()]);
    }
    // In f64, where no factor overflows.
    let factor = f64::from(most).log2().floor().exp2();
    let mut scaled: Vec<f32> = columns.iter().map(|v| (f64::from(*v) / factor) as f32).collect();
    let least = scaled.iter().copied().filter(|v| *v > 0.0).fold(f32::INFINITY, f32::min);
    for run in scaled.chunks_mut(16).filter(|run| run.iter().all(|v| *v == 0.0)) {
        run.fill(least);
    }
    Ok(scaled)
}

fn refuse_what_is_no_weight(format: BlockFormat, values: &[f32], cols: usize) -> Result<(), FormatError> {
    let most = if format.layout().halves.is_empty() { f32::MAX } else { HUGE };
    let first = values
        .par_chunks(PIECE)
        .enumerate()
        .filter_map(|(piece, x)| {
            // Without a branch, to be quick; the place is looked for where there is one.
            let fine = x.iter().fold(true, |fine, v| fine & (v.abs() <= most));
            let at = if fine { None } else { x.iter().position(|v| v.is_nan() || v.abs() > most) };
            at.map(|at| piece * PIECE + at)
        })
        .min();
    let Some((at, value)) = first.and_then(|at| Some((at, *values.get(at)?))) else { return Ok(()) };
    let (row, column) = (at / cols, at % cols);
    Err(if value.is_finite() {
        FormatError::TooLarge { format, row, column }
    } else {
        FormatError::NotFinite { format, row, column, value }
    })
}

fn refuse_scales_that_overflowed(format: BlockFormat, cols: usize, row_bytes: usize, out: &[u8]) -> Result<(), FormatError> {
    let layout = format.layout();
    let overflowed = |block: &[u8]| {
        layout.halves.iter().any(|&at| match block.get(at..at + 2) {
            Some(&[low, high]) => !f16::from_le_bytes([low, high]).is_finite(),
            _ => false,
        })
    };
    let first = out
        .par_chunks(layout.bytes)
        .enumerate()
        .with_min_len(PIECE / 32)
        .filter_map(|(block, bytes)| overflowed(bytes).then_some(block))
        .min();
    match first {
        None => Ok(()),
        Some(block) => {
            let per_row = row_bytes / layout.bytes;
            Err(FormatError::TooLarge { format, row: block / per_row, column: block % per_row * (cols / per_row) })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    /// What is compiled for wide vectors gives what is compiled for the oldest processors.
    #[test]
    fn wide_vectors_change_nothing() {
        let mut random = Random::new(2);
        let x: Vec<f32> = (0..2048).map(|i| random.normal() * [1.0, 0.1, 1e-3][i / 100 % 3]).collect();
        let columns: Vec<f32> = x.iter().map(|_| random.uniform() + 0.01).collect();
        for format in BlockFormat::ALL {
            for importance in [None, Some(Importance { columns: &columns, mean_square: 0.3 })] {
                let mut out = [vec![0; x.len() / format.block_len() * format.block_bytes()], Vec::new()];
                out[1] = out[0].clone();
                let [wide, plain] = &mut out;
                widest(Encode { format, x: &x, importance, out: wide });
                Encode { format, x: &x, importance, out: plain }.run();
                assert!(wide == plain, "{format}");
                let mut values = [vec![0.0; x.len()], vec![1.0; x.len()]];
                let [a, b] = &mut values;
                widest(Decode { format, bytes: wide, out: a });
                Decode { format, bytes: plain, out: b }.run();
                assert!(a == b, "{format}");
            }
        }
    }
}
