//! What the person holds.

pub mod cli;
pub mod conformance;
pub mod explore;
pub mod importance;
pub mod jobs;
pub mod preflight;
pub mod project;
pub mod sample;
pub mod share;
#[cfg(feature = "gui")]
pub mod ui;
pub mod work;
pub mod zipped;
