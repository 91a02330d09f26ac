//! The comparison as one HTML page that needs nothing else: pictures and plots are part of it, and it runs no script.

mod plots;

use super::{ChangedSample, ConfusionChange, Paired, changed_samples, confusion_changes, layer_rows, pairs, table};
use crate::pipeline::evaluate::Report;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Changed samples that a page shows at most.
pub const MOST_SAMPLES: usize = 60;
/// Cells of a confusion matrix that are listed of each recipe.
const MOST_CONFUSIONS: usize = 8;

/// What a page shows beside the reports.
#[derive(Debug, Clone, Default)]
pub struct Beside {
    pub title: String,
    /// Names of classes by number; numbers stand for those that have none.
    pub classes: Vec<String>,
    /// Pictures of samples as `data:` addresses, by place in the data.
    pub pictures: BTreeMap<usize, String>,
}

impl Beside {
    fn class(&self, class: usize) -> String {
        self.classes.get(class).filter(|n| !n.is_empty()).map_or_else(|| class.to_string(), |name| escaped(name))
    }
}

/// Text as HTML shows it, in element content and in quoted attributes.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out += "&amp;",
            '<' => out += "&lt;",
            '>' => out += "&gt;",
            '"' => out += "&quot;",
            '\'' => out += "&#39;",
            other => out.push(other),
        }
    }
    out
}

const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:76em;padding:0 1em;color:#1c2026;background:#fff}\
h1{font-size:1.6em}h2{font-size:1.2em;margin-top:2em}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:.25em .7em;text-align:right;border-bottom:1px solid #dfe3e8}th:first-child,td:first-child{text-align:left}\
p.note{color:#5c6672}.samples{display:flex;flex-wrap:wrap;gap:1em}.sample{border:1px solid #dfe3e8;border-radius:6px;padding:.6em;width:12em}\
.sample img{width:100%;image-rendering:pixelated;border-radius:3px}.right{color:#1a7f4b}.wrong{color:#b3362c}.scroll{overflow-x:auto}\
@media(prefers-color-scheme:dark){body{color:#e6e9ee;background:#15181d}th,td,.sample{border-color:#333a44}p.note{color:#9aa4b2}.right{color:#58c48d}.wrong{color:#ef7d72}}";

/// The page.
#[must_use]
pub fn page(reports: &[&Report], beside: &Beside) -> String {
    let title = escaped(&beside.title);
    let mut html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\"><title>{title}</title><style>{STYLE}</style></head><body>\n<h1>{title}</h1>\n"
    );
    let samples = reports.first().map_or(0, |r| r.samples);
    let _ = writeln!(html, "<p class=\"note\">{} recipes on {samples} samples.</p>", reports.len());
    html += &metrics(reports);
    html += &plots::tradeoff(reports);
    html += &paired(reports, &pairs(reports));
    html += &plots::layers(reports, &layer_rows(reports));
    html += &confusions(reports, beside);
    html += &samples_section(reports, &changed_samples(reports), beside);
    html += "</body></html>\n";
    html
}

/// A table with a head; cells are HTML.
fn rows(heads: &[&str], body: &[Vec<String>]) -> String {
    let mut html = "<div class=\"scroll\"><table><thead><tr>".to_owned();
    for head in heads {
        html += &format!("<th>{}</th>", escaped(head));
    }
    html += "</tr></thead><tbody>\n";
    for row in body {
        html += &format!("<tr><td>{}</td></tr>\n", row.join("</td><td>"));
    }
    html + "</tbody></table></div>\n"
}

fn metrics(reports: &[&Report]) -> String {
    let dash = || "–".to_owned();
    let body: Vec<Vec<String>> = table(reports)
        .iter()
        .map(|row| {
            let r = row.report;
            let (top1, f) = (r.metrics.map(|m| m.top1), &r.fidelity);
            vec![
                escaped(&r.recipe),
                r.bytes.to_string(),
                format!("{:.1} %", 100.0 * row.ratio),
                top1.map_or_else(dash, |t| format!("{:.2} ({:.1} to {:.1})", t.value, t.low, t.high)),
                row.change.map_or_else(dash, |(points, half)| format!("{points:+.2} ± {half:.2}")),
                r.metrics.and_then(|m| m.next_token).map_or_else(dash, |t| format!("{:.4}", t.perplexity)),
                format!("{:.5}", f.kl_mean),
                format!("{:.5}", f.kl_p99),
                f.flips.to_string(),
                if row.on_frontier { "yes" } else { "" }.to_owned(),
            ]
        })
        .collect();
    let heads = [
        "Recipe",
        "Bytes",
        "Of original",
        "Top-1 % (95 %)",
        "Change, paired (95 %)",
        "Perplexity",
        "KL mean",
        "KL p99",
        "Flips",
        "Frontier",
    ];
    format!(
        "<h2>Metrics</h2>\n{}<p class=\"note\">KL(original ‖ compressed) in nats. Flips: predictions whose first class is another one. Frontier: no smaller recipe is as good.</p>\n",
        rows(&heads, &body)
    )
}

fn paired(reports: &[&Report], pairs: &[Paired]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let name = |i: usize| reports.get(i).map_or_else(String::new, |r| escaped(&r.recipe));
    let body: Vec<Vec<String>> = pairs
        .iter()
        .map(|p| {
            let none = || "–".to_owned();
            vec![
                format!("{} → {}", name(p.a), name(p.b)),
                p.top1.map_or_else(none, |t| format!("{:+.2} ± {:.2}", t.change, t.half_width)),
                p.top1.map_or_else(none, |t| t.lost.to_string()),
                p.top1.map_or_else(none, |t| t.won.to_string()),
                p.top1.map_or_else(none, |t| t.differ.to_string()),
                p.top1.map_or_else(none, |t| escaped(&t.p_text())),
                p.kl.map_or_else(none, |k| format!("{:+.5} ± {:.5}", k.change, k.half_width)),
            ]
        })
        .collect();
    let heads = [
        "Pair",
        "Change of top-1 in points (95 %)",
        "Lost",
        "Won",
        "Predictions that differ",
        "McNemar p",
        "Change of mean KL in nats (95 %)",
    ];
    format!(
        "<h2>Pairs, on the same samples</h2>\n{}<p class=\"note\">Of several pairs some differ by chance: with {} of them, trust a p below {:.4}.</p>\n",
        rows(&heads, &body),
        pairs.len(),
        0.05 / pairs.len() as f64
    )
}

fn confusions(reports: &[&Report], beside: &Beside) -> String {
    let mut body = Vec::new();
    for report in reports {
        for ConfusionChange { label, predicted, more } in confusion_changes(report).into_iter().take(MOST_CONFUSIONS) {
            body.push(vec![escaped(&report.recipe), beside.class(label), beside.class(predicted), format!("{more:+}")]);
        }
    }
    if body.is_empty() {
        return String::new();
    }
    let heads = ["Recipe", "Label", "Predicted", "Samples more than the original"];
    format!("<h2>What is taken for what</h2>\n{}", rows(&heads, &body))
}

fn samples_section(reports: &[&Report], changed: &[ChangedSample], beside: &Beside) -> String {
    if changed.is_empty() {
        return "<h2>Changed predictions</h2>\n<p>None.</p>\n".to_owned();
    }
    let mut html = format!(
        "<h2>Changed predictions</h2>\n<p class=\"note\">{} of {}.</p>\n<div class=\"samples\">\n",
        changed.len().min(MOST_SAMPLES),
        changed.len()
    );
    for one in changed.iter().take(MOST_SAMPLES) {
        let place = one.position.map_or_else(String::new, |p| format!(", token {p}"));
        html += "<div class=\"sample\">";
        if let Some(picture) = beside.pictures.get(&one.sample) {
            let _ = write!(html, "<img alt=\"sample {}\" src=\"{}\">", one.sample, escaped(picture));
        }
        let _ = write!(html, "<div>Sample {}{place}</div>", one.sample);
        if let Some(label) = one.label {
            let _ = write!(html, "<div>Label: {}</div>", beside.class(label));
        }
        html += &prediction("Original", one.before, one.label, beside);
        for (report, after) in reports.iter().zip(&one.after) {
            html += &prediction(&report.recipe, after.unwrap_or(one.before), one.label, beside);
        }
        html += "</div>\n";
    }
    html + "</div>\n"
}

fn prediction(name: &str, class: usize, label: Option<usize>, beside: &Beside) -> String {
    let mark = match label {
        None => "",
        Some(label) if label == class => "right",
        Some(_) => "wrong",
    };
    format!("<div class=\"{mark}\">{}: {}</div>", escaped(name), beside.class(class))
}
