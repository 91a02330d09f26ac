//! The compressed model.

use crate::engine::graph::{Model, StoredWeight};
use std::sync::Arc;

/// What became of one layer.
#[derive(Debug, Clone)]
pub struct CompressedLayer {
    pub name: String,
    /// Signal-to-noise of the weights in dB; `INFINITY` where nothing changed.
    pub weight_sqnr_db: f64,
    /// Share of weights that are zero, 0 to 1.
    pub zero_fraction: f64,
    /// Bytes of codes, scales and zero points.
    pub bytes: u64,
    pub stored: Option<StoredWeight>,
}

/// A model as a recipe makes it: the graph that is evaluated is the graph that is exported.
#[derive(Debug, Clone)]
pub struct Variant {
    pub recipe: String,
    pub model: Arc<Model>,
    pub layers: Vec<CompressedLayer>,
    /// Whether this is the original, untouched.
    pub unchanged: bool,
}
