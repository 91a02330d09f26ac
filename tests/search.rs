//! Sensitivities, frontier and search on the sample that comes with the program.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lapidary::engine::Ctx;
use lapidary::engine::formats::blocks::BlockFormat;
use lapidary::engine::formats::observe::Observer;
use lapidary::pipeline::configure::{
    Activations, CorrectionLevel, Equalization, Importance, Override, Recipe, Rounding, Scheme, Sparsity, Treatment, presets,
    resolve,
};
use lapidary::pipeline::load::Dataset;
use lapidary::pipeline::search::SearchError;
use lapidary::pipeline::search::goal::{Counted, Effort, Ended, Found, Goal, Objective, Options, Origin, Space};
use lapidary::pipeline::search::sensitivity::{Method, Setting, Spared, samples};
use lapidary::workbench::explore::{Grids, MapRequest, SearchRequest, choices, parted, settings};
use lapidary::workbench::sample;
use lapidary::workbench::work::{self, Opened, Split, WorkError};
use std::collections::BTreeSet;
use std::path::Path;

const SAMPLES: usize = 40;

fn sample_in(folder: &Path, ctx: &Ctx) -> Opened {
    let root = sample::install(Some(folder)).unwrap();
    work::open(&root, ctx).unwrap().1
}

fn base() -> Treatment {
    presets::preset("w8").unwrap().default
}

fn request(method: Method, bits: &[u8]) -> MapRequest {
    MapRequest { method, settings: settings(&base(), bits, &[]), split: Split::Evaluate, limit: SAMPLES }
}

fn data(opened: &Opened, ctx: &Ctx) -> Dataset {
    samples(&opened.dataset(Split::Evaluate, None, ctx).unwrap(), SAMPLES)
}

/// One layer at one width, all others left alone.
fn only(opened: &Opened, layer: usize, bits: u8) -> Recipe {
    let mut recipe = Recipe::new("only", Treatment::UNCHANGED);
    let name = opened.subject.layers[layer].name.clone();
    recipe.overrides.push(Override { weights: Some(Scheme::per_channel(bits)), ..Override::new(name) });
    recipe
}

#[test]
fn exact_cells_are_what_an_evaluation_finds() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let mut seen = 0;
    let map = opened.sensitivity(&request(Method::Exact, &[2, 4]), &ctx, &mut |_| seen += 1).unwrap();
    assert_eq!((seen, map.measured, map.samples), (24, 24, SAMPLES));
    let data = data(&opened, &ctx);
    for (layer, setting, bits) in [(0, 0, 2), (5, 0, 2), (11, 1, 4)] {
        let report = opened.evaluate_on(&only(&opened, layer, bits), &data, &ctx).unwrap();
        let scores = &map.scores[layer][setting];
        let (kl, expected) = (scores.kl.unwrap(), report.fidelity.kl_mean);
        // The reference here has batch norm folded: floats are added up in another order.
        assert!((kl.value - expected).abs() <= 1e-3 * expected + 1e-8, "{layer}: {} and {expected}", kl.value);
        assert!(kl.samples == SAMPLES && kl.standard_error.unwrap() > 0.0);
        assert_eq!(scores.flips, Some(report.fidelity.flips));
        let lost = report.drop_points().unwrap();
        assert!((scores.task.unwrap().value - lost).abs() < 1e-9);
        let weights = report.layers[layer].weight_sqnr_db.unwrap();
        assert!((scores.weight_sqnr_db.unwrap() - weights).abs() < 1e-9);
        // Nothing before the first layer: its two errors are one.
        let (local, all) = (scores.local_sqnr_db.unwrap(), scores.cumulative_sqnr_db.unwrap());
        assert!(layer > 0 || (local.value - all.value).abs() < 1e-6);
        assert!(local.standard_error.unwrap() > 0.0);
    }
}

#[test]
fn a_survey_sees_all_of_sorted_classes() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let all = sample_in(folder.path(), &ctx).dataset(Split::Evaluate, Some(300), &ctx).unwrap();
    let labels = all.labels.clone().unwrap();
    let mut order: Vec<usize> = (0..all.len()).collect();
    order.sort_by_key(|i| labels[*i]);
    let surveyed = samples(&all.subset(order), all.len() - 44);
    assert_eq!(surveyed.len(), all.len() - 44);
    let last = labels.iter().max().unwrap();
    let count = |labels: &[usize]| labels.iter().filter(|l| *l == last).count();
    assert!(2 * count(&surveyed.labels.unwrap()) > count(&labels), "half of the last class at least");
}

#[test]
fn what_was_measured_is_kept() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let stopped = ctx.fresh();
    let mut seen = 0;
    let cut = opened.sensitivity(&request(Method::Exact, &[2, 3, 8]), &stopped, &mut |_| {
        seen += 1;
        if seen == 7 {
            stopped.cancel();
        }
    });
    assert!(cut.is_err() && stopped.is_cancelled());
    let map = opened.sensitivity(&request(Method::Exact, &[2, 3, 8]), &ctx, &mut |_| {}).unwrap();
    assert!(map.measured < 36 && map.measured >= 36 - seen - 2, "{} of 36 after {seen}", map.measured);
    let again = opened.sensitivity(&request(Method::Exact, &[2, 3, 8]), &ctx, &mut |_| {}).unwrap();
    assert_eq!((again.measured, &again.scores), (0, &map.scores));
    // Another width is another column: nothing else is measured again.
    let wider = opened.sensitivity(&request(Method::Exact, &[3, 4, 8]), &ctx, &mut |_| {}).unwrap();
    assert_eq!(wider.measured, 12);
    assert_eq!(wider.scores[3][0], map.scores[3][1]);
    // The same at another number of threads.
    let (other, one) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let alone = sample_in(other.path(), &one).sensitivity(&request(Method::Exact, &[2, 3, 8]), &one, &mut |_| {}).unwrap();
    assert_eq!(alone.scores, map.scores);
}

#[test]
fn the_fast_map_ranks_as_the_exact_one() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let numbers = |method| -> Vec<f64> {
        let map = opened.sensitivity(&request(method, &[2, 3, 4, 6, 8]), &ctx, &mut |_| {}).unwrap();
        map.scores.iter().flatten().map(|s| s.kl.unwrap().value).collect()
    };
    let ranks = |values: &[f64]| -> Vec<f64> { values.iter().map(|v| values.iter().filter(|w| *w < v).count() as f64).collect() };
    let (a, b) = (ranks(&numbers(Method::Exact)), ranks(&numbers(Method::Fast)));
    let n = a.len() as f64;
    let spearman = 1.0 - 6.0 * a.iter().zip(&b).map(|(x, y)| (x - y).powi(2)).sum::<f64>() / (n * (n * n - 1.0));
    assert!(spearman >= 0.9, "Spearman {spearman}");
}

#[test]
fn sparing_a_layer_is_leaving_it_out_of_the_recipe() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let recipe = presets::preset("w4a4").unwrap();
    let found = opened.without(&recipe, (Split::Evaluate, SAMPLES), &ctx, &mut |_| {}).unwrap();
    let data = data(&opened, &ctx);
    let whole = opened.evaluate_on(&recipe, &data, &ctx).unwrap().fidelity.kl_mean;
    let close = |a: f64, b: f64| (a - b).abs() <= 1e-3 * b + 1e-7;
    assert!(close(found.whole.unwrap().kl.value, whole), "{:?} and {whole}", found.whole);
    assert_eq!(found.ablations.len(), 24, "weights and activations of 12 layers");
    for index in [0, 3, 9, 22] {
        let one = &found.ablations[index];
        let mut spared = recipe.clone();
        let name = opened.subject.layers[one.layer].name.clone();
        spared.overrides.push(match one.spared {
            Spared::Weights => Override { weights: Some(Scheme::F32), ..Override::new(name) },
            Spared::Activations => {
                Override { activations: Some(lapidary::pipeline::configure::Activations::None), ..Override::new(name) }
            }
        });
        let expected = opened.evaluate_on(&spared, &data, &ctx).unwrap().fidelity.kl_mean;
        let left = one.left.unwrap().kl.value;
        assert!(close(left, expected), "{index}: {left} and {expected}");
    }
}

#[test]
fn narrow_integers_may_lie_on_other_grids() {
    let all = choices(&base(), Grids::Any, &[3, 8], &[0.5], &[base()]);
    let names: Vec<String> = all.iter().map(|t| format!("{} {}", t.weights, t.sparsity)).collect();
    assert_eq!(names.len(), 8, "{names:?}");
    assert!(names.contains(&"uint3 per channel dense".to_owned()) && names.iter().filter(|n| n.contains("8 per")).count() == 2);
    assert_eq!(choices(&base(), Grids::Own, &[3, 8], &[], &[]).len(), 2);
}

fn search(goal: Goal) -> SearchRequest {
    SearchRequest {
        choices: choices(&base(), Grids::Own, &[2, 3, 4, 6, 8], &[], &[]),
        equalize: Equalization::None,
        ties: Vec::new(),
        goal,
        objective: Objective::Bytes,
        counted: Counted::Packed,
        max_other: None,
        effort: Effort { evaluations: 18, seconds: None },
        method: Method::Exact,
        limit: SAMPLES,
    }
}

#[test]
fn plans_are_measured_with_their_corrections() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let corrected = Treatment { correction: CorrectionLevel::Balanced.correction(false), ..base() };
    let request = SearchRequest {
        choices: choices(&corrected, Grids::Own, &[3, 4], &[], &[]),
        equalize: Equalization::Layers,
        effort: Effort { evaluations: 4, seconds: None },
        ..search(Goal::MaxRatio(0.2))
    };
    let found = opened.search(&request, &ctx, &mut |_| {}).unwrap();
    let recipe = &found.outcome.recipe;
    assert_eq!(recipe.equalize, Equalization::Layers);
    let changed: Vec<Treatment> = resolve(recipe, &opened.subject).unwrap().into_iter().filter(|t| !t.is_unchanged()).collect();
    assert!(!changed.is_empty() && changed.iter().all(|t| t.correction == corrected.correction), "{changed:?}");
    let chosen = &found.outcome.candidates[found.outcome.best.unwrap()];
    let (selection, _) = parted(&opened.dataset(Split::Evaluate, None, &ctx).unwrap());
    let built = opened.evaluate_on(recipe, &selection, &ctx).unwrap();
    let (measured, kl) = (chosen.measured.unwrap().kl.value, built.fidelity.kl_mean);
    assert!((measured - kl).abs() <= 0.02 * kl + 1e-6, "searched {measured}, built {kl}");
}

#[test]
fn a_plan_of_options_is_the_recipe_that_it_becomes() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let ranged = Treatment { range: Observer::Grid { exponent: 2.0 }, ..base() };
    let weighed = Treatment { importance: Importance::Activations, weights: Scheme::per_channel(4), ..ranged };
    let rounded = Treatment { rounding: Rounding::Stochastic { seed: 1 }, weights: Scheme::per_channel(4), ..base() };
    let choices = [base(), ranged, weighed, rounded, Treatment { weights: Scheme::per_channel(4), ..base() }];
    let space = Space {
        subject: &opened.subject,
        choices: &choices,
        ties: &[],
        objective: Objective::Bytes,
        counted: Counted::File,
        max_other: None,
        machine: None,
    };
    let options = Options::new(&space).unwrap();
    let labels: BTreeSet<&str> = options.settings.iter().map(|s| s.label.as_str()).collect();
    assert_eq!(labels.len(), options.settings.len(), "one can tell them apart: {labels:?}");
    let treatments: Vec<Treatment> = options.settings.iter().map(|s| s.treatment).collect();
    // Whichever is the most common one: the others are told as exceptions to it.
    for common in 0..treatments.len() {
        let plan: Vec<usize> = (0..options.groups.len()).map(|g| if g < treatments.len() { g } else { common }).collect();
        let recipe = options.recipe("test", &plan, &opened.subject);
        let chosen: Vec<Treatment> = options.by_layer(&plan).into_iter().map(|s| treatments[s]).collect();
        assert_eq!(resolve(&recipe, &opened.subject).unwrap(), chosen, "exceptions to {common}");
    }
}

#[test]
fn bytes_of_layers_that_stay_are_foreseen() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let mut wanted = request(Method::Fast, &[4, 8]);
    wanted.settings.push(Setting { label: "as it is".to_owned(), treatment: Treatment::UNCHANGED });
    let map = opened.sensitivity(&wanted, &ctx, &mut |_| {}).unwrap();
    let planner = opened.planner(&map, Activations::None, &ctx).unwrap();
    let layers = opened.subject.layers.len();
    for changed in 1..layers {
        let plan: Vec<usize> = (0..planner.options.groups.len()).map(|g| if g < changed { 1 } else { 2 }).collect();
        let exact = opened.plan(&planner.options.recipe("test", &plan, &opened.subject)).unwrap().bytes as f64;
        let foreseen = planner.summed(&plan).size as f64;
        assert!((foreseen - exact).abs() < 0.01 * exact, "{changed} of {layers}: {foreseen} and {exact}");
    }
}

#[test]
fn a_search_beats_every_uniform_plan_in_its_bytes() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let w3 = Counted::Packed.of(&opened.plan(&presets::preset("w3").unwrap()).unwrap());
    let mut best_seen = Vec::new();
    let mut see = |found: &Found| {
        if let Found::Best(best) = found {
            best_seen.push(best.measured.unwrap().kl.value);
        }
    };
    let found = opened.search(&search(Goal::MaxBytes(w3)), &ctx, &mut see).unwrap();
    let outcome = &found.outcome;
    let best = &outcome.candidates[outcome.best.unwrap()];
    assert!(outcome.is_exact && best.bytes <= w3 && outcome.candidates.len() <= 18);
    assert!(best_seen.windows(2).all(|w| w[1] <= w[0]), "the best so far only gets better: {best_seen:?}");
    let kl = |c: &lapidary::pipeline::search::goal::Candidate| c.measured.unwrap().kl.value;
    let uniform = outcome.candidates.iter().filter(|c| matches!(c.origin, Origin::Uniform(_)) && c.bytes <= w3).map(kl);
    let uniform = uniform.fold(f64::INFINITY, f64::min);
    assert!(uniform.is_finite() && kl(best) < uniform, "{} against {uniform}", kl(best));
    // What is saved is what was measured, and says how each layer got there.
    let plan = opened.plan(&outcome.recipe).unwrap();
    assert_eq!(Counted::Packed.of(&plan), best.bytes);
    assert!(outcome.recipe.description.contains(" packed") && outcome.recipe.history[1].contains("packed"));
    let text = outcome.recipe.to_ron().unwrap();
    assert_eq!(Recipe::from_ron(&text, "test").unwrap(), outcome.recipe);
    for layer in opened.subject.layers.iter() {
        assert!(outcome.recipe.history.iter().any(|line| line.starts_with(&layer.name)), "{} is not told of", layer.name);
    }
    let (selection, rest) = parted(&opened.dataset(Split::Evaluate, None, &ctx).unwrap());
    assert_eq!(found.report.unwrap().data_key, rest.key(), "the final numbers are of samples that chose nothing");
    assert_eq!(found.selection, selection.len());
    let again = opened.search(&search(Goal::MaxBytes(w3)), &ctx, &mut |_| {}).unwrap();
    assert_eq!(again.outcome.recipe, outcome.recipe);
}

#[test]
fn a_search_keeps_its_other_limits() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let drop = search(Goal::MaxDrop { points: 2.0, confidence: 0.9 });
    let found = opened.search(&drop, &ctx, &mut |_| {}).unwrap();
    let best = &found.outcome.candidates[found.outcome.best.unwrap()];
    let task = best.measured.unwrap().task.unwrap();
    assert!(task.value + task.margin(0.9) <= 2.0);
    assert!(best.bytes < opened.subject.loaded.bytes / 2, "{} bytes", best.bytes);
    // Tied layers agree; of pruned and dense ones the better is taken; bit operations stay below a share.
    let tied = SearchRequest {
        ties: vec!["*conv*".to_owned()],
        choices: choices(&base(), Grids::Own, &[4, 8], &[0.5], &[]),
        max_other: Some((Objective::Bops, 0.2)),
        // Enough for uniform plans too, some of which are better and do not keep to it.
        effort: Effort { evaluations: 20, seconds: None },
        ..search(Goal::MaxRatio(0.9))
    };
    let found = opened.search(&tied, &ctx, &mut |_| {}).unwrap();
    assert!(found.outcome.best.is_some() && found.outcome.candidates.len() > 2);
    let plan = opened.plan(&found.outcome.recipe).unwrap();
    let mut convolutions: Vec<Treatment> =
        plan.layers.iter().filter(|l| l.layer.name.contains("conv")).map(|l| l.wanted).collect();
    convolutions.dedup();
    assert_eq!(convolutions.len(), 1);
    let (cost, _) = opened.cost(&found.outcome.recipe, false, &ctx).unwrap();
    let (original, _) = opened.cost(&Recipe::new("original", Treatment::UNCHANGED), false, &ctx).unwrap();
    assert!(cost.bops.unwrap() as f64 <= 0.2 * original.bops.unwrap() as f64);
    let none = SearchRequest { max_other: Some((Objective::Bops, 0.001)), ..tied };
    let error = opened.search(&none, &ctx, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("bit operations"), "{error}");
}

#[test]
fn what_cannot_be_found_is_said() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let error = opened.search(&search(Goal::MaxBytes(1_000)), &ctx, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("no plan is so small") && error.contains("1000 bytes"), "{error}");
    // More room than the original needs: it stays as it is.
    let roomy = SearchRequest { effort: Effort { evaluations: 1, seconds: None }, ..search(Goal::MaxRatio(5.0)) };
    let found = opened.search(&roomy, &ctx, &mut |_| {}).unwrap();
    assert_eq!((found.outcome.ended, found.outcome.candidates.len()), (Ended::Evaluations, 1));
    assert!(found.outcome.recipe.default.is_unchanged() && found.outcome.recipe.overrides.is_empty());
    let none = SearchRequest { choices: Vec::new(), ..search(Goal::MaxRatio(0.5)) };
    let error = opened.search(&none, &ctx, &mut |_| {}).unwrap_err();
    assert!(matches!(&error, WorkError::Search(e) if matches!(**e, SearchError::NoSettings)), "{error}");
    // One layer in blocks makes the whole file another one.
    let block = Treatment { weights: Scheme::Block(BlockFormat::Q4_0), ..Treatment::UNCHANGED };
    let mixed = choices(&base(), Grids::Own, &[8], &[], &[block]);
    let mixed = SearchRequest { choices: mixed, counted: Counted::File, ..search(Goal::MaxRatio(0.5)) };
    let error = opened.search(&mixed, &ctx, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("q4_0") && error.contains("--count packed"), "{error}");
    // Cancelled with something in hand: the best so far is the answer.
    let stopped = ctx.fresh();
    let mut see = |found: &Found| {
        if matches!(found, Found::Candidate(_)) {
            stopped.cancel();
        }
    };
    let found = opened.search(&search(Goal::MaxRatio(0.2)), &stopped, &mut see).unwrap();
    assert_eq!((found.outcome.ended, found.outcome.candidates.len(), found.report.is_none()), (Ended::Cancelled, 1, true));
    assert!(found.outcome.best.is_some() && !found.outcome.recipe.history.is_empty());
}

#[test]
fn what_a_plan_costs() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let cost = |name: &str| opened.cost(&presets::preset(name).unwrap(), false, &ctx).unwrap().0;
    let (fp32, w4, int8) = (cost("fp32"), cost("w4"), cost("int8"));
    let macs = fp32.macs.unwrap();
    assert_eq!((fp32.bops, w4.bops, int8.bops), (Some(macs * 1024), Some(macs * 4 * 32), Some(macs * 64)));
    assert_eq!(w4.bytes, opened.plan(&presets::preset("w4").unwrap()).unwrap().bytes);
    assert!((fp32.energy_ratio.unwrap() - 1.0).abs() < 1e-12);
    assert!(int8.energy_ratio.unwrap() < w4.energy_ratio.unwrap() && w4.energy_ratio.unwrap() < 1.0);
    assert!(fp32.layers.iter().chain(&int8.layers).all(|l| l.slow.is_none()));
    assert!(w4.layers.iter().all(|l| l.slow.as_ref().unwrap().contains("no faster")));
    assert!(fp32.milliseconds.unwrap() > 0.0);
    let mut pruned = Recipe::new("pruned", Treatment { sparsity: Sparsity::Fraction(0.5), ..Treatment::UNCHANGED });
    let (cost, check) = opened.cost(&pruned, true, &ctx).unwrap();
    assert_eq!(cost.bops, Some(macs * 512));
    assert!(cost.layers[0].slow.as_ref().unwrap().contains("zeros"));
    assert!(check.unwrap().measured > 0.0 && check.unwrap().predicted > 0.0);
    pruned.default.weights = Scheme::per_channel(8);
    assert_eq!(opened.cost(&pruned, false, &ctx).unwrap().0.bops, Some(macs * 4 * 32));
}

/// Two thin matrices beside each layer cost what they take.
#[test]
fn what_stands_beside_a_layer_is_paid_for() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let plain = Treatment { weights: Scheme::per_channel(3), ..base() };
    let recipes = [plain, Treatment { compensate: 4, ..plain }].map(|t| Recipe::new("test", t));
    let costs = recipes.each_ref().map(|r| opened.cost(r, false, &ctx).unwrap().0);
    let plans = recipes.each_ref().map(|r| opened.plan(r).unwrap());
    let mut thin = 0;
    for ((before, after), plan) in costs[0].layers.iter().zip(&costs[1].layers).zip(&plans[1].layers) {
        let (rank, outputs) = (u64::from(plan.treatment.compensate), plan.layer.out_channels() as u64);
        let weights = plan.layer.parameters() as u64;
        let beside = rank * (outputs + weights / outputs);
        thin += 2 * beside;
        let macs = before.macs.unwrap() * beside / weights;
        assert_eq!(after.macs.unwrap(), before.macs.unwrap() + macs, "{}", after.name);
        assert_eq!(after.bops.unwrap(), before.bops.unwrap() + macs * 16 * 32, "{}", after.name);
        assert_eq!(after.bytes, before.bytes + 2 * beside, "{}", after.name);
        assert_eq!(after.energy > before.energy && after.milliseconds > before.milliseconds, rank > 0, "{}", after.name);
    }
    assert!(thin > 0);
    // With codes packed as well; the graph itself grows by the nodes that add.
    let beside_weights =
        |counted: Counted, i: usize| counted.of(&plans[i]) - plans[i].layers.iter().map(|l| l.bytes).sum::<u64>();
    let packed = [0, 1].map(|i| plans[i].layers.iter().map(|l| l.storage.unwrap().total()).sum::<u64>());
    let graph = [0, 1].map(|i| beside_weights(Counted::File, i));
    assert_eq!(Counted::Packed.of(&plans[0]), graph[0] + packed[0]);
    assert_eq!(Counted::Packed.of(&plans[1]), graph[1] + packed[1] + thin);
}

#[test]
fn pairs_agree_with_the_metrics() {
    use lapidary::pipeline::compare::{confusion_changes, html, pairs, table};
    use lapidary::pipeline::evaluate::EachKl;
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let report = |name: &str| opened.evaluate(&presets::preset(name).unwrap(), Split::Evaluate, Some(200), &ctx).unwrap();
    let mut reports = ["fp32", "w3", "w2"].map(report);
    let all: Vec<_> = reports.iter().collect();
    let (rows, found) = (table(&all), pairs(&all));
    let top1 = |i: usize| reports[i].metrics.unwrap().top1.value;
    assert_eq!(found.len(), 3);
    for pair in &found {
        let (right, kl) = (pair.top1.unwrap(), pair.kl.unwrap());
        assert!((right.change - (top1(pair.b) - top1(pair.a))).abs() < 1e-9, "{pair:?}");
        assert!(right.lost + right.won <= right.differ && (0.0..=1.0).contains(&right.mcnemar));
        let means = reports[pair.b].fidelity.kl_mean - reports[pair.a].fidelity.kl_mean;
        assert!((kl.change - means).abs() < 1e-3 * means.abs() && kl.half_width > 0.0, "{pair:?}, means {means}");
    }
    // Against the original the pair is what the table's row says.
    let (points, half) = rows[2].change.unwrap();
    let right = found[1].top1.unwrap();
    assert!((right.change - points).abs() < 1e-9 && (right.half_width - half).abs() < 1e-9);
    assert_eq!(right.differ, reports[2].fidelity.flips);
    let cells = confusion_changes(&reports[2]);
    assert_eq!(cells.iter().map(|c| c.more).sum::<i64>(), 0, "samples move, they do not vanish");
    let net: i64 = cells.iter().filter(|c| c.label == c.predicted).map(|c| c.more).sum();
    assert_eq!(net, right.won as i64 - right.lost as i64);
    // Names are text, whatever is in them.
    reports[1].recipe = "<img src=x onerror=alert(1)>".to_owned();
    let page = html::page(&reports.iter().collect::<Vec<_>>(), &html::Beside::default());
    assert!(!page.contains("<img src=x") && page.contains("&lt;img src=x"));
    // Without labels there is the divergence; of an older report what is right.
    reports[2].metrics = None;
    reports[0].each_kl = EachKl::default();
    let told = pairs(&reports.iter().collect::<Vec<_>>());
    let told: Vec<_> = told.iter().map(|p| (p.a, p.b, p.top1.is_some(), p.kl.is_some())).collect();
    assert_eq!(told, [(0, 1, true, false), (1, 2, false, true)]);
    // Of other samples nothing can be paired.
    reports[1].data_key.push('x');
    assert!(pairs(&reports.iter().collect::<Vec<_>>()).is_empty());
}
