//! What a project can be asked to do. The command line and the window call the same functions.

mod data;
mod runtime;
mod unfinished;
mod written;

pub use written::{Writing, unpack};

use crate::engine::context::Cancelled;
use crate::engine::exec::Arithmetic;
use crate::engine::graph::passes::infer_shapes;
use crate::engine::graph::{Layer, Wire};
use crate::engine::hash::of_bytes;
use crate::engine::{Ctx, Warning};
use crate::pipeline::calibrate::{self, CalibrateError, Statistics};
use crate::pipeline::compress::{self, CompressError, Step, Variant};
use crate::pipeline::configure::{self, Allocation, Balance, ConfigureError, Equalization, Grouping, Importance, Plan, Recipe};
use crate::pipeline::evaluate::{self, EvaluateError, Report, Settings, StepError, Subjects};
use crate::pipeline::export::{ExportError, Format};
use crate::pipeline::load::{self, Dataset, LoadError, LoadedModel, Preprocess, Subject, imatrix};
use crate::pipeline::search::SearchError;
use crate::workbench::project::{Document, Project, ProjectError, place, write_atomically};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use unfinished::Unfinished;

/// Samples that layer errors are measured on.
const LAYER_SAMPLES: usize = 64;

const SAME_DATA: &str = "calibration and evaluation data are the same: the accuracy of calibrated recipes is flattered";

#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Project(#[from] ProjectError),
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    #[error(transparent)]
    Compress(#[from] CompressError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error(transparent)]
    Export(#[from] ExportError),
    #[error(transparent)]
    Search(Box<SearchError>),
    #[error("the project's model {path} is not there; put it there, or write into {project}/project.ron where it is{notes}", path = path.display(), project = project.display(), notes = said(notes))]
    Absent { path: PathBuf, project: PathBuf, notes: String },
    #[error(
        "the project has no evaluation data; give it some in the window (Data…), or make a project that has with `lapidary init … --evaluate DATA`"
    )]
    NoData,
    #[error("{path} holds weights without a graph: they can be inspected, planned, compressed and exported, but not run; to run them, tie them to the network's ONNX file with `lapidary init … --graph MODEL.onnx`", path = path.display())]
    NoGraph { path: PathBuf },
    #[error("{path} gives {file} outputs and the project's model {own}; it was not exported from this project", path = path.display())]
    OtherModel { path: PathBuf, file: usize, own: usize },
    #[error("some weights of {path} are stored as codes, and cannot be computed without running its graph; unpack it to a file named .onnx", path = path.display())]
    Codes { path: PathBuf },
    #[error("{path} gives back an ONNX file, or its weights as safetensors, and no {file}; name the file .onnx or .safetensors", path = path.display())]
    NotHeld { path: PathBuf, file: &'static str },
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
}

/// What a project's notes add to an error.
fn said(notes: &str) -> String {
    if notes.is_empty() { String::new() } else { format!(". Notes of the project: {notes}") }
}

impl From<SearchError> for WorkError {
    fn from(error: SearchError) -> Self {
        Self::Search(Box::new(error))
    }
}

/// Which samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Split {
    /// Those that chose nothing.
    Evaluate,
    Calibrate,
    /// The whole evaluation data, what calibrates included.
    All,
}

impl Split {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Evaluate => "evaluate",
            Self::Calibrate => "calibrate",
            Self::All => "all",
        }
    }
}

/// A project whose model is loaded. Cheap to clone: jobs own theirs.
#[derive(Debug, Clone)]
pub struct Opened {
    pub root: PathBuf,
    pub document: Arc<Document>,
    pub subject: Subject,
}

/// Opens a project and loads its model.
///
/// # Errors
/// When the project or its model cannot be read.
pub fn open(path: &Path, ctx: &Ctx) -> Result<(Project, Opened), WorkError> {
    let (project, document) = Project::open(path)?;
    let graph = document.graph.as_ref().map(|graph| project.resolve(graph));
    let model = project.resolve(&document.model);
    if !model.exists() {
        let (project, notes) = (project.root().to_path_buf(), document.notes.clone());
        return Err(WorkError::Absent { path: model, project, notes });
    }
    let mut subject = load_subject(&model, graph.as_deref(), ctx)?;
    if let Some(file) = &document.importance {
        subject.set_importance(imatrix::open(&project.resolve(file), ctx)?);
    }
    let root = project.root().to_path_buf();
    Ok((project, Opened { root, document: Arc::new(document), subject }))
}

/// A model, tied to a graph where one is given.
///
/// # Errors
/// When a file cannot be read, or the two do not fit each other.
pub fn load_subject(path: &Path, graph: Option<&Path>, ctx: &Ctx) -> Result<Subject, WorkError> {
    let mut loaded = load::model(path, ctx)?;
    if let Some(graph) = graph {
        loaded = load::tie(loaded, load::model(graph, ctx)?, ctx)?;
    }
    Ok(Subject::new(loaded)?)
}

/// What a new project is made of.
#[derive(Debug, Clone, Default)]
pub struct NewProject {
    pub model: PathBuf,
    /// The graph of a model that is a file of weights.
    pub graph: Option<PathBuf>,
    pub evaluate: Option<PathBuf>,
    pub calibrate: Option<PathBuf>,
    /// How much the inputs of weights count, as `llama-imatrix` writes it.
    pub importance: Option<PathBuf>,
    pub preprocess: Preprocess,
}

/// Makes a project folder. The model and the data are opened once, so that a project that exists
/// is one that works.
///
/// # Errors
/// When the model or the data cannot be read or do not fit each other, or the folder cannot be written.
pub fn init(root: &Path, new: &NewProject, ctx: &Ctx) -> Result<(Project, Opened), WorkError> {
    let mut subject = load_subject(&new.model, new.graph.as_deref(), ctx)?;
    if let Some(file) = &new.importance {
        subject.set_importance(imatrix::open(file, ctx)?);
    }
    if root.join("project.ron").exists() {
        return Err(ProjectError::Exists { path: root.to_path_buf() }.into());
    }
    let name = root.file_name().map_or_else(|| "project".to_owned(), |n| n.to_string_lossy().into_owned());
    let data = data::checked(root, &subject, [new.evaluate.as_deref(), new.calibrate.as_deref()], &new.preprocess, ctx)?;
    let mut document = Document::new(name, Project::refer(root, &new.model)?);
    document.model.hash = subject.loaded.hash_within(ctx)?.to_owned();
    document.graph = new.graph.as_deref().map(|p| Project::refer(root, p)).transpose()?;
    document.importance = new.importance.as_deref().map(|p| Project::refer(root, p)).transpose()?;
    document.set_data(data);
    let project = Project::create(root, &document)?;
    let root = project.root().to_path_buf();
    Ok((project, Opened { root, document: Arc::new(document), subject }))
}

impl Opened {
    #[must_use]
    pub fn with_document(&self, document: Arc<Document>) -> Self {
        Self { document, ..self.clone() }
    }

    /// Reads the model's files for the hash that reports and caches are known by, and warns where
    /// they are others than the project was made with. Does so once: to be called before either is used.
    ///
    /// # Errors
    /// On cancel.
    pub fn identify(&self, ctx: &Ctx) -> Result<(), Cancelled> {
        let known = &self.document.model.hash;
        let hash = self.subject.loaded.hash_within(ctx)?;
        if !known.is_empty() && known != hash {
            ctx.warn(
                self.document.model.path.clone(),
                "the model's file has changed since the project was made; older reports are about the old one",
            );
        }
        Ok(())
    }

    /// # Errors
    /// When there is nothing to run.
    fn require_graph(&self) -> Result<(), WorkError> {
        if self.subject.loaded.has_graph() {
            return Ok(());
        }
        Err(WorkError::NoGraph { path: self.subject.loaded.path.clone() })
    }

    /// # Errors
    /// When the recipe does not fit the model.
    pub fn plan(&self, recipe: &Recipe) -> Result<Plan, WorkError> {
        self.plan_for(recipe, None)
    }

    /// [`Opened::plan`] for a kind of file.
    ///
    /// # Errors
    /// When the recipe does not fit the model.
    pub fn plan_for(&self, recipe: &Recipe, file: Option<Format>) -> Result<Plan, WorkError> {
        let plan = configure::plan_for(recipe, &self.subject, file)?;
        let has_data = self.document.evaluate.is_some() || self.document.calibrate.is_some();
        Ok(if has_data { plan } else { plan.without_data() })
    }

    /// What a report of this recipe bears: it changes when what happens to a layer changes.
    #[must_use]
    pub fn recipe_key(&self, recipe: &Recipe) -> String {
        let treatments = configure::resolve(recipe, &self.subject).unwrap_or_default();
        let mut key = format!("{treatments:?} {}", self.subject.loaded.hash());
        if recipe.groups == Grouping::ProjectionsAndSums {
            key += " sums";
        }
        if recipe.allocation != Allocation::default() {
            key += &format!(" {:?}", recipe.allocation);
        }
        if recipe.equalize != Equalization::default() {
            key += " equalized";
        }
        if recipe.equalize == Equalization::LayersAndBiases {
            key += " absorbed";
        }
        if recipe.balance != Balance::default() {
            key += &format!(" {:?}", recipe.balance);
        }
        if treatments.iter().any(|t| t.importance != Importance::Alike) {
            key += &self.subject.importance_key;
        }
        of_bytes(key.as_bytes())
    }

    /// What a recipe's calibrated ranges come from: the key of the calibration data, or nothing where
    /// the recipe needs none.
    ///
    /// # Errors
    /// When the recipe does not fit the model, or the data cannot be read.
    pub fn calibration_key(&self, recipe: &Recipe, ctx: &Ctx) -> Result<String, WorkError> {
        if !self.plan(recipe)?.uses_calibration() {
            return Ok(String::new());
        }
        Ok(self.dataset(Split::Calibrate, None, ctx)?.key())
    }

    /// # Errors
    /// When the project has no data or it cannot be read, or the model has no graph to feed it to.
    pub fn dataset(&self, split: Split, limit: Option<usize>, ctx: &Ctx) -> Result<Dataset, WorkError> {
        self.require_graph()?;
        if let (Split::Calibrate, Some(calibrate), None) = (split, &self.document.calibrate, &self.document.evaluate) {
            let data = self.read_data(&calibrate.path, ctx)?;
            return Ok(limit.map_or_else(|| data.clone(), |limit| data.spread(limit)));
        }
        let evaluate = self.document.evaluate.as_ref().ok_or(WorkError::NoData)?;
        let data = match (split, &self.document.calibrate) {
            (Split::Calibrate, Some(calibrate)) => {
                if calibrate.path == evaluate.path {
                    ctx.warn("data", SAME_DATA);
                }
                self.read_data(&calibrate.path, ctx)?
            }
            (Split::Evaluate, Some(_)) | (Split::All, _) => self.read_data(&evaluate.path, ctx)?,
            (_, None) if self.document.hold_out == 0 => {
                if split == Split::Calibrate {
                    ctx.warn("data", SAME_DATA);
                }
                self.read_data(&evaluate.path, ctx)?
            }
            (_, None) => {
                let all = self.read_data(&evaluate.path, ctx)?;
                let every = self.document.hold_out.max(2);
                let wanted = (0..all.len()).filter(|i| i.is_multiple_of(every) == (split == Split::Calibrate)).collect();
                all.subset(wanted)
            }
        };
        Ok(limit.map_or_else(|| data.clone(), |limit| data.spread(limit)))
    }

    fn read_data(&self, path: &str, ctx: &Ctx) -> Result<Dataset, WorkError> {
        let input = self.subject.original.data_input().ok_or(EvaluateError::NoPorts)?;
        Ok(load::dataset(&place(&self.root, path), &self.document.preprocess, input, ctx)?)
    }

    /// The samples that calibrate; `None` without data.
    pub(super) fn samples(&self, ctx: &Ctx) -> Result<Option<Dataset>, CalibrateError> {
        match self.dataset(Split::Calibrate, None, ctx) {
            Ok(data) => Ok(Some(data)),
            Err(WorkError::NoData) => Ok(None),
            Err(WorkError::Load(error)) => Err(error.into()),
            Err(WorkError::Cancelled(error)) => Err(error.into()),
            Err(_) => Err(CalibrateError::NoInput),
        }
    }

    /// Statistics of wires from the cache, else from a pass over the calibration data; and whether
    /// they came from the cache. `None` without data.
    ///
    /// # Errors
    /// When the pass fails.
    pub fn statistics(&self, wires: &BTreeSet<Wire>, ctx: &Ctx) -> Result<Option<(Statistics, bool)>, CalibrateError> {
        self.statistics_of(&self.subject, wires, ctx)
    }

    /// [`Opened::statistics`] of the network as a recipe prepares it.
    fn statistics_of(
        &self,
        subject: &Subject,
        wires: &BTreeSet<Wire>,
        ctx: &Ctx,
    ) -> Result<Option<(Statistics, bool)>, CalibrateError> {
        let Some(data) = self.samples(ctx)? else { return Ok(None) };
        let path = self.statistics_file(subject, wires, &data, ctx)?;
        if let Some(cached) = std::fs::read_to_string(&path).ok().and_then(|text| Statistics::from_ron(&text)) {
            return Ok(Some((cached, true)));
        }
        let statistics = calibrate::run(&subject.folded, wires, &data, ctx)?;
        // A cache that cannot be written costs time next time, nothing else.
        if let Ok(text) = statistics.to_ron() {
            let saved =
                std::fs::create_dir_all(self.root.join("cache")).and_then(|()| write_atomically(&path, text.as_bytes(), false));
            if let Err(error) = saved {
                ctx.warn("cache", format!("statistics could not be kept for the next run: {error}"));
            }
        }
        Ok(Some((statistics, false)))
    }

    /// What an earlier pass over the calibration data saw on wires; `None` where there was none.
    #[must_use]
    pub fn seen(&self, wires: &BTreeSet<Wire>, ctx: &Ctx) -> Option<Statistics> {
        let data = self.samples(ctx).ok()??;
        let path = self.statistics_file(&self.subject, wires, &data, ctx).ok()?;
        Statistics::from_ron(&std::fs::read_to_string(path).ok()?)
    }

    fn statistics_file(
        &self,
        subject: &Subject,
        wires: &BTreeSet<Wire>,
        data: &Dataset,
        ctx: &Ctx,
    ) -> Result<PathBuf, Cancelled> {
        let model = format!("{}{}", subject.loaded.hash_within(ctx)?, subject.change_key);
        let key = calibrate::cache_key(&model, wires, data);
        Ok(self.root.join("cache").join(format!("statistics-{}.ron", &key[..24])))
    }

    /// # Errors
    /// When a layer cannot be compressed as planned.
    pub fn compress(&self, recipe: &Recipe, ctx: &Ctx) -> Result<(Plan, Variant), WorkError> {
        self.compress_for(recipe, None, ctx)
    }

    fn compress_for(&self, recipe: &Recipe, file: Option<Format>, ctx: &Ctx) -> Result<(Plan, Variant), WorkError> {
        let plan = self.plan_for(recipe, file)?;
        self.subject.loaded.check_values(ctx)?;
        say_refusals(&plan, ctx);
        let samples = |ctx: &Ctx| self.samples(ctx);
        let subject = compress::prepare(&plan, &self.subject, &samples, ctx)?;
        let source =
            |wires: &BTreeSet<Wire>, ctx: &Ctx| Ok(self.statistics_of(&subject, wires, ctx)?.map(|(statistics, _)| statistics));
        let variant = compress::run_on(&plan, &subject, &source, &samples, &Unfinished::of(&self.root), ctx)?;
        Ok((plan, variant))
    }

    /// Builds the variant and holds it against the original. The report is not saved.
    ///
    /// # Errors
    /// When compression or evaluation fails.
    pub fn evaluate(&self, recipe: &Recipe, split: Split, limit: Option<usize>, ctx: &Ctx) -> Result<Report, WorkError> {
        self.evaluate_in(Arithmetic::Simulated, recipe, split, limit, ctx)
    }

    /// [`Opened::evaluate`] in the arithmetic asked for.
    ///
    /// # Errors
    /// When compression or evaluation fails.
    pub fn evaluate_in(
        &self,
        arithmetic: Arithmetic,
        recipe: &Recipe,
        split: Split,
        limit: Option<usize>,
        ctx: &Ctx,
    ) -> Result<Report, WorkError> {
        self.require_graph()?;
        self.identify(ctx)?;
        let made = self.compress(recipe, ctx)?;
        let data = self.dataset(split, limit, ctx)?;
        self.evaluate_variant(arithmetic, recipe, &made, &data, split, ctx)
    }

    /// [`Opened::evaluate`] on samples of the evaluation data that the caller chooses.
    ///
    /// # Errors
    /// When compression or evaluation fails.
    pub fn evaluate_on(&self, recipe: &Recipe, data: &Dataset, ctx: &Ctx) -> Result<Report, WorkError> {
        self.identify(ctx)?;
        let made = self.compress(recipe, ctx)?;
        self.evaluate_variant(Arithmetic::Simulated, recipe, &made, data, Split::Evaluate, ctx)
    }

    fn evaluate_variant(
        &self,
        arithmetic: Arithmetic,
        recipe: &Recipe,
        (plan, variant): &(Plan, Variant),
        data: &Dataset,
        split: Split,
        ctx: &Ctx,
    ) -> Result<Report, WorkError> {
        let weight_sqnr_db: BTreeMap<String, f64> = variant.layers.iter().map(|l| (l.name.clone(), l.weight_sqnr_db)).collect();
        // Of a network that was equalized or lost channels the layers are held against what that made of them.
        let reference = if variant.unchanged { &self.subject.original } else { &variant.base };
        let layers: Vec<Layer> = plan.layers.iter().filter(|l| !l.is_left_out).map(|l| l.layer.clone()).collect();
        let subjects =
            Subjects { original: &self.subject.original, reference, variant: &variant.model, layers: &layers, weight_sqnr_db };
        let settings = Settings {
            recipe: recipe.name.clone(),
            recipe_key: self.recipe_key(recipe),
            model_hash: self.subject.loaded.hash_within(ctx)?.to_owned(),
            split: split.name().to_owned(),
            calibration_key: self.calibration_key(recipe, ctx)?,
            layer_samples: LAYER_SAMPLES,
            bytes: plan.bytes,
            bytes_original: plan.original_bytes,
            arithmetic,
        };
        let mut report = evaluate::run(&subjects, data, &settings, ctx)?;
        // Layers that were left out are not in the report.
        for layer in &mut report.layers {
            let made = variant.layers.iter().find(|made| made.name == layer.name);
            layer.steps = made.into_iter().flat_map(|made| &made.steps).map(step_error).collect();
        }
        Ok(report)
    }

    /// Holds an exported file against the project's model.
    ///
    /// # Errors
    /// When the file cannot be read or is another model.
    pub fn verify(&self, path: &Path, split: Split, limit: Option<usize>, ctx: &Ctx) -> Result<Report, WorkError> {
        let loaded = load::model(path, ctx)?;
        let data = self.dataset(split, limit, ctx)?;
        self.evaluate_file(&loaded, &data, split, ctx)
    }

    fn evaluate_file(&self, loaded: &LoadedModel, data: &Dataset, split: Split, ctx: &Ctx) -> Result<Report, WorkError> {
        let (own, file) = (&self.subject.original.outputs, &loaded.model.outputs);
        if own.len() != file.len() {
            return Err(WorkError::OtherModel { path: loaded.path.clone(), file: file.len(), own: own.len() });
        }
        // The kernels that run depend on what is known of shapes.
        let variant = infer_shapes(&loaded.model);
        let subjects = Subjects {
            original: &self.subject.original,
            reference: &self.subject.original,
            variant: &variant,
            layers: &[],
            weight_sqnr_db: BTreeMap::new(),
        };
        let name = loaded.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let settings = Settings {
            recipe: name,
            recipe_key: loaded.hash_within(ctx)?.to_owned(),
            model_hash: self.subject.loaded.hash_within(ctx)?.to_owned(),
            split: split.name().to_owned(),
            calibration_key: String::new(),
            layer_samples: 0,
            bytes: loaded.bytes,
            bytes_original: self.subject.loaded.bytes,
            arithmetic: Arithmetic::Simulated,
        };
        Ok(evaluate::run(&subjects, data, &settings, ctx)?)
    }
}

fn step_error(step: &Step) -> StepError {
    StepError { name: step.name.to_owned(), before: step.before, after: step.after, kept: step.kept }
}

/// Warns of what a recipe asks for and will not be done.
fn say_refusals(plan: &Plan, ctx: &Ctx) {
    for layer in &plan.layers {
        if let Some(reason) = &layer.refusal {
            ctx.warn(layer.layer.name.clone(), reason.clone());
        }
    }
}

/// Warnings as one line each.
#[must_use]
pub fn warning_lines(warnings: &[Warning]) -> Vec<String> {
    warnings.iter().map(ToString::to_string).collect()
}
