//! What the person holds.

pub mod sample;
