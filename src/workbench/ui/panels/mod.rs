//! The panels. Each draws what it sees and asks for what it wants.

mod activations;
mod columns;
pub mod compare;
mod confusion;
mod corrections;
mod export;
mod graph;
pub mod grid;
mod importance;
mod inspector;
mod jobs;
mod load;
mod picker;
mod preflight;
mod recipe;
mod runtimes;
mod settings;
mod top;
mod tradeoff;
mod weights;
mod what_if;

pub use top::{rail_ui, top_ui};

use super::act::Act;
use super::layout::Pane;
use super::view::View;
use eframe::egui::{Frame, Margin, Ui};

/// Draws a panel.
pub fn pane_ui(ui: &mut Ui, pane: Pane, view: &View<'_>, acts: &mut Vec<Act>) {
    Frame::new().fill(view.tokens.panel).inner_margin(Margin { left: 8, right: 8, top: 6, bottom: 4 }).show(ui, |ui| {
        ui.set_min_size(ui.available_size());
        match pane {
            Pane::Model => load::model_ui(ui, view, acts),
            Pane::Data => load::data_ui(ui, view, acts),
            Pane::Grid => grid::grid_ui(ui, view, acts),
            Pane::Inspector => inspector::inspector_ui(ui, view, acts),
            Pane::Corrections => corrections::corrections_ui(ui, view, acts),
            Pane::Importance => importance::importance_ui(ui, view, acts),
            Pane::Recipe => recipe::recipe_ui(ui, view, acts),
            Pane::Weights => weights::weights_ui(ui, view, acts),
            Pane::Activations => activations::activations_ui(ui, view, acts),
            Pane::Preflight => preflight::preflight_ui(ui, view, acts),
            Pane::Tradeoff => tradeoff::tradeoff_ui(ui, view, acts),
            Pane::Points => tradeoff::points_ui(ui, view, acts),
            Pane::Jobs => jobs::jobs_ui(ui, view, acts),
            Pane::Log => jobs::log_ui(ui, view, acts),
            Pane::Recipes => compare::recipes_ui(ui, view, acts),
            Pane::LayerErrors => compare::layers_ui(ui, view, acts),
            Pane::Changed => compare::changed_ui(ui, view, acts),
            Pane::Confusion => confusion::confusion_ui(ui, view, acts),
            Pane::Export => export::export_ui(ui, view, acts),
            Pane::Checks => export::checks_ui(ui, view, acts),
            Pane::Graph => graph::graph_ui(ui, view, acts),
            Pane::Runtimes => runtimes::runtimes_ui(ui, view, acts),
        }
    });
}
