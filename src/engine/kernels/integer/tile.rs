//! The inner loop: some places of the output times some blocks of 16 output channels.

use super::{Isa, LANES, QUAD};

/// Sums of one tile, `[place][channel of its blocks]`; no tile is larger.
pub(super) type Sums = [i32; 24 * LANES];

/// What one tile computes from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tile<'a> {
    /// `[block][run][quad][lane][4]`
    pub weights: &'a [i8],
    /// Quads per run.
    pub quads: usize,
    pub data: &'a [u8],
    /// Where the first place reads its first run.
    pub base: usize,
    /// From one place to the next.
    pub stride: usize,
    /// From a place to each of its runs.
    pub runs: &'a [usize],
    /// The largest of `runs`.
    pub reach: usize,
}

/// How many places go together with so many blocks: what the registers hold.
pub(super) fn places_with(blocks: usize) -> usize {
    match blocks {
        1 => 14,
        2 => 12,
        3 => 8,
        _ => 6,
    }
}

/// Blocks that go together where `left` are left.
pub(super) fn blocks_with(left: usize) -> usize {
    left.min(4)
}

/// Sums of `places` × `blocks`.
pub(super) fn run(isa: Isa, tile: &Tile<'_>, places: usize, blocks: usize, sums: &mut Sums) {
    let length = tile.quads * QUAD;
    assert!(places >= 1 && places <= places_with(blocks) && (1..=4).contains(&blocks), "no such tile");
    assert!(tile.weights.len() >= blocks * tile.runs.len() * length * LANES, "weights are missing");
    assert!(tile.base + (places - 1) * tile.stride + tile.reach + length <= tile.data.len(), "a tile reaches beyond its data");
    assert!(tile.runs.iter().all(|r| *r <= tile.reach), "a run lies beyond the reach");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Vnni => x86::run_vnni(tile, places, blocks, sums),
        _ => plain(tile, places, blocks, sums),
    }
}

/// The twin of the vector kernel, and what runs where there are none.
fn plain(tile: &Tile<'_>, places: usize, blocks: usize, sums: &mut Sums) {
    let block_size = tile.runs.len() * tile.quads * LANES * QUAD;
    for place in 0..places {
        for block in 0..blocks {
            let mut own = [0_i32; LANES];
            let weights = &tile.weights[block * block_size..][..block_size];
            let mut quads = weights.chunks_exact(LANES * QUAD);
            for run in tile.runs {
                let at = tile.base + place * tile.stride + run;
                for (x, w) in tile.data[at..at + tile.quads * QUAD].chunks_exact(QUAD).zip(&mut quads) {
                    for (sum, w) in own.iter_mut().zip(w.chunks_exact(QUAD)) {
                        let dot: i32 = x.iter().zip(w).map(|(x, w)| i32::from(*x) * i32::from(*w)).sum();
                        *sum = sum.wrapping_add(dot);
                    }
                }
            }
            sums[(place * blocks + block) * LANES..][..LANES].copy_from_slice(&own);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions and unchecked loads of the inner loop")]
#[expect(clippy::needless_range_loop, reason = "an index names a register here")]
mod x86 {
    use super::{LANES, QUAD, Sums, Tile};
    use std::arch::x86_64::{
        __m512i, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_set1_epi32, _mm512_setzero_si512, _mm512_storeu_si512,
    };

    /// # Safety
    /// The processor has the features, and `super::run` has checked every reach.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn vnni<const PLACES: usize, const BLOCKS: usize>(tile: &Tile<'_>, out: &mut Sums) {
        let mut sums: [[__m512i; BLOCKS]; PLACES] = [[_mm512_setzero_si512(); BLOCKS]; PLACES];
        let block_size = tile.runs.len() * tile.quads * LANES * QUAD;
        // SAFETY: `super::run` asserted that every place's runs lie inside `data` and that `weights`
        // holds all blocks; a tile has at most 24 vectors, which `out` has room for.
        unsafe {
            let mut weights = tile.weights.as_ptr();
            for &run in tile.runs {
                let mut data = tile.data.as_ptr().add(tile.base + run);
                for _ in 0..tile.quads {
                    let mut w: [__m512i; BLOCKS] = [_mm512_setzero_si512(); BLOCKS];
                    for block in 0..BLOCKS {
                        w[block] = _mm512_loadu_si512(weights.add(block * block_size).cast());
                    }
                    for place in 0..PLACES {
                        let x = _mm512_set1_epi32(data.add(place * tile.stride).cast::<i32>().read_unaligned());
                        for block in 0..BLOCKS {
                            sums[place][block] = _mm512_dpbusd_epi32(sums[place][block], x, w[block]);
                        }
                    }
                    weights = weights.add(LANES * QUAD);
                    data = data.add(QUAD);
                }
            }
            let to = out.as_mut_ptr();
            for place in 0..PLACES {
                for block in 0..BLOCKS {
                    _mm512_storeu_si512(to.add((place * BLOCKS + block) * LANES).cast(), sums[place][block]);
                }
            }
        }
    }

    macro_rules! choose {
        ($tile:expr, $places:expr, $blocks:expr, $sums:expr, $(($p:literal, $b:literal)),*) => {
            match ($places, $blocks) {
                // SAFETY: the caller chose this by what the processor has; `super::run` checked every reach.
                $(($p, $b) => unsafe { vnni::<$p, $b>($tile, $sums) },)*
                (places, blocks) => unreachable!("no kernel for {places} places of {blocks} blocks"),
            }
        };
    }

    #[rustfmt::skip]
    pub(super) fn run_vnni(tile: &Tile<'_>, places: usize, blocks: usize, sums: &mut Sums) {
        choose!(
            tile, places, blocks, sums,
            (1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (6, 1), (7, 1), (8, 1), (9, 1), (10, 1), (11, 1), (12, 1), (13, 1), (14, 1),
            (1, 2), (2, 2), (3, 2), (4, 2), (5, 2), (6, 2), (7, 2), (8, 2), (9, 2), (10, 2), (11, 2), (12, 2),
            (1, 3), (2, 3), (3, 3), (4, 3), (5, 3), (6, 3), (7, 3), (8, 3),
            (1, 4), (2, 4), (3, 4), (4, 4), (5, 4), (6, 4)
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    #[test]
    fn every_kernel_is_exact() {
        let mut random = Random::new(3);
        let mut byte = move || (random.range(0.0, 256.0) as i32).min(255) as u8;
        // The ends of both ranges, where an instruction that saturates would show.
        let extreme = |i: usize, v: u8| if i.is_multiple_of(3) { [0, 255, 128, 127][i / 3 % 4] } else { v };
        let (quads, runs) = (3, [0, 17, 40]);
        let data: Vec<u8> = (0..400).map(|i| extreme(i, byte())).collect();
        let weights: Vec<i8> = (0..4 * 3 * quads * LANES * QUAD).map(|i| extreme(i, byte()).cast_signed()).collect();
        let tile = Tile { weights: &weights, quads, data: &data, base: 5, stride: 12, runs: &runs, reach: 40 };
        for isa in Isa::all() {
            for blocks in 1..=4 {
                for places in 1..=places_with(blocks) {
                    let (mut expected, mut found) = ([0; 24 * LANES], [0; 24 * LANES]);
                    plain(&tile, places, blocks, &mut expected);
                    run(isa, &tile, places, blocks, &mut found);
                    assert_eq!(found, expected, "{isa:?} {places}×{blocks}");
                }
            }
        }
    }

    #[test]
    fn sums_do_not_saturate() {
        let weights = [-128_i8; 2 * LANES * QUAD];
        let data = [255_u8; 8];
        let tile = Tile { weights: &weights, quads: 2, data: &data, base: 0, stride: 0, runs: &[0], reach: 0 };
        for isa in Isa::all() {
            let mut found = [0; 24 * LANES];
            run(isa, &tile, 1, 1, &mut found);
            assert_eq!(found[..LANES], [-8 * 255 * 128; LANES], "{isa:?}");
        }
    }
}
