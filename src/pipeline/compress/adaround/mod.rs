//! Up or down: which of the two levels around it each weight takes, found by a relaxed search (AdaRound, Nagel et al.
//! 2020, arXiv 2004.10568). A weight lies `h(v)` of the way between them; v moves down the gradient of the layer's
//! error, and a term that grows with time drives h to 0 or 1. The error is that of the second moments, with an exact
//! gradient, or that behind the activation on samples: where a ReLU6 follows that is what counts. Limits: the grid
//! stays as it is; takes longer than passing errors on, and gains most at 2 and 3 bits.

mod search;
#[cfg(test)]
mod tests;

pub(super) use search::{SAMPLES, Search, on_moments, on_samples};
