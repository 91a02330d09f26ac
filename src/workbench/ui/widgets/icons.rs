//! Icons drawn as shapes: no font needs to hold them.

use eframe::egui::{
    Color32, Painter, Pos2, Rect, Response, Role, Sense, Shape, Stroke, StrokeKind, Ui, Vec2, WidgetInfo, pos2, vec2,
};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Icon {
    Play,
    Stop,
    Check,
    Cross,
    Warning,
    Info,
    /// A ring: nothing yet.
    Ring,
    /// Half of it: no longer true.
    Half,
    Undo,
    Redo,
    Up,
    Down,
}

impl Icon {
    pub fn paint(self, painter: &Painter, rect: Rect, color: Color32) {
        let center = rect.center();
        let radius = rect.width().min(rect.height()) * 0.5;
        let at = |x: f32, y: f32| center + vec2(x, y) * radius;
        let stroke = Stroke::new((radius * 0.26).max(1.2), color);
        let filled = |points: Vec<Pos2>| Shape::convex_polygon(points, color, Stroke::NONE);
        match self {
            Self::Play => drop(painter.add(filled(vec![at(-0.55, -0.75), at(0.8, 0.0), at(-0.55, 0.75)]))),
            Self::Stop => drop(painter.rect_filled(Rect::from_center_size(center, Vec2::splat(radius * 1.25)), 1.5, color)),
            Self::Check => drop(painter.line(vec![at(-0.7, 0.05), at(-0.2, 0.55), at(0.75, -0.55)], stroke)),
            Self::Cross => {
                painter.line_segment([at(-0.55, -0.55), at(0.55, 0.55)], stroke);
                painter.line_segment([at(-0.55, 0.55), at(0.55, -0.55)], stroke);
            }
            Self::Warning => {
                let thin = Stroke::new((radius * 0.2).max(1.2), color);
                painter.add(Shape::closed_line(vec![at(0.0, -0.85), at(0.9, 0.75), at(-0.9, 0.75)], thin));
                painter.line_segment([at(0.0, -0.3), at(0.0, 0.2)], thin);
                painter.circle_filled(at(0.0, 0.48), (radius * 0.12).max(0.8), color);
            }
            Self::Info => {
                painter.circle_stroke(center, radius * 0.85, Stroke::new((radius * 0.18).max(1.0), color));
                painter.line_segment([at(0.0, -0.05), at(0.0, 0.45)], stroke);
                painter.circle_filled(at(0.0, -0.4), (radius * 0.14).max(0.8), color);
            }
            Self::Ring => drop(painter.circle_stroke(center, radius * 0.7, Stroke::new(1.5, color))),
            Self::Half => {
                painter.circle_stroke(center, radius * 0.7, Stroke::new(1.5, color));
                let arc = (0..=12).map(|i| {
                    let angle = std::f32::consts::PI * (0.5 + i as f32 / 12.0);
                    center + Vec2::angled(angle) * radius * 0.7
                });
                painter.add(filled(arc.collect()));
            }
            Self::Undo | Self::Redo => {
                let side = if self == Self::Undo { 1.0 } else { -1.0 };
                let arc = (0..=10).map(|i| {
                    let angle = -std::f32::consts::PI * 0.85 + i as f32 / 10.0 * std::f32::consts::PI * 1.25;
                    at(side * (angle.cos() * 0.7 + 0.05), angle.sin() * 0.62 + 0.2)
                });
                painter.line(arc.collect(), stroke);
                painter.add(filled(vec![at(-side * 0.95, -0.55), at(-side * 0.15, -0.2), at(-side * 0.85, 0.3)]));
            }
            Self::Up => drop(painter.add(filled(vec![at(-0.6, 0.35), at(0.0, -0.45), at(0.6, 0.35)]))),
            Self::Down => drop(painter.add(filled(vec![at(-0.6, -0.35), at(0.6, -0.35), at(0.0, 0.45)]))),
        }
    }
}

/// An icon of 12 points that shows and does nothing; `label` says what it means.
pub fn icon(ui: &mut Ui, icon: Icon, color: Color32, label: &str) -> Response {
    let (rect, response) = ui.allocate_exact_size(Vec2::splat(14.0), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, label));
    icon.paint(ui.painter(), rect.shrink(1.0), color);
    response.on_hover_text(label)
}

/// A button with an icon before its text.
pub fn icon_button(ui: &mut Ui, icon: Icon, text: &str, enabled: bool, color: Option<Color32>) -> Response {
    ui.add_enabled_ui(enabled, |ui| {
        let padding = ui.spacing().button_padding;
        let galley = ui.painter().layout_no_wrap(
            text.to_owned(),
            eframe::egui::TextStyle::Button.resolve(ui.style()),
            Color32::PLACEHOLDER,
        );
        let gap = if text.is_empty() { 0.0 } else { 6.0 };
        let size = vec2(padding.x * 2.0 + 12.0 + gap + galley.size().x, ui.spacing().interact_size.y);
        let (rect, response) = ui.allocate_exact_size(size, Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::Button, ui.is_enabled(), text));
        let visuals = *ui.style().interact(&response);
        ui.painter().rect(rect, visuals.corner_radius, visuals.weak_bg_fill, visuals.bg_stroke, StrokeKind::Inside);
        let color = color.unwrap_or(visuals.text_color());
        let place = Rect::from_center_size(pos2(rect.left() + padding.x + 6.0, rect.center().y), Vec2::splat(12.0));
        icon.paint(ui.painter(), place, color);
        let text_at = pos2(place.right() + gap, rect.center().y - galley.size().y * 0.5);
        ui.painter().galley(text_at, galley, visuals.text_color());
        response
    })
    .inner
}
