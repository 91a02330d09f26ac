//! What a project can be asked to find out by itself: what its layers bear, and which recipe keeps a limit.

use super::work::{Opened, Split, WorkError};
use crate::engine::Ctx;
use crate::engine::formats::{ScaleType, Symmetry};
use crate::engine::graph::Wire;
use crate::pipeline::calibrate::{CalibrateError, Statistics};
use crate::pipeline::compress::CompressError;
use crate::pipeline::configure::{
    self, Activations, Equalization, Grouping, Importance, Override, Recipe, Scheme, Sparsity, Treatment, groups,
};
use crate::pipeline::evaluate::Report;
use crate::pipeline::load::Dataset;
use crate::pipeline::search::SearchError;
use crate::pipeline::search::cost::{self, Check, Cost, Machine};
use crate::pipeline::search::goal::{self, Counted, Effort, Found, Goal, Objective, Options, Outcome, Planner, Search, Space};
use crate::pipeline::search::sensitivity::{self, Ablation, Cell, Map, Method, Setting, Store, Survey, Without};
use crate::workbench::project::write_atomically;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// Which map is wanted.
#[derive(Debug, Clone)]
pub struct MapRequest {
    pub method: Method,
    pub settings: Vec<Setting>,
    pub split: Split,
    /// Samples at most, from stretches of equal length.
    pub limit: usize,
}

/// The columns of a map: `base`'s weights at each width, its activations, and activations of other widths.
#[must_use]
pub fn settings(base: &Treatment, bits: &[u8], activation_bits: &[u8]) -> Vec<Setting> {
    let mut settings: Vec<Setting> = bits.iter().map(|b| Setting::weights(base, *b)).collect();
    let mut activations: Vec<Activations> =
        (base.activations != Activations::None).then_some(base.activations).into_iter().collect();
    for &bits in activation_bits {
        let wanted = base.activations.with_bits(bits);
        if !activations.contains(&wanted) {
            activations.push(wanted);
        }
    }
    settings.extend(activations.into_iter().map(Setting::activations));
    settings
}

/// What a search may choose from, and what it must keep to.
#[derive(Debug, Clone)]
pub struct SearchRequest {
    /// What layers may become. With corrections, plans are built and measured with them; what layers bear alone is
    /// measured without.
    pub choices: Vec<Treatment>,
    /// Whether the network that is searched is equalized first.
    pub equalize: Equalization,
    /// Patterns; the layers that one matches share a choice.
    pub ties: Vec<String>,
    pub goal: Goal,
    pub objective: Objective,
    pub counted: Counted,
    /// A limit on another quantity, as a share of the original's.
    pub max_other: Option<(Objective, f64)>,
    pub effort: Effort,
    pub method: Method,
    /// Samples that sensitivities are measured on.
    pub limit: usize,
}

/// What a search found.
#[derive(Debug, Clone)]
pub struct Searched {
    pub outcome: Outcome,
    /// The chosen recipe on samples that chose nothing; `None` where the search was cancelled before.
    pub report: Option<Report>,
    /// Samples that chose among plans.
    pub selection: usize,
}

impl Searched {
    /// Why the limit that was asked for is not kept, if so.
    #[must_use]
    pub fn shortfall(&self) -> Option<String> {
        let name = &self.outcome.recipe.name;
        if self.outcome.best.is_none() {
            return Some(format!("no plan kept to the limit ({}); the nearest is saved as \"{name}\"", self.outcome.goal));
        }
        let Goal::MaxDrop { points, .. } = self.outcome.goal else { return None };
        let drop = self.report.as_ref().and_then(Report::drop_points).filter(|d| *d > points)?;
        Some(format!(
            "\"{name}\" kept to the limit on the samples that chose it and loses {drop:.2} points on the others; ask for more confidence"
        ))
    }
}

/// A recipe's name that tells what was asked for.
#[must_use]
pub fn result_name(goal: &Goal) -> String {
    match goal {
        Goal::MaxBytes(bytes) => format!("search-{bytes}-bytes"),
        Goal::MaxRatio(ratio) => format!("search-{:.1}-percent", 100.0 * ratio),
        Goal::MaxDrop { points, .. } => format!("search-drop-{points}"),
    }
}

/// Integers up to this width are tried on grids of other symmetry as well: of few levels one more counts.
const FEW_BITS: u8 = 4;

/// Which grids of integers a search may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grids {
    /// The recipe's own.
    Own,
    /// For narrow weights also those that use every code about zero, and those with a zero point.
    Any,
}

/// The choices of a search: `base` at each width, dense and with each share of its weights pruned, and what other
/// recipes do by default.
#[must_use]
pub fn choices(base: &Treatment, grids: Grids, bits: &[u8], pruned: &[f32], also: &[Treatment]) -> Vec<Treatment> {
    let mut choices: Vec<Treatment> = Vec::new();
    for &bits in bits {
        let own = base.weights.with_bits(bits);
        let others = if grids == Grids::Any && bits <= FEW_BITS { other_grids(own) } else { Vec::new() };
        for weights in std::iter::once(own).chain(others) {
            let dense = Treatment { weights, ..*base };
            choices.push(dense);
            choices.extend(pruned.iter().map(|share| Treatment { sparsity: Sparsity::Fraction(*share), ..dense }));
        }
    }
    choices.extend(also);
    let mut kept: Vec<Treatment> = Vec::new();
    for choice in choices {
        if !kept.contains(&choice) {
            kept.push(choice);
        }
    }
    kept
}

/// The same symmetric integers with every code in use, and with a zero point; nothing for other schemes.
fn other_grids(scheme: Scheme) -> Vec<Scheme> {
    match scheme {
        Scheme::Integer { bits, symmetric: true, granularity } => vec![
            Scheme::Affine { bits, symmetry: Symmetry::Full, granularity, scales: ScaleType::F32 },
            Scheme::Integer { bits, symmetric: false, granularity },
        ],
        _ => Vec::new(),
    }
}

/// Samples that choose among plans at most.
const SELECTION: usize = 1_000;

/// Evaluation samples parted into those that choose and those that choose nothing. A single sample does both.
#[must_use]
pub fn parted(data: &Dataset) -> (Dataset, Dataset) {
    let every = data.len().div_ceil(SELECTION).max(2);
    if data.len() < 2 {
        return (data.clone(), data.clone());
    }
    let (chosen, rest) = (0..data.len()).partition(|i| i.is_multiple_of(every));
    (data.subset(chosen), data.subset(rest))
}

/// A treatment of weights, with the data too; a layer that is left alone stays so.
fn with_data(treatment: Treatment, activations: Activations) -> Treatment {
    if treatment.is_unchanged() { treatment } else { Treatment { activations, ..treatment } }
}

/// The project's cache as a store of texts.
struct Cache<'a> {
    folder: PathBuf,
    ctx: &'a Ctx,
}

impl Store for Cache<'_> {
    fn read(&self, name: &str) -> Option<String> {
        std::fs::read_to_string(self.folder.join(name)).ok()
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.folder.join(name);
        let saved = std::fs::create_dir_all(&self.folder).and_then(|()| write_atomically(&path, text.as_bytes(), false));
        if let Err(error) = saved {
            self.ctx.warn("cache", format!("measured numbers could not be kept for the next run: {error}"));
        }
    }
}

impl Opened {
    fn cache<'a>(&self, ctx: &'a Ctx) -> Cache<'a> {
        Cache { folder: self.root.join("cache"), ctx }
    }

    /// Measures what each layer bears; `cell` sees each number as it comes. What is measured is kept in the
    /// project's cache, also where the work is cancelled.
    ///
    /// # Errors
    /// When there is no data or no graph, a setting makes no sense, or on cancel.
    pub fn sensitivity(&self, request: &MapRequest, ctx: &Ctx, cell: &mut dyn FnMut(&Cell)) -> Result<Map, WorkError> {
        let data = sensitivity::samples(&self.dataset(request.split, None, ctx)?, request.limit);
        self.surveyed(&request.settings, &data, ctx, &mut |survey| Ok(sensitivity::measure(survey, request.method, ctx, cell)?))
    }

    /// Measures what is left of a recipe's error where one layer is spared.
    ///
    /// # Errors
    /// As [`Opened::sensitivity`].
    pub fn without(
        &self,
        recipe: &Recipe,
        (split, limit): (Split, usize),
        ctx: &Ctx,
        shown: &mut dyn FnMut(&Ablation),
    ) -> Result<Without, WorkError> {
        let data = sensitivity::samples(&self.dataset(split, None, ctx)?, limit);
        self.surveyed(&[], &data, ctx, &mut |survey| Ok(sensitivity::without(survey, recipe, ctx, shown)?))
    }

    /// Searches for the recipe that loses least within a limit, or the smallest that loses no more than one; `found`
    /// sees all as it comes. The project's calibration samples tell what layers bear, one part of its evaluation
    /// samples chooses among plans, and the rest gives the final numbers.
    ///
    /// # Errors
    /// When there is no data, a choice makes no sense or no plan keeps to a limit, or on a cancel before anything
    /// was found.
    pub fn search(&self, request: &SearchRequest, ctx: &Ctx, found: &mut dyn FnMut(&Found)) -> Result<Searched, WorkError> {
        let prepared =
            Self { subject: configure::prepared(request.equalize, &self.subject).map_err(CompressError::from)?, ..self.clone() };
        let survey = sensitivity::samples(&self.dataset(Split::Calibrate, None, ctx)?, request.limit);
        let (selection, rest) = parted(&self.dataset(Split::Evaluate, None, ctx)?);
        let counts_time = request.objective == Objective::Latency
            || request.max_other.is_some_and(|(objective, _)| objective == Objective::Latency);
        let machine = if counts_time { Some(self.machine(ctx)?) } else { None };
        let named = request.ties.iter().map(|pattern| self.matching(pattern));
        let ties = named.chain(self.ties().into_iter().map(Ok)).collect::<Result<Vec<_>, WorkError>>()?;
        let settings: Vec<Setting> = request.choices.iter().map(|c| Setting { label: String::new(), treatment: *c }).collect();
        let samples = |ctx: &Ctx| self.samples(ctx);
        let mut outcome = prepared.surveyed(&settings, &survey, ctx, &mut |from| {
            let space = Space {
                subject: from.subject,
                choices: &request.choices,
                ties: &ties,
                objective: request.objective,
                counted: request.counted,
                max_other: request.max_other,
                machine: machine.as_ref(),
            };
            let search = Search {
                space,
                goal: request.goal,
                effort: request.effort,
                method: request.method,
                survey: from.data,
                selection: &selection,
                statistics: from.statistics,
                samples: &samples,
                calibration_key: from.calibration_key,
                store: from.store,
            };
            Ok(goal::run(&search, ctx, found)?)
        })?;
        outcome.recipe.equalize = request.equalize;
        // After a cancel there is still the recipe.
        let report = if ctx.is_cancelled() { None } else { Some(self.evaluate_on(&outcome.recipe, &rest, ctx)?) };
        Ok(Searched { outcome, report, selection: selection.len() })
    }

    /// All best plans of what a map measured of weights, by bytes of the exported file, layers' data being stored as
    /// `activations` says. The last of the map's settings leaves layers as they are; layers that read the same data
    /// share a choice.
    ///
    /// # Errors
    /// When no plan has a finite loss, or on cancel.
    pub fn planner(&self, map: &sensitivity::Map, activations: Activations, ctx: &Ctx) -> Result<Planner, WorkError> {
        let choices: Vec<Treatment> = map.settings.iter().map(|s| with_data(s.treatment, activations)).collect();
        let ties = self.ties();
        let space = Space {
            subject: &self.subject,
            choices: &choices,
            ties: &ties,
            objective: Objective::Bytes,
            counted: Counted::File,
            max_other: None,
            machine: None,
        };
        let options = Options::new(&space)?;
        Ok(Planner::new(options, map, &space, ctx)?)
    }

    /// Layers that decide together whatever a recipe says: projections of the same data.
    fn ties(&self) -> Vec<Vec<usize>> {
        groups(Grouping::default(), &self.subject).into_iter().map(|group| group.layers).collect()
    }

    /// The layers that a pattern of a recipe matches.
    fn matching(&self, pattern: &str) -> Result<Vec<usize>, WorkError> {
        let mut recipe = Recipe::new("tie", Treatment::UNCHANGED);
        recipe.overrides.push(Override { weights: Some(Scheme::per_channel(8)), ..Override::new(pattern) });
        let treatments = crate::pipeline::configure::resolve(&recipe, &self.subject)?;
        Ok(treatments.iter().enumerate().filter(|(_, t)| !t.is_unchanged()).map(|(i, _)| i).collect())
    }

    /// How fast this machine is with the threads at hand: measured once, then kept.
    ///
    /// # Errors
    /// When the engine refuses, or on cancel.
    pub fn machine(&self, ctx: &Ctx) -> Result<Machine, WorkError> {
        let (cache, threads) = (self.cache(ctx), ctx.pool().current_num_threads());
        // A project may be carried to another machine.
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let name = format!("machine-{}-{cores}-{threads}.ron", std::env::consts::ARCH);
        if let Some(known) = cache.read(&name).and_then(|text| Machine::from_ron(&text, threads)) {
            return Ok(known);
        }
        let machine = cost::calibrate(ctx).map_err(SearchError::from)?;
        if let Ok(text) = machine.to_ron() {
            cache.write(&name, &text);
        }
        Ok(machine)
    }

    /// What a recipe costs to store and to run. With `checked` the original is run as well, to see how far the
    /// model of time holds on this machine.
    ///
    /// # Errors
    /// When the recipe does not fit, the machine cannot be measured, or on cancel.
    pub fn cost(&self, recipe: &Recipe, checked: bool, ctx: &Ctx) -> Result<(Cost, Option<Check>), WorkError> {
        let machine = self.machine(ctx)?;
        let priced = cost::cost(&self.plan(recipe)?, &self.subject, Some(&machine));
        if !checked {
            return Ok((priced, None));
        }
        let original = self.plan(&Recipe::new("original", Treatment::UNCHANGED))?;
        let predicted = cost::cost(&original, &self.subject, Some(&machine)).milliseconds.unwrap_or(f64::NAN);
        let data = self.dataset(Split::Calibrate, Some(64), ctx)?;
        let port = self.subject.original.data_input().and_then(|p| p.fact.shape.as_ref()?.first()?.known());
        let indices: Vec<usize> = (0..data.batch_size(port).min(data.len())).collect();
        let batch = data.batch(&Dataset::whole_batch(&indices, port), ctx)?;
        let check = cost::check(&self.subject, predicted, &batch, ctx).map_err(SearchError::from)?;
        Ok((priced, Some(check)))
    }

    /// Calls `work` with all that a survey of this project needs.
    fn surveyed<T>(
        &self,
        settings: &[Setting],
        data: &Dataset,
        ctx: &Ctx,
        work: &mut dyn FnMut(&Survey<'_>) -> Result<T, WorkError>,
    ) -> Result<T, WorkError> {
        self.identify(ctx)?;
        self.subject.loaded.check_values(ctx)?;
        let statistics = |wires: &BTreeSet<Wire>, ctx: &Ctx| -> Result<Option<Statistics>, CalibrateError> {
            Ok(self.statistics(wires, ctx)?.map(|(statistics, _)| statistics))
        };
        let calibrates =
            |t: &Treatment| t.activations.static_grid().is_some() || t.importance == Importance::Activations || t.weighs_inputs();
        let needs_data = settings.iter().any(|s| calibrates(&s.treatment));
        let calibration_key = if needs_data { self.dataset(Split::Calibrate, None, ctx)?.key() } else { String::new() };
        work(&Survey {
            subject: &self.subject,
            settings,
            data,
            statistics: &statistics,
            calibration_key: &calibration_key,
            store: &self.cache(ctx),
        })
    }
}
