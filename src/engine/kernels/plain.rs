//! Products and convolutions as plain loops, for element types that have no fast kernel: f64 and
//! integers. Every sum runs in one order, whatever the number of threads.

use super::convolve::Geometry;
use super::parts;

/// Multiplications that one thread does before it pays to share them out.
const SHARED: usize = 1 << 16;

/// An element type with sums and products.
pub trait Ring: Copy + Default + Send + Sync {
    /// `self + a·b`; integers keep the low 64 bits.
    #[must_use]
    fn plus_product(self, a: Self, b: Self) -> Self;
}

impl Ring for f64 {
    fn plus_product(self, a: Self, b: Self) -> Self {
        self + a * b
    }
}

impl Ring for i64 {
    fn plus_product(self, a: Self, b: Self) -> Self {
        self.wrapping_add(a.wrapping_mul(b))
    }
}

/// A matrix by its strides, so that a transposed one needs no copy.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a, T> {
    pub data: &'a [T],
    pub row_stride: usize,
    pub column_stride: usize,
}

/// `out[r][j] = Σ_k left[r][k] · right[k][j]`.
///
/// # Panics
/// When a slice is shorter than its matrix.
pub fn matmul<T: Ring>(left: Matrix<'_, T>, right: Matrix<'_, T>, (m, k, n): (usize, usize, usize), out: &mut [T]) {
    if m == 0 || n == 0 {
        return;
    }
    let row = |r: usize, out: &mut [T]| {
        out.fill(T::default());
        for i in 0..k {
            let factor = left.data[r * left.row_stride + i * left.column_stride];
            for (j, sum) in out.iter_mut().enumerate() {
                *sum = sum.plus_product(factor, right.data[i * right.row_stride + j * right.column_stride]);
            }
        }
    };
    let out = &mut out[..m * n];
    if m * n * k < SHARED {
        out.chunks_mut(n).enumerate().for_each(|(r, out)| row(r, out));
    } else {
        parts(out, n, &row);
    }
}

/// Convolves `input` `[batch, in, places]` with `weights` `[out, in / groups, taps]` into `out` `[batch,
/// out, places]`; `bias` is one value per output channel, or empty.
///
/// # Panics
/// When a slice does not fit the geometry.
pub fn convolve<T: Ring>(geometry: &Geometry, weights: &[T], bias: &[T], input: &[T], out: &mut [T]) {
    let volume = |axes: &[usize; 3]| axes.iter().product::<usize>();
    let (from, to, taps) = (volume(&geometry.input), volume(&geometry.output), volume(&geometry.kernel));
    if to == 0 {
        return;
    }
    let groups = geometry.groups.max(1);
    let (per_in, per_out) = (geometry.in_channels / groups, geometry.out_channels / groups);
    let plane = |index: usize, out: &mut [T]| {
        let (image, channel) = (index / geometry.out_channels, index % geometry.out_channels);
        out.fill(bias.get(channel).copied().unwrap_or_default());
        for i in 0..per_in {
            let source = image * geometry.in_channels + channel / per_out * per_in + i;
            let kernel = &weights[(channel * per_in + i) * taps..][..taps];
            add_plane(geometry, &input[source * from..][..from], kernel, out);
        }
    };
    if out.len().saturating_mul(per_in * taps) < SHARED {
        out.chunks_mut(to).enumerate().for_each(|(index, out)| plane(index, out));
    } else {
        parts(out, to, &plane);
    }
}

/// Adds one input channel, convolved with its kernel.
fn add_plane<T: Ring>(g: &Geometry, input: &[T], kernel: &[T], out: &mut [T]) {
    let places = |axis: usize, o: usize| {
        (0..g.kernel[axis]).filter_map(move |k| {
            let at = (o * g.stride[axis] + k * g.dilation[axis]) as isize - g.pad[axis];
            usize::try_from(at).ok().filter(|at| *at < g.input[axis]).map(|at| (k, at))
        })
    };
    for (flat, sum) in out.iter_mut().enumerate() {
        let (d, h, w) = (flat / (g.output[1] * g.output[2]), flat / g.output[2] % g.output[1], flat % g.output[2]);
        for (kd, id) in places(0, d) {
            for (kh, ih) in places(1, h) {
                for (kw, iw) in places(2, w) {
                    let factor = kernel[(kd * g.kernel[1] + kh) * g.kernel[2] + kw];
                    *sum = sum.plus_product(input[(id * g.input[1] + ih) * g.input[2] + iw], factor);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_by_strides() {
        // [1 2; 3 4] · [5 6; 7 8], the right one given transposed.
        let left = Matrix { data: &[1_i64, 2, 3, 4], row_stride: 2, column_stride: 1 };
        let right = Matrix { data: &[5, 7, 6, 8], row_stride: 1, column_stride: 2 };
        let mut out = [0; 4];
        matmul(left, right, (2, 2, 2), &mut out);
        assert_eq!(out, [19, 22, 43, 50]);
    }

    #[test]
    fn convolves_as_written_on_paper() {
        let geometry = Geometry {
            groups: 1,
            in_channels: 1,
            out_channels: 1,
            input: [1, 1, 5],
            kernel: [1, 1, 2],
            stride: [1, 1, 2],
            dilation: [1, 1, 2],
            pad: [0, 0, 1],
            output: [1, 1, 3],
        };
        let mut out = [0.0; 3];
        convolve(&geometry, &[1.0, 10.0], &[0.5], &[1.0, 2.0, 3.0, 4.0, 5.0], &mut out);
        // Places −1 and 1, 1 and 3, 3 and 5: those outside count as zero.
        assert_eq!(out, [20.5, 42.5, 4.5]);
    }

    #[test]
    fn agrees_with_the_fast_kernel() {
        use crate::engine::kernels::convolve::{Finish, Weights, convolve as fast};
        use crate::engine::kernels::layout::transpose;
        use crate::engine::random::Random;
        let geometry = Geometry {
            groups: 2,
            in_channels: 4,
            out_channels: 6,
            input: [1, 7, 6],
            kernel: [1, 3, 2],
            stride: [1, 2, 1],
            dilation: [1, 1, 2],
            pad: [0, 1, -1],
            output: [1, 4, 2],
        };
        let mut random = Random::new(5);
        let mut some = |n: usize| -> Vec<f32> { (0..n).map(|_| random.normal()).collect() };
        let (input, weights, bias) = (some(2 * 4 * 42), some(6 * 2 * 6), some(6));
        let wide = |x: &[f32]| -> Vec<f64> { x.iter().map(|v| f64::from(*v)).collect() };
        let mut plain = vec![0.0; 2 * 6 * 8];
        convolve(&geometry, &wide(&weights), &wide(&bias), &wide(&input), &mut plain);
        let mut out = vec![0.0_f32; plain.len()];
        let packed = Weights::pack(&weights, &bias, 2, 6, 6);
        fast(&geometry, &packed, 2, &transpose(&input, 2, 4, 42), Finish::NONE, &mut out);
        for (a, b) in transpose(&out, 2, 8, 6).iter().zip(&plain) {
            assert!((f64::from(*a) - b).abs() < 1e-4, "{a} {b}");
        }
    }
}
