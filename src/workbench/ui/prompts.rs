//! Windows over the window: palette, help, names, paths, a new project, closing; and toasts.

mod data;
mod doubts;
mod help;
mod new_project;
mod search;

pub use data::{DataForm, Standing};
pub use help::Topic;
pub use new_project::NewForm;
pub use search::SearchForm;

use super::act::Act;
use super::app::{App, Toast};
use super::commands::matching;
use super::dialogs::Purpose;
use super::text::tr;
use super::theme::Tokens;
use super::view::Level;
use super::widgets::{Icon, field, icon, small};
use crate::workbench::jobs::JobId;
use crate::workbench::project::{Document, Edit};
use eframe::egui::{Align2, Area, Frame, Id, Key, Label, Margin, Modal, Order, RichText, ScrollArea, Stroke, Ui};
use std::path::PathBuf;
use std::time::Duration;

/// A toast stays this long; a failure until it is clicked, and three times as long.
const STAY: Duration = Duration::from_secs(5);

#[derive(Default)]
pub enum Prompt {
    #[default]
    Closed,
    Palette {
        query: String,
        at: usize,
    },
    Help(Topic),
    Name(NameForm),
    Path {
        purpose: Purpose,
        text: String,
    },
    New(Box<NewForm>),
    Data(Box<DataForm>),
    Search(Box<SearchForm>),
    /// A file of the project is not where it was.
    Moved,
    /// The project is open in another window.
    Elsewhere,
    Close,
}

impl Prompt {
    /// Whether it is written into, or asks what is not to be passed over.
    fn is_form(&self) -> bool {
        !matches!(self, Self::Closed | Self::Palette { .. } | Self::Help(_) | Self::Close)
    }

    fn standing(&mut self) -> Option<&mut Standing> {
        match self {
            Self::New(form) => Some(form.standing()),
            Self::Data(form) => Some(&mut form.standing),
            _ => None,
        }
    }

    /// The job that a form waits for.
    pub(super) fn waits_for(&mut self) -> Option<JobId> {
        match self.standing()? {
            Standing::Waiting(id) => Some(*id),
            _ => None,
        }
    }

    /// What became of the form that waits for a job, if there is one.
    pub(super) fn stands(&mut self, id: JobId, now: Standing) {
        if self.waits_for() == Some(id)
            && let Some(standing) = self.standing()
        {
            *standing = now;
        }
    }
}

/// A new name for a recipe.
pub struct NameForm {
    from: String,
    is_fork: bool,
    text: String,
    problem: Option<String>,
    fresh: bool,
}

impl NameForm {
    #[must_use]
    pub fn fork(document: &Document) -> Self {
        let text = document.free_name(&tr!("prompt-fork-name", recipe = &document.active));
        Self { from: document.active.clone(), is_fork: true, text, problem: None, fresh: true }
    }

    #[must_use]
    pub fn rename(document: &Document) -> Self {
        Self { from: document.active.clone(), is_fork: false, text: document.active.clone(), problem: None, fresh: true }
    }

    fn edit(&self) -> Edit {
        let (from, to) = (self.from.clone(), self.text.trim().to_owned());
        if self.is_fork { Edit::ForkRecipe { from, to } } else { Edit::RenameRecipe { from, to } }
    }
}

/// What became of a prompt in this frame.
pub(super) enum Next {
    Stay,
    Close,
}

impl App {
    pub(super) fn prompt_ui(&mut self, ui: &mut Ui) {
        let mut prompt = std::mem::take(&mut self.prompt);
        if matches!(prompt, Prompt::Closed) {
            return;
        }
        let tokens = Tokens::of(ui.ctx());
        let modal = Modal::new(Id::unique("prompt")).show(ui.ctx(), |ui| {
            ui.set_width(match prompt {
                Prompt::Help(_) => 880.0,
                Prompt::New(_) | Prompt::Data(_) | Prompt::Search(_) => 560.0,
                _ => 460.0,
            });
            match &mut prompt {
                Prompt::Closed => Next::Close,
                Prompt::Palette { query, at } => self.palette_ui(ui, tokens, query, at),
                Prompt::Help(topic) => help::help_ui(ui, tokens, topic),
                Prompt::Name(form) => self.name_ui(ui, tokens, form),
                Prompt::Path { purpose, text } => self.path_ui(ui, tokens, *purpose, text),
                Prompt::New(form) => self.new_project_ui(ui, tokens, form),
                Prompt::Data(form) => self.data_ui(ui, tokens, form),
                Prompt::Search(form) => self.search_ui(ui, tokens, form),
                Prompt::Moved => self.moved_ui(ui, tokens),
                Prompt::Elsewhere => self.elsewhere_ui(ui, tokens),
                Prompt::Close => self.close_ui(ui, tokens),
            }
        });
        // A click beside a form is no reason to lose what was written into it.
        let beside = modal.backdrop_response.clicked() && prompt.is_form();
        let done = matches!(modal.inner, Next::Close) || modal.should_close() && !beside;
        if done && let Some(job) = prompt.waits_for() {
            self.jobs.cancel(job);
        }
        // A command of the palette may have opened another prompt.
        if !done && matches!(self.prompt, Prompt::Closed) {
            self.prompt = prompt;
        }
    }

    fn palette_ui(&mut self, ui: &mut Ui, tokens: &Tokens, query: &mut String, at: &mut usize) -> Next {
        let edit = ui
            .add(field(query).hint_text(tr!("prompt-palette-hint")).desired_width(f32::INFINITY))
            .accessible_name(tr!("prompt-palette"));
        edit.request_focus();
        if edit.changed() {
            *at = 0;
        }
        let found = matching(query);
        let (up, down, enter) =
            ui.input(|i| (i.key_pressed(Key::ArrowUp), i.key_pressed(Key::ArrowDown), i.key_pressed(Key::Enter)));
        *at = if down {
            *at + 1
        } else if up {
            at.saturating_sub(1)
        } else {
            *at
        }
        .min(found.len().saturating_sub(1));
        let situation = self.situation();
        let mut next = Next::Stay;
        ui.add_space(4.0);
        ScrollArea::vertical().max_height(320.0).auto_shrink([false, true]).show(ui, |ui| {
            for (i, info) in found.iter().enumerate() {
                let available = info.needs.met(&situation);
                let shortcut = info.shortcut.map_or(String::new(), |s| ui.ctx().format_shortcut(&s));
                let color = if available { tokens.text } else { tokens.muted };
                let mut button =
                    eframe::egui::Button::selectable(i == *at, RichText::new(info.name()).color(color)).shortcut_text(shortcut);
                button = button.min_size([ui.available_width(), 24.0].into());
                let response = ui.add(button).on_hover_text(if available { info.tooltip() } else { info.needs.hint() });
                if i == *at && (up || down) {
                    response.scroll_to_me(None);
                }
                if available && (response.clicked() || (enter && i == *at)) {
                    self.ask(Act::Command(info.command));
                    next = Next::Close;
                }
            }
            if found.is_empty() {
                small(ui, tokens, tr!("prompt-palette-none"));
            }
        });
        next
    }

    fn name_ui(&mut self, ui: &mut Ui, tokens: &Tokens, form: &mut NameForm) -> Next {
        ui.heading(if form.is_fork {
            tr!("prompt-fork-title", recipe = &form.from)
        } else {
            tr!("prompt-rename-title", recipe = &form.from)
        });
        let edit = ui.add(field(&mut form.text).desired_width(f32::INFINITY)).accessible_name(tr!("prompt-recipe-name"));
        if std::mem::take(&mut form.fresh) {
            edit.request_focus();
        }
        if edit.changed() {
            form.problem = None;
        }
        if let Some(problem) = &form.problem {
            ui.colored_label(tokens.bad, problem);
        }
        let enter = edit.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
        match buttons(ui, if form.is_fork { tr!("prompt-fork") } else { tr!("prompt-rename") }) {
            Some(false) => Next::Close,
            answer if answer == Some(true) || enter => {
                let edit = form.edit();
                match self.bench.as_ref().map(|b| b.document().apply(&edit)) {
                    Some(Err(error)) => {
                        form.problem = Some(error.to_string());
                        Next::Stay
                    }
                    _ => {
                        self.ask(Act::Edit(edit));
                        Next::Close
                    }
                }
            }
            _ => Next::Stay,
        }
    }

    fn path_ui(&mut self, ui: &mut Ui, tokens: &Tokens, purpose: Purpose, text: &mut String) -> Next {
        ui.heading(purpose.title());
        small(ui, tokens, tr!("prompt-path-note"));
        let edit = ui.add(field(text).desired_width(f32::INFINITY)).accessible_name(tr!("prompt-path"));
        let enter = edit.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter));
        match buttons(ui, tr!("prompt-choose")) {
            Some(false) => Next::Close,
            answer if answer == Some(true) || enter => {
                self.take_path(purpose, PathBuf::from(text.trim()));
                Next::Close
            }
            _ => Next::Stay,
        }
    }

    fn close_ui(&mut self, ui: &mut Ui, tokens: &Tokens) -> Next {
        ui.heading(tr!("prompt-close-title"));
        let unsaved = self.bench.as_ref().is_some_and(|b| !b.is_saved());
        if !self.jobs.is_idle() {
            ui.label(tr!("prompt-close-jobs"));
            for job in self.jobs.views() {
                small(ui, tokens, job.title);
            }
        }
        if unsaved {
            ui.label(tr!("prompt-close-unsaved"));
        }
        match buttons(ui, tr!("prompt-close")) {
            Some(true) => {
                self.close(ui.ctx());
                Next::Close
            }
            Some(false) => Next::Close,
            None => Next::Stay,
        }
    }
}

/// The two buttons at the foot of a prompt: `Some(true)` for the first, `Some(false)` for Cancel.
pub(super) fn buttons(ui: &mut Ui, yes: &str) -> Option<bool> {
    ui.add_space(8.0);
    ui.horizontal(|ui| {
        if ui.button(yes).clicked() {
            Some(true)
        } else if ui.button(tr!("prompt-cancel")).clicked() {
            Some(false)
        } else {
            None
        }
    })
    .inner
}

/// Messages at the lower right.
pub(super) fn toasts_ui(ui: &mut Ui, toasts: &mut Vec<Toast>) {
    let tokens = Tokens::of(ui.ctx());
    let stay = |t: &Toast| if t.level == Level::Bad { STAY * 3 } else { STAY };
    toasts.retain(|t| t.since.elapsed() < stay(t));
    let Some(first) = toasts.iter().map(|t| stay(t).saturating_sub(t.since.elapsed())).min() else { return };
    ui.ctx().request_repaint_after(first);
    let mut dismissed = None;
    Area::new(Id::unique("toasts")).order(Order::Foreground).anchor(Align2::RIGHT_BOTTOM, [-12.0, -12.0]).show(ui.ctx(), |ui| {
        for (i, toast) in toasts.iter().enumerate() {
            let (shape, color, words) = match toast.level {
                Level::Info => (Icon::Info, tokens.accent, tr!("prompt-level-info")),
                Level::Good => (Icon::Check, tokens.good, tr!("prompt-level-good")),
                Level::Warning => (Icon::Warning, tokens.warn, tr!("prompt-level-warning")),
                Level::Bad => (Icon::Cross, tokens.bad, tr!("prompt-level-bad")),
            };
            Frame::new()
                .fill(tokens.raised)
                .stroke(Stroke::new(1.0, color))
                .corner_radius(6)
                .inner_margin(Margin::symmetric(10, 6))
                .show(ui, |ui| {
                    ui.horizontal(|ui| {
                        ui.set_max_width(460.0);
                        icon(ui, shape, color, words);
                        ui.add(Label::new(RichText::new(&toast.text).color(tokens.text)).wrap());
                        if ui.small_button(tr!("prompt-ok")).clicked() {
                            dismissed = Some(i);
                        }
                    });
                });
            ui.add_space(4.0);
        }
    });
    if let Some(i) = dismissed {
        toasts.remove(i);
    }
}
