//! The application: what happens in a frame, in order.

mod acts;
mod events;
mod work;

use super::act::Act;
use super::bench::{Bench, Selection};
use super::commands::{ALL, Command, Situation};
use super::dialogs::{FilePicker, Reply, ReplyTo};
use super::layout::{Pane, Workspace, default_tree, simplification};
use super::panels::{pane_ui, rail_ui, top_ui};
use super::prompts::{Prompt, toasts_ui};
use super::session::Session;
use super::tasks::Found;
use super::text::{self, Language, tr};
use super::theme::{Tokens, install};
use super::view::{Level, LogLine, View};
use crate::engine::Ctx;
use crate::workbench::jobs::{JobId, JobView, Jobs};
use crate::workbench::project::Moved;
use eframe::egui::{CentralPanel, Context, Frame, Margin, Modifiers, Panel, Stroke, Ui, ViewportCommand, WidgetText};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, sync_channel};
use std::task::{Wake, Waker};
use std::time::{Duration, Instant};

/// While a job runs its progress is looked at this often.
const LOOK_AGAIN: Duration = Duration::from_millis(100);

/// A short message that goes away by itself.
pub(super) struct Toast {
    pub(super) level: Level,
    pub(super) text: String,
    pub(super) since: Instant,
}

/// What an application starts with.
pub struct Setup {
    /// Threads and seed of the jobs.
    pub base: Ctx,
    pub session: Session,
    pub picker: Box<dyn FilePicker>,
    /// What to open; `None`: nothing.
    pub open: Option<PathBuf>,
}

pub struct App {
    pub(super) session: Session,
    pub(super) jobs: Jobs<Found>,
    pub(super) bench: Option<Bench>,
    pub(super) prompt: Prompt,
    pub(super) toasts: Vec<Toast>,
    pub(super) log: Vec<LogLine>,
    acts: Vec<Act>,
    picker: Box<dyn FilePicker>,
    replies: Receiver<Reply>,
    reply_to: ReplyTo,
    started: Instant,
    /// When the document last changed without having been saved.
    edited: Option<Instant>,
    /// What jobs before this one find is about a project that is no longer open.
    first_job: Option<JobId>,
    scored: work::Scored,
    /// A project that cannot be opened before its file is found.
    pub(super) moved: Option<Moved>,
    /// The first job on the data as they are; `None`: they have not changed since the project was opened.
    data_since: Option<JobId>,
    /// The person stopped what ran by itself; until something else is asked for.
    pub(super) stopped: bool,
    /// What the window is called.
    title: String,
    /// A language that no font can write, of which that was said.
    unwritten: Option<Language>,
    /// Drawing the network failed: it is not tried again by itself.
    pub(super) network_failed: Option<String>,
    /// The person has said that the window may close.
    may_close: bool,
    job_views: Vec<JobView>,
}

struct Repaint(Context);

impl Wake for Repaint {
    fn wake(self: Arc<Self>) {
        self.0.request_repaint();
    }
}

impl App {
    #[must_use]
    pub fn new(ctx: &Context, setup: Setup) -> Self {
        install(ctx, setup.session.contrast);
        text::speak(setup.session.language.unwrap_or_default());
        ctx.set_theme(setup.session.theme);
        let waker = Waker::from(Arc::new(Repaint(ctx.clone())));
        let (sender, replies) = sync_channel(16);
        let mut app = Self {
            session: setup.session,
            jobs: Jobs::new(setup.base, waker.clone()),
            bench: None,
            prompt: Prompt::Closed,
            toasts: Vec::new(),
            log: Vec::new(),
            acts: Vec::new(),
            picker: setup.picker,
            replies,
            reply_to: ReplyTo { sender, waker },
            started: Instant::now(),
            edited: None,
            first_job: None,
            scored: work::Scored::default(),
            moved: None,
            data_since: None,
            stopped: false,
            title: String::new(),
            unwritten: None,
            network_failed: None,
            may_close: false,
            job_views: Vec::new(),
        };
        if let Some(path) = setup.open {
            app.open_path(path);
        }
        app
    }

    #[must_use]
    pub fn session(&self) -> &Session {
        &self.session
    }

    #[must_use]
    pub fn session_mut(&mut self) -> &mut Session {
        &mut self.session
    }

    #[must_use]
    pub fn bench(&self) -> Option<&Bench> {
        self.bench.as_ref()
    }

    #[must_use]
    pub fn log(&self) -> &[LogLine] {
        &self.log
    }

    /// Selects the layer that its recipe hurts most: the one with the largest share of lost channels, else with the
    /// largest weight error.
    pub(super) fn inspect_worst(&mut self) {
        let Some(bench) = &mut self.bench else { return };
        let harm = |&layer: &usize| {
            let score = bench.layer_plan(layer).and_then(|p| bench.scores.get(layer, &p.treatment));
            let channels = bench.layers().get(layer).map_or(1, |l| l.out_channels().max(1));
            score.map_or((0, 0), |s| (s.lost_channels * 1000 / channels, (s.noise * 1e9) as u64))
        };
        if let Some(worst) = (0..bench.layers().len()).max_by_key(harm) {
            bench.selection = Selection::of(Some(worst));
            bench.selection.reveal = true;
        }
    }

    /// For pictures: messages away.
    pub(super) fn clear_messages(&mut self) {
        self.toasts.clear();
        self.prompt = Prompt::Closed;
    }

    /// Whether jobs run or wait.
    #[must_use]
    pub fn is_busy(&self) -> bool {
        !self.jobs.is_idle()
    }

    /// Does what an act says, as if a panel had asked for it.
    pub fn ask(&mut self, act: Act) {
        self.acts.push(act);
    }

    /// Everything that is not drawing: drain jobs → run commands → autosave tick.
    pub fn logic(&mut self, ctx: &Context) {
        self.take_replies();
        self.take_events(ctx);
        self.take_dropped_files(ctx);
        self.take_shortcuts(ctx);
        self.run_acts(ctx);
        self.keep_up(ctx);
        self.autosave(ctx);
        self.watch_close(ctx);
        self.name_window(ctx);
        self.job_views = self.jobs.views();
        if !self.jobs.is_idle() {
            ctx.request_repaint_after(LOOK_AGAIN);
        }
    }

    /// Speaks the language that was chosen; English, and a note, where no font can write it.
    fn speak(&mut self, ctx: &Context) {
        let chosen = self.session.language.unwrap_or_default();
        if chosen.can_be_written(ctx) {
            self.unwritten = None;
            return text::speak(chosen);
        }
        text::speak(Language::English);
        if self.unwritten.replace(chosen) != Some(chosen) {
            self.tell(Level::Warning, tr!("language-no-font"));
        }
    }

    /// Menu → panels → dialogs and toasts. What the person did takes effect within the frame: the
    /// pass is drawn again when it changed the document.
    pub fn draw(&mut self, ui: &mut Ui) {
        self.speak(ui.ctx());
        self.frame_ui(ui);
        self.revealed();
        self.prompt_ui(ui);
        toasts_ui(ui, &mut self.toasts);
        let before = self.bench.as_ref().map(|b| b.history.revision());
        self.run_acts(ui.ctx());
        self.keep_up(ui.ctx());
        if self.bench.as_ref().map(|b| b.history.revision()) != before {
            ui.ctx().request_discard("an edit shows in the frame in which it was made");
        }
    }

    /// The grid has scrolled to the layer it was to show.
    fn revealed(&mut self) {
        if let (Workspace::Configure | Workspace::Graph, Some(bench)) = (self.session.workspace, &mut self.bench) {
            bench.selection.reveal = false;
        }
    }

    pub(super) fn situation(&self) -> Situation {
        let bench = self.bench.as_ref();
        let document = bench.map(Bench::document);
        Situation {
            project: bench.is_some(),
            selection: bench.is_some_and(|b| !b.selection.is_empty()),
            own_recipe: document.is_some_and(|d| d.recipes.contains_key(&d.active)),
            data: document.is_some_and(|d| d.evaluate.is_some()),
            undo: bench.is_some_and(|b| b.history.undo_step().is_some()),
            redo: bench.is_some_and(|b| b.history.redo_step().is_some()),
            jobs: !self.jobs.is_idle(),
        }
    }

    fn frame_ui(&mut self, ui: &mut Ui) {
        let tokens = Tokens::of(ui.ctx());
        let workspace = self.session.workspace;
        let mut tree = self.session.layouts.remove(&workspace).unwrap_or_else(|| default_tree(workspace));
        let mut acts = std::mem::take(&mut self.acts);
        let view = View {
            tokens,
            session: &self.session,
            bench: self.bench.as_ref(),
            jobs: &self.job_views,
            log: &self.log,
            situation: self.situation(),
            network_problem: self.network_failed.as_deref(),
        };
        let bar = |margin: i8| {
            Frame::new().fill(tokens.panel).inner_margin(Margin { left: 10, right: 10, top: margin, bottom: margin })
        };
        Panel::top("top").frame(bar(5)).show(ui, |ui| top_ui(ui, &view, &mut acts));
        Panel::top("rail").frame(bar(4)).show(ui, |ui| rail_ui(ui, &view, &mut acts));
        CentralPanel::no_frame().frame(Frame::new().fill(tokens.background).inner_margin(4)).show(ui, |ui| {
            let mut behavior = Tiles { view: &view, acts: &mut acts };
            tree.ui(&mut behavior, ui);
        });
        acts.append(&mut self.acts);
        self.acts = acts;
        self.session.layouts.insert(workspace, tree);
    }

    fn take_shortcuts(&mut self, ctx: &Context) {
        let typing = ctx.text_edit_focused();
        let blocked = !matches!(self.prompt, Prompt::Closed) || ctx.any_popup_open();
        let situation = self.situation();
        // What needs more keys is looked for first: Ctrl+Z fits where Ctrl+Shift+Z was meant.
        let mut table: Vec<_> = ALL.iter().filter_map(|i| Some((i, i.shortcut?))).collect();
        table.sort_by_key(|(_, s)| {
            std::cmp::Reverse(u8::from(s.modifiers.shift) + u8::from(s.modifiers.alt) + u8::from(s.modifiers.command))
        });
        for (info, shortcut) in table {
            let plain = shortcut.modifiers == Modifiers::NONE;
            let function =
                format!("{:?}", shortcut.logical_key).len() > 1 && format!("{:?}", shortcut.logical_key).starts_with('F');
            let allowed =
                if plain && !function { !typing && !blocked } else { !typing || info.command == Command::Palette || function };
            // A form that waits is not to be replaced by another.
            let allowed = allowed && (self.prompt.waits_for().is_none() || info.command == Command::Stop);
            if allowed && info.needs.met(&situation) && ctx.input_mut(|i| i.consume_shortcut(&shortcut)) {
                self.acts.push(Act::Command(info.command));
            }
        }
    }

    fn watch_close(&mut self, ctx: &Context) {
        if !ctx.input(|i| i.viewport().close_requested()) || self.may_close {
            return;
        }
        let unsaved = self.bench.as_ref().is_some_and(|b| !b.is_saved());
        if self.works_for_the_person() || unsaved {
            ctx.send_viewport_cmd(ViewportCommand::CancelClose);
            self.prompt = Prompt::Close;
        }
    }

    /// After the project, as windows are.
    fn name_window(&mut self, ctx: &Context) {
        let title = match &self.bench {
            Some(bench) => format!("{} – Lapidary", bench.document().name),
            None => "Lapidary".to_owned(),
        };
        if title != self.title {
            ctx.send_viewport_cmd(ViewportCommand::Title(title.clone()));
            self.title = title;
        }
    }

    /// Saves if it must, stops the jobs and closes.
    pub(super) fn close(&mut self, ctx: &Context) {
        if self.save_now() {
            self.jobs.shut_down(Duration::from_secs(2));
            self.may_close = true;
            ctx.send_viewport_cmd(ViewportCommand::Close);
        }
    }

    pub(super) fn note(&mut self, level: Level, subject: impl Into<String>, message: impl Into<String>) {
        let line =
            LogLine { level, subject: subject.into(), message: message.into(), seconds: self.started.elapsed().as_secs_f64() };
        self.log.push(line);
    }

    /// A line of the log that is also shown for a while.
    pub(super) fn tell(&mut self, level: Level, text: impl Into<String>) {
        let text = text.into();
        self.note(level, "", text.clone());
        self.toasts.push(Toast { level, text, since: Instant::now() });
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &Context, _: &mut eframe::Frame) {
        Self::logic(self, ctx);
    }

    fn ui(&mut self, ui: &mut Ui, _: &mut eframe::Frame) {
        self.draw(ui);
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        if let Ok(text) = self.session.to_text() {
            storage.set_string(super::SESSION_KEY, text);
        }
    }

    fn persist_egui_memory(&self) -> bool {
        false
    }
}

/// Panels in tiles.
struct Tiles<'a> {
    view: &'a View<'a>,
    acts: &'a mut Vec<Act>,
}

impl egui_tiles::Behavior<Pane> for Tiles<'_> {
    fn pane_ui(&mut self, ui: &mut Ui, _: egui_tiles::TileId, pane: &mut Pane) -> egui_tiles::UiResponse {
        pane_ui(ui, *pane, self.view, self.acts);
        egui_tiles::UiResponse::None
    }

    fn tab_title_for_pane(&mut self, pane: &Pane) -> WidgetText {
        pane.title().into()
    }

    fn simplification_options(&self) -> egui_tiles::SimplificationOptions {
        simplification()
    }

    fn gap_width(&self, _: &eframe::egui::Style) -> f32 {
        4.0
    }

    fn tab_bar_color(&self, _: &eframe::egui::Visuals) -> eframe::egui::Color32 {
        self.view.tokens.raised
    }

    fn tab_outline_stroke(
        &self,
        _: &eframe::egui::Visuals,
        _: &egui_tiles::Tiles<Pane>,
        _: egui_tiles::TileId,
        _: &egui_tiles::TabState,
    ) -> Stroke {
        Stroke::NONE
    }

    fn tab_text_color(
        &self,
        _: &eframe::egui::Visuals,
        _: &egui_tiles::Tiles<Pane>,
        _: egui_tiles::TileId,
        state: &egui_tiles::TabState,
    ) -> eframe::egui::Color32 {
        if state.active { self.view.tokens.text } else { self.view.tokens.muted }
    }
}
