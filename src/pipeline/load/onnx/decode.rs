//! An ONNX file → [`Model`]. The file is mapped, and its weights stay there.

use super::proto::{
    self, AttributeProto, DimensionValue, GraphProto, ModelProto, NodeProto, TensorProto, TypeValue, ValueInfoProto,
};
use super::tensors::TensorReader;
use super::{Home, OnnxSource, Origin};
use crate::engine::context::Ctx;
use crate::engine::graph::{Attribute, Dim, Fact, Model, Node, NodeId, Port, Wire};
use crate::engine::tensor::{DType, MappedFile, Tensor};
use crate::pipeline::load::error::LoadError;
use prost::Message;
use prost::bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A decoded file.
#[derive(Debug)]
pub struct Decoded {
    pub model: Model,
    pub source: OnnxSource,
    /// Files with external data and their maps, in order of their paths.
    pub externals: Vec<(PathBuf, MappedFile)>,
}

/// Lets a memory map be the owner of the bytes that the messages refer to.
struct MapOwner(MappedFile);

impl AsRef<[u8]> for MapOwner {
    fn as_ref(&self) -> &[u8] {
        self.0.as_slice()
    }
}

/// Reads an ONNX file through a memory map.
///
/// # Errors
/// When the file cannot be read, is truncated or corrupt, or holds no valid graph.
pub fn decode_file(path: &Path, map: &MappedFile, ctx: &Ctx) -> Result<Decoded, LoadError> {
    decode(Bytes::from_owner(MapOwner(map.clone())), path, Some(map), ctx)
}

/// Reads an ONNX model from memory. `path` stands for the file in messages, and external data is
/// looked for in its folder.
///
/// # Errors
/// As [`decode_file`].
pub fn decode_bytes(bytes: Vec<u8>, path: &Path, ctx: &Ctx) -> Result<Decoded, LoadError> {
    decode(Bytes::from(bytes), path, None, ctx)
}

fn decode(bytes: Bytes, path: &Path, map: Option<&MappedFile>, ctx: &Ctx) -> Result<Decoded, LoadError> {
    ctx.check()?;
    if bytes.is_empty() {
        return Err(LoadError::corrupt(path, "it is empty"));
    }
    let mut shell = ModelProto::decode(bytes).map_err(|e| LoadError::corrupt(path, e.to_string()))?;
    let graph = shell.graph.take().ok_or_else(|| LoadError::corrupt(path, "it holds no graph"))?;
    // The format demands it since version 3; a file that is cut right after its graph lacks it.
    if shell.opset_import.is_empty() && shell.ir_version() >= 3 {
        return Err(LoadError::corrupt(path, "it names no operator set"));
    }
    let mut reader = Reader { tensors: TensorReader { path, map, externals: BTreeMap::new() }, wires: BTreeSet::new(), ctx };
    let opsets = shell.opset_import.iter().map(|o| (domain(o.domain()), o.version())).collect();
    let (mut model, constants, attributes) = reader.graph(&graph, opsets)?;
    warn_about_versions(&shell, &model, path, ctx);
    model.validate().map_err(|source| LoadError::Graph { path: path.to_owned(), source })?;
    let externals = reader.tensors.externals.into_iter().collect();
    Ok(Decoded { model, source: OnnxSource { shell, graph, constants, attributes }, externals })
}

fn warn_about_versions(shell: &ModelProto, model: &Model, path: &Path, ctx: &Ctx) {
    let subject = path.display().to_string();
    if !(7..=25).contains(&model.opset()) {
        let message = format!(
            "operator set {} is outside the versions that Lapidary is tested with (7 to 25); results may differ",
            model.opset()
        );
        ctx.warn(subject.clone(), message);
    }
    if shell.ir_version() < 3 {
        ctx.warn(
            subject.clone(),
            format!("format version {} is older than ONNX 1.0; export the model again if it misbehaves", shell.ir_version()),
        );
    }
    if !shell.functions.is_empty() {
        ctx.warn(subject, format!("the {} functions defined in the file are kept but cannot be run", shell.functions.len()));
    }
}

fn domain(name: &str) -> String {
    if name == "ai.onnx" { String::new() } else { name.to_owned() }
}

type DecodedGraph = (Model, BTreeMap<Wire, Origin>, Vec<BTreeMap<String, Attribute>>);

struct Reader<'a> {
    tensors: TensorReader<'a>,
    /// Every name once.
    wires: BTreeSet<Wire>,
    ctx: &'a Ctx,
}

impl Reader<'_> {
    fn wire(&mut self, name: &str) -> Wire {
        if let Some(wire) = self.wires.get(name) {
            return wire.clone();
        }
        let wire: Wire = name.into();
        self.wires.insert(wire.clone());
        wire
    }

    fn optional_wires(&mut self, names: &[String]) -> Vec<Option<Wire>> {
        names.iter().map(|name| (!name.is_empty()).then(|| self.wire(name))).collect()
    }

    fn graph(&mut self, graph: &GraphProto, opsets: BTreeMap<String, i64>) -> Result<DecodedGraph, LoadError> {
        self.ctx.check()?;
        let mut model = Model { name: graph.name().to_owned(), opsets, ..Model::default() };
        let mut constants = BTreeMap::new();
        for (i, proto) in graph.initializer.iter().enumerate() {
            let tensor = self.tensors.tensor(proto)?;
            self.constant(&mut constants, proto.name(), Home::Initializer(i), tensor)?;
        }
        for (i, proto) in graph.sparse_initializer.iter().enumerate() {
            let tensor = self.tensors.sparse(proto)?;
            let name = proto.values.as_ref().map_or("", TensorProto::name);
            self.constant(&mut constants, name, Home::Sparse(i), tensor)?;
        }
        let mut all_attributes = Vec::with_capacity(graph.node.len());
        for (i, proto) in graph.node.iter().enumerate() {
            let attributes = self.attributes(proto, &model.opsets)?;
            let constant = constant_value(proto, &attributes);
            all_attributes.push(attributes.clone());
            match (constant, proto.output.first()) {
                (Some(tensor), Some(name)) => self.constant(&mut constants, name, Home::Node(i), tensor)?,
                _ => model.nodes.push(self.node(i, proto, attributes)),
            }
        }
        model.constants = constants.iter().map(|(wire, origin)| (wire.clone(), origin.tensor.clone())).collect();
        model.inputs = graph.input.iter().map(|info| self.port(info)).collect();
        model.outputs = graph.output.iter().map(|info| self.port(info)).collect();
        for info in graph.value_info.iter().chain(&graph.output).chain(&graph.input) {
            let port = self.port(info);
            model.facts.insert(port.wire, port.fact);
        }
        Ok((model, constants, all_attributes))
    }

    fn constant(&mut self, all: &mut BTreeMap<Wire, Origin>, name: &str, home: Home, tensor: Tensor) -> Result<(), LoadError> {
        if name.is_empty() {
            return Err(LoadError::corrupt(self.tensors.path, "a constant has no name"));
        }
        let wire = self.wire(name);
        match all.insert(wire, Origin { home, tensor }) {
            None => Ok(()),
            Some(_) => Err(LoadError::corrupt(self.tensors.path, format!("two constants are named \"{name}\""))),
        }
    }

    fn node(&mut self, index: usize, proto: &NodeProto, attributes: BTreeMap<String, Attribute>) -> Node {
        Node {
            id: NodeId(index),
            name: proto.name().to_owned(),
            op: proto.op_type().to_owned(),
            domain: domain(proto.domain()),
            inputs: self.optional_wires(&proto.input),
            outputs: self.optional_wires(&proto.output),
            attributes,
        }
    }

    fn port(&mut self, info: &ValueInfoProto) -> Port {
        Port { wire: self.wire(info.name()), fact: fact(info) }
    }

    fn attributes(&mut self, node: &NodeProto, opsets: &BTreeMap<String, i64>) -> Result<BTreeMap<String, Attribute>, LoadError> {
        node.attribute.iter().map(|a| Ok((a.name().to_owned(), self.attribute(a, opsets)?))).collect()
    }

    fn attribute(&mut self, proto: &AttributeProto, opsets: &BTreeMap<String, i64>) -> Result<Attribute, LoadError> {
        if proto.ref_attr_name.as_ref().is_some_and(|name| !name.is_empty()) {
            return Ok(Attribute::Opaque);
        }
        let text = |bytes: &Vec<u8>| String::from_utf8(bytes.clone()).ok();
        Ok(match attribute_type(proto) {
            proto::FLOAT => Attribute::Float(proto.f()),
            proto::INT => Attribute::Int(proto.i()),
            proto::STRING => proto.s.as_ref().map_or(Some(String::new()), text).map_or(Attribute::Opaque, Attribute::Text),
            proto::TENSOR => match &proto.t {
                Some(tensor) => Attribute::Tensor(self.tensors.tensor(tensor)?),
                None => Attribute::Opaque,
            },
            proto::GRAPH => match &proto.g {
                Some(graph) => Attribute::Graph(Arc::new(self.graph(graph, opsets.clone())?.0)),
                None => Attribute::Opaque,
            },
            proto::FLOATS => Attribute::Floats(proto.floats.clone()),
            proto::INTS => Attribute::Ints(proto.ints.clone()),
            proto::STRINGS => proto.strings.iter().map(text).collect::<Option<_>>().map_or(Attribute::Opaque, Attribute::Texts),
            _ => Attribute::Opaque,
        })
    }
}

/// The type that an attribute states, or what its fields show (IR 1 and some exporters state none).
fn attribute_type(proto: &AttributeProto) -> i32 {
    match proto.r#type() {
        0 if proto.f.is_some() => proto::FLOAT,
        0 if proto.i.is_some() => proto::INT,
        0 if proto.s.is_some() => proto::STRING,
        0 if proto.t.is_some() => proto::TENSOR,
        0 if proto.g.is_some() => proto::GRAPH,
        0 if !proto.floats.is_empty() => proto::FLOATS,
        0 if !proto.strings.is_empty() => proto::STRINGS,
        0 => proto::INTS,
        stated => stated,
    }
}

/// The value of a `Constant` node, where it is one that can be a constant of a model.
fn constant_value(proto: &NodeProto, attributes: &BTreeMap<String, Attribute>) -> Option<Tensor> {
    if proto.op_type() != "Constant" || !domain(proto.domain()).is_empty() || proto.output.first().is_none_or(String::is_empty) {
        return None;
    }
    match attributes.iter().next().map(|(name, value)| (name.as_str(), value))? {
        ("value", Attribute::Tensor(tensor)) => Some(tensor.clone()),
        ("value_float", Attribute::Float(value)) => Some(Tensor::scalar_f32(*value)),
        ("value_floats", Attribute::Floats(values)) => Tensor::from_f32(vec![values.len()], values).ok(),
        ("value_int", Attribute::Int(value)) => Tensor::from_i64(Vec::new(), &[*value]).ok(),
        ("value_ints", Attribute::Ints(values)) => Tensor::from_i64(vec![values.len()], values).ok(),
        _ => None,
    }
}

/// What a value info says. Types that are no tensors say nothing.
pub(super) fn fact(info: &ValueInfoProto) -> Fact {
    let Some(TypeValue::Tensor(tensor)) = info.r#type.as_ref().and_then(|t| t.value.as_ref()) else {
        return Fact::default();
    };
    let dim = |value: &Option<DimensionValue>| match value {
        Some(DimensionValue::DimValue(n)) => usize::try_from(*n).map_or(Dim::Unknown, Dim::Known),
        Some(DimensionValue::DimParam(name)) if !name.is_empty() => Dim::Named(name.as_str().into()),
        _ => Dim::Unknown,
    };
    Fact {
        dtype: tensor.elem_type.filter(|code| *code != 0).map(DType::from_onnx),
        shape: tensor.shape.as_ref().map(|shape| shape.dim.iter().map(|d| dim(&d.value)).collect()),
    }
}
