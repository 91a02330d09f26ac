//! One pass over data, in bounded memory.

#![expect(clippy::inline_always, reason = "what is not inlined is compiled for the oldest processors")]

use super::histogram::Histogram;
use super::{LANES, Range};
use crate::engine::kernels::widest::{Work, widest};
use rayon::iter::ParallelIterator;
use rayon::slice::ParallelSlice;
use serde::{Deserialize, Serialize};

/// Weight of a new batch in the moving average, as in torch.
const MOMENTUM: f64 = 0.01;
/// Values that are summed in one piece; pieces are added in their order.
const SHARE: usize = 1 << 18;

/// What all batches so far leave behind: the counts are of values, the sums of finite ones.
///
/// Parts that watched consecutive batches can be merged in that order: counts, extremes, histogram and
/// average come out as if one had watched them all; sums too, but for rounding.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Accumulator {
    finite: u64,
    not_finite: u64,
    extremes: Option<Range>,
    sum: f64,
    squares: f64,
    histogram: Histogram,
    average: Option<Average>,
}

/// The moving average of a run of batches, for both cases: that the run is the first, and that another
/// came before, whose average m becomes `keep`·m + `own`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Average {
    alone: (f64, f64),
    keep: f64,
    own: (f64, f64),
}

impl Average {
    fn of(batch: Range) -> Self {
        let (low, high) = (f64::from(batch.low), f64::from(batch.high));
        Self { alone: (low, high), keep: 1.0 - MOMENTUM, own: (MOMENTUM * low, MOMENTUM * high) }
    }

    fn then(self, next: Self) -> Self {
        let carry = |m: (f64, f64)| (next.keep * m.0 + next.own.0, next.keep * m.1 + next.own.1);
        Self { alone: carry(self.alone), keep: self.keep * next.keep, own: carry(self.own) }
    }
}

fn wider(a: Option<Range>, b: Option<Range>) -> Option<Range> {
    match (a, b) {
        (Some(a), Some(b)) => Some(Range { low: a.low.min(b.low), high: a.high.max(b.high) }),
        (a, b) => a.or(b),
    }
}

impl Accumulator {
    /// Watches one batch, on the threads there are.
    pub fn add(&mut self, batch: &[f32]) {
        let parts: Vec<Sums> = batch.par_chunks(SHARE).map(Sums::of).collect();
        let whole = parts.iter().fold(Sums::default(), Sums::join);
        if whole.not_finite > 0 {
            let finite: Vec<f32> = batch.iter().copied().filter(|v| v.is_finite()).collect();
            self.not_finite += whole.not_finite;
            return self.add(&finite);
        }
        let Some(range) = whole.range() else { return };
        self.finite += batch.len() as u64;
        self.sum += whole.sum;
        self.squares += whole.squares;
        self.extremes = wider(self.extremes, Some(range));
        self.histogram.add(batch, range.absmax());
        let average = Average::of(range);
        self.average = Some(self.average.map_or(average, |before| before.then(average)));
    }

    /// Takes in what watched the batches that came next.
    pub fn merge(&mut self, next: &Self) {
        self.finite += next.finite;
        self.not_finite += next.not_finite;
        self.extremes = wider(self.extremes, next.extremes);
        self.sum += next.sum;
        self.squares += next.squares;
        self.histogram.merge(&next.histogram);
        self.average = match (self.average, next.average) {
            (Some(before), Some(next)) => Some(before.then(next)),
            (before, next) => before.or(next),
        };
    }

    /// Values that were seen and finite.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.finite
    }

    /// NaN and infinite values.
    #[must_use]
    pub fn not_finite(&self) -> u64 {
        self.not_finite
    }

    /// Smallest and largest finite value; `None` before the first.
    #[must_use]
    pub fn range(&self) -> Option<Range> {
        self.extremes
    }

    /// The moving average of the batches' smallest and largest values.
    #[must_use]
    pub fn average(&self) -> Option<Range> {
        self.average.map(|a| Range { low: a.alone.0 as f32, high: a.alone.1 as f32 })
    }

    /// 0 before the first value, as are the next two.
    #[must_use]
    pub fn mean(&self) -> f64 {
        self.sum / self.finite.max(1) as f64
    }

    /// `E[x²]`.
    #[must_use]
    pub fn mean_square(&self) -> f64 {
        self.squares / self.finite.max(1) as f64
    }

    #[must_use]
    pub fn variance(&self) -> f64 {
        (self.mean_square() - self.mean() * self.mean()).max(0.0)
    }

    #[must_use]
    pub fn histogram(&self) -> &Histogram {
        &self.histogram
    }

    /// Whether its parts agree, as they do unless it was read from a damaged file.
    #[must_use]
    pub fn is_sound(&self) -> bool {
        let ordered = |r: Range| r.low <= r.high && r.low.is_finite() && r.high.is_finite();
        let seen = self.finite > 0;
        let average = self.average().is_some_and(ordered);
        self.histogram.total() == self.finite
            && (self.extremes.is_some_and(ordered) == seen && self.extremes.is_some() == seen)
            && (average == seen && self.average.is_some() == seen)
            && self.sum.is_finite()
            && self.squares.is_finite()
    }
}

/// Absmax and Σx² of every channel of data whose innermost axis is the channels, as linear layers read
/// it: what SmoothQuant, AWQ, Wanda and importance matrices ask for. Values that are not finite are left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChannelSums {
    absmax: Vec<f32>,
    squares: Vec<f64>,
    rows: u64,
}

impl ChannelSums {
    #[must_use]
    pub fn new(channels: usize) -> Self {
        Self { absmax: vec![0.0; channels], squares: vec![0.0; channels], rows: 0 }
    }

    /// Watches rows of one value per channel; an unfinished last row is left out.
    pub fn add(&mut self, rows: &[f32]) {
        if self.absmax.is_empty() {
            return;
        }
        for row in rows.chunks_exact(self.absmax.len()) {
            for ((absmax, squares), x) in self.absmax.iter_mut().zip(&mut self.squares).zip(row) {
                let x = if x.is_finite() { x.abs() } else { 0.0 };
                *absmax = absmax.max(x);
                *squares += f64::from(x) * f64::from(x);
            }
            self.rows += 1;
        }
    }

    /// Watches [samples, channels, inner] data, as convolutions read it: every place of a channel is a row.
    pub fn add_planes(&mut self, data: &[f32], inner: usize) {
        let channels = self.absmax.len();
        if channels == 0 || inner == 0 {
            return;
        }
        for sample in data.chunks_exact(channels * inner) {
            for ((absmax, squares), plane) in self.absmax.iter_mut().zip(&mut self.squares).zip(sample.chunks_exact(inner)) {
                for x in plane.iter().map(|x| x.abs()).filter(|x| x.is_finite()) {
                    *absmax = absmax.max(x);
                    *squares += f64::from(x) * f64::from(x);
                }
            }
            self.rows += inner as u64;
        }
    }

    /// Takes in what watched the data that came next; both must watch as many channels.
    pub fn merge(&mut self, next: &Self) {
        self.absmax.iter_mut().zip(&next.absmax).for_each(|(a, b)| *a = a.max(*b));
        self.squares.iter_mut().zip(&next.squares).for_each(|(a, b)| *a += b);
        self.rows += next.rows;
    }

    /// How many there are.
    #[must_use]
    pub fn channels(&self) -> usize {
        self.absmax.len()
    }

    #[must_use]
    pub fn absmax(&self) -> &[f32] {
        &self.absmax
    }

    /// `E[x²]` of every channel.
    #[must_use]
    pub fn mean_squares(&self) -> Vec<f64> {
        self.squares.iter().map(|s| s / self.rows.max(1) as f64).collect()
    }
}

/// What one piece of a batch sums up to.
#[derive(Debug, Clone, Copy)]
struct Sums {
    low: f32,
    high: f32,
    sum: f64,
    squares: f64,
    not_finite: u64,
}

impl Default for Sums {
    fn default() -> Self {
        Self { low: f32::INFINITY, high: f32::NEG_INFINITY, sum: 0.0, squares: 0.0, not_finite: 0 }
    }
}

impl Sums {
    fn of(values: &[f32]) -> Self {
        let mut sums = Self::default();
        widest(Add(values, &mut sums));
        sums
    }

    fn join(self, next: &Self) -> Self {
        Self {
            low: self.low.min(next.low),
            high: self.high.max(next.high),
            sum: self.sum + next.sum,
            squares: self.squares + next.squares,
            not_finite: self.not_finite + next.not_finite,
        }
    }

    fn range(&self) -> Option<Range> {
        (self.low <= self.high).then_some(Range { low: self.low, high: self.high })
    }
}

/// Sums in lanes, which are joined in their order: the same on every processor.
struct Add<'a>(&'a [f32], &'a mut Sums);

impl Work for Add<'_> {
    #[inline(always)]
    fn run(self) {
        let (mut low, mut high) = ([f32::INFINITY; LANES], [f32::NEG_INFINITY; LANES]);
        let (mut sum, mut squares, mut bad) = ([0.0_f64; LANES], [0.0_f64; LANES], [0_u32; LANES]);
        let (whole, rest) = self.0.as_chunks::<LANES>();
        for x in whole {
            for i in 0..LANES {
                low[i] = if x[i] < low[i] { x[i] } else { low[i] };
                high[i] = if x[i] > high[i] { x[i] } else { high[i] };
                sum[i] += f64::from(x[i]);
                squares[i] += f64::from(x[i]) * f64::from(x[i]);
                bad[i] += u32::from(!x[i].is_finite());
            }
        }
        for (i, x) in rest.iter().enumerate() {
            low[i] = low[i].min(*x);
            high[i] = high[i].max(*x);
            sum[i] += f64::from(*x);
            squares[i] += f64::from(*x) * f64::from(*x);
            bad[i] += u32::from(!x.is_finite());
        }
        *self.1 = Sums {
            low: low.iter().fold(f32::INFINITY, |a, b| a.min(*b)),
            high: high.iter().fold(f32::NEG_INFINITY, |a, b| a.max(*b)),
            sum: sum.iter().sum(),
            squares: squares.iter().sum(),
            not_finite: bad.iter().map(|b| u64::from(*b)).sum(),
        };
    }
}
