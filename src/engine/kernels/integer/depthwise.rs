//! The inner loop of convolutions whose channels stay apart: one lane per channel.

use super::tile::Sums;
use super::{Isa, LANES};

/// Places of one tile.
pub(super) const PLACES: usize = 8;

/// What one tile of 16 channels computes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile<'a> {
    /// `[tap][wide]`, starting at the tile's first channel.
    pub weights: &'a [i8],
    pub wide: usize,
    pub data: &'a [u8],
    /// The first channel of the first place's first tap.
    pub base: usize,
    /// From one place to the next.
    pub stride: usize,
    /// From a place to its taps.
    pub taps: &'a [usize],
}

/// Sums of up to [`PLACES`] places, `[place][lane]`. Lanes beyond the channels hold nothing of use.
pub(super) fn run(isa: Isa, tile: &Tile<'_>, places: usize, sums: &mut Sums) {
    assert!((1..=PLACES).contains(&places), "no such tile");
    let reach = tile.taps.iter().copied().max().unwrap_or(0);
    assert!(tile.base + (places - 1) * tile.stride + reach + LANES <= tile.data.len(), "a tile reaches beyond its data");
    assert!(tile.taps.len().saturating_sub(1) * tile.wide + LANES <= tile.weights.len(), "weights are missing");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Vnni => x86::run_vnni(tile, places, sums),
        _ => each_place(tile, places, sums),
    }
}

/// The twin of the vector kernel, and what runs where there are none.
fn each_place(tile: &Tile<'_>, places: usize, sums: &mut Sums) {
    for (place, out) in sums.chunks_exact_mut(LANES).take(places).enumerate() {
        let mut own = [0_i32; LANES];
        for (tap, offset) in tile.taps.iter().enumerate() {
            let x = &tile.data[tile.base + place * tile.stride + offset..][..LANES];
            let w = &tile.weights[tap * tile.wide..][..LANES];
            for ((sum, x), w) in own.iter_mut().zip(x).zip(w) {
                *sum += i32::from(*x) * i32::from(*w);
            }
        }
        out.copy_from_slice(&own);
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions and unchecked loads of the inner loop")]
#[expect(clippy::needless_range_loop, reason = "an index names a register here")]
mod x86 {
    use super::super::LANES;
    use super::super::tile::Sums;
    use super::{PLACES, Tile};
    use std::arch::x86_64::{
        __m512i, _mm_loadu_si128, _mm512_cvtepi8_epi32, _mm512_cvtepu8_epi32, _mm512_dpwssd_epi32, _mm512_setzero_si512,
        _mm512_storeu_si512,
    };

    /// The upper half of each data lane is zero, so that the two products of a lane are one.
    ///
    /// # Safety
    /// The processor has the features, and `super::run` has checked every reach.
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn vnni<const N: usize>(tile: &Tile<'_>, out: &mut Sums) {
        let mut sums: [__m512i; N] = [_mm512_setzero_si512(); N];
        // SAFETY: `super::run` asserted that 16 bytes at every tap of every place and 16 weights of every
        // tap are there; N ≤ PLACES vectors fit `out`.
        unsafe {
            let mut weights = tile.weights.as_ptr();
            for &tap in tile.taps {
                let w = _mm512_cvtepi8_epi32(_mm_loadu_si128(weights.cast()));
                let data = tile.data.as_ptr().add(tile.base + tap);
                for place in 0..N {
                    let x = _mm512_cvtepu8_epi32(_mm_loadu_si128(data.add(place * tile.stride).cast()));
                    sums[place] = _mm512_dpwssd_epi32(sums[place], x, w);
                }
                weights = weights.wrapping_add(tile.wide);
            }
            for place in 0..N {
                _mm512_storeu_si512(out.as_mut_ptr().add(place * LANES).cast(), sums[place]);
            }
        }
    }

    pub(super) fn run_vnni(tile: &Tile<'_>, places: usize, sums: &mut Sums) {
        const { assert!(PLACES == 8, "one kernel per number of places") };
        // SAFETY: the caller chose this by what the processor has; `super::run` checked every reach.
        unsafe {
            match places {
                1 => vnni::<1>(tile, sums),
                2 => vnni::<2>(tile, sums),
                3 => vnni::<3>(tile, sums),
                4 => vnni::<4>(tile, sums),
                5 => vnni::<5>(tile, sums),
                6 => vnni::<6>(tile, sums),
                7 => vnni::<7>(tile, sums),
                _ => vnni::<8>(tile, sums),
            }
        }
    }
}
