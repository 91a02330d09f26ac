//! Convolutions in which every channel has its own kernel: a vector holds channels of one place.

use super::rows::Rows;
use super::{Finish, Geometry, Unit};
use crate::engine::kernels::isa::Isa;
use crate::engine::kernels::tile::{Shared, limit, multiply_add};

/// `[tap][channel]`, filled up to whole vectors.
#[derive(Debug, Clone, Copy)]
pub struct Kernels<'a> {
    pub isa: Isa,
    pub weights: &'a [f32],
    pub bias: &'a [f32],
    pub padded: usize,
}

/// Places that a tile takes at most.
const PLACES: usize = 8;

/// Vectors of channels that the registers hold for [`PLACES`].
fn vectors(isa: Isa) -> usize {
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => 2,
        _ => 1,
    }
}

/// Some places of a row, one vector of channels (or two).
struct Tile<'a> {
    data: &'a [f32],
    at: usize,
    step: usize,
    taps: &'a [usize],
    kernels: Kernels<'a>,
    channel: usize,
    /// Channels of the last vector that are stored.
    valid: usize,
    finish: Finish<'a>,
    out_at: usize,
    out_step: usize,
}

/// Runs one unit.
pub fn run(g: &Geometry, rows: &Rows<'_>, kernels: &Kernels<'_>, unit: Unit, finish: Finish<'_>, out: Shared<'_>) {
    let ([_, height, width], c) = (g.output, g.out_channels);
    let lanes = kernels.isa.lanes();
    rows.each(g, unit, |laid, (from, to)| {
        let tap = |t: usize| {
            let (d, h, w) = (t / (g.kernel[1] * g.kernel[2]), t / g.kernel[2] % g.kernel[1], t % g.kernel[2]);
            d * g.dilation[0] * laid.plane + h * g.dilation[1] * laid.row + w * g.dilation[2] * c
        };
        let taps: Vec<usize> = (0..g.taps()).map(tap).collect();
        let first = ((unit.image * g.output[0] + unit.depth) * height + from) * width;
        let pieces = width.div_ceil(PLACES);
        debug_assert!(taps.is_sorted());
        let mut channel = 0;
        while channel < c {
            let vectors = if c - channel > lanes { vectors(kernels.isa) } else { 1 };
            for (row, piece) in (0..to - from).flat_map(|row| (0..pieces).map(move |piece| (row, piece))) {
                let (start, end) = (width * piece / pieces, width * (piece + 1) / pieces);
                let tile = Tile {
                    data: laid.data,
                    at: laid.at + row * g.stride[1] * laid.row + start * g.stride[2] * c + channel,
                    step: g.stride[2] * c,
                    taps: &taps,
                    kernels: *kernels,
                    channel,
                    valid: (c - channel - (vectors - 1) * lanes).min(lanes),
                    finish,
                    out_at: (first + row * width + start) * c + channel,
                    out_step: c,
                };
                run_tile(&tile, end - start, vectors, out);
            }
            channel += vectors * lanes;
        }
    });
}

fn run_tile(tile: &Tile<'_>, count: usize, vectors: usize, out: Shared<'_>) {
    let kernels = &tile.kernels;
    let lanes = kernels.isa.lanes();
    // Taps are in order.
    let reach = tile.taps.last().copied().unwrap_or(0) + (count - 1) * tile.step + vectors * lanes;
    let last = tile.out_at + (count - 1) * tile.out_step + (vectors - 1) * lanes + tile.valid;
    assert!(tile.at + reach <= tile.data.len(), "the image is too short");
    assert!(tile.channel + vectors * lanes <= kernels.padded, "channels are missing");
    assert!(
        kernels.weights.len() >= tile.taps.len() * kernels.padded && kernels.bias.len() >= kernels.padded,
        "taps are missing"
    );
    assert!(last <= out.len() && tile.finish.residual.is_none_or(|r| last <= r.len()), "results reach too far");
    match kernels.isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => x86::run_avx512(tile, count, vectors, out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => x86::run_avx2(tile, count, vectors, out),
        Isa::Plain => plain(tile, count, vectors, out),
    }
}

/// The twin of the vector kernels.
fn plain(tile: &Tile<'_>, count: usize, vectors: usize, out: Shared<'_>) {
    let channels = (vectors - 1) * Isa::Plain.lanes() + tile.valid;
    for place in 0..count {
        let at = tile.out_at + place * tile.out_step;
        #[expect(unsafe_code, reason = "tasks of one kernel write to disjoint places of one buffer")]
        // SAFETY: units are disjoint, and so are the tiles of a unit.
        let out = unsafe { out.slice(at, channels) };
        for (lane, o) in out.iter_mut().enumerate() {
            let channel = tile.channel + lane;
            let mut sum = tile.kernels.bias[channel];
            for (t, tap) in tile.taps.iter().enumerate() {
                let x = tile.data[tile.at + place * tile.step + tap + lane];
                sum = multiply_add(x, tile.kernels.weights[t * tile.kernels.padded + channel], sum);
            }
            let v = tile.finish.residual.map_or(sum, |r| sum + r[at + lane]);
            *o = limit(v, (tile.finish.low, tile.finish.high));
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions and unchecked loads of the inner loop")]
mod x86 {
    use super::{Shared, Tile};
    use crate::engine::kernels::tile::{avx2, avx512};
    use std::arch::x86_64::{
        __m256, __m512, _mm256_add_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_set1_ps,
        _mm256_setzero_ps, _mm256_storeu_ps, _mm512_add_ps, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_max_ps, _mm512_min_ps,
        _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    macro_rules! kernel {
        ($name:ident, $feature:literal, $vector:ty, $lanes:literal, $zero:ident, $splat:ident, $load:ident, $store:ident,
         $fma:ident, $add:ident, $max:ident, $min:ident, $mask:path, $load_part:path, $store_part:path) => {
            /// # Safety
            /// The processor has the feature, and `super::run_tile` has checked every reach.
            #[target_feature(enable = $feature)]
            unsafe fn $name<const PLACES: usize, const VECTORS: usize>(tile: &Tile<'_>, out: Shared<'_>) {
                // SAFETY: `super::run_tile` asserted that whatever PLACES and VECTORS reach lies inside its slice.
                unsafe {
                    let kernels = &tile.kernels;
                    let mut sums: [[$vector; VECTORS]; PLACES] = [[$zero(); VECTORS]; PLACES];
                    for v in 0..VECTORS {
                        let bias = $load(kernels.bias.as_ptr().add(tile.channel + v * $lanes));
                        for p in 0..PLACES {
                            sums[p][v] = bias;
                        }
                    }
                    let mut w = kernels.weights.as_ptr().add(tile.channel);
                    for &tap in tile.taps {
                        let x = tile.data.as_ptr().add(tile.at + tap);
                        for v in 0..VECTORS {
                            let weight = $load(w.add(v * $lanes));
                            for p in 0..PLACES {
                                sums[p][v] = $fma($load(x.add(p * tile.step + v * $lanes)), weight, sums[p][v]);
                            }
                        }
                        w = w.add(kernels.padded);
                    }
                    let (low, high) = ($splat(tile.finish.low), $splat(tile.finish.high));
                    let full = tile.valid == $lanes;
                    let mask = $mask(tile.valid);
                    for p in 0..PLACES {
                        for v in 0..VECTORS {
                            let at = tile.out_at + p * tile.out_step + v * $lanes;
                            let whole = full || v + 1 < VECTORS;
                            let mut sum = sums[p][v];
                            if let Some(residual) = tile.finish.residual {
                                let from = residual.as_ptr().add(at);
                                sum = $add(sum, if whole { $load(from) } else { $load_part(from, mask) });
                            }
                            // The sum is the second operand, so that a NaN stays one.
                            sum = $min(high, $max(low, sum));
                            if whole {
                                $store(out.pointer(at), sum);
                            } else {
                                $store_part(out.pointer(at), mask, sum);
                            }
                        }
                    }
                }
            }
        };
    }

    kernel!(
        tile_avx512,
        "avx512f",
        __m512,
        16,
        _mm512_setzero_ps,
        _mm512_set1_ps,
        _mm512_loadu_ps,
        _mm512_storeu_ps,
        _mm512_fmadd_ps,
        _mm512_add_ps,
        _mm512_max_ps,
        _mm512_min_ps,
        avx512::mask,
        avx512::load_part,
        avx512::store_part
    );
    kernel!(
        tile_avx2,
        "avx2,fma",
        __m256,
        8,
        _mm256_setzero_ps,
        _mm256_set1_ps,
        _mm256_loadu_ps,
        _mm256_storeu_ps,
        _mm256_fmadd_ps,
        _mm256_add_ps,
        _mm256_max_ps,
        _mm256_min_ps,
        avx2::mask,
        avx2::load_part,
        avx2::store_part
    );

    macro_rules! choose {
        ($kernel:ident, $count:expr, $vectors:expr, $arguments:tt, $($p:literal)*) => {
            match ($count, $vectors) {
                $(($p, 1) => $kernel::<$p, 1> $arguments, ($p, 2) => $kernel::<$p, 2> $arguments,)*
                (count, vectors) => unreachable!("no tile of {count} places and {vectors} vectors"),
            }
        };
    }

    pub fn run_avx512(tile: &Tile<'_>, count: usize, vectors: usize, out: Shared<'_>) {
        // SAFETY: `Isa::Avx512` is only made where the processor has it; `super::run_tile` checked every reach.
        unsafe { choose!(tile_avx512, count, vectors, (tile, out), 1 2 3 4 5 6 7 8) }
    }

    pub fn run_avx2(tile: &Tile<'_>, count: usize, vectors: usize, out: Shared<'_>) {
        // SAFETY: as above, for `Isa::Avx2`.
        unsafe { choose!(tile_avx2, count, vectors, (tile, out), 1 2 3 4 5 6 7 8) }
    }
}
