use super::*;
use crate::engine::exec::tests::Build;
use crate::engine::exec::{Executor, Request};
use crate::engine::graph::Attribute;
use crate::engine::random::Random;
use crate::engine::tensor::Tensor as Stored;

fn ints(name: &'static str, values: &[i64]) -> (&'static str, Attribute) {
    (name, Attribute::Ints(values.to_vec()))
}

/// Convolutions of every kind, normalization, pooling with overlap and padding, gates, and a matrix at the end.
fn network() -> Model {
    let mut build = Build::new(&[3, 9, 9]);
    for name in ["scale", "shift", "mean", "variance"] {
        build.constant(name, &[4]);
    }
    for (name, shape) in [("a", &[4, 3, 3, 3][..]), ("b", &[4, 1, 3, 3]), ("c", &[6, 2, 1, 1]), ("d", &[4, 6])] {
        // Of both signs, so that rectifiers cut some off.
        let mut random = Random::new(shape[0] as u64 + shape[1] as u64);
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| 0.4 * random.normal()).collect();
        build.store(&format!("{name}.weight"), Stored::from_f32(shape.to_vec(), &values).unwrap());
    }
    build.constant("d.bias", &[4]).store("low", Stored::scalar_f32(0.0)).store("high", Stored::scalar_f32(6.0));
    build.with("Conv", &["x", "a.weight"], "a", [ints("pads", &[0, 0, 1, 1]), ints("strides", &[2, 2])]);
    build.node("BatchNormalization", &["a", "scale", "shift", "mean", "variance"], "n").node("Relu", &["n"], "r");
    build.with("MaxPool", &["r"], "p", [ints("kernel_shape", &[3, 3]), ints("strides", &[1, 1]), ints("pads", &[1; 4])]);
    build.with("Conv", &["p", "b.weight"], "b", [ints("pads", &[1; 4]), ("group", Attribute::Int(4))]);
    build.node("Clip", &["b", "low", "high"], "k").node("Add", &["k", "p"], "s");
    build.with("Conv", &["s", "c.weight"], "c", [("group", Attribute::Int(2))]).node("HardSwish", &["c"], "h");
    build.with(
        "AveragePool",
        &["h"],
        "g",
        [ints("kernel_shape", &[2, 2]), ints("strides", &[2, 2]), ints("pads", &[0, 0, 1, 1])],
    );
    build.node("GlobalAveragePool", &["g"], "m").node("Flatten", &["m"], "f");
    build.with("Gemm", &["f", "d.weight", "d.bias"], "y", [("transB", Attribute::Int(1))]).output("y")
}

fn sample() -> Value {
    let mut random = Random::new(4);
    Value::from_f32((0..243).map(|_| random.normal()).collect(), &[1, 3, 9, 9]).unwrap()
}

/// Cross-entropy by the executor itself.
fn cross_entropy(model: &Model, class: usize, ctx: &Ctx) -> f64 {
    let executor = Executor::new(model, &Request::default()).unwrap();
    let out = executor.run(&[("x".into(), sample())], ctx, &mut |_, _| {}).unwrap();
    let scores: Vec<f64> = out[0].1.to_f32().unwrap().into_iter().map(f64::from).collect();
    scores.iter().map(|s| s.exp()).sum::<f64>().ln() - scores[class]
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let (model, ctx) = (network(), Ctx::new(1).unwrap());
    let weights: BTreeSet<Wire> = ["a", "b", "c", "d"].map(|n| Wire::from(format!("{n}.weight"))).into();
    let found = gradients(&model, &sample(), Target::Class(2), &weights, &ctx).unwrap();
    assert_eq!(found.len(), 4);
    let mut compared = 0;
    for (wire, gradient) in &found {
        let tensor = &model.constants[wire];
        assert!(gradient.iter().any(|g| g.abs() > 1e-4), "{wire} hangs on nothing");
        for place in (0..tensor.len()).step_by(5) {
            let moved = |step: f32| {
                let mut values = tensor.to_f32().unwrap();
                values[place] += step;
                let mut changed = model.clone();
                changed.constants.insert(wire.clone(), Stored::from_f32(tensor.shape().to_vec(), &values).unwrap());
                cross_entropy(&changed, 2, &ctx)
            };
            let slope = (moved(2e-3) - moved(-2e-3)) / 4e-3;
            assert!((slope - f64::from(gradient[place])).abs() < 4e-3, "{wire} {place}: {slope} and {}", gradient[place]);
            compared += 1;
        }
    }
    assert!(compared > 30);
}

#[test]
fn the_likeliest_class_stands_in_for_labels_and_softmax_is_not_taken_twice() {
    let ctx = Ctx::new(1).unwrap();
    let mut model = network();
    let weights: BTreeSet<Wire> = [Wire::from("d.weight")].into();
    let own = gradients(&model, &sample(), Target::Own, &weights, &ctx).unwrap();
    let classes = (0..4).map(|class| gradients(&model, &sample(), Target::Class(class), &weights, &ctx).unwrap());
    let least = |g: &BTreeMap<Wire, Vec<f32>>| g["d.weight"].iter().map(|v| v * v).sum::<f32>();
    let expected = classes.min_by(|a, b| least(a).total_cmp(&least(b))).unwrap();
    assert_eq!(own, expected, "the likeliest class pulls least");
    let plain = gradients(&model, &sample(), Target::Class(1), &weights, &ctx).unwrap();
    let mut soft = model.nodes[0].clone();
    (soft.id, soft.op, soft.inputs, soft.outputs) =
        (model.next_id(), "Softmax".into(), vec![Some("y".into())], vec![Some("z".into())]);
    soft.attributes.clear();
    model.nodes.push(soft);
    model.outputs[0].wire = "z".into();
    let softened = gradients(&model, &sample(), Target::Class(1), &weights, &ctx).unwrap();
    let pairs = plain["d.weight"].iter().zip(&softened["d.weight"]);
    assert!(pairs.clone().all(|(a, b)| (a - b).abs() < 1e-4), "{plain:?} {softened:?}");
}

#[test]
fn what_has_no_gradient_is_refused_by_name() {
    let (mut model, ctx) = (network(), Ctx::new(1).unwrap());
    let relu = model.nodes.iter_mut().find(|n| n.op == "Relu").unwrap();
    relu.op = "Gelu".into();
    let weights = [Wire::from("a.weight")].into();
    let error = gradients(&model, &sample(), Target::Own, &weights, &ctx).unwrap_err();
    assert!(error.is_unsupported() && error.to_string().contains("do not pass through Gelu"), "{error}");
    ctx.cancel();
    assert!(matches!(gradients(&network(), &sample(), Target::Own, &weights, &ctx), Err(ExecError::Cancelled(_))));
}
