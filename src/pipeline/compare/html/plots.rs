//! Plots as SVG, and the layers as a table in colors.

use super::{escaped, rows};
use crate::pipeline::compare::{LayerRow, table};
use crate::pipeline::evaluate::Report;
use std::fmt::Write as _;

/// Size against loss: bytes to the right, KL upwards on a scale of logarithms.
pub(super) fn tradeoff(reports: &[&Report]) -> String {
    const SIZE: (f64, f64) = (720.0, 320.0);
    const EDGE: (f64, f64) = (64.0, 36.0);
    let kl = |r: &Report| r.fidelity.kl_mean.max(1e-6);
    let finite = |values: Vec<f64>| -> Option<(f64, f64)> {
        let low = values.iter().copied().fold(f64::INFINITY, f64::min);
        let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        (low.is_finite() && high.is_finite()).then_some(if high > low { (low, high) } else { (low - 0.5, high + 0.5) })
    };
    let (Some(x), Some(y)) =
        (finite(reports.iter().map(|r| r.bytes as f64).collect()), finite(reports.iter().map(|r| kl(r).log10()).collect()))
    else {
        return String::new();
    };
    let place = |bytes: f64, log: f64| {
        let share = |v: f64, (low, high): (f64, f64)| (v - low) / (high - low);
        let across = EDGE.0 + share(bytes, x) * (SIZE.0 - 3.0 * EDGE.0);
        (across, SIZE.1 - EDGE.1 - share(log, y) * (SIZE.1 - 2.0 * EDGE.1))
    };
    let mut svg = format!(
        "<h2>Size against loss</h2>\n<svg viewBox=\"0 0 {} {}\" width=\"100%\" role=\"img\" aria-label=\"bytes against KL\" fill=\"currentColor\" font-size=\"12\">\n",
        SIZE.0, SIZE.1
    );
    let (left, bottom) = (EDGE.0 - 12.0, SIZE.1 - EDGE.1 + 12.0);
    let _ = write!(
        svg,
        "<path d=\"M{left} 16V{bottom}H{}\" fill=\"none\" stroke=\"currentColor\" stroke-opacity=\".4\"/>",
        SIZE.0 - 8.0
    );
    let _ = write!(svg, "<text x=\"{left}\" y=\"12\">KL (nats, logarithmic)</text>");
    let _ = write!(svg, "<text x=\"{}\" y=\"{}\" text-anchor=\"end\">bytes</text>", SIZE.0 - 8.0, SIZE.1 - 4.0);
    for row in table(reports) {
        let (px, py) = place(row.report.bytes as f64, kl(row.report).log10());
        let fill = if row.on_frontier { "#2f7de1" } else { "none" };
        let label = escaped(&row.report.recipe);
        let said = format!("{label}: {} bytes, KL {:.5}", row.report.bytes, row.report.fidelity.kl_mean);
        let _ = writeln!(
            svg,
            "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"5\" fill=\"{fill}\" stroke=\"#2f7de1\" stroke-width=\"1.5\"><title>{said}</title></circle><text x=\"{:.1}\" y=\"{:.1}\">{label}</text>",
            px + 8.0,
            py - 8.0
        );
    }
    svg + "</svg>\n<p class=\"note\">Filled: on the frontier.</p>\n"
}

/// Each layer's error at its output, with everything before it compressed too; against the first recipe beside it.
pub(super) fn layers(reports: &[&Report], layers: &[LayerRow]) -> String {
    if layers.iter().all(|l| l.cumulative_sqnr_db.iter().all(Option::is_none)) {
        return String::new();
    }
    let mut heads = vec!["Layer"];
    heads.extend(reports.iter().map(|r| r.recipe.as_str()));
    let body: Vec<Vec<String>> = layers
        .iter()
        .map(|layer| {
            let first = layer.cumulative_sqnr_db.first().copied().flatten();
            let cells = layer.cumulative_sqnr_db.iter().enumerate().map(|(i, db)| cell(*db, first.filter(|_| i > 0)));
            std::iter::once(escaped(&layer.name)).chain(cells).collect()
        })
        .collect();
    format!(
        "<h2>Layers</h2>\n{}<p class=\"note\">Signal to noise of each layer's output in dB, all before it being compressed too; more is better. Small: change against the first recipe.</p>\n",
        rows(&heads, &body)
    )
}

/// From red at 0 dB to green at 40.
fn cell(db: Option<f64>, first: Option<f64>) -> String {
    let Some(db) = db else { return "no error".to_owned() };
    let hue = (db.clamp(0.0, 40.0) * 3.0).round();
    let delta = first.map_or_else(String::new, |f| format!(" <small>{:+.1}</small>", db - f));
    format!(
        "<span style=\"display:block;padding:0 .4em;border-radius:3px;background:hsl({hue} 60% 50%/.35)\">{db:.1}{delta}</span>"
    )
}
