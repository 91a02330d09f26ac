//! What runtimes will do with the active recipe, before it is written.

use crate::pipeline::export::runtimes::{Runs, Runtime, Verdict};
use crate::workbench::ui::act::Act;
use crate::workbench::ui::exporting::RUNTIMES;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::View;
use crate::workbench::ui::widgets::{empty, small};
use eframe::egui::{CollapsingHeader, Color32, Label, Rect, RichText, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2, vec2};
use std::collections::BTreeMap;

/// Layers named of each remark.
const NAMED: usize = 3;

pub fn runtimes_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench.filter(|b| b.verdicts_for.is_some()) else {
        return empty(ui, view.tokens, tr!("runtimes-no-project"), tr!("runtimes-no-project.hint"));
    };
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        key_ui(ui, view);
        for (runtime, verdicts) in RUNTIMES.iter().zip(&bench.verdicts) {
            let target = bench.targets.iter().find(|t| t.format == runtime.file());
            match target.map(|t| &t.bytes) {
                Some(Err(why)) => impossible_ui(ui, view, runtime, why),
                _ => runtime_ui(ui, view, runtime, verdicts, acts),
            }
        }
        ui.add_space(4.0);
        small(ui, view.tokens, tr!("runtimes-source"));
    });
}

fn color(view: &View<'_>, runs: Runs) -> Color32 {
    match runs {
        Runs::Native => view.tokens.good,
        Runs::Falls => view.tokens.warn,
        Runs::Refused => view.tokens.bad,
    }
}

fn counted(runs: Runs, layers: usize) -> String {
    match runs {
        Runs::Native => tr!("runtimes-native-layers", count = layers),
        Runs::Falls => tr!("runtimes-falls-layers", count = layers),
        Runs::Refused => tr!("runtimes-refused-layers", count = layers),
    }
}

fn key_ui(ui: &mut Ui, view: &View<'_>) {
    ui.horizontal(|ui| {
        for (runs, words, tip) in [
            (Runs::Native, tr!("runtimes-native"), tr!("runtimes-native.tooltip")),
            (Runs::Falls, tr!("runtimes-falls"), tr!("runtimes-falls.tooltip")),
            (Runs::Refused, tr!("runtimes-refused"), tr!("runtimes-refused.tooltip")),
        ] {
            let (rect, _) = ui.allocate_exact_size(vec2(9.0, 9.0), Sense::hover());
            ui.painter().rect_filled(rect, 2.0, color(view, runs));
            small(ui, view.tokens, words).on_hover_text(tip);
        }
        small(ui, view.tokens, tr!("runtimes-by-layers"));
    });
}

fn runtime_ui(ui: &mut Ui, view: &View<'_>, runtime: &Runtime, verdicts: &[Verdict], acts: &mut Vec<Act>) {
    let of = |runs: Runs| verdicts.iter().filter(|v| v.runs == runs).count();
    let counts = [Runs::Native, Runs::Falls, Runs::Refused].map(|runs| (runs, of(runs)));
    let said: Vec<String> = counts.iter().filter(|(_, n)| *n > 0).map(|(runs, n)| counted(*runs, *n)).collect();
    let said = said.join(tr!("runtimes-list"));
    let title = tr!("runtimes-title", runtime = &runtime.title, file = runtime.file().name(), layers = said);
    bar_ui(ui, view, &counts, &title);
    let text = RichText::new(title).color(view.tokens.text).size(12.5);
    CollapsingHeader::new(text).id_salt(&runtime.name).show(ui, |ui| {
        let mut remarks: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
        for verdict in verdicts {
            for (why, source) in &verdict.remarks {
                remarks.entry((why, source)).or_default().push(&verdict.layer);
            }
        }
        if remarks.is_empty() {
            small(ui, view.tokens, tr!("runtimes-no-remarks"));
        }
        for ((why, source), layers) in remarks {
            ui.add(Label::new(RichText::new(why).color(view.tokens.text).size(12.0)).wrap());
            ui.horizontal_wrapped(|ui| {
                for layer in layers.iter().take(NAMED) {
                    if ui.link(RichText::new(*layer).size(11.5)).clicked() {
                        acts.push(Act::Jump((*layer).to_owned()));
                    }
                }
                if layers.len() > NAMED {
                    small(ui, view.tokens, tr!("runtimes-more", count = layers.len() - NAMED));
                }
                small(ui, view.tokens, source);
            });
            ui.add_space(4.0);
        }
    });
}

/// A runtime whose kind of file cannot hold the recipe.
fn impossible_ui(ui: &mut Ui, view: &View<'_>, runtime: &Runtime, why: &str) {
    let title = tr!("runtimes-impossible", runtime = &runtime.title, file = runtime.file().name());
    bar_ui(ui, view, &[(Runs::Refused, 1)], &title);
    let text = RichText::new(title).color(view.tokens.text).size(12.5);
    CollapsingHeader::new(text).id_salt(&runtime.name).show(ui, |ui| {
        ui.add(Label::new(RichText::new(why).color(view.tokens.text).size(12.0)).wrap());
    });
}

/// Layers by what becomes of them, as parts of a bar.
fn bar_ui(ui: &mut Ui, view: &View<'_>, counts: &[(Runs, usize)], title: &str) {
    let all: usize = counts.iter().map(|(_, n)| n).sum();
    ui.add_space(6.0);
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width().min(420.0), 6.0), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, title));
    let mut left = rect.left();
    for (runs, count) in counts.iter().filter(|(_, n)| *n > 0) {
        let right = left + rect.width() * *count as f32 / all.max(1) as f32;
        ui.painter().rect_filled(
            Rect::from_min_max(pos2(left, rect.top()), pos2(right - 1.0, rect.bottom())),
            1.0,
            color(view, *runs),
        );
        left = right;
    }
}
