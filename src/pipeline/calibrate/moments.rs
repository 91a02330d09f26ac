//! Second moments of what a layer reads: of x, which the original network feeds it, and of x̂, which the network as
//! compressed so far does. One pass over the data of a layer serves all that is done to it.

use super::reading::Reading;
use crate::engine::kernels::convolve::Panels;
use crate::engine::kernels::gram::{add_products, mirror};
use crate::engine::kernels::matmul::{Left, matmul, product};
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
    towards: Vec<f64>,
    y: Vec<f64>,
    yy: Vec<f64>,
}

/// Moments of what one group of output channels reads: `width` values at every place.
#[derive(Debug, Clone, Default)]
pub struct Moments {
    pub width: usize,
    /// Whether x has channels that x̂ lost.
    pub is_cut: bool,
    /// Places that were seen.
    pub count: usize,
    /// `E[x]` and `E[x̂]` (width). Where x̂ lost channels it stands for both, here and in `cross`.
    pub mean: Vec<f64>,
    pub made_mean: Vec<f64>,
    /// `E[x̂·x̂ᵀ]` [width × width]; empty where it was not asked for.
    pub gram: Vec<f64>,
    /// `E[x·x̂ᵀ]` [width × width]; empty where it was not asked for.
    pub cross: Vec<f64>,
    /// `E[W·x·x̂ᵀ]` [rows × width], where x̂ lost channels and `gram` was asked for; else empty.
    pub towards: Vec<f64>,
    /// Mean and mean square of W·x, per output channel of the group; empty where it was not asked for and x̂ lost none.
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

/// A layer's weights in the original network, a row for each output channel that is left, as groups of rows read them.
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

/// How a layer reads a batch in both networks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Readings<'a> {
    pub made: &'a Reading,
    pub original: &'a Reading,
    /// Where channels were lost: which group of the original each group was.
    pub groups: Option<&'a [usize]>,
    /// What is added to the layer's outputs.
    pub beside: Option<Beside<'a>>,
}

/// The other term of the sum that alone reads what a layer gives, in both networks: [samples × channels × plane].
#[derive(Debug, Clone, Copy)]
pub(super) struct Beside<'a> {
    pub original: &'a [f32],
    pub made: &'a [f32],
    /// Of the original; `left` says which of them are left.
    pub channels: usize,
    pub left: &'a [usize],
    pub plane: usize,
}

impl Beside<'_> {
    /// What the made network's term lacks at a place of an output channel.
    fn lack(&self, place: usize, row: usize) -> f32 {
        let (sample, at) = (place / self.plane, place % self.plane);
        let value = |of: &[f32], channels: usize, channel: usize| {
            of.get((sample * channels + channel) * self.plane + at).copied().unwrap_or_default()
        };
        let was = self.left.get(row).copied().unwrap_or(row);
        value(self.original, self.channels, was) - value(self.made, self.left.len(), row)
    }
}

impl Readings<'_> {
    fn original_group(&self, group: usize) -> usize {
        self.groups.map_or(group, |groups| groups.get(group).copied().unwrap_or(group))
    }
}

/// Adds up moments, batch by batch.
pub(super) struct Collector<'a> {
    weights: Weights<'a>,
    /// Of x̂.
    width: usize,
    is_cut: bool,
    demand: Demand,
    groups: Vec<Sums>,
    count: usize,
}

/// Values of a piece of columns: it lies in the second-level cache.
const PIECE: usize = 1 << 19;

impl<'a> Collector<'a> {
    /// Of layers whose data lost channels where `is_cut`: x̂ has then `width` values at a place, and x others.
    pub fn new(weights: Weights<'a>, (groups, width): (usize, usize), is_cut: bool, demand: Demand) -> Self {
        let (k, tall) = (width, weights.tall);
        let zeros = |wanted: bool, size: usize| vec![0.0; if wanted { size } else { 0 }];
        let outputs = demand.outputs || is_cut;
        let one = || Sums {
            x: zeros(!is_cut, k),
            made: vec![0.0; k],
            gram: zeros(demand.gram, k * k),
            cross: zeros(demand.gram && demand.cross && !is_cut, k * k),
            towards: zeros(demand.gram && is_cut, tall * k),
            y: zeros(outputs, tall),
            yy: zeros(outputs, tall),
        };
        Self { weights, width, is_cut, demand, groups: (0..groups).map(|_| one()).collect(), count: 0 }
    }

    /// Adds a batch: `x` as the original network has it, `made` as the compressed one does. Sums are added in the
    /// order of places, whatever the number of threads.
    pub fn add(&mut self, readings: Readings<'_>, x: &[f32], made: &[f32]) {
        let Self { weights, width, .. } = *self;
        let places = readings.made.places();
        let add = |group: usize, sums: &mut Sums| {
            let size = (PIECE / width.max(1)).clamp(64, 4096);
            for first in (0..places).step_by(size) {
                let piece = Piece { readings, group, first, count: size.min(places - first) };
                sums.add(&piece, weights.of(group), weights.width, (x, made));
            }
        };
        match self.groups.as_mut_slice() {
            [one] => add(0, one),
            many => tasks(many.iter_mut(), &|group, sums| serial(|| add(group, sums))),
        }
        self.count += places;
    }

    pub fn finish(self) -> Vec<Moments> {
        let (width, count, is_cut, crosses) = (self.width, self.count, self.is_cut, self.demand.cross);
        let n = count.max(1) as f64;
        let mean = |sums: Vec<f64>| sums.into_iter().map(|s| s / n).collect::<Vec<f64>>();
        self.groups
            .into_iter()
            .map(|mut sums| {
                if !sums.gram.is_empty() {
                    mirror(&mut sums.gram, width);
                }
                let (gram, made_mean) = (mean(sums.gram), mean(sums.made));
                Moments {
                    width,
                    is_cut,
                    count,
                    mean: if is_cut { made_mean.clone() } else { mean(sums.x) },
                    made_mean,
                    cross: if is_cut && crosses { gram.clone() } else { mean(sums.cross) },
                    gram,
                    towards: mean(sums.towards),
                    output_mean: mean(sums.y),
                    output_square: mean(sums.yy),
                }
            })
            .collect()
    }
}

/// Some places of a batch, for one group.
struct Piece<'a> {
    readings: Readings<'a>,
    group: usize,
    first: usize,
    count: usize,
}

impl Piece<'_> {
    /// Columns [width × count].
    fn columns(&self, reading: &Reading, group: usize, data: &[f32]) -> Vec<f32> {
        let mut columns = vec![0.0; reading.width() * self.count];
        parts(&mut columns, self.count, &|column, out| reading.line(data, group, column, self.first, out));
        columns
    }
}

impl Sums {
    /// `weights` have `width` columns.
    fn add(&mut self, piece: &Piece<'_>, weights: &[f32], width: usize, (x, made): (&[f32], &[f32])) {
        let Piece { readings, group, count, .. } = *piece;
        let k = readings.made.width();
        let right = piece.columns(readings.made, group, made);
        // Before the first compressed layer both are the same data.
        let is_apart = readings.groups.is_some() || !std::ptr::eq(x, made);
        let apart = is_apart.then(|| piece.columns(readings.original, readings.original_group(group), x));
        let left = apart.as_deref().unwrap_or(&right);
        if !self.gram.is_empty() {
            let cross = (!self.cross.is_empty()).then_some(left);
            add_products(&right, cross, (k, count), &mut self.gram, &mut self.cross);
        }
        add_sums(&right, count, &mut self.made, |v| v);
        add_sums(left, count, &mut self.x, |v| v);
        if self.y.is_empty() {
            return;
        }
        let mut outputs = outputs_of(weights, left, (width, count));
        if let Some(beside) = readings.beside {
            let first = group * (outputs.len() / count);
            for (row, line) in outputs.chunks_mut(count).enumerate() {
                line.iter_mut().enumerate().for_each(|(i, y)| *y += beside.lack(piece.first + i, first + row));
            }
        }
        add_sums(&outputs, count, &mut self.y, |v| v);
        add_sums(&outputs, count, &mut self.yy, |v| v * v);
        if !self.towards.is_empty() {
            let mut made = vec![0.0; self.towards.len()];
            let turned = Panels::pack(k, count, &[], |column, place| right[column * count + place]);
            product(&outputs, outputs.len() / count, &turned, &mut made);
            self.towards.iter_mut().zip(made).for_each(|(sum, v)| *sum += f64::from(v));
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
    pub fn new(weights: Weights<'a>, (groups, width): (usize, usize)) -> Self {
        let one = || Samples { width, rows: weights.tall, ..Samples::default() };
        Self { weights, groups: (0..groups).map(|_| one()).collect() }
    }

    /// Keeps `wanted` places of a batch, or all.
    pub fn add(&mut self, readings: Readings<'_>, x: &[f32], made: &[f32], wanted: usize) {
        let (places, k, weights) = (readings.made.places(), self.weights.width, self.weights);
        let wanted = wanted.min(places);
        let strewn = |i: usize| {
            let at = if wanted == places { i } else { ((i as f64 + 0.5) * GOLDEN).fract().mul_add(places as f64, 0.0) as usize };
            at.min(places.saturating_sub(1))
        };
        let gather = |reading: &Reading, group: usize, data: &[f32]| {
            let width = reading.width();
            let mut rows = vec![0.0; wanted * width];
            for (i, row) in rows.chunks_mut(width.max(1)).enumerate() {
                reading.place(data, group, strewn(i), row);
            }
            rows
        };
        tasks(self.groups.iter_mut(), &|group, samples| {
            let original = gather(readings.original, readings.original_group(group), x);
            let made = gather(readings.made, group, made);
            let turned: Vec<f32> =
                (0..k * weights.tall).map(|i| weights.of(group)[i % weights.tall * k + i / weights.tall]).collect();
            let mut outputs = vec![0.0; wanted * weights.tall];
            matmul(Left { data: &original, row_stride: k, column_stride: 1 }, &turned, (wanted, k, weights.tall), &mut outputs);
            if let Some(beside) = readings.beside {
                let first = group * weights.tall;
                for (i, row) in outputs.chunks_mut(weights.tall.max(1)).enumerate() {
                    row.iter_mut().enumerate().for_each(|(o, y)| *y += beside.lack(strewn(i), first + o));
                }
            }
            samples.made.extend(made);
            samples.outputs.extend(outputs);
        });
    }

    pub fn finish(self) -> Vec<Samples> {
        self.groups
    }
}
