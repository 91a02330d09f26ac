//! Number formats that weights are stored in.

pub mod blocks;
