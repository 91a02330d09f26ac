//! Batch normalization folded into the layer before it: `γ·(W·x + b − μ)/√(σ² + ε) + β` is the same
//! layer with other weights.

use crate::engine::graph::{GraphError, Model, Node, Normal, Patch, Wire, consumers, producers};
use crate::engine::tensor::{DType, Tensor, Value};
use std::sync::Arc;

/// Folds every batch normalization (inference form, constant parameters) into the `Conv`,
/// `ConvTranspose` or `Gemm` before it, where nothing else reads what that produces. The layer keeps
/// its node and its weight's name (unless the weight is shared); its output takes the name that the
/// normalization's had. Computed in f64, rounded once.
///
/// # Errors
/// When the patched graph is not valid.
pub fn fold_batch_norm(model: &Model) -> Result<Model, GraphError> {
    let (readers, sources) = (consumers(model), producers(model));
    let mut patch = Patch::new("fold batch normalization", model);
    let mut normals = Vec::new();
    for norm in model.nodes.iter().filter(|n| n.op == "BatchNormalization" && n.domain.is_empty()) {
        let Some(wire) = norm.input(0) else { continue };
        let seen = model.outputs.iter().any(|p| p.wire == *wire) || readers.get(wire).map(Vec::len) != Some(1);
        let Some(layer) = sources.get(wire).map(|i| &model.nodes[*i]).filter(|_| !seen) else { continue };
        let Some(folded) = fold(model, layer, norm) else { continue };
        let Some(weight) = layer.input(1) else { continue };
        let shared = |wire: &Wire| readers.get(wire).map(Vec::len) != Some(1) || model.outputs.iter().any(|p| p.wire == *wire);
        if shared(weight) {
            let name = fresh(model, format!("{weight}_{}", norm.label().replace(' ', "_")));
            patch.set_input(layer.id, 1, Some(name.clone()));
            patch.set_constant(name, folded.weight);
        } else {
            patch.set_constant(weight.clone(), folded.weight);
        }
        match layer.input(2).filter(|bias| !shared(bias)) {
            Some(bias) => patch.set_constant(bias.clone(), folded.bias),
            None => {
                let stem = weight.strip_suffix("weight").map_or_else(|| format!("{weight}_bias"), |s| format!("{s}bias"));
                let stem = if shared(weight) { format!("{stem}_{}", norm.label().replace(' ', "_")) } else { stem };
                let name = fresh(model, stem);
                patch.set_input(layer.id, 2, Some(name.clone()));
                patch.set_constant(name, folded.bias);
            }
        }
        patch.remove_node(norm.id);
        if let Some(output) = norm.output(0) {
            patch.set_output(layer.id, 0, output.clone());
            normals.push((output.clone(), folded.normals));
        }
    }
    if normals.is_empty() {
        return Ok(model.clone());
    }
    let mut out = patch.apply(model)?;
    out.normals.extend(normals);
    Ok(out)
}

/// A name that no wire has yet.
fn fresh(model: &Model, wanted: String) -> Wire {
    let taken = |name: &str| {
        model.constants.contains_key(name)
            || model.inputs.iter().any(|p| *p.wire == *name)
            || model.nodes.iter().any(|n| n.outputs.iter().flatten().any(|w| **w == *name))
    };
    let mut name = wanted;
    while taken(&name) {
        name.push_str("_folded");
    }
    name.into()
}

struct Folded {
    weight: Tensor,
    bias: Tensor,
    /// What it gives, as far as the normalization knew.
    normals: Arc<[Normal]>,
}

/// The new weight and bias; `None` where the two do not fold.
fn fold(model: &Model, layer: &Node, norm: &Node) -> Option<Folded> {
    let constant = |node: &Node, i: usize| model.constants.get(node.input(i)?);
    if norm.int("training_mode").unwrap_or(0) != 0
        || norm.int("is_test") == Some(0)
        || norm.outputs.iter().skip(1).any(Option::is_some)
    {
        return None;
    }
    let weight = constant(layer, 1)?;
    let (scale, shift) = scale_and_shift(norm, |i| constant(norm, i))?;
    let channel = channel_of(layer, weight, scale.len())?;
    let values: Vec<f32> =
        weight.to_f32().ok()?.iter().enumerate().map(|(i, w)| (f64::from(*w) * scale[channel(i)]) as f32).collect();
    let old: Vec<f64> = match layer.input(2) {
        None => vec![0.0; scale.len()],
        Some(bias) => {
            let values = model.constants.get(bias)?.to_f32().ok()?;
            match values.len() {
                1 => vec![f64::from(values[0]); scale.len()],
                n if n == scale.len() => values.into_iter().map(f64::from).collect(),
                _ => return None,
            }
        }
    };
    let bias: Vec<f32> = old.iter().zip(scale.iter().zip(&shift)).map(|(b, (s, t))| (b * s + t) as f32).collect();
    let dtype = weight.dtype();
    let (gammas, betas) = (constant(norm, 1)?.to_f32().ok()?, constant(norm, 2)?.to_f32().ok()?);
    let normals = gammas.iter().zip(&betas).map(|(gamma, beta)| Normal { mean: *beta, deviation: gamma.abs() }).collect();
    Some(Folded { weight: stored(dtype, values, weight.shape())?, bias: stored(dtype, bias, &[scale.len()])?, normals })
}

fn stored(dtype: DType, values: Vec<f32>, shape: &[usize]) -> Option<Tensor> {
    let value = Value::from_f32(values, shape).ok()?;
    Value { dtype, ..value }.to_stored().ok()
}

/// `y = x·scale + shift` per channel.
fn scale_and_shift<'m>(norm: &Node, constant: impl Fn(usize) -> Option<&'m Tensor>) -> Option<(Vec<f64>, Vec<f64>)> {
    let read = |i: usize| -> Option<Vec<f64>> { Some(constant(i)?.to_f32().ok()?.into_iter().map(f64::from).collect()) };
    let (gamma, beta, mean, variance) = (read(1)?, read(2)?, read(3)?, read(4)?);
    if [&beta, &mean, &variance].iter().any(|v| v.len() != gamma.len()) {
        return None;
    }
    let epsilon = f64::from(norm.float("epsilon").unwrap_or(1e-5));
    let scale: Vec<f64> = gamma.iter().zip(&variance).map(|(g, v)| g / (v + epsilon).sqrt()).collect();
    let shift = beta.iter().zip(mean.iter().zip(&scale)).map(|(b, (m, s))| b - m * s).collect();
    Some((scale, shift))
}

/// From the place of a weight to its output channel.
fn channel_of(layer: &Node, weight: &Tensor, channels: usize) -> Option<Box<dyn Fn(usize) -> usize>> {
    if !layer.domain.is_empty() || !matches!(weight.dtype(), DType::F32 | DType::F16 | DType::BF16) || weight.is_empty() {
        return None;
    }
    let shape = weight.shape().to_vec();
    let inner: usize = shape.iter().skip(1).product();
    match (layer.op.as_str(), shape.as_slice()) {
        ("Conv", [out, ..]) if *out == channels && shape.len() > 2 => Some(Box::new(move |i| i / inner)),
        ("ConvTranspose", [ins, out, kernel @ ..]) if !kernel.is_empty() => {
            let groups = layer.int("group").unwrap_or(1).max(1) as usize;
            let (out, taps): (usize, usize) = (*out, kernel.iter().product());
            if out * groups != channels || ins % groups != 0 {
                return None;
            }
            let per_group = ins / groups;
            Some(Box::new(move |i| i / inner / per_group * out + i / taps % out))
        }
        ("Gemm", [rows, columns]) => {
            let plain = |name| layer.float(name).unwrap_or(1.0) == 1.0;
            let turned = layer.int("transB").unwrap_or(0) != 0;
            let (rows, columns) = (*rows, *columns);
            if !plain("alpha") || !plain("beta") || (if turned { rows } else { columns }) != channels {
                return None;
            }
            Some(if turned { Box::new(move |i| i / columns) } else { Box::new(move |i| i % columns) })
        }
        _ => None,
    }
}
