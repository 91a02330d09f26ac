//! What quantization did to the data and the weights of one layer.

use super::grid::{DataGrid, WeightGrid};
use crate::engine::graph::{Layer, Model};
use crate::engine::tensor::TensorError;
use serde::{Deserialize, Serialize};

/// What became of values when they were rounded: shares between 0 and 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Damage {
    /// Of the values: beyond the last level by more than half a step.
    pub saturated: f64,
    /// Of Σ|x|: what lies beyond the last level.
    pub clipped_mass: f64,
    /// Of the values that are not zero: rounded to zero.
    pub zeroed: f64,
    /// Of Σ|x|: the values that were rounded to zero.
    pub zeroed_mass: f64,
}

/// One layer's part of the contamination report.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Contamination {
    pub name: String,
    /// Of the data that the layer reads; `None` where they are not rounded.
    pub data: Option<Damage>,
    /// Of the weights; `None` where they are unchanged.
    pub weights: Option<Damage>,
    /// Output channels of which no weight is left, and had some.
    pub dead_channels: usize,
    pub channels: usize,
    /// The largest magnitude that a sum of integer products and the bias can reach in the worst case, over
    /// 2³¹ − 1: above 1 it does not fit 32 bits. `None` where data or weights are no integers of one scale.
    pub accumulator: Option<f64>,
    /// The largest mean error of an output channel, over the root mean square of the output.
    pub bias_error: Option<f64>,
    /// The share of the layer's own error (in power) that the mean errors of its channels are.
    pub bias_share: Option<f64>,
    /// Outputs that are NaN or infinite where the original's are not.
    pub not_finite: u64,
    /// The power of the error that the layer makes alone, over that of all error at its output. Above 1
    /// errors of earlier layers cancel some of it.
    pub own_share: Option<f64>,
}

/// Sums over values and what they were rounded to.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct DamageSums {
    values: u64,
    nonzero: u64,
    mass: f64,
    saturated: u64,
    clipped: f64,
    zeroed: u64,
    zeroed_mass: f64,
}

impl DamageSums {
    /// One value, what became of it, and the levels at the ends, where they are known: (lowest, highest, step).
    fn add(&mut self, x: f32, rounded: f32, ends: Option<(f32, f32, f32)>) {
        if !x.is_finite() {
            return;
        }
        self.values += 1;
        self.mass += f64::from(x.abs());
        if x != 0.0 {
            self.nonzero += 1;
            if rounded == 0.0 {
                self.zeroed += 1;
                self.zeroed_mass += f64::from(x.abs());
            }
        }
        if let Some((low, high, step)) = ends {
            let beyond = (x - high).max(low - x);
            // What lies within half a step of the last level is rounded to it, as any other value.
            if beyond > 0.5001 * step {
                self.saturated += 1;
                self.clipped += f64::from(beyond);
            }
        }
    }

    pub(super) fn add_data(&mut self, x: &[f32], rounded: &[f32], grid: &DataGrid) {
        let ends = grid.ends();
        x.iter().zip(rounded).for_each(|(x, r)| self.add(*x, *r, ends));
    }

    pub(super) fn finish(self) -> Damage {
        let share = |part: f64, whole: f64| if whole > 0.0 { part / whole } else { 0.0 };
        Damage {
            saturated: share(self.saturated as f64, self.values as f64),
            clipped_mass: share(self.clipped, self.mass),
            zeroed: share(self.zeroed as f64, self.nonzero as f64),
            zeroed_mass: share(self.zeroed_mass, self.mass),
        }
    }
}

/// What can be said of a layer without running it.
#[derive(Debug, Default)]
pub(super) struct WeightFindings {
    pub damage: Option<Damage>,
    pub dead_channels: usize,
    pub channels: usize,
    pub accumulator: Option<f64>,
}

/// Sums over one output channel.
#[derive(Clone, Copy)]
struct Row {
    low: f32,
    high: f32,
    before: f64,
    after: f64,
}

/// Holds the weights of a layer against the original's. `after` is in the order of `layer.shape`, as `before` is.
pub(super) fn of_weights(
    layer: &Layer,
    (before, after): (&[f32], &[f32]),
    weights: Option<&WeightGrid>,
    data: Option<&DataGrid>,
    variant: &Model,
) -> Result<WeightFindings, TensorError> {
    let channels = layer.out_channels().max(1);
    let inner: usize = layer.shape.iter().skip(layer.out_axis + 1).product::<usize>().max(1);
    let channel = |i: usize| i / inner % channels;
    let mut rows = vec![Row { low: f32::INFINITY, high: f32::NEG_INFINITY, before: 0.0, after: 0.0 }; channels];
    for (i, (b, a)) in before.iter().zip(after).enumerate() {
        if let Some(row) = rows.get_mut(channel(i)) {
            (row.low, row.high) = (row.low.min(*a), row.high.max(*a));
            (row.before, row.after) = (row.before + f64::from(b.abs()), row.after + f64::from(a.abs()));
        }
    }
    let changed = before.iter().zip(after).any(|(b, a)| b.to_bits() != a.to_bits());
    let damage = changed.then(|| {
        let mut sums = DamageSums::default();
        for (i, (b, a)) in before.iter().zip(after).enumerate() {
            let step = weights.and_then(|w| w.scale(channel(i)));
            let ends = rows.get(channel(i)).zip(step).map(|(row, step)| (row.low, row.high, step));
            sums.add(*b, *a, ends);
        }
        sums.finish()
    });
    let bias = match layer.bias.as_ref().and_then(|b| variant.constants.get(b)) {
        Some(bias) => bias.to_f32()?,
        None => Vec::new(),
    };
    let accumulator = weights.zip(data).and_then(|(weights, data)| {
        let (reach, scale) = (data.reach()?, data.scale());
        let sum = |(c, row): (usize, &Row)| {
            let step = f64::from(weights.scale(c)?);
            let added = scale.map_or(0.0, |s| bias.get(c).map_or(0.0, |b| f64::from(b.abs()) / (step * f64::from(s))));
            Some(row.after / step * reach + added)
        };
        let sums = rows.iter().enumerate().map(sum).collect::<Option<Vec<f64>>>()?;
        let worst = sums.into_iter().fold(0.0, f64::max) / f64::from(i32::MAX);
        worst.is_finite().then_some(worst)
    });
    let dead_channels = rows.iter().filter(|r| r.before > 0.0 && r.after == 0.0).count();
    Ok(WeightFindings { damage, dead_channels, channels, accumulator })
}

/// Mean errors of the channels of a layer's output.
#[derive(Debug, Clone, Default)]
pub(super) struct BiasSums {
    sums: Vec<f64>,
    each: u64,
}

impl BiasSums {
    /// Outputs of the original and of the layer alone, and the axis of the channels; no non-finite pair counts.
    pub(super) fn add(&mut self, before: &[f32], after: &[f32], shape: &[usize], axis: usize) {
        let count = shape.get(axis).copied().unwrap_or(1).max(1);
        let inner = shape.iter().skip(axis + 1).product::<usize>().max(1);
        self.sums.resize(count, 0.0);
        self.each += (before.len() / count) as u64;
        for (plane, (b, a)) in before.chunks(inner).zip(after.chunks(inner)).enumerate() {
            let errors = a.iter().zip(b).map(|(a, b)| f64::from(*a) - f64::from(*b)).filter(|e| e.is_finite());
            if let Some(sum) = self.sums.get_mut(plane % count) {
                *sum += errors.sum::<f64>();
            }
        }
    }

    /// The largest mean over the root mean square of the output, and the share of the error that means are,
    /// given the sums of squares of output and error.
    pub(super) fn finish(&self, signal: f64, error: f64) -> Option<(f64, f64)> {
        let each = self.each as f64;
        let values = each * self.sums.len() as f64;
        if error <= 0.0 || signal <= 0.0 || values == 0.0 {
            return None;
        }
        let means = self.sums.iter().map(|s| s / each);
        let largest = means.clone().fold(0.0, |m: f64, mean| m.max(mean.abs()));
        let power: f64 = means.map(|m| m * m * each).sum();
        Some((largest / (signal / values).sqrt(), (power / error).min(1.0)))
    }
}
