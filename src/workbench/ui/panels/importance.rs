//! What the weights and channels of the inspected layer count, and the threshold below which they go.

use crate::engine::units;
use crate::pipeline::configure::{Allocation, ChannelCut, ChannelScore, LayerPlan, Saliency, Sparsity};
use crate::workbench::importance::{Importances, Question};
use crate::workbench::project::{Change, Edit};
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::{Bench, Point};
use crate::workbench::ui::plots::threshold_ui;
use crate::workbench::ui::tasks;
use crate::workbench::ui::view::View;
use crate::workbench::ui::widgets::{combo, empty, section, small};
use eframe::egui::{Label, RichText, ScrollArea, Ui};

pub fn importance_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let selected = view.bench.and_then(|b| Some((b, b.selection.primary()?)));
    let Some((bench, plan, index)) = selected.and_then(|(b, index)| Some((b, b.layer_plan(index)?, index))) else {
        return empty(ui, view.tokens, "No layer is selected", "Click a layer in the table to see what its weights count.");
    };
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        ui.add(Label::new(RichText::new(&plan.layer.name).color(view.tokens.text).size(16.0).strong()).truncate());
        question_ui(ui, view, acts);
        answer_ui(ui, view, bench, plan, index, acts);
        section(ui, view.tokens, "What goes");
        small(ui, view.tokens, format!("Weights: {}", plan.wanted.sparsity));
        small(ui, view.tokens, format!("Channels: {}", plan.wanted.channels));
        if let Some(note) = plan.note.as_ref().or(plan.refusal.as_ref()) {
            ui.add(Label::new(RichText::new(note).color(view.tokens.muted).size(11.5)).wrap());
        }
    });
}

fn question_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let present = view.session.question;
    ui.horizontal(|ui| {
        let first = [Question::Weights(Saliency::default()), Question::Channels(ChannelScore::default())];
        for (question, name) in first.into_iter().zip(["Weights", "Channels"]) {
            let chosen = std::mem::discriminant(&question) == std::mem::discriminant(&present);
            if ui.selectable_label(chosen, name).clicked() && !chosen {
                acts.push(Act::Ask(question));
            }
        }
        small(ui, view.tokens, "by");
        let choices: Vec<(Question, String)> = match present {
            Question::Weights(_) => Saliency::ALL.map(Question::Weights).map(named).to_vec(),
            Question::Channels(_) => ChannelScore::ALL.map(Question::Channels).map(named).to_vec(),
        };
        if let Some(question) = combo(ui, "What makes it important".to_owned(), 170.0, present, present.name(), &choices) {
            acts.push(Act::Ask(question));
        }
    });
}

fn named(question: Question) -> (Question, String) {
    (question, question.name().to_owned())
}

fn answer_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, plan: &LayerPlan, index: usize, acts: &mut Vec<Act>) {
    let question = view.session.question;
    ui.add_space(4.0);
    let answered = bench.importance.as_ref().filter(|a| (a.layer, a.question) == (index, question));
    match answered.map(|a| &a.answer) {
        Some(Ok(found)) => found_ui(ui, view, bench, plan, found, acts),
        Some(Err(why)) => drop(ui.add(Label::new(RichText::new(why).color(view.tokens.muted)).wrap())),
        None if view.job_of(tasks::IMPORTANCE).is_some() => drop(small(ui, view.tokens, "Being found out…")),
        // What takes the network to run is done when it is asked for.
        None if question.needs_data() => {
            if ui.button("Find out").on_hover_text("Runs the network on the calibration data").clicked() {
                acts.push(Act::MeasureImportance);
            }
        }
        None => acts.push(Act::MeasureImportance),
    }
}

fn found_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, plan: &LayerPlan, found: &Importances, acts: &mut Vec<Act>) {
    let pattern = !matches!(plan.wanted.sparsity, Sparsity::Dense | Sparsity::Fraction(_) | Sparsity::Threshold(_));
    let is_other = match view.session.question {
        Question::Weights(saliency) => pattern || (plan.wanted.sparsity != Sparsity::Dense && saliency != plan.wanted.saliency),
        Question::Channels(by) => matches!(plan.wanted.channels, ChannelCut::Share { by: own, .. } if own != by),
    };
    let present = match view.session.question {
        _ if is_other => 0.0,
        Question::Weights(_) => match plan.wanted.sparsity {
            Sparsity::Fraction(share) => share,
            Sparsity::Threshold(threshold) => {
                found.sorted.partition_point(|s| *s < f64::from(threshold)) as f32 / found.sorted.len().max(1) as f32
            }
            other => (1.0 - other.density()) as f32,
        },
        Question::Channels(_) => plan.wanted.channels.share(),
    };
    if let Some(share) = threshold_ui(ui, view.tokens, &found.sorted, present, 132.0) {
        acts.push(Act::Drag(edit(view.session.question, bench, found, share)));
    }
    let count = found.sorted.len();
    let goes = (present * count as f32).round() as usize;
    let what = if matches!(view.session.question, Question::Weights(_)) { "weights" } else { "channels" };
    let mut words = if is_other {
        format!("What goes is chosen otherwise ({}, {}): drag to choose by this.", plan.wanted.sparsity, plan.wanted.channels)
    } else {
        format!("{} of {} {what} lie below the threshold and go.", units::count(goes as u64), units::count(count as u64))
    };
    if view.session.question == Question::Weights(Saliency::Inputs) {
        words += " They are compared within each output channel; the line is that of all together.";
    }
    if found.layers.len() > 1 {
        words += &format!(" They belong to {} layers, which lose them together.", found.layers.len());
    }
    let allocation = bench.active().map_or(Allocation::Uniform, |p: &Point| p.recipe.allocation);
    if allocation != Allocation::Uniform && what == "weights" {
        words += " The recipe shares out what is pruned over all layers: this one's share is another in the end.";
    }
    ui.add(Label::new(RichText::new(words).color(view.tokens.muted).size(11.5)).wrap());
}

/// What it takes so that `share` of what was asked about goes.
fn edit(question: Question, bench: &Bench, found: &Importances, share: f32) -> Edit {
    let change = match question {
        Question::Weights(saliency) => {
            let sparsity = if share > 0.0 { Sparsity::Fraction(share) } else { Sparsity::Dense };
            Change { sparsity: Some(sparsity), saliency: Some(saliency), ..Change::default() }
        }
        Question::Channels(by) => {
            let cut = if share > 0.0 { ChannelCut::Share { share, by, multiple: 1 } } else { ChannelCut::None };
            Change { channels: Some(cut), ..Change::default() }
        }
    };
    let layers = found.layers.iter().filter_map(|l| bench.layers().get(*l)).map(|l| l.name.clone()).collect();
    Edit::Treat { layers, change }
}
