//! The saved truth of a project: small, undoable, without tensors or results.

use crate::pipeline::configure::{ConfigureError, Recipe, presets};
use crate::pipeline::load::Preprocess;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

pub const PROJECT_FORMAT: &str = "lapidary-project";
pub const PROJECT_VERSION: u32 = 1;

/// A file or folder that the project reads: relative to the project's folder where it can be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRef {
    pub path: String,
    /// SHA-256 of the content when it was added; empty where not yet known.
    #[serde(default)]
    pub hash: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub format: String,
    pub version: u32,
    pub name: String,
    pub model: FileRef,
    /// The network's graph, where the model is a file of weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub graph: Option<FileRef>,
    pub evaluate: Option<FileRef>,
    /// `None`: every `hold_out`-th sample of the evaluation data calibrates and is kept out of evaluation;
    /// where `hold_out` is 0, all of it does both.
    #[serde(default)]
    pub calibrate: Option<FileRef>,
    /// What weights count, as `llama-imatrix` writes it; recipes with `importance: Activations` use it where it
    /// knows a layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub importance: Option<FileRef>,
    #[serde(default = "default_hold_out")]
    pub hold_out: usize,
    #[serde(default)]
    pub preprocess: Preprocess,
    /// The recipe that is being edited: one of `recipes`, else a preset.
    pub active: String,
    /// The recipes that `run` evaluates and compares.
    #[serde(default)]
    pub run: Vec<String>,
    #[serde(default)]
    pub notes: String,
    /// By name; each is saved as a file of its own.
    #[serde(skip)]
    pub recipes: BTreeMap<String, Arc<Recipe>>,
}

/// What a project is evaluated and calibrated on, and how that is prepared: the parts of a [`Document`] that change
/// together.
#[derive(Debug, Clone, PartialEq)]
pub struct Data {
    pub evaluate: Option<FileRef>,
    pub calibrate: Option<FileRef>,
    pub hold_out: usize,
    pub preprocess: Preprocess,
}

impl Default for Data {
    fn default() -> Self {
        Self { evaluate: None, calibrate: None, hold_out: default_hold_out(), preprocess: Preprocess::default() }
    }
}

fn default_hold_out() -> usize {
    5
}

impl Document {
    #[must_use]
    pub fn new(name: impl Into<String>, model: FileRef) -> Self {
        Self {
            format: PROJECT_FORMAT.to_owned(),
            version: PROJECT_VERSION,
            name: name.into(),
            model,
            graph: None,
            evaluate: None,
            calibrate: None,
            importance: None,
            hold_out: default_hold_out(),
            preprocess: Preprocess::default(),
            active: "int8".to_owned(),
            run: ["fp32", "int8", "w4", "prune50-w8"].map(str::to_owned).to_vec(),
            notes: String::new(),
            recipes: BTreeMap::new(),
        }
    }

    #[must_use]
    pub fn data(&self) -> Data {
        Data {
            evaluate: self.evaluate.clone(),
            calibrate: self.calibrate.clone(),
            hold_out: self.hold_out,
            preprocess: self.preprocess.clone(),
        }
    }

    pub fn set_data(&mut self, data: Data) {
        let Data { evaluate, calibrate, hold_out, preprocess } = data;
        (self.evaluate, self.calibrate, self.hold_out, self.preprocess) = (evaluate, calibrate, hold_out, preprocess);
    }

    /// The project's recipe of that name, else the preset.
    ///
    /// # Errors
    /// When there is neither.
    pub fn recipe(&self, name: &str) -> Result<Arc<Recipe>, ConfigureError> {
        match self.recipes.get(name) {
            Some(recipe) => Ok(Arc::clone(recipe)),
            None => presets::preset(name).map(Arc::new),
        }
    }

    /// The recipe that is being edited.
    ///
    /// # Errors
    /// When `active` names neither a recipe nor a preset.
    pub fn active_recipe(&self) -> Result<Arc<Recipe>, ConfigureError> {
        self.recipe(&self.active)
    }

    /// The project's own recipes, then the presets.
    #[must_use]
    pub fn recipe_names(&self) -> Vec<String> {
        let own = self.recipes.keys().cloned();
        own.chain(presets::names().into_iter().filter(|n| !self.recipes.contains_key(*n)).map(str::to_owned)).collect()
    }

    /// `base`, or `base 2`, `base 3` …: a name that no recipe or preset has.
    #[must_use]
    pub fn free_name(&self, base: &str) -> String {
        let taken = |name: &str| self.recipes.contains_key(name) || presets::names().contains(&name);
        if !taken(base) {
            return base.to_owned();
        }
        (2_usize..).map(|i| format!("{base} {i}")).find(|name| !taken(name)).unwrap_or_else(|| base.to_owned())
    }
}
