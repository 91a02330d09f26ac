//! The rows of an image that a piece of work reads: where they lie, or a copy with its padding.

use super::{Geometry, Unit};
use crate::engine::kernels::aligned::Aligned;
use crate::engine::kernels::isa::Isa;
use std::cell::RefCell;

/// Bytes of laid-out rows that one pass takes: with weights and results beside them they stay in a
/// common second-level cache.
const PASS_BYTES: usize = 192 << 10;

/// How rows are read.
#[derive(Debug)]
pub struct Rows<'a> {
    input: &'a [f32],
    /// Without padding the image is read where it lies.
    direct: bool,
    /// Places of a laid-out row, and planes of the kernel's depth.
    width: usize,
    planes: usize,
    /// Values that a vector may read beyond the last channel.
    slack: usize,
}

/// Rows ready to be read.
#[derive(Debug, Clone, Copy)]
pub struct Laid<'a> {
    pub data: &'a [f32],
    /// The first value of the first output row's first place.
    pub at: usize,
    /// Values from one row of the image to the next, and from one plane to the next.
    pub row: usize,
    pub plane: usize,
}

thread_local! {
    /// Kept, because fresh pages cost more than the work.
    static SCRATCH: RefCell<Aligned> = RefCell::default();
}

impl<'a> Rows<'a> {
    /// `slack`: vectors read over the end of a place.
    pub fn new(g: &Geometry, isa: Isa, input: &'a [f32], slack: bool) -> Self {
        let needed = |a: usize| (g.output[a] - 1) * g.stride[a] + (g.kernel[a] - 1) * g.dilation[a] + 1;
        let inside = (0..3).all(|a| g.pad[a] == 0 && needed(a) <= g.input[a]);
        let slack = if slack && !g.in_channels.is_multiple_of(isa.lanes()) { isa.lanes() } else { 0 };
        let planes = (g.kernel[0] - 1) * g.dilation[0] + 1;
        Self { input, direct: inside && slack == 0, width: needed(2), planes, slack }
    }

    /// Calls `pass` with rows `from..to` of the unit, a few at a time.
    pub fn each(&self, g: &Geometry, unit: Unit, mut pass: impl FnMut(Laid<'_>, (usize, usize))) {
        let image = g.in_channels * g.in_plane();
        let start = unit.image * image;
        let [_, height, width] = g.input;
        if self.direct {
            let (row, plane) = (width * g.in_channels, height * width * g.in_channels);
            let data = &self.input[start..start + image];
            let at = unit.depth * g.stride[0] * plane + unit.rows.0 * g.stride[1] * row;
            return pass(Laid { data, at, row, plane }, unit.rows);
        }
        let row = self.width * g.in_channels;
        let reach = (g.kernel[1] - 1) * g.dilation[1] + 1;
        let fitting = (PASS_BYTES / (4 * row * self.planes).max(1)).saturating_sub(reach) / g.stride[1] + 1;
        SCRATCH.with_borrow_mut(|scratch| {
            let mut from = unit.rows.0;
            while from < unit.rows.1 {
                let to = (from + fitting).min(unit.rows.1);
                let lines = (to - from - 1) * g.stride[1] + reach;
                let plane = lines * row;
                let needed = plane * self.planes + self.slack;
                let scratch = scratch.reach(needed);
                let first = [unit.depth * g.stride[0], from * g.stride[1]];
                fill(g, &self.input[start..start + image], first, (lines, self.width), &mut scratch[..plane * self.planes]);
                pass(Laid { data: scratch, at: 0, row, plane }, (from, to));
                from = to;
            }
        });
    }
}

/// Lays out lines of the padded image from plane and line `first` on.
fn fill(g: &Geometry, image: &[f32], first: [usize; 2], (lines, width): (usize, usize), to: &mut [f32]) {
    let c = g.in_channels;
    // Places x with 0 ≤ x − pad < input.
    let before = g.pad[2].max(0).cast_unsigned().min(width);
    let after = (g.input[2] as isize + g.pad[2]).clamp(before as isize, width as isize).cast_unsigned();
    for (index, line) in to.chunks_exact_mut(width * c).enumerate() {
        let d = (first[0] + index / lines) as isize - g.pad[0];
        let h = (first[1] + index % lines) as isize - g.pad[1];
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
