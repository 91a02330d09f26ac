//! What operators expect of attributes. A model may call an attribute by its right name and give it
//! another type: then the operator would not see it and compute with its default, which is a wrong
//! answer. Asked once, when a plan is made.

use crate::engine::graph::{Attribute, Node};

/// A type of attribute, in ONNX's words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Int,
    Ints,
    Float,
    Floats,
    Text,
}

/// Attributes of ONNX's operators that mean the same type wherever they appear.
const KINDS: [(&str, Kind); 62] = [
    ("allowzero", Kind::Int),
    ("alpha", Kind::Float),
    ("auto_pad", Kind::Text),
    ("axes", Kind::Ints),
    ("axis", Kind::Int),
    ("batch_dims", Kind::Int),
    ("beta", Kind::Float),
    ("bias", Kind::Float),
    ("block_size", Kind::Int),
    ("blocksize", Kind::Int),
    ("broadcast", Kind::Int),
    ("ceil_mode", Kind::Int),
    ("clip", Kind::Float),
    ("coordinate_transformation_mode", Kind::Text),
    ("count_include_pad", Kind::Int),
    ("cubic_coeff_a", Kind::Float),
    ("detect_negative", Kind::Int),
    ("detect_positive", Kind::Int),
    ("dilations", Kind::Ints),
    ("direction", Kind::Text),
    ("epsilon", Kind::Float),
    ("equation", Kind::Text),
    ("exclude_outside", Kind::Int),
    ("exclusive", Kind::Int),
    ("extrapolation_value", Kind::Float),
    ("fmod", Kind::Int),
    ("gamma", Kind::Float),
    ("group", Kind::Int),
    ("hidden_size", Kind::Int),
    ("input_forget", Kind::Int),
    ("is_causal", Kind::Int),
    ("keepdims", Kind::Int),
    ("kernel_shape", Kind::Ints),
    ("lambd", Kind::Float),
    ("largest", Kind::Int),
    ("layout", Kind::Int),
    ("linear_before_reset", Kind::Int),
    ("momentum", Kind::Float),
    ("nearest_mode", Kind::Text),
    ("new_axis", Kind::Int),
    ("num_groups", Kind::Int),
    ("num_heads", Kind::Int),
    ("num_outputs", Kind::Int),
    ("output_padding", Kind::Ints),
    ("output_shape", Kind::Ints),
    ("pads", Kind::Ints),
    ("perm", Kind::Ints),
    ("reduction", Kind::Text),
    ("reverse", Kind::Int),
    ("saturate", Kind::Int),
    ("scales", Kind::Floats),
    ("select_last_index", Kind::Int),
    ("softcap", Kind::Float),
    ("sorted", Kind::Int),
    ("split", Kind::Ints),
    ("storage_order", Kind::Int),
    ("strides", Kind::Ints),
    ("to", Kind::Int),
    ("training_mode", Kind::Int),
    ("transA", Kind::Int),
    ("transB", Kind::Int),
    ("upper", Kind::Int),
];

/// # Errors
/// A sentence on the attribute that lies.
pub(super) fn check(node: &Node) -> Result<(), String> {
    if !node.domain.is_empty() && node.domain != "ai.onnx" {
        return Ok(());
    }
    for (name, value) in &node.attributes {
        let Ok(index) = KINDS.binary_search_by_key(&name.as_str(), |(n, _)| n) else { continue };
        let wanted = KINDS[index].1;
        if !is_of(value, wanted) {
            return Err(format!("attribute \"{name}\" is {}; {} is needed", kind_of(value), words(wanted)));
        }
    }
    let least = |name: &str, least: i64| match node.attributes.get(name) {
        Some(Attribute::Int(v)) if *v < least => Err(format!("attribute \"{name}\" is {v}; it is {least} or more")),
        Some(Attribute::Ints(v)) if v.iter().any(|v| *v < least) => {
            Err(format!("attribute \"{name}\" is {v:?}; its numbers are {least} or more"))
        }
        _ => Ok(()),
    };
    for name in ["group", "kernel_shape", "strides", "dilations", "blocksize"] {
        least(name, 1)?;
    }
    if node.op == "LRN" {
        least("size", 1)?;
    }
    match node.text("auto_pad") {
        None | Some("" | "NOTSET" | "SAME_UPPER" | "SAME_LOWER" | "VALID") => Ok(()),
        Some(other) => Err(format!("attribute \"auto_pad\" is \"{other}\"; NOTSET, SAME_UPPER, SAME_LOWER or VALID is needed")),
    }
}

fn is_of(value: &Attribute, kind: Kind) -> bool {
    match (value, kind) {
        (Attribute::Int(_), Kind::Int)
        | (Attribute::Ints(_), Kind::Ints)
        | (Attribute::Float(_), Kind::Float)
        | (Attribute::Floats(_), Kind::Floats)
        | (Attribute::Text(_), Kind::Text) => true,
        // An empty list has no type in some writers.
        (Attribute::Ints(v), Kind::Floats) => v.is_empty(),
        (Attribute::Floats(v), Kind::Ints) => v.is_empty(),
        _ => false,
    }
}

fn words(kind: Kind) -> &'static str {
    match kind {
        Kind::Int => "a whole number",
        Kind::Ints => "a list of whole numbers",
        Kind::Float => "a floating-point number",
        Kind::Floats => "a list of floating-point numbers",
        Kind::Text => "a text",
    }
}

fn kind_of(value: &Attribute) -> &'static str {
    match value {
        Attribute::Int(_) => words(Kind::Int),
        Attribute::Ints(_) => words(Kind::Ints),
        Attribute::Float(_) => words(Kind::Float),
        Attribute::Floats(_) => words(Kind::Floats),
        Attribute::Text(_) => words(Kind::Text),
        _ => "of another type",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::graph::NodeId;

    fn node(op: &str, name: &str, value: Attribute) -> Node {
        Node {
            id: NodeId(0),
            name: String::new(),
            op: op.to_owned(),
            domain: String::new(),
            inputs: Vec::new(),
            outputs: Vec::new(),
            attributes: [(name.to_owned(), value)].into(),
        }
    }

    #[test]
    fn names_are_in_order() {
        assert!(KINDS.is_sorted_by_key(|(name, _)| name));
    }

    #[test]
    fn what_lies_is_named() {
        let told = |op, name, value| check(&node(op, name, value)).unwrap_err();
        assert!(told("Gemm", "transB", Attribute::Float(1.0)).contains("\"transB\" is a floating-point number"));
        assert!(told("Conv", "group", Attribute::Int(i64::MIN)).contains("1 or more"));
        assert!(told("Conv", "auto_pad", Attribute::Text("same_upper".to_owned())).contains("SAME_UPPER"));
        assert!(told("MaxPool", "kernel_shape", Attribute::Ints(vec![3, 0])).contains("1 or more"));
        assert!(check(&node("LeakyRelu", "alpha", Attribute::Float(0.1))).is_ok());
        assert!(check(&node("Conv", "something", Attribute::Float(0.1))).is_ok());
    }
}
