//! Help: the commands with their keys, and the manual.

use super::Next;
use crate::workbench::ui::commands::ALL;
use crate::workbench::ui::manual::markdown::{Block, Line, Span, parse};
use crate::workbench::ui::manual::{PAGES, page};
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use crate::workbench::ui::widgets::{section, small};
use eframe::egui::text::LayoutJob;
use eframe::egui::{FontFamily, FontId, Frame, Grid, Label, RichText, ScrollArea, Sense, TextFormat, TextWrapMode, Ui};

/// What is open of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Topic {
    #[default]
    Commands,
    /// A page of the manual, by its number.
    Page(usize),
}

pub(super) fn help_ui(ui: &mut Ui, tokens: &Tokens, topic: &mut Topic) -> Next {
    ui.horizontal(|ui| {
        ui.heading(tr!("help-title"));
        small(ui, tokens, tr!("help-note"));
    });
    ui.add_space(4.0);
    ui.horizontal_top(|ui| {
        ui.vertical(|ui| {
            ui.set_width(150.0);
            let pages = PAGES.iter().enumerate().map(|(i, p)| (Topic::Page(i), tr!(p.name)));
            for (choice, name) in std::iter::once((Topic::Commands, tr!("help-commands"))).chain(pages) {
                if ui.selectable_label(*topic == choice, name).clicked() {
                    *topic = choice;
                }
            }
        });
        ui.separator();
        let scroll = ScrollArea::vertical().id_salt(format!("help {topic:?}")).max_height(520.0).auto_shrink([false, false]);
        scroll.show(ui, |ui| match *topic {
            Topic::Commands => commands_ui(ui, tokens),
            Topic::Page(number) => {
                let text = PAGES.get(number).map_or("", |p| p.text);
                if let Some(target) = markdown_ui(ui, tokens, &parse(text)) {
                    // What lies outside of the manual is named, not opened: the program works offline.
                    let found = page(&target).and_then(|p| PAGES.iter().position(|other| other.file == p.file));
                    *topic = found.map_or(*topic, Topic::Page);
                }
            }
        });
    });
    ui.add_space(8.0);
    if ui.button(tr!("help-close")).clicked() { Next::Close } else { Next::Stay }
}

fn commands_ui(ui: &mut Ui, tokens: &Tokens) {
    section(ui, tokens, tr!("help-reading"));
    for line in [tr!("help-reading-cells"), tr!("help-reading-marks"), tr!("help-reading-sqnr"), tr!("help-reading-bytes")] {
        ui.add(Label::new(RichText::new(line).color(tokens.text)).wrap());
    }
    section(ui, tokens, tr!("help-all-commands"));
    Grid::new("help").num_columns(3).spacing([16.0, 4.0]).striped(true).show(ui, |ui| {
        for info in ALL {
            ui.label(info.name());
            let keys = info.shortcut.map_or(String::new(), |s| ui.ctx().format_shortcut(&s));
            ui.label(RichText::new(keys).color(tokens.accent));
            small(ui, tokens, info.tooltip());
            ui.end_row();
        }
    });
}

/// Draws a page. Where a link was clicked, what it leads to.
fn markdown_ui(ui: &mut Ui, tokens: &Tokens, blocks: &[Block]) -> Option<String> {
    let mut clicked = None;
    ui.spacing_mut().item_spacing.y = 6.0;
    for (number, block) in blocks.iter().enumerate() {
        match block {
            Block::Heading { level, text } => {
                ui.add_space(if *level == 1 { 0.0 } else { 8.0 });
                let size = [20.0, 16.0, 14.0][usize::from(*level - 1).min(2)];
                let words: String = text.iter().map(Span::text).collect();
                ui.label(RichText::new(words).color(tokens.text).size(size).strong());
            }
            Block::Paragraph(line) => keep(&mut clicked, line_ui(ui, tokens, line)),
            Block::List(items) => items.iter().for_each(|line| keep(&mut clicked, item_ui(ui, tokens, "·", line))),
            Block::Numbered { first, items } => {
                for (at, line) in items.iter().enumerate() {
                    keep(&mut clicked, item_ui(ui, tokens, &format!("{}.", *first as usize + at), line));
                }
            }
            Block::Table { head, rows } => keep(&mut clicked, table_ui(ui, tokens, number, head, rows)),
            Block::Code { text, .. } => {
                Frame::new().fill(tokens.background).inner_margin(8).corner_radius(4).show(ui, |ui| {
                    ui.set_min_width(ui.available_width());
                    ui.add(Label::new(RichText::new(text).monospace().color(tokens.text)).wrap_mode(TextWrapMode::Extend));
                });
            }
        }
    }
    clicked
}

fn keep(first: &mut Option<String>, next: Option<String>) {
    *first = first.take().or(next);
}

fn item_ui(ui: &mut Ui, tokens: &Tokens, mark: &str, line: &Line) -> Option<String> {
    ui.horizontal_top(|ui| {
        ui.add_space(8.0);
        ui.label(RichText::new(mark).color(tokens.muted));
        line_ui(ui, tokens, line)
    })
    .inner
}

fn table_ui(ui: &mut Ui, tokens: &Tokens, number: usize, head: &[Line], rows: &[Vec<Line>]) -> Option<String> {
    let mut clicked = None;
    let columns = head.len().max(1);
    let width = (ui.available_width() - 16.0 * columns as f32) / columns as f32;
    ScrollArea::horizontal().id_salt(("table", number)).auto_shrink([false, true]).show(ui, |ui| {
        Grid::new(("table grid", number)).num_columns(columns).striped(true).max_col_width(width.max(90.0) * 1.6).show(
            ui,
            |ui| {
                for cell in head {
                    let words: String = cell.iter().map(Span::text).collect();
                    ui.label(RichText::new(words).color(tokens.muted).size(12.0));
                }
                ui.end_row();
                for row in rows {
                    for cell in row {
                        keep(&mut clicked, line_ui(ui, tokens, cell));
                    }
                    ui.end_row();
                }
            },
        );
    });
    clicked
}

/// Text that flows; lines with links are laid out piece by piece, so that each can be clicked.
fn line_ui(ui: &mut Ui, tokens: &Tokens, line: &Line) -> Option<String> {
    let has_link = line.iter().any(|span| matches!(span, Span::Link { .. }));
    if !has_link {
        let mut job = LayoutJob::default();
        for span in line {
            job.append(span.text(), 0.0, format_of(tokens, span));
        }
        ui.add(Label::new(job).wrap());
        return None;
    }
    let mut clicked = None;
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing.x = 0.0;
        for span in line {
            let mut job = LayoutJob::default();
            job.append(span.text(), 0.0, format_of(tokens, span));
            if let Span::Link { target, .. } = span {
                if ui.add(Label::new(job).sense(Sense::click())).on_hover_text(target).clicked() {
                    clicked = Some(target.clone());
                }
            } else {
                ui.label(job);
            }
        }
    });
    clicked
}

fn format_of(tokens: &Tokens, span: &Span) -> TextFormat {
    let font = FontId::proportional(13.0);
    let plain = TextFormat { font_id: font, color: tokens.text, ..TextFormat::default() };
    match span {
        Span::Plain(_) => plain,
        // There is no bold face; what is important stands out by its color.
        Span::Bold(_) => TextFormat { color: tokens.warn, ..plain },
        Span::Emphasis(_) => TextFormat { italics: true, ..plain },
        Span::Code(_) => TextFormat { font_id: FontId::new(12.0, FontFamily::Monospace), background: tokens.background, ..plain },
        Span::Link { .. } => TextFormat { color: tokens.accent, ..plain },
    }
}
