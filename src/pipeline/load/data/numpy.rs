//! Samples in `NumPy`'s `.npy` and `.npz`.

use super::{Raw, Samples, tokens};
use crate::engine::tensor::{MappedFile, Tensor};
use crate::pipeline::load::archive::Archive;
use crate::pipeline::load::error::LoadError;
use crate::pipeline::load::numpy;
use std::path::Path;

/// One array without labels.
pub(super) fn read_npy(path: &Path) -> Result<Raw, LoadError> {
    let map = MappedFile::open(path).map_err(LoadError::io(path))?;
    let array = numpy::mapped(path, &path.display().to_string(), &map, 0..map.len())?;
    Ok(Raw { samples: Samples::Array(array), labels: None, classes: Vec::new() })
}

/// Samples in `x`, class numbers in `y` where there is one; or texts, each an array of token ids.
pub(super) fn read_npz(path: &Path) -> Result<Raw, LoadError> {
    let map = MappedFile::open(path).map_err(LoadError::io(path))?;
    let mut archive = Archive::open(path, &map)?;
    let names: Vec<String> = archive.names().iter().take(20).map(|n| n.trim_end_matches(".npy").to_owned()).collect();
    let Some(samples) = member(path, &mut archive, "x")? else {
        let all = archive.names();
        let texts = (0..all.len()).map(|i| at(path, &mut archive, i, &all[i])).collect::<Result<Vec<Tensor>, _>>()?;
        if tokens::are_sequences(&texts) {
            return Ok(Raw { samples: Samples::Sequences(texts), labels: None, classes: Vec::new() });
        }
        let reason = format!(
            "there is no array x in it, only: {}; save it with numpy.savez(file, x=samples, y=classes), or texts as one row of token ids each",
            names.join(", ")
        );
        return Err(LoadError::data(path, reason));
    };
    if samples.shape().is_empty() {
        return Err(LoadError::data(path, "the array x is a single number; its first axis must count the samples"));
    }
    let labels = member(path, &mut archive, "y")?.map(|y| labels(path, &y)).transpose()?;
    Ok(Raw { samples: Samples::Array(samples), labels, classes: Vec::new() })
}

fn labels(path: &Path, y: &Tensor) -> Result<Vec<i64>, LoadError> {
    let is_row = matches!(y.shape(), [_] | [_, 1]);
    if !is_row || y.dtype().is_float() {
        let reason = format!(
            "the array y must hold one whole class number per sample, but it is {} in shape {:?}; save y.astype(int) (argmax(axis=1) of one-hot rows)",
            y.dtype(),
            y.shape()
        );
        return Err(LoadError::data(path, reason));
    }
    Ok(y.to_i64()?)
}

fn member(path: &Path, archive: &mut Archive<'_>, name: &str) -> Result<Option<Tensor>, LoadError> {
    let Some(index) = archive.place(&format!("{name}.npy")) else { return Ok(None) };
    at(path, archive, index, name).map(Some)
}

/// The array at a place of the archive.
fn at(path: &Path, archive: &mut Archive<'_>, index: usize, name: &str) -> Result<Tensor, LoadError> {
    let member = archive.member(index)?;
    numpy::member(path, name.trim_end_matches(".npy"), archive.map, member)
}
