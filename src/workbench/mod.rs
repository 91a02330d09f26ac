//! What the person holds.

pub mod jobs;
pub mod project;
#[cfg(feature = "gui")]
pub mod ui;
