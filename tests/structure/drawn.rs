//! Small networks with drawn weights.

use lapidary::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Port, Wire};
use lapidary::engine::random::Random;
use lapidary::engine::tensor::{DType, Tensor};

/// A network under construction: data `x`, one node after the other.
pub struct Net {
    model: Model,
    random: Random,
}

impl Net {
    /// For samples of this shape.
    pub fn new(sample: &[usize]) -> Self {
        let shape = std::iter::once(Dim::Named("N".into())).chain(sample.iter().map(|d| Dim::Known(*d))).collect();
        let port = Port { wire: "x".into(), fact: Fact { dtype: Some(DType::F32), shape: Some(shape) } };
        let opsets = [(String::new(), 17)].into();
        Self { model: Model { inputs: vec![port], opsets, ..Model::default() }, random: Random::new(3) }
    }

    pub fn model(&self) -> Model {
        let mut model = self.model.clone();
        model.validate().unwrap();
        model
    }

    pub fn floats(&mut self, name: &str, shape: &[usize]) -> &mut Self {
        let count = shape.iter().product::<usize>();
        let fan: usize = shape.iter().skip(1).product();
        let scale = 1.0 / (fan.max(1) as f32).sqrt();
        // Positive, so that they serve as variances too.
        let draw = |random: &mut Random| if shape.len() == 1 { random.range(0.3, 1.2) } else { scale * random.normal() };
        let values: Vec<f32> = (0..count).map(|_| draw(&mut self.random)).collect();
        self.model.constants.insert(name.into(), Tensor::from_f32(shape.to_vec(), &values).unwrap());
        self
    }

    /// Sets a row of a constant to zero.
    pub fn zero(&mut self, name: &str, row: usize) -> &mut Self {
        let tensor = &self.model.constants[name];
        let (shape, mut values) = (tensor.shape().to_vec(), tensor.to_f32().unwrap());
        let len = values.len() / shape[0];
        values[row * len..(row + 1) * len].fill(0.0);
        self.model.constants.insert(name.into(), Tensor::from_f32(shape, &values).unwrap());
        self
    }

    pub fn ints(&mut self, name: &str, values: &[i64]) -> &mut Self {
        self.model.constants.insert(name.into(), Tensor::from_i64(vec![values.len()], values).unwrap());
        self
    }

    fn add(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: Vec<(&str, Attribute)>) -> &mut Self {
        self.model.nodes.push(Node {
            id: NodeId(self.model.nodes.len()),
            name: format!("node_{}", outputs[0]),
            op: op.to_owned(),
            domain: String::new(),
            inputs: inputs.iter().map(|w| Some(Wire::from(*w))).collect(),
            outputs: outputs.iter().map(|w| Some(Wire::from(*w))).collect(),
            attributes: attributes.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        });
        self
    }

    /// A node; after a colon stands its axis, block size or order of axes.
    pub fn op(&mut self, op: &str, inputs: &[&str], output: &str) -> &mut Self {
        let (op, number) = op.split_once(':').unwrap_or((op, ""));
        let digits: Vec<i64> = number.chars().filter_map(|c| c.to_digit(10)).map(i64::from).collect();
        let attributes = match (op, digits.as_slice()) {
            ("Transpose", order) => vec![("perm", Attribute::Ints(order.to_vec()))],
            ("DepthToSpace", [size]) => vec![("blocksize", Attribute::Int(*size))],
            ("LRN", _) => vec![("size", Attribute::Int(3))],
            ("Conv3", _) => vec![("pads", Attribute::Ints(vec![1; 4]))],
            (_, [axis]) => vec![("axis", Attribute::Int(*axis))],
            _ => Vec::new(),
        };
        match op {
            "Conv3" => self.add("Conv", inputs, &[output], attributes),
            "Relu6" => {
                self.model.constants.insert("low".into(), Tensor::scalar_f32(0.0));
                self.model.constants.insert("high".into(), Tensor::scalar_f32(6.0));
                self.add("Clip", &[inputs[0], "low", "high"], &[output], attributes)
            }
            _ => self.add(op, inputs, &[output], attributes),
        }
    }

    pub fn split(&mut self, input: &str, sizes: &str, outputs: &[&str]) -> &mut Self {
        self.add("Split", &[input, sizes], outputs, vec![("axis", Attribute::Int(1))])
    }

    fn convolution(&mut self, op: &str, name: &str, input: &str, [a, b, size]: [usize; 3], (groups, stride): (usize, i64)) {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        self.floats(&weight, &[a, b, size, size]);
        self.floats(&bias, &[if op == "Conv" { a } else { b * groups }]);
        let pad = if op == "Conv" { (size / 2) as i64 } else { 0 };
        let attributes = vec![
            ("group", Attribute::Int(groups as i64)),
            ("pads", Attribute::Ints(vec![pad; 4])),
            ("strides", Attribute::Ints(vec![stride; 2])),
        ];
        self.add(op, &[input, &weight, &bias], &[name], attributes);
    }

    /// Weights [outputs, inputs of a group, size, size].
    pub fn conv(&mut self, name: &str, input: &str, shape: [usize; 3], groups: usize) -> &mut Self {
        self.convolution("Conv", name, input, shape, (groups, 1));
        self
    }

    pub fn strided(&mut self, name: &str, input: &str, shape: [usize; 3], stride: i64) -> &mut Self {
        self.convolution("Conv", name, input, shape, (1, stride));
        self
    }

    /// Weights [inputs, outputs of a group, size, size].
    pub fn transposed(&mut self, name: &str, input: &str, shape: [usize; 3], groups: usize) -> &mut Self {
        self.convolution("ConvTranspose", name, input, shape, (groups, 1));
        self
    }

    pub fn norm(&mut self, name: &str, input: &str, channels: usize) -> &mut Self {
        let parameters: Vec<String> = ["scale", "shift", "mean", "var"].map(|p| format!("{name}.{p}")).to_vec();
        for parameter in &parameters {
            self.floats(parameter, &[channels]);
        }
        let inputs: Vec<&str> = std::iter::once(input).chain(parameters.iter().map(String::as_str)).collect();
        self.add("BatchNormalization", &inputs, &[name], Vec::new())
    }

    /// Weights [outputs, inputs].
    pub fn gemm(&mut self, name: &str, input: &str, shape: [usize; 2]) -> &mut Self {
        let (weight, bias) = (format!("{name}.weight"), format!("{name}.bias"));
        self.floats(&weight, &shape).floats(&bias, &shape[..1]);
        self.add("Gemm", &[input, &weight, &bias], &[name], vec![("transB", Attribute::Int(1))])
    }

    /// Weights [inputs, outputs].
    pub fn matmul(&mut self, name: &str, input: &str, shape: [usize; 2]) -> &mut Self {
        let weight = format!("{name}.weight");
        self.floats(&weight, &shape);
        self.add("MatMul", &[input, &weight], &[name], Vec::new())
    }

    pub fn output(&mut self, wire: &str) -> &mut Self {
        self.model.outputs.push(Port { wire: wire.into(), fact: Fact { dtype: Some(DType::F32), shape: None } });
        self
    }

    /// Pooled over all places, through a matrix of five rows, to the output `y`.
    pub fn output_of(&mut self, wire: &str, channels: usize) -> &mut Self {
        self.op("GlobalAveragePool", &[wire], "pooled").op("Flatten", &["pooled"], "flat_end");
        self.gemm("end", "flat_end", [5, channels]).op("Identity", &["end"], "y").output("y")
    }
}
