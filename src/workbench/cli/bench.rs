//! Measurements of speed on this machine.

use crate::engine::Ctx;
use crate::engine::exec::{self, Arithmetic, ExecError, Executor, Request};
use crate::engine::graph::{Model, Wire, passes};
use crate::engine::random::Random;
use crate::engine::tensor::{DType, Value};
use std::time::Instant;

/// How fast the forward pass is.
#[derive(Debug, Clone, Copy)]
pub struct ForwardSpeed {
    pub samples_per_second: f64,
    pub batch: usize,
    pub threads: usize,
    pub peak_rss_bytes: u64,
    pub arithmetic: Arithmetic,
    /// Layers that computed on integers.
    pub integer_layers: usize,
}

/// Values of the largest input that is made up: 16 GiB of f32.
const MOST_VALUES: usize = 1 << 32;

/// Runs the model, batch norm folded, on the same random batch for `seconds`, after three runs that
/// do not count. Free dimensions other than the batch count as one.
///
/// # Errors
/// When the model cannot be run.
pub fn forward(model: &Model, batch: usize, seconds: f64, arithmetic: Arithmetic, ctx: &Ctx) -> Result<ForwardSpeed, ExecError> {
    let model = passes::fold_batch_norm(&exec::prepare(model)?)?;
    let feeds = feeds(&model, batch, ctx.seed)?;
    let batch = feeds.first().and_then(|(_, v)| v.shape().first().copied()).unwrap_or(1);
    let executor = Executor::new(&model, &Request { arithmetic, ..Request::default() })?;
    // Runs follow each other on the pool's own threads, as those of an evaluation do.
    let (runs, taken) = ctx.pool().install(|| -> Result<(usize, f64), ExecError> {
        for _ in 0..3 {
            executor.run(&feeds, ctx, &mut |_, _| {})?;
        }
        let (mut runs, started) = (0_usize, Instant::now());
        while runs == 0 || started.elapsed().as_secs_f64() < seconds {
            ctx.check()?;
            executor.run(&feeds, ctx, &mut |_, _| {})?;
            runs += 1;
        }
        Ok((runs, started.elapsed().as_secs_f64()))
    })?;
    Ok(ForwardSpeed {
        samples_per_second: (runs * batch) as f64 / taken,
        batch,
        threads: ctx.pool().current_num_threads(),
        peak_rss_bytes: peak_rss_bytes(),
        arithmetic,
        integer_layers: executor.integer_layers(),
    })
}

fn feeds(model: &Model, batch: usize, seed: u64) -> Result<Vec<(Wire, Value)>, ExecError> {
    let mut random = Random::new(seed);
    let mut feeds = Vec::new();
    for port in model.inputs.iter().filter(|p| !model.constants.contains_key(&p.wire)) {
        let dims = port.fact.shape.clone().unwrap_or_default();
        let shape: Vec<usize> =
            dims.iter().enumerate().map(|(i, d)| d.known().unwrap_or(if i == 0 { batch } else { 1 })).collect();
        let count = shape.iter().try_fold(1_usize, |n, d| n.checked_mul(*d)).filter(|n| (1..=MOST_VALUES).contains(n));
        let Some(count) = count else {
            let reason =
                format!("an input of shape {shape:?} cannot be made up: it is empty, or larger than {MOST_VALUES} values");
            return Err(ExecError::Feed { wire: port.wire.clone(), reason });
        };
        let value = match port.fact.dtype {
            Some(dtype) if !dtype.is_float() => Value { dtype, ..Value::from_i64(vec![0; count], &shape)? },
            dtype => Value {
                dtype: dtype.unwrap_or(DType::F32),
                ..Value::from_f32((0..count).map(|_| random.normal()).collect(), &shape)?
            },
        };
        feeds.push((port.wire.clone(), value));
    }
    Ok(feeds)
}

/// Most memory that this process has held, in bytes; 0 where the system does not say.
#[must_use]
pub fn peak_rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:")).unwrap_or("0 kB");
    line.split_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1024
}
