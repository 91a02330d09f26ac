//! High biases absorbed (Nagel et al. 2019, arXiv 1906.04721, §4.1.3): what a channel is nearly always above, by three of
//! its deviations as batch normalization told them, is taken from its bias and given to the biases of the layer
//! that reads it. Its data span less then. Not exact: the channel falls below now and then, and zeros that pad the
//! borders are none of it.

use super::equalize::{Pair, Side, Weights, pairs};
use crate::engine::graph::{GraphError, Layer, Model, Normal, Patch, consumers, layers};
use crate::engine::tensor::Tensor;

/// Deviations below the mean that are never reached, or nearly so.
const DEVIATIONS: f32 = 3.0;

const LABEL: &str = "absorb biases";

/// Absorbs the biases of all pairs of layers between which nothing cuts channels off above.
///
/// # Errors
/// When the patched graph is not valid.
pub fn absorb_biases(model: &Model) -> Result<Model, GraphError> {
    let layers = layers(model);
    let found = pairs(model, &layers, &consumers(model));
    let mut out = model.clone();
    for pair in found.iter().filter(|pair| pair.clips.is_empty()) {
        if let Some(made) = absorbed(&out, &layers, pair)? {
            out = made;
        }
    }
    Ok(out)
}

/// `None` where there is nothing to absorb.
fn absorbed(model: &Model, layers: &[Layer], pair: &Pair) -> Result<Option<Model>, GraphError> {
    let fail = |e: &dyn std::fmt::Display| GraphError::Patch { label: LABEL.to_owned(), reason: e.to_string() };
    let (Some(first), Some(second)) = (layers.get(pair.first), layers.get(pair.second)) else { return Ok(None) };
    let Some(normals) = model.normals.get(&first.output).filter(|n| n.len() == first.out_channels()) else { return Ok(None) };
    let below = |normal: &Normal| (normal.mean - DEVIATIONS * normal.deviation).max(0.0);
    let always: Vec<f32> = normals.iter().map(below).collect();
    let biases = [first, second].map(|layer| layer.bias.as_ref().and_then(|wire| Some((wire, model.constants.get(wire)?))));
    let [Some(own), Some(next)] = biases else { return Ok(None) };
    if always.iter().all(|c| *c == 0.0) {
        return Ok(None);
    }
    let weights = Weights::of(model, second).map_err(|e| fail(&e))?;
    let (mut lower, mut higher) = (own.1.to_f32().map_err(|e| fail(&e))?, next.1.to_f32().map_err(|e| fail(&e))?);
    lower.iter_mut().zip(&always).for_each(|(bias, c)| *bias -= c);
    let row = weights.values.len() / higher.len().max(1);
    for (channel, c) in always.iter().enumerate().filter(|(_, c)| **c > 0.0) {
        for place in weights.places(Side::Input, channel) {
            if let (Some(bias), Some(weight)) = (higher.get_mut(place / row.max(1)), weights.values.get(place)) {
                *bias += weight * c;
            }
        }
    }
    let mut patch = Patch::new(LABEL, model);
    for ((wire, tensor), values) in [(own, lower), (next, higher)] {
        patch.set_constant(wire.clone(), Tensor::from_f32(tensor.shape().to_vec(), &values).map_err(|e| fail(&e))?);
    }
    let mut out = patch.apply(model)?;
    if let Some(normals) = out.normals.get_mut(&first.output) {
        let moved = normals.iter().zip(&always).map(|(normal, c)| Normal { mean: normal.mean - c, ..*normal });
        *normals = moved.collect();
    }
    Ok(Some(out))
}

#[cfg(test)]
mod tests {
    use super::super::equalize::tests::chain;
    use super::*;

    #[test]
    fn what_channels_are_always_above_moves_on() {
        let mut model = chain("Relu");
        model.constants.insert("d".into(), Tensor::from_f32(vec![2], &[0.5, 0.25]).unwrap());
        model.nodes[2].inputs.push(Some("d".into()));
        let normal = |mean, deviation| Normal { mean, deviation };
        model.normals.insert("a".into(), [normal(7.0, 2.0), normal(1.0, 0.5), normal(4.0, 0.5)].into());
        let made = absorb_biases(&model).unwrap();
        let values = |name: &str| made.constants[name].to_f32().unwrap();
        // By 1, 0 and 2.5.
        assert_eq!(values("c"), [0.0, 2.0, 0.5]);
        let v = model.constants["v"].to_f32().unwrap();
        for (row, before) in [0.5, 0.25].into_iter().enumerate() {
            let wanted = before + v[row * 3] + 2.5 * v[row * 3 + 2];
            assert!((values("d")[row] - wanted).abs() < 1e-6, "{row}");
        }
        assert_eq!(made.normals["a"][2].mean, 1.5);
        // A clip cuts off what is above: nothing moves; nor where normalization told nothing.
        let mut clipped = chain("Clip");
        clipped.normals = model.normals.clone();
        assert_eq!(absorb_biases(&clipped).unwrap().constants["c"].to_f32().unwrap(), [1.0, 2.0, 3.0]);
        model.normals.clear();
        assert_eq!(absorb_biases(&model).unwrap().constants["c"].to_f32().unwrap(), [1.0, 2.0, 3.0]);
    }
}
