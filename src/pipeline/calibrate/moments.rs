//! Second moments of what a layer reads: of x, which the original network feeds it, and of x̂, which the network as
//! compressed so far does. One pass over the data of a layer serves all that is done to it.

use super::lags::{Axis, Lagged, add_sums};
use super::reading::{Reading, Way};
use crate::engine::kernels::aligned::Aligned;
use crate::engine::kernels::factor::dot;
use crate::engine::kernels::gram::{Extent, add_columns, add_lagged, mirror};
use crate::engine::kernels::matmul::{Left, matmul};
use crate::engine::kernels::{parts, serial, tasks};
use std::cell::RefCell;

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

/// Sums over places; [`Moments`] while they grow. What is not asked for is empty.
#[derive(Debug, Default)]
struct Sums {
    /// Empty where x̂ lost channels.
    x: Vec<f64>,
    made: Vec<f64>,
    products: Products<Vec<f64>>,
    /// What those are made of in the end, where places go together.
    lagged: Products<Option<Lagged>>,
    /// Where x̂ lost channels.
    outputs: Option<Outputs>,
}

/// Of x̂ with itself, of x with x̂, of x with itself.
#[derive(Debug, Default)]
struct Products<T> {
    gram: T,
    cross: T,
    own: T,
}

/// Of W·x, which alone can be held against x̂ where channels were lost: itself, its squares, its products with x̂.
#[derive(Debug, Default)]
struct Outputs {
    y: Vec<f64>,
    yy: Vec<f64>,
    towards: Vec<f64>,
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

    /// W·x of a group [places × rows], and what the term beside it lacks; `x` is a row per place, `place` says which.
    fn outputs(&self, weights: Weights<'_>, group: usize, x: &[f32], place: impl Fn(usize) -> usize) -> Vec<f32> {
        let (tall, k, rows) = (weights.tall, weights.width, weights.of(group));
        let turned: Vec<f32> = (0..k * tall).map(|i| rows[i % tall * k + i / tall]).collect();
        let places = x.len() / k.max(1);
        let mut outputs = vec![0.0; places * tall];
        matmul(Left { data: x, row_stride: k, column_stride: 1 }, &turned, (places, k, tall), &mut outputs);
        if let Some(beside) = self.beside {
            for (i, row) in outputs.chunks_mut(tall.max(1)).enumerate() {
                row.iter_mut().enumerate().for_each(|(o, y)| *y += beside.lack(place(i), group * tall + o));
            }
        }
        outputs
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

impl<'a> Collector<'a> {
    /// Of layers whose data lost channels where `is_cut`: x̂ has then `width` values at a place, and x others.
    pub fn new(weights: Weights<'a>, (groups, width): (usize, usize), is_cut: bool, demand: Demand) -> Self {
        let (k, tall) = (width, weights.tall);
        let zeros = |wanted: bool, size: usize| vec![0.0; if wanted { size } else { 0 }];
        let one = || Sums {
            x: zeros(!is_cut, k),
            made: vec![0.0; k],
            products: Products {
                gram: zeros(demand.gram, k * k),
                cross: zeros(demand.gram && demand.cross && !is_cut, k * k),
                own: zeros(demand.outputs && !is_cut, k * k),
            },
            lagged: Products::default(),
            outputs: is_cut.then(|| Outputs { y: vec![0.0; tall], yy: vec![0.0; tall], towards: zeros(demand.gram, tall * k) }),
        };
        Self { weights, width, is_cut, demand, groups: (0..groups).map(|_| one()).collect(), count: 0 }
    }

    /// Adds a batch: `x` as the original network has it, `made` as the compressed one does. Sums are added in the
    /// order of places, whatever the number of threads.
    pub fn add(&mut self, readings: Readings<'_>, x: &[f32], made: &[f32]) {
        match (readings.made.way(), self.groups.as_mut_slice()) {
            (Way::Rows, [one]) => one.add_rows(x, made),
            (Way::Steps(axes, channels), [one]) => one.add_images(axes, channels, x, made),
            (_, groups) => by_pieces(readings, groups, &|piece, sums| sums.add_piece(piece, x, made)),
        }
        if self.is_cut {
            let weights = self.weights;
            by_pieces(readings, &mut self.groups, &|piece, sums| {
                if let Some(outputs) = &mut sums.outputs {
                    outputs.add(piece, weights, x, made);
                }
            });
        }
        self.count += readings.made.places();
    }

    pub fn finish(self) -> Vec<Moments> {
        let Self { weights, width, is_cut, demand, groups, count } = self;
        let n = count.max(1) as f64;
        let mean = |sums: Vec<f64>| sums.into_iter().map(|s| s / n).collect::<Vec<f64>>();
        let one = |(group, mut sums): (usize, Sums)| {
            sums.put_together();
            let Sums { x, made, products: Products { gram, cross, own }, outputs, .. } = sums;
            let (gram, made_mean, own) = (mean(gram), mean(made), mean(own));
            let x = if is_cut { made_mean.clone() } else { mean(x) };
            let cross = if is_cut && demand.cross { gram.clone() } else { mean(cross) };
            let (output_mean, output_square, towards) = match outputs {
                Some(Outputs { y, yy, towards }) => (mean(y), mean(yy), mean(towards)),
                None if own.is_empty() => Default::default(),
                None => {
                    let (mean, square) = outputs_of(weights.of(group), &x, &own);
                    (mean, square, Vec::new())
                }
            };
            Moments { width, is_cut, count, mean: x, made_mean, gram, cross, towards, output_mean, output_square }
        };
        groups.into_iter().enumerate().map(one).collect()
    }
}

/// Mean and mean square of W·x, per row of W, from those of x.
fn outputs_of(rows: &[f32], mean: &[f64], moments: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let of = |row: &[f32]| {
        let row: Vec<f64> = row.iter().map(|w| f64::from(*w)).collect();
        (dot(&row, mean), row.iter().zip(moments.chunks(row.len())).map(|(w, line)| w * dot(&row, line)).sum::<f64>())
    };
    rows.chunks(mean.len().max(1)).map(of).unzip()
}

/// Values of a piece of rows that are put together first: they lie in the second-level cache.
const PIECE: usize = 1 << 16;

/// Shows all places of a batch, some at a time, to the sums of every group.
fn by_pieces(readings: Readings<'_>, groups: &mut [Sums], add: &(impl Fn(&Piece<'_>, &mut Sums) + Sync)) {
    let places = readings.made.places();
    let size = (PIECE / readings.made.width().max(1)).clamp(64, 1024);
    for first in (0..places).step_by(size) {
        let piece = |group: usize| Piece { readings, group, first, count: size.min(places - first) };
        match &mut *groups {
            [one] => add(&piece(0), one),
            many => tasks(many.iter_mut(), &|group, sums| serial(|| add(&piece(group), sums))),
        }
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
    /// What the group reads there of x̂ [count × width].
    fn made<'a>(&self, data: &[f32], kept: &'a mut Aligned) -> &'a [f32] {
        self.rows(self.readings.made, self.group, data, kept)
    }

    /// The same of x.
    fn original<'a>(&self, data: &[f32], kept: &'a mut Aligned) -> &'a [f32] {
        self.rows(self.readings.original, self.readings.original_group(self.group), data, kept)
    }

    fn rows<'a>(&self, reading: &Reading, group: usize, data: &[f32], kept: &'a mut Aligned) -> &'a [f32] {
        let width = reading.width();
        let rows = kept.reach(width * self.count);
        parts(rows, PLACES * width, &|part, out| {
            for (i, out) in out.chunks_mut(width).enumerate() {
                reading.place(data, group, self.first + part * PLACES + i, out);
            }
        });
        rows
    }
}

/// Places that one task reads.
const PLACES: usize = 64;

thread_local! {
    /// Rows of x and of x̂.
    static ROWS: RefCell<[Aligned; 2]> = RefCell::default();
}

impl Sums {
    fn add_piece(&mut self, piece: &Piece<'_>, x: &[f32], made: &[f32]) {
        let [mut left, mut right] = ROWS.take();
        let rows = piece.made(made, &mut right);
        // Before the first compressed layer both are the same data; where channels were lost x is not summed here.
        if self.x.is_empty() || std::ptr::eq(x, made) {
            self.add_rows(rows, rows);
        } else {
            self.add_rows(piece.original(x, &mut left), rows);
        }
        ROWS.replace([left, right]);
    }

    /// Adds places that each read a row of their own.
    fn add_rows(&mut self, x: &[f32], made: &[f32]) {
        let width = self.made.len();
        let extent = Extent::rows(made.len() / width.max(1), width);
        let Products { gram, cross, own } = &mut self.products;
        if !gram.is_empty() {
            add_lagged(made, None, extent, &[(0, 0)], gram);
        }
        if !cross.is_empty() {
            add_lagged(x, Some(made), extent, &[(0, 0)], cross);
        }
        if !own.is_empty() {
            add_lagged(x, None, extent, &[(0, 0)], own);
        }
        if !self.x.is_empty() {
            add_columns(x, &mut self.x);
        }
        add_columns(made, &mut self.made);
    }

    fn add_images(&mut self, axes: [Axis; 2], channels: usize, x: &[f32], made: &[f32]) {
        let Products { gram, cross, own } = &self.products;
        let wanted = [(!gram.is_empty(), true), (!cross.is_empty(), false), (!own.is_empty(), true)];
        let Products { gram, cross, own } = &mut self.lagged;
        if [&*gram, &*cross, &*own].into_iter().flatten().any(|lagged| !lagged.fits(axes)) {
            self.put_together();
        }
        let Products { gram, cross, own } = &mut self.lagged;
        for ((is_wanted, is_one), (lagged, (left, right))) in
            wanted.into_iter().zip([(gram, (made, made)), (cross, (x, made)), (own, (x, x))])
        {
            if is_wanted {
                lagged.get_or_insert_with(|| Lagged::new(axes, channels, is_one)).add(left, right);
            }
        }
        if !self.x.is_empty() {
            add_sums(axes, x, &mut self.x);
        }
        add_sums(axes, made, &mut self.made);
    }

    /// Makes products of what was summed at lags, and symmetric ones whole.
    fn put_together(&mut self) {
        let Products { gram, cross, own } = &mut self.products;
        let lagged = std::mem::take(&mut self.lagged);
        for (products, lagged) in [(gram, lagged.gram), (cross, lagged.cross), (own, lagged.own)] {
            if let Some(lagged) = lagged {
                lagged.finish(products);
            }
        }
        let width = self.made.len();
        let Products { gram, own, .. } = &mut self.products;
        for symmetric in [gram, own] {
            if !symmetric.is_empty() {
                mirror(symmetric, width);
            }
        }
    }
}

impl Outputs {
    fn add(&mut self, piece: &Piece<'_>, weights: Weights<'_>, x: &[f32], made: &[f32]) {
        let [mut left, mut right] = ROWS.take();
        let outputs = piece.readings.outputs(weights, piece.group, piece.original(x, &mut left), |place| piece.first + place);
        let tall = self.y.len();
        for places in outputs.chunks(tall.max(1)) {
            for ((y, yy), v) in self.y.iter_mut().zip(&mut self.yy).zip(places) {
                *y += f64::from(*v);
                *yy += f64::from(*v).powi(2);
            }
        }
        if !self.towards.is_empty() {
            let (rows, width) = (piece.made(made, &mut right), piece.readings.made.width());
            let mut products = vec![0.0; self.towards.len()];
            let turned = Left { data: &outputs, row_stride: 1, column_stride: tall };
            matmul(turned, rows, (tall, piece.count, width), &mut products);
            self.towards.iter_mut().zip(products).for_each(|(sum, v)| *sum += f64::from(v));
        }
        ROWS.replace([left, right]);
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
        let (places, weights) = (readings.made.places(), self.weights);
        let wanted = wanted.min(places);
        let strewn = |i: usize| {
            let at = if wanted == places { i } else { ((i as f64 + 0.5) * GOLDEN).fract().mul_add(places as f64, 0.0) as usize };
            at.min(places.saturating_sub(1))
        };
        let gather = |reading: &Reading, group: usize, data: &[f32]| {
            let width = reading.width();
            let mut rows = vec![0.0; wanted * width];
            parts(&mut rows, width.max(1), &|i, row| reading.place(data, group, strewn(i), row));
            rows
        };
        tasks(self.groups.iter_mut(), &|group, samples| {
            let original = gather(readings.original, readings.original_group(group), x);
            let made = gather(readings.made, group, made);
            samples.made.extend(made);
            samples.outputs.extend(readings.outputs(weights, group, &original, strewn));
        });
    }

    pub fn finish(self) -> Vec<Samples> {
        self.groups
    }
}
