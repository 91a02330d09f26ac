//! Exponentials and their kin in f32, without branches, so that the compiler turns loops over them into
//! vector instructions. Products are fused with the sums that follow (`mul_add`), on every processor, so
//! that the results are the same on all of them.
//!
//! The polynomials were fitted for these intervals with Lawson's method of reweighted least squares,
//! coefficients rounded to f32 from the lowest up. Errors against f64 are about 2 units in the last place at most,
//! a few more where [`Function::Gelu`] and its kin are a small tail; the tests hold them to that.

use super::parts;
use super::widest::{Work, widest};

/// A function of one real number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Function {
    Exp,
    /// 1 / (1 + exp(−x))
    Sigmoid,
    Tanh,
    Erf,
    /// x·Φ(x), Φ the normal distribution (Hendrycks and Gimpel 2016).
    Gelu,
    /// Their approximation of it by tanh.
    GeluTanh,
    /// x·sigmoid(α·x); with α = 1 it is SiLU.
    Swish(f32),
}

/// Elements that one task takes.
const TILE: usize = 1 << 14;

/// The function of every element.
pub fn map(function: Function, x: &[f32]) -> Vec<f32> {
    let mut out = vec![0.0; x.len()];
    map_into(function, x, &mut out);
    out
}

/// [`map`] into memory of the same length that is there already.
pub fn map_into(function: Function, x: &[f32], out: &mut [f32]) {
    parts(out, TILE, &|i, out| tile(function, &x[i * TILE..][..out.len()], out));
}

/// [`map`] in place, on the calling thread.
pub fn apply(function: Function, x: &mut [f32]) {
    let mut before = [0.0; 256];
    for part in x.chunks_mut(before.len()) {
        let before = &mut before[..part.len()];
        before.copy_from_slice(part);
        tile(function, before, part);
    }
}

fn tile(function: Function, x: &[f32], out: &mut [f32]) {
    match function {
        Function::Exp => widest(Each(x, out, 0.0, exp_of)),
        Function::Sigmoid => widest(Each(x, out, 0.0, sigmoid)),
        Function::Tanh => widest(Each(x, out, 0.0, tanh)),
        Function::Erf => widest(Each(x, out, 0.0, erf)),
        Function::Gelu => widest(Each(x, out, 0.0, gelu)),
        Function::GeluTanh => widest(Each(x, out, 0.0, gelu_tanh)),
        Function::Swish(alpha) => widest(Each(x, out, alpha, swish)),
    }
}

/// A function of every element of the first slice, with one parameter.
struct Each<'a, F>(&'a [f32], &'a mut [f32], f32, F);

impl<F: Fn(f32, f32) -> f32> Work for Each<'_, F> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]
    fn run(self) {
        let Self(x, out, parameter, f) = self;
        for (o, v) in out.iter_mut().zip(x) {
            *o = f(*v, parameter);
        }
    }
}

/// Adding it to a number of less than 2²² leaves the nearest whole number in the low bits.
const ROUND: f32 = 12_582_912.0;
/// The natural logarithm of 2 in two parts.
const LN_2: [f32; 2] = [std::f32::consts::LN_2, -1.904_654_3e-9];

#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled as part of loops for vectors that the caller names")]
fn polynomial<const N: usize>(x: f32, coefficients: [f32; N]) -> f32 {
    coefficients.iter().rev().fold(0.0, |sum, c| x.mul_add(sum, *c))
}

/// 2ᵏ for −126 ≤ k ≤ 127.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn power_of_2(k: i32) -> f32 {
    f32::from_bits((k.wrapping_add(127) << 23) as u32)
}

/// `x` is reduced by a multiple k of ln 2; 2ᵏ is multiplied on in two parts, so that the smallest results
/// are rounded once.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
pub(super) fn exp(x: f32) -> f32 {
    // Comparisons instead of `clamp`, so that a NaN stays one.
    let x = if x < -104.0 { -104.0 } else { x };
    let x = if x > 89.0 { 89.0 } else { x };
    let shifted = x.mul_add(std::f32::consts::LOG2_E, ROUND);
    let turns = shifted - ROUND;
    let k = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let r = turns.mul_add(-LN_2[1], turns.mul_add(-LN_2[0], x));
    let rest = polynomial(r, [0.5, 0.166_665_2, 0.041_666_392, 0.008_368_836, 0.001_394_153_7]);
    let y = (r * r).mul_add(rest, r) + 1.0;
    let half = k >> 1;
    y * power_of_2(half) * power_of_2(k.wrapping_sub(half))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn exp_of(x: f32, _: f32) -> f32 {
    exp(x)
}

/// exp of −|x| only, so that nothing overflows and the smallest results keep their digits.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn sigmoid(x: f32, _: f32) -> f32 {
    let e = exp(-x.abs());
    let over = if x < 0.0 { e } else { 1.0 };
    over / (1.0 + e)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn tanh(x: f32, _: f32) -> f32 {
    let size = x.abs();
    let square = x * x;
    let series = polynomial(square, [-0.333_332_84, 0.133_314_79, -0.053_742_18, 0.020_645_633, -0.005_710_926]);
    let near = (square * x).mul_add(series, x);
    let far = (1.0 - 2.0 / (exp(2.0 * size) + 1.0)).copysign(x);
    if size < 0.625 { near } else { far }
}

/// exp(t²)·erfc(t) for 0 ≤ t ≤ 10.5, a polynomial in 1 / (1 + 0.4 t) that vanishes at infinity.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn scaled_erfc(t: f32) -> f32 {
    let u = 1.0 / t.mul_add(0.4, 1.0);
    let series = [
        0.225_703_67,
        0.225_015_36,
        0.214_389_95,
        0.132_160_56,
        0.264_860_63,
        -0.270_896_29,
        0.531_191_77,
        -0.486_600_52,
        0.192_809_27,
        -0.028_634_39,
    ];
    u * polynomial(u, series)
}

/// exp(−c·x²) for c a power of 2; what rounding the square loses comes back as a factor.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn bell(x: f32, c: f32) -> f32 {
    let scaled = c * x;
    let square = scaled * x;
    let lost = scaled.mul_add(x, -square);
    let y = exp(-square);
    (-lost).mul_add(y, y)
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn erf(x: f32, _: f32) -> f32 {
    let square = x * x;
    let series =
        polynomial(square, [0.128_379_15, -0.376_124_89, 0.112_817_31, -0.026_762_964, 0.004_987_348, -0.000_595_955_53]);
    let near = series.mul_add(x, x);
    let size = x.abs();
    let bounded = if size > 10.5 { 10.5 } else { size };
    let far = (1.0 - bell(bounded, 1.0) * scaled_erfc(bounded)).copysign(x);
    if size < 0.93 { near } else { far }
}

/// For negative x the tail of the distribution itself, so that nothing cancels.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn gelu(x: f32, _: f32) -> f32 {
    let size = x.abs();
    let bounded = if size > 14.8 { 14.8 } else { size };
    let tail = 0.5 * bell(bounded, 0.5) * scaled_erfc(bounded * std::f32::consts::FRAC_1_SQRT_2);
    let below = -bounded * tail;
    let above = (-bounded).mul_add(tail, x);
    if x < 0.0 { below } else { above }
}

/// x·s, where s = 0 makes a zero even of −∞.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn gated(x: f32, s: f32) -> f32 {
    let product = x * s;
    if s == 0.0 { 0.0 } else { product }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn gelu_tanh(x: f32, _: f32) -> f32 {
    // 1 + tanh(y) = 2·sigmoid(2 y), with 2·√(2/π) and that times 0.044715.
    let y = x * (x * x).mul_add(0.071_354_816, 1.595_769_1);
    gated(x, sigmoid(y, 0.0))
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn swish(x: f32, alpha: f32) -> f32 {
    let y = alpha * x;
    let s = sigmoid(y, 0.0);
    // What rounding α·x loses; where it overflows, nothing is left to correct.
    let lost = alpha.mul_add(x, -y);
    let lost = if y.abs() < 200.0 { lost } else { 0.0 };
    gated(x, (s * (1.0 - s)).mul_add(lost, s))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    /// The complementary error function: its series (Abramowitz and Stegun 7.1.5), and their continued
    /// fraction 7.1.14 in the tail.
    fn erfc64(x: f64) -> f64 {
        let a = x.abs();
        let tail = if a < 2.0 {
            let (mut term, mut sum) = (a, a);
            for n in 1..80_u32 {
                term *= -a * a / f64::from(n);
                sum += term / f64::from(2 * n + 1);
            }
            1.0 - sum * std::f64::consts::FRAC_2_SQRT_PI
        } else {
            let fraction = (1..=200_u32).rev().fold(0.0, |t, n| f64::from(n) / 2.0 / (a + t));
            (-a * a).exp() / ((a + fraction) * std::f64::consts::PI.sqrt())
        };
        if x < 0.0 { 2.0 - tail } else { tail }
    }

    fn exact(function: Function, x: f64) -> f64 {
        match function {
            Function::Exp => x.exp(),
            Function::Sigmoid => 1.0 / (1.0 + (-x).exp()),
            Function::Tanh => x.tanh(),
            Function::Erf if x.abs() < 0.5 => {
                let (mut term, mut sum) = (x, x);
                for n in 1..40_u32 {
                    term *= -x * x / f64::from(n);
                    sum += term / f64::from(2 * n + 1);
                }
                sum * std::f64::consts::FRAC_2_SQRT_PI
            }
            Function::Erf => (1.0 - erfc64(x.abs())).copysign(x),
            Function::Gelu => x * 0.5 * erfc64(-x * std::f64::consts::FRAC_1_SQRT_2),
            Function::GeluTanh => x / (1.0 + (-2.0 * (2.0 / std::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).exp()),
            Function::Swish(a) => x / (1.0 + (-f64::from(a) * x).exp()),
        }
    }

    /// Distance in units of the last place of the exact result.
    fn distance(y: f32, exact: f64) -> f64 {
        let rounded = exact as f32;
        if y == rounded {
            return 0.0;
        }
        let step = f64::from(f32::from_bits(rounded.abs().to_bits() + 1)) - f64::from(rounded.abs());
        (f64::from(y) - exact).abs() / step
    }

    #[test]
    fn results_are_near_the_exact_ones() {
        let mut random = Random::new(11);
        for (function, reach, allowed) in [
            (Function::Exp, 105.0, 1.0),
            (Function::Sigmoid, 105.0, 2.5),
            (Function::Tanh, 12.0, 2.5),
            (Function::Erf, 6.0, 2.5),
            (Function::Gelu, 13.0, 8.0),
            (Function::Swish(1.0), 80.0, 4.0),
            (Function::Swish(1.7), 45.0, 5.0),
        ] {
            let mut x: Vec<f32> = (0..200_001).map(|i| (i as f32 / 100_000.0 - 1.0) * reach).collect();
            x.extend((0..100_000).map(|_| random.normal()));
            x.extend((0..2000).map(|i| f32::from_bits(i * 1_000_000 + 1)).filter(|v| *v < reach));
            let y = map(function, &x);
            let worst = x
                .iter()
                .zip(&y)
                .map(|(x, y)| (distance(*y, exact(function, f64::from(*x))), *x, *y))
                .max_by(|a, b| a.0.total_cmp(&b.0));
            println!("{function:?}: {worst:?}");
            assert!(worst.is_some_and(|w| w.0 <= allowed), "{function:?}: {worst:?}");
        }
    }

    /// The argument of exp is a rounded polynomial here: errors grow with its size.
    #[test]
    fn the_approximated_gelu_is_near_where_it_matters() {
        let x: Vec<f32> = (0..200_001).map(|i| i as f32 / 10_000.0 - 10.0).collect();
        for (x, y) in x.iter().zip(map(Function::GeluTanh, &x)) {
            let exact = exact(Function::GeluTanh, f64::from(*x));
            assert!((f64::from(y) - exact).abs() <= 2e-7 * exact.abs() * f64::from(1.0 + x * x), "{x}: {y} {exact}");
        }
    }

    #[test]
    fn the_ends_of_the_numbers_are_right() {
        let (inf, nan) = (f32::INFINITY, f32::NAN);
        for (function, x, y) in [
            (Function::Exp, [-inf, inf, -1e30, 1e30, 0.0], [0.0, inf, 0.0, inf, 1.0]),
            (Function::Sigmoid, [-inf, inf, -1e30, 1e30, 0.0], [0.0, 1.0, 0.0, 1.0, 0.5]),
            (Function::Tanh, [-inf, inf, -1e30, 1e30, 0.0], [-1.0, 1.0, -1.0, 1.0, 0.0]),
            (Function::Erf, [-inf, inf, -1e30, 1e30, 0.0], [-1.0, 1.0, -1.0, 1.0, 0.0]),
            (Function::Gelu, [-inf, inf, -1e30, 1e30, 0.0], [0.0, inf, 0.0, 1e30, 0.0]),
            (Function::GeluTanh, [-inf, inf, -1e30, 1e30, 0.0], [0.0, inf, 0.0, 1e30, 0.0]),
            (Function::Swish(1.0), [-inf, inf, -1e30, 1e30, 0.0], [0.0, inf, 0.0, 1e30, 0.0]),
        ] {
            assert_eq!(map(function, &x), y, "{function:?}");
            assert!(map(function, &[nan; 40]).iter().all(|v| v.is_nan()), "{function:?}");
        }
        let smallest = f32::from_bits(1);
        assert_eq!(map(Function::Exp, &[-103.97, 88.5]), [smallest, 88.5_f64.exp() as f32]);
        assert_eq!(map(Function::Tanh, &[smallest, -smallest]), [smallest, -smallest]);
    }

    #[test]
    fn a_result_does_not_depend_on_its_place() {
        let mut random = Random::new(3);
        let x: Vec<f32> = (0..70_003).map(|_| random.normal() * 3.0).collect();
        for function in [Function::Exp, Function::Sigmoid, Function::Tanh, Function::Erf, Function::Gelu] {
            let together = map(function, &x);
            let alone: Vec<f32> = x.iter().flat_map(|v| map(function, &[*v])).collect();
            assert_eq!(together, alone, "{function:?}");
        }
    }
}
