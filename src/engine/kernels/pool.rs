//! Maximum and average over windows of up to three spatial axes.

use super::is_serial;
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::{ParallelSlice, ParallelSliceMut};

/// Where windows lie; unused axes are 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub input: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub dilation: [usize; 3],
    pub pad: [usize; 3],
    /// Padding after the last element, for the divisor of averages that count it.
    pub pad_after: [usize; 3],
    pub output: [usize; 3],
}

impl Window {
    /// Outputs `first..last` along axis `a` whose tap `k` lies inside the input.
    fn inside(&self, a: usize, k: usize) -> (usize, usize) {
        let (shift, s) = (k * self.dilation[a], self.stride[a]);
        let first = self.pad[a].saturating_sub(shift).div_ceil(s);
        let last = (self.input[a] + self.pad[a]).saturating_sub(shift).div_ceil(s).min(self.output[a]);
        (first.min(last), last)
    }
}

/// What is made of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    Max,
    /// Divided by the window's elements inside the input.
    Average,
    /// Divided by the window's elements inside the padded input.
    AveragePadded,
}

/// Pools planes one by one: input `[planes, D, H, W]`, output `[planes, …]`, row-major. A window's rows
/// are joined first, then the columns of what they gave: the order of a sum is fixed.
pub fn pool(window: &Window, kind: Pooling, input: &[f32], output: &mut [f32]) {
    let (from, to) = (window.input.iter().product::<usize>(), window.output.iter().product::<usize>());
    if from == 0 || to == 0 {
        return;
    }
    let taps = Taps::new(window, kind);
    let work = |to_all: &mut [f32], from_all: &[f32]| {
        let mut line = vec![0.0; window.input[2]];
        for (to, from) in to_all.chunks_mut(to).zip(from_all.chunks(from)) {
            plane(window, kind, &taps, from, to, &mut line);
        }
    };
    if output.len() * window.kernel.iter().product::<usize>() < 1 << 16 || is_serial() {
        work(output, input);
    } else {
        // Several planes per task: a plane alone may be tiny.
        let many = (1_usize << 14).div_ceil(to);
        output.par_chunks_mut(to * many).zip(input.par_chunks(from * many)).for_each(|(to, from)| work(to, from));
    }
}

/// What is the same for every plane.
struct Taps {
    /// Per axis and tap, the outputs whose tap lies inside the input.
    inside: [Vec<(usize, usize)>; 3],
    /// The divisor of every output; empty for maxima.
    counts: Vec<f32>,
}

impl Taps {
    fn new(window: &Window, kind: Pooling) -> Self {
        let inside = std::array::from_fn(|a| (0..window.kernel[a]).map(|k| window.inside(a, k)).collect());
        Self { inside, counts: counts(window, kind) }
    }

    /// Places along axis `a` that output `i` reads.
    fn places<'t>(&'t self, window: &'t Window, a: usize, i: usize) -> impl Iterator<Item = usize> + Clone + 't {
        let taps = self.inside[a].iter().enumerate().filter(move |(_, (first, last))| (*first..*last).contains(&i));
        taps.map(move |(k, _)| i * window.stride[a] + k * window.dilation[a] - window.pad[a])
    }
}

/// The divisor of every output; empty for maxima.
fn counts(window: &Window, kind: Pooling) -> Vec<f32> {
    let axis = |a: usize| -> Vec<usize> {
        (0..window.output[a])
            .map(|i| {
                let taps = (0..window.kernel[a]).map(|k| i * window.stride[a] + k * window.dilation[a]);
                let (low, high) = match kind {
                    Pooling::AveragePadded => (0, window.input[a] + window.pad[a] + window.pad_after[a]),
                    _ => (window.pad[a], window.pad[a] + window.input[a]),
                };
                taps.filter(|t| (low..high).contains(t)).count()
            })
            .collect()
    };
    if kind == Pooling::Max {
        return Vec::new();
    }
    let [d, h, w] = [axis(0), axis(1), axis(2)];
    d.iter().flat_map(|d| h.iter().map(move |h| d * h)).flat_map(|dh| w.iter().map(move |w| (dh * w).max(1) as f32)).collect()
}

fn plane(window: &Window, kind: Pooling, taps: &Taps, from: &[f32], to: &mut [f32], line: &mut [f32]) {
    let start = if kind == Pooling::Max { f32::NEG_INFINITY } else { 0.0 };
    let [_, height, width] = window.input;
    for (index, row) in to.chunks_mut(window.output[2]).enumerate() {
        let (d, h) = (index / window.output[1], index % window.output[1]);
        line.fill(start);
        for d in taps.places(window, 0, d) {
            for h in taps.places(window, 1, h) {
                join(kind, line, &from[(d * height + h) * width..][..width]);
            }
        }
        row.fill(start);
        for (kw, &(first, last)) in taps.inside[2].iter().enumerate().filter(|(_, (first, last))| first < last) {
            let begin = first * window.stride[2] + kw * window.dilation[2] - window.pad[2];
            join_every(kind, &mut row[first..last], &line[begin..], window.stride[2]);
        }
    }
    for (v, n) in to.iter_mut().zip(&taps.counts) {
        *v /= n;
    }
}

/// The larger; a NaN wins, as everywhere else. Written so that it compiles to a selection.
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

fn join(kind: Pooling, to: &mut [f32], from: &[f32]) {
    if kind == Pooling::Max {
        for (v, x) in to.iter_mut().zip(from) {
            *v = larger(*v, *x);
        }
    } else {
        for (v, x) in to.iter_mut().zip(from) {
            *v += *x;
        }
    }
}

fn join_every(kind: Pooling, to: &mut [f32], from: &[f32], step: usize) {
    match (step, kind) {
        (1, _) => join(kind, to, from),
        (_, Pooling::Max) => {
            for (v, x) in to.iter_mut().zip(from.iter().step_by(step)) {
                *v = larger(*v, *x);
            }
        }
        _ => {
            for (v, x) in to.iter_mut().zip(from.iter().step_by(step)) {
                *v += *x;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    /// The definition.
    fn plain(w: &Window, kind: Pooling, x: &[f32]) -> Vec<f32> {
        let mut out = Vec::new();
        for place in 0..w.output.iter().product::<usize>() {
            let at = [place / (w.output[1] * w.output[2]), place / w.output[2] % w.output[1], place % w.output[2]];
            let (mut sum, mut top, mut inside, mut padded) = (0.0_f64, f32::NEG_INFINITY, 0_u32, 0_u32);
            for tap in 0..w.kernel.iter().product::<usize>() {
                let k = [tap / (w.kernel[1] * w.kernel[2]), tap / w.kernel[2] % w.kernel[1], tap % w.kernel[2]];
                let from: [usize; 3] = std::array::from_fn(|a| at[a] * w.stride[a] + k[a] * w.dilation[a]);
                padded += u32::from((0..3).all(|a| from[a] < w.input[a] + w.pad[a] + w.pad_after[a]));
                if (0..3).all(|a| from[a] >= w.pad[a] && from[a] - w.pad[a] < w.input[a]) {
                    let [d, h, c] = std::array::from_fn(|a| from[a] - w.pad[a]);
                    let v = x[(d * w.input[1] + h) * w.input[2] + c];
                    (sum, top, inside) = (sum + f64::from(v), top.max(v), inside + 1);
                }
            }
            out.push(match kind {
                Pooling::Max => top,
                Pooling::Average => (sum / f64::from(inside.max(1))) as f32,
                Pooling::AveragePadded => (sum / f64::from(padded.max(1))) as f32,
            });
        }
        out
    }

    #[test]
    fn agrees_with_the_definition() {
        let mut random = Random::new(5);
        for (input, kernel, stride, dilation, pad, output) in [
            ([1, 7, 9], [1, 3, 3], [1, 2, 2], [1, 1, 1], [0, 1, 1], [1, 4, 5]),
            ([1, 6, 6], [1, 2, 2], [1, 2, 2], [1, 1, 1], [0, 0, 0], [1, 3, 3]),
            ([1, 8, 8], [1, 3, 2], [1, 1, 3], [1, 2, 1], [0, 0, 0], [1, 4, 3]),
            ([3, 4, 5], [2, 2, 2], [1, 2, 2], [1, 1, 1], [0, 0, 0], [2, 2, 2]),
            ([1, 113, 113], [1, 3, 3], [1, 2, 2], [1, 1, 1], [0, 0, 0], [1, 56, 56]),
        ] {
            let w = Window { input, kernel, stride, dilation, pad, pad_after: pad, output };
            let planes = 9;
            let size: usize = input.iter().product();
            let x: Vec<f32> = (0..planes * size).map(|_| random.normal()).collect();
            for kind in [Pooling::Max, Pooling::Average, Pooling::AveragePadded] {
                let expected: Vec<f32> = x.chunks(size).flat_map(|x| plain(&w, kind, x)).collect();
                let mut out = vec![0.0; expected.len()];
                pool(&w, kind, &x, &mut out);
                assert!(out.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-5), "{w:?} {kind:?}");
            }
        }
    }
}
