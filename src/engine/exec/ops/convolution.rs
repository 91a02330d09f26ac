//! Convolutions, and the geometry of windows that pooling shares.

use super::{Call, Operator, install};
use crate::engine::exec::data::{OpError, OpResult, fail, floats, make, with, with2};
use crate::engine::graph::{Auto, Node, transposed_axes, window_axes};
use crate::engine::kernels::convolve::{Finish, Geometry, Weights, convolve};
use crate::engine::tensor::Value;

pub(super) fn find(op: &str) -> Option<Operator> {
    Some(match op {
        "Conv" => conv,
        "ConvTranspose" => conv_transpose,
        _ => return None,
    })
}

/// Up to three spatial axes as three, unused ones in front.
pub(in crate::engine::exec) fn spatial3<T: Copy>(axes: &[T], unused: T) -> OpResult<[T; 3]> {
    match *axes {
        [] => Ok([unused; 3]),
        [w] => Ok([unused, unused, w]),
        [h, w] => Ok([unused, h, w]),
        [d, h, w] => Ok([d, h, w]),
        _ => fail(format!("{} spatial axes are not supported; at most 3 are", axes.len())),
    }
}

/// A convolution whose weights are packed once, with what follows it.
pub(in crate::engine::exec) struct PackedConv {
    node: Node,
    weights: Weights,
    shape: Vec<usize>,
    pub low: f32,
    pub high: f32,
}

/// Number of groups of a convolution.
fn groups_of(node: &Node) -> usize {
    node.int("group").unwrap_or(1).max(1) as usize
}

impl PackedConv {
    pub fn new(node: &Node, weight: &Value, bias: Option<&Value>) -> OpResult<Self> {
        let groups = groups_of(node);
        let shape = weight.shape().to_vec();
        if shape.len() < 3 || shape.contains(&0) || !shape[0].is_multiple_of(groups) {
            return fail(format!("a weight of shape {shape:?} does not fit a convolution of {groups} groups"));
        }
        let bias = bias.map(floats).transpose()?.unwrap_or_default();
        if !bias.is_empty() && bias.len() != shape[0] {
            return fail(format!("a bias of {} does not fit {} output channels", bias.len(), shape[0]));
        }
        let weights = with::<f32, _>(weight, |w| Weights::pack(w, &bias, groups, shape[0]))?;
        Ok(Self { node: node.clone(), weights, shape, low: f32::NEG_INFINITY, high: f32::INFINITY })
    }

    /// Convolves `x`, adds `residual`, applies the limits.
    pub fn run(&self, x: &Value, residual: Option<&Value>, pool: Option<&rayon::ThreadPool>) -> OpResult<Value> {
        let groups = groups_of(&self.node);
        let [batch, channels, spatial @ ..] = x.shape() else { return fail("a batch and a channel axis are needed") };
        if *channels != self.shape[1] * groups {
            let wanted = self.shape[1] * groups;
            return fail(format!("the input has {channels} channels, the weight of shape {:?} needs {wanted}", self.shape));
        }
        let kernel = &self.shape[2..];
        let axes = window_axes(&self.node, spatial, kernel, Auto::Conv).map_err(OpError::Reason)?;
        let geometry = Geometry {
            groups,
            in_channels: *channels,
            out_channels: self.shape[0],
            input: spatial3(spatial, 1)?,
            kernel: spatial3(kernel, 1)?,
            stride: spatial3(&axes.stride, 1)?,
            dilation: spatial3(&axes.dilation, 1)?,
            pad: spatial3(&axes.pad_before, 0)?,
            output: spatial3(&axes.output, 1)?,
        };
        let shape: Vec<usize> = [*batch, self.shape[0]].iter().chain(&axes.output).copied().collect();
        let mut out = vec![0.0_f32; shape.iter().product()];
        let mut run = |input: &[f32], residual: Option<&[f32]>| {
            let finish = Finish { low: self.low, high: self.high, residual };
            install(pool, || convolve(&geometry, &self.weights, *batch, input, finish, &mut out));
        };
        match residual {
            Some(r) if r.shape() != shape => return fail(format!("shapes {:?} and {shape:?} cannot be added", r.shape())),
            Some(r) => with2::<f32, f32, _>(x, r, |x, r| run(x, Some(r)))?,
            None => with::<f32, _>(x, |x| run(x, None))?,
        }
        make(x.dtype, out, &shape)
    }
}

impl PackedConv {
    /// [`PackedConv::run`] with `other` added; of any shape that broadcasts.
    pub fn run_and_add(&self, x: &Value, other: &Value, pool: Option<&rayon::ThreadPool>) -> OpResult<Vec<Value>> {
        let fits = {
            let axes = window_axes(&self.node, x.shape().get(2..).unwrap_or_default(), &self.shape[2..], Auto::Conv)
                .map_err(OpError::Reason)?;
            let expected = x.shape().iter().take(1).chain(&self.shape[..1]).chain(&axes.output);
            expected.eq(other.shape())
        };
        if fits {
            return Ok(vec![self.run(x, Some(other), pool)?]);
        }
        let bare = Self {
            low: f32::NEG_INFINITY,
            high: f32::INFINITY,
            weights: self.weights.clone(),
            node: self.node.clone(),
            shape: self.shape.clone(),
        };
        let sum = super::elementwise::add(&bare.run(x, None, pool)?, other, pool)?;
        let (low, high) = (self.low, self.high);
        let limited = with::<f32, _>(&sum, |s| {
            s.iter()
                .map(|v| {
                    let v = if *v < low { low } else { *v };
                    if v > high { high } else { v }
                })
                .collect::<Vec<f32>>()
        })?;
        Ok(vec![make(sum.dtype, limited, sum.shape())?])
    }
}

fn conv(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let packed = PackedConv::new(c.node, c.input(1)?, c.optional(2))?;
    Ok(vec![packed.run(c.input(0)?, None, c.pool)?])
}

/// A transposed convolution is a convolution of the input spread out by the stride, with the
/// kernel turned around.
fn conv_transpose(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, weight) = (c.input(0)?, c.input(1)?);
    let groups = groups_of(c.node);
    let ([batch, channels, spatial @ ..], [in_channels, per_group, kernel @ ..]) = (x.shape(), weight.shape()) else {
        return fail("a batch and a channel axis are needed");
    };
    if channels != in_channels || kernel.len() != spatial.len() || channels % groups != 0 {
        return fail(format!("a weight of shape {:?} does not fit an input of shape {:?}", weight.shape(), x.shape()));
    }
    let axes = transposed_axes(c.node, spatial, kernel).map_err(OpError::Reason)?;
    let (out_channels, stride) = (per_group * groups, &axes.stride);
    let spread: Vec<usize> = spatial.iter().zip(stride).map(|(n, s)| (n.max(&1) - 1) * s + 1).collect();
    let input = with::<f32, _>(x, |s| spread_out(s, batch * channels, spatial, stride, &spread))?;
    let turned = with::<f32, _>(weight, |w| turn(w, groups, channels / groups, *per_group, kernel.iter().product()))?;
    let bias = c.optional(2).map(floats).transpose()?.unwrap_or_default();
    if !bias.is_empty() && bias.len() != out_channels {
        return fail(format!("a bias of {} does not fit {out_channels} output channels", bias.len()));
    }
    let geometry = Geometry {
        groups,
        in_channels: *channels,
        out_channels,
        input: spatial3(&spread, 1)?,
        kernel: spatial3(kernel, 1)?,
        stride: [1; 3],
        dilation: spatial3(&axes.dilation, 1)?,
        pad: spatial3(&axes.pad_before, 0)?,
        output: spatial3(&axes.output, 1)?,
    };
    let shape: Vec<usize> = [*batch, out_channels].iter().chain(&axes.output).copied().collect();
    let mut out = vec![0.0_f32; shape.iter().product()];
    let weights = Weights::pack(&turned, &bias, groups, out_channels);
    c.install(|| convolve(&geometry, &weights, *batch, &input, Finish::NONE, &mut out));
    Ok(vec![make(x.dtype, out, &shape)?])
}

/// Puts zeros between neighbors.
fn spread_out(x: &[f32], planes: usize, from: &[usize], stride: &[usize], to: &[usize]) -> Vec<f32> {
    let (size, spread) = (from.iter().product::<usize>(), to.iter().product::<usize>());
    let mut out = vec![0.0; planes * spread];
    for (i, v) in x.iter().enumerate() {
        let (plane, mut rest, mut place, mut step) = (i / size, i % size, 0, 1);
        for a in (0..from.len()).rev() {
            place += rest % from[a] * stride[a] * step;
            rest /= from[a];
            step *= to[a];
        }
        out[plane * spread + place] = *v;
    }
    out
}

/// `[groups·in, out, taps]` to `[groups·out, in, taps turned around]`.
fn turn(w: &[f32], groups: usize, per_in: usize, per_out: usize, taps: usize) -> Vec<f32> {
    let mut out = Vec::with_capacity(w.len());
    for g in 0..groups {
        for o in 0..per_out {
            for i in 0..per_in {
                let row = &w[((g * per_in + i) * per_out + o) * taps..][..taps];
                out.extend(row.iter().rev());
            }
        }
    }
    out
}
