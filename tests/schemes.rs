//! Number formats end to end: what a format decodes to is what the graph computes with, what is foretold is
//! what is written, on a drawn network and on real ones (`LAPIDARY_CORPUS`, else `../shared/data`; skipped,
//! with a message, where it is not there).
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod common;

use common::corpus;
use lapidary::engine::Ctx;
use lapidary::engine::exec::{Executor, Request};
use lapidary::engine::formats::blocks::BlockFormat;
use lapidary::engine::formats::{
    Codebook, Entries, Fit, Float, Format, Fp8, Fp8Scale, Granularity, How, Integer, Matrix, Micro, NormalScales, ScaleType,
    Scope, Sharing, Symmetry, Zeros,
};
use lapidary::engine::graph::{
    Attribute, Channels, Dim, Fact, Layer, LayerKind, LoweredLayer, Model, Node, NodeId, Port, StoredWeight, Wire, lower,
};
use lapidary::engine::random::Random;
use lapidary::engine::tensor::{DType, Tensor, Value};
use lapidary::pipeline::calibrate::{self, Statistics};
use lapidary::pipeline::configure::{
    self, Activations, ChannelCut, ChannelScore, Correction, Importance, Override, Recipe, Rounding, Saliency, Scheme, Treatment,
    presets,
};
use lapidary::pipeline::load::{self, Dataset, Preprocess, Subject};
use lapidary::pipeline::{compress, export};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Every kind of format, with every layout that it has in a graph.
fn formats() -> Vec<Format> {
    let mut all = Vec::new();
    for bits in [1, 2, 3, 4, 5, 8, 16] {
        for symmetry in [Symmetry::Restricted, Symmetry::Full, Symmetry::Asymmetric] {
            if bits == 1 && symmetry != Symmetry::Asymmetric {
                continue;
            }
            let granularities =
                [Granularity::Tensor, Granularity::Channel, Granularity::Group(16), Granularity::Block { rows: 3, cols: 5 }];
            let scales = [ScaleType::F32, ScaleType::F16, ScaleType::PowerOfTwo];
            all.extend(
                granularities.into_iter().flat_map(|granularity| {
                    scales.map(|scales| Format::Integer(Integer { bits, symmetry, granularity, scales }))
                }),
            );
        }
    }
    let scopes = [Scope::Layer, Scope::Channels(1), Scope::Channels(2)];
    for zeros in [Zeros::Shared, Zeros::Apart] {
        for (bits, scope) in (1..=8).zip(scopes.into_iter().cycle()) {
            all.push(Format::Codebook(Codebook { bits, scope, entries: Entries::Scalar { fit: Fit::EqualMass, zeros } }));
        }
    }
    for entries in [Entries::Pair, Entries::Quad] {
        all.extend(scopes.map(|scope| Format::Codebook(Codebook { bits: 3, scope, entries })));
    }
    for kind in [Fp8::E4M3, Fp8::E5M2] {
        all.extend([Fp8Scale::Tensor, Fp8Scale::Channel].map(|scale| Format::Float(Float::Fp8 { kind, scale })));
    }
    let micro =
        [Micro::MxFp4, Micro::MxFp6E2M3, Micro::MxFp6E3M2, Micro::MxFp8E4M3, Micro::MxFp8E5M2, Micro::MxInt8, Micro::NvFp4];
    all.extend(micro.map(Format::Micro));
    all.extend([
        Format::Float(Float::F16),
        Format::Float(Float::BF16),
        Format::Normal(NormalScales::F32),
        Format::Normal(NormalScales::Double),
        Format::Ternary(Sharing::Layer),
        Format::Ternary(Sharing::Filter),
        Format::Binary,
    ]);
    all.extend(BlockFormat::ALL.map(Format::Block));
    all
}

fn layer(shape: &[usize], out_axis: usize) -> Layer {
    let wire = Wire::from("w");
    Layer {
        name: "l".to_owned(),
        node: Some(NodeId(0)),
        kind: LayerKind::Conv,
        input: "x".into(),
        output: "y".into(),
        weight: wire,
        bias: None,
        shape: shape.to_vec(),
        out_axis,
        macs: None,
    }
}

/// y = w + x.
fn adds(shape: &[usize], weights: &[f32]) -> Model {
    let port = |name: &str, dims: &[usize]| Port {
        wire: name.into(),
        fact: Fact { dtype: Some(DType::F32), shape: Some(dims.iter().map(|d| Dim::Known(*d)).collect()) },
    };
    let node = Node {
        id: NodeId(0),
        name: "add".to_owned(),
        op: "Add".to_owned(),
        domain: String::new(),
        inputs: ["w", "x"].map(|w| Some(Wire::from(w))).to_vec(),
        outputs: vec![Some("y".into())],
        attributes: std::collections::BTreeMap::<String, Attribute>::default(),
    };
    Model {
        name: "adds".to_owned(),
        inputs: vec![port("x", &[1])],
        outputs: vec![port("y", shape)],
        nodes: vec![node],
        constants: [(Wire::from("w"), Tensor::from_f32(shape.to_vec(), weights).unwrap())].into(),
        opsets: [(String::new(), 13)].into(),
        ..Model::default()
    }
}

fn outputs(model: &Model, ctx: &Ctx) -> Vec<f32> {
    let feeds = [(Wire::from("x"), Value::from_f32(vec![0.0], &[1]).unwrap())];
    let executor = Executor::new(model, &Request::default()).unwrap();
    executor.run(&feeds, ctx, &mut |_, _| {}).unwrap()[0].1.to_f32().unwrap()
}

#[test]
fn a_graph_computes_with_what_the_format_decodes_to() {
    let ctx = Ctx::new(2).unwrap();
    let mut tried = 0;
    // A convolution, a matrix that lies either way, a transposed convolution, long rows for blocks of 256.
    for (shape, axis) in
        [(&[5, 7, 3, 3][..], 0), (&[70, 12], 1), (&[12, 70], 0), (&[6, 4, 3, 5], 1), (&[256, 3], 1), (&[4, 256], 0)]
    {
        let layer = layer(shape, axis);
        let mut random = Random::new(7);
        let weights: Vec<f32> = (0..layer.parameters()).map(|i| if i % 11 == 0 { 0.0 } else { random.normal() }).collect();
        let channels = Channels::new(shape, axis);
        let rows = channels.gather(&weights);
        let matrix = Matrix::new(&rows, channels.count, channels.row_len()).unwrap();
        let model = adds(shape, &weights);
        for format in formats() {
            if format.bytes(channels.count, channels.row_len()).is_err() {
                assert!(matches!(format, Format::Block(_)), "{format} {shape:?}");
                continue;
            }
            let encoded = format.encode(&matrix, &How::default(), &ctx).unwrap();
            let [made, foretold] = [Some(&encoded), None].map(|encoded| StoredWeight::of(format, &layer, encoded).unwrap());
            let lowered = [made, foretold].map(|stored| {
                let layer = LoweredLayer {
                    low_rank: None,
                    weight: layer.weight.clone(),
                    shape: shape.to_vec(),
                    out_axis: axis,
                    stored: Some(stored),
                    input: layer.input.clone(),
                    rounded: None,
                    bias: None,
                };
                lower(&model, &[layer]).unwrap_or_else(|e| panic!("{format} {shape:?}: {e}"))
            });
            let decoded = channels.scatter(&encoded.decode(&ctx));
            // A codebook may have an entry for every weight.
            let exact = matches!(format, Format::Codebook(_)) || matches!(format, Format::Integer(i) if i.bits == 16);
            assert!(exact || decoded != weights, "{format} {shape:?}: nothing was rounded");
            assert_eq!(outputs(&lowered[0], &ctx), decoded, "{format} {shape:?} {axis}");
            if !matches!(format, Format::Block(_)) {
                let source = load::onnx::OnnxSource::empty("adds");
                let written = load::onnx::to_bytes(&load::onnx::encode(&lowered[0], &source).unwrap()).len() as u64;
                assert_eq!(load::onnx::encoded_len(&lowered[1], &source).unwrap(), written, "{format} {shape:?}");
            }
            tried += 1;
        }
    }
    assert!(tried > 500, "only {tried}");
}

fn subject(path: &Path, ctx: &Ctx) -> Subject {
    Subject::new(load::model(path, ctx).unwrap()).unwrap()
}

/// What is known of the data.
struct Known {
    statistics: Statistics,
    data: Dataset,
}

/// Plans, compresses, writes and reopens; gives the plan.
fn whole_way(subject: &Subject, recipe: &Recipe, known: Option<&Known>, ctx: &Ctx) -> configure::Plan {
    let name = &recipe.name;
    let plan = configure::plan(recipe, subject).unwrap_or_else(|e| panic!("{name}: {e}"));
    let source = |_: &BTreeSet<Wire>, _: &Ctx| Ok(known.map(|k| k.statistics.clone()));
    let data = |_: &Ctx| Ok(known.map(|k| k.data.clone()));
    let subject = &compress::cut_channels(&plan, subject, &data, ctx).unwrap_or_else(|e| panic!("{name}: {e}"));
    let variant = compress::run(&plan, subject, &source, ctx).unwrap_or_else(|e| panic!("{name}: {e}"));
    for (planned, made) in plan.layers.iter().zip(&variant.layers) {
        if plan.file == configure::FileFormat::Onnx || matches!(planned.treatment.weights, Scheme::Block(_)) {
            assert_eq!(planned.bytes, made.bytes, "{name}: {}", made.name);
        }
        // A codebook may have an entry for every weight.
        let stays = Treatment { channels: ChannelCut::None, ..planned.treatment }.is_unchanged();
        let exact = stays || matches!(planned.treatment.weights, Scheme::Codebook { .. });
        assert!(exact || made.weight_sqnr_db.is_finite(), "{name}: {} was not rounded", made.name);
    }
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join(format!("out{}", plan.file.suffix()));
    let draft = export::run(plan.file, export::Source::Made(&variant), &plan, subject, &out, ctx)
        .unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(draft.bytes, plan.bytes, "{name}");
    draft.publish().unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(std::fs::metadata(&out).unwrap().len(), plan.bytes, "{name}");
    plan
}

/// Statistics of everything that layers read, over a few samples.
fn known(subject: &Subject, data: &Path, preprocess: &Preprocess, ctx: &Ctx) -> Known {
    let input = subject.original.data_input().unwrap();
    let data = load::dataset(data, preprocess, input, ctx).unwrap().spread(10);
    let wires = subject.layers.iter().map(|l| l.input.clone()).collect();
    let statistics = calibrate::run(&subject.folded, &wires, &data, ctx).unwrap();
    // Importance of channels runs the network very often.
    Known { statistics, data: data.spread(2) }
}

fn every_preset(subject: &Subject, known: Option<&Known>, every: usize, ctx: &Ctx) {
    // Some things take data to know; the file is looked at without.
    let with_data = |recipe: &Recipe| {
        let Treatment { activations, importance, saliency, channels, correction, .. } = recipe.default;
        let chosen = matches!(channels, ChannelCut::Share { by, .. } if by.needs_data());
        let of_inputs = activations != Activations::None || importance != Importance::Alike || correction != Correction::NONE;
        let balanced = recipe.balance != configure::Balance::None || recipe.default.compensate > 0;
        of_inputs || balanced || saliency != Saliency::Magnitude || chosen
    };
    let recipes = presets::names().into_iter().map(|name| presets::preset(name).unwrap());
    // Stability runs the network eight times per channel: of a language model with its thousand that takes minutes.
    let many = subject.folded.nodes.len() > 300;
    let slow = |recipe: &Recipe| many && matches!(recipe.default.channels, ChannelCut::Share { by: ChannelScore::Stability, .. });
    for recipe in recipes.filter(|r| (known.is_some() || !with_data(r)) && !slow(r)).step_by(every) {
        let plan = whole_way(subject, &recipe, known, ctx);
        for layer in &plan.layers {
            let part = |t: &Treatment| (t.weights, t.activations, t.sparsity, t.saliency, t.correction);
            let without_graph = !subject.loaded.has_graph() && layer.wanted.channels != ChannelCut::None;
            let asked = part(&layer.wanted) != part(&layer.treatment) || without_graph;
            assert_eq!(asked, layer.refusal.is_some(), "{} {}: {:?}", recipe.name, layer.layer.name, layer.refusal);
        }
    }
}

#[test]
fn a_real_network_takes_every_preset_and_the_bytes_foretold() {
    let Some(corpus) = corpus() else { return };
    let ctx = Ctx::new(2).unwrap();
    let subject = subject(&corpus.join("models/cifar_resnet20/resnet20.onnx"), &ctx);
    let preprocess = Preprocess { channels: Some(load::Channels::Rgb), scale: Some(255.0), ..Preprocess::default() };
    let known = known(&subject, &corpus.join("data/cifar10/calib"), &preprocess, &ctx);
    every_preset(&subject, Some(&known), 1, &ctx);
    data_that_meet_in_sums_share_one_scale(&subject, &known.statistics, &ctx);
}

#[test]
fn a_language_model_takes_every_preset_and_the_bytes_foretold() {
    let Some(corpus) = corpus() else { return };
    let ctx = Ctx::new(2).unwrap();
    let models = corpus.join("models/stories260K");
    let graph = subject(&models.join("stories260K.onnx"), &ctx);
    let known = known(&graph, &corpus.join("data/text/tinystories_tokens.npz"), &Preprocess::default(), &ctx);
    every_preset(&graph, Some(&known), 1, &ctx);
    every_preset(&subject(&models.join("stories260K.safetensors"), &ctx), None, 3, &ctx);
}

/// Scales of the grids that wires are rounded to.
fn scales(model: &Model) -> BTreeMap<Wire, f32> {
    let rounded = model.nodes.iter().filter(|n| n.op == "QuantizeLinear");
    let scale = |node: &Node| Some((node.input(0)?.clone(), model.constants.get(node.input(1)?)?.to_f32().ok()?[0]));
    rounded.filter_map(scale).collect()
}

fn data_that_meet_in_sums_share_one_scale(subject: &Subject, statistics: &Statistics, ctx: &Ctx) {
    let made = |name: &str| {
        let plan = configure::plan(&presets::preset(name).unwrap(), subject).unwrap();
        let variant = compress::run(&plan, subject, &|_, _| Ok(Some(statistics.clone())), ctx).unwrap();
        (plan, scales(&variant.model))
    };
    let ((plan, shared), (_, apart)) = (made("int8-sums"), made("int8-histogram"));
    let groups: Vec<_> = plan.groups.iter().filter(|g| g.kind == configure::GroupKind::Sums).collect();
    assert_eq!(groups.len(), 3, "a stream for each of the stages");
    for group in groups {
        let of = |scales: &BTreeMap<Wire, f32>| -> Vec<f32> {
            group.layers.iter().map(|i| scales[&plan.layers[*i].layer.input]).collect()
        };
        let (shared, apart) = (of(&shared), of(&apart));
        assert!(shared.windows(2).all(|w| w[0] == w[1]), "{shared:?}");
        assert!(apart.windows(2).any(|w| w[0] != w[1]), "{apart:?}");
        assert!(plan.layers[group.layers[0]].note.as_ref().unwrap().contains("share one range"));
    }
}

#[test]
fn layers_that_a_block_does_not_divide_are_left_alone_with_the_reason() {
    let ctx = Ctx::new(1).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = lapidary::workbench::sample::install(Some(folder.path())).unwrap();
    let (_, opened) = lapidary::workbench::work::open(&root, &ctx).unwrap();
    let plan = opened.plan(&presets::preset("q4_k").unwrap()).unwrap();
    let first = &plan.layers[0];
    assert_eq!(first.treatment.weights, Scheme::F32);
    assert!(first.refusal.as_ref().unwrap().contains("left in fp32"), "{:?}", first.refusal);
    let plan = opened.plan(&presets::preset("ternary").unwrap()).unwrap();
    assert!(plan.layers[1].note.as_ref().unwrap().contains("needs training"), "{:?}", plan.layers[1].note);
    let eight = Scheme::per_channel(8);
    let ends = [plan.layers.first(), plan.layers.last()].map(|l| l.unwrap().treatment.weights);
    assert_eq!(ends, [eight, eight], "the ends are guarded");
    assert!(plan.layers[1..plan.layers.len() - 1].iter().all(|l| l.treatment.weights != eight));
}

#[test]
fn onnx_refuses_blocks_and_says_the_way_out() {
    let ctx = Ctx::new(2).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let root = lapidary::workbench::sample::install(Some(folder.path())).unwrap();
    let (_, opened) = lapidary::workbench::work::open(&root, &ctx).unwrap();
    let mut recipe = presets::preset("q8_0").unwrap();
    let named = opened.plan(&recipe).unwrap().layers.iter().find(|l| l.refusal.is_none()).unwrap().layer.name.clone();
    let error = opened.export(&recipe, &folder.path().join("a.onnx"), &ctx).unwrap_err().to_string();
    assert!(error.contains(&named) && error.contains("--format gguf") && error.contains("q8_0"), "{error}");
    let error = opened.export(&presets::preset("int8").unwrap(), &folder.path().join("a.gguf"), &ctx).unwrap_err();
    assert!(error.to_string().contains("rounds its inputs"), "{error}");
    // Any layer in any format: those that GGUF has no type for are written as what they were rounded to.
    recipe.overrides.push(Override { weights: Some(Scheme::per_channel(4)), ..Override::new("@first") });
    let out = folder.path().join("a.gguf");
    let exported = opened.export(&recipe, &out, &ctx).unwrap();
    assert_eq!(exported.bytes, opened.plan(&recipe).unwrap().bytes);
    let reopened = load::model(&out, &ctx).unwrap().model;
    let (plan, variant) = opened.compress(&recipe, &ctx).unwrap();
    let first = plan.layers[0].layer.weight.clone();
    let (written, original) = (reopened.constants[&first].clone(), opened.subject.folded.constants[&first].to_f32().unwrap());
    assert_eq!(written.dtype(), DType::F32);
    assert_ne!(written.to_f32().unwrap(), original);
    assert_eq!(written.bytes(), variant.layers[0].dense.as_ref().unwrap().bytes());
    let named = opened.subject.layer(&named).unwrap().weight.clone();
    assert_eq!(reopened.constants[&named].dtype(), DType::Block(BlockFormat::Q8_0));
    // Blocks are evaluated as what they decode to.
    let report = opened.evaluate(&recipe, lapidary::workbench::work::Split::Evaluate, Some(50), &ctx).unwrap();
    assert!(report.fidelity.kl_mean > 0.0 && report.fidelity.kl_mean < 1.0, "{}", report.fidelity.kl_mean);
}

#[test]
fn rounding_is_chosen_and_stays_the_same_at_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let root = lapidary::workbench::sample::install(Some(folder.path())).unwrap();
    let made = |rounding, threads| {
        let ctx = Ctx::new(threads).unwrap();
        let (_, opened) = lapidary::workbench::work::open(&root, &ctx).unwrap();
        let recipe = Recipe::new("r", Treatment { weights: Scheme::per_channel(4), rounding, ..Treatment::UNCHANGED });
        let recipe = Recipe::from_ron(&recipe.to_ron().unwrap(), "r").unwrap();
        let (_, variant) = opened.compress(&recipe, &ctx).unwrap();
        variant.layers.iter().map(|l| l.weight_sqnr_db).collect::<Vec<_>>()
    };
    let seeded = |seed| Rounding::Stochastic { seed };
    assert_eq!(made(seeded(1), 1), made(seeded(1), 3));
    assert_ne!(made(seeded(1), 1), made(seeded(2), 1));
    let (near, down) = (made(Rounding::NearestEven, 1), made(Rounding::Floor, 1));
    assert!(near.iter().zip(&down).all(|(n, d)| n > d), "the nearest level is nearer than the one below");
    let blocks = Treatment { weights: Scheme::Block(BlockFormat::Q4_0), rounding: seeded(1), ..Treatment::UNCHANGED };
    assert!(Recipe::new("r", blocks).validate().unwrap_err().to_string().contains("own rule"));
}
