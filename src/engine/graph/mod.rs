//! A network as a graph: nodes, wires, constants. Wires are named; nodes have stable ids, so that
//! a report about a node still finds it after a patch. No I/O, no technique is known here.

mod bias;
mod channels;
pub mod groups;
mod known;
mod layers;
mod lower;
mod normals;
mod operators;
mod order;
pub mod passes;
mod patch;
mod rounding;
mod store;
mod stored;
pub mod structure;
mod window;

pub use bias::BiasPlace;
pub use channels::Channels;
pub use known::{KnownRange, known_range};
pub use layers::{Layer, LayerKind, layers};
pub use lower::{LowRank, LoweredLayer, lower};

pub use normals::{CutNormals, Normal, cut_normals};
pub use operators::is_elementwise;
pub use order::{captured, consumers, producers, reads, topological};
pub use patch::Patch;
pub use rounding::RoundedInput;
pub use stored::{Book, ScaleLayout, Scales, StoredWeight};
pub use window::{Auto, WindowAxes, slice_places, transposed_axes, window_axes};

use crate::engine::tensor::{DType, Tensor};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

/// The name of a value in the graph.
pub type Wire = Arc<str>;

/// Stable within one model and its patched descendants. Nodes of a file have their place in the
/// file as id; nodes added by patches come after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub usize);

/// One dimension of a shape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dim {
    Known(usize),
    /// Free, but the same wherever the name appears (`"N"`, `"batch"`).
    Named(Arc<str>),
    Unknown,
}

impl Dim {
    #[must_use]
    pub fn known(&self) -> Option<usize> {
        if let Self::Known(n) = self { Some(*n) } else { None }
    }
}

impl fmt::Display for Dim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Known(n) => write!(f, "{n}"),
            Self::Named(name) => f.write_str(name),
            Self::Unknown => f.write_str("?"),
        }
    }
}

/// What is known of a wire.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fact {
    pub dtype: Option<DType>,
    pub shape: Option<Vec<Dim>>,
}

impl Fact {
    /// The shape, if every dimension is known.
    #[must_use]
    pub fn known_shape(&self) -> Option<Vec<usize>> {
        self.shape.as_ref()?.iter().map(Dim::known).collect()
    }
}

/// An input or an output of the whole model.
#[derive(Debug, Clone, PartialEq)]
pub struct Port {
    pub wire: Wire,
    pub fact: Fact,
}

#[derive(Debug, Clone)]
pub enum Attribute {
    Int(i64),
    Float(f32),
    Text(String),
    Ints(Vec<i64>),
    Floats(Vec<f32>),
    Texts(Vec<String>),
    Tensor(Tensor),
    Graph(Arc<Model>),
    /// Carried by the file, not understood here.
    Opaque,
}

#[derive(Debug, Clone)]
pub struct Node {
    pub id: NodeId,
    /// May be empty: many exporters leave it so.
    pub name: String,
    /// Operator type, e.g. `Conv`.
    pub op: String,
    /// Operator set; empty for ONNX's own.
    pub domain: String,
    /// `None` where an optional input is left out.
    pub inputs: Vec<Option<Wire>>,
    pub outputs: Vec<Option<Wire>>,
    pub attributes: BTreeMap<String, Attribute>,
}

impl Node {
    #[must_use]
    pub fn input(&self, index: usize) -> Option<&Wire> {
        self.inputs.get(index)?.as_ref()
    }

    #[must_use]
    pub fn output(&self, index: usize) -> Option<&Wire> {
        self.outputs.get(index)?.as_ref()
    }

    #[must_use]
    pub fn int(&self, name: &str) -> Option<i64> {
        if let Some(Attribute::Int(v)) = self.attributes.get(name) { Some(*v) } else { None }
    }

    #[must_use]
    pub fn float(&self, name: &str) -> Option<f32> {
        if let Some(Attribute::Float(v)) = self.attributes.get(name) { Some(*v) } else { None }
    }

    #[must_use]
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        if let Some(Attribute::Ints(v)) = self.attributes.get(name) { Some(v) } else { None }
    }

    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        if let Some(Attribute::Text(v)) = self.attributes.get(name) { Some(v) } else { None }
    }

    /// What to call the node in a message: its name, else its first output.
    #[must_use]
    pub fn label(&self) -> String {
        if !self.name.is_empty() {
            return self.name.clone();
        }
        let output = self.outputs.iter().flatten().next().map_or("", |w| &**w);
        format!("{} ({output})", self.op)
    }
}

/// A network. Cheap enough to clone: the weights are shared.
#[derive(Debug, Clone, Default)]
pub struct Model {
    pub name: String,
    pub inputs: Vec<Port>,
    pub outputs: Vec<Port>,
    /// In an order in which they can run, once [`Model::validate`] has passed.
    pub nodes: Vec<Node>,
    /// Wires whose value is part of the model.
    pub constants: BTreeMap<Wire, Tensor>,
    /// What the file or shape inference says of wires.
    pub facts: BTreeMap<Wire, Fact>,
    /// Operator set → version; the empty name is ONNX's own.
    pub opsets: BTreeMap<String, i64>,
    /// What batch normalization that was folded told of the wires that it made, channel by channel.
    pub normals: BTreeMap<Wire, Arc<[Normal]>>,
}

/// What can be wrong with a graph.
#[derive(Debug, thiserror::Error)]
pub enum GraphError {
    #[error("node \"{node}\" reads \"{wire}\", which nothing produces")]
    Undefined { node: String, wire: Wire },
    #[error("\"{wire}\" has two sources: two nodes, or a node and an input or constant of that name")]
    ProducedTwice { wire: Wire },
    #[error("the graph has a cycle through node \"{node}\"")]
    Cycle { node: String },
    #[error("output \"{wire}\" of the model is produced by nothing")]
    OutputMissing { wire: Wire },
    #[error("patch \"{label}\": {reason}")]
    Patch { label: String, reason: String },
}

impl Model {
    /// Version of ONNX's own operator set (1 where the file names none).
    #[must_use]
    pub fn opset(&self) -> i64 {
        self.opsets.get("").or_else(|| self.opsets.get("ai.onnx")).copied().unwrap_or(1)
    }

    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.iter().find(|n| n.id == id)
    }

    /// The first id that no node has yet.
    #[must_use]
    pub fn next_id(&self) -> NodeId {
        NodeId(self.nodes.iter().map(|n| n.id.0 + 1).max().unwrap_or(0))
    }

    /// Number of values in all floating-point constants.
    #[must_use]
    pub fn parameters(&self) -> u64 {
        self.constants.values().filter(|t| t.dtype().is_float()).map(|t| t.len() as u64).sum()
    }

    /// The first input without a constant value: what a sample is fed to.
    #[must_use]
    pub fn data_input(&self) -> Option<&Port> {
        self.inputs.iter().find(|p| !self.constants.contains_key(&p.wire))
    }

    /// Checks that every wire has one source and that nodes can be ordered; puts them in order.
    ///
    /// # Errors
    /// The first breach found, naming node and wire.
    pub fn validate(&mut self) -> Result<(), GraphError> {
        let order = topological(self)?;
        let mut slots: Vec<Option<Node>> = std::mem::take(&mut self.nodes).into_iter().map(Some).collect();
        self.nodes = order.into_iter().filter_map(|i| slots[i].take()).collect();
        Ok(())
    }
}
