//! Keeping up: which jobs the state of things calls for, saving, opening and leaving projects.

use super::App;
use crate::engine::hash::of_bytes;
use crate::pipeline::configure::Treatment;
use crate::workbench::jobs::JobId;
use crate::workbench::project::Presence;
use crate::workbench::ui::bench::{Bench, DataKeys};
use crate::workbench::ui::layout::{Pane, Workspace, is_shown};
use crate::workbench::ui::pictures::{Gallery, Lens, Sight, WeightPicture};
use crate::workbench::ui::tasks;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::Level;
use crate::workbench::work::NewProject;
use eframe::egui::{Context, PointerButton};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// An edit is saved when nothing has been edited for this long.
const SETTLED: Duration = Duration::from_millis(700);

/// The most cells along a side of the pictures of weights.
const SMALL: usize = 256;
const LARGE: usize = 512;

/// What was looked at when scores were last found missing, or not.
#[derive(Default, PartialEq, Clone, Copy)]
pub(super) struct Scored {
    version: u64,
    plan: usize,
    plans: usize,
    inspected: Option<usize>,
}

impl App {
    /// Brings what is shown up to date and starts the jobs that this calls for.
    pub(super) fn keep_up(&mut self, ctx: &Context) {
        self.keep_data();
        let Some(bench) = &mut self.bench else { return };
        if bench.sync(&self.session) {
            ctx.request_repaint();
        }
        if self.jobs.has_kind(tasks::OPEN) {
            // Another project is on its way.
            return;
        }
        self.keep_scoring();
        self.keep_inspecting();
        self.keep_pictures();
        self.keep_activations();
        self.keep_preflight();
        if let Some(bench) = &mut self.bench {
            [&mut bench.picture, &mut bench.sight].into_iter().flatten().for_each(|picture| picture.paint(ctx));
            if let Some(Ok(seen)) = bench.maps.as_mut().map(|m| m.seen.as_mut()) {
                seen.paint(ctx);
            }
        }
    }

    /// What works on data that the project no longer has is stopped, and what it still finds is not for these.
    fn keep_data(&mut self) {
        if !self.bench.as_mut().is_some_and(Bench::sync_data) {
            return;
        }
        for kind in tasks::ON_DATA {
            self.jobs.cancel_kind(kind);
        }
        (self.data_since, self.scored) = (Some(self.jobs.next_id()), Scored::default());
        self.find_data_keys();
    }

    /// Has it found out which reports are of the data as they are.
    pub(super) fn find_data_keys(&mut self) {
        let Some(bench) = self.bench.as_mut().filter(|b| !b.reports.is_empty()) else { return };
        if bench.document().evaluate.is_some() && bench.opened.subject.loaded.has_graph() {
            tasks::data_keys(&mut self.jobs, bench);
        } else {
            bench.add_data_keys(DataKeys::default());
        }
    }

    fn keep_scoring(&mut self) {
        let Some(bench) = &self.bench else { return };
        let now = Scored {
            version: bench.scores.version(),
            plan: bench.plan().map_or(0, |p| Arc::as_ptr(p) as usize),
            plans: bench.points.iter().filter(|p| p.plan.is_some()).count(),
            inspected: bench.selection.primary(),
        };
        if bench.scoring_failed || now == self.scored {
            return;
        }
        if self.jobs.has_kind(tasks::SCORE) {
            // What is being scored is not what is looked at now.
            let another_plan = now.plan != self.scored.plan && bench.active_is_unscored();
            if another_plan || now.inspected != self.scored.inspected {
                self.jobs.cancel_kind(tasks::SCORE);
            }
            (self.scored.plan, self.scored.inspected) = (now.plan, now.inspected);
            return;
        }
        let wanted: Vec<(usize, Treatment)> = bench.unscored();
        self.scored = now;
        if !wanted.is_empty() {
            // Looked at again when it ends: by then the version has changed.
            tasks::score(&mut self.jobs, bench, wanted);
        }
    }

    fn keep_inspecting(&mut self) {
        let Some(bench) = &self.bench else { return };
        if let Some((layer, treatment)) = bench.to_inspect()
            && !self.jobs.has_kind(tasks::INSPECT)
        {
            tasks::inspect(&mut self.jobs, bench, layer, treatment);
        }
        self.keep_weights_drawn();
        self.keep_network_drawn();
    }

    fn keep_network_drawn(&mut self) {
        let Some(bench) = &self.bench else { return };
        let has_graph = bench.opened.subject.loaded.has_graph();
        let missing = self.session.workspace == Workspace::Graph && bench.network.is_none() && has_graph;
        if missing && self.network_failed.is_none() && !self.jobs.has_kind(tasks::NETWORK) {
            tasks::network(&mut self.jobs, bench, None);
        }
    }

    /// The pictures of the inspected layer's weights: the small one, and the large one where it is shown.
    fn keep_weights_drawn(&mut self) {
        let Some(bench) = &mut self.bench else { return };
        let Some((facts, treated)) = bench.facts.clone().zip(bench.treated.clone()) else { return };
        let size = (facts.spreads.len().max(1), facts.columns());
        if bench.lens.0 != facts.index {
            bench.lens = (facts.index, Lens::whole(bench.lens.1.sight, size.0, size.1, LARGE));
        }
        let small = Lens::whole(Sight::Difference, size.0, size.1, SMALL);
        let is_wanted = |picture: &Option<WeightPicture>, lens: &Lens| {
            !picture.as_ref().is_some_and(|p| p.is_of(facts.index, &treated.treatment, lens))
        };
        if is_wanted(&bench.picture, &small) {
            self.jobs.cancel_kind(tasks::PICTURE);
            let older = bench.picture.take();
            bench.picture = tasks::picture(&mut self.jobs, bench, tasks::PICTURE, small).map(|p| p.following(older));
        }
        let lens = bench.lens.1;
        let tree = self.session.layouts.get(&self.session.workspace);
        let shown = tree.is_some_and(|tree| is_shown(tree, Pane::Weights));
        if shown && is_wanted(&bench.sight, &lens) {
            self.jobs.cancel_kind(tasks::SIGHT);
            let older = bench.sight.take();
            bench.sight = tasks::picture(&mut self.jobs, bench, tasks::SIGHT, lens).map(|p| p.following(older));
        }
    }

    fn is_shown(&self, pane: Pane) -> bool {
        self.session.layouts.get(&self.session.workspace).is_some_and(|tree| is_shown(tree, pane))
    }

    /// What the inspected layer gives for the sample, where it is looked at.
    fn keep_activations(&mut self) {
        if !self.is_shown(Pane::Activations) {
            return;
        }
        let Some(bench) = &mut self.bench else { return };
        let Some(asked) = bench.wanted_maps().filter(|w| Some(w) != bench.maps_asked.as_ref()) else { return };
        self.jobs.cancel_kind(tasks::ACTIVATION);
        (bench.maps_asked, self.stopped) = (Some(asked.clone()), false);
        if bench.maps.as_ref().is_none_or(|m| m.asked != asked) {
            tasks::activation(&mut self.jobs, bench, asked);
        }
    }

    /// What is to be said before a run, where that is looked at.
    fn keep_preflight(&mut self) {
        if !self.is_shown(Pane::Preflight) {
            return;
        }
        let Some(bench) = &mut self.bench else { return };
        let now = Some((bench.history.revision(), bench.reports.len()));
        if bench.preflight_for != now && bench.active().is_some() {
            self.jobs.cancel_kind(tasks::PREFLIGHT);
            (bench.preflight_for, self.stopped) = (now, false);
            tasks::preflight(&mut self.jobs, bench);
        }
    }

    /// Pictures of samples, for the workspaces that show them.
    fn keep_pictures(&mut self) {
        let Some(bench) = &self.bench else { return };
        if self.jobs.has_kind(tasks::SAMPLES) || bench.document().evaluate.is_none() {
            return;
        }
        match self.session.workspace {
            Workspace::Load if bench.gallery.is_none() => tasks::samples(&mut self.jobs, bench),
            Workspace::Compare if bench.changed.problem.is_none() => self.keep_changed(),
            _ => {}
        }
    }

    /// Pictures of the samples that changed, of what the reports were measured on.
    fn keep_changed(&mut self) {
        let Some(bench) = &mut self.bench else { return };
        let Some(report) = bench.comparable().first().map(|(_, report)| Arc::clone(report)) else { return };
        if bench.changed_in != report.data_key {
            bench.changed_in.clone_from(&report.data_key);
            bench.changed = Gallery::default();
            bench.asked.clear();
        }
        let there = &bench.changed.pictures;
        let is_new = |s: &usize| !there.contains_key(s) && !bench.asked.contains(s);
        let missing: Vec<usize> = bench.differences.shown.iter().map(|c| c.sample).filter(is_new).collect();
        if !missing.is_empty() {
            bench.asked.extend(missing.iter().copied());
            tasks::changed(&mut self.jobs, bench, missing, &report);
        }
    }

    pub(super) fn autosave(&mut self, ctx: &Context) {
        let Some(since) = self.edited else { return };
        let dragging = ctx.input(|i| i.pointer.button_down(PointerButton::Primary));
        if dragging || since.elapsed() < SETTLED {
            ctx.request_repaint_after(SETTLED);
        } else {
            self.save_now();
        }
    }

    /// Saves the project if it must. Whether it is saved.
    pub(crate) fn save_now(&mut self) -> bool {
        let Some(bench) = &mut self.bench else { return true };
        self.edited = None;
        if bench.is_saved() {
            return true;
        }
        // The other window may be closed by now.
        if bench.presence.is_none() {
            bench.presence = Presence::claim(bench.project.root()).ok().flatten();
        }
        let document = Arc::clone(bench.document());
        match bench.project.save(&document) {
            Ok(()) => {
                bench.saved = document;
                true
            }
            Err(error) => {
                self.tell(Level::Bad, tr!("app-not-saved", error = error.to_string()));
                false
            }
        }
    }

    pub(crate) fn create_project(&mut self, root: PathBuf, new: NewProject) -> JobId {
        // What is open stays so until the other is made: its jobs go on.
        self.save_now();
        self.jobs.cancel_kind(tasks::OPEN);
        tasks::create(&mut self.jobs, root, new)
    }

    /// Opens a model without asking for a place for its project.
    pub(crate) fn look_at(&mut self, model: PathBuf) {
        let Some(cache) = dirs::cache_dir() else {
            return self.tell(Level::Bad, tr!("app-no-cache"));
        };
        let name = model.file_stem().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        let place = of_bytes(model.as_os_str().as_encoded_bytes());
        let folder = cache.join("lapidary").join("looked-at").join(format!("{name}-{}", &place[..8]));
        // The same file as before has its project already.
        if folder.join("project.ron").exists() {
            return self.open_path(folder);
        }
        let _job = self.create_project(folder, NewProject { model, ..NewProject::default() });
    }

    pub(super) fn open_sample(&mut self) {
        self.leave_project();
        self.first_job = Some(tasks::open_sample(&mut self.jobs));
    }

    /// Saves, and stops what works for the open project.
    pub(crate) fn leave_project(&mut self) {
        self.save_now();
        self.jobs.cancel_all();
    }

    pub(super) fn stop(&mut self) {
        self.jobs.cancel_all();
        self.stopped = true;
        self.tell(Level::Info, tr!("app-cancelling"));
    }

    /// Whether a job runs that the person would miss.
    pub(super) fn works_for_the_person(&self) -> bool {
        tasks::ASKED_FOR.iter().any(|kind| self.jobs.has_kind(kind))
    }
}
