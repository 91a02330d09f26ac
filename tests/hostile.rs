//! Models that are wrong, by accident or on purpose: every one must give an error that names where, or
//! a result; never a panic, never an endless loop, never memory without measure.

#![expect(clippy::unwrap_used, reason = "a test says what it finds and fails where it must")]

mod hostile {
    pub mod corpus;
    pub mod mutate;
}

use hostile::corpus::{Case, built_in, suite};
use hostile::mutate::mutate;
use lapidary::engine::Ctx;
use lapidary::engine::exec::{Executor, Request, prepare};
use lapidary::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Port, Wire};
use lapidary::engine::random::Random;
use lapidary::engine::tensor::{DType, Tensor, Value};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Prepares, plans and runs.
fn run(model: &Model, feeds: &[(Wire, Value)], ctx: &Ctx) -> Result<Vec<Value>, String> {
    let prepared = prepare(model).map_err(|e| e.to_string())?;
    let executor = Executor::new(&prepared, &Request::default()).map_err(|e| e.to_string())?;
    let outputs = executor.run(feeds, ctx, &mut |_, _| {}).map_err(|e| e.to_string())?;
    Ok(outputs.into_iter().map(|(_, v)| v).collect())
}

fn port(name: &str, dtype: DType, shape: &[usize]) -> Port {
    let shape = shape.iter().map(|&d| Dim::Known(d)).collect();
    Port { wire: name.into(), fact: Fact { dtype: Some(dtype), shape: Some(shape) } }
}

fn node(op: &str, inputs: &[&str], outputs: &[&str], attributes: &[(&str, Attribute)]) -> Node {
    let wires = |names: &[&str]| names.iter().map(|w| (!w.is_empty()).then(|| Wire::from(*w))).collect();
    Node {
        id: NodeId(0),
        name: format!("the {op}"),
        op: op.to_owned(),
        domain: String::new(),
        inputs: wires(inputs),
        outputs: wires(outputs),
        attributes: attributes.iter().map(|(k, v)| ((*k).to_owned(), v.clone())).collect(),
    }
}

/// A model of one input `x` of shape [2, 3, 4], constants, nodes, and the output `y`.
fn model(constants: &[(&str, Tensor)], mut nodes: Vec<Node>) -> Model {
    for (i, node) in nodes.iter_mut().enumerate() {
        node.id = NodeId(i);
    }
    Model {
        inputs: vec![port("x", DType::F32, &[2, 3, 4])],
        outputs: vec![Port { wire: "y".into(), fact: Fact::default() }],
        nodes,
        constants: constants.iter().map(|(k, v)| (Wire::from(*k), v.clone())).collect(),
        opsets: [(String::new(), 20)].into(),
        ..Model::default()
    }
}

fn x() -> Vec<(Wire, Value)> {
    vec![("x".into(), Value::from_f32((0..24).map(|v| v as f32).collect(), &[2, 3, 4]).unwrap())]
}

fn integers(values: &[i64]) -> Tensor {
    Tensor::from_i64(vec![values.len()], values).unwrap()
}

/// The message that a model is refused with.
fn refusal(model: &Model) -> String {
    run(model, &x(), &Ctx::new(1).unwrap()).err().unwrap_or_else(|| panic!("{:?} ran", model.nodes))
}

#[test]
fn broken_graphs_are_refused_by_name() {
    let relu = |from: &str, to: &str| node("Relu", &[from], &[to], &[]);
    let cycle = model(&[], vec![node("Add", &["x", "b"], &["a"], &[]), relu("a", "b"), relu("a", "y")]);
    assert!(refusal(&cycle).contains("cycle"));
    assert!(refusal(&model(&[], vec![relu("nowhere", "y")])).contains("\"nowhere\", which nothing produces"));
    assert!(refusal(&model(&[], vec![relu("x", "y"), relu("x", "y")])).contains("\"y\" has two sources"));
    assert!(refusal(&model(&[], vec![relu("x", "x")])).contains("\"x\" has two sources"));
    assert!(refusal(&model(&[], vec![relu("x", "z")])).contains("output \"y\""));
    assert!(refusal(&model(&[], vec![relu("y", "y")])).contains("cycle"));
    let nothing = refusal(&model(&[], vec![node("Relu", &[""], &["y"], &[])]));
    assert!(nothing.contains("the Relu") && nothing.contains("input 0 is missing"), "{nothing}");
    assert!(refusal(&model(&[], vec![node("Add", &["x"], &["y"], &[])])).contains("the Add"));
}

/// One operator with a second input of whole numbers.
fn with_integers(op: &str, values: &[i64], attributes: &[(&str, Attribute)]) -> Model {
    model(&[("n", integers(values))], vec![node(op, &["x", "n"], &["y"], attributes)])
}

#[test]
fn sizes_beyond_measure_are_refused_by_node() {
    const HUGE: i64 = 1 << 40;
    for (op, values) in [
        ("Reshape", vec![HUGE, HUGE]),
        ("Reshape", vec![-1, HUGE, HUGE, HUGE]),
        ("Reshape", vec![-5]),
        ("Expand", vec![HUGE, 1, 1, 1]),
        ("Expand", vec![-1, 3, 4]),
        ("Tile", vec![HUGE, 1, 1]),
        ("Tile", vec![i64::MAX, i64::MAX, i64::MAX]),
        ("Tile", vec![-1, 1, 1]),
        ("Tile", vec![1, 1]),
        ("Pad", vec![HUGE, 0, 0, 0, 0, 0]),
        ("Pad", vec![i64::MAX, 0, 0, i64::MAX, 0, 0]),
        ("Pad", vec![i64::MIN, 0, 0, 0, 0, 0]),
        ("Pad", vec![0, 0, 0, 0, 0]),
        ("CenterCropPad", vec![HUGE, 1, 1]),
        ("Unsqueeze", vec![0, 0]),
        ("Unsqueeze", vec![i64::MIN]),
        ("Squeeze", vec![1]),
        ("Gather", vec![2]),
        ("Gather", vec![i64::MIN]),
    ] {
        let message = refusal(&with_integers(op, &values, &[]));
        assert!(message.contains(&format!("the {op}")), "{op} {values:?}: {message}");
    }
    let source = |op: &str, constants: &[(&str, Tensor)]| {
        let inputs: Vec<&str> = constants.iter().map(|(k, _)| *k).collect();
        model(constants, vec![node(op, &inputs, &["z"], &[]), node("Add", &["x", "z"], &["y"], &[])])
    };
    for model in [
        source("ConstantOfShape", &[("n", integers(&[HUGE, 2]))]),
        source("ConstantOfShape", &[("n", integers(&[HUGE, HUGE, 0]))]),
        source("Range", &[("a", integers(&[0])), ("b", integers(&[i64::MAX])), ("c", integers(&[1]))]),
        source("Range", &[("a", integers(&[0])), ("b", integers(&[9])), ("c", integers(&[0]))]),
        source("OneHot", &[("a", integers(&[0])), ("b", integers(&[HUGE])), ("c", integers(&[0, 1]))]),
        source("HannWindow", &[("n", Tensor::from_i64(vec![], &[HUGE]).unwrap())]),
    ] {
        let message = refusal(&model);
        assert!(message.contains(&format!("the {}", model.nodes[0].op)), "{message}");
    }
    let scales = Tensor::from_f32(vec![3], &[1.0, 1e15, 1e15]).unwrap();
    let message = refusal(&model(&[("s", scales)], vec![node("Resize", &["x", "", "s"], &["y"], &[])]));
    assert!(message.contains("the Resize"), "{message}");
    let weight = Tensor::from_f32(vec![3, 1, 1], &[1.0; 3]).unwrap();
    for (name, value) in [("output_padding", HUGE), ("strides", i64::MAX), ("dilations", i64::MAX), ("pads", i64::MIN)] {
        let value = vec![value; if name == "pads" { 2 } else { 1 }];
        let attributes = [(name, Attribute::Ints(value))];
        let model = model(&[("w", weight.clone())], vec![node("ConvTranspose", &["x", "w"], &["y"], &attributes)]);
        // A kernel of one element is not moved by its dilation.
        if name != "dilations" {
            assert!(refusal(&model).contains("the ConvTranspose"), "{name}");
        }
    }
}

#[test]
fn says_how_much_memory_would_be_needed() {
    let message = refusal(&with_integers("Tile", &[1 << 42, 1, 1], &[]));
    assert!(message.contains("the Tile") && message.contains("would need") && message.contains("GB free"), "{message}");
}

#[test]
fn attributes_that_lie_are_refused_or_ignored() {
    for (op, name, value) in [
        ("Transpose", "perm", Attribute::Ints(vec![0, 1, 1])),
        ("Transpose", "perm", Attribute::Ints(vec![0, 1, 9])),
        ("Concat", "axis", Attribute::Int(7)),
        ("Softmax", "axis", Attribute::Int(i64::MIN)),
        ("Flatten", "axis", Attribute::Int(i64::MAX)),
        ("Split", "num_outputs", Attribute::Int(i64::MAX)),
        ("Cast", "to", Attribute::Int(8)),
        ("Cast", "to", Attribute::Ints(vec![1])),
        ("MaxPool", "kernel_shape", Attribute::Int(2)),
        ("MaxPool", "kernel_shape", Attribute::Ints(vec![i64::MAX])),
        ("DepthToSpace", "blocksize", Attribute::Int(0)),
        ("If", "then_branch", Attribute::Int(1)),
    ] {
        let message = refusal(&model(&[], vec![node(op, &["x"], &["y"], &[(name, value)])]));
        assert!(message.contains(&format!("the {op}")), "{op}: {message}");
    }
}

#[test]
fn types_that_do_not_fit_are_refused() {
    let others = [
        ("f64", Tensor::from_bytes(DType::F64, vec![4], vec![0; 32]).unwrap()),
        ("int", integers(&[1, 2, 3, 4])),
        ("bool", Tensor::from_bytes(DType::Bool, vec![4], vec![1; 4]).unwrap()),
    ];
    for op in ["Add", "Greater", "Max", "Concat", "Where", "Gemm", "MatMul", "PRelu"] {
        for (kind, other) in &others {
            let inputs: &[&str] = if op == "Where" { &["o", "x", "o"] } else { &["x", "o"] };
            let model = model(&[("o", other.clone())], vec![node(op, inputs, &["y"], &[("axis", Attribute::Int(0))])]);
            let message = refusal(&model);
            assert!(message.contains(&format!("the {op}")), "{op} with {kind}: {message}");
        }
    }
    let text = Tensor::from_bytes(DType::Other(8), vec![2], vec![0; 2]).unwrap();
    refusal(&model(&[("o", text)], vec![node("Add", &["x", "o"], &["y"], &[])]));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever numbers a model gives, these operators answer, and what they make is as large as they say.
    #[test]
    fn indexing_takes_any_numbers(
        op in 0_usize..8,
        values in proptest::collection::vec(prop_oneof![-6_i64..7, any::<i64>()], 0..7),
        axis in prop_oneof![-5_i64..5, any::<i64>()],
    ) {
        let name = ["Slice", "Gather", "Reshape", "Tile", "Expand", "Pad", "TopK", "Split"][op];
        let attributes = [("axis", Attribute::Int(axis))];
        let mut m = with_integers(name, &values, &attributes);
        if name == "Slice" {
            let half = values.len() / 2;
            m = model(
                &[("s", integers(&values[..half])), ("e", integers(&values[half..half * 2]))],
                vec![node("Slice", &["x", "s", "e"], &["y"], &[])],
            );
        }
        if let Ok(outputs) = run(&m, &x(), &Ctx::new(1).unwrap()) {
            for value in outputs {
                prop_assert_eq!(value.to_f32().unwrap().len(), value.shape().iter().product::<usize>());
            }
        }
    }
}

/// Where the code panicked last, as the hook saw it.
static PANIC: Mutex<String> = Mutex::new(String::new());

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Most that this process has held, in bytes, where the system says.
fn peak_bytes() -> Option<usize> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<usize>().ok()? * 1024)
}

#[test]
fn changed_at_random_models_run_or_say_why_not() {
    let mut cases: Vec<Case> = built_in();
    cases.extend(suite());
    println!("{} models", cases.len());
    let rounds: usize = std::env::var("LAPIDARY_FUZZ_ROUNDS").ok().and_then(|v| v.parse().ok()).unwrap_or(20);
    // Says what it does next, for when a change ends the process.
    let trace = std::env::var_os("LAPIDARY_FUZZ_TRACE").is_some();
    let ctx = Ctx::new(2).unwrap();
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(|info| {
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        *lock(&PANIC) = format!("{place}: {}", info.payload_as_str().unwrap_or("?"));
    }));
    let (mut ran, mut refused, mut slowest) = (0, 0, (Duration::ZERO, String::new()));
    let mut panics: BTreeMap<String, String> = BTreeMap::new();
    for (index, case) in cases.iter().enumerate() {
        for round in 0..rounds {
            let mut random = Random::new((index * 1000 + round) as u64);
            let (changed, what) = mutate(case, &cases, &mut random);
            if trace {
                println!("{} {round}: {}", case.name, what.join("; "));
            }
            let began = Instant::now();
            match catch_unwind(AssertUnwindSafe(|| run(&changed.model, &changed.feeds, &ctx))) {
                Ok(Ok(_)) => ran += 1,
                Ok(Err(_)) => refused += 1,
                Err(_) => {
                    panics.entry(lock(&PANIC).clone()).or_insert_with(|| format!("{}: {}", case.name, what.join("; ")));
                }
            }
            if began.elapsed() > slowest.0 {
                slowest = (began.elapsed(), format!("{}: {}", case.name, what.join("; ")));
            }
        }
    }
    std::panic::set_hook(default);
    println!("{ran} ran, {refused} refused, slowest {:?} ({})", slowest.0, slowest.1);
    let list: Vec<String> = panics.iter().map(|(place, case)| format!("{place}\n    {case}")).collect();
    assert!(panics.is_empty(), "{} places panic:\n{}", panics.len(), list.join("\n"));
    assert!(ran > 0 && refused > 0, "the changes change nothing");
    assert!(slowest.0 < Duration::from_secs(20), "{} took {:?}", slowest.1, slowest.0);
    let peak = peak_bytes().unwrap_or(0);
    assert!(peak < 3 << 30, "{} MB were held", peak >> 20);
}
