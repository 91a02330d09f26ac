//! What each step gained, one after the other.

use crate::pipeline::evaluate::StepError;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use eframe::egui::{Align2, FontId, Rect, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};

/// Signal to noise in dB: what is gained goes up.
fn decibels(error: f64) -> f64 {
    -10.0 * error.max(1e-12).log10()
}

/// Bars from what was before each step to what was after: filled where it was kept, hollow where it was taken back.
pub fn waterfall_ui(ui: &mut Ui, tokens: &Tokens, steps: &[StepError], height: f32) {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
    let words: Vec<String> = steps.iter().map(words).collect();
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, words.join(tr!("waterfall-between"))));
    let ends: Vec<(f64, f64)> = steps.iter().map(|s| (decibels(s.before), decibels(s.after))).collect();
    let all = || ends.iter().flat_map(|(before, after)| [*before, *after]);
    let (low, high) = (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max));
    let room = (0.12 * (high - low)).max(0.5);
    let (low, high) = (low - room, high + room);
    let chart = Rect::from_min_max(rect.min, pos2(rect.right(), rect.bottom() - 16.0));
    let area = super::frame(ui.painter(), chart, tokens, &format!("{low:.0} dB"), &format!("{high:.0} dB"));
    let y = |db: f64| area.bottom() - ((db - low) / (high - low)) as f32 * area.height();
    let wide = area.width() / steps.len().max(1) as f32;
    let font = FontId::proportional(10.5);
    for (i, (step, (before, after))) in steps.iter().zip(&ends).enumerate() {
        let left = area.left() + i as f32 * wide;
        let bar = Rect::from_two_pos(pos2(left + 0.2 * wide, y(*before)), pos2(left + 0.8 * wide, y(*after)));
        let color = if step.kept { tokens.good } else { tokens.muted };
        if step.kept {
            ui.painter().rect_filled(bar.expand2(vec2(0.0, 0.5)), 1.0, color);
        } else {
            ui.painter().rect_stroke(bar, 1.0, Stroke::new(1.0, color), StrokeKind::Middle);
        }
        let reached = if step.kept { *after } else { *before };
        ui.painter().hline(left + 0.8 * wide..=(left + 1.2 * wide).min(area.right()), y(reached), Stroke::new(1.0, tokens.line));
        let gain = format!("{:+.1}", after - before);
        ui.painter().text(pos2(bar.center().x, bar.top() - 2.0), Align2::CENTER_BOTTOM, gain, font.clone(), color);
        let name = ui.painter().layout_no_wrap(step.name.clone(), font.clone(), tokens.muted);
        let room = Rect::from_x_y_ranges(left..=left + wide, chart.bottom()..=rect.bottom());
        let at = pos2((room.center().x - name.size().x * 0.5).max(room.left()), chart.bottom() + 2.0);
        ui.painter().with_clip_rect(room).galley(at, name, tokens.muted);
    }
    let over = response.hover_pos().map(|p| ((p.x - area.left()) / wide).max(0.0) as usize);
    if let Some(words) = over.and_then(|i| words.get(i)) {
        response.on_hover_text_at_pointer(words.clone());
    }
}

fn words(step: &StepError) -> String {
    let percent = |share: f64| format!("{:.4} %", 100.0 * share);
    let (before, after) = (percent(step.before), percent(step.after));
    if step.kept {
        tr!("waterfall-kept", step = &step.name, before = before, after = after)
    } else {
        tr!("waterfall-taken-back", step = &step.name, before = before, after = after)
    }
}
