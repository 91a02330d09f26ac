//! One layer, corrected: pruned, recovered, rounded, recovered, every step judged on samples that it did not see.

use super::adaround::{self, Search};
use super::bias_correction::{factors, missing};
use super::grids::Grids;
use super::judge::{Judge, Step};
use super::least_squares::{on_samples, on_support, pursue};
use super::low_rank::{Factors, lacking};
use super::round_to_nearest::how;
use super::system::System;
use super::technique::LayerWork;
use super::{CompressError, gptq};
use crate::engine::Ctx;
use crate::engine::formats::{Encoded, Format, FormatError, Granularity, How, Importance, Integer, Matrix, Shape};
use crate::engine::graph::{Channels, StoredWeight};
use crate::engine::kernels::affine::AffineParameters;
use crate::engine::kernels::{serial, until};
use crate::engine::tensor::Tensor;
use crate::pipeline::calibrate::{Demand, LayerData, Moments, Samples};
use crate::pipeline::configure::{
    Correction, Importance as Asked, LayerPlan, Loss, Order, Recovery, Scheme, Solver, Sparsity, Target,
};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

/// The ridge of least squares, as a share of the mean of the diagonal.
const RIDGE: f64 = 0.01;
/// Places per weight of a row that a system needs to be well determined.
const ENOUGH: usize = 4;
/// Rows of more weights are too wide for systems of equations: those of all pairs of weights take more than memory
/// and patience hold. What samples alone can tell is still done.
const WIDEST: usize = 4096;
/// Numbers of samples that are kept of such layers.
const KEPT: usize = 1 << 26;
/// Sweeps with which scales are searched for before AdaRound.
const ADAROUND_SWEEPS: u8 = 10;

/// What the steps leave: weights, what is added to the outputs, what each step did.
pub(super) struct Corrected {
    pub added: Option<Vec<f32>>,
    pub steps: Vec<Step>,
}

/// What comes behind a layer's product.
#[derive(Debug, Clone)]
pub(super) struct Behind {
    /// One number per output channel.
    pub bias: Vec<f32>,
    /// Where an activation cuts the outputs; infinite where it does not.
    pub clip: (f32, f32),
}

impl Behind {
    fn of(&self, first: usize, count: usize) -> &[f32] {
        self.bias.get(first..first + count).unwrap_or_default()
    }
}

/// A layer on the bench, its weights a row per output channel.
struct Bench<'a> {
    plan: &'a LayerPlan,
    moments: &'a [Moments],
    samples: &'a [Samples],
    /// None for rows that are too wide.
    systems: Vec<System>,
    judge: Judge<'a>,
    original: Vec<f32>,
    rows: Vec<f32>,
    /// Weights of one group of output channels.
    group: usize,
    width: usize,
    steps: Vec<Step>,
    ctx: &'a Ctx,
}

/// Corrects a layer whose weights were pruned already. `None` where nothing can be known of its inputs.
///
/// # Errors
/// When the weights cannot be stored, or on cancel.
pub(super) fn correct(
    plan: &LayerPlan,
    work: &mut LayerWork,
    data: &LayerData,
    behind: &Behind,
    ctx: &Ctx,
) -> Result<Option<Corrected>, CompressError> {
    let channels = Channels::new(&plan.layer.shape, plan.layer.out_axis);
    let (original, rows) = (channels.gather(&work.original), channels.gather(&work.weights));
    let Some(mut bench) = Bench::new(plan, data, original, rows, ctx) else { return Ok(None) };
    bench.prune();
    let stored = bench.round(data, behind)?;
    if let Some(factors) = bench.compensate() {
        work.low_rank = Some(factors.stored(&plan.layer)?);
    }
    let added = bench.mend_bias();
    work.stored = Some(stored);
    work.weights = channels.scatter(&bench.rows);
    Ok(Some(Corrected { added, steps: bench.steps }))
}

impl<'a> Bench<'a> {
    fn new(plan: &'a LayerPlan, data: &'a LayerData, original: Vec<f32>, rows: Vec<f32>, ctx: &'a Ctx) -> Option<Self> {
        let (correction, width) = (plan.treatment.correction, data.moments.first()?.width);
        let is_descending = matches!(correction.solver, Solver::Gptq { order: Order::Descending, .. });
        let system = |m: &Moments| System::new(hessian(m, correction), width, is_descending);
        let is_wide = width > WIDEST;
        let systems = if is_wide {
            Vec::new()
        } else {
            let found: Vec<Option<System>> = data.moments.iter().map(system).collect();
            if found.iter().all(Option::is_none) {
                return None;
            }
            // Of a group that was never seen to change all columns count alike; the others are corrected.
            let unit = |i: usize| f64::from(u8::from(i / width == i % width));
            let alike = || System::new((0..width * width).map(unit).collect(), width, is_descending);
            found.into_iter().map(|system| system.or_else(alike)).collect::<Option<Vec<System>>>()?
        };
        let (name, count) = (&plan.layer.name, data.moments.first()?.count);
        if is_wide && correction.solver != Solver::Nearest {
            let message = format!("its rows have {width} weights, more than {WIDEST}: each to its nearest level");
            ctx.warn(name.clone(), message);
        } else if count < ENOUGH * width {
            let message = format!(
                "its rows have {width} weights, and {count} places were seen; {} are wanted to tell them apart: more samples correct better",
                ENOUGH * width
            );
            ctx.warn(name.clone(), message);
        }
        if systems.iter().any(System::is_raised) {
            ctx.warn(name.clone(), "its inputs depend on each other: the damping was raised");
        }
        let group = original.len() / data.moments.len().max(1);
        let judge = Judge::new(&data.held_out);
        Some(Self {
            plan,
            moments: &data.moments,
            samples: &data.fitted,
            systems,
            judge,
            original,
            rows,
            group,
            width,
            steps: Vec::new(),
            ctx,
        })
    }

    /// What is asked for, as far as it can be done.
    fn correction(&self) -> Correction {
        let wanted = self.plan.treatment.correction;
        if self.is_wide() { Correction { solver: Solver::Nearest, ..wanted } } else { wanted }
    }

    fn is_wide(&self) -> bool {
        self.systems.is_empty()
    }

    fn missing(&self, rows: &[f32]) -> Vec<f64> {
        let groups = self.original.chunks(self.group).zip(rows.chunks(self.group)).zip(self.moments);
        groups.flat_map(|((original, made), moments)| missing(original, made, moments)).collect()
    }

    /// The error with these weights, the bias set right where that comes in the end.
    fn error(&self, rows: &[f32]) -> f64 {
        let added = self.correction().mends_bias().then(|| self.missing(rows));
        self.judge.error(rows, added.as_deref())
    }

    /// Takes weights that make the error smaller.
    fn take(&mut self, name: &'static str, rows: Vec<f32>) -> bool {
        let (before, after) = (self.error(&self.rows), self.error(&rows));
        let kept = after < before;
        self.steps.push(Step { name, before, after, kept });
        if kept {
            self.rows = rows;
        }
        kept
    }

    /// Chooses better what is pruned, and solves for what is left.
    fn prune(&mut self) {
        let Sparsity::Fraction(fraction) = self.plan.treatment.sparsity else {
            if self.plan.treatment.sparsity != Sparsity::Dense {
                self.solve_support();
            }
            return;
        };
        if matches!(self.correction().solver, Solver::Gptq { .. }) {
            let made = self.by_group(|group| {
                let wanted = self.moved(group, &self.original[group * self.group..][..self.group]);
                let system = &self.systems[group];
                narrow(&gptq::choose(&wanted, f64::from(fraction), system, &system.feedback()))
            });
            self.take("SparseGPT", made);
        }
        self.solve_support();
    }

    fn solve_support(&mut self) {
        if self.correction().recovery != Recovery::LeastSquares {
            return;
        }
        let made = self.by_group(|group| {
            let at = group * self.group;
            if let (true, Some(samples)) = (self.is_wide(), self.samples.get(group)) {
                let mut made = self.rows[at..at + self.group].to_vec();
                on_samples(&mut made, samples, RIDGE);
                return made;
            }
            let (original, mut made) = (wide(&self.original[at..][..self.group]), wide(&self.rows[at..][..self.group]));
            let cross = covariance(&self.moments[group].cross, &self.moments[group], Side::Cross);
            on_support(&mut made, &original, &self.systems[group].h, &cross, self.width, RIDGE);
            narrow(&made)
        });
        self.take("least squares", made);
        // Patterns, blocks and thresholds say which weights go: there is nothing to choose better.
        let is_free = matches!(self.plan.treatment.sparsity, Sparsity::Fraction(_));
        if is_free && !self.is_wide() && matches!(self.correction().solver, Solver::Gptq { .. }) {
            self.exchange();
        }
    }

    /// Exchanges what is pruned for what is better pruned.
    fn exchange(&mut self) {
        let made = self.by_group(|group| {
            let at = group * self.group;
            let (original, mut made) = (wide(&self.original[at..][..self.group]), wide(&self.rows[at..][..self.group]));
            let cross = covariance(&self.moments[group].cross, &self.moments[group], Side::Cross);
            pursue(&mut made, &original, &self.systems[group].h, &cross, self.width, RIDGE);
            narrow(&made)
        });
        self.take("exchange", made);
    }

    /// What `f` makes of each group of output channels, one after the other. Groups that are many share the threads
    /// among them; one alone shares out its own work.
    fn by_group<T: Send>(&self, f: impl Fn(usize) -> Vec<T> + Sync) -> Vec<T> {
        let groups = self.moments.len();
        let run = || match groups {
            1 => until(self.ctx.stop(), || f(0)),
            _ => {
                let one = |group: usize| serial(|| until(self.ctx.stop(), || f(group)));
                (0..groups).into_par_iter().map(one).collect::<Vec<Vec<T>>>().into_iter().flatten().collect()
            }
        };
        self.ctx.pool().install(run)
    }

    fn format_error(&self, source: FormatError) -> CompressError {
        CompressError::Format { layer: self.plan.layer.name.clone(), source }
    }

    /// Rounds the weights to their format, and sets their deviation right.
    fn round(&mut self, data: &LayerData, behind: &Behind) -> Result<StoredWeight, CompressError> {
        let layer = &self.plan.layer;
        let stored = |format: Format, encoded: &Encoded| {
            let made = StoredWeight::of(format, layer, Some(encoded));
            made.map_err(|source| CompressError::Tensor { layer: layer.name.clone(), source })
        };
        let Some(format) = self.plan.treatment.weights.format() else {
            self.mend_deviation(None);
            let weights = Channels::new(&layer.shape, layer.out_axis).scatter(&self.rows);
            let tensor = Tensor::from_f32(layer.shape.clone(), &weights);
            return tensor
                .map(StoredWeight::Float32)
                .map_err(|source| CompressError::Tensor { layer: layer.name.clone(), source });
        };
        let dense = std::mem::take(&mut self.rows);
        let encoded = self.nearest(format, &dense)?;
        self.rows = encoded.decode_here();
        let (Format::Integer(integer), Some((codes, tiles))) = (format, encoded.integers()) else {
            return stored(format, &encoded);
        };
        let shape = encoded.shape();
        let mut grids = Grids::new(tiles, extent(&integer, shape), (shape.rows(), shape.cols()));
        let codes = self.solve(&dense, codes, &mut grids, data, behind)?;
        self.mend_deviation(Some((&codes, &mut grids)));
        let encoded = Encoded::of_integers(integer, shape, &codes, &grids.tiles).map_err(|e| self.format_error(e))?;
        self.rows = encoded.decode_here();
        stored(format, &encoded)
    }

    fn nearest(&self, format: Format, rows: &[f32]) -> Result<Encoded, CompressError> {
        let count = rows.len() / self.width.max(1);
        let diagonal: Vec<f32> = self.systems.iter().flat_map(|s| (0..s.width).map(|i| s.h[i * s.width + i] as f32)).collect();
        let weighed = self.plan.treatment.importance == Asked::Activations && !self.is_wide();
        let importance = weighed.then(|| Importance::new(&diagonal, self.systems.len()));
        let how = How { importance, ..how(&self.plan.treatment) };
        let encode = || format.encode_here(&Matrix::new(rows, count, self.width)?, &how, self.ctx);
        self.ctx.pool().install(encode).map_err(|e| self.format_error(e))
    }

    /// Codes as the solver finds them, where they are better than the nearest.
    fn solve(
        &mut self,
        dense: &[f32],
        nearest: Vec<i32>,
        grids: &mut Grids,
        data: &LayerData,
        behind: &Behind,
    ) -> Result<Vec<i32>, CompressError> {
        let solver = self.correction().solver;
        if solver == Solver::Nearest {
            return Ok(nearest);
        }
        let tall = self.group / self.width.max(1);
        let found = self.by_group(|group| {
            let dense = &dense[group * self.group..][..self.group];
            let task = Task { bench: self, group, first: group * tall, dense, wanted: self.wanted(group, dense) };
            vec![task.solve(grids, data, behind)]
        });
        self.ctx.check()?;
        let mut solved = grids.clone();
        let factors = found.iter().flat_map(|(_, factors)| factors).enumerate();
        factors.filter(|(_, factor)| **factor != 1.0).for_each(|(row, factor)| solved.scale_row(row, *factor));
        let codes: Vec<i32> = found.into_iter().flat_map(|(codes, _)| codes).collect();
        let rows = solved.decode(&codes, self.width);
        if !self.take(solver_name(solver), rows) {
            return Ok(nearest);
        }
        *grids = solved;
        Ok(codes)
    }

    /// What a group's weights should be: themselves, or what follows the original outputs.
    fn wanted(&self, group: usize, dense: &[f32]) -> Vec<f64> {
        let moves = match self.correction().solver {
            Solver::Gptq { target, .. } => target == Target::Original,
            Solver::AdaRound { .. } => true,
            Solver::Nearest => false,
        };
        // These have moved the weights there already.
        let is_solved = self.steps.iter().any(|s| matches!(s.name, "SparseGPT" | "least squares" | "exchange") && s.kept);
        if moves && !is_solved { self.moved(group, dense) } else { wide(dense) }
    }

    /// A group's weights moved to where they follow the original outputs, as far as it is known how x goes with x̂.
    fn moved(&self, group: usize, weights: &[f32]) -> Vec<f64> {
        let (mut wanted, moments) = (wide(weights), &self.moments[group]);
        if !moments.cross.is_empty() {
            let side = if self.correction().mends_bias() { Side::Cross } else { Side::Plain };
            let cross = covariance(&moments.cross, moments, side);
            gptq::target(&mut wanted, &cross, &self.systems[group]);
        }
        wanted
    }

    /// Multiplies the scales, or weights that have none, so that every output varies as it did.
    fn mend_deviation(&mut self, scales: Option<(&[i32], &mut Grids)>) {
        if self.correction().recovery != Recovery::Deviation
            || self.is_wide()
            || scales.as_ref().is_some_and(|(_, grids)| !grids.is_by_row())
        {
            return;
        }
        let groups = self.rows.chunks(self.group).zip(self.moments);
        let by_row: Vec<f64> = groups.flat_map(|(rows, m)| factors(rows, &covariance(&m.gram, m, Side::Made), m)).collect();
        let rows = self.rows.chunks(self.width).zip(&by_row);
        let made: Vec<f32> = rows.flat_map(|(row, f)| row.iter().map(move |w| (f64::from(*w) * f) as f32)).collect();
        let (before, after) = (self.judge.deviation(&self.rows), self.judge.deviation(&made));
        let kept = after < before;
        self.steps.push(Step { name: "deviation", before, after, kept });
        if kept {
            self.rows = made;
            if let Some((_, grids)) = scales {
                by_row.iter().enumerate().for_each(|(row, factor)| grids.scale_row(row, *factor));
            }
        }
    }

    /// Makes up for what is lacking by a product of thin matrices. What does not help is kept as zeros: the bytes are
    /// those of the plan.
    fn compensate(&mut self) -> Option<Factors> {
        let rank = usize::from(self.plan.treatment.compensate);
        // Layers in groups are not compensated, as the plan says.
        let moments = self.moments.first().filter(|_| rank > 0 && self.moments.len() == 1)?;
        let known = (!self.is_wide()).then(|| hessian(moments, self.correction()));
        let delta = lacking(&self.original, &self.rows);
        let run = || until(self.ctx.stop(), || Factors::of(&delta, self.width, known.as_deref(), rank));
        let factors = self.ctx.pool().install(run);
        let mut made = self.rows.clone();
        factors.add_to(&mut made, self.width);
        let outputs = self.original.len() / self.width.max(1);
        let kept = self.take("low rank", made);
        Some(if kept { factors } else { Factors::none(outputs, self.width, factors.rank) })
    }

    fn mend_bias(&mut self) -> Option<Vec<f32>> {
        self.plan.bias.as_ref()?;
        let added = self.missing(&self.rows);
        let (before, after) = (self.judge.error(&self.rows, None), self.judge.error(&self.rows, Some(&added)));
        let kept = after < before;
        self.steps.push(Step { name: "bias", before, after, kept });
        Some(added.iter().map(|a| if kept { *a as f32 } else { 0.0 }).collect())
    }
}

/// The weights of one group of output channels, to be rounded.
struct Task<'a> {
    bench: &'a Bench<'a>,
    group: usize,
    /// Its first output channel.
    first: usize,
    dense: &'a [f32],
    wanted: Vec<f64>,
}

impl Task<'_> {
    /// Codes, and what the scale of each row is to be multiplied by.
    fn solve(&self, grids: &Grids, data: &LayerData, behind: &Behind) -> (Vec<i32>, Vec<f64>) {
        let (width, system) = (self.bench.width, &self.bench.systems[self.group]);
        let rows = self.dense.len() / width.max(1);
        let is_sparse = self.bench.plan.treatment.sparsity != Sparsity::Dense;
        let pruned = |row: usize, col: usize| is_sparse && self.dense[row * width + col] == 0.0;
        let sweeps = match self.bench.correction().solver {
            Solver::Nearest => return (Vec::new(), Vec::new()),
            Solver::Gptq { sweeps, .. } => sweeps,
            Solver::AdaRound { .. } => ADAROUND_SWEEPS,
        };
        let feedback = system.feedback();
        let one = |row: usize| grids.at(self.first + row, 0);
        let is_free = grids.has_one_per_row() && (0..rows).all(|row| one(row).zero_point == 0 && one(row).low < 0);
        let own = |row: usize, col: usize| grids.at(self.first + row, col);
        let (codes, factors) = if is_free && sweeps > 0 {
            let own: Vec<AffineParameters> = (0..rows).map(one).collect();
            gptq::search(&self.wanted, system, &feedback, &own, sweeps, &pruned)
        } else {
            let mut codes = gptq::round(&self.wanted, system, &feedback, &own, &pruned);
            gptq::descend(&mut codes, &self.wanted, system, sweeps, &own, &pruned);
            (codes, vec![1.0; rows])
        };
        let Solver::AdaRound { iterations, loss } = self.bench.correction().solver else { return (codes, factors) };
        let scaled = |row: usize, col: usize| {
            let grid = own(row, col);
            AffineParameters { scale: (f64::from(grid.scale) * factors[row]) as f32, ..grid }
        };
        let seed = self.bench.ctx.seed + self.first as u64;
        let search = Search { wanted: &self.wanted, width, grid: &scaled, iterations, seed };
        let codes = match (loss, data.fitted.get(self.group)) {
            (Loss::Activation, Some(samples)) => adaround::on_samples(&search, samples, behind.of(self.first, rows), behind.clip),
            _ => adaround::on_moments(&search, &system.h),
        };
        (codes, factors)
    }
}

fn solver_name(solver: Solver) -> &'static str {
    match solver {
        Solver::Nearest => "nearest",
        Solver::Gptq { .. } => "GPTQ",
        Solver::AdaRound { .. } => "AdaRound",
    }
}

fn extent(integer: &Integer, shape: Shape) -> (usize, usize) {
    match integer.granularity {
        Granularity::Tensor => (shape.rows(), shape.cols()),
        Granularity::Channel => (1, shape.cols()),
        Granularity::Group(size) => (1, size),
        Granularity::Block { rows, cols } => (rows, cols),
    }
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|v| f64::from(*v)).collect()
}

fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|v| *v as f32).collect()
}

/// Which means second moments are reduced by.
#[derive(Clone, Copy, PartialEq)]
enum Side {
    /// `E[x̂]·E[x̂]ᵀ`.
    Made,
    /// `E[x]·E[x̂]ᵀ`.
    Cross,
    /// None.
    Plain,
}

fn covariance(of: &[f64], moments: &Moments, side: Side) -> Vec<f64> {
    let left = match side {
        Side::Made => &moments.made_mean,
        Side::Cross => &moments.mean,
        Side::Plain => return of.to_vec(),
    };
    let n = moments.width.max(1);
    of.iter().enumerate().map(|(i, v)| v - left[i / n] * moments.made_mean[i % n]).collect()
}

/// The covariance of x̂ where the bias is set right in the end, else `E[x̂·x̂ᵀ]`.
fn hessian(moments: &Moments, correction: Correction) -> Vec<f64> {
    covariance(&moments.gram, moments, if correction.mends_bias() { Side::Made } else { Side::Plain })
}

/// What must be known of a layer for what its plan asks.
pub(super) fn demand(plan: &LayerPlan, width: usize) -> Demand {
    let Correction { solver, recovery } = plan.treatment.correction;
    if width > WIDEST {
        let samples = if recovery == Recovery::LeastSquares { KEPT / width } else { 0 };
        return Demand { samples, ..Demand::default() };
    }
    let on_samples = matches!(solver, Solver::AdaRound { loss: Loss::Activation, .. });
    let cross = match solver {
        Solver::Nearest => false,
        Solver::Gptq { target, .. } => target == Target::Original,
        Solver::AdaRound { .. } => true,
    };
    Demand {
        gram: true,
        cross: (cross && plan.treatment.weights != Scheme::F32) || recovery == Recovery::LeastSquares,
        outputs: recovery == Recovery::Deviation,
        samples: if on_samples { adaround::SAMPLES } else { 0 },
    }
}
