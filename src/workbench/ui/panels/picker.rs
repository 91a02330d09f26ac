//! The schemes that fit a layer, with what each costs.

use crate::engine::units;
use crate::pipeline::configure::{LayerPlan, Offer, Offers, Scheme};
use crate::workbench::ui::bench::Bench;
use crate::workbench::ui::scores::{Score, with_scheme};
use crate::workbench::ui::terms;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::{View, bytes_as, decibels};
use crate::workbench::ui::widgets::{heading, hinted, named, small};
use eframe::egui::{
    Align2, Button, FontId, Popup, PopupCloseBehavior, Rect, Response, RichText, Role, ScrollArea, Sense, Ui, WidgetInfo, pos2,
    vec2,
};

const ROW: f32 = 20.0;
/// Of the name, then of bits, bytes and error, which end at the right.
const COLUMNS: [f32; 4] = [262.0, 66.0, 78.0, 74.0];

/// What the picker was asked for.
pub enum Picked {
    /// It was opened: the layer's offers are to be scored.
    Opened,
    Scheme(Scheme),
}

/// A button that shows the present scheme as `text` and opens the picker.
pub fn scheme_button(ui: &mut Ui, view: &View<'_>, bench: &Bench, index: usize, plan: &LayerPlan, text: &str) -> Option<Picked> {
    let present = plan.wanted.weights;
    let button = Button::new(RichText::new(text).size(12.0)).truncate().min_size(vec2(ui.available_width(), 0.0));
    let response = hinted(ui.add(button), || tr!("picker-scheme", scheme = present.to_string()));
    let response = named(response, || tr!("picker-scheme-of", layer = &plan.layer.name));
    let mut picked = response.clicked().then_some(Picked::Opened);
    let popup = Popup::from_toggle_button_response(&response).close_behavior(PopupCloseBehavior::CloseOnClickOutside);
    let width = COLUMNS.iter().sum::<f32>();
    popup.width(width + 24.0).show(|ui| {
        ui.set_width(width + 12.0);
        if let Some(scheme) = menu_ui(ui, view, bench, index, plan) {
            picked = Some(Picked::Scheme(scheme));
            ui.close();
        }
    });
    picked
}

fn menu_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, index: usize, plan: &LayerPlan) -> Option<Scheme> {
    let targets = bench.targets(index).len();
    let name = &plan.layer.name;
    let title =
        if targets > 1 { tr!("picker-for-layers", count = targets, layer = name) } else { tr!("picker-for", layer = name) };
    small(ui, view.tokens, title);
    header_ui(ui, view);
    // Offers are of the inspected layer, which this one becomes with the click that opens the menu.
    let none = Offers::default();
    let Offers { fitting, refused } = if bench.selection.primary() == Some(index) { &bench.offers } else { &none };
    let mut chosen = None;
    ScrollArea::vertical().max_height(400.0).auto_shrink([false, true]).show(ui, |ui| {
        ui.spacing_mut().item_spacing.y = 0.0;
        for family in fitting.chunk_by(|a, b| a.family == b.family) {
            ui.add_space(6.0);
            heading(ui, view.tokens, family.first().map_or("", |offer| terms::family(offer.family)));
            for offer in family {
                let score = bench.scores.get(index, &with_scheme(&plan.treatment, offer.scheme));
                if offer_ui(ui, view, plan, offer, score).clicked() {
                    chosen = Some(offer.scheme);
                }
            }
        }
    });
    if !refused.is_empty() {
        ui.separator();
        let reasons: Vec<String> = refused.iter().map(|(scheme, reason)| format!("{scheme}: {reason}")).collect();
        small(ui, view.tokens, tr!("picker-refused", count = refused.len())).on_hover_text(reasons.join("\n"));
    }
    chosen
}

fn header_ui(ui: &mut Ui, view: &View<'_>) {
    let (rect, _) = ui.allocate_exact_size(vec2(COLUMNS.iter().sum(), 16.0), Sense::hover());
    let font = FontId::proportional(11.0);
    let titles = [tr!("picker-scheme-title"), tr!("picker-bits"), tr!("picker-bytes"), tr!("picker-sqnr")];
    for (column, title) in titles.into_iter().enumerate() {
        let (at, align) = place(rect, column);
        ui.painter().text(at, align, title, font.clone(), view.tokens.muted);
    }
}

/// Where a column's text is anchored: names at the left, numbers at the right.
fn place(row: Rect, column: usize) -> (eframe::egui::Pos2, Align2) {
    match column {
        0 => (pos2(row.left() + 6.0, row.center().y), Align2::LEFT_CENTER),
        _ => (pos2(row.left() + COLUMNS[..=column.min(3)].iter().sum::<f32>() - 6.0, row.center().y), Align2::RIGHT_CENTER),
    }
}

fn offer_ui(ui: &mut Ui, view: &View<'_>, plan: &LayerPlan, offer: &Offer, score: Option<Score>) -> Response {
    let t = view.tokens;
    let (rect, response) = ui.allocate_exact_size(vec2(COLUMNS.iter().sum(), ROW), Sense::click());
    let bytes = bytes_as(&plan.layer, offer.scheme);
    let chosen = plan.wanted.weights == offer.scheme;
    let error = score.map_or_else(|| "…".to_owned(), |s| decibels(s.sqnr_db));
    let cells = [offer.scheme.to_string(), format!("{:.2}", offer.bits_per_weight), units::bytes(bytes), error];
    let words = tr!("picker-offer", scheme = &cells[0], bits = &cells[1], bytes = &cells[2], error = &cells[3]);
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, chosen, &words));
    if !ui.is_rect_visible(rect) {
        return response;
    }
    if chosen || response.hovered() {
        let ground = if chosen { ui.visuals().selection.bg_fill } else { t.hover };
        ui.painter().rect_filled(rect, 3.0, ground);
    }
    for (column, text) in cells.into_iter().enumerate() {
        let (at, align) = place(rect, column);
        let color = if column == 0 || chosen { t.text } else { t.muted };
        ui.painter().text(at, align, text, FontId::proportional(12.0), color);
    }
    if let Some(score) = score {
        let left = rect.left() + COLUMNS[..3].iter().sum::<f32>();
        let swatch = Rect::from_center_size(pos2(left + 4.0, rect.center().y), vec2(8.0, 8.0));
        ui.painter().rect_filled(swatch, 2.0, t.error_at(score.sqnr_db));
    }
    let own = (offer.bits_per_weight * plan.layer.parameters() as f64 / 8.0).round() as u64;
    let tip = if own < bytes { tr!("picker-packed", offer = words, bytes = units::bytes(own)) } else { words };
    response.on_hover_text(tip)
}
