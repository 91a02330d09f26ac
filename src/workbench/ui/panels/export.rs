//! Writing the active recipe's model as a file, and what was checked of it.

use crate::engine::units;
use crate::pipeline::configure::Sparsity;
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::{Bench, Point};
use crate::workbench::ui::exporting::Written;
use crate::workbench::ui::tasks;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::{View, decibels, percent};
use crate::workbench::ui::widgets::{Icon, empty, fact, field, icon, icon_button, section, small};
use eframe::egui::{Align, Checkbox, Label, Layout, RichText, ScrollArea, Ui, vec2};
use std::collections::BTreeMap;

/// Files up to this size are zipped without being asked for, in bytes.
const ZIPPED_UNASKED: u64 = 64 << 20;

pub fn export_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some((bench, point)) = view.bench.and_then(|b| Some((b, b.active()?))) else {
        return empty(ui, view.tokens, tr!("export-no-project"), tr!("export-no-project.hint"));
    };
    let t = view.tokens;
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        section(ui, t, tr!("export-what"));
        fact(ui, t, tr!("export-recipe"), point.name.clone());
        ui.add(Label::new(RichText::new(&point.recipe.description).color(t.muted).size(12.0)).wrap());
        quality_ui(ui, view, point);
        section(ui, t, tr!("export-files"));
        targets_ui(ui, view, bench, acts);
        original_ui(ui, view, bench, acts);
        section(ui, t, tr!("export-where"));
        where_ui(ui, bench, acts);
        ui.add_space(6.0);
        let chosen = bench.writable_formats().len();
        let ready = view.job_of(tasks::EXPORT).is_none() && chosen > 0 && matches!(point.plan, Some(Ok(_)));
        let text = if chosen > 1 { tr!("export-now-files", count = chosen) } else { tr!("export-now").to_owned() };
        if icon_button(ui, Icon::Play, &text, ready, Some(t.good)).clicked() {
            acts.push(Act::ExportNow);
        }
        small(ui, t, tr!("export-now-hint"));
        written_ui(ui, view, bench);
        skipped_ui(ui, view, bench, acts);
    });
}

fn quality_ui(ui: &mut Ui, view: &View<'_>, point: &Point) {
    let t = view.tokens;
    if let Some(Ok(plan)) = &point.plan {
        let bits = format!("{:.2}", plan.bits_per_weight);
        fact(ui, t, tr!("export-bits"), tr!("export-bits-value", bits = bits));
    }
    fact(ui, t, tr!("export-sqnr"), point.sqnr_db.map_or_else(|| tr!("export-sqnr-wait").to_owned(), decibels));
    let measured = match &point.measured {
        Some(m) if m.stale => tr!("export-quality-stale").to_owned(),
        Some(m) => m.report.metrics.map_or_else(
            || tr!("export-quality-kl", kl = format!("{:.5}", m.report.fidelity.kl_mean)),
            |x| tr!("export-quality-value", quality = x.headline().1, samples = m.report.samples),
        ),
        None => tr!("export-quality-none").to_owned(),
    };
    let metrics = point.measured.as_ref().and_then(|m| m.report.metrics);
    fact(ui, t, metrics.map_or(tr!("export-quality"), |m| m.headline().0), measured);
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
                    let size = units::bytes(*bytes);
                    let text = if format.has_known_size() { size } else { tr!("export-at-most", size = size) };
                    ui.label(RichText::new(text).color(t.text));
                    ui.label(RichText::new(percent(*bytes, original)).color(t.muted));
                }
                Err(why) => {
                    icon(ui, Icon::Warning, t.warn, why);
                    ui.add(Label::new(RichText::new(why).color(t.muted).size(11.5)).truncate()).on_hover_text(why);
                }
            }
            if let Some(written) = bench.written(format) {
                let bytes = written.exported.bytes;
                let text = tr!("export-written", size = units::bytes(bytes), share = percent(bytes, original));
                ui.label(RichText::new(text).color(t.good).size(12.0));
            }
        });
    }
}

/// What there is to compare with.
fn original_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, acts: &mut Vec<Act>) {
    let original = bench.opened.subject.loaded.bytes;
    let value = tr!("export-original-value", size = units::bytes(original), bytes = original.to_string());
    fact(ui, view.tokens, tr!("export-original"), value);
    match &bench.zipped {
        Some(Ok(zipped)) => {
            fact(ui, view.tokens, tr!("export-zip"), format!("{} ({})", units::bytes(*zipped), percent(*zipped, original)));
        }
        Some(Err(why)) => fact(ui, view.tokens, tr!("export-zip"), why.clone()),
        None if view.job_of(tasks::ZIP).is_some() => fact(ui, view.tokens, tr!("export-zip"), tr!("export-zip-wait").to_owned()),
        None if original > ZIPPED_UNASKED => {
            if ui.button(tr!("export-zip")).on_hover_text(tr!("export-zip.tooltip")).clicked() {
                acts.push(Act::Zip);
            }
        }
        None => acts.push(Act::Zip),
    }
}

fn where_ui(ui: &mut Ui, bench: &Bench, acts: &mut Vec<Act>) {
    let width = (ui.available_width() - 170.0).clamp(120.0, 560.0);
    let line = |ui: &mut Ui, name: &str, text: &mut String| {
        let size = vec2(56.0, 20.0);
        let label = ui.allocate_ui_with_layout(size, Layout::left_to_right(Align::Center), |ui| {
            ui.set_min_width(size.x);
            ui.label(name)
        });
        let label = label.inner;
        ui.add_sized([width, 24.0], field(text)).labelled_by(label.id).changed()
    };
    ui.horizontal(|ui| {
        let mut folder = bench.export_folder();
        if line(ui, tr!("export-folder"), &mut folder) {
            acts.push(Act::ExportFolder(folder));
        }
        if ui.button(tr!("export-browse")).clicked() {
            acts.push(Act::BrowseExport);
        }
    });
    ui.horizontal(|ui| {
        let mut name = bench.export_name();
        if line(ui, tr!("export-name"), &mut name) {
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
    section(ui, view.tokens, tr!("export-weights"));
    for (name, (layers, weights, bytes)) in &kinds {
        let (weights, size) = (units::count(*weights as u64), units::bytes(*bytes));
        let text = tr!("export-weights-value", layers = *layers, weights = weights, size = size);
        fact(ui, view.tokens, name, text);
    }
    let stored: u64 = plan.layers.iter().map(|l| l.bytes).sum();
    let rest = units::bytes(plan.bytes.saturating_sub(stored));
    fact(ui, view.tokens, tr!("export-rest"), tr!("export-rest-value", size = rest));
}

/// Layers that the recipe cannot do as asked.
fn skipped_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, acts: &mut Vec<Act>) {
    let Some(plan) = bench.plan() else { return };
    let refused: Vec<_> = plan.layers.iter().filter_map(|l| Some((&l.layer.name, l.refusal.as_ref()?))).collect();
    if refused.is_empty() {
        return;
    }
    section(ui, view.tokens, tr!("export-refused"));
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
        small(ui, view.tokens, tr!("export-more", count = refused.len() - 8));
    }
}

/// What was checked of each file, the newest first.
pub fn checks_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let t = view.tokens;
    let Some(bench) = view.bench.filter(|b| !b.written.is_empty()) else {
        return empty(ui, t, tr!("export-no-files"), tr!("export-no-files.hint"));
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
    section(ui, t, &tr!("export-file", format = written.format.name(), name = name));
    ui.horizontal(|ui| {
        if ui.button(tr!("export-open-folder")).clicked() {
            acts.push(Act::Reveal(exported.path.clone()));
        }
        if ui.button(tr!("export-copy-path")).clicked() {
            acts.push(Act::Copy(exported.path.display().to_string()));
        }
        if ui.button(tr!("export-look")).on_hover_text(tr!("export-look.tooltip")).clicked() {
            acts.push(Act::Open(exported.path.clone()));
        }
    });
    fact(ui, t, tr!("export-path"), exported.path.display().to_string());
    fact(ui, t, tr!("export-bytes"), format!("{} ({})", units::bytes(exported.bytes), exported.bytes));
    fact(ui, t, "SHA-256", exported.sha256.clone());
    if !is_fresh {
        ui.horizontal(|ui| {
            icon(ui, Icon::Half, t.stale, tr!("export-stale"));
            small(ui, t, tr!("export-stale.tooltip"));
        });
    }
    for check in &exported.checks {
        ui.horizontal(|ui| {
            let (shape, color, words) = if check.passed {
                (Icon::Check, t.good, tr!("export-passed"))
            } else {
                (Icon::Cross, t.bad, tr!("export-failed"))
            };
            icon(ui, shape, color, words);
            ui.label(RichText::new(&check.name).color(t.text));
            ui.add(Label::new(RichText::new(&check.value).color(t.muted).size(12.0)).truncate()).on_hover_text(&check.value);
        });
    }
}
