//! Stage 1: bytes → Model or Dataset. Everything that comes from a file is taken for hostile.

mod archive;
mod data;
mod error;
pub mod families;
mod gaps;
pub mod gguf;
pub mod header;
mod identity;
pub mod imatrix;
pub mod lapidary;
mod numpy;
pub mod onnx;
pub mod safetensors;
mod shards;
mod subject;
#[cfg(test)]
mod tests;
mod tie;
mod torch;

pub use data::{Channels, Dataset, Layout, Picture, Preprocess};
pub use error::LoadError;
pub use identity::Identity;
pub use subject::{Subject, Whole};
pub use tie::tie;

use crate::engine::context::{Cancelled, Ctx};
use crate::engine::graph::{Dim, Fact, Model, Port, Wire};
use crate::engine::tensor::{MappedFile, Tensor};
use archive::Archive;
use onnx::OnnxSource;
use shards::Mapped;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The operator set of a model of weights alone: the first that knows all their element types.
const OPSET_OF_WEIGHTS: i64 = 13;

/// The format of a model's file. All but ONNX and our archive hold weights without a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Onnx,
    /// One file, or shards with an index.
    Safetensors,
    /// What `torch.save` writes.
    Torch,
    /// Arrays in an `.npz` archive.
    Numpy,
    /// Weights without a graph, many of them in blocks.
    Gguf,
    /// Our own archive of an ONNX file.
    Lapidary,
}

impl Format {
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Onnx => "ONNX",
            Self::Safetensors => "safetensors",
            Self::Torch => "PyTorch",
            Self::Numpy => "NumPy",
            Self::Gguf => "GGUF",
            Self::Lapidary => "Lapidary archive",
        }
    }
}

/// A model and the file it came from.
#[derive(Debug, Clone)]
pub struct LoadedModel {
    pub path: PathBuf,
    pub format: Format,
    /// Size of the file, with those beside it.
    pub bytes: u64,
    /// The content of the files.
    pub identity: Identity,
    /// Files beside it that belong to the model: external data, shards, the graph that it is tied to.
    pub externals: Vec<PathBuf>,
    pub model: Model,
    pub source: Arc<OnnxSource>,
    /// What a GGUF file says beside its weights; empty for other formats.
    pub metadata: Arc<gguf::Metadata>,
}

impl LoadedModel {
    /// Whether there is something to run.
    #[must_use]
    pub fn has_graph(&self) -> bool {
        !self.model.nodes.is_empty()
    }

    /// Whether the file is the model, whole and as it is exported.
    #[must_use]
    pub fn is_own_export(&self) -> bool {
        self.format == Format::Onnx && self.externals.is_empty()
    }

    /// SHA-256 of the file (of all files, where there are more). The first call reads them whole.
    #[must_use]
    pub fn hash(&self) -> &str {
        self.identity.hash()
    }

    /// [`LoadedModel::hash`], with a way to stop it.
    ///
    /// # Errors
    /// On cancel.
    pub fn hash_within(&self, ctx: &Ctx) -> Result<&str, Cancelled> {
        self.identity.hash_within(ctx)
    }

    /// Warns of weights that hold NaN or infinity, unless that was done when the file was opened:
    /// large files are not read then. To be called before the values are used.
    ///
    /// # Errors
    /// On cancel.
    pub fn check_values(&self, ctx: &Ctx) -> Result<(), LoadError> {
        self.identity.check_values(&self.model, true, ctx)
    }
}

/// Opens a model of any format that is known, by what the file holds. A folder stands for the one
/// model in it, a shard for all of them. Large weights are not read.
///
/// # Errors
/// When the file cannot be read, is of no known format, is truncated or corrupt, refers to data
/// outside its folder, or holds no valid graph.
pub fn model(path: &Path, ctx: &Ctx) -> Result<LoadedModel, LoadError> {
    let path = place_of(path, ctx)?;
    let path = path.as_path();
    ctx.start(format!("Opening {}", path.display()), 0);
    let map = MappedFile::open(path).map_err(LoadError::io(path))?;
    let Opened { format, model, source, externals, metadata } = read(path, &map, ctx)?;
    let (externals, maps): (Vec<PathBuf>, Vec<MappedFile>) = externals.into_iter().unzip();
    let identity = Identity::new(&map, maps);
    identity.check_values(&model, false, ctx)?;
    gaps::warn_about(&model, ctx);
    let bytes = identity.bytes();
    let (path, source, metadata) = (path.to_owned(), Arc::new(source), Arc::new(metadata));
    Ok(LoadedModel { path, format, bytes, identity, externals, model, source, metadata })
}

/// Opens a data set of any format that is known, to be fed to `input` of a model. Samples are read
/// when they are asked for.
///
/// # Errors
/// When the data cannot be read, is empty, or its samples or labels do not fit.
pub fn dataset(path: &Path, preprocess: &Preprocess, input: &Port, ctx: &Ctx) -> Result<Dataset, LoadError> {
    data::open(path, preprocess, input, ctx)
}

/// The file that `path` stands for.
fn place_of(path: &Path, ctx: &Ctx) -> Result<PathBuf, LoadError> {
    let meta = std::fs::metadata(path).map_err(LoadError::io(path))?;
    if meta.is_dir() {
        return shards::in_folder(path);
    }
    if !meta.is_file() {
        return Err(LoadError::Unrecognized { path: path.to_owned(), reason: "it is not a file".to_owned() });
    }
    if meta.len() == 0 {
        return Err(LoadError::corrupt(path, "it is empty"));
    }
    let is_shard = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors"));
    let index = if is_shard { shards::index_of(path, ctx)? } else { None };
    Ok(index.unwrap_or_else(|| path.to_owned()))
}

/// What is in a file.
struct Opened {
    format: Format,
    model: Model,
    source: OnnxSource,
    externals: Vec<Mapped>,
    metadata: gguf::Metadata,
}

fn read(path: &Path, map: &MappedFile, ctx: &Ctx) -> Result<Opened, LoadError> {
    let weights = |format, tensors, externals| Opened {
        format,
        model: of_weights(path, tensors),
        source: OnnxSource::empty(""),
        externals,
        metadata: gguf::Metadata::new(),
    };
    Ok(match sniff(path, map.as_slice())? {
        Sniffed::Onnx => {
            let decoded = onnx::decode_file(path, map, ctx)?;
            Opened {
                format: Format::Onnx,
                model: decoded.model,
                source: decoded.source,
                externals: decoded.externals,
                metadata: gguf::Metadata::new(),
            }
        }
        Sniffed::Lapidary => {
            let file = lapidary::Archive::open(path, map.as_slice())?.file(ctx)?;
            let decoded = onnx::decode_bytes(file, path, ctx)?;
            Opened {
                format: Format::Lapidary,
                model: decoded.model,
                source: decoded.source,
                externals: decoded.externals,
                metadata: gguf::Metadata::new(),
            }
        }
        Sniffed::Gguf => {
            let file = gguf::read(path, map, ctx)?;
            Opened { metadata: file.metadata, ..weights(Format::Gguf, file.model.constants, Vec::new()) }
        }
        Sniffed::Safetensors => weights(Format::Safetensors, safetensors::read(path, map, ctx)?, Vec::new()),
        Sniffed::Shards => {
            let (tensors, files) = shards::read(path, ctx)?;
            weights(Format::Safetensors, tensors, files)
        }
        Sniffed::LegacyTorch => weights(Format::Torch, torch::read_legacy(path, map, ctx)?, Vec::new()),
        Sniffed::Archive => {
            let mut archive = Archive::open(path, map)?;
            let names = archive.names();
            if torch::is_archive(&names) {
                weights(Format::Torch, torch::read_archive(&mut archive, path, ctx)?, Vec::new())
            } else if numpy::is_archive(&names) {
                weights(Format::Numpy, numpy::arrays(&mut archive, path, ctx)?, Vec::new())
            } else {
                let reason = "it is a zip archive, but neither of PyTorch nor of NumPy".to_owned();
                return Err(LoadError::Unrecognized { path: path.to_owned(), reason });
            }
        }
    })
}

/// A model of constants alone, which are its outputs as well: what it gives is its weights.
fn of_weights(path: &Path, constants: BTreeMap<Wire, Tensor>) -> Model {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = stem.strip_suffix(".safetensors.index").unwrap_or(&stem).to_owned();
    let port = |(wire, tensor): (&Wire, &Tensor)| {
        let shape = tensor.shape().iter().map(|d| Dim::Known(*d)).collect();
        Port { wire: wire.clone(), fact: Fact { dtype: Some(tensor.dtype()), shape: Some(shape) } }
    };
    let outputs = constants.iter().map(port).collect();
    Model { name, outputs, constants, opsets: [(String::new(), OPSET_OF_WEIGHTS)].into(), ..Model::default() }
}

/// What the first bytes and the name of a file tell.
enum Sniffed {
    Onnx,
    Lapidary,
    Gguf,
    Safetensors,
    /// An index of shards.
    Shards,
    LegacyTorch,
    Archive,
}

fn sniff(path: &Path, bytes: &[u8]) -> Result<Sniffed, LoadError> {
    const KNOWN: [(&[u8], &str); 11] = [
        (b"\x89HDF", "it is an HDF5 file (Keras?); export it as ONNX"),
        (b"version https://git-lfs", "it is a Git LFS pointer, not the file itself; run `git lfs pull`"),
        (b"<!", "it is a web page; the download went wrong"),
        (b"<html", "it is a web page; the download went wrong"),
        (b"\x89PNG", "it is a picture (PNG)"),
        (b"\xff\xd8\xff", "it is a picture (JPEG)"),
        (b"GIF8", "it is a picture (GIF)"),
        (b"RIFF", "it is a picture, a sound or a film (RIFF)"),
        (b"%PDF", "it is a document (PDF)"),
        (b"\x1f\x8b", "it is compressed (gzip); unpack it first"),
        (b"\x7fELF", "it is a program (ELF)"),
    ];
    let unrecognized = |reason: &str| LoadError::Unrecognized { path: path.to_owned(), reason: reason.to_owned() };
    // A safetensors file starts with the length of its JSON header, far below 2^32: any bytes at all,
    // those that another format starts with among them.
    let length_and_json = bytes.get(8) == Some(&b'{') && bytes.get(5..8) == Some(&[0, 0, 0]);
    if length_and_json && !bytes.starts_with(gguf::MAGIC) {
        return Ok(Sniffed::Safetensors);
    }
    if bytes.starts_with(lapidary::MAGIC) {
        return Ok(Sniffed::Lapidary);
    }
    if bytes.starts_with(b"PK\x03\x04") {
        return Ok(Sniffed::Archive);
    }
    if torch::is_legacy(bytes) {
        return Ok(Sniffed::LegacyTorch);
    }
    if let Some((_, reason)) = KNOWN.iter().find(|(start, _)| bytes.starts_with(start)) {
        return Err(unrecognized(reason));
    }
    if bytes.starts_with(gguf::MAGIC) {
        return Ok(Sniffed::Gguf);
    }
    if bytes.get(4..8) == Some(b"TFL3") {
        return Err(unrecognized("it is a TensorFlow Lite file"));
    }
    if shards::is_index(path) {
        return Ok(Sniffed::Shards);
    }
    if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("safetensors")) {
        return Ok(Sniffed::Safetensors);
    }
    if bytes.starts_with(b"\x80") {
        let reason =
            "it is a Python pickle, but not one that torch.save wrote; save the weights with torch.save or as safetensors";
        return Err(unrecognized(reason));
    }
    if is_text(bytes) {
        return Err(unrecognized("it is a text"));
    }
    Ok(Sniffed::Onnx)
}

/// No control signs at its beginning, of which a graph is full.
fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(512)];
    !start.is_empty() && start.iter().all(|b| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..))
}
