//! Chooses the channels that a plan cuts and cuts them, before any layer is treated on its own.

use super::CompressError;
use super::balance::balance;
use super::importance::{activation, batch_norm, by_channel, gradient, least, magnitude, median, stability, together};
use crate::engine::Ctx;
use crate::engine::graph::structure::{ChannelGroup, Left, Member, Structure, Values, cut};
use crate::engine::graph::{Channels, Model, Wire};
use crate::engine::hash::of_bytes;
use crate::pipeline::calibrate::{Activity, CalibrateError, Disturbed, Slopes, activity, disturb, slopes};
use crate::pipeline::configure::{ChannelScore, Cuts, GroupCut, Plan, prepared};
use crate::pipeline::load::{Dataset, Subject};
use std::collections::{BTreeMap, BTreeSet};

/// Where samples come from; `None` where the project has none.
pub type DataSource<'a> = &'a dyn Fn(&Ctx) -> Result<Option<Dataset>, CalibrateError>;

/// Samples that disturbances are measured on.
const DISTURBED_SAMPLES: usize = 16;
/// Samples whose gradients are followed.
const SLOPE_SAMPLES: usize = 64;
/// Opposite disturbances of each channel.
const PAIRS: usize = 4;
/// Standard deviation of a disturbance, relative to the weight.
const SIGMA: f32 = 0.1;

/// The subject as the layers of `plan` are compressed: equalized, where that is asked for, without the branches and
/// channels that go, and with the others balanced.
///
/// # Errors
/// As [`cut_channels`], and when a rewritten graph is not valid.
pub fn prepare(plan: &Plan, subject: &Subject, data: DataSource<'_>, ctx: &Ctx) -> Result<Subject, CompressError> {
    let subject = prepared(plan.equalize, subject)?;
    let subject = match &plan.left_out {
        Some(left_out) => left_out.without(&subject)?,
        None => subject,
    };
    balance(plan, cut_channels(plan, &subject, data, ctx)?, data, ctx)
}

/// The subject without the channels that `plan` cuts: the least important of each group. As it is where none are.
///
/// # Errors
/// When weights are not finite, data that importance asks for cannot be had, or on cancel.
pub fn cut_channels(plan: &Plan, subject: &Subject, data: DataSource<'_>, ctx: &Ctx) -> Result<Subject, CompressError> {
    let Some(cuts) = plan.cuts.as_ref().filter(|cuts| cuts.cuts_any()) else { return Ok(subject.clone()) };
    let removed = choose_channels(cuts, subject, data, ctx)?;
    let model = cut(&subject.folded, &cuts.structure, &removed, Values::Kept)?;
    let left = Left::of(&subject.folded, &cuts.structure, &removed);
    Ok(subject.cut(model, left, &of_bytes(format!("{removed:?}").as_bytes())))
}

/// The channels that go: of each of the structure's groups as many as are planned, the least important.
///
/// # Errors
/// As [`cut_channels`].
pub fn choose_channels(
    cuts: &Cuts,
    subject: &Subject,
    data: DataSource<'_>,
    ctx: &Ctx,
) -> Result<Vec<Vec<usize>>, CompressError> {
    for planned in &cuts.groups {
        if let Some(note) = &planned.note {
            ctx.warn(planned.name.clone(), note.clone());
        }
    }
    let scores = channel_scores(cuts, subject, data, ctx)?;
    Ok(cuts.groups.iter().zip(&scores).map(|(planned, scores)| least(scores, planned.channels - planned.kept)).collect())
}

/// What each channel counts, by group: those of groups that lose none have no scores.
///
/// # Errors
/// As [`cut_channels`].
pub fn channel_scores(cuts: &Cuts, subject: &Subject, data: DataSource<'_>, ctx: &Ctx) -> Result<Vec<Vec<f64>>, CompressError> {
    let found = Scores::collect(cuts.structure.as_ref(), &cuts.groups, subject, data, ctx)?;
    let of = |(number, planned): (usize, &GroupCut)| {
        ctx.check()?;
        if planned.kept == planned.channels {
            return Ok(Vec::new());
        }
        let scores = found.of(number, planned, ctx)?;
        if scores.len() == planned.channels && scores.iter().all(|s| s.is_finite()) {
            return Ok(scores);
        }
        // Nothing was seen of it, or what was seen is beyond counting.
        ctx.warn(
            planned.name.clone(),
            format!("its {} could not be told: its channels are chosen by L2 norm", planned.by.name()),
        );
        found.of(number, &GroupCut { by: ChannelScore::L2, ..planned.clone() }, ctx)
    };
    cuts.groups.iter().enumerate().map(of).collect()
}

/// What importance is told from.
struct Scores<'a> {
    structure: &'a Structure,
    subject: &'a Subject,
    activity: BTreeMap<Wire, Vec<Activity>>,
    /// Of the rows of each weight, by what is told from gradients.
    slopes: BTreeMap<(ChannelScore, Wire), Vec<f64>>,
    /// Of each group that asked for it.
    stability: BTreeMap<usize, Vec<f64>>,
}

impl<'a> Scores<'a> {
    fn collect(
        structure: &'a Structure,
        planned: &[GroupCut],
        subject: &'a Subject,
        data: DataSource<'_>,
        ctx: &Ctx,
    ) -> Result<Self, CompressError> {
        let mut scores =
            Self { structure, subject, activity: BTreeMap::new(), slopes: BTreeMap::new(), stability: BTreeMap::new() };
        let asking = |wanted: fn(ChannelScore) -> bool| -> Vec<usize> {
            let asks = |g: &GroupCut| g.kept < g.channels && wanted(g.by);
            (0..planned.len()).filter(|i| asks(&planned[*i])).collect()
        };
        let Some(score) = planned.iter().find(|g| g.kept < g.channels && g.by.needs_data()) else { return Ok(scores) };
        let data = data(ctx)?.ok_or(CompressError::NoChannelData { score: score.by.name() })?;
        let seen = asking(|by| matches!(by, ChannelScore::Activation | ChannelScore::Zeros));
        let wires: BTreeMap<Wire, usize> =
            seen.iter().filter_map(|group| scores.watched(*group)).map(|(wire, axis, _)| (wire, axis)).collect();
        if !wires.is_empty() {
            scores.activity = activity(&subject.folded, &wires, &data, ctx)?;
        }
        for score in [ChannelScore::Taylor, ChannelScore::Fisher] {
            let groups: Vec<usize> =
                (0..planned.len()).filter(|i| planned[*i].kept < planned[*i].channels && planned[*i].by == score).collect();
            if !groups.is_empty() {
                scores.follow(score, &groups, &data.spread(SLOPE_SAMPLES), ctx)?;
            }
        }
        let disturbed = asking(|by| by == ChannelScore::Stability);
        if !disturbed.is_empty() {
            scores.stability = scores.stabilities(&disturbed, &data.spread(DISTURBED_SAMPLES), ctx)?;
        }
        Ok(scores)
    }

    fn of(&self, group: usize, planned: &GroupCut, ctx: &Ctx) -> Result<Vec<f64>, CompressError> {
        let own = self.structure.groups.get(group);
        let by_size = |score: fn(&[f32], usize) -> Vec<f64>| own.map_or(Ok(Vec::new()), |group| self.by_rows(group, score));
        match planned.by {
            ChannelScore::L1 => by_size(magnitude::l1),
            ChannelScore::L2 => by_size(magnitude::l2),
            ChannelScore::Median => by_size(median::scores),
            ChannelScore::BatchNorm => {
                let scales = own.map_or(Vec::new(), |group| self.batch_norms(group));
                if scales.is_empty() {
                    ctx.warn(planned.name.clone(), "no batch normalization stands behind it: its channels are chosen by L2 norm");
                    return by_size(magnitude::l2);
                }
                Ok(together(&scales))
            }
            ChannelScore::Activation => Ok(self.by_data(group, activation::mean)),
            ChannelScore::Zeros => Ok(self.by_data(group, activation::alive)),
            ChannelScore::Taylor | ChannelScore::Fisher => {
                let of = |member: &Member| {
                    let rows = self.slopes.get(&(planned.by, member.tensor.clone()))?;
                    Some(by_channel(rows, &member.places))
                };
                Ok(together(&own.map_or(Vec::new(), |group| group.makers().filter_map(of).collect())))
            }
            ChannelScore::Stability => Ok(self.stability.get(&group).cloned().unwrap_or_default()),
        }
    }

    /// From the rows of every weight that makes the channels.
    fn by_rows(&self, group: &ChannelGroup, score: fn(&[f32], usize) -> Vec<f64>) -> Result<Vec<f64>, CompressError> {
        let mut scores = Vec::new();
        for member in group.makers() {
            let (shape, weights) = weights_of(&self.subject.folded, member)?;
            let channels = Channels::new(&shape, member.axis);
            scores.push(by_channel(&score(&channels.gather(&weights), channels.row_len()), &member.places));
        }
        Ok(together(&scores))
    }

    /// Scales of the normalizations that stood behind the layers before they were folded.
    fn batch_norms(&self, group: &ChannelGroup) -> Vec<Vec<f64>> {
        let original = &self.subject.original;
        let scale = |member: &Member| {
            let layer = self.subject.layers.iter().find(|l| l.weight == member.tensor)?;
            let output = original.node(layer.node?)?.output(0)?;
            let norm = original.nodes.iter().find(|n| n.op == "BatchNormalization" && n.input(0) == Some(output))?;
            let scale = original.constants.get(norm.input(1)?)?.to_f32().ok()?;
            Some(by_channel(&batch_norm::scores(&scale), &member.places))
        };
        group.makers().filter_map(scale).collect()
    }

    /// Scores of the rows of all weights that make the groups' channels, added up sample by sample.
    fn follow(&mut self, score: ChannelScore, groups: &[usize], data: &Dataset, ctx: &Ctx) -> Result<(), CompressError> {
        let mut weights: BTreeMap<Wire, (Channels, Vec<f32>)> = BTreeMap::new();
        for member in groups.iter().filter_map(|i| self.structure.groups.get(*i)).flat_map(ChannelGroup::makers) {
            let (shape, values) = weights_of(&self.subject.folded, member)?;
            let channels = Channels::new(&shape, member.axis);
            weights.insert(member.tensor.clone(), (channels, channels.gather(&values)));
        }
        let wires: BTreeSet<Wire> = weights.keys().cloned().collect();
        let slopes_of = &mut self.slopes;
        let mut each = |found: &Slopes| {
            for (wire, (channels, rows)) in &weights {
                let Some(slopes) = found.get(wire).map(|all| [channels.gather(all)]) else { continue };
                let own = match score {
                    ChannelScore::Fisher => {
                        let all = gradient::fisher(rows, &slopes);
                        all.chunks(channels.row_len().max(1)).map(|row| row.iter().sum()).collect()
                    }
                    _ => gradient::taylor(rows, channels.row_len(), &slopes),
                };
                let sums = slopes_of.entry((score, wire.clone())).or_insert_with(|| vec![0.0; own.len()]);
                sums.iter_mut().zip(own).for_each(|(sum, one): (&mut f64, f64)| *sum += one);
            }
        };
        Ok(slopes(&self.subject.folded, &wires, data, &mut each, ctx)?)
    }

    /// Where the data of a group are seen: what a layer reads, behind the activation, else what the first layer gives.
    fn watched(&self, group: usize) -> Option<(Wire, usize, Vec<Vec<usize>>)> {
        let inputs = self.subject.layers.iter().map(|l| &l.input);
        let maker = self.structure.groups.get(group)?.makers().next()?;
        let output = self.subject.layers.iter().find(|l| l.weight == maker.tensor).map(|l| &l.output);
        let mut wires = inputs.chain(output);
        wires.find_map(|wire| {
            let (axis, places) = self.structure.on_wire(group, wire)?;
            Some((wire.clone(), axis, places))
        })
    }

    fn by_data(&self, group: usize, score: fn(&[Activity]) -> Vec<f64>) -> Vec<f64> {
        let found = self.watched(group).and_then(|(wire, _, places)| Some((self.activity.get(&wire)?, places)));
        found.map_or_else(Vec::new, |(seen, places)| by_channel(&score(seen), &places))
    }

    /// Each channel of each of the groups is disturbed alone, in opposite pairs, whose signs are those of the weight's
    /// place: all channels are asked alike.
    fn stabilities(&self, groups: &[usize], data: &Dataset, ctx: &Ctx) -> Result<BTreeMap<usize, Vec<f64>>, CompressError> {
        let mut weights: BTreeMap<&Wire, (Vec<usize>, Vec<f32>)> = BTreeMap::new();
        let mut channels: Vec<(usize, usize)> = Vec::new();
        for number in groups {
            let Some(group) = self.structure.groups.get(*number) else { continue };
            for member in group.makers() {
                weights.insert(&member.tensor, weights_of(&self.subject.folded, member)?);
            }
            channels.extend((0..group.channels).map(|channel| (*number, channel)));
        }
        let make = |step: usize| -> Vec<Disturbed> {
            let (group, channel) = channels[step / (2 * PAIRS)];
            let (pair, opposite) = (step / 2 % PAIRS, step % 2 == 1);
            let members = self.structure.groups.get(group).into_iter().flat_map(ChannelGroup::makers);
            let one = |member: &Member| {
                let (shape, values) = weights.get(&member.tensor)?;
                let mut values = values.clone();
                let rows = Channels::new(shape, member.axis);
                for place in member.places.get(channel)?.iter().flat_map(|row| rows.places(*row)) {
                    let sign = stability::sign(ctx.seed, pair, place) * if opposite { -1.0 } else { 1.0 };
                    values.get_mut(place).into_iter().for_each(|w| *w *= 1.0 + SIGMA * sign);
                }
                Some(Disturbed { tensor: member.tensor.clone(), values })
            };
            members.filter_map(one).collect()
        };
        let changes = disturb(&self.subject.folded, data, channels.len() * 2 * PAIRS, &make, ctx)?;
        let mut found: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
        let mut doubtful = 0_usize;
        for ((group, _), of_channel) in channels.iter().zip(changes.chunks(2 * PAIRS)) {
            let pairs: Vec<f64> = of_channel.chunks(2).map(|pair| pair.iter().sum::<f64>() / 2.0).collect();
            let score = stability::estimate(&pairs);
            doubtful += usize::from(score.standard_error > 0.5 * score.mean);
            found.entry(*group).or_default().push(score.mean);
        }
        if 2 * doubtful > channels.len() {
            let said = format!("the standard error of {doubtful} of {} scores is more than half of the score", channels.len());
            ctx.warn("stability", said);
        }
        Ok(found)
    }
}

/// Shape and values of a weight.
fn weights_of(model: &Model, member: &Member) -> Result<(Vec<usize>, Vec<f32>), CompressError> {
    let Some(tensor) = model.constants.get(&member.tensor) else { return Ok((Vec::new(), Vec::new())) };
    let layer = || member.tensor.to_string();
    let values = tensor.to_f32().map_err(|source| CompressError::Tensor { layer: layer(), source })?;
    let count = values.iter().filter(|w| !w.is_finite()).count();
    if count > 0 {
        return Err(CompressError::NotFinite { layer: layer(), count, total: values.len() });
    }
    Ok((tensor.shape().to_vec(), values))
}
