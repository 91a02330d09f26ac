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
    /// Where the first place would read a tap of no distance; may lie outside.
    at: isize,
    step: usize,
    /// (distance from `at`, which tap), in order.
    taps: &'a [(isize, usize)],
    kernels: Kernels<'a>,
    channel: usize,
    /// Channels of the last vector that are stored.
    valid: usize,
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

/// Outside the image a tap reads nothing; the places between the borders read all of them.
fn pieces(g: &Geometry) -> Vec<Piece> {
    let [.., width] = g.output;
    let taps = |x: usize| {
        let start = (x * g.stride[2]) as isize - g.pad[2];
        let inside = |t: &usize| (0..g.input[2] as isize).contains(&(start + (t * g.dilation[2]) as isize));
        let mut all = (0..g.kernel[2]).filter(inside);
        let first = all.next();
        first.map_or((0, 0), |f| (f, all.next_back().unwrap_or(f) + 1))
    };
    let mut pieces: Vec<Piece> = Vec::new();
    for x in 0..width {
        let (first, last) = taps(x);
        match pieces.last_mut() {
            Some(p) if (p.first, p.last) == (first, last) && p.to - p.from < PLACES => p.to = x + 1,
            _ => pieces.push(Piece { from: x, to: x + 1, first, last }),
        }
    }
    pieces
}

/// Runs one unit.
pub fn run(g: &Geometry, input: &[f32], kernels: &Kernels<'_>, unit: Unit, finish: Finish<'_>, out: Shared<'_>) {
    let c = g.out_channels;
    let lanes = kernels.isa.lanes();
    let [_, height, width] = g.output;
    let row = g.input[2] * c;
    let (out_step, beside) = finish.beside.unwrap_or((c, 0));
    let (size, pieces) = (g.in_plane() * c, pieces(g));
    let data = &input[unit.image * size..][..size];
    let mut taps = Vec::with_capacity(g.taps());
    for y in unit.rows.0..unit.rows.1 {
        let start = |a: usize, at: usize| (at * g.stride[a]) as isize - g.pad[a];
        let inside = |a: usize, at: usize, tap: usize| {
            let place = start(a, at) + (tap * g.dilation[a]) as isize;
            (0..g.input[a] as isize).contains(&place).then_some(place)
        };
        let mut held = None;
        for piece in &pieces {
            // Most pieces of a row read the same taps.
            let wanted = Some((piece.first, piece.last));
            if held != wanted {
                taps.clear();
            }
            for (d, h) in (0..g.kernel[0]).flat_map(|d| (0..g.kernel[1]).map(move |h| (d, h))) {
                if held == wanted {
                    break;
                }
                let (Some(z), Some(line)) = (inside(0, unit.depth, d), inside(1, y, h)) else { continue };
                let line = (z * g.input[1] as isize + line) * row as isize;
                taps.extend(
                    (piece.first..piece.last)
                        .map(|w| (line + (w * g.dilation[2] * c) as isize, (d * g.kernel[1] + h) * g.kernel[2] + w)),
                );
            }
            held = wanted;
            let place = ((unit.image * g.output[0] + unit.depth) * height + y) * width + piece.from;
            let mut channel = 0;
            while channel < c {
                let vectors = if c - channel > lanes { vectors(kernels.isa) } else { 1 };
                let tile = Tile {
                    data,
                    at: start(2, piece.from) * c as isize + channel as isize,
                    step: g.stride[2] * c,
                    taps: &taps,
                    kernels: *kernels,
                    channel,
                    valid: (c - channel - (vectors - 1) * lanes).min(lanes),
                    finish,
                    out_at: place * out_step + beside + channel,
                    out_step,
                };
                run_tile(&tile, piece.to - piece.from, vectors, out);
                channel += vectors * lanes;
            }
        }
    }
}

fn run_tile(tile: &Tile<'_>, count: usize, vectors: usize, out: Shared<'_>) {
    let kernels = &tile.kernels;
    let lanes = kernels.isa.lanes();
    let channels = (vectors - 1) * lanes + tile.valid;
    debug_assert!(tile.taps.is_sorted(), "taps are in order");
    if let (Some(first), Some(last)) = (tile.taps.first(), tile.taps.last()) {
        let end = tile.at + last.0 + ((count - 1) * tile.step + channels) as isize;
        assert!(tile.at + first.0 >= 0 && end <= tile.data.len() as isize, "the image is too short");
        assert!((last.1 + 1) * kernels.padded <= kernels.weights.len(), "taps are missing");
    }
    let last = tile.out_at + (count - 1) * tile.out_step + channels;
    assert!(tile.channel + vectors * lanes <= kernels.padded && kernels.bias.len() >= kernels.padded, "channels are missing");
    assert!(last <= out.reach() && tile.finish.residual.is_none_or(|r| last <= r.len()), "results reach too far");
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
            for (distance, tap) in tile.taps {
                let x = tile.data[(tile.at + distance).cast_unsigned() + place * tile.step + lane];
                sum = multiply_add(x, tile.kernels.weights[tap * tile.kernels.padded + channel], sum);
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
                    let full = tile.valid == $lanes;
                    let mask = $mask(tile.valid);
                    for &(distance, tap) in tile.taps {
                        let x = tile.data.as_ptr().offset(tile.at + distance);
                        let w = kernels.weights.as_ptr().add(tap * kernels.padded + tile.channel);
                        for v in 0..VECTORS {
                            let weight = $load(w.add(v * $lanes));
                            // Only the last vector may be a part.
                            if full || v + 1 < VECTORS {
                                for p in 0..PLACES {
                                    sums[p][v] = $fma($load(x.add(p * tile.step + v * $lanes)), weight, sums[p][v]);
                                }
                            } else {
                                for p in 0..PLACES {
                                    let x = $load_part(x.add(p * tile.step + v * $lanes), mask);
                                    sums[p][v] = $fma(x, weight, sums[p][v]);
                                }
                            }
                        }
                    }
                    let (low, high) = ($splat(tile.finish.low), $splat(tile.finish.high));
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
