//! What operators need of single elements, whatever holds them: an order, sums and products that stay
//! within the type a value stands for.

use super::cast::{narrow, wrap};
use crate::engine::exec::data::Number;
use crate::engine::tensor::DType;
use candle_core::WithDType;
use std::cmp::Ordering;

/// An element as it is held inside; `dtype` is the ONNX type that it stands for.
pub(super) trait Element: WithDType + Number + PartialEq {
    const ONE: Self;
    /// A total order; NaN comes last and equals itself.
    fn order(self, other: Self, dtype: DType) -> Ordering;
    fn plus(self, other: Self, dtype: DType) -> Self;
    fn times(self, other: Self, dtype: DType) -> Self;

    fn larger(self, other: Self, dtype: DType) -> Self {
        if self.order(other, dtype) == Ordering::Less { other } else { self }
    }

    /// The smaller of two; a NaN on either side stays one.
    fn smaller(self, other: Self, dtype: DType) -> Self {
        if self.is_nan() || (!other.is_nan() && self.order(other, dtype) != Ordering::Greater) { self } else { other }
    }

    #[expect(clippy::eq_op, reason = "a NaN is what does not equal itself")]
    fn is_nan(self) -> bool {
        self != self
    }
}

fn order_of_floats<T: PartialOrd>(a: &T, b: &T) -> Ordering {
    a.partial_cmp(b).unwrap_or_else(|| a.partial_cmp(a).is_none().cmp(&b.partial_cmp(b).is_none()))
}

impl Element for f32 {
    const ONE: Self = 1.0;

    fn order(self, other: Self, _: DType) -> Ordering {
        order_of_floats(&self, &other)
    }

    fn plus(self, other: Self, dtype: DType) -> Self {
        narrow(dtype, self + other)
    }

    fn times(self, other: Self, dtype: DType) -> Self {
        narrow(dtype, self * other)
    }
}

impl Element for f64 {
    const ONE: Self = 1.0;

    fn order(self, other: Self, _: DType) -> Ordering {
        order_of_floats(&self, &other)
    }

    fn plus(self, other: Self, _: DType) -> Self {
        self + other
    }

    fn times(self, other: Self, _: DType) -> Self {
        self * other
    }
}

impl Element for i64 {
    const ONE: Self = 1;

    fn order(self, other: Self, dtype: DType) -> Ordering {
        // The upper half of uint64 is held as negative numbers.
        if dtype == DType::U64 { (self as u64).cmp(&(other as u64)) } else { self.cmp(&other) }
    }

    fn plus(self, other: Self, dtype: DType) -> Self {
        wrap(dtype, self.wrapping_add(other))
    }

    fn times(self, other: Self, dtype: DType) -> Self {
        wrap(dtype, self.wrapping_mul(other))
    }
}

/// Booleans: a sum is "or", a product "and".
impl Element for u8 {
    const ONE: Self = 1;

    fn order(self, other: Self, _: DType) -> Ordering {
        self.cmp(&other)
    }

    fn plus(self, other: Self, _: DType) -> Self {
        self | other
    }

    fn times(self, other: Self, _: DType) -> Self {
        self & other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn not_a_number_comes_last_and_stays() {
        assert_eq!(f32::NAN.order(f32::INFINITY, DType::F32), Ordering::Greater);
        assert_eq!(f32::NAN.order(f32::NAN, DType::F32), Ordering::Equal);
        for (a, b) in [(f32::NAN, 1.0), (1.0, f32::NAN)] {
            assert!(a.larger(b, DType::F32).is_nan() && a.smaller(b, DType::F32).is_nan());
        }
    }

    #[test]
    fn integers_keep_to_their_type() {
        assert_eq!(200_i64.plus(100, DType::U8), 44);
        assert_eq!((-1_i64).larger(5, DType::U64), -1);
        assert_eq!((-1_i64).larger(5, DType::I64), 5);
    }
}
