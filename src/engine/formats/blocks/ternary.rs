//! TQ1_0 and TQ2_0: 256 weights of −1, 0 or 1 times one scale, which is their largest magnitude: meant
//! for networks trained so, ruinous for all others.

use super::lanes::{from_half, to_half};
use super::rows::{to_decode, to_encode};

/// Scale, and codes 0, 1, 2 for −1, 0, 1; halves go away from zero.
#[inline(always)]
fn ternary(x: &[f32; 256]) -> (f32, [u8; 256]) {
    let d = x.iter().fold(0.0, |m: f32, v| m.max(v.abs()));
    let inverse = if (1.0 / d).is_finite() { 1.0 / d } else { 0.0 };
    (d, x.map(|v| ((v * inverse).round() + 1.0) as u8))
}

/// The runs of TQ1_0: where the bytes begin, how many there are, where the weights begin, how many share
/// a byte (as far apart as there are bytes).
const RUNS: [(usize, usize, usize, usize); 3] = [(0, 32, 0, 5), (32, 16, 160, 5), (48, 4, 240, 4)];

/// Five base-3 digits to a byte, the first most significant, as a fraction of 3⁵ in 256ths rounded up, so
/// that digits come out by multiplying with 3. Layout: 48 bytes of five weights, 4 of four, d.
#[inline(always)]
pub(super) fn encode_tq1_0(x: &[f32], out: &mut [u8]) {
    for (x, _, out) in to_encode::<256, 54>(x, None, out) {
        let (d, codes) = ternary(x);
        for (at, bytes, first, share) in RUNS {
            for (m, o) in out[at..at + bytes].iter_mut().enumerate() {
                let number =
                    (0..5).fold(0_u16, |n, k| n * 3 + if k < share { u16::from(codes[first + m + k * bytes]) } else { 0 });
                *o = (number * 256).div_ceil(243) as u8;
            }
        }
        out[52..].copy_from_slice(&to_half(d));
    }
}

/// Layout: byte l of each half holds weights l, l+32, l+64, l+96, two bits each; d.
#[inline(always)]
pub(super) fn encode_tq2_0(x: &[f32], out: &mut [u8]) {
    for (x, _, out) in to_encode::<256, 66>(x, None, out) {
        let (d, codes) = ternary(x);
        for (codes, out) in codes.as_chunks::<128>().0.iter().zip(out.as_chunks_mut::<32>().0) {
            super::two_level::pack_quarters(codes, out);
        }
        out[64..].copy_from_slice(&to_half(d));
    }
}

#[inline(always)]
pub(super) fn decode_tq1_0(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<54, 256>(bytes, out) {
        let d = from_half(block[52], block[53]);
        for (at, bytes, first, share) in RUNS {
            let mut power = 1_u8;
            for out in out[first..first + share * bytes].chunks_mut(bytes) {
                for (o, byte) in out.iter_mut().zip(&block[at..at + bytes]) {
                    let digit = (u16::from(byte.wrapping_mul(power)) * 3) >> 8;
                    *o = (f32::from(digit) - 1.0) * d;
                }
                power = power.wrapping_mul(3);
            }
        }
    }
}

#[inline(always)]
pub(super) fn decode_tq2_0(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<66, 256>(bytes, out) {
        let d = from_half(block[64], block[65]);
        for (run, out) in out.as_chunks_mut::<32>().0.iter_mut().enumerate() {
            for (o, byte) in out.iter_mut().zip(&block[run / 4 * 32..][..32]) {
                *o = (f32::from(byte >> (run % 4 * 2) & 3) - 1.0) * d;
            }
        }
    }
}
