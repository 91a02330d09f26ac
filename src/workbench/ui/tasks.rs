//! The jobs of the window: what runs in the background and what comes back.

use super::bench::Bench;
use super::inspect::{LayerFacts, Treated, score_of, weights_of};
use super::losses::settings;
use super::pictures::{ErrorPicture, MOST_CELLS, SamplePicture};
use super::scores::Score;
use crate::engine::Ctx;
use crate::engine::kernels::summary::{rows_along, shrink};
use crate::engine::units;
use crate::pipeline::configure::{Recipe, Treatment};
use crate::pipeline::evaluate::Report;
use crate::pipeline::export::Exported;
use crate::pipeline::load::Dataset;
use crate::pipeline::search::goal::{self, Planner};
use crate::pipeline::search::sensitivity::{self, Method};
use crate::workbench::explore::{MapRequest, SearchRequest, Searched};
use crate::workbench::importance::{Importances, Question};
use crate::workbench::jobs::{JobId, Jobs};
use crate::workbench::project::{Project, write_atomically};
use crate::workbench::sample;
use crate::workbench::work::{self, NewProject, Opened, Split};
use rayon::prelude::*;
use std::path::PathBuf;
use std::sync::Arc;

pub const OPEN: &str = "open";
pub const SCORE: &str = "score";
pub const INSPECT: &str = "inspect";
pub const PICTURE: &str = "picture";
pub const SAMPLES: &str = "samples";
pub const EVALUATE: &str = "evaluate";
pub const LOSSES: &str = "losses";
pub const EXPORT: &str = "export";
pub const SEARCH: &str = "search";
pub const PAGE: &str = "page";
pub const IMPORTANCE: &str = "importance";

/// What the person asked for and waits for: its end is told.
pub const ASKED_FOR: [&str; 6] = [OPEN, EVALUATE, EXPORT, LOSSES, SEARCH, PAGE];

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
    ErrorRows {
        layer: usize,
        treatment: Treatment,
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
    Exported(String, Box<Exported>),
    Importance(Answered),
    Samples {
        total: usize,
        classes: Vec<String>,
        pictures: Vec<SamplePicture>,
    },
    Changed {
        classes: Vec<String>,
        pictures: Vec<SamplePicture>,
    },
    Nothing,
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

fn opened(project: Project, opened: Opened, ctx: &Ctx) -> Result<Found, String> {
    // The frames ask for the model's hash: it is found here, not in one of them.
    opened.identify(ctx).map_err(|e| e.to_string())?;
    let (reports, errors) = project.reports();
    for error in errors {
        ctx.warn("reports", error.to_string());
    }
    Ok(Found::Opened(Box::new(OpenedProject { project, opened, reports })))
}

/// Opens a project's folder.
pub fn open(jobs: &mut Jobs<Found>, path: PathBuf) -> JobId {
    jobs.submit(OPEN, format!("Open {}", path.display()), move |ctx, _| {
        let (project, found) = work::open(&path, ctx).map_err(|e| e.to_string())?;
        opened(project, found, ctx)
    })
}

/// Opens the sample, where the person's data live.
pub fn open_sample(jobs: &mut Jobs<Found>) -> JobId {
    jobs.submit(OPEN, "Open the sample", move |ctx, _| {
        let path = sample::install(None).map_err(|e| e.to_string())?;
        let (project, found) = work::open(&path, ctx).map_err(|e| e.to_string())?;
        opened(project, found, ctx)
    })
}

/// Makes a project and opens it.
pub fn create(jobs: &mut Jobs<Found>, root: PathBuf, new: NewProject) -> JobId {
    jobs.submit(OPEN, format!("Make {}", root.display()), move |ctx, _| {
        let (project, found) = work::init(&root, &new, ctx).map_err(|e| e.to_string())?;
        opened(project, found, ctx)
    })
}

/// Scores layers under treatments; what comes first in `wanted` comes first out.
pub fn score(jobs: &mut Jobs<Found>, bench: &Bench, wanted: Vec<(usize, Treatment)>) {
    let subject = bench.opened.subject.clone();
    jobs.submit(SCORE, "Score weight errors", move |ctx, post| {
        ctx.start("Weight errors by layer and width", wanted.len());
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
    jobs.submit(INSPECT, "Inspect a large layer", move |ctx, _| {
        let layer = subject.layers.get(index).ok_or("the layer is gone")?;
        ctx.start(format!("Reading {}", layer.name), 0);
        let facts = known.map_or_else(|| LayerFacts::new(&subject.folded, layer, index).map(Arc::new), Ok)?;
        ctx.check().map_err(|e| e.to_string())?;
        let treated = facts.treat(layer, &treatment);
        Ok(Found::Inspected(facts, Arc::new(treated)))
    });
}

/// Draws the error of the inspected layer's weights. The empty picture comes back at once.
pub fn picture(jobs: &mut Jobs<Found>, bench: &Bench) -> Option<ErrorPicture> {
    let (facts, treated) = (bench.facts.clone()?, bench.treated.clone()?);
    let layer = bench.layers().get(facts.index)?.clone();
    let (rows, columns) = (layer.out_channels().max(1), (facts.weights.len() / layer.out_channels().max(1)).max(1));
    let (tall, wide) = (rows.div_ceil(MOST_CELLS), columns.div_ceil(MOST_CELLS));
    let empty =
        ErrorPicture::new(facts.index, treated.treatment, rows.div_ceil(tall), columns.div_ceil(wide), 3.0 * treated.rms_error);
    jobs.submit(PICTURE, format!("Weight error of {}", layer.name), move |ctx, post| {
        let error: Vec<f32> = facts.weights.iter().zip(treated.approximate.iter()).map(|(w, a)| w - a).collect();
        let error = rows_along(&error, &layer.shape, layer.out_axis);
        ctx.start("Drawing", rows.div_ceil(tall));
        for (band, chunk) in error.chunks(columns * tall * BAND).enumerate() {
            ctx.check().map_err(|e| e.to_string())?;
            let lines = chunk.len() / columns;
            let (cells, shrunk, _) = shrink(chunk, lines, columns, lines.div_ceil(tall), columns.div_ceil(wide));
            post.part(Found::ErrorRows { layer: facts.index, treatment: treated.treatment, first_row: band * BAND, cells });
            ctx.advance(shrunk);
        }
        Ok(Found::Nothing)
    });
    Some(empty)
}

/// Measures a recipe on the evaluation data.
pub fn evaluate(jobs: &mut Jobs<Found>, bench: &Bench, recipe: Arc<Recipe>) {
    let (opened, project) = (bench.opened.clone(), bench.project.clone());
    jobs.submit(EVALUATE, format!("Evaluate {}", recipe.name), move |ctx, _| {
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
    jobs.submit(LOSSES, "Measure layer losses", move |ctx, post| {
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
    jobs.submit(SEARCH, format!("Search: {}", request.goal), move |ctx, post| {
        let mut told = |found: &goal::Found| {
            if let goal::Found::Best(best) = found {
                let kl = best.measured.map_or_else(|| "not finite".to_owned(), |v| format!("{:.5}", v.kl.value));
                post.part(Found::News(format!("Best so far: {}, KL {kl}", units::bytes(best.bytes))));
            }
        };
        let found = opened.search(&request, ctx, &mut told).map_err(|e| e.to_string())?;
        Ok(Found::Searched(Box::new(found)))
    });
}

/// Finds out what a layer's weights or channels count.
pub fn importance(jobs: &mut Jobs<Found>, bench: &Bench, layer: usize, question: Question) {
    let opened = bench.opened.clone();
    jobs.submit(IMPORTANCE, format!("Importance by {}", question.name()), move |ctx, _| {
        let answer = opened.importance(layer, question, ctx);
        // To be cancelled is no answer.
        ctx.check().map_err(|e| e.to_string())?;
        Ok(Found::Importance(Answered { layer, question, answer: answer.map_err(|e| e.to_string()) }))
    });
}

/// Writes one page about `reports`.
pub fn page(jobs: &mut Jobs<Found>, bench: &Bench, reports: Vec<Arc<Report>>, path: PathBuf) {
    let opened = bench.opened.clone();
    jobs.submit(PAGE, format!("Write {}", path.display()), move |ctx, _| {
        ctx.start("Writing the page", 0);
        let all: Vec<&Report> = reports.iter().map(AsRef::as_ref).collect();
        let limit = all.first().map(|r| r.samples);
        let text = opened.page(&all, Split::Evaluate, limit, ctx).map_err(|e| e.to_string())?;
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| format!("{} cannot be made: {e}", folder.display()))?;
        }
        write_atomically(&path, text.as_bytes(), false).map_err(|e| format!("{} cannot be written: {e}", path.display()))?;
        Ok(Found::Nothing)
    });
}

/// Writes a recipe's model as a file.
pub fn export(jobs: &mut Jobs<Found>, bench: &Bench, recipe: Arc<Recipe>, out: PathBuf) {
    let opened = bench.opened.clone();
    jobs.submit(EXPORT, format!("Export {}", recipe.name), move |ctx, _| {
        let exported = opened.export(&recipe, &out, ctx).map_err(|e| e.to_string())?;
        Ok(Found::Exported(opened.recipe_key(&recipe), Box::new(exported)))
    });
}

/// Some samples of the evaluation data, spread evenly.
pub fn samples(jobs: &mut Jobs<Found>, bench: &Bench) {
    let opened = bench.opened.clone();
    jobs.submit(SAMPLES, "Read samples", move |ctx, _| {
        let data = opened.dataset(Split::All, None, ctx).map_err(|e| e.to_string())?;
        let total = data.len();
        let shown = total.min(SHOWN_SAMPLES);
        let places: Vec<usize> = (0..shown).map(|i| i * total / shown).collect();
        Ok(Found::Samples { total, classes: class_names(&data), pictures: pictures(&data, &places, ctx)? })
    });
}

/// The samples at these places of the evaluation data, of which `samples` were evaluated.
pub fn changed(jobs: &mut Jobs<Found>, bench: &Bench, places: Vec<usize>, samples: Option<usize>) {
    let opened = bench.opened.clone();
    jobs.submit(SAMPLES, "Read changed samples", move |ctx, _| {
        let data = opened.dataset(Split::Evaluate, samples, ctx).map_err(|e| e.to_string())?;
        Ok(Found::Changed { classes: class_names(&data), pictures: pictures(&data, &places, ctx)? })
    });
}

fn class_names(data: &Dataset) -> Vec<String> {
    data.classes.clone()
}

fn pictures(data: &Dataset, places: &[usize], ctx: &Ctx) -> Result<Vec<SamplePicture>, String> {
    ctx.start("Reading pictures", places.len());
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
