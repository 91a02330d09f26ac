//! Writing the active recipe's model as a file, and what was checked of it.

use crate::engine::units;
use crate::pipeline::configure::{FileFormat, Sparsity};
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::Bench;
use crate::workbench::ui::tasks;
use crate::workbench::ui::view::{View, decibels, percent};
use crate::workbench::ui::widgets::{Icon, empty, fact, icon, icon_button, section, small};
use eframe::egui::{Label, RichText, ScrollArea, TextEdit, Ui};
use std::collections::BTreeMap;
use std::path::Path;

pub fn export_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some((bench, point)) = view.bench.and_then(|b| Some((b, b.active()?))) else {
        return empty(ui, view.tokens, "No project is open", "The active recipe's model is written here.");
    };
    let t = view.tokens;
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        section(ui, t, "What");
        fact(ui, t, "Recipe", point.name.clone());
        ui.add(Label::new(RichText::new(&point.recipe.description).color(t.muted).size(12.0)).wrap());
        let file = FileFormat::of_name(Path::new(view.export_path));
        fact(ui, t, "Format", file.name());
        if let Some(Ok(plan)) = &point.plan {
            let of = if plan.file == file { " exactly".to_owned() } else { format!(" as {}", plan.file.name()) };
            let text = format!(
                "{} ({} of the original), {} bytes{of}",
                units::bytes(plan.bytes),
                percent(plan.bytes, plan.original_bytes),
                plan.bytes
            );
            fact(ui, t, "Size", text);
            fact(ui, t, "Bits per weight", format!("{:.2}, scales and zero points included", plan.bits_per_weight));
        }
        fact(ui, t, "Weight SQNR", point.sqnr_db.map_or_else(|| "being scored".to_owned(), decibels));
        let measured = match &point.measured {
            Some(m) if m.stale => "changed since it was measured".to_owned(),
            Some(m) => m.report.metrics.map_or_else(
                || format!("KL {:.5} nats", m.report.fidelity.kl_mean),
                |x| format!("{} on {} samples", x.headline().1, m.report.samples),
            ),
            None => "not measured; the export measures it".to_owned(),
        };
        let metrics = point.measured.as_ref().and_then(|m| m.report.metrics);
        fact(ui, t, metrics.map_or("Top-1", |m| m.headline().0), measured);
        written_ui(ui, view, bench);
        skipped_ui(ui, view, bench, acts);
        section(ui, t, "Where");
        ui.horizontal(|ui| {
            let mut path = view.export_path.to_owned();
            let width = (ui.available_width() - 96.0).max(120.0);
            let response = ui.add(TextEdit::singleline(&mut path).desired_width(width)).accessible_name("File to write");
            if response.changed() {
                acts.push(Act::ExportPath(path));
            }
            if ui.button("Browse…").clicked() {
                acts.push(Act::BrowseExport);
            }
        });
        ui.add_space(6.0);
        let running = view.job_of(tasks::EXPORT).is_some();
        let ready = !running && !view.export_path.trim().is_empty() && matches!(point.plan, Some(Ok(_)));
        if icon_button(ui, Icon::Play, "Export and check", ready, Some(t.good)).clicked() {
            acts.push(Act::ExportNow);
        }
        small(ui, t, "The file is opened again, compared and measured before it gets its name.");
    });
}

/// How the weights are stored, and in how many bytes.
fn written_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench) {
    let Some(plan) = bench.plan() else { return };
    let mut kinds: BTreeMap<String, (usize, usize, u64)> = BTreeMap::new();
    for layer in &plan.layers {
        let treatment = &layer.treatment;
        let sparsity = if treatment.sparsity == Sparsity::Dense { String::new() } else { format!(", {}", treatment.sparsity) };
        let entry = kinds.entry(format!("{}{sparsity}", treatment.weights)).or_default();
        *entry = (entry.0 + 1, entry.1 + layer.layer.parameters(), entry.2 + layer.bytes);
    }
    section(ui, view.tokens, "Weights");
    for (name, (layers, weights, bytes)) in &kinds {
        let text = format!(
            "{layers} {}, {} weights in {}",
            if *layers == 1 { "layer" } else { "layers" },
            units::count(*weights as u64),
            units::bytes(*bytes)
        );
        fact(ui, view.tokens, name, text);
    }
    let stored: u64 = plan.layers.iter().map(|l| l.bytes).sum();
    fact(
        ui,
        view.tokens,
        "All else",
        format!("{}: biases, ranges, the graph itself", units::bytes(plan.bytes.saturating_sub(stored))),
    );
}

/// Layers that the recipe cannot do as asked.
fn skipped_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, acts: &mut Vec<Act>) {
    let Some(plan) = bench.plan() else { return };
    let refused: Vec<_> = plan.layers.iter().filter_map(|l| Some((&l.layer.name, l.refusal.as_ref()?))).collect();
    if refused.is_empty() {
        return;
    }
    section(ui, view.tokens, "Not done as asked");
    for (name, reason) in refused.iter().take(8) {
        ui.horizontal(|ui| {
            icon(ui, Icon::Warning, view.tokens.warn, reason);
            if ui.link(name.as_str()).clicked() {
                acts.push(Act::Jump((*name).clone()));
            }
            ui.add(Label::new(RichText::new(reason.as_str()).color(view.tokens.muted).size(11.5)).truncate());
        });
    }
    if refused.len() > 8 {
        small(ui, view.tokens, format!("and {} more", refused.len() - 8));
    }
}

pub fn checks_ui(ui: &mut Ui, view: &View<'_>) {
    let t = view.tokens;
    let Some((key, exported)) = view.bench.and_then(|b| b.exported.as_ref()) else {
        return empty(ui, t, "Nothing has been exported yet", "What was checked of the file is listed here.");
    };
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        section(ui, t, "File");
        fact(ui, t, "Path", exported.path.display().to_string());
        fact(ui, t, "Bytes", format!("{} ({})", units::bytes(exported.bytes), exported.bytes));
        fact(ui, t, "SHA-256", exported.sha256.clone());
        if view.bench.and_then(Bench::active).is_some_and(|p| p.key != *key) {
            ui.horizontal(|ui| {
                icon(ui, Icon::Half, t.stale, "Stale");
                small(ui, t, "Written from another recipe, or before the recipe was changed.");
            });
        }
        section(ui, t, "Checks");
        for check in &exported.checks {
            ui.horizontal(|ui| {
                let (shape, color, words) =
                    if check.passed { (Icon::Check, t.good, "Passed") } else { (Icon::Cross, t.bad, "Failed") };
                icon(ui, shape, color, words);
                ui.label(RichText::new(&check.name).color(t.text));
                ui.add(Label::new(RichText::new(&check.value).color(t.muted).size(12.0)).truncate()).on_hover_text(&check.value);
            });
        }
    });
}
