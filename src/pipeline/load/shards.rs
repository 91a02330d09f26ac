//! Shards: safetensors files of one network, and the index that names the file of each tensor
//! (`model.safetensors.index.json`, as Hugging Face's libraries write it).

use super::error::LoadError;
use super::safetensors;
use crate::engine::context::Ctx;
use crate::engine::graph::Wire;
use crate::engine::tensor::{MappedFile, Tensor};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Component, Path, PathBuf};

/// What the name of an index ends in.
const INDEX: &str = ".safetensors.index.json";
/// An index takes about a hundred bytes for each tensor.
const INDEX_LIMIT_BYTES: u64 = 1 << 26;
/// Files that an index may name.
const SHARD_LIMIT: usize = 10_000;

#[derive(Deserialize)]
struct Index {
    weight_map: BTreeMap<String, String>,
}

/// A file that belongs to a model, in its map.
pub(super) type Mapped = (PathBuf, MappedFile);

pub(super) fn is_index(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().ends_with(INDEX))
}

/// The file to open where `path` is a folder: its one index, else its one file of weights or graph.
///
/// # Errors
/// When there is none, or more than one.
pub(super) fn in_folder(path: &Path) -> Result<PathBuf, LoadError> {
    let files = files_of(path)?;
    let is_model = |file: &&PathBuf| {
        let known = ["safetensors", "onnx", "pt", "pth", "th", "npz", "gguf", "lapidary"];
        file.extension().is_some_and(|e| known.iter().any(|k| e.eq_ignore_ascii_case(k)))
    };
    let indices: Vec<&PathBuf> = files.iter().filter(|f| is_index(f)).collect();
    let candidates = if indices.is_empty() { files.iter().filter(is_model).collect() } else { indices };
    match candidates.as_slice() {
        [one] => Ok((*one).clone()),
        [] => {
            let reason = "it is a folder without a model; name a file, or a folder that holds one";
            Err(LoadError::Unrecognized { path: path.to_owned(), reason: reason.to_owned() })
        }
        [first, second, ..] => {
            let name = |p: &PathBuf| p.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let reason = format!(
                "it is a folder with {} models ({}, {} …); name one of them",
                candidates.len(),
                name(first),
                name(second)
            );
            Err(LoadError::Unrecognized { path: path.to_owned(), reason })
        }
    }
}

/// The index beside a shard that names it.
///
/// # Errors
/// When the folder cannot be listed.
pub(super) fn index_of(shard: &Path, ctx: &Ctx) -> Result<Option<PathBuf>, LoadError> {
    let Some(name) = shard.file_name().and_then(|n| n.to_str()) else { return Ok(None) };
    for file in files_of(folder_of(shard))?.into_iter().filter(|f| is_index(f)) {
        match read_index(&file) {
            Ok(index) if index.weight_map.values().any(|named| named == name) => return Ok(Some(file)),
            Ok(_) => {}
            // It may be the index of another model: that is no reason to refuse this one.
            Err(error) => ctx.warn(name, format!("opened alone, because an index beside it cannot be read: {error}")),
        }
    }
    Ok(None)
}

/// The tensors that an index names, and the files that they lie in.
///
/// # Errors
/// When the index or a shard cannot be read, an index names files of another folder, or a tensor is
/// not in the shard that it should be in.
pub(super) fn read(path: &Path, ctx: &Ctx) -> Result<(BTreeMap<Wire, Tensor>, Vec<Mapped>), LoadError> {
    let index = read_index(path)?;
    let names: BTreeSet<&str> = index.weight_map.values().map(String::as_str).collect();
    if names.len() > SHARD_LIMIT {
        return Err(LoadError::corrupt(path, format!("it names {} files", names.len())));
    }
    let mut shards = BTreeMap::new();
    let mut files = Vec::new();
    for name in names {
        ctx.check()?;
        let file = beside(path, name)?;
        let map = MappedFile::open(&file).map_err(LoadError::io(&file))?;
        shards.insert(name, safetensors::read(&file, &map, ctx)?);
        files.push((file, map));
    }
    let mut found = BTreeMap::new();
    for (tensor, shard) in &index.weight_map {
        let held = shards.get_mut(shard.as_str()).and_then(|tensors| tensors.remove_entry(tensor.as_str()));
        let (wire, tensor) = held.ok_or_else(|| LoadError::Tensor {
            path: path.to_owned(),
            tensor: tensor.clone(),
            reason: format!("the index says that it is in {shard}, but that file does not hold it"),
        })?;
        found.insert(wire, tensor);
    }
    for (shard, tensors) in &shards {
        for name in tensors.keys() {
            ctx.warn(&**name, format!("it is in {shard}, but the index does not name it; it is left out"));
        }
    }
    Ok((found, files))
}

fn read_index(path: &Path) -> Result<Index, LoadError> {
    let len = std::fs::metadata(path).map_err(LoadError::io(path))?.len();
    if len > INDEX_LIMIT_BYTES {
        return Err(LoadError::corrupt(path, format!("an index of {len} bytes")));
    }
    let text = std::fs::read(path).map_err(LoadError::io(path))?;
    let index: Index = serde_json::from_slice(&text).map_err(|e| LoadError::corrupt(path, format!("as an index: {e}")))?;
    if index.weight_map.is_empty() {
        return Err(LoadError::corrupt(path, "the index names no tensors"));
    }
    Ok(index)
}

/// The file of that name in the folder of `index`, and in no other.
fn beside(index: &Path, name: &str) -> Result<PathBuf, LoadError> {
    let mut parts = Path::new(name).components();
    match (parts.next(), parts.next()) {
        (Some(Component::Normal(_)), None) => Ok(folder_of(index).join(name)),
        _ => {
            let reason = format!("it names the file \"{name}\", which is not one beside it: that is refused");
            Err(LoadError::corrupt(index, reason))
        }
    }
}

fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The files of a folder, by name.
fn files_of(folder: &Path) -> Result<Vec<PathBuf>, LoadError> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(LoadError::io(folder))? {
        let path = entry.map_err(LoadError::io(folder))?.path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}
