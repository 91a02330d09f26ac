//! What can be said of a recipe before it is run: what will not be done, what is known of the data, and about how much
//! memory, time and disk it takes.

use super::work::{Opened, Split, WorkError};
use crate::engine::Ctx;
use crate::engine::exec::free_memory;
use crate::engine::graph::Wire;
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::compress;
use crate::pipeline::configure::{Balance, Equalization, LayerPlan, Plan, Recipe};
use crate::pipeline::evaluate::Report;
use crate::pipeline::load::Subject;
use crate::pipeline::search::cost::values;
use std::collections::BTreeSet;
use std::path::Path;

/// The program itself.
const BASE: u64 = 30 << 20;
/// Models that lie in memory during an evaluation: as it was loaded, with batch norm folded, compressed.
const MODELS: u64 = 3;
const FLOAT: u64 = 4;
/// Data of several nodes are there at once: what a shortcut carries, what kernels turn to another order.
const NODES_AT_ONCE: f64 = 3.0;

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// For information.
    Fact,
    /// Something is done otherwise than it says, or may not be what was meant.
    Note,
    /// The result will suffer, or the run may not come to its end.
    Warning,
    /// It cannot run.
    Stop,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Finding {
    /// The recipe does not fit the model, and why.
    Unfit(String),
    /// The data cannot be read, and why.
    Unreadable(String),
    /// Part of what the recipe asks of a layer will not be done.
    Refused { layer: String, why: String },
    /// How something will be done that one might not expect.
    Noted { layer: String, note: String },
    /// Samples that are measured, and samples that calibrate, where the recipe needs any.
    Samples { measured: usize, calibrate: Option<usize> },
    /// The calibration samples are among those that are measured.
    SameData,
    /// The recipe needs calibration data, and the inputs of its layers have not been seen yet.
    Unseen,
    /// Channels of a layer's inputs that were zero on all calibration samples.
    Dead { layer: String, dead: usize, channels: usize },
    /// Values of a layer's inputs that were not finite.
    NotFinite { layer: String, values: u64 },
    /// Bytes, an estimate; and what is free.
    Memory { needed: u64, free: u64 },
    /// Bytes of the file that an export writes; and what is free where the project lies.
    Disk { needed: u64, free: u64 },
    /// Seconds, from what another measurement took: of that recipe, on so many samples.
    Time { seconds: f64, recipe: String, samples: usize },
}

impl Finding {
    #[must_use]
    pub fn weight(&self) -> Weight {
        match self {
            Self::Unfit(_) | Self::Unreadable(_) => Weight::Stop,
            Self::Refused { .. } | Self::NotFinite { .. } | Self::SameData => Weight::Warning,
            Self::Memory { needed, free } | Self::Disk { needed, free } if needed > free => Weight::Warning,
            Self::Noted { .. } | Self::Dead { .. } => Weight::Note,
            Self::Samples { .. } | Self::Unseen | Self::Memory { .. } | Self::Disk { .. } | Self::Time { .. } => Weight::Fact,
        }
    }

    /// The layer that it is about.
    #[must_use]
    pub fn layer(&self) -> Option<&str> {
        match self {
            Self::Refused { layer, .. }
            | Self::Noted { layer, .. }
            | Self::Dead { layer, .. }
            | Self::NotFinite { layer, .. } => Some(layer),
            _ => None,
        }
    }
}

impl Opened {
    /// Everything there is to say of a recipe before it is evaluated, what matters most first. Reads the data and what
    /// was kept of earlier calibrations; runs nothing.
    pub fn preflight(&self, recipe: &Recipe, reports: &[&Report], ctx: &Ctx) -> Vec<Finding> {
        let mut found = Vec::new();
        match self.plan(recipe) {
            Ok(plan) => {
                found.extend(of_layers(&plan));
                found.extend(self.of_data(&plan, reports, ctx));
                found.extend(disk(&self.root, plan.bytes));
            }
            Err(error) => found.push(Finding::Unfit(error.to_string())),
        }
        found.sort_by_key(|f| std::cmp::Reverse(f.weight()));
        found
    }

    fn of_data(&self, plan: &Plan, reports: &[&Report], ctx: &Ctx) -> Vec<Finding> {
        let measured = match self.dataset(Split::Evaluate, None, ctx) {
            Ok(data) => data,
            // What has no graph or no data is not evaluated, and the window says so where one would.
            Err(WorkError::NoData | WorkError::NoGraph { .. } | WorkError::Cancelled(_)) => return Vec::new(),
            Err(error) => return vec![Finding::Unreadable(error.to_string())],
        };
        let mut found = Vec::new();
        let mut calibrate = None;
        if plan.needs_calibration() {
            match self.dataset(Split::Calibrate, None, ctx) {
                Ok(data) => {
                    calibrate = Some(data.len());
                    found.extend((data.key() == measured.key()).then_some(Finding::SameData));
                    found.extend(self.of_inputs(plan, ctx));
                }
                Err(error) => found.push(Finding::Unreadable(error.to_string())),
            }
        }
        let batch = measured.batch_size(None);
        found.push(Finding::Samples { measured: measured.len(), calibrate });
        found.extend(free_memory().map(|free| Finding::Memory { needed: memory(&self.subject, batch), free: free as u64 }));
        found.extend(time(reports, &plan.recipe, measured.len()));
        found
    }

    /// What earlier calibrations saw of the inputs of layers.
    fn of_inputs(&self, plan: &Plan, ctx: &Ctx) -> Vec<Finding> {
        let wires = compress::needs(plan);
        // What is seen of a network that is changed first is kept under what it becomes, which is not known before.
        let is_prepared = plan.equalize != Equalization::None || plan.balance != Balance::None || plan.cuts_channels();
        if wires.is_empty() || is_prepared || plan.left_out.is_some() {
            return Vec::new();
        }
        match self.seen(&wires, ctx) {
            Some(statistics) => coverage(plan, &wires, &statistics),
            None => vec![Finding::Unseen],
        }
    }
}

fn of_layers(plan: &Plan) -> Vec<Finding> {
    let name = |l: &LayerPlan| l.layer.name.clone();
    let refused = plan.layers.iter().filter_map(|l| Some(Finding::Refused { layer: name(l), why: l.refusal.clone()? }));
    let noted = plan.layers.iter().filter_map(|l| Some(Finding::Noted { layer: name(l), note: l.note.clone()? }));
    refused.chain(noted).collect()
}

/// Inputs that say nothing, and inputs that say too much.
fn coverage(plan: &Plan, wires: &BTreeSet<Wire>, statistics: &Statistics) -> Vec<Finding> {
    let mut found = Vec::new();
    for layer in plan.layers.iter().filter(|l| wires.contains(&l.layer.input)) {
        let Some(seen) = statistics.wire(&layer.layer.input) else { continue };
        let name = || layer.layer.name.clone();
        if seen.values.not_finite() > 0 {
            found.push(Finding::NotFinite { layer: name(), values: seen.values.not_finite() });
        }
        if let Some(sums) = &seen.channels {
            let dead = sums.absmax().iter().filter(|m| **m == 0.0).count();
            if dead > 0 {
                found.push(Finding::Dead { layer: name(), dead, channels: sums.channels() });
            }
        }
    }
    found
}

/// Bytes that an evaluation takes, about: the models; of a batch what the widest node reads and writes, and what the
/// layers of the original read and give and those of the compressed network give, whose errors are measured.
fn memory(subject: &Subject, batch: usize) -> u64 {
    let model = &subject.folded;
    let sum = |wires: &mut dyn Iterator<Item = &Wire>| wires.filter_map(|w| values(model, w)).sum::<f64>();
    let widest = model.nodes.iter().map(|n| sum(&mut n.inputs.iter().chain(&n.outputs).flatten())).fold(0.0, f64::max);
    let seen: BTreeSet<&Wire> = subject.layers.iter().flat_map(|l| [&l.input, &l.output]).collect();
    let layers = sum(&mut seen.into_iter()) + sum(&mut subject.layers.iter().map(|l| &l.output));
    let data = (NODES_AT_ONCE * widest + layers) * batch as f64 * FLOAT as f64;
    BASE + MODELS * FLOAT * model.parameters() + data as u64
}

/// The last measurement of the same recipe, else the last of any.
fn time(reports: &[&Report], recipe: &str, samples: usize) -> Option<Finding> {
    let of = |only: bool| {
        let fitting = reports.iter().filter(|r| r.samples > 0 && (!only || r.recipe == recipe));
        fitting.max_by_key(|r| r.unix_time).copied()
    };
    let last = of(true).or_else(|| of(false))?;
    let seconds = last.seconds * samples as f64 / last.samples as f64;
    Some(Finding::Time { seconds, recipe: last.recipe.clone(), samples: last.samples })
}

/// `None` where the system does not say.
fn disk(folder: &Path, needed: u64) -> Option<Finding> {
    Some(Finding::Disk { needed, free: fs4::available_space(folder).ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::configure::{Override, presets};
    use crate::workbench::sample;
    use crate::workbench::work;

    fn opened(ctx: &Ctx) -> (tempfile::TempDir, Opened) {
        let folder = tempfile::tempdir().unwrap();
        let project = sample::install(Some(folder.path())).unwrap();
        let (_, opened) = work::open(&project, ctx).unwrap();
        (folder, opened)
    }

    #[test]
    fn says_what_is_known_and_what_is_not_yet() {
        let ctx = Ctx::new(1).unwrap();
        let (_folder, opened) = opened(&ctx);
        let recipe = presets::preset("int8").unwrap();
        let found = opened.preflight(&recipe, &[], &ctx);
        assert!(found.contains(&Finding::Unseen), "{found:?}");
        assert!(found.iter().any(|f| matches!(f, Finding::Samples { measured: 1000, calibrate: Some(1..) })), "{found:?}");
        assert!(found.iter().any(|f| matches!(f, Finding::Memory { needed: 100_000.., free: 1.. })), "{found:?}");
        assert!(!found.iter().any(|f| matches!(f, Finding::Time { .. })), "nothing was measured: {found:?}");

        let report = opened.evaluate(&recipe, Split::Evaluate, None, &ctx).unwrap();
        let found = opened.preflight(&recipe, &[&report], &ctx);
        assert!(!found.contains(&Finding::Unseen), "{found:?}");
        let seconds = found.iter().find_map(|f| if let Finding::Time { seconds, .. } = f { Some(*seconds) } else { None });
        assert!(seconds.is_some_and(|s| (s / report.seconds - 1.0).abs() < 1e-9), "{seconds:?} of {}", report.seconds);
    }

    #[test]
    fn what_does_not_fit_comes_first_and_layers_are_named() {
        let ctx = Ctx::new(1).unwrap();
        let (_folder, opened) = opened(&ctx);
        let mut recipe = presets::preset("w4").unwrap();
        recipe.overrides.push(Override::new("no such layer"));
        let found = opened.preflight(&recipe, &[], &ctx);
        assert!(matches!(&found[0], Finding::Unfit(why) if why.contains("no such layer")), "{found:?}");
        assert_eq!(found[0].weight(), Weight::Stop);
    }

    #[test]
    fn dead_and_broken_inputs_are_counted() {
        let ctx = Ctx::new(1).unwrap();
        let (_folder, opened) = opened(&ctx);
        let plan = opened.plan(&presets::preset("int8").unwrap()).unwrap();
        let wires = compress::needs(&plan);
        let (mut statistics, _) = opened.statistics(&wires, &ctx).unwrap().unwrap();
        let whole = coverage(&plan, &wires, &statistics);
        assert!(!whole.iter().any(|f| matches!(f, Finding::NotFinite { .. })), "{whole:?}");
        let layer = plan.layers.iter().find(|l| wires.contains(&l.layer.input)).unwrap();
        statistics.wires.get_mut(&*layer.layer.input).unwrap().values.add(&[f32::NAN, 1.0]);
        let found = coverage(&plan, &wires, &statistics);
        assert!(found.contains(&Finding::NotFinite { layer: layer.layer.name.clone(), values: 1 }), "{found:?}");
    }
}
