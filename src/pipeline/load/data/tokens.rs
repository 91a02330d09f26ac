//! Text as token ids: every sample is a sequence of its own length, and each token of it is what a
//! language model should predict from those before.

use super::{Plan, Preprocess, shape_text};
use crate::engine::graph::{Dim, Port};
use crate::engine::tensor::{Tensor, Value};
use crate::pipeline::load::error::LoadError;

/// Whether arrays are what [`plan`] takes: at least one, each a row of two or more integers.
pub(super) fn are_sequences(arrays: &[Tensor]) -> bool {
    let row = |t: &Tensor| t.shape().len() == 1 && t.len() >= 2 && t.dtype().integer_range().is_some();
    !arrays.is_empty() && arrays.iter().all(row)
}

/// A model that takes `[batch, tokens]` of integers.
pub(super) fn plan(sequences: &[Tensor], preprocess: &Preprocess, input: &Port) -> Result<Plan, LoadError> {
    let dtype = input.fact.dtype.filter(|d| d.integer_range().is_some());
    let axes = input.fact.shape.as_ref().map(|s| s.iter().map(Dim::known).collect::<Vec<_>>());
    let refuse = |reason: String| Err(LoadError::Shape { reason });
    let Some((dtype, length)) = dtype.and_then(|d| match axes.as_deref() {
        None => Some((d, None)),
        Some(&[_, length]) => Some((d, length)),
        Some(_) => None,
    }) else {
        return refuse(format!(
            "the arrays are sequences of token ids, but input \"{}\" of the model takes {} of {}; save samples for it as one array x",
            input.wire,
            shape_text(input),
            input.fact.dtype.map_or_else(|| "any type".to_owned(), |d| d.to_string())
        ));
    };
    let lengths = sequences.iter().map(Tensor::len);
    if let (Some(length), Some(at)) = (length, lengths.clone().position(|n| Some(n) != length)) {
        let have = sequences[at].len();
        return refuse(format!("sequence {at} has {have} tokens, but the model is fixed to {length}; cut the text so"));
    }
    let untouched = preprocess.resize.is_none() && preprocess.crop.is_none() && preprocess.channels.is_none();
    if !untouched || preprocess.affine_if_any(1)?.is_some() {
        return Err(LoadError::Preprocess("token ids are fed as they are; only --limit applies to them".to_owned()));
    }
    Ok(Plan::Tokens { dims: vec![lengths.max().unwrap_or(0)], dtype })
}

/// The sequences at `places` as `[n, tokens]`; they must be of one length.
pub(super) fn batch(sequences: &[Tensor], places: &[usize], plan: &Plan) -> Result<Option<Value>, LoadError> {
    let Plan::Tokens { dtype, .. } = plan else { return Ok(None) };
    let chosen: Vec<&Tensor> = places.iter().filter_map(|p| sequences.get(*p)).collect();
    let length = chosen.first().map_or(0, |t| t.len());
    if let Some(other) = chosen.iter().find(|t| t.len() != length) {
        let reason = format!("sequences of {length} and {} tokens cannot run in one batch", other.len());
        return Err(LoadError::Shape { reason });
    }
    let values = chosen.iter().map(|t| t.to_i64()).collect::<Result<Vec<_>, _>>()?.concat();
    Ok(Some(Value { dtype: *dtype, ..Value::from_i64(values, &[chosen.len(), length])? }))
}
