//! Sums of outer products of what lies at two places, over all pairs of places that lie equally far apart: what
//! second moments of a layer's inputs are made of.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]

use super::aligned::Aligned;
use super::isa::Isa;
use super::tile::{self, Shared, Tile};
use super::widest::{Work, widest};
use super::{is_stopped, parts, tasks};
use std::cell::RefCell;

/// Images [samples, lines, places of a line, channels].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    pub samples: usize,
    pub lines: usize,
    pub wide: usize,
    pub channels: usize,
}

/// How far apart two places lie: lines, and places along a line.
pub type Lag = (isize, isize);

/// Values that are summed in f32 before they are added in f64, and the places that they are of: both operands lie in
/// a common second-level cache.
const VALUES: usize = 1 << 15;
const FEWEST: usize = 256;
const MOST: usize = 2048;
/// Rows of a result that one task computes.
const TALL: usize = 64;
/// Channels that one task turns into planes.
const TURNED: usize = 8;

thread_local! {
    static PLANES: RefCell<Aligned> = RefCell::new(Aligned::default());
    static MADE: RefCell<Aligned> = RefCell::new(Aligned::default());
}

impl Extent {
    /// Rows of a matrix: places that have nothing to do with each other.
    #[must_use]
    pub fn rows(count: usize, width: usize) -> Self {
        Self { samples: 1, lines: count, wide: 1, channels: width }
    }

    #[must_use]
    pub fn places(&self) -> usize {
        self.samples * self.lines * self.wide
    }

    /// Values of one line.
    fn line(&self) -> usize {
        self.wide * self.channels
    }
}

/// Adds to `sums` [lags × channels × channels] for every lag `Σ_q left[q][i]·right[q + lag][j]`, over all places q; what
/// lies outside an image is zero. Without `right` both are the same data, and at no lag only places j ≥ i (and some
/// others) are summed. Products are summed in f32, some thousand at a time, those sums in f64, in the order of places.
///
/// # Panics
/// When a slice is shorter than its extent.
pub fn add_lagged(left: &[f32], right: Option<&[f32]>, extent: Extent, lags: &[Lag], sums: &mut [f64]) {
    let c = extent.channels;
    if extent.places() == 0 || c == 0 || lags.is_empty() {
        return;
    }
    // Columns one place wide are lines as well.
    let is_column = extent.wide == 1 && lags.iter().any(|lag| lag.0 != 0);
    let extent = if is_column { Extent { lines: 1, wide: extent.lines, ..extent } } else { extent };
    let lags: Vec<Lag> = lags.iter().map(|lag| if is_column { (lag.1, lag.0) } else { *lag }).collect();
    let operands = Operands { left, right: right.unwrap_or(left), is_one: right.is_none(), extent, halo: Halo::of(&lags) };
    let size = (VALUES / c).clamp(FEWEST, MOST);
    let bands = bands(extent, size);
    let wave = size.div_ceil(extent.wide * bands.first().map_or(1, |b| b.lines)).max(1);
    let mut planes = PLANES.take();
    for bands in bands.chunks(wave) {
        if is_stopped() {
            break;
        }
        let wave = Wave::pack(&operands, bands, &mut planes);
        let items = sums
            .chunks_mut(c * c)
            .zip(&lags)
            .flat_map(|(sum, lag)| sum.chunks_mut(TALL * c).enumerate().map(move |(part, out)| (*lag, part * TALL, out)));
        tasks(items, &|_, (lag, from, out)| wave.add(lag, from, out));
    }
    PLANES.replace(planes);
}

/// How far lags reach.
#[derive(Clone, Copy)]
struct Halo {
    lines: usize,
    wide: usize,
}

impl Halo {
    fn of(lags: &[Lag]) -> Self {
        let most = |of: fn(&Lag) -> isize| lags.iter().map(|lag| of(lag).unsigned_abs()).max().unwrap_or(0);
        Self { lines: most(|lag| lag.0), wide: most(|lag| lag.1) }
    }
}

#[derive(Clone, Copy)]
struct Operands<'a> {
    left: &'a [f32],
    right: &'a [f32],
    is_one: bool,
    extent: Extent,
    halo: Halo,
}

/// Some lines of one image.
struct Band {
    sample: usize,
    from: usize,
    lines: usize,
}

/// All lines in their order, about `size` places at a time.
fn bands(extent: Extent, size: usize) -> Vec<Band> {
    let lines = (size / extent.wide.max(1)).clamp(1, extent.lines);
    let of =
        |sample| (0..extent.lines).step_by(lines).map(move |from| Band { sample, from, lines: lines.min(extent.lines - from) });
    (0..extent.samples).flat_map(of).collect()
}

/// Some bands, ready to be multiplied: the right operand as it lies, a row of channels per place, the left one a plane
/// per channel, with zeros around.
struct Wave<'a> {
    operands: &'a Operands<'a>,
    right: &'a [f32],
    /// The end of the right operand, where vectors of channels would reach beyond it.
    copied: Vec<f32>,
    places: usize,
    planes: &'a [f32],
    /// Values of a plane.
    plane: usize,
    /// Where in a plane each line of places begins for the largest lag, and its places.
    runs: Vec<usize>,
    run: usize,
}

impl<'a> Wave<'a> {
    fn pack(operands: &'a Operands<'a>, bands: &[Band], buffer: &'a mut Aligned) -> Self {
        let Operands { right, extent, halo, .. } = *operands;
        let step = extent.wide + halo.wide;
        let lines: usize = bands.iter().map(|b| b.lines + 2 * halo.lines).sum();
        // An odd number of cache lines: planes that lie a power of two apart push each other out.
        let plane = (halo.wide + lines * step).div_ceil(16);
        let plane = 16 * (plane + usize::from(plane.is_multiple_of(2)));
        let planes = buffer.reach(extent.channels * plane);
        parts(planes, TURNED * plane, &|part, out| operands.turn(bands, part * TURNED, (plane, step), out));
        let first = bands.first().map_or(0, |b| (b.sample * extent.lines + b.from) * extent.line());
        let places = bands.iter().map(|b| b.lines).sum::<usize>() * extent.wide;
        let (mut runs, mut at) = (Vec::new(), 0);
        for band in bands {
            runs.extend((0..band.lines).map(|line| (at + line) * step));
            at += band.lines + 2 * halo.lines;
        }
        let is_whole = halo.lines + halo.wide == 0;
        let (runs, run) = if is_whole { (vec![0], places) } else { (runs, extent.wide) };
        let right = &right[first..];
        let slack = Isa::best().lanes();
        let reaches = extent.channels.is_multiple_of(slack) || right.len() >= places * extent.channels + slack;
        let mut copied = Vec::new();
        if !reaches {
            copied.extend_from_slice(&right[..places * extent.channels]);
            copied.resize(places * extent.channels + slack, 0.0);
        }
        Self { operands, right, copied, places, planes, plane, runs, run }
    }

    /// Adds the sums of one lag, for channels of the left operand from `from` on.
    fn add(&self, lag: Lag, from: usize, out: &mut [f64]) {
        let (isa, Operands { extent, halo, is_one, .. }) = (Isa::best(), *self.operands);
        let (c, lanes) = (extent.channels, isa.lanes());
        let rows = out.len() / c;
        // Of a symmetric result what lies below the diagonal is known from above.
        let begin = if is_one && lag == (0, 0) { from / lanes * lanes } else { 0 };
        let wide = c - begin;
        let up = |halo: usize, lag: isize| halo.wrapping_add_signed(-lag);
        let at = from * self.plane + up(halo.lines, lag.0) * (extent.wide + halo.wide) + up(halo.wide, lag.1);
        let mut made = MADE.take();
        let tiles = made.reach(rows * wide);
        let shared = Shared::new(tiles);
        let (mut block, blocks) = (0, wide.div_ceil(lanes));
        while block < blocks {
            let taken = tile::blocks(isa, blocks - block, rows);
            let end = begin + (block + taken) * lanes;
            let tile = Tile {
                data: self.planes,
                at,
                step: self.plane,
                runs: &self.runs,
                run: self.run,
                weights: if self.copied.is_empty() { self.right } else { &self.copied },
                weights_at: begin + block * lanes,
                block_stride: lanes,
                weights_step: c,
                init: &[0.0; 64],
                valid: if end > c { lanes - (end - c) } else { lanes },
                residual: None,
                limits: (f32::NEG_INFINITY, f32::INFINITY),
            };
            tile::run(isa, &tile, rows, taken, shared, block * lanes, wide);
            block += taken;
        }
        for (sums, line) in out.chunks_mut(c).zip(tiles.chunks(wide)) {
            widest(Widen(line, &mut sums[begin..]));
        }
        MADE.replace(made);
        debug_assert!(self.runs.len() * self.run == self.places, "every place once");
    }
}

impl Operands<'_> {
    /// Planes of the left operand's channels from `from` on, each line with its halo.
    fn turn(&self, bands: &[Band], from: usize, (plane, step): (usize, usize), out: &mut [f32]) {
        let Self { left, extent, halo, .. } = *self;
        // Zeros before the first line, and from `at` on; `beside` of a line are between it and the next.
        let blank =
            |out: &mut [f32], at: usize, count: usize| out.chunks_mut(plane).for_each(|out| out[at..at + count].fill(0.0));
        blank(out, 0, halo.wide);
        let mut at = halo.wide;
        for band in bands {
            if halo.lines + halo.wide == 0 {
                let source = &left[(band.sample * extent.lines + band.from) * extent.line() + from..];
                let wide = band.lines * extent.wide;
                widest(Turn { source, channels: extent.channels, wide, plane, out: &mut out[at..] });
                at += wide;
                continue;
            }
            for line in 0..band.lines + 2 * halo.lines {
                // A line of the halo above the first, or below the last, is zero.
                match (band.from + line).checked_sub(halo.lines).filter(|line| *line < extent.lines) {
                    Some(line) => {
                        let source = &left[(band.sample * extent.lines + line) * extent.line()..][..extent.line()];
                        widest(Turn {
                            source: &source[from..],
                            channels: extent.channels,
                            wide: extent.wide,
                            plane,
                            out: &mut out[at..],
                        });
                        blank(out, at + extent.wide, halo.wide);
                    }
                    None => blank(out, at, step),
                }
                at += step;
            }
        }
        blank(out, at, plane - at);
    }
}

/// Turns places of up to [`TURNED`] channels into a line for each of them, `plane` values apart.
struct Turn<'a> {
    source: &'a [f32],
    channels: usize,
    wide: usize,
    plane: usize,
    out: &'a mut [f32],
}

impl Work for Turn<'_> {
    #[inline(always)]
    fn run(self) {
        let Self { source, channels, wide, plane, out } = self;
        let count = out.len().div_ceil(plane).min(TURNED);
        // Squares first, of as many places as channels: both sides stay in registers.
        let squares = if count == TURNED { wide / TURNED } else { 0 };
        for first in (0..squares).map(|square| square * TURNED) {
            let mut square = [[0.0; TURNED]; TURNED];
            for (values, place) in square.iter_mut().zip(source[first * channels..].chunks(channels)) {
                values.copy_from_slice(&place[..TURNED]);
            }
            for (channel, out) in out.chunks_mut(plane).enumerate() {
                let line: [f32; TURNED] = std::array::from_fn(|place| square[place][channel % TURNED]);
                out[first..first + TURNED].copy_from_slice(&line);
            }
        }
        let rest = squares * TURNED;
        for (channel, out) in out.chunks_mut(plane).enumerate() {
            let values = source.iter().skip(rest * channels + channel).step_by(channels);
            out[rest..wide].iter_mut().zip(values).for_each(|(o, v)| *o = *v);
        }
    }
}

struct Widen<'a>(&'a [f32], &'a mut [f64]);

impl Work for Widen<'_> {
    #[inline(always)]
    fn run(self) {
        for (sum, x) in self.1.iter_mut().zip(self.0) {
            *sum += f64::from(*x);
        }
    }
}

/// Rows of a matrix that one task sums.
const SUMMED: usize = 256;

/// Adds the sum of each column of `rows` [any × width].
pub fn add_columns(rows: &[f32], sums: &mut [f64]) {
    let width = sums.len().max(1);
    let mut partial = vec![0.0; (rows.len() / width).div_ceil(SUMMED) * width];
    parts(&mut partial, width, &|part, sums| {
        for row in rows.chunks(width).skip(part * SUMMED).take(SUMMED) {
            widest(Widen(row, sums));
        }
    });
    for part in partial.chunks(width) {
        sums.iter_mut().zip(part).for_each(|(sum, x)| *sum += x);
    }
}

/// Makes a matrix [k × k] of which only the upper triangle is known symmetric.
pub fn mirror(gram: &mut [f64], k: usize) {
    for i in 0..k {
        for j in 0..i {
            gram[i * k + j] = gram[j * k + i];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    fn plain(left: &[f32], right: &[f32], extent: Extent, lag: Lag) -> Vec<f64> {
        let Extent { samples, lines, wide, channels: c } = extent;
        let mut sums = vec![0.0; c * c];
        let (high, across) = (lines as isize, wide as isize);
        for place in 0..samples * lines * wide {
            let (sample, y, x) = (place / (lines * wide), place / wide % lines, place % wide);
            let (v, u) = (y as isize + lag.0, x as isize + lag.1);
            if (0..high).contains(&v) && (0..across).contains(&u) {
                let other = (sample * lines + v as usize) * wide + u as usize;
                for k in 0..c * c {
                    sums[k] += f64::from(left[place * c + k / c]) * f64::from(right[other * c + k % c]);
                }
            }
        }
        sums
    }

    #[test]
    fn sums_are_the_plain_ones_at_every_lag() {
        let mut random = Random::new(7);
        let lags: Vec<Lag> = vec![(0, 0), (0, 2), (1, -2), (-1, 1), (2, 0)];
        let at = |samples, lines, wide, channels| Extent { samples, lines, wide, channels };
        for extent in [at(2, 5, 6, 3), at(3, 4, 4, 16), at(1, 1, 40, 9), at(2, 30, 1, 5), at(1, 2, 3, 70), at(9, 40, 30, 8)] {
            let values = extent.places() * extent.channels;
            let x: Vec<f32> = (0..values).map(|_| random.normal()).collect();
            let y: Vec<f32> = (0..values).map(|_| random.normal()).collect();
            let c = extent.channels;
            let mut sums = vec![1.0; lags.len() * c * c];
            add_lagged(&x, Some(&y), extent, &lags, &mut sums);
            let mut own = vec![1.0; lags.len() * c * c];
            add_lagged(&x, None, extent, &lags, &mut own);
            mirror(&mut own[..c * c], c);
            for (i, lag) in lags.iter().enumerate() {
                let near = |made: &[f64], exact: &[f64]| {
                    made.iter().zip(exact).all(|(a, b)| (a - 1.0 - b).abs() < 1e-3 + 2e-6 * b.abs())
                };
                assert!(near(&sums[i * c * c..][..c * c], &plain(&x, &y, extent, *lag)), "{extent:?} {lag:?}");
                assert!(near(&own[i * c * c..][..c * c], &plain(&x, &x, extent, *lag)), "{extent:?} {lag:?}");
            }
        }
    }

    #[test]
    fn rows_of_a_matrix_have_no_neighbors() {
        let mut random = Random::new(8);
        for (count, width) in [(1, 1), (700, 5), (33, 150)] {
            let x: Vec<f32> = (0..count * width).map(|_| random.normal()).collect();
            let (mut sums, mut columns) = (vec![0.0; width * width], vec![0.5; width]);
            add_lagged(&x, None, Extent::rows(count, width), &[(0, 0)], &mut sums);
            mirror(&mut sums, width);
            add_columns(&x, &mut columns);
            let exact = plain(&x, &x, Extent::rows(count, width), (0, 0));
            assert!(sums.iter().zip(&exact).all(|(a, b)| (a - b).abs() < 1e-3), "{count} {width}");
            for (j, sum) in columns.iter().enumerate() {
                let column: f64 = x.iter().skip(j).step_by(width).map(|v| f64::from(*v)).sum();
                assert!((sum - 0.5 - column).abs() < 1e-9);
            }
        }
    }
}
