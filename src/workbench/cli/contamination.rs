//! What quantization did to a network, as text and JSON.

use super::show::columns;
use crate::pipeline::evaluate::{Contamination, Damage, Report};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Findings that are told without being asked for.
const TOLD: usize = 3;

fn damage(damage: Option<Damage>) -> Value {
    damage.map_or(
        Value::Null,
        |d| json!({ "saturated": d.saturated, "clipped_mass": d.clipped_mass, "zeroed": d.zeroed, "zeroed_mass": d.zeroed_mass }),
    )
}

pub(super) fn layers_json(report: &Report) -> Value {
    let layer = |c: &Contamination| {
        json!({
            "name": c.name, "data": damage(c.data), "weights": damage(c.weights), "dead_channels": c.dead_channels,
            "channels": c.channels, "accumulator": c.accumulator, "bias_error": c.bias_error, "bias_share": c.bias_share,
            "not_finite": c.not_finite, "own_share": c.own_share,
        })
    };
    report.contamination.iter().map(layer).collect()
}

pub(super) fn findings_json(report: &Report) -> Value {
    let finding = |f: &crate::pipeline::evaluate::Finding| json!({ "layer": f.layer, "defect": f.defect.name(), "stake": f.stake, "found": f.found, "way_out": f.way_out });
    report.findings.iter().map(finding).collect()
}

/// The worst findings; with `all` of them, and a table of all layers.
pub(super) fn text(report: &Report, all: bool) -> String {
    let mut text = String::new();
    if all && !report.contamination.is_empty() {
        text += &table(report);
    }
    let told = if all { report.findings.len() } else { TOLD };
    for (number, finding) in report.findings.iter().take(told).enumerate() {
        let _ = writeln!(text, "{}. {finding}", number + 1);
    }
    let left = report.findings.len().saturating_sub(told);
    if left > 0 {
        let _ = writeln!(text, "and {left} more findings; see them with --contamination");
    } else if all && report.findings.is_empty() {
        text += "nothing is amiss\n";
    }
    text
}

fn table(report: &Report) -> String {
    let percent = |share: Option<f64>| share.map_or_else(|| "–".to_owned(), |s| format!("{:.2}", 100.0 * s));
    let heads = [
        "layer (shares in %)",
        "data clipped",
        "of mass",
        "zeroed",
        "of mass",
        "weights clipped",
        "zeroed",
        "dead channels",
        "32-bit sums",
        "bias",
        "own error",
        "NaN, Inf",
    ];
    let mut rows = vec![heads.map(str::to_owned).to_vec()];
    rows.extend(report.contamination.iter().map(|c| {
        vec![
            c.name.clone(),
            percent(c.data.map(|d| d.saturated)),
            percent(c.data.map(|d| d.clipped_mass)),
            percent(c.data.map(|d| d.zeroed)),
            percent(c.data.map(|d| d.zeroed_mass)),
            percent(c.weights.map(|w| w.clipped_mass)),
            percent(c.weights.map(|w| w.zeroed)),
            c.dead_channels.to_string(),
            percent(c.accumulator),
            percent(c.bias_error),
            percent(c.own_share),
            c.not_finite.to_string(),
        ]
    }));
    columns(&rows)
}
