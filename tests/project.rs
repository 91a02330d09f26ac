//! Undo is exact, whatever was done; every version of a project opens for ever.

use lapidary::pipeline::configure::{Activations, CorrectionLevel, Saliency, Scheme, Sparsity, presets};
use lapidary::workbench::project::{Change, Document, Edit, FileRef, History, Project};
use proptest::prelude::*;
use std::path::Path;
use std::sync::Arc;

fn layers() -> impl Strategy<Value = Vec<String>> {
    proptest::collection::vec(prop_oneof![Just("a".to_owned()), Just("b".to_owned()), Just("c".to_owned())], 1..3)
}

fn edits() -> impl Strategy<Value = Edit> {
    let names = prop_oneof![Just("mine"), Just("other"), Just("int8"), Just("w4"), Just("int8 edited")].prop_map(str::to_owned);
    let change = (proptest::option::of(2_u8..=8), proptest::option::of(0.0_f32..0.9), any::<bool>()).prop_map(
        |(bits, fraction, rounded)| Change {
            weights: bits.map(Scheme::per_channel),
            sparsity: fraction.map(Sparsity::Fraction),
            activations: rounded.then_some(Activations::Dynamic),
            correction: bits.is_none().then(|| CorrectionLevel::Fast.correction(rounded)),
            channels: None,
            saliency: rounded.then_some(Saliency::Inputs),
        },
    );
    prop_oneof![
        4 => (layers(), change).prop_map(|(layers, change)| Edit::Treat { layers, change }),
        1 => layers().prop_map(|layers| Edit::Reset { layers }),
        1 => names.clone().prop_map(Edit::SelectRecipe),
        1 => (names.clone(), names.clone()).prop_map(|(from, to)| Edit::ForkRecipe { from, to }),
        1 => (names.clone(), names.clone()).prop_map(|(from, to)| Edit::RenameRecipe { from, to }),
        1 => names.clone().prop_map(Edit::DeleteRecipe),
        1 => names.prop_map(Edit::SetNotes),
    ]
}

fn start() -> Document {
    Document::new("p", FileRef { path: "m.onnx".to_owned(), hash: String::new() })
}

proptest! {
    #[test]
    fn undo_and_redo_are_exact(steps in proptest::collection::vec((edits(), any::<bool>()), 0..40)) {
        let mut history = History::new(start());
        let mut seen = vec![Arc::clone(history.document())];
        for (edit, in_gesture) in &steps {
            let before = Arc::clone(history.document());
            let depth = history.undo_step().cloned();
            let result = if *in_gesture { history.apply_in_gesture(edit) } else { history.end_gesture(); history.apply(edit) };
            if result.is_err() {
                prop_assert_eq!(&before, history.document());
                prop_assert_eq!(depth.as_ref(), history.undo_step());
            }
            // Whatever was done, the active recipe is there and makes sense.
            history.document().active_recipe().unwrap().validate().unwrap();
            seen.push(Arc::clone(history.document()));
        }
        let end = Arc::clone(history.document());
        while history.undo() {
            prop_assert!(seen.contains(history.document()));
        }
        prop_assert_eq!(&**history.document(), &start());
        while history.redo() {}
        prop_assert_eq!(history.document(), &end);
    }

    #[test]
    fn what_is_saved_is_what_is_opened(steps in proptest::collection::vec(edits(), 0..12)) {
        let folder = tempfile::tempdir().unwrap();
        let mut history = History::new(start());
        let mut project = Project::create(folder.path(), history.document()).unwrap();
        for edit in &steps {
            let _ = history.apply(edit);
            project.save(history.document()).unwrap();
            prop_assert_eq!(&Project::open(folder.path()).unwrap().1, &**history.document());
        }
    }
}

#[test]
fn the_first_version_of_a_project_still_opens() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/project-v1");
    let (_, document) = Project::open(&folder).unwrap();
    assert_eq!(document.active, "mine");
    assert_eq!(document.run, ["fp32", "mine"]);
    let recipe = document.active_recipe().unwrap();
    assert_eq!(recipe.overrides.len(), 2);
    assert_eq!(recipe.overrides[0].weights, Some(Scheme::per_channel(4)));
    assert_ne!(*recipe, presets::preset("int8").unwrap());
}
