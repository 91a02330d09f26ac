//! A cell of the heat map: layer × width, colored by its error. Pressed, it sets the layer; drawn
//! over, every layer that the pointer passes.

use crate::workbench::ui::theme::Tokens;
use eframe::egui::{Align2, FontId, Id, PointerButton, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo};

pub struct HeatCell<'a> {
    pub layer: &'a str,
    pub bits: u8,
    /// `None`: not scored yet.
    pub sqnr_db: Option<f64>,
    /// The present choice.
    pub chosen: bool,
}

fn painting_id() -> Id {
    Id::unique("heat map: the pointer paints")
}

/// Whether the pointer was pressed on a cell and is still held.
#[must_use]
pub fn painting(ui: &Ui) -> bool {
    ui.ctx().data(|d| d.get_temp::<bool>(painting_id())).unwrap_or(false)
}

/// Draws a cell. Whether the layer is to get its width now.
pub fn heat_cell(ui: &Ui, rect: Rect, id: Id, tokens: &Tokens, cell: &HeatCell<'_>) -> bool {
    let response = ui.interact(rect, id, Sense::click_and_drag());
    let text = match cell.sqnr_db {
        Some(db) => format!("{}, {} bits: {}", cell.layer, cell.bits, crate::workbench::ui::view::decibels(db)),
        None => format!("{}, {} bits: being scored", cell.layer, cell.bits),
    };
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, cell.chosen, &text));
    let (down, released, pointer) =
        ui.input(|i| (i.pointer.button_down(PointerButton::Primary), i.pointer.any_released(), i.pointer.interact_pos()));
    if response.is_pointer_button_down_on() && down && !painting(ui) {
        ui.ctx().data_mut(|d| d.insert_temp(painting_id(), true));
    }
    let under = pointer.is_some_and(|p| rect.contains(p) && ui.clip_rect().contains(p));
    let set = response.clicked() || (painting(ui) && down && under && !cell.chosen);
    if released {
        ui.ctx().data_mut(|d| d.insert_temp(painting_id(), false));
    }
    draw(ui, rect, tokens, cell, under);
    response.on_hover_text(text);
    set
}

fn draw(ui: &Ui, rect: Rect, tokens: &Tokens, cell: &HeatCell<'_>, hovered: bool) {
    let inner = rect.shrink(1.0);
    let painter = ui.painter();
    let ground = cell.sqnr_db.map_or(tokens.raised, |db| tokens.error_at(db));
    painter.rect_filled(inner, 2.0, ground);
    let words = match cell.sqnr_db {
        Some(db) if db == f64::INFINITY => "0".to_owned(),
        Some(db) => format!("{db:.0}"),
        None => "…".to_owned(),
    };
    painter.text(inner.center(), Align2::CENTER_CENTER, words, FontId::proportional(10.5), tokens.text_on(ground));
    if cell.chosen {
        painter.rect_stroke(inner, 2.0, Stroke::new(2.0, tokens.text), StrokeKind::Inside);
        painter.rect_stroke(inner.shrink(2.0), 1.0, Stroke::new(1.0, tokens.panel), StrokeKind::Inside);
    } else if hovered {
        painter.rect_stroke(inner, 2.0, Stroke::new(1.0, tokens.text), StrokeKind::Inside);
    }
}
