//! Layers × settings. The heat map at the right is the editor: a cell is layer × width.

use super::columns::{GAP, HEAT_CELL, Shown};
use super::settings::settings_ui;
use crate::engine::units;
use crate::pipeline::configure::{LayerPlan, WIDTHS};
use crate::workbench::project::{Change, Edit};
use crate::workbench::ui::act::{Act, Pick};
use crate::workbench::ui::bench::{Bench, Tie};
use crate::workbench::ui::commands::Command;
use crate::workbench::ui::scores::{FEW_STEPS, at_width};
use crate::workbench::ui::session::{Column as SortBy, Heat};
use crate::workbench::ui::tasks;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::{View, decibels, shape_text};
use crate::workbench::ui::widgets::{
    Brush, Grounds, HeatCell, HeatError, Icon, bar, combo, empty, field, heat_cell, hinted, icon, legend, small,
};
use eframe::egui::{Id, Key, Label, Rect, RichText, Sense, Stroke, Ui, pos2, vec2};
use egui_extras::{Column, TableBuilder, TableRow};

const ROW: f32 = 26.0;
/// Width of a bracket.
const LANE: f32 = 7.0;

/// What all rows of a frame share.
struct Rows {
    /// What bars are drawn against.
    parameters: f32,
    bytes: f32,
    shown: Shown,
    brush: Brush,
}

pub fn grid_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench else {
        return empty(ui, view.tokens, tr!("configure-no-project"), tr!("grid-no-project"));
    };
    bar_ui(ui, view, bench, acts);
    if bench.layers().is_empty() {
        return empty(ui, view.tokens, tr!("grid-no-layers"), tr!("grid-no-layers.hint"));
    }
    if bench.rows.is_empty() {
        return empty(ui, view.tokens, tr!("grid-none-fits"), tr!("grid-none-fits.hint"));
    }
    table_ui(ui, view, bench, acts);
}

/// Where the filter box is, so that a command can put the cursor into it.
#[must_use]
pub fn filter_id() -> Id {
    Id::unique("layer filter")
}

fn bar_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, acts: &mut Vec<Act>) {
    ui.horizontal(|ui| {
        let mut filter = bench.filter.clone();
        let edit = field(&mut filter).id(filter_id()).desired_width(190.0);
        let response = ui.add(edit.hint_text(tr!("grid-filter.hint"))).accessible_name(tr!("grid-filter"));
        if response.changed() {
            acts.push(Act::Filter(filter.clone()));
        }
        if response.has_focus() && ui.input(|i| i.key_pressed(Key::Escape)) {
            acts.push(Act::Filter(String::new()));
            response.surrender_focus();
        }
        let shown = if bench.rows.len() == bench.layers().len() {
            tr!("grid-layers", count = bench.rows.len())
        } else {
            tr!("grid-layers-of", shown = bench.rows.len(), count = bench.layers().len())
        };
        small(ui, view.tokens, shown);
        if bench.selection.len() > 1 {
            small(ui, view.tokens, tr!("grid-selected", count = bench.selection.len()));
        }
        ui.with_layout(eframe::egui::Layout::right_to_left(eframe::egui::Align::Center), |ui| {
            legend(ui, view.tokens, view.session.heat);
            heat_choice_ui(ui, view, bench, acts);
            if !bench.selection.is_empty() {
                view.button(ui, Command::ResetLayers, acts);
            }
        });
    });
    ui.add_space(2.0);
}

/// Which error the heat map shows, and how to get it.
fn heat_choice_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, acts: &mut Vec<Act>) {
    let present = view.session.heat;
    let choices = || Heat::ALL.map(|h| (h, h.name()));
    if let Some(heat) = combo(ui, (), || tr!("grid-heat").to_owned(), 148.0, present, present.name(), choices) {
        acts.push(Act::Heat(heat));
    }
    if present == Heat::Loss && bench.plan().is_some_and(|p| !bench.losses.covers(p)) && view.job_of(tasks::LOSSES).is_none() {
        view.button(ui, Command::MeasureLosses, acts);
    }
}

fn table_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, acts: &mut Vec<Act>) {
    let largest = |f: &dyn Fn(usize) -> u64| (0..bench.layers().len()).map(f).max().unwrap_or(1).max(1) as f32;
    ui.spacing_mut().item_spacing.x = GAP;
    let width = ui.available_width() - 8.0;
    let shown = Shown::within(width);
    let columns = shown.columns();
    let fixed: f32 = columns.iter().map(|c| c.width + GAP).sum();
    let rows = Rows {
        parameters: largest(&|i| bench.layers()[i].parameters() as u64),
        bytes: largest(&|i| bench.layer_plan(i).map_or(0, |l| l.original_bytes)),
        shown,
        brush: Brush::of(ui),
    };
    let mut table = TableBuilder::new(ui)
        .id_salt(("layers", columns.len()))
        .striped(true)
        .sense(Sense::click())
        .animate_scrolling(false)
        .drag_to_scroll(eframe::egui::scroll_area::DragScroll::Never)
        .cell_layout(eframe::egui::Layout::left_to_right(eframe::egui::Align::Center))
        .column(Column::exact((width - fixed).max(80.0)).clip(true));
    table = columns.iter().fold(table, |table, c| table.column(Column::exact(c.width).clip(c.clips)));
    if bench.selection.reveal
        && let Some(row) = bench.rows.iter().position(|r| Some(*r) == bench.selection.primary())
    {
        table = table.scroll_to_row(row, None);
    }
    table
        .header(22.0, |mut header| header_ui(&mut header, view, shown, acts))
        .body(|body| body.rows(ROW, bench.rows.len(), |mut row| row_ui(&mut row, view, bench, &rows, acts)));
}

fn header_ui(header: &mut TableRow<'_, '_>, view: &View<'_>, shown: Shown, acts: &mut Vec<Act>) {
    let mut title = |text: &str, sort: Option<SortBy>, tip: &str| {
        header.col(|ui| title_ui(ui, view, text, sort, tip, acts));
    };
    title(tr!("grid-layer"), Some(SortBy::Name), tr!("grid-layer.tooltip"));
    if shown.op {
        title(tr!("grid-op"), Some(SortBy::Op), tr!("grid-op.tooltip"));
    }
    if shown.shape {
        title(tr!("grid-shape"), None, tr!("grid-shape.tooltip"));
    }
    title(tr!("grid-weights"), Some(SortBy::Params), tr!("grid-weights.tooltip"));
    title(tr!("grid-scheme"), None, tr!("grid-scheme.tooltip"));
    title(tr!("grid-bits"), Some(SortBy::Bits), tr!("grid-bits.tooltip"));
    title(tr!("grid-scales"), None, tr!("grid-scales.tooltip"));
    if shown.pruned {
        title(tr!("grid-pruned"), None, tr!("grid-pruned.tooltip"));
    }
    if shown.inputs {
        title(tr!("grid-inputs"), None, tr!("grid-inputs.tooltip"));
    }
    if shown.correction {
        title(tr!("grid-correction"), None, tr!("grid-correction.tooltip"));
    }
    title(tr!("grid-bytes"), Some(SortBy::Bytes), tr!("grid-bytes.tooltip"));
    title(tr!("grid-sqnr"), Some(SortBy::Sqnr), tr!("grid-sqnr.tooltip"));
    header.col(|ui| widths_ui(ui, view));
}

fn title_ui(ui: &mut Ui, view: &View<'_>, text: &str, sort: Option<SortBy>, tip: &str, acts: &mut Vec<Act>) {
    let label = Label::new(RichText::new(text).color(view.tokens.muted).size(11.5)).sense(if sort.is_some() {
        Sense::click()
    } else {
        Sense::hover()
    });
    let response = ui.add(label).on_hover_text(tip);
    if let Some(sort) = sort {
        if view.session.sort == sort {
            // Takes no room: the column is as wide as its cells.
            let rect = Rect::from_center_size(response.rect.right_center() + vec2(7.0, 0.0), vec2(10.0, 10.0));
            let arrow = if view.session.descending { Icon::Down } else { Icon::Up };
            arrow.paint(ui.painter(), rect, view.tokens.muted);
        }
        if response.clicked() {
            acts.push(Act::Sort(sort));
        }
    }
}

fn widths_ui(ui: &mut Ui, view: &View<'_>) {
    let rect = ui.max_rect();
    for (i, bits) in WIDTHS.iter().enumerate() {
        let center = pos2(rect.left() + (i as f32 + 0.5) * HEAT_CELL, rect.center().y);
        let text = if *bits == 8 { tr!("grid-eight-bits").to_owned() } else { bits.to_string() };
        ui.painter().text(
            center,
            eframe::egui::Align2::CENTER_CENTER,
            text,
            eframe::egui::FontId::proportional(11.5),
            view.tokens.muted,
        );
    }
}

fn row_ui(row: &mut TableRow<'_, '_>, view: &View<'_>, bench: &Bench, rows: &Rows, acts: &mut Vec<Act>) {
    let shown = rows.shown;
    let Some(&index) = bench.rows.get(row.index()) else { return };
    let (Some(layer), plan) = (bench.layers().get(index), bench.layer_plan(index)) else { return };
    row.set_selected(bench.selection.contains(index));
    let place = row.index();
    row.col(|ui| {
        brackets_ui(ui, view, bench, place);
        name_ui(ui, view, bench, index, plan);
    });
    if shown.op {
        row.col(|ui| drop(small(ui, view.tokens, layer.kind.name())));
    }
    if shown.shape {
        row.col(|ui| drop(hinted(small(ui, view.tokens, shape_text(&layer.shape)), || macs_text(layer.macs))));
    }
    row.col(|ui| {
        let count = layer.parameters() as u64;
        drop(bar(ui, (count as f32 / rows.parameters).sqrt(), &units::count(count), view.tokens.bar, view.tokens.text));
    });
    match plan {
        Some(plan) => settings_ui(row, view, bench, index, plan, shown, acts),
        None => {
            let others = [shown.pruned, shown.inputs, shown.correction].into_iter().filter(|on| *on).count();
            (0..3 + others).for_each(|_| drop(row.col(|_| {})));
        }
    }
    row.col(|ui| bytes_ui(ui, view, plan, rows));
    row.col(|ui| {
        let score = plan.and_then(|p| bench.scores.get(index, &p.treatment));
        let text = score.map_or_else(|| "…".to_owned(), |s| decibels(s.sqnr_db).replace(" dB", ""));
        ui.label(RichText::new(text).color(view.tokens.text).size(12.0));
    });
    row.col(|ui| heat_ui(ui, view, bench, index, rows.brush, acts));
    let response = row.response();
    if response.clicked() {
        let modifiers = response.ctx.input(|i| i.modifiers);
        let how = if modifiers.shift {
            Pick::Range
        } else if modifiers.command {
            Pick::Toggle
        } else {
            Pick::Only
        };
        acts.push(Act::Select { layer: index, how });
    }
}

/// Ties of the row with others: a line down to the last of them, with a foot at each.
fn brackets_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, row: usize) {
    let Some(lanes) = bench.brackets.iter().map(|b| b.lane + 1).max() else { return };
    let (rect, response) = ui.allocate_exact_size(vec2(lanes as f32 * LANE, ui.available_height()), Sense::hover());
    let tall = rect.center().y - 0.5 * ROW - 2.0..=rect.center().y + 0.5 * ROW + 2.0;
    for bracket in bench.brackets.iter().filter(|b| b.spans(row)) {
        let x = rect.left() + (bracket.lane as f32 + 0.5) * LANE;
        let color = match bracket.tie {
            Tie::Projections => view.tokens.accent,
            Tie::Sums => view.tokens.muted,
            Tie::Channels => view.tokens.warn,
        };
        let from = if row == bracket.first() { rect.center().y } else { *tall.start() };
        let to = if row == bracket.last() { rect.center().y } else { *tall.end() };
        ui.painter().vline(x, from..=to, Stroke::new(1.5, color));
        if bracket.rows.contains(&row) {
            ui.painter().hline(x..=x + LANE - 1.0, rect.center().y, Stroke::new(1.5, color));
        }
    }
    let over = response.hover_pos().map(|p| ((p.x - rect.left()) / LANE) as usize);
    let words = bench.brackets.iter().find(|b| Some(b.lane) == over && b.spans(row)).map(|b| b.words.clone());
    if let Some(words) = words {
        response.on_hover_text(words);
    }
}

fn macs_text(macs: Option<u64>) -> String {
    macs.map_or_else(|| tr!("grid-macs-unknown").to_owned(), |m| tr!("grid-macs", count = units::count(m)))
}

fn name_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, index: usize, plan: Option<&LayerPlan>) {
    let Some(layer) = bench.layers().get(index) else { return };
    let lost = plan.and_then(|p| bench.scores.get(index, &p.treatment)).map_or(0, |s| s.lost_channels);
    if lost > 0 {
        let (all, color) =
            (layer.out_channels(), if lost * 10 > layer.out_channels() { view.tokens.bad } else { view.tokens.warn });
        let text = tr!("grid-lost-channels", lost = lost, count = all, steps = format!("{FEW_STEPS:.0}"));
        icon(ui, Icon::Warning, color, &text);
    } else if let Some(reason) = plan.and_then(|p| p.refusal.as_ref()) {
        icon(ui, Icon::Warning, view.tokens.warn, reason);
    } else if let Some(note) = plan.and_then(|p| p.note.as_ref()) {
        icon(ui, Icon::Info, view.tokens.muted, note);
    }
    ui.add(Label::new(RichText::new(&layer.name).color(view.tokens.text)).truncate().selectable(false));
}

fn bytes_ui(ui: &mut Ui, view: &View<'_>, plan: Option<&LayerPlan>, rows: &Rows) {
    let Some(plan) = plan else { return };
    let share = (plan.bytes as f32 / rows.bytes).sqrt();
    let text = units::bytes(plan.bytes);
    let response = bar(ui, share, &text, view.tokens.bar, view.tokens.text);
    drop(hinted(response, || tr!("grid-bytes-of", bytes = plan.bytes, original = plan.original_bytes)));
}

fn heat_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, index: usize, brush: Brush, acts: &mut Vec<Act>) {
    let Some(plan) = bench.layer_plan(index) else { return };
    let (area, mut grounds) = (ui.max_rect(), Grounds::on(ui));
    for (i, &bits) in WIDTHS.iter().enumerate() {
        let left = area.left() + i as f32 * HEAT_CELL;
        let rect = Rect::from_min_max(pos2(left, area.top()), pos2(left + HEAT_CELL, area.bottom()));
        let treatment = at_width(&plan.treatment, bits);
        let cell = HeatCell {
            layer: &plan.layer.name,
            bits,
            error: match view.session.heat {
                Heat::Weights => bench.scores.get(index, &treatment).map(|s| HeatError::Sqnr(s.sqnr_db)),
                Heat::Loss => bench.losses.get(index, &treatment).map(|l| HeatError::Loss(l.kl)),
            },
            chosen: plan.treatment.weights.bits() == bits,
        };
        if heat_cell(ui, rect, ui.scope_id().with(("heat", index, bits)), view.tokens, brush, &mut grounds, &cell) {
            let change = Change { weights: Some(plan.wanted.weights.with_bits(bits)), ..Change::default() };
            acts.push(Act::Drag(Edit::Treat { layers: vec![plan.layer.name.clone()], change }));
            // The inspector shows what the pointer changes.
            acts.push(Act::Select { layer: index, how: Pick::Only });
        }
    }
    grounds.paint(ui);
}
