//! The active recipe as text: the same thing that the grid shows, for those who would rather write.

use crate::pipeline::configure::Recipe;
use crate::workbench::project::Edit;
use crate::workbench::ui::act::Act;
use crate::workbench::ui::bench::{Bench, Point};
use crate::workbench::ui::text::tr;
use crate::workbench::ui::view::View;
use crate::workbench::ui::widgets::{Icon, empty, icon, small};
use eframe::egui::{Id, Label, RichText, ScrollArea, TextEdit, TextStyle, Ui};
use std::sync::Arc;

/// What is being written, and the recipe that it was last the same as.
#[derive(Clone)]
struct Draft {
    text: String,
    of: Arc<Recipe>,
    /// What the text says, or what is wrong with it.
    parsed: Arc<Result<Recipe, String>>,
}

impl Draft {
    fn new(text: String, of: &Arc<Recipe>) -> Self {
        let parsed = Arc::new(Recipe::from_ron(&text, "text").map_err(|error| error.to_string()));
        Self { text, of: Arc::clone(of), parsed }
    }
}

pub fn recipe_ui(ui: &mut Ui, view: &View<'_>, acts: &mut Vec<Act>) {
    let Some((bench, point)) = view.bench.and_then(|b| Some((b, b.active()?))) else {
        return empty(ui, view.tokens, tr!("configure-no-project"), tr!("configure-no-project.recipe"));
    };
    let id = Id::unique("recipe as text");
    let mut draft = ui.data(|d| d.get_temp::<Draft>(id)).unwrap_or_else(|| of(point));
    if !Arc::ptr_eq(&draft.of, &point.recipe) {
        // The recipe changed: by what was written here, or elsewhere.
        let is_same = draft.parsed.as_ref().as_ref().is_ok_and(|written| says_the_same(written, &point.recipe));
        draft = if is_same { Draft { of: Arc::clone(&point.recipe), ..draft } } else { of(point) };
    }
    status_ui(ui, view, point, draft.parsed.as_ref().as_ref().err());
    let edit = |ui: &mut Ui| {
        let field = TextEdit::multiline(&mut draft.text).code_editor().desired_width(f32::INFINITY).desired_rows(12);
        ui.add(field.font(TextStyle::Monospace)).accessible_name(tr!("recipe-text")).changed()
    };
    let changed = ScrollArea::both().auto_shrink([false, false]).show(ui, edit).inner;
    if changed {
        draft = Draft::new(draft.text, &draft.of);
        if let Ok(written) = draft.parsed.as_ref()
            && !says_the_same(written, &point.recipe)
        {
            acts.push(Act::Drag(Edit::ReplaceRecipe(named(written.clone(), bench, point))));
        }
    }
    ui.data_mut(|d| d.insert_temp(id, draft));
}

fn of(point: &Point) -> Draft {
    let text = point.recipe.to_ron().unwrap_or_else(|error| error.to_string());
    Draft::new(text, &point.recipe)
}

/// Whether two recipes differ by their names alone.
fn says_the_same(one: &Recipe, other: &Recipe) -> bool {
    Recipe { name: String::new(), ..one.clone() } == Recipe { name: String::new(), ..other.clone() }
}

/// A preset stays as it is: what is written becomes a copy. The name is that of the file, not of the text.
fn named(written: Recipe, bench: &Bench, point: &Point) -> Recipe {
    let name = if point.is_preset { bench.document().free_name(&format!("{} edited", point.name)) } else { point.name.clone() };
    Recipe { name, ..written }
}

fn status_ui(ui: &mut Ui, view: &View<'_>, point: &Point, wrong: Option<&String>) {
    ui.horizontal(|ui| match (wrong, &point.plan) {
        (Some(error), _) => {
            icon(ui, Icon::Cross, view.tokens.bad, tr!("recipe-text-unfinished"));
            ui.add(Label::new(RichText::new(error).color(view.tokens.bad).size(12.0)).wrap());
        }
        (_, Some(Err(error))) => {
            icon(ui, Icon::Warning, view.tokens.warn, tr!("recipe-text-unfit"));
            ui.add(Label::new(RichText::new(error).color(view.tokens.warn).size(12.0)).wrap());
        }
        _ => {
            icon(ui, Icon::Check, view.tokens.good, tr!("recipe-text-good"));
            let name = &point.name;
            let whose =
                if point.is_preset { tr!("recipe-text-preset", name = name) } else { tr!("recipe-text-own", name = name) };
            small(ui, view.tokens, whose);
        }
    });
}
