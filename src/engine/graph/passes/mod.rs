//! Changes of a graph that keep what it computes.

mod absorb;
mod batch_norm;
mod constants;
mod contents;
mod equalize;
mod integer_bias;
mod matmul_nbits;
mod opset;
mod rescale;
mod shapes;
mod shapes_indexing;
mod shapes_sequence;
mod shapes_windows;

pub use absorb::absorb_biases;
pub use batch_norm::fold_batch_norm;
pub use constants::{Folding, fold_constants};
pub use equalize::equalize;
pub use integer_bias::integer_bias;
pub use matmul_nbits::matmul_nbits;
pub use opset::upgrade_opset;
pub use rescale::{Member, Passage, Passages};
pub use shapes::infer_shapes;
