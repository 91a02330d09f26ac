//! Corrections, the whole way: every technique alone and in company, and what cannot be corrected.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lapidary::engine::Ctx;
use lapidary::engine::formats::observe::Observer;
use lapidary::engine::formats::{Granularity, ScaleType, Symmetry};
use lapidary::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Port, Wire};
use lapidary::engine::random::Random;
use lapidary::engine::tensor::Tensor;
use lapidary::pipeline::compress::{self, CompressError, Keep, Variant};
use lapidary::pipeline::configure::{
    self, Activations, Allocation, ChannelCut, ChannelScore, Correction, Equalization, FloatFormat, Importance, Loss, Order,
    Recipe, Recovery, Saliency, Scheme, Solver, Sparsity, Target, Treatment,
};
use lapidary::pipeline::load;
use lapidary::workbench::sample;
use lapidary::workbench::work::{self, NewProject, Opened, Split, WorkError};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

const SOLVERS: [Solver; 6] = [
    Solver::Nearest,
    Solver::Gptq { order: Order::Descending, target: Target::Own, sweeps: 0 },
    Solver::Gptq { order: Order::Natural, target: Target::Own, sweeps: 3 },
    Solver::Gptq { order: Order::Descending, target: Target::Original, sweeps: 10 },
    Solver::AdaRound { loss: Loss::Moments, iterations: 20 },
    Solver::AdaRound { loss: Loss::Activation, iterations: 20 },
];

fn integers(bits: u8, symmetry: Symmetry, granularity: Granularity) -> Scheme {
    Scheme::Affine { bits, symmetry, granularity, scales: ScaleType::F32 }
}

/// Every solver with every recovery, on weights that suit it.
fn treatments() -> Vec<Treatment> {
    let of = |weights, sparsity, solver, recovery| Treatment {
        weights,
        sparsity,
        range: if weights == Scheme::F32 { Observer::MinMax } else { Observer::MSE },
        importance: if weights == Scheme::F32 { Importance::Alike } else { Importance::Activations },
        correction: Correction { solver, recovery },
        ..Treatment::UNCHANGED
    };
    let wide = integers(3, Symmetry::Wide, Granularity::Channel);
    let mut all: Vec<Treatment> = Vec::new();
    for solver in SOLVERS {
        all.extend([Recovery::None, Recovery::Bias, Recovery::Deviation].map(|r| of(wide, Sparsity::Dense, solver, r)));
    }
    let half = Sparsity::Fraction(0.5);
    for recovery in [Recovery::None, Recovery::Bias, Recovery::Deviation, Recovery::LeastSquares] {
        all.push(of(Scheme::F32, half, Solver::Nearest, recovery));
        all.push(of(Scheme::F32, half, SOLVERS[1], recovery));
        all.push(of(wide, half, SOLVERS[3], recovery));
    }
    let others = [
        integers(4, Symmetry::Asymmetric, Granularity::Channel),
        integers(4, Symmetry::Full, Granularity::Group(16)),
        integers(8, Symmetry::Restricted, Granularity::Tensor),
        integers(4, Symmetry::Restricted, Granularity::Block { rows: 4, cols: 8 }),
    ];
    all.extend(others.map(|weights| of(weights, Sparsity::Dense, SOLVERS[3], Recovery::Deviation)));
    all
}

fn sample_in(folder: &Path, ctx: &Ctx) -> Opened {
    work::open(&sample::install(Some(folder)).unwrap(), ctx).unwrap().1
}

fn made(opened: &Opened, treatment: Treatment, ctx: &Ctx) -> Variant {
    // By way of text, as a person writes it.
    let recipe = Recipe::from_ron(&Recipe::new("test", treatment).to_ron().unwrap(), "test").unwrap();
    let (plan, variant) = opened.compress(&recipe, ctx).unwrap_or_else(|e| panic!("{}: {e}", treatment.weights_text()));
    for (planned, layer) in plan.layers.iter().zip(&variant.layers) {
        assert_eq!(planned.bytes, layer.bytes, "{}: {}", treatment.weights_text(), layer.name);
    }
    variant
}

/// All constants, to the bit.
fn bits(variant: &Variant) -> Vec<(String, Vec<u8>)> {
    variant.model.constants.iter().map(|(wire, t)| (wire.to_string(), t.bytes().to_vec())).collect()
}

#[test]
fn every_technique_keeps_its_promises() {
    let folder = tempfile::tempdir().unwrap();
    let contexts = [1, 2].map(|threads| Ctx::new(threads).unwrap());
    let opened = sample_in(folder.path(), &contexts[0]);
    // What calibrates is few: the suite runs every technique twice.
    let mut document = (*opened.document).clone();
    document.hold_out = 150;
    let opened = opened.with_document(document.into());
    for treatment in treatments() {
        let name = treatment.weights_text();
        let [one, two] = contexts.each_ref().map(|ctx| made(&opened, treatment, ctx));
        assert_eq!(bits(&one), bits(&two), "{name}: the same at any number of threads");
        for (layer, again) in one.layers.iter().zip(&two.layers) {
            assert_eq!(layer.steps, again.steps, "{name}");
            assert!(
                layer.steps.is_empty()
                    == (treatment.correction.solver == Solver::Nearest && treatment.correction.recovery == Recovery::None),
                "{name}: {:?}",
                layer.steps
            );
            for step in &layer.steps {
                assert!(step.before.is_finite() && step.after.is_finite(), "{name}: {step:?}");
                assert_eq!(step.kept, step.after < step.before, "{name}: what does not help is taken back");
            }
            if treatment.sparsity != Sparsity::Dense {
                assert!(layer.zero_fraction > 0.49, "{name}: {} of {} is zero", layer.zero_fraction, layer.name);
            }
        }
        for tensor in one.model.constants.values().filter(|t| t.dtype().is_float()) {
            assert!(tensor.to_f32().unwrap().iter().all(|v| v.is_finite()), "{name}");
        }
    }
}

#[test]
fn corrections_bring_the_outputs_nearer() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let kl = |weights, sparsity, correction| {
        let treatment = Treatment { weights, sparsity, correction, ..Treatment::UNCHANGED };
        opened.evaluate(&Recipe::new("test", treatment), Split::Evaluate, Some(400), &ctx).unwrap().fidelity.kl_mean
    };
    let wide = integers(2, Symmetry::Wide, Granularity::Channel);
    let two_bits = |solver, recovery| kl(wide, Sparsity::Dense, Correction { solver, recovery });
    let nearest = two_bits(Solver::Nearest, Recovery::None);
    let gptq = two_bits(SOLVERS[1], Recovery::Bias);
    let best = two_bits(SOLVERS[3], Recovery::Bias);
    assert!(gptq < 0.7 * nearest && best < gptq, "nearest {nearest}, GPTQ {gptq}, best {best}");
    let pruned = |recovery| kl(Scheme::F32, Sparsity::Fraction(0.7), Correction { solver: Solver::Nearest, recovery });
    let (alone, solved) = (pruned(Recovery::None), pruned(Recovery::LeastSquares));
    assert!(solved < 0.5 * alone, "magnitude {alone}, with least squares {solved}");
}

#[test]
fn what_is_left_makes_up_for_lost_channels() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let channels = ChannelCut::Share { share: 0.3, by: ChannelScore::L2, multiple: 1 };
    let of = |weights, solver, recovery| {
        let correction = Correction { solver, recovery };
        Recipe::new("cut", Treatment { weights, channels, correction, ..Treatment::UNCHANGED })
    };
    let kl = |recipe: &Recipe| opened.evaluate(recipe, Split::Evaluate, Some(400), &ctx).unwrap().fidelity.kl_mean;
    let solved = of(Scheme::F32, Solver::Nearest, Recovery::LeastSquares);
    let [alone, biased, made_up] =
        [Recovery::None, Recovery::Bias, Recovery::LeastSquares].map(|r| kl(&of(Scheme::F32, Solver::Nearest, r)));
    assert!(biased < alone && made_up < 0.3 * alone, "cut {alone}, bias {biased}, least squares {made_up}");
    let wide = integers(4, Symmetry::Wide, Granularity::Channel);
    let [nearest, rounded] = [Recovery::None, Recovery::LeastSquares].map(|r| kl(&of(wide, SOLVERS[1], r)));
    assert!(rounded < 0.5 * nearest, "cut and rounded {nearest}, with least squares {rounded}");
    // Nothing was cut: there is nothing to make up for.
    let whole = Recipe { default: Treatment { channels: ChannelCut::None, ..solved.default }, ..solved.clone() };
    assert!(opened.plan(&whole).unwrap().is_unchanged());
    let exported = opened.export(&solved, &folder.path().join("out.onnx"), &ctx).unwrap();
    assert!(exported.checks.iter().all(|c| c.passed), "{:?}", exported.checks);
    assert_eq!(exported.bytes, opened.plan(&solved).unwrap().bytes);
}

/// Keeps layers in memory; may stop the run once it has some.
#[derive(Default)]
struct Memory {
    kept: Mutex<BTreeMap<(String, String), Vec<u8>>>,
    found: AtomicUsize,
    stop: Option<(usize, Ctx)>,
}

impl Keep for Memory {
    fn read(&self, run: &str, layer: &str) -> Option<Vec<u8>> {
        let found = self.kept.lock().unwrap().get(&(run.to_owned(), layer.to_owned())).cloned();
        self.found.fetch_add(usize::from(found.is_some()), Ordering::Relaxed);
        found
    }

    fn write(&self, run: &str, layer: &str, bytes: &[u8]) -> std::io::Result<()> {
        let mut kept = self.kept.lock().unwrap();
        kept.insert((run.to_owned(), layer.to_owned()), bytes.to_vec());
        if let Some((_, ctx)) = self.stop.as_ref().filter(|(count, _)| kept.len() == *count) {
            ctx.cancel();
        }
        Ok(())
    }

    fn forget(&self, run: &str) {
        self.kept.lock().unwrap().retain(|(kept, _), _| kept != run);
    }
}

#[test]
fn a_run_that_was_stopped_goes_on_where_it_was() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let data = opened.dataset(Split::Calibrate, None, &ctx).unwrap();
    let wide = integers(3, Symmetry::Wide, Granularity::Channel);
    let half = Sparsity::Fraction(0.5);
    for (weights, sparsity, solver, recovery) in [
        (wide, Sparsity::Dense, SOLVERS[3], Recovery::Bias),
        (Scheme::F32, half, SOLVERS[1], Recovery::LeastSquares),
        (Scheme::Float(FloatFormat::F16), Sparsity::Dense, Solver::Nearest, Recovery::Bias),
    ] {
        let correction = Correction { solver, recovery };
        let recipe = Recipe::new("stopped", Treatment { weights, sparsity, correction, ..Treatment::UNCHANGED });
        let plan = opened.plan(&recipe).unwrap();
        let run = |keep: &Memory, ctx: &Ctx| {
            compress::run_on(&plan, &opened.subject, &|_, _| Ok(None), &|_| Ok(Some(data.clone())), keep, ctx)
        };
        let memory = Memory::default();
        let whole = run(&memory, &ctx).unwrap();
        assert!(memory.kept.lock().unwrap().is_empty(), "of a run that is over nothing is kept");
        let mut stopped = Memory { stop: Some((3, ctx.fresh())), ..Memory::default() };
        for is_damaged in [false, true] {
            let stopping = ctx.fresh();
            stopped.stop = Some((3, stopping.clone()));
            assert!(matches!(run(&stopped, &stopping), Err(CompressError::Cancelled(_))));
            assert_eq!(stopped.kept.lock().unwrap().len(), 3);
            stopped.stop = None;
            stopped.found = AtomicUsize::new(0);
            if is_damaged {
                let mut kept = stopped.kept.lock().unwrap();
                let bytes = kept.values_mut().next().unwrap();
                let at = bytes.len() / 2;
                bytes[at] ^= 1;
            }
            let again = run(&stopped, &ctx.fresh()).unwrap();
            assert_eq!(stopped.found.load(Ordering::Relaxed), 3);
            assert_eq!(bits(&again), bits(&whole), "{weights}: the same to the bit");
            let steps = |variant: &Variant| variant.layers.iter().map(|l| l.steps.clone()).collect::<Vec<_>>();
            assert_eq!(steps(&again), steps(&whole));
        }
    }
    let unfinished = opened.root.join("cache").join("unfinished");
    assert!(!unfinished.exists(), "the project's own cache was not asked");
    opened.compress(&Recipe::new("own", Treatment { weights: wide, ..treatments()[4] }), &ctx).unwrap();
    assert!(std::fs::read_dir(unfinished).unwrap().next().is_none(), "what was kept of the run is gone");
}

#[test]
fn what_data_say_of_single_weights_prunes_better_than_their_size() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let most = |saliency| Treatment { sparsity: Sparsity::Fraction(0.6), saliency, ..Treatment::UNCHANGED };
    let kl = |saliency| {
        // By way of text, as a person writes it.
        let recipe = Recipe::from_ron(&Recipe::new("test", most(saliency)).to_ron().unwrap(), "test").unwrap();
        assert_eq!(opened.plan(&recipe).unwrap().needs_calibration(), saliency != Saliency::Magnitude);
        opened.evaluate(&recipe, Split::Evaluate, Some(400), &ctx).unwrap().fidelity.kl_mean
    };
    let [size, surgeon, taylor] = [Saliency::Magnitude, Saliency::Surgeon, Saliency::Taylor].map(kl);
    assert!(surgeon < size && taylor != size && taylor != surgeon, "{size} {surgeon} {taylor}");
    // Without data there is nothing but their size.
    let mut document = (*opened.document).clone();
    (document.evaluate, document.calibrate) = (None, None);
    let opened = opened.with_document(document.into());
    let [surgeon, size] = [Saliency::Surgeon, Saliency::Magnitude].map(|saliency| made(&opened, most(saliency), &ctx));
    assert_eq!(bits(&surgeon), bits(&size));
    assert!(work::warning_lines(&ctx.take_warnings()).iter().any(|w| w.contains("pruned by magnitude")));
}

#[test]
fn allocations_prune_the_same_in_all() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let treatment = Treatment { sparsity: Sparsity::Fraction(0.6), ..Treatment::UNCHANGED };
    let weights: f64 = opened.subject.layers.iter().map(|l| l.parameters() as f64).sum();
    let mut seen = Vec::new();
    for allocation in [Allocation::Uniform, Allocation::Global, Allocation::Lamp, Allocation::Erk] {
        let mut recipe = Recipe::new("test", treatment);
        recipe.allocation = allocation;
        let (_, variant) = opened.compress(&recipe, &ctx).unwrap();
        let layers = variant.layers.iter().zip(opened.subject.layers.iter());
        let zeros: f64 = layers.map(|(made, layer)| made.zero_fraction * layer.parameters() as f64).sum();
        assert!((zeros / weights - 0.6).abs() < 0.01, "{allocation:?}: {}", zeros / weights);
        let shares: Vec<f64> = variant.layers.iter().map(|l| l.zero_fraction).collect();
        assert!(shares.iter().all(|s| *s < 1.0), "{allocation:?}: something is left of every layer");
        assert!(!seen.contains(&shares), "{allocation:?} shares out otherwise than the others");
        seen.push(shares);
    }
}

#[test]
fn equalization_changes_weights_and_nothing_else() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let weights = integers(16, Symmetry::Restricted, Granularity::Channel);
    let activations = Activations::StaticWith { bits: 16, symmetric: false, observer: Observer::MinMax };
    let mut recipe = Recipe::new("even", Treatment { weights, activations, ..Treatment::UNCHANGED });
    recipe.equalize = Equalization::Layers;
    let prepared = configure::prepared(recipe.equalize, &opened.subject).unwrap();
    let changed = opened.subject.layers.iter().filter(|layer| {
        let [a, b] = [&opened.subject, &prepared].map(|s| s.folded.constants[&layer.weight].to_f32().unwrap());
        a != b
    });
    assert!(changed.count() >= 2, "some layers follow each other");
    let report = opened.evaluate(&recipe, Split::Evaluate, Some(200), &ctx).unwrap();
    assert!(report.fidelity.kl_mean < 1e-5 && report.fidelity.flips == 0, "{:?}", report.fidelity);
    let exported = opened.export(&recipe, &folder.path().join("out.onnx"), &ctx).unwrap();
    assert!(exported.checks.iter().all(|c| c.passed), "{:?}", exported.checks);
    assert_eq!(exported.bytes, opened.plan(&recipe).unwrap().bytes);
}

#[test]
fn a_run_can_be_cancelled_at_any_time() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(2).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let weights = integers(3, Symmetry::Wide, Granularity::Channel);
    let slow = Correction { solver: Solver::AdaRound { loss: Loss::Moments, iterations: 100_000 }, recovery: Recovery::Bias };
    let recipe = Recipe::new("slow", Treatment { weights, correction: slow, ..Treatment::UNCHANGED });
    let stopper = ctx.clone();
    let wait = move || {
        while !stopper.progress().label.starts_with("Compressing") {
            std::thread::yield_now();
        }
        stopper.cancel();
    };
    let waits = std::thread::Builder::new().name("stopper".to_owned()).spawn(wait).unwrap();
    let ended = opened.compress(&recipe, &ctx);
    waits.join().unwrap();
    let is_cancelled = match ended {
        Err(WorkError::Compress(CompressError::Cancelled(_)) | WorkError::Cancelled(_)) => true,
        Err(other) => other.to_string().contains("cancelled"),
        Ok(_) => false,
    };
    assert!(is_cancelled);
}

fn port(name: &str, dims: &[usize]) -> Port {
    let batch = std::iter::once(Dim::Named("N".into()));
    let shape = batch.chain(dims.iter().map(|d| Dim::Known(*d))).collect();
    Port { wire: name.into(), fact: Fact { dtype: Some(lapidary::engine::tensor::DType::F32), shape: Some(shape) } }
}

fn node(id: usize, op: &str, inputs: &[&str], output: &str, attributes: &[(&str, i64)]) -> Node {
    Node {
        id: NodeId(id),
        name: format!("n{id}"),
        op: op.to_owned(),
        domain: String::new(),
        inputs: inputs.iter().map(|w| Some(Wire::from(*w))).collect(),
        outputs: vec![Some(Wire::from(output))],
        attributes: attributes.iter().map(|(name, v)| ((*name).to_owned(), Attribute::Int(*v))).collect(),
    }
}

fn npy(path: &Path, values: &[f32], columns: usize) -> PathBuf {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {columns}), }}", values.len() / columns);
    let header = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    std::fs::write(path, bytes).unwrap();
    path.to_path_buf()
}

/// A project of 12 inputs, some of them dead or constant, and so many samples.
fn project(folder: &Path, nodes: Vec<Node>, weights: &[(&str, &[usize])], samples: usize, ctx: &Ctx) -> Opened {
    let mut random = Random::new(9);
    let mut tensor = |shape: &[usize]| {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal()).collect();
        Tensor::from_f32(shape.to_vec(), &values).unwrap()
    };
    let model = Model {
        inputs: vec![port("x", &[12])],
        outputs: vec![port("y", &[3])],
        nodes,
        constants: weights.iter().map(|(name, shape)| (Wire::from(*name), tensor(shape))).collect(),
        opsets: [(String::new(), 13)].into(),
        ..Model::default()
    };
    let proto = load::onnx::encode(&model, &load::onnx::OnnxSource::empty("planted")).unwrap();
    let path = folder.join("m.onnx");
    std::fs::write(&path, load::onnx::to_bytes(&proto)).unwrap();
    let mut random = Random::new(4);
    let value = |i: usize, v: f32| {
        if i % 12 == 3 {
            0.0
        } else if i % 12 == 5 {
            1.5
        } else {
            v
        }
    };
    let data: Vec<f32> = (0..samples * 12).map(|i| value(i, random.normal())).collect();
    let data = npy(&folder.join("d.npy"), &data, 12);
    let new = NewProject { model: path, evaluate: Some(data.clone()), calibrate: Some(data), ..NewProject::default() };
    work::init(&folder.join("p"), &new, ctx).unwrap().1
}

/// Weights that are shared, without a bias, transposed, with one behind; dead and constant inputs; few samples.
#[test]
fn odd_networks_work_or_say_why_not() {
    let ctx = Ctx::new(1).unwrap();
    let layers = || {
        vec![
            node(0, "Gemm", &["x", "a"], "g", &[("transB", 1)]),
            node(1, "MatMul", &["g", "b"], "m", &[]),
            node(2, "Add", &["m", "c"], "s", &[]),
            // The same weight again, and no bias behind it.
            node(3, "MatMul", &["s", "b"], "t", &[]),
            node(4, "Gemm", &["t", "d", "e"], "y", &[]),
        ]
    };
    let weights: [(&str, &[usize]); 5] = [("a", &[8, 12]), ("b", &[8, 8]), ("c", &[8]), ("d", &[8, 3]), ("e", &[3])];
    for samples in [1, 4, 200] {
        let folder = tempfile::tempdir().unwrap();
        let opened = project(folder.path(), layers(), &weights, samples, &ctx);
        for recovery in [Recovery::Bias, Recovery::Deviation, Recovery::LeastSquares] {
            let (solver, weights) = (SOLVERS[3], integers(4, Symmetry::Wide, Granularity::Channel));
            let sparsity = if recovery == Recovery::LeastSquares { Sparsity::Fraction(0.3) } else { Sparsity::Dense };
            let treatment = Treatment { weights, sparsity, correction: Correction { solver, recovery }, ..Treatment::UNCHANGED };
            let recipe = Recipe::new("odd", treatment);
            let exported = opened.export(&recipe, &folder.path().join("out.onnx"), &ctx).unwrap();
            assert!(exported.checks.iter().all(|c| c.passed), "{samples} samples, {recovery:?}: {:?}", exported.checks);
            assert_eq!(exported.bytes, opened.plan(&recipe).unwrap().bytes, "a bias that was not there before is counted");
        }
        let warnings = work::warning_lines(&ctx.take_warnings()).join("\n");
        assert_eq!(warnings.contains("too few samples to hold any out"), samples < 10, "{warnings}");
        assert_eq!(warnings.contains("are wanted to tell them apart"), samples < 30, "{warnings}");
    }
}

#[test]
fn without_data_nothing_is_corrected_and_that_is_said() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let mut document = (*opened.document).clone();
    (document.evaluate, document.calibrate) = (None, None);
    let opened = opened.with_document(document.into());
    let weights = integers(4, Symmetry::Wide, Granularity::Channel);
    let correction = Correction { solver: SOLVERS[3], recovery: Recovery::Bias };
    let treatment = Treatment { weights, correction, ..Treatment::UNCHANGED };
    let plain = made(&opened, Treatment { weights, ..Treatment::UNCHANGED }, &ctx);
    assert!(ctx.take_warnings().is_empty());
    let variant = made(&opened, treatment, &ctx);
    assert_eq!(bits(&variant), bits(&plain));
    assert!(work::warning_lines(&ctx.take_warnings()).iter().any(|w| w.contains("no calibration data to correct with")));
}

#[test]
fn what_a_scheme_has_no_use_for_is_refused() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let opened = sample_in(folder.path(), &ctx);
    let correction = Correction { solver: SOLVERS[3], recovery: Recovery::Bias };
    let half = Treatment { weights: Scheme::per_channel(4).with_bits(16), correction, ..Treatment::UNCHANGED };
    let plan = opened.plan(&Recipe::new("half", half)).unwrap();
    assert!(plan.layers.iter().all(|l| l.refusal.as_deref().is_some_and(|r| r.contains("GPTQ rounds to integers"))));
    let wild = Correction { solver: Solver::AdaRound { loss: Loss::Moments, iterations: 1 }, recovery: Recovery::None };
    let recipe = Recipe::new("wild", Treatment { weights: Scheme::per_channel(4), correction: wild, ..Treatment::UNCHANGED });
    assert!(recipe.validate().unwrap_err().to_string().contains("10 to 100000 iterations"));
}
