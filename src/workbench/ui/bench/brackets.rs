//! Ties between layers, as brackets beside the rows of the grid.

use crate::pipeline::configure::{GroupKind, Plan};
use crate::workbench::ui::text::tr;

/// Why layers are tied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tie {
    /// They take one treatment.
    Projections,
    /// Their data have one range.
    Sums,
    /// They lose the same channels.
    Channels,
}

/// One tie: rows from the first to the last, of which some belong to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bracket {
    pub tie: Tie,
    pub words: String,
    /// Brackets that overlap lie in lanes of their own.
    pub lane: usize,
    /// Rows of the grid, in order; two at least.
    pub rows: Vec<usize>,
}

impl Bracket {
    #[must_use]
    pub fn spans(&self, row: usize) -> bool {
        self.first() <= row && row <= self.last()
    }

    #[must_use]
    pub fn first(&self) -> usize {
        self.rows.first().copied().unwrap_or(0)
    }

    #[must_use]
    pub fn last(&self) -> usize {
        self.rows.last().copied().unwrap_or(0)
    }
}

/// More lanes than this would leave no room for names.
pub const LANES: usize = 4;

/// The brackets of a plan whose layers are shown in this order.
#[must_use]
pub fn brackets(plan: &Plan, shown: &[usize]) -> Vec<Bracket> {
    let groups = plan.groups.iter().map(|group| {
        let (layers, count) = (&group.layers, group.layers.len());
        match group.kind {
            GroupKind::Projections => (Tie::Projections, layers, tr!("bench-tie-projections", count = count)),
            GroupKind::Sums => (Tie::Sums, layers, tr!("bench-tie-sums", count = count)),
        }
    });
    let cut = plan.cuts.iter().flat_map(|cuts| &cuts.groups).filter(|g| g.kept < g.channels);
    let cut = cut.map(|g| {
        let words = tr!("bench-tie-channels", count = g.layers.len(), kept = g.kept, all = g.channels);
        (Tie::Channels, &g.layers, words)
    });
    let mut found: Vec<Bracket> =
        groups.chain(cut).filter_map(|(tie, layers, words)| bracket(tie, layers, words, shown)).collect();
    found.sort_by_key(|b| (b.first(), std::cmp::Reverse(b.last())));
    let mut ends: Vec<usize> = Vec::new();
    for bracket in &mut found {
        let free = ends.iter().position(|end| *end < bracket.first());
        bracket.lane = free.unwrap_or(ends.len());
        match ends.get_mut(bracket.lane) {
            Some(end) => *end = bracket.last(),
            None => ends.push(bracket.last()),
        }
    }
    found.retain(|b| b.lane < LANES);
    found
}

fn bracket(tie: Tie, layers: &[usize], words: String, shown: &[usize]) -> Option<Bracket> {
    let rows: Vec<usize> = (0..shown.len()).filter(|row| layers.contains(&shown[*row])).collect();
    (rows.len() > 1).then_some(Bracket { tie, words, lane: 0, rows })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_that_overlap_lie_beside_each_other() {
        let one = |layers: &[usize]| bracket(Tie::Sums, layers, String::new(), &[0, 1, 2, 3, 4, 5]);
        assert_eq!(one(&[1, 4]).map(|b| b.rows), Some(vec![1, 4]));
        assert_eq!(one(&[3, 9]), None, "one alone is no tie");
        let spanning = one(&[1, 4]).unwrap();
        assert!(spanning.spans(2) && !spanning.spans(0) && !spanning.spans(5));
    }
}
