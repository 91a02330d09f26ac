//! Maximum, sum and average over windows of up to three spatial axes, on images whose channels lie last:
//! whole places are joined at a time.

use super::parts;
use super::widest::{Work, widest};
use std::ops::{Add, Div, Range};

/// Where windows lie on the spatial axes; unused axes are 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Window {
    pub channels: usize,
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
    /// Taps of output `i` along axis `a` that lie inside the input.
    pub fn taps(&self, a: usize, i: usize) -> Range<usize> {
        let (start, step) = (i * self.stride[a], self.dilation[a]);
        let first = self.pad[a].saturating_sub(start).div_ceil(step);
        let last = (self.pad[a] + self.input[a]).saturating_sub(start).div_ceil(step).min(self.kernel[a]);
        first.min(last)..last
    }

    /// The place along axis `a` that tap `k` of output `i` reads, if it lies inside the input.
    pub fn place(&self, a: usize, i: usize, k: usize) -> usize {
        i * self.stride[a] + k * self.dilation[a] - self.pad[a]
    }

    /// Taps of output `i` along axis `a` that lie inside the padded input.
    fn padded(&self, a: usize, i: usize) -> usize {
        let end = self.pad[a] + self.input[a] + self.pad_after[a];
        end.saturating_sub(i * self.stride[a]).div_ceil(self.dilation[a]).min(self.kernel[a])
    }
}

/// What is made of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pooling {
    Max,
    Sum,
    /// Divided by the window's elements inside the input.
    Average,
    /// Divided by the window's elements inside the padded input.
    AveragePadded,
}

/// What can be pooled.
pub trait Element: Copy + Send + Sync + PartialOrd + Add<Output = Self> + Div<Output = Self> {
    const ZERO: Self;
    const LOWEST: Self;
    fn of(count: usize) -> Self;
    fn is_nan(self) -> bool;
}

macro_rules! element {
    ($($t:ty),*) => {
        $(impl Element for $t {
            const ZERO: Self = 0.0;
            const LOWEST: Self = <$t>::NEG_INFINITY;

            fn of(count: usize) -> Self {
                count as Self
            }

            fn is_nan(self) -> bool {
                <$t>::is_nan(self)
            }
        })*
    };
}
element!(f32, f64);

/// Below this many joined elements, sharing the work costs more than it saves.
const SHARED: usize = 1 << 16;

/// Pools `[batch, D, H, W, channels]` into `[batch, …, channels]`. The elements of a window are joined in
/// row-major order, whatever the number of threads.
pub fn pool<T: Element>(window: &Window, kind: Pooling, input: &[T], output: &mut [T]) {
    let image = window.channels * window.input.iter().product::<usize>();
    let line = window.channels * window.output[2];
    let lines = window.output[0] * window.output[1];
    if line * lines == 0 {
        return;
    }
    if image == 0 {
        output.fill(nothing(kind));
        return;
    }
    let work = |first: usize, part: &mut [T]| match kind {
        Pooling::Max => widest(Lines { window, kind, first, input, part, join: larger }),
        _ => widest(Lines { window, kind, first, input, part, join: plus }),
    };
    let work_per_line = window.kernel.iter().fold(line, |n, k| n.saturating_mul(*k));
    let all = output.len() / line;
    let many = if all.saturating_mul(work_per_line) < SHARED { all } else { (SHARED / 4).div_ceil(work_per_line) };
    parts(output, line * many, &|i, part| work(i * many, part));
}

/// Lines of the output from number `first` on.
struct Lines<'a, T, F> {
    window: &'a Window,
    kind: Pooling,
    first: usize,
    input: &'a [T],
    part: &'a mut [T],
    join: F,
}

impl<T: Element, F: Fn(T, T) -> T + Copy> Work for Lines<'_, T, F> {
    #[inline(always)]
    #[expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]
    fn run(self) {
        let Self { window, kind, first, input, part, join } = self;
        let image = window.channels * window.input.iter().product::<usize>();
        let lines = window.output[0] * window.output[1];
        let columns = (0..window.output[2]).map(|w| window.taps(2, w)).collect();
        let mut taps = Taps { columns, spans: [const { 0..0 }; 3], offsets: Vec::new() };
        for (i, to) in part.chunks_exact_mut(window.channels * window.output[2]).enumerate() {
            let (at, from) = ((first + i) % lines, &input[(first + i) / lines * image..][..image]);
            pool_line(window, kind, [at / window.output[1], at % window.output[1]], from, to, &mut taps, join);
        }
    }
}

/// What a window without elements gives.
fn nothing<T: Element>(kind: Pooling) -> T {
    if kind == Pooling::Max { T::LOWEST } else { T::ZERO }
}

/// The larger; a NaN wins, as everywhere else. Written so that it compiles to a maximum and a selection.
#[inline(always)]
#[expect(clippy::inline_always, reason = "compiled as part of loops for vectors that the caller names")]
fn larger<T: Element>(a: T, b: T) -> T {
    let top = if a > b { a } else { b };
    if a.is_nan() { a } else { top }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn plus<T: Element>(a: T, b: T) -> T {
    a + b
}

/// Where the elements of a window lie, counted from its first one: the same for most places of a line.
struct Taps {
    /// Taps along the last axis of each output: divisions, done once.
    columns: Vec<Range<usize>>,
    spans: [Range<usize>; 3],
    offsets: Vec<usize>,
}

impl Taps {
    fn set(&mut self, window: &Window, spans: [Range<usize>; 3]) {
        if self.spans == spans && !self.offsets.is_empty() {
            return;
        }
        let step = |a: usize, inner: usize| window.dilation[a] * window.channels * inner;
        let steps = [step(0, window.input[1] * window.input[2]), step(1, window.input[2]), step(2, 1)];
        self.offsets.clear();
        for d in 0..spans[0].len() {
            for h in 0..spans[1].len() {
                self.offsets.extend((0..spans[2].len()).map(|w| d * steps[0] + h * steps[1] + w * steps[2]));
            }
        }
        self.spans = spans;
    }
}

#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn pool_line<T: Element>(
    window: &Window,
    kind: Pooling,
    [d, h]: [usize; 2],
    from: &[T],
    to: &mut [T],
    taps: &mut Taps,
    join: impl Fn(T, T) -> T + Copy,
) {
    let [_, height, width] = window.input;
    let (depths, rows) = (window.taps(0, d), window.taps(1, h));
    let (padded_rows, averages) = (window.padded(0, d) * window.padded(1, h), kind == Pooling::AveragePadded);
    for (w, to) in to.chunks_exact_mut(window.channels).enumerate() {
        let spans = [depths.clone(), rows.clone(), taps.columns[w].clone()];
        if spans.iter().any(Range::is_empty) {
            to.fill(nothing(kind));
            continue;
        }
        let [z, y, x] =
            [window.place(0, d, spans[0].start), window.place(1, h, spans[1].start), window.place(2, w, spans[2].start)];
        let count = if averages { padded_rows * window.padded(2, w) } else { spans.iter().map(ExactSizeIterator::len).product() };
        taps.set(window, spans);
        let from = &from[((z * height + y) * width + x) * window.channels..];
        match kind {
            Pooling::Max | Pooling::Sum => join_taps(to, from, &taps.offsets, join, |v| v),
            Pooling::Average | Pooling::AveragePadded => {
                let count = T::of(count.max(1));
                join_taps(to, from, &taps.offsets, join, |v| v / count);
            }
        }
    }
}

/// Joins places of `to.len()` channels that begin at `taps` into one, as many channels at a time as fit
/// registers.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn join_taps<T: Element>(
    to: &mut [T],
    from: &[T],
    taps: &[usize],
    join: impl Fn(T, T) -> T + Copy,
    finish: impl Fn(T) -> T + Copy,
) {
    let mut at = join_lanes::<T, 32>(to, 0, from, taps, join, finish);
    at = join_lanes::<T, 8>(to, at, from, taps, join, finish);
    join_lanes::<T, 1>(to, at, from, taps, join, finish);
}

/// [`join_taps`] for runs of `N` channels from `at` on; gives where it ended.
#[inline(always)]
#[expect(clippy::inline_always, reason = "as above")]
fn join_lanes<T: Element, const N: usize>(
    to: &mut [T],
    at: usize,
    from: &[T],
    taps: &[usize],
    join: impl Fn(T, T) -> T + Copy,
    finish: impl Fn(T) -> T + Copy,
) -> usize {
    let (runs, _) = to[at..].as_chunks_mut::<N>();
    let mut from = &from[at..];
    let mut end = at;
    for (i, run) in runs.iter_mut().enumerate() {
        if i > 0 {
            from = &from[N..];
        }
        let Some(mut sum) = from.first_chunk::<N>().copied() else { return end };
        for tap in &taps[1..] {
            let Some(values) = from[*tap..].first_chunk::<N>() else { return end };
            for (sum, v) in sum.iter_mut().zip(values) {
                *sum = join(*sum, *v);
            }
        }
        *run = sum.map(finish);
        end += N;
    }
    end
}

/// The maxima of `[planes, D, H, W]`, and where each was found first: counted over the whole tensor, within
/// a plane by rows, or by columns where asked.
pub fn maxima<T: Element>(window: &Window, by_column: bool, input: &[T]) -> (Vec<T>, Vec<i64>) {
    let [depth, height, width] = window.input;
    let (plane, outputs) = (depth * height * width, window.output.iter().product::<usize>());
    let planes = input.len().checked_div(plane).unwrap_or(0);
    let (mut values, mut places) = (Vec::with_capacity(planes * outputs), Vec::with_capacity(planes * outputs));
    for (p, from) in input.chunks_exact(plane.max(1)).enumerate() {
        for i in 0..outputs {
            let at = [i / (window.output[1] * window.output[2]), i / window.output[2] % window.output[1], i % window.output[2]];
            let spans: [Range<usize>; 3] = std::array::from_fn(|a| window.taps(a, at[a]));
            let mut best = (T::LOWEST, None);
            for d in spans[0].clone().map(|k| window.place(0, at[0], k)) {
                for h in spans[1].clone().map(|k| window.place(1, at[1], k)) {
                    for w in spans[2].clone().map(|k| window.place(2, at[2], k)) {
                        let v = from[(d * height + h) * width + w];
                        if best.1.is_none() || v > best.0 || (v.is_nan() && !best.0.is_nan()) {
                            let row_major = (d * height + h) * width + w;
                            best = (v, Some(if by_column { (w * height + h) * depth + d } else { row_major }));
                        }
                    }
                }
            }
            values.push(best.0);
            places.push(best.1.map_or(-1, |at| (p * plane + at) as i64));
        }
    }
    (values, places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kernels::serial;
    use crate::engine::random::Random;

    /// The definition.
    fn plain(w: &Window, kind: Pooling, x: &[f32]) -> Vec<f32> {
        let mut out = Vec::new();
        for i in 0..w.channels * w.output.iter().product::<usize>() {
            let (place, channel) = (i / w.channels, i % w.channels);
            let at = [place / (w.output[1] * w.output[2]), place / w.output[2] % w.output[1], place % w.output[2]];
            let (mut sum, mut top, mut inside, mut padded) = (0.0_f64, f32::NEG_INFINITY, 0_u32, 0_u32);
            for tap in 0..w.kernel.iter().product::<usize>() {
                let k = [tap / (w.kernel[1] * w.kernel[2]), tap / w.kernel[2] % w.kernel[1], tap % w.kernel[2]];
                let from: [usize; 3] = std::array::from_fn(|a| at[a] * w.stride[a] + k[a] * w.dilation[a]);
                padded += u32::from((0..3).all(|a| from[a] < w.input[a] + w.pad[a] + w.pad_after[a]));
                if (0..3).all(|a| from[a] >= w.pad[a] && from[a] - w.pad[a] < w.input[a]) {
                    let [d, h, c] = std::array::from_fn(|a| from[a] - w.pad[a]);
                    let v = x[((d * w.input[1] + h) * w.input[2] + c) * w.channels + channel];
                    (sum, top, inside) = (sum + f64::from(v), top.max(v), inside + 1);
                }
            }
            out.push(match kind {
                Pooling::Max => top,
                Pooling::Sum => sum as f32,
                Pooling::Average => (sum / f64::from(inside.max(1))) as f32,
                Pooling::AveragePadded => (sum / f64::from(padded.max(1))) as f32,
            });
        }
        out
    }

    #[test]
    fn agrees_with_the_definition() {
        let mut random = Random::new(5);
        for (channels, input, kernel, stride, dilation, pad, output) in [
            (1, [1, 7, 9], [1, 3, 3], [1, 2, 2], [1, 1, 1], [0, 1, 1], [1, 4, 5]),
            (43, [1, 6, 6], [1, 2, 2], [1, 2, 2], [1, 1, 1], [0, 0, 0], [1, 3, 3]),
            (8, [1, 8, 8], [1, 3, 2], [1, 1, 3], [1, 2, 1], [0, 0, 0], [1, 4, 3]),
            (5, [3, 4, 5], [2, 2, 2], [1, 2, 2], [1, 1, 1], [0, 0, 0], [2, 2, 2]),
            (65, [1, 31, 33], [1, 3, 3], [1, 2, 2], [1, 1, 1], [0, 0, 0], [1, 15, 16]),
            (2, [1, 1, 3], [1, 1, 2], [1, 1, 1], [1, 1, 4], [0, 0, 2], [1, 1, 3]),
        ] {
            let w = Window { channels, input, kernel, stride, dilation, pad, pad_after: pad, output };
            let size = channels * input.iter().product::<usize>();
            let x: Vec<f32> = (0..9 * size).map(|_| random.normal()).collect();
            for kind in [Pooling::Max, Pooling::Sum, Pooling::Average, Pooling::AveragePadded] {
                let expected: Vec<f32> = x.chunks(size).flat_map(|x| plain(&w, kind, x)).collect();
                let mut out = vec![0.0; expected.len()];
                pool(&w, kind, &x, &mut out);
                assert!(out.iter().zip(&expected).all(|(a, b)| a == b || (a - b).abs() < 1e-5), "{w:?} {kind:?}");
                let mut alone = vec![0.0; expected.len()];
                serial(|| pool(&w, kind, &x, &mut alone));
                assert_eq!(out, alone);
            }
        }
    }

    #[test]
    fn a_nan_wins() {
        let axes = [1, 1, 1];
        let w = Window {
            channels: 9,
            input: [1, 1, 4],
            kernel: [1, 1, 2],
            stride: [1, 1, 2],
            dilation: axes,
            pad: [0; 3],
            pad_after: [0; 3],
            output: [1, 1, 2],
        };
        let mut x = vec![1.0_f32; 36];
        (x[0], x[10], x[27]) = (f32::NAN, f32::NAN, f32::NAN);
        let mut out = vec![0.0; 18];
        pool(&w, Pooling::Max, &x, &mut out);
        let nans: Vec<usize> = (0..18).filter(|i| out[*i].is_nan()).collect();
        assert_eq!(nans, [0, 1, 9]);
    }

    #[test]
    fn maxima_say_where_they_were() {
        let w = Window {
            channels: 2,
            input: [1, 3, 3],
            kernel: [1, 2, 2],
            stride: [1, 1, 1],
            dilation: [1; 3],
            pad: [0; 3],
            pad_after: [0; 3],
            output: [1, 2, 2],
        };
        let x: Vec<f32> = vec![9., 1., 2., 1., 5., 5., 0., 3., 8., 0., 0., 0., 0., 1., 0., 0., 0., f32::NAN];
        let (values, rows) = maxima(&w, false, &x);
        assert_eq!((&values[..7], values[7].is_nan()), (&[9., 5., 5., 8., 1., 1., 1.][..], true));
        assert_eq!(rows, [0, 4, 4, 8, 13, 13, 13, 17]);
        assert_eq!(maxima(&w, true, &x).1[..4], [0, 4, 4, 8]);
        let tall = Window { input: [1, 3, 2], output: [1, 2, 1], ..w };
        assert_eq!(maxima(&tall, true, &[0., 1., 7., 2., 0., 3.]).1, [1, 1]);
    }
}
