//! Convolutions, and the geometry of windows that pooling shares.

use super::cast::cast_to;
use super::{Call, Operator, install};
use crate::engine::exec::data::{
    Held as HeldAs, OpError, OpResult, fail, floats, held, make, make_channels_last, unsupported, with, with_channels_last,
};
use crate::engine::exec::image::{Buffer, Held, Image};
use crate::engine::exec::memory::room;
use crate::engine::graph::{Auto, Node, transposed_axes, window_axes};
use crate::engine::kernels::convolve::{Finish, Geometry, Weights, convolve};
use crate::engine::kernels::tile::limit;
use crate::engine::tensor::{DType, Value};

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
        _ => unsupported(format!("{} spatial axes are not supported; at most 3 are", axes.len())),
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
pub(super) fn groups_of(node: &Node) -> usize {
    node.int("group").unwrap_or(1).max(1) as usize
}

impl PackedConv {
    pub fn new(node: &Node, weight: &Value, bias: Option<&Value>) -> OpResult<Self> {
        let groups = groups_of(node);
        let shape = weight.shape().to_vec();
        if shape.len() < 3 || shape.contains(&0) || !shape[0].is_multiple_of(groups) {
            return fail(format!("a weight of shape {shape:?} does not fit a convolution of {groups} groups"));
        }
        if held(weight)? != HeldAs::F32 {
            return fail(format!("a weight of floating-point numbers is needed, not of {}", weight.dtype));
        }
        if let Some(kernel) = node.ints("kernel_shape").filter(|k| !k.iter().map(|k| *k as usize).eq(shape[2..].iter().copied()))
        {
            return fail(format!("a weight of shape {shape:?} does not fit a \"kernel_shape\" of {kernel:?}"));
        }
        let bias = bias.map(floats).transpose()?.unwrap_or_default();
        if !bias.is_empty() && bias.len() != shape[0] {
            return fail(format!("a bias of {} does not fit {} output channels", bias.len(), shape[0]));
        }
        let taps = shape[2..].iter().product();
        let ones = |name: &str| node.ints(name).is_none_or(|all| all.iter().all(|v| *v == 1));
        let square = shape[2..] == [3, 3] && ones("strides") && ones("dilations");
        let weights = with::<f32, _>(weight, |w| {
            if square {
                Weights::pack_square(w, &bias, groups, shape[0])
            } else {
                Weights::pack(w, &bias, groups, shape[0], taps)
            }
        })?;
        Ok(Self { node: node.clone(), weights, shape, low: f32::NEG_INFINITY, high: f32::INFINITY })
    }

    /// The shape of the result for an input of `shape`, and how to get there.
    fn geometry(&self, shape: &[usize]) -> OpResult<(Geometry, Vec<usize>)> {
        let groups = groups_of(&self.node);
        let [batch, channels, spatial @ ..] = shape else { return fail("a batch and a channel axis are needed") };
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
        room::<f32>(&geometry.scratch())?;
        Ok((geometry, [*batch, self.shape[0]].iter().chain(&axes.output).copied().collect()))
    }

    /// Convolves `x`, adds `residual` (of any shape that broadcasts), applies the limits.
    pub fn run(&self, x: &Held, residual: Option<&Held>, pool: Option<&rayon::ThreadPool>) -> OpResult<Held> {
        let (geometry, shape) = self.geometry(x.shape())?;
        let fits = residual.filter(|r| r.shape() == shape && r.dtype() == DType::F32);
        let mut out = Buffer::new(room::<f32>(&shape)?);
        let late = residual.is_some() && fits.is_none();
        let limits = if late { (f32::NEG_INFINITY, f32::INFINITY) } else { (self.low, self.high) };
        let mut run = |input: &[f32], residual: Option<&[f32]>| {
            let finish = Finish { low: limits.0, high: limits.1, residual, beside: None };
            install(pool, || convolve(&geometry, &self.weights, shape[0], input, finish, &mut out));
        };
        match fits {
            Some(r) => x.with_channels_last(|x| r.with_channels_last(|r| run(x, Some(r))))??,
            None => x.with_channels_last(|x| run(x, None))?,
        }
        let image = Held::Image(Image::new(shape, out));
        let done = if x.dtype() == DType::F32 { image } else { Held::Value(cast_to(&image.into_value()?, x.dtype())?) };
        match residual.filter(|_| late) {
            None => Ok(done),
            Some(other) => {
                let sum = super::elementwise::add(&done.into_value()?, &other.clone().into_value()?, pool)?;
                let limits = (self.low, self.high);
                let limited = with::<f32, _>(&sum, |s| s.iter().map(|v| limit(*v, limits)).collect::<Vec<f32>>())?;
                Ok(Held::Value(make(sum.dtype, limited, sum.shape())?))
            }
        }
    }
}

/// Convolutions whose results lie side by side along the channels: `Concat` of what they give, written
/// in place.
pub(in crate::engine::exec) fn run_beside(
    convs: &[PackedConv],
    inputs: &[Option<Held>],
    pool: Option<&rayon::ThreadPool>,
) -> OpResult<Held> {
    let inputs: Vec<&Held> = inputs.iter().flatten().collect();
    let shapes = convs.iter().zip(&inputs).map(|(conv, x)| conv.geometry(x.shape())).collect::<OpResult<Vec<_>>>()?;
    let Some((_, first)) = shapes.first().filter(|_| inputs.len() == convs.len()) else { return fail("an input is missing") };
    if let Some((_, other)) = shapes.iter().find(|(_, s)| s[0] != first[0] || s[2..] != first[2..]) {
        return fail(format!("shapes {first:?} and {other:?} cannot be joined along axis 1"));
    }
    if inputs.iter().any(|x| x.dtype() != DType::F32) {
        let parts = convs.iter().zip(&inputs).map(|(conv, x)| Ok(conv.run(x, None, pool)?.into_value()?.data));
        let data = candle_core::Tensor::cat(&parts.collect::<OpResult<Vec<_>>>()?, 1)?;
        return Ok(Held::Value(Value { dtype: inputs[0].dtype(), data }));
    }
    let mut shape = first.clone();
    shape[1] = convs.iter().map(|c| c.shape[0]).sum();
    let mut out = Buffer::new(room::<f32>(&shape)?);
    let mut at = 0;
    for ((conv, x), (geometry, _)) in convs.iter().zip(&inputs).zip(&shapes) {
        let finish = Finish { low: conv.low, high: conv.high, residual: None, beside: Some((shape[1], at)) };
        x.with_channels_last(|x| install(pool, || convolve(geometry, &conv.weights, shape[0], x, finish, &mut out)))?;
        at += conv.shape[0];
    }
    Ok(Held::Image(Image::new(shape, out)))
}

fn conv(c: &Call<'_>) -> OpResult<Vec<Value>> {
    if c.input(0)?.dtype == DType::F64 {
        return super::plain::conv(c);
    }
    let packed = PackedConv::new(c.node, c.input(1)?, c.optional(2))?;
    Ok(vec![packed.run(&Held::Value(c.input(0)?.clone()), None, c.pool)?.into_value()?])
}

/// A transposed convolution is a convolution of the input spread out by the stride, with the
/// kernel turned around.
fn conv_transpose(c: &Call<'_>) -> OpResult<Vec<Value>> {
    let (x, weight) = (c.input(0)?, c.input(1)?);
    if x.dtype == DType::F64 {
        return super::plain::conv_transpose(c);
    }
    if held(x)? != HeldAs::F32 || held(weight)? != HeldAs::F32 {
        return fail(format!("floating-point numbers are needed, not {} and {}", x.dtype, weight.dtype));
    }
    let groups = groups_of(c.node);
    let ([batch, channels, spatial @ ..], [in_channels, per_group, kernel @ ..]) = (x.shape(), weight.shape()) else {
        return fail("a batch and a channel axis are needed");
    };
    if channels != in_channels || kernel.len() != spatial.len() || channels % groups != 0 || weight.shape().contains(&0) {
        return fail(format!("a weight of shape {:?} does not fit an input of shape {:?}", weight.shape(), x.shape()));
    }
    let axes = transposed_axes(c.node, spatial, kernel).map_err(OpError::Reason)?;
    let (out_channels, stride) = (per_group * groups, &axes.stride);
    let spread: Vec<usize> = spatial.iter().zip(stride).map(|(n, s)| (n.max(&1) - 1) * s + 1).collect();
    let shape: Vec<usize> = [*batch, out_channels].iter().chain(&axes.output).copied().collect();
    let total = room::<f32>(&shape)?;
    room::<f32>(&[&[*batch, *channels], spread.as_slice()].concat())?;
    let input = with_channels_last::<f32, _>(x, |s| spread_out(s, *batch, *channels, spatial, stride, &spread))?;
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
    room::<f32>(&geometry.scratch())?;
    let mut out = vec![0.0_f32; total];
    let weights = Weights::pack(&turned, &bias, groups, out_channels, kernel.iter().product());
    c.install(|| convolve(&geometry, &weights, *batch, &input, Finish::NONE, &mut out));
    Ok(vec![make_channels_last(x.dtype, out, &shape)?])
}

/// Puts zeros between neighbors of images whose channels lie last.
pub(super) fn spread_out<T: Copy + Default>(
    x: &[T],
    batch: usize,
    channels: usize,
    from: &[usize],
    stride: &[usize],
    to: &[usize],
) -> Vec<T> {
    let (size, spread) = (from.iter().product::<usize>(), to.iter().product::<usize>());
    let mut out = vec![T::default(); batch * spread * channels];
    for (i, values) in x.chunks(channels.max(1)).enumerate() {
        let (image, mut rest, mut place, mut step) = (i / size, i % size, 0, 1);
        for a in (0..from.len()).rev() {
            place += rest % from[a] * stride[a] * step;
            rest /= from[a];
            step *= to[a];
        }
        out[(image * spread + place) * channels..][..channels].copy_from_slice(values);
    }
    out
}

/// `[groups·in, out, taps]` to `[groups·out, in, taps turned around]`.
pub(super) fn turn<T: Copy>(w: &[T], groups: usize, per_in: usize, per_out: usize, taps: usize) -> Vec<T> {
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
