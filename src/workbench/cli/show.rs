//! Answers as text and as JSON. The keys are those that scripts rely on.

use super::bench::ForwardSpeed;
use super::contamination;
use super::output::Document;
use crate::engine::Warning;
use crate::engine::exec::Arithmetic;
use crate::engine::graph::{Layer, Port};
use crate::engine::units;
use crate::pipeline::calibrate::Statistics;
use crate::pipeline::compare;
use crate::pipeline::compress::{Step, Variant};
use crate::pipeline::configure::Plan;
use crate::pipeline::evaluate::{Report, TaskMetrics};
use crate::pipeline::export::Exported;
use crate::pipeline::load::families::{self, Group};
use crate::pipeline::load::{Format, Subject};
use crate::workbench::conformance::{Conformance, Outcome};
use crate::workbench::work::{Opened, warning_lines};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;

/// Lines with columns as wide as their widest cell; numbers (cells after the first) to the right.
pub(super) fn columns(rows: &[Vec<String>]) -> String {
    let count = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| rows.iter().filter_map(|r| r.get(c)).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..count).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let mut line = String::new();
        for (c, cell) in row.iter().enumerate() {
            let pad = " ".repeat(widths[c].saturating_sub(cell.chars().count()));
            let _ = if c == 0 { write!(line, "{cell}{pad}") } else { write!(line, "  {pad}{cell}") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

fn db(value: Option<f64>) -> String {
    value.map_or_else(|| "–".to_owned(), |v| format!("{v:.1}"))
}

/// JSON has no infinity: an error of nothing is null.
fn finite(value: f64) -> Value {
    if value.is_finite() { json!(value) } else { Value::Null }
}

fn shape(port: &Port) -> String {
    match &port.fact.shape {
        Some(dims) => format!("[{}]", dims.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        None => "[?]".to_owned(),
    }
}

pub(super) fn project(root: &Path, opened: &Opened, samples: usize) -> Document {
    let layers = opened.subject.layers.len();
    let json = json!({
        "project": root.display().to_string(),
        "model": opened.document.model.path,
        "layers": layers,
        "samples": samples,
    });
    let root = root.display();
    let text = if opened.subject.loaded.has_graph() {
        format!("{root}: {layers} layers, {samples} samples to evaluate\nnext: lapidary evaluate {root} --recipe int8\n")
    } else {
        format!("{root}: {layers} layers of weights without a graph\nnext: lapidary compress {root} --recipe w4\n")
    };
    Document { json, text }
}

pub(super) fn model(subject: &Subject, warnings: &[Warning]) -> Document {
    if !subject.loaded.has_graph() {
        return weights(subject, warnings);
    }
    let (loaded, model) = (&subject.loaded, &subject.original);
    let ports = |ports: &[Port]| -> Vec<Value> {
        ports
            .iter()
            .filter(|p| !model.constants.contains_key(&p.wire))
            .map(|p| json!({ "name": &*p.wire, "type": p.fact.dtype.map(|d| d.to_string()), "shape": shape(p) }))
            .collect()
    };
    let layers: Vec<Value> = subject
        .layers
        .iter()
        .map(|l| json!({ "name": l.name, "op": l.kind.name(), "shape": l.shape, "parameters": l.parameters(), "macs": l.macs }))
        .collect();
    let json = json!({
        "format": loaded.format.name(),
        "opset": model.opset(),
        "producer": loaded.source.producer(),
        "parameters": model.parameters(),
        "bytes": loaded.bytes,
        "inputs": ports(&model.inputs),
        "outputs": ports(&model.outputs),
        "layers": layers,
        "warnings": warning_lines(warnings),
    });
    let mut text = format!(
        "{}: {}, opset {}, {} parameters, {}\n",
        loaded.path.display(),
        loaded.format.name(),
        model.opset(),
        units::count(model.parameters()),
        units::bytes(loaded.bytes)
    );
    if !loaded.externals.is_empty() && loaded.format != Format::Onnx {
        let files: Vec<String> = loaded.externals.iter().map(|p| p.display().to_string()).collect();
        let _ = writeln!(text, "with the graph of {}", files.join(", "));
    }
    for (kind, ports) in [("input", &model.inputs), ("output", &model.outputs)] {
        for port in ports.iter().filter(|p| !model.constants.contains_key(&p.wire)) {
            let _ = writeln!(text, "{kind} {} {}", port.wire, shape(port));
        }
    }
    let mut rows = vec![["layer", "op", "shape", "parameters", "MACs"].map(str::to_owned).to_vec()];
    rows.extend(subject.layers.iter().map(|l| {
        vec![
            l.name.clone(),
            l.kind.name().to_owned(),
            dims(&l.shape),
            units::count(l.parameters() as u64),
            l.macs.map_or_else(|| "?".to_owned(), units::count),
        ]
    }));
    text += &columns(&rows);
    for line in warning_lines(warnings) {
        let _ = writeln!(text, "warning: {line}");
    }
    Document { json, text }
}

fn dims(shape: &[usize]) -> String {
    shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("×")
}

/// A file of weights without a graph: its layers by group, and what else it holds.
fn weights(subject: &Subject, warnings: &[Warning]) -> Document {
    let (loaded, model) = (&subject.loaded, &subject.original);
    let family = families::family(model);
    let dtype = |layer: &Layer| model.constants.get(&layer.weight).map_or_else(String::new, |t| t.dtype().to_string());
    let layer = |l: &Layer| {
        json!({
            "name": l.name, "op": l.kind.name(), "group": Group::of(l).name(), "block": families::block(l),
            "type": dtype(l), "shape": l.shape, "outputs_axis": l.out_axis, "parameters": l.parameters(), "macs": null,
        })
    };
    let is_layer: BTreeSet<&str> = subject.layers.iter().map(|l| &*l.weight).collect();
    let others: Vec<_> = model.constants.iter().filter(|(wire, _)| !is_layer.contains(&***wire)).collect();
    let json = json!({
        "format": loaded.format.name(),
        "graph": false,
        "family": family,
        "parameters": model.parameters(),
        "bytes": loaded.bytes,
        "inputs": [],
        "outputs": [],
        "layers": subject.layers.iter().map(layer).collect::<Vec<_>>(),
        "others": others
            .iter()
            .map(|(wire, t)| json!({ "name": &***wire, "type": t.dtype().to_string(), "shape": t.shape() }))
            .collect::<Vec<_>>(),
        "warnings": warning_lines(warnings),
    });
    let mut text = format!(
        "{}: {}, weights without a graph, {} parameters, {}\n",
        loaded.path.display(),
        loaded.format.name(),
        units::count(model.parameters()),
        units::bytes(loaded.bytes)
    );
    if let Some(family) = family {
        let _ = writeln!(text, "names as in: {family}");
    }
    let mut groups: BTreeMap<Group, (usize, u64)> = BTreeMap::new();
    for layer in subject.layers.iter() {
        let sums = groups.entry(Group::of(layer)).or_default();
        *sums = (sums.0 + 1, sums.1 + layer.parameters() as u64);
    }
    for (group, (count, parameters)) in groups {
        let plural = if count == 1 { "" } else { "s" };
        let _ = writeln!(text, "{}: {count} layer{plural}, {} parameters", group.name(), units::count(parameters));
    }
    let mut rows = vec![["layer", "group", "op", "type", "shape", "parameters"].map(str::to_owned).to_vec()];
    rows.extend(subject.layers.iter().map(|l| {
        let (group, op) = (Group::of(l).name().to_owned(), l.kind.name().to_owned());
        vec![l.name.clone(), group, op, dtype(l), dims(&l.shape), units::count(l.parameters() as u64)]
    }));
    text += &columns(&rows);
    let _ = writeln!(text, "and {} other tensors (norms, biases, tables), which are left as they are", others.len());
    for line in warning_lines(warnings) {
        let _ = writeln!(text, "warning: {line}");
    }
    Document { json, text }
}

pub(super) fn nothing_to_calibrate(recipe: &str) -> Document {
    Document {
        json: json!({ "samples": 0, "seconds": 0.0, "reused": false, "peak_rss_bytes": super::bench::peak_rss_bytes() }),
        text: format!("{recipe} needs no calibration\n"),
    }
}

pub(super) fn statistics(statistics: &Statistics, reused: bool, seconds: f64) -> Document {
    let seen: Vec<_> = statistics.wires.iter().filter_map(|(w, s)| Some((w, &s.values, s.values.range()?))).collect();
    let json = json!({
        "samples": statistics.samples,
        "seconds": seconds,
        "reused": reused,
        "peak_rss_bytes": super::bench::peak_rss_bytes(),
        "ranges": seen.iter().map(|(w, _, r)| ((*w).clone(), json!([r.low, r.high]))).collect::<serde_json::Map<_, _>>(),
    });
    let how = if reused { "reused from the cache" } else { "collected" };
    let mut rows = vec![["wire", "lowest", "highest", "mean", "deviation"].map(str::to_owned).to_vec()];
    rows.extend(seen.iter().map(|(wire, values, range)| {
        let numbers = [f64::from(range.low), f64::from(range.high), values.mean(), values.variance().sqrt()];
        std::iter::once((*wire).clone()).chain(numbers.map(|n| format!("{n:.4}"))).collect()
    }));
    let text = format!("{} samples, {how} in {}\n{}", statistics.samples, units::seconds(seconds), columns(&rows));
    Document { json, text }
}

pub(super) fn variant(plan: &Plan, variant: &Variant, seconds: f64) -> Document {
    let layers: Vec<Value> = variant
        .layers
        .iter()
        .map(|l| {
            json!({
                "name": l.name, "sqnr_db": finite(l.weight_sqnr_db), "zero_fraction": l.zero_fraction, "bytes": l.bytes,
                "steps": l.steps.iter().map(step_json).collect::<Vec<_>>(),
            })
        })
        .collect();
    let json = json!({ "bytes": plan.bytes, "layers": layers, "seconds": seconds });
    let mut rows = vec![["layer", "weight SQNR dB", "zeros", "bytes"].map(str::to_owned).to_vec()];
    rows.extend(variant.layers.iter().map(|l| {
        let sqnr = Some(l.weight_sqnr_db).filter(|v| v.is_finite());
        vec![l.name.clone(), db(sqnr), format!("{:.1} %", 100.0 * l.zero_fraction), l.bytes.to_string()]
    }));
    let mut text = format!("{}: {} in {}\n{}", plan.recipe, units::bytes(plan.bytes), units::seconds(seconds), columns(&rows));
    if variant.layers.iter().any(|l| !l.steps.is_empty()) {
        text += &columns(&step_rows(variant));
    }
    Document { json, text }
}

fn step_json(step: &Step) -> Value {
    json!({ "name": step.name, "before": step.before, "after": step.after, "kept": step.kept })
}

/// What each step of a correction did to each layer.
fn step_rows(variant: &Variant) -> Vec<Vec<String>> {
    let mut rows = vec![["layer", "step", "held-out error", "after", "kept"].map(str::to_owned).to_vec()];
    for layer in &variant.layers {
        rows.extend(layer.steps.iter().map(|step| {
            let kept = if step.kept { "yes" } else { "taken back" };
            let errors = [step.before, step.after].map(|e| format!("{:.4} %", 100.0 * e));
            let [before, after] = errors;
            vec![layer.name.clone(), step.name.to_owned(), before, after, kept.to_owned()]
        }));
    }
    rows
}

fn metrics(metrics: Option<&TaskMetrics>) -> Value {
    metrics.map_or(Value::Null, |m| {
        let mut json = json!({
            "top1": m.top1.value, "top1_low": m.top1.low, "top1_high": m.top1.high,
            "top5": m.top5.value, "top5_low": m.top5.low, "top5_high": m.top5.high,
        });
        if let Some(text) = m.next_token {
            json["perplexity"] = json!(text.perplexity);
            json["tokens"] = json!(text.tokens);
        }
        json
    })
}

fn report_json(report: &Report) -> Value {
    let f = &report.fidelity;
    json!({
        "recipe": report.recipe,
        "split": report.split,
        "samples": report.samples,
        "metrics": metrics(report.metrics.as_ref()),
        "baseline": metrics(report.baseline.as_ref()),
        "fidelity": {
            "kl_mean": f.kl_mean, "kl_median": f.kl_median, "kl_p99": f.kl_p99, "kl_max": f.kl_max,
            "flips": f.flips, "flips_to_wrong": f.flips_to_wrong, "flips_to_right": f.flips_to_right,
            "cosine": f.cosine, "sqnr_db": f.sqnr_db,
        },
        "layers": report.layers.iter().map(|l| json!({
            "name": l.name, "weight_sqnr_db": l.weight_sqnr_db, "local_sqnr_db": l.local_sqnr_db,
            "cumulative_sqnr_db": l.cumulative_sqnr_db, "samples": l.samples,
        })).collect::<Vec<_>>(),
        "contamination": contamination::layers_json(report),
        "findings": contamination::findings_json(report),
        "bytes": report.bytes,
        "bytes_original": report.bytes_original,
        "seed": report.seed,
        "seconds": report.seconds,
        "arithmetic": if report.integer_layers.is_some() { "integer" } else { "simulated" },
        "integer_layers": report.integer_layers.unwrap_or(0),
    })
}

pub(super) fn report(report: &Report, contaminated: bool) -> Document {
    let f = &report.fidelity;
    let mut text = format!("{} on {} samples ({})\n", report.recipe, report.samples, report.split);
    if let (Some(after), Some(before)) = (report.metrics, report.baseline) {
        if let (Some(text_after), Some(text_before)) = (after.next_token, before.next_token) {
            let (now, then) = (text_after.perplexity, text_before.perplexity);
            let _ = writeln!(text, "perplexity {now:.4}, original {then:.4}, on {} predicted tokens", text_after.tokens);
        }
        let _ = writeln!(
            text,
            "top-1 {:.2} % ({:.2} to {:.2}), original {:.2} %; top-5 {:.2} %",
            after.top1.value, after.top1.low, after.top1.high, before.top1.value, after.top5.value
        );
    }
    let _ = writeln!(text, "KL to the original {:.5} mean, {:.5} at the 99th percentile", f.kl_mean, f.kl_p99);
    let _ = writeln!(text, "{} predictions changed: {} to wrong, {} to right", f.flips, f.flips_to_wrong, f.flips_to_right);
    let _ = writeln!(
        text,
        "{} of {} ({:.1} %), {}",
        units::bytes(report.bytes),
        units::bytes(report.bytes_original),
        100.0 * report.bytes as f64 / report.bytes_original.max(1) as f64,
        units::seconds(report.seconds)
    );
    if let Some(layers) = report.integer_layers {
        let _ = writeln!(text, "{layers} layers computed on integers");
    }
    if !report.layers.is_empty() {
        let mut rows = vec![["layer (SQNR in dB)", "weights", "output, alone", "output, cumulative"].map(str::to_owned).to_vec()];
        rows.extend(
            report
                .layers
                .iter()
                .map(|l| vec![l.name.clone(), db(l.weight_sqnr_db), db(l.local_sqnr_db), db(l.cumulative_sqnr_db)]),
        );
        text += &columns(&rows);
    }
    text += &contamination::text(report, contaminated);
    Document { json: report_json(report), text }
}

pub(super) fn comparison(reports: &[Report]) -> Document {
    let all: Vec<&Report> = reports.iter().collect();
    let table = compare::table(&all);
    let recipes: Vec<Value> = table
        .iter()
        .map(|row| {
            let mut json = report_json(row.report);
            json["ratio"] = json!(row.ratio);
            json["frontier"] = json!(row.on_frontier);
            json["change"] = row.change.map_or(Value::Null, |(points, half)| json!({ "points": points, "half_width": half }));
            json
        })
        .collect();
    let layers: Vec<Value> = compare::layer_rows(&all)
        .into_iter()
        .map(|l| json!({ "name": l.name, "weight_sqnr_db": l.weight_sqnr_db, "cumulative_sqnr_db": l.cumulative_sqnr_db }))
        .collect();
    let changed: Vec<Value> = compare::changed_samples(&all)
        .into_iter()
        .map(|c| json!({ "sample": c.sample, "position": c.position, "label": c.label, "before": c.before, "after": c.after }))
        .collect();
    let heads = ["recipe", "size", "of original", "top-1 %", "95 % interval", "change", "KL mean", "KL p99", "flips", "frontier"];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    let perplexity = |r: &Report| r.metrics.and_then(|m| Some(m.next_token?.perplexity));
    let texts = reports.iter().any(|r| perplexity(r).is_some());
    rows.extend(table.iter().map(|row| {
        let r = row.report;
        let top1 = r.metrics.map(|m| m.top1);
        vec![
            r.recipe.clone(),
            units::bytes(r.bytes),
            format!("{:.1} %", 100.0 * row.ratio),
            top1.map_or_else(|| "–".to_owned(), |t| format!("{:.2}", t.value)),
            top1.map_or_else(|| "–".to_owned(), |t| format!("{:.1} to {:.1}", t.low, t.high)),
            row.change.map_or_else(|| "–".to_owned(), |(p, h)| format!("{p:+.2} ± {h:.2}")),
            format!("{:.5}", r.fidelity.kl_mean),
            format!("{:.5}", r.fidelity.kl_p99),
            r.fidelity.flips.to_string(),
            if row.on_frontier { "yes" } else { "" }.to_owned(),
        ]
    }));
    if texts {
        let values = reports.iter().map(|r| perplexity(r).map_or_else(|| "–".to_owned(), |p| format!("{p:.4}")));
        let column = std::iter::once("perplexity".to_owned()).chain(values);
        rows.iter_mut().zip(column).for_each(|(row, cell)| row.insert(3, cell));
    }
    let samples = reports.first().map_or(0, |r| r.samples);
    let pairs = compare::pairs(&all);
    let mut text = format!("{}{samples} samples; a row is on the frontier when no smaller one is as good\n", columns(&rows));
    if !pairs.is_empty() {
        let heads = ["pair, on the same samples", "change of top-1", "lost", "won", "McNemar p", "change of KL"];
        let mut rows = vec![heads.map(str::to_owned).to_vec()];
        let name = |i: usize| reports.get(i).map_or("", |r| r.recipe.as_str());
        let none = || "–".to_owned();
        rows.extend(pairs.iter().map(|p| {
            vec![
                format!("{} → {}", name(p.a), name(p.b)),
                p.top1.map_or_else(none, |t| format!("{:+.2} ± {:.2}", t.change, t.half_width)),
                p.top1.map_or_else(none, |t| t.lost.to_string()),
                p.top1.map_or_else(none, |t| t.won.to_string()),
                p.top1.map_or_else(none, |t| t.p_text()),
                p.kl.map_or_else(none, |k| format!("{:+.5} ± {:.5}", k.change, k.half_width)),
            ]
        }));
        text += &columns(&rows);
    }
    let confusion: Vec<_> = all.iter().map(|r| compare::confusion_changes(r)).collect();
    let json = json!({ "recipes": recipes, "layers": layers, "changed": changed, "pairs": pairs, "confusion": confusion });
    Document { json, text }
}

pub(super) fn exported(exported: &Exported) -> Document {
    let json = json!({
        "path": exported.path.display().to_string(),
        "bytes": exported.bytes,
        "sha256": exported.sha256,
        "checks": exported.checks.iter().map(|c| json!({ "name": c.name, "passed": c.passed, "value": c.value })).collect::<Vec<_>>(),
    });
    let mut text = format!("{}: {} bytes, sha256 {}\n", exported.path.display(), exported.bytes, exported.sha256);
    for check in &exported.checks {
        let _ = writeln!(text, "{} {}: {}", if check.passed { "passed" } else { "FAILED" }, check.name, check.value);
    }
    Document { json, text }
}

impl Document {
    /// The size of a file next to that of the original, and to what `zip -9` makes of that.
    pub(super) fn beside(mut self, exported: &Exported, original: u64, zipped: Option<u64>) -> Self {
        self.json["bytes_original"] = json!(original);
        self.json["bytes_original_zipped"] = json!(zipped);
        let share = |of: u64| 100.0 * exported.bytes as f64 / of.max(1) as f64;
        let _ = write!(self.text, "{:.1} % of the original's {original} bytes", share(original));
        let _ = match zipped {
            Some(zipped) => writeln!(self.text, ", {:.1} % of the {zipped} that zip -9 makes of it", share(zipped)),
            None => writeln!(self.text),
        };
        self
    }
}

pub(super) fn speed(speed: &ForwardSpeed) -> Document {
    let integer = speed.arithmetic == Arithmetic::Integer;
    let json = json!({
        "samples_per_second": speed.samples_per_second,
        "batch": speed.batch,
        "threads": speed.threads,
        "peak_rss_bytes": speed.peak_rss_bytes,
        "arithmetic": if integer { "integer" } else { "simulated" },
        "integer_layers": speed.integer_layers,
    });
    let mut text = format!(
        "{:.1} samples per second, batch {}, {} threads, {} at most\n",
        speed.samples_per_second,
        speed.batch,
        speed.threads,
        units::bytes(speed.peak_rss_bytes)
    );
    if integer {
        let _ = writeln!(text, "{} layers computed on integers", speed.integer_layers);
    }
    Document { json, text }
}

pub(super) fn conformance(result: &Conformance) -> Document {
    let tests: Vec<Value> = result
        .tests
        .iter()
        .map(|t| {
            let mut json = json!({ "name": t.name, "outcome": t.outcome.name() });
            if let Some(reason) = t.outcome.reason() {
                json["reason"] = json!(reason);
            }
            json
        })
        .collect();
    let (passed, failed, unsupported) = (result.passed(), result.failed(), result.unsupported());
    let mut text = format!("{passed} passed, {failed} failed, {unsupported} unsupported\n");
    for test in &result.tests {
        if let Outcome::Failed(reason) = &test.outcome {
            let _ = writeln!(text, "FAILED {}: {reason}", test.name);
        }
    }
    Document { json: json!({ "passed": passed, "failed": failed, "unsupported": unsupported, "tests": tests }), text }
}
