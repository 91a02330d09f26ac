//! ONNX: the variant's graph as it is, on top of the file it came from, so that what a recipe does
//! not touch (names, metadata, other operator sets) stays.

use super::ExportError;
use super::place::{self, Pending};
use crate::engine::Ctx;
use crate::pipeline::compress::Variant;
use crate::pipeline::configure::{Plan, Scheme};
use crate::pipeline::load::onnx::{Beside, Encoded, LIMIT_BYTES, encode, encode_within, to_bytes};
use crate::pipeline::load::{LoadError, Subject};
use std::path::{Path, PathBuf};

/// The bytes of a file that holds everything.
pub(super) fn bytes(variant: &Variant, plan: &Plan, subject: &Subject) -> Result<Vec<u8>, ExportError> {
    refuse_blocks(plan)?;
    if let Some(bytes) = own(variant, subject)? {
        return Ok(bytes);
    }
    Ok(to_bytes(&encode(model(variant, subject), &subject.loaded.source)?))
}

/// The tensors of a file that is written as two.
pub(super) struct Data {
    pub(super) pending: Pending,
    pub(super) count: usize,
}

/// Writes the file; where it would be larger than `limit` bytes, its tensors to a file beside it. Gives both.
pub(super) fn write(
    variant: &Variant,
    plan: &Plan,
    subject: &Subject,
    (out, limit): (&Path, u64),
    ctx: &Ctx,
) -> Result<(Pending, Option<Data>), ExportError> {
    refuse_blocks(plan)?;
    let mut alone = Pending::new(out, ".onnx")?;
    if limit >= LIMIT_BYTES
        && let Some(bytes) = own(variant, subject)?
    {
        alone.put(&bytes)?;
        return Ok((alone, None));
    }
    let beside = data_file(out);
    // The name of a file in the same folder: it leads nowhere else.
    let location = beside.file_name().unwrap_or_default().to_string_lossy();
    match encode_within(model(variant, subject), &subject.loaded.source, limit, &location)? {
        Encoded::Whole(proto) => {
            alone.put(&to_bytes(&proto))?;
            Ok((alone, None))
        }
        Encoded::Split { graph, data } => {
            drop(alone);
            place::check(&beside, &subject.loaded)?;
            let [mut own, mut other] = Pending::pair(out, &beside)?;
            own.put(&to_bytes(&graph))?;
            put(&mut other, &data, ctx)?;
            Ok((own, Some(Data { pending: other, count: data.len() })))
        }
    }
}

/// The file that holds the tensors of `out`: `net.onnx.data` beside `net.onnx`.
fn data_file(out: &Path) -> PathBuf {
    let name = out.file_name().unwrap_or_default().to_string_lossy();
    out.with_file_name(format!("{name}.data"))
}

/// Writes tensors to their places, one after the other.
fn put(pending: &mut Pending, data: &[Beside], ctx: &Ctx) -> Result<(), ExportError> {
    let mut at = 0;
    for tensor in data {
        ctx.check()?;
        let gap = vec![0; usize::try_from(tensor.offset.saturating_sub(at)).unwrap_or_default()];
        pending.append(&gap)?;
        pending.append(&tensor.tensor.bytes())?;
        tensor.tensor.forget();
        at = tensor.end();
    }
    pending.flush()
}

fn refuse_blocks(plan: &Plan) -> Result<(), ExportError> {
    match plan.layers.iter().find(|l| matches!(l.treatment.weights, Scheme::Block(_))) {
        Some(l) => Err(ExportError::Blocks { layer: l.layer.name.clone(), scheme: l.treatment.weights.to_string() }),
        None => Ok(()),
    }
}

/// An untouched model is its own file, where that is one file.
fn own(variant: &Variant, subject: &Subject) -> Result<Option<Vec<u8>>, LoadError> {
    let path = &subject.loaded.path;
    let is_own = variant.unchanged && subject.loaded.is_own_export();
    is_own.then(|| std::fs::read(path).map_err(LoadError::io(path))).transpose()
}

fn model<'a>(variant: &'a Variant, subject: &'a Subject) -> &'a crate::engine::graph::Model {
    if variant.unchanged { &subject.loaded.model } else { &variant.model }
}
