//! The executor against outputs of ONNX Runtime on real models, as they are and with batch
//! normalization folded. Needs the corpus: `LAPIDARY_CORPUS`, else `../shared/data`; skips without.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test says what it finds and fails where it must")]

use lapidary::engine::Ctx;
use lapidary::engine::exec::{Executor, Request, prepare};
use lapidary::engine::graph::passes::fold_batch_norm;
use lapidary::engine::graph::{Model, Wire};
use lapidary::engine::tensor::{DType, Value};
use std::path::{Path, PathBuf};

fn corpus() -> Option<PathBuf> {
    let path = std::env::var_os("LAPIDARY_CORPUS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"), PathBuf::from);
    path.join("models.json").is_file().then_some(path)
}

fn named(values: &[(String, candle_core::Tensor)], prefix: &str) -> Vec<(Wire, Value)> {
    let value = |data: &candle_core::Tensor| {
        let dtype = if data.dtype() == candle_core::DType::I64 { DType::I64 } else { DType::F32 };
        Value { dtype, data: data.clone() }
    };
    values.iter().filter_map(|(name, data)| Some((Wire::from(name.strip_prefix(prefix)?), value(data)))).collect()
}

/// The largest difference, relative to 1 or the element, whichever is larger.
fn worst(ours: &Value, golden: &Value) -> f32 {
    assert_eq!(ours.shape(), golden.shape());
    let (a, b) = (ours.to_f32().unwrap(), golden.to_f32().unwrap());
    a.iter().zip(&b).map(|(a, b)| (a - b).abs() / b.abs().max(1.0)).fold(0.0, |w, d| if d.is_nan() { d } else { w.max(d) })
}

fn compare(label: &str, model: &Model, vectors: &[(String, candle_core::Tensor)], ctx: &Ctx) {
    let executor = Executor::new(model, &Request::default()).unwrap_or_else(|e| panic!("{label}: {e}"));
    let feeds = named(vectors, "in:");
    let outputs = executor.run(&feeds, ctx, &mut |_, _| {}).unwrap_or_else(|e| panic!("{label}: {e}"));
    let golden = named(vectors, "out:");
    same_bytes(label, model, &feeds, &outputs);
    assert_eq!(outputs.len(), golden.len(), "{label}");
    for (wire, expected) in &golden {
        let ours = outputs.iter().find(|(w, _)| w == wire).map(|(_, v)| v).unwrap();
        let difference = worst(ours, expected);
        println!("{label} {wire}: {difference:e}");
        assert!(difference <= 1e-4, "{label}, output {wire}: off by {difference}");
        for (fact, have) in model.facts.get(wire).and_then(|f| f.shape.as_ref()).into_iter().flatten().zip(ours.shape()) {
            assert!(fact.known().is_none_or(|n| n == *have), "{label}: inferred shape of {wire}");
        }
    }
}

/// The same bytes at any thread count, and whether the batch runs as a whole (as it does with taps)
/// or in parts.
fn same_bytes(label: &str, model: &Model, feeds: &[(Wire, Value)], expected: &[(Wire, Value)]) {
    let taps: Vec<Wire> = model.nodes.iter().flat_map(|n| n.outputs.iter().flatten().cloned()).collect();
    for (threads, taps) in [(1, Vec::new()), (3, Vec::new()), (2, taps)] {
        let executor = Executor::new(model, &Request { taps: taps.clone(), ..Request::default() }).unwrap();
        let mut seen = Vec::new();
        let outputs = executor.run(feeds, &Ctx::new(threads).unwrap(), &mut |wire, _| seen.push(wire.clone())).unwrap();
        seen.sort();
        seen.dedup();
        assert_eq!(seen.len(), taps.len(), "{label}: taps");
        for ((wire, a), (_, b)) in outputs.iter().zip(expected) {
            // Neither threads nor what is fused changes a bit: cuts rely on it.
            let how = if taps.is_empty() { "with other threads" } else { "with taps" };
            assert_eq!(a.to_f32().unwrap(), b.to_f32().unwrap(), "{label}, output {wire} {how} ({threads} threads)");
        }
    }
}

#[test]
fn outputs_are_those_of_onnx_runtime() {
    let Some(corpus) = corpus() else {
        println!("skipped: the corpus is not here; set LAPIDARY_CORPUS");
        return;
    };
    let catalog: serde_json::Value = serde_json::from_slice(&std::fs::read(corpus.join("models.json")).unwrap()).unwrap();
    let ctx = Ctx::new(2).unwrap();
    let mut count = 0;
    for entry in catalog.as_array().unwrap() {
        let name = entry["name"].as_str().unwrap();
        let vectors = corpus.join("golden").join(format!("{name}.npz"));
        if !vectors.is_file() {
            continue;
        }
        let vectors = candle_core::Tensor::read_npz(vectors).unwrap();
        let model = lapidary::pipeline::load::model(&corpus.join(entry["onnx"].as_str().unwrap()), &ctx).unwrap().model;
        compare(&format!("{name} raw"), &model, &vectors, &ctx);
        let prepared = prepare(&model).unwrap();
        compare(&format!("{name} prepared"), &prepared, &vectors, &ctx);
        let folded = prepare(&fold_batch_norm(&prepared).unwrap()).unwrap();
        compare(&format!("{name} folded"), &folded, &vectors, &ctx);
        let left = folded.nodes.iter().filter(|n| n.op == "BatchNormalization").count();
        // One of mnist_burn's follows a Relu and cannot be folded into a layer.
        assert_eq!(left, usize::from(name == "mnist_burn"), "{name}: batch normalization is left");
        let unknown: Vec<&str> = folded
            .nodes
            .iter()
            .flat_map(|n| n.outputs.iter().flatten())
            .filter(|w| folded.facts.get(*w).is_none_or(|f| f.dtype.is_none() || f.shape.is_none()))
            .map(|w| &**w)
            .collect();
        assert!(unknown.is_empty(), "{name}: no shape known of {unknown:?}");
        count += 1;
    }
    assert!(count >= 14, "only {count} models were found");
}

/// A recurrent model once more, exported with branches in branches; ONNX Runtime gives the same for both.
#[test]
fn branches_are_taken_as_onnx_runtime_takes_them() {
    let Some(corpus) = corpus() else {
        println!("skipped: the corpus is not here; set LAPIDARY_CORPUS");
        return;
    };
    let ctx = Ctx::new(2).unwrap();
    let mut vectors = candle_core::Tensor::read_npz(corpus.join("golden/silero_static.npz")).unwrap();
    let rate = candle_core::Tensor::new(16_000_i64, &candle_core::Device::Cpu).unwrap();
    vectors.push(("in:sr".to_owned(), rate));
    let path = corpus.join("models/silero_vad/silero_vad_16k_op15.onnx");
    let model = lapidary::pipeline::load::model(&path, &ctx).unwrap().model;
    compare("silero_op15 raw", &model, &vectors, &ctx);
    compare("silero_op15 prepared", &prepare(&model).unwrap(), &vectors, &ctx);
}
