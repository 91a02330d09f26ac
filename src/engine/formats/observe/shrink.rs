//! The range that torch's histogram observer finds: ends move in while the squared error falls.

use super::Range;
use super::histogram::Bins;

/// By how much of all values an end moves at a time.
const STEP: f64 = 1e-5;

/// The range of a grid of `levels` steps over the values of a histogram. From both ends so many values are cut off
/// as one step makes, always at the end where that skips more bins, until the squared error would grow. Greedy:
/// where one bin more at an end costs, it stops, though several might pay.
pub fn shrink(bins: &Bins, levels: usize) -> Option<Range> {
    let last = bins.counts.len().checked_sub(1)?;
    let mut sums = Vec::with_capacity(bins.counts.len());
    let mut total = 0;
    sums.extend(bins.counts.iter().map(|count| {
        total += count;
        total as f64
    }));
    if total == 0 {
        return None;
    }
    let (total, at) = (total as f64, |bin: usize| sums.get(bin).copied().unwrap_or(f64::INFINITY));
    let (mut low, mut high) = (0.0, 1.0);
    let (mut start, mut end) = (0, last);
    let mut least = f64::INFINITY;
    while low < high {
        let (next_low, next_high) = (low + STEP, high - STEP);
        let left = (start..end).find(|bin| at(*bin) >= next_low * total).unwrap_or(end);
        let right = (start + 1..=end).rev().find(|bin| at(*bin) <= next_high * total).unwrap_or(start);
        let (next_start, next_end) = if left - start > end - right {
            low = next_low;
            (left, end)
        } else {
            high = next_high;
            (start, right)
        };
        if (next_start, next_end) == (start, end) {
            continue;
        }
        let error = error(bins, next_start, next_end, levels);
        if error > least {
            break;
        }
        (least, start, end) = (error, next_start, next_end);
    }
    Some(Range { low: bins.edge(start) as f32, high: bins.edge(end + 1) as f32 })
}

/// Squared error of values spread evenly over their bins, on a grid of `levels` equal steps from the lower edge of
/// bin `start` to the upper edge of bin `end`; a value becomes the middle of its step, one outside that of the last.
fn error(bins: &Bins, start: usize, end: usize, levels: usize) -> f64 {
    let step = bins.width * (end - start + 1) as f64 / levels as f64;
    let half = step / 2.0;
    // ∫x² from a to b.
    let integral = |a: f64, b: f64| (b * b * b - a * a * a) / 3.0;
    let step_of = |x: f64| (x / step).floor().clamp(0.0, (levels - 1) as f64);
    let filled = bins.counts.iter().enumerate().filter(|(_, count)| **count > 0);
    let errors = filled.map(|(bin, count)| {
        let from = (bin as f64 - start as f64) * bins.width;
        let to = from + bins.width;
        let (first, last) = (step_of(from), step_of(to));
        let middle = |number: f64| (number + 0.5) * step;
        let whole = (last - first - 1.0) * integral(-half, half);
        *count as f64 / bins.width * (integral(from - middle(first), half) + whole + integral(-half, to - middle(last)))
    });
    errors.sum()
}
