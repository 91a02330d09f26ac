//! What is opened: the model and its data.

use crate::engine::graph::{Fact, Port};
use crate::engine::units;
use crate::pipeline::load::{Channels, Layout as DataLayout, Preprocess};
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::Bench;
use crate::workbench::ui::commands::Command;
use crate::workbench::ui::pictures::Gallery;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::View;
use crate::workbench::ui::widgets::{empty, fact, heading, section, small};
use eframe::egui::{Align, Image, Label, Layout, Response, RichText, ScrollArea, Sense, Stroke, StrokeKind, Ui, Vec2, vec2};
use egui_extras::{Column, TableBuilder};

/// Outputs or kinds listed at most.
const MOST_LINES: usize = 12;
const THUMBNAIL: f32 = 84.0;

pub fn model_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench else { return start_ui(ui, view, acts) };
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        summary_ui(ui, view, bench);
        kinds_ui(ui, view, bench);
        section(ui, view.tokens, tr!("load-project"));
        fact(ui, view.tokens, tr!("load-folder"), bench.opened.root.display().to_string());
        let runs = bench.document().run.join(", ");
        fact(ui, view.tokens, tr!("load-run"), if runs.is_empty() { tr!("load-run-empty").to_owned() } else { runs });
        fact(ui, view.tokens, tr!("load-reports"), bench.reports.len().to_string());
        recent_ui(ui, view, acts);
        ui.add_space(8.0);
        drop_ui(ui, view, acts);
    });
}

/// Without a project: what can be done.
fn start_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    ui.add_space(16.0);
    ui.label(RichText::new(tr!("load-start")).color(view.tokens.text).size(20.0).strong());
    small(ui, view.tokens, tr!("load-start-hint"));
    ui.add_space(12.0);
    drop_ui(ui, view, acts);
    recent_ui(ui, view, acts);
}

fn drop_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let t = view.tokens;
    eframe::egui::Frame::new().stroke(Stroke::new(1.0, t.line)).corner_radius(6).inner_margin(12).show(ui, |ui| {
        ui.set_min_width(ui.available_width());
        ui.label(RichText::new(tr!("load-drop")).color(t.text));
        ui.add_space(4.0);
        ui.horizontal_wrapped(|ui| {
            for command in [Command::NewProject, Command::OpenProject, Command::OpenSample] {
                view.button(ui, command, acts);
            }
        });
    });
}

fn recent_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    if view.session.recent.is_empty() {
        return;
    }
    section(ui, view.tokens, tr!("load-recent"));
    for path in &view.session.recent {
        if ui
            .add(Label::new(RichText::new(path.display().to_string()).color(view.tokens.accent)).truncate().sense(Sense::click()))
            .clicked()
        {
            acts.push(Act::Open(path.clone()));
        }
    }
}

fn summary_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench) {
    let t = view.tokens;
    let subject = &bench.opened.subject;
    let model = &subject.original;
    let name = if model.name.is_empty() { &bench.document().name } else { &model.name };
    ui.label(RichText::new(name).color(t.text).size(18.0).strong());
    fact(ui, t, tr!("load-file"), bench.document().model.path.clone());
    let format = subject.loaded.format.name();
    fact(ui, t, tr!("load-format"), tr!("load-format-value", format = format, opset = model.opset().to_string()));
    let bytes = subject.loaded.bytes;
    let value = tr!("load-bytes-value", size = units::bytes(bytes), bytes = bytes.to_string());
    fact(ui, t, tr!("load-bytes"), value);
    fact(ui, t, tr!("load-parameters"), format!("{} ({})", units::count(model.parameters()), model.parameters()));
    let (nodes, folded) = (model.nodes.len().to_string(), subject.folded.nodes.len().to_string());
    fact(ui, t, tr!("load-nodes"), tr!("load-nodes-value", nodes = nodes, folded = folded));
    fact(ui, t, tr!("load-layers"), tr!("load-layers-value", count = subject.layers.len()));
    let macs: Option<u64> = subject.layers.iter().map(|l| l.macs).sum();
    fact(
        ui,
        t,
        tr!("load-macs"),
        macs.map_or_else(|| tr!("load-macs-unknown").to_owned(), |m| tr!("load-macs-value", count = units::count(m))),
    );
    let fed = |p: &&Port| !model.constants.contains_key(&p.wire);
    let (inputs, outputs) = (model.inputs.iter().filter(fed).collect::<Vec<_>>(), model.outputs.iter().collect());
    for (title, ports) in [(tr!("load-input"), inputs), (tr!("load-output"), outputs)] {
        for port in ports.iter().take(MOST_LINES) {
            fact(ui, t, title, format!("{}: {}", port.wire, fact_text(&port.fact)));
        }
    }
}

fn fact_text(fact: &Fact) -> String {
    let dtype = fact.dtype.map_or_else(|| tr!("load-any-type").to_owned(), |d| d.to_string());
    let shape = fact
        .shape
        .as_ref()
        .map_or_else(|| tr!("load-any-shape").to_owned(), |s| s.iter().map(ToString::to_string).collect::<Vec<_>>().join(" × "));
    format!("{dtype}, {shape}")
}

/// Kinds of layers with their share of the weights.
fn kinds_ui(ui: &mut Ui, view: &View<'_>, bench: &Bench) {
    let mut kinds: std::collections::BTreeMap<&str, (usize, u64)> = std::collections::BTreeMap::new();
    for layer in bench.layers() {
        let entry = kinds.entry(layer.kind.name()).or_default();
        *entry = (entry.0 + 1, entry.1 + layer.parameters() as u64);
    }
    let all: u64 = kinds.values().map(|k| k.1).sum();
    section(ui, view.tokens, tr!("load-kinds"));
    let width = ui.available_width();
    TableBuilder::new(ui)
        .id_salt("kinds")
        .vscroll(false)
        .cell_layout(Layout::left_to_right(Align::Center))
        .column(Column::exact(120.0))
        .column(Column::exact(60.0))
        .column(Column::exact((width - 210.0).clamp(80.0, 320.0)))
        .body(|body| {
            let kinds: Vec<_> = kinds.into_iter().take(MOST_LINES).collect();
            body.rows(22.0, kinds.len(), |mut row| {
                let Some((name, (count, weights))) = kinds.get(row.index()) else { return };
                row.col(|ui| drop(ui.label(RichText::new(*name).color(view.tokens.text))));
                row.col(|ui| drop(small(ui, view.tokens, count.to_string())));
                row.col(|ui| {
                    let share = *weights as f32 / all.max(1) as f32;
                    drop(crate::workbench::ui::widgets::bar(
                        ui,
                        share,
                        &units::count(*weights),
                        view.tokens.bar,
                        view.tokens.text,
                    ));
                });
            });
        });
}

pub fn data_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some(bench) = view.bench else {
        return empty(ui, view.tokens, tr!("load-no-project"), tr!("load-no-project.hint"));
    };
    let t = view.tokens;
    let document = bench.document();
    let Some(evaluate) = &document.evaluate else {
        if !bench.opened.subject.loaded.has_graph() {
            return empty(ui, t, tr!("load-no-graph"), tr!("load-no-graph.hint"));
        }
        empty(ui, t, tr!("load-no-data"), tr!("load-no-data.hint"));
        ui.add_space(6.0);
        return drop(ui.vertical_centered(|ui| view.button(ui, Command::SetData, acts)));
    };
    ScrollArea::vertical().auto_shrink([false, false]).show(ui, |ui| {
        ui.horizontal(|ui| {
            heading(ui, t, tr!("load-data"));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| view.button(ui, Command::SetData, acts));
        });
        fact(ui, t, tr!("load-evaluation"), evaluate.path.clone());
        let calibrate = match &document.calibrate {
            Some(data) => data.path.clone(),
            None if document.hold_out == 0 => tr!("load-held-out-none").to_owned(),
            None => tr!("load-held-out", step = document.hold_out.max(2)),
        };
        fact(ui, t, tr!("load-calibration"), calibrate);
        if let Some(gallery) = &bench.gallery {
            let (samples, classes) = (gallery.total.to_string(), gallery.classes.len());
            fact(ui, t, tr!("load-samples"), tr!("load-samples-value", samples = samples, classes = classes));
        }
        preprocess_ui(ui, view, &document.preprocess);
        section(ui, t, tr!("load-samples"));
        match &bench.gallery {
            Some(Gallery { problem: Some(problem), .. }) => drop(ui.colored_label(t.bad, problem)),
            Some(gallery) => gallery_ui(ui, view, gallery),
            None => drop(small(ui, t, tr!("load-samples-wait"))),
        }
    });
}

fn preprocess_ui(ui: &mut Ui, view: &View<'_>, p: &Preprocess) {
    let t = view.tokens;
    let numbers = |v: &[f32]| v.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    section(ui, t, tr!("load-preprocessing"));
    let no = || tr!("load-step-no").to_owned();
    let nothing = || tr!("load-step-nothing").to_owned();
    let resize = p.resize.map_or_else(no, |n| tr!("load-resize-value", side = n.to_string()));
    fact(ui, t, tr!("load-resize"), resize);
    fact(ui, t, tr!("load-crop"), p.crop.map_or_else(no, |n| tr!("load-crop-value", side = n.to_string())));
    let channels = match p.channels {
        Some(Channels::Rgb) => tr!("load-channels-rgb"),
        Some(Channels::Bgr) => tr!("load-channels-bgr"),
        Some(Channels::Gray) => tr!("load-channels-gray"),
        None => tr!("load-channels-asked"),
    };
    fact(ui, t, tr!("load-channels"), channels);
    fact(ui, t, tr!("load-divide"), p.scale.map_or_else(|| "1".to_owned(), |s| s.to_string()));
    fact(ui, t, tr!("load-subtract"), if p.mean.is_empty() { nothing() } else { numbers(&p.mean) });
    fact(ui, t, tr!("load-divide"), if p.std.is_empty() { nothing() } else { numbers(&p.std) });
    fact(ui, t, tr!("load-layout"), if p.layout == DataLayout::Nchw { tr!("load-layout-nchw") } else { tr!("load-layout-nhwc") });
    if p.label_offset != 0 {
        fact(ui, t, tr!("load-labels"), tr!("load-labels-value", offset = format!("{:+}", p.label_offset)));
    }
}

fn gallery_ui(ui: &mut Ui, view: &View<'_>, gallery: &Gallery) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(8.0, 8.0);
        for (sample, (label, texture)) in &gallery.pictures {
            let caption = label.map_or_else(|| tr!("load-no-label").to_owned(), |l| gallery.class(l));
            picture_ui(ui, view, texture, &[(caption, view.tokens.text)], &tr!("load-sample", number = sample.to_string()));
        }
    });
}

/// A picture with lines of text below it.
pub fn picture_ui(
    ui: &mut Ui,
    view: &View<'_>,
    texture: &eframe::egui::TextureHandle,
    lines: &[(String, eframe::egui::Color32)],
    tip: &str,
) -> Response {
    let height = THUMBNAIL + 16.0 * lines.len() as f32;
    let (rect, response) = ui.allocate_exact_size(vec2(THUMBNAIL, height), Sense::hover());
    let size = texture.size_vec2();
    let scale = THUMBNAIL / size.x.max(size.y).max(1.0);
    let frame = eframe::egui::Rect::from_min_size(rect.min, Vec2::splat(THUMBNAIL));
    let place = eframe::egui::Rect::from_center_size(frame.center(), size * scale);
    ui.painter().rect_filled(frame, 3.0, view.tokens.background);
    Image::new((texture.id(), size)).fit_to_exact_size(place.size()).paint_at(ui, place);
    ui.painter().rect_stroke(frame, 3.0, Stroke::new(1.0, view.tokens.line), StrokeKind::Inside);
    for (i, (text, color)) in lines.iter().enumerate() {
        let line =
            eframe::egui::Rect::from_min_size(rect.min + vec2(0.0, THUMBNAIL + 1.0 + 16.0 * i as f32), vec2(THUMBNAIL, 16.0));
        let mut child = ui.new_child(eframe::egui::UiBuilder::new().max_rect(line).layout(Layout::left_to_right(Align::Center)));
        child.add(Label::new(RichText::new(text).color(*color).size(11.5)).truncate());
    }
    response.on_hover_text(tip)
}
