//! Groups within groups of nodes, while blocks are being found.
//!
//! The items of each group are brought into a topological order of their own. Where that holds on every level, there
//! is an order of all nodes in which each group is a run, and whichever groups are closed, no cycle appears.

use super::blocks::Title;
use super::links::Links;
use super::paths::path;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;

/// Cycles on one level that are mended with care; after so many, groups in a cycle are taken apart.
const CARE: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Item {
    Node(usize),
    Group(usize),
}

#[derive(Debug)]
pub(super) struct Group {
    pub(super) title: Title,
    pub(super) items: Vec<Item>,
}

pub(super) struct Forest<'a, S> {
    names: &'a [S],
    /// What each node's output goes to.
    out: Links,
    pub(super) groups: Vec<Group>,
    /// The item of the level in hand that each node belongs to, where it belongs to one.
    item_of: Vec<Option<usize>>,
}

/// The items of one group and the wires between them.
pub(super) struct Level {
    /// From place to place in the group's items, each once.
    pub(super) wires: Vec<(usize, usize)>,
    /// Nodes in each item, and the first of them.
    sizes: Vec<usize>,
    firsts: Vec<usize>,
}

/// The group of all nodes.
pub(super) const ALL: usize = 0;

impl<'a, S: AsRef<str>> Forest<'a, S> {
    /// Groups by the paths in names. Wires run from a lower number to a higher one.
    pub(super) fn by_path(names: &'a [S], wires: &[(usize, usize)]) -> Self {
        let mut groups = vec![Group { title: Title::Path(String::new()), items: Vec::new() }];
        let mut inner: BTreeMap<(usize, &str), usize> = BTreeMap::new();
        for (node, name) in names.iter().enumerate() {
            let mut group = ALL;
            for part in path(name.as_ref()) {
                group = *inner.entry((group, part)).or_insert_with(|| {
                    let title = groups[group].title.within(part);
                    groups.push(Group { title, items: Vec::new() });
                    let new = groups.len() - 1;
                    groups[group].items.push(Item::Group(new));
                    new
                });
            }
            groups[group].items.push(Item::Node(node));
        }
        Self { names, out: Links::new(names.len(), wires.iter().copied()), groups, item_of: vec![None; names.len()] }
    }

    /// Replaces groups of a single item by it, and a group of a single group by that.
    fn simplify(&mut self, group: usize) {
        loop {
            let mut items = std::mem::take(&mut self.groups[group].items);
            for item in &mut items {
                while let Item::Group(inner) = *item
                    && let [only] = self.groups[inner].items[..]
                {
                    *item = only;
                }
            }
            if let [Item::Group(only)] = items[..] {
                if group != ALL {
                    self.groups[group].title = self.groups[only].title.clone();
                }
                items = std::mem::take(&mut self.groups[only].items);
                self.groups[group].items = items;
                continue;
            }
            self.groups[group].items = items;
            return;
        }
    }

    /// All nodes in an item.
    fn nodes(&self, item: Item) -> Vec<usize> {
        let (mut nodes, mut stack) = (Vec::new(), vec![item]);
        while let Some(item) = stack.pop() {
            match item {
                Item::Node(node) => nodes.push(node),
                Item::Group(group) => stack.extend(self.groups[group].items.iter().rev()),
            }
        }
        nodes
    }

    pub(super) fn level(&mut self, group: usize) -> Level {
        let members: Vec<Vec<usize>> = self.groups[group].items.iter().map(|&item| self.nodes(item)).collect();
        for (place, nodes) in members.iter().enumerate() {
            for &node in nodes {
                self.item_of[node] = Some(place);
            }
        }
        let mut wires = Vec::new();
        for (place, nodes) in members.iter().enumerate() {
            let readers = nodes.iter().flat_map(|&n| self.out.of(n)).filter_map(|&reader| self.item_of[reader]);
            wires.extend(readers.filter(|&r| r != place).map(|r| (place, r)));
        }
        wires.sort_unstable();
        wires.dedup();
        for &node in members.iter().flatten() {
            self.item_of[node] = None;
        }
        let firsts = members.iter().map(|m| m.iter().min().copied().unwrap_or(0)).collect();
        Level { wires, sizes: members.iter().map(Vec::len).collect(), firsts }
    }

    /// Brings the items of a group into topological order. Groups that would make a cycle together take in the nodes
    /// between their own, or are taken apart.
    pub(super) fn sort(&mut self, group: usize) {
        for attempt in 0.. {
            self.simplify(group);
            let level = self.level(group);
            let order = level.order();
            let items = &self.groups[group].items;
            if order.len() == items.len() {
                self.groups[group].items = order.into_iter().map(|at| items[at]).collect();
                return;
            }
            let mut kept = Vec::with_capacity(items.len());
            for cycle in level.cycles() {
                let cycle: Vec<(Item, usize)> =
                    cycle.into_iter().map(|at| (self.groups[group].items[at], level.sizes[at])).collect();
                kept.extend(self.mend(&cycle, attempt < CARE));
            }
            self.groups[group].items = kept;
        }
    }

    /// What to put in the place of items (each with its size) that lie on a common cycle.
    fn mend(&mut self, cycle: &[(Item, usize)], care: bool) -> Vec<Item> {
        let items = || cycle.iter().map(|(item, _)| *item);
        let groups = cycle.iter().filter_map(|&(item, size)| match item {
            Item::Group(group) => Some((size, group)),
            Item::Node(_) => None,
        });
        let Some((size, smallest)) = groups.clone().min().filter(|_| cycle.len() > 1) else { return items().collect() };
        if !care {
            return items().flat_map(|item| self.nodes(item)).map(Item::Node).collect();
        }
        let others = items().filter(|item| *item != Item::Group(smallest));
        if groups.count() == 1 && cycle.len() - 1 <= size {
            self.groups[smallest].items.extend(others);
            vec![Item::Group(smallest)]
        } else {
            let freed = std::mem::take(&mut self.groups[smallest].items);
            others.chain(freed).collect()
        }
    }

    /// Makes groups of runs of a group's items.
    pub(super) fn wrap(&mut self, group: usize, runs: Vec<Range<usize>>) {
        let items = std::mem::take(&mut self.groups[group].items);
        let mut kept = Vec::with_capacity(items.len());
        let mut done = 0;
        for run in runs {
            kept.extend_from_slice(&items[done..run.start]);
            done = run.end;
            let items = items[run].to_vec();
            let (first, last) = (items.first().map(|&i| self.ends(i)), items.last().map(|&i| self.ends(i)));
            let title = Title::Between(first.unwrap_or_default().0, last.unwrap_or_default().1);
            kept.push(Item::Group(self.groups.len()));
            self.groups.push(Group { title, items });
        }
        kept.extend_from_slice(&items[done..]);
        self.groups[group].items = kept;
    }

    /// The names of the first and the last that is in an item.
    fn ends(&self, item: Item) -> (String, String) {
        let one = |name: &str| (name.to_owned(), name.to_owned());
        match item {
            Item::Node(node) => one(self.names.get(node).map_or("", AsRef::as_ref)),
            Item::Group(group) => match &self.groups[group].title {
                Title::Path(path) => one(path),
                Title::Between(first, last) => (first.clone(), last.clone()),
            },
        }
    }
}

impl Level {
    /// Places in topological order, the first nodes first; what only feeds others right before its first reader.
    /// Shorter than the level where there is a cycle.
    fn order(&self) -> Vec<usize> {
        let count = self.sizes.len();
        let out = Links::new(count, self.wires.iter().copied());
        let into = Links::new(count, self.wires.iter().map(|&(a, b)| (b, a)));
        let mut waits: Vec<usize> = (0..count).map(|at| into.of(at).len()).collect();
        let ready = (0..count).filter(|&at| waits[at] == 0);
        let mut ready: BinaryHeap<_> = ready.map(|at| Reverse((self.firsts[at], at))).collect();
        let mut order = Vec::with_capacity(count);
        let mut placed = vec![false; count];
        while let Some(Reverse((_, at))) = ready.pop() {
            for &reader in out.of(at) {
                waits[reader] -= 1;
                if waits[reader] == 0 {
                    ready.push(Reverse((self.firsts[reader], reader)));
                }
            }
            if into.of(at).is_empty() && !out.of(at).is_empty() {
                continue;
            }
            for &item in into.of(at).iter().chain([&at]) {
                if !std::mem::replace(&mut placed[item], true) {
                    order.push(item);
                }
            }
        }
        order
    }

    /// All places, in sets that lie on common cycles (strongly connected components: Tarjan 1972).
    fn cycles(&self) -> Vec<Vec<usize>> {
        let count = self.sizes.len();
        let out = Links::new(count, self.wires.iter().copied());
        let (mut found, mut low) = (vec![0; count], vec![0; count]);
        let (mut open, mut walk, mut sets) = (Vec::new(), Vec::new(), Vec::new());
        let mut in_set = vec![false; count];
        let mut clock = 0;
        for start in 0..count {
            walk.push((start, 0));
            while let Some((at, step)) = walk.pop() {
                if step == 0 {
                    if found[at] != 0 {
                        continue;
                    }
                    clock += 1;
                    (found[at], low[at]) = (clock, clock);
                    open.push(at);
                } else {
                    let below = out.of(at)[step - 1];
                    if !in_set[below] {
                        low[at] = low[at].min(low[below]);
                    }
                }
                if let Some(&next) = out.of(at).get(step) {
                    walk.push((at, step + 1));
                    if found[next] == 0 {
                        walk.push((next, 0));
                    }
                } else if low[at] == found[at] {
                    let from = open.iter().rposition(|&o| o == at).unwrap_or(0);
                    let set = open.split_off(from);
                    for &member in &set {
                        in_set[member] = true;
                    }
                    sets.push(set);
                }
            }
        }
        sets
    }
}
