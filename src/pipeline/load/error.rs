//! What can go wrong while loading, said so that the person knows what to do.

use crate::engine::context::Cancelled;
use crate::engine::graph::GraphError;
use crate::engine::tensor::TensorError;
use std::path::{Path, PathBuf};

/// Why a model or a data set could not be loaded (or a model not be put back into its format).
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{}: {source}; check that the file is there and may be read", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{}: not a model that Lapidary opens: {reason}; it opens ONNX, safetensors, GGUF, PyTorch and NumPy (.npz) files, and its own archives", path.display())]
    Unrecognized { path: PathBuf, reason: String },
    #[error("{}: the file is truncated or corrupt: {reason}; fetch or export it again", path.display())]
    Corrupt { path: PathBuf, reason: String },
    #[error("{}: tensor \"{tensor}\": {reason}; fetch or export the model again", path.display())]
    Tensor { path: PathBuf, tensor: String, reason: String },
    #[error("{}: external data of tensor \"{tensor}\": {reason}", path.display())]
    External { path: PathBuf, tensor: String, reason: String },
    #[error("{}: the graph is not valid: {source}; export the model again", path.display())]
    Graph { path: PathBuf, source: GraphError },
    #[error("{} cannot be tied to the graph of {}: {reason}", weights.display(), graph.display())]
    Tie { weights: PathBuf, graph: PathBuf, reason: String },
    #[error("the model takes {bytes} bytes as one ONNX file, but the format holds 2 GB at most; use a smaller scheme")]
    TooLarge { bytes: u64 },
    #[error("the model cannot be written as ONNX: {reason}")]
    Encode { reason: String },
    #[error("{}: {reason}", path.display())]
    Data { path: PathBuf, reason: String },
    #[error("the samples do not fit the model: {reason}")]
    Shape { reason: String },
    #[error("preprocessing: {0}")]
    Preprocess(String),
    #[error(transparent)]
    Arithmetic(#[from] TensorError),
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
}

impl LoadError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_owned(), source }
    }

    pub(super) fn corrupt(path: &Path, reason: impl Into<String>) -> Self {
        Self::Corrupt { path: path.to_owned(), reason: reason.into() }
    }

    pub(super) fn data(path: &Path, reason: impl Into<String>) -> Self {
        Self::Data { path: path.to_owned(), reason: reason.into() }
    }
}
