//! What computes. Knows nothing of projects or screens.

pub mod coding;
pub mod context;
pub mod exec;
pub mod formats;
pub mod graph;
pub mod hash;
pub mod kernels;
pub mod random;
pub mod tensor;
pub mod units;

pub use context::{Cancelled, Ctx, Warning};
