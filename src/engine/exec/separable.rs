//! Whether the samples of a batch can run apart.

use super::plan::{Draft, constant_ints};
use crate::engine::graph::{Model, Wire};
use crate::engine::tensor::Value;
use std::collections::BTreeMap;

/// Whether every step treats rows of the first axis one by one, so that a batch may be cut anywhere
/// and the parts joined.
pub(super) fn is_separable(_drafts: &[Draft], _feeds: &[Wire], _outputs: &[Wire], constants: &BTreeMap<Wire, Value>, _model: &Model) -> bool {
    let _ = constant_ints(constants, None);
    false
}
