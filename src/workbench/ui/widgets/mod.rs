//! Small pieces that several panels draw with.

mod bars;
mod heat;
mod icons;

pub use bars::{bar, legend, ramp};
pub use heat::{Brush, Grounds, HeatCell, HeatError, heat_cell};
pub use icons::{Icon, icon, icon_button};

use super::act::Act;
use super::commands::{Info, Situation};
use super::text::tr;
use super::theme::Tokens;
use eframe::egui::{Align, Align2, Button, ComboBox, Layout, Response, RichText, TextEdit, Ui};

/// A choice of several; another than the present one. It is known by its type and by what it is `of`, so that it stays
/// itself where rows move. Its name and what it offers are only put into words where that is needed.
pub fn combo<T: PartialEq + Copy, C: IntoIterator<Item = (T, impl Into<String>)>>(
    ui: &mut Ui,
    of: impl std::hash::Hash + std::fmt::Debug,
    name: impl FnOnce() -> String,
    width: f32,
    present: T,
    text: &str,
    choices: impl FnOnce() -> C,
) -> Option<T> {
    let mut chosen = present;
    let response = ComboBox::from_id_salt((std::any::type_name::<T>(), of))
        .width(width)
        .selected_text(RichText::new(text).size(12.0))
        .show_ui(ui, |ui| {
            for (choice, words) in choices() {
                ui.selectable_value(&mut chosen, choice, words.into());
            }
        })
        .response;
    drop(named(response, name));
    (chosen != present).then_some(chosen)
}

/// A widget with a name for those who do not see it. The words are only made where somebody listens: a table makes
/// hundreds of them in a frame.
pub fn named(response: Response, name: impl FnOnce() -> String) -> Response {
    response.ctx.accesskit_node_builder(response.id, |node| node.set_label(name()));
    response
}

/// A widget with a tooltip whose words are only made when it is shown or read out.
pub fn hinted(response: Response, words: impl Fn() -> String) -> Response {
    response.ctx.accesskit_node_builder(response.id, |node| node.set_description(words()));
    response.on_hover_ui(|ui| {
        ui.set_max_width(ui.spacing().tooltip_width);
        ui.label(words());
    })
}

/// A button that gives a command; where it cannot be given, the tooltip says why.
pub fn command_button(ui: &mut Ui, info: &Info, text: &str, situation: Situation, acts: &mut Vec<Act>) -> Response {
    let response = ui.add_enabled(info.needs.met(&situation), Button::new(text.to_owned()));
    explain(ui, response, info, acts)
}

/// Tooltip and action of a command's button.
pub fn explain(ui: &Ui, response: Response, info: &Info, acts: &mut Vec<Act>) -> Response {
    let tip = match info.shortcut.map(|s| ui.ctx().format_shortcut(&s)) {
        Some(shortcut) => tr!("widgets-shortcut", tooltip = info.tooltip(), shortcut = shortcut),
        None => info.tooltip().to_owned(),
    };
    let disabled = tr!("widgets-disabled", tooltip = &tip, needs = info.needs.hint());
    let response = response.on_hover_text(tip).on_disabled_hover_text(disabled);
    if response.clicked() {
        acts.push(Act::Command(info.command));
    }
    response
}

/// A field of one line, its text in the middle of its height.
pub fn field(text: &mut String) -> TextEdit<'_> {
    TextEdit::singleline(text).align(Align2::LEFT_CENTER)
}

/// Words for an empty panel: what to do next.
pub fn empty(ui: &mut Ui, tokens: &Tokens, title: &str, hint: &str) {
    ui.vertical_centered(|ui| {
        ui.add_space((ui.available_height() * 0.3).clamp(8.0, 120.0));
        ui.label(RichText::new(title).color(tokens.text).size(15.0));
        ui.add_space(4.0);
        ui.label(RichText::new(hint).color(tokens.muted));
    });
}

/// A name and a value on one line.
pub fn fact(ui: &mut Ui, tokens: &Tokens, name: &str, value: impl Into<String>) {
    let height = std::mem::replace(&mut ui.spacing_mut().interact_size.y, 18.0);
    ui.horizontal(|ui| {
        ui.allocate_ui_with_layout([120.0, 18.0].into(), Layout::left_to_right(Align::Center), |ui| {
            ui.set_min_width(120.0);
            ui.label(RichText::new(name).color(tokens.muted));
        });
        let value: String = value.into();
        ui.add(eframe::egui::Label::new(RichText::new(value.clone()).color(tokens.text)).truncate()).on_hover_text(value);
    });
    ui.spacing_mut().interact_size.y = height;
}

/// A small heading within a panel.
pub fn section(ui: &mut Ui, tokens: &Tokens, title: &str) {
    ui.add_space(6.0);
    heading(ui, tokens, title);
}

/// The words of a section's heading.
pub fn heading(ui: &mut Ui, tokens: &Tokens, title: &str) {
    ui.label(RichText::new(title).color(tokens.accent).size(13.0));
}

/// Muted small print.
pub fn small(ui: &mut Ui, tokens: &Tokens, text: impl Into<String>) -> Response {
    ui.label(RichText::new(text.into()).color(tokens.muted).size(11.5))
}
