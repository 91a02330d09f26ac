//! What the undo menu calls edits.

use super::super::terms;
use super::tr;
use crate::pipeline::configure::CorrectionLevel;
use crate::workbench::importance::Question;
use crate::workbench::project::{Change, Edit};

/// What an edit does, as a part of a sentence: "set conv1 to int4".
#[must_use]
pub fn label(edit: &Edit) -> String {
    match edit {
        Edit::Treat { layers, change } => match layers.as_slice() {
            [one] => tr!("edit-treat-one", layer = one, what = words(change)),
            many => tr!("edit-treat", count = many.len(), what = words(change)),
        },
        Edit::Reset { layers } => match layers.as_slice() {
            [one] => tr!("edit-reset-one", layer = one),
            many => tr!("edit-reset", count = many.len()),
        },
        Edit::SetDefault(treatment) => tr!("edit-default", scheme = treatment.weights.to_string()),
        Edit::SetWhole(_) => tr!("edit-whole").to_owned(),
        Edit::SelectRecipe(name) => tr!("edit-select", recipe = name),
        Edit::ForkRecipe { from, to } => tr!("edit-fork", from = from, to = to),
        Edit::RenameRecipe { from, to } => tr!("edit-rename", from = from, to = to),
        Edit::DeleteRecipe(name) => tr!("edit-delete", recipe = name),
        Edit::ReplaceRecipe(recipe) => tr!("edit-replace", recipe = &recipe.name),
        Edit::AddRecipe(recipe) => tr!("edit-add", recipe = &recipe.name),
        Edit::SetData(_) => tr!("edit-data").to_owned(),
        Edit::SetNotes(_) => tr!("edit-notes").to_owned(),
        Edit::SetRun(_) => tr!("edit-run").to_owned(),
    }
}

/// What a change sets, where it is one thing.
fn words(change: &Change) -> String {
    let Change { weights, sparsity, activations, correction, channels, saliency } = change;
    let parts = [
        weights.map(|scheme| scheme.to_string()),
        sparsity.map(|sparsity| sparsity.to_string()),
        activations.map(|scheme| tr!("edit-inputs", scheme = scheme.to_string())),
        correction.map(|correction| match CorrectionLevel::of(correction) {
            Some(level) => tr!("edit-correction", level = terms::level(level)),
            None => correction.to_string(),
        }),
        channels.map(|channels| channels.to_string()),
        saliency.map(|saliency| tr!("edit-pruning", measure = terms::question(Question::Weights(saliency)))),
    ];
    let mut parts = parts.into_iter().flatten();
    match (parts.next(), parts.next()) {
        (Some(one), None) => one,
        _ => tr!("edit-settings").to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::configure::{Saliency, Scheme};
    use crate::workbench::ui::text::{Language, speak};

    #[test]
    fn edits_are_told_in_words() {
        let int4 = Change { weights: Some(Scheme::per_channel(4)), ..Change::default() };
        let both = Change { saliency: Some(Saliency::Magnitude), ..int4 };
        let treat = |layers: &[&str], change| {
            let layers = layers.iter().map(|l| (*l).to_owned()).collect();
            label(&Edit::Treat { layers, change })
        };
        assert_eq!(treat(&["a"], int4), "set a to int4 per channel");
        assert_eq!(treat(&["a", "b"], both), "set 2 layers to settings");
        assert_eq!(treat(&["a"], Change { weights: None, ..both }), "set a to pruning by magnitude");
        assert_eq!(label(&Edit::ForkRecipe { from: "int8".to_owned(), to: "mine".to_owned() }), "fork int8 as mine");
        speak(Language::Chinese);
        assert_eq!(treat(&["a", "b"], int4), "将 2 层设为 int4 per channel");
        speak(Language::English);
    }
}
