//! Speed of the hot kernels, each as the executor runs it: a model of one node, on one thread and on
//! all, beside the same arithmetic in plain loops. Number formats are called as the pipeline calls them. `cargo bench --no-default-features [-- PART OF A NAME]`.
//! Numbers of a machine that does something else as well are worth little: the best of many runs counts.

#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "it speaks to the person, and fails where it must")]

mod blocks;
mod formats;
mod open;
mod plain;

use lapidary::engine::Ctx;
use lapidary::engine::exec::{Executor, Request};
use lapidary::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Port, Wire};
use lapidary::engine::random::Random;
use lapidary::engine::tensor::{DType, Tensor, Value};
use plain::Conv;
use std::hint::black_box;
use std::time::{Duration, Instant};

/// How long one measurement may take.
const PATIENCE: Duration = Duration::from_millis(400);

/// What one run does.
enum Amount {
    Operations(f64),
    Bytes(f64),
}

impl Amount {
    /// Billions per second; millions of what is slow.
    fn rate(&self, seconds: f64) -> String {
        match self {
            Self::Operations(n) if *n < seconds * 1e8 => format!("{:8.2} Mop/s", n / seconds / 1e6),
            Self::Operations(n) => format!("{:8.2} Gop/s", n / seconds / 1e9),
            Self::Bytes(n) => format!("{:8.2} GB/s ", n / seconds / 1e9),
        }
    }
}

/// What is timed.
enum Work {
    Model { model: Model, feeds: Vec<(Wire, Value)> },
    Call(Box<dyn Fn(&Ctx)>),
}

struct Case {
    name: String,
    amount: Amount,
    work: Work,
    plain: Option<Box<dyn Fn()>>,
}

fn normal(count: usize, seed: u64) -> Vec<f32> {
    let mut random = Random::new(seed);
    (0..count).map(|_| random.normal()).collect()
}

fn node(id: usize, op: &str, inputs: &[&str], output: &str, attributes: &[(&str, Attribute)]) -> Node {
    Node {
        id: NodeId(id),
        name: String::new(),
        op: op.to_owned(),
        domain: String::new(),
        inputs: inputs.iter().map(|w| Some(Wire::from(*w))).collect(),
        outputs: vec![Some(output.into())],
        attributes: attributes.iter().map(|(name, a)| ((*name).to_owned(), a.clone())).collect(),
    }
}

/// A model from `x` to `y`.
fn model(x: &Value, nodes: Vec<Node>, constants: Vec<(&str, Tensor)>) -> Model {
    let shape = x.shape().iter().map(|d| Dim::Known(*d)).collect();
    Model {
        inputs: vec![Port { wire: "x".into(), fact: Fact { dtype: Some(x.dtype), shape: Some(shape) } }],
        outputs: vec![Port { wire: "y".into(), fact: Fact::default() }],
        nodes,
        constants: constants.into_iter().map(|(name, t)| (Wire::from(name), t)).collect(),
        opsets: [(String::new(), 21)].into(),
        ..Model::default()
    }
}

fn case(name: String, amount: Amount, x: Value, nodes: Vec<Node>, constants: Vec<(&str, Tensor)>) -> Case {
    let work = Work::Model { model: model(&x, nodes, constants), feeds: vec![("x".into(), x)] };
    Case { name, amount, work, plain: None }
}

fn conv_attributes(conv: &Conv) -> Vec<(&'static str, Attribute)> {
    let group = if conv.depthwise { conv.channels } else { 1 };
    vec![("pads", Attribute::Ints(vec![conv.kernel as i64 / 2; 4])), ("group", Attribute::Int(group as i64))]
}

fn convolution(kind: &str, conv: Conv) -> Case {
    let shape = [1, conv.channels, conv.side, conv.side];
    let (x, w) = (normal(shape.iter().product(), 1), normal(conv.weights().iter().product(), 2));
    let weights = Tensor::from_f32(conv.weights().to_vec(), &w).unwrap();
    let name = format!("{kind} {} channels {}²", conv.channels, conv.side);
    let nodes = vec![node(0, "Conv", &["x", "w"], "y", &conv_attributes(&conv))];
    let amount = Amount::Operations(conv.operations());
    let value = Value::from_f32(x.clone(), &shape).unwrap();
    let plain: Box<dyn Fn()> = Box::new(move || drop(black_box(conv.run(&x, &w))));
    Case { plain: Some(plain), ..case(name, amount, value, nodes, vec![("w", weights)]) }
}

fn integer_convolution(conv: &Conv) -> Case {
    let shape = [1, conv.channels, conv.side, conv.side];
    let codes =
        |count: usize, modulus: i64, low: i64| (0..count as i64).map(move |i| i * 37 % modulus + low).collect::<Vec<i64>>();
    let x = Value { dtype: DType::U8, ..Value::from_i64(codes(shape.iter().product(), 256, 0), &shape).unwrap() };
    let w = codes(conv.weights().iter().product(), 255, -127);
    let weights = Tensor::from_integers(DType::I8, conv.weights().to_vec(), &w).unwrap();
    let name = format!("integer 3×3 {} channels {}²", conv.channels, conv.side);
    let nodes = vec![node(0, "ConvInteger", &["x", "w"], "y", &conv_attributes(conv))];
    case(name, Amount::Operations(conv.operations()), x, nodes, vec![("w", weights)])
}

fn product(m: usize, k: usize, n: usize) -> Case {
    let (a, b) = (normal(m * k, 3), normal(k * n, 4));
    let weights = Tensor::from_f32(vec![k, n], &b).unwrap();
    let value = Value::from_f32(a.clone(), &[m, k]).unwrap();
    let amount = Amount::Operations(2.0 * (m * k * n) as f64);
    let nodes = vec![node(0, "MatMul", &["x", "w"], "y", &[])];
    let plain: Box<dyn Fn()> = Box::new(move || drop(black_box(plain::matmul(&a, &b, (m, k, n)))));
    Case { plain: Some(plain), ..case(format!("matmul {m}×{k}×{n}"), amount, value, nodes, vec![("w", weights)]) }
}

fn integer_product(m: usize, k: usize, n: usize) -> Case {
    let codes = |count: usize, low: i64| (0..count as i64).map(move |i| i * 37 % 255 + low).collect::<Vec<i64>>();
    let x = Value { dtype: DType::U8, ..Value::from_i64(codes(m * k, 0), &[m, k]).unwrap() };
    let weights = Tensor::from_integers(DType::I8, vec![k, n], &codes(k * n, -127)).unwrap();
    let nodes = vec![node(0, "MatMulInteger", &["x", "w"], "y", &[])];
    let amount = Amount::Operations(2.0 * (m * k * n) as f64);
    case(format!("integer matmul {m}×{k}×{n}"), amount, x, nodes, vec![("w", weights)])
}

fn softmax(rows: usize, n: usize) -> Case {
    let x = normal(rows * n, 5);
    let value = Value::from_f32(x.clone(), &[rows, n]).unwrap();
    let nodes = vec![node(0, "Softmax", &["x"], "y", &[])];
    let plain: Box<dyn Fn()> = Box::new(move || drop(black_box(plain::softmax(&x, n))));
    Case {
        plain: Some(plain),
        ..case(format!("softmax {rows}×{n}"), Amount::Bytes(8.0 * (rows * n) as f64), value, nodes, vec![])
    }
}

/// `QuantizeLinear` and `DequantizeLinear`, which the executor joins.
fn quantize(count: usize) -> Case {
    const SCALE: f32 = 0.02;
    let x = normal(count, 6);
    let value = Value::from_f32(x.clone(), &[1, count]).unwrap();
    let nodes =
        vec![node(0, "QuantizeLinear", &["x", "s", "z"], "q", &[]), node(1, "DequantizeLinear", &["q", "s", "z"], "y", &[])];
    let zero = Tensor::from_integers(DType::I8, Vec::new(), &[0]).unwrap();
    let plain: Box<dyn Fn()> = Box::new(move || drop(black_box(plain::quantize(&x, SCALE))));
    let constants = vec![("s", Tensor::scalar_f32(SCALE)), ("z", zero)];
    Case { plain: Some(plain), ..case(format!("quantize {count}"), Amount::Bytes(8.0 * count as f64), value, nodes, constants) }
}

fn cases() -> Vec<Case> {
    let conv = |channels, side, kernel, depthwise| Conv { channels, side, kernel, depthwise };
    vec![
        convolution("3×3", conv(16, 32, 3, false)),
        convolution("3×3", conv(64, 28, 3, false)),
        convolution("3×3", conv(256, 14, 3, false)),
        convolution("pointwise", conv(64, 28, 1, false)),
        convolution("pointwise", conv(256, 14, 1, false)),
        convolution("depthwise", conv(64, 56, 3, true)),
        convolution("depthwise", conv(256, 14, 3, true)),
        product(256, 256, 256),
        product(1, 1024, 1024),
        softmax(256, 1000),
        quantize(1 << 20),
        integer_convolution(&conv(64, 28, 3, false)),
        integer_product(256, 256, 256),
    ]
}

/// Seconds of the best run: the one that was disturbed least.
fn best(run: &mut dyn FnMut()) -> f64 {
    let (started, mut best) = (Instant::now(), f64::INFINITY);
    run();
    while best.is_infinite() || started.elapsed() < PATIENCE {
        let one = Instant::now();
        run();
        best = best.min(one.elapsed().as_secs_f64());
    }
    best
}

/// The case on one thread and on all; why not, where it cannot run.
fn measure(case: &Case, contexts: &[Ctx]) -> Result<Vec<f64>, String> {
    match &case.work {
        Work::Model { model, feeds } => {
            let executor = Executor::new(model, &Request::default()).map_err(|e| e.to_string())?;
            let run = |ctx: &Ctx| executor.run(feeds, ctx, &mut |_, _| {}).map_err(|e| e.to_string());
            run(&contexts[0])?;
            Ok(contexts.iter().map(|ctx| best(&mut || drop(black_box(run(ctx))))).collect())
        }
        Work::Call(call) => Ok(contexts.iter().map(|ctx| best(&mut || call(ctx))).collect()),
    }
}

fn main() {
    // `cargo bench` adds flags of its own.
    let wanted: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let contexts = [Ctx::new(1).unwrap(), Ctx::new(0).unwrap()];
    let threads = contexts[1].pool().current_num_threads();
    println!("{:32} {:>14} {:>14} {:>12}", "", "1 thread", format!("{threads} threads"), "plain loops");
    let is_wanted = |name: &str| wanted.is_empty() || wanted.iter().any(|w| name.contains(w.as_str()));
    blocks::measure(&contexts, is_wanted);
    if is_wanted(open::NAME) {
        match open::measure() {
            Ok((seconds, bytes)) => println!("{:32} {seconds:.3} s, {:.1} MB", open::NAME, bytes as f64 / 1e6),
            Err(reason) => println!("{:32} {reason}", open::NAME),
        }
    }
    for case in cases().into_iter().chain(formats::cases()).filter(|case| is_wanted(&case.name)) {
        match measure(&case, &contexts) {
            Ok(seconds) => {
                let rates: Vec<String> = seconds.iter().map(|s| case.amount.rate(*s)).collect();
                let ratio =
                    case.plain.as_ref().map_or_else(String::new, |plain| format!("{:.1} ×", best(&mut || plain()) / seconds[0]));
                println!("{:32} {} {} {ratio:>12}", case.name, rates[0], rates[1]);
            }
            Err(reason) => println!("{:32} {reason}", case.name),
        }
    }
}
