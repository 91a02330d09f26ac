//! A model whose channels are set to zero and still there: what a cut model must compute.

use super::{Role, Structure};
use crate::engine::graph::{GraphError, Model};
use crate::engine::tensor::{DType, Tensor};

/// `model` with zeros in the weights, biases and scales of the channels `removed` of each group, in what makes
/// them and in what reads them.
///
/// # Errors
/// When a tensor cannot be read as f32.
pub fn mask(model: &Model, structure: &Structure, removed: &[Vec<usize>]) -> Result<Model, GraphError> {
    let mut out = model.clone();
    for (group, gone) in structure.groups.iter().zip(removed).filter(|(_, gone)| !gone.is_empty()) {
        for member in group.members.iter().filter(|m| m.role != Role::Follows) {
            let Some(tensor) = out.constants.get_mut(&member.tensor).filter(|t| t.dtype() == DType::F32) else { continue };
            let fail = |e: crate::engine::tensor::TensorError| GraphError::Patch {
                label: "mask channels".to_owned(),
                reason: format!("\"{}\": {e}", member.tensor),
            };
            let mut values = tensor.to_f32().map_err(fail)?;
            let shape = tensor.shape().to_vec();
            let inner: usize = shape[member.axis + 1..].iter().product();
            let count = shape[member.axis];
            let places: Vec<usize> = gone.iter().filter_map(|c| member.places.get(*c)).flatten().copied().collect();
            for (block, row) in values.chunks_mut(inner.max(1)).enumerate() {
                if places.contains(&(block % count.max(1))) {
                    row.fill(0.0);
                }
            }
            *tensor = Tensor::from_f32(shape, &values).map_err(fail)?;
        }
    }
    Ok(out)
}
