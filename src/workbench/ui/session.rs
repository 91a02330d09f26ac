//! What outlives a run but belongs to no project: layout, theme, recent projects.

use super::layout::{Pane, Workspace, default_tree, panes};
use super::text::{Language, tr};
use super::theme::Contrast;
use crate::pipeline::configure::Saliency;
use crate::workbench::importance::Question;
use eframe::egui::ThemePreference;
use egui_tiles::Tree;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const RECENT: usize = 8;

/// The quality that the trade-off chart shows over the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Axis {
    Top1,
    Kl,
    WeightSqnr,
}

impl Axis {
    pub const ALL: [Self; 3] = [Self::WeightSqnr, Self::Top1, Self::Kl];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Top1 => tr!("axis-top1"),
            Self::Kl => tr!("axis-kl"),
            Self::WeightSqnr => tr!("axis-weight-sqnr"),
        }
    }

    /// The same beside the axis of a chart, which may be low.
    #[must_use]
    pub fn short_name(self) -> &'static str {
        match self {
            Self::Top1 => tr!("axis-top1.short"),
            Self::Kl => tr!("axis-kl.short"),
            Self::WeightSqnr => tr!("axis-weight-sqnr.short"),
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Column {
    Order,
    Name,
    Op,
    Params,
    Bits,
    Bytes,
    Sqnr,
}

/// An error of layers that the comparison shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorKind {
    Weight,
    Local,
    Cumulative,
}

impl ErrorKind {
    pub const ALL: [Self; 3] = [Self::Weight, Self::Local, Self::Cumulative];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Weight => tr!("layer-error-weight"),
            Self::Local => tr!("layer-error-local"),
            Self::Cumulative => tr!("layer-error-cumulative"),
        }
    }

    #[must_use]
    pub fn explanation(self) -> &'static str {
        match self {
            Self::Weight => tr!("layer-error-weight.tooltip"),
            Self::Local => tr!("layer-error-local.tooltip"),
            Self::Cumulative => tr!("layer-error-cumulative.tooltip"),
        }
    }
}

/// What the heat map shows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Heat {
    /// The error of the weights, worked out at once.
    #[default]
    Weights,
    /// What the network loses when this layer alone is compressed, measured.
    Loss,
}

impl Heat {
    pub const ALL: [Self; 2] = [Self::Weights, Self::Loss];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Weights => tr!("heat-weights"),
            Self::Loss => tr!("heat-loss"),
        }
    }
}

/// What the boxes of the drawing are colored by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Paint {
    Error,
    Bits,
    Bytes,
    Macs,
}

impl Paint {
    pub const ALL: [Self; 4] = [Self::Error, Self::Bits, Self::Bytes, Self::Macs];

    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Error => tr!("paint-error"),
            Self::Bits => tr!("paint-bits"),
            Self::Bytes => tr!("paint-bytes"),
            Self::Macs => tr!("paint-macs"),
        }
    }
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default)]
pub struct Session {
    pub workspace: Workspace,
    pub layouts: BTreeMap<Workspace, Tree<Pane>>,
    pub theme: ThemePreference,
    pub contrast: Contrast,
    /// `None`: the system's.
    pub language: Option<Language>,
    pub recent: Vec<PathBuf>,
    /// `None`: what there is most to say about.
    pub axis: Option<Axis>,
    pub sort: Column,
    pub descending: bool,
    pub error_kind: ErrorKind,
    pub heat: Heat,
    /// What is asked of the inspected layer.
    pub question: Question,
    /// What the boxes of the drawing are colored by.
    pub paint: Paint,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            workspace: Workspace::Configure,
            layouts: Workspace::ALL.map(|w| (w, default_tree(w))).into(),
            theme: ThemePreference::System,
            contrast: Contrast::Normal,
            language: None,
            recent: Vec::new(),
            axis: None,
            sort: Column::Order,
            descending: false,
            error_kind: ErrorKind::Weight,
            heat: Heat::Weights,
            question: Question::Weights(Saliency::Magnitude),
            paint: Paint::Error,
        }
    }
}

impl Session {
    /// Puts a project first among the recent ones.
    pub fn remember(&mut self, path: &Path) {
        self.recent.retain(|p| p != path);
        self.recent.insert(0, path.to_path_buf());
        self.recent.truncate(RECENT);
    }

    pub fn reset_layout(&mut self) {
        self.layouts = Workspace::ALL.map(|w| (w, default_tree(w))).into();
    }

    /// # Errors
    /// When RON cannot hold it.
    pub fn to_text(&self) -> Result<String, ron::Error> {
        ron::to_string(self)
    }

    /// The session of that text; the default where it cannot be read.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        let mut session: Self = ron::from_str(text).ok()?;
        // Panels that came with a newer program are to be found.
        for workspace in Workspace::ALL {
            let fresh = default_tree(workspace);
            if !session.layouts.get(&workspace).is_some_and(|tree| panes(&fresh).is_subset(&panes(tree))) {
                session.layouts.insert(workspace, fresh);
            }
        }
        Some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_its_file() {
        let mut session = Session::default();
        for i in 0..20 {
            session.remember(Path::new(&format!("/p{i}")));
        }
        session.remember(Path::new("/p15"));
        session.axis = Some(Axis::Kl);
        let back = Session::from_text(&session.to_text().unwrap()).unwrap();
        assert_eq!(back.recent, session.recent);
        assert_eq!((back.recent.len(), back.recent[0].as_path()), (RECENT, Path::new("/p15")));
        assert_eq!(back.axis, Some(Axis::Kl));
        assert!(Session::from_text("nonsense").is_none());
    }
}
