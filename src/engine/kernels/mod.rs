//! Arithmetic on slices.
pub mod affine;
