//! What batch normalization tells of data before anything runs: of each channel that it made, the mean β and the
//! deviation |γ|. Kept when it is folded into the layer before it.

use super::{Model, Node, Wire, producers};
use std::sync::Arc;

/// A channel as batch normalization had it over the training data.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Normal {
    pub mean: f32,
    pub deviation: f32,
}

impl Normal {
    /// The channel divided by a positive number.
    #[must_use]
    pub fn divided(self, by: f32) -> Self {
        Self { mean: self.mean / by, deviation: self.deviation / by }
    }
}

/// Normal channels behind an activation that cuts values off.
#[derive(Debug, Clone, PartialEq)]
pub struct CutNormals {
    pub normals: Arc<[Normal]>,
    /// Where each channel is cut off; infinite where it is not.
    pub bounds: Vec<(f32, f32)>,
    /// How many neighboring inputs each channel became when it was flattened.
    pub repeat: usize,
}

impl Model {
    /// The channels of a wire, of which batch normalization told, divided by positive numbers. Of other wires nothing
    /// is known, and nothing changes.
    pub(in crate::engine::graph) fn divide_normals(&mut self, wire: &Wire, by: &[f32]) {
        if let Some(normals) = self.normals.get_mut(wire) {
            *normals = normals.iter().zip(by).map(|(normal, by)| normal.divided(*by)).collect();
        }
    }
}

/// Nodes that are looked through.
const REACH: usize = 8;

/// What is known of the channels on a wire, looked at through averages, which keep means, and one activation.
///
/// # Errors
/// Why nothing is.
pub fn cut_normals(model: &Model, wire: &Wire) -> Result<CutNormals, String> {
    let producers = producers(model);
    let (mut wire, mut bounds, mut repeat) = (wire, None, 1);
    for _ in 0..REACH {
        if let Some(normals) = model.normals.get(wire) {
            let bounds = bounds.unwrap_or_else(|| vec![FREE; normals.len()]);
            let bounds = if bounds.len() == 1 { vec![bounds[0]; normals.len()] } else { bounds };
            if bounds.len() != normals.len() {
                return Err("its bounds are not one for each channel".to_owned());
            }
            return Ok(CutNormals { normals: Arc::clone(normals), bounds, repeat });
        }
        let node = producers.get(wire).and_then(|i| model.nodes.get(*i)).filter(|n| n.domain.is_empty());
        let node = node.ok_or("no batch normalization stands before it")?;
        let unknown = || format!("behind {} it is not known what batch normalization made", node.op);
        let is_cut = bounds.is_some();
        match node.op.as_str() {
            "Relu" if !is_cut => bounds = Some(vec![(0.0, f32::INFINITY)]),
            "Clip" if !is_cut => {
                let bound = |input: usize, name: &str| match node.input(input) {
                    Some(wire) => scalar(model, wire),
                    None => node.float(name),
                };
                let (low, high) = (bound(1, "min").unwrap_or(FREE.0), bound(2, "max").unwrap_or(FREE.1));
                bounds = Some(vec![(low, high)]);
            }
            // What equalization makes of a clip: a ReLU and a bound for each channel.
            "Min" if !is_cut => {
                let constant = node.input(1).and_then(|w| model.constants.get(w)?.to_f32().ok()).ok_or_else(unknown)?;
                let relu = node.input(0).and_then(|w| model.nodes.get(*producers.get(w)?)).filter(|n| n.op == "Relu");
                bounds = Some(constant.into_iter().map(|high| (0.0, high)).collect());
                wire = relu.and_then(|n| n.input(0)).ok_or_else(unknown)?;
                continue;
            }
            // Of means the deviations are others: behind a cut they would count.
            "AveragePool" | "GlobalAveragePool" if !is_cut => {}
            "Identity" => {}
            "Flatten" | "Reshape" if repeat == 1 => repeat = flattened(model, node).ok_or_else(unknown)?,
            _ => return Err(unknown()),
        }
        wire = node.input(0).ok_or_else(unknown)?;
    }
    Err("no batch normalization stands before it".to_owned())
}

const FREE: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

fn scalar(model: &Model, wire: &Wire) -> Option<f32> {
    model.constants.get(wire)?.to_f32().ok()?.first().copied()
}

/// From `[samples, channels, rest…]` to `[samples, channels · rest]`: how much the rest is.
fn flattened(model: &Model, node: &Node) -> Option<usize> {
    let shape = |wire: &Wire| model.facts.get(wire)?.shape.clone();
    let (from, to) = (shape(node.input(0)?)?, shape(node.output(0)?)?);
    let rest = from.iter().skip(2).map(super::Dim::known).product::<Option<usize>>()?;
    let channels = from.get(1)?.known()?;
    (to.len() == 2 && to.get(1)?.known() == Some(channels * rest) && to.first() == from.first()).then_some(rest)
}
