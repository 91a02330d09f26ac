//! Which nodes of a network belong together.
//!
//! Names say it where they have paths (`layer1.0.conv1`); else the structure does, between the splits and joins of
//! residual blocks; and where a level would still be too long to look at, runs of it are grouped.

use super::forest::{ALL, Forest, Item};
use super::links::clean;
use super::runs;
use std::collections::BTreeSet;
use std::ops::Range;

/// Boxes that are looked at with ease; more nodes than this start in closed blocks.
pub const BOXES_AT_START: usize = 60;
/// Items on one level above which runs of them are grouped.
const LONGEST_LEVEL: usize = 60;
/// Nodes above which structure is looked for where no name says anything.
const STRUCTURED: usize = 24;
/// Boxes below which a picture says so little that single blocks are opened.
const SCANT: usize = 12;

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Title {
    /// What the names of its nodes have in common: `layer1.0`.
    Path(String),
    /// The names of its first and last item, perhaps empty.
    Between(String, String),
}

impl Title {
    /// The title of what lies inside under another part of the path.
    pub(super) fn within(&self, part: &str) -> Self {
        match self {
            Self::Path(outer) if !outer.is_empty() => Self::Path(format!("{outer}.{part}")),
            _ => Self::Path(part.to_owned()),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Block {
    pub title: Title,
    /// The block around it.
    pub parent: Option<usize>,
    /// Its nodes, as places in [`Blocks::order`]; two at least.
    pub nodes: Range<usize>,
}

/// Blocks within blocks. Any set of them can be closed: no cycle appears.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Blocks {
    /// All nodes in a topological order in which the nodes of each block stand together.
    pub order: Vec<usize>,
    /// By their first node, an outer block before those inside.
    pub blocks: Vec<Block>,
}

impl Blocks {
    /// Proposes blocks for nodes of these names, perhaps empty ones. A wire against the order of nodes counts as
    /// though it were turned around.
    pub fn propose<S: AsRef<str>>(names: &[S], wires: &[(usize, usize)]) -> Self {
        let mut forest = Forest::by_path(names, &clean(names.len(), wires));
        let mut open = vec![ALL];
        while let Some(group) = open.pop() {
            forest.sort(group);
            let count = forest.groups[group].items.len();
            let loose = forest.groups[group].items.iter().filter(|item| matches!(item, Item::Node(_))).count();
            // Inside a block that has a name, the structure of a short level is noise.
            let says_nothing = group == ALL && loose == count && count > STRUCTURED;
            if says_nothing || loose > count / 2 && count > LONGEST_LEVEL {
                let found = runs::split_to_join(count, &forest.level(group).wires);
                forest.wrap(group, found);
            }
            let count = forest.groups[group].items.len();
            if count > LONGEST_LEVEL {
                let found = runs::even(&runs::widths(count, &forest.level(group).wires));
                forest.wrap(group, found);
            }
            open.extend(forest.groups[group].items.iter().filter_map(|item| match item {
                Item::Group(inner) => Some(*inner),
                Item::Node(_) => None,
            }));
        }
        Self::flatten(&forest)
    }

    fn flatten<S: AsRef<str>>(forest: &Forest<'_, S>) -> Self {
        let mut flat = Self::default();
        // Groups that are being written: the block, and the items that are left.
        let mut stack = vec![(None, forest.groups[ALL].items.iter())];
        while let Some((block, items)) = stack.last_mut() {
            match items.next() {
                Some(Item::Node(node)) => flat.order.push(*node),
                Some(Item::Group(group)) => {
                    let inner = &forest.groups[*group];
                    let start = flat.order.len();
                    flat.blocks.push(Block { title: inner.title.clone(), parent: *block, nodes: start..start });
                    stack.push((Some(flat.blocks.len() - 1), inner.items.iter()));
                }
                None => {
                    if let Some(block) = *block {
                        flat.blocks[block].nodes.end = flat.order.len();
                    }
                    stack.pop();
                }
            }
        }
        flat
    }

    /// The nodes of a block, in order; none for a block that does not exist.
    #[must_use]
    pub fn nodes(&self, block: usize) -> &[usize] {
        self.blocks.get(block).and_then(|b| self.order.get(b.nodes.clone())).unwrap_or_default()
    }

    /// The blocks around a node, the outermost first: those to open so that it is seen.
    #[must_use]
    pub fn around(&self, node: usize) -> Vec<usize> {
        let Some(place) = self.order.iter().position(|&n| n == node) else { return Vec::new() };
        (0..self.blocks.len()).filter(|&b| self.blocks[b].nodes.contains(&place)).collect()
    }

    /// The blocks that start closed, so that about [`BOXES_AT_START`] boxes are seen: siblings open together, outer
    /// ones first. None where there are no more nodes than that.
    #[must_use]
    pub fn closed_at_start(&self) -> BTreeSet<usize> {
        if self.order.len() <= BOXES_AT_START {
            return BTreeSet::new();
        }
        let count = self.blocks.len();
        // Boxes that a block shows when it is open; the last entry stands for the whole.
        let mut shows: Vec<usize> = self.blocks.iter().map(|b| b.nodes.len()).chain([self.order.len()]).collect();
        let mut inner: Vec<Vec<usize>> = vec![Vec::new(); count + 1];
        for (at, block) in self.blocks.iter().enumerate() {
            let parent = block.parent.unwrap_or(count);
            shows[parent] -= block.nodes.len() - 1;
            inner[parent].push(at);
        }
        let more = |blocks: &[usize]| blocks.iter().map(|&b| shows[b] - 1).sum::<usize>();
        let mut closed: BTreeSet<usize> = (0..count).collect();
        let mut seen = shows[count];
        let mut parents = vec![count];
        while !parents.is_empty() {
            parents.sort_by_key(|&p| (more(&inner[p]), p));
            let mut next = Vec::new();
            for parent in parents {
                if seen + more(&inner[parent]) <= BOXES_AT_START {
                    seen += more(&inner[parent]);
                    inner[parent].iter().for_each(|b| _ = closed.remove(b));
                    next.extend(inner[parent].iter().copied().filter(|&b| !inner[b].is_empty()));
                }
            }
            parents = next;
        }
        for block in 0..count {
            let reachable = self.blocks[block].parent.is_none_or(|p| !closed.contains(&p));
            if seen < SCANT && reachable && closed.contains(&block) && seen + more(&[block]) <= BOXES_AT_START {
                seen += more(&[block]);
                closed.remove(&block);
            }
        }
        closed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chain(count: usize) -> Vec<(usize, usize)> {
        (1..count).map(|i| (i - 1, i)).collect()
    }

    fn titles(blocks: &Blocks) -> Vec<(Title, Range<usize>)> {
        blocks.blocks.iter().map(|b| (b.title.clone(), b.nodes.clone())).collect()
    }

    #[test]
    fn names_with_paths_make_blocks_within_blocks() {
        let names = [
            "/conv1/Conv",
            "/layer1/layer1.0/conv/Conv",
            "/layer1/layer1.0/Relu",
            "/layer1/layer1.1/Conv",
            "/layer1/layer1.1/Relu",
            "/fc/Gemm",
        ];
        let blocks = Blocks::propose(&names, &chain(6));
        let path = |text: &str| Title::Path(text.to_owned());
        assert_eq!(titles(&blocks), [(path("layer1"), 1..5), (path("layer1.0"), 1..3), (path("layer1.1"), 3..5)]);
        assert_eq!(blocks.blocks[2].parent, Some(0));
        assert_eq!(blocks.around(2), [0, 1]);
        assert_eq!(blocks.nodes(2), [3, 4]);
        assert!(blocks.closed_at_start().is_empty());
    }

    #[test]
    fn a_nameless_node_between_the_nodes_of_a_block_joins_it() {
        let blocks = Blocks::propose(&["a.x", "a.y", "", "a.z", "b"], &chain(5));
        assert_eq!(titles(&blocks), [(Title::Path("a".to_owned()), 0..4)]);
    }

    #[test]
    fn two_blocks_that_take_turns_are_not_both_proposed() {
        let blocks = Blocks::propose(&["a.1", "b.1", "a.2", "b.2", "a.3", "c"], &chain(6));
        assert_eq!(titles(&blocks), [(Title::Path("a".to_owned()), 0..5)]);
    }

    #[test]
    fn a_block_around_everything_is_none() {
        assert!(Blocks::propose(&["model.a", "model.b", "model.c"], &chain(3)).blocks.is_empty());
    }

    #[test]
    fn long_nameless_chains_are_cut_into_runs_of_runs() {
        let blocks = Blocks::propose(&vec![""; 10_000], &chain(10_000));
        assert!(blocks.blocks.iter().any(|b| b.parent.is_some()));
        let closed = blocks.closed_at_start();
        assert!(!closed.is_empty());
        assert_eq!(blocks.order, (0..10_000).collect::<Vec<_>>());
    }

    #[test]
    fn structure_counts_where_names_say_nothing() {
        // Ten times: split, a, b, join.
        let wires: Vec<_> =
            (0..40).flat_map(|i| if i % 4 == 0 { vec![(i, i + 1), (i, i + 3)] } else { vec![(i, i + 1)] }).collect();
        let nameless: Vec<String> = (0..41).map(|i| format!("Op_{i}")).collect();
        let blocks = Blocks::propose(&nameless, &wires);
        assert_eq!(blocks.blocks.len(), 10);
        assert_eq!(blocks.blocks[1].title, Title::Between("Op_5".to_owned(), "Op_8".to_owned()));
        let mut named: Vec<String> = (0..41).map(|i| format!("stage.Op_{i}")).collect();
        named.push("head".to_owned());
        assert_eq!(Blocks::propose(&named, &wires).blocks.len(), 1);
    }

    #[test]
    fn blocks_open_by_level_while_their_boxes_are_few() {
        let deep = (0..50).map(|i| format!("a.{}.op{i}", i / 10));
        let names: Vec<String> = deep.chain((0..50).map(|i| format!("b.op{i}"))).collect();
        let blocks = Blocks::propose(&names, &chain(100));
        // Both outer ones are open, which shows 5 and 50 boxes; of the five blocks no one fits.
        assert_eq!(blocks.blocks.len(), 7);
        assert_eq!(blocks.closed_at_start(), BTreeSet::from([1, 2, 3, 4, 5]));
        // Of two that do not fit together, one is opened rather than none.
        let two: Vec<String> = (0..100).map(|i| format!("{}.op{i}", i / 50)).collect();
        assert_eq!(Blocks::propose(&two, &chain(100)).closed_at_start(), BTreeSet::from([1]));
    }

    #[test]
    fn nothing_has_no_blocks() {
        assert_eq!(Blocks::propose::<&str>(&[], &[]), Blocks::default());
        assert!(Blocks::default().closed_at_start().is_empty());
        assert!(Blocks::default().around(3).is_empty());
    }
}
