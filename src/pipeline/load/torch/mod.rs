//! Weights as `torch.save` writes them: a zip archive (since 1.6) or the older file of pickles and
//! raw storages. No code in a pickle is run. Source: `torch/serialization.py`, PyTorch 2.9.
//!
//! We read the pickles ourselves: candle's reader knows no older files, aborts on short argument
//! lists and believes any length that a file claims.

mod checkpoint;
mod pickle;
mod tensors;
#[cfg(test)]
mod tests;

use super::archive::{Archive, Member};
use super::error::LoadError;
use crate::engine::context::Ctx;
use crate::engine::graph::Wire;
use crate::engine::tensor::{DType, MappedFile, Tensor, row_major};
use checkpoint::Checkpoint;
use pickle::{Heap, Object, Unpickled, Value};
use std::collections::BTreeMap;
use std::path::Path;
use tensors::{Storage, View};

/// What the pickle of an older file starts with, after the two bytes of its version:
/// the number 0x1950a86a20f9469cfc6c.
const MAGIC: &[u8] = b"\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Version of the older file.
const PROTOCOL: Value<'_> = Value::Int(1001);
/// The description of an archive.
const DATA: &str = "data.pkl";

/// Whether these are the first bytes of an older file.
pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.first() == Some(&0x80) && bytes.get(2..).is_some_and(|rest| rest.starts_with(MAGIC))
}

/// Whether an archive with these members is `torch.save`'s.
pub(super) fn is_archive(names: &[String]) -> bool {
    names.iter().any(|n| is_data(n))
}

fn is_data(name: &str) -> bool {
    name == DATA || name.strip_suffix(DATA).is_some_and(|folder| folder.ends_with('/'))
}

/// The weights of an archive by their names.
///
/// # Errors
/// When the archive or its pickle is truncated or corrupt, or holds no weights.
pub(super) fn read_archive(archive: &mut Archive<'_>, path: &Path, ctx: &Ctx) -> Result<BTreeMap<Wire, Tensor>, LoadError> {
    let names = archive.names();
    let Some((index, name)) = names.iter().enumerate().find(|(_, n)| is_data(n)) else {
        return Err(LoadError::corrupt(path, "it has no data.pkl"));
    };
    let folder = name.strip_suffix(DATA).unwrap_or_default();
    if let Some(order) = archive.place(&format!("{folder}byteorder"))
        && archive.member(order)?.as_slice(archive.map).starts_with(b"big")
    {
        return Err(LoadError::data(path, "its numbers are in big-endian order; save it again on a usual machine"));
    }
    let data = archive.member(index)?;
    let unpickled = unpickle(path, name, data.as_slice(archive.map))?;
    let checkpoint = open(path, &unpickled, ctx)?;
    let mut storages = BTreeMap::new();
    for (_, view) in &checkpoint.tensors {
        let key = view.storage.key;
        if !storages.contains_key(key) {
            let missing = || LoadError::corrupt(path, format!("storage {key} of its tensors is missing"));
            let place = archive.place(&format!("{folder}data/{key}")).ok_or_else(missing)?;
            storages.insert(key, archive.member(place)?);
        }
    }
    gather(path, archive.map, &checkpoint, &storages, ctx)
}

/// The weights of an older file by their names: five pickles (magic number, version, machine, the
/// object, the keys of the storages), then for each key the number of its elements and the elements.
///
/// # Errors
/// When the file is truncated or corrupt, or holds no weights.
pub(super) fn read_legacy(path: &Path, map: &MappedFile, ctx: &Ctx) -> Result<BTreeMap<Wire, Tensor>, LoadError> {
    let bytes = map.as_slice();
    let mut at = 0;
    let mut next = |what: &str| {
        let found = unpickle_at(path, what, bytes, at)?;
        at += found.len;
        Ok::<_, LoadError>(found)
    };
    next("magic number")?;
    if next("version")?.value != PROTOCOL {
        return Err(LoadError::data(path, "it is of a version of torch.save that Lapidary does not know"));
    }
    let machine = next("machine")?;
    if let Some(Object::Dict(pairs)) = machine.heap.object(machine.value)
        && pairs.contains(&(Value::Text("little_endian"), Value::Bool(false)))
    {
        return Err(LoadError::data(path, "its numbers are in big-endian order; save it again on a usual machine"));
    }
    let unpickled = next("object")?;
    let keys = next("storage keys")?;
    let storages = legacy_storages(path, bytes, at, &unpickled.heap, &keys)?;
    let checkpoint = open(path, &unpickled, ctx)?;
    gather(path, map, &checkpoint, &storages, ctx)
}

/// Where each storage lies, from `at` on.
fn legacy_storages<'a>(
    path: &Path,
    bytes: &[u8],
    mut at: usize,
    heap: &Heap<'a>,
    keys: &Unpickled<'a>,
) -> Result<BTreeMap<&'a str, Member>, LoadError> {
    let widths: BTreeMap<&str, usize> = tensors::storages(heap).map(|s| (s.key, s.dtype.bits() / 8)).collect();
    let mut found = BTreeMap::new();
    for key in keys.heap.elements(keys.value).unwrap_or_default() {
        let Value::Text(key) = key else { return Err(LoadError::corrupt(path, "the key of a storage is no text")) };
        let cut = || LoadError::corrupt(path, format!("it ends before the end of storage {key}"));
        let width = widths.get(key);
        let width = width.ok_or_else(|| LoadError::corrupt(path, format!("nothing tells the element type of storage {key}")))?;
        let count = bytes.get(at..).and_then(|rest| rest.first_chunk::<8>()).map(|b| u64::from_le_bytes(*b)).ok_or_else(cut)?;
        let start = at + 8;
        let len = usize::try_from(count).ok().and_then(|n| n.checked_mul(*width));
        let end = len.and_then(|len| start.checked_add(len)).filter(|end| *end <= bytes.len()).ok_or_else(cut)?;
        found.insert(*key, Member::Mapped(start..end));
        at = end;
    }
    Ok(found)
}

fn unpickle<'a>(path: &Path, what: &str, bytes: &'a [u8]) -> Result<Unpickled<'a>, LoadError> {
    unpickle_at(path, what, bytes, 0)
}

fn unpickle_at<'a>(path: &Path, what: &str, bytes: &'a [u8], at: usize) -> Result<Unpickled<'a>, LoadError> {
    let rest = bytes.get(at..).unwrap_or_default();
    pickle::read(rest).map_err(|e| LoadError::corrupt(path, format!("{what}, byte {}: {}", at + e.at, e.reason)))
}

/// The weights in what was unpickled; says what is left aside.
fn open<'a>(path: &Path, unpickled: &'a Unpickled<'a>, ctx: &Ctx) -> Result<Checkpoint<'a>, LoadError> {
    let checkpoint = Checkpoint::of(unpickled).map_err(|reason| LoadError::corrupt(path, reason))?;
    for (name, reason) in &checkpoint.unsupported {
        ctx.warn(name.clone(), format!("{reason}; the tensor is left out"));
    }
    if !checkpoint.aside.is_empty() {
        let message = format!("the state of the training is left aside: {}", checkpoint.aside.join(", "));
        ctx.warn(path.display().to_string(), message);
    }
    if checkpoint.tensors.is_empty() {
        let reason = "it is a PyTorch file, but there are no weights in it; save the network's own state: torch.save(model.state_dict(), file)";
        return Err(LoadError::data(path, reason));
    }
    Ok(checkpoint)
}

fn gather(
    path: &Path,
    map: &MappedFile,
    checkpoint: &Checkpoint<'_>,
    storages: &BTreeMap<&str, Member>,
    ctx: &Ctx,
) -> Result<BTreeMap<Wire, Tensor>, LoadError> {
    // Views that have to be copied never take more memory than the file takes on disk.
    let mut left = map.len();
    let mut found = BTreeMap::new();
    for (name, view) in &checkpoint.tensors {
        ctx.check()?;
        let fail = |reason: String| LoadError::Tensor { path: path.to_owned(), tensor: name.clone(), reason };
        let storage = storages.get(view.storage.key).ok_or_else(|| fail("its storage is missing".to_owned()))?;
        let tensor = tensor(view, storage, map, &mut left).map_err(fail)?;
        found.insert(Wire::from(name.as_str()), tensor);
    }
    Ok(found)
}

fn tensor(view: &View<'_>, storage: &Member, map: &MappedFile, left: &mut usize) -> Result<Tensor, String> {
    let View { storage: Storage { dtype, len, .. }, offset, shape, strides } = view;
    let size = Tensor::zeros(*dtype, shape.clone()).map_err(|e| e.to_string())?.size_bytes();
    let outside =
        || format!("shape {shape:?} with strides {strides:?} from element {offset} leaves its storage of {len} elements");
    let end = crate::engine::tensor::reach(shape, strides).and_then(|reach| reach.checked_add(*offset)).ok_or_else(outside)?;
    let bytes = storage.as_slice(map);
    let width = dtype.bits() / 8;
    if end > *len || end.checked_mul(width).is_none_or(|end| end > bytes.len()) {
        return Err(outside());
    }
    let is_row_major = shape.iter().zip(strides).zip(row_major(shape)).all(|((size, a), b)| *size == 1 || *a == b);
    let start = offset * width;
    match storage {
        Member::Mapped(range) if is_row_major || size == 0 => {
            let start = range.start + start;
            Tensor::from_map(*dtype, shape.clone(), map, start..start + size).map_err(|e| e.to_string())
        }
        _ => {
            *left = left.checked_sub(size).ok_or("views that overlap take more memory than the file has bytes")?;
            let all = bytes.get(start..).unwrap_or_default();
            Tensor::from_view(*dtype, shape.clone(), strides, all).map_err(|e| e.to_string())
        }
    }
}

/// Names of element types in `torch`, and as classes of storages.
const TYPES: [(&str, &str, DType); 14] = [
    ("FloatStorage", "float32", DType::F32),
    ("DoubleStorage", "float64", DType::F64),
    ("HalfStorage", "float16", DType::F16),
    ("BFloat16Storage", "bfloat16", DType::BF16),
    ("LongStorage", "int64", DType::I64),
    ("IntStorage", "int32", DType::I32),
    ("ShortStorage", "int16", DType::I16),
    ("CharStorage", "int8", DType::I8),
    ("ByteStorage", "uint8", DType::U8),
    ("BoolStorage", "bool", DType::Bool),
    ("", "float8_e4m3fn", DType::F8E4M3FN),
    ("", "float8_e4m3fnuz", DType::F8E4M3FNUZ),
    ("", "float8_e5m2", DType::F8E5M2),
    ("", "float8_e5m2fnuz", DType::F8E5M2FNUZ),
];
