//! The jobs of the window: what runs in the background and what comes back.

use super::bench::{Bench, DataKeys};
use super::exporting::Written;
use super::inspect::{LayerFacts, Treated, score_of, weights_of};
use super::losses::settings;
use super::maps::Asked;
use super::network::{Drawn, Network};
use super::pictures::{Lens, SamplePicture, Sight, WeightPicture};
use super::scores::Score;
use super::terms;
use super::text::{speak, spoken, tr};
use crate::engine::Ctx;
use crate::engine::kernels::summary::rows_along;
use crate::engine::units;
use crate::pipeline::compress::Variant;
use crate::pipeline::configure::{FileFormat, Recipe, Treatment};
use crate::pipeline::evaluate::Report;
use crate::pipeline::load::{self, Dataset, Preprocess};
use crate::pipeline::search::goal::{self, Planner};
use crate::pipeline::search::sensitivity::{self, Method};
use crate::workbench::activations::Activation;
use crate::workbench::explore::{MapRequest, SearchRequest, Searched, parted};
use crate::workbench::importance::{Importances, Question};
use crate::workbench::jobs::{JobId, Jobs, Post};
use crate::workbench::preflight::Finding;
use crate::workbench::project::{Data, Moved, Project, write_atomically};
use crate::workbench::sample;
use crate::workbench::work::{self, NewProject, Opened, Split};
use crate::workbench::zipped::zipped;
use rayon::prelude::*;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

pub const OPEN: &str = "open";
pub const SCORE: &str = "score";
pub const INSPECT: &str = "inspect";
pub const PICTURE: &str = "picture";
pub const SIGHT: &str = "sight";
pub const SAMPLES: &str = "samples";
pub const EVALUATE: &str = "evaluate";
pub const LOSSES: &str = "losses";
pub const EXPORT: &str = "export";
pub const SEARCH: &str = "search";
pub const PAGE: &str = "page";
pub const ZIP: &str = "zip";
pub const LOOK: &str = "look";
pub const NETWORK: &str = "network";
pub const IMPORTANCE: &str = "importance";
pub const ACTIVATION: &str = "activation";
pub const PREFLIGHT: &str = "preflight";
pub const DATA: &str = "data";
pub const DATA_KEYS: &str = "data-keys";

/// What the person asked for and waits for: its end is told.
pub const ASKED_FOR: [&str; 7] = [OPEN, LOOK, EVALUATE, EXPORT, LOSSES, SEARCH, PAGE];

/// What works on the project's data.
pub const ON_DATA: [&str; 8] = [EVALUATE, LOSSES, SEARCH, IMPORTANCE, ACTIVATION, PREFLIGHT, SAMPLES, DATA_KEYS];

/// Pictures shown of a data set.
const SHOWN_SAMPLES: usize = 24;
/// Treatments of a layer that are scored between two looks at whether the job is still wanted.
const AT_ONCE: usize = 8;
/// Samples that the losses of layers are measured on at most.
pub const LOSS_SAMPLES: usize = 256;
/// Rows of an error picture that are handed over at a time.
const BAND: usize = 32;

/// What a job finds.
pub enum Found {
    Opened(Box<OpenedProject>),
    Scores(Vec<(usize, Treatment, Score)>),
    Inspected(Arc<LayerFacts>, Arc<Treated>),
    WeightRows {
        layer: usize,
        treatment: Treatment,
        lens: Lens,
        first_row: usize,
        cells: Vec<f32>,
    },
    Report(Box<Report>),
    /// What a layer loses under a treatment, alone.
    Loss(usize, Treatment, Box<sensitivity::Scores>),
    Planned(Arc<Planner>),
    /// What a long job has found so far, in words.
    News(String),
    Searched(Box<Searched>),
    Exported(Box<Written>),
    /// Bytes of the model's file, zipped.
    Zipped(u64),
    Importance(Answered),
    Activation(Box<Activated>),
    /// Other data for the project, which was looked at.
    Data(Box<Data>),
    /// What reports on the project's evaluation data bear.
    DataKeys(DataKeys),
    /// Of a recipe, by its name.
    Preflight(String, Vec<Finding>),
    /// A project whose file is not where it was.
    Moved(Moved),
    Network(Box<Drawn>),
    /// A file that is a model: where, and what is in it.
    Model(PathBuf, String),
    Samples {
        total: usize,
        classes: Vec<String>,
        pictures: Vec<SamplePicture>,
    },
    Changed {
        /// What the reports bear that they were changed in.
        data_key: String,
        classes: Vec<String>,
        pictures: Vec<SamplePicture>,
    },
    Nothing,
}

impl Found {
    /// Whether it says nothing about other data than those that it was found on.
    #[must_use]
    pub fn hangs_on_data(&self) -> bool {
        let is_measured = matches!(self, Self::Loss(..) | Self::Planned(_) | Self::Importance(_) | Self::Activation(_));
        let is_seen = matches!(self, Self::Samples { .. } | Self::Changed { .. } | Self::Preflight(..) | Self::DataKeys(_));
        is_measured || is_seen
    }
}

/// What a layer gives for a sample, and the network that it was taken from.
pub struct Activated {
    pub asked: Asked,
    pub answer: Result<Activation, String>,
    pub variant: Arc<Variant>,
}

/// What was asked of a layer's importance, and the answer or why there is none.
pub struct Answered {
    pub layer: usize,
    pub question: Question,
    pub answer: Result<Importances, String>,
}

pub struct OpenedProject {
    pub project: Project,
    pub opened: Opened,
    pub reports: Vec<Report>,
}

/// Queues a job, which speaks the language that the window speaks now.
fn submit(
    jobs: &mut Jobs<Found>,
    kind: &'static str,
    title: impl Into<String>,
    work: impl FnOnce(&Ctx, &Post<Found>) -> Result<Found, String> + Send + 'static,
) -> JobId {
    let language = spoken();
    jobs.submit(kind, title, move |ctx, post| {
        speak(language);
        work(ctx, post)
    })
}

fn opened(project: Project, opened: Opened, ctx: &Ctx) -> Result<Found, String> {
    // The frames ask for the model's hash: it is found here, not in one of them.
    opened.identify(ctx).map_err(|e| e.to_string())?;
    let (reports, errors) = project.reports();
    for error in errors {
        ctx.warn(tr!("app-reports"), error.to_string());
    }
    Ok(Found::Opened(Box::new(OpenedProject { project, opened, reports })))
}

/// Opens a project's folder.
pub fn open(jobs: &mut Jobs<Found>, path: PathBuf) -> JobId {
    submit(jobs, OPEN, tr!("job-open", path = path.display().to_string()), move |ctx, _| {
        // A project that cannot be read says so below.
        if let Ok((project, document)) = Project::open(&path)
            && let Some(moved) = Moved::of(&project, &document)
        {
            return Ok(Found::Moved(moved));
        }
        let (project, found) = work::open(&path, ctx).map_err(|e| e.to_string())?;
        opened(project, found, ctx)
    })
}

/// Looks whether a file is a model.
pub fn look(jobs: &mut Jobs<Found>, path: PathBuf) {
    let name = path.file_name().map_or_else(|| path.display().to_string(), |n| n.to_string_lossy().into_owned());
    submit(jobs, LOOK, tr!("job-look", file = name), move |ctx, _| {
        let loaded = load::model(&path, ctx).map_err(|e| tr!("job-no-model", error = e.to_string()))?;
        let (weights, bytes) = (units::count(loaded.model.parameters()), units::bytes(loaded.bytes));
        let format = loaded.format.name();
        let words = match loaded.model.nodes.len() {
            0 => tr!("job-model-weights", format = format, weights = weights, bytes = bytes),
            nodes => tr!("job-model-network", format = format, nodes = nodes, weights = weights, bytes = bytes),
        };
        Ok(Found::Model(path, words))
    });
}

/// Opens the sample, where the person's data live.
pub fn open_sample(jobs: &mut Jobs<Found>) -> JobId {
    submit(jobs, OPEN, tr!("job-open-sample"), move |ctx, _| {
        let path = sample::install(None).map_err(|e| e.to_string())?;
        let (project, found) = work::open(&path, ctx).map_err(|e| e.to_string())?;
        opened(project, found, ctx)
    })
}

/// Makes a project and opens it.
pub fn create(jobs: &mut Jobs<Found>, root: PathBuf, new: NewProject) -> JobId {
    submit(jobs, OPEN, tr!("job-create", path = root.display().to_string()), move |ctx, _| {
        let (project, found) = work::init(&root, &new, ctx).map_err(|e| e.to_string())?;
        opened(project, found, ctx)
    })
}

/// Scores layers under treatments; what comes first in `wanted` comes first out.
pub fn score(jobs: &mut Jobs<Found>, bench: &Bench, wanted: Vec<(usize, Treatment)>) {
    let subject = bench.opened.subject.clone();
    submit(jobs, SCORE, tr!("job-score"), move |ctx, post| {
        ctx.start(tr!("job-step-scoring"), wanted.len());
        let mut rest = wanted.as_slice();
        while let Some(&(index, _)) = rest.first() {
            ctx.check().map_err(|e| e.to_string())?;
            let count = rest.iter().take_while(|(i, _)| *i == index).count().min(AT_ONCE);
            let (group, after) = rest.split_at(count);
            rest = after;
            let Some(layer) = subject.layers.get(index) else { continue };
            let weights = weights_of(&subject.folded, layer)?;
            let found = ctx.pool().install(|| group.par_iter().map(|(_, t)| (index, *t, score_of(&weights, layer, t))).collect());
            post.part(Found::Scores(found));
            ctx.advance(count);
        }
        Ok(Found::Nothing)
    });
}

/// Works out what the inspector shows of a layer that is too large for a frame.
pub fn inspect(jobs: &mut Jobs<Found>, bench: &Bench, index: usize, treatment: Treatment) {
    let subject = bench.opened.subject.clone();
    let known = bench.facts.clone().filter(|f| f.index == index);
    submit(jobs, INSPECT, tr!("job-inspect"), move |ctx, _| {
        let layer = subject.layers.get(index).ok_or_else(|| tr!("job-no-layer").to_owned())?;
        ctx.start(tr!("job-step-reading-layer", layer = &layer.name), 0);
        let facts = known.map_or_else(|| LayerFacts::new(&subject.folded, layer, index).map(Arc::new), Ok)?;
        ctx.check().map_err(|e| e.to_string())?;
        let treated = facts.treat(layer, &treatment);
        Ok(Found::Inspected(facts, Arc::new(treated)))
    });
}

/// Draws a part of the inspected layer's weights. The empty picture comes back at once.
pub fn picture(jobs: &mut Jobs<Found>, bench: &Bench, kind: &'static str, lens: Lens) -> Option<WeightPicture> {
    let (facts, treated) = (bench.facts.clone()?, bench.treated.clone()?);
    let layer = bench.layers().get(facts.index)?.clone();
    let width = facts.columns();
    let range = match lens.sight {
        Sight::Difference => 3.0 * treated.rms_error,
        _ => facts.high.max(-facts.low),
    };
    let empty = WeightPicture::new(facts.index, treated.treatment, lens, range);
    submit(jobs, kind, tr!("job-picture", layer = &layer.name), move |ctx, post| {
        let rows = |values: &[f32]| rows_along(values, &layer.shape, layer.out_axis);
        let (before, after) = (rows(&facts.weights), rows(&treated.approximate));
        let (tall, wide) = lens.step();
        let (first, last) = lens.rows;
        ctx.start(tr!("job-step-drawing"), last - first);
        for (band, from) in (first..last).step_by(tall * BAND).enumerate() {
            ctx.check().map_err(|e| e.to_string())?;
            let part = (from, (from + tall * BAND).min(last));
            let cells = cells_of((&before, &after), width, &Lens { rows: part, ..lens }, (tall, wide));
            post.part(Found::WeightRows {
                layer: facts.index,
                treatment: treated.treatment,
                lens,
                first_row: band * BAND,
                cells,
            });
            ctx.advance(part.1 - part.0);
        }
        Ok(Found::Nothing)
    });
    Some(empty)
}

/// A cell for every `tall` rows and `wide` columns: the value largest in magnitude; of weights that are left their
/// share.
fn cells_of((before, after): (&[f32], &[f32]), width: usize, lens: &Lens, (tall, wide): (usize, usize)) -> Vec<f32> {
    let ((top, bottom), (left, right)) = (lens.rows, lens.columns);
    let value = |row: usize, column: usize| {
        let at = row * width + column;
        lens.sight.value(before.get(at).copied().unwrap_or(0.0), after.get(at).copied().unwrap_or(0.0))
    };
    let mut cells = Vec::new();
    for row in (top..bottom).step_by(tall) {
        for column in (left..right).step_by(wide) {
            let places = (row..(row + tall).min(bottom)).flat_map(|r| (column..(column + wide).min(right)).map(move |c| (r, c)));
            let values = places.map(|(r, c)| value(r, c));
            cells.push(if lens.sight == Sight::Kept {
                let (sum, count) = values.fold((0.0, 0.0), |(sum, count): (f32, f32), v| (sum + v, count + 1.0));
                sum / count
            } else {
                values.fold(0.0, |most: f32, v| if v.abs() > most.abs() { v } else { most })
            });
        }
    }
    cells
}

/// Measures a recipe on the evaluation data.
pub fn evaluate(jobs: &mut Jobs<Found>, bench: &Bench, recipe: Arc<Recipe>) {
    let (opened, project) = (bench.opened.clone(), bench.project.clone());
    submit(jobs, EVALUATE, tr!("job-evaluate", recipe = &recipe.name), move |ctx, _| {
        let report = opened.evaluate(&recipe, Split::Evaluate, None, ctx).map_err(|e| e.to_string())?;
        project.add_report(&report).map_err(|e| e.to_string())?;
        Ok(Found::Report(Box::new(report)))
    });
}

/// Measures what each layer loses alone at every width of the heat map, then all best plans. What was measured
/// before comes from the project's cache.
pub fn losses(jobs: &mut Jobs<Found>, bench: &Bench) {
    let opened = bench.opened.clone();
    let base = bench.active().map_or(Treatment::UNCHANGED, |p| p.recipe.default);
    submit(jobs, LOSSES, tr!("job-losses"), move |ctx, post| {
        let settings = settings(&base);
        let request =
            MapRequest { method: Method::Exact, settings: settings.clone(), split: Split::Calibrate, limit: LOSS_SAMPLES };
        let mut told = |cell: &sensitivity::Cell| {
            if let Some(setting) = settings.get(cell.setting) {
                post.part(Found::Loss(cell.layer, setting.treatment, Box::new(cell.scores.clone())));
            }
        };
        let map = opened.sensitivity(&request, ctx, &mut told).map_err(|e| e.to_string())?;
        Ok(Found::Planned(Arc::new(opened.planner(&map, base.activations, ctx).map_err(|e| e.to_string())?)))
    });
}

/// Searches for a recipe. What is best when the person stops it is kept.
pub fn search(jobs: &mut Jobs<Found>, bench: &Bench, request: SearchRequest) {
    let opened = bench.opened.clone();
    submit(jobs, SEARCH, tr!("job-search", goal = request.goal.to_string()), move |ctx, post| {
        let mut told = |found: &goal::Found| {
            if let goal::Found::Best(best) = found {
                let kl = best.measured.map_or_else(|| tr!("job-not-finite").to_owned(), |v| format!("{:.5}", v.kl.value));
                post.part(Found::News(tr!("job-best", bytes = units::bytes(best.bytes), kl = kl)));
            }
        };
        let found = opened.search(&request, ctx, &mut told).map_err(|e| e.to_string())?;
        Ok(Found::Searched(Box::new(found)))
    });
}

/// Finds out what a layer's weights or channels count.
pub fn importance(jobs: &mut Jobs<Found>, bench: &Bench, layer: usize, question: Question) {
    let opened = bench.opened.clone();
    submit(jobs, IMPORTANCE, tr!("job-importance", question = terms::question(question)), move |ctx, _| {
        let answer = opened.importance(layer, question, ctx);
        // To be cancelled is no answer.
        ctx.check().map_err(|e| e.to_string())?;
        Ok(Found::Importance(Answered { layer, question, answer: answer.map_err(|e| e.to_string()) }))
    });
}

/// Runs a sample through both networks, up to a layer. The compressed one is built where it is not there yet.
pub fn activation(jobs: &mut Jobs<Found>, bench: &Bench, asked: Asked) {
    let Some(recipe) = bench.active().map(|p| Arc::clone(&p.recipe)) else { return };
    let opened = bench.opened.clone();
    let known = bench.built.clone().filter(|(key, _)| *key == asked.recipe_key);
    submit(jobs, ACTIVATION, tr!("job-activation"), move |ctx, _| {
        let variant = match known {
            Some((_, variant)) => variant,
            None => Arc::new(opened.compress(&recipe, ctx).map_err(|e| e.to_string())?.1),
        };
        let answer = opened.activation(&variant, asked.layer, asked.sample, ctx);
        // To be cancelled is no answer.
        ctx.check().map_err(|e| e.to_string())?;
        Ok(Found::Activation(Box::new(Activated { asked, answer: answer.map_err(|e| e.to_string()), variant })))
    });
}

/// Finds out what is to be said of the active recipe before it is run.
pub fn preflight(jobs: &mut Jobs<Found>, bench: &Bench) {
    let Some(recipe) = bench.active().map(|p| Arc::clone(&p.recipe)) else { return };
    let (opened, reports) = (bench.opened.clone(), bench.reports.clone());
    let name = bench.document().active.clone();
    submit(jobs, PREFLIGHT, tr!("job-preflight"), move |ctx, _| {
        ctx.start(String::new(), 0);
        let reports: Vec<&Report> = reports.iter().map(AsRef::as_ref).collect();
        let found = opened.preflight(&recipe, &reports, ctx);
        ctx.check().map_err(|e| e.to_string())?;
        Ok(Found::Preflight(name, found))
    });
}

/// Writes one page about `reports`.
pub fn page(jobs: &mut Jobs<Found>, bench: &Bench, reports: Vec<Arc<Report>>, path: PathBuf) {
    let opened = bench.opened.clone();
    submit(jobs, PAGE, tr!("job-page", path = path.display().to_string()), move |ctx, _| {
        ctx.start(tr!("job-step-writing-page"), 0);
        let all: Vec<&Report> = reports.iter().map(AsRef::as_ref).collect();
        let limit = all.first().map(|r| r.samples);
        let text = opened.page(&all, Split::Evaluate, limit, ctx).map_err(|e| e.to_string())?;
        make_folder_of(&path)?;
        let failed = |e: std::io::Error| tr!("job-not-written", path = path.display().to_string(), error = e.to_string());
        write_atomically(&path, text.as_bytes(), false).map_err(failed)?;
        Ok(Found::Nothing)
    });
}

/// Makes the folder that a file is to lie in.
fn make_folder_of(file: &Path) -> Result<(), String> {
    let Some(folder) = file.parent() else { return Ok(()) };
    let failed = |e: std::io::Error| tr!("job-no-folder", path = folder.display().to_string(), error = e.to_string());
    std::fs::create_dir_all(folder).map_err(failed)
}

/// Writes a recipe's model as a file.
pub fn export(jobs: &mut Jobs<Found>, bench: &Bench, recipe: Arc<Recipe>, format: FileFormat, out: PathBuf) {
    let opened = bench.opened.clone();
    submit(jobs, EXPORT, tr!("job-export", recipe = &recipe.name, format = format.name()), move |ctx, _| {
        make_folder_of(&out)?;
        let exported = opened.export_as(format, &recipe, &out, ctx).map_err(|e| e.to_string())?;
        Ok(Found::Exported(Box::new(Written { key: opened.recipe_key(&recipe), format, exported })))
    });
}

/// Draws the network with blocks closed; where none are named, those that should be at first.
pub fn network(jobs: &mut Jobs<Found>, bench: &Bench, closed: Option<BTreeSet<usize>>) {
    let subject = bench.opened.subject.clone();
    let known = bench.network.as_ref().map(|d| Arc::clone(&d.network));
    submit(jobs, NETWORK, tr!("job-network"), move |ctx, _| {
        ctx.start(tr!("job-step-drawing"), 0);
        let network = known.map_or_else(|| Network::of(&subject).map(Arc::new).map_err(|e| e.to_string()), Ok)?;
        ctx.check().map_err(|e| e.to_string())?;
        Ok(Found::Network(Box::new(Drawn::new(network, closed))))
    });
}

/// How small zip makes the model's file.
pub fn zip(jobs: &mut Jobs<Found>, bench: &Bench) {
    let loaded = &bench.opened.subject.loaded;
    let files: Vec<PathBuf> = std::iter::once(&loaded.path).chain(&loaded.externals).cloned().collect();
    submit(jobs, ZIP, tr!("job-zip"), move |ctx, _| {
        let sizes = files.iter().map(|file| zipped(file, ctx).map_err(|e| e.to_string()));
        Ok(Found::Zipped(sizes.sum::<Result<u64, String>>()?))
    });
}

/// Looks whether the project can have other data.
pub fn data(
    jobs: &mut Jobs<Found>,
    bench: &Bench,
    evaluate: Option<PathBuf>,
    calibrate: Option<PathBuf>,
    preprocess: Preprocess,
) -> JobId {
    let opened = bench.opened.clone();
    submit(jobs, DATA, tr!("job-data"), move |ctx, _| {
        let data = opened.data_from(evaluate.as_deref(), calibrate.as_deref(), &preprocess, ctx);
        Ok(Found::Data(Box::new(data.map_err(|e| e.to_string())?)))
    })
}

/// Finds out what reports on the project's data bear.
pub fn data_keys(jobs: &mut Jobs<Found>, bench: &Bench) {
    let opened = bench.opened.clone();
    let counts: BTreeSet<usize> = bench.reports.iter().map(|r| r.samples).collect();
    submit(jobs, DATA_KEYS, tr!("job-data-keys"), move |ctx, _| {
        let evaluation = measured_parts(&opened, counts, ctx)?.iter().map(Dataset::key).collect();
        let calibration = opened.dataset(Split::Calibrate, None, ctx).iter().map(Dataset::key).collect();
        Ok(Found::DataKeys(DataKeys { evaluation, calibration }))
    });
}

/// What of the evaluation data may have been measured: all of them, so many of them, what a search leaves.
fn measured_parts(opened: &Opened, counts: impl IntoIterator<Item = usize>, ctx: &Ctx) -> Result<Vec<Dataset>, String> {
    let data = opened.dataset(Split::Evaluate, None, ctx).map_err(|e| e.to_string())?;
    let fewer = counts.into_iter().filter(|n| *n < data.len()).map(|n| data.spread(n));
    Ok([data.clone(), parted(&data).1].into_iter().chain(fewer).collect())
}

/// Some samples of the evaluation data, spread evenly.
pub fn samples(jobs: &mut Jobs<Found>, bench: &Bench) {
    let opened = bench.opened.clone();
    submit(jobs, SAMPLES, tr!("job-samples"), move |ctx, _| {
        let data = opened.dataset(Split::All, None, ctx).map_err(|e| e.to_string())?;
        let total = data.len();
        let shown = total.min(SHOWN_SAMPLES);
        let places: Vec<usize> = (0..shown).map(|i| i * total / shown).collect();
        Ok(Found::Samples { total, classes: class_names(&data), pictures: pictures(&data, &places, ctx)? })
    });
}

/// The samples at these places of what a report was measured on; none where the data are others now.
pub fn changed(jobs: &mut Jobs<Found>, bench: &Bench, places: Vec<usize>, report: &Report) {
    let (opened, data_key, samples) = (bench.opened.clone(), report.data_key.clone(), report.samples);
    submit(jobs, SAMPLES, tr!("job-changed"), move |ctx, _| {
        let parts = measured_parts(&opened, [samples], ctx)?;
        let (classes, pictures) = match parts.iter().find(|data| data.key() == data_key) {
            Some(data) => (class_names(data), pictures(data, &places, ctx)?),
            None => (Vec::new(), Vec::new()),
        };
        Ok(Found::Changed { data_key, classes, pictures })
    });
}

fn class_names(data: &Dataset) -> Vec<String> {
    data.classes.clone()
}

fn pictures(data: &Dataset, places: &[usize], ctx: &Ctx) -> Result<Vec<SamplePicture>, String> {
    ctx.start(tr!("job-step-reading-pictures"), places.len());
    let mut found = Vec::with_capacity(places.len());
    for &sample in places.iter().filter(|&&p| p < data.len()) {
        ctx.check().map_err(|e| e.to_string())?;
        let picture = data.picture(sample).map_err(|e| e.to_string())?;
        let label = data.labels.as_ref().and_then(|l| l.get(sample).copied());
        found.push(SamplePicture { sample, label, width: picture.width, height: picture.height, rgb: picture.rgb });
        ctx.advance(1);
    }
    Ok(found)
}
