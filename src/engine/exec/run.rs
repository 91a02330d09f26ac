//! Following a plan.

use super::data::{
    OpError, OpResult, fail, for_held, held, held_as, is_channels_last, make, make_channels_last, with, with_channels_last,
};
use super::image::Held;
use super::ops::{Call, run_beside};
use super::plan::{Feed, Plan, Slot, Step, Work};
use super::{ExecError, Executor, layout, places};
use crate::engine::context::Ctx;
use crate::engine::graph::{Dim, Wire};
use crate::engine::kernels::until;
use crate::engine::tensor::{TensorError, Value};
use candle_core::WithDType;
use rayon::ThreadPool;
use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use std::collections::BTreeMap;

type Slots = Vec<Option<Held>>;

impl Executor {
    /// Computes the outputs, in the order of the request. `tap` sees every tapped wire once, as soon as
    /// its value is there.
    ///
    /// # Errors
    /// When a feed is missing or does not fit, a node refuses its inputs, or the work was cancelled.
    pub fn run(
        &self,
        feeds: &[(Wire, Value)],
        ctx: &Ctx,
        tap: &mut dyn FnMut(&Wire, &Value),
    ) -> Result<Vec<(Wire, Value)>, ExecError> {
        let plan = &self.plan;
        let values = plan.feeds.iter().map(|feed| take_feed(feed, feeds)).collect::<Result<Vec<Value>, ExecError>>()?;
        check_names(&plan.feeds, &values)?;
        let outputs = match plan.parts(&values, ctx.pool().current_num_threads()) {
            Some(parts) => plan.follow_parts(&values, &parts, ctx)?,
            None if plan.is_small(&values, ctx) => plan.follow(values, None, ctx, tap)?,
            // Within the pool from the first step to the last: going in and out costs more than a small step.
            None if plan.taps.is_empty() => ctx.pool().install(|| plan.follow(values, Some(ctx.pool()), ctx, &mut |_, _| {}))?,
            None => plan.follow(values, Some(ctx.pool()), ctx, tap)?,
        };
        Ok(plan.outputs.iter().map(|(wire, _)| wire.clone()).zip(outputs).collect())
    }
}

/// What samples that run together may hold at once: half of a common second-level cache.
const TOGETHER_BYTES: usize = 768 << 10;
/// More than this many samples together gain nothing.
const TOGETHER: usize = 16;

/// Multiply-accumulates that one thread does in the time that it takes to wake a second one.
const SMALL_MACS: u64 = 1 << 19;

impl Plan {
    /// Whether the calling thread alone is quicker than handing the work to the pool.
    fn is_small(&self, values: &[Value], ctx: &Ctx) -> bool {
        let batch = values.first().and_then(|v| v.shape().first().copied()).unwrap_or(1) as u64;
        ctx.pool().current_num_threads() == 1 || (self.macs > 0 && self.macs.saturating_mul(batch) < SMALL_MACS)
    }

    /// How to cut the batch (start, length), if it is worth it.
    fn parts(&self, values: &[Value], threads: usize) -> Option<Vec<(usize, usize)>> {
        let batch = values.first()?.shape().first().copied()?;
        let same = values.iter().all(|v| v.shape().len() >= 2 && v.shape()[0] == batch);
        // Fewer samples than threads share the work within each step instead.
        let bytes = self.separable.filter(|_| same && batch >= 2 * threads)?;
        let size = (TOGETHER_BYTES / bytes.max(1)).clamp(1, TOGETHER).min(batch.div_ceil(2 * threads));
        // As many for every thread, and all alike: nobody waits long for the last.
        let count = batch.div_ceil(size).next_multiple_of(threads).min(batch);
        let from = |part: usize| part * batch / count;
        Some((0..count).map(|part| (from(part), from(part + 1) - from(part))).collect())
    }

    /// Runs parts of the batch on their own, each on one thread, and joins their outputs. No sum ever
    /// spans samples, so the result is the same as for the whole batch.
    fn follow_parts(&self, values: &[Value], parts: &[(usize, usize)], ctx: &Ctx) -> Result<Vec<Value>, ExecError> {
        let run = |&(from, count): &(usize, usize)| -> Result<Vec<Value>, ExecError> {
            let cut = |v: &Value| Ok(Value { dtype: v.dtype, data: v.data.narrow(0, from, count)? });
            let part = values.iter().map(cut).collect::<Result<Vec<Value>, TensorError>>()?;
            self.follow(part, None, ctx, &mut |_, _| {})
        };
        let done: Vec<Vec<Value>> = ctx.pool().install(|| parts.par_iter().map(run).collect::<Result<_, ExecError>>())?;
        let joined = |(i, (wire, _)): (usize, &(Wire, Slot))| {
            let all: Vec<&Value> = done.iter().filter_map(|part| part.get(i)).collect();
            let refuse = |e: OpError| ExecError::Feed { wire: wire.clone(), reason: e.to_string() };
            join(&all).map_err(refuse)
        };
        ctx.pool().install(|| self.outputs.iter().enumerate().map(joined).collect())
    }

    /// Runs all steps on the fed values; gives the outputs.
    pub(super) fn follow(
        &self,
        values: Vec<Value>,
        pool: Option<&ThreadPool>,
        ctx: &Ctx,
        tap: &mut dyn FnMut(&Wire, &Value),
    ) -> Result<Vec<Value>, ExecError> {
        until(ctx.stop(), || self.follow_steps(values, pool, ctx, tap))
    }

    fn follow_steps(
        &self,
        values: Vec<Value>,
        pool: Option<&ThreadPool>,
        ctx: &Ctx,
        tap: &mut dyn FnMut(&Wire, &Value),
    ) -> Result<Vec<Value>, ExecError> {
        let mut slots: Slots = vec![None; self.slots];
        for (slot, value) in &self.constants {
            slots[*slot] = Some(Held::Value(value.clone()));
        }
        for (feed, value) in self.feeds.iter().zip(values) {
            slots[feed.slot] = Some(Held::Value(value));
        }
        for (slot, wire) in &self.taps {
            if let Some(Held::Value(value)) = &slots[*slot] {
                tap(wire, value);
            }
        }
        for step in &self.steps {
            ctx.check()?;
            let at = |e| ExecError::at(&step.node, e);
            let values = self.compute(step, &mut slots, pool, ctx).map_err(at)?;
            // A kernel that was stopped half-way has left its result unfinished.
            ctx.check()?;
            for (slot, mut value) in step.outputs.iter().zip(values) {
                let Some(slot) = *slot else { continue };
                if let Some(wire) = self.taps.get(&slot) {
                    let shown = value.into_value().map_err(at)?;
                    tap(wire, &shown);
                    value = Held::Value(shown);
                }
                slots[slot] = Some(value);
            }
            for slot in &step.free {
                slots[*slot] = None;
            }
        }
        let give = |(wire, slot): &(Wire, Slot)| -> Result<Value, ExecError> {
            let held = slots[*slot].clone().ok_or_else(|| ExecError::NoSource { wire: wire.clone() })?;
            let refuse = |e: OpError| ExecError::Feed { wire: wire.clone(), reason: e.to_string() };
            held.into_value().map_err(refuse)
        };
        self.outputs.iter().map(give).collect()
    }

    fn compute(&self, step: &Step, slots: &mut Slots, pool: Option<&ThreadPool>, ctx: &Ctx) -> OpResult<Vec<Held>> {
        let inputs: Vec<Option<Held>> = step.inputs.iter().map(|s| slots[(*s)?].clone()).collect();
        // What nobody else reads can be taken apart.
        for slot in &step.free {
            slots[*slot] = None;
        }
        let input = |i: usize| match inputs.get(i) {
            Some(Some(held)) => Ok(held),
            _ => fail(format!("input {i} is missing")),
        };
        let all = |held: &[Option<Held>]| -> OpResult<Vec<Option<Value>>> {
            held.iter().cloned().map(|h| h.map(Held::into_value).transpose()).collect()
        };
        let operator = match &step.work {
            Work::Control(control) => {
                let done = control.run(&step.node, &all(&inputs)?, pool, ctx)?;
                return Ok(done.into_iter().map(Held::Value).collect());
            }
            Work::Recurrent(layer) => {
                let done = layer.run(&all(&inputs)?, pool)?;
                return Ok(done.into_iter().map(Held::Value).collect());
            }
            Work::Integer(on_bytes) => return on_bytes.run(&step.node, &inputs, pool),
            Work::Quantize(pair) => return Ok(vec![pair.run(input(0)?, pool)?]),
            Work::Conv(conv) => return Ok(vec![conv.run(input(0)?, inputs.get(1).and_then(Option::as_ref), pool)?]),
            Work::Beside(convs) => return Ok(vec![run_beside(convs, &inputs, pool)?]),
            Work::Product(product) => return Ok(vec![Held::Value(product.run(input(0)?, pool)?)]),
            Work::Affine(affine) => match affine.run(input(0)?) {
                Ok(done) => return Ok(vec![done]),
                Err(operator) => operator,
            },
            Work::Node(operator) => match places::run(&step.node, self.opset, &inputs, pool)? {
                Some(done) => return Ok(vec![done]),
                None => *operator,
            },
        };
        let values = inputs.into_iter().map(|h| h.map(Held::into_value).transpose()).collect::<OpResult<Vec<_>>>()?;
        let call = Call { node: &step.node, opset: self.opset, inputs: &values, pool };
        Ok(layout::run(operator, &call)?.into_iter().map(Held::Value).collect())
    }
}

/// Parts of a batch one after another, copied on the threads of the calling pool; where all lie with their channels
/// last, so does the whole.
fn join(parts: &[&Value]) -> OpResult<Value> {
    let Some(first) = parts.first() else { return fail("there are no parts to join") };
    for_held!(first, T => join_as::<T>(first, parts))
}

fn join_as<T: WithDType + Default>(first: &Value, parts: &[&Value]) -> OpResult<Value> {
    let inner = |value: &Value| value.shape().get(1..).map(<[usize]>::to_vec);
    let Some(shape) = inner(first).filter(|shape| parts.iter().all(|part| inner(part).as_ref() == Some(shape))) else {
        return fail("parts of a batch come out in different shapes");
    };
    let is_last = parts.iter().all(|part| is_channels_last(part));
    let mut all = vec![T::default(); parts.iter().map(|part| part.data.elem_count()).sum()];
    let (mut places, mut rest) = (Vec::with_capacity(parts.len()), all.as_mut_slice());
    for part in parts {
        let (place, behind) = rest.split_at_mut(part.data.elem_count());
        places.push((*part, place));
        rest = behind;
    }
    places.into_par_iter().try_for_each(|(part, place)| {
        let copy = |values: &[T]| place.copy_from_slice(values);
        if is_last { with_channels_last(part, copy) } else { with(part, copy) }
    })?;
    let batch: usize = parts.iter().filter_map(|part| part.shape().first()).sum();
    let shape: Vec<usize> = [batch].into_iter().chain(shape).collect();
    if is_last { make_channels_last(first.dtype, all, &shape) } else { make(first.dtype, all, &shape) }
}

fn take_feed(feed: &Feed, given: &[(Wire, Value)]) -> Result<Value, ExecError> {
    let refuse = |reason: String| ExecError::Feed { wire: feed.wire.clone(), reason };
    let Some((_, value)) = given.iter().find(|(wire, _)| *wire == feed.wire) else {
        let names: Vec<&str> = given.iter().map(|(w, _)| &**w).collect();
        return Err(refuse(format!("no value is given (given are: {})", names.join(", "))));
    };
    let inside = held(value).map_err(|e| refuse(e.to_string()))?;
    if let Some(dtype) = feed.fact.dtype
        && held_as(dtype).map_err(|e| refuse(e.to_string()))? != inside
    {
        return Err(refuse(format!("the model wants {dtype}, the data is {}", value.dtype)));
    }
    if let Some(shape) = &feed.fact.shape {
        let fits = shape.len() == value.shape().len()
            && shape.iter().zip(value.shape()).all(|(want, have)| want.known().is_none_or(|w| w == *have));
        if !fits {
            let wanted: Vec<String> = shape.iter().map(ToString::to_string).collect();
            return Err(refuse(format!("the model wants shape [{}], the data has {:?}", wanted.join(", "), value.shape())));
        }
    }
    Ok(value.clone())
}

/// A named dimension is the same number wherever it appears.
fn check_names(feeds: &[Feed], values: &[Value]) -> Result<(), ExecError> {
    let mut known: BTreeMap<&str, (usize, &Wire)> = BTreeMap::new();
    for (feed, value) in feeds.iter().zip(values) {
        for (dim, &have) in feed.fact.shape.iter().flatten().zip(value.shape()) {
            let Dim::Named(name) = dim else { continue };
            let (first, wire) = *known.entry(name).or_insert((have, &feed.wire));
            if first != have {
                let reason = format!("dimension \"{name}\" is {have} here but {first} in \"{wire}\"");
                return Err(ExecError::Feed { wire: feed.wire.clone(), reason });
            }
        }
    }
    Ok(())
}
