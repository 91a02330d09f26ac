//! [`Model`] → the messages of an ONNX file: what was read, with what was changed in it.
//!
//! The parts of the file are first gathered by reference ([`Parts`]); from these the file is either
//! put together ([`encode`]) or only measured ([`encoded_len`]), so that both agree to the byte.

use super::beside::{Beside, Shelf};
use super::decode::fact;
use super::proto::{
    GraphProto, ModelProto, NodeProto, OperatorSetIdProto, SparseTensorProto, TensorAnnotation, TensorProto, ValueInfoProto,
};
use super::write::{dims, node_proto, same_attributes, value_info};
use super::{Home, OnnxSource};
use crate::engine::graph::{Fact, Model, Node, Wire, consumers};
use crate::engine::tensor::{DType, Tensor};
use crate::pipeline::load::error::LoadError;
use prost::Message;
use prost::bytes::Bytes;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

/// Protocol buffers are limited to 2 GiB − 1.
pub const LIMIT_BYTES: u64 = i32::MAX as u64;
/// Operator set → the format version it needs (the version table of `onnx/helper.py`).
const IR_OF_OPSET: [(i64, i64); 11] =
    [(9, 4), (10, 5), (11, 6), (12, 7), (15, 8), (19, 9), (21, 10), (23, 11), (24, 12), (25, 13), (28, 14)];

/// An initializer to be written.
enum Weight<'a> {
    Kept(&'a TensorProto),
    /// The message without its data, and the data.
    Raw(Box<TensorProto>, &'a Tensor),
    /// The message that says where in another file the data lie.
    Beside(Box<TensorProto>),
}

/// The messages of a file, and what does not lie in it.
#[derive(Debug)]
pub enum Encoded {
    Whole(ModelProto),
    /// The graph, and the tensors of the file beside it in the order of their places.
    Split {
        graph: ModelProto,
        data: Vec<Beside>,
    },
}

/// Everything that a file consists of.
struct Parts<'a> {
    /// The model without its graph.
    shell: ModelProto,
    /// The graph without all that follows.
    graph: GraphProto,
    nodes: Vec<Cow<'a, NodeProto>>,
    weights: Vec<Weight<'a>>,
    sparse: Vec<&'a SparseTensorProto>,
    infos: Infos<'a>,
    annotations: Vec<&'a TensorAnnotation>,
}

struct Infos<'a> {
    inputs: Vec<Cow<'a, ValueInfoProto>>,
    outputs: Vec<Cow<'a, ValueInfoProto>>,
    wires: Vec<Cow<'a, ValueInfoProto>>,
}

/// The messages of a file that holds `model`.
///
/// Nodes of the source keep their messages, but for wires and names that changed; constants that
/// were not changed keep theirs, inside a `Constant` node too; changed and new ones are written as
/// initializers. External data comes inside.
///
/// # Errors
/// When the file would pass the 2 GB that the format can hold, or the model has something that
/// ONNX has no place for.
pub fn encode(model: &Model, source: &OnnxSource) -> Result<ModelProto, LoadError> {
    let parts = Parts::gather(model, source)?;
    parts.check_len()?;
    Ok(parts.build())
}

/// [`encode`], with all but small tensors in the file `location` beside it where it would be larger than `limit` bytes.
///
/// # Errors
/// As [`encode`], where the graph alone is too large.
pub fn encode_within(model: &Model, source: &OnnxSource, limit: u64, location: &str) -> Result<Encoded, LoadError> {
    let mut parts = Parts::gather(model, source)?;
    if parts.len() <= limit.min(LIMIT_BYTES) {
        return Ok(Encoded::Whole(parts.build()));
    }
    let data = parts.move_out(model, location);
    parts.check_len()?;
    Ok(Encoded::Split { graph: parts.build(), data })
}

/// Size in bytes of the file that [`encode`] would give, without touching the values of changed
/// constants: tensors of zeros that take no memory may stand for them. Of what one file cannot hold
/// it is that of both, as [`encode_within`] writes them to `model.onnx`.
///
/// # Errors
/// When the model has something that ONNX has no place for.
pub fn encoded_len(model: &Model, source: &OnnxSource) -> Result<u64, LoadError> {
    let mut parts = Parts::gather(model, source)?;
    let whole = parts.len();
    if whole <= LIMIT_BYTES {
        return Ok(whole);
    }
    let data = parts.move_out(model, "model.onnx.data");
    Ok(parts.len() + data.last().map_or(0, Beside::end))
}

/// Length of a field of `len` bytes with its tag (all our tags take one or two bytes) and length.
fn field_len(tag: u32, len: u64) -> u64 {
    let tag_len = prost::encoding::key_len(tag) as u64;
    tag_len + prost::encoding::encoded_len_varint(len) as u64 + len
}

fn message_len(tag: u32, message: &impl Message) -> u64 {
    field_len(tag, message.encoded_len() as u64)
}

impl<'a> Parts<'a> {
    fn gather(model: &'a Model, source: &'a OnnxSource) -> Result<Self, LoadError> {
        if let Some((wire, tensor)) = model.constants.iter().find(|(_, t)| matches!(t.dtype(), DType::Block(_))) {
            let reason = format!("\"{wire}\" is stored as {}, a type that ONNX does not have", tensor.dtype());
            return Err(LoadError::Encode { reason });
        }
        let (weights, sparse, initializers, inline) = constants(model, source);
        let nodes = nodes(model, source, &inline)?;
        let present = present(model);
        let infos = infos(model, source, &present);
        let mut shell = source.shell.clone();
        set_versions(&mut shell, model, &initializers);
        let exists = |name: &str| present.contains(name);
        Ok(Self {
            shell,
            graph: GraphProto {
                name: Some(model.name.clone()).filter(|n| !n.is_empty() || source.graph.name.is_some()),
                doc_string: source.graph.doc_string.clone(),
                metadata_props: source.graph.metadata_props.clone(),
                ..GraphProto::default()
            },
            nodes,
            weights,
            sparse,
            infos,
            annotations: source
                .graph
                .quantization_annotation
                .iter()
                .filter(|a| a.tensor_name.as_deref().is_none_or(exists))
                .collect(),
        })
    }

    /// # Errors
    /// When it is more than a file can hold.
    fn check_len(&self) -> Result<(), LoadError> {
        match self.len() {
            bytes if bytes > LIMIT_BYTES => Err(LoadError::TooLarge { bytes }),
            _ => Ok(()),
        }
    }

    /// Takes the larger tensors out, to be written to the file `location`.
    fn move_out(&mut self, model: &'a Model, location: &str) -> Vec<Beside> {
        let mut shelf = Shelf::new(location);
        for weight in &mut self.weights {
            let (proto, tensor) = match weight {
                Weight::Kept(proto) => (*proto, model.constants.get(proto.name())),
                Weight::Raw(proto, tensor) => (&**proto, Some(*tensor)),
                Weight::Beside(_) => continue,
            };
            let Some((tensor, place)) = tensor.and_then(|tensor| Some((tensor, shelf.add(tensor)?))) else { continue };
            *weight = Weight::Beside(Box::new(place.of(*changed(proto, tensor))));
        }
        shelf.into_tensors()
    }

    fn len(&self) -> u64 {
        let weights: u64 = self.weights.iter().map(|w| field_len(5, w.len())).sum();
        let graph = self.graph.encoded_len() as u64
            + weights
            + self.nodes.iter().map(|n| message_len(1, n.as_ref())).sum::<u64>()
            + self.infos.inputs.iter().map(|i| message_len(11, i.as_ref())).sum::<u64>()
            + self.infos.outputs.iter().map(|i| message_len(12, i.as_ref())).sum::<u64>()
            + self.infos.wires.iter().map(|i| message_len(13, i.as_ref())).sum::<u64>()
            + self.annotations.iter().map(|a| message_len(14, *a)).sum::<u64>()
            + self.sparse.iter().map(|s| message_len(15, *s)).sum::<u64>();
        self.shell.encoded_len() as u64 + field_len(7, graph)
    }

    fn build(self) -> ModelProto {
        let owned = |infos: Vec<Cow<'_, ValueInfoProto>>| infos.into_iter().map(Cow::into_owned).collect();
        let graph = GraphProto {
            node: self.nodes.into_iter().map(Cow::into_owned).collect(),
            initializer: self.weights.into_iter().map(Weight::build).collect(),
            sparse_initializer: self.sparse.into_iter().cloned().collect(),
            input: owned(self.infos.inputs),
            output: owned(self.infos.outputs),
            value_info: owned(self.infos.wires),
            quantization_annotation: self.annotations.into_iter().cloned().collect(),
            ..self.graph
        };
        ModelProto { graph: Some(graph), ..self.shell }
    }
}

impl Weight<'_> {
    fn len(&self) -> u64 {
        match self {
            Self::Kept(proto) => proto.encoded_len() as u64,
            Self::Beside(proto) => proto.encoded_len() as u64,
            Self::Raw(proto, data) => proto.encoded_len() as u64 + field_len(9, data.size_bytes() as u64),
        }
    }

    fn build(self) -> TensorProto {
        match self {
            Self::Kept(proto) => proto.clone(),
            Self::Beside(proto) => *proto,
            Self::Raw(proto, data) => TensorProto { raw_data: Some(raw_bytes(data)), ..*proto },
        }
    }
}

/// Lets a tensor be the owner of the bytes that a message refers to, so that none is copied.
struct TensorOwner(Tensor);

impl AsRef<[u8]> for TensorOwner {
    fn as_ref(&self) -> &[u8] {
        match self.0.bytes() {
            Cow::Borrowed(bytes) => bytes,
            Cow::Owned(_) => &[],
        }
    }
}

pub(super) fn raw_bytes(tensor: &Tensor) -> Bytes {
    match tensor.bytes() {
        Cow::Borrowed(_) => Bytes::from_owner(TensorOwner(tensor.clone())),
        Cow::Owned(bytes) => Bytes::from(bytes),
    }
}

type Constants<'a> = (Vec<Weight<'a>>, Vec<&'a SparseTensorProto>, BTreeSet<&'a Wire>, BTreeMap<usize, &'a Wire>);

/// Where each constant goes: initializers (those of the source in its order, then new ones by
/// name), sparse initializers, the names of both, and `Constant` nodes that stay.
fn constants<'a>(model: &'a Model, source: &'a OnnxSource) -> Constants<'a> {
    let (mut weights, mut sparse, mut new) = (BTreeMap::new(), BTreeMap::new(), Vec::new());
    let (mut names, mut inline) = (BTreeSet::new(), BTreeMap::new());
    for (wire, tensor) in &model.constants {
        let origin = source.constants.get(wire);
        let unchanged = origin.is_some_and(|o| o.tensor.is_same(tensor));
        match origin.map(|o| o.home) {
            Some(Home::Initializer(i)) => {
                if let Some(proto) = source.graph.initializer.get(i) {
                    let keep = unchanged && proto.external_data.is_empty();
                    weights.insert(i, if keep { Weight::Kept(proto) } else { Weight::Raw(changed(proto, tensor), tensor) });
                }
            }
            Some(Home::Sparse(i)) if unchanged => {
                sparse.extend(source.graph.sparse_initializer.get(i).map(|s| (i, s)));
            }
            Some(Home::Node(i)) if unchanged => {
                inline.insert(i, wire);
                continue;
            }
            _ => new.push(Weight::Raw(
                changed(&TensorProto { name: Some(wire.to_string()), ..TensorProto::default() }, tensor),
                tensor,
            )),
        }
        names.insert(wire);
    }
    (weights.into_values().chain(new).collect(), sparse.into_values().collect(), names, inline)
}

/// The message of a tensor whose values changed, without them: name and documentation stay.
fn changed(proto: &TensorProto, tensor: &Tensor) -> Box<TensorProto> {
    Box::new(TensorProto {
        name: proto.name.clone(),
        doc_string: proto.doc_string.clone(),
        metadata_props: proto.metadata_props.clone(),
        dims: dims(tensor),
        data_type: Some(tensor.dtype().onnx_code()),
        ..TensorProto::default()
    })
}

/// The nodes in the order of the model; each `Constant` node that stays comes where it was in the
/// file, but before whatever reads it.
fn nodes<'a>(
    model: &'a Model,
    source: &'a OnnxSource,
    inline: &BTreeMap<usize, &Wire>,
) -> Result<Vec<Cow<'a, NodeProto>>, LoadError> {
    let mut early: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    if !inline.is_empty() {
        let readers = consumers(model);
        for (&place, wire) in inline {
            if let Some(first) = readers.get(*wire).and_then(|all| all.iter().min()) {
                early.entry(*first).or_default().push(place);
            }
        }
    }
    let mut waiting: BTreeSet<usize> = inline.keys().copied().collect();
    let mut all = Vec::with_capacity(model.nodes.len() + inline.len());
    let emit = |all: &mut Vec<Cow<'a, NodeProto>>, place: usize| all.extend(source.graph.node.get(place).map(Cow::Borrowed));
    for (index, node) in model.nodes.iter().enumerate() {
        let mut due: BTreeSet<usize> =
            early.remove(&index).unwrap_or_default().into_iter().filter(|i| waiting.contains(i)).collect();
        if node.id.0 < source.graph.node.len() {
            due.extend(waiting.range(..node.id.0));
        }
        for place in due {
            waiting.remove(&place);
            emit(&mut all, place);
        }
        all.push(source_node(node, source).map_or_else(|| node_proto(node).map(Cow::Owned), Ok)?);
    }
    for place in waiting {
        emit(&mut all, place);
    }
    Ok(all)
}

/// The node's own message in the source, with what changed around it; `None` for nodes that are
/// not from there.
fn source_node<'a>(node: &Node, source: &'a OnnxSource) -> Option<Cow<'a, NodeProto>> {
    let proto = source.graph.node.get(node.id.0)?;
    let same_domain = proto.domain() == node.domain || proto.domain() == "ai.onnx" && node.domain.is_empty();
    if proto.op_type() != node.op || !same_domain || !same_attributes(source.attributes.get(node.id.0)?, &node.attributes) {
        return None;
    }
    let same = |names: &[String], wires: &[Option<Wire>]| {
        names.len() == wires.len() && names.iter().zip(wires).all(|(n, w)| n == w.as_deref().unwrap_or(""))
    };
    if proto.name() == node.name && same(&proto.input, &node.inputs) && same(&proto.output, &node.outputs) {
        return Some(Cow::Borrowed(proto));
    }
    let names = |wires: &[Option<Wire>]| wires.iter().map(|w| w.as_deref().unwrap_or("").to_owned()).collect();
    Some(Cow::Owned(NodeProto {
        name: if proto.name() == node.name { proto.name.clone() } else { Some(node.name.clone()) },
        input: names(&node.inputs),
        output: names(&node.outputs),
        ..proto.clone()
    }))
}

/// The names of all wires that have a source.
fn present(model: &Model) -> BTreeSet<&str> {
    let outputs = model.nodes.iter().flat_map(|n| n.outputs.iter().flatten());
    outputs.chain(model.inputs.iter().map(|p| &p.wire)).chain(model.constants.keys()).map(|w| &**w).collect()
}

/// Inputs, outputs and the types of wires: as in the source where that still holds.
fn infos<'a>(model: &'a Model, source: &'a OnnxSource, present: &BTreeSet<&str>) -> Infos<'a> {
    let port = |wire: &Wire, stated: &Fact, all: &'a [ValueInfoProto]| {
        let known = model.constants.get(wire).map(constant_fact);
        let wanted = known.as_ref().unwrap_or(stated);
        let old = all.iter().find(|info| info.name() == &**wire);
        match old {
            Some(info) if !contradicts(&fact(info), wanted) => Cow::Borrowed(info),
            _ => Cow::Owned(value_info(wire, wanted, old)),
        }
    };
    let was_constant = |wire: &Wire| source.constants.contains_key(wire) && !model.constants.contains_key(wire);
    let graph = &source.graph;
    let inputs = model.inputs.iter().filter(|p| !was_constant(&p.wire)).map(|p| port(&p.wire, &p.fact, &graph.input)).collect();
    let outputs = model.outputs.iter().map(|p| port(&p.wire, &p.fact, &graph.output)).collect();
    let wires = graph.value_info.iter().filter(|info| present.contains(info.name())).filter_map(|info| {
        let (wire, stated) = model.facts.get_key_value(info.name())?;
        Some(port(wire, stated, std::slice::from_ref(info)))
    });
    Infos { inputs, outputs, wires: wires.collect() }
}

fn constant_fact(tensor: &Tensor) -> Fact {
    use crate::engine::graph::Dim;
    Fact { dtype: Some(tensor.dtype()), shape: Some(tensor.shape().iter().map(|d| Dim::Known(*d)).collect()) }
}

/// Whether `now` says something else than `then`, or nothing where `then` said something wrong.
fn contradicts(then: &Fact, now: &Fact) -> bool {
    let dtype = then.dtype.is_some() && now.dtype.is_some() && then.dtype != now.dtype;
    let shape = match (&then.shape, &now.shape) {
        (Some(then), Some(now)) => {
            then.len() != now.len() || then.iter().zip(now).any(|(a, b)| a.known().is_some() && b.known().is_some() && a != b)
        }
        _ => false,
    };
    dtype || shape
}

/// Operator sets as the model says; the format version is raised to what they and initializers
/// that are no inputs need, and never lowered.
fn set_versions(shell: &mut ModelProto, model: &Model, initializers: &BTreeSet<&Wire>) {
    for (domain, version) in &model.opsets {
        let same = |o: &&mut OperatorSetIdProto| o.domain() == domain || domain.is_empty() && o.domain() == "ai.onnx";
        match shell.opset_import.iter_mut().find(same) {
            Some(entry) if entry.version() != *version => entry.version = Some(*version),
            Some(_) => {}
            None => shell.opset_import.push(OperatorSetIdProto { domain: Some(domain.clone()), version: Some(*version) }),
        }
    }
    let mut needed = IR_OF_OPSET.iter().rev().find(|(opset, _)| *opset <= model.opset()).map_or(3, |(_, ir)| *ir);
    let inputs: BTreeSet<&Wire> = model.inputs.iter().map(|p| &p.wire).collect();
    if !initializers.is_subset(&inputs) {
        needed = needed.max(4);
    }
    if shell.ir_version() < needed {
        shell.ir_version = Some(needed);
    }
}
