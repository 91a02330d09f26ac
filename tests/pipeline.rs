//! The whole way on the sample that comes with the program: load, plan, calibrate, compress,
//! evaluate, compare, export, reopen.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lapidary::engine::Ctx;
use lapidary::pipeline::compare;
use lapidary::pipeline::configure::{Activations, ChannelScore, Override, Saliency, Scheme, presets};
use lapidary::pipeline::load;
use lapidary::workbench::importance::{ImportanceError, Question};
use lapidary::workbench::project::{Project, write_atomically};
use lapidary::workbench::sample;
use lapidary::workbench::work::{self, Opened, Split, WorkError};
use std::path::Path;

fn sample_in(folder: &Path, ctx: &Ctx) -> (Project, Opened) {
    let root = sample::install(Some(folder)).unwrap();
    work::open(&root, ctx).unwrap()
}

#[test]
fn every_preset_keeps_its_promises() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let (_, opened) = sample_in(folder.path(), &ctx);
    let mut without_data = (*opened.document).clone();
    without_data.evaluate = None;
    let unmeasured = opened.with_document(without_data.into());
    for (i, name) in presets::names().into_iter().enumerate() {
        let recipe = presets::preset(name).unwrap();
        let suffix = opened.plan(&recipe).unwrap().file.suffix();
        let out = folder.path().join("exports").join(format!("{name}{suffix}"));
        // Accuracy takes time: it is measured of one preset in six.
        let opened = if i.is_multiple_of(6) { &opened } else { &unmeasured };
        let exported = opened.export(&recipe, &out, &ctx).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert!(exported.checks.iter().all(|c| c.passed), "{name}: {:?}", exported.checks);
        let plan = opened.plan(&recipe).unwrap();
        let on_disk = std::fs::metadata(&out).unwrap().len();
        assert_eq!((exported.bytes, plan.bytes), (on_disk, on_disk), "{name}: the plan is exact");
        assert_eq!(plan.layers.len(), opened.subject.layers.len());
    }
}

#[test]
fn accuracy_falls_as_it_should() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let (_, opened) = sample_in(folder.path(), &ctx);
    let report = |name: &str| opened.evaluate(&presets::preset(name).unwrap(), Split::Evaluate, Some(500), &ctx).unwrap();
    let reports = ["fp32", "int8", "w8", "w4", "w2"].map(report);
    let top1 = |i: usize| reports[i].metrics.unwrap().top1.value;
    assert!(top1(0) >= 95.0, "the sample's network knows its shapes: {}", top1(0));
    assert_eq!((reports[0].fidelity.flips, reports[0].fidelity.kl_max), (0, 0.0), "nothing changed, nothing differs");
    assert!(top1(0) - top1(1) <= 1.5 && top1(0) - top1(2) <= 1.0);
    assert!(top1(4) < top1(0) - 10.0, "two bits without correction cost a lot: {}", top1(4));
    let kl: Vec<f64> = reports.iter().map(|r| r.fidelity.kl_mean).collect();
    assert!(kl[2] < kl[3] && kl[3] < kl[4], "KL grows as bits go: {kl:?}");
    for report in &reports[1..] {
        assert_eq!(report.layers.len(), opened.subject.layers.len());
        for layer in &report.layers {
            let (local, cumulative) = (layer.local_sqnr_db.unwrap(), layer.cumulative_sqnr_db.unwrap());
            assert!(local.is_finite() && cumulative.is_finite(), "{}", layer.name);
        }
        // The first layer has nothing before it: its two output errors are one.
        let first = &report.layers[0];
        assert!((first.local_sqnr_db.unwrap() - first.cumulative_sqnr_db.unwrap()).abs() < 1e-6);
    }
    let all: Vec<_> = reports.iter().collect();
    let rows = compare::table(&all);
    assert!(rows[4].on_frontier, "nothing is smaller than two bits");
    assert_eq!(rows[0].on_frontier, (1..5).all(|i| top1(i) < top1(0)), "the largest is there only if it is the best");
}

#[test]
fn same_bytes_at_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let digest = |threads: usize| {
        let ctx = Ctx::new(threads).unwrap();
        let (_, opened) = sample_in(&folder.path().join(threads.to_string()), &ctx);
        let recipe = presets::preset("int8").unwrap();
        let exported = opened.export(&recipe, &folder.path().join(format!("{threads}.onnx")), &ctx).unwrap();
        let report = opened.evaluate(&recipe, Split::Evaluate, Some(100), &ctx).unwrap();
        (exported.sha256, report.fidelity, report.layers)
    };
    assert_eq!(digest(1), digest(2));
}

#[test]
fn statistics_are_kept_and_forgotten_with_what_they_came_from() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let (_, opened) = sample_in(folder.path(), &ctx);
    let plan = opened.plan(&presets::preset("int8").unwrap()).unwrap();
    let wires = lapidary::pipeline::compress::needs(&plan);
    let (first, reused) = opened.statistics(&wires, &ctx).unwrap().unwrap();
    assert!(!reused && first.samples == 256 && first.wires.len() == wires.len());
    let (again, reused) = opened.statistics(&wires, &ctx).unwrap().unwrap();
    assert!(reused && again == first);
    let mut other = (*opened.document).clone();
    other.preprocess.limit = Some(16);
    let (fewer, reused) = opened.with_document(other.into()).statistics(&wires, &ctx).unwrap().unwrap();
    assert!(!reused && fewer.samples == 16);
    let cache: Vec<_> = std::fs::read_dir(folder.path().join("cache")).unwrap().map(|e| e.unwrap().path()).collect();
    for file in &cache {
        write_atomically(file, b"(damaged", false).unwrap();
    }
    assert!(!opened.statistics(&wires, &ctx).unwrap().unwrap().1, "a damaged cache is made again");
}

#[test]
fn overrides_reach_the_layers_they_name() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let (_, opened) = sample_in(folder.path(), &ctx);
    let names: Vec<String> = opened.subject.layers.iter().map(|l| l.name.clone()).collect();
    let mut recipe = presets::preset("int8").unwrap();
    recipe.overrides.push(Override { weights: Some(Scheme::F32), activations: Some(Activations::None), ..Override::new("*") });
    recipe.overrides.push(Override { weights: Some(Scheme::per_channel(4)), ..Override::new(names[1].clone()) });
    let plan = opened.plan(&recipe).unwrap();
    assert!(plan.layers.iter().all(|l| l.treatment.is_unchanged() == (l.layer.name != names[1])));
    recipe.overrides.push(Override { weights: Some(Scheme::F32), ..Override::new("nothing.*") });
    let error = opened.plan(&recipe).unwrap_err().to_string();
    assert!(error.contains("\"nothing.*\" matches no layer") && error.contains(&names[0]), "{error}");
}

#[test]
fn cancelling_stops_and_leaves_nothing() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let (_, opened) = sample_in(folder.path(), &ctx);
    let out = folder.path().join("exports").join("never.onnx");
    ctx.cancel();
    assert!(opened.export(&presets::preset("int8").unwrap(), &out, &ctx).is_err());
    let left = std::fs::read_dir(folder.path().join("exports")).map_or(0, Iterator::count);
    assert_eq!(left, 0, "no file and no half of one");
}

#[test]
fn an_exported_file_is_a_model_like_any_other() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let (_, opened) = sample_in(folder.path(), &ctx);
    let out = folder.path().join("small.onnx");
    opened.export(&presets::preset("w4").unwrap(), &out, &ctx).unwrap();
    let loaded = load::model(&out, &ctx).unwrap();
    assert_eq!(loaded.model.outputs.len(), opened.subject.original.outputs.len());
    let report = opened.verify(&out, Split::Evaluate, Some(200), &ctx).unwrap();
    let before = opened.evaluate(&presets::preset("w4").unwrap(), Split::Evaluate, Some(200), &ctx).unwrap();
    assert_eq!(report.fidelity, before.fidelity);
}

#[test]
fn the_example_projects_open() {
    let ctx = Ctx::new(1).unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("projects");
    let mut opened_any = false;
    for entry in std::fs::read_dir(root).unwrap() {
        let folder = entry.unwrap().path();
        if !folder.is_dir() {
            continue;
        }
        let (_, opened) = match work::open(&folder, &ctx) {
            // Real networks are not kept here.
            Err(error @ WorkError::Absent { .. }) => {
                assert!(error.to_string().contains("projects/README.md"), "{error}");
                println!("skipped: {error}");
                continue;
            }
            other => other.unwrap_or_else(|e| panic!("{}: {e}", folder.display())),
        };
        for name in opened.document.recipe_names() {
            opened.plan(&opened.document.recipe(&name).unwrap()).unwrap();
        }
        assert!(!opened.dataset(Split::Evaluate, None, &ctx).unwrap().is_empty());
        assert_eq!(ctx.take_warnings(), [], "{}", folder.display());
        opened_any = true;
    }
    assert!(opened_any);
}

#[test]
fn a_model_that_is_gone_is_said_to_be() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let root = sample::install(Some(folder.path())).unwrap();
    let path = root.join("project.ron");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace("sample.onnx", "gone.onnx")).unwrap();
    let error = work::open(&root, &ctx).unwrap_err().to_string();
    for part in ["gone.onnx", "is not there", "project.ron", "Notes of the project: The sample"] {
        assert!(error.contains(part), "{part} is missing from: {error}");
    }
}

/// A model of one MatMul with a square weight, a constant with the name that a scale would take, and
/// a fixed batch of four.
fn square_model(folder: &Path) -> std::path::PathBuf {
    use lapidary::engine::graph::{Dim, Fact, Model, Node, NodeId, Port, Wire};
    use lapidary::engine::random::Random;
    use lapidary::engine::tensor::{DType, Tensor};
    let mut random = Random::new(5);
    let mut constant = |count: usize, shape: Vec<usize>| {
        let values: Vec<f32> = (0..count).map(|i| random.normal() * (1.0 + (i % 32) as f32)).collect();
        Tensor::from_f32(shape, &values).unwrap()
    };
    let wire = |name: &str| Wire::from(name);
    let port = |name: &str| Port {
        wire: wire(name),
        fact: Fact { dtype: Some(DType::F32), shape: Some(vec![Dim::Known(4), Dim::Known(32)]) },
    };
    let node = |id: usize, op: &str, inputs: [&str; 2], output: &str| Node {
        id: NodeId(id),
        name: format!("{op}{id}"),
        op: op.to_owned(),
        domain: String::new(),
        inputs: inputs.map(|w| Some(wire(w))).to_vec(),
        outputs: vec![Some(wire(output))],
        attributes: std::collections::BTreeMap::default(),
    };
    let model = Model {
        name: "square".to_owned(),
        inputs: vec![port("x")],
        outputs: vec![port("y")],
        nodes: vec![node(0, "MatMul", ["x", "W"], "m"), node(1, "Mul", ["m", "W_scale"], "y")],
        constants: [(wire("W"), constant(1024, vec![32, 32])), (wire("W_scale"), constant(32, vec![32]))].into(),
        opsets: [(String::new(), 13)].into(),
        ..Model::default()
    };
    let proto = load::onnx::encode(&model, &load::onnx::OnnxSource::empty("square")).unwrap();
    let path = folder.join("square.onnx");
    std::fs::write(&path, load::onnx::to_bytes(&proto)).unwrap();
    path
}

/// `rows` samples of 32 normal numbers as an .npy file.
fn samples(folder: &Path, rows: usize) -> std::path::PathBuf {
    samples_of(folder, rows, 1.0)
}

/// Samples as large as told.
fn samples_of(folder: &Path, rows: usize, size: f32) -> std::path::PathBuf {
    let mut random = lapidary::engine::random::Random::new(9);
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, 32), }}");
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend((0..rows * 32).flat_map(|_| (size * random.normal()).to_le_bytes()));
    let path = folder.join(format!("x{rows}.npy"));
    std::fs::write(&path, bytes).unwrap();
    path
}

#[test]
fn square_weights_taken_names_and_fixed_batches_come_out_right() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let new = work::NewProject {
        model: square_model(folder.path()),
        // Not a multiple of the batch of four. The same samples calibrate: nothing is clipped.
        evaluate: Some(samples(folder.path(), 30)),
        calibrate: Some(samples(folder.path(), 30)),
        ..work::NewProject::default()
    };
    let (_, opened) = work::init(&folder.path().join("p"), &new, &ctx).unwrap();
    for (name, least_db) in [("w8", 38.0), ("w4", 14.0), ("w4-g32", 14.0), ("int8", 35.0), ("int8-dynamic", 35.0), ("fp16", 60.0)]
    {
        let recipe = presets::preset(name).unwrap();
        let report = opened.evaluate(&recipe, Split::All, None, &ctx).unwrap();
        assert_eq!(report.samples, 30);
        let layer = &report.layers[0];
        let (weight, output) = (layer.weight_sqnr_db.unwrap(), report.fidelity.sqnr_db.unwrap());
        assert!(output > least_db && weight > least_db, "{name}: weights {weight} dB, outputs {output} dB");
        opened.export(&recipe, &folder.path().join(format!("{name}.onnx")), &ctx).unwrap();
    }
}

#[test]
fn a_file_that_the_model_was_read_from_is_never_written_over() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let model = square_model(folder.path());
    let new = work::NewProject { model: model.clone(), ..work::NewProject::default() };
    let (_, mut opened) = work::init(&folder.path().join("p"), &new, &ctx).unwrap();
    let beside = folder.path().join("weights.data");
    std::fs::write(&beside, b"precious").unwrap();
    let mut loaded = (*opened.subject.loaded).clone();
    loaded.externals.push(beside.clone());
    opened.subject.loaded = loaded.into();
    for path in [&model, &beside] {
        let before = std::fs::read(path).unwrap();
        assert!(opened.export(&presets::preset("w8").unwrap(), path, &ctx).is_err());
        assert_eq!(std::fs::read(path).unwrap(), before);
    }
}

#[test]
fn weights_in_half_precision_are_left_alone_with_a_reason() {
    use lapidary::engine::tensor::{DType, Tensor};
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let mut loaded = load::model(&square_model(folder.path()), &ctx).unwrap();
    let halves = vec![0x3c; 2 * 1024];
    loaded.model.constants.insert("W".into(), Tensor::from_bytes(DType::F16, vec![32, 32], halves).unwrap());
    let subject = load::Subject::new(loaded).unwrap();
    let plan = lapidary::pipeline::configure::plan(&presets::preset("int8").unwrap(), &subject).unwrap();
    assert!(plan.is_unchanged());
    assert!(plan.layers[0].refusal.as_ref().unwrap().contains("float16"), "{:?}", plan.layers[0].refusal);
}

#[test]
fn outputs_that_are_not_finite_name_the_first_layer() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let new = work::NewProject {
        model: square_model(folder.path()),
        evaluate: Some(samples_of(folder.path(), 12, 1e37)),
        ..work::NewProject::default()
    };
    let (_, opened) = work::init(&folder.path().join("p"), &new, &ctx).unwrap();
    let error = opened.evaluate(&presets::preset("w8").unwrap(), Split::Evaluate, None, &ctx).unwrap_err().to_string();
    let first = &opened.subject.layers[0].name;
    assert!(error.contains("the original model") && error.contains(&format!("first in layer \"{first}\"")), "{error}");
}

#[test]
fn a_layer_says_what_its_weights_and_channels_count() {
    let folder = tempfile::tempdir().unwrap();
    let ctx = Ctx::new(2).unwrap();
    let (_, opened) = work::open(&sample::install(Some(folder.path())).unwrap(), &ctx).unwrap();
    let layer = &opened.subject.layers[0];
    let mut before = Vec::new();
    for saliency in Saliency::ALL {
        let found = opened.importance(0, Question::Weights(saliency), &ctx).unwrap();
        assert_eq!((found.sorted.len(), found.layers), (layer.parameters(), vec![0]));
        assert!(found.sorted.is_sorted() && found.sorted[0] >= 0.0);
        assert_ne!(found.sorted, before, "{saliency:?} is no other's");
        before = found.sorted;
    }
    for score in [ChannelScore::L2, ChannelScore::Activation] {
        let found = opened.importance(0, Question::Channels(score), &ctx).unwrap();
        assert_eq!(found.sorted.len(), layer.out_channels());
        assert!(found.layers.contains(&0) && found.sorted.is_sorted());
    }
    // What the network gives is not cut.
    let last = opened.subject.layers.len() - 1;
    let refused = opened.importance(last, Question::Channels(ChannelScore::L2), &ctx);
    assert!(matches!(refused, Err(ImportanceError::Uncuttable(_))), "{refused:?}");
}
