//! Messages for what is new: nodes, attributes, sub-graphs, types.

use super::encode::raw_bytes;
use super::proto::{
    self, AttributeProto, Dimension, DimensionValue, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto,
    TypeProtoTensor, TypeValue, ValueInfoProto,
};
use crate::engine::graph::{Attribute, Dim, Fact, Model, Node, Wire};
use crate::engine::tensor::Tensor;
use crate::pipeline::load::error::LoadError;
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn dims(tensor: &Tensor) -> Vec<i64> {
    tensor.shape().iter().map(|d| *d as i64).collect()
}

fn tensor_proto(name: Option<String>, tensor: &Tensor) -> TensorProto {
    TensorProto {
        name,
        dims: dims(tensor),
        data_type: Some(tensor.dtype().onnx_code()),
        raw_data: Some(raw_bytes(tensor)),
        ..TensorProto::default()
    }
}

/// The message of a node from what the model says of it alone.
pub(super) fn node_proto(node: &Node) -> Result<NodeProto, LoadError> {
    let names = |wires: &[Option<Wire>]| wires.iter().map(|w| w.as_deref().unwrap_or("").to_owned()).collect();
    Ok(NodeProto {
        input: names(&node.inputs),
        output: names(&node.outputs),
        name: (!node.name.is_empty()).then(|| node.name.clone()),
        op_type: Some(node.op.clone()),
        domain: (!node.domain.is_empty()).then(|| node.domain.clone()),
        attribute: node.attributes.iter().map(|(name, value)| attribute_proto(node, name, value)).collect::<Result<_, _>>()?,
        ..NodeProto::default()
    })
}

fn attribute_proto(node: &Node, name: &str, value: &Attribute) -> Result<AttributeProto, LoadError> {
    let mut proto = AttributeProto { name: Some(name.to_owned()), ..AttributeProto::default() };
    let kind = match value {
        Attribute::Int(v) => {
            proto.i = Some(*v);
            proto::INT
        }
        Attribute::Float(v) => {
            proto.f = Some(*v);
            proto::FLOAT
        }
        Attribute::Text(v) => {
            proto.s = Some(v.clone().into_bytes());
            proto::STRING
        }
        Attribute::Ints(v) => {
            proto.ints.clone_from(v);
            proto::INTS
        }
        Attribute::Floats(v) => {
            proto.floats.clone_from(v);
            proto::FLOATS
        }
        Attribute::Texts(v) => {
            proto.strings = v.iter().map(|s| s.clone().into_bytes()).collect();
            proto::STRINGS
        }
        Attribute::Tensor(v) => {
            proto.t = Some(tensor_proto(None, v));
            proto::TENSOR
        }
        Attribute::Graph(v) => {
            proto.g = Some(graph_proto(v)?);
            proto::GRAPH
        }
        Attribute::Opaque => {
            let reason = format!(
                "attribute \"{name}\" of node \"{}\" is of a kind that is only carried; leave that node as it was",
                node.label()
            );
            return Err(LoadError::Encode { reason });
        }
    };
    proto.r#type = Some(kind);
    Ok(proto)
}

/// A sub-graph that was changed or made in memory.
fn graph_proto(model: &Model) -> Result<GraphProto, LoadError> {
    Ok(GraphProto {
        node: model.nodes.iter().map(node_proto).collect::<Result<_, _>>()?,
        name: Some(if model.name.is_empty() { "graph".to_owned() } else { model.name.clone() }),
        initializer: model.constants.iter().map(|(wire, t)| tensor_proto(Some(wire.to_string()), t)).collect(),
        input: model.inputs.iter().map(|p| value_info(&p.wire, &p.fact, None)).collect(),
        output: model.outputs.iter().map(|p| value_info(&p.wire, &p.fact, None)).collect(),
        ..GraphProto::default()
    })
}

/// Name and type of a wire; documentation stays from `old`.
pub(super) fn value_info(wire: &Wire, fact: &Fact, old: Option<&ValueInfoProto>) -> ValueInfoProto {
    let dimension = |dim: &Dim| Dimension {
        value: match dim {
            Dim::Known(n) => Some(DimensionValue::DimValue(*n as i64)),
            Dim::Named(name) => Some(DimensionValue::DimParam(name.to_string())),
            Dim::Unknown => None,
        },
        denotation: None,
    };
    let tensor = fact.dtype.map(|dtype| TypeProtoTensor {
        elem_type: Some(dtype.onnx_code()),
        shape: fact.shape.as_ref().map(|shape| TensorShapeProto { dim: shape.iter().map(dimension).collect() }),
    });
    ValueInfoProto {
        name: Some(wire.to_string()),
        r#type: tensor.map(|t| TypeProto { value: Some(TypeValue::Tensor(t)), denotation: None }),
        doc_string: old.and_then(|o| o.doc_string.clone()),
        metadata_props: old.map(|o| o.metadata_props.clone()).unwrap_or_default(),
    }
}

/// Whether a node still has the attributes that it was read with. Tensors and sub-graphs count as
/// the same only where they are the very same.
pub(super) fn same_attributes(then: &BTreeMap<String, Attribute>, now: &BTreeMap<String, Attribute>) -> bool {
    then.len() == now.len() && then.iter().zip(now).all(|((a, x), (b, y))| a == b && same_attribute(x, y))
}

fn same_attribute(then: &Attribute, now: &Attribute) -> bool {
    let bits = |v: &[f32]| v.iter().map(|f| f.to_bits()).collect::<Vec<u32>>();
    match (then, now) {
        (Attribute::Int(a), Attribute::Int(b)) => a == b,
        (Attribute::Float(a), Attribute::Float(b)) => a.to_bits() == b.to_bits(),
        (Attribute::Text(a), Attribute::Text(b)) => a == b,
        (Attribute::Ints(a), Attribute::Ints(b)) => a == b,
        (Attribute::Floats(a), Attribute::Floats(b)) => bits(a) == bits(b),
        (Attribute::Texts(a), Attribute::Texts(b)) => a == b,
        (Attribute::Tensor(a), Attribute::Tensor(b)) => a.is_same(b),
        (Attribute::Graph(a), Attribute::Graph(b)) => Arc::ptr_eq(a, b),
        (Attribute::Opaque, Attribute::Opaque) => true,
        _ => false,
    }
}
