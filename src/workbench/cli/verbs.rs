//! One function per verb: calls the work, shapes the answer.

use super::args::{Bench, Common, Compare, Evaluate, Export, Init, OfRecipe, Pictures, Samples, Verb, Verify};
use super::output::Document;
use super::{CliError, bench, explore, show};
use crate::engine::Ctx;
use crate::engine::exec::Arithmetic;
use crate::pipeline::configure::ConfigureError;
use crate::pipeline::configure::Recipe;
use crate::pipeline::evaluate::Report;
use crate::pipeline::export::{self, Format, runtimes};
use crate::pipeline::load;
use crate::workbench::conformance;
use crate::workbench::project::{Project, check_name, write_atomically};
use crate::workbench::sample;
use crate::workbench::work::{self, NewProject, Opened, Split, Writing};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

pub(super) type Answer = Result<Document, CliError>;

pub(super) fn run(verb: Verb, common: &Common, ctx: &Ctx) -> Answer {
    match verb {
        Verb::Ui { .. } => Err(CliError::Usage("the window is opened before the work starts".to_owned())),
        Verb::Init(init) => initialize(init, ctx),
        Verb::Inspect { file, graph } => inspect(&file, graph.as_deref(), ctx),
        Verb::Plan { of, format, runtime } => plan(&of, format.map(Format::from), runtime.as_deref(), ctx),
        Verb::Calibrate(of) => calibrate(&of, ctx),
        Verb::Compress(of) => compress(&of, ctx),
        Verb::Evaluate(evaluate) => evaluate_recipe(&evaluate, ctx),
        Verb::Sensitivity(sensitivity) => explore::sensitivity(&sensitivity, ctx),
        Verb::Search(search) => explore::search(&search, ctx),
        Verb::Cost { of, check } => explore::cost(&of, check, ctx),
        Verb::Compare(compare) => compare_recipes(&compare, ctx),
        Verb::Export(export) => export_recipe(&export, ctx),
        Verb::Unpack { archive, out } => Ok(show::exported(&work::unpack(&archive, &out, ctx)?)),
        Verb::Verify(verify) => verify_file(&verify, ctx),
        Verb::Run { project, again } => run_project(project, again, ctx),
        Verb::Bench(Bench::Forward { file, batch, seconds, arithmetic }) => {
            forward(&file, batch, seconds, arithmetic.into(), ctx)
        }
        Verb::Bench(Bench::Conformance { path }) => conformance(&path, ctx),
        Verb::Sample { out } => train_sample(&out, common.seed.unwrap_or(sample::SEED), ctx),
    }
}

#[cfg(feature = "gui")]
pub(super) fn window(project: Option<PathBuf>, pictures: Option<Pictures>, common: &Common) -> Result<(), CliError> {
    use crate::workbench::ui::{self, Look, text::Language};
    let failed = |e: &dyn std::fmt::Display| CliError::Failed(e.to_string());
    match pictures {
        None => ui::run(project, common.threads).map_err(|e| failed(&e)),
        Some(Pictures { folder, size, language }) => {
            let project = match project {
                Some(project) => project,
                None => sample::install(None).map_err(|e| failed(&e))?,
            };
            let look = Look { size: size.map(f32::from), language: Language::of_tag(&language), ..Look::default() };
            let files = ui::screenshots(&project, &folder, look, common.threads).map_err(|e| failed(&e))?;
            let names: Vec<String> = files.iter().map(|f| f.display().to_string()).collect();
            let document = Document { text: names.join("\n") + "\n", json: serde_json::json!({ "screenshots": names }) };
            super::printed(super::output::print(&document, common.json))
        }
    }
}

#[cfg(not(feature = "gui"))]
pub(super) fn window(_: Option<PathBuf>, _: Option<Pictures>, _: &Common) -> Result<(), CliError> {
    Err(CliError::Usage("this build has no window (it was built without the `gui` feature); see `lapidary --help`".to_owned()))
}

/// A recipe of the project, a preset, or a file.
pub(super) fn recipe(opened: &Opened, name: &str) -> Result<Arc<Recipe>, CliError> {
    let path = Path::new(name);
    if path.extension().is_some_and(|e| e == "ron") {
        let text = std::fs::read_to_string(path).map_err(|source| work::WorkError::Io { path: path.to_path_buf(), source })?;
        let recipe = Recipe::from_ron(&text, name)?;
        check_name(&recipe.name).map_err(|e| CliError::Failed(format!("recipe {name}: {e}")))?;
        return Ok(Arc::new(recipe));
    }
    Ok(opened.document.recipe(name)?)
}

fn initialize(init: Init, ctx: &Ctx) -> Answer {
    let new = NewProject {
        model: init.model,
        graph: init.graph,
        evaluate: init.evaluate,
        calibrate: init.calibrate,
        importance: init.importance,
        preprocess: init.preprocess.settings(),
    };
    let (project, opened) = work::init(&init.folder, &new, ctx)?;
    let samples = match opened.dataset(Split::Evaluate, None, ctx) {
        Ok(data) => data.len(),
        Err(work::WorkError::NoData | work::WorkError::NoGraph { .. }) => 0,
        Err(error) => return Err(error.into()),
    };
    Ok(show::project(project.root(), &opened, samples))
}

fn inspect(file: &Path, graph: Option<&Path>, ctx: &Ctx) -> Answer {
    let subject = work::load_subject(file, graph, ctx)?;
    Ok(show::model(&subject, &ctx.take_warnings()))
}

fn plan(of: &OfRecipe, format: Option<Format>, runtime: Option<&str>, ctx: &Ctx) -> Answer {
    let (_, opened) = work::open(&of.project, ctx)?;
    let recipe = recipe(&opened, &of.recipe)?;
    let Some(name) = runtime else { return Ok(super::plan::plan(&opened.plan_for(&recipe, format)?)) };
    let runtime = runtimes::named(name).map_err(|e| CliError::Usage(e.to_string()))?;
    // What the runtime's file cannot hold is told as well as counted in the file that can.
    let file = format.unwrap_or_else(|| runtime.file());
    let (plan, unwritable) = match opened.plan_for(&recipe, Some(file)) {
        Ok(plan) => (plan, None),
        Err(work::WorkError::Configure(error @ ConfigureError::Unholdable { .. })) => {
            (opened.plan(&recipe)?, Some(error.to_string()))
        }
        Err(error) => return Err(error.into()),
    };
    Ok(super::plan::for_runtime(&plan, &runtime, unwritable))
}

fn calibrate(of: &OfRecipe, ctx: &Ctx) -> Answer {
    let started = Instant::now();
    let (_, opened) = work::open(&of.project, ctx)?;
    opened.identify(ctx)?;
    let plan = opened.plan(&*recipe(&opened, &of.recipe)?)?;
    let wires = crate::pipeline::compress::needs(&plan);
    if wires.is_empty() {
        return Ok(show::nothing_to_calibrate(&of.recipe));
    }
    let (statistics, reused) = opened.statistics(&wires, ctx).map_err(work::WorkError::from)?.ok_or(work::WorkError::NoData)?;
    Ok(show::statistics(&statistics, reused, started.elapsed().as_secs_f64()))
}

fn compress(of: &OfRecipe, ctx: &Ctx) -> Answer {
    let started = Instant::now();
    let (_, opened) = work::open(&of.project, ctx)?;
    let (plan, variant) = opened.compress(&*recipe(&opened, &of.recipe)?, ctx)?;
    Ok(show::variant(&plan, &variant, started.elapsed().as_secs_f64()))
}

fn evaluate_recipe(evaluate: &Evaluate, ctx: &Ctx) -> Answer {
    let (project, opened) = work::open(&evaluate.of.project, ctx)?;
    let recipe = recipe(&opened, &evaluate.of.recipe)?;
    let arithmetic = evaluate.arithmetic.into();
    let report = opened.evaluate_in(arithmetic, &recipe, evaluate.samples.split.into(), evaluate.samples.limit, ctx)?;
    // What is compared and searched is what simulated arithmetic finds.
    if arithmetic == Arithmetic::Simulated {
        project.add_report(&report)?;
    }
    Ok(show::report(&report, evaluate.contamination))
}

fn compare_recipes(compare: &Compare, ctx: &Ctx) -> Answer {
    let (project, opened) = work::open(&compare.project, ctx)?;
    let reports = reports(&project, &opened, &compare.recipes, &compare.samples, false, ctx)?;
    if let Some(path) = &compare.html {
        let page = opened.page(&reports.iter().collect::<Vec<_>>(), compare.samples.split.into(), compare.samples.limit, ctx)?;
        write_atomically(path, page.as_bytes(), false).map_err(|source| work::WorkError::Io { path: path.clone(), source })?;
    }
    Ok(show::comparison(&reports))
}

/// A report per recipe: a saved one that still holds, else a new one.
fn reports(
    project: &Project,
    opened: &Opened,
    names: &[String],
    samples: &Samples,
    again: bool,
    ctx: &Ctx,
) -> Result<Vec<Report>, CliError> {
    opened.identify(ctx)?;
    let split: Split = samples.split.into();
    let data = opened.dataset(split, samples.limit, ctx)?.key();
    let (saved, unreadable) = project.reports();
    for error in unreadable {
        ctx.warn("reports", error.to_string());
    }
    let mut found = Vec::new();
    for name in names {
        let recipe = recipe(opened, name)?;
        let key = opened.recipe_key(&recipe);
        let calibration = opened.calibration_key(&recipe, ctx)?;
        let holds = |r: &&Report| {
            r.recipe_key == key && r.recipe == recipe.name && r.data_key == data && r.calibration_key == calibration
        };
        let kept = saved.iter().rev().filter(|_| !again).find(holds);
        found.push(match kept {
            Some(report) => report.clone(),
            None => {
                let report = opened.evaluate(&recipe, split, samples.limit, ctx)?;
                project.add_report(&report)?;
                report
            }
        });
    }
    Ok(found)
}

fn export_recipe(asked: &Export, ctx: &Ctx) -> Answer {
    let (_, opened) = work::open(&asked.of.project, ctx)?;
    let recipe = recipe(&opened, &asked.of.recipe)?;
    let file = asked.format.map_or_else(|| Format::of_name(&asked.out), Format::from);
    let how = Writing { file, split_above: asked.split_above, check_runtime: asked.check_runtime };
    let exported = opened.export_with(how, &recipe, &asked.out, ctx)?;
    let loaded = &opened.subject.loaded;
    let zipped = export::zipped_bytes(loaded).map_err(work::WorkError::from)?;
    Ok(show::exported(&exported).beside(&exported, loaded.bytes, zipped))
}

fn verify_file(verify: &Verify, ctx: &Ctx) -> Answer {
    let (_, opened) = work::open(&verify.project, ctx)?;
    Ok(show::report(&opened.verify(&verify.file, verify.samples.split.into(), verify.samples.limit, ctx)?, false))
}

fn run_project(project: Option<PathBuf>, again: bool, ctx: &Ctx) -> Answer {
    let folder = match project {
        Some(folder) => folder,
        None => sample::install(None).map_err(|e| CliError::Failed(e.to_string()))?,
    };
    let (project, opened) = work::open(&folder, ctx)?;
    let samples = Samples { split: super::args::SplitArg::Evaluate, limit: None };
    let reports = reports(&project, &opened, &opened.document.run.clone(), &samples, again, ctx)?;
    Ok(show::comparison(&reports))
}

fn forward(file: &Path, batch: usize, seconds: f64, arithmetic: Arithmetic, ctx: &Ctx) -> Answer {
    let loaded = load::model(file, ctx)?;
    if !loaded.has_graph() {
        return Err(work::WorkError::NoGraph { path: file.to_path_buf() }.into());
    }
    let speed = bench::forward(&loaded.model, batch, seconds, arithmetic, ctx).map_err(|e| CliError::Failed(e.to_string()))?;
    Ok(show::speed(&speed))
}

fn conformance(path: &Path, ctx: &Ctx) -> Answer {
    let result = conformance::run(path, ctx).map_err(|e| CliError::Failed(e.to_string()))?;
    let document = show::conformance(&result);
    match result.failed() {
        0 => Ok(document),
        failed => {
            let message = format!("{failed} of {} tests failed; the answer names them and says why", result.tests.len());
            Err(CliError::Answered(Box::new(document), message))
        }
    }
}

fn train_sample(out: &Path, seed: u64, ctx: &Ctx) -> Answer {
    let summary = sample::train(seed, out, ctx).map_err(|e| CliError::Failed(e.to_string()))?;
    let text = format!(
        "{} parameters, {} bytes, trained on {} images: {:.1} % of the evaluation images named rightly\n",
        summary.parameters,
        summary.model_bytes,
        summary.images,
        100.0 * summary.accuracy
    );
    Ok(Document { text, json: serde_json::json!(summary) })
}
