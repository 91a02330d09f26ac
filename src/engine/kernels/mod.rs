//! Arithmetic on slices.
pub mod affine;
pub mod summary;
