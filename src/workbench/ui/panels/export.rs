//! Writing the active recipe's model as a file, and what was checked of it.

use crate::engine::units;
use crate::pipeline::configure::Sparsity;
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::{Bench, Point};
use crate::workbench::ui::exporting::Written;
use crate::workbench::ui::tasks;
use crate::workbench::ui::view::{View, decibels, percent};
use crate::workbench::ui::widgets::{Icon, empty, fact, icon, icon_button, section, small};
use eframe::egui::{Align, Checkbox, Label, Layout, RichText, ScrollArea, TextEdit, Ui, vec2};
use std::collections::BTreeMap;

/// Files up to this size are zipped without being asked for, in bytes.
const ZIPPED_UNASKED: u64 = 64 << 20;

pub fn export_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some((bench, point)) = view.bench.and_then(|b| Some((b, b.active()?))) else {
        return empty(ui, view.tokens, "No project is open", "The active recipe's model is written here.");
    };
    let t = view.tokens;
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        section(ui, t, "What");
        fact(ui, t, "Recipe", point.name.clone());
        ui.add(Label::new(RichText::new(&point.recipe.description).color(t.muted).size(12.0)).wrap());
        quality_ui(ui, view, point);
        section(ui, t, "Files");
        targets_ui(ui, view, bench, acts);
        original_ui(ui, view, bench, acts);
        section(ui, t, "Where");
        where_ui(ui, bench, acts);
        ui.add_space(6.0);
        let chosen = bench.writable_formats().len();
        let ready = view.job_of(tasks::EXPORT).is_none() && chosen > 0 && matches!(point.plan, Some(Ok(_)));
        let text = if chosen > 1 { format!("Export and check {chosen} files") } else { "Export and check".to_owned() };
        if icon_button(ui, Icon::Play, &text, ready, Some(t.good)).clicked() {
            acts.push(Act::ExportNow);
        }
        small(ui, t, "Each file is opened again, compared and measured before it gets its name.");
        written_ui(ui, view, bench);
        skipped_ui(ui, view, bench, acts);
    });
}

fn quality_ui(ui: &mut Ui, view: &View<'_>, point: &Point) {
    let t = view.tokens;
    if let Some(Ok(plan)) = &point.plan {
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
}

/// Every kind of file: what it would take, or why it cannot hold the recipe.
fn targets_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, acts: &mut Vec<Act>) {
    let (t, chosen) = (view.tokens, bench.export_formats());
    let original = bench.opened.subject.loaded.bytes;
    for target in &bench.targets {
        let format = target.format;
        ui.horizontal(|ui| {
            let mut on = chosen.contains(&format);
            let size = vec2(176.0, 20.0);
            let left = Layout::left_to_right(Align::Center);
            let response = ui.allocate_ui_with_layout(size, left, |ui| {
                ui.set_min_width(size.x);
                ui.add_enabled(target.bytes.is_ok() || on, Checkbox::new(&mut on, format.name()))
            });
            if response.inner.changed() {
                acts.push(Act::ExportFormat(format, on));
            }
            match &target.bytes {
                Ok(bytes) => {
                    let most = if format.has_known_size() { "" } else { "at most " };
                    ui.label(RichText::new(format!("{most}{}", units::bytes(*bytes))).color(t.text));
                    ui.label(RichText::new(percent(*bytes, original)).color(t.muted));
                }
                Err(why) => {
                    icon(ui, Icon::Warning, t.warn, why);
                    ui.add(Label::new(RichText::new(why).color(t.muted).size(11.5)).truncate()).on_hover_text(why);
                }
            }
            if let Some(written) = bench.written(format) {
                let bytes = written.exported.bytes;
                let text = format!("written: {} ({})", units::bytes(bytes), percent(bytes, original));
                ui.label(RichText::new(text).color(t.good).size(12.0));
            }
        });
    }
}

/// What there is to compare with.
fn original_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, acts: &mut Vec<Act>) {
    let original = bench.opened.subject.loaded.bytes;
    fact(ui, view.tokens, "Original", format!("{} ({original} bytes)", units::bytes(original)));
    match &bench.zipped {
        Some(Ok(zipped)) => {
            fact(ui, view.tokens, "zip -9 of it", format!("{} ({})", units::bytes(*zipped), percent(*zipped, original)));
        }
        Some(Err(why)) => fact(ui, view.tokens, "zip -9 of it", why.clone()),
        None if view.job_of(tasks::ZIP).is_some() => fact(ui, view.tokens, "zip -9 of it", "being found out…".to_owned()),
        None if original > ZIPPED_UNASKED => {
            if ui.button("zip -9 of it").on_hover_text("Zips the original to see how small that makes it").clicked() {
                acts.push(Act::Zip);
            }
        }
        None => acts.push(Act::Zip),
    }
}

fn where_ui(ui: &mut Ui, bench: &Bench, acts: &mut Vec<Act>) {
    let width = (ui.available_width() - 170.0).clamp(120.0, 560.0);
    let field = |ui: &mut Ui, name: &str, text: &mut String| {
        let label = ui.add_sized([56.0, 20.0], Label::new(name));
        ui.add_sized([width, 24.0], TextEdit::singleline(text)).labelled_by(label.id).changed()
    };
    ui.horizontal(|ui| {
        let mut folder = bench.export_folder();
        if field(ui, "Folder", &mut folder) {
            acts.push(Act::ExportFolder(folder));
        }
        if ui.button("Browse…").clicked() {
            acts.push(Act::BrowseExport);
        }
    });
    ui.horizontal(|ui| {
        let mut name = bench.export_name();
        if field(ui, "Name", &mut name) {
            acts.push(Act::ExportName(name));
        }
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

/// What was checked of each file, the newest first.
pub fn checks_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let t = view.tokens;
    let Some(bench) = view.bench.filter(|b| !b.written.is_empty()) else {
        return empty(ui, t, "Nothing has been exported yet", "What was checked of each file is listed here.");
    };
    let key = bench.active().map(|p| p.key.as_str());
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        for (number, written) in bench.written.iter().enumerate().rev() {
            ui.push_id(number, |ui| file_ui(ui, view, written, key == Some(&written.key), acts));
        }
    });
}

fn file_ui(ui: &mut Ui, view: &View<'_>, written: &Written, is_fresh: bool, acts: &mut Vec<Act>) {
    let (t, exported) = (view.tokens, &written.exported);
    let name = exported.path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
    section(ui, t, &format!("{}: {name}", written.format.name()));
    ui.horizontal(|ui| {
        if ui.button("Open folder").clicked() {
            acts.push(Act::Reveal(exported.path.clone()));
        }
        if ui.button("Copy path").clicked() {
            acts.push(Act::Copy(exported.path.display().to_string()));
        }
        if ui.button("Look into it").on_hover_text("Opens the file as if it had been dropped on the window").clicked() {
            acts.push(Act::Open(exported.path.clone()));
        }
    });
    fact(ui, t, "Path", exported.path.display().to_string());
    fact(ui, t, "Bytes", format!("{} ({})", units::bytes(exported.bytes), exported.bytes));
    fact(ui, t, "SHA-256", exported.sha256.clone());
    if !is_fresh {
        ui.horizontal(|ui| {
            icon(ui, Icon::Half, t.stale, "Stale");
            small(ui, t, "Written from another recipe, or before the recipe was changed.");
        });
    }
    for check in &exported.checks {
        ui.horizontal(|ui| {
            let (shape, color, words) =
                if check.passed { (Icon::Check, t.good, "Passed") } else { (Icon::Cross, t.bad, "Failed") };
            icon(ui, shape, color, words);
            ui.label(RichText::new(&check.name).color(t.text));
            ui.add(Label::new(RichText::new(&check.value).color(t.muted).size(12.0)).truncate()).on_hover_text(&check.value);
        });
    }
}
