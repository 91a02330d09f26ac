//! Stage 5. Metrics and their definitions.

mod report;

pub use report::{
    ChangedPrediction, Fidelity, LayerError, Percentage, REPORT_FORMAT, REPORT_VERSION, Report, TaskMetrics,
};
