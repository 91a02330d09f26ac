//! What can go wrong while stages are driven.

use crate::engine::context::Cancelled;
use crate::engine::exec::ExecError;
use crate::engine::graph::GraphError;
use crate::engine::tensor::TensorError;
use crate::pipeline::calibrate::CalibrateError;
use crate::pipeline::compress::CompressError;
use crate::pipeline::configure::ConfigureError;
use crate::pipeline::evaluate::EvaluateError;
use crate::pipeline::load::LoadError;
use crate::pipeline::search::frontier::FrontierError;

#[derive(Debug, thiserror::Error)]
pub enum SearchError {
    #[error("recipe \"{recipe}\" cuts channels, which belong to several layers; spare layers one by one without that part")]
    CutsChannels { recipe: String },
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("the samples: {0}")]
    Load(#[from] LoadError),
    #[error(transparent)]
    Configure(#[from] ConfigureError),
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    #[error(transparent)]
    Compress(#[from] CompressError),
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    #[error("the model: {0}")]
    Exec(#[from] ExecError),
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error(transparent)]
    Tensor(#[from] TensorError),
    #[error(transparent)]
    Frontier(#[from] FrontierError),
    #[error("there are no samples to measure with; check the data, the split and --limit")]
    Empty,
    #[error("there are no layers that could be compressed")]
    NoLayers,
    #[error("no settings are left to choose from; give some with --bits")]
    NoSettings,
    #[error(
        "{block} lies in GGUF files, {other} in ONNX files: with both there is no one file whose bytes add up; leave one out, or count codes without a file by `--count packed`"
    )]
    TwoFiles { block: String, other: String },
    #[error("the original model gives NaN or infinity for sample {sample}; check the weights and the preprocessing")]
    NotFinite { sample: usize },
    #[error("{0}")]
    Unreachable(String),
}
