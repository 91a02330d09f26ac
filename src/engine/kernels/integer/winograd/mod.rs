//! 3 × 3 convolutions of stride 1 with 16 products for 4 results instead of 36: F(2×2, 3×3) of Lavin and
//! Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), in whole numbers. The kernel's
//! numbers are held four times too large, which makes them whole; all that follows is additions and
//! products modulo 2³², and the results are exactly four times the sums.

#[cfg(target_arch = "x86_64")]
mod avx2;

use super::convolve::{Geometry, shares, with_padded, with_scratch};
use super::finish::{Target, finish};
use super::pack::Codes;
use super::{Finish, Isa, LANES, Sink, Weights, words};
use crate::engine::kernels::threads;
use std::array::from_fn;
use std::ops::{Range, RangeInclusive};

/// Numbers of a tile.
const NUMBERS: usize = 16;
/// Most tiles of a pass, and fewest: below that the weights are read too often.
const TILES: RangeInclusive<usize> = 12..=48;
/// Bytes of transformed tiles that a pass takes: part of a second-level cache.
const PASS_BYTES: usize = 128 << 10;
/// Most input channels: four times the largest sum still fits 32 bits.
const DEPTH: usize = i32::MAX as usize / (4 * 9 * 255 * 128);

/// Whether this way is possible for words of so many channels. All vectors are whole.
pub(super) fn suits(groups: usize, inputs: usize, kernel: [usize; 3]) -> bool {
    groups == 1 && kernel == [1, 3, 3] && inputs > 0 && inputs.is_multiple_of(LANES) && inputs <= DEPTH
}

/// `4 · G g Gᵀ` of every kernel of `[out, in, 3, 3]`: `[block][number][pair][lane][2]`.
pub(super) fn pack(weights: &[i8], inputs: usize) -> Vec<words::Step> {
    let outputs = weights.len() / (9 * inputs);
    let pairs = inputs / words::PAIR;
    let mut steps = vec![words::Step([0; LANES * words::PAIR]); outputs.div_ceil(LANES) * NUMBERS * pairs];
    for (i, kernel) in weights.as_chunks::<9>().0.iter().enumerate() {
        let (output, input) = (i / inputs, i % inputs);
        for (number, w) in transformed(kernel).into_iter().enumerate() {
            let step = (output / LANES * NUMBERS + number) * pairs + input / words::PAIR;
            steps[step].0[output % LANES * words::PAIR + input % words::PAIR] = w;
        }
    }
    steps
}

/// Four times `G g Gᵀ`: at most 9 · 128.
fn transformed(g: &[i8; 9]) -> [i16; NUMBERS] {
    let line = |[a, b, c]: [i16; 3]| [2 * a, a + b + c, a - b + c, 2 * c];
    let rows: [[i16; 4]; 3] = from_fn(|r| line(from_fn(|i| i16::from(g[3 * r + i]))));
    let columns: [[i16; 4]; 4] = from_fn(|c| line(from_fn(|r| rows[r][c])));
    from_fn(|i| columns[i % 4][i / 4])
}

/// Convolves `batch` images as [`super::convolve()`] does, which has checked all sizes.
pub(super) fn run(g: &Geometry, weights: &Weights, batch: usize, input: &[u8], zero: u8, how: &Finish<'_>, sink: Sink<'_>) {
    assert!(g.stride == [1; 3] && g.dilation == [1; 3], "weights do not fit the stride");
    let [depth, height, width] = g.output;
    let of = weights.out_channels();
    // Tiles cover an even number of rows and columns.
    let even = Geometry { output: [depth, height.next_multiple_of(2), width.next_multiple_of(2)], ..g.clone() };
    let rows = even.output[1] / 2;
    let per_part = if batch >= 4 || threads() == 1 { rows } else { rows.div_ceil(8) };
    let (image_size, per_image) = (input.len() / batch, g.out_places());
    // Planes of a volume are images of their own.
    let plane = even.covered()[1] * even.covered()[2] * weights.in_channels();
    let image = |index: usize, sink: Sink<'_>| {
        with_padded(&even, &input[index * image_size..][..image_size], weights.in_channels(), zero, |padded: &[u8]| {
            for (d, sink) in sink.split(height * width * of).into_iter().enumerate() {
                let share = Share { weights, how, output: [height, width], data: &padded[d * plane..][..plane] };
                let before = index * per_image + d * height * width;
                shares(sink, 2 * per_part * width * of, true, &|part, sink| {
                    let first = part * per_part;
                    share.run(first..(first + per_part).min(rows), before + 2 * first * width, sink);
                });
            }
        });
    };
    shares(sink, per_image * of, batch >= 4, &image);
}

/// One plane, in a border.
struct Share<'a> {
    weights: &'a Weights,
    how: &'a Finish<'a>,
    /// Rows and columns.
    output: [usize; 2],
    data: &'a [u8],
}

/// Tiles that go together: whole rows of them, or a part of one.
struct Pass {
    /// Of tiles.
    rows: Range<usize>,
    columns: Range<usize>,
}

impl Pass {
    fn tiles(&self) -> usize {
        self.rows.len() * self.columns.len()
    }
}

impl Share<'_> {
    /// Rows `rows` of tiles; `before` places come before the sink's first.
    fn run(&self, rows: Range<usize>, before: usize, mut sink: Sink<'_>) {
        let channels = self.weights.in_channels();
        let columns = self.output[1].div_ceil(2);
        let tiles = (PASS_BYTES / (NUMBERS * size_of::<i16>() * channels)).clamp(*TILES.start(), *TILES.end());
        let (together, parts) = ((tiles / columns).max(1), columns.div_ceil(tiles));
        with_scratch(NUMBERS * tiles * channels, |taken: &mut [i16]| {
            with_scratch((NUMBERS + 4) * tiles * LANES, |sums: &mut [i32]| {
                for row in rows.clone().step_by(together) {
                    let own = row..(row + together).min(rows.end);
                    for part in 0..parts {
                        let columns = part * columns / parts..(part + 1) * columns / parts;
                        let pass = Pass { rows: own.clone(), columns };
                        self.take(&pass, taken);
                        self.products(&pass, taken, sums, [rows.start, before], &mut sink);
                    }
                }
            });
        });
    }

    /// `Bᵀ d B` of all tiles: `[number][tile][channel]`.
    fn take(&self, pass: &Pass, to: &mut [i16]) {
        let channels = self.weights.in_channels();
        let row = (self.output[1].next_multiple_of(2) + 2) * channels;
        let step = pass.tiles() * channels;
        for (i, y) in pass.rows.clone().enumerate() {
            let from = &self.data[2 * y * row + 2 * pass.columns.start * channels..];
            let line = Line { from, row, channels, tiles: pass.columns.len(), step };
            take(self.weights.isa, &line, &mut to[i * pass.columns.len() * channels..]);
        }
    }

    fn products(&self, pass: &Pass, taken: &[i16], sums: &mut [i32], [first, before]: [usize; 2], sink: &mut Sink<'_>) {
        let Self { weights, how, output: [height, width], .. } = *self;
        let Codes::Words(codes) = &weights.codes else { unreachable!("words are what is packed for this way") };
        let (isa, channels, of, tiles) = (weights.isa, weights.in_channels(), weights.out_channels(), pass.tiles());
        let pairs = channels / words::PAIR;
        let (sums, given) = sums.split_at_mut(NUMBERS * tiles * LANES);
        for (block, codes) in codes.chunks_exact(NUMBERS * pairs).enumerate() {
            for (number, sums) in sums.chunks_exact_mut(tiles * LANES).enumerate() {
                let (weights, base) = (&codes[number * pairs..][..pairs], number * tiles * channels);
                let line = words::Line { weights, lanes: LANES, pairs, data: taken, base, stride: channels, runs: &[0] };
                words::run(isa, &line, tiles, sums);
            }
            let channel = block * LANES;
            let of_row = pass.columns.len();
            for (i, y) in pass.rows.clone().enumerate() {
                give(isa, sums, [i * of_row, of_row, tiles], given);
                let places = (2 * of_row).min(width - 2 * pass.columns.start);
                for (row, given) in given.chunks_exact(2 * of_row * LANES).take(2.min(height - 2 * y)).enumerate() {
                    let at = (2 * (y - first) + row) * width + 2 * pass.columns.start;
                    let channels = LANES.min(of - channel);
                    let target = Target { channel, channels, width: LANES, of, places, at, before };
                    finish(isa, given, target, how, sink);
                }
            }
        }
    }
}

/// A row of tiles.
struct Line<'a> {
    /// From the first tile's first place on.
    from: &'a [u8],
    /// From one row of places to the next.
    row: usize,
    channels: usize,
    tiles: usize,
    /// From one number to the next.
    step: usize,
}

/// Sums and differences along one axis of a tile.
macro_rules! line_in {
    ($d:expr, $add:expr, $sub:expr) => {{
        let [a, b, c, d] = $d;
        [$sub(a, c), $add(b, c), $sub(c, b), $sub(b, d)]
    }};
}
use line_in;

/// The same of the products.
macro_rules! line_out {
    ($m:expr, $add:expr, $sub:expr) => {{
        let [a, b, c, d] = $m;
        [$add($add(a, b), c), $sub($sub(b, c), d)]
    }};
}
use line_out;

fn take(isa: Isa, line: &Line<'_>, to: &mut [i16]) {
    let last = 3 * line.row + (2 * line.tiles + 2) * line.channels;
    assert!(line.channels.is_multiple_of(LANES) && last <= line.from.len(), "a line reaches beyond its data");
    assert!((NUMBERS - 1) * line.step + line.tiles * line.channels <= to.len(), "tiles have no room");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::take(line, to),
        _ => take_plain(line, to),
    }
}

/// The twin of the vector kernel.
fn take_plain(line: &Line<'_>, to: &mut [i16]) {
    let (add, sub) = (|a: i16, b: i16| a + b, |a: i16, b: i16| a - b);
    for tile in 0..line.tiles {
        for channel in 0..line.channels {
            let place = |y: usize, x: usize| i16::from(line.from[y * line.row + (2 * tile + x) * line.channels + channel]);
            let down: [[i16; 4]; 4] = from_fn(|x| line_in!(from_fn(|y| place(y, x)), add, sub));
            for y in 0..4 {
                for (x, v) in line_in!(from_fn(|x| down[x][y]), add, sub).into_iter().enumerate() {
                    to[(4 * y + x) * line.step + tile * line.channels + channel] = v;
                }
            }
        }
    }
}

/// A quarter of `Aᵀ m A` of `count` tiles from `first` on, of `tiles`: `[row][place][lane]`.
fn give(isa: Isa, sums: &[i32], [first, count, tiles]: [usize; 3], to: &mut [i32]) {
    assert!(first + count <= tiles && NUMBERS * tiles * LANES <= sums.len(), "sums are missing");
    assert!(4 * count * LANES <= to.len(), "results have no room");
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2 => avx2::give(sums, [first, count, tiles], to),
        _ => give_plain(sums, [first, count, tiles], to),
    }
}

/// The twin of the vector kernel.
fn give_plain(sums: &[i32], [first, count, tiles]: [usize; 3], to: &mut [i32]) {
    for tile in 0..count {
        for lane in 0..LANES {
            let m = |y: usize, x: usize| sums[((4 * y + x) * tiles + first + tile) * LANES + lane];
            let down: [[i32; 2]; 4] = from_fn(|x| line_out!(from_fn(|y| m(y, x)), i32::wrapping_add, i32::wrapping_sub));
            for row in 0..2 {
                let across = line_out!(from_fn(|x| down[x][row]), i32::wrapping_add, i32::wrapping_sub);
                for (column, v) in across.into_iter().enumerate() {
                    to[((row * count + tile) * 2 + column) * LANES + lane] = v >> 2;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;

    #[test]
    fn every_kernel_is_exact() {
        let mut random = Random::new(6);
        let (channels, tiles, row) = (32, 5, 450);
        let from: Vec<u8> = (0..4 * row).map(|i| if i % 5 == 0 { 255 } else { random.range(0.0, 255.9) as u8 }).collect();
        let line = Line { from: &from, row, channels, tiles, step: 7 * channels };
        let sums: Vec<i32> = (0..NUMBERS * 9 * LANES).map(|_| random.range(-2e9, 2e9) as i32).collect();
        for isa in Isa::all() {
            let [mut expected, mut found] = [vec![0; NUMBERS * line.step], vec![0; NUMBERS * line.step]];
            take_plain(&line, &mut expected);
            take(isa, &line, &mut found);
            assert!(found == expected, "{isa:?}");
            let [mut expected, mut found] = [[0; 4 * 6 * LANES]; 2];
            give_plain(&sums, [2, 6, 9], &mut expected);
            give(isa, &sums, [2, 6, 9], &mut found);
            assert!(found == expected, "{isa:?}");
        }
    }

    #[test]
    fn the_ends_of_both_ranges_fit() {
        let mut random = Random::new(7);
        let (inputs, outputs) = (DEPTH / LANES * LANES, 17);
        let g =
            Geometry { input: [1, 2, 2], kernel: [1, 3, 3], stride: [1; 3], dilation: [1; 3], pad: [0, 1, 1], output: [1, 2, 2] };
        for (x, w) in [(255, -128), (255, 127)] {
            for isa in Isa::all() {
                let weights =
                    Weights::pack_for(isa, &vec![w; outputs * inputs * 9], 1, outputs, g.kernel, super::super::Slide::Unit);
                let offset: Vec<i32> = (0..outputs).map(|_| random.range(-9.0, 9.0) as i32).collect();
                let mut found = vec![0; 4 * outputs];
                super::super::convolve(&g, &weights, 1, &vec![x; 4 * inputs], x, &Finish::sums(&offset), Sink::Sums(&mut found));
                let sum = 9 * inputs as i32 * i32::from(x) * i32::from(w);
                assert!(found.iter().enumerate().all(|(i, v)| *v == sum + offset[i % outputs]), "{isa:?} {x} {w}");
            }
        }
    }
}
