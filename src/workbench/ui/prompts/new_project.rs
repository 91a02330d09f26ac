//! A new project: a model, data, how the data is prepared, a folder.

use super::Next;
use super::data::{DataForm, Standing, Written, path, path_ui};
use crate::workbench::ui::app::App;
use crate::workbench::ui::dialogs::Purpose;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use crate::workbench::ui::widgets::{section, small};
use crate::workbench::work::NewProject;
use eframe::egui::{Grid, Ui};
use std::path::{Path, PathBuf};

/// What was written so far.
#[derive(Default, Clone)]
pub struct NewForm {
    model: String,
    graph: String,
    importance: String,
    folder: String,
    data: DataForm,
    standing: Standing,
    /// It was drawn before.
    seen: bool,
    /// A model's file that was looked at, and what is in it.
    found: Option<(String, String)>,
}

impl NewForm {
    /// A model in which this was found.
    pub fn set_model(&mut self, path: &Path, found: String) {
        self.set(Purpose::Model, path);
        self.found = Some((self.model.clone(), found));
    }

    pub fn standing(&mut self) -> &mut Standing {
        &mut self.standing
    }

    /// Whether it has a model, and no data yet.
    pub fn wants_data(&self) -> bool {
        !self.model.is_empty() && self.data.evaluate.is_empty()
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
            _ => self.data.set(purpose, path),
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
        let model = path(&self.model).ok_or_else(|| tr!("new-project-no-model"))?;
        let folder = path(&self.folder).unwrap_or_else(|| PathBuf::from(self.suggested_folder()));
        let Written { evaluate, calibrate, preprocess } = self.data.read()?;
        let (graph, importance) = (path(&self.graph), path(&self.importance));
        Ok((folder, NewProject { model, graph, evaluate, calibrate, importance, preprocess }))
    }
}

impl App {
    pub(super) fn new_project_ui(&mut self, ui: &mut Ui, tokens: &Tokens, form: &mut NewForm) -> Next {
        ui.heading(tr!("new-project-title"));
        small(ui, tokens, form.found().unwrap_or(tr!("new-project-note")));
        let suggested = form.suggested_folder();
        // Where one has to go on: with the model, or with the data of one that was dropped.
        let first = if form.model.is_empty() { Purpose::Model } else { Purpose::EvaluationData };
        let is_new = !std::mem::replace(&mut form.seen, true);
        // What was handed in stays as it is until it is known what becomes of it.
        let looks = ui.add_enabled_ui(!form.standing.is_waiting(), |ui| {
            Grid::new("new project").num_columns(3).spacing([8.0, 6.0]).show(ui, |ui| {
                let rows: [(&str, &mut String, Purpose); 6] = [
                    (tr!("new-project-model"), &mut form.model, Purpose::Model),
                    (tr!("new-project-graph"), &mut form.graph, Purpose::Graph),
                    (tr!("new-project-evaluation"), &mut form.data.evaluate, Purpose::EvaluationData),
                    (tr!("new-project-calibration"), &mut form.data.calibrate, Purpose::CalibrationData),
                    (tr!("new-project-importance"), &mut form.importance, Purpose::Importance),
                    (tr!("new-project-folder"), &mut form.folder, Purpose::NewFolder),
                ];
                for (name, text, purpose) in rows {
                    let hint = match purpose {
                        Purpose::Model => "ONNX, safetensors, GGUF, .pt, .npz",
                        Purpose::Graph => tr!("new-project-graph.hint"),
                        Purpose::CalibrationData => tr!("new-project-calibration.hint"),
                        Purpose::Importance => tr!("new-project-importance.hint"),
                        Purpose::NewFolder => &suggested,
                        _ => tr!("new-project-evaluation.hint"),
                    };
                    if path_ui(ui, name, text, hint, is_new && purpose == first) {
                        self.ask_for_path(purpose);
                    }
                }
            });
            section(ui, tokens, tr!("new-project-pictures"));
            form.data.preprocess_ui(ui);
            let tip = tr!("new-project-look.tooltip");
            form.found().is_some() && ui.button(tr!("new-project-look")).on_hover_text(tip).clicked()
        });
        if looks.inner {
            self.look_at(PathBuf::from(&form.model));
            return Next::Close;
        }
        match form.standing.foot_ui(ui, tokens, tr!("new-project-make")) {
            Some(true) => {
                form.standing = form.read().map(|(folder, new)| self.create_project(folder, new)).into();
                Next::Stay
            }
            Some(false) => Next::Close,
            None => Next::Stay,
        }
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
        form.data.mean = "0.5, 0.25".to_owned();
        form.data.scale = " 255 ".to_owned();
        let (folder, new) = form.read().unwrap();
        assert_eq!((folder, new.model), (PathBuf::from("/m/net-project"), PathBuf::from("/m/net.onnx")));
        assert_eq!((new.preprocess.mean, new.preprocess.scale), (vec![0.5, 0.25], Some(255.0)));
        form.set(Purpose::Graph, Path::new("/m/graph.onnx"));
        assert_eq!(form.read().unwrap().1.graph, Some(PathBuf::from("/m/graph.onnx")));
        form.data.crop = "wide".to_owned();
        assert!(form.read().is_err_and(|e| e.contains("Crop")));
    }
}
