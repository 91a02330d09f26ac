//! A sample that is ours: a small network and the images it is tried on, both made by this
//! program from a seed. `shapes` and `draw` make the images, `network` and what it builds on are
//! trained on fresh ones by `train`, `file` and `data` write what comes out, `package` holds the
//! result as it comes with the program, and `install` makes a project of it.

mod data;
pub mod draw;
mod file;
mod install;
mod network;
mod norm;
mod ops;
mod package;
mod shapes;
mod train;

pub use install::{install, preprocess};
pub use package::{CALIBRATE, EVALUATE, MODEL, files, write_to};
pub use shapes::CLASS_NAMES;
pub use train::{DEVIATION, MEAN};

use crate::engine::context::{Cancelled, Ctx};
use crate::engine::graph::GraphError;
use crate::engine::tensor::TensorError;
use crate::pipeline::load::LoadError;
use crate::pipeline::load::onnx::{OnnxSource, encode, to_bytes};
use crate::workbench::project::ProjectError;
use draw::Split;
use std::io;
use std::path::{Path, PathBuf};

/// What the sample that comes with the program was made from.
pub const SEED: u64 = 1;
/// Images that the network is judged by.
pub const EVALUATE_COUNT: usize = 1000;
/// Images that ranges are taken from.
pub const CALIBRATE_COUNT: usize = 256;

/// What can go wrong while the sample is made.
#[derive(Debug, thiserror::Error)]
pub enum SampleError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("training the sample's network: {0}")]
    Candle(#[from] candle_core::Error),
    #[error("the sample's network: {0}")]
    Tensor(#[from] TensorError),
    #[error("the sample's network: {0}")]
    Graph(#[from] GraphError),
    #[error("the sample's file: {0}")]
    Encode(#[from] LoadError),
    #[error("the sample's project: {0}")]
    Project(#[from] ProjectError),
    #[error("there is no folder for a person's data here: set HOME or XDG_DATA_HOME, or name a project")]
    Homeless,
    #[error("cannot write {}: {source}; choose another folder with --out", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// What training came to.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct TrainingSummary {
    /// Values that the file holds.
    pub parameters: u64,
    pub model_bytes: usize,
    /// Images seen, each once.
    pub images: usize,
    /// Share of the evaluation images named rightly, in FP32.
    pub accuracy: f64,
}

/// Draws both sets and writes them to `folder`: two folders of IDX pairs.
///
/// # Errors
/// When a file cannot be written, or when cancelled.
pub fn draw_data(seed: u64, folder: &Path, ctx: &Ctx) -> Result<(), SampleError> {
    for (split, name, count) in [(Split::Evaluate, EVALUATE, EVALUATE_COUNT), (Split::Calibrate, CALIBRATE, CALIBRATE_COUNT)] {
        ctx.check()?;
        let pair = data::pair(split, seed, count, ctx);
        for (file, bytes) in [("images-idx3-ubyte.gz", &pair.images), ("labels-idx1-ubyte.gz", &pair.labels)] {
            let path = folder.join(name).join(file);
            let packed = data::gzip(bytes).and_then(|packed| package::write_whole(&path, &packed));
            packed.map_err(|source| SampleError::Write { path, source })?;
        }
    }
    Ok(())
}

/// Draws the data, trains the network and writes all of it to `folder`: the same seed gives the
/// same files. Takes some minutes.
///
/// # Errors
/// When a file cannot be written, or when cancelled.
pub fn train(seed: u64, folder: &Path, ctx: &Ctx) -> Result<TrainingSummary, SampleError> {
    draw_data(seed, folder, ctx)?;
    let network = train::network(seed, train::STEPS, ctx)?;
    let accuracy = train::accuracy(&network, Split::Evaluate, seed, EVALUATE_COUNT, ctx)?;
    let model = file::model(&network)?;
    let bytes = to_bytes(&encode(&model, &OnnxSource::empty(&model.name))?);
    let path = folder.join(MODEL);
    package::write_whole(&path, &bytes).map_err(|source| SampleError::Write { path, source })?;
    Ok(TrainingSummary {
        parameters: model.parameters(),
        model_bytes: bytes.len(),
        images: train::STEPS * train::BATCH,
        accuracy,
    })
}

#[cfg(test)]
mod tests;
