//! Lapidary cuts neural networks down to size.

pub mod engine;
pub mod pipeline;
pub mod workbench;
