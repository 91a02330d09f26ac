use crate::engine::context::Ctx;
use crate::engine::exec::{Arithmetic, Executor, Request, prepare};
use crate::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Port, Wire};
use crate::engine::random::Random;
use crate::engine::tensor::{DType, Tensor, Value};

/// A quantized model under construction: one data input `x` of `[N, …]`.
struct Build {
    model: Model,
    random: Random,
}

impl Build {
    fn new(sample: &[usize]) -> Self {
        let shape = std::iter::once(Dim::Named("N".into())).chain(sample.iter().map(|&d| Dim::Known(d))).collect();
        let port = Port { wire: "x".into(), fact: Fact { dtype: Some(DType::F32), shape: Some(shape) } };
        let opsets = [(String::new(), 17)].into();
        Self { model: Model { inputs: vec![port], opsets, ..Model::default() }, random: Random::new(31) }
    }

    fn node(&mut self, op: &str, inputs: &[&str], outputs: &[&str], ints: &[(&str, &[i64])]) -> &mut Self {
        let wires = |names: &[&str]| names.iter().map(|w| Some(Wire::from(*w))).collect::<Vec<_>>();
        let attribute = |v: &[i64]| if let [one] = v { Attribute::Int(*one) } else { Attribute::Ints(v.to_vec()) };
        self.model.nodes.push(Node {
            id: NodeId(self.model.nodes.len()),
            name: format!("node {}", outputs[0]),
            op: op.to_owned(),
            domain: String::new(),
            inputs: wires(inputs),
            outputs: wires(outputs),
            attributes: ints.iter().map(|(k, v)| ((*k).to_owned(), attribute(v))).collect(),
        });
        self
    }

    fn store(&mut self, name: &str, tensor: Tensor) -> &mut Self {
        self.model.constants.insert(name.into(), tensor);
        self
    }

    /// `name` reads codes through `DequantizeLinear`, with a scale per place along `axis`.
    fn weight(&mut self, name: &str, shape: &[usize], axis: usize) -> &mut Self {
        let codes: Vec<i64> = (0..shape.iter().product()).map(|_| self.random.range(-127.5, 127.5) as i64).collect();
        let scales: Vec<f32> = (0..shape[axis]).map(|_| self.random.range(0.0005, 0.004)).collect();
        let [q, s] = ["q", "s"].map(|n| format!("{name}.{n}"));
        self.store(&q, Tensor::from_integers(DType::I8, shape.to_vec(), &codes).unwrap());
        self.store(&s, Tensor::from_f32(vec![shape[axis]], &scales).unwrap());
        self.node("DequantizeLinear", &[&q, &s], &[name], &[("axis", &[axis as i64])])
    }

    fn bias(&mut self, name: &str, count: usize) -> &mut Self {
        let values: Vec<f32> = (0..count).map(|_| self.random.normal()).collect();
        self.store(name, Tensor::from_f32(vec![count], &values).unwrap())
    }

    /// `x.r` is `x` rounded.
    fn round(&mut self, x: &str, scale: f32, zero: u8) -> &mut Self {
        let [s, z, q, r] = ["s", "z", "q", "r"].map(|n| format!("{x}.{n}"));
        self.store(&s, Tensor::scalar_f32(scale)).store(&z, Tensor::scalar_u8(zero));
        self.node("QuantizeLinear", &[x, &s, &z], &[&q], &[]);
        self.node("DequantizeLinear", &[&q, &s, &z], &[&r], &[])
    }

    fn output(&mut self, wire: &str) -> Model {
        self.model.outputs = vec![Port { wire: wire.into(), fact: Fact::default() }];
        let mut model = self.model.clone();
        model.validate().unwrap();
        prepare(&model).unwrap()
    }
}

const PADS: (&str, &[i64]) = ("pads", &[1, 1, 1, 1]);

/// conv, relu, max pool, depthwise conv, conv + its input, relu, mean, matrix.
fn network() -> Model {
    let mut b = Build::new(&[3, 13, 12]);
    b.round("x", 0.03, 120).weight("a.w", &[10, 3, 3, 3], 0).bias("a.b", 10);
    b.node("Conv", &["x.r", "a.w", "a.b"], &["a"], &[PADS]).node("Relu", &["a"], &["ar"], &[]);
    b.node("MaxPool", &["ar"], &["p"], &[("kernel_shape", &[2, 2]), ("strides", &[2, 2])]);
    b.round("p", 0.02, 0).weight("d.w", &[10, 1, 3, 3], 0);
    b.node("Conv", &["p.r", "d.w"], &["d"], &[PADS, ("group", &[10])]).round("d", 0.04, 127);
    b.weight("c.w", &[10, 10, 1, 1], 0).bias("c.b", 10);
    b.node("Conv", &["d.r", "c.w", "c.b"], &["c"], &[]).node("Add", &["c", "d"], &["s"], &[]).node("Relu", &["s"], &["sr"], &[]);
    b.round("sr", 0.05, 0).weight("e.w", &[7, 10, 3, 3], 0);
    b.node("Conv", &["sr.r", "e.w"], &["e"], &[PADS]).node("Add", &["e", "e"], &["ee"], &[]);
    b.node("GlobalAveragePool", &["ee"], &["g"], &[]).node("Flatten", &["g"], &["f"], &[]);
    b.round("f", 0.01, 99).weight("m.w", &[5, 7], 0).bias("m.b", 5);
    b.node("Gemm", &["f.r", "m.w", "m.b"], &["y"], &[("transB", &[1])]).output("y")
}

fn run(model: &Model, request: &Request, x: &Value, threads: usize) -> (Vec<f32>, usize) {
    let executor = Executor::new(model, request).unwrap();
    let feeds = [(Wire::from("x"), x.clone())];
    let outputs = executor.run(&feeds, &Ctx::new(threads).unwrap(), &mut |_, _| {}).unwrap();
    (outputs[0].1.to_f32().unwrap(), executor.integer_layers())
}

fn integer() -> Request {
    Request { arithmetic: Arithmetic::Integer, ..Request::default() }
}

fn normal(shape: &[usize]) -> Value {
    let mut random = Random::new(4);
    Value::from_f32((0..shape.iter().product()).map(|_| random.normal()).collect(), shape).unwrap()
}

/// Largest difference, beside the largest value.
fn difference(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0_f32, |m, v| m.max(v.abs()));
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max) / largest
}

#[test]
fn integers_say_what_the_simulation_says() {
    let (model, x) = (network(), normal(&[9, 3, 13, 12]));
    let (simulated, none) = run(&model, &Request::default(), &x, 1);
    let (found, layers) = run(&model, &integer(), &x, 1);
    assert_eq!((none, layers), (0, 5));
    assert!(difference(&found, &simulated) < 0.01, "{found:?}\n{simulated:?}");
    for threads in [2, 3] {
        assert_eq!(run(&model, &integer(), &x, threads).0, found);
    }
}

#[test]
fn what_somebody_looks_at_stays() {
    let (model, x) = (network(), normal(&[2, 3, 13, 12]));
    for wire in ["a", "ar", "p", "p.q", "p.r", "d", "c", "s", "sr", "sr.r", "e", "f.r"] {
        let tapped = |arithmetic| {
            let request = Request { taps: vec![wire.into()], arithmetic, ..Request::default() };
            let executor = Executor::new(&model, &request).unwrap();
            let mut seen = Vec::new();
            let feeds = [(Wire::from("x"), x.clone())];
            executor.run(&feeds, &Ctx::new(1).unwrap(), &mut |_, v| seen.extend(v.to_f32().unwrap())).unwrap();
            seen
        };
        let (a, b) = (tapped(Arithmetic::Integer), tapped(Arithmetic::Simulated));
        assert!(!b.is_empty() && difference(&a, &b) < 0.02, "{wire}");
    }
}

#[test]
fn ranges_found_in_the_data_do_too() {
    let mut b = Build::new(&[4, 6]);
    b.node("DynamicQuantizeLinear", &["x"], &["q", "s", "z"], &[]).node("DequantizeLinear", &["q", "s", "z"], &["r"], &[]);
    b.weight("w", &[6, 20], 1).bias("b", 20);
    let model = b.node("MatMul", &["r", "w"], &["m"], &[]).node("Add", &["b", "m"], &["y"], &[]).output("y");
    let x = normal(&[5, 4, 6]);
    let (found, layers) = run(&model, &integer(), &x, 2);
    let simulated = run(&model, &Request::default(), &x, 2).0;
    assert_eq!(layers, 1);
    assert!(difference(&found, &simulated) < 1e-5);
}

#[test]
fn rounded_data_that_others_read_come_back_as_floats() {
    let mut b = Build::new(&[4, 5, 5]);
    b.round("x", 0.03, 128).weight("w", &[4, 4, 1, 1], 0).node("Conv", &["x.r", "w"], &["c"], &[]);
    let model = b.round("c", 0.02, 10).node("Mul", &["x.r", "c.r"], &["y"], &[]).output("y");
    let x = normal(&[2, 4, 5, 5]);
    let (found, layers) = run(&model, &integer(), &x, 1);
    assert_eq!(layers, 1);
    assert!(difference(&found, &run(&model, &Request::default(), &x, 1).0) < 0.02);
}

#[test]
fn weights_that_are_no_bytes_stay_in_floats() {
    let mut b = Build::new(&[6]);
    b.round("x", 0.03, 128).store("w", Tensor::from_f32(vec![6, 2], &[0.5; 12]).unwrap());
    let model = b.node("MatMul", &["x.r", "w"], &["y"], &[]).output("y");
    let x = normal(&[3, 6]);
    assert_eq!(run(&model, &integer(), &x, 1), (run(&model, &Request::default(), &x, 1).0, 0));
}
