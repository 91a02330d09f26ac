//! Weights as the inner loops read them.

use super::{Isa, LANES, QUAD, winograd, words};

/// Signed 8-bit weights of a convolution or, with one tap, of a matrix product.
#[derive(Debug, Clone)]
pub struct Weights {
    pub(super) isa: Isa,
    pub(super) groups: usize,
    pub(super) in_group: usize,
    pub(super) out_group: usize,
    pub(super) kernel: [usize; 3],
    pub(super) form: Form,
    pub(super) codes: Codes,
    sums: Vec<i32>,
}

/// The weights as the inner loop multiplies them. A step is what one product takes of a run.
#[derive(Debug, Clone)]
pub(super) enum Codes {
    /// Steps of four.
    Bytes(Vec<i8>),
    /// Steps of two: see [`words`].
    Words(Vec<words::Step>),
}

/// How weights lie, and with it how the input is walked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// One input and one output channel per group: bytes `[tap][channel rounded up to lanes]`, words
    /// `[block][pair of taps][half][lane][2]`.
    Depthwise,
    /// Tiles of a 3 × 3 kernel: see [`winograd`].
    Tiles,
    /// Pieces of input that lie in one run of memory: `[group][block][run][step][lane][its weights]`, zero
    /// where there is no channel.
    Runs {
        /// Per block of output channels.
        runs: usize,
        /// Per run.
        steps: usize,
        /// A run covers a row of the kernel with all its channels, not one tap.
        rows: bool,
    },
}

/// How a kernel goes over the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slide {
    /// To every place, its taps side by side.
    Unit,
    /// In steps, or with taps apart along other axes than the last.
    Coarse,
    /// The taps of a row of the kernel lie apart.
    Dilated,
}

impl Slide {
    /// That of a convolution; either may have no axes at all.
    #[must_use]
    pub fn of<T: PartialEq + From<u8>>(stride: &[T], dilation: &[T]) -> Self {
        let one = |n: &T| *n == T::from(1);
        if dilation.last().is_some_and(|d| !one(d)) {
            return Self::Dilated;
        }
        if stride.iter().chain(dilation).all(one) { Self::Unit } else { Self::Coarse }
    }
}

impl Weights {
    /// Packs `[out, in / groups, D, H, W]`.
    ///
    /// # Panics
    /// When the weights do not have this shape.
    #[must_use]
    pub fn pack(weights: &[i8], groups: usize, out_channels: usize, kernel: [usize; 3], slide: Slide) -> Self {
        Self::pack_for(Isa::best(), weights, groups, out_channels, kernel, slide)
    }

    /// [`Weights::pack`] for the kernels of `isa`.
    pub(super) fn pack_for(
        isa: Isa,
        weights: &[i8],
        groups: usize,
        out_channels: usize,
        kernel: [usize; 3],
        slide: Slide,
    ) -> Self {
        let taps: usize = kernel.iter().product();
        let (groups, out_group) = (groups.max(1), out_channels / groups.max(1));
        let in_group = weights.len() / (out_channels * taps).max(1);
        assert_eq!(weights.len(), out_group * groups * in_group * taps, "weights do not fit their shape");
        let sums = weights.chunks((in_group * taps).max(1)).map(|w| w.iter().map(|v| i32::from(*v)).sum()).collect();
        let apart = in_group == 1 && out_group == 1 && groups > 1;
        let rows = groups == 1 && slide != Slide::Dilated;
        let (runs, length) = if rows { (taps / kernel[2], kernel[2] * in_group) } else { (taps, in_group) };
        let shape = [groups, out_group, in_group, taps];
        let step = if isa.reads_words() { words::PAIR } else { QUAD };
        let tiles = isa.reads_words() && slide == Slide::Unit && winograd::suits(groups, in_group, kernel);
        let codes = match (isa.reads_words(), apart) {
            (true, false) if tiles => Codes::Words(winograd::pack(weights, in_group)),
            (false, true) => Codes::Bytes(depthwise(weights, groups, taps)),
            (false, false) => Codes::Bytes(in_runs(weights, shape, runs, length, step)),
            (true, true) => Codes::Words(in_steps(&in_pairs(weights, groups, taps))),
            (true, false) => Codes::Words(in_steps(&in_runs(weights, shape, runs, length, step))),
        };
        let form = if tiles {
            Form::Tiles
        } else if apart {
            Form::Depthwise
        } else {
            Form::Runs { runs, steps: length.div_ceil(step), rows }
        };
        Self { isa, groups, in_group, out_group, kernel, form, codes, sums }
    }

    /// Packs the right matrix `[k, n]` of a product: a convolution with one tap.
    #[must_use]
    pub fn pack_matrix(matrix: &[i8], k: usize, n: usize) -> Self {
        let turned: Vec<i8> = (0..n).flat_map(|j| (0..k).map(move |i| matrix[i * n + j])).collect();
        Self::pack(&turned, 1, n, [1; 3], Slide::Unit)
    }

    /// Sum of each output channel's weights: what a zero point of the data is multiplied by.
    #[must_use]
    pub fn sums(&self) -> &[i32] {
        &self.sums
    }

    /// Number of weights held, with those that fill up steps and lanes.
    pub(super) fn size(&self) -> usize {
        match &self.codes {
            Codes::Bytes(codes) => codes.len(),
            Codes::Words(codes) => codes.len() * LANES * words::PAIR,
        }
    }

    /// Number of output channels.
    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.groups * self.out_group
    }

    /// Number of input channels.
    #[must_use]
    pub fn in_channels(&self) -> usize {
        self.groups * self.in_group
    }
}

fn depthwise(weights: &[i8], channels: usize, taps: usize) -> Vec<i8> {
    let wide = channels.next_multiple_of(LANES);
    let mut data = vec![0; taps * wide];
    for (channel, own) in weights.chunks(taps).enumerate() {
        for (tap, w) in own.iter().enumerate() {
            data[tap * wide + channel] = *w;
        }
    }
    data
}

/// `[block][pair of taps][half][lane][2]`: the last of an odd number of taps stands beside zeros. Eight
/// channels are there twice, for two places at once.
fn in_pairs(weights: &[i8], channels: usize, taps: usize) -> Vec<i8> {
    let size = taps.next_multiple_of(words::PAIR) * LANES;
    let mut data = vec![0; channels.div_ceil(LANES) * size];
    for (i, codes) in data.chunks_exact_mut(words::PAIR).enumerate() {
        let (block, pair) = (i * words::PAIR / size, i * words::PAIR % size / (LANES * words::PAIR));
        let lane = words::lane_of(i / 8 % 2, i % 8);
        let channel = if channels == LANES / 2 { lane % channels } else { block * LANES + lane };
        for (j, code) in codes.iter_mut().enumerate() {
            let tap = pair * words::PAIR + j;
            if channel < channels && tap < taps {
                *code = weights[channel * taps + tap];
            }
        }
    }
    data
}

fn in_steps(codes: &[i8]) -> Vec<words::Step> {
    codes.chunks_exact(LANES * words::PAIR).map(|c| words::Step(std::array::from_fn(|i| i16::from(c[i])))).collect()
}

fn in_runs(weights: &[i8], [groups, out_group, in_group, taps]: [usize; 4], runs: usize, length: usize, step: usize) -> Vec<i8> {
    let (blocks, steps) = (out_group.div_ceil(LANES), length.div_ceil(step));
    let mut data = vec![0; groups * blocks * runs * steps * LANES * step];
    let per_run = taps / runs.max(1);
    for (channel, own) in weights.chunks((in_group * taps).max(1)).enumerate() {
        let (group, within) = (channel / out_group, channel % out_group);
        let block = group * blocks + within / LANES;
        for input in 0..in_group {
            for tap in 0..taps {
                let (run, place) = (tap / per_run, tap % per_run * in_group + input);
                let at = ((block * runs + run) * steps + place / step) * LANES + within % LANES;
                data[at * step + place % step] = own[input * taps + tap];
            }
        }
    }
    data
}
