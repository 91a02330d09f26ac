//! Which layers are selected.

use crate::workbench::ui::act::Pick;
use std::collections::BTreeSet;

/// Layers by their index in the model.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    layers: BTreeSet<usize>,
    /// The one that the inspector shows: the last picked.
    primary: Option<usize>,
    /// Whether the grid should scroll to it.
    pub reveal: bool,
}

impl Selection {
    #[must_use]
    pub fn of(layer: Option<usize>) -> Self {
        Self { layers: layer.into_iter().collect(), primary: layer, reveal: false }
    }

    #[must_use]
    pub fn primary(&self) -> Option<usize> {
        self.primary
    }

    #[must_use]
    pub fn contains(&self, layer: usize) -> bool {
        self.layers.contains(&layer)
    }

    #[must_use]
    pub fn len(&self) -> usize {
        self.layers.len()
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.layers.is_empty()
    }

    pub fn layers(&self) -> impl Iterator<Item = usize> + '_ {
        self.layers.iter().copied()
    }

    /// Keeps the inspected layer, selects nothing.
    pub fn clear(&mut self) {
        self.layers.clear();
    }

    pub fn select_all(&mut self, rows: &[usize]) {
        self.layers = rows.iter().copied().collect();
        self.primary = self.primary.or(rows.first().copied());
    }

    /// Picks a layer; `rows` is the order in which they are shown.
    pub fn pick(&mut self, layer: usize, how: Pick, rows: &[usize]) {
        let place = |l: usize| rows.iter().position(|&r| r == l);
        match (how, self.primary.and_then(place), place(layer)) {
            (Pick::Toggle, ..) if !self.layers.insert(layer) => {
                self.layers.remove(&layer);
            }
            (Pick::Range, Some(from), Some(to)) => {
                self.layers.extend(&rows[from.min(to)..=from.max(to)]);
                return;
            }
            (Pick::Toggle, ..) => {}
            _ => self.layers = BTreeSet::from([layer]),
        }
        self.primary = Some(layer);
    }

    /// Moves the selection so many rows down (or up).
    pub fn step(&mut self, by: isize, rows: &[usize]) {
        let Some(last) = rows.len().checked_sub(1) else { return };
        let now = self.primary.and_then(|p| rows.iter().position(|&r| r == p));
        let next = now.map_or(0, |n| n.saturating_add_signed(by).min(last));
        self.pick(rows[next], Pick::Only, rows);
        self.reveal = true;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn picks_as_lists_do() {
        let rows = [3, 1, 0, 2];
        let mut s = Selection::of(Some(3));
        s.pick(0, Pick::Range, &rows);
        assert_eq!(s.layers().collect::<Vec<_>>(), [0, 1, 3]);
        s.pick(1, Pick::Toggle, &rows);
        assert_eq!(s.layers().collect::<Vec<_>>(), [0, 3]);
        s.pick(2, Pick::Only, &rows);
        assert_eq!((s.layers().collect::<Vec<_>>(), s.primary()), (vec![2], Some(2)));
        s.step(1, &rows);
        assert_eq!(s.primary(), Some(2));
        s.step(-1, &rows);
        assert_eq!(s.primary(), Some(0));
        s.clear();
        assert!(s.is_empty() && s.primary() == Some(0));
    }
}
