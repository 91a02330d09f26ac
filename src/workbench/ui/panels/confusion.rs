//! Which classes the active recipe takes for which, more often or less than the original does.

use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::Bench;
use crate::workbench::ui::changes::Filter;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::View;
use crate::workbench::ui::widgets::{empty, ramp, small};
use eframe::egui::{Align2, FontId, Rect, Role, ScrollArea, Sense, Stroke, StrokeKind, Ui, WidgetInfo, pos2, vec2};
use std::collections::{BTreeMap, BTreeSet};

/// Classes in the matrix at most: those with the most changes.
const MOST: usize = 40;
const CELL: (f32, f32) = (14.0, 30.0);
const NAMES: f32 = 92.0;

pub fn confusion_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench else {
        return empty(ui, view.tokens, tr!("confusion-no-project"), tr!("confusion-no-project.hint"));
    };
    let found = bench.comparable();
    let own = found.iter().position(|(p, _)| p.name == bench.document().active).unwrap_or(0);
    let Some(((point, _), changes)) = found.get(own).zip(bench.differences.confusions.get(own)) else {
        return empty(ui, view.tokens, tr!("confusion-unmeasured"), tr!("confusion-unmeasured.hint"));
    };
    let cells: BTreeMap<(usize, usize), i64> = changes.iter().map(|c| ((c.label, c.predicted), c.more)).collect();
    if cells.is_empty() {
        return empty(ui, view.tokens, tr!("confusion-none"), tr!("confusion-none.hint"));
    }
    let most = cells.values().map(|m| m.abs()).max().unwrap_or(1);
    ui.horizontal(|ui| {
        small(ui, view.tokens, tr!("confusion-axes", recipe = &point.name));
        small(ui, view.tokens, tr!("confusion-fewer", count = most.to_string()));
        let (strip, _) = ui.allocate_exact_size(vec2(70.0, 8.0), Sense::hover());
        ramp(ui.painter(), strip, &view.tokens.difference);
        small(ui, view.tokens, tr!("confusion-more", count = most.to_string()));
        if bench.changes.cell.is_some() && ui.button(tr!("confusion-all")).clicked() {
            acts.push(Act::Changes(Filter { cell: None, ..bench.changes }));
        }
    });
    ScrollArea::both().auto_shrink([false, false]).show(ui, |ui| matrix_ui(ui, view, bench, &cells, most, acts));
}

/// The classes that take part, those with the most changes where there are too many; in their order.
fn classes(cells: &BTreeMap<(usize, usize), i64>) -> Vec<usize> {
    let mut changes: BTreeMap<usize, i64> = BTreeMap::new();
    for ((label, predicted), more) in cells {
        *changes.entry(*label).or_default() += more.abs();
        *changes.entry(*predicted).or_default() += more.abs();
    }
    let mut order: Vec<(usize, i64)> = changes.into_iter().collect();
    order.sort_by_key(|(class, more)| (-more, *class));
    order.into_iter().take(MOST).map(|(class, _)| class).collect::<BTreeSet<_>>().into_iter().collect()
}

fn matrix_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, cells: &BTreeMap<(usize, usize), i64>, most: i64, acts: &mut Vec<Act>) {
    let (t, classes) = (view.tokens, classes(cells));
    let room = (ui.available_width() - NAMES - 8.0) / classes.len().max(1) as f32;
    let side = room.clamp(CELL.0, CELL.1);
    let size = vec2(NAMES + side * classes.len() as f32 + 4.0, side * classes.len() as f32 + 20.0);
    let (area, response) = ui.allocate_exact_size(size, Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, tr!("confusion-name")));
    let place = |row: usize, column: usize| {
        let corner = pos2(area.left() + NAMES + column as f32 * side, area.top() + 18.0 + row as f32 * side);
        Rect::from_min_size(corner, vec2(side, side)).shrink(0.5)
    };
    let font = FontId::proportional(11.0);
    let painter = ui.painter();
    for (row, label) in classes.iter().enumerate() {
        let name = bench.changed.class(*label);
        let names = painter.with_clip_rect(Rect::from_x_y_ranges(area.left()..=area.left() + NAMES - 4.0, area.y_range()));
        names.text(pos2(area.left(), place(row, 0).center().y), Align2::LEFT_CENTER, name, font.clone(), t.text);
        let top = pos2(place(0, row).center().x, area.top() + 14.0);
        painter.text(top, Align2::CENTER_BOTTOM, label.to_string(), FontId::proportional(10.0), t.muted);
        for (column, predicted) in classes.iter().enumerate() {
            let rect = place(row, column);
            let more = cells.get(&(*label, *predicted)).copied().unwrap_or(0);
            let ground = t.difference.at(0.5 + 0.5 * more as f32 / most as f32);
            painter.rect_filled(rect, 1.0, ground);
            if row == column {
                painter.rect_stroke(rect, 1.0, Stroke::new(1.0, t.line), StrokeKind::Inside);
            }
            if more != 0 && side > 18.0 {
                painter.text(
                    rect.center(),
                    Align2::CENTER_CENTER,
                    format!("{more:+}"),
                    FontId::proportional(10.0),
                    t.text_on(ground),
                );
            }
            if bench.changes.cell == Some((*label, *predicted)) {
                painter.rect_stroke(rect, 1.0, Stroke::new(2.0, t.accent), StrokeKind::Outside);
            }
        }
    }
    let Some(pointer) = response.hover_pos() else { return };
    let at = |x: f32| (x >= 0.0).then_some((x / side) as usize).and_then(|i| classes.get(i).copied());
    let cell = at(pointer.y - area.top() - 18.0).zip(at(pointer.x - area.left() - NAMES));
    let Some((label, predicted)) = cell else { return };
    let more = cells.get(&(label, predicted)).copied().unwrap_or(0);
    if response.clicked() {
        let again = bench.changes.cell == Some((label, predicted));
        acts.push(Act::Changes(Filter { cell: (!again).then_some((label, predicted)), ..bench.changes }));
    }
    let (is, taken) = (bench.changed.class(label), bench.changed.class(predicted));
    let more = format!("{more:+}");
    response.on_hover_text_at_pointer(tr!("confusion-cell", label = is, predicted = taken, more = more));
}
