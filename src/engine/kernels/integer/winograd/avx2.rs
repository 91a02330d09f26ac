//! Transformations of tiles on AVX2: 16 words, or twice 8 sums, side by side.
#![expect(unsafe_code, reason = "vector instructions and unchecked loads of the inner loop")]

use super::{LANES, Line, line_in, line_out};
use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm256_add_epi16, _mm256_add_epi32, _mm256_cvtepu8_epi16, _mm256_loadu_si256, _mm256_srai_epi32,
    _mm256_storeu_si256, _mm256_sub_epi16, _mm256_sub_epi32,
};
use std::array::from_fn;

/// Lanes of one vector of sums.
const HALF: usize = 8;

/// A column of four places, added up downwards. `from` is at its first place.
///
/// # Safety
/// The processor has the feature; 16 bytes are at each of four places `row` apart.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn column(from: *const u8, row: usize) -> [__m256i; 4] {
    // SAFETY: the caller says so.
    let d: [__m256i; 4] = from_fn(|y| unsafe { _mm256_cvtepu8_epi16(_mm_loadu_si128(from.add(y * row).cast())) });
    line_in!(d, _mm256_add_epi16, _mm256_sub_epi16)
}

/// # Safety
/// The processor has the feature, and `super::take` has checked every reach.
#[target_feature(enable = "avx2")]
unsafe fn take_line(line: &Line<'_>, to: &mut [i16]) {
    let Line { from, row, channels, tiles, step } = *line;
    for channel in (0..channels).step_by(LANES) {
        // SAFETY: `super::take` asserted that `channels` are whole vectors, that four rows of `2 · tiles + 2`
        // places lie inside `from`, and that all numbers of all tiles have room.
        unsafe {
            let from = from.as_ptr().add(channel);
            let mut to = to.as_mut_ptr().add(channel);
            // Tiles side by side share two columns.
            let (mut a, mut b) = (column(from, row), column(from.add(channels), row));
            for tile in 0..tiles {
                let next = from.add((2 * tile + 2) * channels);
                let (c, d) = (column(next, row), column(next.add(channels), row));
                for y in 0..4 {
                    let across = line_in!([a[y], b[y], c[y], d[y]], _mm256_add_epi16, _mm256_sub_epi16);
                    for (x, v) in across.into_iter().enumerate() {
                        _mm256_storeu_si256(to.add((4 * y + x) * step).cast(), v);
                    }
                }
                (a, b) = (c, d);
                to = to.add(channels);
            }
        }
    }
}

/// # Safety
/// The processor has the feature, and `super::give` has checked every reach.
#[target_feature(enable = "avx2")]
unsafe fn give_line(sums: &[i32], [first, count, tiles]: [usize; 3], to: &mut [i32]) {
    for tile in 0..count {
        for half in [0, HALF] {
            // SAFETY: `super::give` asserted that 16 numbers of all tiles are there, and that two rows of
            // `2 · count` places have room.
            unsafe {
                let from = sums.as_ptr().add((first + tile) * LANES + half);
                let m = |i: usize| _mm256_loadu_si256(from.add(i * tiles * LANES).cast());
                let down: [[__m256i; 2]; 4] =
                    from_fn(|x| line_out!([m(x), m(4 + x), m(8 + x), m(12 + x)], _mm256_add_epi32, _mm256_sub_epi32));
                for row in 0..2 {
                    let across = line_out!(down.map(|d| d[row]), _mm256_add_epi32, _mm256_sub_epi32);
                    let to = to.as_mut_ptr().add((row * count + tile) * 2 * LANES + half);
                    _mm256_storeu_si256(to.cast(), _mm256_srai_epi32(across[0], 2));
                    _mm256_storeu_si256(to.add(LANES).cast(), _mm256_srai_epi32(across[1], 2));
                }
            }
        }
    }
}

pub(super) fn take(line: &Line<'_>, to: &mut [i16]) {
    // SAFETY: chosen where the processor has the feature; `super::take` checked every reach.
    unsafe { take_line(line, to) }
}

pub(super) fn give(sums: &[i32], tiles: [usize; 3], to: &mut [i32]) {
    // SAFETY: as above, for `super::give`.
    unsafe { give_line(sums, tiles, to) }
}
