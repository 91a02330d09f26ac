//! What a model asks for that cannot be run: said when the file is opened, not when it is too late.

use crate::engine::context::Ctx;
use crate::engine::exec::missing_operators;
use crate::engine::graph::Model;
use crate::engine::tensor::DType;
use std::collections::BTreeMap;

/// So many nodes are named.
const NAMED: usize = 5;
const WHAT_IS_LEFT: &str = "the model can be inspected, compressed by its weights and exported, but not calibrated or evaluated";

/// Warns of operators, with their nodes, and of element types that there is no arithmetic for.
pub(super) fn warn_about(model: &Model, ctx: &Ctx) {
    let mut nodes: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for missing in missing_operators(model) {
        nodes.entry(missing.full_name()).or_default().push(missing.node);
    }
    for (operator, nodes) in nodes {
        ctx.warn(operator, format!("Lapidary cannot run this operator ({}): {WHAT_IS_LEFT}", some_of("node", &nodes)));
    }
    let ports = model.inputs.iter().chain(&model.outputs).filter_map(|p| Some((&p.wire, p.fact.dtype?)));
    let constants = model.constants.iter().map(|(wire, tensor)| (wire, tensor.dtype()));
    let mut wires: BTreeMap<DType, Vec<String>> = BTreeMap::new();
    for (wire, dtype) in ports.chain(constants) {
        let named = wires.entry(dtype).or_default();
        if matches!(dtype, DType::Other(_)) && !named.iter().any(|n| **n == **wire) {
            named.push(wire.to_string());
        }
    }
    for (dtype, wires) in wires.into_iter().filter(|(_, wires)| !wires.is_empty()) {
        let what = format!("Lapidary cannot compute with this element type ({})", some_of("tensor", &wires));
        ctx.warn(dtype.to_string(), format!("{what}: {WHAT_IS_LEFT}"));
    }
}

/// `nodes "a", "b" and 3 more`.
fn some_of(what: &str, names: &[String]) -> String {
    let named: Vec<String> = names.iter().take(NAMED).map(|n| format!("\"{n}\"")).collect();
    let plural = if names.len() == 1 { "" } else { "s" };
    let more = match names.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{what}{plural} {}{more}", named.join(", "))
}
