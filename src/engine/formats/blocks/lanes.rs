//! Several groups of weights at once, one group to a lane. Each lane adds up its own group in the
//! group's order, so that the result is that of one group after the other, to the bit.

use half::f16;
use std::ops::{Add, Div, Mul, Sub};

/// One number of each of `L` groups. What is used most is written as plain loops: iterators and closures
/// give the same instructions, but take the compiler several times as long.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Lanes<const L: usize>(pub [f32; L]);

/// `N` numbers of each of `L` groups: element i of all groups lies in entry i.
pub(super) type Groups<const L: usize, const N: usize> = [Lanes<L>; N];

impl<const L: usize> Lanes<L> {
    #[inline(always)]
    pub fn of(f: impl Fn(usize) -> f32) -> Self {
        let mut lanes = [0.0; L];
        for (l, lane) in lanes.iter_mut().enumerate() {
            *lane = f(l);
        }
        Self(lanes)
    }

    #[inline(always)]
    pub fn all(value: f32) -> Self {
        Self([value; L])
    }

    #[inline(always)]
    pub fn map(self, f: impl Fn(f32) -> f32) -> Self {
        Self::of(|l| f(self.0[l]))
    }

    #[inline(always)]
    pub fn abs(self) -> Self {
        self.map(f32::abs)
    }

    /// `self` where it is less than `other`, else `other`.
    #[inline(always)]
    pub fn lesser(self, other: Self) -> Self {
        self.where_less(other, self, other)
    }

    /// `self` where it is greater than `other`, else `other`.
    #[inline(always)]
    pub fn greater(self, other: Self) -> Self {
        other.where_less(self, self, other)
    }

    /// `then` in the lanes where `self < other`, `otherwise` in all others (NaN included).
    #[inline(always)]
    pub fn where_less(self, other: Self, then: Self, otherwise: Self) -> Self {
        let (mut lanes, mut l) = ([0.0; L], 0);
        while l < L {
            lanes[l] = if self.0[l] < other.0[l] { then.0[l] } else { otherwise.0[l] };
            l += 1;
        }
        Self(lanes)
    }

    /// The nearest whole number from `low` to `high`, ties to even; NaN becomes `low`.
    #[inline(always)]
    pub fn nearest(self, low: f32, high: f32) -> Self {
        let (mut lanes, mut l) = ([0.0; L], 0);
        while l < L {
            lanes[l] = nearest(self.0[l], low, high);
            l += 1;
        }
        Self(lanes)
    }
}

/// The nearest whole number from `low` to `high` (themselves whole and small), ties to even; NaN
/// becomes `low`. Limiting first leaves what can be rounded by adding and taking off 1.5·2²³.
#[inline(always)]
pub(super) fn nearest(v: f32, low: f32, high: f32) -> f32 {
    const MAGIC: f32 = 12_582_912.0;
    let v = if v > low { v } else { low };
    let v = if v < high { v } else { high };
    (v + MAGIC) - MAGIC
}

macro_rules! lane_by_lane {
    ($($name:ident $method:ident $op:tt),*) => {$(
        impl<const L: usize> $name for Lanes<L> {
            type Output = Self;
            #[inline(always)]
            fn $method(self, other: Self) -> Self {
                let (mut lanes, mut l) = ([0.0; L], 0);
                while l < L {
                    lanes[l] = self.0[l] $op other.0[l];
                    l += 1;
                }
                Self(lanes)
            }
        }
    )*};
}

lane_by_lane!(Add add +, Sub sub -, Mul mul *, Div div /);

/// Groups made element by element. (Not `array::from_fn`, which is compiled for every processor.)
#[inline(always)]
pub(super) fn each<const L: usize, const N: usize>(f: impl Fn(usize) -> Lanes<L>) -> Groups<L, N> {
    let mut groups = [Lanes([0.0; L]); N];
    for (i, lanes) in groups.iter_mut().enumerate() {
        *lanes = f(i);
    }
    groups
}

/// Up to `L` groups of `N` numbers, laid side by side; lanes without a group hold zeros.
#[inline(always)]
pub(super) fn gather<const L: usize, const N: usize>(x: &[f32]) -> Groups<L, N> {
    let mut groups = [Lanes([0.0; L]); N];
    for (l, group) in x.chunks(N).take(L).enumerate() {
        for (lanes, v) in groups.iter_mut().zip(group) {
            lanes.0[l] = *v;
        }
    }
    groups
}

/// Codes of groups as bytes, one group after the other.
#[inline(always)]
pub(super) fn scatter<const L: usize, const N: usize>(codes: &Groups<L, N>) -> [[u8; N]; L] {
    let mut out = [[0; N]; L];
    for (i, lanes) in codes.iter().enumerate() {
        for (group, code) in out.iter_mut().zip(lanes.0) {
            // Codes are whole numbers below 256: the lowest bits of 2²³ + code are code.
            group[i] = (code + 8_388_608.0).to_bits() as u8;
        }
    }
    out
}

#[inline(always)]
pub(super) fn to_half(v: f32) -> [u8; 2] {
    f16::from_f32(v).to_le_bytes()
}

#[inline(always)]
pub(super) fn from_half(low: u8, high: u8) -> f32 {
    f16::from_le_bytes([low, high]).to_f32()
}

/// `v` as it is after a detour through half precision.
#[inline(always)]
pub(super) fn through_half(v: f32) -> f32 {
    f16::from_f32(v).to_f32()
}
