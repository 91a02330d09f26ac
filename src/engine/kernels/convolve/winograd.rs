//! 3 × 3 convolutions of stride 1 with 16 multiplications for 4 results instead of 36: F(2×2, 3×3) of
//! Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016). Tiles of 4 × 4 places
//! become 16 numbers per channel, the products over channels are 16 matrix products, and 2 × 2 results
//! come out of each 16 numbers. The larger F(4×4, 3×3) would lose two more digits.
//!
//! Differences of inputs make NaN of infinities, and infinities of what is large: tiles with such results
//! are computed again by the definition.

use super::dense::{Grid, Panels, cover};
use super::{Finish, Geometry};
use crate::engine::kernels::aligned::Aligned;
use crate::engine::kernels::isa::Isa;
use crate::engine::kernels::tile::{Shared, limit, multiply_add};
use crate::engine::kernels::{each, threads};
use std::array::from_fn;
use std::cell::RefCell;

/// Channels that are transformed side by side.
const LANES: usize = 8;
/// Fewest input channels, and products of input and output channels, for which it pays: short sums
/// leave the tile kernel little to do, and every input is transformed for all outputs at once.
const LEAST: (usize, usize) = (32, 32 * 64);
/// Bytes of transformed tiles that a pass takes, before and after the products.
const PASS_BYTES: usize = 256 << 10;
/// Output channels of a pass.
const CHUNK: usize = 64;
/// Tiles of a pass: fewer would read the weights too often.
const TILES: std::ops::RangeInclusive<usize> = 12..=96;

/// Transformed weights: a matrix `[in, out]` for each of the 16 numbers of a tile.
#[derive(Debug, Clone)]
pub struct Winograd {
    isa: Isa,
    panels: Vec<Panels>,
    bias: Vec<f32>,
    /// What a place outside the image holds.
    zeros: Vec<f32>,
    /// As given, for the tiles that are computed by the definition.
    raw: Vec<f32>,
}

impl Winograd {
    /// Whether this way is both possible and faster.
    pub fn suits(groups: usize, inputs: usize, outputs: usize) -> bool {
        let whole = inputs.is_multiple_of(LANES) && outputs.is_multiple_of(LANES);
        groups == 1 && whole && inputs >= LEAST.0 && inputs * outputs >= LEAST.1
    }

    /// `weights` are `[out, in, 3, 3]`.
    pub fn pack(isa: Isa, weights: &[f32], bias: &[f32], outputs: usize) -> Self {
        let inputs = weights.len() / (9 * outputs).max(1);
        let turned: Vec<[f32; 16]> = weights.as_chunks::<9>().0.iter().map(kernel).collect();
        let panel = |number: usize| Panels::pack_for(isa, outputs, inputs, &[], |o, k| turned[o * inputs + k][number]);
        Self { isa, panels: (0..16).map(panel).collect(), bias: bias.to_vec(), zeros: vec![0.0; inputs], raw: weights.to_vec() }
    }

    pub fn fits(&self, g: &Geometry) -> bool {
        let square = g.kernel == [1, 3, 3] && g.stride == [1; 3] && g.dilation == [1; 3] && g.input[0] == 1 && g.output[0] == 1;
        square && self.panels.iter().all(|p| p.fits(g.in_channels, g.out_channels)) && g.groups == 1
    }
}

/// `G g Gᵀ` of a kernel, in f64.
fn kernel(g: &[f32; 9]) -> [f32; 16] {
    let line = |a: f64, b: f64, c: f64| [a, 0.5 * (a + b + c), 0.5 * (a - b + c), c];
    let rows: [[f64; 4]; 3] = from_fn(|r| line(f64::from(g[3 * r]), f64::from(g[3 * r + 1]), f64::from(g[3 * r + 2])));
    let columns: [[f64; 4]; 4] = from_fn(|c| line(rows[0][c], rows[1][c], rows[2][c]));
    from_fn(|i| columns[i % 4][i / 4] as f32)
}

thread_local! {
    /// Kept, because fresh pages cost more than the work.
    static SCRATCH: RefCell<(Aligned, Aligned)> = RefCell::default();
}

/// Tiles of all images in order: images, rows of tiles, tiles of a row.
struct Tiles<'a> {
    g: &'a Geometry,
    input: &'a [f32],
    rows: usize,
    columns: usize,
}

impl Tiles<'_> {
    /// Image, row and column of the first result of tiles `from..from + count`.
    fn places(&self, from: usize, count: usize) -> impl Iterator<Item = (usize, usize, usize)> {
        let (rows, columns) = (self.rows, self.columns);
        let first = (from / columns / rows, from / columns % rows, from % columns);
        let next = move |&(image, row, column): &(usize, usize, usize)| {
            Some(match (row + 1 == rows, column + 1 == columns) {
                (true, true) => (image + 1, 0, 0),
                (false, true) => (image, row + 1, 0),
                _ => (image, row, column + 1),
            })
        };
        std::iter::successors(Some(first), next).take(count).map(|(image, row, column)| (image, 2 * row, 2 * column))
    }
}

/// Convolves `batch` images; what [`Winograd::fits`] holds.
pub fn run(g: &Geometry, weights: &Winograd, batch: usize, input: &[f32], finish: Finish<'_>, out: Shared<'_>) {
    let tiles = Tiles { g, input, rows: g.output[1].div_ceil(2), columns: g.output[2].div_ceil(2) };
    let all = batch * tiles.rows * tiles.columns;
    let of_tile = 4 * 16 * (g.in_channels + g.out_channels.min(CHUNK));
    let fitting = (PASS_BYTES / of_tile).clamp(*TILES.start(), *TILES.end());
    let threads = threads();
    let size = if threads == 1 { fitting } else { fitting.min(all.div_ceil(2 * threads).max(*TILES.start())) };
    each(all.div_ceil(size), &|pass| {
        let range = (pass * size, (pass * size + size).min(all));
        SCRATCH.with_borrow_mut(|(before, after)| run_pass(&tiles, weights, range, (before, after), finish, out));
    });
}

fn run_pass(
    tiles: &Tiles<'_>,
    weights: &Winograd,
    (from, to): (usize, usize),
    (before, after): (&mut Aligned, &mut Aligned),
    finish: Finish<'_>,
    out: Shared<'_>,
) {
    let (g, count) = (tiles.g, to - from);
    let before = before.reach(16 * count * g.in_channels);
    Take { tiles, from, count, zeros: &weights.zeros }.run(weights.isa, before);
    let lanes = weights.isa.lanes();
    let mut channel = 0;
    while channel < g.out_channels {
        let taken = CHUNK.min(g.out_channels - channel);
        let after = after.reach(16 * count * taken);
        let sums = Shared::new(after);
        for (number, panels) in weights.panels.iter().enumerate() {
            let grid = Grid {
                data: before,
                at: number * count * g.in_channels,
                row: 0,
                step: g.in_channels,
                rows: 1,
                width: count,
                runs: &[0],
                run: g.in_channels,
                // Blocks are stored at the place of their channel: the chunk begins at its first.
                out_at: number * count * taken,
                out_row: 0,
                out_step: taken,
            };
            cover(&grid, panels, (channel / lanes, (channel + taken).div_ceil(lanes)), Finish::NONE, sums);
        }
        Give { tiles, weights, from, count, channels: (channel, taken), sums: after, finish }.run(out);
        channel += taken;
    }
}

/// `Bᵀ d B` of every tile and input channel: `[number][tile][channel]`.
struct Take<'a> {
    tiles: &'a Tiles<'a>,
    from: usize,
    count: usize,
    /// A place outside the image.
    zeros: &'a [f32],
}

impl Take<'_> {
    fn run(&self, isa: Isa, to: &mut [f32]) {
        let (g, c) = (self.tiles.g, self.tiles.g.in_channels);
        assert!(to.len() >= 16 * self.count * c && self.zeros.len() >= c && c.is_multiple_of(LANES), "tiles have no room");
        let outside = &self.zeros[..c];
        for (tile, (image, y, x)) in self.tiles.places(self.from, self.count).enumerate() {
            let (top, left) = (y as isize - g.pad[1], x as isize - g.pad[2]);
            let mut places = [outside; 16];
            for h in (0..4).filter(|h| (0..g.input[1] as isize).contains(&(top + h))) {
                let line = (image * g.input[1] + (top + h).cast_unsigned()) * g.input[2];
                for w in (0..4).filter(|w| (0..g.input[2] as isize).contains(&(left + w))) {
                    let place = line + (left + w).cast_unsigned();
                    places[(4 * h + w).cast_unsigned()] = &self.tiles.input[place * c..][..c];
                }
            }
            match isa {
                Isa::Plain => take_plain(&places, &mut to[tile * c..], self.count * c),
                #[cfg(target_arch = "x86_64")]
                _ => x86::take(&places, &mut to[tile * c..], self.count * c),
            }
        }
    }
}

/// Sums and differences along one axis of a tile.
macro_rules! line_in {
    ($a:expr, $b:expr, $c:expr, $d:expr, $add:expr, $sub:expr) => {
        [$sub($a, $c), $add($b, $c), $sub($c, $b), $sub($b, $d)]
    };
}

/// The same of the products.
macro_rules! line_out {
    ($a:expr, $b:expr, $c:expr, $d:expr, $add:expr, $sub:expr) => {
        [$add($add($a, $b), $c), $sub($sub($b, $c), $d)]
    };
}

/// The 16 numbers lie `step` apart.
fn take_plain(places: &[&[f32]; 16], to: &mut [f32], step: usize) {
    let (add, sub) = (|a: f32, b: f32| a + b, |a: f32, b: f32| a - b);
    for channel in 0..places[0].len() {
        let d: [f32; 16] = from_fn(|i| places[i][channel]);
        let down: [[f32; 4]; 4] = from_fn(|x| line_in!(d[x], d[4 + x], d[8 + x], d[12 + x], add, sub));
        for y in 0..4 {
            let across = line_in!(down[0][y], down[1][y], down[2][y], down[3][y], add, sub);
            for (x, v) in across.into_iter().enumerate() {
                to[(4 * y + x) * step + channel] = v;
            }
        }
    }
}

/// `Aᵀ m A` of every tile and output channel of a chunk, finished and stored.
struct Give<'a> {
    tiles: &'a Tiles<'a>,
    weights: &'a Winograd,
    from: usize,
    count: usize,
    /// First channel, and how many.
    channels: (usize, usize),
    sums: &'a [f32],
    finish: Finish<'a>,
}

/// Where the results of a tile go: the first one's place, and what lies between rows and columns.
#[derive(Clone, Copy)]
struct Target {
    at: usize,
    row: usize,
    column: usize,
    /// Rows and columns that lie inside the image.
    valid: [usize; 2],
}

impl Give<'_> {
    fn run(&self, out: Shared<'_>) {
        let Self { tiles, weights, from, count, channels: (first, taken), sums, finish } = *self;
        let [_, height, width] = tiles.g.output;
        let (step, beside) = finish.beside.unwrap_or((tiles.g.out_channels, 0));
        assert!(sums.len() >= 16 * count * taken && taken.is_multiple_of(LANES), "sums are missing");
        let bias = &weights.bias[first..first + taken];
        for (tile, (image, y, x)) in tiles.places(from, count).enumerate() {
            let target = Target {
                at: ((image * height + y) * width + x) * step + beside + first,
                row: width * step,
                column: step,
                valid: [2.min(height - y), 2.min(width - x)],
            };
            let last = target.at + (target.valid[0] - 1) * target.row + (target.valid[1] - 1) * step + taken;
            assert!(last <= out.reach() && finish.residual.is_none_or(|r| last <= r.len()), "results reach too far");
            let sums = &sums[tile * taken..15 * count * taken + (tile + 1) * taken];
            let is_finite = match weights.isa {
                Isa::Plain => give_plain(sums, count * taken, bias, &finish, target, out),
                #[cfg(target_arch = "x86_64")]
                _ => x86::give(sums, count * taken, bias, &finish, target, out),
            };
            if !is_finite {
                self.define(image, [y, x], target, out);
            }
        }
    }

    /// The results of one tile by the definition.
    fn define(&self, image: usize, [y, x]: [usize; 2], target: Target, out: Shared<'_>) {
        let (g, (first, taken)) = (self.tiles.g, self.channels);
        for (row, column) in (0..target.valid[0]).flat_map(|row| (0..target.valid[1]).map(move |column| (row, column))) {
            for channel in 0..taken {
                let kernels = &self.weights.raw[(first + channel) * 9 * g.in_channels..][..9 * g.in_channels];
                let mut sum = self.weights.bias[first + channel];
                for tap in 0..9 {
                    let place = [(y + row + tap / 3) as isize - g.pad[1], (x + column + tap % 3) as isize - g.pad[2]];
                    if (0..2).any(|a| !(0..g.input[a + 1] as isize).contains(&place[a])) {
                        continue;
                    }
                    let place = (image * g.input[1] + place[0].cast_unsigned()) * g.input[2] + place[1].cast_unsigned();
                    let inputs = &self.tiles.input[place * g.in_channels..][..g.in_channels];
                    for (v, kernel) in inputs.iter().zip(kernels.as_chunks::<9>().0) {
                        sum = multiply_add(*v, kernel[tap], sum);
                    }
                }
                let at = target.at + row * target.row + column * target.column + channel;
                let v = self.finish.residual.map_or(sum, |r| sum + r[at]);
                #[expect(unsafe_code, reason = "tasks of one kernel write to disjoint places of one buffer")]
                // SAFETY: every place belongs to one tile, every tile to one pass, every channel to one chunk.
                let out = unsafe { out.slice(at, 1) };
                out[0] = limit(v, (self.finish.low, self.finish.high));
            }
        }
    }
}

/// Whether all results, before the limits, are finite.
fn give_plain(sums: &[f32], step: usize, bias: &[f32], finish: &Finish<'_>, target: Target, out: Shared<'_>) -> bool {
    let mut zero = 0.0;
    let (add, sub) = (|a: f32, b: f32| a + b, |a: f32, b: f32| a - b);
    for (channel, init) in bias.iter().enumerate() {
        let m: [f32; 16] = from_fn(|i| sums[i * step + channel]);
        let down: [[f32; 2]; 4] = from_fn(|x| line_out!(m[x], m[4 + x], m[8 + x], m[12 + x], add, sub));
        zero += m.iter().map(|m| 0.0 * m).sum::<f32>();
        let [left, near, far, right] = down;
        for (row, ((a, b), (c, d))) in left.iter().zip(near).zip(far.iter().zip(right)).enumerate().take(target.valid[0]) {
            let across = line_out!(*a, b, *c, d, add, sub);
            for (column, v) in across.into_iter().enumerate().take(target.valid[1]) {
                zero += 0.0 * v;
                let at = target.at + row * target.row + column * target.column + channel;
                let v = finish.residual.map_or(v + init, |r| v + init + r[at]);
                #[expect(unsafe_code, reason = "tasks of one kernel write to disjoint places of one buffer")]
                // SAFETY: every place belongs to one tile, every tile to one pass, every channel to one chunk.
                let out = unsafe { out.slice(at, 1) };
                out[0] = limit(v, (finish.low, finish.high));
            }
        }
    }
    zero == 0.0
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions and unchecked loads of the inner loop")]
#[expect(clippy::needless_range_loop, reason = "an index names a register here")]
mod x86 {
    use super::{Finish, LANES, Shared, Target};
    use std::arch::x86_64::{
        __m256, _CMP_UNORD_Q, _mm256_add_ps, _mm256_cmp_ps, _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_max_ps, _mm256_min_ps,
        _mm256_movemask_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps, _mm256_sub_ps,
    };

    pub fn take(places: &[&[f32]; 16], to: &mut [f32], step: usize) {
        let channels = places[0].len();
        assert!(channels.is_multiple_of(LANES) && places.iter().all(|p| p.len() == channels), "places differ");
        assert!(15 * step + channels <= to.len(), "tiles have no room");
        // SAFETY: this is reached where the processor has AVX2 alone; every reach was asserted.
        unsafe { take_avx2(places, to, step) }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn take_avx2(places: &[&[f32]; 16], to: &mut [f32], step: usize) {
        // SAFETY: `take` asserted that all channels of all places and numbers are there.
        unsafe {
            let to = to.as_mut_ptr();
            for channel in (0..places[0].len()).step_by(LANES) {
                let mut down: [[__m256; 4]; 4] = [[_mm256_setzero_ps(); 4]; 4];
                for x in 0..4 {
                    let d = |y: usize| _mm256_loadu_ps(places[4 * y + x].as_ptr().add(channel));
                    down[x] = line_in!(d(0), d(1), d(2), d(3), _mm256_add_ps, _mm256_sub_ps);
                }
                for y in 0..4 {
                    let across = line_in!(down[0][y], down[1][y], down[2][y], down[3][y], _mm256_add_ps, _mm256_sub_ps);
                    for x in 0..4 {
                        _mm256_storeu_ps(to.add((4 * y + x) * step + channel), across[x]);
                    }
                }
            }
        }
    }

    pub fn give(sums: &[f32], step: usize, bias: &[f32], finish: &Finish<'_>, target: Target, out: Shared<'_>) -> bool {
        assert!(bias.len().is_multiple_of(LANES) && 15 * step + bias.len() <= sums.len(), "sums are missing");
        let last = target.at + (target.valid[0] - 1) * target.row + (target.valid[1] - 1) * target.column + bias.len();
        assert!(last <= out.reach() && finish.residual.is_none_or(|r| last <= r.len()), "results reach too far");
        // SAFETY: as above.
        unsafe { give_avx2(sums, step, bias, finish, target, out) }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn give_avx2(sums: &[f32], step: usize, bias: &[f32], finish: &Finish<'_>, target: Target, out: Shared<'_>) -> bool {
        // SAFETY: `give` asserted that all sums, results and residuals are there; every place belongs to one tile.
        unsafe {
            let (low, high) = (_mm256_set1_ps(finish.low), _mm256_set1_ps(finish.high));
            // Stays 0 unless something is infinite or NaN.
            let mut zero = _mm256_setzero_ps();
            for channel in (0..bias.len()).step_by(LANES) {
                let m = |i: usize| _mm256_loadu_ps(sums.as_ptr().add(i * step + channel));
                let mut down: [[__m256; 2]; 4] = [[_mm256_setzero_ps(); 2]; 4];
                for x in 0..4 {
                    down[x] = line_out!(m(x), m(4 + x), m(8 + x), m(12 + x), _mm256_add_ps, _mm256_sub_ps);
                    for row in 0..2 {
                        zero = _mm256_fmadd_ps(down[x][row], _mm256_setzero_ps(), zero);
                    }
                }
                let init = _mm256_loadu_ps(bias.as_ptr().add(channel));
                for row in 0..target.valid[0] {
                    let across = line_out!(down[0][row], down[1][row], down[2][row], down[3][row], _mm256_add_ps, _mm256_sub_ps);
                    for column in 0..target.valid[1] {
                        let at = target.at + row * target.row + column * target.column + channel;
                        zero = _mm256_fmadd_ps(across[column], _mm256_setzero_ps(), zero);
                        let mut v = _mm256_add_ps(across[column], init);
                        if let Some(residual) = finish.residual {
                            v = _mm256_add_ps(v, _mm256_loadu_ps(residual.as_ptr().add(at)));
                        }
                        // The sum is the second operand, so that a NaN stays one.
                        _mm256_storeu_ps(out.pointer(at), _mm256_min_ps(high, _mm256_max_ps(low, v)));
                    }
                }
            }
            _mm256_movemask_ps(_mm256_cmp_ps::<_CMP_UNORD_Q>(zero, zero)) == 0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn infinities_and_large_numbers_are_as_defined() {
        let (c, n) = (64, 6);
        let g = Geometry {
            groups: 1,
            in_channels: c,
            out_channels: c,
            input: [1, n, n],
            kernel: [1, 3, 3],
            stride: [1; 3],
            dilation: [1; 3],
            pad: [0, 1, 1],
            output: [1, n, n],
        };
        let weights: Vec<f32> = (0..c * c * 9).map(|i| 1e-3 * (1 + i % 7) as f32).collect();
        for isa in Isa::all() {
            let packed = Winograd::pack(isa, &weights, &vec![0.0; c], c);
            let mut input = vec![1.0; n * n * c];
            input[(n + 1) * c] = f32::INFINITY;
            input[(4 * n + 4) * c + 5] = 1e38;
            input[(4 * n + 5) * c + 5] = 3e38;
            let mut out = vec![0.0; n * n * c];
            run(&g, &packed, 1, &input, Finish::NONE, Shared::new(&mut out));
            for (place, values) in out.chunks(c).enumerate() {
                let is_near = place / n <= 2 && place % n <= 2;
                assert!(values.iter().all(|v| if is_near { *v == f32::INFINITY } else { v.is_finite() }), "{isa:?} {place}");
            }
        }
    }

    #[test]
    fn a_kernel_of_one_number_keeps_it() {
        let mut middle = [0.0; 9];
        middle[4] = 4.0;
        // G·e₁·e₁ᵀ·Gᵀ: (0, ½, −½, 0) along both axes.
        let line = [0.0, 0.5, -0.5, 0.0];
        assert_eq!(kernel(&middle), from_fn(|i| 4.0 * line[i / 4] * line[i % 4]));
    }
}
