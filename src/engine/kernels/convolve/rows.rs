//! The rows of an image that a piece of work reads: where they lie, or a copy with its padding.

use super::{Geometry, Unit};
use crate::engine::kernels::aligned::Aligned;
use std::cell::RefCell;

/// Bytes of laid-out rows that one pass takes: with weights and results beside them they stay in a
/// common second-level cache.
const PASS_BYTES: usize = 192 << 10;

/// How rows are read.
#[derive(Debug)]
pub struct Rows<'a> {
    input: &'a [f32],
    how: How,
    /// Places of a laid-out row.
    width: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    /// Without padding the image is read where it lies.
    Direct,
    /// Several rows of the output share their lines.
    Shared,
    /// With taps that lie far apart, only the lines that one row of the output reads are laid out.
    Apart,
}

/// Rows ready to be read.
#[derive(Debug, Clone, Copy)]
pub struct Laid<'a> {
    pub data: &'a [f32],
    /// The first value of the first output row's first place.
    pub at: usize,
    /// Values from one row of the output to the next, as far as they are read.
    pub row: usize,
    /// Values from one tap of the kernel to the next, along depth and height.
    pub taps: [usize; 2],
}

thread_local! {
    /// Kept, because fresh pages cost more than the work.
    static SCRATCH: RefCell<Aligned> = RefCell::default();
}

impl<'a> Rows<'a> {
    pub fn new(g: &Geometry, input: &'a [f32]) -> Self {
        let inside = (0..3).all(|a| g.pad[a] == 0 && g.covered(a) <= g.input[a]);
        let near = g.dilation[0] == 1 && g.dilation[1] == 1;
        let how = if inside {
            How::Direct
        } else if near {
            How::Shared
        } else {
            How::Apart
        };
        Self { input, how, width: g.covered(2) }
    }

    /// Calls `pass` with rows `from..to` of the unit, a few at a time.
    pub fn each(&self, g: &Geometry, unit: Unit, mut pass: impl FnMut(Laid<'_>, (usize, usize))) {
        let image = g.in_channels * g.in_plane();
        let start = unit.image * image;
        let [_, height, width] = g.input;
        let image = &self.input[start..start + image];
        if self.how == How::Direct {
            let (row, plane) = (width * g.in_channels, height * width * g.in_channels);
            let at = unit.depth * g.stride[0] * plane + unit.rows.0 * g.stride[1] * row;
            let taps = [g.dilation[0] * plane, g.dilation[1] * row];
            return pass(Laid { data: image, at, row: g.stride[1] * row, taps }, unit.rows);
        }
        let row = self.width * g.in_channels;
        let [planes, reach, _] = g.kernel;
        let fitting = match self.how {
            How::Apart => 1,
            _ => (PASS_BYTES / (4 * row * planes).max(1)).saturating_sub(reach) / g.stride[1] + 1,
        };
        SCRATCH.with_borrow_mut(|scratch| {
            let mut from = unit.rows.0;
            while from < unit.rows.1 {
                let to = (from + fitting).min(unit.rows.1);
                let lines = (to - from - 1) * g.stride[1] + reach;
                let plane = lines * row;
                let scratch = scratch.reach(plane * planes);
                let first = [unit.depth * g.stride[0], from * g.stride[1]];
                fill(g, image, first, (lines, self.width), &mut scratch[..plane * planes]);
                pass(Laid { data: scratch, at: 0, row: g.stride[1] * row, taps: [plane, row] }, (from, to));
                from = to;
            }
        });
    }
}

/// Lays out lines of the padded image from plane and line `first` on, as far apart as taps are.
fn fill(g: &Geometry, image: &[f32], first: [usize; 2], (lines, width): (usize, usize), to: &mut [f32]) {
    let c = g.in_channels;
    // Places x with 0 ≤ x − pad < input.
    let before = g.pad[2].max(0).cast_unsigned().min(width);
    let after = (g.input[2] as isize + g.pad[2]).clamp(before as isize, width as isize).cast_unsigned();
    for (index, line) in to.chunks_exact_mut(width * c).enumerate() {
        let d = (first[0] + index / lines * g.dilation[0]) as isize - g.pad[0];
        let h = (first[1] + index % lines * g.dilation[1]) as isize - g.pad[1];
        if !(0..g.input[0] as isize).contains(&d) || !(0..g.input[1] as isize).contains(&h) || after == before {
            line.fill(0.0);
            continue;
        }
        let from = ((d as usize * g.input[1] + h as usize) * g.input[2]) as isize + before as isize - g.pad[2];
        line[..before * c].fill(0.0);
        line[before * c..after * c].copy_from_slice(&image[from.cast_unsigned() * c..][..(after - before) * c]);
        line[after * c..].fill(0.0);
    }
}
