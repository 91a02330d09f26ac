//! How much there is of which importance, and the threshold below which it goes.

use super::{frame, tick};
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use eframe::egui::{Align2, CursorIcon, FontId, Rect, Role, Sense, Stroke, Ui, WidgetInfo, pos2, vec2};

/// More scores than this are drawn as a histogram, fewer one by one.
const ONE_BY_ONE: usize = 160;
const BINS: usize = 72;
/// What lies above this share of the scores is drawn at the end.
const SHOWN: f64 = 0.995;

/// Draws scores, which are in order, and the threshold that `share` of them lies below. Gives the share that the
/// threshold was dragged to.
pub fn threshold_ui(ui: &mut Ui, tokens: &Tokens, sorted: &[f64], share: f32, height: f32) -> Option<f32> {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), height), Sense::click_and_drag());
    let count = sorted.len();
    let below = (share.clamp(0.0, 1.0) * count as f32).round() as usize;
    let summary = tr!("threshold", count = count, below = below);
    response.widget_info(|| WidgetInfo::labeled(Role::Slider, true, &summary));
    let chart = Rect::from_min_max(rect.min, pos2(rect.right(), rect.bottom() - 15.0));
    let view = if count > ONE_BY_ONE { Axis::Score(last_shown(sorted)) } else { Axis::Rank(count) };
    let bars = view.bars(sorted);
    let most = bars.iter().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    let top = if matches!(view, Axis::Rank(_)) { tick(most as f32) } else { format!("{most:.0}") };
    let area = frame(ui.painter(), chart, tokens, "0", &top);
    let threshold = area.left() + view.place(sorted, below) * area.width();
    let wide = area.width() / bars.len().max(1) as f32;
    for (i, bar) in bars.iter().enumerate() {
        // Counts as square roots: what is rare can still be seen.
        let tall = if matches!(view, Axis::Rank(_)) { bar / most } else { (bar / most).sqrt() };
        let left = area.left() + i as f32 * wide;
        let bar = Rect::from_min_max(pos2(left, area.bottom() - tall as f32 * area.height()), pos2(left + wide, area.bottom()));
        let goes = bar.center().x < threshold;
        ui.painter().rect_filled(bar.shrink2(vec2(0.5, 0.0)), 0.0, if goes { tokens.bad } else { tokens.before });
    }
    let held = response.dragged() || response.hovered();
    ui.painter().vline(threshold, area.y_range(), Stroke::new(if held { 2.0 } else { 1.5 }, tokens.warn));
    ends_ui(ui, tokens, &view, (area, rect.bottom()));
    let response = response.on_hover_cursor(CursorIcon::ResizeHorizontal);
    let pointer = response.interact_pointer_pos().filter(|_| response.dragged() || response.clicked());
    response.on_hover_text_at_pointer(tr!("threshold.tooltip", summary = summary));
    let place = ((pointer?.x - area.left()) / area.width()).clamp(0.0, 1.0);
    let below = view.below(sorted, place);
    // Something must be left.
    Some((below.min(count.saturating_sub(1)) as f32 / count.max(1) as f32 * 200.0).floor() / 200.0).filter(|s| *s != share)
}

fn ends_ui(ui: &Ui, tokens: &Tokens, view: &Axis, (area, bottom): (Rect, f32)) {
    let (first, last) = match view {
        Axis::Rank(count) => (tr!("threshold-least").to_owned(), tr!("threshold-most", count = *count)),
        Axis::Score(last) => ("0".to_owned(), format!("≥ {}", tick(*last as f32))),
    };
    let font = FontId::proportional(10.5);
    ui.painter().text(pos2(area.left(), bottom), Align2::LEFT_BOTTOM, first, font.clone(), tokens.muted);
    ui.painter().text(pos2(area.right(), bottom), Align2::RIGHT_BOTTOM, last, font, tokens.muted);
}

fn last_shown(sorted: &[f64]) -> f64 {
    let place = ((sorted.len() as f64 * SHOWN) as usize).min(sorted.len().saturating_sub(1));
    sorted.get(place).copied().unwrap_or(1.0).max(f64::MIN_POSITIVE)
}

/// What the scores lie along.
enum Axis {
    /// Each by its place in the order.
    Rank(usize),
    /// Counted by their size, up to this.
    Score(f64),
}

impl Axis {
    fn bars(&self, sorted: &[f64]) -> Vec<f64> {
        match self {
            Self::Rank(_) => sorted.iter().map(|s| s.max(0.0)).collect(),
            Self::Score(last) => {
                let mut bars = vec![0.0; BINS];
                for score in sorted {
                    bars[((score / last * BINS as f64).max(0.0) as usize).min(BINS - 1)] += 1.0;
                }
                bars
            }
        }
    }

    /// Where the threshold stands that so many lie below, 0 to 1.
    fn place(&self, sorted: &[f64], below: usize) -> f32 {
        match self {
            Self::Rank(count) => below as f32 / (*count).max(1) as f32,
            // Between the last that goes and the first that stays.
            Self::Score(last) => match (below.checked_sub(1).and_then(|b| sorted.get(b)), sorted.get(below)) {
                (None, _) => 0.0,
                (Some(goes), Some(stays)) => (0.5 * (goes + stays) / last).clamp(0.0, 1.0) as f32,
                (_, None) => 1.0,
            },
        }
    }

    /// How many lie below the threshold at a place.
    fn below(&self, sorted: &[f64], place: f32) -> usize {
        match self {
            Self::Rank(count) => (place * *count as f32).round() as usize,
            Self::Score(last) => sorted.partition_point(|s| *s < f64::from(place) * last),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_and_counts_are_each_others_inverse() {
        let many: Vec<f64> = (0..1000).map(|i| f64::from(i) * 0.001).collect();
        let few: Vec<f64> = (0..16).map(f64::from).collect();
        for (sorted, view) in [(&many, Axis::Score(last_shown(&many))), (&few, Axis::Rank(16))] {
            for below in [0, 3, 8, 15] {
                assert_eq!(view.below(sorted, view.place(sorted, below)), below);
            }
        }
        assert_eq!(Axis::Score(1.0).bars(&many).iter().sum::<f64>(), 1000.0);
    }
}
