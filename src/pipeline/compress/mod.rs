//! Stage 4. Plan × statistics → variant. A technique is a folder; none of them runs the model,
//! reads files or grades itself.

mod activation_range;
mod adaround;
mod allocation;
mod alone;
mod balance;
mod behind;
mod bias_correction;
mod channels;
mod corrected;
mod covariance;
mod gptq;
mod grids;
pub mod importance;
mod judge;
mod kept;
mod least_squares;
mod low_rank;
mod magnitude;
pub mod pattern;
mod preview;
mod round_to_nearest;
mod runner;
mod saliency;
mod sequential;
mod system;
mod technique;
mod variant;

pub use alone::{Alone, alone};
pub use channels::{DataSource, channel_scores, choose_channels, cut_channels, prepare};
pub use judge::Step;
pub use kept::Keep;
pub use magnitude::weight_scores;
pub use preview::{Preview, preview};
pub use runner::{StatisticsSource, needs, run, run_on, run_with};
pub use saliency::weight_scores_by_data;
pub use technique::{LayerWork, Technique, registry};
pub use variant::{CompressedLayer, Variant};

use crate::engine::context::Cancelled;
use crate::engine::formats::FormatError;
use crate::engine::graph::GraphError;
use crate::engine::tensor::TensorError;
use crate::pipeline::calibrate::CalibrateError;

#[derive(Debug, thiserror::Error)]
pub enum CompressError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error(
        "layer \"{layer}\": {count} of its {total} weights are NaN or infinite; mend the model, or leave the layer out of the recipe"
    )]
    NotFinite { layer: String, count: usize, total: usize },
    #[error("layer \"{layer}\": no range was calibrated for its input \"{wire}\"")]
    NoRange { layer: String, wire: String },
    #[error(
        "layer \"{layer}\": the channels of its input \"{wire}\" could not be told apart for weights of shape {shape:?}; leave `importance` out for it"
    )]
    NoImportance { layer: String, wire: String, shape: Vec<usize> },
    #[error("layer \"{layer}\": {source}")]
    Tensor { layer: String, source: TensorError },
    #[error("layer \"{layer}\": {source}")]
    Format { layer: String, source: FormatError },
    #[error(transparent)]
    Graph(#[from] GraphError),
    #[error("the channels to cut are chosen by {score}, and there are no calibration data; add some, or choose by L2")]
    NoChannelData { score: &'static str },
    #[error(transparent)]
    Calibrate(#[from] CalibrateError),
    #[error("recipe \"{recipe}\" balances channels, and there are no calibration data; add some, or leave `balance` out")]
    NoBalanceData { recipe: String },
    #[error(
        "recipe \"{recipe}\" rounds activations with calibrated ranges, and the project has no calibration data; add some, or use dynamic activations"
    )]
    NoData { recipe: String },
}
