//! Counts of values in bins that grow with what is seen.
//!
//! Bins are 2^e wide and start at a multiple of that width. A value out of range doubles the width until
//! it fits: every bin then takes in two old ones whole, so that no count is ever split. Hence the result
//! does not depend on the order in which values or parts arrive.

use crate::engine::kernels::widest::{Work, widest};
use rayon::iter::{IndexedParallelIterator, ParallelIterator};
use rayon::slice::ParallelSlice;
use serde::{Deserialize, Serialize};

/// Bins on either side of zero; between half of them and all are in use on the side that reaches farther.
pub(super) const SIDE: usize = 4096;
/// 2^13 bins span both sides.
const SIDE_EXPONENT: i32 = 12;
/// Bins narrower than this could not be counted in f32.
const NARROWEST: i32 = -126;

/// Values that one task takes.
const SHARE: usize = 1 << 20;

/// Counts of finite values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Stored", try_from = "Stored")]
pub struct Histogram {
    /// Bins are 2^exponent wide.
    exponent: i32,
    /// `SIDE` bins below zero and as many from zero up; none before the first value.
    counts: Vec<u64>,
}

/// A histogram as it is saved: without the empty bins at either end.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    exponent: i32,
    /// Empty bins before the first of `counts`.
    first: usize,
    counts: Vec<u64>,
}

impl From<Histogram> for Stored {
    fn from(histogram: Histogram) -> Self {
        let first = histogram.counts.iter().position(|c| *c > 0).unwrap_or(0);
        Self { exponent: histogram.exponent, first, counts: histogram.bins().counts }
    }
}

impl TryFrom<Stored> for Histogram {
    type Error = String;

    fn try_from(stored: Stored) -> Result<Self, String> {
        let Stored { exponent, first, counts: stored } = stored;
        let end = first.saturating_add(stored.len());
        let counted = stored.iter().try_fold(0_u64, |sum, c| sum.checked_add(*c));
        if !(NARROWEST..=128 - SIDE_EXPONENT).contains(&exponent) || end > 2 * SIDE || counted.is_none() {
            return Err(format!("no histogram has {} bins of width 2^{exponent} from bin {first} on", stored.len()));
        }
        let mut counts = vec![0; if stored.is_empty() { 0 } else { 2 * SIDE }];
        if let Some(bins) = counts.get_mut(first..end) {
            bins.copy_from_slice(&stored);
        }
        Ok(Self { exponent, counts })
    }
}

impl Default for Histogram {
    fn default() -> Self {
        Self { exponent: NARROWEST, counts: Vec::new() }
    }
}

/// The narrowest bins that hold magnitudes up to `absmax`.
fn exponent_for(absmax: f32) -> i32 {
    if absmax == 0.0 {
        return NARROWEST;
    }
    // Every f32 is a normal f64.
    let exponent = (f64::from(absmax).to_bits() >> 52) as i32 - 1023;
    (exponent + 1 - SIDE_EXPONENT).max(NARROWEST)
}

impl Histogram {
    /// Counts finite values whose magnitudes do not exceed `absmax`, on the threads there are.
    pub fn add(&mut self, values: &[f32], absmax: f32) {
        self.widen(exponent_for(absmax));
        if values.is_empty() {
            return;
        }
        self.counts.resize(2 * SIDE, 0);
        if values.len() <= SHARE {
            count(values, self.exponent, &mut self.counts);
            return;
        }
        let exponent = self.exponent;
        let parts: Vec<Vec<u64>> = values
            .par_chunks(SHARE)
            .with_min_len(1)
            .map(|values| {
                let mut counts = vec![0; 2 * SIDE];
                count(values, exponent, &mut counts);
                counts
            })
            .collect();
        for part in &parts {
            self.take(part);
        }
    }

    fn take(&mut self, counts: &[u64]) {
        self.counts.iter_mut().zip(counts).for_each(|(sum, count)| *sum += count);
    }

    /// Joins bins until they are at least so wide.
    fn widen(&mut self, exponent: i32) {
        if exponent <= self.exponent {
            return;
        }
        let shift = (exponent - self.exponent).min(SIDE_EXPONENT + 1);
        if !self.counts.is_empty() {
            let mut wider = vec![0; 2 * SIDE];
            for (bin, count) in self.counts.iter().enumerate() {
                // An arithmetic shift rounds down, as it must: bins below zero join with those below them.
                let bin = ((bin as i64 - SIDE as i64) >> shift) + SIDE as i64;
                wider[bin as usize] += count;
            }
            self.counts = wider;
        }
        self.exponent = exponent;
    }

    /// Adds what another one counted.
    pub fn merge(&mut self, other: &Self) {
        self.widen(other.exponent);
        if other.counts.is_empty() {
            return;
        }
        let mut other = other.clone();
        other.widen(self.exponent);
        self.counts.resize(2 * SIDE, 0);
        self.take(&other.counts);
    }

    #[must_use]
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }

    fn width(&self) -> f64 {
        2_f64.powi(self.exponent)
    }

    /// The bins from the first with a value to the last.
    #[must_use]
    pub fn bins(&self) -> Bins {
        let first = self.counts.iter().position(|c| *c > 0).unwrap_or(0);
        let end = self.counts.iter().rposition(|c| *c > 0).map_or(0, |last| last + 1);
        let low = (first as f64 - SIDE as f64) * self.width();
        Bins { low, width: self.width(), counts: self.counts.get(first..end).unwrap_or(&[]).to_vec() }
    }

    /// The histogram of magnitudes, from zero on; 2,048 bins or more unless all values are tiny.
    #[must_use]
    pub fn magnitudes(&self) -> Bins {
        let (below, above) = self.counts.split_at(self.counts.len() / 2);
        let mut counts: Vec<u64> = above.iter().zip(below.iter().rev()).map(|(a, b)| a + b).collect();
        counts.truncate(counts.iter().rposition(|c| *c > 0).map_or(0, |last| last + 1));
        Bins { low: 0.0, width: self.width(), counts }
    }
}

/// Counts in bins of one width.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Bins {
    /// Where the first bin begins.
    pub low: f64,
    pub width: f64,
    pub counts: Vec<u64>,
}

impl Bins {
    /// Where a bin begins.
    #[must_use]
    pub fn edge(&self, bin: usize) -> f64 {
        self.low + bin as f64 * self.width
    }

    /// The lower edge of the first bin at whose end this share of the values is reached.
    #[must_use]
    pub fn edge_at(&self, share: f64) -> f64 {
        let total = self.counts.iter().sum::<u64>() as f64;
        let mut seen = 0;
        let reached = |count: &u64| {
            seen += count;
            seen as f64 / total >= share
        };
        self.edge(self.counts.iter().position(reached).unwrap_or(self.counts.len()))
    }
}

/// Values whose bins are found before they are counted.
const BATCH: usize = 1024;

fn count(values: &[f32], exponent: i32, counts: &mut [u64]) {
    widest(Count { values, scale: 2_f64.powi(-exponent) as f32, counts });
}

struct Count<'a> {
    values: &'a [f32],
    scale: f32,
    counts: &'a mut [u64],
}

impl Work for Count<'_> {
    #[inline(always)]
    fn run(self) {
        // Adding it rounds a small number to a whole one, which then stands in the lowest bits.
        const MAGIC: f32 = 12_582_912.0;
        let Self { values, scale, counts } = self;
        // Two tables by turns: one that is hit twice in a row waits for itself.
        let mut tables = vec![0_u32; 4 * SIDE];
        let (even, odd) = tables.split_at_mut(2 * SIDE);
        let (Some(even), Some(odd)) = (even.first_chunk_mut::<{ 2 * SIDE }>(), odd.first_chunk_mut::<{ 2 * SIDE }>()) else {
            return;
        };
        let mut bins = [0_u32; BATCH];
        for part in values.chunks(BATCH) {
            for (bin, x) in bins.iter_mut().zip(part) {
                let x = x * scale;
                let near = x + MAGIC;
                // Down to the whole number below, not to the nearest.
                let above = u32::from(near - MAGIC > x);
                *bin = near.to_bits().wrapping_sub(MAGIC.to_bits() - SIDE as u32 + above);
            }
            let (pairs, rest) = bins[..part.len()].as_chunks::<2>();
            for [a, b] in pairs {
                even[*a as usize % (2 * SIDE)] += 1;
                odd[*b as usize % (2 * SIDE)] += 1;
            }
            for bin in rest {
                even[*bin as usize % (2 * SIDE)] += 1;
            }
        }
        for (sum, (a, b)) in counts.iter_mut().zip(even.iter().zip(odd.iter())) {
            *sum += u64::from(*a) + u64::from(*b);
        }
    }
}
