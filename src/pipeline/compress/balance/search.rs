//! AWQ (Lin et al. 2024, arXiv 2306.00978, §3.2): channels that carry much are made larger in the weights, so that
//! these are rounded finer for their size. By how much is tried out.

use crate::engine::Ctx;
use crate::engine::formats::How;
use crate::engine::graph::Channels;
use crate::engine::graph::passes::{Member, Passage, Passages};
use crate::pipeline::calibrate::{CalibrateError, Demand, LayerData, Original, Sequence};
use crate::pipeline::compress::CompressError;
use crate::pipeline::compress::judge::Judge;
use crate::pipeline::compress::round_to_nearest::{decode, encode, how};
use crate::pipeline::compress::runner::weights_of;
use crate::pipeline::configure::{LayerPlan, Plan};
use crate::pipeline::load::{Dataset, Subject};
use rayon::iter::{IntoParallelIterator, ParallelIterator};
use std::collections::BTreeMap;

/// Places that scales are tried on.
const SAMPLES: usize = 512;
/// Powers that are tried: 0, 1/20 … 19/20.
const STEPS: usize = 20;
/// No power of a magnitude is smaller, as the reference has it.
const LEAST: f32 = 1e-4;

/// A layer on the bench.
struct Reader<'a> {
    plan: &'a LayerPlan,
    weights: Vec<f32>,
    /// Of the input that each weight is multiplied with.
    channels: Vec<usize>,
    data: LayerData,
}

/// The scales of each passage that gains by any, by its place. Layers whose weights are not rounded have no say.
pub(super) fn scales(
    passages: &Passages,
    plan: &Plan,
    subject: &Subject,
    data: &Dataset,
    ctx: &Ctx,
) -> Result<BTreeMap<usize, Vec<f32>>, CompressError> {
    let model = &*subject.folded;
    let mut sequence = Sequence::begin(model, data, ctx)?;
    let mut waiting: BTreeMap<usize, Vec<Reader<'_>>> = BTreeMap::new();
    let mut scales = BTreeMap::new();
    ctx.start("Balancing channels", plan.layers.len());
    for (number, layer) in plan.layers.iter().enumerate() {
        ctx.advance(1);
        let holds = |passage: &Passage| passage.readers.iter().position(|r| r.layer == number);
        let place = passages.found.iter().enumerate().find_map(|(i, passage)| Some((i, passage, holds(passage)?)));
        let Some((place, passage, member)) = place else { continue };
        // What is not rounded has no say.
        if let Some(member) = passage.readers.get(member).filter(|_| layer.treatment.weights.format().is_some())
            && let Some(reader) = look(&mut sequence, layer, member, subject, ctx)?
        {
            waiting.entry(place).or_default().push(reader);
        }
        if passage.readers.iter().any(|r| r.layer > number) {
            continue;
        }
        if let Some(readers) = waiting.remove(&place)
            && let Some(found) = search(passage, &readers, ctx)?
        {
            scales.insert(place, found);
        }
    }
    Ok(scales)
}

/// What a layer reads; `None`, and a warning, where that cannot be told.
fn look<'a>(
    sequence: &mut Sequence,
    plan: &'a LayerPlan,
    member: &Member,
    subject: &Subject,
    ctx: &Ctx,
) -> Result<Option<Reader<'a>>, CompressError> {
    let weights = weights_of(&plan.layer, subject)?;
    let rows = Channels::new(&plan.layer.shape, plan.layer.out_axis).gather(&weights);
    let models = (&*subject.folded, &*subject.folded);
    let was = Original { layer: &plan.layer, left: None, rows: &rows, beside: None };
    match sequence.look(models, &plan.layer, was, |_| Demand { samples: SAMPLES, ..Demand::default() }, ctx) {
        Ok(data) => Ok(Some(Reader { plan, channels: member.channels(weights.len()), weights, data })),
        Err(CalibrateError::Unread { layer, reason }) => {
            ctx.warn(layer, format!("{reason}: its channels are not balanced"));
            Ok(None)
        }
        Err(error) => Err(error.into()),
    }
}

/// The scales with the least error on the samples, if it is less than without any on samples that were held out.
fn search(passage: &Passage, readers: &[Reader<'_>], ctx: &Ctx) -> Result<Option<Vec<f32>>, CompressError> {
    let Some(magnitudes) = readers.first().map(|reader| magnitudes(reader, passage.channels)) else { return Ok(None) };
    let tried = |step: usize| {
        let scales = powers(&magnitudes, step as f32 / STEPS as f32);
        errors(readers, &scales, Side::Fitted, ctx).map(|error| (error, scales))
    };
    let all: Vec<(f64, Vec<f32>)> = ctx.pool().install(|| (0..STEPS).into_par_iter().map(tried).collect::<Result<_, _>>())?;
    let plain = vec![1.0; passage.channels];
    // The first of those that are as good.
    let Some((_, best)) = all.into_iter().reduce(|best, next| if next.0 < best.0 { next } else { best }) else { return Ok(None) };
    let held = |scales: &[f32]| ctx.pool().install(|| errors(readers, scales, Side::HeldOut, ctx));
    Ok((held(&best)? < held(&plain)?).then_some(best))
}

/// The mean magnitude of each channel.
fn magnitudes(reader: &Reader<'_>, channels: usize) -> Vec<f32> {
    let layout = Channels::new(&reader.plan.layer.shape, reader.plan.layer.out_axis);
    let of_rows = layout.gather(&reader.channels);
    let (mut sums, mut counts) = (vec![0.0_f64; channels], vec![0_u64; channels]);
    for (group, samples) in reader.data.fitted.iter().enumerate() {
        let row = of_rows.get(group * samples.rows * samples.width..).unwrap_or_default();
        for place in samples.made.chunks(samples.width.max(1)) {
            for (x, channel) in place.iter().zip(row) {
                if let (Some(sum), Some(count)) = (sums.get_mut(*channel), counts.get_mut(*channel)) {
                    *sum += f64::from(x.abs());
                    *count += 1;
                }
            }
        }
    }
    sums.iter().zip(counts).map(|(sum, count)| (sum / count.max(1) as f64) as f32).collect()
}

/// `magnitude^power` per channel, no smaller than a least, over the root of the largest times the smallest.
pub(super) fn powers(magnitudes: &[f32], power: f32) -> Vec<f32> {
    let raised: Vec<f32> = magnitudes.iter().map(|m| m.powf(power).max(LEAST)).collect();
    let (low, high) = raised.iter().fold((f32::INFINITY, 0.0_f32), |(low, high), r| (low.min(*r), high.max(*r)));
    let middle = (low * high).sqrt();
    raised.iter().map(|r| if middle.is_normal() { r / middle } else { 1.0 }).collect()
}

/// Which samples.
#[derive(Clone, Copy)]
enum Side {
    Fitted,
    HeldOut,
}

/// Squared errors of what the layers give over their variances, added up, with weights rounded at these scales.
fn errors(readers: &[Reader<'_>], scales: &[f32], side: Side, ctx: &Ctx) -> Result<f64, CompressError> {
    let mut sum = 0.0;
    for reader in readers {
        ctx.check()?;
        let (layer, treatment) = (&reader.plan.layer, &reader.plan.treatment);
        let Some(format) = treatment.weights.format() else { continue };
        let scale = |channel: &usize| scales.get(*channel).copied().unwrap_or(1.0);
        let scaled: Vec<f32> = reader.weights.iter().zip(&reader.channels).map(|(w, c)| w * scale(c)).collect();
        let how: How<'_> = how(treatment);
        let encoded = encode(&scaled, layer, format, &how, ctx)
            .map_err(|source| CompressError::Format { layer: layer.name.clone(), source })?;
        let made: Vec<f32> = decode(&encoded, layer).iter().zip(&reader.channels).map(|(w, c)| w / scale(c)).collect();
        let rows = Channels::new(&layer.shape, layer.out_axis).gather(&made);
        let samples = match side {
            Side::Fitted => &reader.data.fitted,
            Side::HeldOut => &reader.data.held_out,
        };
        sum += Judge::new(samples, None).error(&rows, None);
    }
    Ok(sum)
}
