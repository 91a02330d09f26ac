//! Which classes a recipe takes for which, more often or less than the original does.

use crate::pipeline::evaluate::Report;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A cell of the confusion matrix that changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfusionChange {
    pub label: usize,
    pub predicted: usize,
    /// Samples more than in the original's matrix.
    pub more: i64,
}

/// The cells that changed, most first; ties by class number. Empty without labels.
#[must_use]
pub fn confusion_changes(report: &Report) -> Vec<ConfusionChange> {
    let mut cells: BTreeMap<(usize, usize), i64> = BTreeMap::new();
    for one in &report.changed {
        let Some(label) = one.label else { continue };
        *cells.entry((label, one.before)).or_default() -= 1;
        *cells.entry((label, one.after)).or_default() += 1;
    }
    let changed = cells.into_iter().filter(|(_, more)| *more != 0);
    let mut changes: Vec<ConfusionChange> =
        changed.map(|((label, predicted), more)| ConfusionChange { label, predicted, more }).collect();
    changes.sort_by_key(|c| (-c.more.abs(), c.label, c.predicted));
    changes
}
