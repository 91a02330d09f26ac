//! The trained network as an ONNX file: channels first, batch norm left as it is, so that folding
//! it is something the person can watch.

use super::SampleError;
use super::draw::{CLASSES, SIDE};
use super::network::{Conv, EPSILON, FEATURES, Network, Reach, Tail};
use super::ops::TAPS;
use crate::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Port, Wire};
use crate::engine::tensor::{DType, Tensor};
use candle_core::Var;
use std::collections::BTreeMap;

const OPSET: i64 = 13;

/// The network as a graph with input `image` `[N, 1, side, side]` and output `logits` `[N, classes]`.
///
/// # Errors
/// When candle or the graph refuses what training made: a fault of ours.
pub(super) fn model(network: &Network) -> Result<Model, SampleError> {
    let mut builder = Builder::default();
    let mut x: Wire = "image".into();
    let mut entered = Wire::clone(&x);
    for conv in &network.convs {
        if conv.spec.reach == Reach::Depthwise {
            entered = Wire::clone(&x);
        }
        x = builder.conv(conv, x, &entered)?;
    }
    x = builder.node("pool", "GlobalAveragePool", [x], []);
    x = builder.node("flatten", "Flatten", [x], [("axis", Attribute::Int(1))]);
    let weight = transposed(&network.head_weight, [1, FEATURES, CLASSES])?;
    let weight = builder.constant("head.weight", vec![CLASSES, FEATURES], &weight)?;
    let bias = builder.constant("head.bias", vec![CLASSES], &values(&network.head_bias)?)?;
    builder.node("head", "Gemm", [x, weight, bias], [("transB", Attribute::Int(1))]);
    builder.finish()
}

fn values(var: &Var) -> Result<Vec<f32>, SampleError> {
    Ok(var.flatten_all()?.to_vec1()?)
}

/// `[a, b, c]` → `[c, b, a]`.
fn transposed(var: &Var, [a, b, c]: [usize; 3]) -> Result<Vec<f32>, SampleError> {
    Ok(var.reshape((a, b, c))?.permute((2, 1, 0))?.contiguous()?.flatten_all()?.to_vec1()?)
}

/// Weights in ONNX's order `[outputs, inputs, 3, 3]`, and their shape.
fn kernel(conv: &Conv) -> Result<(Vec<usize>, Vec<f32>), SampleError> {
    let (inputs, outputs) = (conv.spec.inputs, conv.spec.outputs);
    let (shape, dims) = match conv.spec.reach {
        Reach::Full => (vec![outputs, inputs, 3, 3], [TAPS, inputs, outputs]),
        Reach::Depthwise => (vec![outputs, 1, 3, 3], [TAPS, 1, outputs]),
        Reach::Pointwise => (vec![outputs, inputs, 1, 1], [1, inputs, outputs]),
    };
    Ok((shape, transposed(&conv.weight, dims)?))
}

#[derive(Default)]
struct Builder {
    model: Model,
}

impl Builder {
    fn constant(&mut self, name: &str, shape: Vec<usize>, values: &[f32]) -> Result<Wire, SampleError> {
        let wire: Wire = name.into();
        self.model.constants.insert(Wire::clone(&wire), Tensor::from_f32(shape, values)?);
        Ok(wire)
    }

    /// Adds a node whose output has its name.
    fn node<const I: usize, const A: usize>(
        &mut self,
        name: &str,
        op: &str,
        inputs: [Wire; I],
        attributes: [(&str, Attribute); A],
    ) -> Wire {
        let output: Wire = if name == "head" { "logits".into() } else { format!("{name}.out").into() };
        self.model.nodes.push(Node {
            id: NodeId(self.model.nodes.len()),
            name: name.to_owned(),
            op: op.to_owned(),
            domain: String::new(),
            inputs: inputs.into_iter().map(Some).collect(),
            outputs: vec![Some(Wire::clone(&output))],
            attributes: attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        });
        output
    }

    /// Convolution, batch norm, and what follows.
    fn conv(&mut self, conv: &Conv, x: Wire, entered: &Wire) -> Result<Wire, SampleError> {
        let spec = conv.spec;
        let name = format!("{}.{}", spec.block, spec.part);
        let (shape, weight) = kernel(conv)?;
        let (side, group) = (shape[3] as i64, if spec.reach == Reach::Depthwise { spec.inputs as i64 } else { 1 });
        let weight = self.constant(&format!("{name}.weight"), shape, &weight)?;
        let attributes = [
            ("kernel_shape", Attribute::Ints(vec![side; 2])),
            ("strides", Attribute::Ints(vec![spec.stride as i64; 2])),
            ("pads", Attribute::Ints(vec![side / 2; 4])),
            ("dilations", Attribute::Ints(vec![1; 2])),
            ("group", Attribute::Int(group)),
        ];
        let mut y = self.node(&name, "Conv", [x, weight], attributes);
        let part = |part: &str| format!("{name}.bn.{part}");
        let scale = self.constant(&part("scale"), vec![spec.outputs], &values(&conv.scale)?)?;
        let shift = self.constant(&part("bias"), vec![spec.outputs], &values(&conv.shift)?)?;
        let mean = self.constant(&part("mean"), vec![spec.outputs], &conv.mean)?;
        let variance = self.constant(&part("variance"), vec![spec.outputs], &conv.variance)?;
        let epsilon = [("epsilon", Attribute::Float(EPSILON as f32))];
        y = self.node(&format!("{name}.bn"), "BatchNormalization", [y, scale, shift, mean, variance], epsilon);
        if spec.tail == Tail::AddRelu {
            y = self.node(&format!("{}.add", spec.block), "Add", [y, Wire::clone(entered)], []);
        }
        Ok(self.node(&format!("{name}.relu"), "Relu", [y], []))
    }

    fn finish(mut self) -> Result<Model, SampleError> {
        let port = |name: &str, rest: &[usize]| {
            let dims = std::iter::once(Dim::Named("N".into())).chain(rest.iter().map(|d| Dim::Known(*d))).collect();
            Port { wire: name.into(), fact: Fact { dtype: Some(DType::F32), shape: Some(dims) } }
        };
        "lapidary-sample".clone_into(&mut self.model.name);
        self.model.inputs = vec![port("image", &[1, SIDE, SIDE])];
        self.model.outputs = vec![port("logits", &[CLASSES])];
        self.model.opsets = BTreeMap::from([(String::new(), OPSET)]);
        self.model.validate()?;
        Ok(self.model)
    }
}
