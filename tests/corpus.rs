//! Results on real networks that an independent implementation reached too. Skipped, with a
//! message, where the corpus is not there.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::corpus;
use lapidary::engine::Ctx;
use lapidary::pipeline::configure::presets;
use lapidary::pipeline::evaluate::Report;
use lapidary::pipeline::load::{Channels, Preprocess};
use lapidary::workbench::work::{self, NewProject, Opened, Split};

fn evaluate(opened: &Opened, recipe: &str, ctx: &Ctx) -> Report {
    opened.evaluate(&presets::preset(recipe).unwrap(), Split::Evaluate, None, ctx).unwrap()
}

#[test]
fn resnet20_at_four_bits_is_what_others_measure() {
    let Some(corpus) = corpus() else { return };
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let new = NewProject {
        model: corpus.join("models/cifar_resnet20/resnet20.onnx"),
        graph: None,
        evaluate: Some(corpus.join("data/cifar10/eval")),
        calibrate: Some(corpus.join("data/cifar10/calib")),
        importance: None,
        preprocess: Preprocess {
            channels: Some(Channels::Rgb),
            scale: Some(255.0),
            mean: vec![0.485, 0.456, 0.406],
            std: vec![0.229, 0.224, 0.225],
            ..Preprocess::default()
        },
    };
    let (_, opened) = work::init(&folder.path().join("p"), &new, &ctx).unwrap();
    let report = evaluate(&opened, "w4", &ctx);
    assert_eq!(report.samples, 5000);
    let (top1, original) = (report.metrics.unwrap().top1.value, report.baseline.unwrap().top1.value);
    assert!((original - 91.48).abs() < 0.011, "FP32 {original}");
    assert!((top1 - 89.82).abs() <= 0.3, "top-1 {top1}");
    assert!((report.fidelity.kl_mean / 0.1087 - 1.0).abs() <= 0.03, "KL {}", report.fidelity.kl_mean);
}

#[test]
fn keyword_spotting_survives_eight_bits() {
    let Some(corpus) = corpus() else { return };
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let new = NewProject {
        model: corpus.join("models/mlperf_kws/kws_dscnn_fp32.onnx"),
        evaluate: Some(corpus.join("data/kws500/kws500_xy.npz")),
        ..NewProject::default()
    };
    let (_, opened) = work::init(&folder.path().join("p"), &new, &ctx).unwrap();
    let report = evaluate(&opened, "int8", &ctx);
    assert_eq!(report.samples, 400, "every fifth sample calibrates and is not measured");
    assert!(report.drop_points().unwrap() <= 1.5 && report.fidelity.kl_mean <= 0.006, "{report:?}");
}

#[test]
fn a_language_model_is_judged_by_its_perplexity() {
    let Some(corpus) = corpus() else { return };
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let new = NewProject {
        model: corpus.join("models/stories260K/stories260K.onnx"),
        evaluate: Some(corpus.join("data/text/tinystories_tokens.npz")),
        ..NewProject::default()
    };
    let (_, opened) = work::init(&folder.path().join("p"), &new, &ctx).unwrap();
    let perplexity = |recipe: &str| {
        let report = evaluate(&opened, recipe, &ctx);
        let text = report.metrics.unwrap().next_token.unwrap();
        assert_eq!((report.samples, text.tokens), (3, 924));
        (text.perplexity, report.fidelity.kl_mean)
    };
    let (original, kl) = perplexity("fp32");
    assert!((original - 3.3235).abs() <= 0.001 && kl == 0.0, "FP32 {original}, KL {kl}");
    let worse: Vec<(f64, f64)> = ["w8", "int8-dynamic", "w4"].map(perplexity).to_vec();
    assert!((worse[0].0 / original - 1.0).abs() < 0.01 && worse[2].0 > original, "{worse:?}");
    assert!(worse[0].1 > 0.0 && worse.windows(2).all(|w| w[0].1 < w[1].1), "KL grows: {worse:?}");
}

#[test]
fn a_raised_operator_set_changes_no_output() {
    use lapidary::engine::exec::{Executor, Request, prepare};
    use lapidary::engine::graph::passes::upgrade_opset;
    use lapidary::engine::random::Random;
    use lapidary::engine::tensor::Value;
    let Some(corpus) = corpus() else { return };
    let ctx = Ctx::new(2).unwrap();
    for (file, set) in [("mnist_cntk/opt-mnist", 8), ("ultraface_slim/version-slim-320", 9), ("yunet_n/yunet_n_320_320", 11)] {
        let path = corpus.join("models").join(file).with_extension("onnx");
        let model = prepare(&lapidary::pipeline::load::model(&path, &ctx).unwrap().model).unwrap();
        let raised = upgrade_opset(&model, 25).unwrap();
        assert_eq!((model.opset(), raised.opset()), (set, 25), "{file}");
        let port = model.data_input().unwrap();
        let shape = port.fact.known_shape().unwrap();
        let mut random = Random::new(3);
        let values = (0..shape.iter().product()).map(|_| random.normal()).collect();
        let feeds = [(port.wire.clone(), Value::from_f32(values, &shape).unwrap())];
        let outputs = |model| -> Vec<Vec<f32>> {
            let executor = Executor::new(model, &Request::default()).unwrap();
            executor.run(&feeds, &ctx, &mut |_, _| {}).unwrap().iter().map(|(_, v)| v.to_f32().unwrap()).collect()
        };
        let (before, after) = (outputs(&model), outputs(&raised));
        assert!(before == after && before.iter().flatten().any(|v| *v != 0.0), "{file}");
    }
}
