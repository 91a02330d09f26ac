//! Convolution over up to three spatial axes, with groups, strides, dilation and padding.
//!
//! The input of a group is laid out once, padded, and split by stride into phases (every s-th row
//! and column). In that layout all outputs of a tap lie side by side, so that the inner loop of
//! [`super::product`] runs over it with one offset per tap, without writing out patches.

use super::is_serial;
use super::product::{Columns, Rows, Target, multiply};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSliceMut;
use std::cell::RefCell;

/// What convolves what: spatial axes are depth, height, width; unused ones are 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    pub groups: usize,
    pub in_channels: usize,
    pub out_channels: usize,
    pub input: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub dilation: [usize; 3],
    /// Zeros before the first element; negative ones cut.
    pub pad: [isize; 3],
    pub output: [usize; 3],
}

impl Geometry {
    fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    fn in_plane(&self) -> usize {
        self.input.iter().product()
    }

    fn out_plane(&self) -> usize {
        self.output.iter().product()
    }

    fn in_group(&self) -> usize {
        self.in_channels / self.groups
    }

    fn out_group(&self) -> usize {
        self.out_channels / self.groups
    }

    /// Whether every output reads the one input at its own place.
    fn is_pointwise(&self) -> bool {
        self.kernel == [1; 3] && self.stride == [1; 3] && self.pad == [0; 3] && self.input == self.output
    }
}

/// What happens to a sum before it is stored.
#[derive(Debug, Clone, Copy)]
pub struct Finish<'a> {
    pub low: f32,
    pub high: f32,
    /// Added before the limits; as large as the output.
    pub residual: Option<&'a [f32]>,
}

impl Finish<'_> {
    /// Nothing happens.
    pub const NONE: Self = Finish { low: f32::NEG_INFINITY, high: f32::INFINITY, residual: None };
}

/// Weights `[out, in / groups, taps…]` as the inner loop reads them.
#[derive(Debug, Clone)]
pub struct Weights {
    groups: Vec<Rows>,
    bias: Vec<f32>,
    per_group: usize,
    depth: usize,
}

impl Weights {
    /// `bias` may be empty.
    ///
    /// # Panics
    /// When there are not `out · depth` weights.
    pub fn pack(weights: &[f32], bias: &[f32], groups: usize, out_channels: usize) -> Self {
        let depth = weights.len() / out_channels.max(1);
        let per_group = out_channels / groups.max(1);
        let rows = |g: usize| Rows::pack(per_group, depth, |r, k| weights[(g * per_group + r) * depth + k]);
        let bias = if bias.is_empty() { vec![0.0; out_channels] } else { bias.to_vec() };
        Self { groups: (0..groups).map(rows).collect(), bias, per_group, depth }
    }
}

/// The padded input of one group: where its phases and taps lie.
struct Layout {
    /// Axes of one phase.
    dims: [usize; 3],
    /// The phases that any tap reads.
    phases: Vec<[usize; 3]>,
    /// One per (channel of the group, tap).
    offsets: Vec<usize>,
    /// Columns from the first output to the last.
    span: usize,
    /// For narrow rows, which are too short to copy one by one: where each place of a channel's phases
    /// comes from ([`EMPTY`]: a zero), and where each output is found among the columns.
    tables: Option<(Vec<u32>, Vec<u32>)>,
}

/// No source: a zero.
const EMPTY: u32 = u32::MAX;
/// Rows up to this width go element by element.
const NARROW: usize = 20;

impl Layout {
    fn new(g: &Geometry) -> Self {
        if g.is_pointwise() {
            let plane = g.in_plane();
            let offsets = (0..g.in_group()).map(|c| c * plane).collect();
            return Self { dims: g.output, phases: Vec::new(), offsets, span: plane, tables: None };
        }
        let mut dims = [0; 3];
        for a in 0..3 {
            dims[a] = g.output[a] + (g.kernel[a] - 1) * g.dilation[a] / g.stride[a];
        }
        let plane: usize = dims.iter().product();
        let mut phases: Vec<[usize; 3]> = Vec::new();
        let mut taps = Vec::with_capacity(g.taps());
        for d in 0..g.kernel[0] {
            for h in 0..g.kernel[1] {
                for w in 0..g.kernel[2] {
                    let at = [d * g.dilation[0], h * g.dilation[1], w * g.dilation[2]];
                    let phase: [usize; 3] = std::array::from_fn(|a| at[a] % g.stride[a]);
                    let step: [usize; 3] = std::array::from_fn(|a| at[a] / g.stride[a]);
                    let index = phases.iter().position(|p| *p == phase).unwrap_or_else(|| {
                        phases.push(phase);
                        phases.len() - 1
                    });
                    taps.push(index * plane + (step[0] * dims[1] + step[1]) * dims[2] + step[2]);
                }
            }
        }
        let channel = phases.len() * plane;
        let offsets = (0..g.in_group()).flat_map(|c| taps.iter().map(move |t| c * channel + t)).collect();
        let span = ((g.output[0] - 1) * dims[1] + g.output[1] - 1) * dims[2] + g.output[2];
        let mut layout = Self { dims, phases, offsets, span, tables: None };
        if dims[2] <= NARROW && g.in_plane() < EMPTY as usize && channel < EMPTY as usize {
            layout.tables = Some(layout.tables(g));
        }
        layout
    }

    fn tables(&self, g: &Geometry) -> (Vec<u32>, Vec<u32>) {
        let [depth, height, width] = self.dims;
        let mut sources = Vec::with_capacity(self.phases.len() * self.plane());
        for phase in &self.phases {
            for at in (0..depth).flat_map(|d| (0..height).flat_map(move |h| (0..width).map(move |w| [d, h, w]))) {
                let from: [isize; 3] = std::array::from_fn(|a| (at[a] * g.stride[a] + phase[a]) as isize - g.pad[a]);
                let inside = (0..3).all(|a| (0..g.input[a] as isize).contains(&from[a]));
                let flat = (from[0] * g.input[1] as isize + from[1]) * g.input[2] as isize + from[2];
                sources.push(if inside { flat as u32 } else { EMPTY });
            }
        }
        let [d, h, w] = g.output;
        let place = |d: usize, h: usize, w: usize| ((d * height + h) * width + w) as u32;
        let places = (0..d).flat_map(|d| (0..h).flat_map(move |h| (0..w).map(move |w| place(d, h, w)))).collect();
        (sources, places)
    }

    fn plane(&self) -> usize {
        self.dims.iter().product()
    }

    /// Lays out the channels of one group.
    fn fill(&self, g: &Geometry, channels: &[f32], to: &mut [f32]) {
        if let Some((sources, _)) = &self.tables {
            for (to, channel) in to.chunks_mut(sources.len()).zip(channels.chunks(g.in_plane())) {
                for (to, from) in to.iter_mut().zip(sources) {
                    *to = channel.get(*from as usize).copied().unwrap_or(0.0);
                }
            }
            return;
        }
        let mut planes = to.chunks_mut(self.plane());
        for channel in channels.chunks(g.in_plane()) {
            for phase in &self.phases {
                if let Some(plane) = planes.next() {
                    self.fill_plane(g, channel, *phase, plane);
                }
            }
        }
    }

    fn fill_plane(&self, g: &Geometry, channel: &[f32], phase: [usize; 3], plane: &mut [f32]) {
        let [_, height, width] = self.dims;
        // Columns x with 0 ≤ x·stride + phase − pad < input.
        let (s, shift) = (g.stride[2], phase[2] as isize - g.pad[2]);
        let first = (-shift).max(0).cast_unsigned().div_ceil(s).min(width);
        let last = (g.input[2] as isize - shift).max(0).cast_unsigned().div_ceil(s).clamp(first, width);
        for (index, row) in plane.chunks_mut(width).enumerate() {
            let (d, h) = (index / height, index % height);
            let place = |a: usize, i: usize| {
                let at = (i * g.stride[a] + phase[a]) as isize - g.pad[a];
                (0..g.input[a] as isize).contains(&at).then_some(at as usize)
            };
            let (Some(d), Some(h)) = (place(0, d), place(1, h)) else {
                row.fill(0.0);
                continue;
            };
            let line = &channel[(d * g.input[1] + h) * g.input[2]..][..g.input[2]];
            row[..first].fill(0.0);
            row[last..].fill(0.0);
            if first == last {
                continue;
            }
            let start = ((first * s) as isize + shift) as usize;
            if s == 1 {
                row[first..last].copy_from_slice(&line[start..start + last - first]);
            } else {
                for (to, from) in row[first..last].iter_mut().zip(line[start..].iter().step_by(s)) {
                    *to = *from;
                }
            }
        }
    }
}

thread_local! {
    /// (laid-out input, results before they are packed); kept, because fresh pages cost more than the work.
    static SCRATCH: RefCell<(Vec<f32>, Vec<f32>)> = const { RefCell::new((Vec::new(), Vec::new())) };
}

/// Convolves `batch` images. Input `[batch, in, D, H, W]`, output `[batch, out, …]`, row-major.
///
/// Work is shared by image, and within an image by output channels where images are few; every
/// output is one sum in a fixed order.
///
/// # Panics
/// When a slice does not fit the geometry.
pub fn convolve(g: &Geometry, weights: &Weights, batch: usize, input: &[f32], finish: Finish<'_>, output: &mut [f32]) {
    let (in_size, out_size) = (g.in_channels * g.in_plane(), g.out_channels * g.out_plane());
    assert!(input.len() == batch * in_size && output.len() == batch * out_size, "data does not fit the geometry");
    assert_eq!(weights.depth, g.in_group() * g.taps(), "weights do not fit the geometry");
    if out_size == 0 || batch == 0 {
        return;
    }
    let layout = Layout::new(g);
    let channels = channels_per_task(g, batch);
    let per_image = g.out_channels.div_ceil(channels);
    let work = |image: usize, part: usize, out: &mut [f32]| {
        let from = part * channels;
        let to = (from + channels).min(g.out_channels);
        let task = Task { g, layout: &layout, weights, finish, input, image, output_at: image * out_size };
        SCRATCH.with_borrow_mut(|scratch| task.run(from, to, out, scratch));
    };
    if is_serial() {
        output.chunks_mut(out_size).enumerate().for_each(|(image, out)| {
            out.chunks_mut(channels * g.out_plane()).enumerate().for_each(|(part, out)| work(image, part, out));
        });
    } else if per_image == 1 {
        output.par_chunks_mut(out_size).enumerate().for_each(|(image, out)| work(image, 0, out));
    } else {
        output.chunks_mut(out_size).enumerate().for_each(|(image, out)| {
            out.par_chunks_mut(channels * g.out_plane()).enumerate().for_each(|(part, out)| work(image, part, out));
        });
    }
}

/// Whole images where there are several; else a share of the channels, in whole blocks of the inner loop.
fn channels_per_task(g: &Geometry, batch: usize) -> usize {
    let work = g.out_channels * g.out_plane() * g.in_group() * g.taps();
    if batch >= 4 || work < 1 << 16 || is_serial() {
        return g.out_channels;
    }
    let share = g.out_channels.div_ceil(8).next_multiple_of(8);
    // A task takes whole groups, or a part of the only one.
    if g.groups == 1 { share } else { share.next_multiple_of(g.out_group()).min(g.out_channels) }
}

struct Task<'a> {
    g: &'a Geometry,
    layout: &'a Layout,
    weights: &'a Weights,
    finish: Finish<'a>,
    input: &'a [f32],
    image: usize,
    output_at: usize,
}

impl Task<'_> {
    /// Output channels `from..to` of the image into `out`.
    fn run(&self, from: usize, to: usize, out: &mut [f32], (padded, results): &mut (Vec<f32>, Vec<f32>)) {
        let (g, per_group) = (self.g, self.weights.per_group);
        for group in from / per_group..to.div_ceil(per_group) {
            let first = from.max(group * per_group);
            let last = to.min((group + 1) * per_group);
            let place = (first - from) * g.out_plane();
            let out = &mut out[place..place + (last - first) * g.out_plane()];
            let channels = g.in_group() * g.in_plane();
            let base = self.image * g.in_channels * g.in_plane() + group * channels;
            if g.is_pointwise() {
                self.rows(group, first, last, self.input, base, results, out);
                continue;
            }
            let needed = g.in_group() * self.layout.phases.len() * self.layout.plane();
            // Room for the widest tile to read beyond the last column.
            if padded.len() < needed + 256 {
                padded.resize(needed + 256, 0.0);
            }
            self.layout.fill(g, &self.input[base..base + channels], &mut padded[..needed]);
            self.rows(group, first, last, padded, 0, results, out);
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the parts of one task, borrowed apart")]
    fn rows(&self, group: usize, first: usize, last: usize, data: &[f32], base: usize, results: &mut Vec<f32>, out: &mut [f32]) {
        let (g, rows) = (self.g, &self.weights.groups[group]);
        let start = group * self.weights.per_group;
        let bias = &self.weights.bias[start..start + self.weights.per_group];
        let columns = Columns { data, base, offsets: &self.layout.offsets, count: self.layout.span };
        let limits =
            if self.finish.residual.is_some() { (f32::NEG_INFINITY, f32::INFINITY) } else { (self.finish.low, self.finish.high) };
        let plane = g.out_plane();
        let at = self.output_at + first * plane;
        if self.layout.span == plane {
            let mut target = Target { data: &mut *out, stride: plane, room: plane };
            multiply(rows, (first - start, last - start), bias, columns, &mut target, limits);
            if let Some(residual) = self.finish.residual {
                add(out, &residual[at..at + (last - first) * plane], self.finish);
            }
            return;
        }
        let stride = self.layout.span.next_multiple_of(rows.lanes());
        // A few channels at a time, so that results are still near when they are packed.
        for block in (first..last).step_by(8) {
            let end = (block + 8).min(last);
            if results.len() < (end - block) * stride {
                results.resize((end - block) * stride, 0.0);
            }
            let mut target = Target { data: results, stride, room: stride };
            multiply(rows, (block - start, end - start), bias, columns, &mut target, limits);
            for channel in block..end {
                let from = &results[(channel - block) * stride..][..stride];
                let to = &mut out[(channel - first) * plane..][..plane];
                self.pack(from, to);
                if let Some(residual) = self.finish.residual {
                    add(to, &residual[self.output_at + channel * plane..][..plane], self.finish);
                }
            }
        }
    }

    /// Drops the columns between the rows of one channel.
    fn pack(&self, from: &[f32], to: &mut [f32]) {
        if let Some((_, places)) = &self.layout.tables {
            for (to, place) in to.iter_mut().zip(places) {
                *to = from[*place as usize];
            }
            return;
        }
        let ([_, height, width], [_, rows, columns]) = (self.layout.dims, self.g.output);
        for (index, line) in to.chunks_mut(columns).enumerate() {
            let start = (index / rows * height + index % rows) * width;
            line.copy_from_slice(&from[start..start + columns]);
        }
    }
}

fn add(out: &mut [f32], residual: &[f32], finish: Finish<'_>) {
    for (o, r) in out.iter_mut().zip(residual) {
        let sum = *o + r;
        let v = if sum < finish.low { finish.low } else { sum };
        *o = if v > finish.high { finish.high } else { v };
    }
}

/// The plain twin of [`convolve`]: the definition, in f64.
pub fn convolve_plain(g: &Geometry, weights: &[f32], bias: &[f32], batch: usize, input: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(batch * g.out_channels * g.out_plane());
    for image in 0..batch {
        for channel in 0..g.out_channels {
            for place in 0..g.out_plane() {
                let at = [place / (g.output[1] * g.output[2]), place / g.output[2] % g.output[1], place % g.output[2]];
                let mut sum = bias.get(channel).map_or(0.0, |b| f64::from(*b));
                for c in 0..g.in_group() {
                    let source = image * g.in_channels + channel / g.out_group() * g.in_group() + c;
                    for tap in 0..g.taps() {
                        let k = [tap / (g.kernel[1] * g.kernel[2]), tap / g.kernel[2] % g.kernel[1], tap % g.kernel[2]];
                        let from: [isize; 3] =
                            std::array::from_fn(|a| (at[a] * g.stride[a] + k[a] * g.dilation[a]) as isize - g.pad[a]);
                        if (0..3).all(|a| (0..g.input[a] as isize).contains(&from[a])) {
                            let flat = (from[0] as usize * g.input[1] + from[1] as usize) * g.input[2] + from[2] as usize;
                            let weight = weights[(channel * g.in_group() + c) * g.taps() + tap];
                            sum += f64::from(weight) * f64::from(input[source * g.in_plane() + flat]);
                        }
                    }
                }
                out.push(sum as f32);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    fn geometry(
        groups: usize,
        channels: (usize, usize),
        input: [usize; 3],
        kernel: [usize; 3],
        stride: [usize; 3],
        dilation: [usize; 3],
        pad: [isize; 3],
    ) -> Geometry {
        let output =
            std::array::from_fn(|a| (input[a] + 2 * pad[a] as usize - (kernel[a] - 1) * dilation[a] - 1) / stride[a] + 1);
        Geometry { groups, in_channels: channels.0, out_channels: channels.1, input, kernel, stride, dilation, pad, output }
    }

    fn cases() -> Vec<Geometry> {
        vec![
            geometry(1, (3, 16), [1, 9, 11], [1, 3, 3], [1; 3], [1; 3], [0, 1, 1]),
            geometry(1, (5, 13), [1, 8, 8], [1, 3, 3], [1, 2, 2], [1; 3], [0, 1, 1]),
            geometry(1, (16, 10), [1, 7, 7], [1; 3], [1; 3], [1; 3], [0; 3]),
            geometry(1, (4, 9), [1, 7, 6], [1; 3], [1, 2, 2], [1; 3], [0; 3]),
            geometry(8, (8, 8), [1, 10, 9], [1, 3, 3], [1; 3], [1; 3], [0, 1, 1]),
            geometry(4, (4, 8), [1, 10, 9], [1, 5, 3], [1, 3, 2], [1, 1, 2], [0, 2, 2]),
            geometry(2, (6, 10), [1, 6, 6], [1, 2, 2], [1; 3], [1; 3], [0; 3]),
            geometry(1, (3, 4), [1, 1, 40], [1, 1, 5], [1, 1, 3], [1, 1, 2], [0, 0, 4]),
            geometry(1, (2, 3), [5, 6, 7], [3, 3, 3], [2, 1, 2], [1; 3], [1, 1, 1]),
            geometry(1, (2, 20), [1, 5, 5], [1, 5, 5], [1; 3], [1; 3], [0; 3]),
        ]
    }

    #[test]
    fn agrees_with_the_definition_at_any_thread_count() {
        let mut random = Random::new(11);
        for g in cases() {
            for batch in [1, 2, 5] {
                let input: Vec<f32> = (0..batch * g.in_channels * g.in_plane()).map(|_| random.normal()).collect();
                let raw: Vec<f32> = (0..g.out_channels * g.in_group() * g.taps()).map(|_| random.normal()).collect();
                let bias: Vec<f32> = (0..g.out_channels).map(|_| random.normal()).collect();
                let expected = convolve_plain(&g, &raw, &bias, batch, &input);
                let weights = Weights::pack(&raw, &bias, g.groups, g.out_channels);
                let mut first: Option<Vec<f32>> = None;
                for threads in [1, 2, 3] {
                    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                    let mut out = vec![9.0; expected.len()];
                    pool.install(|| convolve(&g, &weights, batch, &input, Finish::NONE, &mut out));
                    for (i, (a, b)) in out.iter().zip(&expected).enumerate() {
                        assert!((a - b).abs() < 1e-4 * b.abs().max(1.0), "{g:?} batch {batch} at {i}: {a} {b}");
                    }
                    assert_eq!(first.get_or_insert_with(|| out.clone()), &out, "threads change the result");
                }
                let residual: Vec<f32> = expected.iter().map(|_| random.normal()).collect();
                let mut out = vec![9.0; expected.len()];
                convolve(&g, &weights, batch, &input, Finish { low: 0.0, high: 6.0, residual: Some(&residual) }, &mut out);
                for (o, (e, r)) in out.iter().zip(expected.iter().zip(&residual)) {
                    assert!((o - (e + r).clamp(0.0, 6.0)).abs() < 1e-4 * e.abs().max(1.0));
                }
            }
        }
    }
}
