//! The error of a layer over the bits that a weight takes: a curve for every family of formats.

use super::names::{Name, draw_names};
use super::tradeoff::even_grid;
use crate::pipeline::configure::Scheme;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use eframe::egui::{Color32, Pos2, Stroke, Ui, vec2};
use egui_plot::{GridMark, Line, Plot, PlotPoint, PlotPoints, Points};
use std::ops::RangeInclusive;

/// One scheme.
#[derive(Debug, Clone)]
pub struct Choice {
    /// Stored bits per weight.
    pub bits: f64,
    pub sqnr_db: f64,
    /// The layer has it now.
    pub present: bool,
    pub scheme: Scheme,
}

impl Choice {
    /// Fewer bits for no more error, or less error for as many bits.
    fn beats(&self, other: &Self) -> bool {
        (self.bits < other.bits && self.sqnr_db >= other.sqnr_db) || (self.bits == other.bits && self.sqnr_db > other.sqnr_db)
    }
}

/// The schemes of a family, narrow ones first.
#[derive(Debug, Clone)]
pub struct Curve {
    pub name: &'static str,
    pub choices: Vec<Choice>,
}

impl Curve {
    fn is_present(&self) -> bool {
        self.choices.iter().any(|c| c.present)
    }

    /// Those with less error than every narrower one: the line. Rivals of one width stand beside it.
    fn best(&self) -> impl Iterator<Item = &Choice> {
        self.choices.iter().filter(|c| !self.choices.iter().any(|o| o.beats(c)))
    }
}

/// How close to a mark the pointer has to be, in points.
const REACH: f32 = 12.0;

/// Draws the curves: that of the layer's present scheme stands out, and the one under the pointer, of which `words` are
/// said. Gives the scheme that was clicked.
pub fn what_if_plot(
    ui: &mut Ui,
    tokens: &Tokens,
    curves: &[Curve],
    height: f32,
    words: impl FnOnce(&Choice) -> String,
) -> Option<Scheme> {
    let whole = |mark: GridMark, _: &RangeInclusive<f64>| format!("{:.0}", mark.value);
    let plot = Plot::new("what if curves")
        .height(height)
        .x_axis_formatter(whole)
        .y_axis_formatter(whole)
        .x_axis_label(tr!("what-if-bits-axis"))
        .y_axis_label(tr!("what-if-sqnr"))
        .y_axis_min_width(28.0)
        .x_grid_spacer(even_grid)
        .y_grid_spacer(even_grid)
        .grid_spacing(4.0..=40.0)
        .grid_color(tokens.line)
        .label_formatter(|_| None)
        .show_crosshair(false)
        .allow_scroll(false)
        .allow_drag(false)
        .allow_zoom(false)
        .allow_boxed_zoom(false)
        .set_margin_fraction(vec2(0.05, 0.08));
    let response = plot.show(ui, |plot_ui| {
        for curve in curves {
            let (color, width) = look(tokens, curve);
            let at: Vec<[f64; 2]> = curve.choices.iter().map(|c| [c.bits, c.sqnr_db]).collect();
            let best: Vec<[f64; 2]> = curve.best().map(|c| [c.bits, c.sqnr_db]).collect();
            plot_ui.line(Line::new(curve.name, PlotPoints::from(best)).color(color).width(width).allow_hover(false));
            plot_ui.points(Points::new(curve.name, at).radius(width + 0.8).color(color).allow_hover(false));
        }
    });
    let place = |c: &Choice| response.transform.position_from_point(&PlotPoint::new(c.bits, c.sqnr_db));
    let everywhere = curves.iter().flat_map(|c| &c.choices).map(|c| (place(c), if c.present { 7.0 } else { 2.0 }));
    let near = response.response.hover_pos().and_then(|pointer| nearest(curves, pointer, &place));
    let stand_out = |i: usize| curves[i].is_present() || near.is_some_and(|n| n.0 == i);
    let mut order: Vec<usize> = (0..curves.len()).filter(|&i| !curves[i].choices.is_empty()).collect();
    order.sort_by_key(|&i| !stand_out(i));
    let names = order.iter().filter_map(|&i| {
        let color = if stand_out(i) { tokens.text } else { tokens.muted };
        Some(Name { at: place(curves[i].best().last()?), text: curves[i].name.to_owned(), color, gap: 8.0 })
    });
    draw_names(ui, names.collect(), everywhere, *response.transform.frame(), tokens.background);
    for choice in curves.iter().flat_map(|c| &c.choices).filter(|c| c.present) {
        ui.painter().circle_stroke(place(choice), 7.0, Stroke::new(2.0, tokens.accent));
    }
    let near = near?;
    let curve = curves.get(near.0)?;
    let choice = curve.choices.get(near.1)?;
    let line: Vec<Pos2> = curve.best().map(place).collect();
    ui.painter().line(line, Stroke::new(2.0, tokens.text));
    ui.painter().circle_stroke(place(choice), 6.0, Stroke::new(1.0, tokens.text));
    let clicked = response.response.clicked();
    response.response.on_hover_text_at_pointer(words(choice));
    clicked.then_some(choice.scheme)
}

fn look(tokens: &Tokens, curve: &Curve) -> (Color32, f32) {
    if curve.is_present() { (tokens.accent, 2.0) } else { (tokens.muted.gamma_multiply(0.7), 1.0) }
}

fn nearest(curves: &[Curve], pointer: Pos2, place: &dyn Fn(&Choice) -> Pos2) -> Option<(usize, usize)> {
    let all = curves.iter().enumerate().flat_map(|(i, curve)| curve.choices.iter().enumerate().map(move |(j, c)| ((i, j), c)));
    all.map(|(at, c)| (at, place(c).distance(pointer)))
        .filter(|(_, distance)| *distance <= REACH)
        .min_by(|a, b| a.1.total_cmp(&b.1))
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_goes_through_what_nothing_beats() {
        let choice = |bits: f64, sqnr_db: f64| Choice { bits, sqnr_db, present: false, scheme: Scheme::F32 };
        let choices =
            vec![choice(2.0, 5.0), choice(3.0, 4.0), choice(4.0, 20.0), choice(4.0, 22.0), choice(5.0, 22.0), choice(6.0, 30.0)];
        let curve = Curve { name: "any", choices };
        let best: Vec<[f64; 2]> = curve.best().map(|c| [c.bits, c.sqnr_db]).collect();
        assert_eq!(best, [[2.0, 5.0], [4.0, 22.0], [6.0, 30.0]]);
    }
}
