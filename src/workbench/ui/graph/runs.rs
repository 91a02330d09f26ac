//! Blocks among items that stand in topological order, by how many wires are cut between two of them.
//!
//! A run of such items can always be closed: no wire leaves it and comes back. Between the split and the join of a
//! residual block two tensors or more are alive, before and after it one.

use std::ops::Range;

/// Most tensors alive at once at a border between two blocks.
const WIDEST_BORDER: usize = 6;
/// A network is not taken apart where a piece would hold more than this share of it.
const LARGEST_SHARE: usize = 3;
/// Runs that a long list is cut into, about.
const RUNS: usize = 40;

/// How many items before each border are read after it, for `count + 1` borders. Wires run from a lower place to a
/// higher one.
pub(super) fn widths(count: usize, wires: &[(usize, usize)]) -> Vec<usize> {
    alive(&last_readers(count, wires))
}

/// The place of each item's last reader; its own where nothing reads it.
fn last_readers(count: usize, wires: &[(usize, usize)]) -> Vec<usize> {
    let mut last: Vec<usize> = (0..count).collect();
    for &(from, to) in wires {
        last[from] = last[from].max(to);
    }
    last
}

/// How many items before each border have their last reader after it.
fn alive(last: &[usize]) -> Vec<usize> {
    let count = last.len();
    let (mut born, mut died) = (vec![0; count + 2], vec![0; count + 2]);
    for (item, last) in last.iter().enumerate() {
        born[item + 1] += 1;
        died[last + 1] += 1;
    }
    let mut alive = 0;
    (0..=count)
        .map(|border| {
            alive += born[border];
            alive -= died[border];
            alive
        })
        .collect()
}

/// The runs between splits and joins, each with what follows it before the next: at most as much as between any two,
/// so that the last one does not swallow what comes after the repetition. Empty where there is no repetition. What is
/// read nearly everywhere, such as a mask, hides nothing. Arguments as of [`widths`].
pub(super) fn split_to_join(count: usize, wires: &[(usize, usize)]) -> Vec<Range<usize>> {
    let mut last = last_readers(count, wires);
    for (item, last) in last.iter_mut().enumerate() {
        if *last - item > count / LARGEST_SHARE {
            *last = item;
        }
    }
    let widths = alive(&last);
    for most in 1..=WIDEST_BORDER {
        let mut regions: Vec<Range<usize>> = Vec::new();
        let mut start = 0;
        for border in (1..=count).filter(|&b| b == count || widths[b] <= most) {
            if border - start > 1 {
                regions.push(start..border);
            }
            start = border;
        }
        let longest = regions.iter().map(ExactSizeIterator::len).max().unwrap_or(0);
        if regions.len() < 2 || longest > count / LARGEST_SHARE {
            continue;
        }
        let after = regions.windows(2).map(|pair| pair[1].start - pair[0].end).min().unwrap_or(0);
        let ends: Vec<usize> = regions.iter().skip(1).map(|r| r.start).chain([count]).collect();
        for (region, end) in regions.iter_mut().zip(ends) {
            region.end = end.min(region.end + after);
        }
        return regions;
    }
    Vec::new()
}

/// The whole list in about [`RUNS`] runs, each cut where the fewest tensors are alive.
pub(super) fn even(widths: &[usize]) -> Vec<Range<usize>> {
    let count = widths.len().saturating_sub(1);
    let size = count.div_ceil(RUNS).max(2);
    let slack = size / 4;
    let mut runs = Vec::new();
    let mut start = 0;
    while start < count {
        let aim = start + size;
        let borders = (aim - slack)..=(aim + slack).min(count);
        let best = borders.min_by_key(|&b| (widths.get(b).copied().unwrap_or(0), b.abs_diff(aim))).unwrap_or(count);
        let end = if best + slack >= count { count } else { best };
        if end - start > 1 {
            runs.push(start..end);
        }
        start = end;
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A stem of two, `blocks` times (split, a, b, join), a head of three.
    fn residual(blocks: usize) -> (usize, Vec<(usize, usize)>) {
        let mut wires = vec![(0, 1)];
        let mut last = 1;
        for _ in 0..blocks {
            wires.extend([(last, last + 1), (last + 1, last + 2), (last + 2, last + 3), (last, last + 3), (last + 3, last + 4)]);
            last += 4;
        }
        wires.extend([(last, last + 1), (last + 1, last + 2), (last + 2, last + 3)]);
        (last + 4, wires)
    }

    #[test]
    fn borders_count_tensors_not_wires() {
        assert_eq!(widths(4, &[(0, 1), (0, 2), (0, 3), (1, 3), (2, 3)]), [0, 1, 2, 3, 0]);
    }

    #[test]
    fn residual_blocks_are_found_without_stem_and_head() {
        let (count, wires) = residual(4);
        assert_eq!(split_to_join(count, &wires), [2..6, 6..10, 10..14, 14..18]);
    }

    #[test]
    fn a_tensor_that_all_blocks_read_does_not_hide_them() {
        let (count, mut wires) = residual(5);
        // What the first item gives is read by each block's second item but the last's.
        wires.extend((0..4).map(|b| (0, 3 + 4 * b)));
        let found = split_to_join(count, &wires);
        assert_eq!(found.len(), 5, "{found:?}");
    }

    #[test]
    fn a_chain_has_no_blocks_but_even_runs() {
        let wires: Vec<_> = (1..1000).map(|i| (i - 1, i)).collect();
        assert!(split_to_join(1000, &wires).is_empty());
        let runs = even(&widths(1000, &wires));
        assert_eq!(runs.len(), RUNS);
        assert_eq!(runs.iter().map(ExactSizeIterator::len).sum::<usize>(), 1000);
    }

    #[test]
    fn nothing_has_no_runs() {
        assert!(even(&widths(0, &[])).is_empty() && split_to_join(1, &[]).is_empty());
    }
}
