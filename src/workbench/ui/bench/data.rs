//! The project's data: what hangs on them, and which reports are of them.

use super::Bench;
use crate::pipeline::evaluate::Report;
use crate::workbench::activations::Sample;
use crate::workbench::ui::changes::Differences;
use crate::workbench::ui::losses::Losses;
use crate::workbench::ui::pictures::Gallery;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What reports bear that were made on the data as they are.
#[derive(Debug, Default, Clone)]
pub struct DataKeys {
    /// Of all samples that evaluate, and of parts of them that were measured.
    pub evaluation: BTreeSet<String>,
    /// Of those that calibrate.
    pub calibration: BTreeSet<String>,
}

impl Bench {
    /// Forgets what hangs on the data where they have changed, by an edit or its undoing. Whether they have.
    pub fn sync_data(&mut self) -> bool {
        if Arc::ptr_eq(&self.opened.document, self.history.document()) || self.data == self.document().data() {
            return false;
        }
        self.opened = self.opened.with_document(Arc::clone(self.history.document()));
        self.data = self.document().data();
        self.data_keys = Some(DataKeys::default());
        // Without data nothing is calibrated, and plans are others. What is known by a plan's place in memory is not to
        // be taken for that of another which comes to lie there.
        (self.points, self.points_for, self.targets_for) = (Vec::new(), None, None);
        (self.rows_for, self.brackets_for) = (None, 0);
        (self.losses, self.importance, self.built) = (Losses::default(), None, None);
        (self.gallery, self.changed, self.differences) = (None, Gallery::default(), Differences::default());
        (self.sample, self.maps, self.maps_asked) = (Sample::default(), None, None);
        (self.preflight, self.preflight_for) = (None, None);
        self.asked.clear();
        // What was written before was calibrated on others.
        self.written.iter_mut().for_each(|written| written.key.clear());
        true
    }

    /// Reports that bear these are of the data as they are.
    pub fn add_data_keys(&mut self, keys: DataKeys) {
        let known = self.data_keys.get_or_insert_default();
        known.evaluation.extend(keys.evaluation);
        known.calibration.extend(keys.calibration);
        self.points_for = None;
    }

    /// Whether a report is of the data as they are, as far as anybody knows.
    #[must_use]
    pub fn is_of_data(&self, report: &Report) -> bool {
        self.data_keys.as_ref().is_none_or(|keys| keys.evaluation.contains(&report.data_key))
    }

    /// Whether what a report is about would be calibrated as it was then.
    pub(super) fn is_calibrated_so(&self, report: &Report) -> bool {
        let known = |keys: &DataKeys| report.calibration_key.is_empty() || keys.calibration.contains(&report.calibration_key);
        self.data_keys.as_ref().is_none_or(known)
    }

    /// Adds a report that was just made, of the data as they are if `on_data`.
    pub fn add_report(&mut self, report: Arc<Report>, on_data: bool) {
        if let Some(keys) = self.data_keys.as_mut().filter(|_| on_data) {
            keys.evaluation.insert(report.data_key.clone());
            keys.calibration.insert(report.calibration_key.clone());
        }
        self.reports.push(report);
    }
}
