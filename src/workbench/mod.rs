//! What the person holds.

pub mod project;
