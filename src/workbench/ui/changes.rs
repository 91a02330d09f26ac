//! What the measured recipes decide otherwise than the original: which samples, and which of them are shown.

use super::bench::{Bench, Point};
use super::text::tr;
use crate::pipeline::compare::{ChangedSample, ConfusionChange, changed_samples, confusion_changes};
use crate::pipeline::evaluate::Report;
use std::sync::Arc;

/// Changed samples that are shown at most.
pub const MOST_CHANGED: usize = 48;

/// What became of them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Kind {
    #[default]
    All,
    /// Right before, wrong by a recipe.
    ToWrong,
    /// Wrong before, right by a recipe.
    ToRight,
    /// Wrong before and after, but otherwise.
    OtherwiseWrong,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::All, Self::ToWrong, Self::ToRight, Self::OtherwiseWrong];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => tr!("changes-all"),
            Self::ToWrong => tr!("changes-to-wrong"),
            Self::ToRight => tr!("changes-to-right"),
            Self::OtherwiseWrong => tr!("changes-otherwise-wrong"),
        }
    }
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Filter {
    pub kind: Kind,
    /// Samples of one class that are, or were, taken for another: label and prediction.
    pub cell: Option<(usize, usize)>,
}

impl Filter {
    #[must_use]
    pub fn passes(&self, change: &ChangedSample) -> bool {
        let after = || change.after.iter().flatten().copied();
        let was_right = change.label == Some(change.before);
        let is_right = || after().any(|a| Some(a) == change.label);
        let kind = match (self.kind, change.label) {
            (Kind::All, _) => true,
            (_, None) => false,
            (Kind::ToWrong, _) => was_right,
            (Kind::ToRight, _) => !was_right && is_right(),
            (Kind::OtherwiseWrong, _) => !was_right && !is_right(),
        };
        let in_cell = |(label, predicted): (usize, usize)| {
            change.label == Some(label) && (change.before == predicted || after().any(|a| a == predicted))
        };
        kind && self.cell.is_none_or(in_cell)
    }
}

/// What changed, worked out once for the reports and the filter at hand.
#[derive(Debug, Default)]
pub struct Differences {
    of: Vec<Arc<Report>>,
    filter: Filter,
    /// The samples that are shown, spread over all that pass the filter.
    pub shown: Vec<ChangedSample>,
    pub all: usize,
    /// Cells of the confusion matrix of each report.
    pub confusions: Vec<Vec<ConfusionChange>>,
}

impl Differences {
    fn is_of(&self, reports: &[Arc<Report>], filter: Filter) -> bool {
        self.filter == filter && self.of.len() == reports.len() && self.of.iter().zip(reports).all(|(a, b)| Arc::ptr_eq(a, b))
    }

    fn new(of: Vec<Arc<Report>>, filter: Filter) -> Self {
        let reports: Vec<&Report> = of.iter().map(AsRef::as_ref).collect();
        let mut changes = changed_samples(&reports);
        changes.retain(|change| filter.passes(change));
        let (all, shown) = (changes.len(), changes.len().min(MOST_CHANGED));
        // Spread over the data: samples are often sorted by class.
        let shown = (0..shown).filter_map(|i| changes.get(i * all / shown).cloned()).collect();
        let confusions = reports.iter().map(|r| confusion_changes(r)).collect();
        Self { of, filter, shown, all, confusions }
    }
}

impl Bench {
    /// The points with a report, in the order of the recipes.
    #[must_use]
    pub fn measured(&self) -> Vec<(&Point, &Arc<Report>)> {
        self.points.iter().filter_map(|p| Some((p, &p.measured.as_ref()?.report))).collect()
    }

    /// Those of them that can be held against each other: measured on the same samples.
    #[must_use]
    pub fn comparable(&self) -> Vec<(&Point, &Arc<Report>)> {
        let mut found = self.measured();
        found.retain(|(_, r)| r.split == "evaluate");
        // What holds for the data as they are comes before what is of more samples.
        let first = found.iter().max_by_key(|(point, r)| (point.fresh().is_some(), self.is_of_data(r), r.samples));
        let key = first.map(|(_, r)| r.data_key.clone());
        found.retain(|(_, r)| Some(&r.data_key) == key.as_ref());
        found
    }

    /// Brings [`Bench::differences`] up to date.
    pub fn sync_differences(&mut self) {
        let reports: Vec<Arc<Report>> = self.comparable().into_iter().map(|(_, r)| Arc::clone(r)).collect();
        if !self.differences.is_of(&reports, self.changes) {
            self.differences = Differences::new(reports, self.changes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_shows_its_own() {
        let change = |label, before, after: &[Option<usize>]| ChangedSample {
            sample: 0,
            position: None,
            label,
            before,
            after: after.to_vec(),
        };
        let all = [
            change(Some(1), 1, &[None, Some(2)]),
            change(Some(1), 3, &[Some(1), None]),
            change(Some(1), 3, &[Some(4), None]),
            change(None, 3, &[Some(4), None]),
        ];
        let shown = |kind, cell| all.iter().map(|c| Filter { kind, cell }.passes(c)).collect::<Vec<_>>();
        assert_eq!(shown(Kind::All, None), [true; 4]);
        assert_eq!(shown(Kind::ToWrong, None), [true, false, false, false]);
        assert_eq!(shown(Kind::ToRight, None), [false, true, false, false]);
        assert_eq!(shown(Kind::OtherwiseWrong, None), [false, false, true, false]);
        assert_eq!(shown(Kind::All, Some((1, 3))), [false, true, true, false]);
        assert_eq!(shown(Kind::All, Some((1, 2))), [true, false, false, false]);
    }
}
