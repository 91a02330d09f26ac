//! What a pass over data leaves behind: per wire a bounded summary of all values, and of each channel.

use super::channels::ChannelAxis;
use crate::engine::formats::observe::{Accumulator, ChannelSums};
use crate::engine::graph::Wire;
use crate::engine::tensor::{TensorError, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The newest version of saved statistics; any other is collected again.
pub const STATISTICS_VERSION: u32 = 2;

/// What was seen on one wire.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WireStatistics {
    pub values: Accumulator,
    /// Absmax and `E[x²]` of each channel; `None` where data have no channels, or not always as many.
    pub channels: Option<ChannelSums>,
}

/// Statistics by wire, over so many samples. A value: it can be saved, compared and used again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    version: u32,
    pub samples: usize,
    pub wires: BTreeMap<String, WireStatistics>,
}

impl Default for Statistics {
    fn default() -> Self {
        Self { version: STATISTICS_VERSION, samples: 0, wires: BTreeMap::new() }
    }
}

impl Statistics {
    /// What [`Statistics::to_ron`] wrote; `None` where the text is damaged or of another version.
    #[must_use]
    pub fn from_ron(text: &str) -> Option<Self> {
        let read: Self = ron::from_str(text).ok()?;
        let sound = read.wires.values().all(|w| w.values.is_sound());
        (read.version == STATISTICS_VERSION && sound).then_some(read)
    }

    /// # Errors
    /// When RON cannot hold them.
    pub fn to_ron(&self) -> Result<String, ron::Error> {
        ron::to_string(self)
    }

    /// Watches a batch of which the first `rows` of `fed` samples count: the others only fill it up.
    pub(super) fn observe(
        &mut self,
        wire: &Wire,
        value: &Value,
        axis: ChannelAxis,
        (rows, fed): (usize, usize),
    ) -> Result<(), TensorError> {
        let shape = value.shape().to_vec();
        let seen = self.wires.entry(wire.to_string()).or_default();
        value.with_f32(|all| {
            // Samples lie along the first axis, alone or with what was folded into it.
            let by_sample = fed > 0 && shape.first().is_some_and(|d| d.is_multiple_of(fed));
            let kept = if by_sample { all.len() / fed * rows } else { all.len() };
            let values = all.get(..kept).unwrap_or(all);
            seen.values.add(values);
            seen.watch_channels(values, &shape, axis);
        })
    }

    #[must_use]
    pub fn wire(&self, wire: &Wire) -> Option<&WireStatistics> {
        self.wires.get(&**wire)
    }
}

impl WireStatistics {
    fn watch_channels(&mut self, values: &[f32], shape: &[usize], axis: ChannelAxis) {
        let count = axis.channels(shape);
        if self.channels.is_none() && self.values.count() + self.values.not_finite() == values.len() as u64 {
            self.channels = count.map(ChannelSums::new);
        }
        // Data that change their number of channels have no channels to speak of.
        let Some(sums) = self.channels.as_mut().filter(|s| Some(s.channels()) == count) else {
            self.channels = None;
            return;
        };
        match axis {
            ChannelAxis::Second => sums.add_planes(values, shape.iter().skip(2).product()),
            ChannelAxis::Last => sums.add(values),
        }
    }
}
