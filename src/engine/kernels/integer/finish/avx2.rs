//! Sums to results, two vectors of eight lanes at a time.
#![expect(unsafe_code, reason = "vector instructions and unchecked loads")]

use super::super::words;
use super::{Finish, LANES, Sink, Target};
use std::arch::x86_64::{
    __m128i, __m256, __m256i, _mm_packus_epi16, _mm_shuffle_epi32, _mm_storel_epi64, _mm_storeu_si128, _mm256_add_epi16,
    _mm256_add_epi32, _mm256_add_ps, _mm256_adds_epi16, _mm256_and_si256, _mm256_castsi256_si128, _mm256_cvtepi32_ps,
    _mm256_cvtps_epi32, _mm256_extracti128_si256, _mm256_loadu_ps, _mm256_loadu_si256, _mm256_max_ps, _mm256_min_ps,
    _mm256_mul_ps, _mm256_packs_epi32, _mm256_set1_epi16, _mm256_set1_ps, _mm256_storeu_ps, _mm256_storeu_si256,
};
use std::array::from_fn;

/// Lanes of one vector.
const HALF: usize = 8;

/// Up to 16 channels of a tile, and what is the same for all its places.
#[derive(Debug)]
pub(in super::super) struct Column {
    count: usize,
    offset: [__m256i; 2],
    scale: [__m256; 2],
    bias: [__m256; 2],
    low: __m256,
    high: __m256,
    inverse: __m256,
    least: __m256,
    most: __m256,
    zero: __m256i,
    /// What packing does limits bytes enough.
    packed: bool,
}

/// Both halves of 16 values.
///
/// # Safety
/// The processor has AVX2, and 16 values are there.
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn floats(from: *const f32) -> [__m256; 2] {
    // SAFETY: the caller says so.
    unsafe { [_mm256_loadu_ps(from), _mm256_loadu_ps(from.add(HALF))] }
}

/// As [`floats`].
///
/// # Safety
/// As [`floats`].
#[inline]
#[target_feature(enable = "avx2")]
unsafe fn whole(from: *const i32) -> [__m256i; 2] {
    // SAFETY: the caller says so.
    unsafe { [_mm256_loadu_si256(from.cast()), _mm256_loadu_si256(from.add(HALF).cast())] }
}

/// Up to 16 values as 16, the rest zero.
fn filled<T: Copy + Default>(values: &[T]) -> [T; LANES] {
    if let Ok(whole) = values.try_into() {
        return whole;
    }
    let mut all = [T::default(); LANES];
    all[..values.len()].copy_from_slice(values);
    all
}

impl Column {
    /// The column, if what packing does limits its bytes enough.
    pub fn packing(finish: &Finish<'_>, [first, count]: [usize; 2], apart: bool) -> Option<Self> {
        let order = |i: usize| if apart { words::lane_of(i / HALF, i % HALF) } else { i };
        // SAFETY: a column of this kind is made where the processor has the feature.
        let column = unsafe { Self::new(finish, first, count, order) };
        // No sum becomes too large for a whole number: packing is the only limit then.
        let largest = |(scale, bias): (&f32, &f32)| f64::from(*scale).abs() * 2_f64.powi(31) + f64::from(*bias).abs();
        let all = finish.scale[first..first + count].iter().zip(&finish.bias[first..first + count]);
        let bounded = all.map(largest).all(|v| v * f64::from(finish.rounding.inverse) < 2_f64.powi(30));
        (column.packed && bounded).then_some(column)
    }

    pub fn count(&self) -> usize {
        self.count
    }

    /// `order`: which channel a lane is.
    #[target_feature(enable = "avx2")]
    fn new(finish: &Finish<'_>, first: usize, count: usize, order: impl Fn(usize) -> usize) -> Self {
        let r = finish.rounding;
        let channels = first..first + count;
        // Sums have no scale.
        let row = |values: &[f32]| if finish.scale.is_empty() { [0.0; LANES] } else { filled(&values[channels.clone()]) };
        let (offset, scale, bias) = (filled(&finish.offset[channels.clone()]), row(finish.scale), row(finish.bias));
        let (offset, scale, bias) = (from_fn(|i| offset[order(i)]), from_fn(|i| scale[order(i)]), from_fn(|i| bias[order(i)]));
        let (offset, scale, bias): ([i32; LANES], [f32; LANES], [f32; LANES]) = (offset, scale, bias);
        // SAFETY: each has 16 values.
        let (offset, scale, bias) = unsafe { (whole(offset.as_ptr()), floats(scale.as_ptr()), floats(bias.as_ptr())) };
        // The limits of the floats round to bytes that the range excludes or ends with.
        let [low, high] = [finish.low, finish.high].map(|v| (v * r.inverse).round_ties_even());
        let inside = low <= (r.range.0 - r.zero) as f32 && high >= (r.range.1 - r.zero) as f32;
        Self {
            packed: inside && r.range == (0, 255) && (0..=255).contains(&r.zero),
            count,
            offset,
            scale,
            bias,
            low: _mm256_set1_ps(finish.low),
            high: _mm256_set1_ps(finish.high),
            inverse: _mm256_set1_ps(r.inverse),
            least: _mm256_set1_ps((r.range.0 - r.zero) as f32),
            most: _mm256_set1_ps((r.range.1 - r.zero) as f32),
            zero: _mm256_set1_epi16(r.zero as i16),
        }
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn sum(&self, sum: [__m256i; 2]) -> [__m256i; 2] {
        std::array::from_fn(|i| _mm256_add_epi32(sum[i], self.offset[i]))
    }

    /// The results as floats, not limited yet; `ADDS`: with what lies at `residual`.
    ///
    /// # Safety
    /// With `ADDS`, `residual` has as many elements as the column has channels.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn free<const ADDS: bool, const WHOLE: bool>(&self, sum: [__m256i; 2], residual: *const f32) -> [__m256; 2] {
        let sum = self.sum(sum);
        let mut all: [__m256; 2] =
            std::array::from_fn(|i| _mm256_add_ps(_mm256_mul_ps(_mm256_cvtepi32_ps(sum[i]), self.scale[i]), self.bias[i]));
        if ADDS {
            // SAFETY: the caller says so; where there are fewer than 16, only those are read.
            let residual = unsafe {
                if WHOLE { floats(residual) } else { floats(filled(std::slice::from_raw_parts(residual, self.count)).as_ptr()) }
            };
            all = std::array::from_fn(|i| _mm256_add_ps(all[i], residual[i]));
        }
        all
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn limited(&self, all: [__m256; 2]) -> [__m256; 2] {
        // The value is the second operand, so that a NaN stays one.
        all.map(|v| _mm256_min_ps(self.high, _mm256_max_ps(self.low, v)))
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn bytes(&self, v: [__m256; 2]) -> __m128i {
        let q = v.map(|v| {
            // The value is the first operand, so that a NaN goes to the lower end.
            let q = _mm256_max_ps(_mm256_mul_ps(v, self.inverse), self.least);
            _mm256_cvtps_epi32(_mm256_min_ps(q, self.most))
        });
        // Small by now: 16 bits hold all of them, and their low bytes are what is asked for.
        let words = _mm256_add_epi16(_mm256_packs_epi32(q[0], q[1]), self.zero);
        let words = _mm256_and_si256(words, _mm256_set1_epi16(0xff));
        let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        // Packing took four lanes of each vector in turn.
        _mm_shuffle_epi32(bytes, 0b11_01_10_00)
    }

    /// [`Column::bytes`] of floats without limits where the column is `packed`.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn packed(&self, v: [__m256; 2]) -> __m128i {
        // The value is the second operand: a NaN stays one and becomes the least of integers, as what is
        // too low for them does. Packing keeps it the least.
        let q = v.map(|v| _mm256_cvtps_epi32(_mm256_min_ps(self.most, _mm256_mul_ps(v, self.inverse))));
        let words = _mm256_add_epi16(_mm256_packs_epi32(q[0], q[1]), self.zero);
        let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        _mm_shuffle_epi32(bytes, 0b11_01_10_00)
    }

    /// What sums begin with that [`Column::pack`] packs.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn start<const V: usize>(&self) -> [__m256i; V] {
        from_fn(|i| self.offset[i])
    }

    /// The bytes of vector `i` of a column without residual that is `packed`, as whole numbers.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn rounded(&self, sum: __m256i, i: usize) -> __m256i {
        let v = _mm256_cvtepi32_ps(sum);
        let v = _mm256_add_ps(_mm256_mul_ps(v, self.scale[i]), self.bias[i]);
        _mm256_cvtps_epi32(_mm256_mul_ps(v, self.inverse))
    }

    /// Sixteen bytes of two vectors, or eight of one, twice; `APART`: of lanes as [`words::lane_of`] says.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub fn pack<const V: usize, const APART: bool>(&self, sums: [__m256i; V]) -> __m128i {
        let q: [__m256i; V] = from_fn(|i| self.rounded(sums[i], i));
        let words = _mm256_adds_epi16(_mm256_packs_epi32(q[0], q[V - 1]), self.zero);
        let bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
        if APART { bytes } else { _mm_shuffle_epi32(bytes, 0b11_01_10_00) }
    }

    /// # Safety
    /// `out` has room for as many floats as the column has channels.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn put_floats<const WHOLE: bool>(&self, v: [__m256; 2], out: *mut f32) {
        // SAFETY: the caller says so.
        unsafe {
            if WHOLE {
                _mm256_storeu_ps(out, v[0]);
                _mm256_storeu_ps(out.add(HALF), v[1]);
            } else {
                let mut row = [0.0_f32; LANES];
                _mm256_storeu_ps(row.as_mut_ptr(), v[0]);
                _mm256_storeu_ps(row.as_mut_ptr().add(HALF), v[1]);
                row.as_ptr().copy_to_nonoverlapping(out, self.count);
            }
        }
    }

    /// # Safety
    /// `out` has room for as many bytes as the column has channels.
    #[inline]
    #[target_feature(enable = "avx2")]
    pub unsafe fn put_bytes<const WHOLE: bool>(&self, bytes: __m128i, out: *mut u8) {
        // SAFETY: the caller says so.
        unsafe {
            if WHOLE {
                _mm_storeu_si128(out.cast(), bytes);
            } else if self.count == HALF {
                _mm_storel_epi64(out.cast(), bytes);
            } else {
                let mut row = [0_u8; LANES];
                _mm_storeu_si128(row.as_mut_ptr().cast(), bytes);
                row.as_ptr().copy_to_nonoverlapping(out, self.count);
            }
        }
    }

    /// # Safety
    /// `out` has room for as many sums as the column has channels.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn put_sums(&self, sum: [__m256i; 2], out: *mut i32) {
        let mut row = [0_i32; LANES];
        let sum = self.sum(sum);
        // SAFETY: the caller says so; the row holds two vectors.
        unsafe {
            _mm256_storeu_si256(row.as_mut_ptr().cast(), sum[0]);
            _mm256_storeu_si256(row.as_mut_ptr().add(HALF).cast(), sum[1]);
            row.as_ptr().copy_to_nonoverlapping(out, self.count);
        }
    }

    /// All places of the column: where each goes is chosen once.
    ///
    /// # Safety
    /// `from` is at the column's sums of the first place, `start` at its first result, `residual` (with
    /// `ADDS`) at what is added to that; all are there for all places.
    #[inline]
    #[target_feature(enable = "avx2")]
    unsafe fn places<const ADDS: bool, const WHOLE: bool>(
        &self,
        from: *const i32,
        target: Target,
        residual: *const f32,
        start: usize,
        sink: &mut Sink<'_>,
    ) {
        // SAFETY: the caller says so.
        unsafe {
            let free = |place: usize| {
                self.free::<ADDS, WHOLE>(whole(from.add(place * target.width)), residual.wrapping_add(place * target.of))
            };
            let real = |place: usize| self.limited(free(place));
            match sink {
                Sink::Sums(out) => {
                    for place in 0..target.places {
                        let sum = whole(from.add(place * target.width));
                        self.put_sums(sum, out.as_mut_ptr().add(start + place * target.of));
                    }
                }
                Sink::Floats(out) => {
                    for place in 0..target.places {
                        self.put_floats::<WHOLE>(real(place), out.as_mut_ptr().add(start + place * target.of));
                    }
                }
                Sink::Bytes(out) if self.packed => {
                    for place in 0..target.places {
                        let bytes = self.packed(free(place));
                        self.put_bytes::<WHOLE>(bytes, out.as_mut_ptr().add(start + place * target.of));
                    }
                }
                Sink::Bytes(out) => {
                    for place in 0..target.places {
                        self.put_bytes::<WHOLE>(self.bytes(real(place)), out.as_mut_ptr().add(start + place * target.of));
                    }
                }
                Sink::Both(floats, bytes) => {
                    for place in 0..target.places {
                        let (v, at) = (real(place), start + place * target.of);
                        self.put_floats::<WHOLE>(v, floats.as_mut_ptr().add(at));
                        self.put_bytes::<WHOLE>(self.bytes(v), bytes.as_mut_ptr().add(at));
                    }
                }
            }
        }
    }
}

/// # Safety
/// The processor has the feature, and `super::finish` has checked every reach.
#[target_feature(enable = "avx2")]
unsafe fn columns(sums: &[i32], target: Target, finish: &Finish<'_>, sink: &mut Sink<'_>) {
    for lane in (0..target.channels).step_by(LANES) {
        let first = target.channel + lane;
        let column = Column::new(finish, first, LANES.min(target.channels - lane), |i| i);
        let start = target.at * target.of + first;
        // SAFETY: `super::finish` asserted that the sums of all places are there, whole vectors of them, and
        // that the last place lies inside the sink and the residual.
        unsafe {
            let from = sums.as_ptr().add(lane);
            match (finish.residual, column.count == LANES) {
                (None, true) => column.places::<false, true>(from, target, std::ptr::null(), start, sink),
                (None, false) => column.places::<false, false>(from, target, std::ptr::null(), start, sink),
                (Some(r), whole) => {
                    let residual = r.as_ptr().add(target.before * target.of + start);
                    if whole {
                        column.places::<true, true>(from, target, residual, start, sink);
                    } else {
                        column.places::<true, false>(from, target, residual, start, sink);
                    }
                }
            }
        }
    }
}

pub(super) fn finish(sums: &[i32], target: Target, finish: &Finish<'_>, sink: &mut Sink<'_>) {
    // SAFETY: this kernel is chosen where the processor has the feature; `super::finish` checked every reach.
    unsafe { columns(sums, target, finish, sink) }
}
