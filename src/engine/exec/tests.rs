use super::{Checkpoints, ExecError, Executor, Request, prepare};
use crate::engine::context::Ctx;
use crate::engine::graph::passes::fold_batch_norm;
use crate::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Port, Wire};
use crate::engine::random::Random;
use crate::engine::tensor::{DType, Tensor, Value};

/// A model under construction: one data input `x` of `[N, …]`.
pub(super) struct Build {
    pub model: Model,
    random: Random,
}

impl Build {
    pub fn new(sample: &[usize]) -> Self {
        let shape = std::iter::once(Dim::Named("N".into())).chain(sample.iter().map(|&d| Dim::Known(d))).collect();
        let port = Port { wire: "x".into(), fact: Fact { dtype: Some(DType::F32), shape: Some(shape) } };
        let opsets = [(String::new(), 17)].into();
        Self { model: Model { inputs: vec![port], opsets, ..Model::default() }, random: Random::new(9) }
    }

    pub fn constant(&mut self, name: &str, shape: &[usize]) -> &mut Self {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| self.random.range(0.2, 1.5)).collect();
        self.store(name, Tensor::from_f32(shape.to_vec(), &values).unwrap())
    }

    pub fn store(&mut self, name: &str, tensor: Tensor) -> &mut Self {
        self.model.constants.insert(name.into(), tensor);
        self
    }

    pub fn node(&mut self, op: &str, inputs: &[&str], output: &str) -> &mut Self {
        self.with(op, inputs, output, [])
    }

    pub fn with(
        &mut self,
        op: &str,
        inputs: &[&str],
        output: &str,
        attributes: impl IntoIterator<Item = (&'static str, Attribute)>,
    ) -> &mut Self {
        self.model.nodes.push(Node {
            id: NodeId(self.model.nodes.len()),
            name: format!("node {output}"),
            op: op.to_owned(),
            domain: String::new(),
            inputs: inputs.iter().map(|w| (!w.is_empty()).then(|| Wire::from(*w))).collect(),
            outputs: vec![Some(output.into())],
            attributes: attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        });
        self
    }

    pub fn output(&mut self, wire: &str) -> Model {
        self.model.outputs = vec![Port { wire: wire.into(), fact: Fact::default() }];
        let mut model = self.model.clone();
        model.validate().unwrap();
        prepare(&model).unwrap()
    }
}

fn normal(shape: &[usize]) -> Value {
    let mut random = Random::new(4);
    Value::from_f32((0..shape.iter().product()).map(|_| random.normal()).collect(), shape).unwrap()
}

fn run(model: &Model, request: &Request, feeds: &[(&str, Value)], threads: usize) -> Result<Vec<Vec<f32>>, ExecError> {
    let feeds: Vec<(Wire, Value)> = feeds.iter().map(|(w, v)| (Wire::from(*w), v.clone())).collect();
    let outputs = Executor::new(model, request)?.run(&feeds, &Ctx::new(threads).unwrap(), &mut |_, _| {})?;
    Ok(outputs.iter().map(|(_, v)| v.to_f32().unwrap()).collect())
}

/// The outputs without fusion: every wire is tapped, so nothing may be joined.
fn unfused(model: &Model, feeds: &[(&str, Value)]) -> Vec<Vec<f32>> {
    let taps = model.nodes.iter().flat_map(|n| n.outputs.iter().flatten().cloned()).collect();
    run(model, &Request { taps, ..Request::default() }, feeds, 1).unwrap()
}

fn close(a: &[Vec<f32>], b: &[Vec<f32>]) {
    assert!(a.iter().flatten().zip(b.iter().flatten()).all(|(a, b)| (a - b).abs() <= 1e-5 * b.abs().max(1.0)), "{a:?}\n{b:?}");
}

/// conv → batch norm → + x → relu → conv (limits by Clip) → + bias by broadcast
fn residual() -> Model {
    let mut build = Build::new(&[3, 6, 5]);
    let pads = || [("pads", Attribute::Ints(vec![1; 4]))];
    for name in ["scale", "shift", "mean", "variance"] {
        build.constant(name, &[3]);
    }
    build.constant("a.weight", &[3, 3, 3, 3]).constant("b.weight", &[4, 3, 3, 3]).constant("c", &[4, 1, 1]);
    build.store("low", Tensor::scalar_f32(-2.0)).store("high", Tensor::scalar_f32(6.0));
    build.with("Conv", &["x", "a.weight"], "a", pads());
    build.node("BatchNormalization", &["a", "scale", "shift", "mean", "variance"], "n");
    build.node("Add", &["x", "n"], "s").node("Relu", &["s"], "r");
    build.with("Conv", &["r", "b.weight"], "b", pads()).node("Clip", &["b", "low", "high"], "k");
    build.node("Add", &["k", "c"], "y").output("y")
}

#[test]
fn fused_as_unfused_folded_as_not_and_in_parts_as_whole() {
    let model = residual();
    let feeds = [("x", normal(&[9, 3, 6, 5]))];
    let expected = unfused(&model, &feeds);
    let folded = fold_batch_norm(&model).unwrap();
    assert!(folded.nodes.iter().all(|n| n.op != "BatchNormalization"));
    assert!(folded.constants.contains_key("a.weight") && folded.constants.contains_key("a.bias"));
    assert_eq!(folded.nodes.iter().find(|n| n.op == "Conv").unwrap().output(0).unwrap().as_ref(), "n");
    for model in [&model, &folded] {
        let first = run(model, &Request::default(), &feeds, 1).unwrap();
        close(&first, &expected);
        for threads in [2, 3, 8] {
            assert_eq!(run(model, &Request::default(), &feeds, threads).unwrap(), first);
        }
    }
}

#[test]
fn runs_between_any_two_wires() {
    let model = residual();
    let feeds = [("x", normal(&[2, 3, 6, 5]))];
    let request = Request { outputs: Some(vec!["r".into(), "y".into()]), ..Request::default() };
    let whole = run(&model, &request, &feeds, 2).unwrap();
    let middle = Value::from_f32(whole[0].clone(), &[2, 3, 6, 5]).unwrap();
    let suffix = Request { inputs: Some(vec!["r".into()]), ..Request::default() };
    close(&run(&model, &suffix, &[("r", middle)], 2).unwrap(), &whole[1..]);
    let unreachable = Request { inputs: Some(vec!["k".into()]), outputs: Some(vec!["r".into()]), ..Request::default() };
    assert!(matches!(run(&model, &unreachable, &[], 1), Err(ExecError::NoSource { .. })));
}

#[test]
fn batch_norm_folds_into_transposed_convolutions_and_gemm() {
    for (op, sample, weight, channels, attributes) in [
        (
            "ConvTranspose",
            vec![4, 3, 3],
            vec![4, 3, 2, 2],
            6,
            vec![("group", Attribute::Int(2)), ("strides", Attribute::Ints(vec![2, 2]))],
        ),
        ("Gemm", vec![5], vec![7, 5], 7, vec![("transB", Attribute::Int(1))]),
        ("Gemm", vec![5], vec![5, 7], 7, vec![]),
    ] {
        let mut build = Build::new(&sample);
        build.constant("w", &weight).constant("bias", &[channels]);
        for name in ["scale", "shift", "mean", "variance"] {
            build.constant(name, &[channels]);
        }
        build.with(op, &["x", "w", "bias"], "a", attributes);
        let model = build.node("BatchNormalization", &["a", "scale", "shift", "mean", "variance"], "y").output("y");
        let folded = fold_batch_norm(&model).unwrap();
        assert_eq!(folded.nodes.len(), 1, "{op}");
        let shape: Vec<usize> = [3].into_iter().chain(sample).collect();
        let feeds = [("x", normal(&shape))];
        close(&run(&folded, &Request::default(), &feeds, 1).unwrap(), &run(&model, &Request::default(), &feeds, 1).unwrap());
    }
}

#[test]
fn quantize_and_dequantize_in_one_step_are_the_pair() {
    let mut build = Build::new(&[100]);
    build.store("scale", Tensor::scalar_f32(0.037));
    build.store("zero", Tensor::from_integers(DType::I8, vec![], &[5]).unwrap());
    let model = build
        .node("QuantizeLinear", &["x", "scale", "zero"], "q")
        .node("DequantizeLinear", &["q", "scale", "zero"], "y")
        .output("y");
    assert_eq!(model.nodes.len(), 2, "preparing leaves quantized values alone");
    let feeds = [("x", normal(&[40, 100]))];
    assert_eq!(run(&model, &Request::default(), &feeds, 2).unwrap(), unfused(&model, &feeds));
}

#[test]
fn says_everything_that_is_missing() {
    let model =
        Build::new(&[2]).node("Frobnicate", &["x"], "a").node("Relu", &["a"], "b").node("Grumble", &["b"], "y").model.clone();
    let model = Model { outputs: vec![Port { wire: "y".into(), fact: Fact::default() }], ..model };
    let message = Executor::new(&model, &Request::default()).unwrap_err().to_string();
    assert!(message.contains("Frobnicate (node \"node a\")") && message.contains("Grumble (node \"node y\")"), "{message}");
}

#[test]
fn says_which_feed_does_not_fit() {
    let model = residual();
    let wrong = run(&model, &Request::default(), &[("x", normal(&[2, 3, 6, 6]))], 1).unwrap_err().to_string();
    assert!(wrong.contains("\"x\"") && wrong.contains("[N, 3, 6, 5]") && wrong.contains("[2, 3, 6, 6]"), "{wrong}");
    let integers = Value::from_i64(vec![0; 90], &[1, 3, 6, 5]).unwrap();
    assert!(matches!(run(&model, &Request::default(), &[("x", integers)], 1), Err(ExecError::Feed { .. })));
    assert!(matches!(run(&model, &Request::default(), &[], 1), Err(ExecError::Feed { .. })));
}

#[test]
fn stops_when_cancelled() {
    let ctx = Ctx::new(2).unwrap();
    ctx.cancel();
    let executor = Executor::new(&residual(), &Request::default()).unwrap();
    let result = executor.run(&[("x".into(), normal(&[9, 3, 6, 5]))], &ctx, &mut |_, _| {});
    assert!(matches!(result, Err(ExecError::Cancelled(_))));
}

#[test]
fn samples_that_mix_are_not_run_apart() {
    // A softmax over the batch: running samples apart would give ones.
    let model = Build::new(&[3]).with("Softmax", &["x"], "y", [("axis", Attribute::Int(0))]).output("y");
    let feeds = [("x", normal(&[16, 3]))];
    assert_eq!(run(&model, &Request::default(), &feeds, 2).unwrap(), unfused(&model, &feeds));
}

/// Two branches side by side, a sum across them, pooling, a flattened image into a product.
fn branching() -> Model {
    let mut build = Build::new(&[3, 8, 8]);
    let pads = || [("pads", Attribute::Ints(vec![1; 4]))];
    build.constant("w0", &[20, 3, 3, 3]).constant("w1", &[12, 20, 1, 1]).constant("w2", &[8, 20, 3, 3]);
    build.constant("w3", &[20, 1, 3, 3]).constant("w4", &[80, 7]).constant("b4", &[7]);
    build.with("Conv", &["x", "w0"], "a", pads()).node("Relu", &["a"], "b");
    build.node("Conv", &["b", "w1"], "c").with("Conv", &["b", "w2"], "d", pads()).node("Relu", &["d"], "e");
    build.with("Concat", &["c", "e"], "f", [("axis", Attribute::Int(1))]).node("Add", &["f", "b"], "g");
    build.with("Conv", &["g", "w3"], "h", pads().into_iter().chain([("group", Attribute::Int(20))]));
    build.with("MaxPool", &["h"], "i", [("kernel_shape", Attribute::Ints(vec![4; 2])), ("strides", Attribute::Ints(vec![4; 2]))]);
    build.node("Flatten", &["i"], "j").node("Gemm", &["j", "w4", "b4"], "k").node("Relu", &["k"], "l").output("l")
}

#[test]
fn what_lies_behind_a_cut_gives_the_bits_of_the_whole() {
    let model = branching();
    let feeds: Vec<Vec<(Wire, Value)>> = [5, 3].iter().map(|n| vec![("x".into(), normal(&[*n, 3, 8, 8]))]).collect();
    let ctx = Ctx::new(2).unwrap();
    let floats = |v: &[(Wire, Value)]| v.iter().flat_map(|(_, v)| v.to_f32().unwrap()).map(f32::to_bits).collect::<Vec<u32>>();
    let whole = |model: &Model, feeds: &Vec<(Wire, Value)>| {
        floats(&Executor::new(model, &Request::default()).unwrap().run(feeds, &ctx, &mut |_, _| {}).unwrap())
    };
    let mut most_skipped = Vec::new();
    for budget in [0, 40_000, 1 << 30] {
        let (kept, outputs) = Checkpoints::record(&model, &feeds, budget, &ctx).unwrap();
        assert!(kept.bytes() <= budget, "{} bytes are kept of {budget}", kept.bytes());
        let mut skipped = 0;
        for (i, feeds) in feeds.iter().enumerate() {
            assert_eq!(floats(&outputs[i]), whole(&model, feeds), "the recording itself");
            for layer in crate::engine::graph::layers(&model) {
                let mut changed = model.clone();
                let weight = model.constants[&layer.weight].to_f32().unwrap();
                let rounded: Vec<f32> = weight.iter().map(|w| (w * 4.0).round() / 4.0).collect();
                changed.constants.insert(layer.weight.clone(), Tensor::from_f32(layer.shape.clone(), &rounded).unwrap());
                let suffix = kept.behind(&changed, layer.node.unwrap(), &Request::default()).unwrap();
                let again = kept.run(&suffix, i, &ctx, &mut |_, _| {}).unwrap();
                assert_eq!(floats(&again), whole(&changed, feeds), "{} with {budget} bytes", layer.name);
                skipped = skipped.max(suffix.skipped);
            }
        }
        most_skipped.push(skipped);
    }
    assert_eq!(most_skipped[0], 0);
    assert!(most_skipped[1] > 0 && most_skipped[2] >= most_skipped[1], "{most_skipped:?}");
}

#[test]
fn what_counts_over_the_batch_is_not_cut() {
    let mut build = Build::new(&[2, 6, 6]);
    build.with("MaxPool", &["x"], "y", [("kernel_shape", Attribute::Ints(vec![2, 2])), ("strides", Attribute::Ints(vec![2, 2]))]);
    let mut pooled = build.output("y");
    pooled.nodes[0].outputs.push(Some("i".into()));
    pooled.outputs.push(Port { wire: "i".into(), fact: Fact::default() });
    let mut build = Build::new(&[2, 6, 6]);
    // Two samples become one: a part of three would have half a row.
    build.store("shape", Tensor::from_i64(vec![3], &[-1, 4, 36]).unwrap()).node("Reshape", &["x", "shape"], "y");
    let folded = build.output("y");
    let feeds = [("x", normal(&[24, 2, 6, 6]))];
    for model in [&pooled, &folded] {
        let whole = run(model, &Request::default(), &feeds, 1).unwrap();
        assert_eq!(whole, unfused(model, &feeds));
        for threads in [2, 3, 4] {
            assert_eq!(run(model, &Request::default(), &feeds, threads).unwrap(), whole, "{threads} threads");
        }
    }
    let indices = &run(&pooled, &Request::default(), &feeds, 2).unwrap()[1];
    assert!(indices.iter().copied().fold(0.0, f32::max) > 23.0 * 72.0, "indices count over the whole batch");
}

#[test]
fn an_attribute_of_another_type_is_refused_with_its_node() {
    let mut build = Build::new(&[4]);
    build.with("LeakyRelu", &["x"], "y", [("alpha", Attribute::Int(1))]);
    let error = run(&build.output("y"), &Request::default(), &[("x", normal(&[2, 4]))], 1).unwrap_err().to_string();
    assert!(error.contains("LeakyRelu") && error.contains("\"alpha\""), "{error}");
}
