//! Passes over a graph: each takes a model and gives a new one, through labelled patches.

mod opset;

pub use opset::upgrade_opset;
