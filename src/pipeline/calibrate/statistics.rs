//! What a pass over data leaves behind: a few numbers per wire.

use crate::engine::graph::Wire;
use crate::engine::tensor::{TensorError, Value};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The range of the values on one wire.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RangeStatistics {
    pub min: f32,
    pub max: f32,
    /// Values seen, those that are not finite included.
    pub count: u64,
    pub not_finite: u64,
}

impl Default for RangeStatistics {
    fn default() -> Self {
        Self { min: f32::INFINITY, max: f32::NEG_INFINITY, count: 0, not_finite: 0 }
    }
}

impl RangeStatistics {
    fn observe(&mut self, values: &[f32]) {
        self.count += values.len() as u64;
        for &value in values {
            if value.is_finite() {
                self.min = self.min.min(value);
                self.max = self.max.max(value);
            } else {
                self.not_finite += 1;
            }
        }
    }
}

/// Ranges by wire, over so many samples. A value: it can be saved, compared and used again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statistics {
    pub samples: usize,
    pub ranges: BTreeMap<String, RangeStatistics>,
}

impl Statistics {
    pub(super) fn observe(&mut self, wire: &Wire, value: &Value) -> Result<(), TensorError> {
        let range = self.ranges.entry(wire.to_string()).or_default();
        value.with_f32(|values| range.observe(values))
    }

    #[must_use]
    pub fn range(&self, wire: &Wire) -> Option<RangeStatistics> {
        self.ranges.get(&**wire).copied().filter(|r| r.min <= r.max)
    }
}
