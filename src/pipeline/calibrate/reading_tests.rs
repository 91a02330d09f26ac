use super::reading::Reading;
use crate::engine::Ctx;
use crate::engine::exec::{Executor, Order, Request, Walk, with_order};
use crate::engine::graph::{Attribute, Channels, Fact, Model, Node, NodeId, Port, Wire, layers};
use crate::engine::random::Random;
use crate::engine::tensor::{Tensor, Value};

/// One layer whose input is `x` and whose output is `y`.
pub(super) fn model(op: &str, weight: &[usize], attributes: &[(&str, &[i64])]) -> Model {
    let mut random = Random::new(1);
    let values: Vec<f32> = (0..weight.iter().product()).map(|_| random.normal()).collect();
    let attribute = |(name, values): &(&str, &[i64])| {
        let value =
            if *name == "group" || *name == "transB" { Attribute::Int(values[0]) } else { Attribute::Ints(values.to_vec()) };
        ((*name).to_owned(), value)
    };
    let port = |name: &str| Port { wire: name.into(), fact: Fact::default() };
    Model {
        inputs: vec![port("x")],
        outputs: vec![port("y")],
        nodes: vec![Node {
            id: NodeId(0),
            name: "layer".to_owned(),
            op: op.to_owned(),
            domain: String::new(),
            inputs: vec![Some("x".into()), Some("w".into())],
            outputs: vec![Some("y".into())],
            attributes: attributes.iter().map(attribute).collect(),
        }],
        constants: [(Wire::from("w"), Tensor::from_f32(weight.to_vec(), &values).unwrap())].into(),
        opsets: [(String::new(), 13)].into(),
        ..Model::default()
    }
}

/// What the layer gives, from its weights and what [`Reading`] says that they are multiplied with: [channel][place].
/// Images lie with their channels last.
fn by_columns(model: &Model, x: &[f32], shape: &[usize]) -> Vec<f32> {
    let layer = layers(model).remove(0);
    let reading = Reading::of(&layer, &model.nodes[0], shape).unwrap();
    let rows = Channels::new(&layer.shape, layer.out_axis).gather(&model.constants["w"].to_f32().unwrap());
    let (width, places, tall) = (reading.width(), reading.places(), layer.out_channels() / reading.groups());
    let mut out = vec![0.0; layer.out_channels() * places];
    let mut columns = vec![f32::NAN; width];
    for group in 0..reading.groups() {
        for place in 0..places {
            reading.place(x, group, place, &mut columns);
            for row in group * tall..(group + 1) * tall {
                out[row * places + place] = columns.iter().zip(&rows[row * width..]).map(|(v, w)| v * w).sum();
            }
        }
    }
    out
}

/// Operator, shape of the weights, attributes, shape of the data.
type Case = (&'static str, &'static [usize], &'static [(&'static str, &'static [i64])], &'static [usize]);

#[test]
fn columns_times_weights_are_what_the_layer_gives() {
    let ctx = Ctx::new(1).unwrap();
    let cases: [Case; 12] = [
        ("Conv", &[4, 3, 3, 3], &[("pads", &[1, 1, 1, 1])], &[2, 3, 5, 6]),
        ("Conv", &[4, 3, 3, 2], &[("strides", &[2, 3]), ("pads", &[1, 0, 2, 1])], &[2, 3, 7, 8]),
        ("Conv", &[4, 3, 3, 3], &[("dilations", &[2, 2]), ("pads", &[2, 2, 2, 2])], &[1, 3, 6, 6]),
        ("Conv", &[4, 2, 1, 3], &[("group", &[2]), ("pads", &[0, 3, 0, 3])], &[2, 4, 3, 4]),
        ("Conv", &[6, 1, 3, 3], &[("group", &[3]), ("strides", &[2, 2])], &[2, 3, 5, 5]),
        ("Conv", &[4, 3, 3], &[("pads", &[1, 1])], &[2, 3, 7]),
        ("Conv", &[2, 2, 2, 2, 2], &[], &[1, 2, 3, 4, 3]),
        ("ConvTranspose", &[3, 4, 3, 3], &[("strides", &[2, 2]), ("pads", &[1, 1, 0, 1])], &[2, 3, 4, 3]),
        ("ConvTranspose", &[3, 1, 3, 2], &[("group", &[3]), ("dilations", &[2, 1])], &[1, 3, 4, 5]),
        ("MatMul", &[5, 3], &[], &[2, 4, 5]),
        ("Gemm", &[5, 3], &[], &[6, 5]),
        ("Gemm", &[3, 5], &[("transB", &[1])], &[6, 5]),
    ];
    for (op, weight, attributes, shape) in cases {
        let model = model(op, weight, attributes);
        let mut random = Random::new(2);
        let x: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal()).collect();
        let feed = [(Wire::from("x"), Value::from_f32(x.clone(), shape).unwrap())];
        let out = Executor::new(&model, &Request::default()).unwrap().run(&feed, &ctx, &mut |_, _| {}).unwrap();
        let (value, dims) = (out[0].1.to_f32().unwrap(), out[0].1.shape().to_vec());
        let is_image = op.starts_with("Conv");
        let order = if is_image { Order::ChannelsLast } else { Order::Rows };
        let made = with_order(&feed[0].1, order, |x| by_columns(&model, x, shape)).unwrap();
        let channels = if is_image { dims[1] } else { dims[dims.len() - 1] };
        let (places, plane) = (value.len() / channels, dims.iter().skip(2).product::<usize>());
        for (i, v) in made.iter().enumerate() {
            let (channel, place) = (i / places, i % places);
            let at =
                if is_image { (place / plane * channels + channel) * plane + place % plane } else { place * channels + channel };
            assert!((v - value[at]).abs() < 1e-3, "{op} {weight:?} {attributes:?}: {i}: {v} {}", value[at]);
        }
    }
}

#[test]
fn data_of_another_width_are_refused() {
    let matrix = model("MatMul", &[5, 3], &[]);
    let convolution = model("Conv", &[4, 3, 3, 3], &[]);
    for (model, shape) in
        [(&matrix, &[2, 4][..]), (&convolution, &[1, 2, 8, 8]), (&convolution, &[3, 8]), (&convolution, &[1, 3, 2, 2])]
    {
        assert!(Reading::of(&layers(model)[0], &model.nodes[0], shape).is_err(), "{shape:?}");
    }
}

#[test]
fn a_walk_gives_what_the_whole_gives_with_weights_changed_on_the_way() {
    let ctx = Ctx::new(1).unwrap();
    let mut chain = model("MatMul", &[4, 4], &[]);
    let node = |id: usize, op: &str, inputs: &[&str], output: &str| Node {
        id: NodeId(id),
        name: output.to_owned(),
        op: op.to_owned(),
        inputs: inputs.iter().map(|w| Some(Wire::from(*w))).collect(),
        outputs: vec![Some(Wire::from(output))],
        ..chain.nodes[0].clone()
    };
    let weight = |seed: u64| {
        let mut random = Random::new(seed);
        Tensor::from_f32(vec![4, 4], &(0..16).map(|_| random.normal()).collect::<Vec<_>>()).unwrap()
    };
    chain.nodes = vec![
        node(0, "MatMul", &["x", "w"], "a"),
        node(1, "Relu", &["a"], "b"),
        node(2, "MatMul", &["b", "v"], "c"),
        node(3, "Add", &["c", "a"], "y"),
    ];
    chain.constants.insert("v".into(), weight(5));
    let mut changed = chain.clone();
    changed.constants.insert("w".into(), weight(6));
    let feeds = vec![(Wire::from("x"), Value::from_f32((0..8).map(|i| i as f32 - 3.0).collect(), &[2, 4]).unwrap())];
    let whole = Executor::new(&changed, &Request::default()).unwrap().run(&feeds, &ctx, &mut |_, _| {}).unwrap();
    let mut walk = Walk::new(vec![feeds.clone(), feeds]);
    walk.advance(&chain, 0, &ctx).unwrap();
    walk.advance(&changed, 2, &ctx).unwrap();
    assert_eq!(walk.on(&"b".into()).count(), 2, "what the next node reads is there");
    assert_eq!(walk.on(&"x".into()).count(), 0, "what nobody reads any more is gone");
    walk.advance(&changed, 3, &ctx).unwrap();
    let (a, c) = (Wire::from("a"), Wire::from("c"));
    let sum: Vec<f32> = walk
        .on(&a)
        .next()
        .unwrap()
        .to_f32()
        .unwrap()
        .iter()
        .zip(walk.on(&c).next().unwrap().to_f32().unwrap())
        .map(|(a, c)| a + c)
        .collect();
    assert_eq!(sum, whole[0].1.to_f32().unwrap());
    walk.keep(1);
    assert_eq!((walk.batches(), walk.size_bytes()), (1, 2 * 8 * 4));
}
