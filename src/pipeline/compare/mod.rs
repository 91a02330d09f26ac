//! Stage 6. Reports → tables, deltas, frontier: pure functions without tensors or files.

mod confusion;
pub mod html;
mod paired;

pub use confusion::{ConfusionChange, confusion_changes};
pub use paired::{KlChange, Paired, Top1Change, mcnemar, pairs};

use crate::pipeline::evaluate::{ChangedPrediction, Report};
use std::collections::{BTreeMap, BTreeSet};

/// Indices of the points that no other beats: fewer bytes at the same or better quality. Sorted by
/// bytes; of equal points the first stays.
///
/// A point is (bytes, quality), more quality being better.
#[must_use]
pub fn frontier(points: &[(f64, f64)]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..points.len()).filter(|&i| points[i].0.is_finite() && !points[i].1.is_nan()).collect();
    order.sort_by(|&a, &b| points[a].0.total_cmp(&points[b].0).then(points[b].1.total_cmp(&points[a].1)).then(a.cmp(&b)));
    let mut best = f64::NEG_INFINITY;
    order.retain(|&i| {
        let better = points[i].1 > best;
        best = best.max(points[i].1);
        better
    });
    order
}

/// One recipe's row of the comparison.
#[derive(Debug, Clone)]
pub struct Row<'a> {
    pub report: &'a Report,
    /// Bytes as a share of the original's.
    pub ratio: f64,
    /// Change of top-1 in points, with the 95 % half-width of the paired difference.
    pub change: Option<(f64, f64)>,
    /// Whether no other row has fewer bytes and at least its quality.
    pub on_frontier: bool,
}

/// The rows in the order of `reports`. Quality is top-1 (for texts −perplexity) where all have labels,
/// else −KL.
#[must_use]
pub fn table<'a>(reports: &[&'a Report]) -> Vec<Row<'a>> {
    let labelled = reports.iter().all(|r| r.metrics.is_some());
    let quality = |r: &Report| match (labelled, &r.metrics) {
        (true, Some(metrics)) => metrics.next_token.map_or(metrics.top1.value, |t| -t.perplexity),
        _ => -r.fidelity.kl_mean,
    };
    let points: Vec<(f64, f64)> = reports.iter().map(|r| (r.bytes as f64, quality(r))).collect();
    let best: BTreeSet<usize> = frontier(&points).into_iter().collect();
    reports
        .iter()
        .enumerate()
        .map(|(i, report)| Row {
            report,
            ratio: report.bytes as f64 / report.bytes_original.max(1) as f64,
            change: paired_change(report),
            on_frontier: best.contains(&i),
        })
        .collect()
}

/// Change of top-1 in points and its 95 % half-width, from the flips b (right → wrong) and c
/// (wrong → right): SE = √(b + c − (b − c)²/n)/n.
fn paired_change(report: &Report) -> Option<(f64, f64)> {
    report.metrics?;
    let n = report.predictions() as f64;
    let (b, c) = (report.fidelity.flips_to_wrong as f64, report.fidelity.flips_to_right as f64);
    let error = (b + c - (b - c).powi(2) / n).max(0.0).sqrt() / n;
    Some((100.0 * (c - b) / n, 100.0 * 1.96 * error))
}

/// A layer's cumulative output error in each report, in dB; `None` where it is not measured or there
/// is no error.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerRow {
    pub name: String,
    pub cumulative_sqnr_db: Vec<Option<f64>>,
    pub weight_sqnr_db: Vec<Option<f64>>,
}

/// The layers of all reports side by side, in running order.
#[must_use]
pub fn layer_rows(reports: &[&Report]) -> Vec<LayerRow> {
    let mut names: Vec<&str> = Vec::new();
    for name in reports.iter().flat_map(|r| r.layers.iter().map(|l| l.name.as_str())) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let find = |report: &Report, name: &str| report.layers.iter().find(|l| l.name == name).cloned();
    names
        .into_iter()
        .map(|name| LayerRow {
            name: name.to_owned(),
            cumulative_sqnr_db: reports.iter().map(|r| find(r, name).and_then(|l| l.cumulative_sqnr_db)).collect(),
            weight_sqnr_db: reports.iter().map(|r| find(r, name).and_then(|l| l.weight_sqnr_db)).collect(),
        })
        .collect()
}

/// Samples whose prediction changed in at least one report, each with what every report predicts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChangedSample {
    pub sample: usize,
    /// Of the token, in a text.
    pub position: Option<usize>,
    pub label: Option<usize>,
    pub before: usize,
    /// `None` where the report's prediction is the original's.
    pub after: Vec<Option<usize>>,
}

#[must_use]
pub fn changed_samples(reports: &[&Report]) -> Vec<ChangedSample> {
    let mut found: BTreeMap<(usize, Option<usize>), ChangedSample> = BTreeMap::new();
    for (number, report) in reports.iter().enumerate() {
        for ChangedPrediction { sample, position, label, before, after } in report.changed.iter().copied() {
            let fresh = || ChangedSample { sample, position, label, before, after: vec![None; reports.len()] };
            let change = found.entry((sample, position)).or_insert_with(fresh);
            change.after[number] = Some(after);
        }
    }
    found.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::frontier;

    #[test]
    fn keeps_what_nothing_beats() {
        let points = [(10.0, 90.0), (5.0, 80.0), (7.0, 79.0), (5.0, 80.0), (20.0, 90.0), (3.0, f64::NAN)];
        assert_eq!(frontier(&points), [1, 0]);
        assert!(frontier(&[]).is_empty());
    }
}
