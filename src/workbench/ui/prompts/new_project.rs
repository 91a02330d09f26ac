//! A new project: a model, data, how the data is prepared, a folder.

use super::{Next, buttons};
use crate::pipeline::load::{Channels, Layout, Preprocess};
use crate::workbench::ui::app::App;
use crate::workbench::ui::dialogs::Purpose;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use crate::workbench::ui::widgets::{section, small};
use crate::workbench::work::NewProject;
use eframe::egui::{ComboBox, Grid, TextEdit, Ui};
use std::path::{Path, PathBuf};

/// What pixels are divided by, and what is taken from and divided by then, of most networks for photographs.
const IMAGENET: (&str, &str, &str) = ("255", "0.485,0.456,0.406", "0.229,0.224,0.225");

/// What was written so far.
#[derive(Default, Clone)]
pub struct NewForm {
    model: String,
    graph: String,
    importance: String,
    folder: String,
    evaluate: String,
    calibrate: String,
    channels: Option<Channels>,
    resize: String,
    crop: String,
    scale: String,
    mean: String,
    std: String,
    problem: Option<String>,
    /// A model's file that was looked at, and what is in it.
    found: Option<(String, String)>,
}

impl NewForm {
    /// A model in which this was found.
    pub fn set_model(&mut self, path: &Path, found: String) {
        self.set(Purpose::Model, path);
        self.found = Some((self.model.clone(), found));
    }

    /// What was found in the model that is written there now.
    fn found(&self) -> Option<&str> {
        self.found.as_ref().filter(|(model, _)| *model == self.model).map(|(_, found)| found.as_str())
    }

    pub fn set(&mut self, purpose: Purpose, path: &Path) {
        let text = path.display().to_string();
        match purpose {
            Purpose::Model => self.model = text,
            Purpose::Graph => self.graph = text,
            Purpose::Importance => self.importance = text,
            Purpose::NewFolder => self.folder = text,
            Purpose::EvaluationData => self.evaluate = text,
            Purpose::CalibrationData => self.calibrate = text,
            Purpose::OpenProject | Purpose::ExportFolder | Purpose::PageFile | Purpose::Moved => {}
        }
    }

    /// Beside the model, where no other was written; nothing without a model.
    fn suggested_folder(&self) -> String {
        match self.model.trim() {
            "" => String::new(),
            model => Path::new(model).with_extension("").display().to_string() + "-project",
        }
    }

    /// # Errors
    /// A sentence on the first field that makes no sense.
    pub fn read(&self) -> Result<(PathBuf, NewProject), String> {
        let path = |text: &str| Some(text.trim()).filter(|t| !t.is_empty()).map(PathBuf::from);
        let model = path(&self.model).ok_or_else(|| tr!("new-project-no-model"))?;
        let folder = path(&self.folder).unwrap_or_else(|| PathBuf::from(self.suggested_folder()));
        let preprocess = Preprocess {
            resize: number(&self.resize, tr!("new-project-resize"))?,
            crop: number(&self.crop, tr!("new-project-crop"))?,
            channels: self.channels,
            scale: number(&self.scale, tr!("new-project-scale"))?,
            mean: numbers(&self.mean, tr!("new-project-mean"))?,
            std: numbers(&self.std, tr!("new-project-deviation"))?,
            layout: Layout::default(),
            ..Preprocess::default()
        };
        Ok((
            folder,
            NewProject {
                model,
                graph: path(&self.graph),
                evaluate: path(&self.evaluate),
                calibrate: path(&self.calibrate),
                importance: path(&self.importance),
                preprocess,
            },
        ))
    }
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
    pub(super) fn new_project_ui(&mut self, ui: &mut Ui, tokens: &Tokens, form: &mut NewForm) -> Next {
        ui.heading(tr!("new-project-title"));
        small(ui, tokens, form.found().unwrap_or(tr!("new-project-note")));
        let suggested = form.suggested_folder();
        Grid::new("new project").num_columns(3).spacing([8.0, 6.0]).show(ui, |ui| {
            let rows: [(&str, &mut String, Purpose); 6] = [
                (tr!("new-project-model"), &mut form.model, Purpose::Model),
                (tr!("new-project-graph"), &mut form.graph, Purpose::Graph),
                (tr!("new-project-evaluation"), &mut form.evaluate, Purpose::EvaluationData),
                (tr!("new-project-calibration"), &mut form.calibrate, Purpose::CalibrationData),
                (tr!("new-project-importance"), &mut form.importance, Purpose::Importance),
                (tr!("new-project-folder"), &mut form.folder, Purpose::NewFolder),
            ];
            for (name, text, purpose) in rows {
                let label = ui.label(name);
                let hint = match purpose {
                    Purpose::Model => "ONNX, safetensors, GGUF, .pt, .npz",
                    Purpose::Graph => tr!("new-project-graph.hint"),
                    Purpose::CalibrationData => tr!("new-project-calibration.hint"),
                    Purpose::Importance => tr!("new-project-importance.hint"),
                    Purpose::NewFolder => &suggested,
                    _ => "",
                };
                // A grid gives a field no more room than its text takes.
                ui.add_sized([330.0, 24.0], TextEdit::singleline(text).hint_text(hint)).labelled_by(label.id);
                if ui.button(tr!("new-project-browse")).clicked() {
                    self.ask_for_path(purpose);
                }
                ui.end_row();
            }
        });
        section(ui, tokens, tr!("new-project-pictures"));
        preprocess_ui(ui, form);
        if let Some(problem) = &form.problem {
            ui.colored_label(tokens.bad, problem);
        }
        let tip = tr!("new-project-look.tooltip");
        if form.found().is_some() && ui.button(tr!("new-project-look")).on_hover_text(tip).clicked() {
            self.look_at(PathBuf::from(&form.model));
            return Next::Close;
        }
        match buttons(ui, tr!("new-project-make")) {
            Some(true) => match form.read() {
                Ok((folder, new)) => {
                    self.create_project(folder, new);
                    Next::Close
                }
                Err(problem) => {
                    form.problem = Some(problem);
                    Next::Stay
                }
            },
            Some(false) => Next::Close,
            None => Next::Stay,
        }
    }
}

fn preprocess_ui(ui: &mut Ui, form: &mut NewForm) {
    Grid::new("preprocess").num_columns(4).spacing([8.0, 6.0]).show(ui, |ui| {
        let field = |ui: &mut Ui, name: &str, text: &mut String, hint: &str| {
            let label = ui.label(name);
            ui.add_sized([150.0, 24.0], TextEdit::singleline(text).hint_text(hint)).labelled_by(label.id);
        };
        field(ui, tr!("new-project-resize"), &mut form.resize, tr!("new-project-resize.hint"));
        field(ui, tr!("new-project-crop"), &mut form.crop, tr!("new-project-crop.hint"));
        ui.end_row();
        ui.label(tr!("new-project-channels"));
        let words = |c: Option<Channels>| match c {
            None => tr!("new-project-channels-model"),
            Some(Channels::Rgb) => tr!("new-project-channels-rgb"),
            Some(Channels::Bgr) => tr!("new-project-channels-bgr"),
            Some(Channels::Gray) => tr!("new-project-channels-gray"),
        };
        let combo = ComboBox::from_id_salt("channels").width(150.0).selected_text(words(form.channels));
        let response = combo.show_ui(ui, |ui| {
            for choice in [None, Some(Channels::Rgb), Some(Channels::Bgr), Some(Channels::Gray)] {
                ui.selectable_value(&mut form.channels, choice, words(choice));
            }
        });
        drop(response.response.accessible_name(tr!("new-project-channels")));
        field(ui, tr!("new-project-scale"), &mut form.scale, IMAGENET.0);
        ui.end_row();
        field(ui, tr!("new-project-mean"), &mut form.mean, IMAGENET.1);
        field(ui, tr!("new-project-deviation"), &mut form.std, IMAGENET.2);
        ui.end_row();
    });
    if ui.button(tr!("new-project-imagenet")).on_hover_text(tr!("new-project-imagenet.tooltip")).clicked() {
        let (scale, mean, deviation) = IMAGENET;
        (form.scale, form.mean, form.std) = (scale.to_owned(), mean.to_owned(), deviation.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_was_written() {
        let mut form = NewForm::default();
        assert!(form.read().is_err_and(|e| e.contains("model")));
        form.set(Purpose::Model, Path::new("/m/net.onnx"));
        form.mean = "0.5, 0.25".to_owned();
        form.scale = " 255 ".to_owned();
        let (folder, new) = form.read().unwrap();
        assert_eq!((folder, new.model), (PathBuf::from("/m/net-project"), PathBuf::from("/m/net.onnx")));
        assert_eq!((new.preprocess.mean, new.preprocess.scale), (vec![0.5, 0.25], Some(255.0)));
        form.set(Purpose::Graph, Path::new("/m/graph.onnx"));
        assert_eq!(form.read().unwrap().1.graph, Some(PathBuf::from("/m/graph.onnx")));
        form.crop = "wide".to_owned();
        assert!(form.read().is_err_and(|e| e.contains("Crop")));
    }
}
