//! GGUF, version 3, as [`super`] reads it: named tensors, block formats among them, and metadata.

use super::{self as gguf, MAGIC, MOST_DIMS, Metadata, Value};
use crate::engine::graph::{Model, Wire};
use crate::engine::tensor::Tensor;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _, Write};

const VERSION: u32 = 3;

/// ggml keeps names in 64 bytes, the last of them zero.
const LONGEST_NAME: usize = 63;

/// Why tensors could not be written as GGUF.
#[derive(Debug, thiserror::Error)]
pub enum GgufError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("tensor \"{tensor}\" cannot be written as GGUF: {reason}")]
    Tensor { tensor: String, reason: String },
    #[error("metadata \"{key}\" cannot be written as GGUF: {reason}")]
    Metadata { key: String, reason: String },
}

/// What ggml's tools say of how most tensors are stored.
const FILE_TYPE: &str = "general.file_type";

/// What a file of a network's weights holds: its constants that are floats, of which those in `replaced` are
/// stored otherwise. `known` is the metadata of the GGUF file that the network came from (empty for others): the
/// vocabulary, and what it takes to run it. Where a replaced tensor has another shape (blocks lie in [out, in]),
/// the metadata says which the network reads.
#[must_use]
pub fn contents(model: &Model, known: &Metadata, replaced: &BTreeMap<Wire, Tensor>) -> (Metadata, Vec<(String, Tensor)>) {
    let mut metadata = known.clone();
    metadata.entry("general.architecture".to_owned()).or_insert_with(|| Value::Text("unknown".to_owned()));
    metadata.entry("general.name".to_owned()).or_insert_with(|| Value::Text(model.name.clone()));
    if !replaced.is_empty() {
        metadata.remove(FILE_TYPE);
    }
    let mut tensors = Vec::new();
    for (wire, tensor) in model.constants.iter().filter(|(_, tensor)| tensor.dtype().is_float()) {
        let stored = replaced.get(wire).unwrap_or(tensor);
        if stored.shape() != tensor.shape() {
            let shape: Vec<Value> = tensor.shape().iter().map(|d| Value::U64(*d as u64)).collect();
            metadata.insert(format!("lapidary.shape.{wire}"), Value::Array(Value::U64(0).code(), shape));
        }
        tensors.push((wire.to_string(), stored.clone()));
    }
    (metadata, tensors)
}

/// Bytes of the file that [`write()`] makes of the same; the tensors need not have values yet.
///
/// # Errors
/// As [`write()`], but for what the disk says.
pub fn file_len(metadata: &Metadata, tensors: &[(String, Tensor)]) -> Result<u64, GgufError> {
    let (head, alignment) = head(metadata, tensors)?;
    let start = (head.len() as u64).next_multiple_of(alignment);
    Ok(tensors.iter().fold(start, |at, (_, tensor)| at + (tensor.size_bytes() as u64).next_multiple_of(alignment)))
}

/// Writes a file: tensors in their order, each from a multiple of the alignment on.
///
/// # Errors
/// When a tensor has a type, a name or a number of dimensions that GGUF does not hold, two have one name,
/// an array is not of one type, or the disk is full.
pub fn write(metadata: &Metadata, tensors: &[(String, Tensor)], out: &mut impl Write) -> Result<(), GgufError> {
    let (head, alignment) = head(metadata, tensors)?;
    out.write_all(&head)?;
    pad(out, head.len() as u64, alignment)?;
    for (_, tensor) in tensors {
        let bytes = tensor.bytes();
        out.write_all(&bytes)?;
        pad(out, bytes.len() as u64, alignment)?;
    }
    Ok(out.flush()?)
}

fn pad(out: &mut impl Write, written: u64, alignment: u64) -> io::Result<()> {
    io::copy(&mut io::repeat(0).take(written.next_multiple_of(alignment) - written), out)?;
    Ok(())
}

/// All that comes before the data, and the alignment.
fn head(metadata: &Metadata, tensors: &[(String, Tensor)]) -> Result<(Vec<u8>, u64), GgufError> {
    let alignment = gguf::alignment(metadata).ok_or_else(|| GgufError::Metadata {
        key: gguf::ALIGNMENT_KEY.to_owned(),
        reason: "it is not a power of two".to_owned(),
    })?;
    let mut head = MAGIC.to_vec();
    head.extend(VERSION.to_le_bytes());
    head.extend((tensors.len() as u64).to_le_bytes());
    head.extend((metadata.len() as u64).to_le_bytes());
    for (key, value) in metadata {
        text(key, &mut head);
        head.extend(value.code().to_le_bytes());
        put(value, &mut head).map_err(|reason| GgufError::Metadata { key: key.clone(), reason: reason.to_owned() })?;
    }
    let mut names = BTreeSet::new();
    let mut place = 0_u64;
    for (name, tensor) in tensors {
        let bad = |reason: String| GgufError::Tensor { tensor: name.clone(), reason };
        let code = gguf::code(tensor.dtype()).ok_or_else(|| bad(format!("it has no type {}", tensor.dtype())))?;
        if tensor.shape().len() > MOST_DIMS {
            return Err(bad(format!("{} dimensions are more than {MOST_DIMS}", tensor.shape().len())));
        }
        if name.len() > LONGEST_NAME {
            return Err(bad(format!("its name is longer than {LONGEST_NAME} bytes")));
        }
        if !names.insert(name) {
            return Err(bad("there are two of that name".to_owned()));
        }
        text(name, &mut head);
        head.extend((tensor.shape().len() as u32).to_le_bytes());
        head.extend(tensor.shape().iter().rev().flat_map(|d| (*d as u64).to_le_bytes()));
        head.extend(code.to_le_bytes());
        head.extend(place.to_le_bytes());
        place += (tensor.size_bytes() as u64).next_multiple_of(alignment);
    }
    Ok((head, alignment))
}

fn text(text: &str, out: &mut Vec<u8>) {
    out.extend((text.len() as u64).to_le_bytes());
    out.extend(text.as_bytes());
}

fn put(value: &Value, out: &mut Vec<u8>) -> Result<(), &'static str> {
    match value {
        Value::U8(v) => out.push(*v),
        Value::I8(v) => out.extend(v.to_le_bytes()),
        Value::U16(v) => out.extend(v.to_le_bytes()),
        Value::I16(v) => out.extend(v.to_le_bytes()),
        Value::U32(v) => out.extend(v.to_le_bytes()),
        Value::I32(v) => out.extend(v.to_le_bytes()),
        Value::F32(v) => out.extend(v.to_le_bytes()),
        Value::Bool(v) => out.push(u8::from(*v)),
        Value::Text(v) => text(v, out),
        Value::Bytes(v) => {
            out.extend((v.len() as u64).to_le_bytes());
            out.extend(v);
        }
        Value::U64(v) => out.extend(v.to_le_bytes()),
        Value::I64(v) => out.extend(v.to_le_bytes()),
        Value::F64(v) => out.extend(v.to_le_bytes()),
        Value::Array(of, items) => {
            out.extend(of.to_le_bytes());
            out.extend((items.len() as u64).to_le_bytes());
            for item in items {
                if item.code() != *of {
                    return Err("its items are not all of the type that it says");
                }
                put(item, out)?;
            }
        }
    }
    Ok(())
}
