//! The trade-off: quality over bytes for every recipe, as a chart and as the table behind it.

use crate::engine::units;
use crate::pipeline::compare::frontier;
use crate::workbench::project::Edit;
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::{Bench, Point};
use crate::workbench::ui::commands::Command;
use crate::workbench::ui::plots::{Ground, Height, Hit, Mark, tradeoff_plot};
use crate::workbench::ui::session::Axis;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::{View, decibels, percent};
use crate::workbench::ui::widgets::{empty, small};
use eframe::egui::scroll_area::DragScroll;
use eframe::egui::{Align, ComboBox, Label, Layout, RichText, Sense, Slider, Ui, vec2};
use egui_extras::{Column, TableBuilder};

/// An exact result on an axis of dB.
const EXACT_DB: f64 = 80.0;

pub fn tradeoff_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench else {
        return empty(ui, view.tokens, tr!("tradeoff-no-project"), tr!("tradeoff-no-project.marks"));
    };
    let axis = view.axis();
    let marks = marks(bench, axis);
    let plans = plans(bench, axis);
    ui.horizontal_wrapped(|ui| {
        axis_ui(ui, axis, acts);
        key_ui(ui, view, axis);
        drop(view.button(ui, Command::Search, acts));
    });
    if !plans.is_empty() {
        ui.horizontal(|ui| budget_ui(ui, view, bench, plans, acts));
    }
    if marks.is_empty() {
        return empty(ui, view.tokens, tr!("tradeoff-unmeasured"), tr!("tradeoff-unmeasured.hint"));
    }
    let height = if axis == Axis::Kl { Height::Log } else { Height::Linear };
    let budget = bench.active().and_then(Point::bytes).filter(|_| !plans.is_empty());
    match tradeoff_plot(ui, view.tokens, &marks, &Ground { plans, budget, y_label: axis.short_name(), height }) {
        Some(Hit::Mark(index)) => acts.extend(marks.get(index).map(|m| Act::Edit(Edit::SelectRecipe(m.name.clone())))),
        Some(Hit::Plan(index)) => acts.extend(plans.get(index).map(|p| Act::Budget(p.0))),
        Some(Hit::Budget(bytes)) => acts.push(Act::Budget(bytes)),
        None => {}
    }
}

/// The best plans by the losses of layers, on the axis that these are in: bytes and KL.
fn plans(bench: &Bench, axis: Axis) -> &[(u64, f64)] {
    if axis == Axis::Kl { &bench.losses.plans } else { &[] }
}

/// A slider over the bytes of all best plans: the recipe follows the hand.
fn budget_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, plans: &[(u64, f64)], acts: &mut Vec<Act>) {
    let sizes = || plans.iter().map(|p| p.0);
    let (Some(least), Some(most)) = (sizes().min(), sizes().max()) else { return };
    key_line_ui(ui, view.tokens.warn);
    small(ui, view.tokens, tr!("tradeoff-plans")).on_hover_text(tr!("tradeoff-plans.tooltip"));
    let label = small(ui, view.tokens, tr!("tradeoff-budget"));
    let mut bytes = bench.active().and_then(Point::bytes).unwrap_or(most).clamp(least, most);
    let before = bytes;
    let slider = Slider::new(&mut bytes, least..=most)
        .logarithmic(true)
        .custom_formatter(|v, _| units::bytes(v as u64))
        .custom_parser(units::parse_bytes);
    let response = ui.add(slider).labelled_by(label.id);
    if response.on_hover_text(tr!("tradeoff-budget.tooltip")).changed() && bytes != before {
        acts.push(Act::Budget(bytes));
    }
}

fn key_line_ui(ui: &mut Ui, color: eframe::egui::Color32) {
    let (rect, _) = ui.allocate_exact_size(vec2(14.0, 10.0), Sense::hover());
    ui.painter().hline(rect.x_range(), rect.center().y, eframe::egui::Stroke::new(1.5, color));
}

fn axis_ui(ui: &mut Ui, axis: Axis, acts: &mut Vec<Act>) {
    let response = ComboBox::from_id_salt("trade-off axis").width(210.0).selected_text(axis.name()).show_ui(ui, |ui| {
        for choice in Axis::ALL {
            if ui.selectable_label(choice == axis, choice.name()).clicked() {
                acts.push(Act::Axis(choice));
            }
        }
    });
    drop(response.response.accessible_name(tr!("tradeoff-axis")));
}

fn key_ui(ui: &mut Ui, view: &View<'_>, axis: Axis) {
    let t = view.tokens;
    let predicted = match axis {
        Axis::WeightSqnr => (tr!("tradeoff-predicted"), None),
        Axis::Top1 | Axis::Kl => (tr!("tradeoff-guessed"), Some(tr!("tradeoff-guessed.tooltip"))),
    };
    let marks = [
        ((tr!("tradeoff-measured"), None), true, t.measured),
        (predicted, false, t.predicted),
        ((tr!("tradeoff-stale"), None), false, t.stale),
    ];
    for ((text, tip), filled, color) in marks {
        let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
        if filled {
            ui.painter().circle_filled(rect.center(), 4.5, color);
        } else {
            ui.painter().circle_stroke(rect.center(), 4.0, eframe::egui::Stroke::new(1.5, color));
        }
        let response = small(ui, t, text);
        if let Some(tip) = tip {
            response.on_hover_text(tip);
        }
    }
}

/// The quality of a point on an axis: measured, else predicted.
fn measured_quality(point: &Point, axis: Axis) -> Option<(f64, Option<(f64, f64)>)> {
    let report = &point.measured.as_ref()?.report;
    match axis {
        Axis::Top1 => report.metrics.map(|m| (m.top1.value, Some((m.top1.low, m.top1.high)))),
        Axis::Kl => Some((report.fidelity.kl_mean, None)),
        Axis::WeightSqnr => None,
    }
}

/// Top-1 and KL follow the weight error only roughly: read off the measured recipes, between the
/// two whose weight SQNR lies on either side.
fn predicted_quality(point: &Point, axis: Axis, known: &[(f64, f64)]) -> Option<f64> {
    let sqnr = point.sqnr_db?.min(EXACT_DB);
    if axis == Axis::WeightSqnr {
        return Some(sqnr);
    }
    let last = known.len().checked_sub(1).filter(|last| *last > 0)?;
    // Beyond the worst one that was measured the line goes on; beyond the best there is nothing to gain.
    let after = known.iter().position(|k| k.0 >= sqnr).unwrap_or(last).max(1);
    let (a, b) = (known[after - 1], known[after]);
    let share = if b.0 > a.0 { ((sqnr - a.0) / (b.0 - a.0)).min(1.0) } else { 1.0 };
    let guess = a.1 + (b.1 - a.1) * share;
    Some(if axis == Axis::Top1 { guess.clamp(0.0, 100.0) } else { guess.max(0.0) })
}

/// Better weights are not believed to make worse networks: where measurements say so (a pruned recipe beside a corrected
/// one), neighbors share their mean (pool adjacent violators, Ayer et al. 1955).
fn make_monotone(known: &mut [(f64, f64)], rising: bool) {
    let sign = if rising { 1.0 } else { -1.0 };
    // Mean and number of each pool.
    let mut pools: Vec<(f64, usize)> = Vec::new();
    for (_, quality) in known.iter() {
        pools.push((sign * quality, 1));
        while let [.., (a, m), (b, n)] = pools[..]
            && a > b
        {
            pools.truncate(pools.len() - 2);
            pools.push(((a * m as f64 + b * n as f64) / (m + n) as f64, m + n));
        }
    }
    let means = pools.into_iter().flat_map(|(mean, count)| std::iter::repeat_n(sign * mean, count));
    known.iter_mut().zip(means).for_each(|(known, mean)| known.1 = mean);
}

/// The recipes that the chart and its table show.
fn shown(bench: &Bench) -> impl Iterator<Item = &Point> {
    bench.points.iter().filter(|p| p.shown)
}

fn marks(bench: &Bench, axis: Axis) -> Vec<Mark> {
    let mut known: Vec<(f64, f64)> = bench
        .points
        .iter()
        .filter(|p| p.fresh().is_some())
        .filter_map(|p| Some((p.sqnr_db?.min(EXACT_DB), measured_quality(p, axis)?.0)))
        .collect();
    known.sort_by(|a, b| a.0.total_cmp(&b.0));
    make_monotone(&mut known, axis == Axis::Top1);
    if axis == Axis::Top1 && known.first().is_some_and(|worst| worst.0 > 0.0) {
        // Of weights that are all error nothing is left.
        known.insert(0, (0.0, 0.0));
    }
    let mut marks: Vec<Mark> = shown(bench).filter_map(|p| mark(bench, p, axis, &known)).collect();
    for measured in [true, false] {
        let chosen: Vec<usize> = (0..marks.len()).filter(|&i| marks[i].measured == measured && !marks[i].stale).collect();
        let sign = if axis == Axis::Kl { -1.0 } else { 1.0 };
        let points: Vec<(f64, f64)> = chosen.iter().map(|&i| (marks[i].bytes, sign * marks[i].quality)).collect();
        for best in frontier(&points) {
            marks[chosen[best]].on_frontier = true;
        }
    }
    marks
}

fn mark(bench: &Bench, point: &Point, axis: Axis, known: &[(f64, f64)]) -> Option<Mark> {
    let current = point.name == bench.document().active;
    let stale = point.measured.as_ref().is_some_and(|m| m.stale);
    let found = measured_quality(point, axis);
    // What layers lose alone tells more of a KL than the error of weights does.
    let summed = point.plan.as_ref().and_then(|p| p.as_ref().ok()).and_then(|p| bench.losses.of_plan(p));
    let predicted = if axis == Axis::Kl { summed } else { None }.or_else(|| predicted_quality(point, axis, known));
    // A recipe that was changed stands where it is now believed to be.
    let (quality, interval, measured) = match (found, stale) {
        (Some((quality, interval)), false) => (quality, interval, true),
        (Some((quality, _)), true) => (predicted.unwrap_or(quality), None, false),
        (None, _) => (predicted?, None, false),
    };
    let bytes = point.bytes()? as f64;
    let how = match (measured, stale) {
        (true, _) => tr!("tradeoff-how-measured", samples = point.measured.as_ref().map_or(0, |m| m.report.samples)),
        (false, true) => tr!("tradeoff-how-stale").to_owned(),
        (false, false) if axis == Axis::Kl && summed.is_some() => tr!("tradeoff-how-summed").to_owned(),
        (false, false) => tr!("tradeoff-predicted").to_owned(),
    };
    let value = match axis {
        Axis::Top1 => top1_words(quality, interval),
        Axis::Kl => tr!("tradeoff-kl", kl = format!("{quality:.5}")),
        Axis::WeightSqnr => point.sqnr_db.map_or_else(String::new, decibels),
    };
    let size = units::bytes(bytes as u64);
    let words = tr!("tradeoff-mark", recipe = &point.name, size = size, value = value, how = how);
    Some(Mark {
        name: point.name.clone(),
        bytes,
        quality,
        interval,
        measured,
        stale: stale && axis != Axis::WeightSqnr,
        current,
        on_frontier: false,
        words,
    })
}

fn top1_words(quality: f64, interval: Option<(f64, f64)>) -> String {
    let value = format!("{quality:.2}");
    match interval {
        Some((low, high)) => {
            let (low, high) = (format!("{low:.1}"), format!("{high:.1}"));
            tr!("tradeoff-top1-within", value = value, low = low, high = high)
        }
        None => tr!("tradeoff-top1", value = value),
    }
}

/// Columns of the table: messages.
const TITLES: [&str; 6] = [
    "tradeoff-column-recipe",
    "tradeoff-column-bytes",
    "tradeoff-column-share",
    "tradeoff-column-weights",
    "tradeoff-column-top1",
    "tradeoff-column-kl",
];

/// The table behind the chart.
pub fn points_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench else {
        return empty(ui, view.tokens, tr!("tradeoff-no-project"), tr!("tradeoff-no-project.rows"));
    };
    let points: Vec<&Point> = shown(bench).collect();
    let table = TableBuilder::new(ui)
        .id_salt("points")
        .striped(true)
        .sense(Sense::click())
        .drag_to_scroll(DragScroll::Never)
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::remainder().at_least(110.0).clip(true))
        .columns(Column::exact(80.0), 5)
        .header(20.0, |mut header| {
            for title in TITLES {
                header.col(|ui| drop(small(ui, view.tokens, tr!(title))));
            }
        });
    table.body(|body| {
        body.rows(22.0, points.len(), |mut row| {
            let Some(point) = points.get(row.index()) else { return };
            row.set_selected(point.name == bench.document().active);
            for text in cells(point) {
                row.col(|ui| drop(ui.add(Label::new(RichText::new(text).size(12.0)).selectable(false).truncate())));
            }
            if row.response().clicked() {
                acts.push(Act::Edit(Edit::SelectRecipe(point.name.clone())));
            }
        });
    });
}

/// Top-1 without its sign, or the perplexity by its name: the column is headed Top-1.
fn quality(metrics: &crate::pipeline::evaluate::TaskMetrics) -> String {
    match metrics.headline() {
        ("Top-1", value) => value.trim_end_matches(" %").to_owned(),
        (name, value) => format!("{} {value}", name.to_lowercase()),
    }
}

fn cells(point: &Point) -> [String; 6] {
    let none = || "–".to_owned();
    let plan = point.plan.as_ref().and_then(|p| p.as_ref().ok());
    let report = point.measured.as_ref().map(|m| &m.report);
    let is_stale = point.measured.as_ref().is_some_and(|m| m.stale);
    let marked = |value: String| if is_stale { tr!("tradeoff-stale-value", value = value) } else { value };
    [
        point.name.clone(),
        plan.map_or_else(none, |p| units::bytes(p.bytes)),
        plan.map_or_else(none, |p| percent(p.bytes, p.original_bytes)),
        point.sqnr_db.map_or_else(none, decibels),
        report.and_then(|r| Some(marked(quality(&r.metrics?)))).unwrap_or_else(none),
        report.map_or_else(none, |r| marked(format!("{:.4}", r.fidelity.kl_mean))),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::configure::{Recipe, Treatment};

    #[test]
    fn predictions_are_read_off_what_was_measured() {
        let known = [(5.0, 10.0), (15.0, 80.0), (40.0, 90.0)];
        let point = |sqnr: f64| Point::predicted(Recipe::new("a", Treatment::UNCHANGED), Some(sqnr));
        let at = |sqnr: f64| predicted_quality(&point(sqnr), Axis::Top1, &known);
        assert_eq!([at(0.0), at(4.0), at(10.0), at(15.0), at(60.0)], [Some(0.0), Some(3.0), Some(45.0), Some(80.0), Some(90.0)]);
        assert_eq!(predicted_quality(&point(10.0), Axis::Top1, &known[..1]), None);
        let mut odd = [(5.0, 97.0), (14.0, 90.0), (20.0, 92.0), (43.0, 98.0)];
        make_monotone(&mut odd, true);
        assert_eq!(odd.map(|k| k.1), [93.0, 93.0, 93.0, 98.0]);
        let mut losses = [(5.0, 0.1), (14.0, 0.3), (43.0, 0.0)];
        make_monotone(&mut losses, false);
        assert_eq!(losses.map(|k| k.1), [0.2, 0.2, 0.0]);
        assert_eq!(predicted_quality(&point(f64::INFINITY), Axis::WeightSqnr, &[]), Some(EXACT_DB));
    }
}
