//! What a graph tells of the values on a wire before anything runs.

use super::{Model, Node, Wire, producers};

/// Bounds that the operator which made the data keeps.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum KnownRange {
    /// Nothing is known.
    #[default]
    Any,
    /// All values lie between: data behind ReLU and Clip.
    Within { low: f32, high: f32 },
    /// The whole range is in use by its nature: softmax and sigmoid fill 0 to 1, tanh −1 to 1.
    Fixed { low: f32, high: f32 },
}

/// Nodes between the bound and the reader that are looked through.
const REACH: usize = 16;

/// What the producers of `wire` say, looked at through operators that only move values or choose among them.
#[must_use]
pub fn known_range(model: &Model, wire: &Wire) -> KnownRange {
    let producers = producers(model);
    let mut wire = wire;
    for _ in 0..REACH {
        let Some(node) = producers.get(wire).map(|i| &model.nodes[*i]) else { return KnownRange::Any };
        if !matches!(node.domain.as_str(), "" | "ai.onnx") {
            return KnownRange::Any;
        }
        match node.op.as_str() {
            "Relu" => return KnownRange::Within { low: 0.0, high: f32::INFINITY },
            "Clip" => return clip(model, node),
            "Softmax" | "Sigmoid" | "HardSigmoid" => return KnownRange::Fixed { low: 0.0, high: 1.0 },
            "Tanh" => return KnownRange::Fixed { low: -1.0, high: 1.0 },
            "MaxPool" | "Reshape" | "Transpose" | "Flatten" | "Squeeze" | "Unsqueeze" | "Identity" | "Slice" => {
                let Some(before) = node.input(0) else { return KnownRange::Any };
                wire = before;
            }
            _ => return KnownRange::Any,
        }
    }
    KnownRange::Any
}

/// Bounds are attributes up to set 10 and inputs from set 11 on.
fn clip(model: &Model, node: &Node) -> KnownRange {
    let bound = |index: usize, name: &str| -> Option<f32> {
        match node.input(index) {
            Some(wire) => model.constants.get(wire)?.to_f32().ok()?.first().copied(),
            None => node.float(name),
        }
    };
    let (low, high) = (bound(1, "min"), bound(2, "max"));
    let range = (low.unwrap_or(f32::NEG_INFINITY), high.unwrap_or(f32::INFINITY));
    // NaN bounds and crossed ones bound nothing that makes sense.
    if range.0 <= range.1 { KnownRange::Within { low: range.0, high: range.1 } } else { KnownRange::Any }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph::NodeId;
    use crate::engine::tensor::Tensor;

    fn chain(ops: &[(&str, &[&str])]) -> Model {
        let node = |(id, (op, more)): (usize, &(&str, &[&str]))| Node {
            id: NodeId(id),
            name: String::new(),
            op: (*op).to_owned(),
            domain: String::new(),
            inputs: std::iter::once(format!("w{id}"))
                .chain(more.iter().map(|m| (*m).to_owned()))
                .map(|w| Some(w.into()))
                .collect(),
            outputs: vec![Some(format!("w{}", id + 1).into())],
            attributes: std::collections::BTreeMap::default(),
        };
        Model { nodes: ops.iter().enumerate().map(node).collect(), ..Model::default() }
    }

    #[test]
    fn bounds_are_found_through_what_moves_values() {
        let mut model =
            chain(&[("Clip", &["a", "b"]), ("MaxPool", &[]), ("Reshape", &["s"]), ("Softmax", &[]), ("Conv", &["k"])]);
        model.constants.insert("a".into(), Tensor::scalar_f32(-1.0));
        model.constants.insert("b".into(), Tensor::scalar_f32(6.0));
        assert_eq!(known_range(&model, &"w3".into()), KnownRange::Within { low: -1.0, high: 6.0 });
        assert_eq!(known_range(&model, &"w4".into()), KnownRange::Fixed { low: 0.0, high: 1.0 });
        // A convolution bounds nothing, nor does what nothing made or a bound that is computed.
        assert_eq!(known_range(&model, &"w5".into()), KnownRange::Any);
        assert_eq!(known_range(&model, &"w0".into()), KnownRange::Any);
        model.constants.remove("b" as &str);
        assert_eq!(known_range(&model, &"w1".into()), KnownRange::Within { low: -1.0, high: f32::INFINITY });
    }
}
