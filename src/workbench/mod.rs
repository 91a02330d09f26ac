//! What the person holds.

pub mod cli;
pub mod project;
pub mod sample;
pub mod work;
