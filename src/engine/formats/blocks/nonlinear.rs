//! IQ4_NL and IQ4_XS: 4-bit codes for 16 levels that lie denser about zero; a scale for 32 weights, in
//! half precision (NL) or counted in units of one for 256 weights (XS).
//!
//! Layout: d; in XS upper bits (2 each) and lower nibbles of eight scales; nibbles, in each run of 32
//! weight j below weight j+16.

use super::lanes::{Groups, Lanes, each, from_half, gather, nearest, scatter, to_half};
use super::rows::{Importance, to_decode, to_encode, weigh};
use super::search::extremes;

/// The levels, as multiples of the scale.
const LEVELS: [f32; 16] =
    [-127.0, -104.0, -83.0, -65.0, -49.0, -35.0, -22.0, -10.0, 1.0, 13.0, 25.0, 38.0, 53.0, 69.0, 89.0, 113.0];

/// Up to where a number belongs to the level below.
const BOUNDS: [f32; 15] = {
    let mut bounds = [0.0; 15];
    let mut i = 0;
    while i < 15 {
        bounds[i] = f32::midpoint(LEVELS[i], LEVELS[i + 1]);
        i += 1;
    }
    bounds
};

/// The number of the nearest level, the upper one of two at the same distance.
#[inline(always)]
fn index<const L: usize>(v: Lanes<L>) -> Lanes<L> {
    let mut index = Lanes::all(0.0);
    for bound in BOUNDS {
        index = index + v.where_less(Lanes::all(bound), Lanes::all(0.0), Lanes::all(1.0));
    }
    index
}

/// The nearest level.
#[inline(always)]
fn level<const L: usize>(v: Lanes<L>) -> Lanes<L> {
    let mut level = Lanes::all(LEVELS[0]);
    for (bound, next) in BOUNDS.iter().zip(&LEVELS[1..]) {
        level = v.where_less(Lanes::all(*bound), level, Lanes::all(*next));
    }
    level
}

/// Σwxq and Σwq² of the levels that an inverse scale gives.
#[inline(always)]
fn attempt(x: &Groups<8, 32>, w: &Groups<8, 32>, inverse: Lanes<8>) -> (Lanes<8>, Lanes<8>) {
    let (mut sum_xq, mut sum_qq) = (Lanes::all(0.0), Lanes::all(0.0));
    for (x, w) in x.iter().zip(w) {
        let q = level(inverse * *x);
        let wq = *w * q;
        sum_xq = sum_xq + wq * *x;
        sum_qq = sum_qq + wq * q;
    }
    (sum_xq, sum_qq)
}

/// The scale that errs least of 16: the extreme on the lowest level, or as if that lay up to 7 steps to
/// either side of where it does.
#[inline(always)]
fn scales(x: &Groups<8, 32>, w: &Groups<8, 32>) -> Lanes<8> {
    let zero = Lanes::all(0.0);
    let extreme = extremes(x);
    let first = Lanes::all(1.0) / ((zero - extreme) / Lanes::all(LEVELS[0]));
    let (sum_xq, sum_qq) = attempt(x, w, first);
    let mut scale = zero.where_less(sum_qq, sum_xq / sum_qq, zero);
    let mut best = scale * sum_xq;
    for i in -7_i8..=7 {
        let (sum_xq, sum_qq) = attempt(x, w, Lanes::all(f32::from(i) + LEVELS[0]) / extreme);
        let gain = zero.where_less(sum_qq, sum_xq * sum_xq, Lanes::all(f32::NEG_INFINITY));
        let least = best * sum_qq;
        let ratio = sum_xq / sum_qq;
        scale = least.where_less(gain, ratio, scale);
        best = least.where_less(gain, ratio * sum_xq, best);
    }
    Lanes::of(|l| if extreme.0[l] == 0.0 { 0.0 } else { scale.0[l] })
}

/// 1 / scale, or 0 where that is no number.
#[inline(always)]
fn inverse(scale: Lanes<8>) -> Lanes<8> {
    scale.map(|s| if (1.0 / s).is_finite() { 1.0 / s } else { 0.0 })
}

#[inline(always)]
fn codes(x: &Groups<8, 32>, inverse: Lanes<8>) -> [[u8; 32]; 8] {
    scatter(&each::<8, 32>(|i| index(inverse * x[i])))
}

#[inline(always)]
fn pack(codes: &[u8; 32], out: &mut [u8]) {
    for (j, o) in out.iter_mut().take(16).enumerate() {
        *o = codes[j] | codes[j + 16] << 4;
    }
}

/// Eight blocks at a time; what the last tile lacks is zeros.
#[inline(always)]
pub(super) fn encode_iq4_nl(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    for (tile, (some, out)) in x.chunks(256).zip(out.chunks_mut(8 * 18)).enumerate() {
        let mut x = [0.0; 256];
        x[..some.len()].copy_from_slice(some);
        let mut w = x.map(|x| x * x);
        let columns = importance.and_then(|i| i.columns.chunks(256).nth(tile)).unwrap_or_default();
        let blocks = x.as_chunks::<32>().0.iter().zip(w.as_chunks_mut::<32>().0);
        for ((x, w), columns) in blocks.zip(columns.as_chunks::<32>().0) {
            let sum = x.iter().fold(0.0, |sum, x| sum + x * x);
            weigh(x, columns, sum * (2.0 / 32.0), w);
        }
        let groups = gather(&x);
        let scale = scales(&groups, &gather(&w));
        let codes = codes(&groups, inverse(scale));
        for ((scale, codes), out) in scale.0.iter().zip(&codes).zip(out.as_chunks_mut::<18>().0) {
            out[..2].copy_from_slice(&to_half(*scale));
            pack(codes, &mut out[2..]);
        }
    }
}

#[inline(always)]
pub(super) fn encode_iq4_xs(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    for (x, importance, out) in to_encode::<256, 136>(x, importance, out) {
        let w = importance.map_or_else(|| x.map(|x| x * x), |i| i.weights(x, 2.0));
        let groups = gather(x);
        let found = scales(&groups, &gather(&w));
        let max = found.0.into_iter().fold(0.0, |m: f32, s| if s.abs() > m.abs() { s } else { m });
        let d = -max / 32.0;
        let id = inverse(Lanes::all(d));
        let counts = (id * found).map(|s| nearest(s, -32.0, 31.0));
        let codes = codes(&groups, inverse(Lanes::all(d) * counts));
        let (mut upper, mut lower) = (0_u16, [0; 4]);
        for (run, count) in counts.0.into_iter().enumerate() {
            let stored = (count + 32.0) as u8;
            upper |= u16::from(stored >> 4) << (2 * run);
            lower[run / 2] |= (stored & 15) << (run % 2 * 4);
        }
        out[..2].copy_from_slice(&to_half(d));
        out[2..4].copy_from_slice(&upper.to_le_bytes());
        out[4..8].copy_from_slice(&lower);
        for (codes, out) in codes.iter().zip(out[8..].as_chunks_mut::<16>().0) {
            pack(codes, out);
        }
    }
}

#[inline(always)]
fn decode(nibbles: &[u8], scale: f32, out: &mut [f32; 32]) {
    let (low, high) = out.split_at_mut(16);
    for ((low, high), byte) in low.iter_mut().zip(high).zip(nibbles) {
        *low = scale * LEVELS[usize::from(byte & 15)];
        *high = scale * LEVELS[usize::from(byte >> 4)];
    }
}

#[inline(always)]
pub(super) fn decode_iq4_nl(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<18, 32>(bytes, out) {
        decode(&block[2..], from_half(block[0], block[1]), out);
    }
}

#[inline(always)]
pub(super) fn decode_iq4_xs(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<136, 256>(bytes, out) {
        let d = from_half(block[0], block[1]);
        let upper = u16::from_le_bytes([block[2], block[3]]);
        for (run, (out, nibbles)) in out.as_chunks_mut::<32>().0.iter_mut().zip(block[8..].as_chunks::<16>().0).enumerate() {
            let low = block[4 + run / 2] >> (run % 2 * 4) & 15;
            let high = (upper >> (2 * run) & 3) as u8;
            decode(nibbles, d * (f32::from(low | high << 4) - 32.0), out);
        }
    }
}
