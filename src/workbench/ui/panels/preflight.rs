//! What is to be known before the active recipe is run.

use crate::engine::units;
use crate::workbench::preflight::{Finding, Weight};
use crate::workbench::ui::act::Act;
use crate::workbench::ui::commands::Command;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::View;
use crate::workbench::ui::widgets::{Icon, empty, icon, small};
use eframe::egui::{Label, RichText, ScrollArea, Ui};

pub fn preflight_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench else { return empty(ui, view.tokens, tr!("preflight-none"), tr!("needs-project")) };
    let active = &bench.document().active;
    let Some((_, found)) = bench.preflight.as_ref().filter(|(recipe, _)| recipe == active) else {
        return empty(ui, view.tokens, tr!("preflight-running"), "");
    };
    ui.horizontal(|ui| {
        view.button(ui, Command::Evaluate, acts);
        small(ui, view.tokens, tr!("preflight-of", recipe = active));
    });
    ui.add_space(2.0);
    ScrollArea::vertical().auto_shrink([false, false]).show_rows(ui, 20.0, found.len(), |ui, rows| {
        for finding in found.iter().skip(rows.start).take(rows.len()) {
            line_ui(ui, view, finding, acts);
        }
    });
}

fn line_ui(ui: &mut Ui, view: &View<'_>, finding: &Finding, acts: &mut Vec<Act>) {
    let t = view.tokens;
    let (shape, color, meaning) = match finding.weight() {
        Weight::Fact => (Icon::Check, t.good, tr!("preflight-fact")),
        Weight::Note => (Icon::Info, t.muted, tr!("preflight-note")),
        Weight::Warning => (Icon::Warning, t.warn, tr!("preflight-warning")),
        Weight::Stop => (Icon::Cross, t.bad, tr!("preflight-stop")),
    };
    ui.horizontal(|ui| {
        icon(ui, shape, color, meaning);
        if let Some(layer) = finding.layer()
            && ui.link(layer).on_hover_text(tr!("preflight-jump")).clicked()
        {
            acts.push(Act::Jump(layer.to_owned()));
        }
        let words = words(finding);
        ui.add(Label::new(RichText::new(&words).color(t.text).size(12.0)).truncate()).on_hover_text(words);
    });
}

fn words(finding: &Finding) -> String {
    let bytes = |b: &u64| units::bytes(*b);
    match finding {
        Finding::Unfit(why) => tr!("preflight-unfit", why = why),
        Finding::Unreadable(why) => tr!("preflight-unreadable", why = why),
        Finding::Refused { why, .. } => why.clone(),
        Finding::Noted { note, .. } => note.clone(),
        Finding::Samples { measured, calibrate: Some(calibrate) } => {
            tr!("preflight-samples", measured = *measured, calibrate = *calibrate)
        }
        Finding::Samples { measured, calibrate: None } => tr!("preflight-measured", measured = *measured),
        Finding::SameData => tr!("preflight-same-data").to_owned(),
        Finding::Unseen => tr!("preflight-unseen").to_owned(),
        Finding::Dead { dead, channels, .. } => tr!("preflight-dead", dead = *dead, channels = *channels),
        Finding::NotFinite { values, .. } => tr!("preflight-not-finite", values = *values),
        Finding::Memory { needed, free } => tr!("preflight-memory", needed = bytes(needed), free = bytes(free)),
        Finding::Disk { needed, free } => tr!("preflight-disk", needed = bytes(needed), free = bytes(free)),
        Finding::Time { seconds, recipe, samples } => {
            tr!("preflight-time", seconds = units::seconds(*seconds), recipe = recipe, samples = *samples)
        }
    }
}
