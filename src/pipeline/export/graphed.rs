//! A file of weights in the graph of the network that it was written from: what it holds can be run.

use super::Format;
use crate::engine::graph::{Channels, Layer, Model, StoredWeight, Wire};
use crate::engine::tensor::{DType, Tensor};
use crate::pipeline::compress::Variant;
use crate::pipeline::configure::{Activations, Held, LayerPlan, Plan, module, weights_file};
use crate::pipeline::load::{LoadedModel, Subject};
use std::collections::BTreeMap;

/// What recipes change of a network, with every weight and bias as `read` has it.
///
/// # Errors
/// Why the file does not say all that was evaluated.
pub fn graphed(format: Format, plan: &Plan, variant: &Variant, subject: &Subject, read: &LoadedModel) -> Result<Model, String> {
    if plan.layers.iter().any(|l| l.treatment.activations != Activations::None) {
        return Err("data are rounded too, and the file alone does not say how".to_owned());
    }
    let held = held(format, plan, variant, subject)?;
    let mut model = (*subject.folded).clone();
    // Of other types nothing is compressed, and what is there was found to be equal.
    for (wire, tensor) in model.constants.iter_mut().filter(|(_, t)| t.dtype() == DType::F32 && !t.is_empty()) {
        let values = match held.get(wire) {
            Some((layer, Held::Packed(packed))) => {
                let part = |end: &str| read.model.constants.get(format!("{}.{end}", module(wire)).as_str());
                packed.values(&layer.layer, &part).map_err(|reason| format!("\"{wire}\": {reason}"))?
            }
            found => plain(wire, tensor, found.map(|(layer, _)| &layer.layer), read)?,
        };
        *tensor = Tensor::from_f32(tensor.shape().to_vec(), &values).map_err(|e| format!("\"{wire}\": {e}"))?;
    }
    Ok(model)
}

/// How each layer's weight lies in the file.
fn held<'a>(
    format: Format,
    plan: &'a Plan,
    variant: &Variant,
    subject: &Subject,
) -> Result<BTreeMap<&'a Wire, (&'a LayerPlan, Held)>, String> {
    let held = if format == Format::Gguf {
        vec![Held::Stored; plan.layers.len()]
    } else {
        let stored: Vec<Option<StoredWeight>> = variant.layers.iter().map(|l| l.stored.clone()).collect();
        weights_file(&plan.recipe, subject, &plan.layers, &stored, format).map_err(|e| e.to_string())?.held
    };
    Ok(plan.layers.iter().zip(held).map(|(layer, held)| (&layer.layer.weight, (layer, held))).collect())
}

/// A tensor that lies in the file under its own name.
fn plain(wire: &Wire, own: &Tensor, layer: Option<&Layer>, read: &LoadedModel) -> Result<Vec<f32>, String> {
    let found = read.model.constants.get(wire).ok_or_else(|| format!("\"{wire}\" is not in the file"))?;
    let values = found.to_f32().map_err(|e| format!("\"{wire}\": {e}"))?;
    match layer {
        // Blocks lie along rows of outputs, whatever way the weight lies.
        Some(layer) if matches!(found.dtype(), DType::Block(_)) && layer.out_axis != 0 => {
            Ok(Channels::new(&layer.shape, layer.out_axis).scatter(&values))
        }
        _ if found.len() == own.len() => Ok(values),
        _ => Err(format!("\"{wire}\" is {:?} in the file, {:?} in the graph", found.shape(), own.shape())),
    }
}
