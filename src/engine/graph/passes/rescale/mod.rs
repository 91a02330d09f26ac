//! Channels divided by a number where they are made and multiplied by it where they are read. The network computes
//! what it did; the data between, and the columns of the weights that read them, have other sizes. What SmoothQuant
//! (Xiao et al. 2023, arXiv 2211.10438) and AWQ (Lin et al. 2024, arXiv 2306.00978) choose the numbers for.

mod find;

use crate::engine::graph::{GraphError, Layer, Model, Patch, Wire};
use crate::engine::tensor::{Tensor, TensorError};
use std::collections::BTreeMap;

/// Channels on their way from what makes them to the layers that read them.
#[derive(Debug, Clone)]
pub struct Passage {
    /// What the layers read.
    pub wire: Wire,
    pub channels: usize,
    /// The layers that read them, and nobody else does.
    pub readers: Vec<Member>,
    /// Constants that have each channel as a factor: weights' rows, biases, scales of normalizations.
    makers: Vec<Part>,
    /// What the layers among them give.
    made: Vec<Wire>,
}

/// A layer of a passage.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its place among the layers that were looked at.
    pub layer: usize,
    weight: Part,
}

/// A constant that belongs to the channels of a passage.
#[derive(Debug, Clone)]
struct Part {
    wire: Wire,
    places: Places,
}

/// From the place of a number in a tensor to its channel: `place / group · wide + place / inner % wide`.
#[derive(Debug, Clone, Copy)]
struct Places {
    /// Numbers of one group of channels.
    group: usize,
    /// Channels of a group.
    wide: usize,
    /// Neighbors of one channel.
    inner: usize,
}

impl Places {
    fn channel(self, place: usize) -> usize {
        place / self.group.max(1) * self.wide + place / self.inner.max(1) % self.wide.max(1)
    }
}

impl Member {
    /// The channel that the weight at each place of the layer's tensor, of so many weights, is multiplied with.
    #[must_use]
    pub fn channels(&self, weights: usize) -> Vec<usize> {
        (0..weights).map(|place| self.weight.places.channel(place)).collect()
    }
}

/// The passages of a network.
#[derive(Debug, Clone, Default)]
pub struct Passages {
    /// In the order of their first readers.
    pub found: Vec<Passage>,
    /// Of the other layers, by their place: why their inputs cannot be rescaled.
    pub obstacles: BTreeMap<usize, String>,
}

impl Passages {
    #[must_use]
    pub fn of(model: &Model, layers: &[Layer]) -> Self {
        find::passages(model, layers)
    }

    /// Divides each channel where it is made, and multiplies it where it is read; `scales` are by the place of a
    /// passage in `found`. A scale that is no positive number leaves its channel as it is.
    ///
    /// # Errors
    /// When a scale is beyond what the weights can bear, or the patched graph is not valid.
    pub fn rescale(&self, model: &Model, scales: &BTreeMap<usize, Vec<f32>>) -> Result<Model, GraphError> {
        let fail = |reason: String| GraphError::Patch { label: LABEL.to_owned(), reason };
        let mut factors: BTreeMap<&Wire, Vec<f64>> = BTreeMap::new();
        for (passage, scales) in scales.iter().filter_map(|(number, scales)| Some((self.found.get(*number)?, scales))) {
            let readers = passage.readers.iter().map(|member| (&member.weight, false));
            for (part, divides) in passage.makers.iter().map(|part| (part, true)).chain(readers) {
                let count = model.constants.get(&part.wire).map_or(0, Tensor::len);
                let own = factors.entry(&part.wire).or_insert_with(|| vec![1.0; count]);
                for (place, factor) in own.iter_mut().enumerate() {
                    let scale = f64::from(usable(scales.get(part.places.channel(place)).copied()));
                    *factor *= if divides { 1.0 / scale } else { scale };
                }
            }
        }
        let mut patch = Patch::new(LABEL, model);
        for (wire, factors) in factors {
            let tensor = model.constants.get(wire).map(|tensor| multiplied(tensor, &factors)).transpose();
            match tensor.map_err(|e| fail(e.to_string()))?.flatten() {
                Some(tensor) => patch.set_constant(wire.clone(), tensor),
                None => return Err(fail(format!("\"{wire}\" would hold numbers that are not finite"))),
            }
        }
        let mut out = patch.apply(model)?;
        for (number, scales) in scales {
            let scales: Vec<f32> = scales.iter().map(|s| usable(Some(*s))).collect();
            for wire in self.found.get(*number).into_iter().flat_map(|passage| &passage.made) {
                out.divide_normals(wire, &scales);
            }
        }
        Ok(out)
    }
}

const LABEL: &str = "rescale channels";

fn usable(scale: Option<f32>) -> f32 {
    scale.filter(|s| s.is_normal() && *s > 0.0).unwrap_or(1.0)
}

/// `None` where a product is not finite and what it was made of is.
fn multiplied(tensor: &Tensor, factors: &[f64]) -> Result<Option<Tensor>, TensorError> {
    let values = tensor.to_f32()?;
    let made: Vec<f32> = values.iter().zip(factors).map(|(v, f)| (f64::from(*v) * f) as f32).collect();
    let broken = values.iter().zip(&made).any(|(v, m)| v.is_finite() && !m.is_finite());
    if broken { Ok(None) } else { Tensor::from_f32(tensor.shape().to_vec(), &made).map(Some) }
}

#[cfg(test)]
mod tests;
