//! Time by the roofline model (Williams, Waterman and Patterson 2009): a layer takes as long as its arithmetic or its
//! memory traffic does, whichever is longer, and a little to start.

use super::{Kernel, Machine, beside, values};
use crate::engine::Ctx;
use crate::engine::exec::{Arithmetic, ExecError, Executor, Request};
use crate::engine::graph::{LayerKind, Model, Wire};
use crate::engine::tensor::Value;
use crate::pipeline::configure::LayerPlan;
use crate::pipeline::load::Subject;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::time::Instant;

/// Runs of which the quickest counts.
const RUNS: usize = 5;

/// What the model says against what the clock says.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Milliseconds for one sample.
    pub predicted: f64,
    pub measured: f64,
    /// Samples that ran together.
    pub batch: usize,
}

/// Milliseconds of a layer for one sample, in a batch large enough that weights stay near.
pub(super) fn milliseconds(plan: &LayerPlan, model: &Model, kernel: Kernel, machine: &Machine) -> Option<f64> {
    let layer = &plan.layer;
    // Between the numbers of channels that go in and come out.
    let width = (layer.shape.iter().take(2).product::<usize>() as f64).sqrt().round() as usize;
    let is_pointwise = layer.shape.len() > 2 && layer.shape.iter().skip(2).all(|taps| *taps == 1);
    let rate = |kernel: Kernel| match (layer.kind, kernel) {
        (LayerKind::Depthwise, Kernel::Float) => machine.depthwise,
        (LayerKind::Depthwise, Kernel::Integer) => machine.depthwise_integer,
        (LayerKind::Gemm | LayerKind::MatMul | LayerKind::Linear, Kernel::Float) => machine.matrix.at(width),
        (LayerKind::Gemm | LayerKind::MatMul | LayerKind::Linear, Kernel::Integer) => machine.matrix_integer.at(width),
        (_, Kernel::Float) if is_pointwise => machine.pointwise.at(width),
        (_, Kernel::Integer) if is_pointwise => machine.pointwise_integer.at(width),
        (_, Kernel::Float) => machine.convolution.at(width),
        (_, Kernel::Integer) => machine.convolution_integer.at(width),
    };
    let data = values(model, &layer.input)? + values(model, &layer.output)?;
    let bytes = if kernel == Kernel::Integer { data } else { 4.0 * data };
    let own = (layer.macs? as f64 / rate(kernel)).max(bytes / machine.bytes_per_second);
    // Thin matrices beside it read and write floats once more.
    let more = match beside(plan, layer.macs?) {
        0 => 0.0,
        macs => (macs as f64 / rate(Kernel::Float)).max(4.0 * data / machine.bytes_per_second),
    };
    Some(1e3 * (own + more))
}

/// Milliseconds for one sample of what is no layer and is not joined to one: traffic alone.
pub(super) fn beside_layers(subject: &Subject, machine: &Machine) -> f64 {
    let model = &subject.folded;
    let layers: BTreeSet<&Wire> = subject.layers.iter().map(|l| &l.output).collect();
    // Elementwise nodes run with what comes before them.
    let moves = |op: &str| !crate::engine::graph::is_elementwise(op) && !matches!(op, "Reshape" | "Flatten" | "Identity");
    let nodes = model.nodes.iter().filter(|n| moves(&n.op) && n.output(0).is_none_or(|w| !layers.contains(w)));
    let moved: f64 = nodes.flat_map(|n| n.inputs.iter().chain(&n.outputs).flatten()).filter_map(|w| values(model, w)).sum();
    1e3 * 4.0 * moved / machine.bytes_per_second
}

/// Runs the original in floats on `batch`, the quickest of a few times, against what the model says.
///
/// # Errors
/// When it cannot be run, or on cancel.
pub fn check(subject: &Subject, predicted: f64, batch: &Value, ctx: &Ctx) -> Result<Check, ExecError> {
    let model = &subject.folded;
    let executor = Executor::new(model, &Request { arithmetic: Arithmetic::Simulated, ..Request::default() })?;
    let Some(input) = model.data_input() else { return Err(ExecError::NoSource { wire: "input".into() }) };
    let feeds = [(input.wire.clone(), batch.clone())];
    let samples = batch.shape().first().copied().unwrap_or(1).max(1);
    let mut best = f64::INFINITY;
    for _ in 0..RUNS {
        ctx.check()?;
        let started = Instant::now();
        executor.run(&feeds, ctx, &mut |_, _| {})?;
        best = best.min(started.elapsed().as_secs_f64());
    }
    Ok(Check { predicted, measured: 1e3 * best / samples as f64, batch: samples })
}
