//! Layers in the order in which they run, each with what it reads in the original network and in the one that is
//! compressed so far.

use super::CalibrateError;
use super::moments::{Beside, Collector, Demand, Moments, Readings, Sampler, Samples, Weights};
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

/// A layer as the original network has it.
#[derive(Debug, Clone, Copy)]
pub struct Original<'a> {
    pub layer: &'a Layer,
    /// Which of its output channels are left; `None` where the network lost none of any layer.
    pub left: Option<&'a [usize]>,
    /// The weights of those that are left, a row each.
    pub rows: &'a [f32],
    /// The other term of a sum that alone reads what the layer gives: where channels were lost, the layer is to make up
    /// for what is lost of it as well.
    pub beside: Option<&'a Wire>,
}

impl Original<'_> {
    /// By group of those that the layer has by now (`tall` rows each): which of its `before` groups it was.
    fn groups(&self, tall: usize, before: usize) -> Option<Vec<usize>> {
        let size = (self.layer.out_channels() / before.max(1)).max(1);
        Some(self.left?.iter().step_by(tall.max(1)).map(|row| row / size).collect())
    }
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

    /// Goes on to `layer`. Layers must come in the order in which they run.
    ///
    /// # Errors
    /// When the layers before it cannot be run, or on cancel.
    pub fn reach(&mut self, (original, made): (&Model, &Model), layer: &Layer, ctx: &Ctx) -> Result<(), CalibrateError> {
        for walks in [&mut self.fit, &mut self.judge] {
            let place = |model: &Model| model.nodes.iter().position(|n| Some(n.id) == layer.node).unwrap_or(0);
            walks.original.advance(original, place(original), ctx)?;
            walks.made.advance(made, place(made), ctx)?;
            walks.shed(ctx);
        }
        Ok(())
    }

    /// What `layer` reads where the layers before it are as in `made`, held against what `was` gives in `original`;
    /// `demand` says what is asked for given the weights of a row that one group of channels has. Goes on to it first.
    ///
    /// # Errors
    /// When the layer cannot be run up to, its data are not finite, or on cancel.
    pub fn look(
        &mut self,
        (original, made): (&Model, &Model),
        layer: &Layer,
        was: Original<'_>,
        demand: impl Fn(usize) -> Demand,
        ctx: &Ctx,
    ) -> Result<LayerData, CalibrateError> {
        let node = |model: &'_ Model| layer.node.and_then(|id| model.node(id).cloned()).ok_or(CalibrateError::NoInput);
        let (node, node_before) = (node(made)?, node(original)?);
        self.reach((original, made), layer, ctx)?;
        let unread = |reason| CalibrateError::Unread { layer: layer.name.clone(), reason };
        let read = |value: &Value| Reading::of(layer, &node, value.shape()).map_err(unread);
        let read_before = |value: &Value| Reading::of(was.layer, &node_before, value.shape()).map_err(unread);
        // Where a branch was left out, what was read behind its sum is now read before it.
        let wires = (&was.layer.input, &layer.input);
        let first = |walk: &'_ Walk, wire: &Wire| walk.on(wire).next().cloned().ok_or(CalibrateError::NoInput);
        let reading = read(&first(&self.fit.made, wires.1)?)?;
        let before = read_before(&first(&self.fit.original, wires.0)?)?;
        let (groups, width) = (reading.groups(), reading.width());
        let order = if reading.is_of_images() { Order::ChannelsLast } else { Order::Rows };
        let demand = demand(width);
        let weights = Weights { rows: was.rows, tall: layer.out_channels() / groups.max(1), width: before.width() };
        let groups_before = was.groups(weights.tall, before.groups());
        let mut collector = Collector::new(weights, (groups, width), was.left.is_some(), demand);
        let mut sampler = Sampler::new(weights, (groups, width));
        let mut judges = Sampler::new(weights, (groups, width));
        for (walks, is_fit) in [(&self.fit, true), (&self.judge, false)] {
            let beside = walks.beside(&was)?;
            let mut batch = 0;
            walks.each(wires, order, ctx, |x, made, share| {
                let (own, original) = (read(made.0)?, read_before(x.0)?);
                let beside = beside.as_ref().and_then(|all| all.get(batch)?.of(&was, (&own, &original)));
                let readings = Readings { made: &own, original: &original, groups: groups_before.as_deref(), beside };
                batch += 1;
                let some = |of: usize| (share * of as f64).ceil() as usize;
                if !is_fit {
                    judges.add(readings, x.1, made.1, some(JUDGES));
                    return Ok(());
                }
                collector.add(readings, x.1, made.1);
                if demand.samples > 0 {
                    sampler.add(readings, x.1, made.1, some(demand.samples));
                }
                Ok(())
            })?;
        }
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

/// What lies on the wire beside a layer's outputs, in one batch.
struct Terms {
    original: Vec<f32>,
    made: Vec<f32>,
    /// Of the original.
    shape: Vec<usize>,
}

impl Terms {
    /// `None` where they are not shaped as the outputs of the layer are.
    fn of<'a>(&'a self, was: &Original<'a>, (made, original): (&Reading, &Reading)) -> Option<Beside<'a>> {
        let (left, channels) = (was.left?, was.layer.out_channels());
        let plane = original.plane();
        let size = |channels: usize| original.places() * channels;
        let axis = if original.is_of_images() { self.shape.get(1) } else { self.shape.last() };
        let fits = made.places() == original.places() && axis == Some(&channels);
        let fits = fits && self.original.len() == size(channels) && self.made.len() == size(left.len());
        fits.then_some(Beside { original: &self.original, made: &self.made, channels, left, plane })
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

    /// The terms beside the layer's outputs, batch by batch; `None` where they are not known yet.
    fn beside(&self, was: &Original<'_>) -> Result<Option<Vec<Terms>>, CalibrateError> {
        let Some(wire) = was.beside.filter(|_| was.left.is_some()) else { return Ok(None) };
        let terms = self.original.on(wire).zip(self.made.on(wire));
        let terms = terms.map(|(x, made)| Ok(Terms { original: x.to_f32()?, made: made.to_f32()?, shape: x.shape().to_vec() }));
        let terms = terms.collect::<Result<Vec<_>, CalibrateError>>()?;
        Ok((terms.len() == self.made.batches()).then_some(terms))
    }

    /// Shows every batch: value and numbers (in the given order) of x, then of x̂, and which share of all samples it is.
    fn each(
        &self,
        (before, wire): (&Wire, &Wire),
        order: Order,
        ctx: &Ctx,
        mut see: impl FnMut((&Value, &[f32]), (&Value, &[f32]), f64) -> Result<(), CalibrateError> + Send,
    ) -> Result<(), CalibrateError> {
        let all: usize = self.made.on(wire).map(size).sum();
        for (x, made) in self.original.on(before).zip(self.made.on(wire)) {
            ctx.check()?;
            let share = size(made) as f64 / all.max(1) as f64;
            let mut seen = Ok(());
            let same = x.is_same(made);
            with_order(made, order, |made_values| {
                let mut see = |values: &[f32]| seen = ctx.pool().install(|| see((x, values), (made, made_values), share));
                if same {
                    see(made_values);
                    Ok(())
                } else {
                    with_order(x, order, see)
                }
            })??;
            seen?;
        }
        Ok(ctx.check()?)
    }
}

fn size(value: &Value) -> usize {
    value.shape().iter().product()
}
