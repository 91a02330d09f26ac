//! The network as a drawing: boxes and wires, colored by what one wants to know.

use crate::engine::units;
use crate::workbench::ui::act::{Act, Pick};
use crate::workbench::ui::bench::Bench;
use crate::workbench::ui::graph::fold::Shown;
use crate::workbench::ui::graph::geometry::{Point, Rect as Area};
use crate::workbench::ui::network::Drawn;
use crate::workbench::ui::session::Paint;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use crate::workbench::ui::view::{View, decibels};
use crate::workbench::ui::widgets::{combo, empty, field, legend, small};
use crate::workbench::ui::{network::Network, session::Heat};
use eframe::egui::epaint::CubicBezierShape;
use eframe::egui::{
    Align2, Color32, CursorIcon, FontId, Id, Key, Painter, Pos2, Rect, Role, Sense, Stroke, StrokeKind, Ui, Vec2, WidgetInfo,
    pos2, vec2,
};
use std::sync::Arc;

/// Nearest and farthest.
const ZOOM: (f32, f32) = (0.02, 2.5);
/// Text is drawn from this zoom on, shapes of tensors from this one on.
const READABLE: f32 = 0.45;
const DETAILED: f32 = 0.85;
/// Boxes from which on a small picture of the whole is always in the corner, not only where parts are out of sight.
const MANY: usize = 200;
/// Scrolled points that double the size.
const DOUBLING: f32 = 160.0;
const MINIMAP: Vec2 = vec2(180.0, 220.0);

/// From where the drawing is looked at.
#[derive(Debug, Clone, Copy)]
struct Camera {
    /// What lies in the middle of the panel, in points of the drawing.
    center: Pos2,
    zoom: f32,
}

/// The panel, and the drawing in it.
struct Scene<'a> {
    view: &'a View<'a>,
    bench: &'a Bench,
    drawn: &'a Drawn,
    frame: Rect,
    camera: Camera,
    found: Vec<usize>,
}

pub fn graph_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench else {
        return empty(ui, view.tokens, tr!("graph-no-project"), tr!("graph-no-project.hint"));
    };
    if !bench.opened.subject.loaded.has_graph() {
        return empty(ui, view.tokens, tr!("graph-none"), tr!("graph-none.hint"));
    }
    let Some(drawn) = &bench.network else {
        return match view.network_problem {
            Some(problem) => empty(ui, view.tokens, tr!("graph-failed"), problem),
            None => empty(ui, view.tokens, tr!("graph-wait"), ""),
        };
    };
    // Where one looked from, and for what, is of this network.
    let id = Id::unique(("graph", Arc::as_ptr(&drawn.network) as usize));
    let fit = bar_ui(ui, view, bench, drawn, id, acts);
    let (frame, response) = ui.allocate_exact_size(ui.available_size(), Sense::click_and_drag());
    let whole = drawn.sheet.drawing().size;
    let title = tr!("graph-name", nodes = drawn.network.nodes.len(), boxes = drawn.folded.boxes.len());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &title));
    let kept = ui.data(|d| d.get_temp::<Camera>(id)).filter(|_| !fit);
    let size = vec2(whole.width, whole.height);
    let mut camera = kept.unwrap_or_else(|| if fit { fitting(frame, size) } else { first(frame, size) });
    if bench.selection.reveal
        && let Some(at) = bench.selection.primary().and_then(|layer| drawn.box_of(layer))
    {
        camera = Camera { center: center_of(drawn, at), zoom: camera.zoom.max(READABLE) };
    }
    if response.dragged() {
        camera.center -= response.drag_delta() / camera.zoom;
    }
    camera.center = camera.center.clamp(Pos2::ZERO, size.to_pos2());
    if let Some(pointer) = response.hover_pos() {
        let (scrolled, pinched) = ui.input(|i| (i.smooth_scroll_delta().y, i.zoom_delta()));
        let zoom = (camera.zoom * (scrolled / DOUBLING).exp2() * pinched).clamp(ZOOM.0, ZOOM.1);
        // What is under the pointer stays there.
        camera.center += (pointer - frame.center()) * (1.0 / camera.zoom - 1.0 / zoom);
        camera.zoom = zoom;
    }
    let found = drawn.matching(&ui.data(|d| d.get_temp::<String>(id.with("word"))).unwrap_or_default());
    let scene = Scene { view, bench, drawn, frame, camera, found };
    let painter = ui.painter_at(frame);
    painter.rect_filled(frame, 0.0, view.tokens.background);
    scene.draw(&painter);
    let is_whole = scene.seen().width() >= whole.width && scene.seen().height() >= whole.height;
    let moved = (!is_whole || drawn.folded.boxes.len() >= MANY).then(|| scene.minimap_ui(ui, id)).flatten();
    ui.data_mut(|d| d.insert_temp(id, moved.map_or(camera, |center| Camera { center, ..camera })));
    let over = response.hover_pos().and_then(|p| drawn.sheet.box_at(scene.point(p)));
    let Some((at, shown)) = over.and_then(|at| Some((at, *drawn.folded.boxes.get(at)?))) else { return };
    scene.outline(&painter, at, view.tokens.text);
    if response.double_clicked() {
        acts.extend(fold_of(drawn, shown).map(Act::Fold));
    } else if response.clicked() {
        select(ui, &drawn.network, shown, acts);
    }
    response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text_at_pointer(scene.words(shown));
}

/// A double click opens a closed block, and closes the one around a node.
fn fold_of(drawn: &Drawn, shown: Shown) -> Option<std::collections::BTreeSet<usize>> {
    match shown {
        Shown::Block(block) => Some(drawn.toggled(block)),
        Shown::Node(_) => drawn.around(shown).map(|block| drawn.toggled(block)),
    }
}

fn select(ui: &Ui, network: &Network, shown: Shown, acts: &mut Vec<Act>) {
    let adds = ui.input(|i| i.modifiers.command || i.modifiers.shift);
    for (number, layer) in network.layers(shown).enumerate() {
        let how = if number == 0 && !adds { Pick::Only } else { Pick::Toggle };
        acts.push(Act::Select { layer, how });
    }
}

/// Word to look for, what boxes are colored by, and the key to that. Whether the whole is to be shown.
fn bar_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench, drawn: &Drawn, id: Id, acts: &mut Vec<Act>) -> bool {
    let mut fit = false;
    ui.horizontal(|ui| {
        let mut word = ui.data(|d| d.get_temp::<String>(id.with("word"))).unwrap_or_default();
        let edit = field(&mut word).desired_width(150.0).hint_text(tr!("graph-find"));
        let response = ui.add(edit).accessible_name(tr!("graph-find"));
        let found = drawn.matching(&word);
        if response.changed() {
            ui.data_mut(|d| d.insert_temp(id.with("word"), word.clone()));
            ui.data_mut(|d| d.insert_temp(id.with("turn"), 0_usize));
        }
        if response.lost_focus() && ui.input(|i| i.key_pressed(Key::Enter)) && !found.is_empty() {
            let turn = ui.data(|d| d.get_temp::<usize>(id.with("turn"))).unwrap_or(0);
            let zoom = ui.data(|d| d.get_temp::<Camera>(id)).map_or(1.0, |c| c.zoom.max(READABLE));
            let center = center_of(drawn, found[turn % found.len()]);
            ui.data_mut(|d| d.insert_temp(id, Camera { center, zoom }));
            ui.data_mut(|d| d.insert_temp(id.with("turn"), turn + 1));
            response.request_focus();
        }
        if !word.is_empty() {
            small(ui, view.tokens, tr!("graph-found", count = found.len()));
        }
        fit = ui.button(tr!("graph-fit")).on_hover_text(tr!("graph-fit.tooltip")).clicked();
        let blocks = drawn.network.blocks.blocks.len();
        if blocks > 0 {
            if ui.button(tr!("graph-open")).on_hover_text(tr!("graph-open.tooltip")).clicked() {
                acts.push(Act::Fold(std::collections::BTreeSet::new()));
            }
            if ui.button(tr!("graph-close")).on_hover_text(tr!("graph-close.tooltip")).clicked() {
                acts.push(Act::Fold((0..blocks).collect()));
            }
        }
        small(ui, view.tokens, tr!("graph-color"));
        let choices = || Paint::ALL.map(|p| (p, p.name()));
        let present = view.session.paint;
        let name = || tr!("graph-color-name").to_owned();
        if let Some(paint) = combo(ui, (), name, 130.0, present, present.name(), choices) {
            acts.push(Act::Paint(paint));
        }
        key_ui(ui, view, bench);
    });
    fit
}

fn key_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench) {
    match view.session.paint {
        Paint::Error => legend(ui, view.tokens, Heat::Weights),
        Paint::Bits => {
            for bits in [2_u8, 4, 8, 32] {
                // The first one says what the numbers are.
                let name = if bits == 2 { tr!("graph-color-bits", bits = bits) } else { bits.to_string() };
                let (rect, _) = ui.allocate_exact_size(vec2(10.0, 10.0), Sense::hover());
                ui.painter().rect_filled(rect, 2.0, share_color(view.tokens, f32::from(bits) / 32.0));
                small(ui, view.tokens, name);
            }
        }
        Paint::Bytes | Paint::Macs => {
            let most = bench.layers().iter().enumerate().map(|(i, _)| amount(bench, view.session.paint, i)).max().unwrap_or(0);
            let (strip, _) = ui.allocate_exact_size(vec2(80.0, 8.0), Sense::hover());
            let steps = 16;
            for step in 0..steps {
                let left = strip.left() + strip.width() * step as f32 / steps as f32;
                let part = Rect::from_min_size(pos2(left, strip.top()), vec2(strip.width() / steps as f32 + 0.5, strip.height()));
                ui.painter().rect_filled(part, 0.0, share_color(view.tokens, step as f32 / steps as f32));
            }
            let text = if view.session.paint == Paint::Bytes { units::bytes(most) } else { units::count(most) };
            small(ui, view.tokens, tr!("graph-color-most", amount = text));
        }
    }
}

/// Bytes or multiply-adds of a layer.
fn amount(bench: &Bench, paint: Paint, layer: usize) -> u64 {
    match paint {
        Paint::Macs => bench.layers().get(layer).and_then(|l| l.macs).unwrap_or(0),
        _ => bench.layer_plan(layer).map_or(0, |p| p.bytes),
    }
}

fn share_color(tokens: &Tokens, share: f32) -> Color32 {
    tokens.raised.lerp_to_gamma(tokens.accent, share.clamp(0.0, 1.0))
}

/// The whole where it can be read; else its beginning.
fn first(frame: Rect, size: Vec2) -> Camera {
    let whole = fitting(frame, size);
    if whole.zoom >= READABLE {
        return whole;
    }
    let zoom = DETAILED;
    Camera { center: pos2(0.5 * size.x, 0.5 * (frame.height() - 24.0) / zoom), zoom }
}

fn fitting(frame: Rect, size: Vec2) -> Camera {
    let zoom = ((frame.width() - 24.0) / size.x.max(1.0)).min((frame.height() - 24.0) / size.y.max(1.0));
    Camera { center: (size * 0.5).to_pos2(), zoom: zoom.clamp(ZOOM.0, 1.2) }
}

fn center_of(drawn: &Drawn, at: usize) -> Pos2 {
    let center = drawn.sheet.drawing().boxes.get(at).map_or_else(Point::default, Area::center);
    pos2(center.x, center.y)
}

impl Scene<'_> {
    fn place(&self, at: Point) -> Pos2 {
        self.frame.center() + (pos2(at.x, at.y) - self.camera.center) * self.camera.zoom
    }

    fn point(&self, at: Pos2) -> Point {
        let at = self.camera.center + (at - self.frame.center()) / self.camera.zoom;
        Point { x: at.x, y: at.y }
    }

    fn rect(&self, at: usize) -> Rect {
        let area = self.drawn.sheet.drawing().boxes.get(at).copied().unwrap_or_default();
        Rect::from_min_max(self.place(area.min), self.place(area.max))
    }

    fn seen(&self) -> Area {
        Area::spanning(self.point(self.frame.min), self.point(self.frame.max))
    }

    fn draw(&self, painter: &Painter) {
        let seen = self.seen();
        for wire in self.drawn.sheet.wires_in(&seen) {
            self.draw_wire(painter, wire);
        }
        let largest = match self.view.session.paint {
            Paint::Bytes | Paint::Macs => {
                let all = (0..self.bench.layers().len()).map(|l| amount(self.bench, self.view.session.paint, l));
                all.max().unwrap_or(1).max(1)
            }
            _ => 1,
        };
        for at in self.drawn.sheet.boxes_in(&seen) {
            self.draw_box(painter, at, largest);
        }
        for at in &self.found {
            self.outline(painter, *at, self.view.tokens.warn);
        }
        for at in self.bench.selection.layers().filter_map(|layer| self.drawn.box_of(layer)) {
            self.outline(painter, at, self.view.tokens.accent);
        }
    }

    fn outline(&self, painter: &Painter, at: usize, color: Color32) {
        painter.rect_stroke(self.rect(at).expand(2.0), 5.0, Stroke::new(2.0, color), StrokeKind::Outside);
    }

    fn draw_wire(&self, painter: &Painter, wire: usize) {
        let Some(route) = self.drawn.sheet.drawing().routes.get(wire) else { return };
        let stroke = Stroke::new((1.2 * self.camera.zoom).clamp(0.5, 1.5), self.view.tokens.muted.gamma_multiply(0.8));
        for piece in route.windows(2) {
            let (from, to) = (self.place(piece[0]), self.place(piece[1]));
            let is_straight = (from.x - to.x).abs() < 0.5 || self.camera.zoom < READABLE;
            if is_straight {
                painter.line_segment([from, to], stroke);
            } else {
                // Vertical at both ends.
                let middle = 0.5 * (from.y + to.y);
                let points = [from, pos2(from.x, middle), pos2(to.x, middle), to];
                painter.add(CubicBezierShape::from_points_stroke(points, false, Color32::TRANSPARENT, stroke));
            }
        }
        if self.camera.zoom >= DETAILED
            && let (Some(end), Some(shape)) = (route.last(), self.shape_on(wire))
        {
            let at = self.place(*end) + vec2(4.0, -3.0);
            painter.text(at, Align2::LEFT_BOTTOM, shape, FontId::proportional(9.5 * self.camera.zoom), self.view.tokens.muted);
        }
    }

    fn shape_on(&self, wire: usize) -> Option<&str> {
        let first = self.drawn.folded.carries.get(wire)?.first()?;
        self.drawn.network.shapes.get(*first).map(String::as_str)
    }

    fn draw_box(&self, painter: &Painter, at: usize, largest: u64) {
        let (Some(&shown), t) = (self.drawn.folded.boxes.get(at), self.view.tokens) else { return };
        let rect = self.rect(at);
        let fill = self.fill(shown, largest);
        let is_block = matches!(shown, Shown::Block(_));
        if is_block && self.camera.zoom > 0.15 {
            // A second sheet behind it: there is more inside.
            let behind = rect.translate(Vec2::splat(3.0 * self.camera.zoom));
            painter.rect(behind, 4.0, t.panel, Stroke::new(1.0, t.line), StrokeKind::Inside);
        }
        painter.rect(rect, 4.0, fill, Stroke::new(1.0, if is_block { t.muted } else { t.line }), StrokeKind::Inside);
        if self.camera.zoom < READABLE {
            return;
        }
        let (kind, name) = self.drawn.network.words(shown);
        let color = t.text_on(fill);
        let inside = painter.with_clip_rect(rect.shrink(2.0).intersect(self.frame));
        let size = |points: f32| FontId::proportional(points * self.camera.zoom);
        if name.is_empty() {
            inside.text(rect.center(), Align2::CENTER_CENTER, kind, size(12.0), color);
        } else {
            inside.text(rect.center() - vec2(0.0, 1.0), Align2::CENTER_BOTTOM, kind, size(12.0), color);
            inside.text(rect.center() + vec2(0.0, 1.0), Align2::CENTER_TOP, name, size(10.5), color.gamma_multiply(0.8));
        }
    }

    /// The color of the worst, or of the sum, of the layers inside.
    fn fill(&self, shown: Shown, largest: u64) -> Color32 {
        let t = self.view.tokens;
        let mut layers = self.drawn.network.layers(shown).peekable();
        if layers.peek().is_none() {
            return t.panel;
        }
        let plan = |layer: usize| self.bench.layer_plan(layer);
        match self.view.session.paint {
            Paint::Error => {
                let sqnr = |layer: usize| Some(self.bench.scores.get(layer, &plan(layer)?.treatment)?.sqnr_db);
                layers.filter_map(sqnr).min_by(f64::total_cmp).map_or(t.raised, |worst| t.error_at(worst))
            }
            Paint::Bits => {
                let bits = layers.filter_map(plan).map(|p| p.treatment.weights.bits()).max().unwrap_or(32);
                share_color(t, f32::from(bits) / 32.0)
            }
            paint => {
                let sum: u64 = layers.map(|l| amount(self.bench, paint, l)).sum();
                share_color(t, (sum as f32 / largest as f32).sqrt())
            }
        }
    }

    fn words(&self, shown: Shown) -> String {
        let (kind, name) = self.drawn.network.words(shown);
        let mut lines = vec![if name.is_empty() { kind } else { tr!("graph-box", kind = kind, name = &name) }];
        if let Shown::Node(node) = shown {
            let full = self.drawn.network.nodes.get(node).map_or("", |n| n.name.as_str());
            if full.chars().count() > name.chars().count() {
                lines.push(full.to_owned());
            }
            let wires = self.drawn.network.wires.iter().zip(&self.drawn.network.shapes);
            for ((_, to), shape) in wires.filter(|((from, to), shape)| (*from == node || *to == node) && !shape.is_empty()) {
                let is_read = *to == node;
                lines.push(if is_read { tr!("graph-reads", shape = shape) } else { tr!("graph-gives", shape = shape) });
            }
        }
        for layer in self.drawn.network.layers(shown).take(6) {
            let Some(plan) = self.bench.layer_plan(layer) else { continue };
            let (name, size) = (&plan.layer.name, units::bytes(plan.bytes));
            let scheme = plan.treatment.weights.to_string();
            lines.push(match self.bench.scores.get(layer, &plan.treatment).map(|s| decibels(s.sqnr_db)) {
                Some(error) => tr!("graph-layer-scored", layer = name, scheme = scheme, size = size, error = error),
                None => tr!("graph-layer", layer = name, scheme = scheme, size = size),
            });
        }
        match shown {
            Shown::Block(_) => lines.push(tr!("graph-hint-open").to_owned()),
            Shown::Node(_) if self.drawn.around(shown).is_some() => lines.push(tr!("graph-hint-close").to_owned()),
            Shown::Node(_) => {}
        }
        lines.join("\n")
    }

    /// The whole in the corner; where it was clicked.
    fn minimap_ui(&self, ui: &Ui, id: Id) -> Option<Pos2> {
        let size = self.drawn.sheet.drawing().size;
        let scale = (MINIMAP.x / size.width.max(1.0)).min(MINIMAP.y / size.height.max(1.0));
        let extent = (vec2(size.width, size.height) * scale).max(Vec2::splat(24.0));
        let map = Rect::from_min_size(self.frame.right_bottom() - extent - Vec2::splat(8.0), extent);
        let response = ui.interact(map, id.with("minimap"), Sense::click_and_drag());
        let painter = ui.painter_at(map);
        painter.rect(map, 3.0, self.view.tokens.panel, Stroke::new(1.0, self.view.tokens.line), StrokeKind::Inside);
        let place = |p: Point| map.min + vec2(p.x, p.y) * scale;
        for area in &self.drawn.sheet.drawing().boxes {
            let rect = Rect::from_min_max(place(area.min), place(area.max)).expand(0.3);
            painter.rect_filled(rect, 0.0, self.view.tokens.muted);
        }
        let seen = self.seen();
        let window = Rect::from_min_max(place(seen.min), place(seen.max));
        painter.rect_stroke(window, 1.0, Stroke::new(1.5, self.view.tokens.accent), StrokeKind::Middle);
        let pointer = response.interact_pointer_pos().filter(|_| response.clicked() || response.dragged())?;
        Some(((pointer - map.min) / scale).to_pos2())
    }
}
