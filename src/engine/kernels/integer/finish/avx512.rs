//! Sums to results, 16 lanes at a time.
#![expect(unsafe_code, reason = "vector instructions and unchecked loads")]

use super::{Finish, LANES, Sink, Target};
use std::arch::x86_64::{
    __m512, __m512i, _mm512_add_epi32, _mm512_add_ps, _mm512_cvtepi32_ps, _mm512_cvtps_epi32, _mm512_loadu_si512,
    _mm512_mask_cvtepi32_storeu_epi8, _mm512_mask_storeu_epi32, _mm512_mask_storeu_ps, _mm512_maskz_loadu_epi32,
    _mm512_maskz_loadu_ps, _mm512_max_ps, _mm512_min_ps, _mm512_mul_ps, _mm512_set1_epi32, _mm512_set1_ps,
};

/// Up to 16 channels of a tile, and what is the same for all its places.
struct Column {
    mask: u16,
    offset: __m512i,
    scale: __m512,
    bias: __m512,
    low: __m512,
    high: __m512,
    inverse: __m512,
    least: __m512,
    most: __m512,
    zero: __m512i,
}

impl Column {
    /// # Safety
    /// The processor has AVX-512, and `finish` has values for `count` channels from `first`.
    #[target_feature(enable = "avx512f")]
    unsafe fn new(finish: &Finish<'_>, first: usize, count: usize) -> Self {
        let mask = (0xffff_u32 >> (LANES - count)) as u16;
        let r = finish.rounding;
        // Sums have no scale: nothing is read then.
        let scaled = if finish.scale.is_empty() { 0 } else { mask };
        // SAFETY: `finish()` checked that the channels lie inside what is given; masked lanes are not read.
        unsafe {
            Self {
                mask,
                offset: _mm512_maskz_loadu_epi32(mask, finish.offset.as_ptr().wrapping_add(first)),
                scale: _mm512_maskz_loadu_ps(scaled, finish.scale.as_ptr().wrapping_add(first)),
                bias: _mm512_maskz_loadu_ps(scaled, finish.bias.as_ptr().wrapping_add(first)),
                low: _mm512_set1_ps(finish.low),
                high: _mm512_set1_ps(finish.high),
                inverse: _mm512_set1_ps(r.inverse),
                least: _mm512_set1_ps((r.range.0 - r.zero) as f32),
                most: _mm512_set1_ps((r.range.1 - r.zero) as f32),
                zero: _mm512_set1_epi32(r.zero),
            }
        }
    }

    /// # Safety
    /// `residual`, if given, has as many elements as the mask has lanes.
    #[target_feature(enable = "avx512f")]
    #[inline]
    unsafe fn real(&self, sum: __m512i, residual: Option<*const f32>) -> __m512 {
        let v = _mm512_cvtepi32_ps(_mm512_add_epi32(sum, self.offset));
        let mut v = _mm512_add_ps(_mm512_mul_ps(v, self.scale), self.bias);
        if let Some(residual) = residual {
            // SAFETY: the caller says so.
            v = _mm512_add_ps(v, unsafe { _mm512_maskz_loadu_ps(self.mask, residual) });
        }
        // The value is the second operand, so that a NaN stays one.
        _mm512_min_ps(self.high, _mm512_max_ps(self.low, v))
    }

    /// # Safety
    /// `out` has room for as many bytes as the mask has lanes.
    #[target_feature(enable = "avx512f,avx512bw")]
    #[inline]
    unsafe fn put_bytes(&self, v: __m512, out: *mut u8) {
        let q = _mm512_mul_ps(v, self.inverse);
        // The value is the first operand, so that a NaN goes to the lower end.
        let q = _mm512_min_ps(_mm512_max_ps(q, self.least), self.most);
        let q = _mm512_add_epi32(_mm512_cvtps_epi32(q), self.zero);
        // SAFETY: the caller says so.
        unsafe { _mm512_mask_cvtepi32_storeu_epi8(out.cast(), self.mask, q) }
    }
}

/// # Safety
/// The processor has the features, and `super::finish` has checked every reach.
#[target_feature(enable = "avx512f,avx512bw")]
unsafe fn avx512(sums: &[i32], target: Target, finish: &Finish<'_>, sink: &mut Sink<'_>) {
    for lane in (0..target.channels).step_by(LANES) {
        let first = target.channel + lane;
        // SAFETY: `super::finish` asserted that the sums of all places are there, that the channels lie
        // inside offset, scale and bias, and that the last place lies inside the sink and the residual.
        unsafe {
            let column = Column::new(finish, first, LANES.min(target.channels - lane));
            let start = target.at * target.of + first;
            let residual = finish.residual.map(|r| r.as_ptr().add(target.before * target.of + start));
            for place in 0..target.places {
                let sum = _mm512_loadu_si512(sums.as_ptr().add(place * target.width + lane).cast());
                let (step, at) = (place * target.of, start + place * target.of);
                let residual = residual.map(|r| r.add(step));
                match sink {
                    Sink::Sums(out) => {
                        let sum = _mm512_add_epi32(sum, column.offset);
                        _mm512_mask_storeu_epi32(out.as_mut_ptr().add(at), column.mask, sum);
                    }
                    Sink::Floats(out) => {
                        _mm512_mask_storeu_ps(out.as_mut_ptr().add(at), column.mask, column.real(sum, residual));
                    }
                    Sink::Bytes(out) => column.put_bytes(column.real(sum, residual), out.as_mut_ptr().add(at)),
                    Sink::Both(floats, bytes) => {
                        let v = column.real(sum, residual);
                        _mm512_mask_storeu_ps(floats.as_mut_ptr().add(at), column.mask, v);
                        column.put_bytes(v, bytes.as_mut_ptr().add(at));
                    }
                }
            }
        }
    }
}

pub(super) fn finish(sums: &[i32], target: Target, finish: &Finish<'_>, sink: &mut Sink<'_>) {
    // SAFETY: this kernel is chosen where the processor has the features; `super::finish` checked every reach.
    unsafe { avx512(sums, target, finish, sink) }
}
