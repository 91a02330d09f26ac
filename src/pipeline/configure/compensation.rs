//! Whether a layer can have two thin matrices beside it.

use super::fitted::readable;
use super::layer::LayerPlan;
use super::recipe::Treatment;
use super::scheme::{Scheme, Sparsity};
use crate::engine::graph::{Layer, LayerKind, LowRank, Model};
use crate::engine::tensor::TensorError;

/// Outputs of a layer at most: products of all pairs of them are decomposed.
const MOST_OUTPUTS: usize = 8192;

/// The rank that a layer is compensated by, and why it is another than the one asked for.
pub(super) fn compensated(layer: &Layer, treatment: &Treatment, model: &Model) -> (u16, Option<String>) {
    let asked = treatment.compensate;
    if asked == 0 || (treatment.weights == Scheme::F32 && treatment.sparsity == Sparsity::Dense) {
        return (0, None);
    }
    match possible(layer, model) {
        Ok(most) if usize::from(asked) > most => {
            (most.try_into().unwrap_or(u16::MAX), Some(format!("its weights have rank {most} at most: compensated by that")))
        }
        Ok(_) => (asked, None),
        Err(reason) => (0, Some(format!("{reason}: not compensated"))),
    }
}

/// # Errors
/// Why nothing can be put beside the layer.
fn possible(layer: &Layer, model: &Model) -> Result<usize, String> {
    readable(layer, model)?;
    let node = layer.node.and_then(|id| model.node(id)).ok_or("it has no node")?;
    let is_grouped = node.int("group").unwrap_or(1) > 1;
    if is_grouped || !matches!(layer.kind, LayerKind::Conv | LayerKind::Gemm | LayerKind::MatMul) {
        let groups = if is_grouped { " in groups" } else { "" };
        return Err(format!("it is a {}{groups}", layer.kind.name().to_lowercase()));
    }
    if model.nodes.iter().filter(|n| n.input(1) == Some(&layer.weight)).count() > 1 {
        return Err("several nodes share its weight".to_owned());
    }
    let outputs = layer.out_channels();
    if outputs > MOST_OUTPUTS {
        return Err(format!("it has {outputs} outputs, more than {MOST_OUTPUTS}"));
    }
    Ok(outputs.min(layer.parameters() / outputs.max(1)))
}

impl LayerPlan {
    /// What is added to what it gives, without values.
    ///
    /// # Errors
    /// When sizes overflow.
    pub(super) fn compensation(&self) -> Result<Option<LowRank>, TensorError> {
        let Layer { kind, shape, out_axis, .. } = &self.layer;
        let rank = usize::from(self.treatment.compensate);
        if rank == 0 { Ok(None) } else { LowRank::of(*kind, (shape, *out_axis), rank, None).map(Some) }
    }
}
