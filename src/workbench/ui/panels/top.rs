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
use crate::workbench::ui::terms;
use crate::workbench::ui::text::{Language, edits, tr};
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
        ("menu-file", &[C::NewProject, C::OpenProject, C::OpenSample, C::Save, C::Export, C::SharePage, C::Quit]),
        ("menu-edit", &[C::Undo, C::Redo, C::SelectAll, C::ClearSelection, C::ResetLayers, C::FindLayer]),
        ("menu-recipe", &[C::ForkRecipe, C::RenameRecipe, C::DeleteRecipe, C::ToggleRun]),
        ("menu-run", &[C::Evaluate, C::EvaluateAll, C::MeasureLosses, C::Search, C::ProtectWorst, C::Stop]),
        (
            "menu-view",
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
            ui.menu_button(tr!(title), |ui| {
                ui.set_min_width(210.0);
                if title == "menu-file" {
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
    ui.menu_button(tr!("menu-recent"), |ui| {
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
    let label = view.bench.and_then(|b| undoes(command, b));
    let mut button = Button::new(label.unwrap_or_else(|| info.name().to_owned()));
    if let Some(shortcut) = info.shortcut {
        button = button.shortcut_text(ui.ctx().format_shortcut(&shortcut));
    }
    let response = ui.add_enabled(info.needs.met(&view.situation), button);
    if explain(ui, response, info, acts).clicked() {
        ui.close();
    }
}

/// What undo and redo would do.
fn undoes(command: Command, bench: &Bench) -> Option<String> {
    match command {
        Command::Undo => bench.history.undo_step().map(|e| tr!("top-undo", edit = edits::label(e))),
        Command::Redo => bench.history.redo_step().map(|e| tr!("top-redo", edit = edits::label(e))),
        _ => None,
    }
}

fn recipe_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, acts: &mut Vec<Act>) {
    let active = bench.document().active.clone();
    small(ui, view.tokens, tr!("top-recipe"));
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
            ui.menu_button(terms::presets(group), |ui| group_ui(ui, bench, group, &active, acts));
        }
    });
    let button = response.response.rect;
    let arrow = Rect::from_center_size(button.right_center() - vec2(12.0, 0.0), vec2(10.0, 10.0));
    Icon::Down.paint(ui.painter(), arrow, view.tokens.text);
    drop(response.response.on_hover_text(tr!("top-active-recipe.tooltip")).accessible_name(tr!("top-active-recipe")));
    ui.menu_button("…", |ui| {
        for command in [Command::ForkRecipe, Command::RenameRecipe, Command::DeleteRecipe, Command::ToggleRun] {
            menu_item_ui(ui, view, command, acts);
        }
    })
    .response
    .on_hover_text(tr!("top-recipe-menu.tooltip"))
    .accessible_name(tr!("top-recipe-menu"));
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
    for (command, shape) in [(Command::Undo, Icon::Undo), (Command::Redo, Icon::Redo)] {
        let Some(info) = command.info() else { continue };
        let enabled = info.needs.met(&view.situation);
        let response = icon_button(ui, shape, "", enabled, None).accessible_name(info.name());
        let response = match undoes(command, bench) {
            Some(label) => response.on_hover_text(label),
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

/// Points that numbers of the bar take.
const WEIGHTS_ROOM: f32 = 120.0;
const SIZE_ROOM: f32 = 140.0;
/// Points that the stages take with their names.
const STAGES_ROOM: f32 = 600.0;

/// Size and quality of the active recipe, from right to left.
fn numbers_ui(ui: &mut Ui, view: &View<'_>, point: &Point) {
    let t = view.tokens;
    match &point.measured {
        Some(measured) => {
            let report = &measured.report;
            let text = match &report.metrics {
                Some(m) => m.headline().1,
                None => tr!("top-nats", value = format!("{:.4}", report.fidelity.kl_mean)),
            };
            let color = if measured.stale { t.stale } else { t.text };
            let drop = report.drop_points().map_or(String::new(), |d| format!(" ({:+.2})", 0.0 - d));
            let text = format!("{text}{drop}");
            let text = if measured.stale { tr!("top-stale", value = text) } else { text };
            ui.label(RichText::new(text).color(color).strong());
            small(ui, t, report.metrics.map_or(tr!("top-kl"), |m| m.headline().0))
                .on_hover_text(tr!("top-measured", count = report.predictions()));
        }
        None => {
            ui.label(RichText::new(tr!("top-not-measured")).color(t.muted));
            small(ui, t, tr!("top-accuracy"));
        }
    }
    ui.separator();
    // In a narrow window the size stays as long as it can.
    if let Some(sqnr) = point.sqnr_db.filter(|_| ui.available_width() > WEIGHTS_ROOM + SIZE_ROOM) {
        ui.label(RichText::new(decibels(sqnr)).color(t.text));
        small(ui, t, tr!("top-weights")).on_hover_text(tr!("top-weights.tooltip"));
        ui.separator();
    }
    if ui.available_width() < SIZE_ROOM {
        return;
    }
    match &point.plan {
        Some(Ok(plan)) => {
            let change = percent(plan.bytes, plan.original_bytes);
            ui.label(RichText::new(change).color(t.muted));
            ui.label(RichText::new(units::bytes(plan.bytes)).color(t.text).strong());
            small(ui, t, tr!("top-size")).on_hover_text(tr!(
                "top-size.tooltip",
                bytes = plan.bytes,
                original = plan.original_bytes
            ));
        }
        Some(Err(error)) => drop(icon(ui, Icon::Warning, t.bad, error)),
        None => {}
    }
}

fn status_ui(ui: &mut Ui, view: &View<'_>) {
    let t = view.tokens;
    let Some(job) = view.jobs.first() else {
        icon(ui, Icon::Check, t.muted, tr!("top-idle"));
        return;
    };
    let share = job.progress.done as f32 / job.progress.total.max(1) as f32;
    let (rect, response) = ui.allocate_exact_size(vec2(72.0, 8.0), Sense::hover());
    ui.painter().rect_filled(rect, 3.0, t.raised);
    let mut done = rect;
    done.set_width(rect.width() * share.clamp(0.03, 1.0));
    ui.painter().rect_filled(done, 3.0, t.accent);
    let (title, step) = (&job.title, &job.progress.label);
    response.on_hover_text(if job.state == JobState::Cancelling {
        tr!("top-cancelling", title = title, step = step)
    } else {
        tr!("top-job", title = title, step = step)
    });
    if view.jobs.len() > 1 {
        small(ui, t, tr!("top-jobs", count = view.jobs.len()));
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
        small(ui, view.tokens, tr!("top-stages"));
        // In a narrow window their signs must do; the tooltips name them.
        let named = ui.available_width() > STAGES_ROOM;
        for (name, state, tip) in stages(view) {
            stage_ui(ui, view, (name, named), state, &tip);
        }
    });
}

fn stage_ui(ui: &mut Ui, view: &View<'_>, (name, named): (&str, bool), state: State, tip: &str) {
    let t = view.tokens;
    let (shape, color, words) = match state {
        State::ToDo => (Icon::Ring, t.muted, tr!("stage-is-to-do")),
        State::Running => (Icon::Play, t.accent, tr!("stage-is-running")),
        State::Stale => (Icon::Half, t.stale, tr!("stage-is-stale")),
        State::Done => (Icon::Check, t.good, tr!("stage-is-done")),
        State::NotNeeded => (Icon::Ring, t.line, tr!("stage-is-not-needed")),
    };
    let tip = tr!("stage-said", name = name, state = words, words = tip);
    ui.scope(|ui| {
        ui.spacing_mut().item_spacing.x = 4.0;
        icon(ui, shape, color, &tip);
        if named {
            let color = if state == State::NotNeeded { t.muted } else { t.text };
            ui.label(RichText::new(name).color(color).size(12.0)).on_hover_text(tip);
        }
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
        (tr!("stage-load"), load, tr!("stage-load.tooltip").to_owned()),
        (tr!("stage-configure"), configure, tr!("stage-configure.tooltip").to_owned()),
        (tr!("stage-calibrate"), calibrate, tr!("stage-calibrate.tooltip").to_owned()),
        (tr!("stage-compress"), result(fresh, tasks::EVALUATE), tr!("stage-compress.tooltip").to_owned()),
        (tr!("stage-evaluate"), result(fresh, tasks::EVALUATE), tr!("stage-evaluate.tooltip").to_owned()),
        (tr!("stage-compare"), compare, tr!("stage-compare.tooltip", count = measured)),
        (tr!("stage-export"), export, tr!("stage-export.tooltip").to_owned()),
    ]
}
