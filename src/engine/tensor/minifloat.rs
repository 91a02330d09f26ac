//! Floating-point types of 4 and 8 bits: their bit patterns to f32 and back.
//!
//! Float8 E4M3 and E5M2 as of the OCP 8-bit floating-point specification (2023) and, with the suffix
//! `FNUZ` (finite, no negative zero), as of Noune et al. 2022; float4 E2M1 and float8 E8M0 as of the
//! OCP microscaling formats (2023). Conversions follow the tables of ONNX's `Cast`.

use super::DType;

/// What happens to numbers beyond the largest one of a float8 type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overflow {
    /// They become the largest.
    Saturate,
    /// They become infinite, or NaN in types that have no infinity.
    Special,
}

/// How a conversion to float8 E8M0, which holds powers of two alone, rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerRounding {
    Up,
    Down,
    /// To the nearest, ties up.
    Nearest,
}

/// How numbers are rounded into a narrow type. f16, bf16, f32 and f64 know but one way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rounding {
    pub overflow: Overflow,
    pub power: PowerRounding,
}

impl Default for Rounding {
    fn default() -> Self {
        Self { overflow: Overflow::Saturate, power: PowerRounding::Up }
    }
}

/// A type of sign, exponent and mantissa, of up to 16 bits.
#[derive(Debug)]
pub struct MiniFloat {
    mantissa: u32,
    bias: i32,
    /// Magnitude bits of the largest finite number.
    largest: u16,
    sign: u16,
    beyond: Beyond,
}

/// The patterns of a format that are no finite numbers.
#[derive(Debug, PartialEq, Eq)]
enum Beyond {
    Nothing,
    /// NaN is all ones, and there is no infinity.
    Nan,
    /// As IEEE 754: exponent all ones is infinity or NaN.
    InfinityAndNan,
    /// NaN is the pattern of −0, which does not exist.
    NanAtNegativeZero,
}

const E4M3FNUZ: MiniFloat = MiniFloat { mantissa: 3, bias: 8, largest: 0x7F, sign: 0x80, beyond: Beyond::NanAtNegativeZero };
const E5M2FNUZ: MiniFloat = MiniFloat { mantissa: 2, bias: 16, largest: 0x7F, sign: 0x80, beyond: Beyond::NanAtNegativeZero };

/// 2 to a power that f64 holds as a normal number.
fn power_of_two(exponent: i32) -> f64 {
    f64::from_bits(((i64::from(exponent) + 1023) as u64) << 52)
}

impl MiniFloat {
    pub const E4M3FN: Self = Self { mantissa: 3, bias: 7, largest: 0x7E, sign: 0x80, beyond: Beyond::Nan };
    pub const E5M2: Self = Self { mantissa: 2, bias: 15, largest: 0x7B, sign: 0x80, beyond: Beyond::InfinityAndNan };
    pub const E3M2: Self = Self { mantissa: 2, bias: 3, largest: 0x1F, sign: 0x20, beyond: Beyond::Nothing };
    pub const E2M3: Self = Self { mantissa: 3, bias: 1, largest: 0x1F, sign: 0x20, beyond: Beyond::Nothing };
    pub const E2M1: Self = Self { mantissa: 1, bias: 1, largest: 0x7, sign: 0x8, beyond: Beyond::Nothing };
    pub const F16: Self = Self { mantissa: 10, bias: 15, largest: 0x7BFF, sign: 0x8000, beyond: Beyond::InfinityAndNan };
    pub const BF16: Self = Self { mantissa: 7, bias: 127, largest: 0x7F7F, sign: 0x8000, beyond: Beyond::InfinityAndNan };

    fn of(dtype: DType) -> Option<&'static Self> {
        Some(match dtype {
            DType::F8E4M3FN => &Self::E4M3FN,
            DType::F8E4M3FNUZ => &E4M3FNUZ,
            DType::F8E5M2 => &Self::E5M2,
            DType::F8E5M2FNUZ => &E5M2FNUZ,
            DType::F4E2M1 => &Self::E2M1,
            _ => return None,
        })
    }

    /// Bits of a pattern, the sign with them.
    #[must_use]
    pub fn bits(&self) -> u8 {
        16 - self.sign.leading_zeros() as u8
    }

    /// The largest finite number.
    #[must_use]
    pub fn max(&self) -> f32 {
        self.decode(self.largest)
    }

    /// The exponent of the largest finite number: it lies in [2^e, 2^(e + 1)).
    #[must_use]
    pub fn largest_exponent(&self) -> i32 {
        i32::from(self.largest >> self.mantissa) - self.bias
    }

    /// The number that a pattern stands for.
    #[must_use]
    pub fn decode(&self, bits: u16) -> f32 {
        let magnitude = bits & (self.sign - 1);
        if self.beyond == Beyond::NanAtNegativeZero && bits == self.sign {
            return f32::NAN;
        }
        let size = if magnitude > self.largest {
            if self.beyond == Beyond::InfinityAndNan && magnitude == self.largest + 1 { f64::INFINITY } else { f64::NAN }
        } else {
            let exponent = i32::from(magnitude >> self.mantissa);
            let fraction = f64::from(magnitude & ((1 << self.mantissa) - 1));
            let leading = if exponent == 0 { 0.0 } else { f64::from(1_u32 << self.mantissa) };
            (leading + fraction) * power_of_two(exponent.max(1) - self.bias - self.mantissa as i32)
        };
        (if bits & self.sign == 0 { size } else { -size }) as f32
    }

    /// The pattern of the nearest number, half to even.
    fn encode(&self, x: f64, overflow: Overflow) -> u16 {
        self.encode_by(x, overflow, f64::round_ties_even)
    }

    /// The pattern of the number that `x` becomes when `round` takes it, counted in the steps of the
    /// type where it lies, to a whole number. f64 in, so that a number of any type is rounded once.
    #[inline]
    pub fn encode_by(&self, x: f64, overflow: Overflow, round: impl Fn(f64) -> f64) -> u16 {
        let sign = if x.is_sign_negative() { self.sign } else { 0 };
        if x.is_nan() {
            return match self.beyond {
                // A type without NaN makes −0 of it, as ONNX's test vectors have it.
                Beyond::Nothing | Beyond::NanAtNegativeZero => self.sign,
                Beyond::Nan | Beyond::InfinityAndNan => sign | (self.sign - 1),
            };
        }
        let size = x.abs();
        // Magnitude bits are in the order of the numbers, and a carry of the mantissa raises the exponent.
        let smallest = 1 - self.bias;
        let exponent = if size == 0.0 { smallest } else { ((size.to_bits() >> 52) as i32 - 1023).max(smallest) };
        let steps = if size.is_infinite() {
            f64::INFINITY
        } else if exponent > 1000 {
            f64::from(u32::MAX)
        } else {
            round(x * power_of_two(self.mantissa as i32 - exponent)).abs()
        };
        let base = i64::from((exponent + self.bias).min(1 << 20) - 1) << self.mantissa;
        let magnitude = base.saturating_add(steps as i64);
        if magnitude <= i64::from(self.largest) {
            let magnitude = magnitude as u16;
            return if magnitude == 0 && self.beyond == Beyond::NanAtNegativeZero { 0 } else { sign | magnitude };
        }
        match (overflow, &self.beyond) {
            (Overflow::Saturate, _) | (_, Beyond::Nothing) => sign | self.largest,
            (_, Beyond::InfinityAndNan) => sign | (self.largest + 1),
            (_, Beyond::Nan) => sign | (self.sign - 1),
            (_, Beyond::NanAtNegativeZero) => self.sign,
        }
    }
}

const E8M0_NAN: u8 = 0xFF;
const E8M0_LARGEST: u8 = 0xFE;

/// 2^(bits − 127); the smallest is subnormal in f32.
fn decode_power(bits: u8) -> f32 {
    if bits == E8M0_NAN { f32::NAN } else { power_of_two(i32::from(bits) - 127) as f32 }
}

/// Negative numbers, which ONNX leaves open, become NaN.
fn encode_power(x: f64, rounding: Rounding) -> u8 {
    let outside = |bits: u8| if rounding.overflow == Overflow::Saturate { bits } else { E8M0_NAN };
    if x.is_nan() || x < 0.0 {
        return E8M0_NAN;
    }
    if x < power_of_two(-127) {
        return outside(0);
    }
    if x.is_infinite() {
        return outside(E8M0_LARGEST);
    }
    let exponent = (x.to_bits() >> 52) as i32 - 1023;
    let over = x / power_of_two(exponent);
    let up = match rounding.power {
        PowerRounding::Up => over > 1.0,
        PowerRounding::Down => false,
        PowerRounding::Nearest => over >= 1.5,
    };
    let bits = exponent + 127 + i32::from(up);
    if bits > i32::from(E8M0_LARGEST) { outside(E8M0_LARGEST) } else { bits as u8 }
}

/// The number that a bit pattern of a 4- or 8-bit type stands for; `None` for all other types.
pub(super) fn decode(dtype: DType, bits: u8) -> Option<f32> {
    if dtype == DType::F8E8M0 {
        return Some(decode_power(bits));
    }
    MiniFloat::of(dtype).map(|f| f.decode(u16::from(bits)))
}

/// The bit pattern of the number of a 4- or 8-bit type that `x` rounds to; `None` for all other types.
pub(super) fn encode(dtype: DType, x: f64, rounding: Rounding) -> Option<u8> {
    if dtype == DType::F8E8M0 {
        return Some(encode_power(x, rounding));
    }
    MiniFloat::of(dtype).map(|f| f.encode(x, rounding.overflow) as u8)
}

#[cfg(test)]
mod tests {
    use super::Overflow::{Saturate, Special};
    use super::PowerRounding::{Down, Nearest, Up};
    use super::*;

    const ALL: [DType; 6] = [DType::F8E4M3FN, DType::F8E4M3FNUZ, DType::F8E5M2, DType::F8E5M2FNUZ, DType::F8E8M0, DType::F4E2M1];

    fn round(dtype: DType, x: f64, overflow: Overflow) -> f32 {
        let rounding = Rounding { overflow, ..Rounding::default() };
        decode(dtype, encode(dtype, x, rounding).unwrap()).unwrap()
    }

    #[test]
    fn every_pattern_survives() {
        for dtype in ALL {
            for bits in 0..1_u32 << dtype.bits() {
                let bits = bits as u8;
                let x = decode(dtype, bits).unwrap();
                let back = encode(dtype, f64::from(x), Rounding { overflow: Overflow::Special, ..Rounding::default() }).unwrap();
                assert!(back == bits || x.is_nan() && decode(dtype, back).unwrap().is_nan(), "{dtype} {bits:#x} {x} {back:#x}");
            }
        }
    }

    #[test]
    fn the_nearest_number_is_taken_and_ties_go_to_even() {
        for dtype in ALL.into_iter().filter(|d| *d != DType::F8E8M0) {
            let mut numbers: Vec<(f32, u8)> = (0..1_u32 << (dtype.bits() - 1))
                .map(|b| (decode(dtype, b as u8).unwrap(), b as u8))
                .filter(|(x, _)| x.is_finite())
                .collect();
            numbers.sort_by(|a, b| a.0.total_cmp(&b.0));
            for pair in numbers.windows(2) {
                let ((a, a_bits), (b, b_bits)) = (pair[0], pair[1]);
                let middle = f64::midpoint(f64::from(a), f64::from(b));
                let step = f64::from(b - a) * 1e-6;
                assert_eq!(round(dtype, middle - step, Overflow::Special), a, "{dtype}");
                assert_eq!(round(dtype, middle + step, Overflow::Special), b, "{dtype}");
                let even = if a_bits % 2 == 0 { a_bits } else { b_bits };
                assert_eq!(encode(dtype, middle, Rounding::default()), Some(even), "{dtype} between {a} and {b}");
            }
        }
    }

    #[test]
    fn beyond_the_largest_is_as_onnx_tells() {
        for (dtype, largest, infinite) in
            [(DType::F8E4M3FN, 448.0, false), (DType::F8E4M3FNUZ, 240.0, false), (DType::F8E5M2, 57344.0, true)]
        {
            for x in [1e9, f64::INFINITY, 1e300] {
                assert_eq!(round(dtype, x, Overflow::Saturate), largest);
                assert_eq!(round(dtype, -x, Overflow::Saturate), -largest);
                let special = round(dtype, x, Overflow::Special);
                assert!(if infinite { special == f32::INFINITY } else { special.is_nan() }, "{dtype} {special}");
            }
            assert!(round(dtype, f64::NAN, Overflow::Saturate).is_nan());
        }
        assert_eq!(round(DType::F4E2M1, 100.0, Overflow::Special), 6.0);
        assert_eq!(encode(DType::F4E2M1, f64::NAN, Rounding::default()), Some(8));
    }

    #[test]
    fn powers_of_two_round_as_asked() {
        let bits = |x: f64, power, overflow| encode(DType::F8E8M0, x, Rounding { overflow, power }).unwrap();
        assert_eq!([bits(3.0, Up, Saturate), bits(3.0, Down, Saturate), bits(3.0, Nearest, Saturate)], [129, 128, 129]);
        assert_eq!([bits(2.9, Nearest, Saturate), bits(4.0, Up, Saturate)], [128, 129]);
        assert_eq!([bits(0.0, Up, Saturate), bits(0.0, Nearest, Special)], [0, E8M0_NAN]);
        assert_eq!([bits(f64::INFINITY, Up, Saturate), bits(f64::INFINITY, Up, Special)], [E8M0_LARGEST, E8M0_NAN]);
    }
}
