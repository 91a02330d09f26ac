//! What is asked of a file before it gets its name.

use super::place::Pending;
use super::{ExportError, Format, gguf};
use crate::engine::Ctx;
use crate::engine::exec::ExecError;
use crate::engine::exec::{Executor, Request};
use crate::engine::graph::passes::infer_shapes;
use crate::engine::graph::{Dim, Model, Wire};
use crate::engine::random::Random;
use crate::engine::tensor::{Tensor, TensorError, Value};
use crate::pipeline::compress::Variant;
use crate::pipeline::configure::{Plan, header_contents};
use crate::pipeline::load::header::{self, Row};
use crate::pipeline::load::lapidary::Gain;
use crate::pipeline::load::{LoadedModel, Subject};

/// The table of an archive of a small model.
const TABLE_BYTES: u64 = 4096;
/// What a tensor takes more where it lies in a file of its own: the rest of a page, and a note of its place.
const MOVED_BYTES: u64 = 4096 + 256;

/// One question and its answer.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Check {
    pub name: String,
    pub passed: bool,
    /// What was found, for people.
    pub value: String,
}

impl Check {
    #[must_use]
    pub fn new(name: &str, passed: bool, value: impl Into<String>) -> Self {
        Self { name: name.to_owned(), passed, value: value.into() }
    }
}

/// That the file opened again (else there were nothing to ask), and its size, with so many tensors beside it.
pub(super) fn opened_and_sized(bytes: u64, beside: usize, plan: &Plan) -> Vec<Check> {
    const NAME: &str = "size as planned";
    let size = if !plan.file.has_known_size() {
        // What is tiny and cannot be coded still takes a table.
        let most = plan.bytes + plan.bytes / 100 + TABLE_BYTES;
        Check::new(NAME, bytes <= most, format!("{bytes} bytes, {} before they were coded", plan.bytes))
    } else if bytes == plan.bytes {
        Check::new(NAME, true, format!("{bytes} bytes"))
    } else {
        // The plan builds the same file; a difference is a fault of ours, though the file is sound. What is written as two
        // files that could have been one was not foreseen.
        let close = bytes.abs_diff(plan.bytes) <= plan.bytes / 100 + beside as u64 * MOVED_BYTES;
        Check::new(NAME, close, format!("{bytes} bytes, {} planned", plan.bytes))
    };
    vec![Check::new("opens again", true, "by our own reader"), size]
}

/// What a file of weights was found to hold: as many tensors as were made, or the first that differs.
pub(super) fn of_weights(read: Result<usize, String>) -> Vec<Check> {
    let tensors = match read {
        Ok(count) => Check::new("tensors equal", true, format!("{count} tensors, bit for bit")),
        Err(name) => Check::new("tensors equal", false, format!("\"{name}\" differs")),
    };
    vec![tensors, Check::new("outputs equal", true, "not run: the file holds weights without a graph")]
}

/// What an archive's codes are worth.
pub(super) fn of_codes(gain: &Gain) -> Check {
    let Gain { tables, by_huffman, huffman, range, better, shell, table } = *gain;
    let saved = if huffman == 0 { 0.0 } else { 100.0 * (1.0 - better as f64 / huffman as f64) };
    let value = format!(
        "{tables} tensors of few values: {huffman} bytes as Huffman codes, {range} by the range coder, {better} with the better \
         of both ({by_huffman} as Huffman codes), {saved:.1} % less than Huffman's; {shell} bytes for the rest, {table} for the table"
    );
    Check::new("coded", true, value)
}

/// That the table of a C header, read again, says what it is made of: codes, scales, zero points, codebooks, shapes.
pub(super) fn of_header(pending: &Pending, variant: &Variant, plan: &Plan, subject: &Subject) -> Result<Vec<Check>, ExportError> {
    let text = std::fs::read_to_string(pending.file.path()).map_err(|e| pending.fail(e))?;
    let stored: Vec<_> = variant.layers.iter().map(|l| l.stored.clone()).collect();
    let (layers, others) = header_contents(&plan.recipe, subject, &plan.layers, &stored)?;
    let wanted: Vec<Row> = layers.iter().map(Row::of).chain(others.iter().map(Row::of_array)).collect();
    Ok(vec![same_rows(&wanted, header::rows(&text))])
}

fn same_rows(wanted: &[Row], read: Result<Vec<Row>, String>) -> Check {
    const NAME: &str = "tensors equal";
    let read = match read {
        Ok(read) => read,
        Err(reason) => return Check::new(NAME, false, reason),
    };
    match wanted.iter().zip(&read).find(|(wanted, read)| wanted != read) {
        Some((wanted, _)) => Check::new(NAME, false, format!("\"{}\" differs", wanted.name)),
        None if wanted.len() != read.len() => Check::new(NAME, false, format!("{} of {}", read.len(), wanted.len())),
        None => Check::new(NAME, true, format!("{} tensors with their scales and shapes, bit for bit", read.len())),
    }
}

pub(super) fn all(
    format: Format,
    variant: &Variant,
    (subject, reopened): (&Subject, &LoadedModel),
    ctx: &Ctx,
) -> Result<Vec<Check>, ExportError> {
    if format.holds_graph() {
        // An untouched model is written as it was read, before anything was folded.
        let model = if variant.unchanged { &subject.loaded.model } else { &*variant.model };
        let ours = model.constants.iter().map(|(wire, tensor)| (&**wire, tensor));
        return Ok(vec![same_tensors(ours, &reopened.model), same_outputs(variant, &reopened.model, ctx)?]);
    }
    let (_, tensors) = gguf::contents(&subject.folded, &subject.loaded.metadata, &variant.whole_weights(subject));
    let ours = tensors.iter().map(|(name, tensor)| (name.as_str(), tensor));
    let why = format!("not run: {} holds weights without a graph", format.name());
    Ok(vec![same_tensors(ours, &reopened.model), Check::new("outputs equal", true, why)])
}

fn same_tensors<'a>(ours: impl Iterator<Item = (&'a str, &'a Tensor)>, theirs: &Model) -> Check {
    let mut compared = 0_usize;
    for (wire, tensor) in ours {
        let Some(other) = theirs.constants.get(wire) else {
            return Check::new("tensors equal", false, format!("\"{wire}\" is missing"));
        };
        if (other.dtype(), other.shape()) != (tensor.dtype(), tensor.shape()) || other.bytes() != tensor.bytes() {
            return Check::new("tensors equal", false, format!("\"{wire}\" differs"));
        }
        compared += 1;
    }
    Check::new("tensors equal", true, format!("{compared} tensors, bit for bit"))
}

/// Both graphs on the same random input: the file computes what the variant computes, to the bit.
fn same_outputs(variant: &Variant, reopened: &Model, ctx: &Ctx) -> Result<Check, ExportError> {
    const NAME: &str = "outputs equal";
    let Some(feeds) = random_feeds(&variant.model, ctx.seed).map_err(ExecError::from)? else {
        return Ok(Check::new(NAME, true, "not run: the model has inputs that random numbers do not fit"));
    };
    // What is known of shapes decides which kernels run, and they round differently: both are to know the same.
    let theirs = infer_shapes(reopened);
    let ours = Model { facts: theirs.facts.clone(), ..(*variant.model).clone() };
    let outputs = |model: &Model| -> Result<Vec<(Wire, Value)>, ExecError> {
        Executor::new(model, &Request::default())?.run(&feeds, ctx, &mut |_, _| {})
    };
    let (ours, theirs) = match outputs(&ours).and_then(|ours| Ok((ours, outputs(&theirs)?))) {
        Ok(both) => both,
        // What the original asks for and we cannot run is no fault of the file.
        Err(e) if e.is_unsupported() => return Ok(Check::new(NAME, true, format!("not run: {e}"))),
        Err(e) => return Err(e.into()),
    };
    let sizes = |outputs: &[(Wire, Value)]| outputs.iter().map(|(_, v)| v.shape().to_vec()).collect::<Vec<_>>();
    if sizes(&ours) != sizes(&theirs) {
        return Ok(Check::new(NAME, false, "the file's outputs are of other sizes"));
    }
    let mut worst = 0.0_f32;
    for ((_, a), (_, b)) in ours.iter().zip(&theirs) {
        let (a, b) = (a.to_f32().map_err(ExecError::from)?, b.to_f32().map_err(ExecError::from)?);
        worst = a
            .iter()
            .zip(&b)
            .filter(|(x, y)| x.to_bits() != y.to_bits())
            .fold(worst, |w, (x, y)| w.max((x - y).abs()).max(f32::MIN_POSITIVE));
    }
    Ok(if worst == 0.0 {
        Check::new(NAME, true, "bit for bit on a random sample")
    } else {
        Check::new(NAME, false, format!("largest difference {worst:e} on a random sample"))
    })
}

/// One sample of standard normal numbers for each input; `None` where an input takes no floats or
/// its size is open.
fn random_feeds(model: &Model, seed: u64) -> Result<Option<Vec<(Wire, Value)>>, TensorError> {
    let mut random = Random::new(seed);
    let mut feeds = Vec::new();
    for port in model.inputs.iter().filter(|p| !model.constants.contains_key(&p.wire)) {
        let Some(dims) = &port.fact.shape else { return Ok(None) };
        let float = port.fact.dtype.is_none_or(|d| d == crate::engine::tensor::DType::F32);
        let open = dims.iter().skip(1).any(|d| matches!(d, Dim::Named(_) | Dim::Unknown));
        if !float || open {
            return Ok(None);
        }
        let shape: Vec<usize> = dims.iter().map(|d| d.known().unwrap_or(1)).collect();
        let values = (0..shape.iter().product()).map(|_| random.normal()).collect();
        feeds.push((port.wire.clone(), Value::from_f32(values, &shape)?));
    }
    Ok(Some(feeds))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::compress;
    use crate::pipeline::configure::{plan_for, presets};
    use crate::pipeline::load;
    use std::path::Path;

    const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/assets/sample/sample.onnx");

    #[test]
    fn a_file_that_differs_from_an_untouched_model_is_found() {
        let ctx = Ctx::new(1).unwrap();
        let subject = Subject::new(load::model(Path::new(SAMPLE), &ctx).unwrap()).unwrap();
        let plan = plan_for(&presets::preset("fp32").unwrap(), &subject, Some(Format::Onnx)).unwrap();
        let variant = compress::run(&plan, &subject, &|_, _| Ok(None), &ctx).unwrap();
        let mut reopened = load::model(Path::new(SAMPLE), &ctx).unwrap();
        let check = |reopened: &LoadedModel| all(Format::Onnx, &variant, (&subject, reopened), &ctx).unwrap();
        assert!(variant.unchanged && check(&reopened).iter().all(|c| c.passed), "{:?}", check(&reopened));
        let (wire, tensor) = reopened.model.constants.iter().find(|(_, t)| t.len() > 1).unwrap();
        let (wire, mut values) = (wire.clone(), tensor.to_f32().unwrap());
        values[0] += 1.0;
        let other = Tensor::from_f32(tensor.shape().to_vec(), &values).unwrap();
        reopened.model.constants.insert(wire.clone(), other);
        assert!(check(&reopened).iter().any(|c| !c.passed && c.value.contains(&*wire)), "{:?}", check(&reopened));
    }
}
