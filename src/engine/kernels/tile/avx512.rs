//! The tile on AVX-512. The loop over k is written as assembly: there a tile needs all 32 vector
//! registers and few of the others, and what the compiler makes of the same loop spends more on
//! addresses than on sums.

use super::{Shared, Tile};
use std::arch::asm;
use std::arch::x86_64::{
    __m512, __mmask16, _mm512_add_ps, _mm512_loadu_ps, _mm512_mask_storeu_ps, _mm512_maskz_loadu_ps, _mm512_max_ps,
    _mm512_min_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
};

const LANES: usize = 16;
/// Most places of a tile.
const PLACES: usize = 14;

#[target_feature(enable = "avx512f")]
pub fn mask(valid: usize) -> __mmask16 {
    u16::MAX >> (16 - valid)
}

#[target_feature(enable = "avx512f")]
pub unsafe fn load_part(from: *const f32, mask: __mmask16) -> __m512 {
    // SAFETY: the caller vouches for the lanes of the mask.
    unsafe { _mm512_maskz_loadu_ps(mask, from) }
}

#[target_feature(enable = "avx512f")]
pub unsafe fn store_part(to: *mut f32, mask: __mmask16, v: __m512) {
    // SAFETY: as above.
    unsafe { _mm512_mask_storeu_ps(to, mask, v) };
}

/// One run of factors: where it begins, its length, the distances of places and weights in bytes.
struct Run {
    data: *const f32,
    factors: usize,
    step: usize,
    weights: *const f32,
    weights_step: usize,
    block_stride: usize,
}

/// The loop over a run of factors: `$weights` is the text that loads the weights of one step, `$line`
/// makes the text for one place. Three places share a pointer and all share the distance, so that
/// few registers address them; four steps share one move of the pointers.
macro_rules! run_loop {
    ($run:ident, $line:ident, $weights:literal, [$(($($place:tt)*))*], [$($sum:tt)*]) => {{
        let near = |places: usize| $run.data.wrapping_byte_add(places * $run.step);
        asm!(
            "cmp {k}, 4",
            "jb 3f",
            "2:",
            $weights,
            $($line!($($place)*, ""),)*
            $weights,
            $($line!($($place)*, " + 4"),)*
            $weights,
            $($line!($($place)*, " + 8"),)*
            $weights,
            $($line!($($place)*, " + 12"),)*
            "add {g0}, 16",
            "add {g1}, 16",
            "add {g2}, 16",
            "add {g3}, 16",
            "add {g4}, 16",
            "sub {k}, 4",
            "cmp {k}, 4",
            "jae 2b",
            "3:",
            "test {k}, {k}",
            "jz 5f",
            "4:",
            $weights,
            $($line!($($place)*, ""),)*
            "add {g0}, 4",
            "add {g1}, 4",
            "add {g2}, 4",
            "add {g3}, 4",
            "add {g4}, 4",
            "dec {k}",
            "jnz 4b",
            "5:",
            // Not every shape of tile reads these.
            "# {s} {bs} {bs3}",
            k = inout(reg) $run.factors => _,
            g0 = inout(reg) $run.data => _,
            g1 = inout(reg) near(3) => _,
            g2 = inout(reg) near(6) => _,
            g3 = inout(reg) near(9) => _,
            g4 = inout(reg) near(12) => _,
            s = in(reg) $run.step,
            w = inout(reg) $run.weights => $run.weights,
            ws = in(reg) $run.weights_step,
            bs = in(reg) $run.block_stride,
            bs3 = in(reg) 3 * $run.block_stride,
            $($sum)*
            options(nostack, readonly),
        );
    }};
}

/// One block.
macro_rules! line1 {
    ($sum:literal, $place:literal, $ahead:literal) => {
        concat!("vbroadcastss zmm30, dword ptr [", $place, $ahead, "]\nvfmadd231ps ", $sum, ", zmm31, zmm30")
    };
}

/// Two blocks: a place is spread out once for both.
macro_rules! line2 {
    ($a:literal, $b:literal, $place:literal, $ahead:literal) => {
        concat!(
            "vbroadcastss zmm30, dword ptr [",
            $place,
            $ahead,
            "]\n",
            "vfmadd231ps ",
            $a,
            ", zmm28, zmm30\n",
            "vfmadd231ps ",
            $b,
            ", zmm29, zmm30",
        )
    };
}

/// Four blocks.
macro_rules! line4 {
    ($a:literal, $b:literal, $c:literal, $d:literal, $place:literal, $ahead:literal) => {
        concat!(
            "vbroadcastss zmm28, dword ptr [",
            $place,
            $ahead,
            "]\n",
            "vfmadd231ps ",
            $a,
            ", zmm24, zmm28\n",
            "vfmadd231ps ",
            $b,
            ", zmm25, zmm28\n",
            "vfmadd231ps ",
            $c,
            ", zmm26, zmm28\n",
            "vfmadd231ps ",
            $d,
            ", zmm27, zmm28",
        )
    };
}

/// One loop for every number of places up to the length of the list; an entry is the number, what
/// `$line` needs for the place, and where its sums are kept.
macro_rules! loops {
    ($run:ident, $places:expr, $line:ident, $weights:literal, [$($scratch:tt)*], [$($known:tt)*], [$($sums:tt)*],) => {};
    ($run:ident, $places:expr, $line:ident, $weights:literal, [$($scratch:tt)*], [$($known:tt)*], [$($sums:tt)*],
     $n:literal ($($place:tt)*) [$($sum:tt)*] $($rest:tt)*) => {
        if $places == $n {
            run_loop!($run, $line, $weights, [$($known)* ($($place)*)], [$($sums)* $($sum)* $($scratch)*]);
        }
        loops!($run, $places, $line, $weights, [$($scratch)*], [$($known)* ($($place)*)], [$($sums)* $($sum)*], $($rest)*);
    };
}

type Sums<const BLOCKS: usize> = [[__m512; PLACES]; BLOCKS];

#[target_feature(enable = "avx512f")]
unsafe fn run1<const COUNT: usize>(mut run: Run, sums: &mut Sums<1>) -> *const f32 {
    // SAFETY: `super::run` checked that every factor and weight of the run lies inside its slice; the sums
    // named are the first COUNT of each block.
    unsafe {
        loops!(
            run,
            COUNT,
            line1,
            "vmovups zmm31, zmmword ptr [{w}]\nadd {w}, {ws}",
            [out("zmm30") _, out("zmm31") _,],
            [],
            [],
            1 ("zmm0", "{g0}") [inout("zmm0") sums[0][0],]
            2 ("zmm1", "{g0} + {s}") [inout("zmm1") sums[0][1],]
            3 ("zmm2", "{g0} + 2*{s}") [inout("zmm2") sums[0][2],]
            4 ("zmm3", "{g1}") [inout("zmm3") sums[0][3],]
            5 ("zmm4", "{g1} + {s}") [inout("zmm4") sums[0][4],]
            6 ("zmm5", "{g1} + 2*{s}") [inout("zmm5") sums[0][5],]
            7 ("zmm6", "{g2}") [inout("zmm6") sums[0][6],]
            8 ("zmm7", "{g2} + {s}") [inout("zmm7") sums[0][7],]
            9 ("zmm8", "{g2} + 2*{s}") [inout("zmm8") sums[0][8],]
            10 ("zmm9", "{g3}") [inout("zmm9") sums[0][9],]
            11 ("zmm10", "{g3} + {s}") [inout("zmm10") sums[0][10],]
            12 ("zmm11", "{g3} + 2*{s}") [inout("zmm11") sums[0][11],]
            13 ("zmm12", "{g4}") [inout("zmm12") sums[0][12],]
            14 ("zmm13", "{g4} + {s}") [inout("zmm13") sums[0][13],]
        );
    }
    run.weights
}

#[target_feature(enable = "avx512f")]
unsafe fn run2<const COUNT: usize>(mut run: Run, sums: &mut Sums<2>) -> *const f32 {
    // SAFETY: `super::run` checked that every factor and weight of the run lies inside its slice; the sums
    // named are the first COUNT of each block.
    unsafe {
        loops!(
            run,
            COUNT,
            line2,
            "vmovups zmm28, zmmword ptr [{w}]\nvmovups zmm29, zmmword ptr [{w} + {bs}]\nadd {w}, {ws}",
            [out("zmm28") _, out("zmm29") _, out("zmm30") _,],
            [],
            [],
            1 ("zmm0", "zmm14", "{g0}") [inout("zmm0") sums[0][0], inout("zmm14") sums[1][0],]
            2 ("zmm1", "zmm15", "{g0} + {s}") [inout("zmm1") sums[0][1], inout("zmm15") sums[1][1],]
            3 ("zmm2", "zmm16", "{g0} + 2*{s}") [inout("zmm2") sums[0][2], inout("zmm16") sums[1][2],]
            4 ("zmm3", "zmm17", "{g1}") [inout("zmm3") sums[0][3], inout("zmm17") sums[1][3],]
            5 ("zmm4", "zmm18", "{g1} + {s}") [inout("zmm4") sums[0][4], inout("zmm18") sums[1][4],]
            6 ("zmm5", "zmm19", "{g1} + 2*{s}") [inout("zmm5") sums[0][5], inout("zmm19") sums[1][5],]
            7 ("zmm6", "zmm20", "{g2}") [inout("zmm6") sums[0][6], inout("zmm20") sums[1][6],]
            8 ("zmm7", "zmm21", "{g2} + {s}") [inout("zmm7") sums[0][7], inout("zmm21") sums[1][7],]
            9 ("zmm8", "zmm22", "{g2} + 2*{s}") [inout("zmm8") sums[0][8], inout("zmm22") sums[1][8],]
            10 ("zmm9", "zmm23", "{g3}") [inout("zmm9") sums[0][9], inout("zmm23") sums[1][9],]
            11 ("zmm10", "zmm24", "{g3} + {s}") [inout("zmm10") sums[0][10], inout("zmm24") sums[1][10],]
            12 ("zmm11", "zmm25", "{g3} + 2*{s}") [inout("zmm11") sums[0][11], inout("zmm25") sums[1][11],]
            13 ("zmm12", "zmm26", "{g4}") [inout("zmm12") sums[0][12], inout("zmm26") sums[1][12],]
            14 ("zmm13", "zmm27", "{g4} + {s}") [inout("zmm13") sums[0][13], inout("zmm27") sums[1][13],]
        );
    }
    run.weights
}

#[target_feature(enable = "avx512f")]
unsafe fn run4<const COUNT: usize>(mut run: Run, sums: &mut Sums<4>) -> *const f32 {
    // SAFETY: `super::run` checked that every factor and weight of the run lies inside its slice; the sums
    // named are the first COUNT of each block.
    unsafe {
        loops!(
            run,
            COUNT,
            line4,
            "vmovups zmm24, zmmword ptr [{w}]\nvmovups zmm25, zmmword ptr [{w} + {bs}]\nvmovups zmm26, zmmword ptr [{w} + 2*{bs}]\nvmovups zmm27, zmmword ptr [{w} + {bs3}]\nadd {w}, {ws}",
            [out("zmm24") _, out("zmm25") _, out("zmm26") _, out("zmm27") _, out("zmm28") _,],
            [],
            [],
            1 ("zmm0", "zmm6", "zmm12", "zmm18", "{g0}") [inout("zmm0") sums[0][0], inout("zmm6") sums[1][0], inout("zmm12") sums[2][0], inout("zmm18") sums[3][0],]
            2 ("zmm1", "zmm7", "zmm13", "zmm19", "{g0} + {s}") [inout("zmm1") sums[0][1], inout("zmm7") sums[1][1], inout("zmm13") sums[2][1], inout("zmm19") sums[3][1],]
            3 ("zmm2", "zmm8", "zmm14", "zmm20", "{g0} + 2*{s}") [inout("zmm2") sums[0][2], inout("zmm8") sums[1][2], inout("zmm14") sums[2][2], inout("zmm20") sums[3][2],]
            4 ("zmm3", "zmm9", "zmm15", "zmm21", "{g1}") [inout("zmm3") sums[0][3], inout("zmm9") sums[1][3], inout("zmm15") sums[2][3], inout("zmm21") sums[3][3],]
            5 ("zmm4", "zmm10", "zmm16", "zmm22", "{g1} + {s}") [inout("zmm4") sums[0][4], inout("zmm10") sums[1][4], inout("zmm16") sums[2][4], inout("zmm22") sums[3][4],]
            6 ("zmm5", "zmm11", "zmm17", "zmm23", "{g1} + 2*{s}") [inout("zmm5") sums[0][5], inout("zmm11") sums[1][5], inout("zmm17") sums[2][5], inout("zmm23") sums[3][5],]
        );
    }
    run.weights
}

macro_rules! tile {
    ($name:ident, $run:ident, $blocks:literal) => {
        /// # Safety
        /// The processor has the feature, and `super::run` has checked every reach.
        #[target_feature(enable = "avx512f")]
        unsafe fn $name<const COUNT: usize>(tile: &Tile<'_>, out: Shared<'_>, out_at: usize, out_step: usize) {
            // SAFETY: `super::run` asserted that every factor, weight, residual and result that the tile
            // reaches lies inside its slice.
            unsafe {
                let mut sums: Sums<$blocks> = [[_mm512_setzero_ps(); PLACES]; $blocks];
                for b in 0..$blocks {
                    let init = _mm512_loadu_ps(tile.init.as_ptr().add(b * LANES));
                    for p in 0..COUNT {
                        sums[b][p] = init;
                    }
                }
                let mut weights = tile.weights.as_ptr().add(tile.weights_at);
                for &begin in tile.runs {
                    let run = Run {
                        data: tile.data.as_ptr().add(tile.at + begin),
                        factors: tile.run,
                        step: 4 * tile.step,
                        weights,
                        weights_step: 4 * tile.weights_step,
                        block_stride: 4 * tile.block_stride,
                    };
                    weights = $run::<COUNT>(run, &mut sums);
                }
                let (low, high) = (_mm512_set1_ps(tile.limits.0), _mm512_set1_ps(tile.limits.1));
                let full = tile.valid == LANES;
                let mask = mask(tile.valid);
                for p in 0..COUNT {
                    for b in 0..$blocks {
                        let at = out_at + p * out_step + b * LANES;
                        let whole = full || b + 1 < $blocks;
                        let mut v = sums[b][p];
                        if let Some(residual) = tile.residual {
                            let from = residual.as_ptr().add(at);
                            v = _mm512_add_ps(v, if whole { _mm512_loadu_ps(from) } else { load_part(from, mask) });
                        }
                        // The sum is the second operand, so that a NaN stays one.
                        v = _mm512_min_ps(high, _mm512_max_ps(low, v));
                        if whole {
                            _mm512_storeu_ps(out.pointer(at), v);
                        } else {
                            store_part(out.pointer(at), mask, v);
                        }
                    }
                }
            }
        }
    };
}

tile!(tile1, run1, 1);
tile!(tile2, run2, 2);
tile!(tile4, run4, 4);

/// One instance per number of places.
macro_rules! choose {
    ($kernel:ident, $count:expr, $arguments:tt, $($p:literal)*) => {
        match $count {
            $($p => $kernel::<$p> $arguments,)*
            count => unreachable!("no tile of {count} places"),
        }
    };
}

pub fn run(tile: &Tile<'_>, count: usize, blocks: usize, out: Shared<'_>, at: usize, step: usize) {
    // SAFETY: `Isa::Avx512` is only made where the processor has it; `super::run` checked every reach.
    unsafe {
        match blocks {
            1 => choose!(tile1, count, (tile, out, at, step), 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            2 => choose!(tile2, count, (tile, out, at, step), 1 2 3 4 5 6 7 8 9 10 11 12 13 14),
            4 => choose!(tile4, count, (tile, out, at, step), 1 2 3 4 5 6),
            blocks => unreachable!("no tile of {blocks} blocks"),
        }
    }
}
