//! Quality over bytes: every recipe a mark. Filled: measured. Hollow: predicted.

use super::names::{Name, draw_names};
use crate::engine::units;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use eframe::egui::{CursorIcon, Pos2, Rect, Sense, Stroke, Ui, pos2};
use egui_plot::{GridMark, Line, LineStyle, MarkerShape, Plot, PlotPoint, PlotPoints, PlotTransform, Points};
use std::ops::RangeInclusive;

/// One recipe on the chart.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts that are drawn differently")]
pub struct Mark {
    pub name: String,
    pub bytes: f64,
    /// In the unit of the axis.
    pub quality: f64,
    /// Ends of the 95 % interval.
    pub interval: Option<(f64, f64)>,
    pub measured: bool,
    pub stale: bool,
    pub current: bool,
    pub on_frontier: bool,
    /// What to say when the pointer is on it.
    pub words: String,
}

/// Radius of the ring around the active recipe, in points.
const RING: f32 = 9.0;
/// How close to a mark a click has to be, in points.
const REACH: f32 = 14.0;
/// Half the width of what takes hold of the line of the budget, in points.
const GRIP: f32 = 4.0;

/// How qualities are laid out from bottom to top.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Height {
    Linear,
    /// Powers of ten; what is less than a millionth stands there.
    Log,
}

impl Height {
    fn of(self, quality: f64) -> f64 {
        match self {
            Self::Linear => quality,
            Self::Log => quality.max(1e-6).log10(),
        }
    }

    fn text(self, height: f64) -> String {
        match self {
            Self::Linear => format!("{}", (height * 1e6).round() / 1e6),
            Self::Log if height < -3.0 => format!("{:.0e}", 10_f64.powf(height)),
            Self::Log => format!("{}", (10_f64.powf(height) * 1e4).round() / 1e4),
        }
    }
}

/// What was clicked or dragged.
pub enum Hit {
    Mark(usize),
    /// A point of the line of plans.
    Plan(usize),
    /// The line of the budget, to so many bytes.
    Budget(u64),
}

/// What is drawn, besides the marks.
pub struct Ground<'a> {
    /// Plans that nobody has built, as bytes and quality: a line below the marks.
    pub plans: &'a [(u64, f64)],
    /// Bytes at which the line stands that a hand can take hold of.
    pub budget: Option<u64>,
    pub y_label: &'a str,
    pub height: Height,
}

/// Draws the chart. Gives what was clicked or dragged.
pub fn tradeoff_plot(ui: &mut Ui, tokens: &Tokens, marks: &[Mark], ground: &Ground<'_>) -> Option<Hit> {
    let Ground { plans, height, y_label, .. } = *ground;
    let bytes_of = |mark: GridMark, _: &RangeInclusive<f64>| units::bytes(10_f64.powf(mark.value).round() as u64);
    let plot = Plot::new(("trade-off", y_label))
        .x_axis_formatter(bytes_of)
        .x_axis_label(tr!("tradeoff-x-axis"))
        .y_axis_label(y_label)
        .y_axis_formatter(move |mark: GridMark, _: &RangeInclusive<f64>| height.text(mark.value))
        .y_axis_min_width(36.0)
        .grid_spacing(4.0..=40.0)
        .y_grid_spacer(even_grid)
        .grid_color(tokens.line)
        .x_grid_spacer(bytes_grid)
        .label_formatter(|_| None)
        .show_crosshair(false)
        .allow_scroll(false)
        .set_margin_fraction(eframe::egui::vec2(0.08, 0.1));
    let response = plot.show(ui, |plot_ui| {
        let line: Vec<[f64; 2]> = plans.iter().map(|(bytes, quality)| [(*bytes as f64).log10(), height.of(*quality)]).collect();
        plot_ui.line(Line::new("Plans", PlotPoints::from(line)).color(tokens.warn).width(1.5).allow_hover(false));
        frontier_line(plot_ui, tokens, marks, height);
        for mark in marks {
            draw_mark(plot_ui, tokens, mark, height);
        }
    });
    let place = |m: &Mark| response.transform.position_from_point(&PlotPoint::new(m.bytes.log10(), height.of(m.quality)));
    let places = marks.iter().map(|m| (place(m), if m.current { RING } else { 4.5 }));
    draw_names(ui, names(tokens, marks, &place), places, *response.transform.frame(), tokens.background);
    if let Some(bytes) = ground.budget.and_then(|bytes| budget_line(ui, tokens, &response.transform, bytes, plans)) {
        return Some(Hit::Budget(bytes));
    }
    let pointer = response.response.hover_pos()?;
    let clicked = response.response.clicked();
    let distance = |at: Pos2| Some(at.distance(pointer)).filter(|d| *d <= REACH);
    let near = marks.iter().enumerate().filter_map(|(i, m)| Some((i, distance(place(m))?)));
    if let Some((index, mark)) = near.min_by(|a, b| a.1.total_cmp(&b.1)).and_then(|(i, _)| Some((i, marks.get(i)?))) {
        ui.painter().circle_stroke(place(mark), 9.0, Stroke::new(1.0, tokens.text));
        response.response.on_hover_text_at_pointer(mark.words.clone());
        return clicked.then_some(Hit::Mark(index));
    }
    let at = |bytes: u64, quality: f64| {
        response.transform.position_from_point(&PlotPoint::new((bytes as f64).log10(), height.of(quality)))
    };
    let near = plans.iter().enumerate().filter_map(|(i, (bytes, quality))| Some((i, distance(at(*bytes, *quality))?)));
    let (index, (bytes, quality)) = near.min_by(|a, b| a.1.total_cmp(&b.1)).and_then(|(i, _)| Some((i, *plans.get(i)?)))?;
    ui.painter().circle_filled(at(bytes, quality), 4.0, tokens.warn);
    let words = tr!("tradeoff-plan", size = units::bytes(bytes), quality = format!("{quality:.5}"));
    response.response.on_hover_text_at_pointer(words);
    clicked.then_some(Hit::Plan(index))
}

/// The line of the budget; where it was dragged to.
fn budget_line(ui: &mut Ui, tokens: &Tokens, transform: &PlotTransform, bytes: u64, plans: &[(u64, f64)]) -> Option<u64> {
    let frame = *transform.frame();
    let x = transform.position_from_point(&PlotPoint::new((bytes as f64).log10(), 0.0)).x;
    if !frame.x_range().contains(x) {
        return None;
    }
    let strip = Rect::from_x_y_ranges(x - GRIP..=x + GRIP, frame.y_range());
    let response =
        ui.interact(strip, ui.scope_id().with("budget line"), Sense::drag()).on_hover_cursor(CursorIcon::ResizeHorizontal);
    let held = response.dragged() || response.hovered();
    let stroke = Stroke::new(if held { 2.0 } else { 1.0 }, tokens.warn.gamma_multiply(if held { 1.0 } else { 0.6 }));
    ui.painter().with_clip_rect(frame).vline(x, frame.y_range(), stroke);
    let grip = Rect::from_center_size(pos2(x, frame.bottom() - 7.0), eframe::egui::vec2(8.0, 10.0));
    ui.painter().rect_filled(grip, 2.0, stroke.color);
    let pointer = response.interact_pointer_pos().filter(|_| response.dragged())?;
    let wanted = 10_f64.powf(transform.value_from_position(pointer).x) as u64;
    let (least, most) = (plans.iter().map(|p| p.0).min()?, plans.iter().map(|p| p.0).max()?);
    Some(wanted.clamp(least, most)).filter(|wanted| *wanted != bytes)
}

/// Names beside the marks, the telling ones first.
fn names(tokens: &Tokens, marks: &[Mark], place: &dyn Fn(&Mark) -> Pos2) -> Vec<Name> {
    let mut order: Vec<&Mark> = marks.iter().collect();
    order.sort_by_key(|m| (!m.current, !m.measured, !m.on_frontier));
    let name = |m: &&Mark| Name {
        at: place(m),
        text: m.name.clone(),
        color: if m.current { tokens.text } else { tokens.muted },
        gap: if m.current { 14.0 } else { 9.0 },
    };
    order.iter().map(name).collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the plot's interface")]
/// Grid lines at 1, 2 and 5 times each power of ten.
fn bytes_grid(input: egui_plot::GridInput) -> Vec<GridMark> {
    let (low, high) = input.bounds;
    if !(high > low && high - low < 40.0) {
        return Vec::new();
    }
    let decades = low.floor() as i32..=high.ceil() as i32;
    let mark = |decade: i32, times: f64| GridMark {
        value: f64::from(decade) + times.log10(),
        step_size: if times == 1.0 { 1.0 } else { 0.3 },
    };
    let near = high - low < 1.6;
    decades
        .flat_map(|d| [1.0, 2.0, 5.0].into_iter().filter(move |t| near || *t == 1.0).map(move |t| mark(d, t)))
        .filter(|m| (low..=high).contains(&m.value))
        .collect()
}

#[expect(clippy::needless_pass_by_value, reason = "the plot's interface")]
/// About six grid lines at round numbers.
pub(super) fn even_grid(input: egui_plot::GridInput) -> Vec<GridMark> {
    let (low, high) = input.bounds;
    let raw = (high - low) / 6.0;
    if !(raw > 0.0 && raw.is_finite()) {
        return Vec::new();
    }
    let decade = 10_f64.powf(raw.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].map(|m| m * decade).into_iter().find(|s| *s >= raw).unwrap_or(raw);
    let first = (low / step).ceil() as i64;
    (first..first + 12).map(|i| i as f64 * step).filter(|v| *v <= high).map(|value| GridMark { value, step_size: step }).collect()
}

fn frontier_line(plot_ui: &mut egui_plot::PlotUi<'_>, tokens: &Tokens, marks: &[Mark], height: Height) {
    for measured in [true, false] {
        let mut points: Vec<[f64; 2]> = marks
            .iter()
            .filter(|m| m.on_frontier && m.measured == measured)
            .map(|m| [m.bytes.log10(), height.of(m.quality)])
            .collect();
        points.sort_by(|a, b| a[0].total_cmp(&b[0]));
        let (color, style) =
            if measured { (tokens.measured, LineStyle::Solid) } else { (tokens.predicted, LineStyle::dashed_dense()) };
        let name = if measured { "Frontier, measured" } else { "Frontier, predicted" };
        let line =
            Line::new(name, PlotPoints::from(points)).color(color.gamma_multiply(0.7)).width(1.5).style(style).allow_hover(false);
        plot_ui.line(line);
    }
}

fn draw_mark(plot_ui: &mut egui_plot::PlotUi<'_>, tokens: &Tokens, mark: &Mark, height: Height) {
    let at = [mark.bytes.log10(), height.of(mark.quality)];
    let color = if mark.stale {
        tokens.stale
    } else if mark.measured {
        tokens.measured
    } else {
        tokens.predicted
    };
    if let Some((low, high)) = mark.interval {
        let bar = Line::new("", PlotPoints::from(vec![[at[0], low], [at[0], high]])).color(color).width(1.0);
        plot_ui.line(bar.allow_hover(false));
    }
    let shape = if mark.stale { MarkerShape::Diamond } else { MarkerShape::Circle };
    let points = |radius: f32, filled: bool, color| {
        Points::new(mark.name.clone(), vec![at]).shape(shape).filled(filled).radius(radius).color(color).allow_hover(false)
    };
    plot_ui.points(points(4.5, mark.measured && !mark.stale, color));
    if mark.current {
        plot_ui.points(points(RING, false, tokens.accent));
    }
}
