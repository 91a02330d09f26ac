//! How the inner loops go over an image, line by line.

use super::convolve::{Element, Geometry, with_scratch};
use super::finish::{Direct, Target, finish};
use super::pack::{Codes, Form};
use super::tile::{Sums, Tile, blocks_with, places_with, run};
use super::{Finish, LANES, QUAD, Sink, Weights, depthwise, words};
use std::ops::Range;

/// Output places per line where all places are alike: a multiple of every tile's.
const LINE: usize = 168;

/// The same where a line becomes words first: as many as a first-level cache holds, but not so few that
/// the weights are read for nothing.
fn line_of_words(channels: usize) -> usize {
    (8192 / channels.max(1) / 6 * 6).clamp(36, LINE)
}

/// How the input is walked: lines of output places that lie a constant apart.
pub(super) struct Walk {
    /// Lines, and places of each (the last may have fewer).
    pub lines: usize,
    pub line: usize,
    places: usize,
    /// Output rows per depth, and where lines begin: `base(line) = line / rows · deep + line % rows · down`.
    rows: usize,
    deep: usize,
    down: usize,
    /// From one place to the next.
    stride: usize,
    /// From a place to its runs.
    runs: Vec<usize>,
    /// The input must be copied into a border first, or made words of.
    pub copies: bool,
}

/// One share of an image.
pub(super) struct Job<'a> {
    pub weights: &'a Weights,
    pub data: Data<'a>,
    pub how: &'a Finish<'a>,
    /// What [`Walk::direct`] says.
    pub direct: Option<&'a [Direct]>,
    pub first: usize,
    pub last: usize,
    /// Places before the share's first, over all images.
    pub before: usize,
}

/// An image, as it came or in a border.
#[derive(Debug, Clone, Copy)]
pub(super) enum Data<'a> {
    Bytes(&'a [u8]),
    Words(&'a [i16]),
}

impl Walk {
    pub fn new(g: &Geometry, weights: &Weights) -> Self {
        let channels = weights.in_channels();
        let words = matches!(weights.codes, Codes::Words(_));
        let one_row = g.is_pointwise() && g.output[0] == 1 && g.output[1] == 1;
        let unfit = match weights.form {
            // Words are made of a whole image at once, or of one line where no place reads another's.
            Form::Runs { .. } if words => !one_row,
            Form::Tiles => false,
            Form::Depthwise => words || !channels.is_multiple_of(LANES),
            Form::Runs { steps, rows, .. } => {
                let length = if rows { g.kernel[2] * channels } else { weights.in_group };
                steps * QUAD > length
            }
        };
        let copies = unfit || !g.stays_inside();
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
        // Words of taps go two by two; what stands beside the last has no weight.
        if let (true, Form::Depthwise, Some(last)) = (words && runs.len() % words::PAIR != 0, weights.form, runs.last()) {
            runs.push(*last);
        }
        let places = g.out_places();
        if one_row {
            let line = if words { line_of_words(channels) } else { LINE }.min(places);
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

    pub fn run(&self, job: &Job<'_>, mut sink: Sink<'_>) {
        match (&job.weights.codes, job.weights.form, job.data) {
            (Codes::Bytes(w), Form::Depthwise, Data::Bytes(x)) => self.run_depthwise(job, w, x, &mut sink),
            (Codes::Bytes(w), Form::Runs { steps, .. }, Data::Bytes(x)) => self.run_blocks(job, w, x, steps, &mut sink),
            (Codes::Words(w), Form::Depthwise, Data::Words(data)) => {
                let lines = Lines { data, from: 0, range: job.first..job.last };
                self.run_apart(job, w, &lines, &mut sink);
            }
            (Codes::Words(w), Form::Runs { steps, .. }, Data::Words(data)) => {
                let lines = Lines { data, from: 0, range: job.first..job.last };
                self.run_words(job, w, steps, &lines, &mut sink);
            }
            (Codes::Words(w), Form::Runs { steps, .. }, Data::Bytes(x)) => {
                let channels = job.weights.in_channels();
                for line in job.first..job.last {
                    let (from, size) = (self.base(line), self.length(line) * channels);
                    with_scratch(size, |data| {
                        i16::copy(&x[from..from + size], data);
                        let lines = Lines { data, from, range: line..line + 1 };
                        self.run_words(job, w, steps, &lines, &mut sink);
                    });
                }
            }
            (Codes::Words(_), Form::Depthwise, Data::Bytes(_)) | (Codes::Bytes(_), _, Data::Words(_)) | (_, Form::Tiles, _) => {
                unreachable!("data are made as the weights want them, and tiles go their own way")
            }
        }
    }

    /// What writes bytes straight from the tiles of each block; `None` where results go another way.
    pub fn direct(&self, w: &Weights, how: &Finish<'_>, sink: &Sink<'_>) -> Option<Vec<Direct>> {
        let column = |how: &Finish<'_>, channels, apart| Direct::new(w.isa, how, sink, channels, apart);
        match (&w.codes, w.form) {
            (Codes::Words(_), Form::Depthwise) => {
                let halves = self.halves_apart(w, how);
                let (how, of) = halves.as_ref().map_or((*how, w.groups), |halves| (halves.finish(how), LANES));
                (0..of).step_by(LANES).map(|first| column(&how, [first, LANES.min(of - first)], true)).collect()
            }
            (Codes::Words(codes), Form::Runs { steps, .. }) => {
                self.blocks(w, codes, steps).map(|block| column(how, block.channels, false)).collect()
            }
            _ => None,
        }
    }

    /// Lines of words times blocks of 16 output channels.
    fn run_words(&self, job: &Job<'_>, codes: &[words::Step], pairs: usize, own: &Lines<'_>, sink: &mut Sink<'_>) {
        let w = job.weights;
        if let (Some(columns), Sink::Bytes(out)) = (job.direct, &mut *sink) {
            for (block, column) in self.blocks(w, codes, pairs).zip(columns) {
                let ([channel, channels], of) = (block.channels, w.out_channels());
                let lanes = if channels <= LANES / 2 { LANES / 2 } else { LANES };
                for line in own.range.clone() {
                    let base = self.base(line) - own.from + block.from;
                    let (weights, data, stride) = (block.weights, own.data, self.stride);
                    let tiles = words::Line { weights, lanes, pairs, data, base, stride, runs: &self.runs };
                    let out = &mut out[(line - job.first) * self.line * of + channel..];
                    words::run_direct(&tiles, self.length(line), column, out, of);
                }
            }
            return;
        }
        let halves = self.halves(w, job.how).filter(|_| w.groups == 1);
        let fold = if halves.is_some() { 2 } else { 1 };
        let stretches = self.stretches(own.range.clone(), fold);
        with_scratch(words::PLACES * LANES, |sums: &mut [i32]| {
            for block in self.blocks(w, codes, pairs) {
                for s in &stretches {
                    for (row, sums) in sums.chunks_mut(s.places * LANES).take(s.rows).enumerate() {
                        let base = self.base(s.line + row) - own.from + block.from + s.place * fold * self.stride;
                        let (data, stride, runs) = (own.data, self.stride, self.runs.as_slice());
                        let lanes = LANES / fold;
                        let line = words::Line { weights: block.weights, lanes, pairs, data, base, stride, runs };
                        words::run(w.isa, &line, s.places * fold, sums);
                    }
                    let at = (s.line - job.first) * self.line / fold + s.place;
                    Self::finish_words(job, halves.as_ref(), sums, block.channels, [at, s.places * s.rows], sink);
                }
            }
        });
    }

    /// Blocks of up to 16 output channels of all groups.
    fn blocks<'a>(&self, w: &'a Weights, codes: &'a [words::Step], pairs: usize) -> impl Iterator<Item = Block<'a>> {
        let (size, per_group) = (self.runs.len() * pairs, w.out_group.div_ceil(LANES));
        (0..w.groups * per_group).map(move |index| {
            let (group, within) = (index / per_group, index % per_group * LANES);
            Block {
                weights: &codes[index * size..][..size],
                from: group * w.in_group,
                channels: [group * w.out_group + within, LANES.min(w.out_group - within)],
            }
        })
    }

    /// Lines of words whose channels stay apart.
    fn run_apart(&self, job: &Job<'_>, codes: &[words::Step], own: &Lines<'_>, sink: &mut Sink<'_>) {
        let w = job.weights;
        if let (Some(columns), Sink::Bytes(out)) = (job.direct, &mut *sink) {
            return self.write_apart(job, codes, own, columns, out);
        }
        let halves = self.halves_apart(w, job.how);
        let fold = if halves.is_some() { 2 } else { 1 };
        with_scratch(words::PLACES * LANES, |sums: &mut [i32]| {
            for s in self.stretches(own.range.clone(), fold) {
                for (block, weights) in codes.chunks_exact(self.runs.len() / words::PAIR).enumerate() {
                    let (channel, stride) = (block * LANES, self.stride * fold);
                    for (row, sums) in sums.chunks_mut(s.places * LANES).take(s.rows).enumerate() {
                        let base = self.base(s.line + row) - own.from + s.place * stride + channel;
                        let line = words::Apart { weights, data: own.data, base, stride, rows: 1, down: 0, taps: &self.runs };
                        words::run_apart(w.isa, &line, s.places, sums);
                    }
                    let at = (s.line - job.first) * self.line / fold + s.place;
                    let channels = LANES.min(w.groups - channel);
                    Self::finish_words(job, halves.as_ref(), sums, [channel, channels], [at, s.places * s.rows], sink);
                }
            }
        });
    }

    /// [`Walk::run_apart`] where the bytes are written at once.
    fn write_apart(&self, job: &Job<'_>, codes: &[words::Step], own: &Lines<'_>, columns: &[Direct], out: &mut [u8]) {
        let w = job.weights;
        // A column of more channels than there are is of two places.
        let fold = if columns.iter().any(|c| c.count() > w.groups) { 2 } else { 1 };
        let (stride, of) = (self.stride * fold, w.groups * fold);
        let alike = self.lines * self.line == self.places;
        let most = if alike { words::PLACES.div_ceil((self.line / fold).max(1)) } else { 1 };
        let mut line = own.range.start;
        while line < own.range.end {
            // Rows of one plane lie a constant apart.
            let rows = most.min(own.range.end - line).min(self.rows - line % self.rows);
            for (block, (weights, column)) in codes.chunks_exact(self.runs.len() / words::PAIR).zip(columns).enumerate() {
                let base = self.base(line) - own.from + block * LANES;
                let out = &mut out[(line - job.first) * self.line * w.groups + block * LANES..];
                let (data, down) = (own.data, self.down);
                let tiles = words::Apart { weights, data, base, stride, rows, down, taps: &self.runs };
                words::run_apart_direct(&tiles, self.length(line) / fold, column, out, of);
            }
            line += rows;
        }
    }

    /// Pieces of lines whose sums are held together: several short lines, or a part of a long one. A
    /// place stands for `fold` places.
    fn stretches(&self, lines: Range<usize>, fold: usize) -> Vec<Stretch> {
        let alike = self.lines * self.line == self.places;
        let together = if alike { (words::PLACES * fold / self.line.max(1)).max(1) } else { 1 };
        let mut all = Vec::new();
        for line in lines.clone().step_by(together) {
            let length = self.length(line) / fold;
            let (rows, count) = (together.min(lines.end - line), length.div_ceil(words::PLACES));
            let mut place = 0;
            for left in (1..=count).rev() {
                let places = (length - place).div_ceil(left);
                all.push(Stretch { line, rows, place, places });
                place += places;
            }
        }
        all
    }

    /// Where there are eight output channels, two places fill the lanes: one place of 16 channels then,
    /// which lies in memory as the two do.
    fn halves(&self, w: &Weights, how: &Finish<'_>) -> Option<Halves> {
        // What comes before a share is whole lines.
        let even = [self.line, self.places].iter().all(|n| n.is_multiple_of(2));
        (even && w.out_channels() == LANES / 2).then(|| Halves::new(how))
    }

    /// The same where channels stay apart: places beside each other have to read beside each other.
    fn halves_apart(&self, w: &Weights, how: &Finish<'_>) -> Option<Halves> {
        self.halves(w, how).filter(|_| self.stride == w.groups)
    }

    /// `places` are pairs of places where there are `halves`.
    fn finish_words(
        job: &Job<'_>,
        halves: Option<&Halves>,
        sums: &[i32],
        [channel, channels]: [usize; 2],
        [at, places]: [usize; 2],
        sink: &mut Sink<'_>,
    ) {
        let isa = job.weights.isa;
        let Some(halves) = halves else {
            let of = job.weights.out_channels();
            let target = Target { channel, channels, width: LANES, of, places, at, before: job.before };
            return finish(isa, sums, target, job.how, sink);
        };
        let before = job.before / 2;
        let target = Target { channel: 0, channels: LANES, width: LANES, of: LANES, places, at, before };
        finish(isa, sums, target, &halves.finish(job.how), sink);
    }

    fn run_blocks(&self, job: &Job<'_>, codes: &[i8], data: &[u8], quads: usize, sink: &mut Sink<'_>) {
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
                let weights = &codes[(group * per_group + block) * block_size..][..blocks * block_size];
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
                        let tile = Tile { weights, quads, data, base, stride: self.stride, runs: &self.runs, reach };
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

    fn run_depthwise(&self, job: &Job<'_>, codes: &[i8], data: &[u8], sink: &mut Sink<'_>) {
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
                    let tile =
                        depthwise::Tile { weights: &codes[channel..], wide, data, base, stride: self.stride, taps: &self.runs };
                    depthwise::run(w.isa, &tile, places, &mut sums);
                    let at = (line - job.first) * self.line + place;
                    let target = Target { channel, channels, width: LANES, of, places, at, before: job.before };
                    finish(w.isa, &sums, target, job.how, sink);
                }
            }
        }
    }
}

/// Lines of words that go together.
struct Lines<'a> {
    data: &'a [i16],
    /// Where in the image `data` begin.
    from: usize,
    range: Range<usize>,
}

/// Up to 16 output channels of one group.
struct Block<'a> {
    weights: &'a [words::Step],
    /// The group's first input channel.
    from: usize,
    /// The first, and how many.
    channels: [usize; 2],
}

/// `places` from `place` on of `rows` lines from `line` on.
struct Stretch {
    line: usize,
    rows: usize,
    place: usize,
    places: usize,
}

/// What eight channels are finished with, twice.
struct Halves {
    offset: [i32; LANES],
    scale: [f32; LANES],
    bias: [f32; LANES],
}

impl Halves {
    fn new(how: &Finish<'_>) -> Self {
        fn twice<T: Copy + Default>(values: &[T]) -> [T; LANES] {
            std::array::from_fn(|i| values.get(i % (LANES / 2)).copied().unwrap_or_default())
        }
        Self { offset: twice(how.offset), scale: twice(how.scale), bias: twice(how.bias) }
    }

    fn finish<'a>(&'a self, how: &Finish<'a>) -> Finish<'a> {
        let scaled = if how.scale.is_empty() { 0 } else { LANES };
        Finish { offset: &self.offset, scale: &self.scale[..scaled], bias: &self.bias[..scaled], ..*how }
    }
}
