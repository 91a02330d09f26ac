//! Cross-layer equalization (Nagel et al. 2019, arXiv 1906.04721, §4.1): where nothing but activations that scaling
//! passes through lies between two layers, a channel can be divided by any positive number in the first and
//! multiplied by it in the second. Chosen so that the largest weights of both sides come to be alike, one scale for a
//! whole tensor loses less. The network computes what it did. A Clip between the two becomes one with a bound of its
//! own for every channel.

use crate::engine::graph::{GraphError, Layer, LayerKind, Model, Node, NodeId, Patch, Wire, consumers, layers};
use crate::engine::tensor::{DType, Tensor, TensorError};
use std::collections::BTreeMap;

/// How often all pairs are gone through; each pass brings chains nearer to where nothing changes any more.
const SWEEPS: usize = 20;

/// Two layers, by number, and the clips between them.
pub(super) struct Pair {
    pub first: usize,
    pub second: usize,
    pub clips: Vec<NodeId>,
}

/// A layer's weights while they are scaled.
pub(super) struct Weights {
    pub values: Vec<f32>,
    shape: Vec<usize>,
    kind: LayerKind,
}

/// Equalizes all pairs of layers of which nobody else sees what lies between them.
///
/// # Errors
/// When the patched graph is not valid.
pub fn equalize(model: &Model) -> Result<Model, GraphError> {
    let layers = layers(model);
    let readers = consumers(model);
    let pairs = pairs(model, &layers, &readers);
    if pairs.is_empty() {
        return Ok(model.clone());
    }
    let fail = |reason: String| GraphError::Patch { label: LABEL.to_owned(), reason };
    let read = |layer: &Layer| Weights::of(model, layer).map_err(|e| fail(e.to_string()));
    let mut weights = layers.iter().map(read).collect::<Result<Vec<_>, _>>()?;
    let mut scales: Vec<Vec<f32>> = pairs.iter().map(|p| vec![1.0; layers[p.first].out_channels()]).collect();
    for _ in 0..SWEEPS {
        for (pair, all) in pairs.iter().zip(&mut scales) {
            for (channel, all) in all.iter_mut().enumerate() {
                let before = weights[pair.first].largest(Side::Output, channel);
                let after = weights[pair.second].largest(Side::Input, channel);
                let scale = (before / after).sqrt();
                // Channels that are dead on one side stay as they are, as do those whose numbers would not hold.
                if scale.is_normal() && (*all * scale).is_normal() && (1e-6..1e6).contains(&(*all * scale)) {
                    weights[pair.first].scale(Side::Output, channel, 1.0 / scale);
                    weights[pair.second].scale(Side::Input, channel, scale);
                    *all *= scale;
                }
            }
        }
    }
    let mut patch = Patch::new(LABEL, model);
    for (i, (layer, weights)) in layers.iter().zip(&weights).enumerate() {
        if pairs.iter().any(|p| p.first == i || p.second == i) {
            let tensor = Tensor::from_f32(weights.shape.clone(), &weights.values).map_err(|e| fail(e.to_string()))?;
            patch.set_constant(layer.weight.clone(), tensor);
        }
    }
    for (pair, scales) in pairs.iter().zip(&scales) {
        let layer = &layers[pair.first];
        if let Some(bias) = layer.bias.as_ref().and_then(|wire| Some((wire, model.constants.get(wire)?))) {
            let values = bias.1.to_f32().map_err(|e| fail(e.to_string()))?;
            let scaled: Vec<f32> = values.iter().zip(scales).map(|(b, s)| b / s).collect();
            let tensor = Tensor::from_f32(bias.1.shape().to_vec(), &scaled).map_err(|e| fail(e.to_string()))?;
            patch.set_constant(bias.0.clone(), tensor);
        }
        for clip in pair.clips.iter().filter_map(|id| model.node(*id)) {
            split_clip(&mut patch, model, clip, scales).map_err(&fail)?;
        }
    }
    let mut out = patch.apply(model)?;
    for (pair, scales) in pairs.iter().zip(&scales) {
        out.divide_normals(&layers[pair.first].output, scales);
    }
    Ok(out)
}

const LABEL: &str = "equalize layers";

/// A clip from zero to a bound becomes a ReLU and a bound for every channel.
fn split_clip(patch: &mut Patch, model: &Model, clip: &Node, scales: &[f32]) -> Result<(), String> {
    let (Some(input), Some(output), Some(bound)) = (clip.input(0), clip.output(0), upper(model, clip)) else {
        return Err(format!("the clip \"{}\" has no bound", clip.label()));
    };
    let bounds: Vec<f32> = scales.iter().map(|s| bound / s).collect();
    let [positive, wire] = ["positive", "bounds"].map(|what| Wire::from(format!("{output}_{what}")));
    patch.remove_node(clip.id);
    patch.add_node(format!("{output}_relu"), "Relu", vec![Some(input.clone())], vec![positive.clone()], []);
    patch.add_node(format!("{output}_min"), "Min", vec![Some(positive), Some(wire.clone())], vec![output.clone()], []);
    patch.set_constant(wire, Tensor::from_f32(vec![1, bounds.len(), 1, 1], &bounds).map_err(|e| e.to_string())?);
    Ok(())
}

fn bound(model: &Model, clip: &Node, input: usize, name: &str) -> Option<f32> {
    match clip.input(input) {
        Some(wire) => model.constants.get(wire)?.to_f32().ok()?.first().copied(),
        None => clip.float(name),
    }
}

/// The upper bound of a clip that begins at zero.
fn upper(model: &Model, clip: &Node) -> Option<f32> {
    let low = bound(model, clip, 1, "min")?;
    bound(model, clip, 2, "max").filter(|high| low == 0.0 && *high > 0.0 && high.is_finite())
}

pub(super) fn pairs(model: &Model, layers: &[Layer], readers: &BTreeMap<Wire, Vec<usize>>) -> Vec<Pair> {
    let alone = |wire: &Wire| readers.get(wire).map_or(0, Vec::len) == 1;
    let is_own = |layer: &Layer| {
        let bias =
            layer.bias.as_ref().is_none_or(|b| alone(b) && model.constants.get(b).is_some_and(|t| t.dtype() == DType::F32));
        let floats = model.constants.get(&layer.weight).is_some_and(|t| t.dtype() == DType::F32);
        matches!(layer.kind, LayerKind::Conv | LayerKind::Depthwise)
            && layer.shape.len() == 4
            && alone(&layer.weight)
            && bias
            && floats
    };
    let mut found = Vec::new();
    for (first, layer) in layers.iter().enumerate().filter(|(_, l)| is_own(l)) {
        let (mut wire, mut clips) = (&layer.output, Vec::new());
        while let Some(node) = readers.get(wire).filter(|r| r.len() == 1).and_then(|r| model.nodes.get(r[0])) {
            if model.outputs.iter().any(|p| p.wire == *wire) || node.input(0) != Some(wire) {
                break;
            }
            let second = layers.iter().position(|l| l.node == Some(node.id) && is_own(l) && reads_each(l, layer.out_channels()));
            if let Some(second) = second {
                found.push(Pair { first, second, clips });
                break;
            }
            match node.op.as_str() {
                "Relu" | "LeakyRelu" | "AveragePool" | "GlobalAveragePool" | "MaxPool" | "Identity" => {}
                // Before set 8 `Min` knows no bounds by channel.
                "Clip" if model.opset() >= 8 && upper(model, node).is_some() => clips.push(node.id),
                _ => break,
            }
            let Some(next) = node.output(0) else { break };
            wire = next;
        }
    }
    found
}

/// Whether a layer reads so many channels, each by weights of its own.
fn reads_each(layer: &Layer, channels: usize) -> bool {
    match layer.kind {
        LayerKind::Depthwise => layer.out_channels() == channels,
        // Of a grouped convolution a weight's place does not tell its channel.
        _ => layer.shape.get(1) == Some(&channels),
    }
}

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Side {
    Input,
    Output,
}

impl Weights {
    pub fn of(model: &Model, layer: &Layer) -> Result<Self, TensorError> {
        let values = model.constants.get(&layer.weight).map_or(Ok(Vec::new()), Tensor::to_f32)?;
        Ok(Self { values, shape: layer.shape.clone(), kind: layer.kind })
    }

    /// Places of the weights of one channel: of a depthwise convolution both sides are the same.
    pub fn places(&self, side: Side, channel: usize) -> impl Iterator<Item = usize> + use<> {
        let taps: usize = self.shape.iter().skip(2).product();
        let (rows, columns) = (self.shape[0], self.shape[1]);
        let by_row = side == Side::Output || self.kind == LayerKind::Depthwise;
        let (first, count, step) = if by_row { (channel * columns * taps, 1, 0) } else { (channel * taps, rows, columns * taps) };
        let run = if by_row { columns * taps } else { taps };
        (0..count).flat_map(move |i| (first + i * step)..(first + i * step + run))
    }

    fn largest(&self, side: Side, channel: usize) -> f32 {
        self.places(side, channel).filter_map(|i| self.values.get(i)).fold(0.0, |m: f32, w| m.max(w.abs()))
    }

    fn scale(&mut self, side: Side, channel: usize, factor: f32) {
        for place in self.places(side, channel) {
            if let Some(w) = self.values.get_mut(place) {
                *w *= factor;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::engine::graph::{Attribute, Fact, Port};

    fn node(id: usize, op: &str, inputs: &[&str], output: &str) -> Node {
        Node {
            id: NodeId(id),
            name: output.to_owned(),
            op: op.to_owned(),
            domain: String::new(),
            inputs: inputs.iter().map(|w| Some(Wire::from(*w))).collect(),
            outputs: vec![Some(Wire::from(output))],
            attributes: BTreeMap::new(),
        }
    }

    /// 2 → 3 channels, a clip to 6, 3 → 2 channels.
    pub fn chain(between: &str) -> Model {
        let tensor = |shape: &[usize], values: &[f32]| Tensor::from_f32(shape.to_vec(), values).unwrap();
        let mut clip = node(1, between, &["a"], "b");
        clip.attributes = [("min", 0.0), ("max", 6.0)].map(|(n, v)| (n.to_owned(), Attribute::Float(v))).into();
        let port = |wire: &str| Port { wire: wire.into(), fact: Fact::default() };
        Model {
            inputs: vec![port("x")],
            outputs: vec![port("y")],
            nodes: vec![node(0, "Conv", &["x", "w", "c"], "a"), clip, node(2, "Conv", &["b", "v"], "y")],
            constants: [
                (Wire::from("w"), tensor(&[3, 2, 1, 1], &[0.1, -0.2, 4.0, 1.0, 0.5, 0.05])),
                (Wire::from("c"), tensor(&[3], &[1.0, 2.0, 3.0])),
                (Wire::from("v"), tensor(&[2, 3, 1, 1], &[3.0, 0.01, 0.2, -1.0, 0.04, -0.5])),
            ]
            .into(),
            opsets: [(String::new(), 9)].into(),
            ..Model::default()
        }
    }

    #[test]
    fn scales_are_those_of_the_reference() {
        let model = equalize(&chain("Clip")).unwrap();
        let ops: Vec<&str> = model.nodes.iter().map(|n| n.op.as_str()).collect();
        assert_eq!(ops, ["Conv", "Relu", "Min", "Conv"]);
        // √(largest before / largest after): 0.2/3, 4/0.04, 0.5/0.5.
        let scales = [0.258_198_9, 10.0, 1.0];
        let values = |name: &str| model.constants[name].to_f32().unwrap();
        for (channel, scale) in scales.into_iter().enumerate() {
            let (bias, bound) = (values("c")[channel], values("b_bounds")[channel]);
            assert!((bias - (channel as f32 + 1.0) / scale).abs() < 1e-4, "{bias}");
            assert!((bound - 6.0 / scale).abs() < 1e-4, "{bound}");
        }
        assert!((values("w")[2] - 0.4).abs() < 1e-6 && (values("v")[4] - 0.4).abs() < 1e-6);
    }

    #[test]
    fn clips_of_old_operator_sets_stay() {
        let mut old = chain("Clip");
        old.opsets = [(String::new(), 6)].into();
        assert_eq!(equalize(&old).unwrap().nodes.len(), 3);
    }

    #[test]
    fn what_scaling_does_not_pass_through_stays() {
        for between in ["Sigmoid", "HardSwish"] {
            let model = chain(between);
            let made = equalize(&model).unwrap();
            assert_eq!(made.constants["w"].to_f32().unwrap(), model.constants["w"].to_f32().unwrap());
        }
        let mut seen = chain("Relu");
        seen.outputs.push(Port { wire: "b".into(), fact: Fact::default() });
        assert_eq!(equalize(&seen).unwrap().constants["v"].to_f32().unwrap(), seen.constants["v"].to_f32().unwrap());
        assert_ne!(equalize(&chain("Relu")).unwrap().constants["v"].to_f32().unwrap(), seen.constants["v"].to_f32().unwrap());
    }
}
