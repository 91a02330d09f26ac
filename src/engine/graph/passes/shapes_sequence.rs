//! Shapes of operators on sequences, and of what sub-graphs give.

use super::shapes::{Known, Shape};
use crate::engine::graph::{Attribute, Dim, Fact, Node};

/// Hidden states of all steps, the last ones, and the last cell states.
pub(super) fn recurrent(node: &Node, known: &Known) -> Option<Vec<Option<Shape>>> {
    let [first, second, _]: [Dim; 3] = known.shape(node.input(0)?)?.try_into().ok()?;
    let hidden = known.shape(node.input(2)?)?.get(2)?.clone();
    let directions = Dim::Known(if node.text("direction") == Some("bidirectional") { 2 } else { 1 });
    let (all, last) = if node.int("layout").unwrap_or(0) == 0 {
        let (steps, batch) = (first, second);
        (vec![steps, directions.clone(), batch.clone(), hidden.clone()], vec![directions, batch, hidden])
    } else {
        let (batch, steps) = (first, second);
        (vec![batch.clone(), steps, directions.clone(), hidden.clone()], vec![batch, directions, hidden])
    };
    Some(vec![Some(all), Some(last.clone()), Some(last)])
}

/// What attention gives; keys, values and scores are left to the file.
pub(super) fn attention(node: &Node, known: &Known) -> Option<Vec<Option<Shape>>> {
    let (query, value) = (known.shape(node.input(0)?)?, known.shape(node.input(2)?)?);
    let last = value.last()?.clone();
    let last = if query.len() == 3 {
        let (heads, own) = (node.int("q_num_heads")?, node.int("kv_num_heads")?);
        match (last.known(), usize::try_from(heads), usize::try_from(own)) {
            (Some(width), Ok(heads), Ok(own)) if own > 0 => Dim::Known((width / own).checked_mul(heads)?),
            _ => Dim::Unknown,
        }
    } else {
        last
    };
    let lead = query.get(..query.len().checked_sub(1)?)?;
    Some(vec![Some([lead, &[last]].concat())])
}

/// What both branches of an `If` declare of an output: names of free dimensions mean nothing outside.
pub(super) fn branches(node: &Node, output: usize) -> Option<Fact> {
    let declared = |name: &str| match node.attributes.get(name) {
        Some(Attribute::Graph(graph)) => Some(graph.outputs.get(output)?.fact.clone()),
        _ => None,
    };
    let (a, b) = (declared("then_branch")?, declared("else_branch")?);
    let dtype = a.dtype.filter(|d| b.dtype == Some(*d));
    let shape = a.shape.zip(b.shape).filter(|(a, b)| a.len() == b.len()).map(|(a, b)| {
        let same = |(a, b): (Dim, Dim)| if a == b && a.known().is_some() { a } else { Dim::Unknown };
        a.into_iter().zip(b).map(same).collect()
    });
    Some(Fact { dtype, shape })
}
