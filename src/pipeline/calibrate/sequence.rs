//! Layers in the order in which they run, each with what it reads in the original network and in the one that is
//! compressed so far.

use super::CalibrateError;
use super::moments::{Collector, Demand, Moments, Sampler, Samples, Weights};
use super::reading::Reading;
use crate::engine::Ctx;
use crate::engine::exec::{Executor, Order, Request, Walk, with_order};
use crate::engine::graph::{Layer, Model, Wire};
use crate::engine::tensor::Value;
use crate::pipeline::load::Dataset;

/// Every so many samples one is held out: it judges what the others chose.
const HELD_OUT: usize = 10;
/// Places that are held out of one layer.
const JUDGES: usize = 4096;
/// Bytes that may lie on the wires between two layers, of both networks.
const BUDGET_BYTES: usize = 3 << 30;

/// What is known of a layer: a part for each group of its output channels.
#[derive(Debug, Clone, Default)]
pub struct LayerData {
    pub moments: Vec<Moments>,
    /// Of samples that the moments are made of; none where none were asked for.
    pub fitted: Vec<Samples>,
    /// Of samples that they are not made of.
    pub held_out: Vec<Samples>,
}

/// Two walks through the same model: as it was and as it is by now.
struct Walks {
    original: Walk,
    made: Walk,
    samples: usize,
}

pub struct Sequence {
    fit: Walks,
    judge: Walks,
    /// Whether samples that judge are those that fit: there are too few to hold any out.
    pub judges_itself: bool,
}

impl Sequence {
    /// Feeds `data` to the beginning of `model`.
    ///
    /// # Errors
    /// When the data cannot be read or fed, or on cancel.
    pub fn begin(model: &Model, data: &Dataset, ctx: &Ctx) -> Result<Self, CalibrateError> {
        if data.is_empty() {
            return Err(CalibrateError::Empty);
        }
        let input = model.data_input().ok_or(CalibrateError::NoInput)?.wire.clone();
        let fixed = Executor::new(model, &Request { outputs: Some(Vec::new()), ..Request::default() })?.fixed_batch();
        let few = data.len() < HELD_OUT;
        let (judge, fit): (Vec<usize>, Vec<usize>) = (0..data.len()).partition(|i| i % HELD_OUT == HELD_OUT - 1);
        let (judge, fit) = if few { ((0..data.len()).collect(), (0..data.len()).collect()) } else { (judge, fit) };
        let walks = |indices: &[usize]| Walks::feed(&input, indices, fixed, data, ctx);
        Ok(Self { fit: walks(&fit)?, judge: walks(&judge)?, judges_itself: few })
    }

    /// Samples that moments are made of.
    #[must_use]
    pub fn samples(&self) -> usize {
        self.fit.samples
    }

    /// What `layer` reads where the layers before it are as in `made`; `rows` are its weights, a row per output
    /// channel, and `demand` says what is asked for given the weights of a row that one group of channels has. Layers must come in the order in which they run.
    ///
    /// # Errors
    /// When the layer cannot be run up to, its data are not finite, or on cancel.
    pub fn look(
        &mut self,
        (original, made): (&Model, &Model),
        layer: &Layer,
        rows: &[f32],
        demand: impl Fn(usize) -> Demand,
        ctx: &Ctx,
    ) -> Result<LayerData, CalibrateError> {
        let node = layer.node.and_then(|id| original.node(id)).ok_or(CalibrateError::NoInput)?;
        for walks in [&mut self.fit, &mut self.judge] {
            let place = |model: &Model| model.nodes.iter().position(|n| Some(n.id) == layer.node).unwrap_or(0);
            walks.original.advance(original, place(original), ctx)?;
            walks.made.advance(made, place(made), ctx)?;
            walks.shed(ctx);
        }
        let unread = |reason| CalibrateError::Unread { layer: layer.name.clone(), reason };
        let read = |value: &Value| Reading::of(layer, node, value.shape()).map_err(unread);
        let first = self.fit.made.on(&layer.input).next().ok_or(CalibrateError::NoInput)?;
        let (groups, width) = {
            let reading = read(first)?;
            (reading.groups(), reading.width())
        };
        let demand = demand(width);
        let weights = Weights { rows, tall: layer.out_channels() / groups.max(1), width };
        let mut collector = Collector::new(weights, groups, demand);
        let mut sampler = Sampler::new(weights, groups);
        self.fit.each(&layer.input, &read, ctx, |reading, x, made, share| {
            collector.add(reading, x, made);
            if demand.samples > 0 {
                sampler.add(reading, x, made, (share * demand.samples as f64).ceil() as usize);
            }
        })?;
        let mut judges = Sampler::new(weights, groups);
        self.judge.each(&layer.input, &read, ctx, |reading, x, made, share| {
            judges.add(reading, x, made, (share * JUDGES as f64).ceil() as usize);
        })?;
        let moments = collector.finish();
        let count: usize = moments.iter().flat_map(|m| m.gram.iter().chain(&m.cross)).filter(|v| !v.is_finite()).count();
        if count > 0 {
            let values = moments.iter().map(|m| m.gram.len()).sum::<usize>() as u64;
            return Err(CalibrateError::NotFinite { wire: layer.input.clone(), count: count as u64, values });
        }
        let fitted = if demand.samples > 0 { sampler.finish() } else { Vec::new() };
        Ok(LayerData { moments, fitted, held_out: judges.finish() })
    }
}

impl Walks {
    fn feed(input: &Wire, indices: &[usize], fixed: Option<usize>, data: &Dataset, ctx: &Ctx) -> Result<Self, CalibrateError> {
        let mut batches = Vec::new();
        for part in indices.chunks(data.batch_size(fixed)) {
            ctx.check()?;
            // Of a model of fixed batch size the samples that fill up the last batch count like any other.
            let fed = Dataset::whole_batch(part, fixed);
            batches.push(vec![(input.clone(), data.batch(&fed, ctx)?)]);
        }
        let original = Walk::new(batches);
        Ok(Self { made: original.clone(), original, samples: indices.len() })
    }

    /// Drops batches, the last first, while what lies on the wires is more than the budget holds.
    fn shed(&mut self, ctx: &Ctx) {
        let batches = self.made.batches();
        let bytes = self.original.size_bytes() + self.made.size_bytes();
        if bytes <= BUDGET_BYTES || batches < 2 {
            return;
        }
        let kept = (batches * (BUDGET_BYTES >> 10) / (bytes >> 10)).max(1);
        self.original.keep(kept);
        self.made.keep(kept);
        self.samples = self.samples * kept / batches;
        ctx.warn("calibration", format!("only {} samples fit in memory at once; the others are left out", self.samples));
    }

    /// Shows every batch: how it is read, x, x̂, and which share of all samples it is.
    fn each(
        &self,
        wire: &Wire,
        read: impl Fn(&Value) -> Result<Reading, CalibrateError>,
        ctx: &Ctx,
        mut see: impl FnMut(&Reading, &[f32], &[f32], f64) + Send,
    ) -> Result<(), CalibrateError> {
        let all: usize = self.made.on(wire).map(size).sum();
        for (x, made) in self.original.on(wire).zip(self.made.on(wire)) {
            ctx.check()?;
            let (reading, share) = (read(made)?, size(made) as f64 / all.max(1) as f64);
            let order = if reading.is_of_images() { Order::ChannelsLast } else { Order::Rows };
            let same = x.is_same(made);
            with_order(made, order, |made| {
                let mut see = |x: &[f32]| ctx.pool().install(|| see(&reading, x, made, share));
                if same {
                    see(made);
                    Ok(())
                } else {
                    with_order(x, order, see)
                }
            })??;
        }
        Ok(ctx.check()?)
    }
}

fn size(value: &Value) -> usize {
    value.shape().iter().product()
}
