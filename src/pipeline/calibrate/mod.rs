//! Stage 3. One pass over the calibration data that serves every technique: what to watch goes in,
//! statistics come out. Knows neither who asked nor what the numbers are for. Memory does not grow
//! with the number of samples.

mod activity;
mod channels;
mod disturb;
mod lags;
mod moments;
#[cfg(test)]
mod moments_tests;
mod reading;
#[cfg(test)]
mod reading_tests;
mod sequence;
mod slopes;
mod statistics;
#[cfg(test)]
mod tests;

pub use activity::{Activity, activity};
pub use disturb::{Change, Disturbed, disturb};
pub use moments::{Demand, Moments, Samples};
pub use sequence::{LayerData, Original, Sequence};
pub use slopes::{Slopes, slopes};
pub use statistics::{STATISTICS_VERSION, Statistics, WireStatistics};

use crate::engine::Ctx;
use crate::engine::context::Cancelled;
use crate::engine::exec::{ExecError, Executor, Request};
use crate::engine::graph::{Model, Wire};
use crate::engine::hash::Hasher;
use crate::engine::tensor::{TensorError, Value};
use crate::pipeline::load::{Dataset, LoadError};
use channels::ChannelAxis;
use std::collections::{BTreeMap, BTreeSet};

#[derive(Debug, thiserror::Error)]
pub enum CalibrateError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("calibration data: {0}")]
    Load(#[from] LoadError),
    #[error("calibration: {0}")]
    Exec(#[from] ExecError),
    #[error("calibration: {0}")]
    Tensor(#[from] TensorError),
    #[error("layer \"{layer}\": {reason}")]
    Unread { layer: String, reason: String },
    #[error("the model has no data input to feed calibration samples to")]
    NoInput,
    #[error("there are no calibration samples; give --calibrate DATA, or recipes without static activations")]
    Empty,
    #[error(
        "the data on \"{wire}\" is not finite (NaN or infinite) for {count} of {values} values; check the preprocessing and the weights"
    )]
    NotFinite { wire: Wire, count: u64, values: u64 },
}

/// What the statistics of a pass depend on.
#[must_use]
pub fn cache_key(model_hash: &str, wires: &BTreeSet<Wire>, data: &Dataset) -> String {
    let mut hasher = Hasher::new();
    hasher.add(format!("statistics {STATISTICS_VERSION}").as_bytes()).add(model_hash.as_bytes()).add(data.key().as_bytes());
    for wire in wires {
        hasher.add(wire.as_bytes());
    }
    hasher.finish()
}

/// Runs `model` over all of `data` and watches `wires`.
///
/// # Errors
/// When the data cannot be read or fed, a watched wire carries NaN or infinity, or on cancel.
pub fn run(model: &Model, wires: &BTreeSet<Wire>, data: &Dataset, ctx: &Ctx) -> Result<Statistics, CalibrateError> {
    if data.is_empty() {
        return Err(CalibrateError::Empty);
    }
    let input = model.data_input().ok_or(CalibrateError::NoInput)?.wire.clone();
    let outputs: Vec<Wire> = wires.iter().filter(|w| **w != input).cloned().collect();
    // Only what lies before the watched wires needs to run.
    let request =
        Request { inputs: Some(vec![input.clone()]), outputs: Some(outputs.clone()), taps: outputs, ..Request::default() };
    let executor = Executor::new(model, &request)?;
    let axes: BTreeMap<&Wire, ChannelAxis> = wires.iter().map(|w| (w, ChannelAxis::of(model, w))).collect();
    let mut statistics = Statistics::default();
    ctx.start("Calibrating", data.len());
    let batch = data.batch_size(executor.fixed_batch());
    let all: Vec<usize> = (0..data.len()).collect();
    for indices in all.chunks(batch) {
        ctx.check()?;
        let fed = Dataset::whole_batch(indices, executor.fixed_batch());
        let samples = data.batch(&fed, ctx)?;
        let rows = (indices.len(), fed.len());
        let mut failed = None;
        let mut watch = |wire: &Wire, value: &Value| {
            let Some(axis) = axes.get(wire) else { return };
            // Sums are added up in pieces of one size: the same at any number of threads.
            if let Err(error) = ctx.pool().install(|| statistics.observe(wire, value, *axis, rows)) {
                failed = Some(error);
            }
        };
        watch(&input, &samples);
        executor.run(&[(input.clone(), samples)], ctx, &mut watch)?;
        if let Some(error) = failed {
            return Err(error.into());
        }
        statistics.samples += indices.len();
        ctx.advance(indices.len());
    }
    for (wire, seen) in &statistics.wires {
        let count = seen.values.not_finite();
        if count > 0 {
            let values = count + seen.values.count();
            return Err(CalibrateError::NotFinite { wire: Wire::from(wire.as_str()), count, values });
        }
    }
    Ok(statistics)
}
