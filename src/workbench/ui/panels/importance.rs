//! What the weights and channels of the inspected layer count, and the threshold below which they go.

use crate::engine::units;
use crate::pipeline::configure::{Allocation, ChannelCut, ChannelScore, LayerPlan, Saliency, Sparsity};
use crate::workbench::importance::{Importances, Question};
use crate::workbench::project::{Change, Edit};
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::{Bench, Point};
use crate::workbench::ui::plots::threshold_ui;
use crate::workbench::ui::tasks;
use crate::workbench::ui::terms;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::View;
use crate::workbench::ui::widgets::{combo, empty, section, small};
use eframe::egui::{Label, RichText, ScrollArea, Ui};

pub fn importance_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let selected = view.bench.and_then(|b| Some((b, b.selection.primary()?)));
    let Some((bench, plan, index)) = selected.and_then(|(b, index)| Some((b, b.layer_plan(index)?, index))) else {
        return empty(ui, view.tokens, tr!("configure-no-layer"), tr!("configure-no-layer.importance"));
    };
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        ui.add(Label::new(RichText::new(&plan.layer.name).color(view.tokens.text).size(16.0).strong()).truncate());
        question_ui(ui, view, acts);
        answer_ui(ui, view, bench, plan, index, acts);
        section(ui, view.tokens, tr!("importance-what-goes"));
        small(ui, view.tokens, tr!("importance-weights-go", sparsity = plan.wanted.sparsity.to_string()));
        small(ui, view.tokens, tr!("importance-channels-go", cut = plan.wanted.channels.to_string()));
        if let Some(note) = plan.note.as_ref().or(plan.refusal.as_ref()) {
            ui.add(Label::new(RichText::new(note).color(view.tokens.muted).size(11.5)).wrap());
        }
    });
}

fn question_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let present = view.session.question;
    ui.horizontal(|ui| {
        let first = [Question::Weights(Saliency::default()), Question::Channels(ChannelScore::default())];
        for (question, name) in first.into_iter().zip([tr!("importance-weights"), tr!("importance-channels")]) {
            let chosen = std::mem::discriminant(&question) == std::mem::discriminant(&present);
            if ui.selectable_label(chosen, name).clicked() && !chosen {
                acts.push(Act::Ask(question));
            }
        }
        small(ui, view.tokens, tr!("importance-by"));
        let choices = || match present {
            Question::Weights(_) => Saliency::ALL.map(Question::Weights).map(in_words).to_vec(),
            Question::Channels(_) => ChannelScore::ALL.map(Question::Channels).map(in_words).to_vec(),
        };
        let name = || tr!("importance-question").to_owned();
        if let Some(question) = combo(ui, (), name, 170.0, present, terms::question(present), choices) {
            acts.push(Act::Ask(question));
        }
    });
}

fn in_words(question: Question) -> (Question, &'static str) {
    (question, terms::question(question))
}

fn answer_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, plan: &LayerPlan, index: usize, acts: &mut Vec<Act>) {
    let question = view.session.question;
    ui.add_space(4.0);
    let answered = bench.importance.as_ref().filter(|a| (a.layer, a.question) == (index, question));
    match answered.map(|a| &a.answer) {
        Some(Ok(found)) => found_ui(ui, view, bench, plan, found, acts),
        Some(Err(why)) => drop(ui.add(Label::new(RichText::new(why).color(view.tokens.muted)).wrap())),
        None if view.job_of(tasks::IMPORTANCE).is_some() => drop(small(ui, view.tokens, tr!("importance-running"))),
        // What takes the network to run is done when it is asked for.
        None if question.needs_data() => {
            if ui.button(tr!("importance-find-out")).on_hover_text(tr!("importance-find-out.tooltip")).clicked() {
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
    let words = said(view, bench, plan, found, (!is_other).then_some(present));
    ui.add(Label::new(RichText::new(words).color(view.tokens.muted).size(11.5)).wrap());
}

/// In words: the share that goes (`None`: it is chosen by something else), and what else is to be known.
fn said(view: &View<'_>, bench: &Bench, plan: &LayerPlan, found: &Importances, share: Option<f32>) -> String {
    let question = view.session.question;
    let of_weights = matches!(question, Question::Weights(_));
    let mut sentences = vec![match share {
        None => {
            let wanted = &plan.wanted;
            tr!("importance-otherwise", sparsity = wanted.sparsity.to_string(), cut = wanted.channels.to_string())
        }
        Some(share) => {
            let all = found.sorted.len();
            let (below, count) = (units::count((share * all as f32).round() as u64), units::count(all as u64));
            if of_weights {
                tr!("importance-weights-below", below = below, count = count)
            } else {
                tr!("importance-channels-below", below = below, count = count)
            }
        }
    }];
    if question == Question::Weights(Saliency::Inputs) {
        sentences.push(tr!("importance-within-channels").to_owned());
    }
    if found.layers.len() > 1 {
        sentences.push(tr!("importance-tied", count = found.layers.len()));
    }
    let allocation = bench.active().map_or(Allocation::Uniform, |p: &Point| p.recipe.allocation);
    if allocation != Allocation::Uniform && of_weights {
        sentences.push(tr!("importance-shared-out").to_owned());
    }
    sentences.join(tr!("configure-between-sentences"))
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
