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

/// Sums over places; [`Moments`] while they grow. Matrices that are not asked for are empty.
#[derive(Debug, Default)]
struct Sums {
    x: Vec<f64>,
    made: Vec<f64>,
    products: Products<Vec<f64>>,
    /// What those are made of in the end, where places go together.
    lagged: Products<Option<Lagged>>,
}

/// Of x̂ with itself, of x with x̂, of x with itself.
#[derive(Debug, Default)]
struct Products<T> {
    gram: T,
    cross: T,
    own: T,
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
    groups: Vec<Sums>,
    count: usize,
}

/// Values of a piece of rows that are put together first: they lie in the second-level cache.
const PIECE: usize = 1 << 16;

impl<'a> Collector<'a> {
    pub fn new(weights: Weights<'a>, groups: usize, demand: Demand) -> Self {
        let k = weights.width;
        let matrix = |is_asked: bool| vec![0.0; if is_asked { k * k } else { 0 }];
        let one = || Sums {
            x: vec![0.0; k],
            made: vec![0.0; k],
            products: Products {
                gram: matrix(demand.gram),
                cross: matrix(demand.gram && demand.cross),
                own: matrix(demand.outputs),
            },
            lagged: Products::default(),
        };
        Self { weights, groups: (0..groups).map(|_| one()).collect(), count: 0 }
    }

    /// Adds a batch: `x` as the original network has it, `made` as the compressed one does. Sums are added in the
    /// order of places, whatever the number of threads.
    pub fn add(&mut self, reading: &Reading, x: &[f32], made: &[f32]) {
        match (reading.way(), self.groups.as_mut_slice()) {
            (Way::Rows, [one]) => one.add_rows(x, made),
            (Way::Steps(axes, channels), [one]) => one.add_images(axes, channels, x, made),
            (_, groups) => {
                let size = (PIECE / self.weights.width.max(1)).clamp(64, 1024);
                for first in (0..reading.places()).step_by(size) {
                    let piece = Piece { reading, first, count: size.min(reading.places() - first) };
                    match &mut *groups {
                        [one] => one.add_piece(&piece, 0, x, made),
                        many => tasks(many.iter_mut(), &|group, sums| serial(|| sums.add_piece(&piece, group, x, made))),
                    }
                }
            }
        }
        self.count += reading.places();
    }

    pub fn finish(self) -> Vec<Moments> {
        let Self { weights, groups, count } = self;
        let n = count.max(1) as f64;
        let mean = |sums: Vec<f64>| sums.into_iter().map(|s| s / n).collect::<Vec<f64>>();
        let one = |(group, mut sums): (usize, Sums)| {
            sums.put_together();
            let Sums { x, made, products: Products { gram, cross, own }, .. } = sums;
            let (x, own) = (mean(x), mean(own));
            let (output_mean, output_square) =
                if own.is_empty() { Default::default() } else { outputs(weights.of(group), &x, &own) };
            Moments {
                width: weights.width,
                count,
                mean: x,
                made_mean: mean(made),
                gram: mean(gram),
                cross: mean(cross),
                output_mean,
                output_square,
            }
        };
        groups.into_iter().enumerate().map(one).collect()
    }
}

/// Mean and mean square of W·x, per row of W, from those of x.
fn outputs(rows: &[f32], mean: &[f64], moments: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let of = |row: &[f32]| {
        let row: Vec<f64> = row.iter().map(|w| f64::from(*w)).collect();
        (dot(&row, mean), row.iter().zip(moments.chunks(row.len())).map(|(w, line)| w * dot(&row, line)).sum::<f64>())
    };
    rows.chunks(mean.len().max(1)).map(of).unzip()
}

/// Some places of a batch.
struct Piece<'a> {
    reading: &'a Reading,
    first: usize,
    count: usize,
}

impl Piece<'_> {
    /// What a group reads there [count × width].
    fn rows<'a>(&self, data: &[f32], group: usize, kept: &'a mut Aligned) -> &'a [f32] {
        let width = self.reading.width();
        let rows = kept.reach(width * self.count);
        parts(rows, PLACES * width, &|part, out| {
            for (i, out) in out.chunks_mut(width).enumerate() {
                self.reading.place(data, group, self.first + part * PLACES + i, out);
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
    fn add_piece(&mut self, piece: &Piece<'_>, group: usize, x: &[f32], made: &[f32]) {
        let [mut left, mut right] = ROWS.take();
        let rows = piece.rows(made, group, &mut right);
        // Before the first compressed layer both are the same data.
        if std::ptr::eq(x, made) {
            self.add_rows(rows, rows);
        } else {
            self.add_rows(piece.rows(x, group, &mut left), rows);
        }
        ROWS.replace([left, right]);
    }

    /// Adds places that each read a row of their own.
    fn add_rows(&mut self, x: &[f32], made: &[f32]) {
        let width = self.x.len();
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
        add_columns(x, &mut self.x);
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
        add_sums(axes, x, &mut self.x);
        add_sums(axes, made, &mut self.made);
    }

    /// Makes products of what was summed at lags, and symmetric ones whole.
    fn put_together(&mut self) {
        let Products { gram, cross, own } = &mut self.products;
        let lagged = std::mem::take(&mut self.lagged);
        for (products, lagged) in [(gram, lagged.gram), (cross, lagged.cross), (own, lagged.own)] {
            lagged.into_iter().for_each(|lagged| lagged.finish(products));
        }
        let width = self.x.len();
        let Products { gram, own, .. } = &mut self.products;
        for symmetric in [gram, own] {
            if !symmetric.is_empty() {
                mirror(symmetric, width);
            }
        }
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
                parts(&mut rows, k, &|i, row| reading.place(data, group, strewn(i), row));
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
