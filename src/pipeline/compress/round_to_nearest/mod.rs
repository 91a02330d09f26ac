//! Rounding every weight to the nearest level of its format, integers on their group's min–max grid, half to
//! even, as ONNX's `QuantizeLinear` defines it; a recipe may ask for another rounding mode. The baseline that
//! everything else is measured against. Limits: per-tensor grids break layers whose channels differ widely in
//! range; below 4 bits accuracy falls without correction.

mod apply;
mod columns;
#[cfg(test)]
mod tests;

pub(super) use apply::RoundToNearest;
pub(in crate::pipeline::compress) use apply::{decode, encode, how};
pub(in crate::pipeline::compress) use columns::Columns;
