//! Whether a step was one forward: measured on samples that it did not see.

use super::behind::Behind;
use crate::engine::kernels::matmul::{Left, matmul};
use crate::engine::kernels::parts;
use crate::pipeline::calibrate::Samples;

/// What one step did to a layer, on samples that were held out.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    pub name: &'static str,
    /// Squared error of the layer's outputs, or of those behind the activation where that is what was made small, over
    /// their variance (of "deviation": of the outputs' deviations).
    pub before: f64,
    pub after: f64,
    /// Whether it made the error smaller; if not it was taken back.
    pub kept: bool,
}

/// All names that steps have.
const NAMES: [&str; 9] =
    ["lost channels", "SparseGPT", "least squares", "exchange", "GPTQ", "AdaRound", "deviation", "low rank", "bias"];

impl Step {
    /// The name that is written so.
    pub(super) fn named(written: &[u8]) -> Option<&'static str> {
        NAMES.into_iter().find(|name| name.as_bytes() == written)
    }
}

/// What the layer gave before, on places of held-out samples.
pub(super) struct Judge<'a> {
    samples: &'a [Samples],
    /// Where errors count behind the activation.
    behind: Option<&'a Behind>,
}

/// Sums over places of one output channel.
#[derive(Debug, Clone, Copy, Default)]
struct Sums {
    /// Of what is missing of the output, and its square.
    missing: f64,
    square: f64,
    wanted: f64,
    wanted_square: f64,
    made: f64,
    made_square: f64,
}

impl Sums {
    fn add(&mut self, y: f64, z: f64) {
        self.missing += y - z;
        self.square += (y - z) * (y - z);
        self.wanted += y;
        self.wanted_square += y * y;
        self.made += z;
        self.made_square += z * z;
    }

    fn join(&mut self, other: &Self) {
        self.missing += other.missing;
        self.square += other.square;
        self.wanted += other.wanted;
        self.wanted_square += other.wanted_square;
        self.made += other.made;
        self.made_square += other.made_square;
    }
}

/// Places that one task sums. A number of its own, so that sums are the same at any number of threads.
const PLACES: usize = 256;

/// Sums of each output channel over outputs [places × tall], as they were and as they are made.
fn sums_of(wanted: &[f32], made: &[f32], tall: usize) -> Vec<Sums> {
    let tall = tall.max(1);
    let pieces = (wanted.len() / tall).div_ceil(PLACES);
    let mut partial = vec![Sums::default(); pieces * tall];
    parts(&mut partial, tall, &|piece, sums| {
        let places = wanted.chunks(tall).zip(made.chunks(tall)).skip(piece * PLACES).take(PLACES);
        for (wanted, made) in places {
            let pairs = wanted.iter().zip(made);
            sums.iter_mut().zip(pairs).for_each(|(sum, (y, z))| sum.add(f64::from(*y), f64::from(*z)));
        }
    });
    let mut sums = vec![Sums::default(); tall];
    for piece in partial.chunks(tall) {
        sums.iter_mut().zip(piece).for_each(|(sum, other)| sum.join(other));
    }
    sums
}

impl<'a> Judge<'a> {
    pub fn new(samples: &'a [Samples], behind: Option<&'a Behind>) -> Self {
        Self { samples, behind }
    }

    /// What these weights, a row per output channel, make of the samples of each group: [places × rows].
    fn outputs<'b>(&'b self, rows: &'b [f32]) -> impl Iterator<Item = (&'a Samples, Vec<f32>)> + 'b {
        self.samples.iter().enumerate().map(move |(group, samples)| {
            let (k, tall) = (samples.width, samples.rows);
            let own = &rows[group * tall * k..(group + 1) * tall * k];
            let turned: Vec<f32> = (0..k * tall).map(|i| own[i % tall * k + i / tall]).collect();
            let mut made = vec![0.0; samples.count() * tall];
            matmul(Left { data: &samples.made, row_stride: k, column_stride: 1 }, &turned, (samples.count(), k, tall), &mut made);
            (samples, made)
        })
    }

    /// Sums of each output channel where the layer has these weights, a row per output channel.
    fn sums(&self, rows: &[f32]) -> (Vec<Sums>, f64) {
        let mut all = Vec::new();
        let mut count = 0;
        for (samples, made) in self.outputs(rows) {
            all.extend(sums_of(&samples.outputs, &made, samples.rows));
            count = samples.count();
        }
        (all, count.max(1) as f64)
    }

    /// Squared error over variance, all outputs together, with `added` to each output.
    pub fn error(&self, rows: &[f32], added: Option<&[f64]>) -> f64 {
        if let Some(behind) = self.behind {
            return self.error_behind(behind, rows, added);
        }
        let (sums, n) = self.sums(rows);
        let (mut error, mut varies) = (0.0, 0.0);
        for (i, sum) in sums.iter().enumerate() {
            let bias = added.and_then(|a| a.get(i)).copied().unwrap_or(0.0);
            error += sum.square - 2.0 * bias * sum.missing + n * bias * bias;
            varies += sum.wanted_square - sum.wanted * sum.wanted / n;
        }
        ratio(error, varies)
    }

    fn error_behind(&self, behind: &Behind, rows: &[f32], added: Option<&[f64]>) -> f64 {
        let (mut error, mut varies, mut first) = (0.0, 0.0, 0);
        for (samples, made) in self.outputs(rows) {
            let (tall, n) = (samples.rows, samples.count().max(1) as f64);
            for (row, bias) in behind.biases(first, tall).iter().enumerate() {
                let added = added.and_then(|a| a.get(first + row)).map_or(0.0, |a| *a as f32);
                let (mut sum, mut square) = (0.0, 0.0);
                for (y, z) in samples.outputs.iter().zip(&made).skip(row).step_by(tall) {
                    let (y, z) = (f64::from(behind.cut(y + bias)), f64::from(behind.cut(z + bias + added)));
                    error += (y - z) * (y - z);
                    sum += y;
                    square += y * y;
                }
                varies += square - sum * sum / n;
            }
            first += tall;
        }
        ratio(error, varies)
    }

    /// By how much the deviations of the outputs miss those that they had: squares, over the variance.
    pub fn deviation(&self, rows: &[f32]) -> f64 {
        let (sums, n) = self.sums(rows);
        let deviation = |square: f64, sum: f64| (square / n - (sum / n).powi(2)).max(0.0).sqrt();
        let (mut error, mut varies) = (0.0, 0.0);
        for sum in &sums {
            let wanted = deviation(sum.wanted_square, sum.wanted);
            error += (wanted - deviation(sum.made_square, sum.made)).powi(2);
            varies += wanted * wanted;
        }
        ratio(error, varies)
    }
}

/// Outputs that never vary have an error of 0 or 1.
fn ratio(error: f64, varies: f64) -> f64 {
    if error <= 0.0 {
        0.0
    } else if varies > 0.0 {
        error / varies
    } else {
        1.0
    }
}
