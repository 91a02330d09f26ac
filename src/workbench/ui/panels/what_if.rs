//! What if: error and bytes of the inspected layer at other widths and in other formats.

use crate::engine::units;
use crate::pipeline::configure::{LayerPlan, Offer, Scheme, WIDTHS};
use crate::workbench::project::{Change, Edit};
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::Bench;
use crate::workbench::ui::plots::{Choice, Curve, what_if_plot};
use crate::workbench::ui::scores::{at_width, with_scheme};
use crate::workbench::ui::terms;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::{View, bytes_as, decibels};
use crate::workbench::ui::widgets::{bar, section, small};
use eframe::egui::{Grid, Ui, vec2};

/// Wider formats lie beyond the chart: their error cannot be told from none.
const WIDEST: f64 = 10.0;
const HEIGHT: f32 = 190.0;

pub fn what_if_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, index: usize, plan: &LayerPlan, acts: &mut Vec<Act>) {
    section(ui, view.tokens, tr!("what-if"));
    let set = |scheme: Scheme| {
        let change = Change { weights: Some(scheme), ..Change::default() };
        Act::Edit(Edit::Treat { layers: bench.targets(index), change })
    };
    let curves = curves(bench, index, plan);
    if let Some(scheme) = what_if_plot(ui, view.tokens, &curves, HEIGHT, |choice| words(plan, choice)) {
        acts.push(set(scheme));
    }
    ui.add_space(4.0);
    widths_ui(ui, view, bench, index, plan, |bits| acts.push(set(plan.wanted.weights.with_bits(bits))));
}

/// A curve for every family, of the schemes that were scored.
fn curves(bench: &Bench, index: usize, plan: &LayerPlan) -> Vec<Curve> {
    let offers: Vec<&Offer> = bench.offers.fitting.iter().filter(|o| o.bits_per_weight <= WIDEST).collect();
    let groups = offers.chunk_by(|a, b| a.family == b.family);
    let curve = |group: &[&Offer]| {
        let mut choices: Vec<Choice> = group.iter().filter_map(|o| choice(bench, index, plan, o)).collect();
        choices.sort_by(|a, b| a.bits.total_cmp(&b.bits));
        Some(Curve { name: terms::short_family(group.first()?.family), choices })
    };
    groups.filter_map(curve).filter(|curve| !curve.choices.is_empty()).collect()
}

fn choice(bench: &Bench, index: usize, plan: &LayerPlan, offer: &Offer) -> Option<Choice> {
    let sqnr_db = bench.scores.get(index, &with_scheme(&plan.treatment, offer.scheme))?.sqnr_db;
    let (bits, scheme) = (offer.bits_per_weight, offer.scheme);
    sqnr_db.is_finite().then_some(Choice { bits, sqnr_db, present: plan.treatment.weights == scheme, scheme })
}

/// What is said of a choice when the pointer is on it.
fn words(plan: &LayerPlan, choice: &Choice) -> String {
    tr!(
        "what-if-choice",
        scheme = choice.scheme.to_string(),
        bits = format!("{:.2}", choice.bits),
        bytes = units::bytes(bytes_as(&plan.layer, choice.scheme)),
        error = decibels(choice.sqnr_db)
    )
}

/// Error and bytes of the present scheme over its width: a chart and its table in one.
fn widths_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, index: usize, plan: &LayerPlan, mut set: impl FnMut(u8)) {
    let t = view.tokens;
    let third = (ui.available_width() - 60.0) * 0.5 - 8.0;
    Grid::new("what if").num_columns(3).spacing([8.0, 1.0]).show(ui, |ui| {
        small(ui, t, tr!("what-if-bits-title"));
        small(ui, t, tr!("what-if-sqnr"));
        small(ui, t, tr!("what-if-bytes"));
        ui.end_row();
        for bits in WIDTHS {
            let treatment = at_width(&plan.treatment, bits);
            let chosen = plan.treatment.weights.bits() == bits;
            let response = ui.selectable_label(chosen, tr!("what-if-bits", count = bits));
            if response.on_hover_text(tr!("what-if-bits.tooltip")).clicked() {
                set(bits);
            }
            let score = bench.scores.get(index, &treatment);
            let (share, text, ground) = match score {
                Some(s) if s.sqnr_db.is_finite() => ((s.sqnr_db / 50.0) as f32, format!("{:.1}", s.sqnr_db), t.bar),
                Some(_) => (1.0, tr!("what-if-exact").to_owned(), t.bar),
                None => (0.0, "…".to_owned(), t.bar),
            };
            cell_ui(ui, third, |ui| drop(bar(ui, share, &text, ground, t.text)));
            let bytes = bytes_as(&plan.layer, treatment.weights);
            let share = bytes as f32 / plan.original_bytes.max(1) as f32;
            cell_ui(ui, third, |ui| drop(bar(ui, share, &units::bytes(bytes), t.bar, t.text)));
            ui.end_row();
        }
    });
}

fn cell_ui(ui: &mut Ui, width: f32, add: impl FnOnce(&mut Ui)) {
    ui.allocate_ui(vec2(width, 20.0), |ui| {
        ui.set_min_width(width);
        add(ui);
    });
}
