//! Integer arithmetic: layers whose data and weights are quantized run on the quantized numbers
//! themselves. A layer hands bytes to the next where nobody wants its floats.

mod lower;
#[cfg(test)]
mod tests;

pub(super) use lower::{lower, rounded_wire};

use super::data::{OpError, OpResult, fail, int_scalar, make, scalar, with};
use super::image::{Buffer, Bytes, Held, Image, Order, Reused};
use super::memory::room;
use super::ops::{install, spatial3};
use crate::engine::graph::{Auto, Node, window_axes};
use crate::engine::kernels::integer::{
    Finish, Geometry, Rounding, Sink, Weights, convolve, dequantize_bytes, max_pool, quantize_bytes, quantize_planes,
};
use crate::engine::tensor::{DType, Value};
use rayon::ThreadPool;
use std::sync::Arc;

/// Scale and zero point of unsigned bytes. Signed ones are held 128 higher, with their zero point.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Grid {
    pub scale: f32,
    pub zero: u8,
}

impl Grid {
    fn rounding(self) -> Rounding {
        Rounding { inverse: 1.0 / self.scale, zero: i32::from(self.zero), range: (0, 255) }
    }
}

/// Calls `use_it` with floats that lie as bytes of this order would.
fn with_floats<R>(x: &Held, order: Order, use_it: impl FnOnce(&[f32]) -> R) -> OpResult<R> {
    match (order, x) {
        (Order::ChannelsLast, x) => x.with_channels_last(use_it),
        (Order::Rows, Held::Value(value)) => with(value, use_it),
        (Order::Rows, other) => with(&other.clone().into_value()?, use_it),
    }
}

/// Floats that lie as bytes of this order would.
fn hold_floats(floats: Buffer, order: Order, shape: &[usize]) -> OpResult<Held> {
    match order {
        Order::ChannelsLast if shape.len() >= 3 => Ok(Held::Image(Image::new(shape.to_vec(), floats))),
        _ => Ok(Held::Value(make(DType::F32, floats.to_vec(), shape)?)),
    }
}

fn hold_bytes(bytes: Reused<u8>, order: Order, shape: &[usize]) -> Held {
    Held::Bytes(Bytes { shape: shape.to_vec(), order, data: Arc::new(bytes) })
}

/// Bytes that a step left for another.
fn bytes_of(x: &Held, order: Order) -> OpResult<&Bytes> {
    match x {
        Held::Bytes(bytes) if bytes.order == order => Ok(bytes),
        other => fail(format!("bytes in the order {order:?} were expected and a value of type {} was found", other.dtype())),
    }
}

fn number(value: &Held) -> OpResult<&Value> {
    match value {
        Held::Value(value) => Ok(value),
        other => fail(format!("one number was expected and a tensor of shape {:?} was found", other.shape())),
    }
}

/// One step on bytes.
pub(super) enum IntegerStep {
    /// Floats to bytes.
    Quantize(Grid, Order),
    /// Floats to bytes over the range that they have: bytes, scale, zero point.
    QuantizeDynamic(Order),
    /// Bytes to floats.
    Dequantize(Grid, Order),
    Layer(Box<Layer>),
    /// Of bytes, channels last: rounding and taking the largest can change places.
    MaxPool,
}

impl IntegerStep {
    pub fn run(&self, node: &Node, inputs: &[Option<Held>], pool: Option<&ThreadPool>) -> OpResult<Vec<Held>> {
        let Some(Some(x)) = inputs.first() else { return fail("input 0 is missing") };
        match self {
            Self::Quantize(grid, order) => Ok(vec![quantize(x, *grid, *order, pool)?]),
            Self::QuantizeDynamic(order) => {
                let grid = with_floats(x, Order::Rows, range_of)?;
                let zero = Held::Value(make(DType::U8, vec![i64::from(grid.zero)], &[])?);
                let scale = Held::Value(make(DType::F32, vec![grid.scale], &[])?);
                Ok(vec![quantize(x, grid, *order, pool)?, scale, zero])
            }
            Self::Dequantize(grid, order) => {
                let bytes = bytes_of(x, *order)?;
                let mut out = Buffer::new(bytes.data.len());
                dequantize_bytes(&bytes.data, grid.scale, grid.zero, &mut out);
                Ok(vec![hold_floats(out, *order, &bytes.shape)?])
            }
            Self::Layer(layer) => layer.run(x, &inputs[1..], pool),
            Self::MaxPool => Ok(vec![largest(node, bytes_of(x, Order::ChannelsLast)?, pool)?]),
        }
    }
}

/// The grid that `DynamicQuantizeLinear` lays over the data.
fn range_of(x: &[f32]) -> Grid {
    let (low, high) = x.iter().fold((0.0_f32, 0.0_f32), |(a, b), v| (a.min(*v), b.max(*v)));
    let scale = if high == low { 1.0 } else { (high - low) / 255.0 };
    Grid { scale, zero: (-low / scale).round_ties_even().clamp(0.0, 255.0) as u8 }
}

fn quantize(x: &Held, grid: Grid, order: Order, pool: Option<&ThreadPool>) -> OpResult<Held> {
    let shape = x.shape();
    let mut out = Reused::new(room::<u8>(shape)?);
    match x {
        Held::Value(value) if order == Order::ChannelsLast && shape.len() >= 3 && value.data.is_contiguous() => {
            let planes = [shape[1], shape[2..].iter().product()];
            with::<f32, _>(value, |s| {
                install(pool, || quantize_planes(s, planes, grid.scale, grid.rounding(), &mut out));
            })?;
        }
        _ => with_floats(x, order, |s| install(pool, || quantize_bytes(s, grid.scale, grid.rounding(), &mut out)))?,
    }
    Ok(hold_bytes(out, order, shape))
}

/// A geometry over up to three spatial axes.
fn geometry(node: &Node, spatial: &[usize], kernel: &[usize], auto: Auto) -> OpResult<(Geometry, Vec<usize>)> {
    let axes = window_axes(node, spatial, kernel, auto).map_err(OpError::Reason)?;
    let g = Geometry {
        input: spatial3(spatial, 1)?,
        kernel: spatial3(kernel, 1)?,
        stride: spatial3(&axes.stride, 1)?,
        dilation: spatial3(&axes.dilation, 1)?,
        pad: spatial3(&axes.pad_before, 0)?,
        output: spatial3(&axes.output, 1)?,
    };
    Ok((g, axes.output))
}

fn largest(node: &Node, x: &Bytes, pool: Option<&ThreadPool>) -> OpResult<Held> {
    let [batch, channels, spatial @ ..] = x.shape.as_slice() else { return fail("a batch and a channel axis are needed") };
    let Some(kernel) = node.ints("kernel_shape") else { return fail("attribute \"kernel_shape\" is missing") };
    let kernel: Vec<usize> = kernel.iter().map(|&k| k.max(1) as usize).collect();
    let ceil = node.int("ceil_mode").unwrap_or(0) != 0;
    let (g, output) = geometry(node, spatial, &kernel, Auto::Window { ceil })?;
    let shape: Vec<usize> = [*batch, *channels].iter().chain(&output).copied().collect();
    let mut out = Reused::new(room::<u8>(&shape)?);
    room::<u8>(&g.scratch(*channels))?;
    install(pool, || max_pool(&g, *channels, *batch, &x.data, &mut out));
    Ok(hold_bytes(out, Order::ChannelsLast, &shape))
}

/// Where a layer's input has its scale from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum InputGrid {
    Fixed(Grid),
    /// Found in the data: the layer's next two inputs.
    Given,
}

/// What a layer hands on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Wanted {
    Floats,
    Bytes(Grid),
    /// First the floats, then the bytes.
    Both(Grid),
}

/// What the layer is.
#[derive(Debug, Clone)]
pub(super) enum Shape {
    /// The node says strides and pads; the shape is the weight's.
    Conv { node: Box<Node>, weight: Vec<usize> },
    /// Rows times a matrix.
    Matrix,
}

/// A convolution or matrix product with signed 8-bit weights, and what follows it.
#[derive(Debug, Clone)]
pub(super) struct Layer {
    pub shape: Shape,
    pub weights: Weights,
    /// Of the weights, one per output channel.
    pub scales: Vec<f32>,
    /// One per output channel.
    pub bias: Vec<f32>,
    pub input: InputGrid,
    /// The layer's last input is added before the limits.
    pub adds: bool,
    pub low: f32,
    pub high: f32,
    pub wanted: Wanted,
}

impl Layer {
    pub fn order(&self) -> Order {
        match self.shape {
            Shape::Conv { .. } => Order::ChannelsLast,
            Shape::Matrix => Order::Rows,
        }
    }

    /// Nothing follows the sum yet.
    pub fn is_bare(&self) -> bool {
        !self.adds && self.low == f32::NEG_INFINITY && self.high == f32::INFINITY
    }

    fn geometry(&self, x: &Bytes) -> OpResult<(Geometry, usize, Vec<usize>)> {
        let (channels, of) = (self.weights.in_channels(), self.weights.out_channels());
        match (&self.shape, x.shape.as_slice()) {
            (Shape::Conv { node, weight }, [batch, c, spatial @ ..]) if *c == channels => {
                let (g, output) = geometry(node, spatial, &weight[2..], Auto::Conv)?;
                Ok((g, *batch, [*batch, of].iter().chain(&output).copied().collect()))
            }
            (Shape::Matrix, [rows @ .., c]) if *c == channels && !rows.is_empty() => {
                let shape = rows.iter().copied().chain([of]).collect();
                Ok((Geometry::rows(rows.iter().product()), 1, shape))
            }
            (_, shape) => fail(format!("data of shape {shape:?} do not fit weights of {channels} input channels")),
        }
    }

    fn run(&self, x: &Held, rest: &[Option<Held>], pool: Option<&ThreadPool>) -> OpResult<Vec<Held>> {
        let order = self.order();
        let x = bytes_of(x, order)?;
        let (g, batch, shape) = self.geometry(x)?;
        let given = |i: usize| match rest.get(i) {
            Some(Some(value)) => Ok(value),
            _ => fail(format!("input {} is missing", i + 1)),
        };
        let (grid, next) = match self.input {
            InputGrid::Fixed(grid) => (grid, 0),
            InputGrid::Given => {
                let (scale, zero) = (scalar(number(given(0)?)?)?, int_scalar(number(given(1)?)?)?);
                (Grid { scale, zero: zero as u8 }, 2)
            }
        };
        let residual = if self.adds { Some(given(next)?) } else { None };
        if let Some(r) = residual.filter(|r| r.shape() != shape) {
            return fail(format!("shapes {:?} and {shape:?} cannot be added in integer arithmetic", r.shape()));
        }
        let scale: Vec<f32> = self.scales.iter().map(|s| s * grid.scale).collect();
        let zero = i32::from(grid.zero);
        let offset: Vec<i32> = self.weights.sums().iter().map(|s| zero.wrapping_mul(*s).wrapping_neg()).collect();
        let mut how = Finish { low: self.low, high: self.high, ..Finish::scaled(&offset, &scale, &self.bias) };
        if let Wanted::Bytes(grid) | Wanted::Both(grid) = self.wanted {
            how.rounding = grid.rounding();
        }
        let count = room::<f32>(&shape)?;
        room::<i16>(&g.scratch(self.weights.in_channels()))?;
        let floats = if matches!(self.wanted, Wanted::Bytes(_)) { 0 } else { count };
        let bytes = if self.wanted == Wanted::Floats { 0 } else { count };
        let (mut floats, mut bytes) = (Buffer::new(floats), Reused::new(bytes));
        let sink = match self.wanted {
            Wanted::Floats => Sink::Floats(&mut floats),
            Wanted::Bytes(_) => Sink::Bytes(&mut bytes),
            Wanted::Both(_) => Sink::Both(&mut floats, &mut bytes),
        };
        match residual {
            None => install(pool, || convolve(&g, &self.weights, batch, &x.data, grid.zero, &how, sink)),
            Some(r) => with_floats(r, order, |r| {
                let how = Finish { residual: Some(r), ..how };
                install(pool, || convolve(&g, &self.weights, batch, &x.data, grid.zero, &how, sink));
            })?,
        }
        Ok(match self.wanted {
            Wanted::Floats => vec![hold_floats(floats, order, &shape)?],
            Wanted::Bytes(_) => vec![hold_bytes(bytes, order, &shape)],
            Wanted::Both(_) => vec![hold_floats(floats, order, &shape)?, hold_bytes(bytes, order, &shape)],
        })
    }
}
