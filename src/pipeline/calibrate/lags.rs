//! Second moments of what a kernel of stride 1 reads. Two of its taps read, place after place, values that lie as far
//! apart as the taps do: what all pairs of taps at one distance (a lag) sum is the same, but for lines at the edges of
//! the image that one pair reads and another does not. So each lag is summed once over the whole image, those lines
//! by themselves, and the moments are put together in the end: of a kernel of 3 × 3 a third of the products.

use crate::engine::kernels::gram::{Extent, Lag, add_columns, add_lagged};
use crate::engine::kernels::parts;
use std::collections::BTreeMap;
use std::ops::Range;

/// How the taps of a kernel stand along one axis of an image; the step is 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Axis {
    pub input: usize,
    pub output: usize,
    pub taps: usize,
    pub dilation: usize,
    /// Lines that the first tap stands before the image at first.
    pub pad: isize,
}

/// Which lines of both operands are summed along one axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Lines {
    All,
    /// One, and the one that lies a lag from it.
    One(usize, usize),
}

impl Axis {
    fn lag(&self, first: usize, second: usize) -> isize {
        (second as isize - first as isize) * self.dilation as isize
    }

    /// Whether the taps stand close together, and no line of the image is cut off before they read it.
    fn is_near(&self) -> bool {
        let reach = self.taps.saturating_sub(1).saturating_mul(self.dilation).saturating_add(1);
        let after = || (self.output + reach) as isize - 1 - self.input as isize - self.pad;
        reach <= REACH && self.pad >= 0 && after() >= 0
    }

    /// Lines within the image that also lie in it when `lag` is added.
    fn inside(&self, lag: isize) -> Range<usize> {
        let bound = |at: isize| at.clamp(0, self.input as isize) as usize;
        bound(-lag)..bound(self.input as isize - lag)
    }

    /// Those of them that a tap reads.
    fn read(&self, tap: usize, lag: isize) -> Range<usize> {
        let (from, inside) = ((tap * self.dilation) as isize - self.pad, self.inside(lag));
        let bound = |at: isize| at.clamp(0, self.input as isize) as usize;
        bound(from).max(inside.start)..bound(from + self.output as isize).min(inside.end)
    }

    /// What is summed for a pair of taps: everything, less the lines that the first one does not read.
    fn lines(&self, first: usize, second: usize) -> Vec<Lines> {
        let lag = self.lag(first, second);
        let (inside, read) = (self.inside(lag), self.read(first, lag));
        if inside.is_empty() {
            return Vec::new();
        }
        let from = read.start.clamp(inside.start, inside.end);
        let left_out = (inside.start..from).chain(read.end.clamp(from, inside.end)..inside.end);
        let one = |line: usize| Lines::One(line, line.wrapping_add_signed(lag));
        std::iter::once(Lines::All).chain(left_out.map(one)).collect()
    }

    fn pairs(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let taps = self.taps;
        (0..taps * taps).map(move |i| (i / taps, i % taps))
    }
}

/// Sums over some lines of both axes, at several lags [lags × channels × channels].
#[derive(Debug, Default)]
struct Sums {
    lags: Vec<Lag>,
    sums: Vec<f64>,
}

/// A matrix of second moments that grows batch by batch.
#[derive(Debug)]
pub(super) struct Lagged {
    axes: [Axis; 2],
    channels: usize,
    /// Whether both operands are the same data: of two opposite lags one is enough.
    is_one: bool,
    sums: BTreeMap<[Lines; 2], Sums>,
}

impl Lagged {
    pub fn new(axes: [Axis; 2], channels: usize, is_one: bool) -> Self {
        let mut made = Self { axes, channels, is_one, sums: BTreeMap::new() };
        for pair in made.pairs() {
            for (_, lines, lag) in made.terms(pair) {
                let Sums { lags, sums } = made.sums.entry(lines).or_default();
                if !lags.contains(&lag) {
                    lags.push(lag);
                    sums.resize(lags.len() * channels * channels, 0.0);
                }
            }
        }
        made
    }

    pub fn fits(&self, axes: [Axis; 2]) -> bool {
        self.axes == axes
    }

    /// Pairs of taps, along both axes, that are summed; of one operand with itself the others are their mirror images.
    fn pairs(&self) -> Vec<[(usize, usize); 2]> {
        let [high, wide] = self.axes;
        let all = high.pairs().flat_map(|a| wide.pairs().map(move |b| [a, b]));
        all.filter(|[a, b]| !self.is_one || (high.lag(a.0, a.1), wide.lag(b.0, b.1)) >= (0, 0)).collect()
    }

    /// What a pair of taps adds up to: sign, lines, and the lag among those.
    fn terms(&self, [a, b]: [(usize, usize); 2]) -> Vec<(f64, [Lines; 2], Lag)> {
        let [high, wide] = self.axes;
        let along = |axis: Axis, (first, second): (usize, usize), lines: Lines| match lines {
            Lines::All => (1.0, axis.lag(first, second)),
            Lines::One(..) => (-1.0, 0),
        };
        let mut terms = Vec::new();
        for up in high.lines(a.0, a.1) {
            for across in wide.lines(b.0, b.1) {
                let ((sign, dy), (other, dx)) = (along(high, a, up), along(wide, b, across));
                terms.push((sign * other, [up, across], (dy, dx)));
            }
        }
        terms
    }

    /// Adds images [samples, lines, places, channels].
    pub fn add(&mut self, left: &[f32], right: &[f32]) {
        let [high, wide] = self.axes;
        let image = high.input * wide.input * self.channels;
        let whole = Extent { samples: left.len() / image.max(1), lines: high.input, wide: wide.input, channels: self.channels };
        for (lines, Sums { lags, sums }) in &mut self.sums {
            if *lines == [Lines::All; 2] {
                add_lagged(left, Some(right), whole, lags, sums);
            } else {
                let (left, extent) = cut(left, whole, lines.map(|l| l.of(true)));
                let (right, _) = cut(right, whole, lines.map(|l| l.of(false)));
                add_lagged(&left, Some(&right), extent, lags, sums);
            }
        }
    }

    /// Adds what was summed to `moments` [width × width], a row and a column per channel and tap.
    pub fn finish(&self, moments: &mut [f64]) {
        let (c, taps) = (self.channels, self.axes[0].taps * self.axes[1].taps);
        let width = c * taps;
        for [a, b] in self.pairs() {
            let tap = |a: usize, b: usize| a * self.axes[1].taps + b;
            let (first, second) = (tap(a.0, b.0), tap(a.1, b.1));
            let mut block = vec![0.0; c * c];
            for (sign, lines, lag) in self.terms([a, b]) {
                let sums =
                    self.sums.get(&lines).and_then(|of| of.sums.chunks(c * c).nth(of.lags.iter().position(|l| *l == lag)?));
                block.iter_mut().zip(sums.into_iter().flatten()).for_each(|(sum, x)| *sum += sign * x);
            }
            for (i, row) in block.chunks(c.max(1)).enumerate() {
                for (j, v) in row.iter().enumerate() {
                    let (i, j) = (i * taps + first, j * taps + second);
                    moments[i * width + j] += v;
                    if self.is_one && first != second {
                        moments[j * width + i] += v;
                    }
                }
            }
        }
    }
}

/// Lines from the first tap of a kernel to the last, and taps, beyond which there would be too many lines at edges.
const REACH: usize = 16;
const TAPS: usize = 64;

/// Whether lags are fewer products than pairs of taps, by half at least.
pub(super) fn pays(axes: [Axis; 2]) -> bool {
    let [high, wide] = axes;
    if high.taps * wide.taps > TAPS || !axes.iter().all(Axis::is_near) {
        return false;
    }
    let long = |axis: usize, lines: &Lines| if *lines == Lines::All { axes[axis].input } else { 1 };
    let sums = Lagged::new(axes, 0, true).sums;
    let products: usize = sums.iter().map(|(lines, of)| long(0, &lines[0]) * long(1, &lines[1]) * of.lags.len()).sum();
    4 * products <= (high.taps * wide.taps).pow(2) * high.output * wide.output
}

impl Lines {
    /// The line of one of the operands.
    fn of(self, is_left: bool) -> Option<usize> {
        match self {
            Self::All => None,
            Self::One(left, right) => Some(if is_left { left } else { right }),
        }
    }
}

/// Images of which one line of places, or one place of every line, is left.
fn cut(data: &[f32], extent: Extent, [line, place]: [Option<usize>; 2]) -> (Vec<f32>, Extent) {
    let Extent { samples, lines, wide, channels } = extent;
    let range = |one: Option<usize>, all: usize| one.map_or(0..all, |one| one..one + 1);
    let mut out = Vec::new();
    for sample in 0..samples {
        for line in range(line, lines) {
            let at = |place: usize| ((sample * lines + line) * wide + place) * channels;
            let places = range(place, wide);
            out.extend_from_slice(&data[at(places.start)..at(places.end)]);
        }
    }
    let left = |one: Option<usize>, all: usize| if one.is_some() { 1 } else { all };
    (out, Extent { lines: left(line, lines), wide: left(place, wide), ..extent })
}

/// Adds to `sums` [channels × taps] what each tap reads of images, in all.
pub(super) fn add_sums([high, wide]: [Axis; 2], data: &[f32], sums: &mut [f64]) {
    let taps = high.taps * wide.taps;
    let channels = sums.len() / taps.max(1);
    let line = wide.input * channels;
    let image = high.input * line;
    let mut partial = vec![0.0; data.len() / image.max(1) * sums.len()];
    parts(&mut partial, sums.len(), &|sample, sums| {
        let (mut all, mut across) = (vec![0.0; channels], vec![0.0; wide.taps * channels]);
        for (number, line) in data[sample * image..][..image].chunks(line).enumerate() {
            all.fill(0.0);
            add_columns(line, &mut all);
            for (tap, sums) in across.chunks_mut(channels).enumerate() {
                sums.copy_from_slice(&all);
                let read = wide.read(tap, 0);
                for (_, place) in line.chunks(channels).enumerate().filter(|(i, _)| !read.contains(i)) {
                    sums.iter_mut().zip(place).for_each(|(sum, x)| *sum -= f64::from(*x));
                }
            }
            for tap in (0..high.taps).filter(|tap| high.read(*tap, 0).contains(&number)) {
                for (i, x) in across.iter().enumerate() {
                    sums[i % channels * taps + tap * wide.taps + i / channels] += x;
                }
            }
        }
    });
    for part in partial.chunks(sums.len().max(1)) {
        sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
    }
}
