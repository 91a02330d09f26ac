//! Convolutions and matrix products of bytes, channels last.
//!
//! Where there is padding, an image is copied once into a border of zero points; then the channels of
//! one row of the kernel lie in one run of memory, whatever the kernel's width, and a place differs
//! from its neighbour by a constant.

use super::pack::{Codes, Form};
use super::walk::{Data, Job, Walk};
use super::{Finish, Sink, Weights, winograd, words};
use crate::engine::kernels::{tasks, threads};
use std::cell::RefCell;
use std::thread::LocalKey;

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

    pub(super) fn out_places(&self) -> usize {
        self.output.iter().product()
    }

    pub(super) fn is_pointwise(&self) -> bool {
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
    pub(super) fn covered(&self) -> [usize; 3] {
        std::array::from_fn(|a| {
            let strides = self.output[a].saturating_sub(1).saturating_mul(self.stride[a]);
            strides.saturating_add(self.kernel[a].saturating_sub(1).saturating_mul(self.dilation[a])).saturating_add(1)
        })
    }

    /// Whether no window reaches beyond the input.
    pub(super) fn stays_inside(&self) -> bool {
        self.pad == [0; 3] && self.covered().iter().zip(&self.input).all(|(c, i)| c <= i)
    }
}

/// Elements that vectors may read beyond the last one that counts.
pub(super) const SLACK: usize = 64;

/// Bytes of a line of the cache, where what is read begins.
const ALIGNED: usize = 64;

thread_local! {
    /// Padded input; kept, because fresh pages cost more than the work.
    static BYTES: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
    /// The same in words.
    static WORDS: RefCell<Vec<i16>> = const { RefCell::new(Vec::new()) };
    /// Sums on their way.
    static SUMS: RefCell<Vec<i32>> = const { RefCell::new(Vec::new()) };
}

/// What a thread keeps some of.
pub(super) trait Kept: Copy + Default + 'static {
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>>;
}

impl Kept for u8 {
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>> {
        &BYTES
    }
}

impl Kept for i16 {
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>> {
        &WORDS
    }
}

impl Kept for i32 {
    fn scratch() -> &'static LocalKey<RefCell<Vec<Self>>> {
        &SUMS
    }
}

/// What the inner loops read.
pub(super) trait Element: Kept + From<u8> {
    fn copy(bytes: &[u8], to: &mut [Self]);
}

impl Element for u8 {
    fn copy(bytes: &[u8], to: &mut [Self]) {
        to.copy_from_slice(bytes);
    }
}

impl Element for i16 {
    fn copy(bytes: &[u8], to: &mut [Self]) {
        words::widen(bytes, to);
    }
}

/// Calls `use_it` with `size` elements and [`SLACK`] of this thread's own, whatever they hold.
pub(super) fn with_scratch<T: Kept>(size: usize, use_it: impl FnOnce(&mut [T])) {
    // Taken and given back, so that a task that this thread steals meanwhile finds a place of its own.
    let mut held = T::scratch().take();
    let enough = size + SLACK + ALIGNED;
    if held.len() < enough {
        held.resize(enough, T::default());
    }
    let from = held.as_ptr().align_offset(ALIGNED).min(ALIGNED);
    use_it(&mut held[from..from + size + SLACK]);
    T::scratch().set(held);
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
    if weights.form == Form::Tiles {
        return winograd::run(g, weights, batch, input, zero, how, sink);
    }
    let (merged, batch) = if g.is_pointwise() && weights.form != Form::Depthwise {
        (Some(Geometry::rows(batch * g.out_places())), 1)
    } else {
        (None, batch)
    };
    let g = merged.as_ref().unwrap_or(g);
    let walk = Walk::new(g, weights);
    let image_size = g.in_places() * channels;
    let per_image = g.out_places();
    let direct = walk.direct(weights, how, &sink);
    let lines_per_task = lines_per_task(&walk, g, weights, batch);
    let image = |index: usize, sink: Sink<'_>| {
        let own = &input[index * image_size..][..image_size];
        let parts = |data: Data<'_>| {
            shares(sink, lines_per_task * walk.line * of, true, &|part, sink| {
                let first = part * lines_per_task;
                let last = (first + lines_per_task).min(walk.lines);
                let before = index * per_image + first * walk.line;
                walk.run(&Job { weights, data, how, direct: direct.as_deref(), first, last, before }, sink);
            });
        };
        match &weights.codes {
            _ if !walk.copies => parts(Data::Bytes(own)),
            Codes::Bytes(_) => with_padded(g, own, channels, zero, |data| parts(Data::Bytes(data))),
            Codes::Words(_) => with_padded(g, own, channels, zero, |data| parts(Data::Words(data))),
        }
    };
    shares(sink, per_image * of, batch >= 4, &image);
}

/// `work` on every share of `size` results with its number: on several threads, or one after the other so
/// that each can be shared out within.
pub(super) fn shares(sink: Sink<'_>, size: usize, beside: bool, work: &(dyn Fn(usize, Sink<'_>) + Sync)) {
    let all = sink.split(size).into_iter();
    if beside { tasks(all, work) } else { all.enumerate().for_each(|(i, s)| work(i, s)) }
}

/// Whole images where there are several; else a share of the lines.
fn lines_per_task(walk: &Walk, g: &Geometry, weights: &Weights, batch: usize) -> usize {
    let work = g.out_places() * weights.size();
    if batch >= 4 || work < 1 << 18 || threads() == 1 {
        return walk.lines;
    }
    walk.lines.div_ceil(16).max(1)
}

/// Calls `use_it` with the image inside a border of `zero`, of the size that the windows cover.
pub(super) fn with_padded<T: Element>(g: &Geometry, image: &[u8], channels: usize, zero: u8, use_it: impl FnOnce(&[T])) {
    let (covered, zero) = (g.covered(), T::from(zero));
    let size = covered.iter().product::<usize>() * channels;
    with_scratch(size, |padded| {
        let row = covered[2] * channels;
        // Columns of the padded row that the input has.
        let from = g.pad[2].max(0).cast_unsigned().min(covered[2]);
        let skipped = (-g.pad[2]).max(0).cast_unsigned().min(g.input[2]);
        let count = (g.input[2] - skipped).min(covered[2] - from);
        for (index, to) in padded[..size].chunks_exact_mut(row).enumerate() {
            let at = [index / covered[1], index % covered[1]];
            let source: [isize; 2] = std::array::from_fn(|a| at[a].cast_signed() - g.pad[a]);
            if (0..2).any(|a| source[a] < 0 || source[a].cast_unsigned() >= g.input[a]) {
                to.fill(zero);
                continue;
            }
            let line = (source[0].cast_unsigned() * g.input[1] + source[1].cast_unsigned()) * g.input[2] + skipped;
            to[..from * channels].fill(zero);
            T::copy(&image[line * channels..][..count * channels], &mut to[from * channels..][..count * channels]);
            to[(from + count) * channels..].fill(zero);
        }
        use_it(padded);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::kernels::integer::{Isa, Rounding, Slide};
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
            case([1, 7, 12], [1, 3, 3], [1, 1, 1], 8, [8, 8]),
            case([1, 9, 12], [1, 3, 3], [2, 1, 1], 8, [8, 8]),
            case([1, 5, 6], [1, 3, 3], [1, 1, 1], 2, [4, 8]),
            case([1, 1, 6], [1, 1, 1], [1, 1, 0], 4, [8, 8]),
            case([1, 1, 401], [1, 1, 1], [1, 1, 0], 20, [20, 20]),
            case([1, 13, 5], [1, 3, 3], [1, 1, 1], 1, [4, 17]),
            case([1, 8, 9], [1, 3, 3], [1, 1, 1], 8, [8, 8]),
            case([1, 7, 12], [1, 3, 3], [1, 1, 1], 1, [3, 8]),
            case([1, 7, 25], [1, 1, 1], [1, 1, 0], 1, [9, 8]),
            case([1, 7, 24], [1, 1, 1], [1, 1, 0], 1, [9, 8]),
            case([1, 3, 220], [1, 3, 3], [1, 1, 1], 1, [3, 8]),
            case([1, 8, 9], [1, 3, 3], [2, 1, 1], 32, [32, 32]),
            case([3, 4, 5], [2, 3, 2], [1, 1, 1], 1, [4, 16]),
            case([1, 9, 11], [1, 3, 3], [1, 1, 1], 1, [16, 20]),
            case([1, 3, 3], [1, 3, 3], [1, 1, 0], 1, [48, 8]),
            case([1, 5, 120], [1, 3, 3], [1, 1, 1], 1, [16, 16]),
            case([2, 4, 4], [1, 3, 3], [1, 1, 1], 1, [32, 33]),
            case([1, 8, 8], [1, 3, 3], [1, 2, 1], 1, [16, 16]),
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
            let scale: Vec<f32> = (0..co).map(|_| random.range(0.00001, 0.0004)).collect();
            let bias: Vec<f32> = (0..co).map(|_| 4.0 * random.normal()).collect();
            let slide = Slide::of(&c.g.stride, &c.g.dilation);
            let plain = Weights::pack_for(Isa::Plain, &w, c.groups, co, c.g.kernel, slide);
            for isa in Isa::all() {
                let weights = Weights::pack_for(isa, &w, c.groups, co, c.g.kernel, slide);
                for batch in [1, batch] {
                    let x = &x[..batch * c.g.in_places() * ci];
                    let mut found = vec![0; batch * c.g.out_places() * co];
                    convolve(&c.g, &weights, batch, x, 77, &Finish::sums(&offset), Sink::Sums(&mut found));
                    assert!(found == expected[..found.len()], "{isa:?} {:?} {:?}", c.g, c.channels);
                    let (zero, count) = ([0, 117][batch % 2], found.len());
                    let [mut found, mut wanted] = [vec![0; count], vec![0; count]];
                    bytes(&offset, &scale, &bias, zero, |how| {
                        convolve(&c.g, &weights, batch, x, 77, how, Sink::Bytes(&mut found));
                    });
                    bytes(&offset, &scale, &bias, zero, |how| {
                        convolve(&c.g, &plain, batch, x, 77, how, Sink::Bytes(&mut wanted));
                    });
                    assert!(found == wanted, "{isa:?} {:?} {:?}, bytes", c.g, c.channels);
                }
            }
        }
    }

    /// Limits that bytes have anyway, so that tiles may write them themselves.
    fn bytes(offset: &[i32], scale: &[f32], bias: &[f32], zero: i32, run: impl FnOnce(&Finish<'_>)) {
        let rounding = Rounding { inverse: 20.0, zero, range: (0, 255) };
        run(&Finish { low: if zero == 0 { 0.0 } else { f32::NEG_INFINITY }, rounding, ..Finish::scaled(offset, scale, bias) });
    }

    #[test]
    fn what_is_added_is_found_in_every_share() {
        adds([16, 24], 35);
        adds([16, 8], 36);
    }

    fn adds([ci, co]: [usize; 2], width: usize) {
        let mut random = Random::new(5);
        let c = case([1, 33, width], [1, 3, 3], [1, 1, 1], 1, [ci, co]);
        let x: Vec<u8> = (0..2 * c.g.in_places() * ci).map(|_| random.range(0.0, 255.9) as u8).collect();
        let w: Vec<i8> = (0..co * ci * 9).map(|_| random.range(-128.9, 127.9) as i8).collect();
        let sums = reference(&c, &w, 2, &x, 0);
        let residual: Vec<f32> = sums.iter().map(|_| random.normal()).collect();
        let (offset, scale, bias) = (vec![0; co], vec![0.01; co], vec![1.0; co]);
        let how = Finish { residual: Some(&residual), ..Finish::scaled(&offset, &scale, &bias) };
        let mut found = vec![0.0; sums.len()];
        let weights = Weights::pack(&w, 1, co, c.g.kernel, Slide::Unit);
        convolve(&c.g, &weights, 2, &x, 0, &how, Sink::Floats(&mut found));
        for ((found, sum), r) in found.iter().zip(&sums).zip(&residual) {
            assert_eq!(*found, *sum as f32 * 0.01 + 1.0 + r);
        }
    }
}
