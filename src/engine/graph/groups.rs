//! Layers that belong together by what they read.

use super::{Layer, LayerKind, Model, Node, Wire};
use std::collections::BTreeMap;

/// Matrices that read the same wire, as those of queries, keys and values do, or the two of a gated MLP:
/// runtimes lay them side by side and compute one product. Numbers of `layers`, two at least in each group,
/// groups in the order of their first layers.
#[must_use]
pub fn projections(model: &Model, layers: &[Layer]) -> Vec<Vec<usize>> {
    let is_matrix = |layer: &Layer| matches!(layer.kind, LayerKind::Gemm | LayerKind::MatMul) && layer.node.is_some();
    let mut readers: BTreeMap<&Wire, Vec<usize>> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        if is_matrix(layer) && !model.constants.contains_key(&layer.input) {
            readers.entry(&layer.input).or_default().push(index);
        }
    }
    let mut groups: Vec<Vec<usize>> = readers.into_values().filter(|group| group.len() > 1).collect();
    groups.sort_unstable();
    groups
}

/// Layers whose data meet in sums: a sum's terms and what comes of it are one stream, through operators that
/// only cut values off or hand them on. Numbers of `layers` that read at least two wires of a stream.
#[must_use]
pub fn streams(model: &Model, layers: &[Layer]) -> Vec<Vec<usize>> {
    let mut streams = Streams::of(model);
    let mut readers: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, layer) in layers.iter().enumerate() {
        if let Some(stream) = streams.holding(&layer.input) {
            readers.entry(stream).or_default().push(index);
        }
    }
    let two_wires = |group: &Vec<usize>| group.iter().any(|i| layers[*i].input != layers[group[0]].input);
    let mut groups: Vec<Vec<usize>> = readers.into_values().filter(two_wires).collect();
    groups.sort_unstable();
    groups
}

/// Wires joined to sets.
struct Streams<'a> {
    numbers: BTreeMap<&'a Wire, usize>,
    parents: Vec<usize>,
}

impl<'a> Streams<'a> {
    fn of(model: &'a Model) -> Self {
        let mut streams = Self { numbers: BTreeMap::new(), parents: Vec::new() };
        for node in model.nodes.iter().filter(|n| is_sum(model, n)) {
            let wires: Vec<&Wire> = node.inputs.iter().chain(&node.outputs).flatten().collect();
            wires.windows(2).for_each(|pair| streams.join(pair[0], pair[1]));
        }
        // Nodes come in running order, sums are known by now: what stands behind them joins them.
        for node in model.nodes.iter().filter(|n| hands_on(n)) {
            if let (Some(input), Some(output)) = (node.input(0), node.output(0))
                && streams.numbers.contains_key(input)
            {
                streams.join(input, output);
            }
        }
        streams
    }

    fn number(&mut self, wire: &'a Wire) -> usize {
        let next = self.parents.len();
        let number = *self.numbers.entry(wire).or_insert(next);
        if number == next {
            self.parents.push(next);
        }
        number
    }

    fn root(&mut self, mut number: usize) -> usize {
        while self.parents[number] != number {
            self.parents[number] = self.parents[self.parents[number]];
            number = self.parents[number];
        }
        number
    }

    fn join(&mut self, a: &'a Wire, b: &'a Wire) {
        let (a, b) = (self.number(a), self.number(b));
        let (a, b) = (self.root(a), self.root(b));
        self.parents[a.max(b)] = a.min(b);
    }

    fn holding(&mut self, wire: &Wire) -> Option<usize> {
        let number = *self.numbers.get(wire)?;
        Some(self.root(number))
    }
}

/// A sum of data of one shape: not of a bias, nor of what is spread over more places.
fn is_sum(model: &Model, node: &Node) -> bool {
    let [Some(a), Some(b)] = node.inputs.as_slice() else { return false };
    let shape = |wire: &Wire| model.facts.get(wire).and_then(|f| f.shape.clone());
    let alike = match (shape(a), shape(b)) {
        (Some(a), Some(b)) => a == b,
        _ => true,
    };
    node.op == "Add" && node.domain.is_empty() && alike && ![a, b].into_iter().any(|w| model.constants.contains_key(w))
}

fn hands_on(node: &Node) -> bool {
    node.domain.is_empty() && matches!(node.op.as_str(), "Relu" | "Clip" | "Identity" | "Dropout")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph::{NodeId, layers};
    use crate::engine::tensor::{DType, Tensor};

    /// Nodes from (operator, inputs, output); inputs that start with `w` are square constants.
    fn model(nodes: &[(&str, &[&str], &str)]) -> Model {
        let mut model = Model::default();
        for (id, (op, inputs, output)) in nodes.iter().enumerate() {
            for wire in inputs.iter().filter(|w| w.starts_with('w')) {
                let shape = if *op == "Conv" { vec![4, 4, 1, 1] } else { vec![4, 4] };
                model.constants.insert((*wire).into(), Tensor::zeros(DType::F32, shape).unwrap());
            }
            model.nodes.push(Node {
                id: NodeId(id),
                name: String::new(),
                op: (*op).to_owned(),
                domain: String::new(),
                inputs: inputs.iter().map(|w| Some((*w).into())).collect(),
                outputs: vec![Some((*output).into())],
                attributes: BTreeMap::new(),
            });
        }
        model
    }

    fn named(groups: &[Vec<usize>], layers: &[Layer]) -> Vec<Vec<String>> {
        groups.iter().map(|g| g.iter().map(|i| layers[*i].name.clone()).collect()).collect()
    }

    #[test]
    fn matrices_that_read_the_same_data_belong_together() {
        let model = model(&[
            ("MatMul", &["x", "w_q"], "q"),
            ("MatMul", &["x", "w_k"], "k"),
            ("Conv", &["x", "w_c"], "c"),
            ("MatMul", &["x", "w_v"], "v"),
            ("MatMul", &["v", "w_o"], "o"),
            ("MatMul", &["o", "w_q"], "again"),
        ]);
        let layers = layers(&model);
        assert_eq!(named(&projections(&model, &layers), &layers), [["w_q", "w_k", "w_v"]]);
    }

    #[test]
    fn sums_join_what_is_read_before_and_behind_them() {
        let model = model(&[
            ("Conv", &["x", "w_1"], "a"),
            ("Conv", &["a", "w_2"], "b"),
            ("Conv", &["b", "w_3"], "c"),
            ("Add", &["a", "c"], "sum"),
            ("Relu", &["sum"], "s"),
            ("Conv", &["s", "w_4"], "d"),
            // A bias is no stream, and a second network knows nothing of the first.
            ("Add", &["d", "w_bias"], "e"),
            ("Conv", &["e", "w_5"], "f"),
            ("Conv", &["d", "w_6"], "g"),
        ]);
        let layers = layers(&model);
        assert_eq!(named(&streams(&model, &layers), &layers), [["w_2", "w_4"]]);
    }

    #[test]
    fn what_is_spread_over_more_places_is_no_stream() {
        use crate::engine::graph::{Dim, Fact};
        let mut model = model(&[
            ("Conv", &["x", "w_1"], "a"),
            ("Add", &["a", "gate"], "s"),
            ("Conv", &["s", "w_2"], "b"),
            ("Conv", &["gate", "w_3"], "c"),
        ]);
        let found = |model: &Model| streams(model, &layers(model)).len();
        assert_eq!(found(&model), 1);
        for (wire, places) in [("a", 8), ("gate", 1)] {
            let shape = [1, 4, places, places].map(Dim::Known).to_vec();
            model.facts.insert(wire.into(), Fact { dtype: Some(DType::F32), shape: Some(shape) });
        }
        assert_eq!(found(&model), 0);
    }
}
