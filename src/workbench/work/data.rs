//! The data of a project: what it is evaluated and calibrated on, checked against its model before it is written down.

use super::{Opened, WorkError};
use crate::engine::Ctx;
use crate::pipeline::evaluate::EvaluateError;
use crate::pipeline::load::{self, Dataset, Preprocess, Subject};
use crate::workbench::project::{Data, FileRef, Project, place};
use std::path::Path;

/// Fewer samples than this are all evaluated, and calibrate as well.
const FEW_SAMPLES: usize = 10;

impl Opened {
    /// Other data for the project, or the same prepared otherwise. Nothing is changed yet: that is an edit.
    ///
    /// # Errors
    /// When the data cannot be read or does not fit the model, or the model has no graph to feed it to.
    pub fn data_from(
        &self,
        evaluate: Option<&Path>,
        calibrate: Option<&Path>,
        preprocess: &Preprocess,
        ctx: &Ctx,
    ) -> Result<Data, WorkError> {
        let mut data = checked(&self.root, &self.subject, [evaluate, calibrate], preprocess, ctx)?;
        let present = self.document.data();
        let is_kept =
            [keep(&self.root, &mut data.evaluate, present.evaluate), keep(&self.root, &mut data.calibrate, present.calibrate)];
        // How many are held out depends on how many there are.
        if is_kept == [true; 2] && preprocess.limit == present.preprocess.limit {
            data.hold_out = present.hold_out;
        }
        Ok(data)
    }
}

/// What names the same place as before is not named otherwise. Whether it does, or there is none as before.
fn keep(root: &Path, new: &mut Option<FileRef>, old: Option<FileRef>) -> bool {
    let at = |file: &FileRef| place(root, &file.path).canonicalize().ok();
    let is_same = match (&*new, &old) {
        (Some(new), Some(old)) => at(new).is_some_and(|n| Some(n) == at(old)),
        (None, None) => true,
        _ => false,
    };
    if is_same {
        *new = old;
    }
    is_same
}

/// What is to evaluate and to calibrate, as a project in the folder `root` refers to it.
///
/// # Errors
/// As [`Opened::data_from`].
pub(super) fn checked(
    root: &Path,
    subject: &Subject,
    [evaluate, calibrate]: [Option<&Path>; 2],
    preprocess: &Preprocess,
    ctx: &Ctx,
) -> Result<Data, WorkError> {
    if !subject.loaded.has_graph() && (evaluate.is_some() || calibrate.is_some()) {
        return Err(WorkError::NoGraph { path: subject.loaded.path.clone() });
    }
    let input = subject.original.data_input().cloned();
    let mut samples = Vec::new();
    for path in [evaluate, calibrate].into_iter().flatten() {
        if let Some(port) = &input {
            let data = load::dataset(path, preprocess, port, ctx)?;
            // One sample through the preprocessing shows whether data and model fit.
            data.batch(&[0], ctx)?;
            check_labels(&data, subject)?;
            samples.push(data.len());
        }
    }
    let refer = |path: Option<&Path>| path.map(|p| Project::refer(root, p)).transpose();
    let mut data =
        Data { evaluate: refer(evaluate)?, calibrate: refer(calibrate)?, preprocess: preprocess.clone(), ..Data::default() };
    if let (Some(&samples), None) = (samples.first(), calibrate) {
        // At most about 500 samples calibrate, at most every fifth. Of a handful none can be spared.
        data.hold_out = if samples < FEW_SAMPLES { 0 } else { (samples / 500).max(5) };
    }
    Ok(data)
}

/// The first label that is none of the classes which the model's output tells apart.
fn check_labels(data: &Dataset, subject: &Subject) -> Result<(), WorkError> {
    let classes = subject.original.outputs.first().and_then(|p| p.fact.shape.as_ref()?.last()?.known());
    let (Some(labels), Some(classes @ 1..)) = (&data.labels, classes) else { return Ok(()) };
    match labels.iter().position(|label| *label >= classes) {
        Some(sample) => Err(EvaluateError::Label { sample, label: labels[sample], classes }.into()),
        None => Ok(()),
    }
}
