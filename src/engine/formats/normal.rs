//! NF4 (Dettmers et al. 2023, QLoRA): 16 levels from the quantiles of the normal distribution, zero among
//! them, times the absmax of a block of 64. Blocks run over the rows as one long line, as bitsandbytes
//! has them; the last one may be short.
//!
//! With double quantization the absmax values are stored in 8 bits: their mean is taken off (f32, one for
//! the tensor), and what is left becomes round(d/s), s = max|d|/127 (f32) of 256 blocks. bitsandbytes
//! spaces these 256 levels logarithmically instead of evenly; the size is the same. Levels are then chosen
//! with the absmax as it is stored.

use super::encoded::{Parts, Storage, f32_at, f32_bytes};
use super::error::FormatError;
use super::float::usable;
use super::matrix::{Matrix, Shape};
use super::pack::Lines;
use super::rounding::{Rule, with_rule};
use super::table::nearest;
use super::{Codec, How, observe};
use crate::engine::Ctx;
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use serde::{Deserialize, Serialize};
use std::fmt;

/// How the absmax of a block of NF4 is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum NormalScales {
    F32,
    /// In 8 bits, with a second scale per 256 blocks.
    Double,
}

/// The levels of NF4, as bitsandbytes has them in f32.
pub const NORMAL_LEVELS: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];
/// The code of the level 0.
const ZERO: u16 = 7;
/// Weights that share an absmax.
pub const NORMAL_BLOCK: usize = 64;
/// Blocks that share a second scale.
pub const NORMAL_SUPER: usize = 256;

impl NormalScales {
    fn lines(shape: Shape) -> Lines {
        Lines { count: shape.len(), length: NORMAL_BLOCK, bits: 4 }
    }

    fn write(self, absmax: &[f32]) -> Vec<u8> {
        if self == Self::F32 {
            return f32_bytes(absmax.iter().copied());
        }
        let mean = absmax.iter().map(|a| f64::from(*a)).sum::<f64>() / absmax.len().max(1) as f64;
        let mean = mean as f32;
        let (mut codes, mut steps) = (Vec::with_capacity(absmax.len()), Vec::new());
        for part in absmax.chunks(NORMAL_SUPER) {
            let step = usable(part.iter().fold(0.0_f32, |m, a| m.max((a - mean).abs())) / 127.0);
            codes.extend(part.iter().map(|a| ((a - mean) / step).round_ties_even().clamp(-127.0, 127.0) as i8 as u8));
            steps.push(step);
        }
        if !absmax.is_empty() {
            steps.push(mean);
        }
        codes.extend(f32_bytes(steps));
        codes
    }

    /// The absmax of a block as it is stored.
    fn read(self, scales: &[u8], blocks: usize, block: usize) -> f32 {
        if self == Self::F32 {
            return f32_at(scales, block);
        }
        let (codes, steps) = scales.split_at_checked(blocks).unwrap_or((scales, &[]));
        let code = codes.get(block).map_or(0, |c| *c as i8);
        let (step, mean) = (f32_at(steps, block / NORMAL_SUPER), f32_at(steps, blocks.div_ceil(NORMAL_SUPER)));
        (mean + f32::from(code) * step).clamp(0.0, f32::MAX)
    }

    fn codes<R: Rule>(self, matrix: &Matrix<'_>, scales: &[u8], rule: R, ctx: &Ctx) -> Result<Vec<u8>, FormatError> {
        let blocks = matrix.shape().len().div_ceil(NORMAL_BLOCK);
        Self::lines(matrix.shape()).write(ctx, |first, codes| {
            let values = matrix.values()[first * NORMAL_BLOCK..].chunks(NORMAL_BLOCK);
            for (block, (codes, values)) in (first..).zip(codes.chunks_mut(NORMAL_BLOCK).zip(values)) {
                let absmax = self.read(scales, blocks, block);
                for ((code, x), at) in codes.iter_mut().zip(values).zip((block * NORMAL_BLOCK) as u64..) {
                    *code = if absmax > 0.0 { nearest(&NORMAL_LEVELS, x / absmax, rule, at) as u16 } else { ZERO };
                }
            }
            Ok(())
        })
    }
}

impl Codec for NormalScales {
    fn validate(&self) -> Result<(), String> {
        Ok(())
    }

    fn storage(&self, shape: Shape) -> Storage {
        let blocks = shape.len().div_ceil(NORMAL_BLOCK) as u64;
        let scales = match self {
            _ if blocks == 0 => 0,
            Self::F32 => 4 * blocks,
            Self::Double => blocks + 4 * blocks.div_ceil(NORMAL_SUPER as u64) + 4,
        };
        Storage { values: Self::lines(shape).bytes(), scales, ..Storage::default() }
    }

    fn encode(&self, matrix: &Matrix<'_>, how: &How<'_>, ctx: &Ctx) -> Result<Parts, FormatError> {
        let absmax: Vec<f32> = matrix.values().par_chunks(NORMAL_BLOCK).map(observe::absmax).collect();
        let scales = self.write(&absmax);
        let values = with_rule!(how.rounding, rule => self.codes(matrix, &scales, rule, ctx))?;
        Ok(Parts { values, scales, ..Parts::default() })
    }

    fn decode(&self, parts: &Parts, shape: Shape, out: &mut [f32]) {
        let blocks = shape.len().div_ceil(NORMAL_BLOCK);
        Self::lines(shape).read(&parts.values, NORMAL_BLOCK, out, |first, codes, out| {
            for (block, (codes, out)) in (first..).zip(codes.chunks(NORMAL_BLOCK).zip(out.chunks_mut(NORMAL_BLOCK))) {
                let absmax = self.read(&parts.scales, blocks, block);
                for (o, code) in out.iter_mut().zip(codes) {
                    *o = NORMAL_LEVELS[usize::from(*code & 15)] * absmax;
                }
            }
        });
    }

    fn levels(&self, parts: &Parts, shape: Shape, row: usize, col: usize) -> Vec<f32> {
        let block = (row * shape.cols() + col) / NORMAL_BLOCK;
        let absmax = self.read(&parts.scales, shape.len().div_ceil(NORMAL_BLOCK), block);
        NORMAL_LEVELS.iter().map(|level| level * absmax).collect()
    }
}

impl fmt::Display for NormalScales {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::F32 { "nf4" } else { "nf4, double quantization" })
    }
}
