//! Between floats and bytes, and what bytes alone can say.

use super::{Geometry, Isa, Rounding};
use crate::engine::kernels::parts;

/// Elements of one task.
const TILE: usize = 1 << 15;

/// `saturate(round(x / scale) + zero)` of every element, half to even, as `QuantizeLinear` defines it.
/// NaN becomes the lower end.
pub fn quantize_bytes(x: &[f32], scale: f32, rounding: Rounding, out: &mut [u8]) {
    parts(out, TILE, &|i, out| quantize(&x[i * TILE..][..out.len()], scale, rounding, out));
}

/// Elements of a plane that are turned together.
const STRETCH: usize = 256;

/// A stretch of three planes.
type Colors = [[u8; STRETCH]; 3];

/// [`quantize_bytes`] of images `[batch, channels, places]` to `[batch, places, channels]`.
pub fn quantize_planes(x: &[f32], [channels, places]: [usize; 2], scale: f32, rounding: Rounding, out: &mut [u8]) {
    let image = channels * places;
    if image == 0 {
        return;
    }
    let work = |out: &mut [u8], x: &[f32]| {
        // A stretch of every plane at a time, so that what is turned is still near.
        let mut line = [0_u8; STRETCH];
        let mut colors: Colors = [[0; STRETCH]; 3];
        for from in (0..places).step_by(STRETCH) {
            let count = STRETCH.min(places - from);
            // Three planes are common, and turned at once far quicker.
            if channels == 3 {
                for (plane, line) in x.chunks_exact(places).zip(&mut colors) {
                    quantize(&plane[from..from + count], scale, rounding, &mut line[..count]);
                }
                weave(&colors, &mut out[from * 3..][..count * 3]);
                continue;
            }
            for (channel, plane) in x.chunks_exact(places).enumerate() {
                quantize(&plane[from..from + count], scale, rounding, &mut line[..count]);
                for (out, v) in out[from * channels + channel..].iter_mut().step_by(channels).zip(&line[..count]) {
                    *out = *v;
                }
            }
        }
    };
    parts(out, image, &|i, out| work(out, &x[i * image..][..image]));
}

/// `(q − zero)·scale` of every element.
pub fn dequantize_bytes(q: &[u8], scale: f32, zero: u8, out: &mut [f32]) {
    for (out, q) in out.iter_mut().zip(q) {
        *out = (i32::from(*q) - i32::from(zero)) as f32 * scale;
    }
}

fn quantize(x: &[f32], scale: f32, rounding: Rounding, out: &mut [u8]) {
    match Isa::best() {
        #[cfg(target_arch = "x86_64")]
        Isa::Vnni => x86::quantize_avx512(x, scale, rounding, out),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => x86::quantize_avx2(x, scale, rounding, out),
        Isa::Plain => each(x, scale, rounding, out),
    }
}

/// Three planes, place by place.
fn weave(colors: &Colors, out: &mut [u8]) {
    match Isa::best() {
        Isa::Plain => weave_from(0, colors, out),
        #[cfg(target_arch = "x86_64")]
        _ => x86::weave(colors, out),
    }
}

/// The places from `first` on.
fn weave_from(first: usize, [r, g, b]: &Colors, out: &mut [u8]) {
    for (i, out) in out.chunks_exact_mut(3).enumerate().skip(first) {
        out.copy_from_slice(&[r[i], g[i], b[i]]);
    }
}

#[inline(always)]
fn each(x: &[f32], scale: f32, r: Rounding, out: &mut [u8]) {
    use super::finish::MAGIC;
    let (low, high) = ((r.range.0 - r.zero) as f32, (r.range.1 - r.zero) as f32);
    let zero = r.zero.wrapping_sub(MAGIC.to_bits().cast_signed());
    for (out, x) in out.iter_mut().zip(x) {
        let q = x / scale;
        // Comparisons in this order send NaN to the lower end.
        let q = if q >= low { q } else { low };
        let q = if q <= high { q } else { high };
        *out = (q + MAGIC).to_bits().cast_signed().wrapping_add(zero) as u8;
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions, and the same loops compiled for wider vectors")]
mod x86 {
    use super::{Colors, Rounding, STRETCH, each};
    use std::arch::x86_64::{
        _mm_loadu_si128, _mm_or_si128, _mm_setzero_si128, _mm_shuffle_epi8, _mm_storeu_si128, _mm256_add_epi16, _mm256_and_si256,
        _mm256_cvtps_epi32, _mm256_div_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps, _mm256_packs_epi32,
        _mm256_packus_epi16, _mm256_permutevar8x32_epi32, _mm256_set1_epi16, _mm256_set1_ps, _mm256_setr_epi32,
        _mm256_storeu_si256,
    };

    pub(super) fn quantize_avx512(x: &[f32], scale: f32, rounding: Rounding, out: &mut [u8]) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq")]
        fn inner(x: &[f32], scale: f32, rounding: Rounding, out: &mut [u8]) {
            each(x, scale, rounding, out);
        }
        // SAFETY: this kernel is chosen where the processor has these features.
        unsafe { inner(x, scale, rounding, out) }
    }

    /// Elements that are packed together.
    const PACKED: usize = 32;

    #[target_feature(enable = "avx2")]
    fn packed(x: &[f32], scale: f32, r: Rounding, out: &mut [u8]) {
        let (low, high) = (_mm256_set1_ps((r.range.0 - r.zero) as f32), _mm256_set1_ps((r.range.1 - r.zero) as f32));
        let (zero, byte, scale_of) = (_mm256_set1_epi16(r.zero as i16), _mm256_set1_epi16(0xff), _mm256_set1_ps(scale));
        let (mut xs, mut outs) = (x.chunks_exact(PACKED), out.chunks_exact_mut(PACKED));
        for (x, out) in (&mut xs).zip(&mut outs) {
            let words = |pair: usize| {
                let [a, b] = [0, 8].map(|i| {
                    // SAFETY: 8 of 32 values.
                    let q = _mm256_div_ps(unsafe { _mm256_loadu_ps(x.as_ptr().add(16 * pair + i)) }, scale_of);
                    // The value is the first operand, so that a NaN goes to the lower end.
                    _mm256_cvtps_epi32(_mm256_min_ps(_mm256_max_ps(q, low), high))
                });
                _mm256_and_si256(_mm256_add_epi16(_mm256_packs_epi32(a, b), zero), byte)
            };
            let bytes = _mm256_packus_epi16(words(0), words(1));
            // Packing took four of each vector in turn.
            let bytes = _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
            // SAFETY: 32 bytes.
            unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), bytes) }
        }
        each(xs.remainder(), scale, r, outs.into_remainder());
    }

    pub(super) fn quantize_avx2(x: &[f32], scale: f32, rounding: Rounding, out: &mut [u8]) {
        // SAFETY: this kernel is chosen where the processor has this feature.
        unsafe { packed(x, scale, rounding, out) }
    }

    /// Where the bytes of 16 places come from, for each third of them and each plane; above 127: from none.
    const WOVEN: [[[u8; 16]; 3]; 3] = {
        let mut masks = [[[0x80; 16]; 3]; 3];
        let mut i = 0;
        while i < 48 {
            masks[i / 16][i % 3][i % 16] = (i / 3) as u8;
            i += 1;
        }
        masks
    };

    #[target_feature(enable = "avx2")]
    fn woven(colors: &Colors, out: &mut [u8]) {
        let whole = out.len() / 48;
        for (block, out) in out.chunks_exact_mut(48).take(STRETCH / 16).enumerate() {
            for (masks, out) in WOVEN.iter().zip(out.chunks_exact_mut(16)) {
                let mut all = _mm_setzero_si128();
                for (mask, plane) in masks.iter().zip(colors) {
                    // SAFETY: a mask has 16 bytes; the block lies inside the stretch.
                    let (v, mask) = unsafe {
                        (_mm_loadu_si128(plane.as_ptr().add(block * 16).cast()), _mm_loadu_si128(mask.as_ptr().cast()))
                    };
                    all = _mm_or_si128(all, _mm_shuffle_epi8(v, mask));
                }
                // SAFETY: 16 bytes.
                unsafe { _mm_storeu_si128(out.as_mut_ptr().cast(), all) }
            }
        }
        super::weave_from(whole * 16, colors, out);
    }

    pub(super) fn weave(colors: &Colors, out: &mut [u8]) {
        // SAFETY: every kernel beside the plain one is chosen where the processor has this feature.
        unsafe { woven(colors, out) }
    }
}

/// Maximum over windows of `batch` images `[batch, D, H, W, channels]`; padding never wins.
///
/// # Panics
/// When slices do not fit the geometry.
pub fn max_pool(g: &Geometry, channels: usize, batch: usize, input: &[u8], output: &mut [u8]) {
    let from = g.input.iter().product::<usize>() * channels;
    let to = g.output.iter().product::<usize>() * channels;
    assert!(input.len() == batch * from && output.len() == batch * to, "data does not fit the geometry");
    if to == 0 || from == 0 {
        // The buffer may hold what was there before.
        output.fill(0);
        return;
    }
    let work = |out: &mut [u8], x: &[u8]| pool_image(g, channels, x, out);
    parts(output, to, &|i, out| work(out, &input[i * from..][..from]));
}

fn pool_image(g: &Geometry, channels: usize, x: &[u8], out: &mut [u8]) {
    let taps: usize = g.kernel.iter().product();
    for (place, out) in out.chunks_exact_mut(channels).enumerate() {
        let at = [place / (g.output[1] * g.output[2]), place / g.output[2] % g.output[1], place % g.output[2]];
        out.fill(0);
        for tap in 0..taps {
            let k = [tap / (g.kernel[1] * g.kernel[2]), tap / g.kernel[2] % g.kernel[1], tap % g.kernel[2]];
            let from: [isize; 3] = std::array::from_fn(|a| (at[a] * g.stride[a] + k[a] * g.dilation[a]).cast_signed() - g.pad[a]);
            if (0..3).any(|a| from[a] < 0 || from[a].cast_unsigned() >= g.input[a]) {
                continue;
            }
            let [d, h, w] = from.map(isize::cast_unsigned);
            let source = &x[((d * g.input[1] + h) * g.input[2] + w) * channels..][..channels];
            for (out, v) in out.iter_mut().zip(source) {
                *out = (*out).max(*v);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kernels::quantize::quantize;
    use crate::engine::random::Random;

    #[test]
    fn bytes_are_what_quantize_linear_says() {
        let mut random = Random::new(2);
        for (range, zero) in [((0, 255), 117), ((-128, 127), -5), ((0, 255), 0)] {
            let scale = 0.037;
            let mut x: Vec<f32> = (0..70_000).map(|_| random.normal() * 4.0).collect();
            // Ties and what is next to them, which a second rounding would move.
            let ties = (-300..300).map(|i| (i as f32 + 0.5) * scale);
            x.extend(ties.flat_map(|v| [v.next_down(), v, v.next_up()]));
            x.extend([f32::NAN, f32::INFINITY, -f32::INFINITY, 0.5 * scale, 1.5 * scale, -0.0]);
            let rounding = Rounding { inverse: 1.0 / scale, zero, range };
            let mut out = vec![0; x.len()];
            quantize_bytes(&x, scale, rounding, &mut out);
            let wide = (i64::from(range.0), i64::from(range.1));
            assert!(x.iter().zip(&out).all(|(x, q)| quantize(*x, scale, i64::from(zero), wide) as u8 == *q));
            let mut turned = vec![0; 2 * 3 * 300];
            quantize_planes(&x[..1800], [3, 300], scale, rounding, &mut turned);
            assert!((0..1800).all(|i| turned[i / 900 * 900 + i % 300 * 3 + i / 300 % 3] == out[i]));
        }
    }

    #[test]
    fn the_largest_byte_of_a_window_wins() {
        let g = Geometry {
            input: [1, 3, 3],
            kernel: [1, 2, 2],
            stride: [1, 2, 2],
            dilation: [1; 3],
            pad: [0, 1, 1],
            output: [1, 2, 2],
        };
        let mut out = vec![0; 8];
        max_pool(&g, 2, 1, &[1, 9, 2, 8, 3, 7, 4, 6, 5, 5, 6, 4, 7, 3, 8, 2, 9, 1], &mut out);
        assert_eq!(out, [1, 9, 3, 8, 7, 6, 9, 5]);
    }
}
