//! Channels balanced between layers, and what rounding took made up for beside them: small networks, and real ones
//! (`LAPIDARY_CORPUS`, else `../shared/data`; skipped, with a message, where it is not there).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::corpus;
use lapidary::engine::Ctx;
use lapidary::engine::exec::{Executor, Request};
use lapidary::engine::formats::observe::Observer;
use lapidary::engine::formats::{Granularity, ScaleType, Symmetry};
use lapidary::engine::graph::passes::Passages;
use lapidary::engine::graph::{Dim, Model};
use lapidary::engine::random::Random;
use lapidary::engine::tensor::{DType, Value};
use lapidary::pipeline::compress::Variant;
use lapidary::pipeline::configure::{
    self, Activations, Balance, Correction, Order, Recipe, Recovery, Scheme, Solver, Target, Treatment,
};
use lapidary::pipeline::load::{self, Subject};
use lapidary::workbench::sample;
use lapidary::workbench::work::{self, NewProject, Opened, Split};
use std::path::Path;

fn subject(path: &Path, ctx: &Ctx) -> Subject {
    Subject::new(load::model(path, ctx).unwrap()).unwrap()
}

/// What the model gives for two drawn samples; dimensions that are free are 12.
fn outputs(model: &Model, ctx: &Ctx) -> Vec<Vec<f32>> {
    let port = model.data_input().unwrap();
    let dims = port.fact.shape.as_ref().unwrap().iter().enumerate();
    let dims: Vec<usize> = dims.map(|(i, d)| if let Dim::Known(n) = d { *n } else { [2, 12][i.min(1)] }).collect();
    let mut random = Random::new(11);
    let count = dims.iter().product();
    let value = if port.fact.dtype == Some(DType::I64) {
        Value::from_i64((0..count).map(|i: usize| (i * 37 % 500) as i64).collect(), &dims).unwrap()
    } else {
        Value::from_f32((0..count).map(|_| random.normal()).collect(), &dims).unwrap()
    };
    let executor = Executor::new(model, &Request::default()).unwrap();
    let outputs = executor.run(&[(port.wire.clone(), value)], ctx, &mut |_, _| {}).unwrap();
    outputs.iter().map(|(_, value)| value.to_f32().unwrap()).collect()
}

/// The largest difference, relative to the largest output.
fn difference(a: &Model, b: &Model, ctx: &Ctx) -> f32 {
    let mut worst = 0.0_f32;
    for (a, b) in outputs(a, ctx).iter().zip(&outputs(b, ctx)) {
        assert_eq!(a.len(), b.len());
        let largest = b.iter().fold(1e-6_f32, |m, v| m.max(v.abs()));
        worst = a.iter().zip(b).fold(worst, |w, (x, y)| w.max((x - y).abs() / largest));
    }
    worst
}

#[test]
fn rescaled_networks_compute_what_they_did() {
    let Some(corpus) = corpus() else { return };
    let ctx = Ctx::new(2).unwrap();
    for (path, least) in [
        // Of each of five blocks the queries, keys and values, both matrices behind the second norm, and the one
        // behind their product; the classifier shares its norm with nobody.
        ("stories260K/stories260K.onnx", 16),
        ("cifar_resnet20/resnet20.onnx", 9),
        ("mlperf_resnet8/resnet8_cifar10.onnx", 3),
        ("mlperf_kws/kws_dscnn_fp32.onnx", 8),
        ("mlperf_vww/vww_96.onnx", 26),
        ("squeezenet_dc/squeezenet_v1.0_dc.onnx", 8),
        ("mnist_deepconv/deep_convnet.onnx", 5),
        ("ultraface_slim/version-slim-320.onnx", 10),
    ] {
        let subject = subject(&corpus.join("models").join(path), &ctx);
        let passages = Passages::of(&subject.folded, &subject.layers);
        assert!(passages.found.len() >= least, "{path}: {} passages", passages.found.len());
        let mut random = Random::new(3);
        let drawn = |p: &lapidary::engine::graph::passes::Passage, random: &mut Random| -> Vec<f32> {
            (0..p.channels).map(|_| 2_f32.powf(2.0 * random.normal().clamp(-1.5, 1.5))).collect()
        };
        let scales = passages.found.iter().map(|p| drawn(p, &mut random)).enumerate().collect();
        let made = passages.rescale(&subject.folded, &scales).unwrap();
        let worst = difference(&made, &subject.folded, &ctx);
        assert!(worst <= 1e-5, "{path}: {worst:e}");
        let moved = made.constants.iter().filter(|(wire, t)| t.bytes() != subject.folded.constants[*wire].bytes());
        assert!(moved.count() > least, "{path}: nothing was scaled");
    }
}

fn sample_in(folder: &Path, ctx: &Ctx) -> Opened {
    work::open(&sample::install(Some(folder)).unwrap(), ctx).unwrap().1
}

/// By way of text, as a person writes it.
fn recipe(treatment: Treatment, balance: Balance) -> Recipe {
    let recipe = Recipe { balance, ..Recipe::new("test", treatment) };
    Recipe::from_ron(&recipe.to_ron().unwrap(), "test").unwrap()
}

fn groups_of_32(symmetry: Symmetry) -> Treatment {
    let weights = Scheme::Affine { bits: 4, symmetry, granularity: Granularity::Group(32), scales: ScaleType::F32 };
    Treatment { weights, ..Treatment::UNCHANGED }
}

/// All constants, to the bit.
fn bits(variant: &Variant) -> Vec<(String, Vec<u8>)> {
    variant.model.constants.iter().map(|(wire, t)| (wire.to_string(), t.bytes().to_vec())).collect()
}

#[test]
fn a_balanced_network_is_written_as_it_was_planned() {
    let folder = tempfile::tempdir().unwrap();
    let contexts = [1, 2].map(|threads| Ctx::new(threads).unwrap());
    let opened = sample_in(folder.path(), &contexts[0]);
    let per_tensor =
        Scheme::Affine { bits: 8, symmetry: Symmetry::Restricted, granularity: Granularity::Tensor, scales: ScaleType::F32 };
    let data = Treatment { weights: per_tensor, activations: Activations::Static, ..Treatment::UNCHANGED };
    let cases = [
        (data, Balance::Smooth { strength: 0.5 }),
        (groups_of_32(Symmetry::Asymmetric), Balance::Awq),
        (Treatment { weights: Scheme::per_channel(16), ..Treatment::UNCHANGED }, Balance::Smooth { strength: 0.8 }),
    ];
    for (treatment, balance) in cases {
        let recipe = recipe(treatment, balance);
        let [one, two] = contexts.each_ref().map(|ctx| opened.compress(&recipe, ctx).unwrap().1);
        assert_eq!(bits(&one), bits(&two), "{balance:?}: the same at any number of threads");
        let plain = opened.compress(&Recipe::new("plain", treatment), &contexts[0]).unwrap().1;
        assert_ne!(bits(&one), bits(&plain), "{balance:?} does something");
        let exported = opened.export(&recipe, &folder.path().join("out.onnx"), &contexts[1]).unwrap();
        assert!(exported.checks.iter().all(|c| c.passed), "{balance:?}: {:?}", exported.checks);
        assert_eq!(exported.bytes, opened.plan(&recipe).unwrap().bytes);
        let report = opened.evaluate(&recipe, Split::Evaluate, Some(200), &contexts[1]).unwrap();
        let most = if treatment.weights == Scheme::per_channel(16) { 1e-6 } else { 0.05 };
        assert!(report.fidelity.kl_mean < most, "{balance:?}: {}", report.fidelity.kl_mean);
    }
}

#[test]
fn what_cannot_be_balanced_is_said() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let balanced = recipe(groups_of_32(Symmetry::Full), Balance::Awq);
    let first = &opened.plan(&balanced).unwrap().layers[0];
    assert!(first.note.as_deref().unwrap().contains("its channels are not balanced"), "{:?}", first.note);
    let mut document = (*opened.document).clone();
    (document.evaluate, document.calibrate) = (None, None);
    let alone = opened.with_document(document.into());
    let plan = alone.plan(&balanced).unwrap();
    assert_eq!((plan.balance, plan.needs_calibration()), (Balance::None, false));
    assert!(plan.layers.iter().all(|l| l.refusal.as_deref().is_some_and(|r| r.contains("no calibration data to balance"))));
    let made = alone.compress(&balanced, &ctx).unwrap().1;
    let plain = alone.compress(&Recipe::new("plain", balanced.default), &ctx).unwrap().1;
    assert_eq!(bits(&made), bits(&plain));
    let wild = Recipe { balance: Balance::Smooth { strength: 1.5 }, ..balanced };
    assert!(wild.validate().unwrap_err().to_string().contains("from 0 to 1"));
    // Nothing but sigmoids lies between its layers.
    let Some(corpus) = corpus() else { return };
    let subject = subject(&corpus.join("models/mnist_mlp3/mlp3.onnx"), &ctx);
    let plan = configure::plan(&recipe(groups_of_32(Symmetry::Full), Balance::Smooth { strength: 0.5 }), &subject).unwrap();
    assert_eq!(plan.balance, Balance::None);
    let said = plan.layers[1].refusal.as_deref().unwrap();
    assert!(said.contains("a Sigmoid lies before it"), "{said}");
}

/// The language model and its stories, which calibrate as well: there are but three.
fn stories(folder: &Path, ctx: &Ctx) -> Option<Opened> {
    let corpus = corpus()?;
    let tokens = corpus.join("data/text/tinystories_tokens.npz");
    let model = corpus.join("models/stories260K/stories260K.onnx");
    let new = NewProject { model, evaluate: Some(tokens.clone()), calibrate: Some(tokens), ..NewProject::default() };
    Some(work::init(&folder.join("stories"), &new, ctx).unwrap().1)
}

fn divergence(opened: &Opened, recipe: &Recipe, ctx: &Ctx) -> f64 {
    opened.evaluate(recipe, Split::All, None, ctx).unwrap().fidelity.kl_mean
}

#[test]
fn awq_brings_a_language_model_s_outputs_nearer() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let Some(opened) = stories(folder.path(), &ctx) else { return };
    let treatment = Treatment { range: Observer::MSE, ..groups_of_32(Symmetry::Asymmetric) };
    let error = |balance| divergence(&opened, &recipe(treatment, balance), &ctx);
    let (plain, awq) = (error(Balance::None), error(Balance::Awq));
    assert!(awq < 0.9 * plain, "to nearest {plain}, balanced {awq}");
}

#[test]
fn zero_points_that_move_take_no_data() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let moved = Treatment { range: Observer::HalfQuadratic, ..groups_of_32(Symmetry::Asymmetric) };
    let plan = opened.plan(&recipe(moved, Balance::None)).unwrap();
    assert!(!plan.needs_calibration() && plan.layers.iter().all(|l| l.treatment.range == Observer::HalfQuadratic));
    let still = Recipe::new("still", Treatment { range: Observer::HalfQuadratic, ..groups_of_32(Symmetry::Full) });
    assert!(still.validate().unwrap_err().to_string().contains("move zero points, and int4"));
    let data = Activations::StaticWith { bits: 8, symmetric: false, observer: Observer::HalfQuadratic };
    let data = Recipe::new("data", Treatment { activations: data, ..groups_of_32(Symmetry::Full) });
    assert!(data.validate().unwrap_err().to_string().contains("are for weights"));
    let error = |treatment| {
        let (_, variant) = opened.compress(&Recipe::new("r", treatment), &ctx).unwrap();
        variant.layers.iter().map(|l| l.weight_sqnr_db).collect::<Vec<_>>()
    };
    assert_ne!(error(moved), error(groups_of_32(Symmetry::Asymmetric)));
}

#[test]
fn biases_that_batch_norm_tells_take_no_data() {
    let Some(corpus) = corpus() else { return };
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let model = corpus.join("models/mlperf_kws/kws_dscnn_fp32.onnx");
    let new = NewProject { model, evaluate: Some(corpus.join("data/kws500/kws500_xy.npz")), ..NewProject::default() };
    let opened = work::init(&folder.path().join("p"), &new, &ctx).unwrap().1;
    let correction = Correction { solver: Solver::Nearest, recovery: Recovery::BatchNorm };
    let treatment = Treatment { weights: Scheme::per_channel(4), range: Observer::MSE, correction, ..Treatment::UNCHANGED };
    let mended = recipe(treatment, Balance::None);
    let plan = opened.plan(&mended).unwrap();
    assert!(!plan.needs_calibration());
    // All but the first layer, which reads what nobody normalized, and the plan says so.
    assert_eq!(plan.layers.iter().filter(|l| l.bias.is_some()).count(), plan.layers.len() - 1);
    let said = plan.layers[0].refusal.as_deref().unwrap();
    assert!(said.contains("no batch normalization stands before it"), "{said}");
    let plain = Recipe::new("plain", Treatment { correction: Correction::NONE, ..treatment });
    let (before, after) = (divergence(&opened, &plain, &ctx), divergence(&opened, &mended, &ctx));
    assert!(after < 0.6 * before, "{before} became {after}");
    let exported = opened.export(&mended, &folder.path().join("out.onnx"), &ctx).unwrap();
    assert!(exported.checks.iter().all(|c| c.passed), "{:?}", exported.checks);
    let wrong = Correction { solver: Solver::Gptq { order: Order::Natural, target: Target::Own, sweeps: 0 }, ..correction };
    let wrong = Recipe::new("wrong", Treatment { correction: wrong, ..treatment });
    assert!(wrong.validate().unwrap_err().to_string().contains("take no data"));
}

/// Graph, bytes and what is said of layers that two thin matrices stand beside.
#[test]
fn what_rounding_took_is_made_up_for_beside_the_layer() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let mut document = (*opened.document).clone();
    (document.evaluate, document.calibrate) = (None, None);
    let alone = opened.with_document(document.into());
    let with = |compensate| recipe(Treatment { compensate, ..groups_of_32(Symmetry::Full) }, Balance::None);
    for opened in [&opened, &alone] {
        let plan = opened.plan(&with(4)).unwrap();
        assert!(plan.layers.iter().any(|l| l.treatment.compensate == 4));
        let plain = opened.plan(&with(0)).unwrap();
        for (layer, before) in plan.layers.iter().zip(&plain.layers) {
            let outputs = layer.layer.out_channels();
            let beside = layer.treatment.compensate as usize * (outputs + layer.layer.parameters() / outputs) * 2;
            assert_eq!(layer.bytes, before.bytes + beside as u64, "{}", layer.layer.name);
        }
        let out = folder.path().join("out.onnx");
        let exported = opened.export(&with(4), &out, &ctx).unwrap();
        assert!(exported.checks.iter().all(|c| c.passed), "{:?}", exported.checks);
        assert_eq!(exported.bytes, plan.bytes);
        let variants = [4, 0].map(|rank| opened.compress(&with(rank), &ctx).unwrap().1);
        let worse = variants[0].layers.iter().zip(&variants[1].layers).filter(|(a, b)| a.weight_sqnr_db < b.weight_sqnr_db);
        assert!(opened.document.calibrate.is_some() || opened.document.evaluate.is_some() || worse.count() == 0);
        let [compensated, plain] = variants.map(|v| difference(&v.model, &opened.subject.folded, &ctx));
        assert!(compensated < plain, "{plain} became {compensated}");
    }
    for name in ["out.safetensors", "out.gguf", "out.h"] {
        let error = opened.export(&with(4), &folder.path().join(name), &ctx).unwrap_err().to_string();
        assert!(error.contains("holds no graph"), "{name}: {error}");
        assert!(!folder.path().join(name).exists());
    }
    let steps = opened.compress(&with(4), &ctx).unwrap().1.layers;
    assert!(steps.iter().any(|l| l.steps.iter().any(|s| s.name == "low rank" && s.kept)));
}

/// Weights alone can tell what stands beside a layer: without data nothing is missing, with them they are made use of.
#[test]
fn compensation_can_do_without_data() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let treatment = Treatment { compensate: 4, ..groups_of_32(Symmetry::Full) };
    let compensated = recipe(treatment, Balance::None);
    let plan = opened.plan(&compensated).unwrap();
    assert!(!plan.needs_calibration() && plan.uses_calibration() && plan.is_corrected());
    assert!(!opened.calibration_key(&compensated, &ctx).unwrap().is_empty(), "other data, another result");
    let correction = Correction { solver: Solver::Nearest, recovery: Recovery::Bias };
    let corrected = opened.plan(&recipe(Treatment { correction, ..treatment }, Balance::None)).unwrap();
    assert!(corrected.needs_calibration());
    let plain = opened.plan(&recipe(Treatment { compensate: 0, ..treatment }, Balance::None)).unwrap();
    assert!(!plain.needs_calibration() && !plain.uses_calibration());
}

/// A bias that batch normalization tells hangs on no data, whatever stands beside the layer.
#[test]
fn batch_norm_tells_the_bias_of_compensated_layers_too() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let with = |recovery| {
        let correction = Correction { solver: Solver::Nearest, recovery };
        let treatment = Treatment { compensate: 1, correction, weights: Scheme::per_channel(3), ..Treatment::UNCHANGED };
        opened.compress(&recipe(treatment, Balance::None), &ctx).unwrap()
    };
    let ((plan, told), (_, measured)) = (with(Recovery::BatchNorm), with(Recovery::Bias));
    let mended = plan.layers.iter().zip(&told.layers).filter(|(plan, _)| plan.bias.is_some());
    let mut seen = 0;
    for (plan, layer) in mended {
        assert_eq!(plan.treatment.correction.recovery, Recovery::BatchNorm);
        assert!(layer.steps.iter().all(|s| s.name != "bias"), "{}: no data judge it: {:?}", layer.name, layer.steps);
        seen += usize::from(plan.treatment.compensate > 0);
    }
    assert!(seen > 0);
    assert!(measured.layers.iter().any(|l| l.steps.iter().any(|s| s.name == "bias")));
}

#[test]
fn low_rank_brings_a_language_model_s_outputs_nearer() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let Some(opened) = stories(folder.path(), &ctx) else { return };
    let error = |compensate| {
        let treatment = Treatment { compensate, ..groups_of_32(Symmetry::Full) };
        divergence(&opened, &recipe(treatment, Balance::None), &ctx)
    };
    let (plain, compensated) = (error(0), error(8));
    assert!(compensated < 0.8 * plain, "to nearest {plain}, compensated {compensated}");
}
