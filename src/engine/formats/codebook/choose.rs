//! Entries of scalar codebooks.

use super::exact::exact;
use super::lloyd::lloyd;
use super::sort::Sorted;
use super::{Fit, Zeros};
use crate::engine::Ctx;
use crate::engine::formats::error::FormatError;

/// Distinct values that the exact fit takes as they are, and how many times entries: 256 MB of table.
const EXACT: usize = 1 << 20;
const TABLE: usize = 1 << 26;

/// At most `count` entries for the values, ascending. `importance` holds a number for every value; without, each
/// counts once.
pub(super) fn scalar(
    values: &[f32],
    importance: Option<&[f32]>,
    fit: Fit,
    zeros: Zeros,
    count: usize,
    ctx: &Ctx,
) -> Result<Vec<f32>, FormatError> {
    let kept = |value: f32| zeros == Zeros::Shared || value != 0.0;
    let sorted = match (importance, zeros) {
        (Some(importance), _) => Sorted::weighed(values.iter().copied().zip(importance.iter().copied()).filter(|p| kept(p.0))),
        (None, Zeros::Shared) => Sorted::new(values),
        (None, Zeros::Apart) => Sorted::new(&values.iter().copied().filter(|v| kept(*v)).collect::<Vec<_>>()),
    };
    let (Some(low), Some(high)) = (sorted.values.first(), sorted.values.last()) else { return Ok(Vec::new()) };
    let mut entries = match fit {
        _ if sorted.len() <= count && fit != Fit::PowerOfTwo => sorted.values.clone(),
        Fit::Exact => best(&sorted, count, ctx)?,
        Fit::Lloyd => {
            let step = (high - low) / (count.max(2) - 1) as f64;
            let mut entries: Vec<f64> = (0..count).map(|i| low + step * i as f64).collect();
            lloyd(&sorted, &mut entries);
            entries
        }
        Fit::EqualMass => sorted.joined(count).values,
        Fit::PowerOfTwo => powers(low.abs().max(high.abs()), zeros, count),
    };
    entries.sort_unstable_by(f64::total_cmp);
    Ok(entries.into_iter().map(|e| e as f32).collect())
}

fn best(sorted: &Sorted, count: usize, ctx: &Ctx) -> Result<Vec<f64>, FormatError> {
    let means =
        |of: &Sorted, bounds: &[usize]| -> Vec<f64> { bounds.windows(2).filter_map(|pair| of.mean(pair[0], pair[1])).collect() };
    let most = EXACT.min(TABLE / count);
    if sorted.len() <= most {
        return Ok(means(sorted, &exact(sorted, count, ctx)?));
    }
    let points = sorted.joined(most);
    let mut entries = means(&points, &exact(&points, count, ctx)?);
    lloyd(sorted, &mut entries);
    Ok(entries)
}

/// `count` values: powers of two of both signs from the one nearest to `absmax` down, and zero unless it has
/// a number of its own. An odd one left over goes to the positive ones; one bit holds no zero.
fn powers(absmax: f64, zeros: Zeros, count: usize) -> Vec<f64> {
    if absmax == 0.0 {
        return vec![0.0];
    }
    // Between 2^k and 2^(k + 1) the middle is 1.5·2^k.
    let exponent = (absmax.to_bits() >> 52) as i32 - 1023;
    let largest = exponent + i32::from(absmax > 1.5 * 2_f64.powi(exponent) && exponent < 127);
    let zero = zeros == Zeros::Shared && count > 2;
    let rest = count - usize::from(zero);
    let side = |count: usize, sign: f64| (0..count).map(move |i| sign * 2_f64.powi((largest - i as i32).max(-149)));
    let mut all: Vec<f64> = side(rest - rest / 2, 1.0).chain(side(rest / 2, -1.0)).collect();
    if zero {
        all.push(0.0);
    }
    all
}
