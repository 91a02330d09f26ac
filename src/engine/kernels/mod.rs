//! Arithmetic on slices. Nothing here knows layers, names, files or candle; work is shared out in one
//! place, to the rayon pool that the caller runs in, so that whoever calls decides on which threads. Every fast kernel has a plain twin that
//! the tests compare it with. Sums run in one fixed order, whatever the number of threads.

pub mod affine;
pub mod aligned;
pub mod attention;
pub mod convolve;
pub mod eigen;
pub mod factor;
pub mod fourier;
pub mod gram;
pub mod integer;
pub mod isa;
pub mod layout;
pub mod map;
pub mod matmul;
pub mod normalize;
pub mod plain;
pub mod pool;
pub mod quantize;
pub mod recurrent;
pub mod resample;
mod share;
pub mod softmax;
pub mod special;
pub mod summary;
pub mod tile;
pub mod transcendental;
pub(in crate::engine) mod widest;

pub use share::{each, is_stopped, parts, serial, tasks, threads, until};
