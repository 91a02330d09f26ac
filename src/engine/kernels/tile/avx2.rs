//! The tile on AVX2 with fused multiply-add.

use super::{Shared, Tile};
use std::arch::x86_64::{
    __m256, __m256i, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_maskload_ps,
    _mm256_maskstore_ps, _mm256_max_ps, _mm256_min_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
};

const LANES: usize = 8;

static MASKS: [i32; 16] = [-1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

#[target_feature(enable = "avx2,fma")]
pub fn mask(valid: usize) -> __m256i {
    // SAFETY: `valid` is 1 to 8, so that eight integers follow.
    unsafe { _mm256_loadu_si256(MASKS[8 - valid..16 - valid].as_ptr().cast()) }
}

#[target_feature(enable = "avx2,fma")]
pub unsafe fn load_part(from: *const f32, mask: __m256i) -> __m256 {
    // SAFETY: the caller vouches for the lanes of the mask.
    unsafe { _mm256_maskload_ps(from, mask) }
}

#[target_feature(enable = "avx2,fma")]
pub unsafe fn store_part(to: *mut f32, mask: __m256i, v: __m256) {
    // SAFETY: as above.
    unsafe { _mm256_maskstore_ps(to, mask, v) };
}

/// # Safety
/// The processor has the feature, and `super::run` has checked every reach.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const PLACES: usize, const BLOCKS: usize>(tile: &Tile<'_>, out: Shared<'_>, out_at: usize, out_step: usize) {
    // SAFETY: `super::run` asserted that every factor, weight, residual and result that PLACES and
    // BLOCKS reach lies inside its slice.
    unsafe {
        let mut sums: [[__m256; BLOCKS]; PLACES] = [[_mm256_setzero_ps(); BLOCKS]; PLACES];
        for b in 0..BLOCKS {
            let init = _mm256_loadu_ps(tile.init.as_ptr().add(b * LANES));
            for p in 0..PLACES {
                sums[p][b] = init;
            }
        }
        let (step, stride) = (tile.step, tile.block_stride);
        let mut w = tile.weights.as_ptr().add(tile.weights_at);
        for &run in tile.runs {
            let first = tile.data.as_ptr().add(tile.at + run);
            // Three places per pointer: one register each for the pointer, all with one step.
            let mut near: [*const f32; 5] = [first; 5];
            for g in 1..5 {
                if g * 3 < PLACES {
                    near[g] = first.add(g * 3 * step);
                }
            }
            for _ in 0..tile.run {
                // The fewer of the two stay in registers, the others pass through one.
                if PLACES < BLOCKS {
                    let mut factors: [__m256; PLACES] = [_mm256_setzero_ps(); PLACES];
                    for p in 0..PLACES {
                        factors[p] = _mm256_set1_ps(*near[p / 3].add(p % 3 * step));
                    }
                    for b in 0..BLOCKS {
                        let weights = _mm256_loadu_ps(w.add(b * stride));
                        for p in 0..PLACES {
                            sums[p][b] = _mm256_fmadd_ps(factors[p], weights, sums[p][b]);
                        }
                    }
                } else {
                    let mut weights: [__m256; BLOCKS] = [_mm256_setzero_ps(); BLOCKS];
                    for b in 0..BLOCKS {
                        weights[b] = _mm256_loadu_ps(w.add(b * stride));
                    }
                    for p in 0..PLACES {
                        let factor = _mm256_set1_ps(*near[p / 3].add(p % 3 * step));
                        for b in 0..BLOCKS {
                            sums[p][b] = _mm256_fmadd_ps(factor, weights[b], sums[p][b]);
                        }
                    }
                }
                for g in 0..5 {
                    near[g] = near[g].wrapping_add(1);
                }
                w = w.add(tile.weights_step);
            }
        }
        let (low, high) = (_mm256_set1_ps(tile.limits.0), _mm256_set1_ps(tile.limits.1));
        let full = tile.valid == LANES;
        let part = mask(tile.valid);
        for p in 0..PLACES {
            for b in 0..BLOCKS {
                let at = out_at + p * out_step + b * LANES;
                let whole = full || b + 1 < BLOCKS;
                let mut v = sums[p][b];
                if let Some(residual) = tile.residual {
                    let from = residual.as_ptr().add(at);
                    v = _mm256_add_ps(v, if whole { _mm256_loadu_ps(from) } else { load_part(from, part) });
                }
                // The sum is the second operand, so that a NaN stays one.
                v = _mm256_min_ps(high, _mm256_max_ps(low, v));
                let to = out.pointer(at);
                if whole {
                    _mm256_storeu_ps(to, v);
                } else {
                    store_part(to, part, v);
                }
            }
        }
    }
}

/// One instance per shape of tile.
macro_rules! choose {
    ($count:expr, $blocks:expr, $arguments:tt, $(($b:literal: $($p:literal)*))*) => {
        match ($count, $blocks) {
            $($(($p, $b) => tile::<$p, $b> $arguments,)*)*
            (count, blocks) => unreachable!("no tile of {count} places and {blocks} blocks"),
        }
    };
}

pub fn run(tile_of: &Tile<'_>, count: usize, blocks: usize, out: Shared<'_>, at: usize, step: usize) {
    // SAFETY: `Isa::Avx2` is only made where the processor has it; `super::run` checked every reach.
    unsafe { choose!(count, blocks, (tile_of, out, at, step), (1: 1 2 3 4 5 6 7 8) (2: 1 2 3 4 5 6) (3: 1 2 3) (4: 1 2 3)) }
}
