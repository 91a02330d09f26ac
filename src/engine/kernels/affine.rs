//! Affine quantization of weights and the error it makes. Rounding is half to even everywhere, as
//! ONNX's `QuantizeLinear` has it (ONNX operator specification, opset 10 and later).

/// Scale and zero point of one group of values: `x ≈ (q − zero_point)·scale`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AffineParameters {
    pub scale: f32,
    pub zero_point: i32,
    /// Smallest and largest code in use.
    pub low: i32,
    pub high: i32,
}

/// Smallest and largest finite value; (0, 0) for an empty slice.
#[must_use]
pub fn min_max(values: &[f32]) -> (f32, f32) {
    let (low, high) = values
        .iter()
        .filter(|v| v.is_finite())
        .fold((f32::INFINITY, f32::NEG_INFINITY), |(low, high), &v| (low.min(v), high.max(v)));
    if low > high { (0.0, 0.0) } else { (low, high) }
}

/// Symmetric parameters for `bits` bits over ±`absmax`: `scale = absmax / (2^(bits−1) − 1)`,
/// codes `−2^(bits−1) … 2^(bits−1) − 1`.
#[must_use]
pub fn symmetric(absmax: f32, bits: u8) -> AffineParameters {
    let top = (1_i32 << (bits - 1)) - 1;
    let scale = f64::from(absmax) / f64::from(top);
    AffineParameters { scale: usable(scale), zero_point: 0, low: -top - 1, high: top }
}

/// Asymmetric parameters for unsigned codes of `bits` bits over a range widened to hold zero, so
/// that zero is exact. The zero point is computed from the scale in f64, as ONNX Runtime does.
#[must_use]
pub fn asymmetric(low: f32, high: f32, bits: u8) -> AffineParameters {
    let (low, high) = (f64::from(low.min(0.0)), f64::from(high.max(0.0)));
    let top = (1_i32 << bits) - 1;
    let scale = (high - low) / f64::from(top);
    if scale < f64::from(f32::MIN_POSITIVE) {
        return AffineParameters { scale: 1.0, zero_point: 0, low: 0, high: top };
    }
    let zero_point = (-low / scale).round_ties_even().clamp(0.0, f64::from(top)) as i32;
    AffineParameters { scale: scale as f32, zero_point, low: 0, high: top }
}

/// A scale that can be divided by: 1 for an all-zero group.
fn usable(scale: f64) -> f32 {
    if scale < f64::from(f32::MIN_POSITIVE) { 1.0 } else { scale as f32 }
}

impl AffineParameters {
    #[must_use]
    pub fn quantize(&self, value: f32) -> i32 {
        let code = (value / self.scale).round_ties_even() + self.zero_point as f32;
        code.clamp(self.low as f32, self.high as f32) as i32
    }

    #[must_use]
    pub fn dequantize(&self, code: i32) -> f32 {
        (code - self.zero_point) as f32 * self.scale
    }
}

/// Signal power Σx² and error power Σ(x − x̂)², summed in f64.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct ErrorSums {
    pub signal: f64,
    pub error: f64,
}

impl ErrorSums {
    pub fn add(&mut self, original: f32, approximate: f32) {
        self.signal += f64::from(original) * f64::from(original);
        let difference = f64::from(original) - f64::from(approximate);
        self.error += difference * difference;
    }

    pub fn add_slices(&mut self, original: &[f32], approximate: &[f32]) {
        for (x, y) in original.iter().zip(approximate) {
            self.add(*x, *y);
        }
    }

    pub fn merge(&mut self, other: Self) {
        self.signal += other.signal;
        self.error += other.error;
    }

    /// Signal-to-quantization-noise ratio in dB, 10·log10(Σx²/Σ(x − x̂)²): `INFINITY` without error,
    /// 0 for a silent signal with error.
    #[must_use]
    pub fn sqnr_db(&self) -> f64 {
        if self.error == 0.0 {
            f64::INFINITY
        } else if self.signal == 0.0 {
            0.0
        } else {
            10.0 * (self.signal / self.error).log10()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_as_onnx_does() {
        // Oracle: QuantizeLinear to int8 with scale 1, and to uint8 with scale 0.3, zero point 7.
        let x = [-1.5, -0.5, 0.5, 1.5, 2.5, 3.5, 126.5, 127.5, -128.5, -129.0, 300.0];
        let p = AffineParameters { scale: 1.0, zero_point: 0, low: -128, high: 127 };
        assert_eq!(x.map(|v| p.quantize(v)), [-2, 0, 0, 2, 2, 4, 126, 127, -128, -128, 127]);
        let p = AffineParameters { scale: 0.3, zero_point: 7, low: 0, high: 255 };
        assert_eq!(x.map(|v| p.quantize(v)), [2, 5, 9, 12, 15, 19, 255, 255, 0, 0, 255]);
    }

    #[test]
    fn chooses_parameters_as_onnx_runtime_does() {
        let p = asymmetric(-1.3, 2.7, 8);
        assert_eq!((p.scale, p.zero_point), (0.015_686_275_4, 83));
        let p = asymmetric(0.4, 2.7, 8);
        assert_eq!((p.scale, p.zero_point), (0.010_588_235_2, 0));
        let p = asymmetric(-3.0, -0.2, 8);
        assert_eq!((p.scale, p.zero_point), (0.011_764_706_1, 255));
        assert_eq!(symmetric(2.7, 8).scale, 0.021_259_842_4);
        assert_eq!(symmetric(0.0, 8).scale, 1.0);
    }

    #[test]
    fn ratio_in_decibels() {
        let mut sums = ErrorSums::default();
        sums.add_slices(&[0.12, -0.5, 0.33, 0.9], &[0.1, -0.5, 0.3, 0.9]);
        assert!((sums.sqnr_db() - 29.591_515).abs() < 1e-4);
    }
}
