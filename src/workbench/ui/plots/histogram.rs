//! How many weights there are of which size, before and after.

use super::{frame, tick};
use crate::workbench::ui::inspect::{LayerFacts, Treated};
use crate::workbench::ui::theme::Tokens;
use eframe::egui::{Align2, FontId, Rect, Role, Sense, Stroke, Ui, WidgetInfo, lerp, pos2, vec2};

/// Counts are drawn as square roots: what is rare can still be seen.
pub fn histogram_ui(ui: &mut Ui, tokens: &Tokens, facts: &LayerFacts, treated: Option<&Treated>, height: f32) {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
    let summary = format!("Histogram of {} weights from {} to {}", facts.weights.len(), tick(facts.low), tick(facts.high));
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &summary));
    let chart = Rect::from_min_max(rect.min, pos2(rect.right(), rect.bottom() - 15.0));
    let most = facts.histogram.iter().chain(treated.iter().flat_map(|t| &t.histogram)).copied().max().unwrap_or(1).max(1);
    let area = frame(ui.painter(), chart, tokens, "0", &most.to_string());
    let bins = facts.histogram.len().max(1) as f32;
    let bar = |bin: usize, count: u32| {
        let height = (count as f32 / most as f32).sqrt() * area.height();
        let left = area.left() + bin as f32 / bins * area.width();
        Rect::from_min_max(pos2(left, area.bottom() - height), pos2(left + area.width() / bins, area.bottom()))
    };
    let painter = ui.painter();
    for (bin, &count) in facts.histogram.iter().enumerate().filter(|(_, c)| **c > 0) {
        painter.rect_filled(bar(bin, count), 0.0, tokens.before.gamma_multiply(0.55));
    }
    for (bin, &count) in treated.iter().flat_map(|t| t.histogram.iter().enumerate()).filter(|(_, c)| **c > 0) {
        let full = bar(bin, count);
        painter.rect_filled(
            Rect::from_center_size(full.center(), vec2((full.width() * 0.45).max(1.0), full.height())),
            0.0,
            tokens.after,
        );
    }
    let x_of = |value: f32| area.left() + (value - facts.low) / (facts.high - facts.low).max(f32::MIN_POSITIVE) * area.width();
    if let Some((low, high)) = treated.and_then(clip_range) {
        for edge in [low, high].into_iter().filter(|e| (facts.low..=facts.high).contains(e)) {
            painter.vline(x_of(edge), area.y_range(), Stroke::new(1.0, tokens.warn));
        }
    }
    let font = FontId::proportional(10.5);
    for (place, align) in [(0.0, Align2::LEFT_BOTTOM), (0.5, Align2::CENTER_BOTTOM), (1.0, Align2::RIGHT_BOTTOM)] {
        let x = lerp(area.x_range().min..=area.x_range().max, place);
        let value = lerp(facts.low..=facts.high, place);
        painter.text(pos2(x, rect.bottom()), align, tick(value), font.clone(), tokens.muted);
    }
    response.on_hover_text(format!("{summary}. Counts as square roots; lines: the largest values that the codes can hold"));
}

/// The least and the greatest value that the approximation takes: where it clips.
fn clip_range(treated: &Treated) -> Option<(f32, f32)> {
    if treated.scales.is_empty() {
        return None;
    }
    let fold = |f: fn(f32, f32) -> f32| treated.approximate.iter().copied().reduce(f);
    Some((fold(f32::min)?, fold(f32::max)?))
}
