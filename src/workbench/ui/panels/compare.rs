//! Recipes side by side: numbers, layers, and the samples whose prediction changed.

use super::load::picture_ui;
use crate::engine::units;
use crate::pipeline::compare::{ChangedSample, pairs, table};
use crate::pipeline::evaluate::Report;
use crate::workbench::activations::Sample;
use crate::workbench::project::Edit;
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::{Bench, Point};
use crate::workbench::ui::changes::{Filter, Kind, MOST_CHANGED};
use crate::workbench::ui::commands::Command;
use crate::workbench::ui::layout::{Pane, Workspace};
use crate::workbench::ui::session::{ErrorKind, Heat};
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::{View, decibels};
use crate::workbench::ui::widgets::{combo, empty, legend, small};
use eframe::egui::scroll_area::DragScroll;
use eframe::egui::{Align, Align2, ComboBox, FontId, Label, Layout, RichText, ScrollArea, Sense, Ui, vec2};
use egui_extras::{Column, TableBuilder};
use std::sync::Arc;

/// Cells of tables: from the left, in the middle of the row.
fn centered() -> Layout {
    Layout::left_to_right(Align::Center)
}

/// Confusions that are named of each recipe.
const MOST_CONFUSIONS: usize = 4;

/// Columns of the table and what they mean: messages.
const TITLES: [(&str, &str); 10] = [
    ("compare-recipe", "compare-recipe.tooltip"),
    ("compare-bytes", "compare-bytes.tooltip"),
    ("compare-ratio", "compare-ratio.tooltip"),
    ("compare-top1", "compare-top1.tooltip"),
    ("compare-change", "compare-change.tooltip"),
    ("compare-top5", "compare-top5.tooltip"),
    ("compare-kl-mean", "compare-kl-mean.tooltip"),
    ("compare-kl-p99", "compare-kl-p99.tooltip"),
    ("compare-flips", "compare-flips.tooltip"),
    ("compare-samples", "compare-samples.tooltip"),
];

pub fn recipes_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench else {
        return empty(ui, view.tokens, tr!("compare-no-project"), tr!("compare-no-project.recipes"));
    };
    let found = bench.measured();
    if found.is_empty() {
        return empty(ui, view.tokens, tr!("compare-unmeasured"), tr!("compare-unmeasured.hint"));
    }
    let reports: Vec<&Report> = found.iter().map(|(_, r)| &***r).collect();
    let rows = table(&reports);
    ui.horizontal(|ui| {
        drop(view.button(ui, Command::SharePage, acts));
        pair_ui(ui, view, bench, &found);
    });
    ScrollArea::horizontal().auto_shrink([false, false]).show(ui, |ui| {
        TableBuilder::new(ui)
            .id_salt("compare recipes")
            .striped(true)
            .sense(Sense::click())
            .drag_to_scroll(DragScroll::Never)
            .cell_layout(centered())
            .column(Column::initial(130.0).at_least(90.0).clip(true).resizable(true))
            .column(Column::exact(66.0))
            .column(Column::exact(50.0))
            .column(Column::exact(120.0))
            .column(Column::exact(92.0))
            .column(Column::exact(50.0))
            .columns(Column::exact(64.0), 2)
            .column(Column::exact(90.0))
            .column(Column::remainder().at_least(54.0))
            .header(20.0, |mut header| {
                for (title, tip) in TITLES {
                    header.col(|ui| drop(small(ui, view.tokens, tr!(title)).on_hover_text(tr!(tip))));
                }
            })
            .body(|body| {
                body.rows(24.0, rows.len(), |mut row| {
                    let (Some(line), Some((point, _))) = (rows.get(row.index()), found.get(row.index())) else { return };
                    row.set_selected(point.name == bench.document().active);
                    let stale = point.measured.as_ref().is_some_and(|m| m.stale);
                    let color = if stale { view.tokens.stale } else { view.tokens.text };
                    for (column, text) in row_cells(line, point, stale).into_iter().enumerate() {
                        let strong = column == 0 && line.on_frontier;
                        let text = RichText::new(text).color(color).size(12.0);
                        let text = if strong { text.strong().underline() } else { text };
                        row.col(|ui| drop(ui.add(Label::new(text).selectable(false).truncate())));
                    }
                    if row.response().clicked() {
                        acts.push(Act::Edit(Edit::SelectRecipe(point.name.clone())));
                    }
                });
            });
    });
}

/// The active recipe against the one before it in the table, sample by sample, in a line.
fn pair_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, found: &[(&Point, &Arc<Report>)]) {
    let Some(at) = found.iter().position(|(p, _)| p.name == bench.document().active).filter(|at| *at > 0) else { return };
    let (before, active) = (found[at - 1], found[at]);
    let Some(pair) = pairs(&[&**before.1, &**active.1]).first().copied() else { return };
    let mut text = tr!("compare-pair", active = &active.0.name, before = &before.0.name);
    if let Some(top1) = pair.top1 {
        let (change, half) = (format!("{:+.2}", top1.change), format!("{:.2}", top1.half_width));
        text += &format!(" {}", tr!("compare-pair-top1", change = change, half = half, p = top1.p_text()));
    }
    if let Some(kl) = pair.kl {
        let (change, half) = (format!("{:+.5}", kl.change), format!("{:.5}", kl.half_width));
        text += &format!("  {}", tr!("compare-pair-kl", change = change, half = half));
    }
    small(ui, view.tokens, text).on_hover_text(tr!("compare-pair-tooltip"));
}

fn row_cells(row: &crate::pipeline::compare::Row<'_>, point: &Point, stale: bool) -> [String; 10] {
    let r = row.report;
    let none = || "–".to_owned();
    [
        if stale { tr!("compare-stale", recipe = &point.name) } else { point.name.clone() },
        units::bytes(r.bytes),
        format!("{:.2}×", 1.0 / row.ratio.max(f64::MIN_POSITIVE)),
        r.metrics.map_or_else(none, |m| match m.next_token {
            Some(text) => {
                let (top1, perplexity) = (format!("{:.2}", m.top1.value), format!("{:.4}", text.perplexity));
                tr!("compare-perplexity", top1 = top1, perplexity = perplexity)
            }
            None => format!("{:.2} ({:.1}–{:.1})", m.top1.value, m.top1.low, m.top1.high),
        }),
        row.change.map_or_else(none, |(change, half)| format!("{change:+.2} ± {half:.2}")),
        r.metrics.map_or_else(none, |m| format!("{:.2}", m.top5.value)),
        format!("{:.5}", r.fidelity.kl_mean),
        format!("{:.4}", r.fidelity.kl_p99),
        format!("{} / {} / {}", r.fidelity.flips_to_wrong, r.fidelity.flips_to_right, r.fidelity.flips),
        r.samples.to_string(),
    ]
}

pub fn layers_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench else {
        return empty(ui, view.tokens, tr!("compare-no-project"), tr!("compare-no-project.layers"));
    };
    let columns = bench.measured();
    if columns.is_empty() {
        return empty(ui, view.tokens, tr!("compare-unmeasured"), tr!("compare-unmeasured.hint"));
    }
    choices_ui(ui, view, bench, &columns, acts);
    let kind = view.session.error_kind;
    let base = bench.base.as_ref().and_then(|b| columns.iter().position(|(p, _)| p.name == *b));
    let gap = ui.spacing().item_spacing.x;
    let width = ((ui.available_width() - 150.0) / columns.len() as f32 - gap).clamp(46.0, 96.0);
    ScrollArea::horizontal().auto_shrink([false, false]).show(ui, |ui| {
        TableBuilder::new(ui)
            .id_salt("compare layers")
            .sense(Sense::click())
            .drag_to_scroll(DragScroll::Never)
            .cell_layout(centered())
            .column(Column::initial(130.0).at_least(80.0).clip(true))
            .columns(Column::exact(width).clip(true), columns.len())
            .header(20.0, |mut header| {
                header.col(|ui| drop(small(ui, view.tokens, tr!("compare-layer"))));
                for (point, _) in &columns {
                    header.col(|ui| {
                        drop(ui.add(Label::new(RichText::new(&point.name).color(view.tokens.muted).size(11.5)).truncate()));
                    });
                }
            })
            .body(|body| {
                body.rows(20.0, bench.layers().len(), |mut row| {
                    let Some(layer) = bench.layers().get(row.index()) else { return };
                    row.set_selected(bench.selection.contains(row.index()));
                    row.col(|ui| drop(ui.add(Label::new(RichText::new(&layer.name).size(12.0)).selectable(false).truncate())));
                    let values: Vec<Option<f64>> = columns.iter().map(|(_, r)| error_of(r, &layer.name, kind)).collect();
                    // NaN: the recipe to hold against has no value for this layer.
                    let against = base.map(|b| values[b].unwrap_or(f64::NAN));
                    for value in &values {
                        row.col(|ui| cell_ui(ui, view, *value, against));
                    }
                    if row.response().clicked() {
                        acts.push(Act::Jump(layer.name.clone()));
                    }
                });
            });
    });
}

fn choices_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, columns: &[(&Point, &Arc<Report>)], acts: &mut Vec<Act>) {
    ui.horizontal(|ui| {
        let kind = view.session.error_kind;
        let response = ComboBox::from_id_salt("error kind").width(160.0).selected_text(kind.name()).show_ui(ui, |ui| {
            for choice in ErrorKind::ALL {
                if ui.selectable_label(choice == kind, choice.name()).on_hover_text(choice.explanation()).clicked() {
                    acts.push(Act::ErrorKind(choice));
                }
            }
        });
        response.response.on_hover_text(kind.explanation()).accessible_name(tr!("compare-error-kind"));
        let against = |recipe: &str| tr!("compare-against", recipe = recipe);
        let text = bench.base.as_deref().map_or_else(|| tr!("compare-values").to_owned(), against);
        let response = ComboBox::from_id_salt("base").width(130.0).selected_text(text).show_ui(ui, |ui| {
            if ui.selectable_label(bench.base.is_none(), tr!("compare-values")).clicked() {
                acts.push(Act::Base(None));
            }
            for (point, _) in columns {
                if ui.selectable_label(bench.base.as_deref() == Some(&point.name), against(&point.name)).clicked() {
                    acts.push(Act::Base(Some(point.name.clone())));
                }
            }
        });
        drop(response.response.accessible_name(tr!("compare-base")));
        if bench.base.is_none() {
            legend(ui, view.tokens, Heat::Weights);
        } else {
            small(ui, view.tokens, tr!("compare-base-key"));
        }
    });
}

fn error_of(report: &Report, layer: &str, kind: ErrorKind) -> Option<f64> {
    let error = report.layers.iter().find(|l| l.name == layer)?;
    let value = match kind {
        ErrorKind::Weight => error.weight_sqnr_db,
        ErrorKind::Local => error.local_sqnr_db,
        ErrorKind::Cumulative => error.cumulative_sqnr_db,
    };
    Some(value.unwrap_or(f64::INFINITY))
}

/// Difference at the ends of the color map, in dB.
const DELTA_SPAN: f64 = 24.0;

fn cell_ui(ui: &mut Ui, view: &View<'_>, value: Option<f64>, against: Option<f64>) {
    let t = view.tokens;
    let Some(value) = value else { return drop(small(ui, t, "–")) };
    let (ground, text) = match against {
        None => (t.error_at(value), if value.is_finite() { format!("{value:.1}") } else { tr!("compare-exact").to_owned() }),
        Some(base) => {
            let (value, base) = (value.min(99.0), if base.is_nan() { base } else { base.min(99.0) });
            let delta = value - base;
            if delta.is_nan() {
                return drop(small(ui, t, "–"));
            }
            (t.difference.at((0.5 - 0.5 * delta / DELTA_SPAN) as f32), format!("{delta:+.1}"))
        }
    };
    let rect = ui.max_rect().shrink2(vec2(1.0, 1.0));
    ui.painter().rect_filled(rect, 2.0, ground);
    ui.painter().text(rect.center(), Align2::CENTER_CENTER, text, FontId::proportional(11.0), t.text_on(ground));
    let response = ui.interact(rect, ui.scope_id().with("cell"), Sense::hover());
    response.on_hover_text(decibels(value));
}

pub fn changed_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench else {
        return empty(ui, view.tokens, tr!("compare-no-project"), tr!("compare-no-project.changed"));
    };
    let found = bench.comparable();
    let (changes, all) = (&bench.differences.shown, bench.differences.all);
    ui.horizontal(|ui| filter_ui(ui, view, bench, all, acts));
    if changes.is_empty() && bench.changes != Filter::default() {
        return empty(ui, view.tokens, tr!("compare-none-such"), tr!("compare-none-such.hint"));
    }
    if changes.is_empty() {
        return empty(ui, view.tokens, tr!("compare-none"), tr!("compare-none.hint"));
    }
    let t = view.tokens;
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        confusion_ui(ui, view, bench, &found);
        if found.first().is_some_and(|(_, report)| !bench.is_of_data(report)) {
            small(ui, t, tr!("compare-other-data"));
        }
        ui.horizontal_wrapped(|ui| {
            ui.spacing_mut().item_spacing = vec2(8.0, 8.0);
            for change in changes {
                let Some((_, texture)) = bench.changed.pictures.get(&change.sample) else { continue };
                let class = |c: usize| bench.changed.class(c);
                let right = |c: usize| change.label.is_none_or(|l| l == c);
                let shade = |c: usize| {
                    if change.label.is_none() {
                        t.text
                    } else if right(c) {
                        t.good
                    } else {
                        t.bad
                    }
                };
                let after: Vec<usize> = change.after.iter().flatten().copied().collect();
                let first = after.first().copied().unwrap_or(change.before);
                let lines = [
                    (tr!("compare-was", class = class(change.before)), shade(change.before)),
                    (tr!("compare-now", class = class(first)), shade(first)),
                ];
                let picture = picture_ui(ui, view, texture, &lines, &change_words(bench, &found, change));
                if picture.interact(Sense::click()).clicked() {
                    let of = found.first().map(|(_, report)| report.samples);
                    let sample = Sample { number: change.sample, of };
                    acts.extend([Act::Sample(sample), Act::Go(Workspace::Configure), Act::Show(Pane::Activations)]);
                }
            }
        });
    });
}

/// A sample, and what it is taken for by whom, in a line each.
fn change_words(bench: &Bench, found: &[(&Point, &Arc<Report>)], change: &ChangedSample) -> String {
    let class = |c: usize| bench.changed.class(c);
    let mut lines = vec![tr!("compare-sample", number = change.sample.to_string())];
    lines.extend(change.label.map(|label| tr!("compare-sample-label", class = class(label))));
    lines.push(tr!("compare-sample-original", class = class(change.before)));
    for ((point, _), after) in found.iter().zip(&change.after) {
        let class = class(after.unwrap_or(change.before));
        lines.push(tr!("compare-sample-recipe", recipe = &point.name, class = class));
    }
    lines.push(tr!("compare-sample-click").to_owned());
    lines.join("\n")
}

/// Which of the changed samples are shown.
fn filter_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, all: usize, acts: &mut Vec<Act>) {
    let present = bench.changes;
    let choices = || Kind::ALL.map(|k| (k, k.name()));
    let name = || tr!("compare-changes").to_owned();
    if let Some(kind) = combo(ui, (), name, 150.0, present.kind, present.kind.name(), choices) {
        acts.push(Act::Changes(Filter { kind, ..present }));
    }
    if let Some((label, predicted)) = present.cell {
        let (label, predicted) = (bench.changed.class(label), bench.changed.class(predicted));
        let text = tr!("compare-cell", label = label, predicted = predicted);
        if ui.button(text).on_hover_text(tr!("compare-cell-tooltip")).clicked() {
            acts.push(Act::Changes(Filter { cell: None, ..present }));
        }
    }
    small(ui, view.tokens, tr!("compare-changes-shown", shown = all.min(MOST_CHANGED), all = all));
}

/// What each recipe takes for what more often than the original does, in a line each.
fn confusion_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, found: &[(&Point, &Arc<Report>)]) {
    for ((point, _), changes) in found.iter().zip(&bench.differences.confusions) {
        let mistakes = changes.iter().filter(|c| c.label != c.predicted && c.more > 0);
        let lines: Vec<String> = mistakes
            .take(MOST_CONFUSIONS)
            .map(|c| {
                let (predicted, label) = (bench.changed.class(c.predicted), bench.changed.class(c.label));
                tr!("compare-confusion", predicted = predicted, label = label, more = c.more.to_string())
            })
            .collect();
        if !lines.is_empty() {
            let confusions = lines.join(tr!("compare-list"));
            let text = tr!("compare-confusions", recipe = &point.name, confusions = confusions);
            small(ui, view.tokens, text).on_hover_text(tr!("compare-confusions-tooltip"));
        }
    }
}
