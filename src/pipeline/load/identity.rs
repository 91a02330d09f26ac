//! What a model's files are known by, and what is wrong with their values: found when first asked
//! for, so that a file opens without being read.

use super::error::LoadError;
use crate::engine::context::{Cancelled, Ctx};
use crate::engine::graph::Model;
use crate::engine::hash::{Hasher, of_parts};
use crate::engine::tensor::{DType, MappedFile, Tensor};
use std::convert::Infallible;
use std::sync::{Arc, OnceLock};

/// Weights of so many bytes are looked through when a file is opened, larger ones when they are used.
const READ_AT_OPEN_BYTES: u64 = 32 << 20;

/// The content of a model's files. Cheap to clone; what one clone has found, all know.
#[derive(Clone)]
pub struct Identity(Arc<Inner>);

struct Inner {
    /// The model's own file first.
    files: Vec<MappedFile>,
    hash: OnceLock<String>,
    values: OnceLock<()>,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity").field("files", &self.0.files.len()).field("hash", &self.0.hash).finish_non_exhaustive()
    }
}

impl Identity {
    pub(super) fn new(own: &MappedFile, others: impl IntoIterator<Item = MappedFile>) -> Self {
        let files = std::iter::once(own.clone()).chain(others).collect();
        Self(Arc::new(Inner { files, hash: OnceLock::new(), values: OnceLock::new() }))
    }

    /// The same of a model made of both.
    pub(super) fn with(&self, other: &Self) -> Self {
        let files = self.0.files.iter().chain(&other.0.files).cloned().collect();
        Self(Arc::new(Inner { files, hash: OnceLock::new(), values: OnceLock::new() }))
    }

    /// Size of all files.
    pub(super) fn bytes(&self) -> u64 {
        self.0.files.iter().map(|f| f.len() as u64).sum()
    }

    /// SHA-256 as hex of the one file, or of the digests of all.
    pub(super) fn hash(&self) -> &str {
        self.0.hash.get_or_init(|| {
            let Ok(hash) = self.digest(|| Ok::<(), Infallible>(()));
            hash
        })
    }

    /// [`Identity::hash`], with a way to stop it.
    pub(super) fn hash_within(&self, ctx: &Ctx) -> Result<&str, Cancelled> {
        if self.0.hash.get().is_none() {
            let hash = self.digest(|| ctx.check())?;
            return Ok(self.0.hash.get_or_init(|| hash));
        }
        Ok(self.hash())
    }

    fn digest<E>(&self, mut between: impl FnMut() -> Result<(), E>) -> Result<String, E> {
        let mut digests =
            self.0.files.iter().map(|file| of_parts(file.as_slice(), &mut between)).collect::<Result<Vec<_>, E>>()?;
        if digests.len() == 1 {
            return Ok(digests.remove(0));
        }
        let mut hasher = Hasher::new();
        for digest in digests {
            hasher.add(digest.as_bytes());
        }
        Ok(hasher.finish())
    }

    /// Says which weights hold values that no arithmetic survives, once. At opening (`used` is false)
    /// only where that is quick.
    pub(super) fn check_values(&self, model: &Model, used: bool, ctx: &Ctx) -> Result<(), LoadError> {
        let floats = model.constants.values().filter(|t| t.dtype().is_float());
        let quick = || floats.map(|t| t.size_bytes() as u64).sum::<u64>() <= READ_AT_OPEN_BYTES;
        if self.0.values.get().is_some() || !used && !quick() {
            return Ok(());
        }
        for (wire, tensor) in &model.constants {
            ctx.check()?;
            let count = not_finite(tensor);
            // Masks of attention are made of minus infinity: a constant that is no weight may hold it.
            if count > 0 {
                let all = tensor.len();
                let what = "values are NaN or infinite; results that depend on them are worthless";
                ctx.warn(&**wire, format!("{count} of {all} {what}"));
            }
        }
        // Another thread may have been as far: both have said the same.
        let _ = self.0.values.set(());
        Ok(())
    }
}

fn not_finite(tensor: &Tensor) -> usize {
    let bytes = tensor.bytes();
    let exponent = |mask: u16| bytes.as_chunks::<2>().0.iter().filter(|b| u16::from_le_bytes(**b) & mask == mask).count();
    match tensor.dtype() {
        DType::F32 => bytes.as_chunks::<4>().0.iter().filter(|b| !f32::from_le_bytes(**b).is_finite()).count(),
        DType::F64 => bytes.as_chunks::<8>().0.iter().filter(|b| !f64::from_le_bytes(**b).is_finite()).count(),
        DType::F16 => exponent(0x7C00),
        DType::BF16 => exponent(0x7F80),
        _ => 0,
    }
}
