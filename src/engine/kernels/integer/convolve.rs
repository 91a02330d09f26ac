//! Convolutions and matrix products of bytes, channels last.
//!
//! Where there is padding, an image is copied once into a border of zero points; then the channels of
//! one row of the kernel lie in one run of memory, whatever the kernel's width, and a place differs
//! from its neighbour by a constant.

use super::finish::{Target, finish};
use super::pack::Form;
use super::tile::{Sums, Tile, blocks_with, places_with, run};
use super::{Finish, LANES, QUAD, Sink, Weights, depthwise};
use crate::engine::kernels::{tasks, threads};
use std::cell::RefCell;

/// What slides over what: axes are depth, height, width; unused ones are 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Geometry {
    pub input: [usize; 3],
    pub kernel: [usize; 3],
    pub stride: [usize; 3],
    pub dilation: [usize; 3],
    /// Zero points before the first element; negative ones cut.
    pub pad: [isize; 3],
    pub output: [usize; 3],
}

impl Geometry {
    /// Rows times a matrix: every place reads itself.
    #[must_use]
    pub fn rows(count: usize) -> Self {
        let line = [1, 1, count];
        Self { input: line, kernel: [1; 3], stride: [1; 3], dilation: [1; 3], pad: [0; 3], output: line }
    }

    fn in_places(&self) -> usize {
        self.input.iter().product()
    }

    fn out_places(&self) -> usize {
        self.output.iter().product()
    }

    fn is_pointwise(&self) -> bool {
        self.kernel == [1; 3] && self.stride == [1; 3] && self.pad == [0; 3] && self.input == self.output
    }

    /// Shape of what a thread lays out at most to convolve an image of so many channels. Whoever takes
    /// sizes from outside asks first whether there is room.
    #[must_use]
    pub fn scratch(&self, channels: usize) -> [usize; 4] {
        let covered = self.covered();
        [covered[0], covered[1], covered[2], channels]
    }

    /// What the windows cover along each axis.
    fn covered(&self) -> [usize; 3] {
        std::array::from_fn(|a| {
            let strides = self.output[a].saturating_sub(1).saturating_mul(self.stride[a]);
            strides.saturating_add(self.kernel[a].saturating_sub(1).saturating_mul(self.dilation[a])).saturating_add(1)
        })
    }

    /// Whether no window reaches beyond the input.
    fn stays_inside(&self) -> bool {
        self.pad == [0; 3] && self.covered().iter().zip(&self.input).all(|(c, i)| c <= i)
    }
}

/// Output places per line where all places are alike: a multiple of every tile's.
const LINE: usize = 168;
/// Bytes that vectors may read beyond the last one that counts.
const SLACK: usize = 64;

thread_local! {
    /// Padded input; kept, because fresh pages cost more than the work.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// Convolves `batch` images `[batch, D, H, W, in]` to `[batch, …, out]`. `zero` fills the padding.
///
/// Work is shared by image, and by rows of the output where images are few; every result is one exact
/// sum, the same on any number of threads.
///
/// # Panics
/// When slices do not fit the geometry.
pub fn convolve(g: &Geometry, weights: &Weights, batch: usize, input: &[u8], zero: u8, how: &Finish<'_>, sink: Sink<'_>) {
    let (channels, of) = (weights.in_channels(), weights.out_channels());
    assert_eq!(g.kernel, weights.kernel, "weights do not fit the kernel");
    assert!(input.len() == batch * g.in_places() * channels, "data does not fit the geometry");
    assert!(sink.len() == batch * g.out_places() * of && how.offset.len() == of, "results do not fit the geometry");
    assert!(matches!(sink, Sink::Sums(_)) || how.scale.len() == of && how.bias.len() == of, "one scale per channel");
    assert!(how.residual.is_none_or(|r| r.len() == sink.len()), "what is added does not fit the geometry");
    if sink.len() == 0 {
        return;
    }
    // All places of a pointwise convolution are one long row.
    let (merged, batch) = if g.is_pointwise() && weights.form != Form::Depthwise {
        (Some(Geometry::rows(batch * g.out_places())), 1)
    } else {
        (None, batch)
    };
    let g = merged.as_ref().unwrap_or(g);
    let walk = Walk::new(g, weights);
    let image_size = g.in_places() * channels;
    let per_image = g.out_places();
    let lines_per_task = lines_per_task(&walk, g, weights, batch);
    let images = sink.split(per_image * of);
    let image = |index: usize, sink: Sink<'_>| {
        let own = &input[index * image_size..][..image_size];
        let parts = |data: &[u8]| {
            let task = |part: usize, sink: Sink<'_>| {
                let first = part * lines_per_task;
                let last = (first + lines_per_task).min(walk.lines);
                let before = index * per_image + first * walk.line;
                walk.run(&Job { weights, data, how, first, last, before }, sink);
            };
            tasks(sink.split(lines_per_task * walk.line * of).into_iter(), &task);
        };
        if walk.copies { with_padded(g, own, channels, zero, parts) } else { parts(own) }
    };
    if images.len() < 4 {
        images.into_iter().enumerate().for_each(|(i, s)| image(i, s));
    } else {
        tasks(images.into_iter(), &image);
    }
}

/// Whole images where there are several; else a share of the lines.
fn lines_per_task(walk: &Walk, g: &Geometry, weights: &Weights, batch: usize) -> usize {
    let work = g.out_places() * weights.data.len();
    if batch >= 4 || work < 1 << 18 || threads() == 1 {
        return walk.lines;
    }
    walk.lines.div_ceil(16).max(1)
}

/// Calls `use_it` with the image inside a border of `zero`, of the size that the windows cover.
fn with_padded(g: &Geometry, image: &[u8], channels: usize, zero: u8, use_it: impl FnOnce(&[u8])) {
    // Taken and given back, so that a task that this thread steals meanwhile finds a place of its own.
    let mut padded = SCRATCH.take();
    let covered = g.covered();
    let size = covered.iter().product::<usize>() * channels + SLACK;
    if padded.len() < size {
        padded.resize(size, 0);
    }
    let row = covered[2] * channels;
    // Columns of the padded row that the input has.
    let from = g.pad[2].max(0).cast_unsigned().min(covered[2]);
    let skipped = (-g.pad[2]).max(0).cast_unsigned().min(g.input[2]);
    let count = (g.input[2] - skipped).min(covered[2] - from);
    for (index, to) in padded[..size - SLACK].chunks_exact_mut(row).enumerate() {
        let at = [index / covered[1], index % covered[1]];
        let source: [isize; 2] = std::array::from_fn(|a| at[a].cast_signed() - g.pad[a]);
        if (0..2).any(|a| source[a] < 0 || source[a].cast_unsigned() >= g.input[a]) {
            to.fill(zero);
            continue;
        }
        let line = (source[0].cast_unsigned() * g.input[1] + source[1].cast_unsigned()) * g.input[2] + skipped;
        to[..from * channels].fill(zero);
        to[from * channels..][..count * channels].copy_from_slice(&image[line * channels..][..count * channels]);
        to[(from + count) * channels..].fill(zero);
    }
    use_it(&padded[..size]);
    SCRATCH.set(padded);
}

/// How the input is walked: lines of output places that lie a constant apart.
struct Walk {
    /// Lines, and places of each (the last may have fewer).
    lines: usize,
    line: usize,
    places: usize,
    /// Output rows per depth, and where lines begin: `base(line) = line / rows · deep + line % rows · down`.
    rows: usize,
    deep: usize,
    down: usize,
    /// From one place to the next.
    stride: usize,
    /// From a place to its runs.
    runs: Vec<usize>,
    /// The input must be copied into a border first.
    copies: bool,
}

/// One share of an image.
struct Job<'a> {
    weights: &'a Weights,
    data: &'a [u8],
    how: &'a Finish<'a>,
    first: usize,
    last: usize,
    /// Places before the share's first, over all images.
    before: usize,
}

impl Walk {
    fn new(g: &Geometry, weights: &Weights) -> Self {
        let channels = weights.in_channels();
        let overreads = match weights.form {
            Form::Depthwise => !channels.is_multiple_of(LANES),
            Form::Runs { quads, rows, .. } => {
                let length = if rows { g.kernel[2] * channels } else { weights.in_group };
                quads * QUAD > length
            }
        };
        let copies = overreads || !g.stays_inside();
        let [_, height, width] = if copies { g.covered() } else { g.input };
        let (row, plane) = (width * channels, height * width * channels);
        let whole_rows = matches!(weights.form, Form::Runs { rows: true, .. });
        let across = if whole_rows { 1 } else { g.kernel[2] };
        let mut runs = Vec::new();
        for d in 0..g.kernel[0] {
            for h in 0..g.kernel[1] {
                for w in 0..across {
                    runs.push(d * g.dilation[0] * plane + h * g.dilation[1] * row + w * g.dilation[2] * channels);
                }
            }
        }
        let places = g.out_places();
        if g.is_pointwise() && g.output[0] == 1 && g.output[1] == 1 {
            let line = LINE.min(places);
            let down = line * channels;
            let lines = places.div_ceil(line.max(1));
            return Self { lines, line, places, rows: lines.max(1), deep: 0, down, stride: channels, runs, copies };
        }
        Self {
            lines: g.output[0] * g.output[1],
            line: g.output[2],
            places,
            rows: g.output[1],
            deep: g.stride[0] * plane,
            down: g.stride[1] * row,
            stride: g.stride[2] * channels,
            runs,
            copies,
        }
    }

    fn base(&self, line: usize) -> usize {
        line / self.rows * self.deep + line % self.rows * self.down
    }

    /// Places of a line.
    fn length(&self, line: usize) -> usize {
        self.line.min(self.places - line * self.line)
    }

    fn run(&self, job: &Job<'_>, mut sink: Sink<'_>) {
        match job.weights.form {
            Form::Depthwise => self.run_depthwise(job, &mut sink),
            Form::Runs { quads, .. } => self.run_blocks(job, quads, &mut sink),
        }
    }

    fn run_blocks(&self, job: &Job<'_>, quads: usize, sink: &mut Sink<'_>) {
        let w = job.weights;
        let block_size = self.runs.len() * quads * QUAD * LANES;
        let of = w.out_channels();
        let per_group = w.out_group.div_ceil(LANES);
        let reach = self.runs.iter().copied().max().unwrap_or(0);
        let mut sums: Sums = [0; 24 * LANES];
        for group in 0..w.groups {
            let mut block = 0;
            while block < per_group {
                let blocks = blocks_with(per_group - block);
                let weights = &w.data[(group * per_group + block) * block_size..][..blocks * block_size];
                let within = block * LANES;
                let channel = group * w.out_group + within;
                let (channels, width) = ((w.out_group - within).min(blocks * LANES), blocks * LANES);
                for line in job.first..job.last {
                    let (base, length) = (self.base(line) + group * w.in_group, self.length(line));
                    let tiles = length.div_ceil(places_with(blocks));
                    let mut place = 0;
                    for tile in 0..tiles {
                        // Tiles of one line are as equal as can be: small ones leave the registers idle.
                        let places = (length - place).div_ceil(tiles - tile);
                        let base = base + place * self.stride;
                        let tile = Tile { weights, quads, data: job.data, base, stride: self.stride, runs: &self.runs, reach };
                        run(w.isa, &tile, places, blocks, &mut sums);
                        let at = (line - job.first) * self.line + place;
                        let target = Target { channel, channels, width, of, places, at, before: job.before };
                        finish(w.isa, &sums, target, job.how, sink);
                        place += places;
                    }
                }
                block += blocks;
            }
        }
    }

    fn run_depthwise(&self, job: &Job<'_>, sink: &mut Sink<'_>) {
        let w = job.weights;
        let of = w.groups;
        let mut sums: Sums = [0; 24 * LANES];
        for line in job.first..job.last {
            let (base, length) = (self.base(line), self.length(line));
            for channel in (0..of).step_by(LANES) {
                let channels = LANES.min(of - channel);
                for place in (0..length).step_by(depthwise::PLACES) {
                    let places = depthwise::PLACES.min(length - place);
                    let base = base + place * self.stride + channel;
                    let wide = of.next_multiple_of(LANES);
                    let tile = depthwise::Tile {
                        weights: &w.data[channel..],
                        wide,
                        data: job.data,
                        base,
                        stride: self.stride,
                        taps: &self.runs,
                    };
                    depthwise::run(w.isa, &tile, places, &mut sums);
                    let at = (line - job.first) * self.line + place;
                    let target = Target { channel, channels, width: LANES, of, places, at, before: job.before };
                    finish(w.isa, &sums, target, job.how, sink);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kernels::integer::Isa;
    use crate::engine::random::Random;

    struct Case {
        g: Geometry,
        groups: usize,
        channels: [usize; 2],
    }

    fn case(input: [usize; 3], kernel: [usize; 3], [s, d, p]: [usize; 3], groups: usize, channels: [usize; 2]) -> Case {
        // Axes of one element have no padding and no stride.
        let flat = |a: usize| input[a] == 1 && kernel[a] == 1;
        let stride = std::array::from_fn(|a| if flat(a) { 1 } else { s });
        let pad: [isize; 3] = std::array::from_fn(|a| if flat(a) { 0 } else { p.cast_signed() });
        let output = std::array::from_fn(|a| {
            let room = input[a] + 2 * pad[a].cast_unsigned() - (kernel[a] - 1) * d - 1;
            room / stride[a] + 1
        });
        Case { g: Geometry { input, kernel, stride, dilation: [d; 3], pad, output }, groups, channels }
    }

    /// The definition, place by place.
    fn reference(c: &Case, w: &[i8], batch: usize, x: &[u8], zero: u8) -> Vec<i32> {
        let (g, [ci, co]) = (&c.g, c.channels);
        let (per_in, per_out, taps) = (ci / c.groups, co / c.groups, g.kernel.iter().product::<usize>());
        let mut out = Vec::new();
        for image in 0..batch {
            for place in 0..g.out_places() {
                let at = [place / (g.output[1] * g.output[2]), place / g.output[2] % g.output[1], place % g.output[2]];
                for oc in 0..co {
                    let mut sum = 0;
                    for tap in 0..taps {
                        let k = [tap / (g.kernel[1] * g.kernel[2]), tap / g.kernel[2] % g.kernel[1], tap % g.kernel[2]];
                        let from: [isize; 3] =
                            std::array::from_fn(|a| (at[a] * g.stride[a] + k[a] * g.dilation[a]) as isize - g.pad[a]);
                        let inside = (0..3).all(|a| (0..g.input[a] as isize).contains(&from[a]));
                        for i in 0..per_in {
                            let place = (from[0] * g.input[1] as isize + from[1]) * g.input[2] as isize + from[2];
                            let index = (image * g.in_places()) as isize + place;
                            let v = if inside { x[index as usize * ci + oc / per_out * per_in + i] } else { zero };
                            sum += i32::from(v) * i32::from(w[(oc * per_in + i) * taps + tap]);
                        }
                    }
                    out.push(sum);
                }
            }
        }
        out
    }

    #[test]
    fn every_kernel_convolves_as_the_definition_says() {
        let mut random = Random::new(11);
        let cases = [
            case([1, 6, 7], [1, 3, 3], [1, 1, 1], 1, [3, 20]),
            case([1, 9, 8], [1, 3, 3], [2, 1, 1], 1, [8, 70]),
            case([1, 9, 30], [1, 5, 4], [1, 2, 2], 1, [5, 33]),
            case([1, 5, 5], [1, 1, 1], [1, 1, 0], 1, [7, 130]),
            case([1, 5, 5], [1, 1, 1], [2, 1, 0], 1, [8, 48]),
            case([1, 6, 6], [1, 3, 3], [1, 1, 1], 2, [6, 36]),
            case([1, 8, 9], [1, 3, 3], [1, 1, 1], 19, [19, 19]),
            case([1, 8, 9], [1, 3, 3], [2, 1, 1], 32, [32, 32]),
            case([3, 4, 5], [2, 3, 2], [1, 1, 1], 1, [4, 16]),
            case([1, 1, 40], [1, 1, 5], [3, 1, 2], 1, [6, 9]),
        ];
        for c in &cases {
            let (batch, [ci, co]) = (5, c.channels);
            let taps: usize = c.g.kernel.iter().product();
            let x: Vec<u8> = (0..batch * c.g.in_places() * ci).map(|_| random.range(0.0, 255.9) as u8).collect();
            let w: Vec<i8> = (0..co * ci / c.groups * taps).map(|_| random.range(-128.9, 127.9) as i8).collect();
            let offset: Vec<i32> = (0..co).map(|_| random.range(-99.0, 99.0) as i32).collect();
            let mut expected = reference(c, &w, batch, &x, 77);
            expected.iter_mut().enumerate().for_each(|(i, v)| *v += offset[i % co]);
            for isa in Isa::all() {
                let weights = Weights::pack_for(isa, &w, c.groups, co, c.g.kernel, c.g.dilation[2] > 1);
                for batch in [1, batch] {
                    let x = &x[..batch * c.g.in_places() * ci];
                    let mut found = vec![0; batch * c.g.out_places() * co];
                    convolve(&c.g, &weights, batch, x, 77, &Finish::sums(&offset), Sink::Sums(&mut found));
                    assert!(found == expected[..found.len()], "{isa:?} {:?} {:?}", c.g, c.channels);
                }
            }
        }
    }

    #[test]
    fn what_is_added_is_found_in_every_share() {
        let mut random = Random::new(5);
        let c = case([1, 33, 35], [1, 3, 3], [1, 1, 1], 1, [16, 24]);
        let x: Vec<u8> = (0..2 * c.g.in_places() * 16).map(|_| random.range(0.0, 255.9) as u8).collect();
        let w: Vec<i8> = (0..24 * 16 * 9).map(|_| random.range(-128.9, 127.9) as i8).collect();
        let sums = reference(&c, &w, 2, &x, 0);
        let residual: Vec<f32> = sums.iter().map(|_| random.normal()).collect();
        let how = Finish { residual: Some(&residual), ..Finish::scaled(&[0; 24], &[0.01; 24], &[1.0; 24]) };
        let mut found = vec![0.0; sums.len()];
        let weights = Weights::pack(&w, 1, 24, c.g.kernel, false);
        convolve(&c.g, &weights, 2, &x, 0, &how, Sink::Floats(&mut found));
        for ((found, sum), r) in found.iter().zip(&sums).zip(&residual) {
            assert_eq!(*found, *sum as f32 * 0.01 + 1.0 + r);
        }
    }
}
