//! What layers give for one sample, before and after compression: for a picture.

use super::work::{Opened, Split, WorkError};
use crate::engine::Ctx;
use crate::engine::exec::{Executor, Request};
use crate::engine::graph::{Model, Wire};
use crate::pipeline::compress::Variant;
use crate::pipeline::evaluate::EvaluateError;
use crate::pipeline::load::Dataset;

/// A sample of the evaluation data, by its number among all of them or, as reports number them, among as many as were
/// measured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sample {
    pub number: usize,
    pub of: Option<usize>,
}

/// The output of a layer for one sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Activation {
    /// Without the axis of samples.
    pub shape: Vec<usize>,
    /// Of the network before anything is rounded or pruned.
    pub before: Vec<f32>,
    pub after: Vec<f32>,
    /// Samples that there are.
    pub samples: usize,
}

/// Why there is none.
#[derive(Debug, thiserror::Error)]
pub enum ActivationError {
    #[error("there is no such layer")]
    NoLayer,
    #[error("there is no sample {0}")]
    NoSample(usize),
    #[error("the network does not compute this layer's output by itself any more")]
    Gone,
    #[error("channels were cut: it gives {after:?} values where it gave {before:?}")]
    OtherShape { before: Vec<usize>, after: Vec<usize> },
    #[error(transparent)]
    Work(Box<WorkError>),
}

impl<E: Into<WorkError>> From<E> for ActivationError {
    fn from(error: E) -> Self {
        Self::Work(Box::new(error.into()))
    }
}

impl Opened {
    /// Runs a sample of the evaluation data through both networks, up to the output of layer `layer`.
    ///
    /// # Errors
    /// When there is no such sample or layer, the networks cannot be compared there, or on cancel.
    pub fn activation(&self, variant: &Variant, layer: usize, sample: Sample, ctx: &Ctx) -> Result<Activation, ActivationError> {
        let wire = self.subject.layers.get(layer).ok_or(ActivationError::NoLayer)?.output.clone();
        let data = self.dataset(Split::Evaluate, sample.of, ctx)?;
        let sample = sample.number;
        if sample >= data.len() {
            return Err(ActivationError::NoSample(sample));
        }
        // Where nothing was changed batch norm was not folded either, and the layer's output means another thing.
        let folded = &self.subject.folded;
        let (base, model) = if variant.unchanged { (folded, folded) } else { (&variant.base, &variant.model) };
        let before = output("original", base, &wire, (&data, sample), ctx)?;
        let after = output("compressed", model, &wire, (&data, sample), ctx)?;
        if before.0 != after.0 {
            return Err(ActivationError::OtherShape { before: before.0, after: after.0 });
        }
        Ok(Activation { shape: before.0, before: before.1, after: after.1, samples: data.len() })
    }
}

/// Shape and values of a wire for one sample.
fn output(
    which: &'static str,
    model: &Model,
    wire: &Wire,
    (data, sample): (&Dataset, usize),
    ctx: &Ctx,
) -> Result<(Vec<usize>, Vec<f32>), ActivationError> {
    let failed = |source| EvaluateError::Exec { which, source };
    let input = model.data_input().ok_or(EvaluateError::NoPorts)?.wire.clone();
    let request = Request { outputs: Some(vec![wire.clone()]), ..Request::default() };
    let executor = Executor::new(model, &request).map_err(failed)?;
    let indices = Dataset::whole_batch(&[sample], executor.fixed_batch());
    let values = data.batch(&indices, ctx)?;
    let outputs = executor.run(&[(input, values)], ctx, &mut |_, _| {}).map_err(failed)?;
    let (_, value) = outputs.into_iter().next().ok_or(ActivationError::Gone)?;
    let mut shape = value.shape().to_vec();
    // Samples lie along the first axis, alone or with what was folded into it; all but the first only fill the batch up.
    if let Some(first) = shape.first_mut().filter(|d| d.is_multiple_of(indices.len())) {
        *first /= indices.len();
    }
    if shape.first() == Some(&1) {
        shape.remove(0);
    }
    let count = shape.iter().product();
    let floats = value.with_f32(|all: &[f32]| all.get(..count).map(<[f32]>::to_vec)).map_err(EvaluateError::from)?;
    Ok((shape, floats.ok_or(ActivationError::Gone)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::configure::presets;
    use crate::workbench::sample;
    use crate::workbench::work;

    #[test]
    fn what_is_rounded_differs_and_what_is_not_does_not() {
        let ctx = Ctx::new(1).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let project = sample::install(Some(folder.path())).unwrap();
        let (_, opened) = work::open(&project, &ctx).unwrap();
        let made = |recipe: &str| opened.compress(&presets::preset(recipe).unwrap(), &ctx).unwrap().1;
        let (whole, narrow) = (made("fp32"), made("w2"));
        let sample = |number| Sample { number, of: None };
        let same = opened.activation(&whole, 0, sample(3), &ctx).unwrap();
        assert_eq!(same.before, same.after);
        assert_eq!((same.shape.len(), same.shape.iter().product::<usize>()), (3, same.before.len()));
        let other = opened.activation(&narrow, 0, sample(3), &ctx).unwrap();
        assert_eq!(other.before, same.before, "the original is the same");
        assert_ne!(other.before, other.after);
        assert_ne!(opened.activation(&whole, 0, sample(4), &ctx).unwrap().before, same.before, "another sample");
        let few = Sample { number: 3, of: Some(10) };
        assert_eq!(opened.activation(&whole, 0, few, &ctx).unwrap().samples, 10);
        assert!(matches!(opened.activation(&whole, 0, sample(1 << 30), &ctx), Err(ActivationError::NoSample(_))));
        assert!(matches!(opened.activation(&whole, 999, sample(0), &ctx), Err(ActivationError::NoLayer)));
    }

    #[test]
    fn of_cut_networks_what_is_left_is_seen() {
        let ctx = Ctx::new(1).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let project = sample::install(Some(folder.path())).unwrap();
        let (_, opened) = work::open(&project, &ctx).unwrap();
        let (plan, cut) = opened.compress(&presets::preset("c50").unwrap(), &ctx).unwrap();
        let is_cut = |&l: &usize| plan.layers[l].layer.out_channels() < opened.subject.layers[l].out_channels();
        let layer = (0..plan.layers.len()).find(is_cut).unwrap();
        let seen = opened.activation(&cut, layer, Sample::default(), &ctx).unwrap();
        assert_eq!(seen.shape[0], plan.layers[layer].layer.out_channels());
    }
}
