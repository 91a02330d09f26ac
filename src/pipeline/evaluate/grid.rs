//! The grids that data and weights of a layer lie on, read off the compressed graph.

use crate::engine::Ctx;
use crate::engine::exec::{ExecError, Executor, Request};
use crate::engine::graph::{Layer, Model, Node, Wire};
use crate::engine::tensor::DType;
use std::collections::BTreeMap;

/// The levels that the data of a layer are rounded to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum DataGrid {
    /// Codes from `low` to `high` of one scale.
    Fixed { scale: f32, zero: i64, low: i64, high: i64 },
    /// Bytes over the range of each batch.
    Bytes,
    /// Levels that are found while the model runs, in floats.
    Other,
}

impl DataGrid {
    /// The lowest and the highest level, and the step between levels.
    pub(super) fn ends(&self) -> Option<(f32, f32, f32)> {
        match *self {
            Self::Fixed { scale, zero, low, high } => Some(((low - zero) as f32 * scale, (high - zero) as f32 * scale, scale)),
            Self::Bytes | Self::Other => None,
        }
    }

    /// The largest magnitude of a code less its zero point.
    pub(super) fn reach(&self) -> Option<f64> {
        match *self {
            Self::Fixed { zero, low, high, .. } => Some((zero - low).abs().max((high - zero).abs()) as f64),
            Self::Bytes => Some(255.0),
            Self::Other => None,
        }
    }

    pub(super) fn scale(&self) -> Option<f32> {
        if let Self::Fixed { scale, .. } = *self { Some(scale) } else { None }
    }
}

/// Scales of a layer's weights.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct WeightGrid {
    /// One, or one per output channel.
    scales: Vec<f32>,
}

impl WeightGrid {
    pub(super) fn scale(&self, channel: usize) -> Option<f32> {
        let scale = if let [one] = self.scales.as_slice() { Some(one) } else { self.scales.get(channel) };
        scale.copied().filter(|s| s.is_finite() && *s > 0.0)
    }
}

/// Which nodes of a graph make its wires.
pub(super) struct Makers<'a> {
    model: &'a Model,
    nodes: BTreeMap<&'a Wire, &'a Node>,
}

impl<'a> Makers<'a> {
    pub(super) fn new(model: &'a Model) -> Self {
        let nodes = model.nodes.iter().flat_map(|n| n.outputs.iter().flatten().map(move |w| (w, n))).collect();
        Self { model, nodes }
    }

    /// The wire from which a layer reads its rounded data, and their grid; `None` where it reads what the
    /// original reads.
    pub(super) fn data(&self, layer: &Layer) -> Option<(&'a Wire, DataGrid)> {
        // Not by its output: something may be added to that.
        let node = layer.node.and_then(|id| self.model.node(id)).or_else(|| self.nodes.get(&layer.output).copied())?;
        let wire = node.input(0).filter(|w| **w != layer.input)?;
        Some((wire, self.grid(wire).unwrap_or(DataGrid::Other)))
    }

    fn grid(&self, wire: &Wire) -> Option<DataGrid> {
        let back = self.nodes.get(wire).filter(|n| n.op == "DequantizeLinear")?;
        if self.nodes.get(back.input(0)?).is_some_and(|n| n.op == "DynamicQuantizeLinear") {
            return Some(DataGrid::Bytes);
        }
        let single = |wire: &Wire| self.model.constants.get(wire).filter(|t| t.len() == 1);
        let scale = single(back.input(1)?)?.to_f32().ok()?.first().copied()?;
        let (zero, dtype) = match back.input(2).map(single) {
            None => (0, DType::U8),
            Some(point) => (point?.to_i64().ok()?.first().copied()?, point?.dtype()),
        };
        let (low, high) = dtype.integer_range()?;
        Some(DataGrid::Fixed { scale, zero, low, high })
    }

    /// Where weights are integers of one scale, or of one per output channel.
    pub(super) fn weights(&self, layer: &Layer) -> Option<WeightGrid> {
        let node = self.nodes.get(&layer.weight).filter(|n| n.op == "DequantizeLinear")?;
        let codes = self.model.constants.get(node.input(0)?)?;
        let scales = self.model.constants.get(node.input(1)?)?;
        let by_channel = scales.shape().len() == 1
            && scales.len() == layer.out_channels()
            && node.int("axis").unwrap_or(1) == i64::try_from(layer.out_axis).ok()?;
        codes.dtype().integer_range()?;
        (scales.len() == 1 || by_channel).then(|| scales.to_f32().ok().map(|scales| WeightGrid { scales })).flatten()
    }

    /// The weights that a layer computes with, in the order of its shape.
    ///
    /// # Errors
    /// When the nodes that make them cannot run.
    pub(super) fn values(&self, layer: &Layer, ctx: &Ctx) -> Result<Option<Vec<f32>>, ExecError> {
        if let Some(tensor) = self.model.constants.get(&layer.weight) {
            return Ok(Some(tensor.to_f32()?));
        }
        if !self.nodes.contains_key(&layer.weight) {
            return Ok(None);
        }
        let request = Request { inputs: Some(Vec::new()), outputs: Some(vec![layer.weight.clone()]), ..Request::default() };
        let made = Executor::new(self.model, &request)?.run(&[], ctx, &mut |_, _| {})?;
        Ok(made.first().map(|(_, value)| value.to_f32()).transpose()?)
    }
}
