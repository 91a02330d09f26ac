//! A cell of the heat map: layer × width, colored by its error. Pressed, it sets the layer; drawn
//! over, every layer that the pointer passes.

use crate::workbench::ui::losses::millinats;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use eframe::egui::emath::GuiRounding;
use eframe::egui::layers::ShapeIdx;
use eframe::egui::{
    Align2, Color32, FontId, Id, Mesh, PointerButton, Pos2, Rect, Role, Sense, Shape, Stroke, StrokeKind, Ui, WidgetInfo, pos2,
};

pub struct HeatCell<'a> {
    pub layer: &'a str,
    pub bits: u8,
    /// `None`: not known yet.
    pub error: Option<HeatError>,
    /// The present choice.
    pub chosen: bool,
}

impl HeatCell<'_> {
    fn words(&self) -> String {
        let error = self.error.map_or_else(|| tr!("widgets-heat-unknown").to_owned(), HeatError::words);
        tr!("widgets-heat-cell", layer = self.layer, bits = self.bits, error = error)
    }
}

/// The error that a cell shows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum HeatError {
    /// Of the weights, as signal to noise in dB.
    Sqnr(f64),
    /// KL in nats that the network loses; `None`: its output is not finite.
    Loss(Option<f64>),
}

impl HeatError {
    /// Place on the ramp of errors, which is one of dB. A loss of one nat is as bad as noise as large as the signal.
    fn decibels(self) -> f64 {
        match self {
            Self::Sqnr(db) => db,
            Self::Loss(Some(kl)) if kl <= 0.0 => f64::INFINITY,
            Self::Loss(Some(kl)) => -10.0 * kl.log10(),
            Self::Loss(None) => f64::NEG_INFINITY,
        }
    }

    /// In three characters or so.
    fn digits(self) -> String {
        match self {
            Self::Sqnr(f64::INFINITY) => "=".to_owned(),
            Self::Sqnr(db) => format!("{db:.0}"),
            Self::Loss(None) => "inf".to_owned(),
            Self::Loss(Some(kl)) => match 1e3 * kl {
                loss if loss >= 9.95 => format!("{loss:.0}"),
                loss if loss >= 0.095 => format!("{loss:.1}"),
                loss if loss >= 0.0005 => format!("{loss:.3}").trim_start_matches('0').to_owned(),
                _ => "0".to_owned(),
            },
        }
    }

    fn words(self) -> String {
        match self {
            Self::Sqnr(db) => crate::workbench::ui::view::decibels(db),
            Self::Loss(Some(kl)) => tr!("widgets-heat-loses", loss = millinats(kl)),
            Self::Loss(None) => tr!("widgets-heat-not-finite").to_owned(),
        }
    }
}

/// What the pointer does to the cells of a frame.
#[derive(Debug, Clone, Copy)]
pub struct Brush {
    at: Option<Pos2>,
    down: bool,
    /// It was pressed on a cell and is still held: it paints.
    paints: bool,
}

impl Brush {
    fn id() -> Id {
        Id::unique("heat map: the pointer paints")
    }

    #[must_use]
    pub fn of(ui: &Ui) -> Self {
        let (down, at) = ui.input(|i| (i.pointer.button_down(PointerButton::Primary), i.pointer.interact_pos()));
        let paints = down && ui.data(|d| d.get_temp::<bool>(Self::id())).unwrap_or(false);
        if !down {
            ui.data_mut(|d| d.remove::<bool>(Self::id()));
        }
        Self { at, down, paints }
    }
}

/// The ground of cells that lie on one line, as one mesh: hundreds of shapes of their own take a frame's time.
pub struct Grounds {
    mesh: Mesh,
    place: ShapeIdx,
}

impl Grounds {
    /// Below all that is painted from here on.
    #[must_use]
    pub fn on(ui: &Ui) -> Self {
        Self { mesh: Mesh::default(), place: ui.painter().add(Shape::Noop) }
    }

    /// A rectangle along the pixels with its corners cut off.
    fn add(&mut self, rect: Rect, color: Color32) {
        const CUT: f32 = 1.25;
        let (first, inner) = (self.mesh.vertices.len() as u32, rect.shrink(CUT));
        let corners = [
            (inner.left(), rect.top()),
            (inner.right(), rect.top()),
            (rect.right(), inner.top()),
            (rect.right(), inner.bottom()),
            (inner.right(), rect.bottom()),
            (inner.left(), rect.bottom()),
            (rect.left(), inner.bottom()),
            (rect.left(), inner.top()),
        ];
        for (x, y) in corners {
            self.mesh.colored_vertex(pos2(x, y), color);
        }
        for i in 1..7 {
            self.mesh.add_triangle(first, first + i, first + i + 1);
        }
    }

    pub fn paint(self, ui: &Ui) {
        ui.painter().set(self.place, self.mesh);
    }
}

/// Draws a cell. Whether the layer is to get its width now.
pub fn heat_cell(ui: &Ui, rect: Rect, id: Id, tokens: &Tokens, brush: Brush, grounds: &mut Grounds, cell: &HeatCell<'_>) -> bool {
    let response = ui.interact(rect, id, Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::selected(Role::Button, true, cell.chosen, cell.words()));
    let pressed = response.is_pointer_button_down_on() && brush.down;
    if pressed && !brush.paints {
        ui.data_mut(|d| d.insert_temp(Brush::id(), true));
    }
    let under = brush.at.is_some_and(|p| rect.contains(p) && ui.clip_rect().contains(p));
    let set = response.clicked() || ((brush.paints || pressed) && under && !cell.chosen);
    draw(ui, rect, tokens, grounds, cell, under);
    // There are many cells, and the pointer is on one.
    if response.contains_pointer() {
        response.on_hover_text(cell.words());
    }
    set
}

fn draw(ui: &Ui, rect: Rect, tokens: &Tokens, grounds: &mut Grounds, cell: &HeatCell<'_>, hovered: bool) {
    let painter = ui.painter();
    let inner = rect.shrink(1.0).round_to_pixels(painter.pixels_per_point());
    let ground = cell.error.map_or(tokens.raised, |error| tokens.error_at(error.decibels()));
    grounds.add(inner, ground);
    let words = cell.error.map_or_else(|| "…".to_owned(), HeatError::digits);
    painter.text(inner.center(), Align2::CENTER_CENTER, words, FontId::proportional(10.5), tokens.text_on(ground));
    if cell.chosen {
        painter.rect_stroke(inner, 2.0, Stroke::new(2.0, tokens.text), StrokeKind::Inside);
        painter.rect_stroke(inner.shrink(2.0), 1.0, Stroke::new(1.0, tokens.panel), StrokeKind::Inside);
    } else if hovered {
        painter.rect_stroke(inner, 2.0, Stroke::new(1.0, tokens.text), StrokeKind::Inside);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn losses_are_short_and_colored_as_noise_is() {
        let loss = |kl: f64| HeatError::Loss(Some(kl));
        let digits = [1.4441, 0.1666, 0.0036, 0.0000574, 1e-9].map(|kl| loss(kl).digits());
        assert_eq!(digits, ["1444", "167", "3.6", ".057", "0"]);
        assert_eq!(HeatError::Loss(None).digits(), "inf");
        assert_eq!((loss(1.0).decibels(), loss(0.001).decibels().round()), (0.0, 30.0));
        assert_eq!((loss(0.0).decibels(), HeatError::Loss(None).decibels()), (f64::INFINITY, f64::NEG_INFINITY));
    }
}
