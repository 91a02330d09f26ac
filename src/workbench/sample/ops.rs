//! The two operations that the network needs and candle's autograd is slow at: gathering 3×3
//! patches (so that a convolution becomes one matrix product) and depthwise 3×3 convolution.
//! Images lie channels last; padding is one pixel of zeros all around. Samples run in parallel and
//! sums over samples are taken in sample order, so results do not depend on the thread count.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};
use rayon::prelude::*;

/// Rows and columns of the window together.
pub(super) const TAPS: usize = 9;

/// How a 3×3 window moves over square images.
#[derive(Debug, Clone, Copy)]
struct Window {
    side: usize,
    stride: usize,
    channels: usize,
}

impl Window {
    fn of(layout: &Layout, stride: usize) -> Result<(usize, Self)> {
        let (batch, height, width, channels) = layout.shape().dims4()?;
        if height != width {
            bail!("images of {height}×{width} pixels, but only square ones are foreseen");
        }
        Ok((batch, Self { side: height, stride, channels }))
    }

    fn out_side(self) -> usize {
        (self.side - 1) / self.stride + 1
    }

    fn in_len(self) -> usize {
        self.side * self.side * self.channels
    }

    fn out_len(self) -> usize {
        self.out_side() * self.out_side() * self.channels
    }

    /// Calls `visit(output pixel, tap, input pixel)` wherever the window lies on the image.
    fn visit(self, mut visit: impl FnMut(usize, usize, usize)) {
        let side = self.out_side();
        for (row, column) in (0..side).flat_map(|row| (0..side).map(move |column| (row, column))) {
            for tap in 0..TAPS {
                let (y, x) = (row * self.stride + tap / 3, column * self.stride + tap % 3);
                if (1..=self.side).contains(&y) && (1..=self.side).contains(&x) {
                    visit(row * side + column, tap, (y - 1) * self.side + x - 1);
                }
            }
        }
    }
}

/// What a tensor holds, without a copy.
pub(super) fn values<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&storage.as_slice::<f32>()?[start..end]),
        None => bail!("a contiguous tensor is needed"),
    }
}

/// All values of a tensor, row-major.
pub(super) fn to_vec(tensor: &Tensor) -> Result<Vec<f32>> {
    tensor.flatten_all()?.to_vec1()
}

/// The pixel of `channels` values at `index`.
fn pixel(values: &[f32], index: usize, channels: usize) -> &[f32] {
    &values[index * channels..][..channels]
}

fn pixel_mut(values: &mut [f32], index: usize, channels: usize) -> &mut [f32] {
    &mut values[index * channels..][..channels]
}

fn add_to(target: &mut [f32], source: &[f32]) {
    target.iter_mut().zip(source).for_each(|(t, s)| *t += s);
}

/// `[batch, side, side, channels]` → `[batch, out, out, 9·channels]`.
pub(super) struct Patches {
    pub stride: usize,
}

impl CustomOp1 for Patches {
    fn name(&self) -> &'static str {
        "patches"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, window) = Window::of(layout, self.stride)?;
        let c = window.channels;
        let mut out = vec![0.0_f32; batch * window.out_len() * TAPS];
        let samples = values(storage, layout)?.par_chunks(window.in_len());
        out.par_chunks_mut(window.out_len() * TAPS).zip(samples).for_each(|(out, image)| {
            window.visit(|o, tap, i| pixel_mut(out, o * TAPS + tap, c).copy_from_slice(pixel(image, i, c)));
        });
        let side = window.out_side();
        Ok((CpuStorage::F32(out), (batch, side, side, TAPS * c).into()))
    }

    fn bwd(&self, arg: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<Option<Tensor>> {
        let (batch, window) = Window::of(arg.layout(), self.stride)?;
        let c = window.channels;
        let gradient = to_vec(gradient)?;
        let mut out = vec![0.0_f32; batch * window.in_len()];
        let samples = gradient.par_chunks(window.out_len() * TAPS);
        out.par_chunks_mut(window.in_len()).zip(samples).for_each(|(out, g)| {
            window.visit(|o, tap, i| add_to(pixel_mut(out, i, c), pixel(g, o * TAPS + tap, c)));
        });
        Tensor::from_vec(out, arg.shape(), arg.device()).map(Some)
    }
}

/// `[batch, side, side, channels]` and weights `[9, channels]` → `[batch, out, out, channels]`.
pub(super) struct Depthwise {
    pub stride: usize,
}

impl CustomOp2 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise"
    }

    fn cpu_fwd(&self, s: &CpuStorage, l: &Layout, ws: &CpuStorage, wl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (batch, window) = Window::of(l, self.stride)?;
        let (c, weights) = (window.channels, values(ws, wl)?);
        let mut out = vec![0.0_f32; batch * window.out_len()];
        let samples = values(s, l)?.par_chunks(window.in_len());
        out.par_chunks_mut(window.out_len()).zip(samples).for_each(|(out, image)| {
            window.visit(|o, tap, i| add_product(pixel_mut(out, o, c), pixel(image, i, c), pixel(weights, tap, c)));
        });
        let side = window.out_side();
        Ok((CpuStorage::F32(out), (batch, side, side, c).into()))
    }

    fn bwd(&self, x: &Tensor, w: &Tensor, _: &Tensor, gradient: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let (batch, window) = Window::of(x.layout(), self.stride)?;
        let c = window.channels;
        let (gradient, images, weights) = (to_vec(gradient)?, to_vec(x)?, to_vec(w)?);
        let mut dx = vec![0.0_f32; batch * window.in_len()];
        let mut parts = vec![0.0_f32; batch * TAPS * c];
        let samples = images.par_chunks(window.in_len()).zip(gradient.par_chunks(window.out_len()));
        dx.par_chunks_mut(window.in_len()).zip(parts.par_chunks_mut(TAPS * c)).zip(samples).for_each(|((dx, dw), (image, g))| {
            window.visit(|o, tap, i| {
                let g = pixel(g, o, c);
                add_product(pixel_mut(dx, i, c), g, pixel(&weights, tap, c));
                add_product(pixel_mut(dw, tap, c), g, pixel(image, i, c));
            });
        });
        let mut dw = vec![0.0_f32; TAPS * c];
        parts.chunks(TAPS * c).for_each(|part| add_to(&mut dw, part));
        let tensor = |v, like: &Tensor| Tensor::from_vec(v, like.shape(), like.device()).map(Some);
        Ok((tensor(dx, x)?, tensor(dw, w)?))
    }
}

fn add_product(target: &mut [f32], a: &[f32], b: &[f32]) {
    target.iter_mut().zip(a.iter().zip(b)).for_each(|(t, (a, b))| *t += a * b);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::random::Random;
    use candle_core::{Device, Var};

    fn noise(shape: &[usize], random: &mut Random) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| random.normal()).collect();
        Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
    }

    /// candle's own grouped convolution on the same numbers, channels last.
    fn reference(x: &Tensor, w: &Tensor, stride: usize) -> Tensor {
        let c = x.dim(3).unwrap();
        let kernel = w.t().unwrap().reshape((c, 1, 3, 3)).unwrap();
        let x = x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
        x.conv2d(&kernel, 1, stride, 1, c).unwrap().permute((0, 2, 3, 1)).unwrap()
    }

    fn largest_difference(a: &Tensor, b: &Tensor) -> f32 {
        (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar().unwrap()
    }

    #[test]
    fn depthwise_agrees_with_candle() {
        let mut random = Random::new(1);
        for stride in [1, 2] {
            let x = Var::from_tensor(&noise(&[3, 8, 8, 5], &mut random)).unwrap();
            let w = Var::from_tensor(&noise(&[9, 5], &mut random)).unwrap();
            let ours = x.apply_op2(&w, Depthwise { stride }).unwrap();
            let theirs = reference(&x, &w, stride);
            assert!(largest_difference(&ours, &theirs) < 1e-5);
            let weight = noise(ours.dims(), &mut random);
            let ours = (ours * &weight).unwrap().sum_all().unwrap().backward().unwrap();
            let theirs = (theirs * &weight).unwrap().sum_all().unwrap().backward().unwrap();
            for var in [&x, &w] {
                assert!(largest_difference(ours.get(var).unwrap(), theirs.get(var).unwrap()) < 1e-4);
            }
        }
    }

    #[test]
    fn patches_make_a_convolution_a_product() {
        let mut random = Random::new(2);
        let x = Var::from_tensor(&noise(&[2, 6, 6, 3], &mut random)).unwrap();
        let w = Var::from_tensor(&noise(&[27, 4], &mut random)).unwrap();
        let patches = x.apply_op1(Patches { stride: 1 }).unwrap();
        let ours = patches.reshape((72, 27)).unwrap().matmul(&w).unwrap().reshape((2, 6, 6, 4)).unwrap();
        let kernel = w.t().unwrap().reshape((4, 3, 3, 3)).unwrap().permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
        let nchw = x.permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
        let theirs = nchw.conv2d(&kernel, 1, 1, 1, 1).unwrap().permute((0, 2, 3, 1)).unwrap();
        assert!(largest_difference(&ours, &theirs) < 1e-4);
        let ours = ours.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        let theirs = theirs.sqr().unwrap().sum_all().unwrap().backward().unwrap();
        for var in [&x, &w] {
            assert!(largest_difference(ours.get(var).unwrap(), theirs.get(var).unwrap()) < 1e-2);
        }
    }
}
