//! The elements of a tensor as numbers of few values: what is coded when a tensor has few of them.

use super::mix::{Mix, noise, number};
use super::range::{BitCoder, Damaged};
use std::collections::BTreeMap;

/// More different values than this are no table.
pub const MOST_VALUES: usize = 256;

/// A tensor as a table of its values, ascending as patterns of bits with the sign turned, and for each element the place
/// of its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Symbols {
    /// Bits of one element: 2, 4, 8, 16 or 32.
    pub width: u8,
    /// Patterns of bits.
    pub table: Vec<u32>,
    /// The place of the pattern of zeros in the table, if it is there.
    pub zero: Option<u8>,
    pub codes: Vec<u8>,
}

/// Patterns in an order in which numbers ascend: integers of up to 8 bits with a sign, floats above.
fn order(pattern: u32, width: u8) -> u32 {
    let top = 1_u32 << (width - 1);
    let all = top | (top - 1);
    match (pattern & top == 0, width) {
        (_, ..=8) => pattern ^ top,
        (true, _) => pattern | top,
        (false, _) => !pattern & all,
    }
}

/// The pattern that has a place in the order.
fn pattern(order: u32, width: u8) -> u32 {
    let top = 1_u32 << (width - 1);
    let all = top | (top - 1);
    match (order & top == 0, width) {
        (_, ..=8) => order ^ top,
        (false, _) => order & !top,
        (true, _) => !order & all,
    }
}

impl Symbols {
    /// `None` where there are too many different values, or `width` is none that is known.
    #[must_use]
    pub fn of(bytes: &[u8], count: usize, width: u8) -> Option<Self> {
        let patterns = patterns(bytes, count, width)?;
        let mut places: BTreeMap<u32, u8> = BTreeMap::new();
        let mut last = None;
        for pattern in &patterns {
            if last == Some(*pattern) {
                continue;
            }
            last = Some(*pattern);
            places.insert(order(*pattern, width), 0);
            if places.len() > MOST_VALUES {
                return None;
            }
        }
        for (i, place) in places.values_mut().enumerate() {
            *place = i as u8;
        }
        let mut table = vec![0; places.len()];
        let mut codes = Vec::with_capacity(count);
        for pattern in patterns {
            let place = places.get(&order(pattern, width)).copied()?;
            *table.get_mut(usize::from(place))? = pattern;
            codes.push(place);
        }
        let zero = Self::zero_of(&table);
        Some(Self { width, table, zero, codes })
    }

    /// The place of the pattern of zeros in a table.
    #[must_use]
    pub fn zero_of(table: &[u32]) -> Option<u8> {
        table.iter().position(|p| *p == 0).map(|p| p as u8)
    }

    /// The bytes of the tensor; what a code has no value for is zero.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let pattern = |code: &u8| self.table.get(usize::from(*code)).copied().unwrap_or(0);
        match self.width {
            8.. => {
                let wide = usize::from(self.width / 8);
                self.codes.iter().flat_map(|code| pattern(code).to_le_bytes().into_iter().take(wide)).collect()
            }
            _ => {
                let per_byte = usize::from(8 / self.width);
                let byte = |codes: &[u8]| codes.iter().rev().fold(0_u8, |byte, code| byte << self.width | pattern(code) as u8);
                self.codes.chunks(per_byte).map(byte).collect()
            }
        }
    }
}

/// The patterns of all elements; bits that fill up the last byte must be zeros.
fn patterns(bytes: &[u8], count: usize, width: u8) -> Option<Vec<u32>> {
    let all: Vec<u32> = match width {
        32 => bytes.as_chunks::<4>().0.iter().map(|b| u32::from_le_bytes(*b)).collect(),
        16 => bytes.as_chunks::<2>().0.iter().map(|b| u32::from(u16::from_le_bytes(*b))).collect(),
        8 => bytes.iter().map(|b| u32::from(*b)).collect(),
        2 | 4 => {
            let (per_byte, mask) = (8 / width, u8::MAX >> (8 - width));
            bytes.iter().flat_map(|b| (0..per_byte).map(move |i| u32::from(b >> (i * width) & mask))).collect()
        }
        _ => return None,
    };
    let (kept, filler) = all.split_at_checked(count)?;
    (filler.len() < 4 && filler.iter().all(|f| *f == 0)).then(|| kept.to_vec())
}

/// Codes a table: each pattern by how far it lies above the one before, in their order. `count` of them are read.
///
/// # Errors
/// When a stream that is read is no such stream.
pub fn table(coder: &mut impl BitCoder, known: &[u32], count: usize, width: u8) -> Result<Vec<u32>, Damaged> {
    let mut lengths = Mix::<1>::new([64], 1);
    let mut heads = Mix::<1>::new([33 << HEAD], 1);
    let mut read = Vec::with_capacity(count);
    let mut before: Option<u32> = None;
    for i in 0..count {
        let this = known.get(i).map_or(0, |p| order(*p, width));
        let place = match before {
            None => noise(coder, this, u32::from(width))?,
            Some(before) => {
                // What lies above, less one, in its length and the bits behind the highest.
                let gap = u64::from(this.wrapping_sub(before).wrapping_sub(1)) + 1;
                let length = number(&mut lengths, coder, gap.ilog2(), 6, 0)?.min(31);
                let head = length.min(HEAD);
                let gap = gap as u32;
                let first = number(&mut heads, coder, gap >> (length - head) & ((1 << head) - 1), head, length as usize)?;
                let rest = noise(coder, gap & ((1_u32 << (length - head)) - 1), length - head)?;
                let gap = 1_u32 << length | first << (length - head) | rest;
                before.checked_add(gap).ok_or(Damaged)?
            }
        };
        before = Some(place);
        read.push(pattern(place, width));
    }
    Ok(read)
}

/// Bits behind the highest of a gap that are learned.
const HEAD: u32 = 2;
