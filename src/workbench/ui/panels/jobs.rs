//! What runs: progress, time left, cancel. And the log.

use crate::engine::units;
use crate::workbench::jobs::{JobState, JobView};
use crate::workbench::ui::act::Act;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::{Level, View};
use crate::workbench::ui::widgets::{Icon, empty, icon, small};
use eframe::egui::{Align, Button, Label, Layout, ProgressBar, RichText, ScrollArea, Ui};

pub fn jobs_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    if view.jobs.is_empty() {
        return empty(ui, view.tokens, tr!("jobs-none"), tr!("jobs-none.hint"));
    }
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        for job in view.jobs {
            job_ui(ui, view, job, acts);
            ui.add_space(6.0);
        }
    });
}

fn job_ui(ui: &mut Ui, view: &View<'_>, job: &JobView, acts: &mut Vec<Act>) {
    let t = view.tokens;
    ui.horizontal(|ui| {
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let running = job.state != JobState::Cancelling;
            let name = tr!("jobs-cancel-name", job = &job.title);
            if ui.add_enabled(running, Button::new(tr!("jobs-cancel"))).accessible_name(name).clicked() {
                acts.push(Act::Cancel(job.id));
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.add(Label::new(RichText::new(&job.title).color(t.text)).truncate());
            });
        });
    });
    let progress = &job.progress;
    let share = if progress.total == 0 { 0.0 } else { progress.done as f32 / progress.total as f32 };
    ui.add(ProgressBar::new(share).desired_height(6.0).fill(t.accent));
    ui.add(Label::new(RichText::new(state_words(job)).color(t.muted).size(11.5)).truncate());
}

/// What a job does now, how far it is, and how long it will take.
fn state_words(job: &JobView) -> String {
    let progress = &job.progress;
    match job.state {
        JobState::Waiting => tr!("jobs-waiting").to_owned(),
        JobState::Cancelling => tr!("jobs-cancelling").to_owned(),
        JobState::Running => {
            let stage = if progress.label.is_empty() { tr!("jobs-starting") } else { &progress.label };
            let (done, total) = (progress.done.to_string(), progress.total.to_string());
            let stage = match progress.total {
                0 => stage.to_owned(),
                _ => tr!("jobs-stage", stage = stage, done = done, total = total),
            };
            match job.seconds_left {
                Some(left) => tr!("jobs-left", stage = stage, time = units::seconds(left)),
                None => stage,
            }
        }
    }
}

pub fn log_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    if view.log.is_empty() {
        return empty(ui, view.tokens, tr!("log-none"), tr!("log-none.hint"));
    }
    let t = view.tokens;
    ui.horizontal(|ui| {
        small(ui, t, tr!("log-lines", count = view.log.len()));
        if ui.small_button(tr!("log-clear")).clicked() {
            acts.push(Act::ClearLog);
        }
    });
    ScrollArea::vertical().auto_shrink([false, false]).stick_to_bottom(true).show_rows(ui, 20.0, view.log.len(), |ui, rows| {
        for line in view.log.iter().skip(rows.start).take(rows.len()) {
            ui.horizontal(|ui| {
                let (shape, color, words) = match line.level {
                    Level::Info => (Icon::Info, t.muted, tr!("log-information")),
                    Level::Good => (Icon::Check, t.good, tr!("log-done")),
                    Level::Warning => (Icon::Warning, t.warn, tr!("log-warning")),
                    Level::Bad => (Icon::Cross, t.bad, tr!("log-failed")),
                };
                icon(ui, shape, color, words);
                let is_layer = view.bench.is_some_and(|b| b.layer_named(&line.subject).is_some());
                if is_layer && ui.link(&line.subject).on_hover_text(tr!("log-show")).clicked() {
                    acts.push(Act::Jump(line.subject.clone()));
                }
                let text = if is_layer || line.subject.is_empty() {
                    line.message.clone()
                } else {
                    tr!("log-line", subject = &line.subject, message = &line.message)
                };
                ui.add(Label::new(RichText::new(&text).color(t.text).size(12.0)).truncate()).on_hover_text(text);
            });
        }
    });
}
