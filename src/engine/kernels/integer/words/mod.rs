//! The inner loops on words of 16 bits, for processors that have no exact product of bytes: AVX2
//! multiplies pairs of signed words and adds both products in 32 bits. Weights are held as words, and
//! data become words once, in a buffer that a cache holds, so that the inner loops widen nothing.

#[cfg(target_arch = "x86_64")]
mod avx2;

use super::finish::Direct;
use super::{Isa, LANES};

/// Words that one product takes.
pub(super) const PAIR: usize = 2;
/// Places whose sums are held together.
pub(super) const PLACES: usize = 48;

/// The weights of one step, `[lane][2]`; a line of the cache, so that no load crosses two.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Step(pub [i16; LANES * PAIR]);

/// Some places of one row and a block of 16 output channels.
#[derive(Debug, Clone, Copy)]
pub(super) struct Line<'a> {
    /// `[run][pair]`
    pub weights: &'a [Step],
    /// Lanes that have a sum: 16, or 8 where no more are channels.
    pub lanes: usize,
    /// Pairs per run.
    pub pairs: usize,
    pub data: &'a [i16],
    /// Where the first place reads its first run.
    pub base: usize,
    /// From one place to the next.
    pub stride: usize,
    /// From a place to each of its runs.
    pub runs: &'a [usize],
}

/// Some places of some rows and 16 channels, each with its own kernel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Apart<'a> {
    /// One per pair of taps, two vectors of eight channels; see [`lane_of`].
    pub weights: &'a [Step],
    pub data: &'a [i16],
    /// The first channel of the first place's first tap.
    pub base: usize,
    /// From one place to the next.
    pub stride: usize,
    pub rows: usize,
    /// From one row to the next.
    pub down: usize,
    /// From a place to its taps, two by two.
    pub taps: &'a [usize],
}

impl Line<'_> {
    fn check(&self, places: usize) {
        let length = self.pairs * PAIR;
        let reach = self.runs.iter().copied().max().unwrap_or(0);
        assert!(self.lanes == LANES || self.lanes == LANES / 2, "no such tile");
        assert!(self.weights.len() >= self.runs.len() * self.pairs, "weights are missing");
        assert!(places >= 1, "a line has places");
        let end = self.base + (places - 1) * self.stride + reach + length;
        assert!(end <= self.data.len(), "a line reaches beyond its data");
    }
}

impl Apart<'_> {
    fn check(&self, places: usize) {
        let reach = self.taps.iter().copied().max().unwrap_or(0);
        assert!(self.taps.len().is_multiple_of(PAIR) && self.weights.len() >= self.taps.len() / PAIR, "weights are missing");
        assert!(places >= 1 && self.rows >= 1, "a line has places");
        let end = self.base + (self.rows - 1) * self.down + (places - 1) * self.stride + reach + LANES;
        assert!(end <= self.data.len(), "a line reaches beyond its data");
    }
}

/// Which channel is lane `lane` of vector `half` where channels stay apart: what interleaving the words of
/// two taps, within each half of a vector, makes of them.
pub(super) fn lane_of(half: usize, lane: usize) -> usize {
    lane / 4 * 8 + half * 4 + lane % 4
}

/// Sums of as many places as `sums` has room for.
///
/// # Panics
/// When the line reaches beyond its weights or data.
pub(super) fn run(isa: Isa, line: &Line<'_>, places: usize, sums: &mut [i32]) {
    line.check(places);
    assert!(places * line.lanes <= sums.len(), "too many places");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::run(line, places, sums),
        _ => plain(line, places, sums),
    }
}

/// [`run`] for all channels of `direct`, their bytes written to `out`, `of` from place to place.
///
/// # Panics
/// As [`run`], and when `out` is too short.
pub(super) fn run_direct(line: &Line<'_>, places: usize, direct: &Direct, out: &mut [u8], of: usize) {
    line.check(places);
    assert!(direct.count() <= line.lanes && (places - 1) * of + direct.count() <= out.len(), "results reach too far");
    match *direct {
        #[cfg(target_arch = "x86_64")]
        Direct::Avx2(ref column) => avx2::run_direct(line, places, column, out, of),
    }
}

/// As [`run_direct`], for channels that stay apart.
///
/// # Panics
/// As [`run_direct`].
pub(super) fn run_apart_direct(line: &Apart<'_>, places: usize, direct: &Direct, out: &mut [u8], of: usize) {
    line.check(places);
    assert!((line.rows * places - 1) * of + direct.count() <= out.len(), "results reach too far");
    match *direct {
        #[cfg(target_arch = "x86_64")]
        Direct::Avx2(ref column) => avx2::run_apart_direct(line, places, column, out, of),
    }
}

/// As [`run`]: `places` of each row, row by row.
///
/// # Panics
/// When the line reaches beyond its weights or data.
pub(super) fn run_apart(isa: Isa, line: &Apart<'_>, places: usize, sums: &mut [i32]) {
    line.check(places);
    assert!(line.rows * places * LANES <= sums.len(), "too many places");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::run_apart(line, places, sums),
        _ => plain_apart(line, places, sums),
    }
}

/// The twin of the vector kernel.
fn plain(line: &Line<'_>, places: usize, sums: &mut [i32]) {
    for (place, own) in sums.chunks_exact_mut(line.lanes).take(places).enumerate() {
        own.fill(0);
        let mut weights = line.weights.iter();
        for run in line.runs {
            let x = &line.data[line.base + place * line.stride + run..][..line.pairs * PAIR];
            for (x, w) in x.chunks_exact(PAIR).zip(&mut weights) {
                for (sum, w) in own.iter_mut().zip(w.0.chunks_exact(PAIR)) {
                    let dot: i32 = x.iter().zip(w).map(|(x, w)| i32::from(*x) * i32::from(*w)).sum();
                    *sum = sum.wrapping_add(dot);
                }
            }
        }
    }
}

/// The twin of the vector kernel where channels stay apart.
fn plain_apart(line: &Apart<'_>, places: usize, sums: &mut [i32]) {
    for (i, own) in sums.chunks_exact_mut(LANES).take(line.rows * places).enumerate() {
        let from = line.base + i / places * line.down + i % places * line.stride;
        own.fill(0);
        for (taps, weights) in line.taps.chunks_exact(PAIR).zip(line.weights) {
            for (i, w) in weights.0.chunks_exact(PAIR).enumerate() {
                let channel = lane_of(i / 8, i % 8);
                for (tap, w) in taps.iter().zip(w) {
                    let x = line.data[from + tap + channel];
                    own[channel] = own[channel].wrapping_add(i32::from(x) * i32::from(*w));
                }
            }
        }
    }
}

/// Bytes as words.
pub(super) fn widen(bytes: &[u8], words: &mut [i16]) {
    match Isa::best() {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::widen(bytes, words),
        _ => each_byte(bytes, words),
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled anew for wider vectors")]
fn each_byte(bytes: &[u8], words: &mut [i16]) {
    for (word, byte) in words.iter_mut().zip(bytes) {
        *word = i16::from(*byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    /// Data and weights with the ends of both ranges among them, where sums that saturate would show.
    fn noise(count: usize, steps: usize) -> (Vec<i16>, Vec<Step>) {
        let mut random = Random::new(3);
        let mut byte = |i: usize| if i.is_multiple_of(3) { [0, 255, 128][i / 3 % 3] } else { random.range(0.0, 255.9) as i16 };
        let data = (0..count).map(&mut byte).collect();
        let mut step = |s: usize| Step(std::array::from_fn(|i| i16::from(byte(s * LANES * PAIR + i) as u8 as i8)));
        (data, (0..steps).map(&mut step).collect())
    }

    #[test]
    fn every_kernel_is_exact() {
        let (pairs, runs) = (5, [0, 17, 40]);
        let (data, weights) = noise(700, 3 * pairs);
        let line = Line { weights: &weights, lanes: LANES, pairs, data: &data, base: 5, stride: 12, runs: &runs };
        let half = Line { lanes: LANES / 2, ..line };
        let apart = Apart { weights: &weights, data: &data, base: 3, stride: 12, rows: 1, down: 0, taps: &[0, 9, 30, 12, 7, 7] };
        let rows = Apart { rows: 3, down: 31, ..apart };
        for isa in Isa::all() {
            for places in 1..=PLACES {
                let [mut expected, mut found] = [[0; PLACES * LANES]; 2];
                plain(&line, places, &mut expected);
                run(isa, &line, places, &mut found);
                assert!(found == expected, "{isa:?} {places}");
                plain(&half, places, &mut expected);
                run(isa, &half, places, &mut found);
                assert!(found == expected, "{isa:?} {places}, eight lanes");
                plain_apart(&apart, places, &mut expected);
                run_apart(isa, &apart, places, &mut found);
                assert!(found == expected, "{isa:?} {places}, channels apart");
                if 3 * places <= PLACES {
                    plain_apart(&rows, places, &mut expected);
                    run_apart(isa, &rows, places, &mut found);
                    assert!(found == expected, "{isa:?} {places}, rows of channels apart");
                }
            }
        }
    }

    #[test]
    fn every_channel_has_one_lane() {
        let mut seen: Vec<usize> = (0..LANES).map(|i| lane_of(i / 8, i % 8)).collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..LANES).collect::<Vec<_>>());
    }
}
