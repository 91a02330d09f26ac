//! Discrete Fourier transforms of any length, in O(n log n).

use std::f64::consts::PI;

/// A complex number: real and imaginary part.
pub type Complex = [f64; 2];

fn times(a: Complex, b: Complex) -> Complex {
    [a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]]
}

fn turn(angle: f64) -> Complex {
    [angle.cos(), angle.sin()]
}

/// `y[k] = Σ x[i]·e^(∓2πjki/n)` in place, not scaled; the sign in the exponent is minus unless `inverse`.
pub fn transform(x: &mut Vec<Complex>, inverse: bool) {
    let sign = if inverse { 1.0 } else { -1.0 };
    if x.len() <= 1 {
    } else if x.len().is_power_of_two() {
        by_halves(x, sign);
    } else {
        by_convolution(x, sign);
    }
}

/// Cooley and Tukey's radix 2, for lengths that are powers of two.
fn by_halves(x: &mut [Complex], sign: f64) {
    let n = x.len();
    let bits = n.trailing_zeros();
    for i in 0..n {
        let j = i.reverse_bits() >> (usize::BITS - bits);
        if i < j {
            x.swap(i, j);
        }
    }
    let turns: Vec<Complex> = (0..n / 2).map(|i| turn(sign * 2.0 * PI * i as f64 / n as f64)).collect();
    let mut half = 1;
    while half < n {
        for block in x.chunks_exact_mut(2 * half) {
            let (low, high) = block.split_at_mut(half);
            for (i, (a, b)) in low.iter_mut().zip(high).enumerate() {
                let t = times(*b, turns[i * (n / 2 / half)]);
                *b = [a[0] - t[0], a[1] - t[1]];
                *a = [a[0] + t[0], a[1] + t[1]];
            }
        }
        half *= 2;
    }
}

/// Bluestein's way for all other lengths: `ki = (k² + i² − (k−i)²) / 2` makes the sum a convolution,
/// which transforms of a power of two compute.
fn by_convolution(x: &mut Vec<Complex>, sign: f64) {
    let n = x.len();
    let m = (2 * n - 1).next_power_of_two();
    // e^(±πji²/n); the square is taken modulo 2n, where the turn repeats, so that large ones stay exact.
    let chirp: Vec<Complex> =
        (0..n).map(|i| turn(sign * PI * (i as u128 * i as u128 % (2 * n as u128)) as f64 / n as f64)).collect();
    let mut a = vec![[0.0; 2]; m];
    let mut b = vec![[0.0; 2]; m];
    for i in 0..n {
        a[i] = times(x[i], chirp[i]);
        let opposite = [chirp[i][0], -chirp[i][1]];
        b[i] = opposite;
        b[(m - i) % m] = opposite;
    }
    by_halves(&mut a, -1.0);
    by_halves(&mut b, -1.0);
    for (a, b) in a.iter_mut().zip(&b) {
        *a = times(*a, *b);
    }
    by_halves(&mut a, 1.0);
    let scale = 1.0 / m as f64;
    x.clear();
    x.extend(a.iter().zip(&chirp).map(|(a, c)| times([a[0] * scale, a[1] * scale], *c)));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fast_as_by_definition() {
        for n in [1, 2, 3, 5, 8, 12, 31, 64, 100] {
            let x: Vec<Complex> = (0..n).map(|i| [(i * 7 % 11) as f64 - 3.0, (i * 5 % 13) as f64 / 4.0]).collect();
            for inverse in [false, true] {
                let mut fast = x.clone();
                transform(&mut fast, inverse);
                for (k, got) in fast.iter().enumerate() {
                    let sign = if inverse { 1.0 } else { -1.0 };
                    let want = x.iter().enumerate().fold([0.0; 2], |sum: Complex, (i, v)| {
                        let t = times(*v, turn(sign * 2.0 * PI * (k * i % n) as f64 / n as f64));
                        [sum[0] + t[0], sum[1] + t[1]]
                    });
                    assert!((got[0] - want[0]).abs() + (got[1] - want[1]).abs() < 1e-9, "{n} {k}: {got:?} {want:?}");
                }
            }
        }
    }
}
