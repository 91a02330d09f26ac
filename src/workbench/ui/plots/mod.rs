//! Charts that panels are made of.

mod channels;
mod histogram;
mod importance;
mod names;
mod tradeoff;
mod waterfall;
mod what_if;

pub use channels::channels_ui;
pub use histogram::{Levels, histogram_ui};
pub use importance::threshold_ui;
pub use tradeoff::{Ground, Height, Hit, Mark, tradeoff_plot};
pub use waterfall::waterfall_ui;
pub use what_if::{Choice, Curve, what_if_plot};

use super::theme::Tokens;
use eframe::egui::{Align2, Color32, FontId, Mesh, Painter, Rect, Stroke, StrokeKind, pos2};

/// A number on an axis: short, with as many digits as it needs.
#[must_use]
pub fn tick(value: f32) -> String {
    let size = value.abs();
    if size == 0.0 {
        "0".to_owned()
    } else if (0.01..1000.0).contains(&size) {
        let text = format!("{value:.3}");
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        format!("{value:.1e}")
    }
}

/// Bars of a chart as one mesh, along the pixels: hundreds of shapes of their own take a frame's time.
struct Bars {
    mesh: Mesh,
    pixels_per_point: f32,
}

impl Bars {
    fn on(painter: &Painter) -> Self {
        Self { mesh: Mesh::default(), pixels_per_point: painter.pixels_per_point() }
    }

    /// At least a pixel of it is drawn.
    fn add(&mut self, rect: Rect, color: Color32) {
        let scale = self.pixels_per_point;
        let place = |low: f32, high: f32| {
            let (low, high) = ((low * scale).round(), (high * scale).round());
            low / scale..=high.max(low + 1.0) / scale
        };
        let (x, y) = (place(rect.left(), rect.right()), place(rect.top(), rect.bottom()));
        self.mesh.add_colored_rect(Rect::from_x_y_ranges(x, y), color);
    }

    fn paint(self, painter: &Painter) {
        painter.add(self.mesh);
    }
}

/// Ground, frame and the ends of the y axis of a small chart. What is left is for the data.
fn frame(painter: &Painter, rect: Rect, tokens: &Tokens, low: &str, high: &str) -> Rect {
    let font = FontId::proportional(10.5);
    let inner = Rect::from_min_max(pos2(rect.left() + 44.0, rect.top() + 2.0), rect.max);
    painter.rect_filled(inner, 3.0, tokens.background);
    painter.rect_stroke(inner, 3.0, Stroke::new(1.0, tokens.line), StrokeKind::Inside);
    painter.text(pos2(inner.left() - 5.0, inner.top() + 1.0), Align2::RIGHT_TOP, high, font.clone(), tokens.muted);
    painter.text(pos2(inner.left() - 5.0, inner.bottom() - 1.0), Align2::RIGHT_BOTTOM, low, font, tokens.muted);
    inner.shrink(4.0)
}
