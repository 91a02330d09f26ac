//! Shape rules of operators that index, sort, sample and rearrange.

use super::contents::Entry;
use super::shapes::{Known, Shape, axis, scaled};
use crate::engine::graph::{Dim, Node};

/// Shapes of the outputs.
pub(super) fn indexing(node: &Node, known: &Known) -> Option<Vec<Option<Shape>>> {
    let of = |i: usize| known.shape(node.input(i)?);
    let one = |shape: Option<Shape>| Some(vec![shape]);
    match node.op.as_str() {
        "TopK" => top_k(node, known),
        "GatherND" => one(gather_nd(node, &of(0)?, of(1)?)),
        "OneHot" => {
            let mut shape = of(0)?;
            let depth = known.entries(node.input(1)?).and_then(|e| Some(e.first()?.dim())).unwrap_or(Dim::Unknown);
            shape.insert(axis(node.int("axis").unwrap_or(-1), shape.len() + 1)?, depth);
            one(Some(shape))
        }
        "Compress" => one(match node.int("axis") {
            Some(along) => {
                let mut shape = of(0)?;
                let along = axis(along, shape.len())?;
                shape[along] = Dim::Unknown;
                Some(shape)
            }
            None => Some(vec![Dim::Unknown]),
        }),
        "NonZero" => one(Some(vec![Dim::Known(of(0)?.len()), Dim::Unknown])),
        "NonMaxSuppression" => one(Some(vec![Dim::Unknown, Dim::Known(3)])),
        "DepthToSpace" | "SpaceToDepth" => one(blocks(node, &of(0)?)),
        "CenterCropPad" => {
            let mut shape = of(0)?;
            let wanted = known.entries(node.input(1)?)?;
            let axes = node.ints("axes").map_or_else(|| (0..shape.len() as i64).collect(), <[i64]>::to_vec);
            for (&along, entry) in axes.iter().zip(&wanted) {
                let along = axis(along, shape.len())?;
                shape[along] = entry.dim();
            }
            (axes.len() == wanted.len()).then(|| vec![Some(shape)])
        }
        "Det" => {
            let shape = of(0)?;
            one(Some(shape[..shape.len().checked_sub(2)?].to_vec()))
        }
        "Range" => {
            let ends: Option<Vec<i64>> = (0..3).map(|i| known.entries(node.input(i)?)?.first()?.int()).collect();
            one(Some(vec![ends.and_then(|e| counted(e[0], e[1], e[2])).map_or(Dim::Unknown, Dim::Known)]))
        }
        "HannWindow" | "HammingWindow" | "BlackmanWindow" => one(Some(vec![known.entries(node.input(0)?)?.first()?.dim()])),
        "GridSample" => {
            let (image, grid) = (of(0)?, of(1)?);
            let places = grid.get(1..grid.len().checked_sub(1)?)?;
            one(Some([image.get(..2)?, places].concat()))
        }
        "AffineGrid" => {
            let mut shape: Shape = known.entries(node.input(1)?)?.iter().map(Entry::dim).collect();
            let axes = shape.len().checked_sub(2)?;
            shape.remove(1);
            shape.push(Dim::Known(axes));
            one(Some(shape))
        }
        "RoiAlign" => {
            let size = |name: &str| Some(Dim::Known(usize::try_from(node.int(name).unwrap_or(1)).ok()?));
            one(Some(vec![of(1)?.first()?.clone(), of(0)?.get(1)?.clone(), size("output_height")?, size("output_width")?]))
        }
        _ => None,
    }
}

fn top_k(node: &Node, known: &Known) -> Option<Vec<Option<Shape>>> {
    let mut shape = known.shape(node.input(0)?)?;
    let k = match node.int("k") {
        Some(k) => Entry::Int(k),
        None => known.entries(node.input(1)?).and_then(|e| e.first().cloned()).unwrap_or(Entry::Unknown),
    };
    let along = axis(node.int("axis").unwrap_or(-1), shape.len())?;
    shape[along] = k.dim();
    Some(vec![Some(shape.clone()), Some(shape)])
}

fn gather_nd(node: &Node, data: &[Dim], mut indices: Shape) -> Option<Shape> {
    let width = indices.pop()?.known()?;
    let batch = usize::try_from(node.int("batch_dims").unwrap_or(0)).ok()?;
    indices.extend_from_slice(data.get(batch.checked_add(width)?..)?);
    Some(indices)
}

fn blocks(node: &Node, shape: &[Dim]) -> Option<Shape> {
    let [n, channels, h, w] = shape else { return None };
    let b = node.int("blocksize").filter(|b| (1..1 << 15).contains(b))?;
    let divided = |dim: &Dim, by: i64| match dim {
        Dim::Known(n) => Dim::Known(n / by as usize),
        dim if by == 1 => dim.clone(),
        _ => Dim::Unknown,
    };
    let times = |dim: &Dim, by: i64| scaled(dim, &Entry::Int(by));
    Some(if node.op == "DepthToSpace" {
        vec![n.clone(), divided(channels, b * b), times(h, b), times(w, b)]
    } else {
        vec![n.clone(), times(channels, b * b), divided(h, b), divided(w, b)]
    })
}

/// How many numbers lie in a range.
fn counted(start: i64, limit: i64, delta: i64) -> Option<usize> {
    let (reach, step) = (i128::from(limit) - i128::from(start), i128::from(delta));
    match step {
        0 => None,
        _ if (reach > 0) != (step > 0) => Some(0),
        _ => usize::try_from(reach.unsigned_abs().div_ceil(step.unsigned_abs())).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_counted() {
        assert_eq!(counted(0, 10, 3), Some(4));
        assert_eq!(counted(10, 0, -5), Some(2));
        assert_eq!(counted(5, 5, 1), Some(0));
        assert_eq!(counted(0, 5, -1), Some(0));
        assert_eq!(counted(0, 5, 0), None);
    }
}
