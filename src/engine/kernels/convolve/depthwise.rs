//! Convolutions in which every channel has its own kernel: a vector holds channels of one place.

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

/// Numbers of places that a tile can take, the most first.
const PLACES: [usize; 5] = [8, 4, 3, 2, 1];

/// Some places of a row, all channels.
struct Tile<'a> {
    data: &'a [f32],
    /// Where the first place would read the first tap of all; may lie outside.
    at: isize,
    step: usize,
    /// (distance from `at`, which tap), in order.
    taps: &'a [(isize, usize)],
    kernels: Kernels<'a>,
    channels: usize,
    finish: Finish<'a>,
    out_at: usize,
    out_step: usize,
}

/// Places of a row that read the same taps along the width: `from..to`, taps `first..last`.
struct Piece {
    from: usize,
    to: usize,
    first: usize,
    last: usize,
}

/// Which taps of `axis` the place `at` reads inside the image: `first..last`, with none outside of it
/// between them.
fn taps_inside(g: &Geometry, axis: usize, at: usize) -> (usize, usize) {
    let start = (at * g.stride[axis]) as isize - g.pad[axis];
    let inside = |t: &usize| (0..g.input[axis] as isize).contains(&(start + (t * g.dilation[axis]) as isize));
    let mut all = (0..g.kernel[axis]).filter(inside);
    let first = all.next();
    first.map_or((0, 0), |f| (f, all.next_back().unwrap_or(f) + 1))
}

/// Outside the image a tap reads nothing; the places between the borders read all of them.
fn pieces(g: &Geometry) -> Vec<Piece> {
    let mut runs: Vec<Piece> = Vec::new();
    for x in 0..g.output[2] {
        let (first, last) = taps_inside(g, 2, x);
        match runs.last_mut() {
            Some(p) if (p.first, p.last) == (first, last) => p.to = x + 1,
            _ => runs.push(Piece { from: x, to: x + 1, first, last }),
        }
    }
    let mut pieces = Vec::new();
    for Piece { mut from, to, first, last } in runs {
        while let Some(places) = PLACES.into_iter().find(|p| from + p <= to) {
            pieces.push(Piece { from, to: from + places, first, last });
            from += places;
        }
    }
    pieces
}

/// Runs one unit.
pub fn run(g: &Geometry, input: &[f32], kernels: &Kernels<'_>, unit: Unit, finish: Finish<'_>, out: Shared<'_>) {
    let c = g.out_channels;
    let [_, height, width] = g.output;
    let (out_step, beside) = finish.beside.unwrap_or((c, 0));
    let (size, pieces) = (g.in_plane() * c, pieces(g));
    let data = &input[unit.image * size..][..size];
    let start = |axis: usize, at: usize| (at * g.stride[axis]) as isize - g.pad[axis];
    let plane = start(0, unit.depth) * g.input[1] as isize;
    // Taps per piece; most rows read the same ones.
    let mut taps: Vec<Vec<(isize, usize)>> = Vec::new();
    let mut held = None;
    for y in unit.rows.0..unit.rows.1 {
        let wanted = [taps_inside(g, 0, unit.depth), taps_inside(g, 1, y)];
        if held != Some(wanted) {
            taps = pieces.iter().map(|piece| taps_of(g, [wanted[0], wanted[1], (piece.first, piece.last)])).collect();
            held = Some(wanted);
        }
        let line = (plane + start(1, y)) * g.input[2] as isize;
        for (piece, taps) in pieces.iter().zip(&taps) {
            let place = ((unit.image * g.output[0] + unit.depth) * height + y) * width + piece.from;
            let tile = Tile {
                data,
                at: (line + start(2, piece.from)) * c as isize,
                step: g.stride[2] * c,
                taps,
                kernels: *kernels,
                channels: c,
                finish,
                out_at: place * out_step + beside,
                out_step,
            };
            run_tile(&tile, piece.to - piece.from, out);
        }
    }
}

/// The taps `first..last` along each axis: how far each lies from the first of all, and its number.
fn taps_of(g: &Geometry, [depth, height, width]: [(usize, usize); 3]) -> Vec<(isize, usize)> {
    let mut taps = Vec::with_capacity(g.taps());
    for d in depth.0..depth.1 {
        for h in height.0..height.1 {
            for w in width.0..width.1 {
                let line = d * g.dilation[0] * g.input[1] + h * g.dilation[1];
                let distance = (line * g.input[2] + w * g.dilation[2]) * g.out_channels;
                taps.push((distance.cast_signed(), (d * g.kernel[1] + h) * g.kernel[2] + w));
            }
        }
    }
    taps
}

fn run_tile(tile: &Tile<'_>, count: usize, out: Shared<'_>) {
    let kernels = &tile.kernels;
    debug_assert!(tile.taps.is_sorted(), "taps are in order");
    if let (Some(first), Some(last)) = (tile.taps.first(), tile.taps.last()) {
        let end = tile.at + last.0 + ((count - 1) * tile.step + tile.channels) as isize;
        assert!(tile.at + first.0 >= 0 && end <= tile.data.len() as isize, "the image is too short");
        assert!((last.1 + 1) * kernels.padded <= kernels.weights.len(), "taps are missing");
    }
    let last = tile.out_at + (count - 1) * tile.out_step + tile.channels;
    let padded = tile.channels.next_multiple_of(kernels.isa.lanes());
    assert!(padded <= kernels.padded && kernels.bias.len() >= kernels.padded, "channels are missing");
    assert!(last <= out.reach() && tile.finish.residual.is_none_or(|r| last <= r.len()), "results reach too far");
    match kernels.isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512 => x86::run_avx512(tile, count, out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => x86::run_avx2(tile, count, out),
        Isa::Plain => plain(tile, count, out),
    }
}

/// The twin of the vector kernels.
fn plain(tile: &Tile<'_>, count: usize, out: Shared<'_>) {
    for place in 0..count {
        let at = tile.out_at + place * tile.out_step;
        #[expect(unsafe_code, reason = "tasks of one kernel write to disjoint places of one buffer")]
        // SAFETY: units are disjoint, and so are the tiles of a unit.
        let out = unsafe { out.slice(at, tile.channels) };
        for (channel, o) in out.iter_mut().enumerate() {
            let mut sum = tile.kernels.bias[channel];
            for (distance, tap) in tile.taps {
                let x = tile.data[(tile.at + distance).cast_unsigned() + place * tile.step + channel];
                sum = multiply_add(x, tile.kernels.weights[tap * tile.kernels.padded + channel], sum);
            }
            let v = tile.finish.residual.map_or(sum, |r| sum + r[at + channel]);
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
        ($name:ident, $block:ident, $feature:literal, $vector:ty, $lanes:literal, $zero:ident, $splat:ident, $load:ident,
         $store:ident, $fma:ident, $add:ident, $max:ident, $min:ident, $mask:path, $load_part:path, $store_part:path) => {
            /// Several vectors at a time, so that their sums do not wait for each other.
            ///
            /// # Safety
            /// The processor has the feature, and `super::run_tile` has checked every reach.
            #[target_feature(enable = $feature)]
            unsafe fn $name<const PLACES: usize, const VECTORS: usize>(tile: &Tile<'_>, out: Shared<'_>) {
                // SAFETY: as this function's.
                unsafe {
                    let mut channel = 0;
                    while channel + VECTORS * $lanes <= tile.channels {
                        $block::<PLACES, VECTORS, true>(tile, channel, out);
                        channel += VECTORS * $lanes;
                    }
                    while VECTORS > 1 && channel + $lanes <= tile.channels {
                        $block::<PLACES, 1, true>(tile, channel, out);
                        channel += $lanes;
                    }
                    if channel < tile.channels {
                        $block::<PLACES, 1, false>(tile, channel, out);
                    }
                }
            }

            /// `WHOLE`: all lanes are channels.
            ///
            /// # Safety
            /// As above; the channels from `channel` on are there.
            #[inline]
            #[target_feature(enable = $feature)]
            unsafe fn $block<const PLACES: usize, const VECTORS: usize, const WHOLE: bool>(
                tile: &Tile<'_>,
                channel: usize,
                out: Shared<'_>,
            ) {
                // SAFETY: `super::run_tile` asserted that whatever PLACES and the channels reach lies inside its slice.
                unsafe {
                    let kernels = &tile.kernels;
                    let mask = $mask((tile.channels - channel).min($lanes));
                    let mut sums: [[$vector; VECTORS]; PLACES] = [[$zero(); VECTORS]; PLACES];
                    for v in 0..VECTORS {
                        let bias = $load(kernels.bias.as_ptr().add(channel + v * $lanes));
                        for p in 0..PLACES {
                            sums[p][v] = bias;
                        }
                    }
                    let data = tile.data.as_ptr().offset(tile.at).add(channel);
                    let weights = kernels.weights.as_ptr().add(channel);
                    for &(distance, tap) in tile.taps {
                        let (x, w) = (data.offset(distance), weights.add(tap * kernels.padded));
                        for v in 0..VECTORS {
                            let weight = $load(w.add(v * $lanes));
                            for p in 0..PLACES {
                                let x = x.add(p * tile.step + v * $lanes);
                                let x = if WHOLE { $load(x) } else { $load_part(x, mask) };
                                sums[p][v] = $fma(x, weight, sums[p][v]);
                            }
                        }
                    }
                    let (low, high) = ($splat(tile.finish.low), $splat(tile.finish.high));
                    for p in 0..PLACES {
                        for v in 0..VECTORS {
                            let at = tile.out_at + p * tile.out_step + channel + v * $lanes;
                            let mut sum = sums[p][v];
                            if let Some(residual) = tile.finish.residual {
                                let from = residual.as_ptr().add(at);
                                sum = $add(sum, if WHOLE { $load(from) } else { $load_part(from, mask) });
                            }
                            // The sum is the second operand, so that a NaN stays one.
                            sum = $min(high, $max(low, sum));
                            if WHOLE {
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
        block_avx512,
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
        block_avx2,
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

    pub fn run_avx512(tile: &Tile<'_>, count: usize, out: Shared<'_>) {
        // SAFETY: `Isa::Avx512` is only made where the processor has it; `super::run_tile` checked every reach.
        unsafe {
            match count {
                8 => tile_avx512::<8, 2>(tile, out),
                4 => tile_avx512::<4, 2>(tile, out),
                3 => tile_avx512::<3, 4>(tile, out),
                2 => tile_avx512::<2, 4>(tile, out),
                1 => tile_avx512::<1, 4>(tile, out),
                _ => unreachable!("no tile of {count} places"),
            }
        }
    }

    /// Of 16 registers, as many as can hold sums.
    pub fn run_avx2(tile: &Tile<'_>, count: usize, out: Shared<'_>) {
        // SAFETY: as above, for `Isa::Avx2`.
        unsafe {
            match count {
                8 => tile_avx2::<8, 1>(tile, out),
                4 => tile_avx2::<4, 2>(tile, out),
                3 => tile_avx2::<3, 4>(tile, out),
                2 => tile_avx2::<2, 4>(tile, out),
                1 => tile_avx2::<1, 4>(tile, out),
                _ => unreachable!("no tile of {count} places"),
            }
        }
    }
}
