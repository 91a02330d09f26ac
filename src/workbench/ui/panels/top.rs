//! The bar at the top: menus, recipe, undo, run, what comes out; and the stages below it.

use crate::engine::units;
use crate::pipeline::configure::presets;
use crate::workbench::jobs::JobState;
use crate::workbench::project::Edit;
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::{Bench, Point};
use crate::workbench::ui::commands::Command;
use crate::workbench::ui::layout::Workspace;
use crate::workbench::ui::tasks;
use crate::workbench::ui::text::{Language, edits};
use crate::workbench::ui::view::{View, decibels, percent};
use crate::workbench::ui::widgets::{Icon, explain, icon, icon_button, small};
use eframe::egui::containers::menu::menu_style;
use eframe::egui::{Align, Button, Layout, Rect, RichText, Sense, Ui, vec2};

pub fn top_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    ui.horizontal(|ui| {
        menus_ui(ui, view, acts);
        ui.separator();
        if let Some(bench) = view.bench {
            recipe_ui(ui, view, bench, acts);
            ui.separator();
            undo_ui(ui, view, bench, acts);
            ui.separator();
            run_ui(ui, view, acts);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            status_ui(ui, view);
            if let Some(point) = view.bench.and_then(Bench::active) {
                numbers_ui(ui, view, point);
            }
        });
    });
}

fn menus_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    use Command as C;
    const MENUS: [(&str, &[Command]); 5] = [
        ("File", &[C::NewProject, C::OpenProject, C::OpenSample, C::Save, C::Export, C::SharePage, C::Quit]),
        ("Edit", &[C::Undo, C::Redo, C::SelectAll, C::ClearSelection, C::ResetLayers, C::FindLayer]),
        ("Recipe", &[C::ForkRecipe, C::RenameRecipe, C::DeleteRecipe, C::ToggleRun]),
        ("Run", &[C::Evaluate, C::EvaluateAll, C::MeasureLosses, C::Search, C::ProtectWorst, C::Stop]),
        (
            "View",
            &[
                C::GoLoad,
                C::GoConfigure,
                C::GoGraph,
                C::GoCompare,
                C::GoExport,
                C::ThemeSystem,
                C::ThemeLight,
                C::ThemeDark,
                C::ThemeContrast,
                C::Speak(Language::English),
                C::Speak(Language::Chinese),
                C::ZoomIn,
                C::ZoomOut,
                C::ZoomReset,
                C::ResetLayout,
                C::Palette,
                C::Help,
                C::Manual,
            ],
        ),
    ];
    ui.scope(|ui| {
        menu_style(ui.style_mut());
        ui.spacing_mut().button_padding.x = 7.0;
        ui.spacing_mut().item_spacing.x = 0.0;
        for (title, commands) in MENUS {
            ui.menu_button(title, |ui| {
                ui.set_min_width(210.0);
                if title == "File" {
                    recent_ui(ui, view, acts);
                }
                for command in commands {
                    menu_item_ui(ui, view, *command, acts);
                }
            });
        }
    });
}

fn recent_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    if view.session.recent.is_empty() {
        return;
    }
    ui.menu_button("Recent projects", |ui| {
        for path in &view.session.recent {
            if ui.button(path.display().to_string()).clicked() {
                acts.push(Act::Open(path.clone()));
                ui.close();
            }
        }
    });
}

fn menu_item_ui(ui: &mut Ui, view: &View<'_>, command: Command, acts: &mut Vec<Act>) {
    let Some(info) = command.info() else { return };
    let label = match (command, view.bench) {
        (Command::Undo, Some(b)) => b.history.undo_step().map(|e| format!("Undo: {}", edits::label(e))),
        (Command::Redo, Some(b)) => b.history.redo_step().map(|e| format!("Redo: {}", edits::label(e))),
        _ => None,
    };
    let mut button = Button::new(label.unwrap_or_else(|| info.name().to_owned()));
    if let Some(shortcut) = info.shortcut {
        button = button.shortcut_text(ui.ctx().format_shortcut(&shortcut));
    }
    let response = ui.add_enabled(info.needs.met(&view.situation), button);
    if explain(ui, response, info, acts).clicked() {
        ui.close();
    }
}

fn recipe_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, acts: &mut Vec<Act>) {
    let active = bench.document().active.clone();
    small(ui, view.tokens, "Recipe");
    let response = ui.menu_button(format!("{active}      "), |ui| {
        ui.set_min_width(190.0);
        for point in bench.points.iter().filter(|p| !p.is_preset) {
            recipe_item_ui(ui, point, &active, acts);
        }
        if bench.points.iter().any(|p| !p.is_preset) {
            ui.separator();
        }
        let (common, others) = presets::GROUPS.split_at(1);
        for group in common {
            group_ui(ui, bench, group, &active, acts);
        }
        ui.separator();
        for group in others {
            ui.menu_button(group.name, |ui| group_ui(ui, bench, group, &active, acts));
        }
    });
    let button = response.response.rect;
    let arrow = Rect::from_center_size(button.right_center() - vec2(12.0, 0.0), vec2(10.0, 10.0));
    Icon::Down.paint(ui.painter(), arrow, view.tokens.text);
    drop(response.response.on_hover_text("The recipe that is edited").accessible_name("Active recipe"));
    ui.menu_button("…", |ui| {
        for command in [Command::ForkRecipe, Command::RenameRecipe, Command::DeleteRecipe, Command::ToggleRun] {
            menu_item_ui(ui, view, command, acts);
        }
    })
    .response
    .on_hover_text("Fork, rename or delete the recipe")
    .accessible_name("Recipe menu");
}

fn group_ui(ui: &mut Ui, bench: &Bench, group: &presets::Group, active: &str, acts: &mut Vec<Act>) {
    ui.set_min_width(150.0);
    for name in group.names() {
        if let Some(point) = bench.points.iter().find(|p| p.is_preset && p.name == name) {
            recipe_item_ui(ui, point, active, acts);
        }
    }
}

fn recipe_item_ui(ui: &mut Ui, point: &Point, active: &str, acts: &mut Vec<Act>) {
    let response = ui.selectable_label(point.name == active, point.name.clone());
    if response.on_hover_text(point.recipe.description.clone()).clicked() {
        acts.push(Act::Edit(Edit::SelectRecipe(point.name.clone())));
        ui.close();
    }
}

fn undo_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, acts: &mut Vec<Act>) {
    let sides = [
        (Command::Undo, Icon::Undo, bench.history.undo_step().map(edits::label)),
        (Command::Redo, Icon::Redo, bench.history.redo_step().map(edits::label)),
    ];
    for (command, shape, label) in sides {
        let Some(info) = command.info() else { continue };
        let enabled = info.needs.met(&view.situation);
        let response = icon_button(ui, shape, "", enabled, None).accessible_name(info.name());
        let response = match label {
            Some(label) => response.on_hover_text(format!("{}: {label}", info.name())),
            None => response,
        };
        explain(ui, response, info, acts);
    }
}

fn run_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let running = view.job_of(tasks::EVALUATE).is_some();
    let (command, shape, color) =
        if running { (Command::Stop, Icon::Stop, view.tokens.bad) } else { (Command::Evaluate, Icon::Play, view.tokens.good) };
    let Some(info) = command.info() else { return };
    let response = icon_button(ui, shape, info.name(), info.needs.met(&view.situation), Some(color));
    explain(ui, response, info, acts);
    if !running {
        view.button(ui, Command::EvaluateAll, acts);
    }
}

/// Size and quality of the active recipe, from right to left.
fn numbers_ui(ui: &mut Ui, view: &View<'_>, point: &Point) {
    let t = view.tokens;
    match &point.measured {
        Some(measured) => {
            let report = &measured.report;
            let text = match &report.metrics {
                Some(m) => m.headline().1,
                None => format!("{:.4} nats", report.fidelity.kl_mean),
            };
            let color = if measured.stale { t.stale } else { t.text };
            let state = if measured.stale { " (stale)" } else { "" };
            let drop = report.drop_points().map_or(String::new(), |d| format!(" ({:+.2})", 0.0 - d));
            ui.label(RichText::new(format!("{text}{drop}{state}")).color(color).strong());
            small(ui, t, report.metrics.map_or("KL", |m| m.headline().0)).on_hover_text(format!(
                "Measured on {} predictions; in brackets the change of top-1 against the original in points",
                report.predictions()
            ));
        }
        None => {
            ui.label(RichText::new("not measured").color(t.muted));
            small(ui, t, "Top-1");
        }
    }
    ui.separator();
    if let Some(sqnr) = point.sqnr_db {
        ui.label(RichText::new(decibels(sqnr)).color(t.text));
        small(ui, t, "Weights").on_hover_text("Predicted weight SQNR: of the layers' relative errors the mean, in dB");
        ui.separator();
    }
    match &point.plan {
        Some(Ok(plan)) => {
            let change = percent(plan.bytes, plan.original_bytes);
            ui.label(RichText::new(change).color(t.muted));
            ui.label(RichText::new(units::bytes(plan.bytes)).color(t.text).strong());
            small(ui, t, "Size")
                .on_hover_text(format!("{} bytes on disk, of {} in the original", plan.bytes, plan.original_bytes));
        }
        Some(Err(error)) => drop(icon(ui, Icon::Warning, t.bad, error)),
        None => {}
    }
}

fn status_ui(ui: &mut Ui, view: &View<'_>) {
    let t = view.tokens;
    let Some(job) = view.jobs.first() else {
        icon(ui, Icon::Check, t.muted, "Nothing runs");
        return;
    };
    let share = job.progress.done as f32 / job.progress.total.max(1) as f32;
    let (rect, response) = ui.allocate_exact_size(vec2(72.0, 8.0), Sense::hover());
    ui.painter().rect_filled(rect, 3.0, t.raised);
    let mut done = rect;
    done.set_width(rect.width() * share.clamp(0.03, 1.0));
    ui.painter().rect_filled(done, 3.0, t.accent);
    let state = if job.state == JobState::Cancelling { "Cancelling… " } else { "" };
    response.on_hover_text(format!("{state}{}\n{}", job.title, job.progress.label));
    if view.jobs.len() > 1 {
        small(ui, t, format!("{} jobs", view.jobs.len()));
    }
    ui.separator();
}

/// How far a stage is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    ToDo,
    Running,
    Stale,
    Done,
    NotNeeded,
}

pub fn rail_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    ui.horizontal(|ui| {
        for workspace in Workspace::ALL {
            let selected = view.session.workspace == workspace;
            let text = RichText::new(workspace.name()).color(if selected { view.tokens.on_accent } else { view.tokens.text });
            let mut button = Button::new(text).min_size(vec2(84.0, 24.0));
            if selected {
                button = button.fill(view.tokens.accent);
            }
            if ui.add(button).clicked() {
                acts.push(Act::Go(workspace));
            }
        }
        ui.separator();
        small(ui, view.tokens, "Stages");
        for (name, state, tip) in stages(view) {
            stage_ui(ui, view, name, state, &tip);
        }
    });
}

fn stage_ui(ui: &mut Ui, view: &View<'_>, name: &str, state: State, tip: &str) {
    let t = view.tokens;
    let (shape, color, words) = match state {
        State::ToDo => (Icon::Ring, t.muted, "to do"),
        State::Running => (Icon::Play, t.accent, "running"),
        State::Stale => (Icon::Half, t.stale, "stale"),
        State::Done => (Icon::Check, t.good, "done"),
        State::NotNeeded => (Icon::Ring, t.line, "not needed"),
    };
    let tip = format!("{name}: {words}. {tip}");
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        icon(ui, shape, color, &tip);
        let color = if state == State::NotNeeded { t.muted } else { t.text };
        ui.label(RichText::new(name).color(color).size(12.0)).on_hover_text(tip);
    });
}

fn stages(view: &View<'_>) -> Vec<(&'static str, State, String)> {
    let running = |kind: &str| view.job_of(kind).is_some();
    let bench = view.bench;
    let point = bench.and_then(Bench::active);
    let fresh = point.is_some_and(|p| p.fresh().is_some());
    let stale = point.is_some_and(|p| p.measured.as_ref().is_some_and(|m| m.stale));
    let measured = bench.map_or(0, |b| b.points.iter().filter(|p| p.fresh().is_some()).count());
    let result = |done: bool, kind: &str| {
        if running(kind) {
            State::Running
        } else if done {
            State::Done
        } else if stale {
            State::Stale
        } else {
            State::ToDo
        }
    };
    let calibrate = match bench.and_then(Bench::plan) {
        Some(plan) if !plan.needs_calibration() => State::NotNeeded,
        _ => result(fresh, tasks::EVALUATE),
    };
    let load = if running(tasks::OPEN) {
        State::Running
    } else if bench.is_some() {
        State::Done
    } else {
        State::ToDo
    };
    let configure = if bench.is_some_and(|b| b.plan().is_some()) { State::Done } else { State::ToDo };
    let exported = bench.is_some_and(|b| b.written.iter().any(|w| Some(&w.key) == point.map(|p| &p.key)));
    let export = if running(tasks::EXPORT) {
        State::Running
    } else if exported {
        State::Done
    } else {
        State::ToDo
    };
    let compare = if measured >= 2 { State::Done } else { State::ToDo };
    vec![
        ("Load", load, "The model and its data".to_owned()),
        ("Configure", configure, "What happens to each layer".to_owned()),
        ("Calibrate", calibrate, "Ranges of the layers' inputs, found when the recipe is evaluated".to_owned()),
        ("Compress", result(fresh, tasks::EVALUATE), "The compressed model, built when the recipe is evaluated".to_owned()),
        ("Evaluate", result(fresh, tasks::EVALUATE), "F5 measures the active recipe".to_owned()),
        ("Compare", compare, format!("{measured} recipes are measured as they are now")),
        ("Export", export, "Ctrl+E writes the model".to_owned()),
    ]
}
