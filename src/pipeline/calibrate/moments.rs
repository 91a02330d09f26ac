//! Second moments of what a layer reads: of x, which the original network feeds it, and of x̂, which the network as
//! compressed so far does. One pass over the data of a layer serves all that is done to it.

use super::reading::Reading;
use crate::engine::kernels::gram::{add_products, mirror};
use crate::engine::kernels::matmul::{Left, matmul};
use crate::engine::kernels::{parts, serial, tasks};

/// What must be known of a layer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Demand {
    /// `E[x̂·x̂ᵀ]`, without which there is no `cross` either.
    pub gram: bool,
    /// `E[x·x̂ᵀ]`.
    pub cross: bool,
    /// Mean and mean square of what the original weights make of x.
    pub outputs: bool,
    /// How many places are kept as they are.
    pub samples: usize,
}

/// Sums over places; [`Moments`] while they grow.
#[derive(Debug, Clone, Default)]
struct Sums {
    x: Vec<f64>,
    made: Vec<f64>,
    gram: Vec<f64>,
    cross: Vec<f64>,
    y: Vec<f64>,
    yy: Vec<f64>,
}

/// Moments of what one group of output channels reads: `width` values at every place.
#[derive(Debug, Clone, Default)]
pub struct Moments {
    pub width: usize,
    /// Places that were seen.
    pub count: usize,
    /// `E[x]` and `E[x̂]` (width).
    pub mean: Vec<f64>,
    pub made_mean: Vec<f64>,
    /// `E[x̂·x̂ᵀ]` [width × width]; empty where it was not asked for.
    pub gram: Vec<f64>,
    /// `E[x·x̂ᵀ]` [width × width]; empty where it was not asked for.
    pub cross: Vec<f64>,
    /// Mean and mean square of W·x, per output channel of the group; empty where it was not asked for.
    pub output_mean: Vec<f64>,
    pub output_square: Vec<f64>,
}

/// Places as they are, of one group of output channels.
#[derive(Debug, Clone, Default)]
pub struct Samples {
    pub width: usize,
    pub rows: usize,
    /// x̂ [places × width].
    pub made: Vec<f32>,
    /// W·x, without a bias [places × rows].
    pub outputs: Vec<f32>,
}

impl Samples {
    #[must_use]
    pub fn count(&self) -> usize {
        self.outputs.len() / self.rows.max(1)
    }
}

/// A layer's weights, a row per output channel, as groups of rows read them.
#[derive(Debug, Clone, Copy)]
pub(super) struct Weights<'a> {
    pub rows: &'a [f32],
    /// Rows of one group.
    pub tall: usize,
    pub width: usize,
}

impl<'a> Weights<'a> {
    fn of(&self, group: usize) -> &'a [f32] {
        let size = self.tall * self.width;
        self.rows.get(group * size..(group + 1) * size).unwrap_or_default()
    }
}

/// Adds up moments, batch by batch.
pub(super) struct Collector<'a> {
    weights: Weights<'a>,
    demand: Demand,
    groups: Vec<Sums>,
    count: usize,
}

/// Values of a piece of columns: it lies in the second-level cache.
const PIECE: usize = 1 << 19;

impl<'a> Collector<'a> {
    pub fn new(weights: Weights<'a>, groups: usize, demand: Demand) -> Self {
        let (k, tall) = (weights.width, weights.tall);
        let one = || Sums {
            x: vec![0.0; k],
            made: vec![0.0; k],
            gram: vec![0.0; if demand.gram { k * k } else { 0 }],
            cross: vec![0.0; if demand.gram && demand.cross { k * k } else { 0 }],
            y: vec![0.0; if demand.outputs { tall } else { 0 }],
            yy: vec![0.0; if demand.outputs { tall } else { 0 }],
        };
        Self { weights, demand, groups: (0..groups).map(|_| one()).collect(), count: 0 }
    }

    /// Adds a batch: `x` as the original network has it, `made` as the compressed one does. Sums are added in the
    /// order of places, whatever the number of threads.
    pub fn add(&mut self, reading: &Reading, x: &[f32], made: &[f32]) {
        let Self { weights, demand, .. } = *self;
        let add = |group: usize, sums: &mut Sums| {
            let size = (PIECE / weights.width.max(1)).clamp(64, 4096);
            let places = reading.places();
            for first in (0..places).step_by(size) {
                let piece = Piece { reading, group, first, count: size.min(places - first) };
                sums.add(&piece, weights.of(group), demand, (x, made));
            }
        };
        match self.groups.as_mut_slice() {
            [one] => add(0, one),
            many => tasks(many.iter_mut(), &|group, sums| serial(|| add(group, sums))),
        }
        self.count += reading.places();
    }

    pub fn finish(self) -> Vec<Moments> {
        let (width, count) = (self.weights.width, self.count);
        let n = count.max(1) as f64;
        let mean = |sums: Vec<f64>| sums.into_iter().map(|s| s / n).collect::<Vec<f64>>();
        self.groups
            .into_iter()
            .map(|mut sums| {
                if !sums.gram.is_empty() {
                    mirror(&mut sums.gram, width);
                }
                Moments {
                    width,
                    count,
                    mean: mean(sums.x),
                    made_mean: mean(sums.made),
                    gram: mean(sums.gram),
                    cross: mean(sums.cross),
                    output_mean: mean(sums.y),
                    output_square: mean(sums.yy),
                }
            })
            .collect()
    }
}

/// Some places of a batch, for one group.
struct Piece<'a> {
    reading: &'a Reading,
    group: usize,
    first: usize,
    count: usize,
}

impl Piece<'_> {
    /// Columns [width × count].
    fn columns(&self, data: &[f32]) -> Vec<f32> {
        let mut columns = vec![0.0; self.reading.width() * self.count];
        parts(&mut columns, self.count, &|column, out| self.reading.line(data, self.group, column, self.first, out));
        columns
    }
}

impl Sums {
    fn add(&mut self, piece: &Piece<'_>, weights: &[f32], demand: Demand, (x, made): (&[f32], &[f32])) {
        let (k, count) = (piece.reading.width(), piece.count);
        let right = piece.columns(made);
        // Before the first compressed layer both are the same data.
        let apart = (!std::ptr::eq(x, made)).then(|| piece.columns(x));
        let left = apart.as_deref().unwrap_or(&right);
        if demand.gram {
            add_products(&right, demand.cross.then_some(left), (k, count), &mut self.gram, &mut self.cross);
        }
        add_sums(&right, count, &mut self.made, |v| v);
        add_sums(left, count, &mut self.x, |v| v);
        if demand.outputs {
            let outputs = outputs_of(weights, left, (k, count));
            add_sums(&outputs, count, &mut self.y, |v| v);
            add_sums(&outputs, count, &mut self.yy, |v| v * v);
        }
    }
}

/// `W·columns` [rows × count].
fn outputs_of(weights: &[f32], columns: &[f32], (k, count): (usize, usize)) -> Vec<f32> {
    let rows = weights.len() / k.max(1);
    let mut out = vec![0.0; rows * count];
    matmul(Left { data: weights, row_stride: k, column_stride: 1 }, columns, (rows, k, count), &mut out);
    out
}

fn add_sums(lines: &[f32], count: usize, sums: &mut [f64], f: impl Fn(f64) -> f64) {
    for (line, sum) in lines.chunks(count).zip(sums) {
        *sum += line.iter().map(|v| f(f64::from(*v))).sum::<f64>();
    }
}

/// Keeps some places as they are, evenly strewn.
pub(super) struct Sampler<'a> {
    weights: Weights<'a>,
    groups: Vec<Samples>,
}

/// The fractional part of the golden ratio: its multiples fall evenly, into no pattern of rows and columns.
const GOLDEN: f64 = 0.618_033_988_749_894_9;

impl<'a> Sampler<'a> {
    pub fn new(weights: Weights<'a>, groups: usize) -> Self {
        let one = || Samples { width: weights.width, rows: weights.tall, ..Samples::default() };
        Self { weights, groups: (0..groups).map(|_| one()).collect() }
    }

    /// Keeps `wanted` places of a batch, or all.
    pub fn add(&mut self, reading: &Reading, x: &[f32], made: &[f32], wanted: usize) {
        let (places, k, weights) = (reading.places(), self.weights.width, self.weights);
        let wanted = wanted.min(places);
        let strewn = |i: usize| {
            let at = if wanted == places { i } else { ((i as f64 + 0.5) * GOLDEN).fract().mul_add(places as f64, 0.0) as usize };
            at.min(places.saturating_sub(1))
        };
        tasks(self.groups.iter_mut(), &|group, samples| {
            let gather = |data: &[f32]| {
                let mut rows = vec![0.0; wanted * k];
                for (i, row) in rows.chunks_mut(k.max(1)).enumerate() {
                    reading.place(data, group, strewn(i), row);
                }
                rows
            };
            let (original, made) = (gather(x), gather(made));
            let turned: Vec<f32> =
                (0..k * weights.tall).map(|i| weights.of(group)[i % weights.tall * k + i / weights.tall]).collect();
            let mut outputs = vec![0.0; wanted * weights.tall];
            matmul(Left { data: &original, row_stride: k, column_stride: 1 }, &turned, (wanted, k, weights.tall), &mut outputs);
            samples.made.extend(made);
            samples.outputs.extend(outputs);
        });
    }

    pub fn finish(self) -> Vec<Samples> {
        self.groups
    }
}
