//! What stands in the way of a project: a file that moved, another window.

use super::Next;
use crate::workbench::project::{Content, Part};
use crate::workbench::ui::app::App;
use crate::workbench::ui::dialogs::Purpose;
use crate::workbench::ui::text::tr;
use crate::workbench::ui::theme::Tokens;
use crate::workbench::ui::widgets::small;
use eframe::egui::{Label, RichText, Ui};

impl App {
    /// Where is it now?
    pub(super) fn moved_ui(&mut self, ui: &mut Ui, tokens: &Tokens) -> Next {
        let Some(moved) = self.moved.clone() else { return Next::Close };
        ui.heading(match moved.part {
            Part::Model => tr!("prompt-moved-model"),
            Part::Graph => tr!("prompt-moved-graph"),
            Part::Importance => tr!("prompt-moved-importance"),
        });
        let path = |ui: &mut Ui, path: &std::path::Path| {
            ui.add(Label::new(RichText::new(path.display().to_string()).color(tokens.text)).wrap());
        };
        small(ui, tokens, tr!("prompt-moved-was"));
        path(ui, &moved.path);
        if let Some(found) = &moved.found {
            ui.add_space(4.0);
            let words = match found.content {
                Content::Same => tr!("prompt-moved-same"),
                Content::Other => tr!("prompt-moved-other"),
                Content::Unknown => tr!("prompt-moved-unknown"),
            };
            small(ui, tokens, words);
            path(ui, &found.path);
        }
        ui.add_space(8.0);
        let found = moved.found.as_ref().map(|f| f.path.clone());
        let mut next = Next::Stay;
        ui.horizontal(|ui| {
            if let Some(found) = found
                && ui.button(tr!("prompt-moved-use")).clicked()
            {
                next = Next::Close;
                self.put_back(&found);
            }
            if ui.button(tr!("prompt-moved-choose")).clicked() {
                self.ask_for_path(Purpose::Moved);
            }
            if ui.button(tr!("prompt-cancel")).clicked() {
                self.moved = None;
                next = Next::Close;
            }
        });
        next
    }

    /// Go on all the same?
    pub(super) fn elsewhere_ui(&mut self, ui: &mut Ui, tokens: &Tokens) -> Next {
        ui.heading(tr!("prompt-elsewhere-title"));
        ui.add(Label::new(RichText::new(tr!("prompt-elsewhere")).color(tokens.text)).wrap());
        ui.add_space(8.0);
        let mut next = Next::Stay;
        ui.horizontal(|ui| {
            if ui.button(tr!("prompt-elsewhere-stay")).clicked() {
                next = Next::Close;
            }
            if ui.button(tr!("prompt-elsewhere-leave")).clicked() {
                self.leave_project();
                // The next start is not to meet it again.
                let by = 1.min(self.session.recent.len());
                self.session.recent.rotate_left(by);
                self.bench = None;
                next = Next::Close;
            }
        });
        next
    }
}
