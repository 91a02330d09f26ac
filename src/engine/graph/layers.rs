//! Layers: the nodes whose weights can be compressed.

use super::{Model, Node, NodeId, Wire};
use std::collections::{BTreeMap, BTreeSet};

/// What kind of product a layer computes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum LayerKind {
    Conv,
    /// A convolution with as many groups as input channels.
    Depthwise,
    ConvTranspose,
    Gemm,
    MatMul,
    /// A matrix of a file without a graph: applied in a way that the file does not tell.
    Linear,
    /// A table of a file without a graph, one row for each token or place.
    Embedding,
}

impl LayerKind {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Conv => "Conv",
            Self::Depthwise => "Depthwise conv",
            Self::ConvTranspose => "Transposed conv",
            Self::Gemm => "Gemm",
            Self::MatMul => "MatMul",
            Self::Linear => "Linear",
            Self::Embedding => "Embedding",
        }
    }
}

/// A node with a constant weight, or a weight of a file that has no nodes.
#[derive(Debug, Clone)]
pub struct Layer {
    /// Unique: the weight's name without `.weight`, else the node's, else its output's.
    pub name: String,
    /// `None` where the file holds weights without a graph.
    pub node: Option<NodeId>,
    pub kind: LayerKind,
    /// The wire that the layer reads its data from; without a graph the weight itself, as is `output`.
    pub input: Wire,
    pub output: Wire,
    pub weight: Wire,
    pub bias: Option<Wire>,
    pub shape: Vec<usize>,
    /// Axis of the output channels in `shape`.
    pub out_axis: usize,
    /// Multiply–accumulates for one sample, where the shapes are known.
    pub macs: Option<u64>,
}

#[cfg(test)]
impl Layer {
    /// A layer that lies in no model, its output channels first.
    pub(crate) fn lone(kind: LayerKind, shape: &[usize]) -> Self {
        let wire = |name: &str| Wire::from(name);
        Self {
            name: "layer".to_owned(),
            node: None,
            kind,
            input: wire("x"),
            output: wire("y"),
            weight: wire("w"),
            bias: None,
            shape: shape.to_vec(),
            out_axis: 0,
            macs: None,
        }
    }
}

impl Layer {
    /// Number of weights.
    #[must_use]
    pub fn parameters(&self) -> usize {
        self.shape.iter().product()
    }

    #[must_use]
    pub fn out_channels(&self) -> usize {
        self.shape.get(self.out_axis).copied().unwrap_or(1)
    }
}

/// The layers of a model in running order. Each weight is listed once: a weight that several nodes
/// share is the layer of the first of them.
#[must_use]
pub fn layers(model: &Model) -> Vec<Layer> {
    let mut seen: BTreeSet<&Wire> = BTreeSet::new();
    let mut names: BTreeMap<String, usize> = BTreeMap::new();
    let mut found = Vec::new();
    for node in &model.nodes {
        let Some(mut layer) = layer_of(model, node) else { continue };
        let Some(weight) = node.input(1) else { continue };
        if !seen.insert(weight) {
            continue;
        }
        let times = names.entry(layer.name.clone()).or_insert(0);
        *times += 1;
        if *times > 1 {
            layer.name = format!("{} #{times}", layer.name);
        }
        found.push(layer);
    }
    found
}

fn layer_of(model: &Model, node: &Node) -> Option<Layer> {
    if !node.domain.is_empty() {
        return None;
    }
    let weight = node.input(1)?.clone();
    let tensor = model.constants.get(&weight)?;
    if !tensor.dtype().is_float() {
        return None;
    }
    let shape = tensor.shape().to_vec();
    let groups = node.int("group").unwrap_or(1).max(1) as usize;
    let (kind, out_axis) = match (node.op.as_str(), shape.len()) {
        ("Conv", 3..=5) if groups > 1 && shape[1] == 1 => (LayerKind::Depthwise, 0),
        ("Conv", 3..=5) => (LayerKind::Conv, 0),
        // Depthwise: [channels, 1, …], each channel its own output.
        ("ConvTranspose", 3..=5) => (LayerKind::ConvTranspose, usize::from(groups == 1 || shape[1] != 1)),
        ("Gemm", 2) => (LayerKind::Gemm, usize::from(node.int("transB").unwrap_or(0) == 0)),
        ("MatMul", 2) => (LayerKind::MatMul, 1),
        _ => return None,
    };
    let (input, output) = (node.input(0)?.clone(), node.output(0)?.clone());
    let macs = macs(model, kind, &shape, out_axis, &output, &input);
    Some(Layer {
        name: layer_name(node, &weight),
        node: Some(node.id),
        kind,
        input,
        output,
        bias: node.input(2).cloned(),
        weight,
        shape,
        out_axis,
        macs,
    })
}

fn layer_name(node: &Node, weight: &Wire) -> String {
    for suffix in [".weight", "/weight", "_weight", ".w", ".W"] {
        if let Some(stem) = weight.strip_suffix(suffix).filter(|s| !s.is_empty()) {
            return stem.to_owned();
        }
    }
    // A bare number or an exporter's running name says less than the node does.
    let telling = |s: &str| s.chars().any(char::is_alphabetic);
    if telling(weight) && !weight.contains("::") || node.name.is_empty() && telling(weight) {
        weight.to_string()
    } else if node.name.is_empty() {
        node.label()
    } else {
        node.name.clone()
    }
}

fn macs(model: &Model, kind: LayerKind, shape: &[usize], out_axis: usize, output: &Wire, input: &Wire) -> Option<u64> {
    let product = |dims: &[u64]| dims.iter().try_fold(1_u64, |n, &d| n.checked_mul(d));
    let parameters = product(&shape.iter().map(|&d| d as u64).collect::<Vec<_>>())?;
    let dims = |wire: &Wire| -> Option<Vec<u64>> {
        // The batch counts as one; any other free dimension leaves the number unknown.
        let shape = model.facts.get(wire)?.shape.clone()?;
        shape.iter().enumerate().map(|(i, d)| if i == 0 { Some(1) } else { d.known().map(|n| n as u64) }).collect()
    };
    match kind {
        LayerKind::Conv | LayerKind::Depthwise => parameters.checked_mul(product(dims(output)?.get(2..)?)?),
        LayerKind::ConvTranspose => parameters.checked_mul(product(dims(input)?.get(2..)?)?),
        LayerKind::Gemm => Some(parameters),
        LayerKind::Linear | LayerKind::Embedding => None,
        LayerKind::MatMul => (product(&dims(output)?)? / shape[out_axis].max(1) as u64).checked_mul(parameters),
    }
}
