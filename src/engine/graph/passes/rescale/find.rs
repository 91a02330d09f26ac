//! Which channels can be rescaled, and why not the others.

use super::{Member, Part, Passage, Passages, Places};
use crate::engine::graph::{Layer, LayerKind, Model, Node, Wire, consumers, producers};
use crate::engine::tensor::{DType, Tensor};
use std::collections::BTreeMap;

/// Nodes between what makes channels and what reads them that are looked through.
const REACH: usize = 32;

/// Where the channels of data lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Axis {
    /// [samples, channels, …].
    Second,
    /// […, channels].
    Last,
}

pub(super) fn passages(model: &Model, layers: &[Layer]) -> Passages {
    let finder = Finder { model, layers, readers: consumers(model), sources: producers(model) };
    let mut out = Passages::default();
    let mut wires: Vec<&Wire> = Vec::new();
    for layer in layers.iter().filter(|l| l.node.is_some()) {
        if !wires.contains(&&layer.input) {
            wires.push(&layer.input);
        }
    }
    for wire in wires {
        match finder.passage(wire) {
            Ok(passage) => out.found.push(passage),
            Err(reason) => {
                let reading = layers.iter().enumerate().filter(|(_, l)| l.input == *wire && l.node.is_some());
                out.obstacles.extend(reading.map(|(number, _)| (number, reason.clone())));
            }
        }
    }
    out
}

/// What makes the channels of a passage.
#[derive(Debug, Clone, Default)]
struct Makers {
    parts: Vec<Part>,
    /// What layers among them give.
    made: Vec<Wire>,
}

struct Finder<'a> {
    model: &'a Model,
    layers: &'a [Layer],
    readers: BTreeMap<Wire, Vec<usize>>,
    sources: BTreeMap<&'a Wire, usize>,
}

impl Finder<'_> {
    fn passage(&self, wire: &Wire) -> Result<Passage, String> {
        if self.is_output(wire) {
            return Err("the network gives out what it reads".to_owned());
        }
        let mut readers = Vec::new();
        let mut found: Option<(Axis, usize)> = None;
        for node in self.readers.get(wire).into_iter().flatten().filter_map(|i| self.model.nodes.get(*i)) {
            let (member, axis, channels) = self.reader(node, wire)?;
            if found.is_some_and(|found| found != (axis, channels)) {
                return Err("layers read its input along different axes".to_owned());
            }
            found = Some((axis, channels));
            readers.push(member);
        }
        let (axis, channels) = found.ok_or("nobody reads it")?;
        let mut makers = Makers::default();
        self.makers(wire, axis, channels, REACH, &mut makers)?;
        Ok(Passage { wire: wire.clone(), channels, readers, makers: makers.parts, made: makers.made })
    }

    /// A layer that reads the wire, along which axis and how many channels.
    fn reader(&self, node: &Node, wire: &Wire) -> Result<(Member, Axis, usize), String> {
        let number = self.layers.iter().position(|l| l.node == Some(node.id));
        let found = number.and_then(|i| Some((i, self.layers.get(i)?)));
        let Some((number, layer)) = found.filter(|(_, l)| l.input == *wire && l.weight != *wire) else {
            return Err(format!("{} reads its input too", said(node)));
        };
        if node.op == "Gemm" && node.int("transA").unwrap_or(0) != 0 {
            return Err("data have their channels first".to_owned());
        }
        let taps: usize = layer.shape.iter().skip(2).product();
        let (rows, columns) = match layer.shape.as_slice() {
            [rows, columns, ..] => (*rows, *columns),
            _ => return Err(format!("the weights of \"{}\" are no matrix", layer.name)),
        };
        let groups = node.int("group").unwrap_or(1).max(1) as usize;
        let (axis, channels, places) = match layer.kind {
            LayerKind::Conv | LayerKind::Depthwise => {
                let group = rows / groups * columns * taps;
                (Axis::Second, columns * groups, Places { group, wide: columns, inner: taps })
            }
            LayerKind::ConvTranspose => (Axis::Second, rows, Places { group: usize::MAX, wide: rows, inner: columns * taps }),
            LayerKind::Gemm | LayerKind::MatMul if layer.out_axis == 0 => {
                (Axis::Last, columns, Places { group: usize::MAX, wide: columns, inner: 1 })
            }
            LayerKind::Gemm | LayerKind::MatMul => (Axis::Last, rows, Places { group: usize::MAX, wide: rows, inner: columns }),
            LayerKind::Linear | LayerKind::Embedding => return Err("the file does not tell how it is applied".to_owned()),
        };
        Ok((Member { layer: number, weight: self.own(&layer.weight, places)? }, axis, channels))
    }

    /// A constant that one node alone reads.
    fn own(&self, wire: &Wire, places: Places) -> Result<Part, String> {
        let is_float = self.model.constants.get(wire).is_some_and(|t| t.dtype() == DType::F32);
        if !is_float {
            return Err(format!("\"{wire}\" is no constant of float32 numbers"));
        }
        if self.readers.get(wire).map_or(0, Vec::len) != 1 || self.is_output(wire) {
            return Err(format!("\"{wire}\" is shared"));
        }
        Ok(Part { wire: wire.clone(), places })
    }

    fn is_output(&self, wire: &Wire) -> bool {
        self.model.outputs.iter().any(|p| p.wire == *wire)
    }

    /// Adds to `parts` the constants that have the channels of a wire as factors.
    fn makers(&self, wire: &Wire, axis: Axis, channels: usize, reach: usize, makers: &mut Makers) -> Result<(), String> {
        let node = self.sources.get(wire).and_then(|i| self.model.nodes.get(*i));
        let node = node.filter(|n| matches!(n.domain.as_str(), "" | "ai.onnx")).ok_or("no layer or normalization makes it")?;
        if reach == 0 {
            return Err("what makes it lies too far away".to_owned());
        }
        let go_on = |input: usize, makers: &mut Makers| {
            let from = node.input(input).ok_or_else(|| format!("{} makes it", said(node)))?;
            if self.readers.get(from).map_or(0, Vec::len) != 1 || self.is_output(from) {
                return Err(format!("more than {} reads \"{from}\", of which it is made", said(node)));
            }
            self.makers(from, axis, channels, reach - 1, makers)
        };
        match node.op.as_str() {
            "Relu" | "LeakyRelu" | "PRelu" | "Identity" => go_on(0, makers),
            "MaxPool" | "AveragePool" | "GlobalAveragePool" | "GlobalMaxPool" if axis == Axis::Second => {
                if node.outputs.iter().skip(1).any(Option::is_some) {
                    return Err(format!("{} tells places too", said(node)));
                }
                go_on(0, makers)
            }
            "Mul" | "Div" | "Add" | "Sub" => self.pair(node, (axis, channels), &go_on, makers),
            "LayerNormalization" | "RMSNormalization" if axis == Axis::Last => {
                let last = node.int("axis").unwrap_or(-1);
                if last != -1 {
                    return Err(format!("{} does not normalize channel by channel", said(node)));
                }
                self.affine(node, (axis, channels), makers)
            }
            "BatchNormalization" | "InstanceNormalization" if axis == Axis::Second => self.affine(node, (axis, channels), makers),
            "Conv" | "ConvTranspose" | "Gemm" | "MatMul" => self.layer(node, (axis, channels), makers),
            _ => Err(format!("{} lies before it, which scaling does not pass through", said(node))),
        }
    }

    /// Scale and shift of a normalization.
    fn affine(&self, node: &Node, of: (Axis, usize), makers: &mut Makers) -> Result<(), String> {
        for wire in [1, 2].into_iter().filter_map(|i| node.input(i)) {
            let fits = self.model.constants.get(wire).is_some_and(|t| t.shape() == [of.1]);
            if !fits {
                return Err(format!("\"{wire}\" has not one number for each channel"));
            }
            makers.parts.push(self.own(wire, Places { group: usize::MAX, wide: of.1, inner: 1 })?);
        }
        Ok(())
    }

    /// An operator of two inputs: a factor takes the scale by itself, all parts of a sum have to.
    fn pair(
        &self,
        node: &Node,
        of: (Axis, usize),
        go_on: &dyn Fn(usize, &mut Makers) -> Result<(), String>,
        makers: &mut Makers,
    ) -> Result<(), String> {
        // Before set 7 an attribute said along which axis constants are spread.
        if node.int("axis").is_some() {
            return Err(format!("{} makes it along an axis of its own", said(node)));
        }
        let constant = |input: usize| node.input(input).and_then(|w| Some((w, self.model.constants.get(w)?)));
        match (node.op.as_str(), constant(0), constant(1)) {
            ("Mul", Some((wire, tensor)), None) | ("Mul", None, Some((wire, tensor))) => {
                let other = usize::from(constant(0).is_some());
                match self.by_channel(tensor, node, of) {
                    Some(places) => self.own(wire, places).map(|part| makers.parts.push(part)).or_else(|_| go_on(other, makers)),
                    None => go_on(other, makers),
                }
            }
            ("Mul", None, None) => {
                let known = makers.clone();
                go_on(1, makers).or_else(|_| {
                    *makers = known;
                    go_on(0, makers)
                })
            }
            ("Div", None, _) => go_on(0, makers),
            ("Add" | "Sub", Some((wire, tensor)), None) | ("Add" | "Sub", None, Some((wire, tensor))) => {
                let places = self.by_channel(tensor, node, of);
                let places = places.ok_or_else(|| format!("\"{wire}\" has not one number for each channel"))?;
                makers.parts.push(self.own(wire, places)?);
                go_on(usize::from(constant(0).is_some()), makers)
            }
            ("Add" | "Sub", None, None) => {
                go_on(0, makers)?;
                go_on(1, makers)
            }
            _ => Err(format!("{} makes it", said(node))),
        }
    }

    /// Where the channels lie in a constant that is spread over data.
    fn by_channel(&self, tensor: &Tensor, node: &Node, (axis, channels): (Axis, usize)) -> Option<Places> {
        let shape = tensor.shape();
        let at = match axis {
            Axis::Last => shape.len().checked_sub(1)?,
            Axis::Second => {
                let rank = self.model.facts.get(node.output(0)?)?.shape.as_ref()?.len();
                (shape.len() + 1).checked_sub(rank)?
            }
        };
        let inner = shape.iter().skip(at + 1).product();
        (shape.get(at) == Some(&channels)).then_some(Places { group: usize::MAX, wide: channels, inner })
    }

    /// The rows of a layer's weights, and its bias.
    fn layer(&self, node: &Node, (axis, channels): (Axis, usize), makers: &mut Makers) -> Result<(), String> {
        let Some(layer) = self.layers.iter().find(|l| l.node == Some(node.id)) else {
            // A weight that several nodes share is the layer of the first of them.
            let shared = node.input(1).filter(|wire| self.model.constants.contains_key(*wire));
            return Err(
                shared.map_or_else(|| format!("{} makes it, of data", said(node)), |wire| format!("\"{wire}\" is shared"))
            );
        };
        let taps: usize = layer.shape.iter().skip(2).product();
        let [rows, columns, ..] = layer.shape[..] else { return Err("a layer without a matrix makes it".to_owned()) };
        let groups = node.int("group").unwrap_or(1).max(1) as usize;
        let whole = usize::MAX;
        let (own, made, places) = match (layer.kind, layer.out_axis) {
            (LayerKind::Conv | LayerKind::Depthwise, _) => {
                (Axis::Second, rows, Places { group: whole, wide: rows, inner: columns * taps })
            }
            (LayerKind::ConvTranspose, _) => {
                (Axis::Second, columns * groups, Places { group: rows / groups * columns * taps, wide: columns, inner: taps })
            }
            (_, 0) => (Axis::Last, rows, Places { group: whole, wide: rows, inner: columns }),
            _ => (Axis::Last, columns, Places { group: whole, wide: columns, inner: 1 }),
        };
        if (own, made) != (axis, channels) {
            return Err(format!("\"{}\" makes other channels than are read", layer.name));
        }
        makers.parts.push(self.own(&layer.weight, places)?);
        makers.made.push(layer.output.clone());
        if let Some(bias) = &layer.bias {
            let tensor = self.model.constants.get(bias).ok_or("a bias is computed")?;
            if tensor.shape().last() != Some(&channels) {
                return Err(format!("\"{bias}\" has not one number for each channel"));
            }
            makers.parts.push(self.own(bias, Places { group: whole, wide: channels, inner: 1 })?);
        }
        Ok(())
    }
}

/// An operator, in words.
fn said(node: &Node) -> String {
    let article = if node.op.starts_with(['A', 'E', 'I', 'O', 'U']) { "an" } else { "a" };
    format!("{article} {}", node.op)
}
