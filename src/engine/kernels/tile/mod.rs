//! The inner loop of convolutions and matrix products: a few places times a few blocks of output
//! channels, held in registers.
//!
//! Every place contributes one factor per step of k, spread over a vector; every block contributes a
//! vector of weights, one lane per output channel. Places lie an even distance apart, so that a row of
//! a channels-last image, or of a matrix, is read where it lies. Each output is one chain of fused
//! multiply-adds in the order of k, whatever the shape of the tile, so that results do not depend on
//! how work is cut.

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions and unchecked loads of the inner loop")]
#[expect(clippy::needless_range_loop, reason = "loops over registers, which must unroll")]
pub(super) mod avx2;
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions and unchecked loads of the inner loop")]
pub(super) mod avx512;

use super::isa::Isa;

/// What one tile reads and where it writes. Lengths are counted in values.
#[derive(Debug, Clone, Copy)]
pub struct Tile<'a> {
    /// Factors of the places.
    pub data: &'a [f32],
    /// The first factor of the first place.
    pub at: usize,
    /// From one place to the next.
    pub step: usize,
    /// Where each run of factors begins, counted from `at`.
    pub runs: &'a [usize],
    /// Factors in a run; they lie side by side.
    pub run: usize,
    /// Weights: block `b`, step `k` at `weights_at + b·block_stride + k·weights_step`, `lanes` of them.
    pub weights: &'a [f32],
    pub weights_at: usize,
    pub block_stride: usize,
    pub weights_step: usize,
    /// What sums start from, one per output channel of the tile, filled up to whole blocks.
    pub init: &'a [f32],
    /// Output channels of the last block that are stored.
    pub valid: usize,
    /// Added to the finished sums; lies as the output does.
    pub residual: Option<&'a [f32]>,
    pub limits: (f32, f32),
}

/// A buffer that several tasks write to, each to places of its own.
#[derive(Debug, Clone, Copy)]
pub struct Shared<'a> {
    start: *mut f32,
    len: usize,
    borrow: std::marker::PhantomData<&'a mut [f32]>,
}

#[expect(unsafe_code, reason = "tasks of one kernel write to disjoint places of one buffer")]
// SAFETY: whoever writes (only `run` below) is given disjoint places by the kernel that cut the work.
unsafe impl Send for Shared<'_> {}
#[expect(unsafe_code, reason = "as above")]
// SAFETY: as above; nothing is read through it.
unsafe impl Sync for Shared<'_> {}

impl<'a> Shared<'a> {
    pub fn new(buffer: &'a mut [f32]) -> Self {
        Self { start: buffer.as_mut_ptr(), len: buffer.len(), borrow: std::marker::PhantomData }
    }

    /// Values in the buffer.
    pub fn reach(&self) -> usize {
        self.len
    }

    /// Where value `at` lies; writing there is for one task alone.
    pub fn pointer(&self, at: usize) -> *mut f32 {
        self.start.wrapping_add(at)
    }

    /// Values `from..from + len`, for one task alone.
    ///
    /// # Safety
    /// No other task touches them meanwhile.
    #[expect(unsafe_code, clippy::mut_from_ref, reason = "the caller cuts the work into disjoint places")]
    pub unsafe fn slice(&self, from: usize, len: usize) -> &mut [f32] {
        assert!(from + len <= self.len, "results reach beyond their place");
        // SAFETY: in bounds as asserted; disjoint as the caller promises.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(from), len) }
    }
}

/// Widest tile: places for a number of blocks.
pub fn places(isa: Isa, blocks: usize) -> usize {
    match (isa, blocks) {
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512, 1 | 2) => 14,
        (_, 1) => 8,
        #[cfg(target_arch = "x86_64")]
        (Isa::Avx512, _) => 6,
        (_, 2) => 6,
        _ => 3,
    }
}

/// How many of `left` blocks to take at once, for lines of `width` places.
pub fn blocks(isa: Isa, left: usize, width: usize) -> usize {
    // Of 32 registers two blocks hold more places than four read weights for.
    let has_many_registers = isa.lanes() == 16;
    match left {
        0..=2 => left,
        3 if has_many_registers => 2,
        _ if has_many_registers && width > 6 => 2,
        // Few places at a time: at even distances they often lie in one bank of the cache.
        3 | 5 | 6 if !has_many_registers => 3,
        _ => 4,
    }
}

/// Computes `count` places times `blocks` (1 to 4, as [`blocks`] has it) blocks, a tile at a time, into
/// `out[out_at + place·out_step + channel]`:
/// `clamp(init[channel] + Σ_k factor·weight + residual, low, high)`; a NaN stays one.
///
/// # Panics
/// When anything lies outside its slice.
pub fn run(isa: Isa, tile: &Tile<'_>, count: usize, blocks: usize, out: Shared<'_>, out_at: usize, out_step: usize) {
    let (lanes, steps) = (isa.lanes(), tile.runs.len() * tile.run);
    if count == 0 {
        return;
    }
    let reach = tile.runs.last().copied().unwrap_or(0);
    debug_assert!(tile.runs.is_sorted(), "runs are in order");
    let last_place = (count - 1) * out_step + (blocks - 1) * lanes + tile.valid;
    assert!(steps == 0 || tile.at + (count - 1) * tile.step + reach + tile.run <= tile.data.len(), "factors reach too far");
    let weights = (blocks - 1) * tile.block_stride + steps.saturating_sub(1) * tile.weights_step + lanes;
    assert!(steps == 0 || tile.weights_at + weights <= tile.weights.len(), "weights reach too far");
    assert!(tile.init.len() >= blocks * lanes && (1..=lanes).contains(&tile.valid), "channels are missing");
    assert!(out_at + last_place <= out.len, "results reach too far");
    assert!(tile.residual.is_none_or(|r| out_at + last_place <= r.len()), "the residual is too short");
    let pieces = count.div_ceil(places(isa, blocks));
    let mut piece = *tile;
    for number in 0..pieces {
        let (from, to) = (count * number / pieces, count * (number + 1) / pieces);
        piece.at = tile.at + from * tile.step;
        let out_at = out_at + from * out_step;
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512 => avx512::run(&piece, to - from, blocks, out, out_at, out_step),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2 => avx2::run(&piece, to - from, blocks, out, out_at, out_step),
            Isa::Plain => plain(&piece, to - from, blocks, out, out_at, out_step),
        }
    }
}

/// The twin of the vector kernels, and what runs where there are none.
fn plain(tile: &Tile<'_>, count: usize, blocks: usize, out: Shared<'_>, out_at: usize, out_step: usize) {
    let lanes = Isa::Plain.lanes();
    for place in 0..count {
        for block in 0..blocks {
            let mut sums = [0.0_f32; 8];
            sums.copy_from_slice(&tile.init[block * lanes..][..lanes]);
            let mut weights = tile.weights[tile.weights_at + block * tile.block_stride..].chunks(tile.weights_step.max(1));
            for run in tile.runs {
                for x in &tile.data[tile.at + place * tile.step + run..][..tile.run] {
                    for (sum, w) in sums.iter_mut().zip(weights.next().unwrap_or_default()) {
                        *sum = multiply_add(*x, *w, *sum);
                    }
                }
            }
            let valid = if block + 1 == blocks { tile.valid } else { lanes };
            let at = out_at + place * out_step + block * lanes;
            #[expect(unsafe_code, reason = "tasks of one kernel write to disjoint places of one buffer")]
            // SAFETY: the kernel that cut the work gave these places to this tile alone.
            let out = unsafe { out.slice(at, valid) };
            for (lane, (o, sum)) in out.iter_mut().zip(sums).enumerate() {
                let v = tile.residual.map_or(sum, |r| sum + r[at + lane]);
                *o = limit(v, tile.limits);
            }
        }
    }
}

/// `v` within the limits; a NaN stays one.
pub fn limit(v: f32, (low, high): (f32, f32)) -> f32 {
    let v = if v < low { low } else { v };
    if v > high { high } else { v }
}

/// Fused where the processor does it in one step; elsewhere fusing would be a slow library call.
pub fn multiply_add(a: f32, b: f32, c: f32) -> f32 {
    if cfg!(any(target_feature = "fma", target_arch = "aarch64")) { a.mul_add(b, c) } else { a * b + c }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    /// A matrix product by tiles, each instruction set and shape of tile against sums in f64.
    #[test]
    fn every_tile_is_the_plain_sum() {
        let mut random = Random::new(5);
        for isa in Isa::all() {
            let lanes = isa.lanes();
            for blocks in (1..=4).filter(|b| blocks(isa, *b, 1) == *b) {
                for count in 1..=places(isa, blocks) + 3 {
                    let (k, valid) = (11, 1 + count % lanes);
                    let channels = (blocks - 1) * lanes + valid;
                    let x: Vec<f32> = (0..count * (k + 3)).map(|_| random.normal()).collect();
                    let w: Vec<f32> = (0..blocks * k * lanes).map(|_| random.normal()).collect();
                    let init: Vec<f32> = (0..blocks * lanes).map(|_| random.normal()).collect();
                    let residual: Vec<f32> = (0..count * channels).map(|_| random.normal()).collect();
                    let tile = Tile {
                        data: &x,
                        at: 0,
                        step: k + 3,
                        runs: &[0, 6],
                        run: 5,
                        weights: &w,
                        weights_at: 0,
                        block_stride: k * lanes,
                        weights_step: lanes,
                        init: &init,
                        valid,
                        residual: Some(&residual),
                        limits: (-2.0, 2.5),
                    };
                    let mut out = vec![9.0; count * channels];
                    run(isa, &tile, count, blocks, Shared::new(&mut out), 0, channels);
                    for (i, o) in out.iter().enumerate() {
                        let (place, channel) = (i / channels, i % channels);
                        let factor = |j: usize| f64::from(x[place * (k + 3) + if j < 5 { j } else { j + 1 }]);
                        let weight = |j: usize| f64::from(w[(channel / lanes * k + j) * lanes + channel % lanes]);
                        let sum: f64 = (0..10).map(|j| factor(j) * weight(j)).sum();
                        let expected = (f64::from(init[channel]) + sum + f64::from(residual[i])).clamp(-2.0, 2.5);
                        assert!((f64::from(*o) - expected).abs() < 1e-5, "{isa:?} {count}×{blocks} at {i}: {o} {expected}");
                    }
                }
            }
        }
    }

    #[test]
    fn nan_stays_nan_under_limits() {
        for isa in Isa::all() {
            let (w, init, mut out) = ([1.0; 16], [0.0; 16], [0.0]);
            let tile = Tile {
                data: &[f32::NAN],
                at: 0,
                step: 1,
                runs: &[0],
                run: 1,
                weights: &w,
                weights_at: 0,
                block_stride: 16,
                weights_step: 16,
                init: &init,
                valid: 1,
                residual: None,
                limits: (0.0, 6.0),
            };
            run(isa, &tile, 1, 1, Shared::new(&mut out), 0, 1);
            assert!(out[0].is_nan(), "{isa:?}");
        }
    }
}
