//! The inner loops on AVX2.
#![expect(unsafe_code, reason = "vector instructions and unchecked loads of the inner loop")]
#![expect(clippy::needless_range_loop, reason = "an index names a register here")]

use super::super::finish::Column;
use super::{Apart, LANES, Line, PAIR};
use std::arch::x86_64::{
    __m256i, _mm_storel_epi64, _mm256_add_epi32, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_permute2x128_si256,
    _mm256_set1_epi32, _mm256_setzero_si256, _mm256_storeu_si256, _mm256_unpackhi_epi16, _mm256_unpacklo_epi16,
};

/// Places of one tile: 12 of 16 registers hold its sums.
const TILE: usize = 6;
/// Places of one tile where channels stay apart.
const APART: usize = 4;

/// What becomes of the sums of a place.
trait Give {
    /// What the sums begin with.
    ///
    /// # Safety
    /// The processor has AVX2.
    unsafe fn start<const V: usize>(&self) -> [__m256i; V];

    /// # Safety
    /// The processor has AVX2, and there is room for the place.
    unsafe fn give<const V: usize>(&self, place: usize, sums: [__m256i; V]);

    /// As [`Give::give`], of lanes as [`super::lane_of`] says.
    ///
    /// # Safety
    /// As [`Give::give`].
    unsafe fn give_apart(&self, place: usize, sums: [__m256i; 2]);
}

/// They are stored as they are, place by place.
struct Store(*mut i32);

impl Give for Store {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn start<const V: usize>(&self) -> [__m256i; V] {
        [_mm256_setzero_si256(); V]
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn give<const V: usize>(&self, place: usize, sums: [__m256i; V]) {
        for half in 0..V {
            // SAFETY: the caller says so.
            unsafe { _mm256_storeu_si256(self.0.add((place * V + half) * LANES / 2).cast(), sums[half]) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn give_apart(&self, place: usize, [low, high]: [__m256i; 2]) {
        let sums = [_mm256_permute2x128_si256(low, high, 0x20), _mm256_permute2x128_si256(low, high, 0x31)];
        // SAFETY: the caller says so.
        unsafe { self.give(place, sums) }
    }
}

/// They become bytes. `WHOLE`: of all lanes.
struct Write<'a, const WHOLE: bool> {
    column: &'a Column,
    out: *mut u8,
    /// From one place to the next.
    of: usize,
}

impl<const WHOLE: bool> Give for Write<'_, WHOLE> {
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn start<const V: usize>(&self) -> [__m256i; V] {
        self.column.start()
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn give<const V: usize>(&self, place: usize, sums: [__m256i; V]) {
        let bytes = self.column.pack::<V, false>(sums);
        // SAFETY: the caller says so; eight channels are the whole of one vector.
        unsafe {
            let out = self.out.add(place * self.of);
            if WHOLE && V == 1 { _mm_storel_epi64(out.cast(), bytes) } else { self.column.put_bytes::<WHOLE>(bytes, out) }
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn give_apart(&self, place: usize, sums: [__m256i; 2]) {
        let bytes = self.column.pack::<2, true>(sums);
        // SAFETY: the caller says so.
        unsafe { self.column.put_bytes::<WHOLE>(bytes, self.out.add(place * self.of)) }
    }
}

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
/// The processor has the feature, and `super::run` or `super::run_direct` has checked every reach.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn tile<const N: usize, const V: usize>(line: &Line<'_>, first: usize, out: &impl Give) {
    // SAFETY: the processor has the feature.
    let mut sums: [[__m256i; V]; N] = [unsafe { out.start() }; N];
    // SAFETY: what called this asserted that every place's runs lie inside `data`, that `weights` holds them
    // all, and that there is room for `first + N` places.
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
            out.give(first + place, sums[place]);
        }
    }
}

/// # Safety
/// As [`tile`], for `super::run_apart` or `super::run_apart_direct`.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn apart<const N: usize>(line: &Apart<'_>, [row, first]: [usize; 2], at: usize, out: &impl Give) {
    // SAFETY: the processor has the feature.
    let mut sums: [[__m256i; 2]; N] = [unsafe { out.start() }; N];
    // SAFETY: what called this asserted that 16 words at every tap of every place and 32 weights of every pair
    // of taps are there, and that there is room for `first + N` places.
    unsafe {
        let mut weights = line.weights.as_ptr().cast::<i16>();
        let data = line.data.as_ptr().add(line.base + row * line.down + first * line.stride);
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
            out.give_apart(at + place, sums[place]);
        }
    }
}

/// Tiles of one line are as equal as can be: small ones leave the registers idle.
///
/// # Safety
/// As [`tile`].
#[target_feature(enable = "avx2")]
unsafe fn tiles<const V: usize>(line: &Line<'_>, places: usize, out: &impl Give) {
    let count = places.div_ceil(TILE);
    let mut first = 0;
    for left in (1..=count).rev() {
        let places = (places - first).div_ceil(left);
        // SAFETY: as this function's.
        unsafe {
            match places {
                1 => tile::<1, V>(line, first, out),
                2 => tile::<2, V>(line, first, out),
                3 => tile::<3, V>(line, first, out),
                4 => tile::<4, V>(line, first, out),
                5 => tile::<5, V>(line, first, out),
                _ => tile::<TILE, V>(line, first, out),
            }
        }
        first += places;
    }
}

/// # Safety
/// As [`apart`].
#[target_feature(enable = "avx2")]
unsafe fn tiles_apart(line: &Apart<'_>, places: usize, out: &impl Give) {
    for row in 0..line.rows {
        for first in (0..places).step_by(APART) {
            let (own, at) = ([row, first], row * places + first);
            // SAFETY: as this function's.
            unsafe {
                match places - first {
                    1 => apart::<1>(line, own, at, out),
                    2 => apart::<2>(line, own, at, out),
                    3 => apart::<3>(line, own, at, out),
                    _ => apart::<APART>(line, own, at, out),
                }
            }
        }
    }
}

/// # Safety
/// As [`tile`].
unsafe fn tiles_of(line: &Line<'_>, places: usize, out: &impl Give) {
    // SAFETY: as this function's.
    unsafe { if line.lanes == LANES { tiles::<2>(line, places, out) } else { tiles::<1>(line, places, out) } }
}

pub(super) fn run(line: &Line<'_>, places: usize, sums: &mut [i32]) {
    // SAFETY: the caller chose this by what the processor has; `super::run` checked every reach.
    unsafe { tiles_of(line, places, &Store(sums.as_mut_ptr())) }
}

pub(super) fn run_direct(line: &Line<'_>, places: usize, column: &Column, out: &mut [u8], of: usize) {
    let out = out.as_mut_ptr();
    // SAFETY: a column is made where the processor has the feature; `super::run_direct` checked every reach.
    unsafe {
        if column.count() == line.lanes {
            tiles_of(line, places, &Write::<true> { column, out, of });
        } else {
            tiles_of(line, places, &Write::<false> { column, out, of });
        }
    }
}

pub(super) fn run_apart(line: &Apart<'_>, places: usize, sums: &mut [i32]) {
    // SAFETY: as in `run`, for `super::run_apart`.
    unsafe { tiles_apart(line, places, &Store(sums.as_mut_ptr())) }
}

pub(super) fn run_apart_direct(line: &Apart<'_>, places: usize, column: &Column, out: &mut [u8], of: usize) {
    let out = out.as_mut_ptr();
    // SAFETY: as in `run_direct`, for `super::run_apart_direct`.
    unsafe {
        if column.count() == LANES {
            tiles_apart(line, places, &Write::<true> { column, out, of });
        } else {
            tiles_apart(line, places, &Write::<false> { column, out, of });
        }
    }
}

pub(super) fn widen(bytes: &[u8], words: &mut [i16]) {
    #[target_feature(enable = "avx2")]
    fn inner(bytes: &[u8], words: &mut [i16]) {
        super::each_byte(bytes, words);
    }
    // SAFETY: chosen where the processor has the feature.
    unsafe { inner(bytes, words) }
}
