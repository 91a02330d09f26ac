//! Batch norm in training mode as one operation. Written with candle's own tensors it takes some
//! twenty passes over the activations; this takes two forward and two backward. Sums run over
//! blocks of rows of a fixed size, added in order: the thread count does not change them.

use super::ops::{to_vec, values};
use candle_core::{CpuStorage, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail};
use rayon::prelude::*;

/// Rows per block of a sum.
const BLOCK: usize = 512;

/// Sums of `term(row of a, row of b, channel)` over all rows.
fn sums(a: &[f32], b: &[f32], channels: usize, term: impl Fn(f32, f32, usize) -> f32 + Sync) -> Vec<f64> {
    let parts: Vec<Vec<f32>> = a
        .par_chunks(BLOCK * channels)
        .zip(b.par_chunks(BLOCK * channels))
        .map(|(a, b)| {
            let mut part = vec![0.0_f32; channels];
            for (a, b) in a.chunks(channels).zip(b.chunks(channels)) {
                part.iter_mut().enumerate().for_each(|(c, p)| *p += term(a[c], b[c], c));
            }
            part
        })
        .collect();
    let mut total = vec![0.0_f64; channels];
    for part in parts {
        total.iter_mut().zip(part).for_each(|(t, p)| *t += f64::from(p));
    }
    total
}

/// What a batch says of its channels.
#[derive(Debug, Clone)]
pub(super) struct Moments {
    pub mean: Vec<f32>,
    /// Biased, as batch norm divides by it.
    pub variance: Vec<f32>,
}

impl Moments {
    /// Over all dimensions but the last.
    ///
    /// # Errors
    /// When the tensor is no contiguous f32 tensor on the CPU.
    pub(super) fn of(x: &Tensor) -> Result<Self> {
        let (storage, layout) = x.storage_and_layout();
        let Storage::Cpu(storage) = &*storage else { bail!("the sample is trained on the CPU") };
        let x = values(storage, layout)?;
        let channels = layout.dims().last().copied().unwrap_or(1);
        let rows = (x.len() / channels).max(1) as f64;
        let average = |total: Vec<f64>| -> Vec<f32> { total.into_iter().map(|t| (t / rows) as f32).collect() };
        let mean = average(sums(x, x, channels, |x, _, _| x));
        let variance = average(sums(x, x, channels, |x, _, c| (x - mean[c]) * (x - mean[c])));
        Ok(Self { mean, variance })
    }
}

/// Activations `[…, channels]`, scale and shift `[1, channels]` → activations.
pub(super) struct BatchNorm {
    mean: Vec<f32>,
    /// One over the deviation.
    inverse: Vec<f32>,
}

impl BatchNorm {
    /// `moments` are those of the very activations that the operation is applied to: the gradient
    /// takes that for granted.
    #[must_use]
    pub(super) fn new(moments: &Moments, epsilon: f64) -> Self {
        let inverse = moments.variance.iter().map(|v| (1.0 / (f64::from(*v) + epsilon).sqrt()) as f32).collect();
        Self { mean: moments.mean.clone(), inverse }
    }
}

impl CustomOp3 for BatchNorm {
    fn name(&self) -> &'static str {
        "batch-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        scale: &CpuStorage,
        scale_layout: &Layout,
        shift: &CpuStorage,
        shift_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let (x, scale, shift) = (values(x, x_layout)?, values(scale, scale_layout)?, values(shift, shift_layout)?);
        let channels = self.mean.len();
        let mut out = vec![0.0_f32; x.len()];
        out.par_chunks_mut(BLOCK * channels).zip(x.par_chunks(BLOCK * channels)).for_each(|(out, x)| {
            for (out, x) in out.chunks_mut(channels).zip(x.chunks(channels)) {
                for c in 0..channels {
                    out[c] = (x[c] - self.mean[c]) * self.inverse[c] * scale[c] + shift[c];
                }
            }
        });
        Ok((CpuStorage::F32(out), x_layout.shape().clone()))
    }

    fn bwd(
        &self,
        x: &Tensor,
        scale: &Tensor,
        shift: &Tensor,
        _: &Tensor,
        gradient: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let channels = self.mean.len();
        let (xs, scales, gradient) = (to_vec(x)?, to_vec(scale)?, to_vec(gradient)?);
        let normalized = |x: f32, c: usize| (x - self.mean[c]) * self.inverse[c];
        let narrow = |total: Vec<f64>| -> Vec<f32> { total.into_iter().map(|t| t as f32).collect() };
        let d_shift = narrow(sums(&gradient, &xs, channels, |g, _, _| g));
        let d_scale = narrow(sums(&gradient, &xs, channels, |g, x, c| g * normalized(x, c)));
        let part = channels as f32 / xs.len() as f32;
        let mut dx = gradient;
        dx.par_chunks_mut(BLOCK * channels).zip(xs.par_chunks(BLOCK * channels)).for_each(|(dx, x)| {
            for (dx, x) in dx.chunks_mut(channels).zip(x.chunks(channels)) {
                for c in 0..channels {
                    let pull = part * (d_shift[c] + normalized(x[c], c) * d_scale[c]);
                    dx[c] = scales[c] * self.inverse[c] * (dx[c] - pull);
                }
            }
        });
        let tensor = |v: Vec<f32>, like: &Tensor| Tensor::from_vec(v, like.shape(), like.device()).map(Some);
        Ok((tensor(dx, x)?, tensor(d_scale, scale)?, tensor(d_shift, shift)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;
    use candle_core::{Device, Var};

    #[test]
    fn gradient_agrees_with_candle() {
        let mut random = Random::new(4);
        let mut noise = |shape: &[usize]| {
            let values: Vec<f32> = (0..shape.iter().product()).map(|_| 0.5 + random.normal()).collect();
            Var::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        let (x, scale, shift, weight) = (noise(&[700, 3]), noise(&[1, 3]), noise(&[1, 3]), noise(&[700, 3]));
        let moments = Moments::of(&x).unwrap();
        let ours = x.apply_op3(&scale, &shift, BatchNorm::new(&moments, 1e-5)).unwrap();
        let centered = x.broadcast_sub(&x.mean_keepdim(0).unwrap()).unwrap();
        let deviation = (centered.sqr().unwrap().mean_keepdim(0).unwrap() + 1e-5).unwrap().sqrt().unwrap();
        let theirs = centered.broadcast_div(&deviation).unwrap().broadcast_mul(&scale).unwrap();
        let theirs = theirs.broadcast_add(&shift).unwrap();
        let difference = |a: &Tensor, b: &Tensor| {
            let a = (a - b).unwrap().abs().unwrap().flatten_all().unwrap();
            a.max(0).unwrap().to_scalar::<f32>().unwrap()
        };
        assert!(difference(&ours, &theirs) < 1e-5);
        let ours = (ours * weight.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
        let theirs = (theirs * weight.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
        for var in [&x, &scale, &shift] {
            assert!(difference(ours.get(var).unwrap(), theirs.get(var).unwrap()) < 1e-3);
        }
    }
}
