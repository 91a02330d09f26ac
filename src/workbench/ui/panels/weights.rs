//! The inspected layer's weights, as near as one likes: before, after, what is between, and which are left.

use crate::engine::graph::Layer;
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::Bench;
use crate::workbench::ui::inspect::{LayerFacts, Treated};
use crate::workbench::ui::pictures::{Lens, Sight, WeightPicture};
use crate::workbench::ui::plots::tick;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::View;
use crate::workbench::ui::widgets::{combo, empty, ramp, small};
use eframe::egui::{Align, Image, Label, Layout, Pos2, Rect, RichText, Sense, Stroke, StrokeKind, TextureHandle, Ui, Vec2, vec2};

/// Scrolled points that double the size.
const DOUBLING: f32 = 120.0;

pub fn weights_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let found = view.bench.and_then(|b| Some((b, b.facts.as_deref()?, b.treated.as_deref()?)));
    let found = found.filter(|(b, facts, _)| b.selection.primary() == Some(facts.index) && b.lens.0 == facts.index);
    let Some((bench, facts, treated)) = found else {
        return empty(ui, view.tokens, tr!("configure-no-layer"), tr!("configure-no-layer.weights"));
    };
    let Some(layer) = bench.layers().get(facts.index) else { return };
    let picture = bench.sight.as_ref().filter(|p| p.layer == facts.index);
    bar_ui(ui, view, bench, (layer, facts), picture, acts);
    match picture.and_then(|p| Some((p, p.texture()?))) {
        Some((picture, texture)) => picture_ui(ui, view, bench, (layer, facts, treated), (picture, texture), acts),
        None => empty(ui, view.tokens, tr!("configure-being-drawn"), ""),
    }
}

fn bar_ui(
    ui: &mut Ui,
    view: &View<'_>,
    bench: &Bench,
    (layer, facts): (&Layer, &LayerFacts),
    picture: Option<&WeightPicture>,
    acts: &mut Vec<Act>,
) {
    let lens = bench.lens.1;
    ui.horizontal(|ui| {
        let choices = || Sight::ALL.map(|s| (s, s.name()));
        if let Some(sight) = combo(ui, (), || tr!("weights-sight").to_owned(), 150.0, lens.sight, lens.sight.name(), choices) {
            acts.push(Act::Look(Lens { sight, ..lens }));
        }
        let whole = Lens::whole(lens.sight, facts.spreads.len().max(1), facts.columns(), lens.most);
        if ui
            .add_enabled(lens != whole, eframe::egui::Button::new(tr!("weights-whole")))
            .on_hover_text(tr!("weights-whole.tooltip"))
            .clicked()
        {
            acts.push(Act::Look(whole));
        }
        let (rows, columns) = (lens.rows, lens.columns);
        let part =
            tr!("weights-part", layer = &layer.name, top = rows.0, bottom = rows.1 - 1, left = columns.0, right = columns.1 - 1);
        // What is said of the part takes the room that the legend leaves.
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            legend_ui(ui, view, picture);
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                let words = RichText::new(&part).color(view.tokens.muted).size(11.5);
                ui.add(Label::new(words).truncate()).on_hover_text(part);
            });
        });
    });
}

fn legend_ui(ui: &mut Ui, view: &View<'_>, picture: Option<&WeightPicture>) {
    let Some(picture) = picture else { return };
    if picture.lens.sight == Sight::Kept {
        small(ui, view.tokens, tr!("weights-dark"));
        return;
    }
    small(ui, view.tokens, tick(picture.range));
    let (strip, _) = ui.allocate_exact_size(vec2(80.0, 8.0), Sense::hover());
    ramp(ui.painter(), strip, &view.tokens.difference);
    small(ui, view.tokens, format!("−{}", tick(picture.range)));
}

fn picture_ui(
    ui: &mut Ui,
    view: &View<'_>,
    bench: &Bench,
    (layer, facts, treated): (&Layer, &LayerFacts, &Treated),
    (picture, texture): (&WeightPicture, &TextureHandle),
    acts: &mut Vec<Act>,
) {
    let (area, response) = ui.allocate_exact_size(ui.available_size(), Sense::click_and_drag());
    Image::new((texture.id(), Vec2::new(picture.columns as f32, picture.rows as f32)))
        .fit_to_exact_size(area.size())
        .maintain_aspect_ratio(false)
        .paint_at(ui, area);
    ui.painter().rect_stroke(area, 0.0, Stroke::new(1.0, view.tokens.line), StrokeKind::Inside);
    let (lens, size) = (bench.lens.1, (facts.spreads.len().max(1), facts.columns()));
    if let Some(pointer) = response.hover_pos().filter(|p| area.contains(*p)) {
        let at = ((pointer.x - area.left()) / area.width(), (pointer.y - area.top()) / area.height());
        let (scrolled, pinched) = ui.input(|i| (i.smooth_scroll_delta().y, i.zoom_delta()));
        let factor = (scrolled / DOUBLING).exp2() * pinched;
        if (factor - 1.0).abs() > 1e-3 {
            acts.push(Act::Look(lens.zoomed(factor, at, size)));
        }
    }
    if response.dragged() && response.drag_delta() != Vec2::ZERO {
        let by = response.drag_delta();
        acts.push(Act::Look(lens.moved((-by.x / area.width(), -by.y / area.height()), size)));
    }
    if response.double_clicked() {
        acts.push(Act::Look(Lens::whole(lens.sight, size.0, size.1, lens.most)));
    }
    let words = response.hover_pos().and_then(|p| words(p, area, &picture.lens, (layer, facts, treated)));
    if let Some(words) = words.filter(|_| !response.dragged()) {
        response.on_hover_text_at_pointer(words);
    }
}

/// The weight under the pointer.
fn words(pointer: Pos2, area: Rect, lens: &Lens, (layer, facts, treated): (&Layer, &LayerFacts, &Treated)) -> Option<String> {
    let place = |share: f32, (from, to): (usize, usize)| (from + (share * (to - from) as f32) as usize).min(to - 1);
    let row = place((pointer.y - area.top()) / area.height(), lens.rows);
    let column = place((pointer.x - area.left()) / area.width(), lens.columns);
    let taps: usize = layer.shape.iter().skip(2).product();
    let at = flat(&layer.shape, layer.out_axis, row, column);
    let (before, after) = (facts.weights.get(at)?, treated.approximate.get(at)?);
    let place = if taps > 1 {
        tr!("weights-place-tap", output = row, input = column / taps, tap = column % taps)
    } else {
        tr!("weights-place", output = row, input = column)
    };
    let values = tr!("weights-values", before = tick(*before), after = tick(*after), difference = tick(before - after));
    let (tall, wide) = lens.step();
    let coarse = (tall * wide > 1).then(|| tr!("weights-coarse", rows = tall, columns = wide));
    Some([place, values].into_iter().chain(coarse).collect::<Vec<_>>().join("\n"))
}

/// The place of a weight in its own order, from its output channel and its place among those of that channel.
fn flat(shape: &[usize], out_axis: usize, row: usize, column: usize) -> usize {
    let inner: usize = shape.iter().skip(out_axis + 1).product();
    let outer = column / inner.max(1);
    (outer * shape.get(out_axis).copied().unwrap_or(1) + row) * inner + column % inner.max(1)
}

#[cfg(test)]
mod tests {
    use super::flat;
    use crate::engine::kernels::summary::rows_along;

    #[test]
    fn places_are_those_of_rows() {
        for (shape, axis) in [(vec![3, 4], 1), (vec![2, 3, 2], 1), (vec![3, 4], 0), (vec![4, 2, 3, 3], 0)] {
            let count: usize = shape.iter().product();
            let values: Vec<f32> = (0..count).map(|v| v as f32).collect();
            let rows = rows_along(&values, &shape, axis);
            let width = count / shape[axis];
            for (i, value) in rows.iter().enumerate() {
                assert_eq!(flat(&shape, axis, i / width, i % width), *value as usize, "{shape:?} along {axis}");
            }
        }
    }
}
