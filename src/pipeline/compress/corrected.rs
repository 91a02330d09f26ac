//! One layer, corrected: pruned, recovered, rounded, recovered, every step judged on samples that it did not see.

mod choose;
mod task;

use super::adaround;
use super::behind::Behind;
use super::bias_correction::{analytic, factors, missing};
use super::covariance::{Side, covariance, hessian};
use super::grids::Grids;
use super::judge::{Judge, Step};
use super::low_rank::{Factors, lacking};
use super::round_to_nearest::how;
use super::system::System;
use super::technique::LayerWork;
use super::{CompressError, gptq};
use crate::engine::Ctx;
use crate::engine::formats::{Encoded, Format, FormatError, Granularity, How, Importance, Integer, Matrix, Shape};
use crate::engine::graph::{Channels, Layer, Model, StoredWeight};
use crate::engine::kernels::{serial, until};
use crate::engine::tensor::Tensor;
use crate::pipeline::calibrate::{Demand, LayerData, Moments, Samples};
use crate::pipeline::configure::{Correction, Importance as Asked, LayerPlan, Loss, Order, Recovery, Scheme, Solver, Target};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use task::Task;

/// The ridge of least squares, as a share of the mean of the diagonal.
const RIDGE: f64 = 0.01;
/// Places per weight of a row that a system needs to be well determined.
const ENOUGH: usize = 4;
/// Rows of more weights are too wide for systems of equations: those of all pairs of weights take more than memory
/// and patience hold. What samples alone can tell is still done.
pub(super) const WIDEST: usize = 4096;
/// Numbers of samples that are kept of such layers.
const KEPT: usize = 1 << 26;

/// Weights as steps leave them, a row per output channel.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Form {
    Floats(Vec<f32>),
    Encoded(Encoded),
}

/// What the steps leave: weights, what is added to the outputs, what each step did.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Corrected {
    pub form: Form,
    /// What is added to the weights beside them.
    pub low_rank: Option<Factors>,
    pub added: Option<Vec<f32>>,
    pub steps: Vec<Step>,
}

impl Corrected {
    /// Puts the weights in the place of the layer's.
    ///
    /// # Errors
    /// When they cannot be stored.
    pub fn place(&self, layer: &Layer, work: &mut LayerWork) -> Result<(), CompressError> {
        let failed = |source| CompressError::Tensor { layer: layer.name.clone(), source };
        let channels = Channels::new(&layer.shape, layer.out_axis);
        let stored = match &self.form {
            Form::Floats(rows) => {
                work.weights = channels.scatter(rows);
                Tensor::from_f32(layer.shape.clone(), &work.weights).map(StoredWeight::Float32)
            }
            Form::Encoded(encoded) => {
                work.weights = channels.scatter(&encoded.decode_here());
                StoredWeight::of(encoded.format(), layer, Some(encoded))
            }
        };
        work.stored = Some(stored.map_err(failed)?);
        if let Some(factors) = &self.low_rank {
            let mut rows = channels.gather(&work.weights);
            factors.add_to(&mut rows, channels.row_len());
            work.weights = channels.scatter(&rows);
            work.low_rank = Some(factors.stored(layer)?);
        }
        Ok(())
    }
}

/// A layer on the bench, its weights a row per output channel.
struct Bench<'a> {
    plan: &'a LayerPlan,
    /// The network before it was compressed.
    model: &'a Model,
    moments: &'a [Moments],
    samples: &'a [Samples],
    /// None for rows that are too wide.
    systems: Vec<System>,
    judge: Judge<'a>,
    original: Vec<f32>,
    rows: Vec<f32>,
    /// What a solver wants added to the outputs; where none says so their means are set right.
    shift: Option<Vec<f64>>,
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
    work: &LayerWork,
    data: &LayerData,
    (model, behind): (&Model, &Behind),
    ctx: &Ctx,
) -> Result<Option<Corrected>, CompressError> {
    let channels = Channels::new(&plan.layer.shape, plan.layer.out_axis);
    let (original, rows) = (channels.gather(&work.original), channels.gather(&work.weights));
    let made = || -> Result<Option<Corrected>, CompressError> {
        let Some(mut bench) = Bench::new(plan, data, (original, rows), (model, behind), ctx) else { return Ok(None) };
        bench.regain();
        bench.prune();
        let form = bench.round(data, behind)?;
        let low_rank = bench.compensate();
        let added = bench.mend_bias();
        Ok(Some(Corrected { form, low_rank, added, steps: bench.steps }))
    };
    // All of it on the run's own threads, the judging as well.
    let made = ctx.pool().install(|| until(ctx.stop(), made));
    // Where it was stopped kernels left their results unfinished: nobody may keep them.
    ctx.check()?;
    made
}

impl<'a> Bench<'a> {
    fn new(
        plan: &'a LayerPlan,
        data: &'a LayerData,
        (original, rows): (Vec<f32>, Vec<f32>),
        (model, behind): (&'a Model, &'a Behind),
        ctx: &'a Ctx,
    ) -> Option<Self> {
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
        let is_behind = matches!(correction.solver, Solver::AdaRound { loss: Loss::Activation, .. }) && !is_wide;
        let judge = Judge::new(&data.held_out, is_behind.then_some(behind));
        Some(Self {
            plan,
            model,
            moments: &data.moments,
            samples: &data.fitted,
            systems,
            judge,
            original,
            rows,
            shift: None,
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

    /// What is missing of the mean of every output.
    fn missing(&self, rows: &[f32]) -> Vec<f64> {
        if let Some(known) = self.expected(rows) {
            return known.into_iter().map(f64::from).collect();
        }
        let groups = self.original.chunks(self.group).zip(rows.chunks(self.group)).zip(self.moments);
        groups.flat_map(|((original, made), moments)| missing(original, made, moments)).collect()
    }

    /// The same as batch normalization alone tells it, where the recipe asks for that.
    fn expected(&self, rows: &[f32]) -> Option<Vec<f32>> {
        let is_asked = self.correction().recovery == Recovery::BatchNorm;
        is_asked.then(|| analytic(self.plan, self.model, &self.original, rows)).flatten()
    }

    /// The error with these weights, the bias set right where that comes in the end: by `shift`, or on average.
    fn error(&self, rows: &[f32], shift: Option<&[f64]>) -> f64 {
        if !self.correction().mends_bias() {
            return self.judge.error(rows, None);
        }
        match shift {
            Some(shift) => self.judge.error(rows, Some(shift)),
            None => self.judge.error(rows, Some(&self.missing(rows))),
        }
    }

    /// Takes weights that make the error smaller.
    fn take(&mut self, name: &'static str, rows: Vec<f32>) -> bool {
        self.take_with(name, rows, None)
    }

    fn take_with(&mut self, name: &'static str, rows: Vec<f32>, shift: Option<Vec<f64>>) -> bool {
        let (before, after) = (self.error(&self.rows, self.shift.as_deref()), self.error(&rows, shift.as_deref()));
        let kept = after < before;
        self.steps.push(Step { name, before, after, kept });
        if kept {
            (self.rows, self.shift) = (rows, shift);
        }
        kept
    }

    /// What `f` makes of each group of output channels, one after the other. Groups that are many share the threads
    /// among them; one alone shares out its own work.
    fn by_group<T: Send>(&self, f: impl Fn(usize) -> Vec<T> + Sync) -> Vec<T> {
        let groups = self.moments.len();
        match groups {
            1 => f(0),
            _ => {
                let one = |group: usize| serial(|| until(self.ctx.stop(), || f(group)));
                (0..groups).into_par_iter().map(one).collect::<Vec<Vec<T>>>().into_iter().flatten().collect()
            }
        }
    }

    fn format_error(&self, source: FormatError) -> CompressError {
        CompressError::Format { layer: self.plan.layer.name.clone(), source }
    }

    /// Rounds the weights to their format, and sets their deviation right.
    fn round(&mut self, data: &LayerData, behind: &Behind) -> Result<Form, CompressError> {
        let Some(format) = self.plan.treatment.weights.format() else {
            self.mend_deviation(None);
            return Ok(Form::Floats(self.rows.clone()));
        };
        let dense = std::mem::take(&mut self.rows);
        let encoded = self.nearest(format, &dense)?;
        self.rows = encoded.decode_here();
        let (Format::Integer(integer), Some((codes, tiles))) = (format, encoded.integers()) else {
            return Ok(Form::Encoded(encoded));
        };
        let shape = encoded.shape();
        let mut grids = Grids::new(tiles, extent(&integer, shape), (shape.rows(), shape.cols()));
        let codes = self.solve(&dense, codes, &mut grids, data, behind)?;
        self.mend_deviation(Some((&codes, &mut grids)));
        let encoded = Encoded::of_integers(integer, shape, &codes, &grids.tiles).map_err(|e| self.format_error(e))?;
        self.rows = encoded.decode_here();
        Ok(Form::Encoded(encoded))
    }

    fn nearest(&self, format: Format, rows: &[f32]) -> Result<Encoded, CompressError> {
        let count = rows.len() / self.width.max(1);
        let diagonal: Vec<f32> = self.systems.iter().flat_map(|s| (0..s.width).map(|i| s.h[i * s.width + i] as f32)).collect();
        let weighed = self.plan.treatment.importance == Asked::Activations && !self.is_wide();
        let importance = weighed.then(|| Importance::new(&diagonal, self.systems.len()));
        let how = How { importance, ..how(&self.plan.treatment) };
        let encode = || format.encode_here(&Matrix::new(rows, count, self.width)?, &how, self.ctx);
        encode().map_err(|e| self.format_error(e))
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
        let factors = found.iter().flat_map(|s| &s.factors).enumerate();
        factors.filter(|(_, factor)| **factor != 1.0).for_each(|(row, factor)| solved.scale_row(row, *factor));
        let shift: Option<Vec<f64>> = found.iter().map(|s| s.shift.clone()).collect::<Option<Vec<_>>>().map(|s| s.concat());
        let codes: Vec<i32> = found.into_iter().flat_map(|s| s.codes).collect();
        let rows = solved.decode(&codes, self.width);
        if !self.take_with(solver_name(solver), rows, shift) {
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
        let factors = Factors::of(&delta, self.width, known.as_deref(), rank);
        let mut made = self.rows.clone();
        factors.add_to(&mut made, self.width);
        let outputs = self.original.len() / self.width.max(1);
        let kept = self.take("low rank", made);
        Some(if kept { factors } else { Factors::none(outputs, self.width, factors.rank) })
    }

    fn mend_bias(&mut self) -> Option<Vec<f32>> {
        self.plan.bias.as_ref()?;
        // What takes no data is judged by none.
        if let Some(known) = self.expected(&self.rows) {
            return Some(known);
        }
        let added = self.shift.take().unwrap_or_else(|| self.missing(&self.rows));
        let (before, after) = (self.judge.error(&self.rows, None), self.judge.error(&self.rows, Some(&added)));
        let kept = after < before;
        self.steps.push(Step { name: "bias", before, after, kept });
        Some(added.iter().map(|a| if kept { *a as f32 } else { 0.0 }).collect())
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
