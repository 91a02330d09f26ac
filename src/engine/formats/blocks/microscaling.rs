//! MXFP4 as ggml writes it: 32 floats of 4 bits (E2M1) under a power of two (E8M0). Between two
//! floats at the same distance ggml takes the smaller one, where the OCP specification rounds to even.
//!
//! Layout: the exponent with 127 added (255: no number), nibbles, weight j below weight j+16.

use super::rows::{to_decode, to_encode};

/// The magnitudes, doubled.
const DOUBLED: [f32; 8] = [0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0];

/// Above which a doubled magnitude belongs to the next one.
const BOUNDS: [f32; 7] = [0.5, 1.5, 2.5, 3.5, 5.0, 7.0, 10.0];

/// Half of 2^(e − 127), the unit of the doubled magnitudes; below the least normal number exactly too.
#[inline(always)]
fn unit(e: u8) -> f32 {
    match e {
        0 | 1 => f32::from_bits(0x0020_0000 << e),
        255 => f32::NAN,
        _ => f32::from_bits(u32::from(e - 1) << 23),
    }
}

/// ⌊log2(largest)⌋ − 2 with 127 added, from 0 on: below, the least unit has to do.
#[inline(always)]
fn exponent(largest: f32) -> u8 {
    // The biased exponent is ⌊log2⌋ + 127 for normal numbers, and 0 below them.
    (largest.to_bits() >> 23).saturating_sub(2) as u8
}

#[inline(always)]
pub(super) fn encode(x: &[f32], out: &mut [u8]) {
    for (x, _, out) in to_encode::<32, 17>(x, None, out) {
        let e = exponent(x.iter().fold(0.0, |m: f32, v| m.max(v.abs())));
        let unit = unit(e);
        let codes = x.map(|v| {
            let magnitude = BOUNDS.iter().fold(0, |code, bound| code + u8::from(v.abs() > bound * unit));
            // There is one zero.
            if v < 0.0 && magnitude > 0 { magnitude | 8 } else { magnitude }
        });
        out[0] = e;
        for (j, o) in out[1..].iter_mut().enumerate() {
            *o = codes[j] | codes[j + 16] << 4;
        }
    }
}

#[inline(always)]
pub(super) fn decode(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<17, 32>(bytes, out) {
        let unit = unit(block[0]);
        let value = |code: u8| {
            let magnitude = DOUBLED[usize::from(code & 7)] * unit;
            if code & 8 == 0 { magnitude } else { 0.0 - magnitude }
        };
        let (low, high) = out.split_at_mut(16);
        for ((low, high), byte) in low.iter_mut().zip(high).zip(&block[1..]) {
            *low = value(byte & 15);
            *high = value(byte >> 4);
        }
    }
}
