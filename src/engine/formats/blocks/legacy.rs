//! Q4_0, Q4_1, Q5_0, Q5_1 and Q8_0: 32 weights that share a scale, and in the _1 formats a minimum.
//!
//! Layout: d, then the minimum where there is one, the fifth bits where there are (bit i for weight
//! i), and nibbles, weight j below weight j+16 — or, in Q8_0, signed bytes.

use super::lanes::{Groups, from_half, gather, scatter, to_half};
use super::rows::{Importance, to_decode, to_encode, weigh};
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

/// How a format lies in its bytes.
trait Packing<const BYTES: usize> {
    /// Largest code, and for codes about zero half of one more.
    const LEVELS: f32;
    fn write(d: f32, minimum: f32, codes: &[u8; 32], out: &mut [u8; BYTES]);
}

struct Q4_0;
struct Q4_1;
struct Q5_0;
struct Q5_1;

impl Packing<18> for Q4_0 {
    const LEVELS: f32 = 8.0;
    #[inline(always)]
    fn write(d: f32, _: f32, codes: &[u8; 32], out: &mut [u8; 18]) {
        out[..2].copy_from_slice(&to_half(d));
        pack(codes, &mut out[2..]);
    }
}

impl Packing<20> for Q4_1 {
    const LEVELS: f32 = 15.0;
    #[inline(always)]
    fn write(d: f32, minimum: f32, codes: &[u8; 32], out: &mut [u8; 20]) {
        out[..2].copy_from_slice(&to_half(d));
        out[2..4].copy_from_slice(&to_half(minimum));
        pack(codes, &mut out[4..]);
    }
}

impl Packing<22> for Q5_0 {
    const LEVELS: f32 = 16.0;
    #[inline(always)]
    fn write(d: f32, _: f32, codes: &[u8; 32], out: &mut [u8; 22]) {
        out[..2].copy_from_slice(&to_half(d));
        let fifths = pack(codes, &mut out[6..]);
        out[2..6].copy_from_slice(&fifths);
    }
}

impl Packing<24> for Q5_1 {
    const LEVELS: f32 = 31.0;
    #[inline(always)]
    fn write(d: f32, minimum: f32, codes: &[u8; 32], out: &mut [u8; 24]) {
        out[..2].copy_from_slice(&to_half(d));
        out[2..4].copy_from_slice(&to_half(minimum));
        let fifths = pack(codes, &mut out[8..]);
        out[4..8].copy_from_slice(&fifths);
    }
}

/// Up to eight blocks, and the weights of their errors; what is missing to eight is zeros.
#[inline(always)]
fn tile(x: &[f32], columns: &[f32], mean_square: f32) -> (Groups<8, 32>, Groups<8, 32>) {
    let mut w = [0.0; 256];
    weigh(x, columns, mean_square, &mut w);
    (gather(x), gather(&w))
}

#[inline(always)]
fn encode_about_zero<P: Packing<BYTES>, const BYTES: usize>(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    let Some(importance) = importance else {
        for (x, _, out) in to_encode(x, None, out) {
            let (d, codes) = about_zero(x, P::LEVELS);
            P::write(d, 0.0, &codes, out);
        }
        return;
    };
    let tiles = x.chunks(256).zip(importance.columns.chunks(256)).zip(out.chunks_mut(8 * BYTES));
    for ((x, columns), out) in tiles {
        let (x, w) = tile(x, columns, importance.mean_square);
        let found = search::signed(&x, &w, P::LEVELS);
        for ((d, codes), out) in found.scale.0.iter().zip(scatter(&found.codes)).zip(out.as_chunks_mut::<BYTES>().0) {
            P::write(*d, 0.0, &codes, out);
        }
    }
}

#[inline(always)]
fn encode_from_minimum<P: Packing<BYTES>, const BYTES: usize>(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    let Some(importance) = importance else {
        for (x, _, out) in to_encode(x, None, out) {
            let (d, minimum, codes) = from_minimum(x, P::LEVELS);
            P::write(d, minimum, &codes, out);
        }
        return;
    };
    let tiles = x.chunks(256).zip(importance.columns.chunks(256)).zip(out.chunks_mut(8 * BYTES));
    for ((x, columns), out) in tiles {
        let (x, w) = tile(x, columns, importance.mean_square);
        let found = search::affine(&x, &w, P::LEVELS, FINE);
        let scales = found.scale.0.iter().zip(found.offset.0);
        for (((d, offset), codes), out) in scales.zip(scatter(&found.codes)).zip(out.as_chunks_mut::<BYTES>().0) {
            P::write(*d, -offset, &codes, out);
        }
    }
}

#[inline(always)]
pub(super) fn encode_q4_0(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    encode_about_zero::<Q4_0, 18>(x, importance, out);
}

#[inline(always)]
pub(super) fn encode_q4_1(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    encode_from_minimum::<Q4_1, 20>(x, importance, out);
}

#[inline(always)]
pub(super) fn encode_q5_0(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    encode_about_zero::<Q5_0, 22>(x, importance, out);
}

#[inline(always)]
pub(super) fn encode_q5_1(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    encode_from_minimum::<Q5_1, 24>(x, importance, out);
}

/// Rounds halves away from zero, as ggml does.
#[inline(always)]
pub(super) fn encode_q8_0(x: &[f32], out: &mut [u8]) {
    for (x, _, out) in to_encode::<32, 34>(x, None, out) {
        let d = extreme(x).abs() / 127.0;
        let id = inverse(d);
        out[..2].copy_from_slice(&to_half(d));
        for (o, x) in out[2..].iter_mut().zip(x) {
            *o = (x * id).round() as i8 as u8;
        }
    }
}

/// Codes of 4 bits and a fifth from `fifths`.
#[inline(always)]
fn unpack(nibbles: &[u8], fifths: u32, out: &mut [f32; 32], value: impl Fn(f32) -> f32) {
    let (low, high) = out.split_at_mut(16);
    for (j, ((low, high), byte)) in low.iter_mut().zip(high).zip(nibbles).enumerate() {
        *low = value(f32::from(byte & 15 | ((fifths >> j & 1) as u8) << 4));
        *high = value(f32::from(byte >> 4 | ((fifths >> (j + 16) & 1) as u8) << 4));
    }
}

#[inline(always)]
pub(super) fn decode_q4_0(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<18, 32>(bytes, out) {
        let d = from_half(block[0], block[1]);
        unpack(&block[2..], 0, out, |q| d * (q - 8.0));
    }
}

#[inline(always)]
pub(super) fn decode_q4_1(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<20, 32>(bytes, out) {
        let (d, minimum) = (from_half(block[0], block[1]), from_half(block[2], block[3]));
        unpack(&block[4..], 0, out, |q| d * q + minimum);
    }
}

#[inline(always)]
pub(super) fn decode_q5_0(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<22, 32>(bytes, out) {
        let d = from_half(block[0], block[1]);
        let fifths = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
        unpack(&block[6..], fifths, out, |q| d * (q - 16.0));
    }
}

#[inline(always)]
pub(super) fn decode_q5_1(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<24, 32>(bytes, out) {
        let (d, minimum) = (from_half(block[0], block[1]), from_half(block[2], block[3]));
        let fifths = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
        unpack(&block[8..], fifths, out, |q| d * q + minimum);
    }
}

#[inline(always)]
pub(super) fn decode_q8_0(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<34, 32>(bytes, out) {
        let d = from_half(block[0], block[1]);
        for (o, byte) in out.iter_mut().zip(&block[2..]) {
            *o = d * f32::from(*byte as i8);
        }
    }
}
