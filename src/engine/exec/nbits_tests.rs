//! `MatMulNBits` against the pairs of nodes that it stands for.

use super::{Executor, Request};
use crate::engine::Ctx;
use crate::engine::graph::passes::matmul_nbits;
use crate::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Port, Wire};
use crate::engine::random::Random;
use crate::engine::tensor::{DType, Tensor, Value};
use std::collections::BTreeMap;

const DOMAIN: &str = "com.microsoft";

fn node(id: usize, op: &str, inputs: &[&str], output: &str, ints: &[(&str, i64)]) -> Node {
    Node {
        id: NodeId(id),
        name: output.to_owned(),
        op: op.to_owned(),
        domain: String::new(),
        inputs: inputs.iter().map(|w| (!w.is_empty()).then(|| Wire::from(*w))).collect(),
        outputs: vec![Some(output.into())],
        attributes: ints.iter().map(|(name, v)| ((*name).to_owned(), Attribute::Int(*v))).collect(),
    }
}

/// x[3, k] times a weight of 5 outputs: through `Transpose` and `MatMul`, and straight through `Gemm` with a bias.
fn model(dtype: DType, k: usize, size: usize) -> Model {
    let (n, blocks) = (5, k.div_ceil(size));
    let mut random = Random::new(3);
    let range = dtype.integer_range().unwrap();
    let mut draw = |count: usize| -> Vec<i64> {
        (0..count).map(|_| ((random.normal() * 60.0) as i64).rem_euclid(range.1 - range.0 + 1) + range.0).collect()
    };
    let codes = Tensor::from_integers(dtype, vec![n, k], &draw(n * k)).unwrap();
    let zeros = Tensor::from_integers(dtype, vec![n, blocks], &draw(n * blocks)).unwrap();
    let scales: Vec<f32> = (0..n * blocks).map(|i| 0.25 - i as f32 * 0.01).collect();
    let mut dequantize = vec!["q", "s"];
    let mut constants = BTreeMap::from([
        (Wire::from("q"), codes),
        ("s".into(), Tensor::from_f32(vec![n, blocks], &scales).unwrap()),
        ("b".into(), Tensor::from_f32(vec![n], &[1.0, 2.0, 3.0, 4.0, 5.0]).unwrap()),
    ]);
    if matches!(dtype, DType::U4 | DType::U8) {
        dequantize.push("z");
        constants.insert("z".into(), zeros);
    }
    let how = [("axis", 1), ("block_size", size as i64)];
    let mut turn = node(1, "Transpose", &["w"], "t", &[]);
    turn.attributes.insert("perm".to_owned(), Attribute::Ints(vec![1, 0]));
    let fact = |dims: [usize; 2]| Fact { dtype: Some(DType::F32), shape: Some(dims.map(Dim::Known).into()) };
    let port = |wire: &str, dims| Port { wire: wire.into(), fact: fact(dims) };
    let mut other = node(3, "DequantizeLinear", &dequantize, "v", &how);
    other.name = "second".to_owned();
    Model {
        nodes: vec![
            node(0, "DequantizeLinear", &dequantize, "w", &how),
            turn,
            node(2, "MatMul", &["x", "t"], "y", &[]),
            other,
            node(4, "Gemm", &["x", "v", "b"], "g", &[("transB", 1)]),
        ],
        constants,
        inputs: vec![port("x", [3, k])],
        outputs: vec![port("y", [3, n]), port("g", [3, n])],
        facts: [("x".into(), fact([3, k]))].into(),
        opsets: [(String::new(), 21)].into(),
        ..Model::default()
    }
}

fn outputs(model: &Model, k: usize) -> Vec<f32> {
    let mut random = Random::new(5);
    let x = Value::from_f32((0..3 * k).map(|_| random.normal()).collect(), &[3, k]).unwrap();
    let ctx = Ctx::new(1).unwrap();
    let executor = Executor::new(model, &Request::default()).unwrap();
    let outputs = executor.run(&[("x".into(), x)], &ctx, &mut |_, _| {}).unwrap();
    outputs.iter().flat_map(|(_, v)| v.to_f32().unwrap()).collect()
}

#[test]
fn the_operator_computes_what_the_pairs_of_nodes_compute() {
    for (dtype, k, size) in [
        (DType::I4, 64, 32),
        (DType::U4, 64, 16),
        (DType::I4, 37, 16),
        (DType::U4, 37, 32),
        (DType::I8, 48, 16),
        (DType::U8, 33, 16),
    ] {
        let plain = model(dtype, k, size);
        let packed = matmul_nbits(&plain).unwrap();
        let ops: Vec<&str> = packed.nodes.iter().map(|n| n.op.as_str()).collect();
        assert_eq!(ops, ["MatMulNBits", "MatMulNBits", "Add"], "{dtype} {k} {size}");
        assert!(packed.opsets.contains_key(DOMAIN) && !packed.constants.contains_key("q"));
        for (a, b) in outputs(&plain, k).iter().zip(outputs(&packed, k)) {
            assert!((a - b).abs() <= 1e-5 * a.abs().max(10.0), "{dtype} {k} {size}: {a} {b}");
        }
    }
}

#[test]
fn what_the_operator_cannot_do_stays() {
    let untouched = |model: &Model| matmul_nbits(model).unwrap().nodes.iter().all(|n| n.op != "MatMulNBits");
    assert!(untouched(&model(DType::I4, 48, 24)), "no power of two");
    assert!(untouched(&model(DType::I4, 64, 8)), "blocks too small");
    let mut halves = model(DType::I4, 64, 32);
    for at in [2, 4] {
        halves.nodes[at].inputs[1] = halves.nodes[at].inputs[0].clone();
    }
    assert!(untouched(&halves), "nothing reads it");
    let mut given = model(DType::I4, 64, 32);
    given.outputs.push(Port { wire: "t".into(), fact: Fact::default() });
    given.outputs.push(Port { wire: "v".into(), fact: Fact::default() });
    assert!(untouched(&given), "the weights are given out");
    let mut scaled = model(DType::I4, 64, 32);
    scaled.nodes[4].attributes.insert("alpha".to_owned(), Attribute::Float(2.0));
    assert_eq!(matmul_nbits(&scaled).unwrap().nodes.iter().filter(|n| n.op == "Gemm").count(), 1);
}
