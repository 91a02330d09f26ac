//! Stage 5. Runs original and compressed model on the same samples and says how far they are
//! apart. Changes nothing and knows no technique.

mod contamination;
mod each;
mod finding;
mod grid;
mod layer_error;
pub mod outputs;
mod report;
mod run;

pub use contamination::{Contamination, Damage};
pub use each::EachKl;
pub use finding::{Defect, Finding, findings};
pub use report::{
    ChangedPrediction, Fidelity, LayerError, NextToken, Percentage, REPORT_FORMAT, REPORT_VERSION, Report, StepError, TaskMetrics,
};
pub use run::{Elsewhere, Settings, Subjects, run, run_elsewhere};

use crate::engine::context::Cancelled;
use crate::engine::exec::ExecError;
use crate::engine::tensor::TensorError;
use crate::pipeline::load::LoadError;

#[derive(Debug, thiserror::Error)]
pub enum EvaluateError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("evaluation data: {0}")]
    Load(#[from] LoadError),
    #[error("the {which} model: {source}")]
    Exec { which: &'static str, source: ExecError },
    #[error(transparent)]
    Tensor(#[from] TensorError),
    /// What another program says that was asked to run the model.
    #[error("{reason}")]
    Elsewhere { reason: String },
    #[error("there are no samples to evaluate; check the data, the split and --limit")]
    Empty,
    #[error("the original gives outputs of shape {original:?}, the other model {compressed:?}; it is not this model compressed")]
    OtherShape { original: Vec<usize>, compressed: Vec<usize> },
    #[error("the model has no data input or no output")]
    NoPorts,
    #[error(
        "sample {sample} has label {label}, but the model tells only {classes} classes (0 to {last}) apart; check the labels and --label-offset",
        last = classes - 1
    )]
    Label { sample: usize, label: usize, classes: usize },
    #[error(
        "{labels} labels for {rows} rows of output in a batch of {samples} samples: the model is no classifier of single samples; evaluate it without labels"
    )]
    Rows { labels: usize, rows: usize, samples: usize },
    #[error(
        "the model gives {rows} rows of output for {tokens} tokens: it is no language model that predicts a token at each place; evaluate it on other data"
    )]
    Tokens { tokens: usize, rows: usize },
    /// `place` names the first layer, or node, whose output is not finite.
    #[error(
        "the {which} model gives NaN or infinity for sample {sample}, first {place}; check the weights and the preprocessing"
    )]
    NotFinite { which: &'static str, sample: usize, place: String },
}
