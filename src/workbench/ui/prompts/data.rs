//! The data of a project and how it is prepared: a form of its own, and a part of that for a new project.

use super::{Next, buttons};
use crate::pipeline::load::{Channels, Layout as DataLayout, Preprocess};
use crate::workbench::jobs::JobId;
use crate::workbench::project::{Document, Project};
use crate::workbench::ui::app::App;
use crate::workbench::ui::dialogs::Purpose;
use crate::workbench::ui::tasks;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use crate::workbench::ui::widgets::{combo, field, section, small};
use eframe::egui::{Grid, Ui};
use std::path::{Path, PathBuf};

/// What pixels are divided by, and what is taken from and divided by then, of most networks for photographs.
const IMAGENET: (&str, &str, &str) = ("255", "0.485,0.456,0.406", "0.229,0.224,0.225");

/// What became of a form that was handed in.
#[derive(Debug, Default, Clone, PartialEq)]
pub enum Standing {
    #[default]
    Open,
    /// A job looks whether it can be done.
    Waiting(JobId),
    /// Why not; what was written stays.
    Refused(String),
}

impl From<Result<JobId, String>> for Standing {
    fn from(begun: Result<JobId, String>) -> Self {
        begun.map_or_else(Self::Refused, Self::Waiting)
    }
}

impl Standing {
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        matches!(self, Self::Waiting(_))
    }

    /// Refused with a message of the engine's: what it calls by options of the command line has fields here.
    #[must_use]
    pub fn refused(message: &str) -> Self {
        let fields = [
            ("--resize", "new-project-resize"),
            ("--crop", "new-project-crop"),
            ("--channels", "new-project-channels"),
            ("--scale", "new-project-scale"),
            ("--mean", "new-project-mean"),
            ("--std", "new-project-deviation"),
            ("--label-offset", "new-project-label-offset"),
            ("--limit", "new-project-limit"),
            ("--layout", "new-project-layout"),
            ("--graph", "new-project-graph"),
        ];
        let words = fields
            .iter()
            .fold(message.to_owned(), |text, (option, field)| text.replace(option, &tr!("prompt-data-field", name = tr!(field))));
        Self::Refused(words)
    }

    /// The problem, and the two buttons: `Some(true)` for the first, `Some(false)` for Cancel.
    pub fn foot_ui(&self, ui: &mut Ui, tokens: &Tokens, yes: &str) -> Option<bool> {
        match self {
            Self::Open => buttons(ui, yes),
            Self::Refused(problem) => {
                ui.colored_label(tokens.bad, problem);
                buttons(ui, yes)
            }
            Self::Waiting(_) => {
                ui.add_space(8.0);
                ui.horizontal(|ui| {
                    ui.spinner();
                    small(ui, tokens, tr!("prompt-data-waiting"));
                    ui.button(tr!("prompt-cancel")).clicked().then_some(false)
                })
                .inner
            }
        }
    }
}

/// What was written so far.
#[derive(Default, Clone)]
pub struct DataForm {
    pub evaluate: String,
    pub calibrate: String,
    channels: Option<Channels>,
    resize: String,
    pub crop: String,
    pub scale: String,
    pub mean: String,
    std: String,
    label_offset: String,
    limit: String,
    layout: DataLayout,
    pub standing: Standing,
}

/// What a form says.
pub struct Written {
    pub evaluate: Option<PathBuf>,
    pub calibrate: Option<PathBuf>,
    pub preprocess: Preprocess,
}

impl DataForm {
    /// The data that a project has.
    #[must_use]
    pub fn of(project: &Project, document: &Document) -> Self {
        let path = |file: Option<_>| file.map_or_else(String::new, |f| project.resolve(f).display().to_string());
        let numbers = |values: &[f32]| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let text = |number: Option<u32>| number.map_or_else(String::new, |n| n.to_string());
        let preprocess = &document.preprocess;
        Self {
            evaluate: path(document.evaluate.as_ref()),
            calibrate: path(document.calibrate.as_ref()),
            channels: preprocess.channels,
            resize: text(preprocess.resize),
            crop: text(preprocess.crop),
            scale: preprocess.scale.map_or_else(String::new, |s| s.to_string()),
            mean: numbers(&preprocess.mean),
            std: numbers(&preprocess.std),
            label_offset: if preprocess.label_offset == 0 { String::new() } else { preprocess.label_offset.to_string() },
            limit: preprocess.limit.map_or_else(String::new, |n| n.to_string()),
            layout: preprocess.layout,
            standing: Standing::Open,
        }
    }

    pub fn set(&mut self, purpose: Purpose, path: &Path) {
        let text = path.display().to_string();
        match purpose {
            Purpose::EvaluationData => self.evaluate = text,
            Purpose::CalibrationData => self.calibrate = text,
            _ => {}
        }
    }

    /// # Errors
    /// A sentence on the first field that makes no sense.
    pub fn read(&self) -> Result<Written, String> {
        let preprocess = Preprocess {
            resize: number(&self.resize, tr!("new-project-resize"))?,
            crop: number(&self.crop, tr!("new-project-crop"))?,
            channels: self.channels,
            scale: number(&self.scale, tr!("new-project-scale"))?,
            mean: numbers(&self.mean, tr!("new-project-mean"))?,
            std: numbers(&self.std, tr!("new-project-deviation"))?,
            label_offset: number(&self.label_offset, tr!("new-project-label-offset"))?.unwrap_or(0),
            limit: number(&self.limit, tr!("new-project-limit"))?,
            layout: self.layout,
        };
        Ok(Written { evaluate: path(&self.evaluate), calibrate: path(&self.calibrate), preprocess })
    }

    pub fn preprocess_ui(&mut self, ui: &mut Ui) {
        Grid::new("preprocess").num_columns(4).spacing([8.0, 6.0]).show(ui, |ui| {
            let line = |ui: &mut Ui, name: &str, text: &mut String, hint: &str| {
                let label = ui.label(name);
                ui.add_sized([150.0, 24.0], field(text).hint_text(hint)).labelled_by(label.id);
            };
            line(ui, tr!("new-project-resize"), &mut self.resize, tr!("new-project-resize.hint"));
            line(ui, tr!("new-project-crop"), &mut self.crop, tr!("new-project-crop.hint"));
            ui.end_row();
            ui.label(tr!("new-project-channels"));
            let words = |c: Option<Channels>| match c {
                None => tr!("new-project-channels-model"),
                Some(Channels::Rgb) => tr!("new-project-channels-rgb"),
                Some(Channels::Bgr) => tr!("new-project-channels-bgr"),
                Some(Channels::Gray) => tr!("new-project-channels-gray"),
            };
            let choices = || [None, Some(Channels::Rgb), Some(Channels::Bgr), Some(Channels::Gray)].map(|c| (c, words(c)));
            let name = || tr!("new-project-channels").to_owned();
            let chosen = combo(ui, (), name, 150.0, self.channels, words(self.channels), choices);
            self.channels = chosen.unwrap_or(self.channels);
            line(ui, tr!("new-project-scale"), &mut self.scale, IMAGENET.0);
            ui.end_row();
            line(ui, tr!("new-project-mean"), &mut self.mean, IMAGENET.1);
            line(ui, tr!("new-project-deviation"), &mut self.std, IMAGENET.2);
            ui.end_row();
            ui.label(tr!("new-project-layout"));
            let words = |layout: DataLayout| match layout {
                DataLayout::Nchw => tr!("new-project-layout-nchw"),
                DataLayout::Nhwc => tr!("new-project-layout-nhwc"),
            };
            let choices = || [DataLayout::Nchw, DataLayout::Nhwc].map(|l| (l, words(l)));
            let name = || tr!("new-project-layout").to_owned();
            let chosen = combo(ui, (), name, 150.0, self.layout, words(self.layout), choices);
            self.layout = chosen.unwrap_or(self.layout);
            ui.end_row();
            line(ui, tr!("new-project-label-offset"), &mut self.label_offset, tr!("new-project-label-offset.hint"));
            line(ui, tr!("new-project-limit"), &mut self.limit, tr!("new-project-limit.hint"));
            ui.end_row();
        });
        if ui.button(tr!("new-project-imagenet")).on_hover_text(tr!("new-project-imagenet.tooltip")).clicked() {
            let (scale, mean, deviation) = IMAGENET;
            (self.scale, self.mean, self.std) = (scale.to_owned(), mean.to_owned(), deviation.to_owned());
        }
    }
}

/// What is written in a field for a path; nothing where it is empty.
pub fn path(text: &str) -> Option<PathBuf> {
    Some(text.trim()).filter(|t| !t.is_empty()).map(PathBuf::from)
}

/// A line of a grid with three columns for a path, with the cursor in it if it is the `first`. Whether it is to be
/// looked for.
pub fn path_ui(ui: &mut Ui, name: &str, text: &mut String, hint: &str, first: bool) -> bool {
    let label = ui.label(name);
    // A grid gives a field no more room than its text takes.
    let edit = ui.add_sized([330.0, 24.0], field(text).hint_text(hint)).labelled_by(label.id);
    if first {
        edit.request_focus();
    }
    let browse = ui.button(tr!("new-project-browse")).clicked();
    ui.end_row();
    browse
}

fn number<T: std::str::FromStr>(text: &str, field: &str) -> Result<Option<T>, String> {
    match text.trim() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| tr!("new-project-no-number", field = field, text = text)),
    }
}

fn numbers(text: &str, field: &str) -> Result<Vec<f32>, String> {
    let parts = text.split(',').map(str::trim).filter(|t| !t.is_empty());
    parts.map(|t| t.parse().map_err(|_| tr!("new-project-no-numbers", field = field, text = t))).collect()
}

impl App {
    pub(super) fn data_ui(&mut self, ui: &mut Ui, tokens: &Tokens, form: &mut DataForm) -> Next {
        ui.heading(tr!("prompt-data-title"));
        small(ui, tokens, tr!("prompt-data-note"));
        ui.add_enabled_ui(!form.standing.is_waiting(), |ui| {
            Grid::new("data").num_columns(3).spacing([8.0, 6.0]).show(ui, |ui| {
                let rows = [
                    (
                        tr!("new-project-evaluation"),
                        &mut form.evaluate,
                        tr!("new-project-evaluation.hint"),
                        Purpose::EvaluationData,
                    ),
                    (
                        tr!("new-project-calibration"),
                        &mut form.calibrate,
                        tr!("new-project-calibration.hint"),
                        Purpose::CalibrationData,
                    ),
                ];
                for (name, text, hint, purpose) in rows {
                    if path_ui(ui, name, text, hint, false) {
                        self.ask_for_path(purpose);
                    }
                }
            });
            section(ui, tokens, tr!("new-project-pictures"));
            form.preprocess_ui(ui);
        });
        let Some(handed_in) = form.standing.foot_ui(ui, tokens, tr!("prompt-data-use")) else { return Next::Stay };
        let Some(bench) = self.bench.as_ref().filter(|_| handed_in) else { return Next::Close };
        let begin =
            |Written { evaluate, calibrate, preprocess }| tasks::data(&mut self.jobs, bench, evaluate, calibrate, preprocess);
        form.standing = form.read().map(begin).into();
        Next::Stay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_fields() {
        let refused = Standing::refused("use --crop 5, after --resize 5 or more");
        assert_eq!(refused, Standing::Refused("use “Crop” 5, after “Resize” 5 or more".to_owned()));
    }
}
