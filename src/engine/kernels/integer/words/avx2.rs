//! The inner loops on AVX2.
#![expect(unsafe_code, reason = "vector instructions and unchecked loads of the inner loop")]
#![expect(clippy::needless_range_loop, reason = "an index names a register here")]

use super::{Apart, LANES, Line, PAIR};
use std::arch::x86_64::{
    __m256i, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_permute2x128_si256, _mm256_set1_epi32,
    _mm256_setzero_si256, _mm256_storeu_si256, _mm256_unpackhi_epi16, _mm256_unpacklo_epi16,
};

/// Places of one tile: 12 of 16 registers hold its sums.
const TILE: usize = 6;
/// Places of one tile where channels stay apart.
const APART: usize = 4;

/// One pair of words of each place times the weights of one step. `V`: vectors of eight lanes.
///
/// # Safety
/// The processor has the feature; `weights` are of one step, and the words are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn product<const N: usize, const V: usize>(
    sums: &mut [[__m256i; V]; N],
    weights: *const i16,
    data: *const i16,
    stride: usize,
) {
    // SAFETY: the caller says so.
    unsafe {
        let mut w = [_mm256_setzero_si256(); V];
        for half in 0..V {
            w[half] = _mm256_loadu_si256(weights.add(half * LANES).cast());
        }
        for place in 0..N {
            let x = _mm256_set1_epi32(data.add(place * stride).cast::<i32>().read_unaligned());
            for half in 0..V {
                sums[place][half] = _mm256_add_epi32(sums[place][half], _mm256_madd_epi16(x, w[half]));
            }
        }
    }
}

/// Sums of `N` places.
///
/// # Safety
/// The processor has the feature, and `super::run` has checked every reach.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const N: usize, const V: usize>(line: &Line<'_>, first: usize, out: &mut [i32]) {
    let mut sums = [[_mm256_setzero_si256(); V]; N];
    // SAFETY: `super::run` asserted that every place's runs lie inside `data`, that `weights` holds them all,
    // and that `first + N` places fit `out`.
    unsafe {
        let mut weights = line.weights.as_ptr().cast::<i16>();
        for &run in line.runs {
            let mut data = line.data.as_ptr().add(line.base + first * line.stride + run);
            // Two at a time: moving the pointers takes from what the products leave.
            for _ in 0..line.pairs / 2 {
                product(&mut sums, weights, data, line.stride);
                product(&mut sums, weights.add(LANES * PAIR), data.add(PAIR), line.stride);
                weights = weights.add(2 * LANES * PAIR);
                data = data.add(2 * PAIR);
            }
            if line.pairs % 2 == 1 {
                product(&mut sums, weights, data, line.stride);
                weights = weights.add(LANES * PAIR);
            }
        }
        for place in 0..N {
            for half in 0..V {
                let to = out.as_mut_ptr().add(((first + place) * V + half) * LANES / 2);
                _mm256_storeu_si256(to.cast(), sums[place][half]);
            }
        }
    }
}

/// # Safety
/// As [`tile`], for `super::run_apart`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn apart<const N: usize>(line: &Apart<'_>, first: usize, out: &mut [i32]) {
    let mut sums = [[_mm256_setzero_si256(); 2]; N];
    // SAFETY: `super::run_apart` asserted that 16 words at every tap of every place and 32 weights of every
    // pair of taps are there, and that `first + N` places fit `out`.
    unsafe {
        let mut weights = line.weights.as_ptr().cast::<i16>();
        let data = line.data.as_ptr().add(line.base + first * line.stride);
        for taps in line.taps.chunks_exact(PAIR) {
            let w = [_mm256_loadu_si256(weights.cast()), _mm256_loadu_si256(weights.add(LANES).cast())];
            for place in 0..N {
                let at = data.add(place * line.stride);
                let x = _mm256_loadu_si256(at.add(taps[0]).cast());
                let y = _mm256_loadu_si256(at.add(taps[1]).cast());
                let low = _mm256_madd_epi16(_mm256_unpacklo_epi16(x, y), w[0]);
                let high = _mm256_madd_epi16(_mm256_unpackhi_epi16(x, y), w[1]);
                sums[place] = [_mm256_add_epi32(sums[place][0], low), _mm256_add_epi32(sums[place][1], high)];
            }
            weights = weights.add(LANES * PAIR);
        }
        for place in 0..N {
            let [low, high] = sums[place];
            let to = out.as_mut_ptr().add((first + place) * LANES);
            _mm256_storeu_si256(to.cast(), _mm256_permute2x128_si256(low, high, 0x20));
            _mm256_storeu_si256(to.add(LANES / 2).cast(), _mm256_permute2x128_si256(low, high, 0x31));
        }
    }
}

/// Tiles of one line are as equal as can be: small ones leave the registers idle.
///
/// # Safety
/// As [`tile`].
#[target_feature(enable = "avx2")]
unsafe fn tiles<const V: usize>(line: &Line<'_>, places: usize, sums: &mut [i32]) {
    let count = places.div_ceil(TILE);
    let mut first = 0;
    for left in (1..=count).rev() {
        let places = (places - first).div_ceil(left);
        // SAFETY: as this function's.
        unsafe {
            match places {
                1 => tile::<1, V>(line, first, sums),
                2 => tile::<2, V>(line, first, sums),
                3 => tile::<3, V>(line, first, sums),
                4 => tile::<4, V>(line, first, sums),
                5 => tile::<5, V>(line, first, sums),
                _ => tile::<TILE, V>(line, first, sums),
            }
        }
        first += places;
    }
}

/// # Safety
/// As [`apart`].
#[target_feature(enable = "avx2")]
unsafe fn tiles_apart(line: &Apart<'_>, places: usize, sums: &mut [i32]) {
    for first in (0..places).step_by(APART) {
        // SAFETY: as this function's.
        unsafe {
            match places - first {
                1 => apart::<1>(line, first, sums),
                2 => apart::<2>(line, first, sums),
                3 => apart::<3>(line, first, sums),
                _ => apart::<APART>(line, first, sums),
            }
        }
    }
}

pub(super) fn run(line: &Line<'_>, places: usize, sums: &mut [i32]) {
    // SAFETY: the caller chose this by what the processor has; `super::run` checked every reach.
    unsafe { if line.lanes == LANES { tiles::<2>(line, places, sums) } else { tiles::<1>(line, places, sums) } }
}

pub(super) fn run_apart(line: &Apart<'_>, places: usize, sums: &mut [i32]) {
    // SAFETY: as above, for `super::run_apart`.
    unsafe { tiles_apart(line, places, sums) }
}

pub(super) fn widen(bytes: &[u8], words: &mut [i16]) {
    #[target_feature(enable = "avx2")]
    fn inner(bytes: &[u8], words: &mut [i16]) {
        super::each_byte(bytes, words);
    }
    // SAFETY: chosen where the processor has the feature.
    unsafe { inner(bytes, words) }
}
