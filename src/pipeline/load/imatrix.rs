//! Importance matrices as ggml's `llama-imatrix` writes them: per weight matrix the mean of x² of each input
//! column over the calibration text. Two formats, told apart by how they begin:
//!
//! - GGUF: tensors `NAME.in_sum2` [matrices, columns], sums of x², and `NAME.counts` [matrices, 1], how many
//!   were added;
//! - `.dat`: i32 number of entries; per entry i32 length and name, i32 number of calls, i32 number of values
//!   and that many f32, sums over the calls.

use super::error::LoadError;
use super::gguf::{self, Cursor};
use crate::engine::context::Ctx;
use crate::engine::tensor::MappedFile;
use std::collections::BTreeMap;
use std::path::Path;

/// Name of a weight tensor → mean of x² per input column; where a tensor stacks several matrices
/// (experts), theirs one after the other.
pub type Importance = BTreeMap<String, Vec<f32>>;

/// # Errors
/// When the file cannot be read, or is truncated, corrupt or of neither format.
pub fn open(path: &Path, ctx: &Ctx) -> Result<Importance, LoadError> {
    let map = MappedFile::open(path).map_err(LoadError::io(path))?;
    let importance =
        if map.as_slice().starts_with(gguf::MAGIC) { from_gguf(path, &map, ctx)? } else { from_dat(path, map.as_slice(), ctx)? };
    for (name, means) in &importance {
        if let Some(bad) = means.iter().find(|v| !(v.is_finite() && **v >= 0.0)) {
            return Err(LoadError::corrupt(path, format!("the importance of \"{name}\" holds {bad}")));
        }
    }
    Ok(importance)
}

fn from_gguf(path: &Path, map: &MappedFile, ctx: &Ctx) -> Result<Importance, LoadError> {
    let file = gguf::read(path, map, ctx)?;
    let mut importance = Importance::new();
    for (wire, sums) in &file.model.constants {
        ctx.check()?;
        let Some(name) = wire.strip_suffix(".in_sum2") else { continue };
        let bad = |reason: &str| LoadError::Tensor { path: path.to_owned(), tensor: wire.to_string(), reason: reason.to_owned() };
        let counts = file.model.constants.get(format!("{name}.counts").as_str()).ok_or_else(|| bad("its counts are missing"))?;
        let (sums, counts) = (sums.to_f32()?, counts.to_f32()?);
        if counts.is_empty() || sums.len() % counts.len() != 0 {
            return Err(bad("sums and counts do not fit each other"));
        }
        let columns = sums.len() / counts.len();
        let means = sums.chunks(columns.max(1)).zip(&counts).flat_map(|(sums, count)| sums.iter().map(move |s| mean(*s, *count)));
        importance.insert(name.to_owned(), means.collect());
    }
    if importance.is_empty() {
        let reason = "it holds no importance (no tensor named *.in_sum2)".to_owned();
        return Err(LoadError::Unrecognized { path: path.to_owned(), reason });
    }
    Ok(importance)
}

/// What was never called has no importance.
fn mean(sum: f32, count: f32) -> f32 {
    if count > 0.0 { sum / count } else { 0.0 }
}

fn from_dat(path: &Path, bytes: &[u8], ctx: &Ctx) -> Result<Importance, LoadError> {
    let mut cursor = Cursor::new(path, bytes);
    let entries = cursor.u32()?;
    let mut importance = Importance::new();
    for _ in 0..entries {
        ctx.check()?;
        // Negative numbers are huge ones here, which the file is too short for.
        let len = cursor.u32()? as usize;
        let name = String::from_utf8(cursor.take(len)?.to_vec()).map_err(|_| cursor.corrupt("a name in it is not UTF-8"))?;
        let calls = cursor.u32()? as i32;
        let values = cursor.u32()? as usize;
        let raw = cursor.take(values.saturating_mul(4))?;
        let sums = raw.as_chunks::<4>().0.iter().map(|b| f32::from_le_bytes(*b));
        importance.insert(name, sums.map(|sum| mean(sum, calls as f32)).collect());
    }
    if importance.is_empty() {
        return Err(cursor.corrupt("it holds no entries"));
    }
    Ok(importance)
}
