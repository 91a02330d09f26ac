//! What a recipe will do, as text and as JSON.

use super::output::Document;
use super::show::columns;
use crate::engine::units;
use crate::pipeline::configure::{GroupCut, LayerPlan, Plan};
use crate::pipeline::export::runtimes::{Runs, Runtime, Verdict};
use serde_json::{Value, json};

pub(super) fn plan(plan: &Plan) -> Document {
    let name = |index: &usize| plan.layers.get(*index).map(|l| l.layer.name.as_str());
    let groups: Vec<Value> = plan
        .groups
        .iter()
        .map(|g| json!({ "kind": g.kind.name(), "layers": g.layers.iter().filter_map(name).collect::<Vec<_>>() }))
        .collect();
    let json = json!({
        "recipe": plan.recipe,
        "file": plan.file.name(),
        "bytes": plan.bytes,
        "bytes_original": plan.original_bytes,
        "bits_per_weight": plan.bits_per_weight,
        "layers": plan.layers.iter().map(layer).collect::<Vec<_>>(),
        "groups": groups,
        "channels": plan.cuts.iter().flat_map(|cuts| &cuts.groups).map(|g| channels(g, plan)).collect::<Vec<_>>(),
    });
    let mut rows = vec![["layer", "scheme", "sparsity", "inputs", "bytes", ""].map(str::to_owned).to_vec()];
    rows.extend(plan.layers.iter().map(|l| {
        let t = &l.treatment;
        let why = l.refusal.as_ref().or(l.note.as_ref()).cloned().unwrap_or_default();
        vec![l.layer.name.clone(), t.weights_text(), t.sparsity.to_string(), t.activations.to_string(), l.bytes.to_string(), why]
    }));
    let text = format!(
        "{}: {} of {} ({:.1} %), {:.2} bits per weight\n{}",
        plan.recipe,
        units::bytes(plan.bytes),
        units::bytes(plan.original_bytes),
        100.0 * plan.bytes as f64 / plan.original_bytes.max(1) as f64,
        plan.bits_per_weight,
        columns(&rows)
    );
    Document { json, text }
}

/// A group of channels that go together.
fn channels(group: &GroupCut, plan: &Plan) -> Value {
    let name = |index: &usize| plan.layers.get(*index).map(|l| l.layer.name.as_str());
    let mut json = json!({
        "name": group.name,
        "layers": group.layers.iter().filter_map(name).collect::<Vec<_>>(),
        "channels": group.channels,
        "kept": group.kept,
    });
    if group.kept < group.channels {
        json["by"] = json!(group.by.name());
    }
    if let Some(note) = &group.note {
        json["note"] = json!(note);
    }
    json
}

/// The plan, and what a runtime will do with each layer; `unwritable` where its file cannot be written.
pub(super) fn for_runtime(of: &Plan, runtime: &Runtime, unwritable: Option<String>) -> Document {
    let Document { mut json, mut text } = plan(of);
    let verdicts = runtime.verdicts(of);
    let remarks = |v: &Verdict| v.remarks.iter().map(|(why, source)| json!({ "why": why, "source": source })).collect::<Vec<_>>();
    let layers: Vec<Value> =
        verdicts.iter().map(|v| json!({ "name": v.layer, "runs": v.runs.to_string(), "remarks": remarks(v) })).collect();
    let count = |runs: Runs| verdicts.iter().filter(|v| v.runs == runs).count();
    let [native, falls, refused] = [Runs::Native, Runs::Falls, Runs::Refused].map(count);
    json["runtime"] = json!({
        "name": runtime.name, "title": runtime.title, "file": runtime.file().name(), "native": native, "as_floats": falls,
        "refused": refused, "unwritable": unwritable, "layers": layers,
    });
    text += &format!("\n{}: {native} layers native, {falls} as floats, {refused} refused\n", runtime.title);
    text += &unwritable.map_or_else(String::new, |why| format!("its file cannot be written: {why}\n"));
    let mut rows = Vec::new();
    for (verdict, (why, source)) in verdicts.iter().flat_map(|v| v.remarks.iter().map(move |r| (v, r))) {
        rows.push(vec![verdict.layer.clone(), verdict.runs.to_string(), why.clone(), format!("[{source}]")]);
    }
    text += &columns(&rows);
    Document { json, text }
}

fn layer(l: &LayerPlan) -> Value {
    let t = &l.treatment;
    let mut layer = json!({
        "name": l.layer.name,
        "scheme": t.weights.to_string(),
        "sparsity": t.sparsity.to_string(),
        "activations": t.activations.to_string(),
        "bytes": l.bytes,
        "bytes_original": l.original_bytes,
    });
    if t.weights_text() != t.weights.to_string() {
        layer["scheme_in_full"] = json!(t.weights_text());
    }
    if let Some(s) = l.storage {
        layer["scheme_bytes"] = json!({
            "total": s.total(), "values": s.values, "scales": s.scales, "zero_points": s.zero_points,
            "codebook": s.codebook, "padding": s.padding,
        });
    }
    for (key, value) in [("refusal", &l.refusal), ("note", &l.note)] {
        if let Some(value) = value {
            layer[key] = json!(value);
        }
    }
    layer
}
