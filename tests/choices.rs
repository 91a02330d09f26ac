//! What a recipe may choose beside a format: ranges of weights, what their errors count, who decides together.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lapidary::engine::Ctx;
use lapidary::engine::formats::blocks::BlockFormat;
use lapidary::engine::formats::observe::Observer;
use lapidary::engine::random::Random;
use lapidary::engine::tensor::Tensor;
use lapidary::pipeline::compress::Variant;
use lapidary::pipeline::configure::{
    GroupKind, Grouping, Importance, ImportanceSource, Override, Plan, Recipe, Rounding, Scheme, Treatment, presets,
};
use lapidary::pipeline::export::gguf as writer;
use lapidary::pipeline::load::gguf::{Metadata, Value};
use lapidary::workbench::work::{self, NewProject, Opened};
use safetensors::tensor::{Dtype, TensorView};
use std::path::{Path, PathBuf};

fn ctx() -> Ctx {
    Ctx::new(2).unwrap()
}

/// The sample's project, which has a graph and data.
fn sample(folder: &Path) -> Opened {
    let root = lapidary::workbench::sample::install(Some(folder)).unwrap();
    work::open(&root, &ctx()).unwrap().1
}

fn recipe(treatment: Treatment) -> Recipe {
    // By way of text, as a person writes it.
    Recipe::from_ron(&Recipe::new("mine", treatment).to_ron().unwrap(), "mine").unwrap()
}

fn integers(bits: u8, range: Observer) -> Treatment {
    Treatment { weights: Scheme::per_channel(bits), range, ..Treatment::UNCHANGED }
}

fn sqnr(variant: &Variant) -> Vec<f64> {
    variant.layers.iter().map(|l| l.weight_sqnr_db).collect()
}

#[test]
fn ranges_are_chosen_for_weights() {
    let folder = tempfile::tempdir().unwrap();
    let opened = sample(folder.path());
    let made = |range| sqnr(&opened.compress(&recipe(integers(3, range)), &ctx()).unwrap().1);
    let (all, best) = (made(Observer::MinMax), made(Observer::MSE));
    assert!(all.iter().zip(&best).all(|(all, best)| best >= all), "{all:?} {best:?}");
    let gain = (best.iter().sum::<f64>() - all.iter().sum::<f64>()) / best.len() as f64;
    assert!(gain > 0.3, "{gain} dB on average");
    assert_ne!(made(Observer::Percentile(90.0)), all);
    // The bytes know nothing of it, the text does.
    let [plain, chosen] = [Observer::MinMax, Observer::MSE].map(|r| opened.plan(&recipe(integers(3, r))).unwrap());
    assert_eq!(plain.bytes, chosen.bytes);
    assert_eq!(chosen.layers[0].treatment.weights_text(), "int3 per channel, MSE ranges");
}

#[test]
fn old_recipes_stay_as_they_were() {
    let text = Recipe::new("old", integers(4, Observer::MinMax)).to_ron().unwrap();
    for word in ["range", "importance", "groups", "rounding"] {
        assert!(!text.contains(word), "{text}");
    }
    assert_eq!(Recipe::from_ron(&text, "old").unwrap().default, integers(4, Observer::MinMax));
}

#[test]
fn what_a_scheme_has_no_use_for_is_refused_in_words() {
    let refused = |treatment| Recipe::new("r", treatment).validate().unwrap_err().to_string();
    let blocks = Treatment { weights: Scheme::Block(BlockFormat::Q8_0), ..Treatment::UNCHANGED };
    assert!(refused(Treatment { range: Observer::MSE, ..blocks }).contains("q8_0 has its own rule for scales"));
    assert!(refused(Treatment { importance: Importance::Activations, ..blocks }).contains("leave `importance` out"));
    let min_max = Treatment { importance: Importance::Activations, ..integers(4, Observer::MinMax) };
    assert!(refused(min_max).contains("range: Grid(exponent: 2.0)"));
    assert!(refused(integers(4, Observer::Percentile(0.0))).contains("percentile"));
    let mut recipe = Recipe::new("r", integers(4, Observer::MSE));
    recipe.overrides.push(Override { weights: Some(blocks.weights), range: Some(Observer::MSE), ..Override::new("*") });
    assert!(recipe.validate().unwrap_err().to_string().contains("has its own rule"));
}

#[test]
fn an_override_keeps_of_the_default_what_it_has_a_use_for() {
    let folder = tempfile::tempdir().unwrap();
    let opened = sample(folder.path());
    let mut mixed = recipe(Treatment { rounding: Rounding::Floor, ..integers(4, Observer::MSE) });
    mixed.overrides.push(Override { weights: Some(Scheme::F32), ..Override::new("@first") });
    mixed.overrides.push(Override { weights: Some(Scheme::per_channel(6)), ..Override::new("@last") });
    let names: Vec<&str> = opened.subject.layers.iter().map(|l| l.name.as_str()).collect();
    mixed.overrides.push(Override {
        rounding: Some(Rounding::NearestEven),
        range: Some(Observer::Gaussian),
        ..Override::new(names[1])
    });
    let plan = opened.plan(&mixed).unwrap();
    assert!(plan.layers[0].treatment.is_unchanged() && plan.layers[0].refusal.is_none(), "{:?}", plan.layers[0].refusal);
    let (second, last) = (plan.layers[1].treatment, plan.layers.last().unwrap().treatment);
    assert_eq!((second.rounding, second.range), (Rounding::NearestEven, Observer::Gaussian));
    assert_eq!((last.weights, last.rounding, last.range), (Scheme::per_channel(6), Rounding::Floor, Observer::MSE));
    // What does not go together is judged layer by layer.
    mixed.overrides = vec![Override { range: Some(Observer::MinMax), ..Override::new(names[1]) }];
    mixed.default.importance = Importance::Activations;
    mixed.default.rounding = Rounding::default();
    let plan = opened.plan(&mixed).unwrap();
    assert!(plan.layers[1].refusal.as_ref().unwrap().contains("min-max ranges look at none"), "{:?}", plan.layers[1].refusal);
    assert!(plan.layers[2].refusal.is_none() && plan.layers[2].importance == ImportanceSource::Calibrated);
}

#[test]
fn importance_comes_from_the_calibration_data() {
    let folder = tempfile::tempdir().unwrap();
    let opened = sample(folder.path());
    let [weighed, alike] = [Importance::Activations, Importance::Alike].map(|importance| {
        let recipe = recipe(Treatment { importance, ..integers(3, Observer::MSE) });
        assert_eq!(opened.plan(&recipe).unwrap().needs_calibration(), importance == Importance::Activations);
        let (_, variant) = opened.compress(&recipe, &ctx()).unwrap();
        variant
    });
    // Errors are moved to where they count less: there is no fewer of them.
    let pairs: Vec<(f64, f64)> = sqnr(&weighed).into_iter().zip(sqnr(&alike)).collect();
    assert!(pairs.iter().all(|(w, a)| *w <= a + 1e-4) && pairs.iter().any(|(w, a)| w < a), "{pairs:?}");
    // A project without data says so in the plan.
    let new = NewProject { model: opened.subject.loaded.path.clone(), ..NewProject::default() };
    let (_, bare) = work::init(&folder.path().join("bare"), &new, &ctx()).unwrap();
    let recipe = presets::preset("w4-importance").unwrap();
    let plan = bare.plan(&recipe).unwrap();
    assert!(plan.layers.iter().all(|l| l.refusal.as_ref().unwrap().contains("no calibration data")));
    assert!(!plan.needs_calibration());
    bare.compress(&recipe, &ctx()).unwrap();
}

/// A transformer's block as a file of weights, named as ggml's are, in rows of 32.
fn weights(folder: &Path) -> PathBuf {
    let mut random = Random::new(5);
    let layers = [("attn_q", 32), ("attn_k", 16), ("attn_v", 16), ("attn_output", 32), ("ffn_gate", 48), ("ffn_up", 48)];
    let data: Vec<(String, usize, Vec<u8>)> = layers
        .iter()
        .map(|(name, rows)| {
            let bytes = (0..rows * 32).flat_map(|_| random.normal().to_le_bytes()).collect();
            (format!("blk.0.{name}.weight"), *rows, bytes)
        })
        .collect();
    let views = data.iter().map(|(name, rows, bytes)| (name, TensorView::new(Dtype::F32, vec![*rows, 32], bytes).unwrap()));
    let path = folder.join("block.safetensors");
    std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
    path
}

/// An importance file that knows two of the layers, one of them wrongly.
fn importance(folder: &Path) -> PathBuf {
    let sums = |count: usize| {
        let values: Vec<f32> = (0..count).map(|i| if i % 8 == 0 { 900.0 } else { 1.0 }).collect();
        Tensor::from_f32(vec![1, count], &values).unwrap()
    };
    let counts = || Tensor::from_f32(vec![1, 1], &[3.0]).unwrap();
    let tensors: Vec<(String, Tensor)> = [("attn_q", 32), ("attn_output", 31)]
        .into_iter()
        .flat_map(|(name, count)| {
            let stem = format!("blk.0.{name}.weight");
            [(format!("{stem}.in_sum2"), sums(count)), (format!("{stem}.counts"), counts())]
        })
        .collect();
    let mut bytes = Vec::new();
    writer::write(&Metadata::new(), &tensors, &mut bytes).unwrap();
    let path = folder.join("imatrix.gguf");
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn importance_comes_from_a_file_where_it_knows_the_layer() {
    let folder = tempfile::tempdir().unwrap();
    let new = NewProject { model: weights(folder.path()), importance: Some(importance(folder.path())), ..NewProject::default() };
    work::init(&folder.path().join("p"), &new, &ctx()).unwrap();
    // The project remembers the file.
    let (_, opened) = work::open(&folder.path().join("p"), &ctx()).unwrap();
    let recipe = presets::preset("q4_0-importance").unwrap();
    let plan = opened.plan(&recipe).unwrap();
    let of = |name: &str| plan.layer(&format!("blk.0.{name}")).unwrap();
    assert!(matches!(of("attn_q").importance, ImportanceSource::File(_)) && of("attn_q").refusal.is_none());
    assert!(of("attn_output").refusal.as_ref().unwrap().contains("31 numbers for it, and it has 32 inputs"));
    assert!(of("attn_k").refusal.as_ref().unwrap().contains("no importance file knows it"));
    assert_eq!(of("attn_k").treatment.weights, Scheme::Block(BlockFormat::Q4_0));
    let made = |name: &str| opened.compress(&presets::preset(name).unwrap(), &ctx()).unwrap().1;
    for (weighed, alike) in made("q4_0-importance").layers.iter().zip(&made("q4_0").layers) {
        assert_eq!(weighed.weight_sqnr_db != alike.weight_sqnr_db, weighed.name == "blk.0.attn_q", "{}", weighed.name);
    }
    let keys = ["q4_0-importance", "q4_0"].map(|name| opened.recipe_key(&presets::preset(name).unwrap()));
    assert_ne!(keys[0], keys[1]);
}

fn schemes(plan: &Plan) -> Vec<(&str, u8)> {
    plan.layers.iter().map(|l| (l.layer.name.trim_start_matches("blk.0."), l.treatment.weights.bits())).collect()
}

#[test]
fn layers_that_read_the_same_data_decide_together() {
    let folder = tempfile::tempdir().unwrap();
    let new = NewProject { model: weights(folder.path()), ..NewProject::default() };
    let (_, opened) = work::init(&folder.path().join("p"), &new, &ctx()).unwrap();
    let eight = || Some(Scheme::per_channel(8));
    let mut recipe = recipe(integers(4, Observer::MinMax));
    recipe.overrides.push(Override { weights: Some(Scheme::per_channel(3)), ..Override::new("blk.0.attn_v") });
    let plan = opened.plan(&recipe).unwrap();
    assert!(plan.groups.iter().all(|g| g.kind == GroupKind::Projections));
    assert_eq!(plan.groups.iter().map(|g| g.layers.len()).collect::<Vec<_>>(), [3, 2]);
    // Naming one names all; the others say why.
    let three = [("attn_k", 3), ("attn_output", 4), ("attn_q", 3), ("attn_v", 3), ("ffn_gate", 4), ("ffn_up", 4)];
    assert_eq!(schemes(&plan), three);
    let note = plan.layer("blk.0.attn_q").unwrap().note.as_ref().unwrap();
    assert!(note.contains("treated as \"blk.0.attn_v\"") && note.contains("groups: Apart"), "{note}");
    assert!(plan.layer("blk.0.attn_v").unwrap().note.as_ref().is_none_or(|n| !n.contains("treated as")));
    // Of two that differ the wider wins.
    recipe.overrides.push(Override { weights: eight(), ..Override::new("blk.0.attn_k") });
    let plan = opened.plan(&recipe).unwrap();
    assert_eq!(schemes(&plan)[..4], [("attn_k", 8), ("attn_output", 4), ("attn_q", 8), ("attn_v", 8)]);
    assert!(plan.layer("blk.0.attn_v").unwrap().note.as_ref().unwrap().contains("attn_k"));
    // Set free, each is what it was asked to be.
    recipe.groups = Grouping::Apart;
    let recipe = Recipe::from_ron(&recipe.to_ron().unwrap(), "r").unwrap();
    let plan = opened.plan(&recipe).unwrap();
    assert_eq!(schemes(&plan)[..4], [("attn_k", 8), ("attn_output", 4), ("attn_q", 4), ("attn_v", 3)]);
    assert!(plan.groups.is_empty());
}

#[test]
fn first_and_last_layer_are_guarded_by_a_preset() {
    let folder = tempfile::tempdir().unwrap();
    let opened = sample(folder.path());
    for (name, bits) in [("w4-guarded", 4), ("w3-guarded", 3)] {
        let plan = opened.plan(&presets::preset(name).unwrap()).unwrap();
        let widths: Vec<u8> = plan.layers.iter().map(|l| l.treatment.weights.bits()).collect();
        let (ends, middle) = ([widths[0], widths[widths.len() - 1]], &widths[1..widths.len() - 1]);
        assert!(ends == [8, 8] && middle.iter().all(|b| *b == bits), "{name}: {widths:?}");
    }
}

#[test]
fn what_a_gguf_file_says_beside_its_weights_is_kept() {
    let folder = tempfile::tempdir().unwrap();
    let values: Vec<f32> = (0..4 * 32).map(|i| (i as f32 * 0.37).sin()).collect();
    let tensors = [("blk.0.attn_q.weight".to_owned(), Tensor::from_f32(vec![4, 32], &values).unwrap())];
    let text = |text: &str| Value::Text(text.to_owned());
    let said: Metadata = [
        ("general.architecture", text("llama")),
        ("general.file_type", Value::U32(0)),
        ("tokenizer.ggml.tokens", Value::Array(8, vec![text("a"), text("b")])),
    ]
    .map(|(key, value)| (key.to_owned(), value))
    .into();
    let model = folder.path().join("m.gguf");
    let mut bytes = Vec::new();
    writer::write(&said, &tensors, &mut bytes).unwrap();
    std::fs::write(&model, bytes).unwrap();
    let (_, opened) = work::init(&folder.path().join("p"), &NewProject { model, ..NewProject::default() }, &ctx()).unwrap();
    let (recipe, out) = (presets::preset("q8_0").unwrap(), folder.path().join("out.gguf"));
    let exported = opened.export(&recipe, &out, &ctx()).unwrap();
    assert_eq!(exported.bytes, opened.plan(&recipe).unwrap().bytes);
    let kept = lapidary::pipeline::load::gguf::open(&out, &ctx()).unwrap().metadata;
    for key in ["general.architecture", "tokenizer.ggml.tokens"] {
        assert_eq!(kept.get(key), said.get(key), "{key}");
    }
    assert!(!kept.contains_key("general.file_type"), "the tensors are no longer what it says");
}
