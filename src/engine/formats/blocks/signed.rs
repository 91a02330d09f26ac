//! Q3_K and Q6_K: 256 weights in 16 groups with a signed scale each, which counts in units of one
//! half-precision number: x = d·scale·(q − 4) or d·scale·(q − 32).

use super::lanes::{Groups, Lanes, each, from_half, gather, nearest, scatter, through_half, to_half};
use super::rows::{Importance, to_decode, to_encode};
use super::search::{self, Signed, TINY};
use super::two_level::pack_quarters;

/// The scale of largest magnitude.
#[inline(always)]
fn largest(scales: Lanes<16>) -> f32 {
    scales.0.into_iter().fold(0.0, |m: f32, s| if s.abs() > m.abs() { s } else { m })
}

/// Codes of the weights under the scales as they are stored; what a scale of zero multiplies keeps its
/// code. As bytes, group by group.
#[inline(always)]
fn codes(x: &Groups<16, 16>, found: &Signed<16, 16>, d: f32, scales: [f32; 16], levels: f32) -> [[u8; 16]; 16] {
    let step = Lanes::all(through_half(d)) * Lanes(scales);
    let mut codes = found.codes;
    for (c, x) in codes.iter_mut().zip(x) {
        let again = (*x / step).nearest(-levels, levels - 1.0) + Lanes::all(levels);
        *c = Lanes::of(|l| if step.0[l] == 0.0 { c.0[l] } else { again.0[l] });
    }
    scatter(&codes)
}

/// Layout: third bits of the codes (bit r of byte l for weight l of run r), their low bits as in Q2_K, 16
/// scales of 6 bits (low nibbles in 8 bytes, two high bits in 4), d.
#[inline(always)]
pub(super) fn encode_q3k(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    for (x, importance, out) in to_encode::<256, 110>(x, importance, out) {
        let groups: Groups<16, 16> = gather(x);
        let (found, d, scales) = match importance {
            None => {
                let found = search::descent(&groups, 4.0);
                let (d, scales) = thirty_seconds(found.scale);
                (found, d, scales)
            }
            Some(i) => {
                let w: Groups<16, 16> = gather(&i.weights(x, 2.0));
                let found = search::signed(&groups, &w, 4.0);
                let sums = w.iter().skip(1).fold(w[0], |sum, w| sum + *w);
                let row = |v: Lanes<16>| -> Groups<1, 16> { v.0.map(|v| Lanes([v])) };
                let outer = search::signed(&row(found.scale), &row(sums), 32.0);
                (found, outer.scale.0[0], outer.codes.map(|c| c.0[0] as u8))
            }
        };
        let groups = codes(&groups, &found, d, scales.map(|s| f32::from(s) - 32.0), 4.0);
        pack_q3k(groups.as_flattened(), &scales, out);
        out[108..110].copy_from_slice(&to_half(d));
    }
}

/// Scales from −32 to 31, stored with 32 added, and their unit.
#[inline(always)]
fn thirty_seconds(scales: Lanes<16>) -> (f32, [u8; 16]) {
    let max = largest(scales);
    if max == 0.0 {
        return (0.0, [0; 16]);
    }
    let inverse = -32.0 / max;
    (1.0 / inverse, scales.0.map(|s| (nearest(inverse * s, -32.0, 31.0) + 32.0) as u8))
}

#[inline(always)]
fn pack_q3k(codes: &[u8], scales: &[u8; 16], out: &mut [u8; 110]) {
    for (l, o) in out[..32].iter_mut().enumerate() {
        *o = (0..8).fold(0, |byte, run| byte | codes[32 * run + l] >> 2 << run);
    }
    for (half, o) in out[32..96].as_chunks_mut::<32>().0.iter_mut().enumerate() {
        pack_quarters(&codes[128 * half..][..128], o);
    }
    for j in 0..8 {
        out[96 + j] = scales[j] & 15 | scales[j + 8] << 4;
    }
    for j in 0..4 {
        out[104 + j] = (0..4).fold(0, |byte, k| byte | scales[j + 4 * k] >> 4 << (2 * k));
    }
}

#[inline(always)]
pub(super) fn decode_q3k(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<110, 256>(bytes, out) {
        let d = from_half(block[108], block[109]);
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let low = block[96 + group % 8] >> (group / 8 * 4) & 15;
            let high = block[104 + group % 4] >> (group / 4 * 2) & 3;
            let step = d * (f32::from(low | high << 4) - 32.0);
            let run = group / 2;
            let thirds = &block[group % 2 * 16..][..16];
            let codes = &block[32 + group / 8 * 32 + group % 2 * 16..][..16];
            for ((o, byte), third) in out.iter_mut().zip(codes).zip(thirds) {
                *o = step * (f32::from(byte >> (run % 4 * 2) & 3 | (third >> run & 1) << 2) - 4.0);
            }
        }
    }
}

/// Layout: low nibbles of the codes (byte l of each half holds weights l and l+64, byte l+32 weights l+32
/// and l+96), their upper two bits as in Q2_K, 16 scales of 8 bits, d.
#[inline(always)]
pub(super) fn encode_q6k(x: &[f32], importance: Option<Importance<'_>>, out: &mut [u8]) {
    for (x, importance, out) in to_encode::<256, 210>(x, importance, out) {
        let groups: Groups<16, 16> = gather(x);
        let w: Groups<16, 16> = match importance {
            None => each(|i| groups[i] * groups[i]),
            Some(i) => gather(i.columns),
        };
        let found = search::signed(&groups, &w, 32.0);
        let max = largest(found.scale);
        if max.abs() < TINY {
            out.fill(0);
            continue;
        }
        let inverse = -128.0 / max;
        let scales = found.scale.0.map(|s| nearest(inverse * s, -128.0, 127.0));
        let codes = codes(&groups, &found, 1.0 / inverse, scales, 32.0);
        pack_q6k(codes.as_flattened(), out);
        for (o, s) in out[192..208].iter_mut().zip(scales) {
            *o = s as i8 as u8;
        }
        out[208..210].copy_from_slice(&to_half(1.0 / inverse));
    }
}

#[inline(always)]
fn pack_q6k(codes: &[u8], out: &mut [u8; 210]) {
    let (low, high) = out.split_at_mut(128);
    for (codes, low) in codes.as_chunks::<128>().0.iter().zip(low.as_chunks_mut::<64>().0) {
        for (l, o) in low.iter_mut().enumerate() {
            *o = codes[l] & 15 | codes[l + 64] << 4;
        }
    }
    for (codes, high) in codes.as_chunks::<128>().0.iter().zip(high.as_chunks_mut::<32>().0) {
        for (l, o) in high.iter_mut().enumerate() {
            *o = codes[l] >> 4 | codes[l + 32] >> 4 << 2 | codes[l + 64] >> 4 << 4 | codes[l + 96] >> 4 << 6;
        }
    }
}

#[inline(always)]
pub(super) fn decode_q6k(bytes: &[u8], out: &mut [f32]) {
    for (block, out) in to_decode::<210, 256>(bytes, out) {
        let d = from_half(block[208], block[209]);
        for (group, out) in out.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let step = d * f32::from(block[192 + group] as i8);
            let (half, run, at) = (group / 8, group / 2 % 4, group % 2 * 16);
            let low = &block[64 * half + run % 2 * 32 + at..][..16];
            let high = &block[128 + 32 * half + at..][..16];
            for ((o, low), high) in out.iter_mut().zip(low).zip(high) {
                let code = low >> (run / 2 * 4) & 15 | (high >> (run * 2) & 3) << 4;
                *o = step * (f32::from(code) - 32.0);
            }
        }
    }
}
