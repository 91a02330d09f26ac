//! What the inspected layer gives for a sample: before compression, after it, and what is between.

use crate::workbench::ui::act::Act;
use crate::workbench::ui::maps::{Seen, Side};
use crate::workbench::ui::plots::tick;
use crate::workbench::ui::tasks;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::View;
use crate::workbench::ui::widgets::{empty, ramp, small};
use eframe::egui::{DragValue, Image, Rect, Sense, Ui, Vec2, vec2};

pub fn activations_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench else { return empty(ui, view.tokens, tr!("maps-none"), tr!("maps-none.hint")) };
    if bench.document().evaluate.is_none() || !bench.opened.subject.loaded.has_graph() {
        return empty(ui, view.tokens, tr!("maps-no-data"), tr!("maps-no-data.hint"));
    }
    let Some(layer) = bench.selection.primary().and_then(|l| bench.layers().get(l)) else {
        return empty(ui, view.tokens, tr!("maps-none"), tr!("maps-none.hint"));
    };
    ui.horizontal(|ui| {
        let name = small(ui, view.tokens, tr!("maps-sample"));
        let mut sample = bench.sample;
        let drag = ui.add(DragValue::new(&mut sample.number).range(0..=bench.samples_known().saturating_sub(1)).speed(0.2));
        if drag.labelled_by(name.id).on_hover_text(tr!("maps-sample.tooltip")).changed() {
            acts.push(Act::Sample(sample));
        }
        let of = tr!("maps-of", layer = &layer.name, recipe = &bench.document().active);
        small(ui, view.tokens, of);
    });
    let wanted = bench.wanted_maps();
    match bench.maps.as_ref().filter(|m| Some(&m.asked) == wanted.as_ref()).map(|m| &m.seen) {
        Some(Ok(seen)) => pictures_ui(ui, view, seen),
        Some(Err(why)) => empty(ui, view.tokens, tr!("maps-failed"), why),
        None if view.job_of(tasks::ACTIVATION).is_none() => empty(ui, view.tokens, tr!("maps-stopped"), tr!("maps-stopped.hint")),
        None => empty(ui, view.tokens, tr!("maps-running"), tr!("maps-running.hint")),
    }
}

fn pictures_ui(ui: &mut Ui, view: &View<'_>, seen: &Seen) {
    if seen.tiles.shown < seen.tiles.channels {
        small(ui, view.tokens, tr!("maps-first", shown = seen.tiles.shown, channels = seen.tiles.channels));
    }
    let space = ui.available_size();
    let gap = 12.0;
    let side = vec2((space.x - 2.0 * gap) / 3.0, space.y - 22.0);
    ui.horizontal_top(|ui| {
        ui.spacing_mut().item_spacing.x = gap;
        for which in Side::ALL {
            ui.vertical(|ui| {
                ui.set_width(side.x);
                head_ui(ui, view, seen, which);
                picture_ui(ui, seen, which, side);
            });
        }
    });
}

fn name(side: Side) -> &'static str {
    match side {
        Side::Before => tr!("maps-before"),
        Side::After => tr!("maps-after"),
        Side::Difference => tr!("maps-difference"),
    }
}

/// What it is, and the colors' range.
fn head_ui(ui: &mut Ui, view: &View<'_>, seen: &Seen, side: Side) {
    let range = if side == Side::Difference { seen.difference_range } else { seen.range };
    ui.horizontal(|ui| {
        ui.spacing_mut().item_spacing.x = 6.0;
        small(ui, view.tokens, name(side));
        let (strip, _) = ui.allocate_exact_size(vec2(48.0, 8.0), Sense::hover());
        ramp(ui.painter(), strip, &view.tokens.difference);
        small(ui, view.tokens, format!("± {}", tick(range)));
    });
}

fn picture_ui(ui: &mut Ui, seen: &Seen, side: Side, space: Vec2) {
    let Some(texture) = seen.texture(side) else { return };
    let [width, height] = seen.tiles.size().map(|s| s as f32);
    let scale = (space.x / width).min(space.y / height).max(0.0);
    let (area, response) = ui.allocate_exact_size(vec2(width, height) * scale, Sense::hover());
    Image::new((texture.id(), vec2(width, height))).fit_to_exact_size(area.size()).paint_at(ui, area);
    let response = response.accessible_name(name(side));
    if let Some(words) = response.hover_pos().and_then(|p| words(seen, area, (p.x, p.y), scale)) {
        response.on_hover_text_at_pointer(words);
    }
}

/// The value under the pointer, before and after.
fn words(seen: &Seen, area: Rect, (x, y): (f32, f32), scale: f32) -> Option<String> {
    let at = seen.tiles.at(((x - area.left()) / scale) as usize, ((y - area.top()) / scale) as usize)?;
    let index = seen.tiles.index(at);
    let value = |side| seen.value(side, index).map(tick);
    Some(tr!(
        "maps-value",
        channel = at.0,
        row = at.1,
        column = at.2,
        before = value(Side::Before)?,
        after = value(Side::After)?,
        difference = value(Side::Difference)?
    ))
}
