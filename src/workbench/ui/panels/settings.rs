//! The cells of the grid that edit: scheme, bits, scales, pruned, inputs, correction.

use super::columns::Shown;
use super::picker::{Picked, scheme_button};
use crate::pipeline::configure::{
    Activations, Correction, CorrectionLevel, FloatFormat, Granularity, LayerPlan, Scheme, Sparsity,
};
use crate::workbench::project::{Change, Edit};
use crate::workbench::ui::act::{Act, Pick};
use crate::workbench::ui::bench::Bench;
use crate::workbench::ui::terms;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::View;
use crate::workbench::ui::widgets::{combo, named, small};
use eframe::egui::{DragValue, Ui};
use egui_extras::TableRow;

/// The columns that edit: scheme, bits, scales, and where there is room pruned, inputs, correction.
pub fn settings_ui(
    row: &mut TableRow<'_, '_>,
    view: &View<'_>,
    bench: &Bench,
    index: usize,
    plan: &LayerPlan,
    shown: Shown,
    acts: &mut Vec<Act>,
) {
    let layer = &plan.layer.name;
    let treat = |change: Change| Edit::Treat { layers: bench.targets(index), change };
    let weights = |scheme: Scheme| Change { weights: Some(scheme), ..Change::default() };
    let wanted = plan.wanted.weights;
    row.col(|ui| match scheme_button(ui, view, bench, index, plan, &scheme_word(wanted)) {
        Some(Picked::Scheme(scheme)) => acts.push(Act::Edit(treat(weights(scheme)))),
        // Its offers are those of the inspected layer.
        Some(Picked::Opened) if !bench.selection.contains(index) => acts.push(Act::Select { layer: index, how: Pick::Only }),
        Some(Picked::Opened) | None => {}
    });
    row.col(|ui| {
        if let Some(bits) = bits_ui(ui, view, layer, wanted) {
            acts.push(Act::Drag(treat(weights(wanted.with_bits(bits)))));
        }
    });
    row.col(|ui| {
        if let Some(scheme) = scales_ui(ui, view, layer, wanted) {
            acts.push(Act::Edit(treat(weights(scheme))));
        }
    });
    if shown.pruned {
        row.col(|ui| {
            if let Some(sparsity) = pruned_ui(ui, layer, plan.wanted.sparsity) {
                acts.push(Act::Drag(treat(Change { sparsity: Some(sparsity), ..Change::default() })));
            }
        });
    }
    if shown.inputs {
        row.col(|ui| {
            if let Some(activations) = inputs_ui(ui, layer, plan.wanted.activations) {
                acts.push(Act::Edit(treat(Change { activations: Some(activations), ..Change::default() })));
            }
        });
    }
    if shown.correction {
        row.col(|ui| {
            if let Some(correction) = correction_ui(ui, plan) {
                acts.push(Act::Edit(treat(Change { correction: Some(correction), ..Change::default() })));
            }
        });
    }
}

/// The level of correction; one of a recipe's own making is called so.
pub fn correction_ui(ui: &mut Ui, plan: &LayerPlan) -> Option<Correction> {
    let present = plan.wanted.correction;
    let level = CorrectionLevel::of(present);
    let choices = || CorrectionLevel::ALL.map(|l| (Some(l), terms::level(l)));
    let name = || tr!("grid-correction-of", layer = &plan.layer.name);
    let width = ui.available_width().min(78.0);
    let chosen =
        combo(ui, &plan.layer.name, name, width, level, level.map_or(tr!("grid-own-correction"), terms::level), choices)?;
    Some(chosen?.correction(plan.wanted.sparsity != Sparsity::Dense))
}

/// A word for a column that stands beside those of bits and scales.
fn scheme_word(scheme: Scheme) -> String {
    match scheme {
        Scheme::Float(FloatFormat::F32) => "fp32".to_owned(),
        Scheme::Float(FloatFormat::F16) => "fp16".to_owned(),
        Scheme::Integer { symmetric: true, .. } => "int".to_owned(),
        Scheme::Integer { .. } => "uint".to_owned(),
        other => other.to_string(),
    }
}

fn bits_ui(ui: &mut Ui, view: &View<'_>, layer: &str, present: Scheme) -> Option<u8> {
    // What has no other widths, or one beyond the slider, is shown as it is.
    if present.granularity().is_none() || !(2..=8).contains(&present.bits()) {
        small(ui, view.tokens, present.bits().to_string());
        return None;
    }
    let mut bits = present.bits();
    let response = ui.add(DragValue::new(&mut bits).range(2..=8).speed(0.04));
    let response = named(response, || tr!("grid-bits-of", layer = layer));
    (response.changed() && bits != present.bits()).then_some(bits)
}

fn scales_ui(ui: &mut Ui, view: &View<'_>, layer: &str, present: Scheme) -> Option<Scheme> {
    let Some(granularity) = present.granularity() else {
        small(ui, view.tokens, if present == Scheme::F32 { tr!("scales-none") } else { tr!("scales-own") });
        return None;
    };
    let text = match granularity {
        Granularity::Tensor => tr!("scales-tensor").to_owned(),
        Granularity::Channel => tr!("scales-channel").to_owned(),
        Granularity::Group(_) | Granularity::Block { .. } => granularity.to_string(),
    };
    let choices = || {
        let whole = [
            (Granularity::Tensor, tr!("scales-per-tensor").to_owned()),
            (Granularity::Channel, tr!("scales-per-channel").to_owned()),
        ];
        let groups = [16, 32, 64, 128].map(|size| (Granularity::Group(size), tr!("scales-per-group", size = size)));
        whole.into_iter().chain(groups)
    };
    let chosen = combo(ui, layer, || tr!("grid-scales-of", layer = layer), 66.0, granularity, &text, choices)?;
    Some(present.with_granularity(chosen))
}

fn pruned_ui(ui: &mut Ui, layer: &str, present: Sparsity) -> Option<Sparsity> {
    let mut percent = match present {
        Sparsity::Fraction(f) => f * 100.0,
        other => (1.0 - other.density()) as f32 * 100.0,
    };
    let mut drag = DragValue::new(&mut percent).range(0.0..=95.0).speed(0.5).max_decimals(0).suffix(" %");
    if let Sparsity::Threshold(t) = present {
        drag = drag.custom_formatter(move |_, _| format!("<{t}"));
    }
    let response = named(ui.add(drag), || tr!("grid-pruned-of", layer = layer));
    response
        .changed()
        .then(|| if percent <= 0.0 { Sparsity::Dense } else { Sparsity::Fraction((percent / 100.0 * 200.0).round() / 200.0) })
}

fn inputs_ui(ui: &mut Ui, layer: &str, present: Activations) -> Option<Activations> {
    let text = match present {
        Activations::None => tr!("inputs-float"),
        Activations::Dynamic | Activations::DynamicWith { .. } => tr!("inputs-dynamic"),
        Activations::Static | Activations::StaticWith { .. } => tr!("inputs-static"),
    };
    let choices = || {
        let common = [
            (Activations::None, tr!("inputs-float.choice")),
            (Activations::Dynamic, tr!("inputs-dynamic.choice")),
            (Activations::Static, tr!("inputs-static.choice")),
        ];
        // What only a recipe's text can ask for is shown, and can be kept.
        let own = matches!(present, Activations::StaticWith { .. } | Activations::DynamicWith { .. });
        common.map(|(a, t)| (a, t.to_owned())).into_iter().chain(own.then(|| (present, present.to_string())))
    };
    combo(ui, layer, || tr!("grid-inputs-of", layer = layer), 62.0, present, text, choices)
}
