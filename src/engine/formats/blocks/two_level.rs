//! Q2_K, Q4_K and Q5_K: 256 weights in groups with a scale and a minimum each, which are themselves
//! whole multiples of two half-precision numbers: x = d·scale·q − dmin·minimum.
//!
//! Codes lie in runs of 32 weights. In Q2_K byte l of each half holds weights l, l+32, l+64, l+96, in
//! Q4_K and Q5_K byte l of each quarter holds weights l and l+32; the fifth bits of Q5_K lie apart,
//! bit r of byte l for weight l of run r.

use super::lanes::{Groups, Lanes, each, from_half, gather, nearest, scatter, through_half, to_half};
use super::rows::{Importance, to_decode, to_encode};
use super::search::{self, FINE, Loss, Tries};

/// What tells the three formats apart.
struct Kind {
    /// Largest code of a weight.
    levels: f32,
    /// Largest code of a scale or minimum.
    scale_levels: f32,
    tries: Tries,
    size: Size,
}

/// What the error of a weight counts by where no importance is known.
#[derive(Debug, Clone, Copy)]
enum Size {
    /// Its own magnitude.
    Own,
    /// Its own and the root mean square of its group.
    OwnAndGroup,
}

const Q2K: Kind = Kind {
    levels: 3.0,
    scale_levels: 15.0,
    tries: Tries { first: -0.5, step: 0.1, last: 15, loss: Loss::Absolute },
    size: Size::Own,
};
const Q4K: Kind = Kind {
    levels: 15.0,
    scale_levels: 63.0,
    tries: Tries { first: -1.0, step: 0.1, last: 20, loss: Loss::Square },
    size: Size::OwnAndGroup,
};
const Q5K: Kind = Kind {
    levels: 31.0,
    scale_levels: 63.0,
    tries: Tries { first: -0.5, step: 0.1, last: 15, loss: Loss::Square },
    size: Size::OwnAndGroup,
};

/// A super-block before it is packed.
struct Parts<const L: usize, const N: usize> {
    d: [u8; 2],
    d_min: [u8; 2],
    scales: [u8; L],
    minima: [u8; L],
    codes: [[u8; N]; L],
}

/// Codes of up to `levels` for numbers that are not negative, and the unit that they count.
#[inline(always)]
fn count<const L: usize>(x: Lanes<L>, levels: f32) -> (f32, [u8; L]) {
    let max = x.0.iter().fold(0.0, |m: f32, v| if *v > m { *v } else { m });
    let inverse = if max > 0.0 { levels / max } else { 0.0 };
    (max / levels, x.0.map(|v| nearest(inverse * v, 0.0, levels) as u8))
}

#[inline(always)]
fn parts<const L: usize, const N: usize>(kind: &Kind, x: &[f32; 256], importance: Option<[f32; 256]>) -> Parts<L, N> {
    let x: Groups<L, N> = gather(x);
    let (found, (d, scales), (d_min, minima)) = match importance {
        None => {
            let found = search::affine(&x, &by_size(&x, kind.size), kind.levels, kind.tries);
            let scales = count(found.scale, kind.scale_levels);
            let minima = count(found.offset, kind.scale_levels);
            (found, scales, minima)
        }
        Some(w) => {
            let w: Groups<L, N> = gather(&w);
            let found = search::affine(&x, &w, kind.levels, FINE);
            let sums = w.iter().skip(1).fold(w[0], |sum, w| sum + *w);
            let scales = search::unsigned(&found.scale.0, &sums.0, kind.scale_levels);
            let minima = search::unsigned(&found.offset.0, &sums.0, kind.scale_levels);
            (found, scales, minima)
        }
    };
    let (unit, unit_min) = (Lanes::all(through_half(d)), Lanes::all(through_half(d_min)));
    let step = unit * Lanes(scales.map(f32::from));
    let minimum = unit_min * Lanes(minima.map(f32::from));
    let mut codes = found.codes;
    for (c, x) in codes.iter_mut().zip(&x) {
        let again = ((*x + minimum) / step).nearest(0.0, kind.levels);
        *c = Lanes::of(|l| if step.0[l] == 0.0 { c.0[l] } else { again.0[l] });
    }
    Parts { d: to_half(d), d_min: to_half(d_min), scales, minima, codes: scatter(&codes) }
}

#[inline(always)]
fn by_size<const L: usize, const N: usize>(x: &Groups<L, N>, size: Size) -> Groups<L, N> {
    let mut sum = Lanes::all(0.0);
    for x in x {
        sum = sum + *x * *x;
    }
    let root = sum.map(|s| (s / N as f32).sqrt());
    each(|i| match size {
        Size::Own => x[i].abs(),
        Size::OwnAndGroup => root + x[i].abs(),
    })
}

#[inline(always)]
pub(super) fn encode_q2k(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    for (x, importance, out) in to_encode::<256, 84>(x, importance, out) {
        let w = importance.map(|i| i.weights(x, 1.0));
        let p: Parts<16, 16> = parts(&Q2K, x, w);
        for ((o, s), m) in out.iter_mut().zip(p.scales).zip(p.minima) {
            *o = s | m << 4;
        }
        let codes = p.codes.as_flattened();
        for (half, o) in out[16..80].as_chunks_mut::<32>().0.iter_mut().enumerate() {
            pack_quarters(&codes[128 * half..][..128], o);
        }
        out[80..82].copy_from_slice(&p.d);
        out[82..84].copy_from_slice(&p.d_min);
    }
}

/// Two bits of each of 128 codes, four runs of 32 above each other.
#[inline(always)]
pub(super) fn pack_quarters(codes: &[u8], out: &mut [u8; 32]) {
    for (l, o) in out.iter_mut().enumerate() {
        *o = codes[l] & 3 | (codes[l + 32] & 3) << 2 | (codes[l + 64] & 3) << 4 | (codes[l + 96] & 3) << 6;
    }
}

/// Low nibbles of codes, two runs of 32 above each other.
#[inline(always)]
fn pack_halves(codes: &[u8], out: &mut [u8]) {
    for (codes, o) in codes.as_chunks::<64>().0.iter().zip(out.as_chunks_mut::<32>().0) {
        for (l, o) in o.iter_mut().enumerate() {
            *o = codes[l] & 15 | codes[l + 32] << 4;
        }
    }
}

/// Eight scales and eight minima of 6 bits in 12 bytes: those of the first four groups whole in bytes 0–7,
/// whose upper bits hold the upper bits of the others.
#[inline(always)]
fn pack_scales(scales: &[u8; 8], minima: &[u8; 8]) -> [u8; 12] {
    let mut out = [0; 12];
    for j in 0..4 {
        let (s, m) = (scales[j + 4], minima[j + 4]);
        out[j] = scales[j] | s >> 4 << 6;
        out[j + 4] = minima[j] | m >> 4 << 6;
        out[j + 8] = s & 15 | m << 4;
    }
    out
}

#[inline(always)]
fn unpack_scale(packed: &[u8], j: usize) -> (u8, u8) {
    if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (packed[j + 4] & 15 | packed[j - 4] >> 6 << 4, packed[j + 4] >> 4 | packed[j] >> 6 << 4)
    }
}

#[inline(always)]
pub(super) fn encode_q4k(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    for (x, importance, out) in to_encode::<256, 144>(x, importance, out) {
        let w = importance.map(|i| i.weights(x, 2.0));
        let p: Parts<8, 32> = parts(&Q4K, x, w);
        out[0..2].copy_from_slice(&p.d);
        out[2..4].copy_from_slice(&p.d_min);
        out[4..16].copy_from_slice(&pack_scales(&p.scales, &p.minima));
        pack_halves(p.codes.as_flattened(), &mut out[16..]);
    }
}

#[inline(always)]
pub(super) fn encode_q5k(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    for (x, importance, out) in to_encode::<256, 176>(x, importance, out) {
        let w = importance.map(|i| i.weights(x, 2.0));
        let p: Parts<8, 32> = parts(&Q5K, x, w);
        out[0..2].copy_from_slice(&p.d);
        out[2..4].copy_from_slice(&p.d_min);
        out[4..16].copy_from_slice(&pack_scales(&p.scales, &p.minima));
        for (l, o) in out[16..48].iter_mut().enumerate() {
            *o = p.codes.iter().enumerate().fold(0, |byte, (run, codes)| byte | codes[l] >> 4 << run);
        }
        pack_halves(p.codes.as_flattened(), &mut out[48..]);
    }
}

#[inline(always)]
pub(super) fn decode_q2k(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<84, 256>(bytes, out) {
        let (d, d_min) = (from_half(block[80], block[81]), from_half(block[82], block[83]));
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let step = d * f32::from(block[group] & 15);
            let minimum = d_min * f32::from(block[group] >> 4);
            let codes = &block[16 + group / 8 * 32 + group % 2 * 16..][..16];
            for (o, byte) in out.iter_mut().zip(codes) {
                *o = step * f32::from(byte >> (group / 2 % 4 * 2) & 3) - minimum;
            }
        }
    }
}

#[inline(always)]
pub(super) fn decode_q4k(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<144, 256>(bytes, out) {
        let (d, d_min) = (from_half(block[0], block[1]), from_half(block[2], block[3]));
        for (run, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, minimum) = unpack_scale(&block[4..16], run);
            let (step, minimum) = (d * f32::from(scale), d_min * f32::from(minimum));
            for (o, byte) in out.iter_mut().zip(&block[16 + run / 2 * 32..][..32]) {
                *o = step * f32::from(byte >> (run % 2 * 4) & 15) - minimum;
            }
        }
    }
}

#[inline(always)]
pub(super) fn decode_q5k(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<176, 256>(bytes, out) {
        let (d, d_min) = (from_half(block[0], block[1]), from_half(block[2], block[3]));
        for (run, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            let (scale, minimum) = unpack_scale(&block[4..16], run);
            let (step, minimum) = (d * f32::from(scale), d_min * f32::from(minimum));
            for ((o, byte), high) in out.iter_mut().zip(&block[48 + run / 2 * 32..][..32]).zip(&block[16..48]) {
                *o = step * f32::from(byte >> (run % 2 * 4) & 15 | (high >> run & 1) << 4) - minimum;
            }
        }
    }
}
