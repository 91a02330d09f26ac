//! Along which axis of a wire the channels lie.

use crate::engine::graph::{Model, Wire};

/// Where the input channels of the layers that read a wire are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChannelAxis {
    /// [samples, channels, …], as convolutions read.
    Second,
    /// […, channels], as products of matrices read.
    Last,
}

impl ChannelAxis {
    pub(super) fn of(model: &Model, wire: &Wire) -> Self {
        let convolved = |op: &str| matches!(op, "Conv" | "ConvTranspose");
        let second = model.nodes.iter().any(|n| n.input(0) == Some(wire) && convolved(&n.op));
        if second { Self::Second } else { Self::Last }
    }

    /// How many channels data of this shape have.
    pub(super) fn channels(self, shape: &[usize]) -> Option<usize> {
        let count = match self {
            Self::Second => shape.get(1),
            Self::Last => shape.last(),
        };
        count.copied().filter(|c| *c > 0 && shape.len() > 1)
    }
}
