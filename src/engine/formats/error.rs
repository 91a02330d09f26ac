use crate::engine::Cancelled;

/// Why a matrix of weights cannot be stored in a format, or read back.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum FormatError {
    #[error(transparent)]
    Cancelled(#[from] Cancelled),
    #[error("{given} values do not make a matrix of {rows} × {cols}")]
    Shape { given: usize, rows: usize, cols: usize },
    #[error("a matrix of {rows} × {cols} is more than this program can count")]
    TooLarge { rows: usize, cols: usize },
    #[error("the weight in row {row}, column {col} is {value}: no format can hold it; mend the model or leave the layer alone")]
    NotFinite { row: usize, col: usize, value: f32 },
    #[error("{format}: {reason}")]
    Impossible { format: String, reason: String },
    #[error(transparent)]
    Block(#[from] super::blocks::FormatError),
    #[error(
        "the scale {scale:e} of the weights from row {row}, column {col} on is too large for a 16-bit float; take scales of 32 bits"
    )]
    ScaleTooLarge { row: usize, col: usize, scale: f32 },
    #[error("{given} numbers of importance, for {runs} runs of rows, do not fit a matrix of {rows} × {cols}")]
    Importance { given: usize, runs: usize, rows: usize, cols: usize },
    #[error("the importance of column {column} is {value}; it must be a number that is not negative")]
    NoImportance { column: usize, value: f32 },
    #[error("{part}: {given} bytes, but the format makes it {wanted}")]
    Damaged { part: &'static str, given: u64, wanted: u64 },
}
