//! How scales are searched for: each group of weights tries a few and keeps the one that, with the
//! scale that least squares give for its codes, errs least. Weights, weighed by `w`; the order of
//! every sum is ggml's.

use super::lanes::{Groups, Lanes, each, nearest};

/// Below this largest magnitude a group counts as zeros.
pub(super) const TINY: f32 = 1e-15;

/// What an error costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Loss {
    Absolute,
    Square,
}

/// The steps that [`affine`] tries: the span of a group is cut into `levels + first + step·i`
/// steps, for i from 0 to `last`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Tries {
    pub first: f32,
    pub step: f32,
    pub last: u8,
    pub loss: Loss,
}

/// With importance, all formats search alike.
pub(super) const FINE: Tries = Tries { first: -0.9, step: 0.05, last: 36, loss: Loss::Square };

/// x ≈ scale·code − offset.
pub(super) struct Affine<const L: usize, const N: usize> {
    pub scale: Lanes<L>,
    /// Never negative.
    pub offset: Lanes<L>,
    pub codes: Groups<L, N>,
}

/// x ≈ scale·(code − levels), codes from 0 to 2·levels − 1.
pub(super) struct Signed<const L: usize, const N: usize> {
    pub scale: Lanes<L>,
    pub codes: Groups<L, N>,
}

/// Scale and offset with codes from 0 to `levels` (ggml's `make_qkx2_quants`, `make_qkx3_quants`).
#[inline(always)]
pub(super) fn affine<const L: usize, const N: usize>(
    x: &Groups<L, N>,
    w: &Groups<L, N>,
    levels: f32,
    tries: Tries,
) -> Affine<L, N> {
    let zero = Lanes::all(0.0);
    let (mut min, mut max) = (x[0], x[0]);
    let (mut sum_w, mut sum_x) = (w[0], w[0] * x[0]);
    for (x, w) in x.iter().zip(w).skip(1) {
        min = x.lesser(min);
        max = x.greater(max);
        sum_w = sum_w + *w;
        sum_x = sum_x + *w * *x;
    }
    min = zero.where_less(min, zero, min);
    // No span, or one so small that its inverse is no number.
    let inverse = Lanes::all(levels) / (max - min);
    let infinite = Lanes::all(f32::MAX);
    let mut best_inverse = infinite.where_less(inverse, zero, inverse);
    let mut best_min = min;
    let mut scale = inverse.where_less(infinite, Lanes::all(1.0) / inverse, zero);
    let mut codes = [zero; N];
    for (c, x) in codes.iter_mut().zip(x) {
        *c = (best_inverse * (*x - min)).nearest(0.0, levels);
    }
    // A group without a span stays as it is: no error is less than −1.
    let mut best = inverse.where_less(infinite, error(x, w, &codes, scale, min, tries.loss), Lanes::all(-1.0));
    for i in 0..=tries.last {
        let factor = tries.first + tries.step * f32::from(i) + levels;
        let inverse = Lanes::all(factor) / (max - min);
        let (mut sum_c, mut sum_cc, mut sum_xc) = (zero, zero, zero);
        for ((c, x), w) in codes.iter_mut().zip(x).zip(w) {
            *c = (inverse * (*x - min)).nearest(0.0, levels);
            let wc = *w * *c;
            sum_c = sum_c + wc;
            sum_cc = sum_cc + wc * *c;
            sum_xc = sum_xc + wc * *x;
        }
        let determinant = sum_w * sum_cc - sum_c * sum_c;
        let slope = (sum_w * sum_xc - sum_x * sum_c) / determinant;
        let intercept = (sum_cc * sum_x - sum_c * sum_xc) / determinant;
        // Minima are stored without a sign: one above zero has to be zero.
        let slope = zero.where_less(intercept, sum_xc / sum_cc, slope);
        let intercept = zero.where_less(intercept, zero, intercept);
        let err = error(x, w, &codes, slope, intercept, tries.loss);
        let err = zero.where_less(determinant, err, infinite);
        scale = err.where_less(best, slope, scale);
        best_inverse = err.where_less(best, inverse, best_inverse);
        best_min = err.where_less(best, min, best_min);
        // The next try starts from the minimum that is best by now.
        min = err.where_less(best, intercept, min);
        best = err.lesser(best);
    }
    for (c, x) in codes.iter_mut().zip(x) {
        *c = (best_inverse * (*x - best_min)).nearest(0.0, levels);
    }
    Affine { scale, offset: min.map(|v| -v), codes }
}

#[inline(always)]
fn error<const L: usize, const N: usize>(
    x: &Groups<L, N>,
    w: &Groups<L, N>,
    codes: &Groups<L, N>,
    scale: Lanes<L>,
    min: Lanes<L>,
    loss: Loss,
) -> Lanes<L> {
    let mut sum = Lanes::all(0.0);
    for ((c, x), w) in codes.iter().zip(x).zip(w) {
        let d = scale * *c + min - *x;
        let d = match loss {
            Loss::Absolute => d.abs(),
            Loss::Square => d * d,
        };
        sum = sum + *w * d;
    }
    sum
}

/// Each group's element of largest magnitude, with its sign; 0 where it is smaller than [`TINY`].
#[inline(always)]
pub(super) fn extremes<const L: usize, const N: usize>(x: &Groups<L, N>) -> Lanes<L> {
    let (mut largest, mut extreme) = (Lanes::all(0.0), Lanes::all(0.0));
    for x in x {
        let a = x.abs();
        extreme = largest.where_less(a, *x, extreme);
        largest = a.greater(largest);
    }
    largest.where_less(Lanes::all(TINY), Lanes::all(0.0), extreme)
}

/// `then` in the groups that have an extreme, else 0.
#[inline(always)]
fn unless_tiny<const L: usize>(extreme: Lanes<L>, then: Lanes<L>) -> Lanes<L> {
    Lanes::of(|l| if extreme.0[l] == 0.0 { 0.0 } else { then.0[l] })
}

/// Σwxc and Σwc² of the codes that an inverse scale gives.
#[inline(always)]
fn attempt<const L: usize, const N: usize>(
    x: &Groups<L, N>,
    w: &Groups<L, N>,
    wx: &Groups<L, N>,
    inverse: Lanes<L>,
    levels: f32,
) -> (Lanes<L>, Lanes<L>) {
    let (mut sum_xc, mut sum_cc) = (Lanes::all(0.0), Lanes::all(0.0));
    for ((x, w), wx) in x.iter().zip(w).zip(wx) {
        let c = (inverse * *x).nearest(-levels, levels - 1.0);
        sum_xc = sum_xc + *wx * c;
        sum_cc = sum_cc + *w * c * c;
    }
    (sum_xc, sum_cc)
}

/// Scale with codes on both sides of zero: 19 inverse scales about −levels / extreme (ggml's
/// `make_qx_quants`).
#[inline(always)]
pub(super) fn signed<const L: usize, const N: usize>(x: &Groups<L, N>, w: &Groups<L, N>, levels: f32) -> Signed<L, N> {
    let zero = Lanes::all(0.0);
    let extreme = extremes(x);
    let wx = each(|i| w[i] * x[i]);
    let mut best_inverse = Lanes::all(-levels) / extreme;
    let (sum_xc, sum_cc) = attempt(x, w, &wx, best_inverse, levels);
    let mut scale = zero.where_less(sum_cc, sum_xc / sum_cc, zero);
    let mut best = scale * sum_xc;
    for i in (-9_i8..=9).filter(|i| *i != 0) {
        let inverse = Lanes::all(-(levels + 0.1 * f32::from(i))) / extreme;
        let (sum_xc, sum_cc) = attempt(x, w, &wx, inverse, levels);
        // What has no codes but zeros does not win.
        let gain = zero.where_less(sum_cc, sum_xc * sum_xc, Lanes::all(f32::NEG_INFINITY));
        let least = best * sum_cc;
        let ratio = sum_xc / sum_cc;
        scale = least.where_less(gain, ratio, scale);
        best_inverse = least.where_less(gain, inverse, best_inverse);
        best = least.where_less(gain, ratio * sum_xc, best);
    }
    let codes = each(|i| {
        let c = (best_inverse * x[i]).nearest(-levels, levels - 1.0);
        unless_tiny(extreme, c + Lanes::all(levels))
    });
    Signed { scale: unless_tiny(extreme, scale), codes }
}

/// Scale with codes on both sides of zero, improved code by code in up to five rounds; errors weigh
/// as x² (ggml's `make_q3_quants`).
#[inline(always)]
pub(super) fn descent<const L: usize, const N: usize>(x: &Groups<L, N>, levels: f32) -> Signed<L, N> {
    let zero = Lanes::all(0.0);
    let extreme = extremes(x);
    let inverse = Lanes::all(-levels) / extreme;
    let mut codes = [zero; N];
    let (mut sum_xc, mut sum_cc) = (zero, zero);
    for (c, x) in codes.iter_mut().zip(x) {
        *c = (inverse * *x).nearest(-levels, levels - 1.0);
        let w = *x * *x;
        sum_xc = sum_xc + w * *x * *c;
        sum_cc = sum_cc + w * *c * *c;
    }
    for _ in 0..5 {
        let before = codes;
        for (c, x) in codes.iter_mut().zip(x) {
            let w = *x * *x;
            let (rest_xc, rest_cc) = (sum_xc - w * *x * *c, sum_cc - w * *c * *c);
            let new = (*x * rest_cc / rest_xc).nearest(-levels, levels - 1.0);
            let (new_xc, new_cc) = (rest_xc + w * *x * new, rest_cc + w * new * new);
            let better = Lanes::of(|l| {
                let gains = new_xc.0[l] * new_xc.0[l] * sum_cc.0[l] > sum_xc.0[l] * sum_xc.0[l] * new_cc.0[l];
                let moves = rest_xc.0[l] > 0.0 && new.0[l] != c.0[l] && new_cc.0[l] > 0.0;
                if moves && gains { 1.0 } else { 0.0 }
            });
            sum_xc = zero.where_less(better, new_xc, sum_xc);
            sum_cc = zero.where_less(better, new_cc, sum_cc);
            *c = zero.where_less(better, new, *c);
        }
        if codes == before {
            break;
        }
    }
    let scale = unless_tiny(extreme, zero.where_less(sum_cc, sum_xc / sum_cc, zero));
    Signed { scale, codes: each(|i| unless_tiny(extreme, codes[i] + Lanes::all(levels))) }
}

/// One scale for `x` (none negative), codes from 0 to `levels`, weighed by `w`: nine scales, then code
/// by code (ggml's `make_qp_quants`). For the scales of groups themselves.
pub(super) fn unsigned<const N: usize>(x: &[f32; N], w: &[f32; N], levels: f32) -> (f32, [u8; N]) {
    let max = x.iter().fold(0.0, |m: f32, v| if *v > m { *v } else { m });
    if max < TINY {
        return (0.0, [0; N]);
    }
    let error = |inverse: f32| {
        let scale = 1.0 / inverse;
        x.iter().zip(w).fold(0.0, |sum, (x, w)| {
            let d = x - scale * nearest(inverse * x, 0.0, levels);
            sum + w * d * d
        })
    };
    let mut inverse = levels / max;
    let mut best = error(inverse);
    for i in (-4_i8..=4).filter(|i| *i != 0) {
        let other = (0.1 * f32::from(i) + levels) / max;
        let err = error(other);
        if err < best {
            (best, inverse) = (err, other);
        }
    }
    let mut codes = x.map(|x| nearest(inverse * x, 0.0, levels));
    let (mut sum_xc, mut sum_cc) = (0.0_f32, 0.0_f32);
    for ((c, x), w) in codes.iter().zip(x).zip(w) {
        sum_xc += w * x * c;
        sum_cc += w * c * c;
    }
    for _ in 0..5 {
        let before = codes;
        for ((c, x), w) in codes.iter_mut().zip(x).zip(w) {
            let (rest_xc, rest_cc) = (sum_xc - w * x * *c, sum_cc - w * *c * *c);
            if rest_xc <= 0.0 || rest_cc <= 0.0 {
                continue;
            }
            let new = nearest(x * rest_cc / rest_xc, 0.0, levels);
            let (new_xc, new_cc) = (rest_xc + w * x * new, rest_cc + w * new * new);
            if new != *c && new_xc * new_xc * sum_cc > sum_xc * sum_xc * new_cc {
                (*c, sum_xc, sum_cc) = (new, new_xc, new_cc);
            }
        }
        if codes == before {
            break;
        }
    }
    let scale = if sum_cc > 0.0 { sum_xc / sum_cc } else { 0.0 };
    (scale, codes.map(|c| c as u8))
}
