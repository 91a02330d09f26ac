//! Makes a project of the sample, where the person may change it as they like.

use super::package::{CALIBRATE, EVALUATE, MODEL, files, write_to};
use super::train::{DEVIATION, MEAN};
use super::{CLASS_NAMES, SampleError};
use crate::engine::hash;
use crate::pipeline::load::{Channels, Preprocess};
use crate::workbench::project::{Document, FileRef, Project};
use std::path::{Path, PathBuf};

/// How the sample's pixels become what its network takes.
#[must_use]
pub fn preprocess() -> Preprocess {
    Preprocess {
        channels: Some(Channels::Gray),
        scale: Some(255.0),
        mean: vec![MEAN],
        std: vec![DEVIATION],
        ..Preprocess::default()
    }
}

/// The sample's folder as a project, in `folder` or where the person's data live. What is there is
/// left as it is, but for files of the sample that are missing or damaged. Returns the folder.
///
/// # Errors
/// When the person has no folder for data, or it cannot be written to.
pub fn install(folder: Option<&Path>) -> Result<PathBuf, SampleError> {
    let folder = match folder {
        Some(folder) => folder.to_path_buf(),
        None => dirs::data_dir().ok_or(SampleError::Homeless)?.join("lapidary").join("sample"),
    };
    write_to(&folder).map_err(|source| SampleError::Write { path: folder.clone(), source })?;
    if !folder.join("project.ron").exists() {
        Project::create(&folder, &document())?;
    }
    Ok(folder)
}

fn document() -> Document {
    let refer = |path: &str, hash: String| FileRef { path: path.to_owned(), hash };
    let model = files().into_iter().find(|(name, _)| *name == MODEL).map_or_else(String::new, |(_, bytes)| hash::of_bytes(bytes));
    Document {
        evaluate: Some(refer(EVALUATE, String::new())),
        calibrate: Some(refer(CALIBRATE, String::new())),
        preprocess: preprocess(),
        notes: format!(
            "The sample that comes with Lapidary: drawn shapes under noise, and a small network trained on them. Classes, from 0: {}.",
            CLASS_NAMES.join(", ")
        ),
        ..Document::new("sample", refer(MODEL, model))
    }
}
