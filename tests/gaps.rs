//! A model that asks for what there is not: named when it is opened, and all that can be done is.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

use lapidary::engine::Ctx;
use lapidary::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Port, Wire};
use lapidary::engine::random::Random;
use lapidary::engine::tensor::{DType, Tensor};
use lapidary::pipeline::configure::presets;
use lapidary::pipeline::load;
use lapidary::workbench::work::{self, NewProject, Split};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

fn port(name: &str, dtype: DType) -> Port {
    Port { wire: name.into(), fact: Fact { dtype: Some(dtype), shape: Some(vec![Dim::Named("N".into()), Dim::Known(32)]) } }
}

fn node(id: usize, (domain, op): (&str, &str), inputs: &[&str], output: &str) -> Node {
    Node {
        id: NodeId(id),
        name: format!("node{id}"),
        op: op.to_owned(),
        domain: domain.to_owned(),
        inputs: inputs.iter().map(|w| Some(Wire::from(*w))).collect(),
        outputs: vec![Some(output.into())],
        attributes: std::collections::BTreeMap::default(),
    }
}

/// A product with weights, and after it one operator of a domain that nobody knows, one within a
/// branch, and an output of strings.
fn model(folder: &Path) -> PathBuf {
    let branch = |id: usize, op: &str| {
        let nodes = vec![node(id, ("", op), &["f"], "b")];
        Attribute::Graph(Arc::new(Model { nodes, outputs: vec![port("b", DType::F32)], ..Model::default() }))
    };
    let mut choice = node(2, ("", "If"), &["c"], "y");
    choice.attributes = [("then_branch".to_owned(), branch(3, "Relu")), ("else_branch".to_owned(), branch(4, "Spin"))].into();
    let mut random = Random::new(7);
    let weights: Vec<f32> = (0..1024).map(|_| random.normal()).collect();
    let model = Model {
        name: "gaps".to_owned(),
        inputs: vec![port("x", DType::F32)],
        outputs: vec![port("y", DType::F32), port("s", DType::from_onnx(8))],
        nodes: vec![
            node(0, ("", "MatMul"), &["x", "W"], "m"),
            node(1, ("org.example", "Frobnicate"), &["m"], "f"),
            choice,
            node(5, ("", "Tokenize"), &["f"], "s"),
        ],
        constants: [
            ("W".into(), Tensor::from_f32(vec![32, 32], &weights).unwrap()),
            ("c".into(), Tensor::from_bytes(DType::Bool, vec![], vec![1]).unwrap()),
        ]
        .into(),
        opsets: [(String::new(), 13), ("org.example".to_owned(), 1)].into(),
        ..Model::default()
    };
    let proto = load::onnx::encode(&model, &load::onnx::OnnxSource::empty("gaps")).unwrap();
    let path = folder.join("gaps.onnx");
    std::fs::write(&path, load::onnx::to_bytes(&proto)).unwrap();
    path
}

/// Twelve samples of 32 numbers.
fn samples(folder: &Path) -> PathBuf {
    let header = format!("{:<117}\n", "{'descr': '<f4', 'fortran_order': False, 'shape': (12, 32), }");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend((0..12 * 32_u16).flat_map(|i| (f32::from(i) / 100.0).to_le_bytes()));
    let path = folder.join("x.npy");
    std::fs::write(&path, bytes).unwrap();
    path
}

/// What every face must name: operator and node.
const NAMED: [[&str; 2]; 4] =
    [["org.example.Frobnicate", "\"node1\""], ["Spin", "\"node4\""], ["Tokenize", "\"node5\""], ["string", "\"s\""]];

#[test]
fn what_cannot_be_run_is_named_and_the_rest_works() {
    let (folder, ctx) = (tempfile::tempdir().unwrap(), Ctx::new(1).unwrap());
    let new = NewProject { model: model(folder.path()), evaluate: Some(samples(folder.path())), ..NewProject::default() };
    let (_, opened) = work::init(&folder.path().join("p"), &new, &ctx).unwrap();
    let warnings: Vec<String> = ctx.take_warnings().iter().map(ToString::to_string).collect();
    for [what, place] in NAMED {
        assert_eq!(warnings.iter().filter(|w| w.starts_with(what) && w.contains(place)).count(), 1, "{what}: {warnings:?}");
    }
    let w8 = presets::preset("w8").unwrap();
    let plan = opened.plan(&w8).unwrap();
    assert!(!plan.is_unchanged());
    let exported = opened.export(&w8, &folder.path().join("w8.onnx"), &ctx).unwrap();
    assert_eq!(exported.bytes, plan.bytes);
    let unrun: Vec<&str> = exported.checks.iter().filter(|c| c.value.contains("Frobnicate")).map(|c| c.name.as_str()).collect();
    assert_eq!(unrun, ["outputs equal", "accuracy"], "{:?}", exported.checks);
    let error = opened.evaluate(&w8, Split::Evaluate, None, &ctx).unwrap_err().to_string();
    assert!(error.contains("org.example.Frobnicate (node \"node1\")"), "{error}");
    let error = opened.evaluate(&presets::preset("int8").unwrap(), Split::Evaluate, None, &ctx).unwrap_err().to_string();
    assert!(error.contains("org.example.Frobnicate (node \"node1\")"), "{error}");
}

#[test]
fn inspect_names_what_cannot_be_run() {
    let folder = tempfile::tempdir().unwrap();
    let path = model(folder.path());
    let output =
        Command::new(env!("CARGO_BIN_EXE_lapidary")).arg("inspect").arg(&path).args(["--quiet", "--json"]).output().unwrap();
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let warnings: Vec<&str> = answer["warnings"].as_array().unwrap().iter().map(|w| w.as_str().unwrap()).collect();
    for [what, place] in NAMED {
        assert!(warnings.iter().any(|w| w.starts_with(what) && w.contains(place)), "{what}: {warnings:?}");
    }
    assert_eq!(answer["layers"][0]["op"], "MatMul");
}
