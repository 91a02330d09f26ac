//! Lloyd's iteration in one dimension: sums before every value make a round O(k log n).

use super::sort::Sorted;

/// Rounds at most; weights of real layers settle before.
const ROUNDS: usize = 300;

/// Moves entries (ascending) to the means of the values nearest to them until none moves. A value in the
/// middle between two belongs to the lower one; an entry without values stays.
pub(crate) fn lloyd(sorted: &Sorted, entries: &mut [f64]) {
    for _ in 0..ROUNDS {
        let middles = entries.windows(2).map(|pair| f64::midpoint(pair[0], pair[1]));
        let mut bounds: Vec<usize> = middles.map(|middle| sorted.values.partition_point(|v| *v <= middle)).collect();
        bounds.push(sorted.len());
        let (mut from, mut moved) = (0, false);
        for (entry, to) in entries.iter_mut().zip(bounds) {
            if let Some(mean) = sorted.mean(from, to) {
                moved |= mean != *entry;
                *entry = mean;
            }
            from = to;
        }
        if !moved {
            return;
        }
    }
}
