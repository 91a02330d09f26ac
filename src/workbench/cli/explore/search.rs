//! `search` and `cost`.

use super::super::CliError;
use super::super::args::{CountArg, MethodArg, ObjectiveArg, OfRecipe, Search};
use super::super::output::Document;
use super::super::show::columns;
use super::super::verbs::{Answer, recipe};
use super::map::verdict;
use crate::engine::{Ctx, units};
use crate::pipeline::configure::{Balance, Recipe};
use crate::pipeline::evaluate::Report;
use crate::pipeline::search::cost::{Check, Cost, Kernel};
use crate::pipeline::search::goal::{Candidate, Counted, Effort, Ended, Goal, Objective, Origin, Outcome};
use crate::pipeline::search::sensitivity::Method;
use crate::workbench::explore::{Grids, SearchRequest, Searched, choices, result_name};
use crate::workbench::project::Project;
use crate::workbench::work::{self, Opened};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

pub(in crate::workbench::cli) fn search(call: &Search, ctx: &Ctx) -> Answer {
    let (_, opened) = work::open(&call.project, ctx)?;
    let request = request(call, &opened)?;
    if let Some(name) = &call.name {
        opened.document.check_result_name(name).map_err(|e| CliError::Usage(e.to_string()))?;
    }
    let mut found = opened.search(&request, ctx, &mut |_| {})?;
    // The person may have gone on working meanwhile: what is saved is what the project is now, with one recipe more.
    let (mut project, mut document) = Project::open(&call.project)?;
    let wanted = call.name.clone().unwrap_or_else(|| result_name(&request.goal));
    let is_ours = call.name.is_some() && document.check_result_name(&wanted).is_ok();
    let name = if is_ours { wanted } else { document.free_name(&wanted) };
    found.outcome.recipe.name.clone_from(&name);
    document.recipes.insert(name, Arc::new(found.outcome.recipe.clone()));
    project.save(&document)?;
    if let Some(report) = &mut found.report {
        report.recipe.clone_from(&found.outcome.recipe.name);
        project.add_report(report)?;
    }
    let document = answer(&found, request.objective);
    match found.shortfall() {
        Some(why) => Err(CliError::Unmet(Box::new(document), why)),
        None => Ok(document),
    }
}

fn request(call: &Search, opened: &Opened) -> Result<SearchRequest, CliError> {
    let base = recipe(opened, &call.recipe)?;
    let also = call.also.iter().map(|name| Ok(recipe(opened, name)?.default)).collect::<Result<Vec<_>, CliError>>()?;
    let goal = match (call.max_bytes, call.max_ratio, call.max_drop) {
        (Some(bytes), ..) => Goal::MaxBytes(bytes),
        (_, Some(ratio), _) => Goal::MaxRatio(ratio),
        (.., Some(points)) => Goal::MaxDrop { points, confidence: call.confidence },
        _ => return Err(CliError::Usage("give one of --max-bytes, --max-ratio and --max-drop".to_owned())),
    };
    if call.objective != ObjectiveArg::Bytes && call.max_drop.is_none() {
        return Err(CliError::Usage("--objective says what --max-drop keeps small; limits of bytes have none".to_owned()));
    }
    if base.balance != Balance::None {
        let why = format!("recipe \"{}\" balances channels, which a search does not; leave `balance` out of it", base.name);
        return Err(CliError::Usage(why));
    }
    let grids = if call.own_grid { Grids::Own } else { Grids::Any };
    let bops = call.max_bops.map(|share| (Objective::Bops, share));
    Ok(SearchRequest {
        choices: choices(&base.default, grids, &call.bits, &call.prune, &also),
        equalize: base.equalize,
        ties: call.tie.clone(),
        goal,
        objective: match call.objective {
            ObjectiveArg::Bytes => Objective::Bytes,
            ObjectiveArg::Bops => Objective::Bops,
            ObjectiveArg::Latency => Objective::Latency,
        },
        counted: match call.count {
            CountArg::File => Counted::File,
            CountArg::Packed => Counted::Packed,
        },
        max_other: bops.or(call.max_latency.map(|share| (Objective::Latency, share))),
        effort: Effort { evaluations: call.max_evaluations, seconds: call.max_time },
        method: if call.method == MethodArg::Fast { Method::Fast } else { Method::Exact },
        limit: call.limit,
    })
}

fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Uniform(label) => format!("all {label}"),
        Origin::Frontier => "frontier".to_owned(),
        Origin::Step(round) => format!("step {round}"),
    }
}

fn ended(ended: Ended) -> &'static str {
    match ended {
        Ended::Settled => "settled",
        Ended::Evaluations => "evaluations",
        Ended::Time => "time",
        Ended::Cancelled => "cancelled",
    }
}

fn candidate(one: &Candidate) -> Value {
    json!({
        "origin": origin(&one.origin), "bytes": one.bytes, "size": one.size, "predicted_kl": one.predicted,
        "measured": verdict(one.measured.as_ref()), "keeps": one.keeps,
    })
}

fn chosen(outcome: &Outcome) -> Option<&Candidate> {
    outcome.candidates.get(outcome.best?)
}

/// The final numbers, of samples that chose nothing.
fn final_numbers(report: &Report) -> Value {
    json!({
        "samples": report.samples, "kl": report.fidelity.kl_mean, "top1": report.metrics.map(|m| m.top1.value),
        "drop": report.drop_points(), "flips": report.fidelity.flips,
        "perplexity": report.metrics.and_then(|m| m.next_token).map(|t| t.perplexity),
    })
}

fn answer(found: &Searched, objective: Objective) -> Document {
    let outcome = &found.outcome;
    // What was measured of the frontier stands with its points.
    let measured = |size: u64| outcome.candidates.iter().find(|c| c.origin == Origin::Frontier && c.size == size);
    let frontier: Vec<Value> = outcome
        .frontier
        .iter()
        .map(|p| {
            let known = measured(p.size).and_then(|c| c.measured).map(|v| v.kl.value);
            json!({ "size": p.size, "predicted_kl": p.kl, "measured_kl": known })
        })
        .collect();
    let report = found.report.as_ref();
    let best = chosen(outcome);
    let json = json!({
        "goal": outcome.goal.to_string(),
        "units": { "size": objective.unit(), "kl": "nats" },
        "frontier": frontier,
        "frontier_points": outcome.frontier_points,
        "frontier_exact": outcome.is_exact,
        "frontier_seconds": outcome.frontier_seconds,
        "candidates": outcome.candidates.iter().map(candidate).collect::<Vec<_>>(),
        "chosen": {
            "recipe": outcome.recipe.name,
            "bytes": best.map(|c| c.bytes),
            "kl": report.map(|r| r.fidelity.kl_mean),
            "top1": report.and_then(|r| r.metrics).map(|m| m.top1.value),
            "drop": report.and_then(Report::drop_points),
            "selection": best.and_then(|c| c.measured).map(|v| verdict(Some(&v))),
            "final": report.map(final_numbers),
            "keeps": best.is_some(),
        },
        "history": outcome.recipe.history,
        "ended": ended(outcome.ended),
        "evaluations": outcome.evaluations,
        "selection_samples": found.selection,
        "seconds": outcome.seconds,
    });
    Document { text: text(found, best), json }
}

fn text(found: &Searched, best: Option<&Candidate>) -> String {
    let outcome = &found.outcome;
    let mut rows = vec![["plan", "size", "KL predicted", "KL measured", "keeps"].map(str::to_owned).to_vec()];
    let mut sorted: Vec<&Candidate> = outcome.candidates.iter().collect();
    sorted.sort_by_key(|c| c.bytes);
    rows.extend(sorted.into_iter().map(|c| {
        let kl = c.measured.map_or_else(|| "not finite".to_owned(), |v| format!("{:.5}", v.kl.value));
        let mark = if best == Some(c) {
            "chosen"
        } else if c.keeps {
            "yes"
        } else {
            ""
        };
        vec![origin(&c.origin), units::bytes(c.bytes), format!("{:.5}", c.predicted), kl, mark.to_owned()]
    }));
    let mut text = format!(
        "{}: {} points on the frontier, {} plans measured on {} selection samples in {} (ended: {})\n{}",
        outcome.goal,
        outcome.frontier_points,
        outcome.evaluations,
        found.selection,
        units::seconds(outcome.seconds),
        ended(outcome.ended),
        columns(&rows)
    );
    for line in &outcome.recipe.history {
        let _ = writeln!(text, "{line}");
    }
    if let Some(report) = &found.report {
        let (name, value) = report.metrics.map_or(("flips", report.fidelity.flips.to_string()), |m| m.headline());
        let _ = writeln!(
            text,
            "saved as \"{}\": {}, KL {:.5}, {name} {value} on {} samples that chose nothing",
            outcome.recipe.name,
            units::bytes(report.bytes),
            report.fidelity.kl_mean,
            report.samples
        );
    }
    text
}

pub(in crate::workbench::cli) fn cost(of: &OfRecipe, check: bool, ctx: &Ctx) -> Answer {
    let (_, opened) = work::open(&of.project, ctx)?;
    let found: Arc<Recipe> = recipe(&opened, &of.recipe)?;
    let (cost, check) = opened.cost(&found, check, ctx)?;
    Ok(costs(&cost, check.as_ref(), ctx.pool().current_num_threads()))
}

fn costs(cost: &Cost, check: Option<&Check>, threads: usize) -> Document {
    let kernel = |kernel: Kernel| if kernel == Kernel::Integer { "integer" } else { "float" };
    let mut json = json!(cost);
    json["threads"] = json!(threads);
    json["energy_source"] = json!("Horowitz, ISSCC 2014, 45 nm; a ratio, not this machine's consumption");
    json["check"] = json!(check);
    let count = |n: Option<u64>| n.map_or_else(|| "?".to_owned(), units::count);
    let time = |ms: Option<f64>| ms.map_or_else(|| "?".to_owned(), |t| format!("{t:.4}"));
    let mut rows = vec![["layer", "bytes", "MACs", "bit operations", "kernel", "ms", ""].map(str::to_owned).to_vec()];
    rows.extend(cost.layers.iter().map(|l| {
        let why = l.slow.clone().unwrap_or_default();
        let kernel = kernel(l.kernel).to_owned();
        vec![l.name.clone(), l.bytes.to_string(), count(l.macs), count(l.bops), kernel, time(l.milliseconds), why]
    }));
    let mut text = format!(
        "{}: {}, {} MACs, {} bit operations and {} ms for one sample (model of {threads} threads), energy {} of the original's\n{}",
        cost.recipe,
        units::bytes(cost.bytes),
        count(cost.macs),
        count(cost.bops),
        time(cost.milliseconds),
        cost.energy_ratio.map_or_else(|| "?".to_owned(), |r| format!("{:.1} %", 100.0 * r)),
        columns(&rows)
    );
    if let Some(check) = check {
        let _ = writeln!(
            text,
            "original: {:.4} ms by the model, {:.4} ms measured for one of {} samples together",
            check.predicted, check.measured, check.batch
        );
    }
    Document { json, text }
}
