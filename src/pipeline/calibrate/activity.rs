//! How much there is of each channel, and how often there is nothing.

use super::CalibrateError;
use crate::engine::Ctx;
use crate::engine::exec::{Executor, Request};
use crate::engine::graph::{Model, Wire};
use crate::engine::tensor::Value;
use crate::pipeline::load::Dataset;
use std::collections::BTreeMap;

/// What was seen of one channel's data.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Activity {
    /// Σ|a| of finite values.
    pub magnitude: f64,
    /// How many values were exactly zero.
    pub zeros: u64,
    pub count: u64,
}

/// Watches `wires`, of each the channels along an axis, over all of `data`.
///
/// # Errors
/// When the data cannot be read or fed, or on cancel.
pub fn activity(
    model: &Model,
    wires: &BTreeMap<Wire, usize>,
    data: &Dataset,
    ctx: &Ctx,
) -> Result<BTreeMap<Wire, Vec<Activity>>, CalibrateError> {
    if data.is_empty() {
        return Err(CalibrateError::Empty);
    }
    let input = model.data_input().ok_or(CalibrateError::NoInput)?.wire.clone();
    let taps: Vec<Wire> = wires.keys().filter(|w| **w != input).cloned().collect();
    let request = Request { inputs: Some(vec![input.clone()]), outputs: Some(taps.clone()), taps, ..Request::default() };
    let executor = Executor::new(model, &request)?;
    let mut seen: BTreeMap<Wire, Vec<Activity>> = BTreeMap::new();
    ctx.start("Watching channels", data.len());
    let all: Vec<usize> = (0..data.len()).collect();
    for indices in all.chunks(data.batch_size(executor.fixed_batch())) {
        ctx.check()?;
        let fed = Dataset::whole_batch(indices, executor.fixed_batch());
        let samples = data.batch(&fed, ctx)?;
        let mut failed = None;
        let mut watch = |wire: &Wire, value: &Value| {
            let Some(axis) = wires.get(wire) else { return };
            let counted = (indices.len(), fed.len());
            if let Err(error) = add(seen.entry(wire.clone()).or_default(), value, *axis, counted) {
                failed = Some(error);
            }
        };
        watch(&input, &samples);
        executor.run(&[(input.clone(), samples)], ctx, &mut watch)?;
        if let Some(error) = failed {
            return Err(error);
        }
        ctx.advance(indices.len());
    }
    Ok(seen)
}

/// Of a batch the first `rows` of `fed` samples.
fn add(seen: &mut Vec<Activity>, value: &Value, axis: usize, (rows, fed): (usize, usize)) -> Result<(), CalibrateError> {
    let shape = value.shape().to_vec();
    let channels = shape.get(axis).copied().unwrap_or(1).max(1);
    let inner: usize = shape.iter().skip(axis + 1).product();
    seen.resize(channels.max(seen.len()), Activity::default());
    let by_sample = fed > 0 && shape.first().is_some_and(|d| d.is_multiple_of(fed));
    value.with_f32(|all| {
        let kept = if by_sample { all.len() / fed * rows } else { all.len() };
        let blocks = all.get(..kept).unwrap_or(all).chunks(inner.max(1));
        for (block, values) in blocks.enumerate() {
            let Some(one) = seen.get_mut(block % channels) else { continue };
            one.count += values.len() as u64;
            for value in values.iter().filter(|v| v.is_finite()) {
                one.magnitude += f64::from(value.abs());
                one.zeros += u64::from(*value == 0.0);
            }
        }
    })?;
    Ok(())
}
