use crate::engine::kernels::affine::AffineParameters;
use crate::engine::kernels::convolve::Panels;
use crate::engine::kernels::matmul::product;
use crate::engine::kernels::{is_stopped, parts, tasks};
use crate::engine::random::Random;
use crate::pipeline::calibrate::Samples;

/// Places that are kept of a layer to search on.
pub(in crate::pipeline::compress) const SAMPLES: usize = 16_384;
/// Places of one step; of narrow layers, which have few weights to choose, fewer.
const BATCH: usize = 1024;
const NARROW: usize = 32;
const NARROW_BATCH: usize = 256;
/// What h outside of 0 to 1 is before it is cut: it reaches both ends (ζ and γ of the paper).
const STRETCH: f32 = 1.2;
const SHIFT: f32 = -0.1;
const RATE: f32 = 1e-2;
/// What one undecided weight costs at least, in units of the squared error of a place.
const UNDECIDED: f32 = 0.01;
/// What all of them cost at least, of the error that rounding to nearest makes: where outputs are large they would
/// never be decided else.
const ALL_UNDECIDED: f32 = 2.0;
/// How far biases move in a step to where they would be best, and for how many steps once weights are decided.
const SHIFT_RATE: f32 = 0.05;
const SETTLE: usize = 100;
/// Share of the steps before undecided weights cost anything.
const WARM: f64 = 0.2;

/// What is searched for: a code for each of `wanted` [rows × width].
pub(in crate::pipeline::compress) struct Search<'a> {
    pub wanted: &'a [f64],
    pub width: usize,
    pub grid: &'a (dyn Fn(usize, usize) -> AffineParameters + Sync),
    pub iterations: u32,
    pub seed: u64,
}

/// A weight on its way.
#[derive(Clone, Copy)]
struct Place {
    scale: f32,
    /// Code of the level below, less the zero point, and the bounds of the same.
    floor: f32,
    low: f32,
    high: f32,
    v: f32,
    /// Running means of the gradient and of its square (Kingma and Ba 2015).
    mean: f32,
    square: f32,
}

fn sigmoid(v: f32) -> f32 {
    1.0 / (1.0 + (-v).exp())
}

impl Place {
    fn new(value: f64, grid: &AffineParameters) -> Self {
        let steps = (value / f64::from(grid.scale)) as f32;
        let zero = grid.zero_point;
        let (low, high) = ((grid.low - zero) as f32, (grid.high - zero) as f32);
        let floor = steps.floor().clamp(low, high);
        let rest = (steps - floor).clamp(0.0, 1.0);
        let v = -(STRETCH / (rest - SHIFT) - 1.0).ln();
        Self { scale: grid.scale, floor, low, high, v, mean: 0.0, square: 0.0 }
    }

    fn h(&self) -> f32 {
        (sigmoid(self.v) * STRETCH + SHIFT).clamp(0.0, 1.0)
    }

    fn weight(&self) -> f32 {
        (self.floor + self.h()).clamp(self.low, self.high) * self.scale
    }

    fn code(&self) -> i32 {
        let up = if self.h() >= 0.5 { 1.0 } else { 0.0 };
        (self.floor + up).clamp(self.low, self.high) as i32
    }

    /// One step down, given the gradient with respect to the weight.
    fn step(&mut self, gradient: f32, pace: Pace) {
        let sigma = sigmoid(self.v);
        let stretched = sigma * STRETCH + SHIFT;
        let slope = if (0.0..=1.0).contains(&stretched) { STRETCH * sigma * (1.0 - sigma) } else { 0.0 };
        let h = stretched.clamp(0.0, 1.0);
        let is_inside = self.floor + h < self.high;
        let by_weight = if is_inside { gradient * self.scale } else { 0.0 };
        let side = 2.0 * h - 1.0;
        let by_rest = -pace.undecided * pace.beta * 2.0 * side.signum() * side.abs().powf(pace.beta - 1.0);
        let g = (by_weight + if pace.is_warm { by_rest } else { 0.0 }) * slope;
        self.mean += 0.1 * (g - self.mean);
        self.square += 0.001 * (g * g - self.square);
        self.v -= RATE * (self.mean * pace.unbias) / ((self.square * pace.unbias_square).sqrt() + 1e-8);
    }
}

/// What a step depends on besides the gradient.
#[derive(Clone, Copy)]
struct Pace {
    /// How sharply undecided weights are told from decided ones.
    beta: f32,
    is_warm: bool,
    undecided: f32,
    unbias: f32,
    unbias_square: f32,
}

/// From 20 to 2 along half a cosine, once warm.
pub(super) fn beta(step: u32, steps: u32) -> f64 {
    let warm = WARM * f64::from(steps);
    let done = ((f64::from(step) - warm) / (f64::from(steps) - warm)).clamp(0.0, 1.0);
    2.0 + 9.0 * (1.0 + (std::f64::consts::PI * done).cos())
}

impl Pace {
    fn at(step: u32, steps: u32, undecided: f32) -> Self {
        let n = step as i32 + 1;
        Self {
            beta: beta(step, steps) as f32,
            is_warm: f64::from(step) >= WARM * f64::from(steps),
            undecided,
            unbias: (1.0 / (1.0 - 0.9_f64.powi(n))) as f32,
            unbias_square: (1.0 / (1.0 - 0.999_f64.powi(n))) as f32,
        }
    }
}

impl Search<'_> {
    fn places(&self) -> Vec<Place> {
        let place = |(i, w): (usize, &f64)| Place::new(*w, &(self.grid)(i / self.width, i % self.width));
        self.wanted.iter().enumerate().map(place).collect()
    }

    /// Goes down the gradient that `gradient` writes for the weights, step by step; what that gives is the error.
    /// Leaves the weights as they are decided.
    fn descend(&self, mut gradient: impl FnMut(&[f32], &mut [f32]) -> f32) -> (Vec<i32>, Vec<f32>) {
        let mut places = self.places();
        let (mut weights, mut slopes) = (vec![0.0; places.len()], vec![0.0; places.len()]);
        weights.iter_mut().zip(&places).for_each(|(w, p)| *w = p.code() as f32 * p.scale);
        let nearest = gradient(&weights, &mut slopes);
        let undecided = UNDECIDED.max(ALL_UNDECIDED * nearest / places.len().max(1) as f32);
        for step in 0..self.iterations {
            if is_stopped() {
                break;
            }
            weights.iter_mut().zip(&places).for_each(|(w, p)| *w = p.weight());
            gradient(&weights, &mut slopes);
            let pace = Pace::at(step, self.iterations, undecided);
            let rows = places.chunks_mut(self.width).zip(slopes.chunks(self.width));
            tasks(rows, &|_, (places, slopes)| places.iter_mut().zip(slopes).for_each(|(p, g)| p.step(*g, pace)));
        }
        weights.iter_mut().zip(&places).for_each(|(w, p)| *w = p.code() as f32 * p.scale);
        let code = |(i, p): (usize, &Place)| p.code() + (self.grid)(i / self.width, i % self.width).zero_point;
        (places.iter().enumerate().map(code).collect(), weights)
    }
}

/// Makes `(Ŵ − W)·H·(Ŵ − W)ᵀ` small, H [width × width]. The same codes every time.
pub(in crate::pipeline::compress) fn on_moments(search: &Search<'_>, h: &[f64]) -> Vec<i32> {
    let n = search.width;
    let narrow: Vec<f32> = h.iter().map(|v| *v as f32).collect();
    let panels = Panels::pack_matrix(&narrow, n, n);
    let mut errors = vec![0.0; search.wanted.len()];
    search
        .descend(|weights, slopes| {
            errors.iter_mut().zip(weights).zip(search.wanted).for_each(|((e, w), t)| *e = 2.0 * (w - *t as f32));
            product(&errors, errors.len() / n, &panels, slopes);
            errors.iter().zip(slopes.iter()).map(|(e, s)| e * s / 4.0).sum()
        })
        .0
}

/// Makes the squared error behind a clip to `clip` small, on batches of the samples drawn by the seed; `bias` is that
/// of the original layer. Where `moves`, biases move with the weights: gives codes, and what is to be added to each
/// output.
pub(in crate::pipeline::compress) fn on_samples(
    search: &Search<'_>,
    samples: &Samples,
    bias: &[f32],
    clip: (f32, f32),
    moves: bool,
) -> (Vec<i32>, Vec<f64>) {
    let mut batch = Batch::new(search, samples, bias, clip);
    let (codes, weights) = search.descend(|weights, slopes| {
        batch.draw();
        let error = batch.errors(weights);
        batch.slopes(slopes);
        if moves {
            batch.shift();
        }
        error
    });
    let settle = if moves { SETTLE } else { 0 };
    for _ in 0..settle {
        batch.draw();
        batch.errors(&weights);
        batch.shift();
    }
    (codes, batch.shift.iter().map(|v| f64::from(*v)).collect())
}

/// Samples of one step, and what the weights make of them.
struct Batch<'a> {
    samples: &'a Samples,
    bias: &'a [f32],
    clip: (f32, f32),
    size: usize,
    random: Random,
    /// x̂ [size × width], and what the original gives behind the clip [size × rows].
    data: Vec<f32>,
    wanted: Vec<f32>,
    made: Vec<f32>,
    /// Twice the error of each output by its mean, zero where the clip is flat [rows × size].
    errors: Vec<f32>,
    /// How many outputs of each row lie where the clip is not flat.
    alive: Vec<usize>,
    /// Added to each output.
    shift: Vec<f32>,
}

impl<'a> Batch<'a> {
    fn new(search: &Search<'_>, samples: &'a Samples, bias: &'a [f32], clip: (f32, f32)) -> Self {
        let (width, tall) = (search.width, samples.rows);
        let size = if width < NARROW { NARROW_BATCH } else { BATCH }.min(samples.count());
        Self {
            samples,
            bias,
            clip,
            size,
            random: Random::new(search.seed),
            data: vec![0.0; size * width],
            wanted: vec![0.0; size * tall],
            made: vec![0.0; size * tall],
            errors: vec![0.0; size * tall],
            alive: vec![0; tall],
            shift: vec![0.0; tall],
        }
    }

    fn draw(&mut self) {
        let (samples, clip, bias) = (self.samples, self.clip, self.bias);
        let (width, tall) = (samples.width, samples.rows);
        let chosen: Vec<usize> = (0..self.size).map(|_| self.random.below(samples.count())).collect();
        parts(&mut self.data, width, &|i, row| row.copy_from_slice(&samples.made[chosen[i] * width..][..width]));
        for (row, at) in self.wanted.chunks_mut(tall).zip(&chosen) {
            let outputs = samples.outputs[at * tall..][..tall].iter().zip(bias);
            row.iter_mut().zip(outputs).for_each(|(w, (y, b))| *w = (y + b).clamp(clip.0, clip.1));
        }
    }

    /// The mean squared error of all outputs together.
    fn errors(&mut self, weights: &[f32]) -> f32 {
        let (n, tall, size) = (self.samples.width, self.samples.rows, self.size);
        let bias: Vec<f32> = self.bias.iter().zip(&self.shift).map(|(b, s)| b + s).collect();
        product(&self.data, size, &Panels::pack(tall, n, &bias, |o, k| weights[o * n + k]), &mut self.made);
        let (low, high) = self.clip;
        self.alive.fill(0);
        let mut sum = 0.0;
        for (i, (wanted, made)) in self.wanted.iter().zip(&self.made).enumerate() {
            let (place, channel) = (i / tall, i % tall);
            let missed = made.clamp(low, high) - wanted;
            sum += missed * missed;
            let passes = *made > low && *made < high;
            self.alive[channel] += usize::from(passes);
            self.errors[channel * size + place] = if passes { 2.0 / size as f32 * missed } else { 0.0 };
        }
        sum / size as f32
    }

    /// The gradient with respect to the weights.
    fn slopes(&self, slopes: &mut [f32]) {
        product(&self.errors, self.samples.rows, &Panels::pack_matrix(&self.data, self.size, self.samples.width), slopes);
    }

    /// Moves what is added to each output some way to where the errors of those that pass cancel out.
    fn shift(&mut self) {
        for ((shift, errors), alive) in self.shift.iter_mut().zip(self.errors.chunks(self.size)).zip(&self.alive) {
            if *alive > 0 {
                let missed = errors.iter().sum::<f32>() * self.size as f32 / 2.0;
                *shift -= SHIFT_RATE * missed / *alive as f32;
            }
        }
    }
}
