//! Drives several stages many times: what each layer bears, which plans are the best, and which of them keeps a
//! limit that a person sets.

pub mod cost;
mod error;
mod estimate;
pub mod frontier;
pub mod goal;
mod judge;
pub mod sensitivity;

pub use error::SearchError;
pub use estimate::{Estimate, normal_quantile};
pub use judge::{Judge, TaskUnit, Verdict};
