//! What runs: progress, time left, cancel. And the log.

use crate::engine::units;
use crate::workbench::jobs::{JobState, JobView};
use crate::workbench::ui::act::Act;
use crate::workbench::ui::view::{Level, View};
use crate::workbench::ui::widgets::{Icon, empty, icon, small};
use eframe::egui::{Align, Button, Label, Layout, ProgressBar, RichText, ScrollArea, Ui};

pub fn jobs_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    if view.jobs.is_empty() {
        return empty(ui, view.tokens, "Nothing runs", "F5 evaluates the active recipe.");
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
            if ui.add_enabled(running, Button::new("Cancel")).accessible_name(format!("Cancel {}", job.title)).clicked() {
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
    let state = match job.state {
        JobState::Waiting => "Waiting for its turn".to_owned(),
        JobState::Cancelling => "Cancelling…".to_owned(),
        JobState::Running => {
            let count = if progress.total > 0 { format!(", {} of {}", progress.done, progress.total) } else { String::new() };
            let left = job.seconds_left.map_or(String::new(), |s| format!(", {} left", units::seconds(s)));
            format!("{}{count}{left}", if progress.label.is_empty() { "Starting" } else { &progress.label })
        }
    };
    ui.add(Label::new(RichText::new(state).color(t.muted).size(11.5)).truncate());
}

pub fn log_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    if view.log.is_empty() {
        return empty(ui, view.tokens, "Nothing to report", "Warnings and results are listed here.");
    }
    let t = view.tokens;
    ui.horizontal(|ui| {
        small(ui, t, format!("{} lines", view.log.len()));
        if ui.small_button("Clear").clicked() {
            acts.push(Act::ClearLog);
        }
    });
    ScrollArea::vertical().auto_shrink([false, false]).stick_to_bottom(true).show_rows(ui, 20.0, view.log.len(), |ui, rows| {
        for line in view.log.iter().skip(rows.start).take(rows.len()) {
            ui.horizontal(|ui| {
                let (shape, color, words) = match line.level {
                    Level::Info => (Icon::Info, t.muted, "Information"),
                    Level::Good => (Icon::Check, t.good, "Done"),
                    Level::Warning => (Icon::Warning, t.warn, "Warning"),
                    Level::Bad => (Icon::Cross, t.bad, "Failed"),
                };
                icon(ui, shape, color, words);
                let is_layer = view.bench.is_some_and(|b| b.layer_named(&line.subject).is_some());
                if is_layer && ui.link(&line.subject).on_hover_text("Show this layer").clicked() {
                    acts.push(Act::Jump(line.subject.clone()));
                }
                let text = if is_layer || line.subject.is_empty() {
                    line.message.clone()
                } else {
                    format!("{}: {}", line.subject, line.message)
                };
                ui.add(Label::new(RichText::new(&text).color(t.text).size(12.0)).truncate()).on_hover_text(text);
            });
        }
    });
}
