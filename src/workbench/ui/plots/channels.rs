//! The range of each output channel against the steps that its codes have.

use super::{Bars, frame, tick};
use crate::workbench::ui::inspect::{LayerFacts, Treated};
use crate::workbench::ui::scores::FEW_STEPS;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use crate::workbench::ui::view::decibels;
use eframe::egui::{Rect, Role, Sense, Stroke, Ui, WidgetInfo, vec2};

/// Range, quartiles and median of each channel. With one scale for all, `shared` is its step:
/// a band of [`FEW_STEPS`] steps is drawn, and what is not wider than it stands out.
pub fn channels_ui(
    ui: &mut Ui,
    tokens: &Tokens,
    facts: &LayerFacts,
    treated: Option<&Treated>,
    shared: Option<f32>,
    height: f32,
) {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::hover());
    let (count, low, high) = (facts.spreads.len(), tick(facts.low), tick(facts.high));
    let summary = tr!("channels", count = count, low = &low, high = &high);
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &summary));
    let area = frame(ui.painter(), rect, tokens, &low, &high);
    let painter = ui.painter().with_clip_rect(area.expand(3.0));
    let span = (facts.high - facts.low).max(f32::MIN_POSITIVE);
    let y_of = |value: f32| area.bottom() - (value - facts.low) / span * area.height();
    if let Some(step) = shared {
        let half = step * FEW_STEPS * 0.5;
        let band = Rect::from_x_y_ranges(area.x_range(), y_of(half)..=y_of(-half));
        painter.rect_filled(band, 0.0, tokens.warn.gamma_multiply(0.25));
        let lines = (span / step) as usize;
        // Lines closer than three points are a gray area, not a scale.
        if lines > 0 && area.height() / lines as f32 >= 3.0 {
            let first = (facts.low / step).ceil() as i32;
            for line in (first..).map(|i| i as f32 * step).take_while(|v| *v <= facts.high) {
                painter.hline(area.x_range(), y_of(line), Stroke::new(0.5, tokens.line));
            }
        }
    }
    painter.hline(area.x_range(), y_of(0.0), Stroke::new(1.0, tokens.muted));
    let count = facts.spreads.len().max(1) as f32;
    let pitch = area.width() / count;
    let mut bars = Bars::on(&painter);
    for (channel, spread) in facts.spreads.iter().enumerate() {
        let center = area.left() + (channel as f32 + 0.5) * pitch;
        let lost = shared.is_some_and(|step| spread.width() < FEW_STEPS * step);
        let color = if lost { tokens.bad } else { tokens.after };
        let bar = |low: f32, high: f32, width: f32| {
            Rect::from_x_y_ranges(center - width * 0.5..=center + width * 0.5, y_of(high)..=y_of(low))
        };
        bars.add(bar(spread.low, spread.high, (pitch * 0.25).min(3.0)), color.gamma_multiply(0.7));
        if pitch >= 2.5 {
            let middle = bar(spread.quartile1, spread.quartile3, (pitch * 0.7).min(9.0));
            bars.add(middle, color);
            // In a box of a few points the median would be all that is seen.
            if middle.height() > 3.0 {
                bars.add(bar(spread.median, spread.median, middle.width()), tokens.panel);
            }
        }
    }
    bars.paint(&painter);
    hover(response, facts, treated, area, pitch, shared, &summary);
}

fn hover(
    response: eframe::egui::Response,
    facts: &LayerFacts,
    treated: Option<&Treated>,
    area: Rect,
    pitch: f32,
    shared: Option<f32>,
    summary: &str,
) {
    let channel = response.hover_pos().map(|p| ((p.x - area.left()) / pitch).floor());
    let text = channel.filter(|c| *c >= 0.0).and_then(|c| {
        let index = c as usize;
        let spread = facts.spreads.get(index)?;
        let range =
            tr!("channels-one", channel = index, low = tick(spread.low), high = tick(spread.high), median = tick(spread.median));
        let steps = shared.map(|s| tr!("channels-steps", count = format!("{:.1}", spread.width() / s)));
        let db = treated.and_then(|t| t.channels_db.get(index)).map(|db| decibels(f64::from(*db)));
        Some([Some(range), steps, db].into_iter().flatten().collect::<Vec<_>>().join("\n"))
    });
    response.on_hover_text_at_pointer(text.unwrap_or_else(|| summary.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::tick;

    #[test]
    fn ticks_are_short() {
        assert_eq!([tick(0.0), tick(0.5), tick(-1.25), tick(12.0), tick(0.00012)], ["0", "0.5", "-1.25", "12", "1.2e-4"]);
    }
}
