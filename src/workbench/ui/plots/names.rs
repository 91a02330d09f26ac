//! Names beside marks, where there is room.

use eframe::egui::{Color32, FontId, Pos2, Rect, Ui, Vec2, vec2};

/// A name and the mark that it belongs to.
pub struct Name {
    pub at: Pos2,
    pub text: String,
    pub color: Color32,
    /// Points from the mark's center to the name.
    pub gap: f32,
}

/// Writes each name where it covers neither a mark nor another name, the first ones first; one for which there is
/// no room is left out. Marks have a center and a radius.
pub fn draw_names(ui: &Ui, names: Vec<Name>, marks: impl Iterator<Item = (Pos2, f32)>, frame: Rect, ground: Color32) {
    let mut taken: Vec<Rect> = marks.map(|(at, radius)| Rect::from_center_size(at, Vec2::splat(2.0 * radius))).collect();
    let painter = ui.painter().with_clip_rect(frame);
    for Name { at, text, color, gap } in names {
        let galley = painter.layout_no_wrap(text, FontId::proportional(11.0), color);
        let size = galley.size();
        let (aside, apart) = (gap * 0.7, gap - 1.0);
        let corners = [
            at + vec2(gap, -size.y * 0.5),
            at + vec2(-gap - size.x, -size.y * 0.5),
            at + vec2(aside, -size.y - aside * 0.5),
            at + vec2(aside, aside * 0.5),
            at + vec2(-size.x * 0.5, -size.y - apart),
            at + vec2(-size.x * 0.5, apart),
        ];
        let free = |r: &Rect| frame.contains_rect(*r) && taken.iter().all(|t| !t.intersects(*r));
        if let Some(rect) = corners.iter().map(|c| Rect::from_min_size(*c, size)).find(free) {
            // A line behind a name is not to strike it through.
            painter.rect_filled(rect, 2.0, ground.gamma_multiply(0.7));
            painter.galley(rect.min, galley, color);
            taken.push(rect);
        }
    }
}
