//! How much the outputs of a network change when some of its weights do.

use super::CalibrateError;
use crate::engine::Ctx;
use crate::engine::exec::{Checkpoints, Request};
use crate::engine::graph::{Model, NodeId, Wire, reads};
use crate::engine::tensor::{Tensor, Value};
use crate::pipeline::load::Dataset;

/// Bytes that may be kept of what lies on wires.
const KEPT_BYTES: usize = 1 << 29;

/// Weights that take other values for a while.
#[derive(Debug, Clone)]
pub struct Disturbed {
    pub tensor: Wire,
    /// As they lie in the tensor.
    pub values: Vec<f32>,
}

/// Mean square change of the outputs, relative to their mean square.
pub type Change = f64;

/// Runs `model` on all of `data` for each of `count` disturbances, which `make` gives by number, and tells how far
/// the outputs move. Only what lies behind the first changed weight runs again.
///
/// # Errors
/// When the data cannot be read or fed, a disturbed tensor is not there, or on cancel.
pub fn disturb(
    model: &Model,
    data: &Dataset,
    count: usize,
    make: &dyn Fn(usize) -> Vec<Disturbed>,
    ctx: &Ctx,
) -> Result<Vec<Change>, CalibrateError> {
    if data.is_empty() {
        return Err(CalibrateError::Empty);
    }
    let port = model.data_input().ok_or(CalibrateError::NoInput)?;
    let fixed = port.fact.shape.as_ref().and_then(|s| s.first()?.known());
    let all: Vec<usize> = (0..data.len()).collect();
    let mut batches = Vec::new();
    for indices in all.chunks(data.batch_size(fixed)) {
        ctx.check()?;
        batches.push(vec![(port.wire.clone(), data.batch(&Dataset::whole_batch(indices, fixed), ctx)?)]);
    }
    let (kept, originals) = Checkpoints::record(model, &batches, KEPT_BYTES, ctx)?;
    ctx.start("Disturbing weights", count);
    let mut changes = Vec::with_capacity(count);
    for number in 0..count {
        ctx.check()?;
        let (changed, first) = changed(model, &make(number))?;
        let suffix = kept.behind(&changed, first, &Request::default())?;
        let mut sums = (0.0, 0.0);
        for (batch, original) in originals.iter().enumerate() {
            let made = kept.run(&suffix, batch, ctx, &mut |_, _| {})?;
            for ((_, a), (_, b)) in original.iter().zip(&made) {
                let (error, signal) = distance(a, b)?;
                sums = (sums.0 + error, sums.1 + signal);
            }
        }
        // Outputs that are zero throughout cannot change relatively: what is there counts as it is.
        changes.push(if sums.1 > 0.0 { sums.0 / sums.1 } else { sums.0 });
        ctx.advance(1);
    }
    Ok(changes)
}

/// The model with other weights, and the first node that reads one.
fn changed(model: &Model, disturbed: &[Disturbed]) -> Result<(Model, NodeId), CalibrateError> {
    let mut out = model.clone();
    for one in disturbed {
        if let Some(tensor) = out.constants.get_mut(&one.tensor) {
            *tensor = Tensor::from_f32(tensor.shape().to_vec(), &one.values)?;
        }
    }
    let reader = model.nodes.iter().find(|n| reads(n).iter().any(|w| disturbed.iter().any(|d| d.tensor == *w)));
    Ok((out, reader.map_or(NodeId(0), |n| n.id)))
}

fn distance(original: &Value, other: &Value) -> Result<(f64, f64), CalibrateError> {
    let sums = original.with_f32(|x| {
        other.with_f32(|y| {
            let pairs = x.iter().zip(y).filter(|(x, y)| x.is_finite() && y.is_finite());
            pairs.fold((0.0, 0.0), |(error, signal), (x, y)| (error + f64::from(x - y).powi(2), signal + f64::from(*x).powi(2)))
        })
    })??;
    Ok(sums)
}
