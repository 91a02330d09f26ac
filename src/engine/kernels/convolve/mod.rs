//! Convolution over up to three spatial axes, with groups, strides, dilation and padding, on images
//! whose channels lie last.
//!
//! With the channels of a place side by side, each row of a kernel reads one run of memory per output
//! place, and places of a row lie an even distance apart: the inner loop ([`super::tile`]) reads the
//! image where it lies, without writing out patches (Dukhan, "The Indirect Convolution Algorithm", 2019,
//! goes the same way by pointers). Images with padding are laid out once, a few rows at a time.

mod dense;
mod depthwise;
mod rows;
mod winograd;

pub use dense::{Panels, cover_rows};

use super::aligned::Aligned;
use super::isa::Isa;
use super::tile::Shared;
use super::{each, threads};
use rows::Rows;
use winograd::Winograd;

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

    /// Places along an axis that windows reach over.
    fn covered(&self, axis: usize) -> usize {
        let strides = self.output[axis].saturating_sub(1).saturating_mul(self.stride[axis]);
        strides.saturating_add((self.kernel[axis] - 1).saturating_mul(self.dilation[axis])).saturating_add(1)
    }

    /// Shape of what a thread lays out at least to convolve: lines, places, channels. Whoever takes sizes
    /// from outside asks first whether there is room.
    #[must_use]
    pub fn scratch(&self) -> [usize; 3] {
        [self.kernel[0].saturating_mul(self.kernel[1]), self.covered(2), self.in_channels]
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
    /// Where results go that lie beside others: values of a place of the output in all, and the first
    /// that is ours.
    pub beside: Option<(usize, usize)>,
}

impl Finish<'_> {
    /// Nothing happens.
    pub const NONE: Self = Finish { low: f32::NEG_INFINITY, high: f32::INFINITY, residual: None, beside: None };
}

/// Weights as the inner loop reads them.
#[derive(Debug, Clone)]
pub struct Weights {
    isa: Isa,
    kind: Kind,
    taps: usize,
}

#[derive(Debug, Clone)]
enum Kind {
    /// One per group.
    Dense(Vec<Panels>),
    /// Transformed 3 × 3 kernels.
    Winograd(Winograd),
    /// Every channel has its own kernel: `[tap][channel]`, and the bias, filled up to whole vectors.
    Depthwise { weights: Aligned, bias: Vec<f32>, padded: usize },
}

impl Weights {
    /// `weights` are `[out, in / groups, taps…]`; `bias` may be empty.
    ///
    /// # Panics
    /// When the number of weights is no multiple of output channels and taps.
    #[must_use]
    pub fn pack(weights: &[f32], bias: &[f32], groups: usize, out_channels: usize, taps: usize) -> Self {
        Self::pack_for(Isa::best(), weights, bias, groups, out_channels, taps)
    }

    /// The same for two-dimensional kernels of 3 × 3 with stride and dilation 1: transformed where that
    /// makes them faster.
    ///
    /// # Panics
    /// As above.
    #[must_use]
    pub fn pack_square(weights: &[f32], bias: &[f32], groups: usize, out_channels: usize) -> Self {
        Self::pack_square_for(Isa::best(), weights, bias, groups, out_channels)
    }

    fn pack_square_for(isa: Isa, weights: &[f32], bias: &[f32], groups: usize, out_channels: usize) -> Self {
        if !Winograd::suits(groups, weights.len() / (9 * out_channels).max(1), out_channels) {
            return Self::pack_for(isa, weights, bias, groups, out_channels, 9);
        }
        let zeros = vec![0.0; out_channels];
        let bias = if bias.is_empty() { zeros.as_slice() } else { bias };
        Self { isa, kind: Kind::Winograd(Winograd::pack(isa, weights, bias, out_channels)), taps: 9 }
    }

    fn pack_for(isa: Isa, weights: &[f32], bias: &[f32], groups: usize, out_channels: usize, taps: usize) -> Self {
        let depth = weights.len() / out_channels.max(1);
        let (per_group, inputs) = (out_channels / groups.max(1), depth / taps.max(1));
        assert_eq!(weights.len(), out_channels * inputs * taps, "weights do not fit the taps");
        let zeros = vec![0.0; out_channels];
        let bias = if bias.is_empty() { zeros.as_slice() } else { bias };
        let kind = if groups > 1 && inputs == 1 && per_group == 1 {
            let padded = out_channels.next_multiple_of(isa.lanes());
            let mut aligned = Aligned::zeros(taps * padded);
            let turned = aligned.reach(taps * padded);
            for (channel, kernel) in weights.chunks(taps).enumerate() {
                for (tap, w) in kernel.iter().enumerate() {
                    turned[tap * padded + channel] = *w;
                }
            }
            let mut bias = bias.to_vec();
            bias.resize(padded, 0.0);
            Kind::Depthwise { weights: aligned, bias, padded }
        } else {
            let group = |g: usize| {
                let weight = |o: usize, k: usize| weights[(g * per_group + o) * depth + k % inputs * taps + k / inputs];
                Panels::pack_for(isa, per_group, depth, &bias[g * per_group..][..per_group], weight)
            };
            Kind::Dense((0..groups).map(group).collect())
        };
        Self { isa, kind, taps }
    }
}

/// Convolves `batch` images. Input `[batch, D, H, W, in]`, output and residual `[batch, D, H, W, out]` (more
/// values per place where [`Finish::beside`] says so).
///
/// Work is shared by image, and within an image by rows and output channels where images are few;
/// every output is one sum in a fixed order.
///
/// # Panics
/// When a slice does not fit the geometry.
pub fn convolve(g: &Geometry, weights: &Weights, batch: usize, input: &[f32], finish: Finish<'_>, output: &mut [f32]) {
    let (step, at) = finish.beside.unwrap_or((g.out_channels, 0));
    assert!(at + g.out_channels <= step, "the channels do not fit beside the others");
    let (in_size, out_size) = (g.in_channels * g.in_plane(), step * g.out_plane());
    assert!(input.len() == batch * in_size && output.len() == batch * out_size, "data does not fit the geometry");
    assert!(finish.residual.is_none_or(|r| r.len() == output.len()), "the residual does not fit the output");
    assert_eq!(weights.taps, g.taps(), "weights do not fit the geometry");
    if output.is_empty() {
        return;
    }
    let out = Shared::new(output);
    match &weights.kind {
        Kind::Dense(panels) => {
            let fits = panels.len() == g.groups && panels.iter().all(|p| p.fits(g.in_group() * g.taps(), g.out_group()));
            assert!(fits, "weights do not fit the geometry");
            match panels.as_slice() {
                [panels] if g.is_pointwise() => cover_rows(panels, input, (batch * g.out_plane(), g.in_channels), finish, out),
                _ => {
                    let rows = Rows::new(g, input);
                    share(g, batch, panels.iter().map(Panels::blocks).max().unwrap_or(1), |unit| {
                        dense::run(g, &rows, panels, unit, finish, out);
                    });
                }
            }
        }
        Kind::Winograd(kernels) => {
            assert!(kernels.fits(g), "weights do not fit the geometry");
            winograd::run(g, kernels, batch, input, finish, out);
        }
        Kind::Depthwise { weights: kernels, bias, padded } => {
            assert!(*padded >= g.out_channels && g.in_channels == g.out_channels, "weights do not fit the geometry");
            let kernels = depthwise::Kernels { isa: weights.isa, weights: kernels, bias, padded: *padded };
            share(g, batch, 1, |unit| depthwise::run(g, input, &kernels, unit, finish, out));
        }
    }
}

/// A piece of work: some rows of one depth of one image, and a share of the blocks of output channels.
#[derive(Debug, Clone, Copy)]
struct Unit {
    image: usize,
    depth: usize,
    rows: (usize, usize),
    /// (which share, of how many)
    part: (usize, usize),
}

/// Multiply-adds below which a piece of work is not worth a second thread.
pub(super) const WORTH: usize = 1 << 17;

/// Cuts the work into units and runs them: images side by side where there are enough, else rows and
/// output channels of one image.
fn share(g: &Geometry, batch: usize, blocks: usize, run: impl Fn(Unit) + Sync) {
    let [depth, height, _] = g.output;
    let whole = |image: usize, d: usize| Unit { image, depth: d, rows: (0, height), part: (0, 1) };
    let work = g.out_channels * g.out_plane() * g.in_group() * g.taps();
    let threads = threads();
    if threads == 1 || work * batch < 2 * WORTH {
        (0..batch).for_each(|image| (0..depth).for_each(|d| run(whole(image, d))));
    } else if batch >= 2 * threads {
        each(batch, &|image| (0..depth).for_each(|d| run(whole(image, d))));
    } else {
        let wanted = (work * batch / WORTH).clamp(1, 2 * threads).div_ceil(batch * depth);
        let bands = wanted.min(height);
        let parts = wanted.div_ceil(bands).min(blocks);
        let cut = |band: usize| height * band / bands;
        each(batch * depth * bands * parts, &|i| {
            let (part, rest) = (i % parts, i / parts);
            let (band, rest) = (rest % bands, rest / bands);
            let rows = (cut(band), cut(band + 1));
            run(Unit { image: rest / depth, depth: rest % depth, rows, part: (part, parts) });
        });
    }
}

/// The plain twin of [`convolve`]: the definition, in f64, on channels last.
#[cfg(test)]
fn convolve_plain(g: &Geometry, weights: &[f32], bias: &[f32], batch: usize, input: &[f32]) -> Vec<f32> {
    let mut out = Vec::with_capacity(batch * g.out_channels * g.out_plane());
    for image in 0..batch {
        for place in 0..g.out_plane() {
            for channel in 0..g.out_channels {
                let at = [place / (g.output[1] * g.output[2]), place / g.output[2] % g.output[1], place % g.output[2]];
                let mut sum = bias.get(channel).map_or(0.0, |b| f64::from(*b));
                for c in 0..g.in_group() {
                    let source = channel / g.out_group() * g.in_group() + c;
                    for tap in 0..g.taps() {
                        let k = [tap / (g.kernel[1] * g.kernel[2]), tap / g.kernel[2] % g.kernel[1], tap % g.kernel[2]];
                        let from: [isize; 3] =
                            std::array::from_fn(|a| (at[a] * g.stride[a] + k[a] * g.dilation[a]) as isize - g.pad[a]);
                        if (0..3).all(|a| (0..g.input[a] as isize).contains(&from[a])) {
                            let flat = (from[0] as usize * g.input[1] + from[1] as usize) * g.input[2] + from[2] as usize;
                            let weight = weights[(channel * g.in_group() + c) * g.taps() + tap];
                            sum += f64::from(weight) * f64::from(input[(image * g.in_plane() + flat) * g.in_channels + source]);
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
            geometry(1, (24, 70), [1, 30, 31], [1, 3, 3], [1; 3], [1; 3], [0, 1, 1]),
            geometry(1, (32, 72), [1, 9, 11], [1, 3, 3], [1; 3], [1; 3], [0, 1, 1]),
            geometry(1, (40, 32), [1, 6, 7], [1, 3, 3], [1; 3], [1; 3], [0; 3]),
            geometry(1, (32, 48), [1, 20, 21], [1; 3], [1; 3], [1; 3], [0; 3]),
            geometry(40, (40, 40), [1, 25, 5], [1, 3, 3], [1; 3], [1; 3], [0, 1, 1]),
            geometry(20, (20, 20), [1, 17, 19], [1, 3, 3], [1, 2, 2], [1; 3], [0, 1, 1]),
            geometry(3, (3, 3), [4, 5, 6], [2, 3, 3], [1; 3], [1, 1, 2], [1, 1, 1]),
            geometry(1, (6, 17), [1, 12, 11], [1, 3, 3], [1, 2, 1], [1, 4, 3], [0, 5, 3]),
            geometry(2, (6, 10), [5, 6, 7], [2, 3, 2], [1, 2, 1], [3, 2, 1], [1, 2, 1]),
            geometry(1, (3, 4), [1, 6, 6], [1, 3, 3], [1; 3], [1, 40, 40], [0, 40, 40]),
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
                let square = g.kernel == [1, 3, 3] && g.stride == [1; 3] && g.dilation == [1; 3];
                let pack = |isa, square| {
                    if square {
                        Weights::pack_square_for(isa, &raw, &bias, g.groups, g.out_channels)
                    } else {
                        Weights::pack_for(isa, &raw, &bias, g.groups, g.out_channels, g.taps())
                    }
                };
                let both = if square { vec![true, false] } else { vec![false] };
                for (isa, square) in Isa::all().into_iter().flat_map(|isa| both.iter().map(move |s| (isa, *s))) {
                    let weights = pack(isa, square);
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
                }
                let weights = pack(Isa::best(), square);
                let residual: Vec<f32> = expected.iter().map(|_| random.normal()).collect();
                let mut out = vec![9.0; expected.len()];
                convolve(
                    &g,
                    &weights,
                    batch,
                    &input,
                    Finish { low: 0.0, high: 6.0, residual: Some(&residual), beside: None },
                    &mut out,
                );
                for (o, (e, r)) in out.iter().zip(expected.iter().zip(&residual)) {
                    assert!((o - (e + r).clamp(0.0, 6.0)).abs() < 1e-4 * e.abs().max(1.0));
                }
            }
        }
    }
}
