//! The sample's network: a stem, four depthwise-separable blocks (two of them with a residual), a
//! full convolution, a wide pointwise one, and a linear head. One list describes it; training,
//! inference and the file all read that list. Images lie channels last in here.

use super::draw::{CLASSES, SIDE};
use super::norm::{BatchNorm, Moments};
use super::ops::{Depthwise, Patches, TAPS};
use crate::engine::random::Random;
use candle_core::{Device, Result, Tensor, Var};

/// What batch norm adds to a variance before its root.
pub(super) const EPSILON: f64 = 1e-5;
/// Share of a new batch in the running statistics.
const MOMENTUM: f32 = 0.05;

/// What a convolution looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    /// 3×3 pixels of all channels.
    Full,
    /// 3×3 pixels of one channel each.
    Depthwise,
    /// One pixel of all channels.
    Pointwise,
}

/// What follows the batch norm that follows a convolution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tail {
    Relu,
    /// Adds what entered the depthwise convolution before this one, then `ReLU`.
    AddRelu,
}

/// One convolution with its batch norm.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spec {
    /// Prefix of the names in the file, and of the batch norm's.
    pub block: &'static str,
    /// Name of the convolution inside its block.
    pub part: &'static str,
    pub reach: Reach,
    pub stride: usize,
    pub inputs: usize,
    pub outputs: usize,
    pub tail: Tail,
}

const fn spec(block: &'static str, part: &'static str, reach: Reach, stride: usize, channels: [usize; 2], tail: Tail) -> Spec {
    Spec { block, part, reach, stride, inputs: channels[0], outputs: channels[1], tail }
}

/// The convolutions, in order.
pub(super) const SPECS: [Spec; 11] = [
    spec("stem", "conv", Reach::Full, 1, [1, 16], Tail::Relu),
    spec("block1", "depthwise", Reach::Depthwise, 2, [16, 16], Tail::Relu),
    spec("block1", "pointwise", Reach::Pointwise, 1, [16, 32], Tail::Relu),
    spec("block2", "depthwise", Reach::Depthwise, 1, [32, 32], Tail::Relu),
    spec("block2", "pointwise", Reach::Pointwise, 1, [32, 32], Tail::AddRelu),
    spec("block3", "depthwise", Reach::Depthwise, 2, [32, 32], Tail::Relu),
    spec("block3", "pointwise", Reach::Pointwise, 1, [32, 64], Tail::Relu),
    spec("block4", "depthwise", Reach::Depthwise, 1, [64, 64], Tail::Relu),
    spec("block4", "pointwise", Reach::Pointwise, 1, [64, 64], Tail::AddRelu),
    spec("mix", "conv", Reach::Full, 1, [64, 64], Tail::Relu),
    spec("expand", "conv", Reach::Pointwise, 1, [64, 96], Tail::Relu),
];
/// Channels that the head sees.
pub(super) const FEATURES: usize = SPECS[SPECS.len() - 1].outputs;

/// One convolution with its batch norm, at work.
pub(super) struct Conv {
    pub spec: Spec,
    /// `[9·inputs, outputs]` (tap-major), `[9, channels]` or `[inputs, outputs]`.
    pub weight: Var,
    /// `[1, outputs]`, as are all of batch norm's values.
    pub scale: Var,
    pub shift: Var,
    pub mean: Vec<f32>,
    pub variance: Vec<f32>,
}

pub(super) struct Network {
    pub convs: Vec<Conv>,
    /// `[features, classes]`.
    pub head_weight: Var,
    /// `[1, classes]`.
    pub head_bias: Var,
}

fn normal(shape: (usize, usize), deviation: f32, random: &mut Random) -> Result<Var> {
    let values: Vec<f32> = (0..shape.0 * shape.1).map(|_| deviation * random.normal()).collect();
    Var::from_vec(values, shape, &Device::Cpu)
}

impl Conv {
    fn new(spec: Spec, random: &mut Random) -> Result<Self> {
        let fan_in = match spec.reach {
            Reach::Full => TAPS * spec.inputs,
            Reach::Depthwise => TAPS,
            Reach::Pointwise => spec.inputs,
        };
        let rows = if spec.reach == Reach::Depthwise { TAPS } else { fan_in };
        // Scales start far apart, as they end up in networks trained for long: this is what makes
        // one range for a whole tensor a bad fit while a range per channel loses nothing.
        let spread = match spec.tail {
            Tail::Relu => 2.8,
            Tail::AddRelu => 1.4,
        };
        let scale = (0..spec.outputs).map(|_| random.range(-spread, 0.5 * spread).exp2()).collect();
        Ok(Self {
            spec,
            weight: normal((rows, spec.outputs), (2.0 / fan_in as f32).sqrt(), random)?,
            scale: Var::from_vec(scale, (1, spec.outputs), &Device::Cpu)?,
            shift: Var::zeros((1, spec.outputs), candle_core::DType::F32, &Device::Cpu)?,
            mean: vec![0.0; spec.outputs],
            variance: vec![1.0; spec.outputs],
        })
    }

    /// The convolution alone: `[batch, side, side, inputs]` → `[batch, out, out, outputs]`.
    fn convolve(&self, x: &Tensor) -> Result<Tensor> {
        let stride = self.spec.stride;
        let x = match self.spec.reach {
            Reach::Depthwise => return x.apply_op2(&self.weight, Depthwise { stride }),
            Reach::Full => x.apply_op1(Patches { stride })?,
            Reach::Pointwise => x.clone(),
        };
        let (batch, height, width, channels) = x.dims4()?;
        let rows = x.reshape((batch * height * width, channels))?;
        rows.matmul(&self.weight)?.reshape((batch, height, width, self.spec.outputs))
    }

    /// Batch norm with the batch's own statistics, which also move the running ones.
    fn normalize_training(&mut self, x: &Tensor) -> Result<Tensor> {
        let moments = Moments::of(x)?;
        let rows = x.elem_count() / self.spec.outputs;
        let unbiased = rows as f32 / (rows - 1).max(1) as f32;
        follow(&mut self.mean, &moments.mean, 1.0);
        follow(&mut self.variance, &moments.variance, unbiased);
        x.apply_op3(&self.scale, &self.shift, BatchNorm::new(&moments, EPSILON))
    }

    /// Batch norm with the running statistics.
    fn normalize(&self, x: &Tensor) -> Result<Tensor> {
        let row = |values: &[f32]| Tensor::from_slice(values, (1, 1, 1, values.len()), &Device::Cpu);
        let factor = (self.scale.reshape((1, 1, 1, ()))? / (row(&self.variance)? + EPSILON)?.sqrt()?)?;
        x.broadcast_sub(&row(&self.mean)?)?.broadcast_mul(&factor)?.broadcast_add(&self.shift.reshape((1, 1, 1, ()))?)
    }
}

/// Moves running statistics toward those of a batch.
fn follow(running: &mut [f32], batch: &[f32], factor: f32) {
    running.iter_mut().zip(batch).for_each(|(r, b)| *r += MOMENTUM * (b * factor - *r));
}

impl Network {
    /// # Errors
    /// When candle refuses a shape.
    pub(super) fn new(random: &mut Random) -> Result<Self> {
        Ok(Self {
            convs: SPECS.iter().map(|spec| Conv::new(*spec, random)).collect::<Result<_>>()?,
            head_weight: normal((FEATURES, CLASSES), (1.0 / FEATURES as f32).sqrt(), random)?,
            head_bias: Var::zeros((1, CLASSES), candle_core::DType::F32, &Device::Cpu)?,
        })
    }

    /// Everything that training changes by gradient.
    #[must_use]
    pub(super) fn parameters(&self) -> Vec<&Var> {
        let convs = self.convs.iter().flat_map(|c| [&c.weight, &c.scale, &c.shift]);
        convs.chain([&self.head_weight, &self.head_bias]).collect()
    }

    /// Logits `[batch, classes]` of normalized images `[batch, side, side, 1]`, in training mode.
    ///
    /// # Errors
    /// When candle refuses a shape.
    pub(super) fn forward_training(&mut self, images: &Tensor) -> Result<Tensor> {
        let mut path = Path::new(images);
        for conv in &mut self.convs {
            let x = conv.convolve(path.enter(conv.spec.reach))?;
            path.leave(conv.normalize_training(&x)?, conv.spec.tail)?;
        }
        self.head(&path.x)
    }

    /// Logits with the running statistics.
    ///
    /// # Errors
    /// When candle refuses a shape.
    pub(super) fn forward(&self, images: &Tensor) -> Result<Tensor> {
        let mut path = Path::new(images);
        for conv in &self.convs {
            let x = conv.convolve(path.enter(conv.spec.reach))?;
            path.leave(conv.normalize(&x)?, conv.spec.tail)?;
        }
        self.head(&path.x)
    }

    fn head(&self, x: &Tensor) -> Result<Tensor> {
        let (batch, height, width, channels) = x.dims4()?;
        let area = height * width;
        let average = Tensor::full(1.0 / area as f32, (batch, 1, area), &Device::Cpu)?;
        let pooled = average.matmul(&x.reshape((batch, area, channels))?)?.reshape((batch, channels))?;
        pooled.matmul(&self.head_weight)?.broadcast_add(&self.head_bias)
    }
}

/// Where the activations are, and what a residual will add.
struct Path {
    x: Tensor,
    entered: Tensor,
}

impl Path {
    fn new(images: &Tensor) -> Self {
        Self { x: images.clone(), entered: images.clone() }
    }

    fn enter(&mut self, reach: Reach) -> &Tensor {
        if reach == Reach::Depthwise {
            self.entered = self.x.clone();
        }
        &self.x
    }

    fn leave(&mut self, x: Tensor, tail: Tail) -> Result<()> {
        self.x = match tail {
            Tail::Relu => x.relu()?,
            Tail::AddRelu => (x + &self.entered)?.relu()?,
        };
        Ok(())
    }
}

/// Images as the network takes them: `[batch, side, side, 1]`.
///
/// # Errors
/// When `values` is no whole number of images.
pub(super) fn batch(values: Vec<f32>) -> Result<Tensor> {
    let count = values.len() / (SIDE * SIDE);
    Tensor::from_vec(values, (count, SIDE, SIDE, 1), &Device::Cpu)
}
