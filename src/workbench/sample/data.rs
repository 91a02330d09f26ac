//! The drawn images as IDX files (the format of MNIST: a short big-endian header, then bytes),
//! packed with gzip.

use super::draw::{PIXELS, SIDE, Split, image};
use crate::engine::context::Ctx;
use rayon::prelude::*;
use std::io::{self, Write};

/// Unsigned bytes, three dimensions and one.
const IMAGES: [u8; 4] = [0, 0, 8, 3];
const LABELS: [u8; 4] = [0, 0, 8, 1];

/// A set of images and their classes as a pair of IDX files, not yet packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub images: Vec<u8>,
    pub labels: Vec<u8>,
}

/// Draws the first `count` images of a set.
#[must_use]
pub(super) fn pair(split: Split, seed: u64, count: usize, ctx: &Ctx) -> Pair {
    let drawn: Vec<(u8, [u8; PIXELS])> =
        ctx.pool().install(|| (0..count).into_par_iter().map(|i| image(split, seed, i)).collect());
    Pair {
        images: idx(IMAGES, &[count, SIDE, SIDE], drawn.iter().flat_map(|(_, pixels)| *pixels)),
        labels: idx(LABELS, &[count], drawn.iter().map(|(class, _)| *class)),
    }
}

fn idx(magic: [u8; 4], dims: &[usize], values: impl Iterator<Item = u8>) -> Vec<u8> {
    let dims = dims.iter().flat_map(|d| (*d as u32).to_be_bytes());
    magic.into_iter().chain(dims).chain(values).collect()
}

/// # Errors
/// What the packer says: nothing, as it writes to memory.
pub(super) fn gzip(bytes: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes)?;
    encoder.finish()
}
