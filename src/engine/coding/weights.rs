//! A model of a layer's weights as places in a table of values: is one zero, and if not, which value? What stands at
//! the same place of neighboring kernels, rows and columns tells; so do the neighbors' magnitudes.

use super::mix::Mix;
use super::range::{BitCoder, Damaged};

/// How elements lie: `row` of them make an output channel, `inner` the part of it that one input channel has.
#[derive(Debug, Clone, Copy)]
pub struct Geometry {
    pub row: usize,
    pub inner: usize,
}

impl Geometry {
    #[must_use]
    pub fn of(shape: &[usize]) -> Self {
        // Shapes come from files: their products are not to be trusted.
        let size = |from: usize| shape.iter().skip(from).fold(1_usize, |n, d| n.saturating_mul(*d)).max(1);
        Self { row: size(1), inner: size(2) }
    }
}

/// Columns and rows beyond so many share what is learned of them.
const PLACES: usize = 1 << 13;
/// Magnitudes are told apart in so many steps.
const STEPS: usize = 8;

/// What is known of the table: how large each value is beside the others, in steps.
struct Levels {
    zero: Option<u8>,
    steps: Vec<u8>,
}

impl Levels {
    fn new(count: usize, zero: Option<u8>) -> Self {
        // Values ascend: how far one lies from the zero (or the middle) among them is its magnitude.
        let middle = zero.map_or(count / 2, usize::from);
        let reach = middle.max(count.saturating_sub(middle + 1)).max(1);
        let step = |i: usize| (i.abs_diff(middle) * (STEPS - 1)).div_ceil(reach).min(STEPS - 1) as u8;
        Self { zero, steps: (0..count).map(step).collect() }
    }

    fn step(&self, code: Option<&u8>) -> usize {
        code.and_then(|code| self.steps.get(usize::from(*code))).map_or(0, |s| usize::from(*s))
    }

    fn nonzero(&self, code: Option<&u8>) -> usize {
        usize::from(code.is_some_and(|code| Some(*code) != self.zero))
    }
}

/// What lies around the next element.
struct Around<'a> {
    codes: &'a [u8],
    geometry: Geometry,
    levels: &'a Levels,
}

impl Around<'_> {
    fn back(&self, by: usize) -> Option<&u8> {
        self.codes.get(self.codes.len().checked_sub(by)?)
    }

    fn flags(&self, by: [usize; 3]) -> usize {
        by.iter().fold(0, |all, by| all << 1 | self.levels.nonzero(self.back(*by)))
    }

    /// Of the last elements at the same place of a kernel, how many are not zero.
    fn density(&self, stride: usize, count: usize) -> usize {
        (1..=count).map(|i| self.levels.nonzero(self.back(i * stride))).sum()
    }

    /// The sum of the last few magnitudes.
    fn loudness(&self, stride: usize, count: usize) -> usize {
        (1..=count).map(|i| self.levels.step(self.back(i * stride))).sum()
    }

    fn column(&self) -> usize {
        (self.codes.len() % self.geometry.row).min(PLACES - 1)
    }

    fn row(&self) -> usize {
        (self.codes.len() / self.geometry.row).min(PLACES - 1)
    }

    /// Slots of the question whether the next element is zero.
    fn of_flag(&self) -> [usize; 7] {
        let Geometry { row, inner } = self.geometry;
        let kernel = (self.codes.len() % inner).min(63);
        let channel = self.column() / inner;
        [
            self.flags([1, 2, 3]) << 6 | kernel,
            self.flags([inner, 2 * inner, 3 * inner]) << 6 | kernel,
            self.flags([row, 2 * row, 3 * row]) << 3 | self.flags([1, inner, row + 1]),
            self.density(1, 24) * 32 + self.density(row, 24),
            self.column(),
            self.row(),
            channel * 16 + self.density(1, 8),
        ]
    }

    /// Slots of the bits of a value; `node` is what was coded of it.
    fn of_value(&self, node: usize) -> [usize; 6] {
        let Geometry { row, inner } = self.geometry;
        let head = node.min(31);
        [
            node,
            (self.loudness(1, 3).min(31) << 8) | node,
            (self.levels.step(self.back(inner)) * STEPS + self.levels.step(self.back(row))) << 8 | node,
            (self.loudness(1, 12) / 4).min(31) << 8 | node,
            self.column() << 5 | head,
            self.row() << 5 | head,
        ]
    }
}

/// Sizes of the tables of both questions, for so many elements.
fn tables(count: usize, geometry: Geometry) -> ([usize; 7], [usize; 6]) {
    let columns = geometry.row.min(count).min(PLACES);
    let rows = count.div_ceil(geometry.row).min(PLACES);
    let channels = columns.div_ceil(geometry.inner);
    (
        [512, 512, 64, 32 * 32, columns, rows, channels * 16],
        [256, 32 << 8, (STEPS * STEPS) << 8, 32 << 8, columns << 5, rows << 5],
    )
}

/// Codes `count` places in a table of `values` values, one of which may be that of zeros.
///
/// # Errors
/// When a stream that is read is no such stream.
pub fn codes(
    coder: &mut impl BitCoder,
    known: &[u8],
    count: usize,
    (values, zero): (usize, Option<u8>),
    geometry: Geometry,
) -> Result<Vec<u8>, Damaged> {
    let levels = Levels::new(values, zero);
    let bits = values.saturating_sub(1).checked_ilog2().map_or(0, |top| top + 1);
    let (of_flags, of_values) = tables(count, geometry);
    let mut flags = Mix::<7>::new(of_flags, 4);
    let mut numbers = Mix::<6>::new(of_values, 8);
    let mut done: Vec<u8> = Vec::new();
    done.try_reserve_exact(count).map_err(|_| Damaged)?;
    for i in 0..count {
        let this = known.get(i).copied().unwrap_or(0);
        let around = Around { codes: &done, geometry, levels: &levels };
        if let Some(zero) = zero {
            let set = around.flags([1, geometry.inner, geometry.row]).count_ones() as usize;
            if flags.code(coder, this == zero, around.of_flag(), set)? {
                done.push(zero);
                continue;
            }
        }
        let mut node = 1;
        for place in (0..bits).rev() {
            let bit = numbers.code(coder, this >> place & 1 == 1, around.of_value(node), (bits - 1 - place) as usize)?;
            node = node << 1 | usize::from(bit);
        }
        let code = node - (1 << bits);
        if code >= values {
            return Err(Damaged);
        }
        done.push(code as u8);
    }
    Ok(done)
}
