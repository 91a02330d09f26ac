use super::*;
use crate::engine::graph::{Fact, Node, NodeId, Port, layers};
use crate::engine::tensor::DType;

/// Nodes from (operator, inputs, output), constants from (name, shape): their values count up from 1.
fn model(nodes: &[(&str, &[&str], &str)], constants: &[(&str, &[usize])]) -> Model {
    let node = |(id, (op, inputs, output)): (usize, &(&str, &[&str], &str))| Node {
        id: NodeId(id),
        name: String::new(),
        op: (*op).to_owned(),
        domain: String::new(),
        inputs: inputs.iter().map(|w| Some(Wire::from(*w))).collect(),
        outputs: vec![Some(Wire::from(*output))],
        attributes: BTreeMap::new(),
    };
    let values = |shape: &[usize]| (1..=shape.iter().product()).map(|i: usize| i as f32).collect::<Vec<_>>();
    let port = |wire: &str| Port { wire: wire.into(), fact: Fact { dtype: Some(DType::F32), shape: None } };
    Model {
        inputs: vec![port("x")],
        outputs: vec![port("y")],
        nodes: nodes.iter().enumerate().map(node).collect(),
        constants: constants
            .iter()
            .map(|(name, shape)| (Wire::from(*name), Tensor::from_f32(shape.to_vec(), &values(shape)).unwrap()))
            .collect(),
        opsets: [(String::new(), 17)].into(),
        ..Model::default()
    }
}

/// What becomes of a constant when all passages are scaled by 1, 2, 4 …
fn scaled(model: &Model, name: &str) -> Vec<f32> {
    let passages = Passages::of(model, &layers(model));
    let scales = passages.found.iter().map(|p| (0..p.channels).map(|c| 2_f32.powi(c as i32)).collect());
    let made = passages.rescale(model, &scales.enumerate().collect()).unwrap();
    made.constants[name].to_f32().unwrap()
}

#[test]
fn a_norm_s_scale_is_divided_and_all_readers_are_multiplied() {
    let model = model(
        &[
            ("Div", &["x", "x"], "n"),
            ("Mul", &["g", "n"], "m"),
            ("Add", &["m", "h"], "a"),
            ("MatMul", &["a", "q"], "s"),
            ("MatMul", &["a", "k"], "t"),
            ("Add", &["s", "t"], "y"),
        ],
        &[("g", &[2]), ("h", &[2]), ("q", &[2, 3]), ("k", &[2, 3])],
    );
    let passages = Passages::of(&model, &layers(&model));
    assert_eq!((passages.found.len(), passages.found[0].readers.len(), passages.obstacles.len()), (1, 2, 0));
    assert_eq!(passages.found[0].readers[0].channels(6), [0, 0, 0, 1, 1, 1]);
    assert_eq!(scaled(&model, "g"), [1.0, 1.0]);
    assert_eq!(scaled(&model, "h"), [1.0, 1.0]);
    for reader in ["q", "k"] {
        assert_eq!(scaled(&model, reader), [1.0, 2.0, 3.0, 8.0, 10.0, 12.0]);
    }
}

#[test]
fn layers_make_channels_too_through_what_scaling_passes() {
    let model = model(
        &[("Conv", &["x", "w", "b"], "c"), ("Relu", &["c"], "r"), ("MaxPool", &["r"], "p"), ("Conv", &["p", "v"], "y")],
        &[("w", &[2, 1, 1, 2]), ("b", &[2]), ("v", &[1, 2, 1, 2])],
    );
    assert_eq!(scaled(&model, "w"), [1.0, 2.0, 1.5, 2.0]);
    assert_eq!(scaled(&model, "b"), [1.0, 1.0]);
    assert_eq!(scaled(&model, "v"), [1.0, 2.0, 6.0, 8.0]);
    let obstacle = &Passages::of(&model, &layers(&model)).obstacles[&0];
    assert_eq!(obstacle, "no layer or normalization makes it");
}

#[test]
fn of_a_gate_the_side_that_nobody_else_reads_is_scaled() {
    let nodes: &[(&str, &[&str], &str)] = &[
        ("MatMul", &["x", "w"], "u"),
        ("Sigmoid", &["u"], "s"),
        ("Mul", &["u", "s"], "gate"),
        ("MatMul", &["x", "v"], "up"),
        ("Mul", &["gate", "up"], "both"),
        ("MatMul", &["both", "d"], "y"),
    ];
    let constants: &[(&str, &[usize])] = &[("w", &[2, 2]), ("v", &[2, 2]), ("d", &[2, 2])];
    let model = model(nodes, constants);
    assert_eq!(scaled(&model, "v"), [1.0, 1.0, 3.0, 2.0]);
    assert_eq!(scaled(&model, "w"), [1.0, 2.0, 3.0, 4.0]);
    assert_eq!(scaled(&model, "d"), [1.0, 2.0, 6.0, 8.0]);
}

#[test]
fn what_others_read_stays_and_says_why() {
    let reason = |nodes: &[(&str, &[&str], &str)]| {
        let model = model(nodes, &[("w", &[2, 2]), ("v", &[2, 2]), ("s", &[1])]);
        let layers = layers(&model);
        let last = layers.len() - 1;
        Passages::of(&model, &layers).obstacles.get(&last).cloned().unwrap_or_default()
    };
    let seen: &[(&str, &[&str], &str)] = &[("MatMul", &["x", "w"], "a"), ("MatMul", &["a", "v"], "b"), ("Add", &["a", "b"], "y")];
    assert_eq!(reason(seen), "an Add reads its input too");
    let between: &[(&str, &[&str], &str)] = &[("MatMul", &["x", "w"], "a"), ("Tanh", &["a"], "t"), ("MatMul", &["t", "v"], "y")];
    assert_eq!(reason(between), "a Tanh lies before it, which scaling does not pass through");
    let shared: &[(&str, &[&str], &str)] =
        &[("MatMul", &["x", "w"], "a"), ("MatMul", &["a", "w"], "b"), ("MatMul", &["b", "v"], "y")];
    assert_eq!(reason(shared), "\"w\" is shared");
    let shifted: &[(&str, &[&str], &str)] =
        &[("MatMul", &["x", "w"], "a"), ("Add", &["a", "s"], "b"), ("MatMul", &["b", "v"], "y")];
    assert_eq!(reason(shifted), "\"s\" has not one number for each channel");
    let twice: &[(&str, &[&str], &str)] =
        &[("MatMul", &["x", "w"], "a"), ("Mul", &["a", "a"], "b"), ("MatMul", &["b", "v"], "y")];
    assert!(reason(twice).contains("of which it is made"), "{}", reason(twice));
}

#[test]
fn groups_of_channels_and_dead_scales() {
    let mut grouped =
        model(&[("Conv", &["x", "w"], "c"), ("Conv", &["c", "v"], "y")], &[("w", &[4, 1, 1, 1]), ("v", &[2, 2, 1, 1])]);
    grouped.nodes[1].attributes.insert("group".to_owned(), crate::engine::graph::Attribute::Int(2));
    assert_eq!(scaled(&grouped, "v"), [1.0, 4.0, 12.0, 32.0]);
    let passages = Passages::of(&grouped, &layers(&grouped));
    let scales = [(0, vec![0.0, f32::NAN, f32::INFINITY, -1.0])].into();
    let same = passages.rescale(&grouped, &scales).unwrap();
    assert_eq!(same.constants["w"].to_f32().unwrap(), grouped.constants["w"].to_f32().unwrap());
    let scales = [(0, vec![1e-37; 4])].into();
    let made = passages.rescale(&grouped, &scales).unwrap();
    assert!(made.constants["w"].to_f32().unwrap().iter().all(|v| v.is_finite()));
    let mut large = grouped.clone();
    large.constants.insert("w".into(), Tensor::from_f32(vec![4, 1, 1, 1], &[90.0; 4]).unwrap());
    assert!(passages.rescale(&large, &scales).unwrap_err().to_string().contains("not finite"));
}
