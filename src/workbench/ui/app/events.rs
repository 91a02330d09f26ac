//! What comes in from outside the frame: results of jobs, answers of dialogs, dropped files.

use super::App;
use crate::engine::units;
use crate::workbench::explore::{Searched, result_name};
use crate::workbench::jobs::{Event, JobId, Outcome};
use crate::workbench::project::{Edit, Presence};
use crate::workbench::ui::bench::Bench;
use crate::workbench::ui::dialogs::{Purpose, Reply};
use crate::workbench::ui::maps::Maps;
use crate::workbench::ui::pictures::Gallery;
use crate::workbench::ui::prompts::{NewForm, Prompt, Standing};
use crate::workbench::ui::tasks::{self, Answered, Found};
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::Level;
use eframe::egui::Context;
use std::path::{Path, PathBuf};
use std::sync::Arc;

impl App {
    pub(super) fn take_events(&mut self, ctx: &Context) {
        for event in self.jobs.drain() {
            match event {
                Event::Part { id, part } if self.wants(id, &part) => self.take_found(ctx, id, part),
                Event::Part { .. } => {}
                Event::Ended { id, kind, title, outcome, warnings, seconds } => {
                    // What runs by itself runs again and again: it has nothing to report.
                    for warning in warnings.into_iter().filter(|_| tasks::ASKED_FOR.contains(&kind)) {
                        self.note(Level::Warning, warning.subject, warning.message);
                    }
                    match outcome {
                        Outcome::Done(Found::Moved(moved)) if self.concerns(id) => {
                            self.moved = Some(moved);
                            self.prompt = Prompt::Moved;
                        }
                        Outcome::Done(found) if self.wants(id, &found) => {
                            self.note_done(kind, &title, seconds);
                            self.take_found(ctx, id, found);
                        }
                        Outcome::Done(_) => self.prompt.stands(id, Standing::Open),
                        Outcome::Cancelled => self.take_cancelled(id, kind, &title),
                        Outcome::Failed { message } => self.take_failed(id, kind, &title, &message),
                    }
                }
            }
        }
    }

    /// Whether a job is about the project that is open.
    fn concerns(&self, id: JobId) -> bool {
        self.first_job.is_none_or(|first| id >= first)
    }

    /// Whether a job was begun on data that the project no longer has.
    fn is_late(&self, id: JobId) -> bool {
        self.data_since.is_some_and(|first| id < first)
    }

    fn wants(&self, id: JobId, found: &Found) -> bool {
        self.concerns(id) && !(self.is_late(id) && found.hangs_on_data())
    }

    fn note_done(&mut self, kind: &str, title: &str, seconds: f64) {
        if tasks::ASKED_FOR.contains(&kind) {
            self.tell(Level::Good, tr!("job-done", job = title, time = units::seconds(seconds)));
        }
    }

    fn take_cancelled(&mut self, id: JobId, kind: &'static str, title: &str) {
        self.prompt.stands(id, Standing::Open);
        if tasks::ASKED_FOR.contains(&kind) {
            self.note(Level::Info, "", tr!("job-cancelled", job = title));
        }
        // A project that stays open because another could not be opened has lost its jobs as well.
        self.draw_again(kind, self.concerns(id));
    }

    /// What was not drawn to its end is not left as it is, unless that is being done again already.
    fn draw_again(&mut self, kind: &'static str, concerns: bool) {
        let Some(bench) = self.bench.as_mut().filter(|_| !self.jobs.has_kind(kind)) else { return };
        match kind {
            tasks::PICTURE => bench.picture = None,
            tasks::SIGHT => bench.sight = None,
            // What the person stopped is not begun again before something else is asked for.
            tasks::ACTIVATION | tasks::PREFLIGHT if concerns && self.stopped => {}
            tasks::ACTIVATION => bench.maps_asked = None,
            tasks::PREFLIGHT => bench.preflight_for = None,
            // Nobody asked for it, and without it all would seem stale.
            tasks::DATA_KEYS => self.find_data_keys(),
            tasks::SAMPLES if !concerns => bench.asked.clear(),
            tasks::SCORE if !concerns => self.scored = super::work::Scored::default(),
            _ => {}
        }
    }

    fn take_failed(&mut self, id: JobId, kind: &'static str, title: &str, message: &str) {
        let words = tr!("job-failed", job = title, message = message);
        if self.prompt.waits_for() == Some(id) {
            self.prompt.stands(id, Standing::refused(message));
            return self.note(Level::Bad, "", words);
        }
        if kind == tasks::DATA_KEYS {
            // Nobody asked for it; who evaluates is told the same.
            return self.note(Level::Bad, "", words);
        }
        self.tell(Level::Bad, words);
        if !self.concerns(id) || self.is_late(id) && tasks::ON_DATA.contains(&kind) {
            return;
        }
        if kind == tasks::NETWORK {
            self.network_failed = Some(message.to_owned());
        }
        let question = self.session.question;
        let Some(bench) = &mut self.bench else { return };
        match kind {
            tasks::SCORE => bench.scoring_failed = true,
            tasks::ZIP => bench.zipped = Some(Err(message.to_owned())),
            tasks::IMPORTANCE => {
                let layer = bench.selection.primary().unwrap_or(0);
                bench.importance = Some(Answered { layer, question, answer: Err(message.to_owned()) });
            }
            tasks::ACTIVATION => {
                if let Some(asked) = bench.maps_asked.clone() {
                    bench.maps = Some(Maps::new(asked, Err(message.to_owned())));
                }
            }
            tasks::SAMPLES => {
                let problem = Some(message.to_owned());
                match &mut bench.gallery {
                    Some(_) => bench.changed.problem = problem,
                    None => bench.gallery = Some(Gallery { problem, ..Gallery::default() }),
                }
            }
            _ => {}
        }
    }

    fn take_found(&mut self, ctx: &Context, id: JobId, found: Found) {
        if let Found::Opened(opened) = found {
            let path = opened.opened.root.clone();
            // What was begun meanwhile for the project before is not for this one.
            self.save_now();
            self.jobs.cancel_all();
            self.first_job = Some(self.jobs.next_id());
            self.session.remember(&path);
            // A form about the data is about those of the project before.
            if self.prompt.waits_for() == Some(id) || matches!(self.prompt, Prompt::Data(_)) {
                self.prompt = Prompt::Closed;
            }
            // Else this window would hold the project against itself.
            self.bench = None;
            let presence = Presence::claim(&path);
            let mut bench = Bench::new(opened.project, opened.opened, opened.reports);
            if presence.is_err() {
                self.prompt = Prompt::Elsewhere;
            }
            bench.presence = presence.unwrap_or_default();
            self.bench = Some(bench);
            self.edited = None;
            self.scored = super::work::Scored::default();
            self.network_failed = None;
            self.data_since = None;
            return self.find_data_keys();
        }
        if let Found::Model(path, words) = found {
            // What is being written already stays.
            let mut form = match std::mem::take(&mut self.prompt) {
                Prompt::New(form) => form,
                _ => Box::default(),
            };
            form.set_model(&path, words);
            self.prompt = Prompt::New(form);
            return;
        }
        if let Found::Data(data) = found {
            // Who closed the form has thought better of it.
            if self.prompt.waits_for() == Some(id) {
                self.prompt = Prompt::Closed;
                self.edit(&Edit::SetData(*data), false);
            }
            return;
        }
        let is_late = self.is_late(id);
        let Some(bench) = &mut self.bench else { return };
        match found {
            Found::DataKeys(keys) => bench.add_data_keys(keys),
            Found::Opened(_) | Found::Data(_) | Found::Model(..) | Found::Moved(_) | Found::Nothing => {}
            Found::Scores(scores) => {
                for (layer, treatment, score) in scores {
                    bench.scores.insert(layer, &treatment, score);
                }
            }
            Found::Inspected(facts, treated) => {
                bench.scores.insert(facts.index, &treated.treatment, treated.score);
                if bench.selection.primary() == Some(facts.index) {
                    (bench.facts, bench.treated) = (Some(facts), Some(treated));
                }
            }
            Found::WeightRows { layer, treatment, lens, first_row, cells } => {
                let pictures = [&mut bench.picture, &mut bench.sight].into_iter().flatten();
                pictures.filter(|p| p.is_of(layer, &treatment, &lens)).for_each(|p| p.fill(first_row, &cells));
            }
            Found::Loss(layer, treatment, scores) => bench.losses.insert(layer, &treatment, &scores),
            Found::News(news) => self.note(Level::Info, "", news),
            Found::Searched(searched) => self.take_searched(*searched, !is_late),
            Found::Planned(planner) => bench.losses.set_planner(planner),
            Found::Report(report) => bench.add_report(Arc::from(report), !is_late),
            Found::Exported(mut written) => {
                if is_late {
                    written.key.clear();
                }
                bench.written.push(*written);
            }
            Found::Activation(found) => {
                bench.built = Some((found.asked.recipe_key.clone(), found.variant));
                bench.maps = Some(Maps::new(found.asked, found.answer));
            }
            Found::Preflight(recipe, found) => bench.preflight = Some((recipe, found)),
            Found::Network(drawn) => bench.network = Some(*drawn),
            Found::Zipped(bytes) => bench.zipped = Some(Ok(bytes)),
            Found::Importance(answered) => bench.importance = Some(answered),
            Found::Samples { total, classes, pictures } => {
                let mut gallery = Gallery { total, classes, ..Gallery::default() };
                gallery.add(ctx, pictures);
                bench.gallery = Some(gallery);
            }
            Found::Changed { data_key, .. } if data_key != bench.changed_in => {}
            Found::Changed { classes, pictures, .. } => {
                bench.changed.classes = classes;
                bench.changed.add(ctx, pictures);
            }
        }
    }

    /// What a search found becomes a recipe of its own.
    fn take_searched(&mut self, mut searched: Searched, on_data: bool) {
        let Some(bench) = &mut self.bench else { return };
        let name = bench.document().free_name(&result_name(&searched.outcome.goal));
        searched.outcome.recipe.name.clone_from(&name);
        let mut unsaved = None;
        if let Some(report) = &mut searched.report {
            report.recipe.clone_from(&name);
            unsaved = bench.project.add_report(report).err();
            bench.add_report(Arc::new(report.clone()), on_data);
        }
        let shortfall = searched.shortfall();
        self.edit(&Edit::AddRecipe(searched.outcome.recipe), false);
        if let Some(error) = unsaved {
            self.tell(Level::Bad, tr!("app-report-not-saved", recipe = &name, error = error.to_string()));
        }
        match shortfall {
            Some(why) => self.tell(Level::Warning, why),
            None => self.tell(Level::Good, tr!("app-found", recipe = &name)),
        }
    }

    pub(super) fn take_replies(&mut self) {
        while let Ok(reply) = self.replies.try_recv() {
            match reply {
                Reply::Chosen(purpose, path) => self.take_path(purpose, path),
                Reply::Dismissed => {}
                Reply::Unavailable(purpose) => {
                    // Such a form has fields of its own: there is nothing to ask besides.
                    if matches!(self.prompt, Prompt::New(_) | Prompt::Data(_)) {
                        self.tell(Level::Info, tr!("app-no-file-dialogs"));
                    } else {
                        self.prompt = Prompt::Path { purpose, text: self.suggestion(purpose) };
                    }
                }
            }
        }
    }

    fn suggestion(&self, purpose: Purpose) -> String {
        match purpose {
            Purpose::ExportFolder => self.bench.as_ref().map_or_else(String::new, Bench::export_folder),
            Purpose::PageFile => self.bench.as_ref().map_or_else(String::new, |bench| {
                let name = format!("{} compared.html", bench.document().name);
                bench.project.exports().join(name).display().to_string()
            }),
            _ => self.session.recent.first().map_or_else(String::new, |p| p.display().to_string()),
        }
    }

    pub(crate) fn take_path(&mut self, purpose: Purpose, path: PathBuf) {
        match purpose {
            _ if self.prompt.waits_for().is_some() => {}
            Purpose::OpenProject => self.open_path(path),
            Purpose::ExportFolder => {
                if let Some(bench) = &mut self.bench {
                    bench.export.set_folder(path.display().to_string());
                }
            }
            Purpose::PageFile => self.write_page(path),
            Purpose::Moved => self.put_back(&path),
            Purpose::Model
            | Purpose::Graph
            | Purpose::Importance
            | Purpose::NewFolder
            | Purpose::EvaluationData
            | Purpose::CalibrationData => {
                let is_data = matches!(purpose, Purpose::EvaluationData | Purpose::CalibrationData);
                match &mut self.prompt {
                    Prompt::New(form) => form.set(purpose, &path),
                    Prompt::Data(form) if is_data => form.set(purpose, &path),
                    Prompt::Closed if purpose == Purpose::Model => {
                        let mut form = NewForm::default();
                        form.set(purpose, &path);
                        self.prompt = Prompt::New(Box::new(form));
                    }
                    // The form that asked for it is gone.
                    _ => {}
                }
            }
        }
    }

    /// The file of a project that was not where it was is there; opens the project.
    pub(crate) fn put_back(&mut self, path: &Path) {
        let Some(moved) = self.moved.take() else { return };
        self.prompt = Prompt::Closed;
        match moved.put(path) {
            Ok(()) => self.open_path(moved.root),
            Err(error) => {
                self.tell(Level::Bad, error.to_string());
                self.moved = Some(moved);
                self.prompt = Prompt::Moved;
            }
        }
    }

    pub(crate) fn ask_for_path(&mut self, purpose: Purpose) {
        let suggestion = Some(self.suggestion(purpose)).filter(|s| !s.is_empty()).map(PathBuf::from);
        self.picker.ask(purpose, suggestion, self.reply_to.clone());
    }

    pub(super) fn take_dropped_files(&mut self, ctx: &Context) {
        let dropped: Vec<PathBuf> = ctx.input(|i| i.raw.dropped_files.iter().map(|f| f.path().to_path_buf()).collect());
        // What was handed in stays as it is until it is known what becomes of it.
        let Some(path) = dropped.into_iter().next().filter(|_| self.prompt.waits_for().is_none()) else { return };
        match &mut self.prompt {
            Prompt::Data(form) => form.set(Purpose::EvaluationData, &path),
            // After the model come its data.
            Prompt::New(form) if form.wants_data() && path.is_dir() => form.set(Purpose::EvaluationData, &path),
            _ => self.open_path(path),
        }
    }

    /// Opens a project's folder or its `project.ron`; of any other file that is a model a new project is made.
    pub(crate) fn open_path(&mut self, path: PathBuf) {
        let is_model = path.is_file() && path.file_name().is_none_or(|n| n != "project.ron");
        let is_folder_of_weights = path.is_dir() && !path.join("project.ron").exists();
        if is_model || is_folder_of_weights {
            return tasks::look(&mut self.jobs, path);
        }
        let folder =
            if path.file_name().is_some_and(|n| n == "project.ron") { path.parent().map(Path::to_path_buf) } else { None };
        self.leave_project();
        self.first_job = Some(tasks::open(&mut self.jobs, folder.unwrap_or(path)));
    }
}
