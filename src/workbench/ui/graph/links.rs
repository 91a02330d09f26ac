//! Lists of whole numbers, one per node, in two arrays.

/// For each of `count` owners, what it is linked to, in the order of the pairs.
#[derive(Debug, Clone)]
pub(super) struct Links {
    /// `count + 1` places in `items`.
    starts: Vec<usize>,
    items: Vec<usize>,
}

impl Links {
    /// From pairs (owner, item); every owner is below `count`.
    pub(super) fn new(count: usize, pairs: impl Iterator<Item = (usize, usize)> + Clone) -> Self {
        let mut starts = vec![0; count + 1];
        for (owner, _) in pairs.clone() {
            starts[owner + 1] += 1;
        }
        for i in 0..count {
            starts[i + 1] += starts[i];
        }
        let mut next = starts.clone();
        let mut items = vec![0; starts[count]];
        for (owner, item) in pairs {
            items[next[owner]] = item;
            next[owner] += 1;
        }
        Self { starts, items }
    }

    pub(super) fn of(&self, owner: usize) -> &[usize] {
        &self.items[self.starts[owner]..self.starts[owner + 1]]
    }
}

/// Wires that a drawing can follow: ends that exist, no loop at one node, each once; the lower number first.
/// Sorted.
pub(super) fn clean(count: usize, wires: &[(usize, usize)]) -> Vec<(usize, usize)> {
    let mut kept: Vec<(usize, usize)> =
        wires.iter().filter(|(a, b)| a != b && *a < count && *b < count).map(|&(a, b)| (a.min(b), a.max(b))).collect();
    kept.sort_unstable();
    kept.dedup();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_keep_the_order_of_their_pairs() {
        let links = Links::new(3, [(2, 7), (0, 5), (2, 6)].into_iter());
        assert_eq!((links.of(0), links.of(1), links.of(2)), (&[5][..], &[][..], &[7, 6][..]));
    }

    #[test]
    fn loops_repeats_and_unknown_ends_are_dropped() {
        assert_eq!(clean(3, &[(1, 2), (1, 1), (2, 1), (0, 9), (0, 1)]), [(0, 1), (1, 2)]);
    }
}
