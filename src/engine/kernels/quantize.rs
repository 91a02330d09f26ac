//! Uniform quantization as ONNX defines it: `q = saturate(round(x / s) + z)`, `x' = (q − z)·s`, rounding
//! half to even.

/// `saturate(round(x / scale) + zero)` of one element. NaN becomes the lower end.
#[inline]
#[must_use]
pub fn quantize(x: f32, scale: f32, zero: i64, range: (i64, i64)) -> i64 {
    // In f64 the zero point is added exactly, whatever the size of x / scale.
    saturate(f64::from((x / scale).round_ties_even()) + zero as f64, range)
}

/// A whole number as the nearest one of a range. NaN becomes the lower end.
#[inline]
#[must_use]
pub fn saturate(q: f64, (low, high): (i64, i64)) -> i64 {
    if q >= high as f64 {
        high
    } else if q >= low as f64 {
        q as i64
    } else {
        low
    }
}

/// `(q − zero)·scale` of one element.
#[inline]
#[must_use]
pub fn dequantize(q: i64, scale: f32, zero: i64) -> f32 {
    q.wrapping_sub(zero) as f32 * scale
}

/// Quantizes and dequantizes a slice in one go: bit for bit what the pair does, for types of up to
/// 16 bits.
///
/// The limits are whole numbers, so that limiting first and rounding then is the same; what is left
/// is small enough to round by adding and taking off 1.5·2²³, which needs no library call.
#[inline]
pub fn fake_quantize(x: &[f32], scale: f32, zero: i64, (low, high): (i64, i64), out: &mut [f32]) {
    const MAGIC: f32 = 12_582_912.0;
    let (low, high) = ((low - zero) as f32, (high - zero) as f32);
    for (o, x) in out.iter_mut().zip(x) {
        let q = x / scale;
        // Comparisons in this order send NaN to the lower end, as `quantize` does.
        let q = if q >= low { q } else { low };
        let q = if q <= high { q } else { high };
        *o = ((q + MAGIC) - MAGIC) * scale;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    #[test]
    fn rounds_half_to_even() {
        let q = |x| quantize(x, 1.0, 0, (-128, 127));
        assert_eq!([q(0.5), q(1.5), q(2.5), q(-0.5), q(-1.5), q(1e30), q(-1e30)], [0, 2, 2, 0, -2, 127, -128]);
    }

    #[test]
    fn the_pair_in_one_go_is_the_pair() {
        let mut random = Random::new(1);
        for (range, zero) in [((-128, 127), 3), ((0, 255), 128), ((-8, 7), 0), ((-32768, 32767), -77), ((0, 65535), 12000)] {
            let scale = random.range(0.001, 0.5);
            let mut x: Vec<f32> = (0..10_000).map(|_| random.normal() * 100.0 * scale).collect();
            x.extend([f32::INFINITY, f32::NEG_INFINITY, f32::NAN, 0.0, -0.0, 0.5 * scale, 1.5 * scale, 1e38]);
            let mut out = vec![0.0; x.len()];
            fake_quantize(&x, scale, zero, range, &mut out);
            for (x, o) in x.iter().zip(out) {
                assert_eq!(o.to_bits(), dequantize(quantize(*x, scale, zero, range), scale, zero).to_bits(), "{x}");
            }
        }
    }
}
