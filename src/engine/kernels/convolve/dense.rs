//! Convolutions whose outputs read many channels, and matrix products: both are rows of places times
//! panels of weights.

use super::rows::Rows;
use super::{Finish, Geometry, Unit};
use crate::engine::kernels::aligned::Aligned;
use crate::engine::kernels::isa::Isa;
use crate::engine::kernels::tile::{self, Shared, Tile};
use crate::engine::kernels::{each, threads};

/// Weights of one group: per block of output channels `[k][lane]`, filled up with zeros.
#[derive(Debug, Clone)]
pub struct Panels {
    isa: Isa,
    data: Aligned,
    bias: Vec<f32>,
    channels: usize,
    depth: usize,
}

impl Panels {
    /// `weight(o, k)` gives the weight of output channel `o` for the k-th factor; `bias` may be empty.
    pub fn pack(channels: usize, depth: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Self {
        Self::pack_for(Isa::best(), channels, depth, bias, weight)
    }

    pub fn pack_for(isa: Isa, channels: usize, depth: usize, bias: &[f32], weight: impl Fn(usize, usize) -> f32) -> Self {
        let lanes = isa.lanes();
        let padded = channels.next_multiple_of(lanes);
        let mut data = Aligned::zeros(padded * depth);
        for (index, lines) in data.reach(padded * depth).chunks_mut(lanes).enumerate() {
            let (block, k) = (index / depth.max(1), index % depth.max(1));
            for (lane, w) in lines.iter_mut().take(channels - block * lanes).enumerate() {
                *w = weight(block * lanes + lane, k);
            }
        }
        let mut bias = bias.to_vec();
        bias.resize(padded, 0.0);
        Self { isa, data, bias, channels, depth }
    }

    /// The right-hand matrix of a product, row-major `[depth, channels]`.
    pub fn pack_matrix(matrix: &[f32], depth: usize, channels: usize) -> Self {
        let isa = Isa::best();
        let lanes = isa.lanes();
        let padded = channels.next_multiple_of(lanes);
        let mut data = Aligned::zeros(padded * depth);
        for (block, lines) in data.reach(padded * depth).chunks_mut((lanes * depth).max(1)).enumerate() {
            let valid = lanes.min(channels - block * lanes);
            for (k, line) in lines.chunks_mut(lanes).enumerate() {
                line[..valid].copy_from_slice(&matrix[k * channels + block * lanes..][..valid]);
            }
        }
        Self { isa, data, bias: vec![0.0; padded], channels, depth }
    }

    pub fn fits(&self, depth: usize, channels: usize) -> bool {
        self.depth == depth && self.channels == channels
    }

    pub fn channels(&self) -> usize {
        self.channels
    }

    pub fn depth(&self) -> usize {
        self.depth
    }

    /// Output channels of a block.
    pub fn lanes(&self) -> usize {
        self.isa.lanes()
    }

    /// Blocks of output channels.
    pub fn blocks(&self) -> usize {
        self.bias.len() / self.isa.lanes()
    }
}

/// Rows of places, all read alike.
pub(super) struct Grid<'a> {
    pub data: &'a [f32],
    pub at: usize,
    /// Values from row to row and from place to place.
    pub row: usize,
    pub step: usize,
    pub rows: usize,
    pub width: usize,
    pub runs: &'a [usize],
    pub run: usize,
    pub out_at: usize,
    pub out_row: usize,
    pub out_step: usize,
}

/// Blocks `blocks.0..blocks.1` of every place of the grid; the first one's results begin at the grid's place.
pub(super) fn cover(grid: &Grid<'_>, panels: &Panels, blocks: (usize, usize), finish: Finish<'_>, out: Shared<'_>) {
    let (isa, lanes) = (panels.isa, panels.isa.lanes());
    let stride = panels.depth * lanes;
    let mut block = blocks.0;
    while block < blocks.1 {
        let taken = tile::blocks(isa, blocks.1 - block, grid.width);
        let end = ((block + taken) * lanes).min(panels.channels);
        let tile = Tile {
            data: grid.data,
            at: grid.at,
            step: grid.step,
            runs: grid.runs,
            run: grid.run,
            weights: &panels.data,
            weights_at: block * stride,
            block_stride: stride,
            weights_step: lanes,
            init: &panels.bias[block * lanes..],
            valid: end - (block + taken - 1) * lanes,
            residual: finish.residual,
            limits: (finish.low, finish.high),
        };
        for row in 0..grid.rows {
            let line = Tile { at: grid.at + row * grid.row, ..tile };
            let at = grid.out_at + row * grid.out_row + (block - blocks.0) * lanes;
            tile::run(isa, &line, grid.width, taken, out, at, grid.out_step);
        }
        block += taken;
    }
}

/// Runs one unit of a convolution.
pub fn run(g: &Geometry, rows: &Rows<'_>, groups: &[Panels], unit: Unit, finish: Finish<'_>, out: Shared<'_>) {
    let [_, height, width] = g.output;
    let step = g.stride[2] * g.in_channels;
    rows.each(g, unit, |laid, (from, to)| {
        let mut runs = Vec::with_capacity(g.taps());
        // The taps of a kernel's row lie side by side when nothing else lies between them.
        let joined = g.groups == 1 && g.dilation[2] == 1;
        for tap in (0..g.taps()).step_by(if joined { g.kernel[2] } else { 1 }) {
            let (d, h, w) = (tap / (g.kernel[1] * g.kernel[2]), tap / g.kernel[2] % g.kernel[1], tap % g.kernel[2]);
            runs.push(d * laid.taps[0] + h * laid.taps[1] + w * g.dilation[2] * g.in_channels);
        }
        let run = g.in_group() * if joined { g.kernel[2] } else { 1 };
        let place = ((unit.image * g.output[0] + unit.depth) * height + from) * width;
        let (out_step, first) = finish.beside.unwrap_or((g.out_channels, 0));
        for (group, panels) in groups.iter().enumerate() {
            let cut = |part: usize| panels.blocks() * part / unit.part.1;
            let grid = Grid {
                data: laid.data,
                at: laid.at + group * g.in_group(),
                row: laid.row,
                step,
                rows: to - from,
                width,
                runs: &runs,
                run,
                out_at: place * out_step + first + group * g.out_group() + cut(unit.part.0) * panels.lanes(),
                out_row: width * out_step,
                out_step,
            };
            cover(&grid, panels, (cut(unit.part.0), cut(unit.part.0 + 1)), finish, out);
        }
    });
}

/// Bytes of places that one pass takes, so that they stay in cache for every block of channels.
const PASS_BYTES: usize = 96 << 10;

/// `count` rows of `depth` values each, side by side, times the panels: a matrix product, or a
/// convolution by single places. The output has `channels` values per row.
///
/// # Panics
/// When data or output are too short.
pub fn cover_rows(panels: &Panels, data: &[f32], (count, depth): (usize, usize), finish: Finish<'_>, out: Shared<'_>) {
    assert!(panels.depth == depth && data.len() >= count * depth, "rows are missing");
    let most = tile::places(panels.isa, tile::blocks(panels.isa, panels.blocks(), usize::MAX));
    let fitting = (PASS_BYTES / (4 * depth).max(1)).max(1).next_multiple_of(most);
    let channels = panels.channels;
    let (out_step, first) = finish.beside.unwrap_or((channels, 0));
    let pass = |from: usize, to: usize, blocks: (usize, usize)| {
        let mut from = from;
        while from < to {
            let width = fitting.min(to - from);
            let grid = Grid {
                data,
                at: from * depth,
                row: 0,
                step: depth,
                rows: 1,
                width,
                runs: &[0],
                run: depth,
                out_at: from * out_step + first + blocks.0 * panels.lanes(),
                out_row: 0,
                out_step,
            };
            cover(&grid, panels, blocks, finish, out);
            from += width;
        }
    };
    let work = count * depth * channels;
    let pieces = if threads() == 1 { 1 } else { (work / super::WORTH).clamp(1, 4 * threads()) };
    if pieces == 1 {
        return pass(0, count, (0, panels.blocks()));
    }
    // Whole tiles of rows where there are enough of them, else shares of the channels.
    let tiles = count.div_ceil(most);
    let (bands, parts) =
        if tiles >= pieces { (pieces, 1) } else { (tiles, pieces.div_ceil(tiles).min(panels.blocks().div_ceil(2))) };
    each(bands * parts, &|i| {
        let (band, part) = (i / parts, i % parts);
        let row = |band: usize| (tiles * band / bands * most).min(count);
        let block = |part: usize| {
            if part == parts {
                panels.blocks()
            } else {
                (panels.blocks() * part / parts).next_multiple_of(2).min(panels.blocks())
            }
        };
        pass(row(band), row(band + 1), (block(part), block(part + 1)));
    });
}
