//! Rounded data, the whole way: every observer on the sample, every grid against its definition, and
//! networks with a planted defect, which the contamination report must find and name.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lapidary::engine::Ctx;
use lapidary::engine::exec::{Executor, Request};
use lapidary::engine::formats::observe::Observer;
use lapidary::engine::graph::{Dim, Fact, Model, Node, NodeId, Port, Wire};
use lapidary::engine::random::Random;
use lapidary::engine::tensor::{DType, Tensor, Value};
use lapidary::pipeline::configure::{Activations, Granularity, Override, Recipe, Scheme, Sharing, Treatment, presets};
use lapidary::pipeline::evaluate::{self, Defect, EachKl, Report, Settings, Subjects};
use lapidary::pipeline::load;
use lapidary::workbench::sample;
use lapidary::workbench::work::{self, NewProject, Opened, Split};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const OBSERVERS: [Observer; 7] = [
    Observer::MinMax,
    Observer::MovingAverage,
    Observer::Percentile(99.9),
    Observer::Entropy,
    Observer::MSE,
    Observer::Grid { exponent: 2.4 },
    Observer::Gaussian,
];

fn recipe(weights: Scheme, activations: Activations) -> Recipe {
    Recipe::new("test", Treatment { weights, activations, ..Treatment::UNCHANGED })
}

fn observed(bits: u8, observer: Observer) -> Recipe {
    recipe(Scheme::per_channel(8), Activations::StaticWith { bits, symmetric: false, observer })
}

/// Scale of the data of every wire that is rounded.
fn scales(model: &Model) -> BTreeMap<Wire, f32> {
    let rounded = model.nodes.iter().filter(|n| n.op == "QuantizeLinear");
    let scale = |n: &Node| model.constants[n.input(1).unwrap()].to_f32().unwrap()[0];
    rounded.map(|n| (n.input(0).unwrap().clone(), scale(n))).collect()
}

#[test]
fn every_observer_chooses_within_what_was_seen_at_any_number_of_threads() {
    let folder = tempfile::tempdir().unwrap();
    let opened: Vec<(Opened, Ctx)> = [1, 3]
        .map(|threads| {
            let ctx = Ctx::new(threads).unwrap();
            let root = sample::install(Some(&folder.path().join(threads.to_string()))).unwrap();
            (work::open(&root, &ctx).unwrap().1, ctx)
        })
        .to_vec();
    let mut whole = BTreeMap::new();
    for observer in OBSERVERS {
        let recipe = observed(8, observer);
        let made: Vec<_> = opened
            .iter()
            .map(|(opened, ctx)| {
                let (_, variant) = opened.compress(&recipe, ctx).unwrap();
                let report = opened.evaluate(&recipe, Split::Evaluate, Some(40), ctx).unwrap();
                (scales(&variant.model), report.fidelity, report.layers, report.contamination, report.findings)
            })
            .collect();
        assert!(made[0] == made[1], "{observer}: one thread and three differ");
        let found = &made[0].0;
        assert_eq!(found.len(), opened[0].0.subject.layers.len());
        if observer == Observer::MinMax {
            whole.clone_from(found);
        }
        for (wire, scale) in found {
            assert!(*scale > 0.0 && *scale <= whole[wire], "{observer} on {wire}: {scale}, of {}", whole[wire]);
        }
        let narrower = found.iter().filter(|(wire, scale)| **scale < whole[*wire]).count();
        assert_eq!(narrower == 0, observer == Observer::MinMax, "{observer} chooses ranges of its own");
        assert!(made[0].1.sqnr_db.unwrap() > 3.0, "{observer}: {:?}", made[0].1);
    }
    // What the old word asked for is what min-max gives.
    let (opened, ctx) = &opened[0];
    let (_, old) = opened.compress(&presets::preset("int8").unwrap(), ctx).unwrap();
    assert_eq!(scales(&old.model), whole);
}

/// A network of one or two products: x·first, then Clip to ±1000, then ·second.
struct Network {
    first: (Vec<f32>, [usize; 2]),
    second: Option<(Vec<f32>, [usize; 2])>,
    opset: i64,
}

impl Network {
    fn write(&self, folder: &Path) -> PathBuf {
        let wire = |name: &str| Wire::from(name);
        let port = |name: &str, last: usize| Port {
            wire: wire(name),
            fact: Fact { dtype: Some(DType::F32), shape: Some(vec![Dim::Named("N".into()), Dim::Known(last)]) },
        };
        let node = |id: usize, op: &str, inputs: &[&str], output: &str| Node {
            id: NodeId(id),
            name: String::new(),
            op: op.to_owned(),
            domain: String::new(),
            inputs: inputs.iter().map(|w| Some(wire(w))).collect(),
            outputs: vec![Some(wire(output))],
            attributes: BTreeMap::default(),
        };
        let tensor = |(values, shape): &(Vec<f32>, [usize; 2])| Tensor::from_f32(shape.to_vec(), values).unwrap();
        let mut nodes = vec![node(0, "MatMul", &["x", "first.weight"], "h"), node(1, "Clip", &["h", "low", "high"], "c")];
        let mut constants = BTreeMap::from([
            (wire("first.weight"), tensor(&self.first)),
            (wire("low"), Tensor::scalar_f32(-1000.0)),
            (wire("high"), Tensor::scalar_f32(1000.0)),
        ]);
        let mut last = self.first.1[1];
        if let Some(second) = &self.second {
            nodes.push(node(2, "MatMul", &["c", "second.weight"], "y"));
            constants.insert(wire("second.weight"), tensor(second));
            last = second.1[1];
        }
        let model = Model {
            name: "planted".to_owned(),
            inputs: vec![port("x", self.first.1[0])],
            outputs: vec![port(if self.second.is_some() { "y" } else { "c" }, last)],
            nodes,
            constants,
            opsets: [(String::new(), self.opset)].into(),
            ..Model::default()
        };
        let proto = load::onnx::encode(&model, &load::onnx::OnnxSource::empty("planted")).unwrap();
        let path = folder.join("planted.onnx");
        std::fs::write(&path, load::onnx::to_bytes(&proto)).unwrap();
        path
    }

    /// A project of it, with data of its width to measure with and to calibrate with.
    fn open(&self, folder: &Path, evaluate: &[f32], calibrate: &[f32], ctx: &Ctx) -> Opened {
        let new = NewProject {
            model: self.write(folder),
            evaluate: Some(npy(&folder.join("e.npy"), evaluate, self.first.1[0])),
            calibrate: Some(npy(&folder.join("c.npy"), calibrate, self.first.1[0])),
            ..NewProject::default()
        };
        work::init(&folder.join("p"), &new, ctx).unwrap().1
    }
}

fn npy(path: &Path, values: &[f32], columns: usize) -> PathBuf {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {columns}), }}", values.len() / columns);
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let header = format!("{header:<117}\n");
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
    path.to_path_buf()
}

fn normals(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.normal()).collect()
}

fn identity(size: usize) -> Vec<f32> {
    (0..size * size).map(|i| f32::from(u8::from(i / size == i % size))).collect()
}

/// x rounded to `bits` bits over its own range, as the definition has it.
fn by_definition(x: &[f32], bits: u32, symmetric: bool) -> Vec<f32> {
    let (low, high) = x.iter().fold((0.0_f32, 0.0_f32), |(l, h), v| (l.min(*v), h.max(*v)));
    if low == high {
        return x.to_vec();
    }
    let (scale, bottom, top) = if symmetric {
        let top = (1 << (bits - 1)) as f32 - 1.0;
        (low.abs().max(high) / top, -top, top)
    } else {
        let top = (1 << bits) as f32 - 1.0;
        let scale = (high - low) / top;
        let bottom = (low / scale).round_ties_even();
        (scale, bottom, bottom + top)
    };
    x.iter().map(|v| (v / scale).round_ties_even().clamp(bottom, top) * scale).collect()
}

/// With weights of one the output shows what became of the data.
#[test]
fn dynamic_grids_are_what_their_definition_says() {
    let ctx = Ctx::new(2).unwrap();
    let mut x = normals(4 * 8, 3);
    // Rows of different range, one of zeros, and one that is never negative.
    x[..8].iter_mut().for_each(|v| *v *= 100.0);
    x[8..16].fill(0.0);
    x[16..24].iter_mut().for_each(|v| *v = v.abs());
    for opset in [13, 18] {
        let folder = tempfile::tempdir().unwrap();
        let network = Network { first: (identity(8), [8, 8]), second: None, opset };
        let opened = network.open(folder.path(), &x, &x, &ctx);
        for (bits, symmetric, per) in [(8, true, Sharing::Token), (8, false, Sharing::Token), (4, false, Sharing::Token)]
            .into_iter()
            .chain([(16, true, Sharing::Tensor), (4, false, Sharing::Tensor)])
        {
            let recipe = recipe(Scheme::F32, Activations::DynamicWith { bits, symmetric, per });
            let (_, variant) = opened.compress(&recipe, &ctx).unwrap();
            let executor = Executor::new(&variant.model, &Request::default()).unwrap();
            let feed = [(Wire::from("x"), Value::from_f32(x.clone(), &[4, 8]).unwrap())];
            let out = executor.run(&feed, &ctx, &mut |_, _| {}).unwrap()[0].1.to_f32().unwrap();
            let rows = if per == Sharing::Token { 8 } else { 32 };
            let expected: Vec<f32> = x.chunks(rows).flat_map(|row| by_definition(row, u32::from(bits), symmetric)).collect();
            assert_eq!(out, expected, "{bits} bits, symmetric {symmetric}, {per:?}, set {opset}");
            opened.export(&recipe, &folder.path().join("out.onnx"), &ctx).unwrap();
        }
    }
}

#[test]
fn each_width_has_its_error_and_its_type() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let x = normals(64 * 32, 5);
    let network = Network { first: (normals(32 * 16, 6), [32, 16]), second: None, opset: 13 };
    let opened = network.open(folder.path(), &x, &x, &ctx);
    for symmetric in [false, true] {
        let db = [4, 8, 16].map(|bits| {
            let activations = Activations::StaticWith { bits, symmetric, observer: Observer::MinMax };
            let recipe = recipe(Scheme::F32, activations);
            let exported = opened.export(&recipe, &folder.path().join("out.onnx"), &ctx).unwrap();
            assert_eq!(exported.bytes, opened.plan(&recipe).unwrap().bytes, "the plan is exact");
            opened.evaluate(&recipe, Split::Evaluate, None, &ctx).unwrap().fidelity.sqnr_db.unwrap()
        });
        // Six decibels a bit.
        assert!((20.0..28.0).contains(&(db[1] - db[0])) && (45.0..51.0).contains(&(db[2] - db[1])), "{db:?}");
    }
}

#[test]
fn two_rules_for_one_wire_are_two_pairs_and_one_rule_is_one() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let root = sample::install(Some(folder.path())).unwrap();
    let (_, opened) = work::open(&root, &ctx).unwrap();
    let first = opened.subject.layers[0].name.clone();
    let mut recipe = observed(8, Observer::MinMax);
    recipe.overrides.push(Override {
        activations: Some(Activations::StaticWith { bits: 8, symmetric: false, observer: Observer::Percentile(100.0) }),
        ..Override::new(first)
    });
    let (plan, variant) = opened.compress(&recipe, &ctx).unwrap();
    assert_eq!(opened.subject.file_bytes(&variant.model).unwrap(), plan.bytes, "the plan is exact");
    // Both rules come to the same range here; a plan cannot know that.
    let count = |model: &Model| model.nodes.iter().filter(|n| n.op == "QuantizeLinear").count();
    let (_, alike) = opened.compress(&observed(8, Observer::MinMax), &ctx).unwrap();
    let wires: std::collections::BTreeSet<&Wire> = opened.subject.layers.iter().map(|l| &l.input).collect();
    assert_eq!(count(&alike.model), wires.len());
    let shared = opened.subject.layers.iter().filter(|l| l.input == opened.subject.layers[0].input).count() > 1;
    assert_eq!(count(&variant.model), wires.len() + usize::from(shared));
}

#[test]
fn a_convolution_reads_no_tokens_and_says_so() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let root = sample::install(Some(folder.path())).unwrap();
    let (_, opened) = work::open(&root, &ctx).unwrap();
    let plan = opened.plan(&presets::preset("int8-dynamic-token").unwrap()).unwrap();
    let (refused, done): (Vec<_>, Vec<_>) = plan.layers.iter().partition(|l| l.refusal.is_some());
    assert!(!refused.is_empty() && refused.iter().all(|l| l.refusal.as_ref().unwrap().contains("no tokens")));
    assert!(done.iter().all(|l| l.treatment.activations == l.wanted.activations));
}

/// The finding of one defect, on the layer that has it.
fn planted(report: &Report, defect: Defect, layer: &str) -> f64 {
    let found: Vec<_> = report.findings.iter().filter(|f| f.defect == defect).collect();
    assert!(found.iter().any(|f| f.layer == layer), "{defect:?} of {layer} is not found: {:?}", report.findings);
    assert!(found.iter().all(|f| f.layer == layer), "{defect:?} is found where it is not: {found:?}");
    assert!(!found[0].way_out.is_empty() && found[0].to_string().starts_with(&format!("{layer}: ")));
    found[0].stake
}

fn lacks(report: &Report, defect: Defect) {
    assert!(report.findings.iter().all(|f| f.defect != defect), "{defect:?}: {:?}", report.findings);
}

fn evaluated(opened: &Opened, recipe: &Recipe, ctx: &Ctx) -> Report {
    opened.evaluate(recipe, Split::Evaluate, None, ctx).unwrap()
}

#[test]
fn data_beyond_their_grid_are_found() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let (narrow, wide) = (normals(64 * 16, 1), normals(64 * 16, 2).iter().map(|v| v * 4.0).collect::<Vec<_>>());
    let network = Network { first: (normals(256, 3), [16, 16]), second: Some((normals(256, 4), [16, 16])), opset: 13 };
    let opened = network.open(folder.path(), &wide, &narrow, &ctx);
    // The second layer reads floats: it is named by nothing.
    let mut int8 = presets::preset("int8").unwrap();
    int8.overrides.push(Override { activations: Some(Activations::None), ..Override::new("second") });
    let report = evaluated(&opened, &int8, &ctx);
    let stake = planted(&report, Defect::ClippedData, "first");
    let data = report.contamination[0].data.unwrap();
    // Normal data of four times the deviation that calibration saw, cut at about 3.2 of those.
    assert!((0.25..0.55).contains(&data.saturated) && (0.15..0.6).contains(&stake), "{data:?}");
    assert!(report.contamination[1].data.is_none());
    let dynamic = evaluated(&opened, &presets::preset("int8-dynamic").unwrap(), &ctx);
    lacks(&dynamic, Defect::ClippedData);
}

#[test]
fn data_that_drown_under_an_outlier_are_found() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let mut x = normals(64 * 16, 1);
    x[7] = 300.0;
    let network = Network { first: (normals(256, 3), [16, 16]), second: None, opset: 13 };
    let opened = network.open(folder.path(), &x, &x, &ctx);
    let report = evaluated(&opened, &observed(8, Observer::MinMax), &ctx);
    assert!(planted(&report, Defect::ZeroedData, "first") > 0.1);
    let clipped = evaluated(&opened, &observed(8, Observer::Percentile(99.8)), &ctx);
    lacks(&clipped, Defect::ZeroedData);
}

#[test]
fn channels_that_die_under_a_shared_scale_are_found() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let x = normals(32 * 16, 1);
    // Two of sixteen output channels (columns) are a thousand times smaller than the others.
    let weights = normals(256, 3).iter().enumerate().map(|(i, w)| if i % 16 < 2 { w * 1e-3 } else { *w }).collect();
    let network = Network { first: (weights, [16, 16]), second: Some((normals(256, 4), [16, 16])), opset: 13 };
    let opened = network.open(folder.path(), &x, &x, &ctx);
    let per_tensor = Scheme::Integer { bits: 6, symmetric: true, granularity: Granularity::Tensor };
    let report = evaluated(&opened, &recipe(per_tensor, Activations::None), &ctx);
    assert!((planted(&report, Defect::DeadChannels, "first") - 2.0 / 16.0).abs() < 1e-12);
    assert_eq!((report.contamination[0].dead_channels, report.contamination[0].channels), (2, 16));
    lacks(&evaluated(&opened, &recipe(Scheme::per_channel(6), Activations::None), &ctx), Defect::DeadChannels);
    // Two bits leave nothing of most weights.
    let coarse = evaluated(&opened, &recipe(Scheme::per_channel(2), Activations::None), &ctx);
    let zeroed = coarse.contamination[0].weights.unwrap();
    assert!(zeroed.zeroed > 0.3 && coarse.findings.iter().any(|f| f.defect == Defect::ZeroedWeights), "{zeroed:?}");
}

#[test]
fn sums_that_leave_32_bits_are_found() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    // 640 products of 32768 · 127 are more than 2³¹.
    let x = normals(8 * 640, 1);
    let network = Network { first: (vec![1.0; 640 * 2], [640, 2]), second: Some((normals(4, 2), [2, 2])), opset: 13 };
    let opened = network.open(folder.path(), &x, &x, &ctx);
    let report = evaluated(&opened, &presets::preset("int16-activations").unwrap(), &ctx);
    planted(&report, Defect::Overflow, "first");
    let share = report.contamination[0].accumulator.unwrap();
    assert!((share - 640.0 * 32768.0 * 127.0 / 2_147_483_647.0).abs() < 1e-3, "{share}");
    let int8 = evaluated(&opened, &presets::preset("int8").unwrap(), &ctx);
    lacks(&int8, Defect::Overflow);
    assert!(int8.contamination[0].accumulator.unwrap() > 0.0);
}

#[test]
fn errors_with_a_mean_are_found() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    // Data that are all about one turn the errors of weights into means.
    let x: Vec<f32> = normals(64 * 16, 1).iter().map(|v| 1.0 + 0.05 * v).collect();
    let network = Network { first: (normals(256, 3), [16, 16]), second: None, opset: 13 };
    let opened = network.open(folder.path(), &x, &x, &ctx);
    let report = evaluated(&opened, &recipe(Scheme::per_channel(3), Activations::None), &ctx);
    planted(&report, Defect::Bias, "first");
    assert!(report.contamination[0].bias_share.unwrap() > 0.9);
    // Centered data have no such means.
    let other = tempfile::tempdir().unwrap();
    let opened = network.open(other.path(), &normals(2048 * 16, 8), &x, &ctx);
    lacks(&evaluated(&opened, &recipe(Scheme::per_channel(3), Activations::None), &ctx), Defect::Bias);
}

#[test]
fn values_that_are_not_finite_are_found_even_where_clip_hides_them() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let x: Vec<f32> = normals(16 * 8, 1).iter().map(|v| v.abs() + 0.1).collect();
    let network = Network { first: (normals(64, 3), [8, 8]), second: Some((normals(64, 4), [8, 8])), opset: 13 };
    let opened = network.open(folder.path(), &x, &x, &ctx);
    let mut variant = (*opened.subject.folded).clone();
    let mut broken = network.first.0.clone();
    broken[5] = f32::INFINITY;
    variant.constants.insert("first.weight".into(), Tensor::from_f32(vec![8, 8], &broken).unwrap());
    let subjects = Subjects {
        original: &opened.subject.original,
        reference: &opened.subject.folded,
        variant: &variant,
        layers: &opened.subject.layers,
        weight_sqnr_db: BTreeMap::new(),
    };
    let data = opened.dataset(Split::Evaluate, None, &ctx).unwrap();
    let settings = Settings { recipe: "broken".to_owned(), layer_samples: 16, ..Settings::default() };
    let report = evaluate::run(&subjects, &data, &settings, &ctx).unwrap();
    planted(&report, Defect::NotFinite, "first");
    assert_eq!(report.contamination[0].not_finite, 16, "one output of each sample");
    assert_eq!(report.findings[0].defect, Defect::NotFinite, "it comes first");
}

#[test]
fn an_error_is_followed_to_where_it_began() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let x = normals(64 * 16, 1);
    let network = Network { first: (normals(256, 3), [16, 16]), second: Some((normals(256, 4), [16, 16])), opset: 13 };
    let opened = network.open(folder.path(), &x, &x, &ctx);
    let mut recipe = recipe(Scheme::per_channel(8), Activations::None);
    recipe.overrides.push(Override { weights: Some(Scheme::per_channel(2)), ..Override::new("first") });
    let report = evaluated(&opened, &recipe, &ctx);
    planted(&report, Defect::Noise, "first");
    planted(&report, Defect::Inherited, "second");
    let (first, second) = (&report.contamination[0], &report.contamination[1]);
    assert!((first.own_share.unwrap() - 1.0).abs() < 1e-9 && second.own_share.unwrap() < 0.05);
    let inherited = report.findings.iter().find(|f| f.defect == Defect::Inherited).unwrap();
    assert!(inherited.way_out.contains("\"first\""), "{inherited}");
    assert_eq!(report.findings.last().unwrap().defect, Defect::Inherited, "what is passed on comes last");
}

#[test]
fn reports_of_the_first_version_still_open() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let root = sample::install(Some(folder.path())).unwrap();
    let (project, opened) = work::open(&root, &ctx).unwrap();
    let report = opened.evaluate(&presets::preset("w4").unwrap(), Split::Evaluate, Some(20), &ctx).unwrap();
    assert!(!report.contamination.is_empty() && report.version == 3);
    let path = project.add_report(&report).unwrap();
    assert!(project.reports().0.contains(&report));
    // As the first version wrote it: none of the new fields.
    let none = EachKl::default();
    let old = Report { version: 1, contamination: Vec::new(), findings: Vec::new(), each_kl: none, ..report };
    let path2 = project.add_report(&old).unwrap();
    let text = std::fs::read_to_string(&path2).unwrap();
    assert!(["contamination", "findings", "each_kl"].iter().all(|field| !text.contains(field)));
    let (read, errors) = project.reports();
    assert!(errors.is_empty() && read.contains(&old), "{errors:?}");
    assert_ne!(path, path2);
}
