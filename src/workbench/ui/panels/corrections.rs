//! What is done, given data, so that layers give what they gave before: for the whole recipe, and what each step
//! gained.

use crate::pipeline::configure::{Allocation, Balance, Correction, CorrectionLevel, Equalization, Recipe, Sparsity, Treatment};
use crate::pipeline::evaluate::{LayerError, Report};
use crate::workbench::project::{Edit, Whole};
use crate::workbench::ui::act::{Act, Pick};
use crate::workbench::ui::bench::{Bench, Point};
use crate::workbench::ui::plots::waterfall_ui;
use crate::workbench::ui::terms;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::View;
use crate::workbench::ui::widgets::{Icon, combo, empty, icon, section, small};
use eframe::egui::{DragValue, Grid, Label, RichText, ScrollArea, Sense, Ui};
use egui_extras::{Column, TableBuilder};

pub fn corrections_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some((bench, point)) = view.bench.and_then(|b| Some((b, b.active()?))) else {
        return empty(ui, view.tokens, tr!("configure-no-project"), tr!("configure-no-project.corrections"));
    };
    recipe_ui(ui, view, bench, point, acts);
    let measured = point.measured.as_ref().filter(|m| m.report.layers.iter().any(|l| !l.steps.is_empty()));
    let Some(measured) = measured else {
        section(ui, view.tokens, tr!("corrections-gain"));
        let is_corrected = bench.plan().is_some_and(|p| p.layers.iter().any(|l| l.wanted.correction != Correction::NONE));
        let hint = if is_corrected { tr!("corrections-evaluate") } else { tr!("corrections-none") };
        small(ui, view.tokens, hint);
        return;
    };
    if measured.stale {
        ui.horizontal(|ui| {
            icon(ui, Icon::Half, view.tokens.stale, tr!("corrections-stale"));
            small(ui, view.tokens, tr!("corrections-stale.hint"));
        });
    }
    layer_ui(ui, view, bench, &measured.report);
    table_ui(ui, view, bench, &measured.report, acts);
}

/// What the recipe says of all layers.
fn recipe_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, point: &Point, acts: &mut Vec<Act>) {
    let (t, recipe) = (view.tokens, &point.recipe);
    section(ui, t, tr!("corrections-all-layers"));
    let present = CorrectionLevel::of(recipe.default.correction);
    ui.horizontal_wrapped(|ui| {
        for level in CorrectionLevel::ALL {
            let corrected = recipe.default.corrected(level);
            let tip = tr!("corrections-level", level = terms::level(level), steps = corrected.correction.to_string());
            if ui.selectable_label(present == Some(level), terms::level_title(level)).on_hover_text(tip).clicked() {
                acts.push(Act::Edit(Edit::SetDefault(corrected)));
            }
        }
    });
    let own = bench.plan().map_or(0, |p| p.layers.iter().filter(|l| l.wanted.correction != recipe.default.correction).count());
    let mut sentences = vec![tr!("corrections-rounding", correction = recipe.default.correction.to_string())];
    if own > 0 {
        sentences.push(tr!("corrections-otherwise", count = own));
    }
    let words = sentences.join(tr!("configure-between-sentences"));
    ui.add(Label::new(RichText::new(words).color(t.muted).size(11.5)).wrap());
    ui.add_space(2.0);
    Grid::new("whole recipe").num_columns(2).spacing([8.0, 4.0]).show(ui, |ui| before_ui(ui, view, recipe, acts));
    if recipe.default.sparsity != Sparsity::Dense || recipe.allocation != Allocation::Uniform {
        ui.horizontal(|ui| {
            small(ui, t, tr!("corrections-shares"));
            let choices = || Allocation::ALL.map(|a| (a, terms::allocation(a)));
            let (present, name) = (recipe.allocation, || tr!("corrections-allocation").to_owned());
            if let Some(allocation) = combo(ui, (), name, 190.0, present, terms::allocation(present), choices) {
                acts.push(Act::Edit(Edit::SetWhole(Whole { allocation: Some(allocation), ..Whole::default() })));
            }
        });
    }
    let document = bench.document();
    if document.evaluate.is_none() && document.calibrate.is_none() && present != Some(CorrectionLevel::None) {
        ui.horizontal(|ui| {
            icon(ui, Icon::Warning, t.warn, tr!("corrections-no-data"));
            small(ui, t, tr!("corrections-no-data.hint"));
        });
    }
}

/// What happens to the network before its layers are treated, and beside them.
fn before_ui(ui: &mut Ui, view: &View<'_>, recipe: &Recipe, acts: &mut Vec<Act>) {
    small(ui, view.tokens, tr!("corrections-weights-first")).on_hover_text(tr!("corrections-weights-first.tooltip"));
    let choices = [
        (Equalization::None, tr!("equalize-none")),
        (Equalization::Layers, tr!("equalize-layers")),
        (Equalization::LayersAndBiases, tr!("equalize-biases")),
    ];
    let present = choices.iter().find(|c| c.0 == recipe.equalize).map_or("", |c| c.1);
    let name = || tr!("corrections-equalization").to_owned();
    if let Some(equalize) = combo(ui, (), name, 200.0, recipe.equalize, present, || choices) {
        acts.push(Act::Edit(Edit::SetWhole(Whole { equalize: Some(equalize), ..Whole::default() })));
    }
    ui.end_row();
    small(ui, view.tokens, tr!("corrections-channels-then")).on_hover_text(tr!("corrections-channels-then.tooltip"));
    let smooth = match recipe.balance {
        smooth @ Balance::Smooth { .. } => smooth,
        _ => Balance::Smooth { strength: 0.5 },
    };
    let words = |balance: Balance| match balance {
        Balance::None => tr!("balance-none").to_owned(),
        Balance::Smooth { strength } => tr!("balance-smooth", strength = strength.to_string()),
        Balance::Awq => tr!("balance-awq").to_owned(),
    };
    let choices = || [Balance::None, smooth, Balance::Awq].map(|b| (b, words(b)));
    let name = || tr!("corrections-balance").to_owned();
    if let Some(balance) = combo(ui, (), name, 200.0, recipe.balance, &words(recipe.balance), choices) {
        acts.push(Act::Edit(Edit::SetWhole(Whole { balance: Some(balance), ..Whole::default() })));
    }
    ui.end_row();
    let label = small(ui, view.tokens, tr!("corrections-beside"));
    let mut rank = recipe.default.compensate;
    let drag = DragValue::new(&mut rank).range(0..=64).speed(0.1).custom_formatter(|v, _| match v as u16 {
        0 => tr!("corrections-beside-nothing").to_owned(),
        rank => tr!("corrections-beside-rank", rank = rank),
    });
    if ui.add(drag).labelled_by(label.id).on_hover_text(tr!("corrections-beside.tooltip")).changed() {
        acts.push(Act::Drag(Edit::SetDefault(Treatment { compensate: rank, ..recipe.default })));
    }
    ui.end_row();
}

fn of_layer<'a>(report: &'a Report, name: &str) -> Option<&'a LayerError> {
    report.layers.iter().find(|l| l.name == name && !l.steps.is_empty())
}

/// The steps of the inspected layer.
fn layer_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, report: &Report) {
    let name = bench.selection.primary().and_then(|i| bench.layers().get(i)).map(|l| l.name.as_str());
    let Some(name) = name else { return };
    section(ui, view.tokens, &tr!("corrections-gain-of", layer = name));
    match of_layer(report, name) {
        Some(layer) => {
            waterfall_ui(ui, view.tokens, &layer.steps, 124.0);
            small(ui, view.tokens, tr!("corrections-gain.hint"));
        }
        None => drop(small(ui, view.tokens, tr!("corrections-gain-none"))),
    }
}

/// What is left of a layer's error.
fn left(layer: &LayerError) -> f64 {
    layer.steps.last().map_or(0.0, |s| if s.kept { s.after } else { s.before })
}

/// What all steps of a layer gained together, in dB. (Steps that come before the bias are judged with the bias set
/// right: their gains and that of the bias do not add up.)
fn gain(layer: &LayerError) -> f64 {
    let worst = layer.steps.iter().map(|s| s.before).fold(0.0, f64::max);
    10.0 * (worst.max(1e-12) / left(layer).max(1e-12)).log10()
}

fn table_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, report: &Report, acts: &mut Vec<Act>) {
    section(ui, view.tokens, tr!("corrections-table"));
    let layers: Vec<&LayerError> = report.layers.iter().filter(|l| !l.steps.is_empty()).collect();
    let selected = bench.selection.primary().and_then(|i| bench.layers().get(i)).map(|l| l.name.as_str());
    ScrollArea::horizontal().show(ui, |ui| {
        let table = TableBuilder::new(ui)
            .id_salt("corrected layers")
            .striped(true)
            .sense(Sense::click())
            .column(Column::remainder().at_least(100.0).clip(true))
            .columns(Column::exact(74.0), 3)
            .header(20.0, |mut header| {
                for (title, tip) in [
                    (tr!("corrections-table-layer"), tr!("corrections-table-layer.tooltip")),
                    (tr!("corrections-table-steps"), tr!("corrections-table-steps.tooltip")),
                    (tr!("corrections-table-gain"), tr!("corrections-table-gain.tooltip")),
                    (tr!("corrections-table-left"), tr!("corrections-table-left.tooltip")),
                ] {
                    header.col(|ui| drop(small(ui, view.tokens, title).on_hover_text(tip)));
                }
            });
        table.body(|body| {
            body.rows(20.0, layers.len(), |mut row| {
                let Some(layer) = layers.get(row.index()) else { return };
                row.set_selected(selected == Some(layer.name.as_str()));
                let kept = layer.steps.iter().filter(|s| s.kept).count();
                let cells = [
                    layer.name.clone(),
                    tr!("corrections-kept", kept = kept, count = layer.steps.len()),
                    format!("{:+.1} dB", gain(layer)),
                    format!("{:.3} %", 100.0 * left(layer)),
                ];
                for text in cells {
                    row.col(|ui| drop(ui.add(Label::new(RichText::new(text).size(12.0)).selectable(false).truncate())));
                }
                if row.response().clicked()
                    && let Some(layer) = bench.layer_named(&layer.name)
                {
                    acts.push(Act::Select { layer, how: Pick::Only });
                }
            });
        });
    });
}
