//! Trains the sample's network on images drawn as they are needed: no image is seen twice.

use super::SampleError;
use super::draw::{CLASSES, PIXELS, Split, image};
use super::network::{Network, batch};
use crate::engine::context::Ctx;
use crate::engine::random::Random;
use candle_core::{D, Device, Tensor, Var};
use rayon::prelude::*;

/// What the network subtracts from pixels divided by 255, and divides by.
pub const MEAN: f32 = 0.5;
pub const DEVIATION: f32 = 0.25;

/// Images per step.
pub(super) const BATCH: usize = 64;
/// Steps that the sample was trained for.
pub(super) const STEPS: usize = 1800;
const WARM_UP: usize = 60;
const PEAK_RATE: f32 = 4e-3;
const DECAY: f32 = 0.02;
/// How hard weights are pulled to zero, in parts of their layer's average: weights that matter
/// little end up small, so that pruning has something to find.
const SPARSITY: f32 = 0.8;
/// Labels keep this much doubt, so that logits stay moderate.
const SMOOTHING: f32 = 0.02;

/// Images of one set as the network takes them, and their classes.
///
/// # Errors
/// When candle refuses a shape.
pub(super) fn drawn(split: Split, seed: u64, range: std::ops::Range<usize>) -> candle_core::Result<(Tensor, Vec<u8>)> {
    let images: Vec<(u8, [u8; PIXELS])> = range.into_par_iter().map(|i| image(split, seed, i)).collect();
    let values = images.iter().flat_map(|(_, p)| p.iter().map(|v| (f32::from(*v) / 255.0 - MEAN) / DEVIATION)).collect();
    Ok((batch(values)?, images.iter().map(|(class, _)| *class).collect()))
}

/// Trains from scratch in `steps` steps: the same seed gives the same network at any thread count.
///
/// # Errors
/// When cancelled, or when candle refuses.
pub(super) fn network(seed: u64, steps: usize, ctx: &Ctx) -> Result<Network, SampleError> {
    ctx.start("training the sample's network", steps);
    ctx.pool().install(|| {
        let mut network = Network::new(&mut Random::new(seed))?;
        let mut adam = Adam::new(&network);
        for step in 0..steps {
            ctx.check()?;
            let (images, labels) = drawn(Split::Train, seed, step * BATCH..(step + 1) * BATCH)?;
            let logits = network.forward_training(&images)?;
            let loss = cross_entropy(&logits, &labels)?;
            let gradients = loss.backward()?;
            adam.step(&network.parameters(), &gradients, rate(step, steps))?;
            if step % 100 == 99 {
                ctx.start(format!("training the sample's network (loss {:.3})", loss.to_scalar::<f32>()?), steps);
                ctx.advance(step);
            }
            ctx.advance(1);
        }
        Ok(network)
    })
}

/// Share of images of a set that the network names rightly.
///
/// # Errors
/// When cancelled, or when candle refuses.
pub(super) fn accuracy(network: &Network, split: Split, seed: u64, count: usize, ctx: &Ctx) -> Result<f64, SampleError> {
    ctx.pool().install(|| {
        let mut right = 0;
        for start in (0..count).step_by(100) {
            ctx.check()?;
            let (images, labels) = drawn(split, seed, start..count.min(start + 100))?;
            let guesses = network.forward(&images)?.argmax(D::Minus1)?.to_vec1::<u32>()?;
            right += guesses.iter().zip(&labels).filter(|(g, l)| **g == u32::from(**l)).count();
        }
        Ok(right as f64 / count as f64)
    })
}

/// A short rise, then half a cosine down to nothing.
fn rate(step: usize, steps: usize) -> f32 {
    let rise = ((step + 1) as f32 / WARM_UP as f32).min(1.0);
    let fall = 0.5 * (1.0 + (std::f32::consts::PI * step as f32 / steps as f32).cos());
    PEAK_RATE * rise * fall
}

fn cross_entropy(logits: &Tensor, labels: &[u8]) -> candle_core::Result<Tensor> {
    let mut target = vec![SMOOTHING / CLASSES as f32; labels.len() * CLASSES];
    labels.iter().enumerate().for_each(|(i, label)| target[i * CLASSES + usize::from(*label)] += 1.0 - SMOOTHING);
    let target = Tensor::from_vec(target, (labels.len(), CLASSES), &Device::Cpu)?;
    let shifted = logits.broadcast_sub(&logits.max_keepdim(D::Minus1)?.detach())?;
    let total = shifted.exp()?.sum_keepdim(D::Minus1)?.log()?;
    (shifted.broadcast_sub(&total)? * target)?.sum_all()? * (-1.0 / labels.len() as f64)
}

/// Adam with decoupled weight decay (Loshchilov and Hutter 2019), and a soft threshold in the same
/// manner: a proximal step for the sum of absolute values.
struct Adam {
    /// First and second moment of every parameter.
    moments: Vec<(Vec<f32>, Vec<f32>)>,
    steps: i32,
}

impl Adam {
    fn new(network: &Network) -> Self {
        let zeros = |var: &&Var| (vec![0.0; var.elem_count()], vec![0.0; var.elem_count()]);
        Self { moments: network.parameters().iter().map(zeros).collect(), steps: 0 }
    }

    fn step(&mut self, parameters: &[&Var], gradients: &candle_core::backprop::GradStore, rate: f32) -> candle_core::Result<()> {
        const FIRST: f32 = 0.9;
        const SECOND: f32 = 0.99;
        self.steps += 1;
        let (bias1, bias2) = (1.0 - FIRST.powi(self.steps), 1.0 - SECOND.powi(self.steps));
        for (var, (first, second)) in parameters.iter().zip(&mut self.moments) {
            let Some(gradient) = gradients.get(var) else { continue };
            let gradient = gradient.flatten_all()?.to_vec1::<f32>()?;
            let mut values = var.flatten_all()?.to_vec1::<f32>()?;
            // Scales and shifts (one row) neither decay nor shrink.
            let (keep, pull) = if var.dim(0)? > 1 {
                let total = values.iter().map(|v| v.abs()).sum::<f32>();
                (1.0 - rate * DECAY, rate * SPARSITY * total / values.len() as f32)
            } else {
                (1.0, 0.0)
            };
            for (((v, g), m), s) in values.iter_mut().zip(gradient).zip(first).zip(second) {
                *m += (1.0 - FIRST) * (g - *m);
                *s += (1.0 - SECOND) * (g * g - *s);
                let moved = *v * keep - rate * (*m / bias1) / ((*s / bias2).sqrt() + 1e-8);
                *v = moved.signum() * (moved.abs() - pull).max(0.0);
            }
            var.set(&Tensor::from_vec(values, var.shape(), &Device::Cpu)?)?;
        }
        Ok(())
    }
}
