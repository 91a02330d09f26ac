//! Stage 1: bytes → Model or Dataset. Everything that comes from a file is taken for hostile.

mod data;
mod error;
mod gaps;
pub mod gguf;
pub mod imatrix;
pub mod onnx;
mod safetensors;
mod subject;
#[cfg(test)]
mod tests;

pub use data::{Channels, Dataset, Layout, Picture, Preprocess};
pub use error::LoadError;
pub use subject::Subject;

use crate::engine::context::Ctx;
use crate::engine::graph::{Model, Port};
use crate::engine::hash::{self, Hasher};
use crate::engine::tensor::{DType, MappedFile, Tensor};
use onnx::OnnxSource;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The format of a model's file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Onnx,
    /// Weights without a graph.
    Safetensors,
    /// Weights without a graph, many of them in blocks.
    Gguf,
}

impl Format {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Onnx => "ONNX",
            Self::Safetensors => "safetensors",
            Self::Gguf => "GGUF",
        }
    }
}

/// A model and the file it came from.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    pub path: PathBuf,
    pub format: Format,
    /// Size of the file, with its external data.
    pub bytes: u64,
    /// SHA-256 of the file (of all files, where data lies outside).
    pub hash: String,
    /// Files beside it that hold weights.
    pub externals: Vec<PathBuf>,
    pub model: Model,
    pub source: Arc<OnnxSource>,
}

/// Opens a model of any format that is known, by what the file holds.
///
/// # Errors
/// When the file cannot be read, is of no known format, is truncated or corrupt, refers to data
/// outside its folder, or holds no valid graph.
pub fn model(path: &Path, ctx: &Ctx) -> Result<LoadedModel, LoadError> {
    let meta = std::fs::metadata(path).map_err(LoadError::io(path))?;
    if !meta.is_file() {
        return Err(LoadError::Unrecognized { path: path.to_owned(), reason: "it is not a file".to_owned() });
    }
    if meta.len() == 0 {
        return Err(LoadError::corrupt(path, "it is empty"));
    }
    ctx.start(format!("Opening {}", path.display()), 0);
    let map = MappedFile::open(path).map_err(LoadError::io(path))?;
    let format = sniff(path, map.as_slice())?;
    let (model, source, externals) = match format {
        Format::Onnx => {
            let decoded = onnx::decode_file(path, &map, ctx)?;
            (decoded.model, decoded.source, decoded.externals)
        }
        Format::Safetensors => (safetensors::read(path, &map, ctx)?, OnnxSource::empty(""), Vec::new()),
        Format::Gguf => (gguf::read(path, &map, ctx)?.model, OnnxSource::empty(""), Vec::new()),
    };
    warn_about_values(&model, ctx)?;
    gaps::warn_about(&model, ctx);
    let (bytes, hash) = identify(path, &map, &externals)?;
    Ok(LoadedModel { path: path.to_owned(), format, bytes, hash, externals, model, source: Arc::new(source) })
}

/// Opens a data set of any format that is known, to be fed to `input` of a model. Samples are read
/// when they are asked for.
///
/// # Errors
/// When the data cannot be read, is empty, or its samples or labels do not fit.
pub fn dataset(path: &Path, preprocess: &Preprocess, input: &Port, ctx: &Ctx) -> Result<Dataset, LoadError> {
    data::open(path, preprocess, input, ctx)
}

fn sniff(path: &Path, bytes: &[u8]) -> Result<Format, LoadError> {
    const KNOWN: [(&[u8], &str); 6] = [
        (b"PK\x03\x04", "it is a zip archive (PyTorch and NumPy files are such); export it as ONNX"),
        (b"\x80\x02", "it is a Python pickle (a PyTorch checkpoint?); export it as ONNX"),
        (b"\x89HDF", "it is an HDF5 file (Keras?); export it as ONNX"),
        (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself; run `git lfs pull`"),
        (b"<!", "it is a web page; the download went wrong"),
        (b"<html", "it is a web page; the download went wrong"),
    ];
    let unrecognized = |reason: &str| LoadError::Unrecognized { path: path.to_owned(), reason: reason.to_owned() };
    if let Some((_, reason)) = KNOWN.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Err(unrecognized(reason));
    }
    if bytes.starts_with(gguf::MAGIC) {
        return Ok(Format::Gguf);
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Err(unrecognized("it is a TensorFlow Lite file"));
    }
    // A safetensors file starts with the length of its JSON header, far below 2^32.
    let is_safetensors = bytes.get(8) == Some(&b'{') && bytes.get(5..8) == Some(&[0, 0, 0]);
    if is_safetensors || path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) {
        return Ok(Format::Safetensors);
    }
    Ok(Format::Onnx)
}

fn identify(path: &Path, map: &MappedFile, externals: &[PathBuf]) -> Result<(u64, String), LoadError> {
    let own = hash::of_bytes(map.as_slice());
    let mut bytes = map.len() as u64;
    if externals.is_empty() {
        return Ok((bytes, own));
    }
    let mut hasher = Hasher::new();
    hasher.add(own.as_bytes());
    for file in externals {
        bytes += std::fs::metadata(file).map_err(LoadError::io(file))?.len();
        hasher.add(hash::of_file(file).map_err(LoadError::io(path))?.as_bytes());
    }
    Ok((bytes, hasher.finish()))
}

/// Says which weights hold values that no arithmetic survives.
fn warn_about_values(model: &Model, ctx: &Ctx) -> Result<(), LoadError> {
    for (wire, tensor) in &model.constants {
        ctx.check()?;
        let count = not_finite(tensor);
        // Masks of attention are made of minus infinity: a constant that is no weight may hold it.
        if count > 0 {
            ctx.warn(
                &**wire,
                format!("{count} of {} values are NaN or infinite; results that depend on them are worthless", tensor.len()),
            );
        }
    }
    Ok(())
}

fn not_finite(tensor: &Tensor) -> usize {
    let bytes = tensor.bytes();
    let exponent = |mask: u16| bytes.as_chunks::<2>().0.iter().filter(|b| u16::from_le_bytes(**b) & mask == mask).count();
    match tensor.dtype() {
        DType::F32 => bytes.as_chunks::<4>().0.iter().filter(|b| !f32::from_le_bytes(**b).is_finite()).count(),
        DType::F64 => bytes.as_chunks::<8>().0.iter().filter(|b| !f64::from_le_bytes(**b).is_finite()).count(),
        DType::F16 => exponent(0x7C00),
        DType::BF16 => exponent(0x7F80),
        _ => 0,
    }
}
