//! `sensitivity`: what each layer bears.

use super::super::args::{MethodArg, Sensitivity};
use super::super::output::Document;
use super::super::show::columns;
use super::super::verbs::{Answer, recipe};
use crate::engine::{Ctx, units};
use crate::pipeline::search::sensitivity::{Map, Method, Scores, Spared, Without};
use crate::pipeline::search::{Estimate, TaskUnit, Verdict};
use crate::workbench::explore::{MapRequest, settings};
use crate::workbench::work;
use serde_json::{Map as JsonMap, Value, json};
use std::fmt::Write as _;

pub(in crate::workbench::cli) fn sensitivity(call: &Sensitivity, ctx: &Ctx) -> Answer {
    let (_, opened) = work::open(&call.project, ctx)?;
    let base = recipe(&opened, &call.recipe)?;
    if call.without {
        let found = opened.without(&base, (call.split.into(), call.limit), ctx, &mut |_| {})?;
        let names: Vec<&str> = opened.subject.layers.iter().map(|l| l.name.as_str()).collect();
        return Ok(without(&found, &names));
    }
    let method = if call.fast || call.method == MethodArg::Fast { Method::Fast } else { Method::Exact };
    let settings = settings(&base.default, &call.bits, &call.activation_bits);
    let request = MapRequest { method, settings, split: call.split.into(), limit: call.limit };
    Ok(map(&opened.sensitivity(&request, ctx, &mut |_| {})?))
}

pub(super) fn estimate(value: Option<Estimate>) -> Value {
    value.map_or(Value::Null, |e| json!({ "value": e.value, "standard_error": e.standard_error, "samples": e.samples }))
}

/// The value alone, its error beside it: what scripts read first lies on top.
fn score(scores: &Scores) -> Value {
    let value = |e: Option<Estimate>| e.map(|e| e.value);
    json!({
        "kl": value(scores.kl),
        "kl_standard_error": scores.kl.and_then(|e| e.standard_error),
        "samples": scores.kl.map(|e| e.samples),
        "task": estimate(scores.task),
        "flips": scores.flips,
        "sqnr_db": scores.weight_sqnr_db,
        "local_sqnr_db": estimate(scores.local_sqnr_db),
        "cumulative_sqnr_db": estimate(scores.cumulative_sqnr_db),
        "note": scores.note,
    })
}

/// `w4` is asked for as `4`.
fn key(label: &str) -> String {
    label.strip_prefix('w').unwrap_or(label).to_owned()
}

fn unit(unit: TaskUnit) -> &'static str {
    match unit {
        TaskUnit::Top1Points => "points of top-1 lost",
        TaskUnit::NatsPerToken => "nats per token lost",
    }
}

fn map(map: &Map) -> Document {
    let layers: Vec<Value> = map
        .layers
        .iter()
        .zip(&map.scores)
        .map(|(name, row)| {
            let scores: JsonMap<String, Value> = map.settings.iter().zip(row).map(|(s, r)| (key(&s.label), score(r))).collect();
            json!({ "name": name, "scores": scores })
        })
        .collect();
    let json = json!({
        "method": map.method.name(),
        "settings": map.settings.iter().map(|s| s.label.clone()).collect::<Vec<_>>(),
        "units": { "kl": "nats", "task": unit(map.task_unit), "sqnr_db": "dB" },
        "samples": map.samples,
        "layers": layers,
        "measured": map.measured,
        "kept": map.layers.len() * map.settings.len() - map.measured.min(map.layers.len() * map.settings.len()),
        "seconds": map.seconds,
    });
    let mut rows = vec![std::iter::once("layer".to_owned()).chain(map.settings.iter().map(|s| s.label.clone())).collect()];
    for (name, row) in map.layers.iter().zip(&map.scores) {
        let cell = |s: &Scores| match s.kl {
            Some(kl) => format!("{:.2e} ± {:.0e}", kl.value, kl.standard_error.unwrap_or(f64::NAN)),
            None => "not finite".to_owned(),
        };
        rows.push(std::iter::once(name.clone()).chain(row.iter().map(cell)).collect::<Vec<String>>());
    }
    let mut text = format!(
        "KL in nats ± standard error, {} on {} samples; {} cells measured in {}, {} kept from before\n{}",
        map.method.name(),
        map.samples,
        map.measured,
        units::seconds(map.seconds),
        json["kept"],
        columns(&rows)
    );
    if map.method == Method::Fast {
        text += "one setting of each layer was run to the end; the others follow from the error at the layer's output\n";
    }
    let notes = map.layers.iter().zip(&map.scores).flat_map(|(name, row)| {
        row.iter().zip(&map.settings).filter_map(move |(s, setting)| Some((name, &setting.label, s.note.as_ref()?)))
    });
    for (name, setting, note) in notes {
        let _ = writeln!(text, "{name} at {setting}: {note}");
    }
    Document { json, text }
}

pub(super) fn verdict(verdict: Option<&Verdict>) -> Value {
    verdict.map_or(Value::Null, |v| {
        json!({
            "kl": v.kl.value, "kl_standard_error": v.kl.standard_error, "samples": v.kl.samples,
            "task": estimate(v.task), "flips": v.flips, "predictions": v.predictions,
        })
    })
}

fn without(found: &Without, names: &[&str]) -> Document {
    let name = |layer: usize| names.get(layer).copied().unwrap_or_default();
    let spared = |spared: Spared| match spared {
        Spared::Weights => "weights",
        Spared::Activations => "activations",
    };
    let ablations: Vec<Value> = found
        .ablations
        .iter()
        .map(|a| json!({ "layer": name(a.layer), "spared": spared(a.spared), "left": verdict(a.left.as_ref()) }))
        .collect();
    let json = json!({
        "recipe": found.recipe,
        "units": { "kl": "nats", "task": unit(found.task_unit) },
        "whole": verdict(found.whole.as_ref()),
        "ablations": ablations,
    });
    let kl = |v: Option<&Verdict>| v.map_or_else(|| "not finite".to_owned(), |v| format!("{:.3e}", v.kl.value));
    let mut rows = vec![["layer", "spared", "KL left", "standard error"].map(str::to_owned).to_vec()];
    for one in &found.ablations {
        let error = one.left.and_then(|v| v.kl.standard_error).map_or_else(String::new, |e| format!("{e:.0e}"));
        rows.push(vec![name(one.layer).to_owned(), spared(one.spared).to_owned(), kl(one.left.as_ref()), error]);
    }
    let text = format!("{}: KL {} nats; with one layer spared:\n{}", found.recipe, kl(found.whole.as_ref()), columns(&rows));
    Document { json, text }
}
