//! Numbers with a bar behind them, and the legend of the error colors.

use crate::workbench::ui::session::Heat;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::{ERROR_SPAN_DB, Ramp, Tokens};
use eframe::egui::{Align2, Color32, FontId, Mesh, Painter, Rect, Response, Role, Sense, Ui, WidgetInfo, pos2, vec2};

/// A number, right-aligned over a bar that fills `share` of the cell.
pub fn bar(ui: &mut Ui, share: f32, text: &str, ground: Color32, color: Color32) -> Response {
    let size = vec2(ui.available_width(), ui.available_height().min(20.0));
    let (rect, response) = ui.allocate_exact_size(size, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, text));
    let mut filled = rect.shrink2(vec2(0.0, 3.0));
    filled.set_width(rect.width() * share.clamp(0.0, 1.0));
    ui.painter().rect_filled(filled, 2.0, ground);
    ui.painter().text(rect.right_center() - vec2(2.0, 0.0), Align2::RIGHT_CENTER, text, FontId::proportional(12.0), color);
    response
}

/// The error colors with what their ends stand for.
pub fn legend(ui: &mut Ui, tokens: &Tokens, heat: Heat) {
    let (rect, response) = ui.allocate_exact_size(vec2(190.0, 18.0), Sense::hover());
    let (text, ends) = match heat {
        Heat::Weights => {
            (tr!("widgets-legend-weights"), [format!("{:.0} dB", ERROR_SPAN_DB.0), format!("{:.0} dB", ERROR_SPAN_DB.1)])
        }
        Heat::Loss => (tr!("widgets-legend-loss"), ["0.03".to_owned(), "1000".to_owned()]),
    };
    let [least, most] = ends;
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, text));
    let small = FontId::proportional(11.0);
    let left = ui.painter().text(rect.left_center(), Align2::LEFT_CENTER, least, small.clone(), tokens.muted);
    let right = ui.painter().text(rect.right_center(), Align2::RIGHT_CENTER, most, small, tokens.muted);
    let strip = Rect::from_min_max(pos2(left.right() + 6.0, rect.top() + 4.0), pos2(right.left() - 6.0, rect.bottom() - 4.0));
    ramp(ui.painter(), strip, &tokens.error);
    response.on_hover_text(text);
}

/// A color ramp from left to right, without seams.
pub fn ramp(painter: &Painter, rect: Rect, ramp: &Ramp) {
    const STEPS: u32 = 32;
    let mut mesh = Mesh::default();
    for step in 0..=STEPS {
        let place = step as f32 / STEPS as f32;
        let x = rect.left() + place * rect.width();
        mesh.colored_vertex(pos2(x, rect.top()), ramp.at(place));
        mesh.colored_vertex(pos2(x, rect.bottom()), ramp.at(place));
        if step > 0 {
            let first = 2 * (step - 1);
            mesh.add_triangle(first, first + 1, first + 2);
            mesh.add_triangle(first + 2, first + 1, first + 3);
        }
    }
    painter.add(mesh);
}
