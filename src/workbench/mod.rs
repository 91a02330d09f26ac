//! What the person holds.

pub mod cli;
pub mod jobs;
pub mod project;
#[cfg(feature = "gui")]
pub mod ui;
pub mod work;
