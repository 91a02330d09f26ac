//! How many weights there are of which size, before and after.

use super::{Bars, frame, tick};
use crate::workbench::ui::inspect::{LayerFacts, Treated};
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use eframe::egui::{Align2, FontId, Painter, Rect, Role, Sense, Stroke, Ui, WidgetInfo, lerp, pos2, vec2};

/// The values that weights of an output channel can have.
pub struct Levels {
    pub channel: usize,
    /// Ascending.
    pub values: Vec<f32>,
}

/// Height of the strip with the levels.
const TICKS: f32 = 8.0;
/// Levels closer than this many points are drawn as a band.
const APART: f32 = 2.5;

/// Counts are drawn as square roots: what is rare can still be seen.
pub fn histogram_ui(
    ui: &mut Ui,
    tokens: &Tokens,
    facts: &LayerFacts,
    treated: Option<&Treated>,
    levels: Option<&Levels>,
    height: f32,
) {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
    let summary = tr!("histogram", count = facts.weights.len(), low = tick(facts.low), high = tick(facts.high));
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &summary));
    let chart = Rect::from_min_max(rect.min, pos2(rect.right(), rect.bottom() - 15.0 - TICKS));
    let most = facts.histogram.iter().chain(treated.iter().flat_map(|t| &t.histogram)).copied().max().unwrap_or(1).max(1);
    let area = frame(ui.painter(), chart, tokens, "0", &most.to_string());
    let bins = facts.histogram.len().max(1) as f32;
    let bar = |bin: usize, count: u32| {
        let height = (count as f32 / most as f32).sqrt() * area.height();
        let left = area.left() + bin as f32 / bins * area.width();
        Rect::from_min_max(pos2(left, area.bottom() - height), pos2(left + area.width() / bins, area.bottom()))
    };
    let painter = ui.painter();
    let mut bars = Bars::on(painter);
    for (bin, &count) in facts.histogram.iter().enumerate().filter(|(_, c)| **c > 0) {
        bars.add(bar(bin, count), tokens.before.gamma_multiply(0.55));
    }
    for (bin, &count) in treated.iter().flat_map(|t| t.histogram.iter().enumerate()).filter(|(_, c)| **c > 0) {
        let full = bar(bin, count);
        bars.add(Rect::from_center_size(full.center(), vec2(full.width() * 0.45, full.height())), tokens.after);
    }
    bars.paint(painter);
    let x_of = |value: f32| area.left() + (value - facts.low) / (facts.high - facts.low).max(f32::MIN_POSITIVE) * area.width();
    if let Some(levels) = levels {
        let strip = Rect::from_x_y_ranges(area.x_range(), area.bottom() + 5.0..=area.bottom() + 3.0 + TICKS);
        levels_ui(painter, strip, tokens, levels, &x_of);
    }
    let font = FontId::proportional(10.5);
    for (place, align) in [(0.0, Align2::LEFT_BOTTOM), (0.5, Align2::CENTER_BOTTOM), (1.0, Align2::RIGHT_BOTTOM)] {
        let x = lerp(area.x_range().min..=area.x_range().max, place);
        let value = lerp(facts.low..=facts.high, place);
        painter.text(pos2(x, rect.bottom()), align, tick(value), font.clone(), tokens.muted);
    }
    response.on_hover_text(match levels.and_then(|l| Some((l, l.values.first()?, l.values.last()?))) {
        Some((levels, low, high)) => tr!(
            "histogram-levels",
            summary = summary,
            count = levels.values.len(),
            channel = levels.channel,
            low = tick(*low),
            high = tick(*high)
        ),
        None => tr!("histogram.tooltip", summary = summary),
    });
}

/// A tick for every level; where they lie too close, a band.
fn levels_ui(painter: &Painter, strip: Rect, tokens: &Tokens, levels: &Levels, x_of: &dyn Fn(f32) -> f32) {
    let inside = |x: &f32| strip.x_range().contains(*x);
    let places: Vec<f32> = levels.values.iter().map(|v| x_of(*v)).collect();
    for pair in places.windows(2).filter(|p| p[1] - p[0] < APART && p[1] >= strip.left() && p[0] <= strip.right()) {
        let band = Rect::from_x_y_ranges(pair[0].max(strip.left())..=pair[1].min(strip.right()), strip.y_range());
        painter.rect_filled(band, 0.0, tokens.warn.gamma_multiply(0.5));
    }
    // The first and the last are where the format clips.
    let ends = [places.first(), places.last()].into_iter().flatten().copied();
    for x in ends.filter(inside) {
        painter.vline(x, strip.y_range(), Stroke::new(2.0, tokens.warn));
    }
    for x in places.iter().copied().filter(inside) {
        painter.vline(x, strip.y_range(), Stroke::new(1.0, tokens.warn));
    }
}
