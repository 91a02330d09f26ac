//! Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: 32 weights that share a scale, and in the _1 formats a minimum.
//!
//! Layout: d, then the minimum where there is one, the fifth bits where there are (bit i for weight
//! i), and nibbles, weight j below weight j+16 — or, in Q8_0, signed bytes.

use super::lanes::{Groups, Lanes, from_half, gather, scatter, to_half};
use super::rows::{Importance, each_block, weigh};
use super::search::{self, FINE};

/// `1 / d`, or 0 where that is no number: such a block is stored as zeros.
#[inline(always)]
fn inverse(d: f32) -> f32 {
    let inverse = 1.0 / d;
    if inverse.is_finite() { inverse } else { 0.0 }
}

/// The element of largest magnitude, with its sign.
#[inline(always)]
fn extreme(x: &[f32; 32]) -> f32 {
    x.iter().fold(0.0, |m: f32, v| if v.abs() > m.abs() { *v } else { m })
}

/// Codes of 5 bits as nibbles, and their fifth bits.
#[inline(always)]
fn pack(codes: &[u8; 32], nibbles: &mut [u8]) -> [u8; 4] {
    for (j, o) in nibbles.iter_mut().take(16).enumerate() {
        *o = codes[j] & 15 | codes[j + 16] << 4;
    }
    codes.iter().enumerate().fold(0_u32, |bits, (i, c)| bits | u32::from(c >> 4) << i).to_le_bytes()
}

/// Codes about zero: d is the extreme over −`levels`, so that it is met exactly.
#[inline(always)]
fn about_zero(x: &[f32; 32], levels: f32) -> (f32, [u8; 32]) {
    let d = extreme(x) / -levels;
    let id = inverse(d);
    // Cut off, not rounded: half is added first.
    (d, x.map(|v| (v * id + (levels + 0.5)).min(2.0 * levels - 1.0) as u8))
}

/// Codes from the minimum on.
#[inline(always)]
fn from_minimum(x: &[f32; 32], levels: f32) -> (f32, f32, [u8; 32]) {
    let (min, max) = x
        .iter()
        .fold((f32::MAX, f32::MIN), |(low, high), v| (if *v < low { *v } else { low }, if *v > high { *v } else { high }));
    let d = (max - min) / levels;
    let id = inverse(d);
    (d, min, x.map(|v| ((v - min) * id + 0.5).min(levels) as u8))
}

/// Eight blocks at a time, errors weighed by importance and size. `search` gives scale, offset and codes;
/// `write` takes scale, minimum and codes.
#[inline(always)]
fn weighed<const BYTES: usize>(
    x: &[f32],
    importance: Importance<'_>,
    out: &mut [u8],
    search: impl Fn(&Groups<8, 32>, &Groups<8, 32>) -> (Lanes<8>, Lanes<8>, Groups<8, 32>),
    write: impl Fn(f32, f32, &[u8; 32], &mut [u8; BYTES]),
) {
    let tiles = x.chunks(256).zip(importance.columns.chunks(256)).zip(out.chunks_mut(8 * BYTES));
    for ((x, columns), out) in tiles {
        let mut w = [0.0; 256];
        weigh(x, columns, importance.mean_square, &mut w);
        let (scale, offset, codes) = search(&gather(x), &gather(&w));
        let found = scale.0.iter().zip(offset.0).zip(scatter(&codes));
        for (((scale, offset), codes), out) in found.zip(out.as_chunks_mut::<BYTES>().0) {
            write(*scale, -offset, &codes, out);
        }
    }
}

#[inline(always)]
fn weighed_about_zero<const BYTES: usize>(
    x: &[f32],
    importance: Importance<'_>,
    out: &mut [u8],
    levels: f32,
    write: impl Fn(f32, f32, &[u8; 32], &mut [u8; BYTES]),
) {
    let search = |x: &Groups<8, 32>, w: &Groups<8, 32>| {
        let found = search::signed(x, w, levels);
        (found.scale, Lanes::all(0.0), found.codes)
    };
    weighed(x, importance, out, search, write);
}

#[inline(always)]
fn weighed_from_minimum<const BYTES: usize>(
    x: &[f32],
    importance: Importance<'_>,
    out: &mut [u8],
    levels: f32,
    write: impl Fn(f32, f32, &[u8; 32], &mut [u8; BYTES]),
) {
    let search = |x: &Groups<8, 32>, w: &Groups<8, 32>| {
        let found = search::affine(x, w, levels, FINE);
        (found.scale, found.offset, found.codes)
    };
    weighed(x, importance, out, search, write);
}

#[inline(always)]
fn write_q4_0(d: f32, _: f32, codes: &[u8; 32], out: &mut [u8; 18]) {
    out[..2].copy_from_slice(&to_half(d));
    pack(codes, &mut out[2..]);
}

#[inline(always)]
fn write_q4_1(d: f32, minimum: f32, codes: &[u8; 32], out: &mut [u8; 20]) {
    out[..2].copy_from_slice(&to_half(d));
    out[2..4].copy_from_slice(&to_half(minimum));
    pack(codes, &mut out[4..]);
}

#[inline(always)]
fn write_q5_0(d: f32, _: f32, codes: &[u8; 32], out: &mut [u8; 22]) {
    out[..2].copy_from_slice(&to_half(d));
    let fifths = pack(codes, &mut out[6..]);
    out[2..6].copy_from_slice(&fifths);
}

#[inline(always)]
fn write_q5_1(d: f32, minimum: f32, codes: &[u8; 32], out: &mut [u8; 24]) {
    out[..2].copy_from_slice(&to_half(d));
    out[2..4].copy_from_slice(&to_half(minimum));
    let fifths = pack(codes, &mut out[8..]);
    out[4..8].copy_from_slice(&fifths);
}

#[inline(always)]
pub(super) fn encode_q4_0(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    match importance {
        Some(i) => weighed_about_zero(x, i, out, 8.0, write_q4_0),
        None => each_block(x, None, out, |x, _, out| {
            let (d, codes) = about_zero(x, 8.0);
            write_q4_0(d, 0.0, &codes, out);
        }),
    }
}

#[inline(always)]
pub(super) fn encode_q5_0(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    match importance {
        Some(i) => weighed_about_zero(x, i, out, 16.0, write_q5_0),
        None => each_block(x, None, out, |x, _, out| {
            let (d, codes) = about_zero(x, 16.0);
            write_q5_0(d, 0.0, &codes, out);
        }),
    }
}

#[inline(always)]
pub(super) fn encode_q4_1(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    match importance {
        Some(i) => weighed_from_minimum(x, i, out, 15.0, write_q4_1),
        None => each_block(x, None, out, |x, _, out| {
            let (d, minimum, codes) = from_minimum(x, 15.0);
            write_q4_1(d, minimum, &codes, out);
        }),
    }
}

#[inline(always)]
pub(super) fn encode_q5_1(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    match importance {
        Some(i) => weighed_from_minimum(x, i, out, 31.0, write_q5_1),
        None => each_block(x, None, out, |x, _, out| {
            let (d, minimum, codes) = from_minimum(x, 31.0);
            write_q5_1(d, minimum, &codes, out);
        }),
    }
}

/// Rounds halves away from zero, as ggml does.
#[inline(always)]
pub(super) fn encode_q8_0(x: &[f32], out: &mut [u8]) {
    each_block(x, None, out, |x: &[f32; 32], _, out: &mut [u8; 34]| {
        let d = extreme(x).abs() / 127.0;
        let id = inverse(d);
        out[..2].copy_from_slice(&to_half(d));
        for (o, x) in out[2..].iter_mut().zip(x) {
            *o = (x * id).round() as i8 as u8;
        }
    });
}

/// Codes of 4 bits and a fifth from `fifths`.
#[inline(always)]
fn decode(nibbles: &[u8], fifths: u32, out: &mut [f32; 32], value: impl Fn(f32) -> f32) {
    let (low, high) = out.split_at_mut(16);
    for (j, ((low, high), byte)) in low.iter_mut().zip(high).zip(nibbles).enumerate() {
        *low = value(f32::from(byte & 15 | ((fifths >> j & 1) as u8) << 4));
        *high = value(f32::from(byte >> 4 | ((fifths >> (j + 16) & 1) as u8) << 4));
    }
}

#[inline(always)]
pub(super) fn decode_q4_0(block: &[u8; 18], out: &mut [f32; 32]) {
    let d = from_half(block[0], block[1]);
    decode(&block[2..], 0, out, |q| d * (q - 8.0));
}

#[inline(always)]
pub(super) fn decode_q4_1(block: &[u8; 20], out: &mut [f32; 32]) {
    let (d, minimum) = (from_half(block[0], block[1]), from_half(block[2], block[3]));
    decode(&block[4..], 0, out, |q| d * q + minimum);
}

#[inline(always)]
pub(super) fn decode_q5_0(block: &[u8; 22], out: &mut [f32; 32]) {
    let d = from_half(block[0], block[1]);
    let fifths = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    decode(&block[6..], fifths, out, |q| d * (q - 16.0));
}

#[inline(always)]
pub(super) fn decode_q5_1(block: &[u8; 24], out: &mut [f32; 32]) {
    let (d, minimum) = (from_half(block[0], block[1]), from_half(block[2], block[3]));
    let fifths = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    decode(&block[8..], fifths, out, |q| d * q + minimum);
}

#[inline(always)]
pub(super) fn decode_q8_0(block: &[u8; 34], out: &mut [f32; 32]) {
    let d = from_half(block[0], block[1]);
    for (o, byte) in out.iter_mut().zip(&block[2..]) {
        *o = d * f32::from(*byte as i8);
    }
}
