//! What panels ask the application to do. Panels draw and ask; they change nothing themselves.

use super::changes::Filter;
use super::commands::Command;
use super::layout::{Pane, Workspace};
use super::pictures::Lens;
use super::session::{Axis, Column, ErrorKind, Heat, Paint};
use crate::pipeline::configure::FileFormat;
use crate::workbench::activations::Sample;
use crate::workbench::importance::Question;
use crate::workbench::jobs::JobId;
use crate::workbench::project::Edit;
use std::collections::BTreeSet;
use std::path::PathBuf;

#[derive(Debug, Clone)]
pub enum Act {
    Command(Command),
    /// One step of undo.
    Edit(Edit),
    /// Part of a drag: one step of undo together with the others until the pointer is released.
    Drag(Edit),
    Select {
        layer: usize,
        how: Pick,
    },
    /// Selects a layer by name and shows it.
    Jump(String),
    Filter(String),
    Sort(Column),
    Axis(Axis),
    Heat(Heat),
    /// Makes the recipe that loses least in so many bytes.
    Budget(u64),
    Go(Workspace),
    Show(Pane),
    Cancel(JobId),
    Open(PathBuf),
    ExportFolder(String),
    ExportName(String),
    /// Whether files of a kind are to be written.
    ExportFormat(FileFormat, bool),
    BrowseExport,
    ExportNow,
    /// Shows a file in the system's file manager.
    Reveal(PathBuf),
    Copy(String),
    /// Finds out how small zip makes the model's file.
    Zip,
    ErrorKind(ErrorKind),
    /// The blocks of the drawing that are closed.
    Fold(BTreeSet<usize>),
    Paint(Paint),
    /// The part of the inspected layer's weights that is looked at.
    Look(Lens),
    /// The sample whose activations are shown.
    Sample(Sample),
    /// What the panel of importance shows.
    Ask(Question),
    /// Has it found out.
    MeasureImportance,
    /// Which changed samples are shown.
    Changes(Filter),
    /// The recipe that others are held against; `None`: none.
    Base(Option<String>),
    ClearLog,
}

/// How a layer is selected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pick {
    Only,
    Toggle,
    /// Everything from the last one picked.
    Range,
}
