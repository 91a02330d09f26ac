//! The inspected layer: what its weights look like before and after, and what if.

use super::picker::{Picked, scheme_button};
use super::settings::correction_ui;
use super::what_if::what_if_ui;
use crate::engine::kernels::summary::Spread;
use crate::engine::units;
use crate::pipeline::configure::{LayerPlan, Sparsity};
use crate::workbench::project::{Change, Edit};
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::Bench;
use crate::workbench::ui::inspect::{LayerFacts, Treated, shared_scale};
use crate::workbench::ui::losses::why;
use crate::workbench::ui::plots::{Levels, channels_ui, histogram_ui, tick};
use crate::workbench::ui::scores::FEW_STEPS;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::{View, decibels, shape_text};
use crate::workbench::ui::widgets::{Icon, empty, heading, icon, ramp, section, small};
use eframe::egui::{
    Align2, DragValue, FontId, Grid, Id, Image, Label, Rect, RichText, ScrollArea, Sense, Slider, Stroke, StrokeKind, Ui, Vec2,
    pos2, vec2,
};

/// Below this signal-to-noise ratio a channel's weights are more noise than is good for it.
const DROWNED_DB: f32 = 20.0;

pub fn inspector_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let selected = view.bench.and_then(|b| Some((b, b.selection.primary()?)));
    let Some((bench, index)) = selected else {
        return empty(ui, view.tokens, tr!("configure-no-layer"), tr!("configure-no-layer.weights"));
    };
    let (Some(layer), Some(plan)) = (bench.layers().get(index), bench.layer_plan(index)) else {
        return empty(ui, view.tokens, tr!("inspector-unfit"), tr!("inspector-unfit.hint"));
    };
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        ui.add_space(2.0);
        ui.add(Label::new(RichText::new(&layer.name).color(view.tokens.text).size(16.0).strong()).truncate());
        let (shape, count) = (shape_text(&layer.shape), units::count(layer.parameters() as u64));
        small(ui, view.tokens, tr!("inspector-layer", kind = layer.kind.name(), shape = shape, count = count));
        controls_ui(ui, view, bench, index, plan, acts);
        let facts = bench.facts.as_deref().filter(|f| f.index == index);
        let Some(facts) = facts else {
            ui.add_space(8.0);
            small(ui, view.tokens, tr!("inspector-reading"));
            return;
        };
        let treated = bench.treated.as_deref();
        numbers_ui(ui, view, plan, treated);
        why_ui(ui, view, plan, facts, treated);
        loss_ui(ui, view, bench, index);
        charts_ui(ui, view, bench, plan, facts, treated);
        what_if_ui(ui, view, bench, index, plan, acts);
    });
}

/// Width and pruning, live.
fn controls_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, index: usize, plan: &LayerPlan, acts: &mut Vec<Act>) {
    let edit = |change: Change| Act::Drag(Edit::Treat { layers: bench.targets(index), change });
    ui.add_space(4.0);
    ui.spacing_mut().slider_width = (ui.available_width() - 140.0).clamp(80.0, 400.0);
    Grid::new("inspector controls").num_columns(2).spacing([8.0, 4.0]).show(ui, |ui| {
        small(ui, view.tokens, tr!("inspector-scheme"));
        let text = plan.wanted.weights.to_string();
        if let Some(Picked::Scheme(scheme)) = scheme_button(ui, view, bench, index, plan, &text) {
            acts.push(Act::Edit(Edit::Treat {
                layers: bench.targets(index),
                change: Change { weights: Some(scheme), ..Change::default() },
            }));
        }
        ui.end_row();
        let label = small(ui, view.tokens, tr!("inspector-width"));
        let present = plan.wanted.weights.bits();
        let mut bits = present.min(9);
        let slider = Slider::new(&mut bits, 2..=9).custom_formatter(|v, _| width_text(v)).custom_parser(parse_width);
        if ui.add(slider).labelled_by(label.id).changed() && bits != present.min(9) {
            let width = if bits > 8 { 32 } else { bits };
            acts.push(edit(Change { weights: Some(plan.wanted.weights.with_bits(width)), ..Change::default() }));
        }
        ui.end_row();
        let label = small(ui, view.tokens, tr!("inspector-pruned"));
        let mut percent = match plan.wanted.sparsity {
            Sparsity::Fraction(f) => (f * 100.0).round() as u32,
            other => ((1.0 - other.density()) * 100.0).round() as u32,
        };
        if ui.add(Slider::new(&mut percent, 0..=95).suffix(" %")).labelled_by(label.id).changed() {
            let sparsity = if percent == 0 { Sparsity::Dense } else { Sparsity::Fraction(percent as f32 / 100.0) };
            acts.push(edit(Change { sparsity: Some(sparsity), ..Change::default() }));
        }
        ui.end_row();
        small(ui, view.tokens, tr!("inspector-correction"));
        if let Some(correction) = correction_ui(ui, plan) {
            let change = Change { correction: Some(correction), ..Change::default() };
            acts.push(Act::Edit(Edit::Treat { layers: bench.targets(index), change }));
        }
        ui.end_row();
    });
}

fn width_text(bits: f64) -> String {
    if bits > 8.0 { tr!("inspector-float").to_owned() } else { tr!("inspector-bits", count = format!("{bits:.0}")) }
}

/// The number at the start of what [`width_text`] wrote, or a person did.
fn parse_width(text: &str) -> Option<f64> {
    text.trim_end_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

fn numbers_ui(ui: &mut Ui, view: &View<'_>, plan: &LayerPlan, treated: Option<&Treated>) {
    let t = view.tokens;
    ui.add_space(4.0);
    ui.horizontal_wrapped(|ui| {
        if let Some(treated) = treated {
            ui.label(RichText::new(decibels(treated.score.sqnr_db)).color(t.text).strong());
            small(ui, t, tr!("inspector-sqnr"));
            ui.label(RichText::new(format!("{:.1} %", treated.score.zero_fraction * 100.0)).color(t.text).strong());
            small(ui, t, tr!("inspector-zeros"));
        }
        ui.label(RichText::new(units::bytes(plan.bytes)).color(t.text).strong());
        small(ui, t, tr!("inspector-of-bytes", bytes = units::bytes(plan.original_bytes)));
    });
    for (shape, color, text) in [(Icon::Warning, t.warn, &plan.refusal), (Icon::Info, t.muted, &plan.note)] {
        if let Some(text) = text {
            ui.horizontal(|ui| {
                icon(ui, shape, color, text);
                ui.add(Label::new(RichText::new(text).color(t.muted).size(11.5)).wrap());
            });
        }
    }
}

/// In words: why one scale for all channels breaks a layer.
fn why_ui(ui: &mut Ui, view: &View<'_>, plan: &LayerPlan, facts: &LayerFacts, treated: Option<&Treated>) {
    let Some(step) = treated.and_then(|t| shared_scale(&plan.treatment, &t.scales)) else { return };
    let (lost, all) = (facts.channels_below(FEW_STEPS, step), facts.spreads.len());
    let (shape, color) = if lost * 10 > all { (Icon::Warning, view.tokens.bad) } else { (Icon::Info, view.tokens.muted) };
    let widest = facts.spreads.iter().map(Spread::width).fold(0.0, f32::max);
    let narrowest = facts.spreads.iter().map(Spread::width).fold(f32::INFINITY, f32::min);
    let few = format!("{FEW_STEPS:.0}");
    let mut sentences = vec![tr!("inspector-lost-channels", lost = lost, count = all, steps = few, step = tick(step))];
    if widest > 4.0 * narrowest {
        let (most, least) = (widest / step, narrowest / step);
        sentences.push(tr!("inspector-widest", most = format!("{most:.0}"), least = format!("{least:.1}")));
    }
    let drowned = treated.map_or(0, |t| t.channels_db.iter().filter(|db| **db < DROWNED_DB).count());
    if drowned > 0 {
        sentences.push(tr!("inspector-drowned", count = drowned, decibels = format!("{DROWNED_DB:.0}")));
    }
    ui.add_space(2.0);
    ui.horizontal_top(|ui| {
        icon(ui, shape, color, tr!("inspector-one-scale"));
        let text = sentences.join(tr!("configure-between-sentences"));
        ui.add(Label::new(RichText::new(text).color(view.tokens.text).size(12.0)).wrap());
    });
}

/// In words: what the layer's width costs the network.
fn loss_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, index: usize) {
    let (Some(plan), Some(layer)) = (bench.plan(), bench.layers().get(index)) else { return };
    let Some(text) = why(&bench.losses, layer, index, plan) else { return };
    ui.add_space(2.0);
    ui.horizontal_top(|ui| {
        icon(ui, Icon::Info, view.tokens.muted, tr!("inspector-loss"));
        ui.add(Label::new(RichText::new(text).color(view.tokens.text).size(12.0)).wrap());
    });
}

fn charts_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, plan: &LayerPlan, facts: &LayerFacts, treated: Option<&Treated>) {
    let t = view.tokens;
    ui.add_space(6.0);
    let mut levels = None;
    ui.horizontal(|ui| {
        heading(ui, t, tr!("inspector-weights"));
        key_ui(ui, view, t.before, tr!("inspector-before"));
        key_ui(ui, view, t.after, tr!("inspector-after"));
        levels = levels_ui(ui, view, facts, treated);
    });
    histogram_ui(ui, t, facts, treated, levels.as_ref(), 104.0);
    let shared = treated.and_then(|t| shared_scale(&plan.treatment, &t.scales));
    ui.add_space(4.0);
    ui.horizontal(|ui| {
        heading(ui, t, tr!("inspector-ranges"));
        if shared.is_some() {
            key_ui(ui, view, t.bad, tr!("inspector-lost"));
            key_ui(ui, view, t.warn, &tr!("inspector-few-steps", count = format!("{FEW_STEPS:.0}")));
        }
    });
    channels_ui(ui, t, facts, treated, shared, 104.0);
    error_ui(ui, view, bench, facts);
}

/// The values that the format has for weights of one output channel: of the widest, until another is chosen.
fn levels_ui(ui: &mut Ui, view: &View<'_>, facts: &LayerFacts, treated: Option<&Treated>) -> Option<Levels> {
    let encoded = treated?.encoded.as_ref()?;
    let last = facts.spreads.len().checked_sub(1)?;
    let width = |&c: &usize| facts.spreads.get(c).map_or(0.0, Spread::width);
    let widest = (0..=last).max_by(|a, b| width(a).total_cmp(&width(b))).unwrap_or(0);
    let id = Id::unique(("channel of levels", facts.index));
    let mut channel = ui.data(|d| d.get_temp::<usize>(id)).unwrap_or(widest).min(last);
    key_ui(ui, view, view.tokens.warn, tr!("inspector-levels"));
    let drag = DragValue::new(&mut channel).range(0..=last).speed(0.2);
    let response = ui.add(drag).on_hover_text(tr!("inspector-levels-channel.tooltip"));
    if response.accessible_name(tr!("inspector-levels-channel")).changed() {
        ui.data_mut(|d| d.insert_temp(id, channel));
    }
    Some(Levels { channel, values: encoded.levels(channel, 0) })
}

fn key_ui(ui: &mut Ui, view: &View<'_>, color: eframe::egui::Color32, text: &str) {
    let (rect, _) = ui.allocate_exact_size(vec2(9.0, 9.0), Sense::hover());
    ui.painter().rect_filled(rect, 2.0, color);
    small(ui, view.tokens, text);
}

fn error_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, facts: &LayerFacts) {
    let t = view.tokens;
    section(ui, t, tr!("inspector-error"));
    let Some((picture, texture)) =
        bench.picture.as_ref().filter(|p| p.layer == facts.index).and_then(|p| Some((p, p.texture()?)))
    else {
        small(ui, t, tr!("configure-being-drawn"));
        return;
    };
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 96.0), Sense::hover());
    let area = Rect::from_min_max(pos2(rect.left() + 44.0, rect.top()), rect.max);
    Image::new((texture.id(), Vec2::new(picture.columns as f32, picture.rows as f32)))
        .fit_to_exact_size(area.size())
        .maintain_aspect_ratio(false)
        .paint_at(ui, area);
    ui.painter().rect_stroke(area, 0.0, Stroke::new(1.0, t.line), StrokeKind::Outside);
    let font = FontId::proportional(10.5);
    ui.painter().text(area.left_top() - vec2(5.0, 0.0), Align2::RIGHT_TOP, tr!("inspector-first-output"), font.clone(), t.muted);
    ui.painter().text(
        area.left_bottom() - vec2(5.0, 0.0),
        Align2::RIGHT_BOTTOM,
        format!("{}", facts.spreads.len().saturating_sub(1)),
        font.clone(),
        t.muted,
    );
    let text = tr!("inspector-error.tooltip", rows = facts.spreads.len(), range = tick(picture.range));
    let pointer = response.hover_pos();
    let cell = pointer.and_then(|p| {
        let row = ((p.y - area.top()) / area.height() * picture.rows as f32) as usize;
        let column = ((p.x - area.left()) / area.width() * picture.columns as f32) as usize;
        let value = picture.cells.get(row * picture.columns + column).filter(|_| column < picture.columns && area.contains(p))?;
        Some(format!("{text}\n{}", tr!("inspector-error-here", value = tick(*value))))
    });
    response.on_hover_text_at_pointer(cell.unwrap_or_else(|| text.clone()));
    ui.horizontal(|ui| {
        ui.add_space(44.0);
        small(ui, t, format!("−{}", tick(picture.range)));
        let (strip, _) = ui.allocate_exact_size(vec2(80.0, 8.0), Sense::hover());
        ramp(ui.painter(), strip, &t.difference);
        small(ui, t, tick(picture.range));
        small(ui, t, tr!("inspector-columns"));
    });
}
