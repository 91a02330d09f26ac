//! Operators that work on images as they lie, channels last, into buffers that are used again. They
//! compute what the operators of [`super::ops`] do, in the same order.

use super::data::{OpResult, floats, scalar};
use super::image::{Buffer, Held, Image};
use super::memory::room;
use super::ops::{Call, Operator, install, pool_window};
use crate::engine::graph::Node;
use crate::engine::kernels::isa::wide;
use crate::engine::kernels::pool::{Pooling, pool};
use crate::engine::kernels::tile::limit;
use crate::engine::tensor::Value;
use rayon::ThreadPool;

/// Runs `node` on images where it can; `None` where the general operator must do it.
pub(super) fn run(node: &Node, opset: i64, inputs: &[Option<Held>], threads: Option<&ThreadPool>) -> OpResult<Option<Held>> {
    let image = |i: usize| match inputs.get(i) {
        Some(Some(Held::Image(image))) => Some(image),
        _ => None,
    };
    let Some(first) = image(0) else { return Ok(None) };
    let single = |i: usize| -> OpResult<Option<f32>> {
        match inputs.get(i) {
            Some(Some(Held::Value(value))) if value.shape().iter().product::<usize>() == 1 => scalar(value).map(Some),
            _ => Ok(None),
        }
    };
    let made = match node.op.as_str() {
        "Relu" => each(first, |v| limit(v, (0.0, f32::INFINITY))),
        "Clip" if inputs.len() == 1 && opset < 11 => {
            let limits = (node.float("min").unwrap_or(f32::NEG_INFINITY), node.float("max").unwrap_or(f32::INFINITY));
            each(first, |v| limit(v, limits))
        }
        "Add" | "Sub" | "Mul" => match (image(1), single(1)?) {
            (Some(second), _) if second.shape == first.shape => pairs(&node.op, first, second),
            (None, Some(second)) => with_one(&node.op, first, second),
            _ => return Ok(None),
        },
        "Concat" if node.int("axis") == Some(1) => {
            let all: Option<Vec<&Image>> = (0..inputs.len()).map(image).collect();
            match all {
                Some(all) if all.iter().all(|i| i.shape[0] == first.shape[0] && i.shape[2..] == first.shape[2..]) => concat(&all),
                _ => return Ok(None),
            }
        }
        "MaxPool" | "AveragePool" if first.shape.len() <= 4 && node.output(1).is_none() => {
            let call = Call { node, opset, inputs: &[], pool: threads };
            let (window, shape) = pool_window(&call, &first.shape)?;
            let kind = match (node.op.as_str(), node.int("count_include_pad").unwrap_or(0)) {
                ("MaxPool", _) => Pooling::Max,
                (_, 0) => Pooling::Average,
                _ => Pooling::AveragePadded,
            };
            let mut out = Buffer::new(room::<f32>(&shape)?);
            install(threads, || pool(&window, kind, &first.data, &mut out));
            Image::new(shape, out)
        }
        _ => return Ok(None),
    };
    Ok(Some(Held::Image(made)))
}

fn each(x: &Image, f: impl Fn(f32) -> f32) -> Image {
    let mut out = Buffer::new(x.data.len());
    wide(|| out.iter_mut().zip(x.data.iter()).for_each(|(o, v)| *o = f(*v)));
    Image::new(x.shape.clone(), out)
}

fn pairs(op: &str, x: &Image, y: &Image) -> Image {
    let mut out = Buffer::new(x.data.len());
    let all = out.iter_mut().zip(x.data.iter().zip(y.data.iter()));
    match op {
        "Add" => wide(|| all.for_each(|(o, (a, b))| *o = a + b)),
        "Sub" => wide(|| all.for_each(|(o, (a, b))| *o = a - b)),
        _ => wide(|| all.for_each(|(o, (a, b))| *o = a * b)),
    }
    Image::new(x.shape.clone(), out)
}

fn with_one(op: &str, x: &Image, y: f32) -> Image {
    match op {
        "Add" => each(x, |v| v + y),
        "Sub" => each(x, |v| v - y),
        _ => each(x, |v| v * y),
    }
}

/// Side by side along the channels.
fn concat(all: &[&Image]) -> Image {
    let mut shape = all[0].shape.clone();
    shape[1] = all.iter().map(|i| i.channels()).sum();
    let mut out = Buffer::new(shape.iter().product());
    let mut at = 0;
    for image in all {
        let channels = image.channels();
        if channels > 0 {
            for (to, from) in out.chunks_exact_mut(shape[1]).zip(image.data.chunks_exact(channels)) {
                to[at..at + channels].copy_from_slice(from);
            }
        }
        at += channels;
    }
    Image::new(shape, out)
}

/// `BatchNormalization` for inference with constant parameters: `x·scale + shift` per channel.
pub(super) struct Affine {
    scale: Vec<f32>,
    shift: Vec<f32>,
    operator: Operator,
}

impl Affine {
    /// `parameters`: gamma, beta, mean, variance.
    pub fn of(node: &Node, parameters: [&Value; 4], operator: Operator) -> Option<Self> {
        let [gamma, beta, mean, variance] = parameters.map(|v| floats(v).ok());
        let (gamma, beta, mean, variance) = (gamma?, beta?, mean?, variance?);
        let epsilon = f64::from(node.float("epsilon").unwrap_or(1e-5));
        let scale: Vec<f64> =
            gamma.iter().zip(&variance).map(|(g, v)| f64::from(*g) / (f64::from(*v) + epsilon).sqrt()).collect();
        let shift = beta.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| (f64::from(*b) - f64::from(*m) * s) as f32);
        let inference = node.int("training_mode").unwrap_or(0) == 0 && node.outputs.iter().skip(1).all(Option::is_none);
        inference.then(|| Self { shift: shift.collect(), scale: scale.iter().map(|s| *s as f32).collect(), operator })
    }

    /// On an image; the general operator does all others.
    pub fn run(&self, x: &Held) -> Result<Held, Operator> {
        let Held::Image(x) = x else { return Err(self.operator) };
        let channels = x.channels();
        if channels == 0 || self.scale.len() != channels || self.shift.len() != channels {
            return Err(self.operator);
        }
        let mut out = Buffer::new(x.data.len());
        wide(|| {
            for (to, from) in out.chunks_exact_mut(channels).zip(x.data.chunks_exact(channels)) {
                for ((o, v), (a, b)) in to.iter_mut().zip(from).zip(self.scale.iter().zip(&self.shift)) {
                    *o = v * a + b;
                }
            }
        });
        Ok(Held::Image(Image::new(x.shape.clone(), out)))
    }
}
