//! `NonMaxSuppression`: of boxes that overlap, the one with the best score.

use super::{Call, Operator};
use crate::engine::exec::data::{OpResult, fail, floats, int_scalar, make, scalar};
use crate::engine::tensor::{DType, Value};

pub(super) fn find(op: &str) -> Option<Operator> {
    (op == "NonMaxSuppression").then_some(suppress as Operator)
}

/// A box by its corners: low and high along each axis.
#[derive(Clone, Copy)]
struct Corners {
    low: [f32; 2],
    high: [f32; 2],
}

impl Corners {
    /// From two opposite corners in any order, or from center and size.
    fn of(b: &[f32], from_center: bool) -> Self {
        if from_center {
            let half = [b[2] / 2.0, b[3] / 2.0];
            Self { low: [b[0] - half[0], b[1] - half[1]], high: [b[0] + half[0], b[1] + half[1]] }
        } else {
            Self { low: [b[0].min(b[2]), b[1].min(b[3])], high: [b[0].max(b[2]), b[1].max(b[3])] }
        }
    }

    fn area(&self) -> f32 {
        (self.high[0] - self.low[0]) * (self.high[1] - self.low[1])
    }

    /// Area of the intersection over that of the union; 0 where either box is empty.
    fn overlap(&self, other: &Self) -> f32 {
        let side = |a: usize| (self.high[a].min(other.high[a]) - self.low[a].max(other.low[a])).max(0.0);
        let both = side(0) * side(1);
        let union = self.area() + other.area() - both;
        if self.area() <= 0.0 || other.area() <= 0.0 || union <= 0.0 { 0.0 } else { both / union }
    }
}

fn suppress(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (boxes, scores) = (c.input(0)?, c.input(1)?);
    let (&[batch, count, 4], &[score_batch, classes, score_count]) = (boxes.shape(), scores.shape()) else {
        return fail("boxes of shape [batch, count, 4] and scores of shape [batch, classes, count] are needed");
    };
    if (batch, count) != (score_batch, score_count) {
        return fail(format!("scores of shape {:?} do not fit boxes of shape {:?}", scores.shape(), boxes.shape()));
    }
    let most = c.optional(2).map(int_scalar).transpose()?.unwrap_or(0).max(0) as usize;
    let overlap = c.optional(3).map(scalar).transpose()?.unwrap_or(0.0);
    let least = c.optional(4).map(scalar).transpose()?.unwrap_or(f32::NEG_INFINITY);
    let from_center = c.int("center_point_box", 0) != 0;
    let corners: Vec<Corners> = floats(boxes)?.chunks_exact(4).map(|b| Corners::of(b, from_center)).collect();
    let scores = floats(scores)?;
    let mut chosen: Vec<i64> = Vec::new();
    for line in 0..batch * classes {
        let (image, class) = (line / classes, line % classes);
        let (corners, scores) = (&corners[image * count..][..count], &scores[line * count..][..count]);
        let given = c.optional(4).is_some();
        let mut order: Vec<usize> = (0..count).filter(|&i| !given || scores[i] > least).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut kept: Vec<usize> = Vec::new();
        for i in order {
            if kept.len() >= most {
                break;
            }
            if kept.iter().all(|&k| corners[i].overlap(&corners[k]) <= overlap) {
                kept.push(i);
            }
        }
        chosen.extend(kept.iter().flat_map(|&i| [image as i64, class as i64, i as i64]));
    }
    let rows = chosen.len() / 3;
    Ok(vec![make(DType::I64, chosen, &[rows, 3])?])
}
