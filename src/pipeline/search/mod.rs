//! Drives several stages many times: what each layer bears, which plans are the best, and which of them keeps a
//! limit that a person sets.

mod estimate;
pub mod frontier;
mod weights;

pub use estimate::{Estimate, normal_quantile};
pub use weights::{WIDTHS, WeightErrors, weight_error_map, weight_errors};
