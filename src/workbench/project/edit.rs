//! Every change of a document is one of these.

use super::document::{Data, Document};
use crate::pipeline::configure::{
    Activations, Allocation, Balance, ChannelCut, ConfigureError, Correction, Equalization, Grouping, Override, Recipe, Saliency,
    Scheme, Sparsity, Treatment, presets,
};
use std::sync::Arc;

/// A change of the active recipe for some layers; what is `None` stays.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Change {
    pub weights: Option<Scheme>,
    pub sparsity: Option<Sparsity>,
    pub activations: Option<Activations>,
    pub correction: Option<Correction>,
    pub channels: Option<ChannelCut>,
    pub saliency: Option<Saliency>,
}

/// A change of what the active recipe says of the whole network; what is `None` stays.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Whole {
    pub equalize: Option<Equalization>,
    pub balance: Option<Balance>,
    pub allocation: Option<Allocation>,
    pub groups: Option<Grouping>,
}

#[derive(Debug, Clone, PartialEq)]
pub enum Edit {
    /// Sets layers, by exact name, in the active recipe. A preset is forked first.
    Treat {
        layers: Vec<String>,
        change: Change,
    },
    /// Removes the exact-name overrides of these layers from the active recipe.
    Reset {
        layers: Vec<String>,
    },
    SetDefault(Treatment),
    SetWhole(Whole),
    SelectRecipe(String),
    /// Copies a recipe or preset under a new name and makes it active.
    ForkRecipe {
        from: String,
        to: String,
    },
    RenameRecipe {
        from: String,
        to: String,
    },
    DeleteRecipe(String),
    /// Replaces the active recipe by one written as text.
    ReplaceRecipe(Recipe),
    /// Adds a recipe under its name, which must be free, and makes it active.
    AddRecipe(Recipe),
    SetData(Data),
    SetNotes(String),
    SetRun(Vec<String>),
}

impl Change {
    /// Which parts it sets.
    fn parts(&self) -> [bool; 6] {
        let Self { weights, sparsity, activations, correction, channels, saliency } = self;
        [
            weights.is_some(),
            sparsity.is_some(),
            activations.is_some(),
            correction.is_some(),
            channels.is_some(),
            saliency.is_some(),
        ]
    }
}

/// Why an edit cannot be made. The document stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum EditError {
    #[error("there is no recipe \"{0}\" in this project")]
    NoSuchRecipe(String),
    #[error("there is already a recipe or preset \"{0}\"; choose another name")]
    NameTaken(String),
    #[error("\"{0}\" is no name for a recipe: use letters, digits, spaces, dots, dashes and underscores")]
    BadName(String),
    #[error(transparent)]
    Recipe(#[from] ConfigureError),
}

impl Edit {
    /// Two edits of the same key within one gesture are one step of undo.
    #[must_use]
    pub fn coalescing_key(&self) -> Option<String> {
        match self {
            Self::Treat { change, .. } => Some(format!("treat {:?}", change.parts())),
            Self::SetDefault(_) => Some("default".to_owned()),
            Self::SetNotes(_) => Some("notes".to_owned()),
            Self::ReplaceRecipe(recipe) => Some(format!("replace {}", recipe.name)),
            _ => None,
        }
    }
}

impl Document {
    /// The document after `edit`.
    ///
    /// # Errors
    /// When the edit names what is not there or makes no sense.
    pub fn apply(&self, edit: &Edit) -> Result<Self, EditError> {
        let mut next = self.clone();
        match edit {
            Edit::Treat { layers, change } => next.change_active(|recipe| {
                for layer in layers {
                    treat(recipe, layer, *change);
                }
            })?,
            Edit::Reset { layers } => next.change_active(|recipe| recipe.overrides.retain(|o| !layers.contains(&o.layers)))?,
            // What belonged to the old scheme must not make the new one invalid.
            Edit::SetDefault(treatment) => next.change_active(|recipe| recipe.default = treatment.sensible())?,
            Edit::SetWhole(whole) => next.change_active(|recipe| {
                recipe.equalize = whole.equalize.unwrap_or(recipe.equalize);
                recipe.balance = whole.balance.unwrap_or(recipe.balance);
                recipe.allocation = whole.allocation.unwrap_or(recipe.allocation);
                recipe.groups = whole.groups.unwrap_or(recipe.groups);
            })?,
            Edit::SelectRecipe(name) => {
                next.recipe(name)?;
                next.active.clone_from(name);
            }
            Edit::ForkRecipe { from, to } => {
                let mut recipe = (*next.recipe(from)?).clone();
                next.check_new_name(to)?;
                recipe.name.clone_from(to);
                next.recipes.insert(to.clone(), Arc::new(recipe));
                next.active.clone_from(to);
            }
            Edit::RenameRecipe { from, to } => next.rename(from, to)?,
            Edit::DeleteRecipe(name) => {
                next.recipes.remove(name).ok_or_else(|| EditError::NoSuchRecipe(name.clone()))?;
                let preset_of_that_name = presets::names().contains(&name.as_str());
                if !preset_of_that_name {
                    next.run.retain(|r| r != name);
                    if next.active == *name {
                        next.active = "int8".to_owned();
                    }
                }
            }
            Edit::ReplaceRecipe(recipe) => {
                recipe.validate()?;
                check_name(&recipe.name)?;
                next.recipes.insert(recipe.name.clone(), Arc::new(recipe.clone()));
                next.active.clone_from(&recipe.name);
            }
            Edit::AddRecipe(recipe) => {
                recipe.validate()?;
                next.check_new_name(&recipe.name)?;
                next.recipes.insert(recipe.name.clone(), Arc::new(recipe.clone()));
                next.active.clone_from(&recipe.name);
            }
            Edit::SetData(data) => next.set_data(data.clone()),
            Edit::SetNotes(notes) => next.notes.clone_from(notes),
            Edit::SetRun(run) => {
                for name in run {
                    next.recipe(name)?;
                }
                next.run.clone_from(run);
            }
        }
        Ok(next)
    }

    /// Changes the active recipe; a preset stays as it is and its copy changes.
    fn change_active(&mut self, change: impl FnOnce(&mut Recipe)) -> Result<(), EditError> {
        let mut recipe = (*self.active_recipe()?).clone();
        if !self.recipes.contains_key(&self.active) {
            recipe.name = self.free_name(&format!("{} edited", self.active));
            recipe.description = format!("{} Edited from {}.", recipe.description, self.active);
            self.active.clone_from(&recipe.name);
        }
        change(&mut recipe);
        recipe.validate()?;
        self.recipes.insert(recipe.name.clone(), Arc::new(recipe));
        Ok(())
    }

    fn rename(&mut self, from: &str, to: &str) -> Result<(), EditError> {
        let mut recipe = (**self.recipes.get(from).ok_or_else(|| EditError::NoSuchRecipe(from.to_owned()))?).clone();
        self.check_new_name(to)?;
        to.clone_into(&mut recipe.name);
        self.recipes.remove(from);
        self.recipes.insert(to.to_owned(), Arc::new(recipe));
        for name in self.run.iter_mut().chain(std::iter::once(&mut self.active)).filter(|n| *n == from) {
            to.clone_into(name);
        }
        Ok(())
    }

    /// Whether something found may be saved under a name: it takes the place of what was found before, of nothing
    /// that a person wrote and of no preset.
    ///
    /// # Errors
    /// When the name is taken or could not be a file's.
    pub fn check_result_name(&self, name: &str) -> Result<(), EditError> {
        let was_found = self.recipes.get(name).is_some_and(|r| !r.history.is_empty());
        if was_found { check_name(name) } else { self.check_new_name(name) }
    }

    fn check_new_name(&self, name: &str) -> Result<(), EditError> {
        check_name(name)?;
        if self.recipe_names().iter().any(|n| n.eq_ignore_ascii_case(name)) {
            return Err(EditError::NameTaken(name.to_owned()));
        }
        Ok(())
    }
}

/// A recipe's name is also a file's.
///
/// # Errors
/// When it could not be one everywhere.
pub fn check_name(name: &str) -> Result<(), EditError> {
    let fits = |c: char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_' | '.' | '+');
    if name.trim() != name || name.is_empty() || name.len() > 80 || name.starts_with('.') || !name.chars().all(fits) {
        return Err(EditError::BadName(name.to_owned()));
    }
    Ok(())
}

fn treat(recipe: &mut Recipe, layer: &str, change: Change) {
    let index = recipe.overrides.iter().position(|o| o.layers == layer).unwrap_or_else(|| {
        recipe.overrides.push(Override::new(layer));
        recipe.overrides.len() - 1
    });
    // Last, so that it wins over every pattern.
    let mut rule = recipe.overrides.remove(index);
    rule.weights = change.weights.or(rule.weights);
    rule.sparsity = change.sparsity.or(rule.sparsity);
    rule.activations = change.activations.or(rule.activations);
    rule.correction = change.correction.or(rule.correction);
    rule.channels = change.channels.or(rule.channels);
    rule.saliency = change.saliency.or(rule.saliency);
    if !rule.is_empty() {
        recipe.overrides.push(rule);
    }
}
