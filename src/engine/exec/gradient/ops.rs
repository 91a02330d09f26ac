//! Operators in terms of what candle can differentiate.

use super::windows::{average_pool, convolve, max_pool};
use super::{Inputs, Trouble, log_softmax};
use crate::engine::graph::{Node, slice_places};
use candle_core::{Device, Tensor};

type Made = Result<Vec<Tensor>, Trouble>;

pub(super) fn refuse<T>(reason: impl Into<String>) -> Result<T, Trouble> {
    Err(Trouble::Refused(reason.into()))
}

/// The outputs of a node; those that are left out stand last.
pub(super) fn compute(node: &Node, inputs: &Inputs<'_>) -> Made {
    if !matches!(node.domain.as_str(), "" | "ai.onnx") {
        return refuse("gradients do not pass through operators of other sets");
    }
    let x = || inputs.float(node, 0);
    let y = || inputs.float(node, 1);
    let made = match node.op.as_str() {
        "Identity" | "Dropout" => x()?,
        "Add" => x()?.broadcast_add(&y()?)?,
        "Sub" => x()?.broadcast_sub(&y()?)?,
        "Mul" => x()?.broadcast_mul(&y()?)?,
        "Div" => x()?.broadcast_div(&y()?)?,
        "Relu" => x()?.relu()?,
        "LeakyRelu" => leaky(&x()?, f64::from(node.float("alpha").unwrap_or(0.01)))?,
        "Clip" => clip(node, inputs, &x()?)?,
        "Sigmoid" => sigmoid(&x()?)?,
        "Tanh" => x()?.tanh()?,
        "Exp" => x()?.exp()?,
        "Log" => x()?.log()?,
        "Sqrt" => x()?.sqrt()?,
        "Neg" => x()?.neg()?,
        "Erf" => x()?.erf()?,
        "HardSigmoid" => {
            let (slope, offset) = (node.float("alpha").unwrap_or(0.2), node.float("beta").unwrap_or(0.5));
            between(&x()?.affine(f64::from(slope), f64::from(offset))?, 0.0, 1.0)?
        }
        "HardSwish" => (x()? * between(&x()?.affine(1.0 / 6.0, 0.5)?, 0.0, 1.0)?)?,
        "Conv" => convolve(node, &x()?, &y()?, third(node, inputs)?.as_ref())?,
        "Gemm" => gemm(node, inputs)?,
        "MatMul" => x()?.broadcast_matmul(&y()?)?,
        "BatchNormalization" => batch_norm(node, inputs)?,
        "MaxPool" => max_pool(node, &x()?)?,
        "AveragePool" => average_pool(node, &x()?)?,
        "GlobalAveragePool" => x()?.mean_keepdim(3)?.mean_keepdim(2)?,
        "ReduceMean" => reduce_mean(node, inputs)?,
        "Softmax" => log_softmax(&x()?, last_axis(node, inputs, x()?.rank())?)?.exp()?,
        "LogSoftmax" => log_softmax(&x()?, last_axis(node, inputs, x()?.rank())?)?,
        "Concat" => {
            let parts = (0..node.inputs.len()).map(|i| inputs.float(node, i)).collect::<Result<Vec<_>, _>>()?;
            let rank = parts.first().map_or(0, Tensor::rank);
            Tensor::cat(&parts, front(node.int("axis").unwrap_or(1), rank)?)?
        }
        "Flatten" => {
            let x = x()?;
            let at = node.int("axis").unwrap_or(1);
            let at = if at == x.rank() as i64 { x.rank() } else { front(at, x.rank())? };
            let before: usize = x.dims()[..at].iter().product();
            x.reshape((before, x.elem_count() / before.max(1)))?
        }
        "Reshape" => reshape(node, inputs, &x()?)?,
        "Transpose" => {
            let x = x()?;
            let order: Vec<i64> = node.ints("perm").map_or_else(|| (0..x.rank() as i64).rev().collect(), <[i64]>::to_vec);
            x.permute(order.iter().map(|a| front(*a, x.rank())).collect::<Result<Vec<_>, _>>()?)?.contiguous()?
        }
        "Squeeze" | "Unsqueeze" => ranked(node, inputs, &x()?)?,
        "Slice" => slice(node, inputs, x()?)?,
        "Pad" => pad(node, inputs, x()?)?,
        op => return refuse(format!("gradients do not pass through {op} yet; choose another importance")),
    };
    Ok(vec![made])
}

fn third(node: &Node, inputs: &Inputs<'_>) -> Result<Option<Tensor>, Trouble> {
    if Inputs::has(node, 2) { inputs.float(node, 2).map(Some) } else { Ok(None) }
}

/// An axis as counted from the front.
fn front(axis: i64, rank: usize) -> Result<usize, Trouble> {
    let at = usize::try_from(if axis < 0 { axis.saturating_add(rank as i64) } else { axis }).ok();
    at.filter(|at| *at < rank).map_or_else(|| refuse(format!("it has no axis {axis}")), Ok)
}

fn last_axis(node: &Node, inputs: &Inputs<'_>, rank: usize) -> Result<usize, Trouble> {
    let default = if inputs.opset() < 13 { 1 } else { -1 };
    let axis = front(node.int("axis").unwrap_or(default), rank)?;
    // Older sets take everything from the axis on together.
    if inputs.opset() < 13 && axis + 1 != rank { refuse("an old softmax over several axes") } else { Ok(axis) }
}

fn leaky(x: &Tensor, slope: f64) -> Result<Tensor, Trouble> {
    Ok((x.relu()? - (x.neg()?.relu()? * slope)?)?)
}

fn sigmoid(x: &Tensor) -> Result<Tensor, Trouble> {
    // tanh does not overflow where the exponential would.
    Ok((x.affine(0.5, 0.0)?.tanh()?).affine(0.5, 0.5)?)
}

/// Values cut off at both ends, by differences of rectifiers: gradients pass where nothing was cut off.
fn between(x: &Tensor, low: f64, high: f64) -> Result<Tensor, Trouble> {
    let above = if low.is_finite() { x.affine(1.0, -low)?.relu()?.affine(1.0, low)? } else { x.clone() };
    Ok(if high.is_finite() { above.affine(-1.0, high)?.relu()?.affine(-1.0, high)? } else { above })
}

/// Bounds are attributes up to set 10 and inputs from set 11 on.
fn clip(node: &Node, inputs: &Inputs<'_>, x: &Tensor) -> Result<Tensor, Trouble> {
    let bound = |index: usize, name: &str, open: f64| -> Result<f64, Trouble> {
        if !Inputs::has(node, index) {
            return Ok(node.float(name).map_or(open, f64::from));
        }
        let all = inputs.float(node, index)?.flatten_all()?.to_vec1::<f32>()?;
        Ok(all.first().map_or(open, |v| f64::from(*v)))
    };
    // Bounds at the ends of what floats hold are none.
    let open = |v: f64| if v.abs() >= f64::from(f32::MAX) { v.signum() * f64::INFINITY } else { v };
    between(x, open(bound(1, "min", f64::NEG_INFINITY)?), open(bound(2, "max", f64::INFINITY)?))
}

fn gemm(node: &Node, inputs: &Inputs<'_>) -> Result<Tensor, Trouble> {
    let side = |index: usize, name: &str| -> Result<Tensor, Trouble> {
        let matrix = inputs.float(node, index)?;
        Ok(if node.int(name).unwrap_or(0) != 0 { matrix.t()?.contiguous()? } else { matrix })
    };
    let product = side(0, "transA")?.matmul(&side(1, "transB")?)?;
    let product = product.affine(f64::from(node.float("alpha").unwrap_or(1.0)), 0.0)?;
    let Some(added) = third(node, inputs)? else { return Ok(product) };
    Ok(product.broadcast_add(&added.affine(f64::from(node.float("beta").unwrap_or(1.0)), 0.0)?)?)
}

fn batch_norm(node: &Node, inputs: &Inputs<'_>) -> Result<Tensor, Trouble> {
    let x = inputs.float(node, 0)?;
    let mut shape = vec![1; x.rank()];
    let Some(channels) = shape.get_mut(1) else { return refuse("its data have no channels") };
    *channels = x.dim(1)?;
    let of = |index: usize| -> Result<Tensor, Trouble> { Ok(inputs.float(node, index)?.reshape(shape.as_slice())?) };
    let deviation = of(4)?.affine(1.0, f64::from(node.float("epsilon").unwrap_or(1e-5)))?.sqrt()?;
    let normal = x.broadcast_sub(&of(3)?)?.broadcast_div(&deviation)?;
    Ok(normal.broadcast_mul(&of(1)?)?.broadcast_add(&of(2)?)?)
}

fn reduce_mean(node: &Node, inputs: &Inputs<'_>) -> Result<Tensor, Trouble> {
    let mut x = inputs.float(node, 0)?;
    let rank = x.rank();
    let axes = inputs.ints(node, "axes", 1)?.unwrap_or_else(|| (0..rank as i64).collect());
    let mut axes: Vec<usize> = axes.iter().map(|a| front(*a, rank)).collect::<Result<_, _>>()?;
    axes.sort_unstable();
    for axis in axes.iter().rev() {
        x = if node.int("keepdims").unwrap_or(1) != 0 { x.mean_keepdim(*axis)? } else { x.mean(*axis)? };
    }
    Ok(x)
}

fn reshape(node: &Node, inputs: &Inputs<'_>, x: &Tensor) -> Result<Tensor, Trouble> {
    let Some(target) = inputs.ints(node, "shape", 1)? else { return refuse("it has no target shape") };
    let size = |(at, n): (usize, &i64)| match n {
        0 => x.dims().get(at).copied().unwrap_or(1),
        n => usize::try_from(*n).unwrap_or(1),
    };
    let mut shape: Vec<usize> = target.iter().enumerate().map(size).collect();
    if let Some(open) = target.iter().position(|n| *n < 0) {
        let rest: usize = shape.iter().product();
        shape[open] = x.elem_count() / rest.max(1);
    }
    Ok(x.reshape(shape)?)
}

fn ranked(node: &Node, inputs: &Inputs<'_>, x: &Tensor) -> Result<Tensor, Trouble> {
    let axes = inputs.ints(node, "axes", 1)?;
    let mut shape = x.dims().to_vec();
    if node.op == "Squeeze" {
        let gone: Vec<usize> = match axes {
            Some(axes) => axes.iter().map(|a| front(*a, shape.len())).collect::<Result<_, _>>()?,
            None => (0..shape.len()).filter(|i| shape[*i] == 1).collect(),
        };
        shape = shape.iter().enumerate().filter(|(i, _)| !gone.contains(i)).map(|(_, n)| *n).collect();
    } else {
        let rank = shape.len() + axes.as_ref().map_or(0, Vec::len);
        let mut new: Vec<usize> = axes.unwrap_or_default().iter().map(|a| front(*a, rank)).collect::<Result<_, _>>()?;
        new.sort_unstable();
        for at in new {
            shape.insert(at.min(shape.len()), 1);
        }
    }
    Ok(x.reshape(shape)?)
}

/// The elements of an axis at some places.
pub(super) fn picked(x: &Tensor, axis: usize, places: impl Iterator<Item = usize>) -> Result<Tensor, Trouble> {
    let places: Vec<u32> = places.map(|p| p as u32).collect();
    let count = places.len();
    Ok(x.contiguous()?.index_select(&Tensor::from_vec(places, count, &Device::Cpu)?, axis)?)
}

fn slice(node: &Node, inputs: &Inputs<'_>, mut x: Tensor) -> Result<Tensor, Trouble> {
    let (starts, ends) = (inputs.ints(node, "starts", 1)?, inputs.ints(node, "ends", 2)?);
    let (Some(starts), Some(ends)) = (starts, ends) else { return refuse("it has no bounds") };
    let axes = inputs.ints(node, "axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = inputs.ints(node, "", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    for (((start, end), axis), step) in starts.iter().zip(&ends).zip(&axes).zip(&steps) {
        let axis = front(*axis, x.rank())?;
        let places = slice_places(*start, *end, *step, x.dim(axis)?).map_err(Trouble::Refused)?;
        x = picked(&x, axis, places)?;
    }
    Ok(x)
}

fn pad(node: &Node, inputs: &Inputs<'_>, mut x: Tensor) -> Result<Tensor, Trouble> {
    let filled = Inputs::has(node, 2) && inputs.float(node, 2)?.flatten_all()?.to_vec1::<f32>()?.iter().any(|v| *v != 0.0);
    let plain = node.text("mode").is_none_or(|mode| mode == "constant") && node.float("value").unwrap_or(0.0) == 0.0;
    let (Some(pads), true) = (inputs.ints(node, "pads", 1)?, plain && !filled && !Inputs::has(node, 3)) else {
        return refuse("gradients pass through padding with zeros alone");
    };
    let rank = x.rank();
    for axis in 0..rank {
        let side = |at: usize| pads.get(at).and_then(|p| usize::try_from(*p).ok());
        let (Some(before), Some(after)) = (side(axis), side(axis + rank)) else { return refuse("it cuts instead of padding") };
        x = x.pad_with_zeros(axis, before, after)?;
    }
    Ok(x)
}
