//! What happens when a panel, a shortcut or the palette asks for something.

use super::App;
use crate::pipeline::configure::Scheme;
use crate::pipeline::evaluate::Report;
use crate::workbench::explore::SearchRequest;
use crate::workbench::project::{Change, Edit};
use crate::workbench::ui::act::{Act, Pick};
use crate::workbench::ui::bench::Bench;
use crate::workbench::ui::commands::Command;
use crate::workbench::ui::dialogs::{Purpose, reveal};
use crate::workbench::ui::layout::{Pane, Workspace};
use crate::workbench::ui::panels::grid::filter_id;
use crate::workbench::ui::prompts::{DataForm, NameForm, Prompt, Topic};
use crate::workbench::ui::session::{Column, Heat};
use crate::workbench::ui::tasks;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::{Contrast, install};
use crate::workbench::ui::view::Level;
use eframe::egui::{Context, PointerButton, ThemePreference, ViewportCommand, gui_zoom};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

/// Layers that are protected at a time.
const PROTECTED: usize = 3;

impl App {
    pub(super) fn run_acts(&mut self, ctx: &Context) {
        for act in std::mem::take(&mut self.acts) {
            self.run_act(ctx, act);
        }
        // A drag is one step of undo until the button is released.
        if let Some(bench) = &mut self.bench
            && !ctx.input(|i| i.pointer.button_down(PointerButton::Primary))
        {
            bench.history.end_gesture();
        }
    }

    fn run_act(&mut self, ctx: &Context, act: Act) {
        match act {
            Act::Command(command) => self.run_command(ctx, command),
            Act::Edit(edit) => self.edit(&edit, false),
            Act::Drag(edit) => self.edit(&edit, true),
            Act::Go(workspace) => self.session.workspace = workspace,
            Act::Axis(axis) => self.session.axis = Some(axis),
            Act::Heat(heat) => self.session.heat = heat,
            Act::Paint(paint) => self.session.paint = paint,
            Act::Fold(closed) => {
                if let Some(bench) = &self.bench {
                    self.jobs.cancel_kind(tasks::NETWORK);
                    tasks::network(&mut self.jobs, bench, Some(closed));
                }
            }
            Act::Budget(bytes) => self.keep_to(bytes),
            Act::Ask(question) => self.session.question = question,
            Act::MeasureImportance => self.measure_importance(),
            Act::ErrorKind(kind) => self.session.error_kind = kind,
            Act::Cancel(id) => {
                self.stopped = true;
                self.jobs.cancel(id);
            }
            Act::Open(path) => self.open_path(path),
            Act::BrowseExport => self.ask_for_path(Purpose::ExportFolder),
            Act::ExportNow => self.export_now(),
            Act::Reveal(path) => self.reveal(&path),
            Act::Copy(text) => ctx.copy_text(text),
            Act::Zip => {
                if let Some(bench) = self.bench.as_ref().filter(|_| !self.jobs.has_kind(tasks::ZIP)) {
                    tasks::zip(&mut self.jobs, bench);
                }
            }
            Act::ClearLog => self.log.clear(),
            Act::Show(pane) => self.show(pane),
            Act::Sort(column) => {
                // Up, down, then as the network has them.
                let (again, descending) = (self.session.sort == column, self.session.descending);
                self.session.descending = again && !descending;
                self.session.sort = if again && descending { Column::Order } else { column };
            }
            _ => self.run_on_bench(act),
        }
    }

    fn run_on_bench(&mut self, act: Act) {
        let Some(bench) = &mut self.bench else { return };
        match act {
            Act::Select { layer, how } => bench.selection.pick(layer, how, &bench.rows),
            Act::Jump(name) => {
                if let Some(layer) = bench.layer_named(&name) {
                    bench.selection.pick(layer, Pick::Only, &bench.rows);
                    bench.selection.reveal = true;
                    if self.session.workspace != Workspace::Graph {
                        self.session.workspace = Workspace::Configure;
                    }
                }
            }
            Act::Filter(filter) => bench.filter = filter,
            Act::Base(base) => bench.base = base,
            Act::Changes(filter) => bench.changes = filter,
            Act::Sample(sample) => bench.sample = sample,
            Act::Look(lens) => bench.lens.1 = lens,
            Act::ExportFolder(folder) => bench.export.set_folder(folder),
            Act::ExportName(name) => {
                let recipe = bench.document().active.clone();
                bench.export.set_name(&recipe, name);
            }
            Act::ExportFormat(format, chosen) => {
                let formats = bench.export_formats();
                bench.export.choose(formats, format, chosen);
            }
            _ => {}
        }
    }

    pub(crate) fn edit(&mut self, edit: &Edit, in_gesture: bool) {
        let Some(bench) = &mut self.bench else { return };
        let before = bench.history.revision();
        let result = if in_gesture { bench.history.apply_in_gesture(edit) } else { bench.history.apply(edit) };
        if let Err(error) = result {
            self.tell(Level::Bad, error.to_string());
        } else if bench.history.revision() != before {
            self.edited = Some(Instant::now());
        }
    }

    /// Makes the recipe that loses least in so many bytes, as part of a drag.
    fn keep_to(&mut self, bytes: u64) {
        let Some(bench) = &self.bench else { return };
        match bench.losses.within(bytes, &bench.opened.subject) {
            Some(recipe) => self.edit(&Edit::ReplaceRecipe(recipe), true),
            None => self.tell(Level::Info, tr!("app-nothing-that-small")),
        }
    }

    /// More bits for the three layers that lose most: by what was measured, else by the error of their weights.
    fn protect_worst(&mut self) {
        let Some(bench) = &self.bench else { return };
        let Some(plan) = bench.plan().cloned() else { return };
        let mut worst = bench.losses.worst(&plan);
        if worst.is_empty() {
            let noise = |i: &usize| plan.layers.get(*i).and_then(|l| bench.scores.get(*i, &l.treatment)).map_or(0.0, |s| s.noise);
            worst = (0..plan.layers.len()).collect();
            worst.sort_by(|a, b| noise(b).total_cmp(&noise(a)));
        }
        for layer in worst.into_iter().take(PROTECTED).filter_map(|i| plan.layers.get(i)) {
            let present = layer.wanted.weights;
            let weights = if present.bits() < 8 { present.with_bits(8) } else { Scheme::F32 };
            let change = Change { weights: Some(weights), ..Change::default() };
            self.edit(&Edit::Treat { layers: vec![layer.layer.name.clone()], change }, true);
        }
    }

    fn show(&mut self, pane: Pane) {
        if let Some(tree) = self.session.layouts.get_mut(&self.session.workspace) {
            tree.make_active(|_, tile| matches!(tile, egui_tiles::Tile::Pane(p) if *p == pane));
        }
    }

    fn run_command(&mut self, ctx: &Context, command: Command) {
        if !command.available(&self.situation()) {
            return;
        }
        match command {
            Command::NewProject => self.prompt = Prompt::New(Box::default()),
            Command::OpenProject => self.ask_for_path(Purpose::OpenProject),
            Command::OpenSample => self.open_sample(),
            Command::Save => {
                if self.save_now() {
                    self.tell(Level::Good, tr!("app-saved"));
                }
            }
            Command::Quit => ctx.send_viewport_cmd(ViewportCommand::Close),
            Command::GoLoad => self.session.workspace = Workspace::Load,
            Command::GoConfigure => self.session.workspace = Workspace::Configure,
            Command::GoGraph => self.session.workspace = Workspace::Graph,
            Command::GoCompare => self.session.workspace = Workspace::Compare,
            Command::Export | Command::GoExport => self.session.workspace = Workspace::Export,
            Command::ResetLayout => self.session.reset_layout(),
            Command::ThemeSystem => self.set_theme(ctx, ThemePreference::System),
            Command::ThemeLight => self.set_theme(ctx, ThemePreference::Light),
            Command::ThemeContrast => self.toggle_contrast(ctx),
            Command::Speak(language) => self.session.language = Some(language),
            Command::ThemeDark => self.set_theme(ctx, ThemePreference::Dark),
            Command::ZoomIn => gui_zoom::zoom_in(ctx),
            Command::ZoomOut => gui_zoom::zoom_out(ctx),
            Command::ZoomReset => ctx.set_zoom_factor(1.0),
            Command::Palette => self.prompt = Prompt::Palette { query: String::new(), at: 0 },
            Command::Help => self.prompt = Prompt::Help(Topic::default()),
            Command::Manual => self.prompt = Prompt::Help(Topic::Page(0)),
            Command::Stop => self.stop(),
            _ => self.run_on_project(ctx, command),
        }
    }

    fn toggle_contrast(&mut self, ctx: &Context) {
        self.session.contrast = match self.session.contrast {
            Contrast::Normal => Contrast::High,
            Contrast::High => Contrast::Normal,
        };
        install(ctx, self.session.contrast);
    }

    fn set_theme(&mut self, ctx: &Context, theme: ThemePreference) {
        self.session.theme = theme;
        ctx.set_theme(theme);
    }

    fn run_on_project(&mut self, ctx: &Context, command: Command) {
        let Some(bench) = &mut self.bench else { return };
        match command {
            Command::Undo => {
                bench.history.undo();
                self.edited = Some(Instant::now());
            }
            Command::Redo => {
                bench.history.redo();
                self.edited = Some(Instant::now());
            }
            Command::SelectAll => bench.selection.select_all(&bench.rows),
            Command::ClearSelection => bench.selection.clear(),
            Command::SelectNext => bench.selection.step(1, &bench.rows),
            Command::SelectPrevious => bench.selection.step(-1, &bench.rows),
            Command::FindLayer => {
                self.session.workspace = Workspace::Configure;
                ctx.memory_mut(|m| m.request_focus(filter_id()));
            }
            Command::Bits(bits) => self.set_widths(|_| Some(bits)),
            Command::Narrower => self.set_widths(|bits| neighbor(bits, false)),
            Command::Wider => self.set_widths(|bits| neighbor(bits, true)),
            Command::ResetLayers => {
                let layers = names(bench);
                self.edit(&Edit::Reset { layers }, false);
            }
            Command::ForkRecipe => self.prompt = Prompt::Name(NameForm::fork(bench.document())),
            Command::RenameRecipe => self.prompt = Prompt::Name(NameForm::rename(bench.document())),
            Command::DeleteRecipe => {
                let name = bench.document().active.clone();
                self.edit(&Edit::DeleteRecipe(name), false);
            }
            Command::ToggleRun => {
                let (mut run, active) = (bench.document().run.clone(), bench.document().active.clone());
                match run.iter().position(|r| *r == active) {
                    Some(at) => drop(run.remove(at)),
                    None => run.push(active),
                }
                self.edit(&Edit::SetRun(run), false);
            }
            Command::Evaluate => {
                let active = bench.document().active.clone();
                self.evaluate(&[active], true);
            }
            Command::MeasureLosses => {
                self.session.heat = Heat::Loss;
                if !self.jobs.has_kind(tasks::LOSSES) {
                    tasks::losses(&mut self.jobs, bench);
                }
            }
            Command::SetData => self.prompt = Prompt::Data(Box::new(DataForm::of(&bench.project, bench.document()))),
            Command::Search => self.prompt = Prompt::Search(Box::default()),
            Command::ProtectWorst => self.protect_worst(),
            Command::SharePage => self.ask_for_path(Purpose::PageFile),
            Command::EvaluateAll => {
                let run = bench.document().run.clone();
                self.evaluate(&run, false);
            }
            _ => {}
        }
    }

    /// Sets the width of each selected layer to what `next` makes of the present one.
    fn set_widths(&mut self, next: impl Fn(u8) -> Option<u8>) {
        let Some(bench) = &self.bench else { return };
        let mut groups: Vec<(Change, Vec<String>)> = Vec::new();
        for layer in bench.selection.layers() {
            let Some(plan) = bench.layer_plan(layer) else { continue };
            let Some(bits) = next(plan.wanted.weights.bits()) else { continue };
            let change = Change { weights: Some(plan.wanted.weights.with_bits(bits)), ..Change::default() };
            match groups.iter_mut().find(|(c, _)| *c == change) {
                Some((_, names)) => names.push(plan.layer.name.clone()),
                None => groups.push((change, vec![plan.layer.name.clone()])),
            }
        }
        for (change, layers) in groups {
            // One step of undo, though layers of different schemes become different ones.
            self.edit(&Edit::Treat { layers, change }, true);
        }
        if let Some(bench) = &mut self.bench {
            bench.history.end_gesture();
        }
    }

    /// Queues evaluations; those whose report is fresh only if `again`.
    fn evaluate(&mut self, recipes: &[String], again: bool) {
        let Some(bench) = &self.bench else { return };
        let wanted: Vec<_> = bench
            .points
            .iter()
            .filter(|p| recipes.contains(&p.name) && (again || p.fresh().is_none()))
            .map(|p| Arc::clone(&p.recipe))
            .collect();
        if wanted.is_empty() {
            return self.tell(Level::Info, tr!("app-all-measured"));
        }
        for recipe in wanted {
            tasks::evaluate(&mut self.jobs, bench, recipe);
        }
        self.show(Pane::Jobs);
    }

    pub(crate) fn search(&mut self, request: SearchRequest) {
        let Some(bench) = &self.bench else { return };
        tasks::search(&mut self.jobs, bench, request);
        self.show(Pane::Jobs);
    }

    /// Writes a page about the measured recipes.
    pub(super) fn write_page(&mut self, path: PathBuf) {
        let Some(bench) = &self.bench else { return };
        let reports: Vec<Arc<Report>> = bench.comparable().into_iter().map(|(_, r)| Arc::clone(r)).collect();
        if reports.is_empty() {
            return self.tell(Level::Info, tr!("app-none-measured"));
        }
        tasks::page(&mut self.jobs, bench, reports, path);
    }

    /// Finds out what the panel of importance asks, unless that is being done.
    fn measure_importance(&mut self) {
        let Some(bench) = &self.bench else { return };
        if let Some(layer) = bench.selection.primary().filter(|_| !self.jobs.has_kind(tasks::IMPORTANCE)) {
            tasks::importance(&mut self.jobs, bench, layer, self.session.question);
        }
    }

    /// Writes the active recipe's files, one after the other.
    fn export_now(&mut self) {
        let Some((bench, point)) = self.bench.as_ref().and_then(|b| Some((b, b.active()?))) else { return };
        let formats = bench.writable_formats();
        if formats.is_empty() {
            return self.tell(Level::Info, tr!("app-no-format"));
        }
        for format in formats {
            tasks::export(&mut self.jobs, bench, Arc::clone(&point.recipe), format, bench.export_path(format));
        }
        self.show(Pane::Checks);
    }

    fn reveal(&mut self, path: &std::path::Path) {
        if let Err(error) = reveal(path) {
            let (error, path) = (error.to_string(), path.display().to_string());
            self.tell(Level::Bad, tr!("app-no-file-manager", error = error, path = path));
        }
    }
}

fn names(bench: &Bench) -> Vec<String> {
    bench.selection.layers().filter_map(|i| bench.layers().get(i)).map(|l| l.name.clone()).collect()
}

/// The next width up or down that there is.
fn neighbor(bits: u8, up: bool) -> Option<u8> {
    const STEPS: [u8; 9] = [2, 3, 4, 5, 6, 7, 8, 16, 32];
    let at = STEPS.iter().position(|s| *s >= bits)?;
    if up { STEPS.get(at + 1).copied() } else { at.checked_sub(1).and_then(|i| STEPS.get(i)).copied() }
}

#[cfg(test)]
mod tests {
    use super::neighbor;

    #[test]
    fn widths_are_steps() {
        assert_eq!([neighbor(4, true), neighbor(8, true), neighbor(32, true)], [Some(5), Some(16), None]);
        assert_eq!([neighbor(32, false), neighbor(16, false), neighbor(2, false)], [Some(16), Some(8), None]);
    }
}
